// SPDX-License-Identifier: GPL-2.0
/*
 * kill_random.c - kill -9 at any instant leaks nothing
 *
 * A child goes through all that a client can do, again and again; it is killed at a random moment
 * of that. The moments are spread over the time that one round takes here, whatever that is.
 */
#include <sys/eventfd.h>

#include "device.h"

static struct t_image image;

static void client(void)
{
	uint32_t tokens[32], model, other, session, n, i;
	uint64_t bytes;
	struct bitnet_job jobs[3];
	struct t_ring ring;
	int fd, efd;

	for (i = 0; i < ARRAY_SIZE(tokens); i++)
		tokens[i] = i;
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		_exit(2);
	efd = eventfd(0, 0);
	if (t_model_load(fd, &image, 0, "victim", &model) ||
	    t_session_open(fd, model, 0, &session) || t_ring_setup(fd, 8, efd, T_PAGE, &bytes))
		_exit(3);
	t_ring_map(&ring, fd, bytes, T_PAGE);
	jobs[0] = t_generate(session, tokens, 32, 40, 1);
	jobs[1] = t_score(session, tokens, 32, 2);
	jobs[2] = (struct bitnet_job){
		.kind = BITNET_JOB_LINEAR, .user_data = 3, .model_id = model,
		.input = t_pointer(image.base), .input_count = 4,
	};
	if (t_submit(fd, jobs, 3, NULL) || t_wait(fd, 4, -1, &n))
		_exit(4);
	for (i = 0; i < 3;) {
		struct bitnet_ring_entry e;

		if (t_ring_wait(&ring, &e))
			_exit(5);
		i += e.kind != BITNET_ENTRY_TOKEN;
	}
	t_model_load(fd, &image, 0, "second", &other);
	jobs[0] = t_generate(session, tokens, 1, 100, 4);
	t_submit(fd, jobs, 1, NULL);
	t_cancel(fd, 4, NULL);
	t_session_close(fd, session);
	t_model_close(fd, model);
	t_ring_unmap(&ring);
	close(efd);
	close(fd);
}

/* Time of one round of a child, fork and all. */
static uint64_t round_ns(void)
{
	uint64_t best = UINT64_MAX, start;
	int i, status;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		start = t_now();
		pid = fork();
		if (!pid) {
			client();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			bail("an undisturbed client gives status 0x%x", status);
		if (t_now() - start < best)
			best = t_now() - start;
	}
	return best;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	unsigned int i, n, killed = 0, leaks = 0, wrong = 0;
	uint64_t seed = 1, span;
	int status, fd;
	pid_t pid;

	image = t_image_random(&t_tiny);
	fflush(stdout);
	span = round_ns();
	/* Elsewhere what takes about 5 seconds, but enough to mean something. */
	n = 5000000000ULL / (span + 500000);
	n = t_size(t_is_fast() ? 2000 : n < 40 ? 40 : n > 500 ? 500 : n, 100000);
	diag("a round takes %llu us; %u kills", (unsigned long long)span / 1000, n);

	for (i = 0; t_more(i, n, "kills"); i++) {
		pid = fork();
		if (!pid) {
			for (;;)
				client();
		}
		t_sleep_ns(t_random(&seed) % (span + span / 4));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			killed++;
		else if (!wrong++)
			diag("kill %u: the child had ended with 0x%x", i, status);
		if (i % 20 == 19 && !t_leaks_none(&before))
			leaks++;
	}
	is(killed, i, "%u clients killed", i);
	is(leaks, 0, "nothing is left, each 20 kills");
	ok(t_leaks_none(&before), "nor at the end");

	/* The device still serves. */
	pid = fork();
	if (!pid) {
		client();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	is(status, 0, "a client afterwards");
	fd = t_open();
	is(t_stats(fd).out_jobs, 0, "no job is left");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

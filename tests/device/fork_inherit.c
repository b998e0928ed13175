// SPDX-License-Identifier: GPL-2.0
/*
 * fork_inherit.c - a forked child shares descriptor, ids and ring; the file lives until both are
 * done with it
 */
#include "device.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_client c;
static struct t_result want;

/* The child runs a job of the parent's session in the parent's ring. */
static int use(void *arg)
{
	static struct t_result r;
	struct bitnet_job job = t_generate(c.session, tokens, 4, 20, 2);

	(void)arg;
	if (t_session_rewind(c.fd, c.session, 0))
		return 1;
	if (t_run(&c.ring, &job, &r) || !t_same_hashes(&want, &r))
		return 2;
	/* What the child makes is the file's: the parent can use and close it. */
	return t_session_open(c.fd, c.model, 8, NULL) ? 3 : 0;
}

static int load_and_exit(void *arg)
{
	const struct t_image *image = arg;

	return t_model_load(c.fd, image, 0, "child", NULL) ? 1 : 0;
}

static int unmap_and_exit(void *arg)
{
	(void)arg;
	t_ring_unmap(&c.ring);
	close(c.fd);
	return 0;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_random(&t_tiny);
	static struct t_result r;
	struct bitnet_job job;
	int status, ready[2];
	uint32_t n;
	char byte;
	pid_t pid;

	t_client_open(&c, &image, 64);
	job = t_generate(c.session, tokens, 4, 20, 1);
	is(t_run(&c.ring, &job, &want), 0, "a job before fork()");
	is(t_in_child(use, NULL), 0, "the child uses session and ring");
	is(t_stats(c.fd).out_sessions, 2, "its session is the file's");
	is(t_stats(c.fd).out_jobs_done, 2, "its job too");
	is(t_in_child(unmap_and_exit, NULL), 0, "a child unmaps, closes and exits");
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &r), 0, "the parent does not notice");
	ok(t_same_hashes(&want, &r), "and gets the same");

	/* Pins of a child's memory are charged to the child and outlive it. */
	is(t_in_child(load_and_exit, &image), 0, "a child loads a model and exits");
	is(t_stats(c.fd).out_models, 2, "the model is there");
	is(t_pinned_until(before.pinned + 2 * image.length / T_PAGE) - before.pinned,
	   2 * image.length / T_PAGE, "and its pages are pinned");

	/* A job is submitted here; the child holds the last reference and is killed. */
	if (pipe(ready))
		bail("pipe");
	pid = t_fork();
	if (!pid) {
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	if (read(ready[0], &byte, 1) != 1)
		bail("the child is gone");
	t_session_rewind(c.fd, c.session, 0);
	job = t_generate(c.session, tokens, 4, 240, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job that will park");
	t_client_close(&c);
	ok(t_pinned_pages() != before.pinned, "the parent closes all: the child keeps the file");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(t_leaks_none(&before), "the child is killed: nothing is left");

	/* vfork() and exec: O_CLOEXEC does what it says. */
	t_client_open(&c, &image, 64);
	pid = vfork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	is(status, 0, "vfork() and exec()");
	job = t_generate(c.session, tokens, 4, 20, 1);
	is(t_run(&c.ring, &job, &r), 0, "the file works on");
	is(t_wait(c.fd, 0, 0, &n), 0, "WAIT too");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

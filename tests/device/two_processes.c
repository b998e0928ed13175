// SPDX-License-Identifier: GPL-2.0
/*
 * two_processes.c - two users' processes share one pinned model at the same time and get the right
 * texts
 */
#include "device.h"

#define NAME	"two-processes"

struct task {
	unsigned int golden;	/* prompt to start with */
	int ready, go;		/* pipes */
	uid_t uid;
};

/* Generates golden texts over and over; which step failed, or 0. */
static int client(void *arg)
{
	const struct task *t = arg;
	struct t_client c;
	unsigned int i, rounds = t_size(3, 50);
	char byte;

	t_drop_privileges(t->uid, T_GID_BITNET);
	c.fd = t_open_flags(O_RDWR);
	if (c.fd < 0)
		return 1;
	if (t_model_open(c.fd, NAME, &c.model))
		return 2;
	if (t_session_open(c.fd, c.model, 0, &c.session))
		return 3;
	t_ring_open(&c.ring, c.fd, 64, 0);
	/* Both are there before either starts. */
	if (write(t->ready, "x", 1) != 1 || read(t->go, &byte, 1) != 1)
		return 4;
	for (i = 0; t_more(i, rounds, "texts of two processes"); i++)
		if (!t_golden_holds(&c, (t->golden + i) % T_N_GOLDEN))
			return 5;
	if (t_stats(c.fd).out_tokens_out != i * t_tokens(T_N_GREEDY))
		return 6;
	return 0;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_demo();
	long long pages = image.length / T_PAGE;
	int ready[2], go[2], fd = t_open(), status, i;
	struct task tasks[2];
	pid_t pids[2];
	uint32_t id;
	char byte;

	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "root loads the model");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "one copy is pinned");
	if (pipe(ready) || pipe(go))
		bail("pipe");
	for (i = 0; i < 2; i++) {
		tasks[i] = (struct task){
			.golden = i, .ready = ready[1], .go = go[0], .uid = 1000 + i
		};
		pids[i] = t_fork();
		if (!pids[i])
			_exit(client(&tasks[i]));
	}
	close(ready[1]);
	for (i = 0; i < 2; i++)
		if (read(ready[0], &byte, 1) != 1)
			diag("a process has failed");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages,
	   "two processes have opened it, one copy is pinned");
	if (write(go[1], "xx", 2) != 2)
		bail("pipe");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "and while they compute");
	for (i = 0; i < 2; i++) {
		waitpid(pids[i], &status, 0);
		is(WIFEXITED(status) ? WEXITSTATUS(status) : 126, 0,
		   "process %d got its golden texts", i);
	}
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "the copy outlives them");
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

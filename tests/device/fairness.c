// SPDX-License-Identifier: GPL-2.0
/*
 * fairness.c - users, and processes of one user, get equal shares, however many jobs they have
 *
 * What is compared was counted in the same time: nothing here depends on how fast the machine is.
 */
#include <sys/wait.h>

#include "device.h"

#define NAME		"fair"
#define FLOOD_FILES	4
#define FLOOD_JOBS	16		/* of each */
#define EQUALS		8

static const uint32_t prompt[4] = { 1, 2, 3, 4 };
static struct t_image image;

/* A client that always has a job in each of its sessions; shared memory tells how far it is. */
struct flood {
	volatile uint64_t tokens;
	volatile int stop;
};

static void flood(struct flood *shared, uint32_t n_jobs)
{
	uint32_t sessions[FLOOD_JOBS], model, i, n;
	struct bitnet_ring_entry e;
	struct bitnet_job job;
	struct t_ring ring;
	int fd = t_open();

	if (t_model_open(fd, NAME, &model))
		_exit(2);
	t_ring_open(&ring, fd, 4096, 0);
	for (i = 0; i < n_jobs; i++) {
		if (t_session_open(fd, model, 128, &sessions[i]))
			_exit(3);
		job = t_generate(sessions[i], prompt, 4, 100, i);
		job.flags = 0;
		if (t_submit(fd, &job, 1, &n) || n != 1)
			_exit(4);
	}
	while (!shared->stop) {
		/* The ring is large, and waking up for each token takes CPU from the workers. */
		t_sleep_ns(20000000);
		t_wait(fd, 0, 0, NULL);
		while (t_ring_next(&ring, &e)) {
			shared->tokens += e.kind == BITNET_ENTRY_TOKEN;
			if (e.kind == BITNET_ENTRY_TOKEN)
				continue;
			/* It starts again. */
			job = t_generate(sessions[e.user_data], prompt, 4, 100, e.user_data);
			job.flags = 0;
			if (t_session_rewind(fd, sessions[e.user_data], 0) ||
			    t_submit(fd, &job, 1, &n))
				_exit(6);
		}
	}
	_exit(0);
}

static pid_t start(struct flood *shared, uid_t uid, uint32_t n_jobs)
{
	pid_t pid;

	pid = t_fork();
	if (pid)
		return pid;
	t_drop_privileges(uid, T_GID_BITNET);
	flood(shared, n_jobs);
	return 0;
}

static int stop(struct flood *shared, pid_t *pids, uint32_t n)
{
	int failed = 0, status;

	for (uint32_t i = 0; i < n; i++)
		shared[i].stop = 1;
	for (uint32_t i = 0; i < n; i++) {
		waitpid(pids[i], &status, 0);
		failed += status != 0;
	}
	return failed;
}

static void until(const struct flood *shared, uint64_t tokens)
{
	uint64_t start = t_now();

	while (shared->tokens < tokens && t_now() - start < T_HANG_NS)
		t_sleep_ns(5000000);
}

/* Tokens per second of a client in the time in which it makes @n */
static double rate(const struct flood *shared, uint64_t n)
{
	uint64_t from = shared->tokens, start = t_now();

	until(shared, from + n);
	return (double)(shared->tokens - from) * 1e9 / (double)(t_now() - start);
}

/* One client, alone and against 64 jobs of another user, by turns */
static void check_flood(struct flood *shared)
{
	pid_t pids[1 + FLOOD_FILES];
	double alone = 0, beside = 0;
	uint64_t n = t_release_size() ? 2000 : 150;
	int failed = 0;

	pids[0] = start(shared, 1001, 1);
	for (int round = 0; round < 3; round++) {
		until(shared, shared->tokens + 20);
		alone += rate(shared, n);
		for (uint32_t i = 1; i <= FLOOD_FILES; i++) {
			shared[i].stop = 0;
			shared[i].tokens = 0;
			pids[i] = start(&shared[i], 1002, FLOOD_JOBS);
		}
		for (uint32_t i = 1; i <= FLOOD_FILES; i++)
			until(&shared[i], 10 * FLOOD_JOBS);
		beside += rate(shared, n);
		failed += stop(shared + 1, pids + 1, FLOOD_FILES);
	}
	failed += stop(shared, pids, 1);
	t_figure(6 * n, t_size(6 * 150, 6 * 2000), "tokens beside a flood");
	is(failed, 0, "all clients went on");
	/* About half of it; less where clients and workers share a CPU, as in User Mode Linux. */
	ok(beside >= (t_is_uml() ? 0.1 : 0.4) * alone,
	   "beside 64 jobs of another user it has %.0f %% of what it has alone",
	   100 * beside / alone);
}

/* Eight processes of eight users, each with as much to do as any other */
static void check_equals(struct flood *shared)
{
	double sum = 0, squares = 0;
	uint64_t from[EQUALS];
	pid_t pids[EQUALS];

	for (int i = 0; i < EQUALS; i++) {
		shared[i] = (struct flood){ 0 };
		pids[i] = start(&shared[i], 2000 + i, 1);
	}
	for (int i = 0; i < EQUALS; i++)
		until(&shared[i], 10);
	for (int i = 0; i < EQUALS; i++)
		from[i] = shared[i].tokens;
	until(&shared[0], from[0] + (t_release_size() ? 3000 : 200));
	for (int i = 0; i < EQUALS; i++) {
		double share = (double)(shared[i].tokens - from[i]);

		sum += share;
		squares += share * share;
	}
	is(stop(shared, pids, EQUALS), 0, "eight clients");
	ok(sum * sum / (EQUALS * squares) >= 0.95, "Jain's index of what they got is %.3f",
	   sum * sum / (EQUALS * squares));
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct flood *shared = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = t_open();
	uint32_t id;

	if (!t_is_uml() && !t_release_size())
		skip_all("thousands of tokens take too long where vectors are emulated");
	image = t_image_random(&t_slow);
	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "a shared model");
	check_flood(shared);
	memset((void *)shared, 0, T_PAGE);
	check_equals(shared);
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

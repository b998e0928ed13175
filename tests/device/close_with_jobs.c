// SPDX-License-Identifier: GPL-2.0
/*
 * close_with_jobs.c - closing the last descriptor ends all jobs, at once, in whatever state they
 * are
 */
#include "device.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_image slow, tiny;

/* How long close() takes with a step in flight, against the time of a step. */
static void check_prompt(void)
{
	uint64_t start, step_ns, worst = 0, took;
	static uint32_t prompt[1000];
	unsigned int i, n = t_size(5, 200);
	struct bitnet_ring_entry e[2];
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, &slow, 2048);
	job = t_generate(c.session, tokens, 1, 3, 1);
	t_submit(c.fd, &job, 1, NULL);
	for (i = 0; i < 2; i++)
		if (t_ring_wait(&c.ring, &e[i]))
			bail("no tokens");
	step_ns = e[1].time_ns - e[0].time_ns;
	t_client_close(&c);

	for (i = 0; t_more(i, n, "files closed in prefill"); i++) {
		t_client_open(&c, &slow, 2048);
		job = t_generate(c.session, prompt, ARRAY_SIZE(prompt), 20, 1);
		t_submit(c.fd, &job, 1, NULL);
		t_sleep_ns(i * step_ns / 3);
		t_ring_unmap(&c.ring);
		start = t_now();
		close(c.fd);
		took = t_now() - start;
		if (took > worst)
			worst = took;
	}
	/*
	 * Prefilling 1000 tokens takes some hundred steps. close() also gives back 16 MiB of pins
	 * and a cache, so the bound is wide; waiting for the job would be far above it.
	 */
	ok(worst < 60 * step_ns + 500000000,
	   "close() during prefill took at most %llu us; a step is %llu us",
	   (unsigned long long)worst / 1000, (unsigned long long)step_ns / 1000);
}

static void check_states(const struct t_leaks *before)
{
	struct bitnet_job jobs[4];
	struct t_client c;
	unsigned int i;
	uint32_t n;

	/* Queued behind each other, none has started perhaps. */
	t_client_open(&c, &slow, 2048);
	for (i = 0; i < 4; i++)
		jobs[i] = t_generate(c.session, tokens, 4, 200, i);
	is(t_submit(c.fd, jobs, 4, NULL), 0, "four jobs of a session");
	t_client_close(&c);
	ok(t_leaks_none(before), "closed at once: nothing is left");

	/* Running. */
	t_client_open(&c, &slow, 2048);
	is(t_submit(c.fd, jobs, 4, NULL), 0, "four jobs of a session");
	t_wait(c.fd, 2, T_HANG_NS, &n);
	t_client_close(&c);
	ok(t_leaks_none(before), "closed while the first runs: nothing is left");

	/* Parked. */
	t_client_open(&c, &tiny, 2);
	jobs[0].session_id = c.session;
	is(t_submit(c.fd, jobs, 1, NULL), 0, "a job with a small ring");
	while (t_stats(c.fd).out_parked != 1)
		t_sleep_ns(1000000);
	t_client_close(&c);
	ok(t_leaks_none(before), "closed while it is parked: nothing is left");

	/* The mapping holds the file, and so the jobs: they end with the last of both. */
	t_client_open(&c, &slow, 2048);
	jobs[0].session_id = c.session;
	is(t_submit(c.fd, jobs, 1, NULL), 0, "a job");
	close(c.fd);
	t_ring_unmap(&c.ring);
	ok(t_leaks_none(before), "closed, then unmapped: nothing is left");

	/* With its model and session ids closed before. */
	t_client_open(&c, &slow, 2048);
	jobs[0].session_id = c.session;
	is(t_model_close(c.fd, c.model), 0, "a model is closed");
	is(t_submit(c.fd, jobs, 1, NULL), 0, "a job of its session");
	t_wait(c.fd, 1, T_HANG_NS, &n);
	t_client_close(&c);
	ok(t_leaks_none(before), "nothing is left");
}

/* Many files at once, closed by the exit of their process. */
static int many_files(void *arg)
{
	struct bitnet_job job;
	struct t_client c;
	unsigned int i;

	(void)arg;
	for (i = 0; i < 16; i++) {
		t_client_open(&c, &tiny, 256);
		job = t_generate(c.session, tokens, 4, 200, i);
		if (t_submit(c.fd, &job, 1, NULL))
			return 1;
	}
	return 0;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	slow = t_image_random(&t_slow);
	tiny = t_image_random(&t_tiny);
	check_states(&before);
	check_prompt();
	ok(t_leaks_none(&before), "nothing is left");
	is(t_in_child(many_files, NULL), 0, "a process exits with 16 files and their jobs");
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

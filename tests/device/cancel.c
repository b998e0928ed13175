// SPDX-License-Identifier: GPL-2.0
/*
 * cancel.c - CANCEL ends jobs in every state, at any moment, with one ERROR entry and nothing
 * behind it
 */
#include "device.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_image slow, tiny;
static struct t_result results[4];

/* Waits until the first job has made a token. */
static void until_running(struct t_client *c)
{
	uint32_t n;

	if (t_wait(c->fd, 1, T_HANG_NS, &n) || !n)
		bail("no token comes");
}

static void check_states(void)
{
	struct bitnet_job jobs[3];
	struct t_client c;
	uint32_t n = 0;

	t_client_open(&c, &slow, 2048);
	is(t_cancel(c.fd, 1, NULL), -ENOENT, "no job yet");

	jobs[0] = t_generate(c.session, tokens, 4, 1000, 1);
	is(t_submit(c.fd, jobs, 1, NULL), 0, "a job");
	is(t_cancel(c.fd, 2, NULL), -ENOENT, "no job with that user_data");
	until_running(&c);
	is(t_cancel(c.fd, 1, &n), 0, "a running job is cancelled");
	is(n, 1, "one");
	/* Its entry is there when CANCEL returns. */
	is(t_stats(c.fd).out_jobs, 0, "and gone at once");
	is(t_cancel(c.fd, 1, NULL), -ENOENT, "it cannot be cancelled twice");
	is(t_collect(&c.ring, results, 1, 1), 0, "its entries come");
	is(results[0].end.error, -ECANCELED, "ERROR is the last");
	ok(results[0].n >= 1 && results[0].n < 1000, "after %u tokens", results[0].n);
	is(t_ring_pending(&c.ring), 0, "nothing behind it");
	is(t_session_rewind(c.fd, c.session, 0), 0, "the session is free");

	/*
	 * Three jobs of one session: the second, then the first, while the third waits for its
	 * turn.
	 */
	jobs[0] = t_generate(c.session, tokens, 4, 500, 1);
	jobs[1] = t_generate(c.session, tokens, 4, 500, 2);
	jobs[2] = t_generate(c.session, tokens, 4, 3, 3);
	is(t_submit(c.fd, jobs, 3, NULL), 0, "three jobs of a session");
	is(t_cancel(c.fd, 2, &n), 0, "the second is cancelled in the queue");
	is(t_cancel(c.fd, 1, &n), 0, "the first while it runs");
	is(t_collect(&c.ring, results, 3, 1), 0, "all end");
	is(results[1].end.error, -ECANCELED, "the second");
	is(results[1].n, 0, "has made nothing");
	is(results[1].end.cpu_ns, 0, "and cost nothing");
	is(results[0].end.error, -ECANCELED, "the first");
	is(results[2].end.kind, BITNET_ENTRY_DONE, "the third ends well");
	is(results[2].n, 3, "with its tokens");
	ok(results[2].end.position == results[0].end.position + 6,
	   "behind what the first left in the cache");

	/* All with one user_data at once. */
	t_session_rewind(c.fd, c.session, 0);
	jobs[0].user_data = jobs[1].user_data = jobs[2].user_data = 9;
	is(t_submit(c.fd, jobs, 3, NULL), 0, "three jobs with one user_data");
	is(t_cancel(c.fd, 9, &n), 0, "CANCEL");
	is(n, 3, "ends three");
	for (n = 0; n < 3;) {
		struct bitnet_ring_entry e;

		if (t_ring_wait(&c.ring, &e))
			break;
		n += e.kind == BITNET_ENTRY_ERROR && e.error == -ECANCELED;
	}
	is(n, 3, "each has its entry");
	t_client_close(&c);
}

/* During prefill: a prompt that takes many steps. */
static void check_prefill(void)
{
	static uint32_t prompt[1000];
	struct bitnet_job job;
	struct t_client c;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(prompt); i++)
		prompt[i] = i;
	t_client_open(&c, &slow, 16);
	job = t_generate(c.session, prompt, ARRAY_SIZE(prompt), 10, 1);
	for (i = 0; i < 5; i++) {
		is(t_submit(c.fd, &job, 1, NULL), 0, "a prompt of %zu tokens", ARRAY_SIZE(prompt));
		t_sleep_ns(i * 3000000);
		is(t_cancel(c.fd, 1, NULL), 0, "is cancelled");
		is(t_collect(&c.ring, results, 1, 1), 0, "and ends");
		ok(results[0].end.position < ARRAY_SIZE(prompt),
		   "with %u of its tokens in the cache", results[0].end.position);
		is(t_session_rewind(c.fd, c.session, 0), 0, "REWIND works at once");
	}
	t_client_close(&c);
}

/* Weights of t_slow that a step of many rows reads, all of them once: 2 bits each. */
static uint64_t step_bytes(void)
{
	const struct t_shape *s = &t_slow;
	uint64_t heads = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;

	return s->n_layers * s->hidden * (2 * heads + 2 * kv + 3 * s->ffn) / 4;
}

/* Nobody waits for what a step computes any more: it is left in the middle. */
static void check_abandon(void)
{
	static uint32_t prompt[1000];
	unsigned int i, left = 0, rounds = 8;
	uint64_t before, bytes = 0, wait;
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, &slow, 16);
	job = t_generate(c.session, prompt, ARRAY_SIZE(prompt), 10, 1);
	for (i = 0; i < rounds; i++) {
		if (t_submit(c.fd, &job, 1, NULL))
			bail("SUBMIT");
		t_sleep_ns((i + 1) * 3000000);
		before = t_stats(c.fd).out_weight_bytes;
		if (t_cancel(c.fd, 1, NULL) || t_collect(&c.ring, results, 1, 1))
			bail("CANCEL");
		/* The step is charged when all have left it; none may have been in flight. */
		for (wait = 0; wait < (t_is_fast() ? 1000 : 10000); wait++) {
			bytes = t_stats(c.fd).out_weight_bytes;
			if (bytes != before)
				break;
			t_sleep_ns(1000000);
		}
		left += bytes % step_bytes() != 0;
		t_client_close(&c);
		t_client_open(&c, &slow, 16);
		job.session_id = c.session;
	}
	ok(left, "%u of %u steps were left in the middle", left, rounds);
	t_client_close(&c);
}

/* After a cancelled job the session goes on exactly where it was. */
static void check_state(void)
{
	static struct t_result want;
	struct bitnet_job job;
	struct t_client c;
	unsigned int i, wrong = 0, n = t_size(t_is_fast() ? 500 : 40, 10000), done_before = 0;
	uint64_t seed = 5;

	t_client_open(&c, &tiny, 256);
	job = t_generate(c.session, tokens, 4, 20, 1);
	if (t_run(&c.ring, &job, &want))
		bail("the tiny model does not run");
	for (i = 0; t_more(i, n, "jobs cancelled"); i++) {
		job = t_generate(c.session, tokens, 4, 200, 1);
		t_session_rewind(c.fd, c.session, 0);
		if (t_submit(c.fd, &job, 1, NULL))
			bail("SUBMIT");
		t_sleep_ns(t_random(&seed) % 1000000);
		if (t_cancel(c.fd, 1, NULL))
			done_before++;
		if (t_collect(&c.ring, results, 1, 1))
			bail("no end of a job");
		/* What is left can be kept, and rewound. */
		if (t_session_rewind(c.fd, c.session, results[0].end.position) ||
		    t_session_rewind(c.fd, c.session, 0))
			wrong++;
		job = t_generate(c.session, tokens, 4, 20, 1);
		if (t_run(&c.ring, &job, &results[1]) || !t_same_hashes(&want, &results[1]))
			wrong++;
	}
	ok(i, "%u jobs cancelled at random moments (%u had ended before)", i, done_before);
	is(wrong, 0, "their session then gives the right tokens");
	t_client_close(&c);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	slow = t_image_random(&t_slow);
	tiny = t_image_random(&t_tiny);
	check_states();
	check_prefill();
	check_abandon();
	check_state();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * submit_generate.c - GENERATE gives the demo model's golden text, token by token
 *
 * Golden: what an independent float64 reference makes of the prompts; see tests/golden.
 */
#include "device.h"

static struct t_image image;
static struct t_client c;
static struct t_result result, other;

static void check_entries(const struct t_golden *g, uint64_t submitted)
{
	bool positions = true, logprobs = true, hashes = true, times = true;
	uint32_t i;

	for (i = 0; i < result.n; i++) {
		positions &= result.token[i].position == g->n_ids + i;
		/* Greedy tokens of a sound model are likely: far above one in its vocabulary. */
		logprobs &= result.token[i].logprob <= 0 && result.token[i].logprob > -8000000;
		hashes &= result.token[i].logits_hash && (!i || result.token[i].logits_hash !=
							  result.token[i - 1].logits_hash);
		times &= result.token[i].time_ns > submitted;
	}
	ok(positions, "positions count from the prompt's length");
	ok(logprobs, "log-probabilities are those of likely tokens");
	ok(hashes, "each token has a hash of its own");
	ok(times, "times lie behind SUBMIT");
	is(result.end.kind, BITNET_ENTRY_DONE, "DONE comes last");
	is(result.end.reason, BITNET_REASON_LENGTH, "because of max_tokens");
	is(result.end.position, g->n_ids + T_N_GREEDY - 1,
	   "the cache holds all but the last token");
	is(result.end.n_tokens, T_N_GREEDY, "DONE counts the tokens");
	ok(result.end.cpu_ns > 0, "%llu ns of worker time were charged",
	   (unsigned long long)result.end.cpu_ns);
}

static void check_golden(void)
{
	struct bitnet_job job;
	uint64_t submitted;
	unsigned int i;
	uint32_t n;

	for (i = 0; i < T_N_GOLDEN; i++) {
		const struct t_golden *g = &t_golden[i];

		t_session_rewind(c.fd, c.session, 0);
		submitted = t_now();
		n = i ? t_tokens(T_N_GREEDY) : T_N_GREEDY;
		job = t_generate(c.session, g->ids, g->n_ids, n, 0xfeed0000 + i);
		if (!is(t_run(&c.ring, &job, &result), 0, "prompt %u: %.30s", i, g->prompt))
			continue;
		ok(t_same_tokens(&result, g->greedy, n), "golden continuation");
		if (!i)
			check_entries(g, submitted);
	}
}

/* A text in several jobs, by the header's rule: the last token starts the next job's input. */
static void check_continued(void)
{
	const struct t_golden *g = &t_golden[0];
	uint32_t next[1], made = 0, n;
	struct bitnet_job job;
	bool same = true;

	t_session_rewind(c.fd, c.session, 0);
	job = t_generate(c.session, g->ids, g->n_ids, 1, 1);
	while (made < T_N_GREEDY) {
		if (t_run(&c.ring, &job, &result) || result.end.kind != BITNET_ENTRY_DONE)
			break;
		same &= t_same_tokens(&result, g->greedy + made, result.n);
		made += result.n;
		next[0] = g->greedy[made - 1];
		n = T_N_GREEDY - made < 11 ? T_N_GREEDY - made : 11;
		job = t_generate(c.session, next, 1, n, 1);
	}
	is(made, T_N_GREEDY, "a text in six jobs is complete");
	ok(same, "and the same");

	/* Jobs of one session run in order, even when all are handed in at once. */
	t_session_rewind(c.fd, c.session, 0);
	{
		struct bitnet_job jobs[3];

		static struct t_result results[3];

		next[0] = g->greedy[4];
		jobs[0] = t_generate(c.session, g->ids, g->n_ids, 5, 10);
		jobs[1] = t_generate(c.session, next, 1, 20, 11);
		jobs[2] = t_generate(c.session, g->greedy + 24, 1, 23, 12);
		is(t_submit(c.fd, jobs, 3, &n), 0, "three jobs of one session in one SUBMIT");
		is(n, 3, "are accepted");
		is(t_collect(&c.ring, results, 3, 10), 0, "and end");
		ok(t_same_tokens(&results[0], g->greedy, 5) &&
			   t_same_tokens(&results[1], g->greedy + 5, 20) &&
			   t_same_tokens(&results[2], g->greedy + 25, 23),
		   "in order: the text is the same");
		ok(results[0].end.time_ns <= results[1].token[0].time_ns &&
		   results[1].end.time_ns <= results[2].token[0].time_ns, "one after the other");
	}
}

static void check_stop(void)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_job job = t_generate(c.session, g->ids, g->n_ids, 20, 1);
	uint32_t i;

	for (i = 0; i < BITNET_MAX_STOP_TOKENS; i++)
		job.stop_tokens[i] = 4000 + i;
	job.n_stop = BITNET_MAX_STOP_TOKENS;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "stop tokens that do not come");
	is(result.n, 20, "change nothing");

	job.stop_tokens[BITNET_MAX_STOP_TOKENS - 1] = g->greedy[13];
	for (i = 0; g->greedy[i] != g->greedy[13];)
		i++;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "the last of 16 stop tokens comes");
	is(result.end.reason, BITNET_REASON_STOP, "and ends the job");
	is(result.n, i + 1, "it is the last token");
	is(result.token[result.n - 1].token, g->greedy[13], "and is reported");
	is(result.end.position, g->n_ids + i, "but not in the cache");

	/* Only n_stop of them count. */
	job.n_stop = BITNET_MAX_STOP_TOKENS - 1;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "one less");
	is(result.n, 20, "does not see it");
}

static void check_context(void)
{
	const struct t_golden *g = &t_golden[0];
	uint32_t small;
	struct bitnet_job job;

	is(t_session_open(c.fd, c.model, g->n_ids + 6, &small), 0, "a session that is soon full");
	job = t_generate(small, g->ids, g->n_ids, T_N_GREEDY, 1);
	is(t_run(&c.ring, &job, &result), 0, "more tokens than it holds");
	is(result.end.reason, BITNET_REASON_CONTEXT, "ends because of the context");
	is(result.end.position, g->n_ids + 6, "which is full");
	ok(t_same_tokens(&result, g->greedy, 7), "the last token needs no room");
	t_session_close(c.fd, small);
}

/* The sampler's chance is the seed's: the same seed gives the same text, another one another. */
static void check_sampling(void)
{
	const struct t_golden *g = &t_golden[0];
	const uint32_t n = t_tokens(T_N_GREEDY);
	struct bitnet_job job = t_generate(c.session, g->ids, g->n_ids, n, 1);
	uint32_t i, differing = 0;

	job.temperature_ppm = BITNET_PPM;
	job.seed = 1;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "temperature 1");
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &other), 0, "again");
	ok(t_same_hashes(&result, &other), "the same seed gives the same text");
	job.seed = 2;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &other), 0, "with another seed");
	for (i = 0; i < result.n && i < other.n; i++)
		differing += result.token[i].token != other.token[i].token;
	ok(differing, "another text");

	/* All of these leave one token to choose from. */
	job.top_k = 1;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "top-k 1");
	ok(t_same_tokens(&result, g->greedy, n), "is greedy");
	job.top_k = 0;
	job.top_p_ppm = 1;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "top-p 0.000001");
	ok(t_same_tokens(&result, g->greedy, n), "is greedy");
	job.top_p_ppm = 0;
	job.min_p_ppm = BITNET_PPM;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "min-p 1");
	ok(t_same_tokens(&result, g->greedy, n), "is greedy");

	/* A strong penalty on the whole text: no token comes twice. */
	job = t_generate(c.session, g->ids, g->n_ids, n, 1);
	job.repeat_penalty_ppm = 100 * BITNET_PPM;
	job.repeat_last_n = BITNET_MAX_REPEAT_LAST_N;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &result), 0, "repetition penalty 100");
	ok(result.n == n, "has all its tokens");
	differing = 0;
	for (i = 1; i < result.n; i++)
		differing += result.token[i].token != result.token[i - 1].token;
	is(differing, result.n - 1, "in which no token follows itself");
}

/* A prompt longer than any step. */
static void check_long_prompt(void)
{
	static uint32_t tokens[T_DEMO_CTX];
	struct bitnet_info info = t_info(c.fd);
	uint32_t i, n = info.out_max_rows + 3;
	struct bitnet_job job;

	if (n > T_DEMO_CTX - 8)
		n = T_DEMO_CTX - 8;
	for (i = 0; i < n; i++)
		tokens[i] = i < t_golden[1].n_ids ? t_golden[1].ids[i] :
				t_golden[1].greedy[(i - t_golden[1].n_ids) % T_N_GREEDY];
	t_session_rewind(c.fd, c.session, 0);
	job = t_generate(c.session, tokens, n, 4, 1);
	is(t_run(&c.ring, &job, &result), 0, "a prompt of %u tokens in one job", n);
	t_session_rewind(c.fd, c.session, 0);
	for (i = 0; i < n; i += 7) {
		uint32_t left = n - i;

		job = left > 7 ? t_score(c.session, tokens + i, 7, 2) :
				 t_generate(c.session, tokens + i, left, 4, 2);
		if (t_run(&c.ring, &job, &other))
			break;
	}
	ok(t_same_hashes(&result, &other), "gives what the same prompt in pieces of 7 gives");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	image = t_image_demo();
	t_client_open(&c, &image, 128);
	check_golden();
	check_continued();
	check_stop();
	check_context();
	check_sampling();
	check_long_prompt();
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

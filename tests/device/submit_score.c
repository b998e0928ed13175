// SPDX-License-Identifier: GPL-2.0
/*
 * submit_score.c - SCORE gives each token's log-probability: the same that GENERATE saw when it
 * made it
 */
#include "device.h"

static struct t_client c;
static struct t_result made, scored;

int main(void)
{
	const struct t_golden *g = &t_golden[0];
	const uint32_t n = g->n_ids + T_N_GREEDY;
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_demo();
	uint32_t tokens[16 + T_N_GREEDY], i, same = 0, likely = 0;
	struct bitnet_stats stats;
	struct bitnet_job job;
	int64_t sum = 0;
	bool positions = true, echoed = true;

	t_client_open(&c, &image, 128);
	memcpy(tokens, g->ids, g->n_ids * 4);
	memcpy(tokens + g->n_ids, g->greedy, sizeof(g->greedy));

	job = t_generate(c.session, g->ids, g->n_ids, T_N_GREEDY, 1);
	is(t_run(&c.ring, &job, &made), 0, "GENERATE");
	t_session_rewind(c.fd, c.session, 0);
	job = t_score(c.session, tokens, n, 2);
	is(t_run(&c.ring, &job, &scored), 0, "SCORE of prompt and text");
	is(scored.n, n - 1, "all tokens but the first, which follows nothing");
	is(scored.end.reason, BITNET_REASON_LENGTH, "all input is scored");
	is(scored.end.position, n, "and in the cache");
	for (i = 0; i < scored.n; i++) {
		const struct bitnet_ring_entry *e = &scored.token[i];

		positions &= e->position == i + 1;
		echoed &= e->token == tokens[i + 1];
		sum += e->logprob;
		if (i + 1 < g->n_ids)
			continue;
		same += e->logits_hash == made.token[i + 1 - g->n_ids].logits_hash &&
			e->logprob == made.token[i + 1 - g->n_ids].logprob;
	}
	ok(positions, "positions are those of the tokens");
	ok(echoed, "the entries name the tokens");
	is(same, T_N_GREEDY, "log-probabilities and logits are those of GENERATE, bit for bit");
	ok(sum < 0 && sum / (int)scored.n > -4000000,
	   "the mean log-probability is that of a sound text: %lld",
	   (long long)(sum / (int)scored.n));

	/* An unlikely token is told from a likely one. */
	tokens[n - 1] = (tokens[n - 1] + 1) % T_DEMO_VOCAB;
	t_session_rewind(c.fd, c.session, 0);
	job = t_score(c.session, tokens, n, 3);
	is(t_run(&c.ring, &job, &made), 0, "SCORE of the text with another last token");
	for (i = 0; i + 1 < scored.n; i++)
		likely += made.token[i].logprob == scored.token[i].logprob;
	is(likely, scored.n - 1, "the others stay as they were");
	ok(made.token[scored.n - 1].logprob < scored.token[scored.n - 1].logprob,
	   "the last is less likely");

	/*
	 * The second job of a session scores its tokens but the first, for which there are no
	 * logits any more.
	 */
	t_session_rewind(c.fd, c.session, 20);
	job = t_score(c.session, tokens + 20, 10, 4);
	is(t_run(&c.ring, &job, &made), 0, "SCORE in the middle of a session");
	is(made.n, 9, "9 of 10 tokens");
	is(made.token[0].position, 21, "the first of them");
	is(made.token[0].logprob, scored.token[20].logprob, "with the value that it had in one go");

	job = t_score(c.session, tokens, 1, 5);
	is(t_run(&c.ring, &job, &made), 0, "SCORE of one token");
	is(made.n, 0, "has no entry but DONE");

	t_session_rewind(c.fd, c.session, 0);
	job = t_score(c.session, tokens, 10, 6);
	job.flags = 0;
	is(t_run(&c.ring, &job, &made), 0, "without F_HASH");
	for (i = likely = 0; i < made.n; i++)
		likely += !made.token[i].logits_hash &&
			  made.token[i].logprob == scored.token[i].logprob;
	is(likely, 9, "hashes are 0 and log-probabilities the same");

	stats = t_stats(c.fd);
	is(stats.out_tokens_in, g->n_ids + 2 * n + 10 + 1 + 10, "STATS counts fed tokens");
	is(stats.out_tokens_out, T_N_GREEDY, "and generated ones");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

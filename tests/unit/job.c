// SPDX-License-Identifier: GPL-2.0
/* Jobs as state machines: rows and slots wanted, tokens out, reasons to end, requests refused */
#include <stdint.h>

#include <linux/bitnet.h>

#include "bn_job.h"
#include "tap.h"

static const struct bn_model model = { .vocab = 100 };
static struct bn_sampler samplers[BN_MAX_HEAD_ROWS];
static struct bn_step step = { .model = &model, .samplers = samplers };
static struct bn_kv kv;
static uint32_t tokens[40];
static uint32_t n_rows, n_slots;

static struct bn_job job_of(uint32_t kind, uint32_t n_input, uint32_t max_tokens)
{
	struct bn_job j = { .kind = kind, .kv = &kv, .input = tokens, .n_input = n_input,
			    .max_tokens = max_tokens };

	for (uint32_t i = 0; i < 40; i++)
		tokens[i] = i;
	kv = (struct bn_kv){ .n_ctx = 64 };
	return j;
}

/* One step of @rows rows that makes the tokens @first, @first + 1, ... */
static uint32_t run(struct bn_job *j, uint32_t rows, uint32_t first, struct bn_token *out)
{
	n_rows = n_slots = 0;
	bn_job_fill(j, &step, rows, &n_rows, &n_slots);
	bn_job_arm(j, &step);
	for (uint32_t i = 0; i < n_slots; i++) {
		samplers[i].token = first + i;
		samplers[i].logprob = -1000 - (int32_t)i;
		samplers[i].hash = 77;
	}
	return bn_job_finish(j, &step, out);
}

static void check_generate(void)
{
	struct bn_job j = job_of(BITNET_JOB_GENERATE, 5, 3);
	struct bn_token out[BN_MAX_HEAD_ROWS];

	is(bn_job_init(&j, &model), BN_OK, "init");
	is(bn_job_wants(&j), 5, "wants all its input");
	ok(!bn_job_decoding(&j), "which is prefill");
	is(bn_job_slots(&j, 4), 0, "no logits before the end of the input");
	is(bn_job_slots(&j, 5), 1, "one row of them there");
	is(run(&j, 3, 0, out), 0, "part of the input gives nothing");
	is(kv.n_past, 3, "but is in the cache");
	is(step.rows[0].token, 0, "first row: first token");
	is(step.rows[2].pos, 2, "third row: third position");
	is(step.rows[2].slot, BN_NO_SLOT, "without a slot");
	is(bn_job_wants(&j), 2, "wants the rest");
	is(run(&j, 2, 50, out), 1, "which gives a token");
	is(step.rows[1].slot, 0, "from the last row");
	is(samplers[0].position, 5, "drawn for position 5");
	is(samplers[0].force, BN_SAMPLE, "drawn, not given");
	is(out[0].token, 50, "token");
	is(out[0].position, 5, "position");
	is(out[0].index, 0, "index");
	is(out[0].hash, 77, "hash");
	ok(bn_job_decoding(&j), "now it decodes");
	is(bn_job_wants(&j), 1, "one row at a time");
	run(&j, 1, 51, out);
	is(step.rows[0].token, 50, "the token is fed");
	is(out[0].index, 1, "second token");
	is(j.reason, 0, "goes on");
	run(&j, 1, 52, out);
	is(j.reason, BITNET_REASON_LENGTH, "until there are enough");
	is(kv.n_past, 7, "the last token is not in the cache");
	is(bn_job_wants(&j), 0, "wants nothing more");
	ok(!bn_job_decoding(&j), "nor decodes");
}

static void check_ends(void)
{
	struct bn_job j = job_of(BITNET_JOB_GENERATE, 2, 100);
	struct bn_token out[BN_MAX_HEAD_ROWS];

	j.stop[0] = 90;
	j.stop[1] = 60;
	j.n_stop = 2;
	bn_job_init(&j, &model);
	run(&j, 2, 59, out);
	is(j.reason, 0, "no stop token");
	is(run(&j, 1, 60, out), 1, "a stop token is handed out");
	is(j.reason, BITNET_REASON_STOP, "and ends the job");

	j = job_of(BITNET_JOB_GENERATE, 2, 100);
	kv.n_ctx = 3;
	bn_job_init(&j, &model);
	run(&j, 2, 1, out);
	is(j.reason, 0, "one more fits");
	run(&j, 1, 1, out);
	is(j.reason, BITNET_REASON_CONTEXT, "then the context is full");
	is(kv.n_past, 3, "to the last token");

	j = job_of(BITNET_JOB_GENERATE, 3, 1);
	kv.n_ctx = 3;
	bn_job_init(&j, &model);
	run(&j, 3, 1, out);
	is(j.reason, BITNET_REASON_LENGTH, "enough tokens comes before a full context");
}

static void check_score(void)
{
	struct bn_job j = job_of(BITNET_JOB_SCORE, 20, 0);
	struct bn_token out[BN_MAX_HEAD_ROWS];

	kv.n_past = 4;
	is(bn_job_init(&j, &model), BN_OK, "score");
	is(bn_job_slots(&j, 16), 16, "a slot for each row");
	is(bn_job_slots(&j, 20), 19, "but for the last");
	is(run(&j, 16, 0, out), 16, "16 rows give 16 scores");
	is(samplers[0].force, 1, "the first row scores the second token");
	is(samplers[15].force, 16, "the sixteenth the seventeenth");
	is(out[0].position, 5, "at its own position");
	is(j.reason, 0, "there is more");
	is(run(&j, 4, 16, out), 3, "4 rows give the last 3");
	is(step.rows[3].slot, BN_NO_SLOT, "the last row scores nothing");
	is(out[2].index, 18, "19 in all");
	is(j.reason, BITNET_REASON_LENGTH, "end");
	is(kv.n_past, 24, "all are in the cache");

	j = job_of(BITNET_JOB_SCORE, 1, 0);
	bn_job_init(&j, &model);
	is(bn_job_slots(&j, 1), 0, "a single token has no score");
	is(run(&j, 1, 0, out), 0, "and gives none");
	is(j.reason, BITNET_REASON_LENGTH, "it is only fed");
}

static void check_abandon(void)
{
	struct bn_job j = job_of(BITNET_JOB_GENERATE, 5, 3);
	struct bn_token out[BN_MAX_HEAD_ROWS];

	bn_job_init(&j, &model);
	n_rows = n_slots = 0;
	bn_job_fill(&j, &step, 5, &n_rows, &n_slots);
	bn_job_abandon(&j);
	is(kv.n_past, 0, "abandoned: nothing is in the cache");
	is(bn_job_wants(&j), 5, "all is wanted again");
	is(run(&j, 5, 1, out), 1, "and gives the token");
	/* Two jobs in a step: rows and slots follow each other. */
	n_rows = 7;
	n_slots = 3;
	bn_job_fill(&j, &step, 1, &n_rows, &n_slots);
	is(n_rows, 8, "rows behind those of others");
	is(step.rows[7].slot, 3, "and slots");
}

/* The tokens that the sampler is told to be recent, in no order. */
static bool recent_are(const struct bn_job *j, const uint32_t *want, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < j->n_window; k++)
			found += j->window[k] == want[i];
	return found == n && j->n_window == n;
}

static void check_recent(void)
{
	struct bn_job j = job_of(BITNET_JOB_GENERATE, 6, 100);
	struct bn_token out[BN_MAX_HEAD_ROWS];

	j.sampling.repeat_last_n = 4;
	tokens[3] = tokens[5] = 9;
	bn_job_init(&j, &model);
	ok(recent_are(&j, (uint32_t[]){ 2, 9, 4 }, 3), "the last tokens of the input, each once");
	run(&j, 6, 9, out);
	is(samplers[0].n_recent, 3, "the sampler gets them");
	ok(recent_are(&j, (uint32_t[]){ 9, 4 }, 2), "9 4 9 9");
	run(&j, 1, 8, out);
	ok(recent_are(&j, (uint32_t[]){ 9, 8, 4 }, 3), "4 9 9 8");
	run(&j, 1, 7, out);
	ok(recent_are(&j, (uint32_t[]){ 9, 8, 7 }, 3), "9 9 8 7");
	run(&j, 1, 7, out);
	run(&j, 1, 7, out);
	ok(recent_are(&j, (uint32_t[]){ 8, 7 }, 2), "8 7 7 7");
}

static void check_init(void)
{
	struct bn_job j = job_of(BITNET_JOB_GENERATE, 4, 1);

	tokens[3] = 100;
	is(bn_job_init(&j, &model), BN_ERANGE, "token beyond the vocabulary");
	tokens[3] = 99;
	is(bn_job_init(&j, &model), BN_OK, "the last one of the vocabulary");
	j.stop[0] = 100;
	j.n_stop = 1;
	is(bn_job_init(&j, &model), BN_ERANGE, "stop token beyond it");
	j.n_stop = 0;
	kv.n_past = 61;
	is(bn_job_init(&j, &model), BN_ERANGE, "more than the context has left");
	kv.n_past = 60;
	is(bn_job_init(&j, &model), BN_OK, "just as much");
	ok(bn_job_fits(&j), "fits");
	kv.n_past = 62;
	ok(!bn_job_fits(&j), "no longer, when another job came first");
	kv.n_past = 0;
	j.n_input = 0;
	is(bn_job_init(&j, &model), BN_EPARAM, "no input");
	j.n_input = 1;
	j.max_tokens = 0;
	is(bn_job_init(&j, &model), BN_EPARAM, "no tokens to make");
	j.max_tokens = 1;
	j.sampling.top_p_ppm = 1000001;
	is(bn_job_init(&j, &model), BN_EPARAM, "bad sampler");
	j.sampling.top_p_ppm = 0;
	j.kind = BITNET_JOB_LINEAR;
	is(bn_job_init(&j, &model), BN_EPARAM, "not a job of rows");
}

static struct bitnet_job request(uint32_t kind)
{
	struct bitnet_job r = { .kind = kind, .input_count = 1 };

	if (kind == BITNET_JOB_GENERATE)
		r.max_tokens = 1;
	r.session_id = kind == BITNET_JOB_LINEAR ? 0 : 1;
	r.model_id = kind == BITNET_JOB_LINEAR;
	return r;
}

#define REFUSED(kind, field, value) do {							\
	struct bitnet_job refused = request(kind);						\
	refused.field = value;									\
	is(bn_job_check_request(&refused), BN_EPARAM, #kind ": " #field " = " #value);		\
} while (0)

static void check_requests(void)
{
	struct bitnet_job r;

	for (uint32_t kind = BITNET_JOB_GENERATE; kind <= BITNET_JOB_LINEAR; kind++) {
		r = request(kind);
		is(bn_job_check_request(&r), BN_OK, "plain request of kind %u", kind);
		REFUSED(kind, flags, 2);
		REFUSED(kind, __resv, 1);
		REFUSED(kind, input_count, 0);
	}
	REFUSED(BITNET_JOB_GENERATE, kind, 0);
	REFUSED(BITNET_JOB_GENERATE, kind, 4);
	REFUSED(BITNET_JOB_GENERATE, max_tokens, 0);
	REFUSED(BITNET_JOB_GENERATE, n_stop, 17);
	REFUSED(BITNET_JOB_GENERATE, top_k, 65537);
	REFUSED(BITNET_JOB_GENERATE, repeat_last_n, 257);
	REFUSED(BITNET_JOB_GENERATE, model_id, 1);
	REFUSED(BITNET_JOB_GENERATE, layer, 1);
	REFUSED(BITNET_JOB_GENERATE, data_offset, 64);
	REFUSED(BITNET_JOB_SCORE, max_tokens, 1);
	REFUSED(BITNET_JOB_SCORE, seed, 1);
	REFUSED(BITNET_JOB_SCORE, temperature_ppm, 1);
	REFUSED(BITNET_JOB_SCORE, n_stop, 1);
	REFUSED(BITNET_JOB_SCORE, matrix, 1);
	REFUSED(BITNET_JOB_LINEAR, session_id, 1);
	REFUSED(BITNET_JOB_LINEAR, matrix, BITNET_MATRIX_COUNT);
	REFUSED(BITNET_JOB_LINEAR, input_count, BN_MAX_ROWS + 1);
	REFUSED(BITNET_JOB_LINEAR, data_offset, 32);
	REFUSED(BITNET_JOB_LINEAR, flags, BITNET_JOB_F_HASH);
	REFUSED(BITNET_JOB_LINEAR, max_tokens, 1);
}

int main(void)
{
	check_requests();
	check_init();
	check_generate();
	check_ends();
	check_score();
	check_abandon();
	check_recent();
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/* generate.c - see generate.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "generate.h"
#include "interrupt.h"
#include "out.h"

/* Names the job within its file: there is one at a time. */
#define USER_DATA	1

/* How long a signal that comes just before WAIT can go unnoticed. */
#define WAIT_SLICE_NS	200000000LL

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

uint64_t sampler_seed(const struct sampler_args *args)
{
	uint32_t seed;

	if (args->seed != SEED_RANDOM)
		return args->seed;
	/* 32 bits: short enough to type again */
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = now_ns();
	return seed;
}

static void fill_job(const struct generation *g, struct bitnet_job *job)
{
	const struct sampler_args *a = g->sampler;
	const uint32_t *stops;
	size_t n;

	memset(job, 0, sizeof(*job));
	job->kind = BITNET_JOB_GENERATE;
	job->user_data = USER_DATA;
	job->session_id = g->session;
	job->input = (uintptr_t)g->prompt;
	job->input_count = g->n_prompt;
	job->max_tokens = g->max_tokens;
	job->seed = g->seed;
	job->temperature_ppm = a->temp_ppm;
	job->top_k = a->top_k;
	job->top_p_ppm = a->top_p_ppm;
	job->min_p_ppm = a->min_p_ppm;
	job->repeat_penalty_ppm = a->repeat_penalty_ppm;
	job->repeat_last_n = a->repeat_last_n;
	class_apply(g->job_class, job);
	if (a->ignore_eos)
		return;
	n = bitnet_tokenizer_stops(g->tokenizer, &stops);
	if (n > BITNET_MAX_STOP_TOKENS)
		n = BITNET_MAX_STOP_TOKENS;
	if (n)
		memcpy(job->stop_tokens, stops, n * sizeof(*stops));
	job->n_stop = n;
}

static bool is_stop(const struct bitnet_job *job, uint32_t token)
{
	for (uint32_t i = 0; i < job->n_stop; i++)
		if (job->stop_tokens[i] == token)
			return true;
	return false;
}

/* Where a stop string begins in the text from @from on; -1: nowhere. The earliest counts. */
static ssize_t find_stop(const struct generation *g, size_t from)
{
	const struct arg_strings *stop = &g->sampler->stop;
	char *best = NULL, *at;

	for (unsigned int i = 0; i < stop->n; i++) {
		at = *stop->s[i] ? memmem(g->text + from, g->text_len - from, stop->s[i],
					  strlen(stop->s[i])) : NULL;
		if (at && (!best || at < best))
			best = at;
	}
	return best ? best - g->text : -1;
}

/* Bytes at the end of the text that may be the start of a stop string: not to be shown yet. */
static size_t held_back(const struct generation *g)
{
	const struct arg_strings *stop = &g->sampler->stop;
	size_t held = 0, n, have = g->text_len - g->text_shown;

	for (unsigned int i = 0; i < stop->n; i++) {
		n = strlen(stop->s[i]);
		for (n = n && n - 1 < have ? n - 1 : have; n > held; n--) {
			if (n < strlen(stop->s[i]) &&
			    !memcmp(g->text + g->text_len - n, stop->s[i], n)) {
				held = n;
				break;
			}
		}
	}
	return held;
}

static bool show(struct generation *g, size_t upto, const struct bitnet_ring_entry *entry)
{
	size_t from = g->text_shown;

	g->text_shown = upto;
	return !g->on_text || g->on_text(g->arg, g->text + from, upto - from, entry);
}

/* Return: true while more text is wanted. */
static bool add_text(struct generation *g, const char *piece, size_t len,
		     const struct bitnet_ring_entry *entry)
{
	char *bigger = realloc(g->text, g->text_len + len + 1);
	ssize_t end;

	if (!bigger)
		return false;
	g->text = bigger;
	memcpy(g->text + g->text_len, piece, len);
	g->text_len += len;
	g->text[g->text_len] = '\0';

	end = find_stop(g, g->text_shown);
	if (end >= 0) {
		g->text_len = end;
		g->text[end] = '\0';
		g->finish = "stop-string";
		show(g, end, entry);
		return false;
	}
	if (!entry)
		return show(g, g->text_len, NULL);
	return show(g, g->text_len - held_back(g), entry);
}

static int add_token(struct generation *g, const struct bitnet_ring_entry *e)
{
	struct bitnet_ring_entry *bigger;

	if (!(g->n_tokens % 64)) {
		bigger = realloc(g->tokens, (g->n_tokens + 64) * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		g->tokens = bigger;
	}
	g->tokens[g->n_tokens++] = *e;
	g->n_late += !!(e->flags & BITNET_ENTRY_F_LATE);
	return 0;
}

static const char *reason_name(unsigned int reason)
{
	switch (reason) {
	case BITNET_REASON_STOP:
		return "stop";
	case BITNET_REASON_LENGTH:
		return "length";
	case BITNET_REASON_CONTEXT:
		return "context";
	default:
		return "unknown";
	}
}

/*
 * A TOKEN entry: into the list, and its text to who wants it. Return: 1 while more is wanted, 0, or
 * a negative errno.
 */
static int take_token(struct generation *g, struct bitnet_decoder *decoder,
		      const struct bitnet_job *job, const struct bitnet_ring_entry *e)
{
	const char *piece;
	size_t len;
	int ret = add_token(g, e);

	if (ret)
		return ret;
	if (is_stop(job, e->token))
		return 1;
	piece = bitnet_decoder_push(decoder, e->token, &len);
	return piece && add_text(g, piece, len, e);
}

/*
 * Through SUBMIT and the ring. @last: out, the final entry. Return: 1 if all text was wanted, 0, or
 * a negative errno.
 */
static int run_submitted(struct generation *g, struct bitnet_decoder *decoder,
			 const struct bitnet_job *job, struct bitnet_ring_entry *last,
			 struct bitnet_error *err)
{
	bool cancelled = false;
	int wanted = 1, ret;

	ret = bitnet_engine_submit(g->engine, job, 1, NULL, err);
	if (g->on_submitted)
		g->on_submitted(g->arg, ret, err);
	if (ret)
		return ret;
	for (;;) {
		if ((wanted <= 0 || interrupt_pending()) && !cancelled) {
			/* -ENOENT: it has ended by itself, and its last entry is on the way */
			bitnet_engine_cancel(g->engine, USER_DATA);
			cancelled = true;
		}
		if (!bitnet_engine_next(g->engine, last)) {
			ret = bitnet_engine_wait(g->engine, 1, WAIT_SLICE_NS);
			if (ret < 0 && ret != -ETIME && ret != -EINTR)
				return bitnet_error_set(err, ret, "waiting for tokens: %s",
							bitnet_strerror(ret));
			continue;
		}
		if (last->user_data != USER_DATA)
			continue;
		if (last->kind != BITNET_ENTRY_TOKEN)
			break;
		if (wanted > 0)
			wanted = take_token(g, decoder, job, last);
	}
	if (last->kind == BITNET_ENTRY_ERROR && !(last->error == -ECANCELED && cancelled))
		return bitnet_error_set(err, last->error, "the job failed: %s",
					bitnet_strerror(last->error));
	return wanted > 0;
}

/*
 * By RUN. A job for each token, so that its text can be shown at once: the bits are those of one
 * job for all, unless there is a repetition penalty, which looks at the tokens of its own job. Then
 * there is one, and the text comes in the end.
 */
static int run_inline(struct generation *g, struct bitnet_decoder *decoder, struct bitnet_job *job,
		      struct bitnet_ring_entry *last, struct bitnet_error *err)
{
	bool single = job->repeat_last_n && job->repeat_penalty_ppm &&
		      job->repeat_penalty_ppm != BITNET_PPM;
	uint32_t chunk = single ? g->max_tokens : 1, kept = g->cached, fed;
	struct bitnet_ring_entry *entries = calloc((size_t)chunk + 1, sizeof(*entries));
	uint64_t cpu_ns = 0;
	unsigned int made;
	int wanted = 1, ret = 0;

	if (!entries)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	job->max_tokens = chunk;
	while (!ret && wanted > 0) {
		ret = bitnet_engine_run(g->engine, job, entries, chunk + 1, &made, err);
		if (ret == -ERANGE && g->n_tokens) {
			/* The job before made what it was to make, and filled the context. */
			last->reason = BITNET_REASON_CONTEXT;
			ret = 0;
			break;
		}
		if (ret)
			break;
		*last = entries[made - 1];
		cpu_ns += last->cpu_ns;
		if (last->kind == BITNET_ENTRY_ERROR && last->error == -EINTR &&
		    !interrupt_pending()) {
			/* Stopped and continued, say: once more from where this job began. */
			ret = bitnet_engine_session_rewind(g->engine, job->session_id, kept, err);
			continue;
		}
		for (unsigned int i = 0; wanted > 0 && i + 1 < made; i++) {
			entries[i].n_tokens = g->n_tokens;
			wanted = take_token(g, decoder, job, &entries[i]);
		}
		if (last->kind == BITNET_ENTRY_ERROR && last->error != -EINTR)
			ret = bitnet_error_set(err, last->error, "the job failed: %s",
					       bitnet_strerror(last->error));
		if (ret || last->kind == BITNET_ENTRY_ERROR ||
		    last->reason != BITNET_REASON_LENGTH || g->n_tokens >= g->max_tokens)
			break;
		if (interrupt_pending()) {
			last->kind = BITNET_ENTRY_ERROR;
			break;
		}
		kept = last->position;
		fed = g->tokens[g->n_tokens - 1].token;
		job->input = (uintptr_t)&fed;
		job->input_count = 1;
	}
	last->cpu_ns = cpu_ns;
	free(entries);
	return ret ? ret : wanted > 0;
}

int generate(struct generation *g, struct bitnet_error *err)
{
	struct bitnet_decoder *decoder = bitnet_decoder_new(g->tokenizer, g->decode_flags);
	struct bitnet_ring_entry last;
	struct bitnet_job job;
	const char *piece;
	size_t len;
	int ret;

	g->text = calloc(1, 1);
	if (!decoder || !g->text) {
		bitnet_decoder_free(decoder);
		return bitnet_error_set(err, ENOMEM, "out of memory");
	}
	fill_job(g, &job);
	g->submit_ns = now_ns();
	ret = g->run_inline ? run_inline(g, decoder, &job, &last, err) :
			      run_submitted(g, decoder, &job, &last, err);
	if (ret < 0)
		goto out;
	g->cached = last.position;
	g->cpu_ns = last.cpu_ns;
	if (ret) {
		piece = bitnet_decoder_finish(decoder, &len);
		if (piece)
			add_text(g, piece, len, NULL);
	}
	if (!g->finish)
		g->finish = ret && last.kind == BITNET_ENTRY_DONE ? reason_name(last.reason) :
								     "cancelled";
	ret = 0;
out:
	bitnet_decoder_free(decoder);
	return ret;
}

void generation_free(struct generation *g)
{
	free(g->tokens);
	free(g->text);
	g->tokens = NULL;
	g->text = NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void generation_speed(const struct generation *g, struct speed *speed)
{
	uint64_t *gap, total = 0, first;
	size_t n = g->n_tokens ? g->n_tokens - 1 : 0;

	memset(speed, 0, sizeof(*speed));
	if (!g->n_tokens)
		return;
	first = g->tokens[0].time_ns - g->submit_ns;
	speed->first_token_ms = first / 1e6;
	speed->prefill_tokens_per_s = first ? g->n_prompt * 1e9 / first : 0;
	gap = n ? malloc(n * sizeof(*gap)) : NULL;
	if (!gap)
		return;
	for (size_t i = 0; i < n; i++) {
		gap[i] = g->tokens[i + 1].time_ns - g->tokens[i].time_ns;
		total += gap[i];
	}
	qsort(gap, n, sizeof(*gap), compare);
	/* nearest rank: the smallest gap that at least p of all do not exceed */
	speed->p50_ms = gap[(n + 1) / 2 - 1] / 1e6;
	speed->p99_ms = gap[(n * 99 + 99) / 100 - 1] / 1e6;
	speed->max_ms = gap[n - 1] / 1e6;
	speed->decode_tokens_per_s = total ? n * 1e9 / total : 0;
	free(gap);
}

static json_t *ppm_json(uint32_t ppm)
{
	return json_real(ppm / (double)BITNET_PPM);
}

json_t *generation_json(const struct generation *g)
{
	const struct sampler_args *a = g->sampler;
	json_t *ids = json_array(), *sampler, *j;
	struct speed s;

	for (size_t i = 0; i < g->n_tokens; i++)
		json_array_append_new(ids, json_integer(g->tokens[i].token));
	generation_speed(g, &s);
	if (a->temp_ppm)
		sampler = json_pack(
			"{s:o, s:i, s:o, s:o, s:o, s:i, s:I}", "temp", ppm_json(a->temp_ppm),
			"top_k", (int)a->top_k, "top_p", ppm_json(a->top_p_ppm), "min_p",
			ppm_json(a->min_p_ppm), "repeat_penalty", ppm_json(a->repeat_penalty_ppm),
			"repeat_last_n", (int)a->repeat_last_n, "seed", (json_int_t)g->seed);
	else
		sampler = json_pack("{s:o, s:o, s:i}", "temp", ppm_json(0), "repeat_penalty",
				    ppm_json(a->repeat_penalty_ppm), "repeat_last_n",
				    (int)a->repeat_last_n);
	j = json_pack("{s:o, s:s, s:i, s:i, s:i, s:o, s:o, s:{s:f, s:f, s:f, s:f, s:f, s:f, s:f}}",
		      "text", out_string(g->text ? g->text : "", g->text_len), "finish",
		      g->finish ? g->finish : "error", "prompt_tokens", (int)g->n_prompt,
		      "generated_tokens", (int)g->n_tokens, "late_tokens", (int)g->n_late, "tokens",
		      ids, "sampler", sampler, "speed", "first_token_ms", s.first_token_ms,
		      "prefill_tokens_per_s", s.prefill_tokens_per_s, "decode_tokens_per_s",
		      s.decode_tokens_per_s, "token_p50_ms", s.p50_ms, "token_p99_ms", s.p99_ms,
		      "token_max_ms", s.max_ms, "cpu_ms", g->cpu_ns / 1e6);
	class_json(g->job_class, j);
	return j;
}

void generation_say_speed(const struct generation *g)
{
	struct speed s;

	generation_speed(g, &s);
	out_progress_end();
	fprintf(stderr, "prompt: %u tokens, %.1f tokens/s, first token after %.1f ms\n",
		g->n_prompt, s.prefill_tokens_per_s, s.first_token_ms);
	fprintf(stderr,
		"text:   %zu tokens, %.1f tokens/s; per token p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
		g->n_tokens, s.decode_tokens_per_s, s.p50_ms, s.p99_ms, s.max_ms);
	fprintf(stderr, "cpu:    %.1f ms; ended by: %s\n", g->cpu_ns / 1e6, g->finish);
	if (g->job_class->job_class == BITNET_CLASS_REALTIME)
		fprintf(stderr, "late:   %zu of %zu tokens\n", g->n_late, g->n_tokens);
	if (g->sampler->temp_ppm)
		fprintf(stderr, "seed:   %llu\n", (unsigned long long)g->seed);
}

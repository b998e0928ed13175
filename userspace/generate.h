/* SPDX-License-Identifier: GPL-2.0 */
/*
 * generate.h - one GENERATE job from prompt tokens to text, with its timing
 */
#ifndef BITNETCTL_GENERATE_H
#define BITNETCTL_GENERATE_H

#include "args.h"
#include "bitnet.h"
#include "jobclass.h"

#include <jansson.h>

#define SEED_RANDOM	UINT64_MAX

/* The sampler and what ends a text, as options; defaults are those people know from llama.cpp. */
struct sampler_args {
	uint32_t max_tokens;	/* 0: until the model ends the text or the context is full */
	uint32_t temp_ppm, top_k, top_p_ppm, min_p_ppm, repeat_penalty_ppm, repeat_last_n;
	uint64_t seed;
	uint32_t ctx;
	struct arg_strings stop;
	bool ignore_eos;
};

#define SAMPLER_DEFAULTS {									\
	.temp_ppm = 800000, .top_k = 40, .top_p_ppm = 950000, .min_p_ppm = 50000,		\
	.repeat_penalty_ppm = BITNET_PPM, .repeat_last_n = 64, .seed = SEED_RANDOM }

#define SAMPLER_ARGS(T, m)									\
	ARG("n-predict", 'n', ARG_U32, T, m.max_tokens, "N",					\
	    "tokens to make at most (0: until the text ends)"),					\
	ARG("temp", 0, ARG_PPM, T, m.temp_ppm, "T",						\
	    "temperature; 0: always the likeliest token (0.8)", .max = 100ULL * BITNET_PPM),	\
	ARG("top-k", 0, ARG_U32, T, m.top_k, "N",						\
	    "choose among the N likeliest; 0: all (40)", .max = BITNET_MAX_TOP_K),		\
	ARG("top-p", 0, ARG_PPM, T, m.top_p_ppm, "P",						\
	    "choose among the likeliest that together reach P (0.95)", .max = BITNET_PPM),	\
	ARG("min-p", 0, ARG_PPM, T, m.min_p_ppm, "P",						\
	    "leave out what is less than P times the likeliest (0.05)", .max = BITNET_PPM),	\
	ARG("repeat-penalty", 0, ARG_PPM, T, m.repeat_penalty_ppm, "X",				\
	    "make recent tokens less likely; 1: off (1.0)", .max = 100ULL * BITNET_PPM),	\
	ARG("repeat-last-n", 0, ARG_U32, T, m.repeat_last_n, "N",				\
	    "how many tokens are recent (64)", .max = BITNET_MAX_REPEAT_LAST_N),		\
	ARG("seed", 's', ARG_U64, T, m.seed, "N",						\
	    "seed of the random numbers (a new one)", .max = INT64_MAX),			\
	ARG("ctx", 'c', ARG_U32, T, m.ctx, "N",							\
	    "context length in tokens (what is needed, or 4096)", .min = 1),			\
	ARG("stop", 0, ARG_STRINGS, T, m.stop, "TEXT",						\
	    "end the text before TEXT; may be repeated"),					\
	ARG("ignore-eos", 0, ARG_FLAG, T, m.ignore_eos, NULL,					\
	    "go on behind the model's end of text")

/**
 * struct generation - a job and its results; all zero but the first block before generate()
 * @on_text:	called with each piece of text, whole characters; false: stop. @entry is the token
 *		that completed it, NULL for a rest at the end. May be NULL
 * @on_submitted: called once the engine has taken (@ret 0) or refused the job. May be NULL
 * @tokens:	generated tokens' entries
 * @text:	all text, NUL behind it
 * @finish:	why it ended: "stop", "stop-string", "length", "context", "cancelled"
 * @cached:	tokens that the session's cache holds now
 * @n_late:	tokens of a realtime job that were late
 */
struct generation {
	struct bitnet_engine *engine;
	const struct bitnet_tokenizer *tokenizer;
	uint32_t session;
	const struct sampler_args *sampler;
	const struct class_args *job_class;
	uint64_t seed;
	const uint32_t *prompt;
	uint32_t n_prompt;
	uint32_t max_tokens;		/* at least 1 */
	unsigned int decode_flags;
	bool run_inline;		/* compute in this thread, not in those of the engine */
	bool (*on_text)(void *arg, const char *text, size_t len,
			const struct bitnet_ring_entry *entry);
	void (*on_submitted)(void *arg, int ret, const struct bitnet_error *err);
	void *arg;

	struct bitnet_ring_entry *tokens;
	size_t n_tokens, n_late;
	char *text;
	size_t text_len, text_shown;
	const char *finish;
	uint32_t cached;
	uint64_t submit_ns, cpu_ns;
};

/** struct speed - what the clock says about a generation; 0 where there is nothing to divide */
struct speed {
	double prefill_tokens_per_s, decode_tokens_per_s;
	double first_token_ms;		/* from SUBMIT */
	double p50_ms, p99_ms, max_ms;	/* between tokens, without the first */
};

/** sampler_seed() - the seed asked for, or a random one */
uint64_t sampler_seed(const struct sampler_args *args);

/**
 * generate() - run the job to its end
 *
 * An interrupt cancels it: @finish is then "cancelled" and what was made is there. Return: 0, or a
 * negative errno; results up to then are there in any case, for generation_free().
 */
int generate(struct generation *g, struct bitnet_error *err);
void generation_free(struct generation *g);

void generation_speed(const struct generation *g, struct speed *speed);

/** generation_json() - text, tokens, reason, sampler, class and speed, without model and engine */
json_t *generation_json(const struct generation *g);

/** generation_say_speed() - a line or two on stderr, even with --quiet: it was asked for */
void generation_say_speed(const struct generation *g);

#endif

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_sampler.h - from logits to a token, in bounded pieces
 */
#ifndef BN_SAMPLER_H
#define BN_SAMPLER_H

#include "bn_ops.h"

#include <linux/bitnet.h>

#define BN_VOCAB_BLOCK \
	1024 /* logits are reduced and scanned in blocks of this many: part of the bit pattern */
#define BN_MAX_BLOCKS	(BN_MAX_VOCAB / BN_VOCAB_BLOCK)

/** struct bn_sampler_params - as in struct bitnet_job; validated by bn_sampler_check() */
struct bn_sampler_params {
	u64 seed;
	u32 temperature_ppm;
	u32 top_k;
	u32 top_p_ppm;
	u32 min_p_ppm;
	u32 repeat_penalty_ppm;
	u32 repeat_last_n;
};

/**
 * bn_sampler_check() - BN_OK or BN_EPARAM. No FPU: inline, so that it has its caller's compiler
 * flags
 */
static inline enum bn_err bn_sampler_check(const struct bn_sampler_params *p)
{
	if (p->temperature_ppm > 100 * BITNET_PPM || p->repeat_penalty_ppm > 100 * BITNET_PPM)
		return BN_EPARAM;
	if (p->top_p_ppm > BITNET_PPM || p->min_p_ppm > BITNET_PPM)
		return BN_EPARAM;
	if (p->top_k > BITNET_MAX_TOP_K || p->repeat_last_n > BN_MAX_RECENT)
		return BN_EPARAM;
	return BN_OK;
}

/** bn_sampler_penalizes() - does the repetition penalty change anything? No FPU */
static inline bool bn_sampler_penalizes(const struct bn_sampler_params *p)
{
	return p->repeat_penalty_ppm && p->repeat_penalty_ppm != BITNET_PPM;
}

/* So many logits that matter are put together before they are sampled from. */
#define BN_MAX_CANDIDATES	4096

/**
 * struct bn_block_stats - what the head phases leave for each block of BN_VOCAB_BLOCK logits
 * @max:	largest logit, -inf if all are NaN
 * @sum_exp:	sum of exp(logit - max) of the block
 * @hash:	sum of bn_logits_hash() over the block's elements, every NaN counting as 0x7fc00000;
 *		0 unless all_logits of struct bn_sampler is set
 * @left:	logits that are not -inf; only for a sampler with @tokens
 */
struct bn_block_stats {
	float max;
	float sum_exp;
	u64 hash;
	u32 left;
};

/** bn_logits_hash() - hash of logit number @i; the hash of a row is the sum mod 2^64. No FPU */
static inline u64 bn_logits_hash(u32 i, u32 bits)
{
	u64 z = ((u64)i << 32 | bits) + 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/**
 * struct bn_sampler - state of one sampling, resumable between sections
 *
 * Scratch of one head slot; bn_sampler_start() initialises it.
 *
 * @logprob is of the exact logit. What it is relative to, the sum over the vocabulary, has exact
 * logits of the tokens that could have been chosen and, unless all logits were wanted, approximate
 * ones of the others. With errors of these up to e, and p the probability of all of them together,
 * @logprob is off by at most log(1 + p * (exp(e) - 1)); in practice errors of either sign cancel,
 * and it is off by some ten-thousandths.
 */
struct bn_sampler {
	const struct bn_ops *ops;
	const struct bn_sampler_params *params;
	const u32 *recent;		/* distinct tokens to penalise, at most BN_MAX_RECENT */
	u32 n_recent;
	float *logits;			/* [vocab], penalised in place */
	const struct bn_block_stats *blocks;
	u32 *tokens;			/* [BN_MAX_CANDIDATES], or NULL; see bn_sampler_run() */
	u32 vocab;
	bool all_logits;		/* exact logits of all tokens are wanted, and their hash */
	u64 position;			/* with the seed gives the random number */
	u32 force;			/* SCORE: the token to score; BN_SAMPLE otherwise */
	/* results */
	u32 token;
	s32 logprob; /* millionths of a nat, BITNET_LOGPROB_NONE when undefined */
	u64 hash;
	/* progress, private to bn_sampler.c */
	u32 phase;
	u32 n;				/* logits to choose from */
	bool compact;			/* they belong to @tokens */
	u32 n_compact;			/* progress of putting them together */
	u32 block;			/* next one of the pass over the logits */
	u32 shift;			/* radix selection: of the byte that this pass counts */
	u32 prefix;			/* bytes of the threshold found so far */
	u32 key_lo, tie_last;		/* kept: keys above key_lo, and equal ones up to this id */
	u64 wanted;			/* count or mass still to be kept; ties; random number */
	float model_max, model_sum;	/* of the model's own distribution */
	float max;			/* of the penalised logits */
	float saved[BN_MAX_RECENT];	/* logits of @recent before the penalty */
	u64 histogram[256];
};
#define BN_SAMPLE	0xffffffffU

/** bn_sampler_start() - prepare; the caller has filled the fields above "results". Needs the FPU */
void bn_sampler_start(struct bn_sampler *s);

/**
 * bn_sampler_run() - go on for one bounded piece (at most 8 blocks of logits, 1 where it takes an
 * exp or two each)
 *
 * Order: repetition penalty, top-k, top-p, min-p, temperature; greedy if temperature is 0. Equal
 * logits are ordered by token id, lower first; NaN logits are never chosen while there is another
 * (all NaN: token 0). Probabilities are 2^40-scaled integers, so that sums do not depend on order.
 * top-p and min-p look at probabilities before the temperature.
 *
 * With @tokens, logits that are -inf are of tokens that cannot be chosen. If not too many are left,
 * they are moved to the front of @logits, and @tokens says whose they are.
 *
 * Needs the FPU. Return: true while there is more to do.
 */
bool bn_sampler_run(struct bn_sampler *s);

#endif /* BN_SAMPLER_H */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_sampler.c - selection without sorting: thresholds by radix, then one draw
 *
 * A logit's key is an unsigned number in the same order. "The k likeliest" and "the likeliest that
 * reach a mass" are both a threshold key plus a number of equal keys, found byte by byte: four
 * passes over the logits, each counting (or adding up masses) by one byte of those keys that match
 * the bytes found.
 */
#include "bn_float.h"
#include "bn_sampler.h"

/*
 * Blocks of one piece: of comparing; of one exp for each logit; that share an element of
 * histogram[].
 */
#define SCAN_BLOCKS	8
#define EXP_BLOCKS	1
#define GROUP_BLOCKS	4

#define ONE		(1ULL << 40)	/* probability 1 relative to the likeliest token */

enum phase {
	PHASE_START,
	PHASE_COMPACT,
	PHASE_MAX,
	PHASE_COUNT,		/* top-k */
	PHASE_COUNT_TIES,
	PHASE_MASS,		/* top-p */
	PHASE_MASS_TIES,
	PHASE_WEIGH,		/* min-p, temperature */
	PHASE_PICK,
	PHASE_GREEDY,
	PHASE_END,
};

static u32 min2(u32 a, u32 b)
{
	return a < b ? a : b;
}

/* Of what there is to choose from: the vocabulary, or what was left of it */
static u32 n_blocks(const struct bn_sampler *s)
{
	return (s->n + BN_VOCAB_BLOCK - 1) / BN_VOCAB_BLOCK;
}

/* Same order as the logits, equal for equal ones (so also for both zeros), NaN lowest. */
static u32 key_of(float logit)
{
	u32 bits;

	if (logit != logit)
		return 0;
	logit += 0.0f;		/* -0 becomes +0 */
	memcpy(&bits, &logit, sizeof(bits));
	return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

static float logit_of(u32 key)
{
	u32 bits = key & 0x80000000U ? key & 0x7fffffffU : ~key;
	float logit;

	memcpy(&logit, &bits, sizeof(logit));
	return logit;
}

/* exp(x) for x <= 0, as a multiple of 2^-40; NaN: 0 */
static u64 weight(float x)
{
	u64 w = (u64)(s64)(bn_exp(x) * (float)ONE);

	return w < ONE ? w : ONE;
}

static bool kept(const struct bn_sampler *s, u32 i, u32 key)
{
	return key > s->key_lo || (key == s->key_lo && i <= s->tie_last);
}

static float inverse_temperature(const struct bn_sampler *s)
{
	return (float)BITNET_PPM / (float)s->params->temperature_ppm;
}

/* What token @i, kept so far, weighs in the draw. */
static u64 draw_weight(const struct bn_sampler *s, u32 i, float inv_t, u64 min_weight)
{
	float x = s->logits[i] - s->max;

	if (min_weight && weight(x) < min_weight)
		return 0;
	return weight(x * inv_t);
}

static u64 min_weight(const struct bn_sampler *s)
{
	return ONE * s->params->min_p_ppm / BITNET_PPM;
}

/* The same number for the same seed and position, whatever else the machine does. */
static u64 random_of(u64 seed, u64 position)
{
	u64 z = seed + 0x9e3779b97f4a7c15ULL * (position + 1);

	for (int i = 0; i < 2; i++) {
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		z ^= z >> 31;
		z += 0x9e3779b97f4a7c15ULL;
	}
	return z;
}

static void enter(struct bn_sampler *s, enum phase phase)
{
	s->phase = phase;
	s->block = 0;
	memset(s->histogram, 0, sizeof(s->histogram));
}

static void enter_selection(struct bn_sampler *s, enum phase phase)
{
	enter(s, phase);
	s->shift = 24;
	s->prefix = 0;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static s32 logprob_of(const struct bn_sampler *s, float logit)
{
	double lp = ((double)logit - s->model_max - bn_log(s->model_sum)) * BITNET_PPM;

	if (!(lp >= -2147483647.0))
		return BITNET_LOGPROB_NONE;	/* NaN, or beyond what there is room for */
	/* Rounding can leave the likeliest token a hair above probability 1. */
	return lp < 0 ? (s32)(lp - 0.5) : 0;
}

/* The token is that of logit @at. */
static bool end(struct bn_sampler *s, u32 at)
{
	float logit;
	u32 token;

	if (at >= s->n)
		at = 0;
	token = s->compact ? s->tokens[at] : at;
	logit = s->logits[at];
	for (u32 i = 0; i < s->n_recent; i++)
		if (s->recent[i] == token)
			logit = s->saved[i];
	s->token = token;
	s->logprob = logprob_of(s, logit);
	s->phase = PHASE_END;
	return false;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void model_distribution(struct bn_sampler *s)
{
	float max = -__builtin_inff(), sum = 0;
	u64 hash = 0;

	for (u32 b = 0; b < n_blocks(s); b++) {
		max = s->blocks[b].max > max ? s->blocks[b].max : max;
		hash += s->blocks[b].hash;
	}
	for (u32 b = 0; b < n_blocks(s); b++)
		sum += s->blocks[b].sum_exp * bn_exp(s->blocks[b].max - max);
	s->model_max = max;
	s->model_sum = sum;
	s->hash = hash;
}

static void penalize(struct bn_sampler *s)
{
	float penalty = (float)s->params->repeat_penalty_ppm / (float)BITNET_PPM;

	if (!bn_sampler_penalizes(s->params))
		s->n_recent = 0;
	for (u32 i = 0; i < s->n_recent; i++) {
		float *logit = &s->logits[s->recent[i]];

		s->saved[i] = *logit;
		*logit = *logit > 0 ? *logit / penalty : *logit * penalty;
	}
}

/* Maximum known and logits final: what comes first for these parameters? */
static bool select_first(struct bn_sampler *s)
{
	const struct bn_sampler_params *p = s->params;

	if (!p->temperature_ppm)
		enter(s, PHASE_GREEDY);
	else if (p->top_k && p->top_k < s->n)
		enter_selection(s, PHASE_COUNT);
	else if (p->top_p_ppm && p->top_p_ppm < BITNET_PPM)
		enter_selection(s, PHASE_MASS);
	else
		enter(s, PHASE_WEIGH);
	s->wanted = p->top_k;
	return true;
}

/* The range of the next piece of @blocks blocks; false at the end of the pass. */
static bool next_range(struct bn_sampler *s, u32 blocks, u32 *from, u32 *to)
{
	if (s->block >= n_blocks(s))
		return false;
	*from = s->block * BN_VOCAB_BLOCK;
	*to = min2(*from + blocks * BN_VOCAB_BLOCK, s->n);
	s->block += blocks;
	return true;
}

static bool find_first(struct bn_sampler *s)
{
	s->max = s->model_max;
	if (!s->n_recent)
		return select_first(s);
	s->max = -__builtin_inff();
	enter(s, PHASE_MAX);
	return true;
}

static bool start(struct bn_sampler *s)
{
	u32 left = 0;

	model_distribution(s);
	if (s->force != BN_SAMPLE) {
		s->n_recent = 0;
		return end(s, s->force);
	}
	penalize(s);
	for (u32 b = 0; s->tokens && b < n_blocks(s); b++)
		left += s->blocks[b].left;
	if (!left || left > BN_MAX_CANDIDATES)
		return find_first(s);
	enter(s, PHASE_COMPACT);
	s->n_compact = 0;
	return true;
}

/* In ascending order of tokens, as before; never behind where it comes from */
static bool compact(struct bn_sampler *s)
{
	u32 from, to;

	while (s->block < n_blocks(s) && !s->blocks[s->block].left)
		s->block++;
	if (next_range(s, 1, &from, &to)) {
		for (u32 i = from; i < to && s->n_compact < BN_MAX_CANDIDATES; i++) {
			if (s->logits[i] == -__builtin_inff())
				continue;
			s->logits[s->n_compact] = s->logits[i];
			s->tokens[s->n_compact++] = i;
		}
		return true;
	}
	if (!s->n_compact)
		return end(s, 0);	/* cannot be: there were as many as were counted */
	s->compact = true;
	s->n = s->n_compact;
	s->tie_last = s->n - 1;
	return find_first(s);
}

static bool find_max(struct bn_sampler *s)
{
	u32 from, to;

	if (next_range(s, SCAN_BLOCKS, &from, &to)) {
		float max = s->ops->max_value(s->logits + from, to - from);

		s->max = max > s->max ? max : s->max;
		return true;
	}
	return select_first(s);
}

/*
 * A pass of the radix selection is over: take the byte in which the @wanted greatest end. Returns
 * true when all four bytes are known; @wanted is then what the equal keys have to give.
 */
static bool take_byte(struct bn_sampler *s)
{
	u32 byte = 255;

	while (byte && s->histogram[byte] < s->wanted)
		s->wanted -= s->histogram[byte--];
	s->prefix |= byte << s->shift;
	s->block = 0;
	memset(s->histogram, 0, sizeof(s->histogram));
	if (!s->shift)
		return true;
	s->shift -= 8;
	return false;
}

static bool matches_prefix(const struct bn_sampler *s, u32 key)
{
	return s->shift == 24 || key >> (s->shift + 8) == s->prefix >> (s->shift + 8);
}

static bool count(struct bn_sampler *s)
{
	u32 from, to;

	if (next_range(s, SCAN_BLOCKS, &from, &to)) {
		for (u32 i = from; i < to; i++) {
			u32 key = key_of(s->logits[i]);

			if (matches_prefix(s, key))
				s->histogram[(key >> s->shift) & 255]++;
		}
	} else if (take_byte(s)) {
		enter(s, PHASE_COUNT_TIES);
	}
	return true;
}

static bool mass(struct bn_sampler *s)
{
	u32 from, to;

	if (next_range(s, EXP_BLOCKS, &from, &to)) {
		for (u32 i = from; i < to; i++) {
			u32 key = key_of(s->logits[i]);

			if (kept(s, i, key) && matches_prefix(s, key))
				s->histogram[(key >> s->shift) & 255] +=
					weight(s->logits[i] - s->max);
		}
		return true;
	}
	if (s->shift == 24) {
		u64 total = 0;

		for (u32 i = 0; i < 256; i++)
			total += s->histogram[i];
		/*
		 * At most 2^20 tokens of 2^40: split, so that the product fits. Rounded up: at
		 * least 1.
		 */
		s->wanted =
			total / BITNET_PPM * s->params->top_p_ppm +
			(total % BITNET_PPM * s->params->top_p_ppm + BITNET_PPM - 1) / BITNET_PPM;
		if (!total) {
			enter(s, PHASE_GREEDY);
			return true;
		}
	}
	if (take_byte(s)) {
		u64 each = weight(logit_of(s->prefix) - s->max);

		/* Mass to number of equal keys; a key that was chosen for its mass has some. */
		s->wanted = each ? (s->wanted + each - 1) / each : 1;
		enter(s, PHASE_MASS_TIES);
	}
	return true;
}

/* Which is the last of the equal keys that are kept? */
static bool ties(struct bn_sampler *s)
{
	bool top_p = s->params->top_p_ppm && s->params->top_p_ppm < BITNET_PPM;
	u32 from, to;

	if (!next_range(s, SCAN_BLOCKS, &from, &to)) {
		/* Cannot be: there are as many as were counted. Keep what there is. */
		to = s->n;
	} else {
		u32 i = from;

		for (; i < to; i++)
			if (key_of(s->logits[i]) == s->prefix && !--s->wanted)
				break;
		if (i == to)
			return true;
		to = i;
	}
	s->key_lo = s->prefix;
	s->tie_last = to;
	if (s->phase == PHASE_COUNT_TIES && top_p)
		enter_selection(s, PHASE_MASS);
	else
		enter(s, PHASE_WEIGH);
	return true;
}

static bool weigh(struct bn_sampler *s)
{
	float inv_t = inverse_temperature(s);
	u64 min = min_weight(s), total = 0;
	u32 group = s->block / GROUP_BLOCKS, from, to;

	if (next_range(s, EXP_BLOCKS, &from, &to)) {
		for (u32 i = from; i < to; i++)
			if (kept(s, i, key_of(s->logits[i])))
				total += draw_weight(s, i, inv_t, min);
		s->histogram[group] += total;
		return true;
	}
	for (u32 i = 0; i < 256; i++)
		total += s->histogram[i];
	if (!total) {
		enter(s, PHASE_GREEDY);
		return true;
	}
	/* Uniform in 0 .. total-1: a token's probability is off by less than 2^-62. */
	s->wanted =
		(u64)(((__uint128_t)random_of(s->params->seed, s->position) * total) >> 64);
	for (group = 0; s->wanted >= s->histogram[group]; group++)
		s->wanted -= s->histogram[group];
	s->block = group * GROUP_BLOCKS;
	s->phase = PHASE_PICK;
	return true;
}

static bool pick(struct bn_sampler *s)
{
	float inv_t = inverse_temperature(s);
	u64 min = min_weight(s);
	u32 from, to;

	if (!next_range(s, EXP_BLOCKS, &from, &to))
		return end(s, 0);	/* cannot be: the group weighs more than is wanted */
	for (u32 i = from; i < to; i++) {
		u64 w = kept(s, i, key_of(s->logits[i])) ? draw_weight(s, i, inv_t, min) : 0;

		if (s->wanted < w)
			return end(s, i);
		s->wanted -= w;
	}
	return true;
}

static bool greedy(struct bn_sampler *s)
{
	u32 from, to;

	if (!next_range(s, SCAN_BLOCKS, &from, &to))
		return end(s, 0);	/* all are NaN */
	for (u32 i = from; i < to; i++)
		if (s->logits[i] == s->max)
			return end(s, i);
	return true;
}

void bn_sampler_start(struct bn_sampler *s)
{
	s->token = 0;
	s->logprob = BITNET_LOGPROB_NONE;
	s->hash = 0;
	s->key_lo = 0;
	s->n = s->vocab;
	s->compact = false;
	s->tie_last = s->vocab - 1;
	enter(s, PHASE_START);
}

bool bn_sampler_run(struct bn_sampler *s)
{
	switch ((enum phase)s->phase) {
	case PHASE_START:
		return start(s);
	case PHASE_COMPACT:
		return compact(s);
	case PHASE_MAX:
		return find_max(s);
	case PHASE_COUNT:
		return count(s);
	case PHASE_MASS:
		return mass(s);
	case PHASE_COUNT_TIES:
	case PHASE_MASS_TIES:
		return ties(s);
	case PHASE_WEIGH:
		return weigh(s);
	case PHASE_PICK:
		return pick(s);
	case PHASE_GREEDY:
		return greedy(s);
	case PHASE_END:
		break;
	}
	return false;
}

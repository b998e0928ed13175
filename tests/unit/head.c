// SPDX-License-Identifier: GPL-2.0
/*
 * The head by planes: tokens from the high plane and a bound are those of all exact logits, and the
 * bound holds, for rows that were made to break it
 *
 * Two slots with the same hidden row, one that needs a token only and one that wants all logits,
 * must choose the same token.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "bn_image.h"
#include "bn_step_priv.h"
#include "cpu.h"
#include "tap.h"

#define HIDDEN		200
#define PAD		256
#define HIGH_BYTES	192
#define LOW_BYTES	320
#define MOST_VOCAB	100000
#define RECENT		60

static struct {
	struct bn_model model;
	struct bn_layer layer;
	struct bn_step step;
	struct bn_kv kv;
	uint8_t *high, *low;
	float *scale, *error;
	float h[HIDDEN];
} t;

static uint64_t seed = 1;
static struct bn_sampler_params params;
static uint32_t recent[RECENT], n_recent;

static uint64_t random64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static float uniform(void)
{
	return (float)((random64() >> 11) * 0x1p-52 - 1);
}

static float normal(void)
{
	float sum = 0;

	for (int i = 0; i < 6; i++)
		sum += uniform();
	return sum / 1.4f;
}

/* A model of nothing but a head; what else the plan of a step looks at has some size. */
static void setup(uint32_t vocab, const struct bn_ops *ops)
{
	const struct bn_matrix w = { .rows = 256, .cols = 256, .line_bytes = 64, .packing = BN_T2 };
	struct bn_model *m = &t.model;
	void *scratch;

	*m = (struct bn_model){
		.n_layers = 1, .hidden = HIDDEN, .ffn = 256, .n_heads = 1, .n_kv_heads = 1,
		.head_dim = 16, .rope_dims = 16, .vocab = vocab, .max_ctx = 16,
		.hidden_pad = bn_cols_pad(HIDDEN), .ffn_pad = 320, .attn_pad = 320, .head_pad = 16,
		.embd_pad = PAD, .layers = &t.layer,
		.output = { t.high, t.low, t.scale, t.error },
	};
	t.layer = (struct bn_layer){ w, w, w, w, w, w, w, NULL, NULL, NULL, NULL };
	free(t.step.scratch);
	scratch = aligned_alloc(64, bn_scratch_bytes(m));
	memset(scratch, 0, bn_scratch_bytes(m));
	bn_step_init(&t.step, m, ops, scratch);
	t.kv = (struct bn_kv){ .data = (uint16_t *)&t.kv, .n_ctx = 16 };
}

static void run_phase(uint32_t phase)
{
	static uint8_t buffer[BN_TILE_BYTES] __attribute__((aligned(64)));

	for (uint32_t tile = bn_step_tiles(&t.step, phase); tile--; ) {
		uint32_t cursor = 0, pieces = 0;

		while (bn_step_tile(&t.step, phase, tile, &cursor, buffer))
			if (++pieces > 200000)
				bail("a tile does not end");
	}
}

/* What the head does, for slots that want a token only if their bit is set. */
static void run(uint32_t n_slots, uint32_t tokens_only, uint64_t position)
{
	struct bn_step *s = &t.step;
	struct bn_scratch *sc = s->scratch;

	for (uint32_t i = 0; i < n_slots; i++)
		s->rows[i] = (struct bn_row){ &t.kv, 0, i, i };
	if (bn_step_begin(s, n_slots) != BN_OK)
		bail("bn_step_begin");
	for (uint32_t i = 0; i < n_slots; i++) {
		memcpy(sc->head_in + (size_t)i * sc->x_stride, t.h, sizeof(t.h));
		s->samplers[i].params = &params;
		s->samplers[i].recent = recent;
		s->samplers[i].n_recent = n_recent;
		s->samplers[i].position = position;
		s->samplers[i].all_logits = !(tokens_only >> i & 1);
		bn_head_prepare(s, i);
	}
	for (uint32_t phase = s->n_phases - 4; phase < s->n_phases; phase++)
		run_phase(phase);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static uint8_t *high_of(uint32_t row)
{
	return t.high + (size_t)row * HIGH_BYTES;
}

static uint8_t *low_of(uint32_t row)
{
	return t.low + (size_t)row * LOW_BYTES;
}

/* As image writers say it, from what is in the low plane */
static float error_of_row(uint32_t row)
{
	double squares = 0;

	for (uint32_t i = 0; i < HIDDEN; i++) {
		int rest = (bn_unpack_planes(high_of(row), low_of(row), i) & 1023) - 512;

		squares += rest * rest;
	}
	return nextafterf((float)(fabs((double)t.scale[row]) * sqrt(squares)), INFINITY);
}

enum kind {
	RANDOM,		/* as a packed model */
	WORST_LOW,	/* equal high planes, low planes that are worth as much as they can be */
	EQUAL,		/* all rows alike: nothing but ties */
	TIES,		/* pairs and triples of the best rows */
	ZEROS,		/* most rows zero */
	ALTERNATING,	/* h and rows of alternating signs: sums of large terms that cancel */
	ONE_HUGE,	/* one element of h dwarfs all others */
	ODD_SCALES,	/* scales that are NaN, infinite, negative, zero, denormal, huge */
	BYTES,		/* any bytes and scales, also in the padding */
	KINDS
};

static const char *const kind_names[KINDS] = {
	"random", "worst low planes", "all equal", "ties", "mostly zeros", "alternating signs",
	"one huge element", "odd scales", "any bytes",
};

static float odd_scale(void)
{
	static const float odd[] = {
		NAN, INFINITY, -INFINITY, -1e-5f, 0.0f, -0.0f, 1e-42f, 1e-20f, 1e30f, -3e38f,
	};

	return odd[random64() % (sizeof(odd) / sizeof(odd[0]))];
}

static void make_rows(enum kind kind, uint32_t vocab)
{
	for (uint32_t i = 0; i < HIDDEN; i++) {
		t.h[i] = normal() * 3;
		if (kind == ALTERNATING)
			t.h[i] = i % 2 ? 5 : -5;
		if (kind == ONE_HUGE)
			t.h[i] = i == 77 ? 1e4f : t.h[i] * 0.01f;
	}
	for (uint32_t r = 0; r < vocab; r++) {
		int16_t values[HIDDEN];

		t.scale[r] = (1 + 0.3f * uniform()) / 32639;
		for (uint32_t i = 0; i < HIDDEN; i++) {
			int value = (int)(normal() * 9000);

			value = value > 32639 ? 32639 : value < -32639 ? -32639 : value;
			if (kind == EQUAL)
				value = (int)(i * 37 % 1000);
			if (kind == ALTERNATING)
				value = (i % 2 ? 20000 : -20000) * (i % 4 < 2 ? 1 : -1) + value / 4;
			if (kind == ZEROS && r % 100)
				value = 0;
			/* In half of the rows the low plane works for them, in half against. */
			if (kind == WORST_LOW) {
				value = 1024 * (t.h[i] > 0 ? 10 : -10);
				if (random64() % 1000 == 0)
					value += 1024;
				if ((t.h[i] > 0) == (random64() % 20 < r % 20))
					value += 1023;
			}
			values[i] = value;
		}
		bn_pack_planes(high_of(r), low_of(r), values, HIDDEN);
		if (kind == EQUAL || kind == WORST_LOW)
			t.scale[r] = 1.0f / 32639;
		if (kind == ODD_SCALES && random64() % 50 == 0)
			t.scale[r] = odd_scale();
		if (kind == BYTES) {
			for (uint32_t i = 0; i < LOW_BYTES; i++) {
				high_of(r)[i % HIGH_BYTES] = random64();
				low_of(r)[i] = random64();
			}
			if (random64() % 2) {
				uint32_t bits = random64();

				memcpy(&t.scale[r], &bits, sizeof(bits));
			}
		}
		/* The first rows, the best ones among them, again and again */
		if (kind == TIES && r > 50 && r % 3 == 0) {
			uint32_t from = r % 50;

			memcpy(high_of(r), high_of(from), HIGH_BYTES);
			memcpy(low_of(r), low_of(from), LOW_BYTES);
			t.scale[r] = t.scale[from];
		}
		t.error[r] = error_of_row(r);
		if (kind == ODD_SCALES && random64() % 50 == 0)
			t.error[r] = r % 2 ? NAN : INFINITY;
	}
	for (n_recent = 0; n_recent < RECENT; n_recent++)
		recent[n_recent] = (n_recent * 7919U + 5) % vocab;
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* The bound itself, for each row whose logit it promises something about. */
static void check_bound(const char *name)
{
	struct bn_step *s = &t.step;
	struct bn_scratch *sc = s->scratch;
	uint32_t wrong = 0, known = 0;
	double worst = 0;

	params = (struct bn_sampler_params){ 0 };
	for (uint32_t i = 0; i < 2; i++)
		s->rows[i] = (struct bn_row){ &t.kv, 0, i, i };
	if (bn_step_begin(s, 2) != BN_OK)
		bail("bn_step_begin");
	for (uint32_t i = 0; i < 2; i++) {
		memcpy(sc->head_in + (size_t)i * sc->x_stride, t.h, sizeof(t.h));
		s->samplers[i].params = &params;
		s->samplers[i].all_logits = i;
		bn_head_prepare(s, i);
	}
	run_phase(s->n_phases - 4);
	for (uint32_t r = 0; sc->head[0].certified && r < t.model.vocab; r++) {
		float approximate = sc->logits[r], exact = sc->logits[sc->logits_stride + r];
		const struct bn_head_slot *by = &sc->head[0];
		double e = fabs((double)t.scale[r]) * by->per_scale + 0x1p-120 +
			   (double)t.error[r] * by->per_error;

		if (!isfinite(approximate) || !isfinite(exact) || !isfinite(e))
			continue;
		known++;
		wrong += !(fabs((double)approximate - exact) <= e);
		worst = fmax(worst, fabs((double)approximate - exact) / e);
	}
	ok(!wrong, "%s: all of %u errors are within the bound, %.3f of it at most", name, known,
	   worst);
}

static uint32_t left_of(uint32_t slot)
{
	const struct bn_scratch *sc = t.step.scratch;
	uint32_t left = 0;

	for (uint32_t b = 0; b < sc->n_blocks; b++)
		left += sc->blocks[(size_t)slot * sc->n_blocks + b].left;
	return left;
}

static bool same_tokens(uint32_t draws, uint32_t *left, double *off)
{
	for (uint64_t i = 0; i < draws; i++) {
		const struct bn_sampler *s = t.step.samplers;

		run(2, 1, i);
		*left = left_of(0);
		if (s[0].logprob != BITNET_LOGPROB_NONE && s[1].logprob != BITNET_LOGPROB_NONE)
			*off = fmax(*off, fabs((double)s[0].logprob - s[1].logprob) * 1e-6);
		if (s[0].token != s[1].token) {
			diag("token %u, should be %u", s[0].token, s[1].token);
			return false;
		}
	}
	return true;
}

/* @alone: greedily, no other row is as good, or is left */
static void check_tokens(const char *name, uint32_t vocab, uint32_t draws, bool alone)
{
	static const struct bn_sampler_params cases[] = {
		{ 0 },
		{ .repeat_penalty_ppm = 1500000 },
		{ .repeat_penalty_ppm = 300000 },
		{ .temperature_ppm = 1000000, .top_k = 1 },
		{ .temperature_ppm = 2000000, .top_k = 2 },
		{ .temperature_ppm = 3000000, .top_k = 40 },
		{ .temperature_ppm = 3000000, .top_k = 40, .repeat_penalty_ppm = 1300000 },
		{ .temperature_ppm = 3000000, .top_k = 40, .repeat_penalty_ppm = 500000,
		  .top_p_ppm = 900000, .min_p_ppm = 10000 },
		{ .temperature_ppm = 9000000, .top_k = 1000 },
		{ .temperature_ppm = 9000000, .top_k = 1000, .repeat_penalty_ppm = 100000000 },
		{ .temperature_ppm = 1000000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t left = 0;
		double off = 0;
		bool same;

		params = cases[i];
		params.seed = i;
		same = same_tokens(cases[i].temperature_ppm ? draws : 1, &left, &off);
		ok(same, "%s, %s%u, penalty %.1f: the token of all logits; %u of %u left, log-probability off by %.4f",
		   name, cases[i].temperature_ppm ? "top-k " : "greedy ", cases[i].top_k,
		   cases[i].repeat_penalty_ppm * 1e-6, left, vocab, off);
		/* The threshold is an exact logit, not what one is at least. */
		if (!i && alone)
			is(left, 1, "  and no other");
	}
}

static void scale_h(float by)
{
	for (uint32_t i = 0; i < HIDDEN; i++)
		t.h[i] *= by;
}

static void check_sizes_of_h(uint32_t vocab)
{
	static const float sizes[] = { 1e10f, 1e28f, 1e36f, 1e-15f, 1e-30f, 1e-38f };
	char name[64];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_rows(RANDOM, vocab);
		scale_h(sizes[i]);
		snprintf(name, sizeof(name), "h times %g", (double)sizes[i]);
		check_bound(name);
		check_tokens(name, vocab, 2, false);
	}
	/* The integer sums cancel, the float ones overflow before they could. */
	make_rows(ALTERNATING, vocab);
	scale_h(1e32f);
	check_tokens("overflow on the way", vocab, 2, false);
	make_rows(RANDOM, vocab);
	t.h[3] = NAN;
	check_tokens("NaN in h", vocab, 1, false);
	t.h[3] = INFINITY;
	check_tokens("infinity in h", vocab, 1, false);
	memset(t.h, 0, sizeof(t.h));
	check_tokens("h zero", vocab, 1, false);
}

/* Recent tokens are the best ones, one after the other: none of them decides for others. */
static void check_recent_best(uint32_t vocab, uint32_t top_k)
{
	bool held = true;

	make_rows(RANDOM, vocab);
	params = (struct bn_sampler_params){
		.temperature_ppm = top_k ? 2000000 : 0, .top_k = top_k,
		.repeat_penalty_ppm = 1500000,
	};
	for (n_recent = 0; n_recent < RECENT; n_recent++) {
		run(2, 1, n_recent);
		held &= t.step.samplers[0].token == t.step.samplers[1].token;
		recent[n_recent] = t.step.samplers[1].token;
	}
	ok(held, "top-k %u, the best tokens being the recent ones: the token of all logits", top_k);
}

/* Errors that are too small, up to nothing: rows that matter are left out, but never all of them. */
static void check_lies(uint32_t vocab)
{
	static const float factors[] = { 0, 1e-3f, 0.1f, -0.01f };
	bool held = true;

	for (size_t f = 0; f < sizeof(factors) / sizeof(factors[0]); f++) {
		for (uint32_t kind = 0; kind < KINDS; kind++) {
			make_rows(kind, vocab);
			for (uint32_t r = 0; r < vocab; r++)
				t.error[r] *= factors[f];
			for (uint32_t k = 0; k < 3; k++) {
				params = (struct bn_sampler_params){
					.temperature_ppm = k ? 2000000 : 0, .top_k = k * k * 10,
				};
				run(1, 1, k);
				held &= t.step.samplers[0].token < vocab;
				held &= left_of(0) > 0;
			}
		}
	}
	ok(held, "errors that are too small: there is a token");
}

/* Whatever else is in the batch: the same token, log-probability and number of logits left. */
static void check_batch(uint32_t vocab)
{
	static const uint32_t mixes[] = { 0xffff, 0x0001, 0x5555, 0xaaab, 0x00ff, 0xff01 };
	struct bn_sampler want;
	uint32_t want_left;
	bool held = true;

	make_rows(RANDOM, vocab);
	params = (struct bn_sampler_params){ .temperature_ppm = 2000000, .top_k = 20,
					     .repeat_penalty_ppm = 1200000 };
	run(1, 1, 5);
	want = t.step.samplers[0];
	want_left = left_of(0);
	for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
		run(BN_MAX_HEAD_ROWS, mixes[i], 5);
		for (uint32_t slot = 0; slot < BN_MAX_HEAD_ROWS; slot++) {
			const struct bn_sampler *s = &t.step.samplers[slot];

			held &= s->token == want.token;
			if (mixes[i] >> slot & 1)
				held &= s->logprob == want.logprob && left_of(slot) == want_left;
		}
	}
	ok(held, "16 slots of both sorts: the same as one alone");
}

/* Same bits from all variants */
static void check_variants(uint32_t vocab)
{
	uint64_t want[KINDS] = { 0 };
	bool held = true;

	for (uint32_t v = 0; bn_variants[v]; v++) {
		if (!bn_variant_find(bn_variants[v]->name, bitnet_cpu_mask()))
			continue;
		setup(vocab, bn_variants[v]);
		seed = 99;
		for (uint32_t kind = 0; kind < KINDS; kind++) {
			uint64_t hash = 0;

			make_rows(kind, vocab);
			params = (struct bn_sampler_params){ .temperature_ppm = 2000000,
							     .top_k = 5 };
			run(2, 3, 7);
			for (uint32_t i = 0; i < 2; i++) {
				const struct bn_sampler *s = &t.step.samplers[i];

				hash = hash * 31 + s->token * 7 + (uint32_t)s->logprob +
				       left_of(i) * 1000003ULL;
			}
			want[kind] = v ? want[kind] : hash;
			if (hash != want[kind])
				diag("%s: %s", bn_variants[v]->name, kind_names[kind]);
			held &= hash == want[kind];
		}
	}
	ok(held, "the same from all variants");
}

int main(void)
{
	const struct bn_ops *ops = bn_variant_find("fastest", bitnet_cpu_mask());
	static const uint32_t vocabs[] = { 1, 63, 300, 5000, MOST_VOCAB };

	t.high = aligned_alloc(64, (size_t)MOST_VOCAB * HIGH_BYTES);
	t.low = aligned_alloc(64, (size_t)MOST_VOCAB * LOW_BYTES);
	t.scale = aligned_alloc(64, (MOST_VOCAB + 16) * sizeof(*t.scale));
	t.error = aligned_alloc(64, (MOST_VOCAB + 16) * sizeof(*t.error));
	memset(t.scale, 0xff, (MOST_VOCAB + 16) * sizeof(*t.scale));
	memset(t.error, 0xff, (MOST_VOCAB + 16) * sizeof(*t.error));
	for (uint32_t i = 0; i < sizeof(vocabs) / sizeof(vocabs[0]); i++) {
		setup(vocabs[i], ops);
		for (uint32_t kind = 0; kind < KINDS; kind++) {
			/* One that is as large as models have them is enough, twice. */
			if (vocabs[i] == MOST_VOCAB && kind != RANDOM && kind != WORST_LOW)
				continue;
			make_rows(kind, vocabs[i]);
			check_bound(kind_names[kind]);
			check_tokens(kind_names[kind], vocabs[i], vocabs[i] > 10000 ? 2 : 6,
				     kind == RANDOM);
		}
	}
	setup(5000, ops);
	check_sizes_of_h(5000);
	check_recent_best(5000, 0);
	check_recent_best(5000, 5);
	check_lies(5000);
	check_batch(5000);
	check_variants(1500);
	free(t.step.scratch);
	free(t.high);
	free(t.low);
	free(t.scale);
	free(t.error);
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_selftest.c - does a variant give the reference's bits on this CPU?
 *
 * Run at load, before a variant may be used: it would find a miscompiled variant or an emulator's
 * mistake. Both write into buffers that were filled alike and are compared whole, so that writing
 * too much shows as well. tests/checkasm asks much more.
 */
#include "bn_float.h"
#include "bn_image.h"
#include "bn_ops.h"

#define ROUNDS		8
#define BEHIND		64	/* bytes behind each output that must stay */
#define PATTERN		0xa5

struct test {
	const struct bn_ops *ref, *ops;
	u64 random;
	u8 *free;
};

static u32 rnd(struct test *t)
{
	u64 z = t->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	return (z ^ (z >> 27)) >> 24;
}

static u32 between(struct test *t, u32 min, u32 max)
{
	return min + rnd(t) % (max - min + 1);
}

/* The sizes below are constants that fit: see the largest, attention(). */
static void *take(struct test *t, size_t bytes)
{
	u8 *p = t->free;

	t->free += bn_round_up(bytes, 64);
	return p;
}

static void *take_output(struct test *t, size_t bytes)
{
	u8 *p = take(t, bytes + BEHIND);

	memset(p, PATTERN, bytes + BEHIND);
	return p;
}

static bool same(const void *a, const void *b, size_t bytes)
{
	return !memcmp(a, b, bytes + BEHIND);
}

/* The kind is drawn for an array: ordinary numbers; some special ones among them; any bits */
static float *take_floats(struct test *t, u32 n)
{
	static const u32 special[] = {
		BN_F32_NAN, 0xffc00001, 0x7f800001, BN_F32_INF, BN_F32_INF | BN_F32_SIGN,
		0, BN_F32_SIGN, 1, 0x807fffff, 0x7f7fffff, 0x42b16666, 0xc2ae999a,
	};
	float *x = take(t, n * sizeof(*x));
	u32 kind = rnd(t) % 4;

	for (u32 i = 0; i < n; i++) {
		u32 bits = rnd(t);

		if (kind == 3 && bits % 16 == 0)
			bits = special[bits / 16 % (sizeof(special) / sizeof(*special))];
		else if (kind)
			bits = (bits & 0x807fffff) | between(t, 118, 132) << 23;
		memcpy(x + i, &bits, sizeof(bits));
	}
	return x;
}

static u16 *take_f16s(struct test *t, u32 n)
{
	u16 *x = take(t, n * sizeof(*x));
	u32 kind = rnd(t) % 4;

	for (u32 i = 0; i < n; i++) {
		u32 bits = rnd(t);

		x[i] = kind ? (bits & 0x83ff) | between(t, 8, 16) << 10 : bits;
	}
	return x;
}

static bool linear_t2(struct test *t, u32 round)
{
	static const u8 fill[] = { 0xff, 0xaa, 0x00 };
	static const s8 extreme[] = { -128, 127, -127 };
	u32 blocks = between(t, 1, 6), rows = 1 + round % 5, batch = 1 + rnd(t) % 12;
	u32 row_bytes = blocks * BN_T2_BLOCK_BYTES, cols = blocks * BN_T2_BLOCK_COLS;
	size_t y_bytes;
	s32 *want, *got, *x_sum;
	u8 *w;
	s8 *x;

	/* one long row, so that 16-bit sums would overflow; otherwise little for one section */
	if (round == 0) {
		row_bytes = 4096;
		cols = 4 * row_bytes;
		rows = 1;
		batch = 1;
	} else if (rows * blocks * batch > 48) {
		batch = 1;
	}
	w = take(t, rows * row_bytes);
	x = take(t, batch * cols);
	x_sum = take(t, batch * sizeof(*x_sum));
	for (u32 i = 0; i < rows * row_bytes; i++)
		w[i] = round < 3 ? fill[round] : rnd(t);
	for (u32 b = 0; b < batch; b++) {
		x_sum[b] = 0;
		for (u32 i = 0; i < cols; i++) {
			x[b * cols + i] = round < 3 ? extreme[round] : (s8)rnd(t);
			x_sum[b] += x[b * cols + i];
		}
	}
	y_bytes = batch * rows * sizeof(*want);
	want = take_output(t, y_bytes);
	got = take_output(t, y_bytes);
	t->ref->linear_t2(want, rows, w, row_bytes, rows, x, cols, x_sum, batch);
	t->ops->linear_t2(got, rows, w, row_bytes, rows, x, cols, x_sum, batch);
	return same(got, want, y_bytes);
}

static bool quantize(struct test *t, u32 round)
{
	u32 n = BN_T2_BLOCK_COLS * (1 + round % 3);
	float *x = take_floats(t, n), *inv_want = take_output(t, 4), *inv_got = take_output(t, 4);
	s8 *want = take_output(t, n), *got = take_output(t, n);
	s32 *sum_want = take_output(t, 4), *sum_got = take_output(t, 4);

	t->ref->quantize(want, sum_want, inv_want, x, n);
	t->ops->quantize(got, sum_got, inv_got, x, n);
	return same(got, want, n) && same(sum_got, sum_want, 4) && same(inv_got, inv_want, 4);
}

static bool rmsnorm(struct test *t, u32 round)
{
	u32 n = between(t, 1, 500), n_pad = bn_round_up(n, BN_LANES) + BN_LANES * (round % 2);
	float *x = take_floats(t, n_pad), *g = take_floats(t, bn_round_up(n, BN_LANES));
	float *want = take_output(t, n_pad * sizeof(*x)), *got = take_output(t, n_pad * sizeof(*x));

	memset(x + n, 0, (n_pad - n) * sizeof(*x));
	t->ref->rmsnorm(want, x, g, n, n_pad, 1e-5f);
	t->ops->rmsnorm(got, x, g, n, n_pad, 1e-5f);
	return same(got, want, n_pad * sizeof(*x));
}

static bool dequant(struct test *t, u32 round)
{
	u32 n = between(t, 1, 200);
	s32 *acc = take(t, n * sizeof(*acc));
	float *scale = take_floats(t, 1);
	float *want = take_output(t, n * sizeof(*want)), *got = take_output(t, n * sizeof(*got));

	for (u32 i = 0; i < n; i++)
		acc[i] = (s32)rnd(t) >> i % 32;
	t->ref->dequant(want, acc, n, *scale, round % 2);
	t->ops->dequant(got, acc, n, *scale, round % 2);
	return same(got, want, n * sizeof(*want));
}

static bool glu(struct test *t, u32 round)
{
	u32 n = between(t, 1, 200);
	float *g = take_floats(t, n), *u = take_floats(t, n);
	float *want = take_output(t, n * sizeof(*want)), *got = take_output(t, n * sizeof(*got));

	t->ref->glu(want, g, u, n, round % 2);
	t->ops->glu(got, g, u, n, round % 2);
	return same(got, want, n * sizeof(*want));
}

static bool f16_to_f32(struct test *t, u32 round)
{
	u32 n = between(t, 1, 300);
	u16 *x = take_f16s(t, n);
	float *want = take_output(t, n * sizeof(*want)), *got = take_output(t, n * sizeof(*got));

	t->ref->f16_to_f32(want, x, n);
	t->ops->f16_to_f32(got, x, n);
	return same(got, want, n * sizeof(*want));
}

static bool f32_to_f16(struct test *t, u32 round)
{
	u32 n = between(t, 1, 300);
	float *x = take_floats(t, n);
	u16 *want = take_output(t, n * sizeof(*want)), *got = take_output(t, n * sizeof(*got));

	t->ref->f32_to_f16(want, x, n);
	t->ops->f32_to_f16(got, x, n);
	return same(got, want, n * sizeof(*want));
}

static bool rope(struct test *t, u32 round)
{
	u32 half = between(t, 1, BN_MAX_HEAD_DIM / 2);
	size_t bytes = 2 * half * sizeof(float);
	float *x = take_floats(t, 2 * half);
	float *cos = take_floats(t, half), *sin = take_floats(t, half);
	float *want = take_output(t, bytes), *got = take_output(t, bytes);

	memcpy(want, x, bytes);
	memcpy(got, x, bytes);
	t->ref->rope(want, cos, sin, half);
	t->ops->rope(got, cos, sin, half);
	return same(got, want, bytes);
}

/* at most 2 KiB of queries, 2 * 8 KiB of keys and values and 4 KiB of results */
static bool attention(struct test *t, u32 round)
{
	u32 head_pad = BN_LANES * (1 + round % 5), heads = 1 + round % 3;
	u32 n = round == 4 ? BN_ATTN_CHUNK : between(t, 1, 15);
	size_t acc_bytes = heads * head_pad * sizeof(float), ml_bytes = heads * 2 * sizeof(float);
	float *q = take_floats(t, heads * head_pad), *acc = take_floats(t, heads * head_pad);
	float *ml = take_floats(t, heads * 2);
	u16 *k = take_f16s(t, n * head_pad), *v = take_f16s(t, n * head_pad);
	float *want = take_output(t, acc_bytes), *got = take_output(t, acc_bytes);
	float *ml_want = take_output(t, ml_bytes), *ml_got = take_output(t, ml_bytes);

	memcpy(want, acc, acc_bytes);
	memcpy(got, acc, acc_bytes);
	memcpy(ml_want, ml, ml_bytes);
	memcpy(ml_got, ml, ml_bytes);
	t->ref->attention(want, ml_want, q, k, v, head_pad, heads, n);
	t->ops->attention(got, ml_got, q, k, v, head_pad, heads, n);
	return same(got, want, acc_bytes) && same(ml_got, ml_want, ml_bytes);
}

static bool head(struct test *t, u32 round)
{
	u32 n = BN_LANES * between(t, 1, 12), stride = n + BN_LANES * (round % 2);
	u32 rows = between(t, 1, 9);
	float *h = take_floats(t, n);
	u16 *e = take_f16s(t, rows * stride);
	size_t bytes = rows * sizeof(float);
	float *want = take_output(t, bytes), *got = take_output(t, bytes);

	t->ref->head(want, h, e, stride, rows, n);
	t->ops->head(got, h, e, stride, rows, n);
	return same(got, want, bytes);
}

static bool reductions(struct test *t, u32 round)
{
	static const float bounds[] = { BN_EXP_MIN, BN_EXP_MAX };
	u32 n = between(t, 1, 200);
	float *x = take_floats(t, n);
	float *want = take_output(t, 12), *got = take_output(t, 12);

	want[0] = t->ref->max_value(x, n);
	got[0] = t->ops->max_value(x, n);
	want[1] = t->ref->sum_exp(x, n, want[0]);
	got[1] = t->ops->sum_exp(x, n, want[0]);
	want[2] = t->ref->sum_exp(bounds + round % 2, 1, 0.0f);
	got[2] = t->ops->sum_exp(bounds + round % 2, 1, 0.0f);
	return same(got, want, 12);
}

static bool (*const tests[])(struct test *t, u32 round) = {
	linear_t2, quantize, rmsnorm, dequant, glu, f16_to_f32, f32_to_f16, rope, attention, head,
	reductions,
};

enum bn_err bn_selftest(const struct bn_ops *ops, u32 nr, void *scratch)
{
	const u32 n_tests = sizeof(tests) / sizeof(*tests);
	struct test t = {
		.ref = bn_variants[0],
		.ops = ops,
		.random = 0x62697471ULL * (nr + 1),
		.free = scratch,
	};

	if (nr >= ROUNDS * n_tests)
		return BN_END;
	return tests[nr % n_tests](&t, nr / n_tests) ? BN_OK : BN_ESELFTEST;
}

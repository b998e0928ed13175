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

/* Ascending numbers of @n lines out of about twice as many, or all of them: NULL */
static const u32 *take_index(struct test *t, u32 n)
{
	u32 *index = take(t, n * sizeof(*index));

	for (u32 i = 0; i < n; i++)
		index[i] = 2 * i + rnd(t) % 2;
	return rnd(t) % 2 ? index : NULL;
}

/* Weights and activations for @lines lines of @blocks blocks and @cols activations */
static void take_product(struct test *t, struct bn_product *p, u32 round, u32 lines, u32 cols)
{
	static const u8 fill[] = { 0xff, 0xaa, 0x00 };
	static const s8 extreme[] = { -128, 127, -127 };
	u32 bytes = lines * p->blocks * BN_BLOCK_BYTES;
	s32 *x_sum = take(t, p->batch * sizeof(*x_sum));
	u8 *w = take(t, bytes);
	s8 *x;

	p->x_stride = bn_round_up(cols, 64);
	x = take(t, p->batch * p->x_stride);
	for (u32 i = 0; i < bytes; i++)
		w[i] = round < 3 ? fill[round] : rnd(t);
	for (u32 b = 0; b < p->batch; b++) {
		x_sum[b] = 0;
		for (u32 i = 0; i < p->x_stride; i++) {
			s8 value = round < 3 ? extreme[round] : (s8)rnd(t);

			x[b * p->x_stride + i] = i < cols ? value : 0;
			x_sum[b] += x[b * p->x_stride + i];
		}
	}
	p->w = w;
	p->line_bytes = p->blocks * BN_BLOCK_BYTES;
	p->x = x;
	p->x_sum = x_sum;
	p->tmp = take(t, BN_TMP_BYTES);
}

static const u8 *const *take_list(struct test *t, const struct bn_product *p)
{
	const u8 **list = take(t, p->n * sizeof(*list));
	const u32 *index = take_index(t, p->n);

	for (u32 i = 0; index && i < p->n; i++)
		list[i] = p->w + (size_t)index[i] * p->line_bytes;
	return index ? list : NULL;
}

static bool linear(struct test *t, u32 round, u32 packing)
{
	struct bn_product p = {
		.blocks = between(t, 1, 6), .n = 1 + round % 5, .batch = 1 + rnd(t) % 12,
	};
	s32 *want, *got;
	size_t bytes;

	/* one long row, so that 16-bit sums would overflow; otherwise little for one section */
	if (round == 0) {
		p.blocks = 64;
		p.n = 1;
		p.batch = 1;
	} else if (p.n * p.blocks * p.batch > 48) {
		p.batch = 1;
	}
	take_product(t, &p, round, 2 * p.n, p.blocks * bn_block_cols(packing));
	p.list = take_list(t, &p);
	if (!p.list && p.batch == 1 && p.n >= BN_PARTS) {
		p.n = BN_PARTS;
		for (u32 k = 0; k < BN_PARTS; k++)
			p.part[k] = p.w + (BN_PARTS - k) * p.line_bytes;
	}
	p.y_stride = p.part[0] ? 2 : p.n;
	bytes = (p.part[0] ? BN_PARTS : p.batch) * p.y_stride * sizeof(*want);
	want = take_output(t, bytes);
	got = take_output(t, bytes);
	p.y = want;
	t->ref->linear[packing](&p);
	p.y = got;
	t->ops->linear[packing](&p);
	return same(got, want, bytes);
}

static bool columns(struct test *t, u32 round, u32 packing)
{
	struct bn_product p = {
		.blocks = 1, .n = between(t, 1, 24), .batch = 1 + rnd(t) % 5,
	};
	s32 *want, *got;
	size_t bytes;

	if (round == 0) {		/* many columns: 16-bit sums would overflow */
		p.n = 96;
		p.batch = 1;
	}
	p.index = take_index(t, p.n);
	take_product(t, &p, round, 2 * p.n, 2 * p.n);
	p.y_stride = bn_block_cols(packing);
	bytes = p.batch * p.y_stride * sizeof(*want);
	want = take_output(t, bytes);
	got = take_output(t, bytes);
	memset(want, 0x21, bytes);
	memset(got, 0x21, bytes);
	p.y = want;
	t->ref->columns[packing](&p);
	p.y = got;
	t->ops->columns[packing](&p);
	return same(got, want, bytes);
}

static bool linear_t2(struct test *t, u32 round)
{
	return linear(t, round, BN_T2);
}

static bool linear_t1(struct test *t, u32 round)
{
	return linear(t, round, BN_T1);
}

static bool columns_t2(struct test *t, u32 round)
{
	return columns(t, round, BN_T2);
}

static bool columns_t1(struct test *t, u32 round)
{
	return columns(t, round, BN_T1);
}

static bool quantize(struct test *t, u32 round)
{
	u32 n = 64 * (1 + round);
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

/* Planes of @bytes bytes: any, or the extremes that sums could overflow with */
static u8 *take_plane(struct test *t, u32 round, u32 bytes)
{
	static const u8 extreme[] = { 0, 255 };
	u8 *plane = take(t, bytes);

	for (u32 i = 0; i < bytes; i++)
		plane[i] = round < 2 ? extreme[round] : (u8)rnd(t);
	return plane;
}

static bool embed(struct test *t, u32 round)
{
	u32 n = between(t, 1, 300), n_pad = bn_round_up(n, BN_PLANE_COLS);
	u8 *high = take_plane(t, round, bn_high_bytes(n_pad));
	u8 *low = take_plane(t, round, bn_low_bytes(n_pad));
	float *scale = take_floats(t, 1);
	float *want = take_output(t, n * sizeof(*want)), *got = take_output(t, n * sizeof(*got));

	t->ref->embed(want, high, low, *scale, n);
	t->ops->embed(got, high, low, *scale, n);
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

/* at most 4 KiB of queries, 10 KiB of keys and values, twice 20 as f32, and 16 of results */
static bool attention(struct test *t, u32 round)
{
	u32 head_pad = BN_LANES * (1 + round % 5), heads = 1 + round % 7;
	u32 n = round == 4 ? BN_ATTN_CHUNK : between(t, 1, 33);
	u32 s_stride = bn_round_up(n, BN_LANES) + BN_LANES * (round % 2);
	size_t acc_bytes = heads * head_pad * sizeof(float), ml_bytes = heads * 2 * sizeof(float);
	size_t s_bytes = heads * s_stride * sizeof(float);
	float *acc = take_floats(t, heads * head_pad), *ml = take_floats(t, heads * 2);
	struct bn_attention p = {
		.q = take_floats(t, heads * head_pad), .s_stride = s_stride,
		.p = take(t, heads * BN_ATTN_CHUNK * sizeof(float)),
		.kv = take_f16s(t, n * head_pad), .next = round % 3 ? (const u16 *)t->free : NULL,
		.rows = 1, .head_pad = head_pad, .heads = heads, .n = n,
	};
	float *wide = take(t, BN_ATTN_CHUNK * head_pad * sizeof(*wide));
	struct bn_attention ref = p;

	ref.s = take_output(t, s_bytes);
	p.s = take_output(t, s_bytes);
	t->ref->scores(&ref);
	if (round % 2 == 0) {
		t->ops->widen_keys(wide, p.kv, n, head_pad);
		p.wide = wide;
	}
	t->ops->scores(&p);
	for (u32 h = 0; h < heads; h++)
		if (memcmp(p.s + h * s_stride, ref.s + h * s_stride, n * sizeof(float)))
			return false;
	if (memcmp(p.s + heads * s_stride, ref.s + heads * s_stride, BEHIND))
		return false;

	ref.acc = take_output(t, acc_bytes);
	p.acc = take_output(t, acc_bytes);
	ref.ml = take_output(t, ml_bytes);
	p.ml = take_output(t, ml_bytes);
	memcpy(ref.acc, acc, acc_bytes);
	memcpy(p.acc, acc, acc_bytes);
	memcpy(ref.ml, ml, ml_bytes);
	memcpy(p.ml, ml, ml_bytes);
	p.s = ref.s;
	t->ref->weigh(&ref);
	if (p.wide)
		t->ops->widen_values(wide, p.kv, n, head_pad);
	t->ops->weigh(&p);
	return same(p.acc, ref.acc, acc_bytes) && same(p.ml, ref.ml, ml_bytes);
}

/* Rows and slots of a head; the rows wanted are some of twice as many */
static struct bn_head take_head(struct test *t, u32 round)
{
	u32 rows;
	struct bn_head p = {
		.n_pad = round == 0 ? 2048 : BN_PLANE_COLS * between(t, 1, 3),
		.n = between(t, 1, 5),
		.slots = 1 + round % 4,
	};

	if (round == 0)
		p.n = 1;
	rows = 2 * p.n;
	p.high = take_plane(t, round, rows * bn_high_bytes(p.n_pad));
	p.low = take_plane(t, round, rows * bn_low_bytes(p.n_pad));
	p.scale = take_floats(t, rows);
	p.step = take_floats(t, p.slots);
	p.y_stride = p.n + round % 3;
	return p;
}

static bool head_full(struct test *t, u32 round)
{
	struct bn_head p = take_head(t, round);
	size_t bytes = p.slots * p.y_stride * sizeof(float);
	float *want = take_output(t, bytes), *got = take_output(t, bytes);

	p.index = take_index(t, p.n);
	p.x = take_floats(t, p.slots * p.n_pad);
	p.tmp = take_output(t, BN_TMP_BYTES);
	p.x_stride = p.n_pad * sizeof(float);
	p.y = want;
	t->ref->head_full(&p);
	p.y = got;
	t->ops->head_full(&p);
	return same(got, want, bytes);
}

/* The form of the integers is a variant's own: what is compared is what comes of it. */
static bool head_top(struct test *t, u32 round)
{
	struct bn_head p = take_head(t, round);
	size_t bytes = p.slots * p.y_stride * sizeof(float);
	float *want = take_output(t, bytes), *got = take_output(t, bytes);
	float *step_want = take_output(t, 16), *step_got = take_output(t, 16);
	struct bn_head_norms *norms_want = take_output(t, 32), *norms_got = take_output(t, 32);
	float *x = take_floats(t, p.slots * p.n_pad);
	u8 *q_want, *q_got;

	if (p.slots == 1 && p.n >= BN_PARTS) {
		p.n = BN_PARTS;
		p.apart = 1;
		for (u32 k = 0; k < BN_PARTS; k++)
			p.part[k] = p.high + (BN_PARTS - k) * bn_high_bytes(p.n_pad);
	}
	p.tmp = take_output(t, BN_TMP_BYTES);
	p.x_stride = BN_HEAD_Q_BYTES(p.n_pad);
	q_want = take(t, p.slots * p.x_stride);
	q_got = take(t, p.slots * p.x_stride);
	for (u32 i = 0; round == 0 && i < p.n_pad; i++)
		x[i] = 1.0f;		/* the largest integers with the largest bytes */
	for (u32 s = 0; s < p.slots; s++) {
		t->ref->head_quantize(q_want + s * p.x_stride, step_want + s, norms_want + s,
				      x + s * p.n_pad, p.n_pad);
		t->ops->head_quantize(q_got + s * p.x_stride, step_got + s, norms_got + s,
				      x + s * p.n_pad, p.n_pad);
	}
	p.y = want;
	p.x = q_want;
	t->ref->head_top(&p);
	p.y = got;
	p.x = q_got;
	t->ops->head_top(&p);
	return same(step_got, step_want, 16) && same(norms_got, norms_want, 32) &&
		same(got, want, bytes);
}

static bool head_bounds(struct test *t, u32 round)
{
	u32 n = between(t, 1, 300), most = between(t, 1, 300), from = rnd(t) % n, end;
	float *y = take_floats(t, n), *bounds = take_floats(t, 3);
	struct bn_head_error e = { take_floats(t, n), take_floats(t, n), bounds[0], bounds[2] };
	u32 *want = take_output(t, most * 4), *got = take_output(t, most * 4);
	float *left_want = take_output(t, n * 4), *left_got = take_output(t, n * 4);
	u32 lower = (n + BN_HEAD_ROWS - 1) / BN_HEAD_ROWS;
	float *lower_want = take_output(t, lower * 4), *lower_got = take_output(t, lower * 4);

	if (round % 2)		/* so that the errors do not hide everything */
		e.per_scale = e.per_error = 0x1p-6f;
	memcpy(left_want, y, n * sizeof(*y));
	memcpy(left_got, y, n * sizeof(*y));
	t->ref->head_lower(lower_want, y, &e, n);
	t->ops->head_lower(lower_got, y, &e, n);
	end = t->ref->head_pick(want, y, &e, bounds[1], from, n, most);
	if (t->ops->head_pick(got, y, &e, bounds[1], from, n, most) != end)
		return false;
	if (t->ref->head_drop(left_want, bounds[1], n) != t->ops->head_drop(left_got, bounds[1], n))
		return false;
	return same(lower_got, lower_want, lower * 4) && same(got, want, most * 4) &&
		same(left_got, left_want, n * 4);
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
	linear_t2, linear_t1, columns_t2, columns_t1, quantize, rmsnorm, dequant, glu, embed,
	f32_to_f16, rope, attention, head_full, head_top, head_bounds, reductions,
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

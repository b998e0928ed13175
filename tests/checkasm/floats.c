// SPDX-License-Identifier: GPL-2.0
/*
 * floats.c - checkasm: the float operations
 */
#include <stdio.h>

#include "checkasm.h"

enum { A, B, C, D, GOT, WANT, GOT2, WANT2 };

#define FLOAT_ALIGN	4	/* what "any alignment" means for f32 */

static float *floats(unsigned int slot, u32 n, size_t align)
{
	float *x = buffer(slot, n * sizeof(*x), align);

	rnd_floats(x, n);
	return x;
}

static float *copy(unsigned int slot, const float *from, u32 n, size_t align)
{
	float *x = buffer(slot, n * sizeof(*x), align);

	memcpy(x, from, n * sizeof(*x));
	return x;
}

static bool compare(const float *got, const float *want, u32 n, char *what, size_t what_bytes)
{
	if (!buffer_intact(GOT)) {
		snprintf(what + strlen(what), what_bytes - strlen(what),
			 ": writes outside its output");
		return false;
	}
	return same_bits(got, want, n, sizeof(*got), what, what_bytes);
}

static bool rmsnorm(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		    size_t what_bytes)
{
	u32 n = between(1, 1500), n_pad = bn_round_up(n, BN_LANES) + BN_LANES * below(4);
	u32 g_bytes = bn_round_up(n, BN_LANES) * sizeof(float);
	float *x = buffer(A, n_pad * sizeof(*x), 64), *g = buffer(B, g_bytes, 64);
	float eps = below(2) ? 1e-5f : 0.0f, *got, *want;

	memset(x, 0, n_pad * sizeof(*x));
	rnd_floats(x, n);
	memset(g, 0xff, g_bytes);	/* NaNs behind the end must not come through */
	rnd_floats(g, n);
	if (!below(2)) {		/* in place */
		got = copy(GOT, x, n_pad, 64);
		want = copy(WANT, x, n_pad, 64);
		ref->rmsnorm(want, want, g, n, n_pad, eps);
		ops->rmsnorm(got, got, g, n, n_pad, eps);
	} else {
		got = floats(GOT, n_pad, 64);
		want = floats(WANT, n_pad, 64);
		ref->rmsnorm(want, x, g, n, n_pad, eps);
		ops->rmsnorm(got, x, g, n, n_pad, eps);
	}
	snprintf(what, what_bytes, "n %u, n_pad %u, eps %g", n, n_pad, eps);
	return compare(got, want, n_pad, what, what_bytes);
}

static bool dequant(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		    size_t what_bytes)
{
	u32 n = between(1, 300);
	s32 *acc = buffer(A, n * sizeof(*acc), FLOAT_ALIGN);
	float *y = floats(B, n, FLOAT_ALIGN), *got = copy(GOT, y, n, FLOAT_ALIGN);
	float *want = copy(WANT, y, n, FLOAT_ALIGN), scale;
	bool add = below(2);

	rnd_floats(&scale, 1);
	for (u32 i = 0; i < n; i++)
		acc[i] = (s32)rnd() >> below(32);
	snprintf(what, what_bytes, "n %u, scale %g, add %d", n, scale, add);
	ref->dequant(want, acc, n, scale, add);
	ops->dequant(got, acc, n, scale, add);
	return compare(got, want, n, what, what_bytes);
}

static bool glu(const struct bn_ops *ref, const struct bn_ops *ops, char *what, size_t what_bytes)
{
	u32 n = between(1, 300), activation = below(2) ? BITNET_ACT_RELU2 : BITNET_ACT_SILU;
	float *g = floats(A, n, FLOAT_ALIGN), *u = floats(B, n, FLOAT_ALIGN);
	float *got = floats(GOT, n, FLOAT_ALIGN), *want = floats(WANT, n, FLOAT_ALIGN);

	snprintf(what, what_bytes, "n %u, activation %u", n, activation);
	ref->glu(want, g, u, n, activation);
	ops->glu(got, g, u, n, activation);
	return compare(got, want, n, what, what_bytes);
}

static bool f32_to_f16(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		       size_t what_bytes)
{
	u32 n = between(1, 300);
	float *x = floats(A, n, FLOAT_ALIGN);
	u16 *got = buffer(GOT, n * sizeof(*got), 2), *want = buffer(WANT, n * sizeof(*want), 2);

	snprintf(what, what_bytes, "n %u", n);
	ref->f32_to_f16(want, x, n);
	ops->f32_to_f16(got, x, n);
	return buffer_intact(GOT) && same_bits(got, want, n, sizeof(*got), what, what_bytes);
}

static bool rope(const struct bn_ops *ref, const struct bn_ops *ops, char *what, size_t what_bytes)
{
	u32 half = between(1, BN_MAX_HEAD_DIM / 2);
	float *x = floats(A, 2 * half, FLOAT_ALIGN);
	float *cos = floats(B, half, FLOAT_ALIGN), *sin = floats(C, half, FLOAT_ALIGN);
	float *got = copy(GOT, x, 2 * half, FLOAT_ALIGN),
	      *want = copy(WANT, x, 2 * half, FLOAT_ALIGN);

	snprintf(what, what_bytes, "half %u", half);
	ref->rope(want, cos, sin, half);
	ops->rope(got, cos, sin, half);
	return compare(got, want, 2 * half, what, what_bytes);
}

/* What both operations get but for their buffers; @next is memory that must not be read */
static struct bn_attention rnd_attention(void)
{
	struct bn_attention p = {
		.head_pad = BN_LANES * between(1, BN_MAX_HEAD_DIM / BN_LANES),
		.heads = between(1, 9),
		.n = below(3) ? between(1, BN_ATTN_CHUNK) : BN_ATTN_CHUNK,
	};

	p.s_stride = bn_round_up(p.n, BN_LANES) + BN_LANES * below(3);
	p.next = below(2) ? (const u16 *)64 : NULL;
	return p;
}

static bool scores(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		   size_t what_bytes)
{
	struct bn_attention p = rnd_attention(), want;
	u32 s_elems = (p.heads - 1) * p.s_stride + bn_round_up(p.n, BN_LANES);
	u16 *k = buffer(B, p.n * p.head_pad * sizeof(*k), 2);

	rnd_f16s(k, p.n * p.head_pad);
	p.kv = k;
	p.q = floats(A, p.heads * p.head_pad, 64);
	want = p;
	p.s = floats(GOT, s_elems, 64);
	want.s = floats(WANT, s_elems, 64);
	snprintf(what, what_bytes, "head_pad %u, heads %u, n %u", p.head_pad, p.heads, p.n);
	ref->scores(&want);
	ops->scores(&p);
	for (u32 h = 0; h < p.heads; h++)
		if (!compare(p.s + h * p.s_stride, want.s + h * p.s_stride, p.n, what, what_bytes))
			return false;
	return true;
}

/* two chunks one after the other, so that the second meets a maximum and a sum */
static bool weigh(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		  size_t what_bytes)
{
	struct bn_attention p = rnd_attention(), want;
	u32 acc_elems = p.heads * p.head_pad, v_elems = p.n * p.head_pad;
	float *ml_got = buffer(GOT2, p.heads * 2 * sizeof(float), 4);
	float *ml_want = buffer(WANT2, p.heads * 2 * sizeof(float), 4);
	u16 *v = buffer(C, v_elems * sizeof(*v), 2);
	float *acc = floats(D, acc_elems, 64);
	u32 chunks = between(1, 2);

	p.kv = v;
	p.p = buffer(A, p.heads * BN_ATTN_CHUNK * sizeof(float), 64);
	rnd_floats(ml_want, 2 * p.heads);
	if (below(2)) {
		memset(acc, 0, acc_elems * sizeof(*acc));
		for (u32 h = 0; h < p.heads; h++) {
			ml_want[2 * h] = -__builtin_inff();
			ml_want[2 * h + 1] = 0.0f;
		}
	}
	memcpy(ml_got, ml_want, p.heads * 2 * sizeof(float));
	want = p;
	want.acc = copy(WANT, acc, acc_elems, 64);
	want.ml = ml_want;
	p.acc = copy(GOT, acc, acc_elems, 64);
	p.ml = ml_got;
	snprintf(what, what_bytes, "head_pad %u, heads %u, n %u, chunks %u", p.head_pad, p.heads,
		 p.n, chunks);
	for (u32 i = 0; i < chunks; i++) {
		rnd_f16s(v, v_elems);
		p.s = floats(B, p.heads * p.s_stride, 64);
		want.s = p.s;
		ref->weigh(&want);
		ops->weigh(&p);
	}
	return buffer_intact(GOT2) && buffer_intact(A) &&
		same_bits(ml_got, ml_want, 2 * p.heads, 4, what, what_bytes) &&
		compare(p.acc, want.acc, acc_elems, what, what_bytes);
}

static bool max_value(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		      size_t what_bytes)
{
	u32 n = between(1, 400);
	float *x = floats(A, n, FLOAT_ALIGN), got, want;

	if (!below(10))
		memset(x, 0xff, n * sizeof(*x));	/* all NaN */
	snprintf(what, what_bytes, "n %u", n);
	want = ref->max_value(x, n);
	got = ops->max_value(x, n);
	return same_bits(&got, &want, 1, sizeof(got), what, what_bytes);
}

static bool sum_exp(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		    size_t what_bytes)
{
	u32 n = between(1, 400);
	float *x = floats(A, n, FLOAT_ALIGN), max = ref->max_value(x, n), got, want;

	if (below(3) == 0)
		rnd_floats(&max, 1);
	if (below(4) == 0) {		/* the bounds of exp, and their neighbours, alone */
		static const float bounds[] = { BN_EXP_MIN, BN_EXP_MAX };
		u32 bits;

		memcpy(&bits, bounds + below(2), sizeof(bits));
		bits += between(0, 2) - 1;
		n = 1;
		x = buffer(A, sizeof(*x), FLOAT_ALIGN);
		memcpy(x, &bits, sizeof(bits));
		max = 0.0f;
	}
	snprintf(what, what_bytes, "n %u, max %g", n, max);
	want = ref->sum_exp(x, n, max);
	got = ops->sum_exp(x, n, max);
	return same_bits(&got, &want, 1, sizeof(got), what, what_bytes);
}

const struct check float_checks[] = {
	{ "rmsnorm", rmsnorm },
	{ "dequant", dequant },
	{ "glu", glu },
	{ "f32_to_f16", f32_to_f16 },
	{ "rope", rope },
	{ "scores", scores },
	{ "weigh", weigh },
	{ "max_value", max_value },
	{ "sum_exp", sum_exp },
	{ NULL, NULL },
};

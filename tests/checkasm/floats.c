// SPDX-License-Identifier: GPL-2.0
/*
 * floats.c - checkasm: the float operations
 */
#include <stdio.h>

#include "checkasm.h"

enum { A, B, C, D, E, F, GOT, WANT, GOT2, WANT2 };

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
		.rows = below(2) ? 1 : between(2, 8),
		.head_pad = BN_LANES * between(1, BN_MAX_HEAD_DIM / BN_LANES),
		.heads = between(1, 9),
		.n = below(3) ? between(1, BN_ATTN_CHUNK) : BN_ATTN_CHUNK,
	};

	p.q_stride = p.heads * p.head_pad + below(3);
	p.acc_stride = p.heads * p.head_pad + below(3);
	p.ml_stride = p.heads * 2 + below(3);
	p.s_stride = bn_round_up(p.n, BN_LANES) + BN_LANES * below(3);
	p.next = below(2) ? (const u16 *)64 : NULL;
	return p;
}

/* Row @r alone */
static struct bn_attention row_alone(const struct bn_attention *p, u32 r)
{
	struct bn_attention row = *p;

	row.rows = 1;
	row.q += r * p->q_stride;
	row.acc += r * p->acc_stride;
	row.ml += r * p->ml_stride;
	row.s += r * p->heads * p->s_stride;
	row.p += r * p->heads * BN_ATTN_CHUNK;
	return row;
}

/* Several rows, and some of one, get the @n keys or values there are as f32, in slot @slot. */
static void widen_some(struct bn_attention *p,
		       void (*widen)(float *to, const u16 *kv, u32 n, u32 head_pad), u32 n,
		       unsigned int slot)
{
	float *wide = buffer(slot, BN_ATTN_CHUNK * p->head_pad * sizeof(*wide), 64);

	if (p->rows == 1 && below(2))
		return;
	widen(wide, p->kv, n, p->head_pad);
	p->wide = wide;
	p->kv = NULL;
}

static void describe(const struct bn_attention *p, u32 n, char *what, size_t what_bytes)
{
	snprintf(what, what_bytes, "head_pad %u, heads %u, n %u of %u, rows %u%s", p->head_pad,
		 p->heads, p->n, n, p->rows, p->wide ? ", wide" : "");
}

static bool scores(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		   size_t what_bytes)
{
	struct bn_attention p = rnd_attention(), want;
	u32 s_elems = (p.rows * p.heads - 1) * p.s_stride + bn_round_up(p.n, BN_LANES);
	u32 n = between(p.n, BN_ATTN_CHUNK);
	u16 *k = buffer(B, n * p.head_pad * sizeof(*k), 2);

	rnd_f16s(k, n * p.head_pad);
	p.kv = k;
	p.q = floats(A, p.rows * p.q_stride, 64);
	want = p;
	p.s = floats(GOT, s_elems, 64);
	want.s = floats(WANT, s_elems, 64);
	for (u32 r = 0; r < want.rows; r++) {
		struct bn_attention row = row_alone(&want, r);

		widen_some(&row, ref->widen_keys, n, D);
		ref->scores(&row);
	}
	widen_some(&p, ops->widen_keys, n, C);
	describe(&p, n, what, what_bytes);
	ops->scores(&p);
	for (u32 h = 0; h < p.rows * p.heads; h++)
		if (!compare(p.s + h * p.s_stride, want.s + h * p.s_stride, p.n, what, what_bytes))
			return false;
	return buffer_intact(C) && buffer_intact(D);
}

/* two chunks one after the other, so that the second meets a maximum and a sum */
static bool weigh(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		  size_t what_bytes)
{
	struct bn_attention p = rnd_attention(), want;
	u32 n = between(p.n, BN_ATTN_CHUNK), chunks = between(1, 2);
	u32 acc_elems = p.rows * p.acc_stride, ml_elems = p.rows * p.ml_stride;
	u32 s_elems = p.rows * p.heads * p.s_stride, v_elems = n * p.head_pad;
	float *ml_got = buffer(GOT2, ml_elems * sizeof(float), 4);
	float *ml_want = buffer(WANT2, ml_elems * sizeof(float), 4);
	u16 *v = buffer(C, v_elems * sizeof(*v), 2);
	float *acc = floats(D, acc_elems, 64);
	bool in_place = below(2);

	if (in_place)
		s_elems = p.rows * p.heads * (p.s_stride = BN_ATTN_CHUNK);
	rnd_floats(ml_want, ml_elems);
	if (below(2)) {
		memset(acc, 0, acc_elems * sizeof(*acc));
		for (u32 i = 0; i < ml_elems; i++)
			ml_want[i] = i % p.ml_stride % 2 ? 0.0f : -__builtin_inff();
	}
	memcpy(ml_got, ml_want, ml_elems * sizeof(float));
	want = p;
	want.acc = copy(WANT, acc, acc_elems, 64);
	want.ml = ml_want;
	p.acc = copy(GOT, acc, acc_elems, 64);
	p.ml = ml_got;
	for (u32 i = 0; i < chunks; i++) {
		rnd_f16s(v, v_elems);
		p.kv = want.kv = v;
		p.wide = NULL;
		want.s = floats(B, s_elems, 64);
		want.p = buffer(A, p.rows * p.heads * BN_ATTN_CHUNK * sizeof(float), 64);
		for (u32 r = 0; r < want.rows; r++) {
			struct bn_attention row = row_alone(&want, r);

			widen_some(&row, ref->widen_values, n, F);
			ref->weigh(&row);
		}
		p.s = want.s;
		p.p = in_place ? p.s : want.p;
		widen_some(&p, ops->widen_values, n, E);
		ops->weigh(&p);
	}
	describe(&p, n, what, what_bytes);
	return buffer_intact(GOT2) && buffer_intact(A) && buffer_intact(B) && buffer_intact(E) &&
		same_bits(ml_got, ml_want, ml_elems, 4, what, what_bytes) &&
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

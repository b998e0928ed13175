// SPDX-License-Identifier: GPL-2.0
/*
 * head.c - checkasm: the embedding and the head, whose rows are two planes of bits
 */
#include <stdio.h>

#include "checkasm.h"

enum { HIGH, LOW, SCALE, ERROR, X, Q_GOT, Q_WANT, GOT, WANT, TMP };

#define FLOAT_ALIGN	4

/* extremes in one case of three: sums that would overflow */
static u8 *rnd_plane(unsigned int slot, size_t bytes)
{
	static const u8 constant[] = { 0, 255, 0x55, 0xf0 };
	u8 *plane = buffer(slot, bytes, 64);

	if (below(3))
		rnd_bytes(plane, bytes);
	else
		memset(plane, constant[below(sizeof(constant))], bytes);
	return plane;
}

static float *floats(unsigned int slot, size_t n, size_t align)
{
	float *x = buffer(slot, n * sizeof(*x), align);

	rnd_floats(x, n);
	return x;
}

static bool compare(const void *got, const void *want, u32 n, char *what, size_t what_bytes)
{
	if (!buffer_intact(GOT)) {
		snprintf(what + strlen(what), what_bytes - strlen(what),
			 ": writes outside its output");
		return false;
	}
	return same_bits(got, want, n, 4, what, what_bytes);
}

static bool embed(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		  size_t what_bytes)
{
	u32 n = between(1, 1500), n_pad = bn_round_up(n, BN_PLANE_COLS);
	u8 *high = rnd_plane(HIGH, bn_high_bytes(n_pad)), *low = rnd_plane(LOW, bn_low_bytes(n_pad));
	float *got = floats(GOT, n, FLOAT_ALIGN), *want = floats(WANT, n, FLOAT_ALIGN), scale;

	rnd_floats(&scale, 1);
	snprintf(what, what_bytes, "n %u, scale %g", n, scale);
	ref->embed(want, high, low, scale, n);
	ops->embed(got, high, low, scale, n);
	return compare(got, want, n, what, what_bytes);
}

/* @rows rows in the planes, of which p->n are wanted */
static u32 rnd_head(struct bn_head *p, u32 rows)
{
	p->n_pad = BN_PLANE_COLS * (below(6) ? between(1, 5) : between(1, BN_MAX_COLS / 256));
	p->slots = below(2) ? between(1, 4) : between(1, BN_MAX_HEAD_ROWS);
	if (p->n_pad > 4096 && p->slots > 2)
		p->slots = 2;
	p->high = rnd_plane(HIGH, (size_t)rows * bn_high_bytes(p->n_pad));
	p->low = rnd_plane(LOW, (size_t)rows * bn_low_bytes(p->n_pad));
	p->scale = floats(SCALE, rows, FLOAT_ALIGN);
	p->y_stride = p->n + below(5);
	return (p->slots - 1) * p->y_stride + p->n;
}

static bool head_full(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		      size_t what_bytes)
{
	static u32 index[64];
	struct bn_head p = { .n = between(1, 9) };
	u32 rows = p.n + below(10), elems = rnd_head(&p, rows);
	float *got = floats(GOT, elems, FLOAT_ALIGN), *want = buffer(WANT, elems * 4, FLOAT_ALIGN);

	for (u32 i = 0; i < p.n; i++)
		index[i] = below(rows);
	p.index = below(2) ? index : NULL;
	p.x_stride = (p.n_pad + 16 * below(3)) * sizeof(float);
	p.x = floats(X, p.slots * p.x_stride / sizeof(float), 64);
	p.tmp = buffer(TMP, BN_TMP_BYTES, 64);
	memcpy(want, got, elems * sizeof(*want));
	snprintf(what, what_bytes, "n_pad %u, rows %u, slots %u%s", p.n_pad, p.n, p.slots, p.index ? ", indexed" : "");
	p.y = want;
	ref->head_full(&p);
	p.y = got;
	ops->head_full(&p);
	if (!buffer_intact(TMP)) {
		snprintf(what + strlen(what), what_bytes - strlen(what), ": writes outside tmp");
		return false;
	}
	return compare(got, want, elems, what, what_bytes);
}

/* One slot, and rows from BN_PARTS places, fewer of each than there are scales */
static void take_parts(struct bn_head *p)
{
	u32 rows = p->n, lines;

	p->slots = 1;
	p->apart = rows / BN_PARTS;
	lines = between(1, p->apart);
	p->n = lines * BN_PARTS;
	for (u32 k = 0; k < BN_PARTS; k++)
		p->part[k] = p->high + (size_t)below(rows - lines + 1) * bn_high_bytes(p->n_pad);
}

/*
 * Quantised by each variant into its own form, then multiplied: bits show each sum if step and scale
 * are 1. Rows of equal magnitude give the largest integers everywhere.
 */
static bool head_top(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		     size_t what_bytes)
{
	struct bn_head p = { .n = between(1, 70) };
	u32 rows = p.n, elems = rnd_head(&p, rows), q_bytes = BN_HEAD_Q_BYTES(p.n_pad);
	float *got = floats(GOT, elems, FLOAT_ALIGN), *want = buffer(WANT, elems * 4, FLOAT_ALIGN);
	struct { float step; struct bn_head_norms norms; } of_got[BN_MAX_HEAD_ROWS], of_want[BN_MAX_HEAD_ROWS];
	float *x = floats(X, p.n_pad, 64), step[BN_MAX_HEAD_ROWS];
	u8 *q_got, *q_want;

	p.x_stride = q_bytes;
	p.tmp = buffer(TMP, BN_TMP_BYTES, 64);
	q_got = buffer(Q_GOT, (p.slots - 1) * p.x_stride + q_bytes, 64);
	q_want = buffer(Q_WANT, (p.slots - 1) * p.x_stride + q_bytes, 64);
	for (u32 s = 0; s < p.slots; s++) {
		rnd_floats(x, p.n_pad);
		for (u32 i = 0; !(s % 3) && i < p.n_pad; i++)
			x[i] = i % 2 || s % 2 ? 3.0f : -3.0f;
		ref->head_quantize(q_want + s * p.x_stride, &of_want[s].step, &of_want[s].norms, x,
				   p.n_pad);
		ops->head_quantize(q_got + s * p.x_stride, &of_got[s].step, &of_got[s].norms, x,
				   p.n_pad);
		step[s] = of_want[s].step;
	}
	if (p.n >= BN_PARTS && !below(3))
		take_parts(&p);
	if (below(2)) {
		for (u32 s = 0; s < p.slots; s++)
			step[s] = 1.0f;
		for (u32 i = 0; i < rows; i++)
			((float *)p.scale)[i] = 1.0f;
	}
	memcpy(want, got, elems * sizeof(*want));
	snprintf(what, what_bytes, "n_pad %u, rows %u, slots %u%s", p.n_pad, p.n, p.slots,
		 p.part[0] ? ", in parts" : "");
	p.step = step;
	p.y = want;
	p.x = q_want;
	ref->head_top(&p);
	p.y = got;
	p.x = q_got;
	ops->head_top(&p);
	if (!buffer_intact(Q_GOT) || !buffer_intact(TMP)) {
		snprintf(what + strlen(what), what_bytes - strlen(what), ": writes outside q or tmp");
		return false;
	}
	return same_bits(of_got, of_want, 3 * p.slots, 4, what, what_bytes) &&
		compare(got, want, elems, what, what_bytes);
}

/* errors that leave something to decide, or any */
static struct bn_head_error rnd_error(u32 n)
{
	struct bn_head_error e = {
		floats(SCALE, n, FLOAT_ALIGN), floats(ERROR, n, FLOAT_ALIGN), 0x1p-4f, 0x1p-5f,
	};

	if (!below(3)) {
		rnd_floats(&e.per_scale, 1);
		rnd_floats(&e.per_error, 1);
	}
	return e;
}

static bool head_lower(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		       size_t what_bytes)
{
	u32 n = between(1, 1024), elems = (n + BN_HEAD_ROWS - 1) / BN_HEAD_ROWS;
	float *got = floats(GOT, elems, FLOAT_ALIGN), *want = floats(WANT, elems, FLOAT_ALIGN);
	float *y = floats(X, n, FLOAT_ALIGN);
	const struct bn_head_error e = rnd_error(n);

	snprintf(what, what_bytes, "n %u, per scale %g, per error %g", n, e.per_scale, e.per_error);
	ref->head_lower(want, y, &e, n);
	ops->head_lower(got, y, &e, n);
	return compare(got, want, elems, what, what_bytes);
}

static bool head_pick(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		      size_t what_bytes)
{
	u32 n = between(1, 1024), from = below(n), most = below(2) ? between(1, 9) : 1024;
	float *y = floats(X, n, FLOAT_ALIGN), threshold;
	u32 *want = buffer(WANT, most * 4, 4), *got = buffer(GOT, most * 4, 4), n_want, n_got;
	const struct bn_head_error e = rnd_error(n);

	threshold = y[below(n)];
	memset(want, 0, most * 4);
	memset(got, 0, most * 4);
	snprintf(what, what_bytes, "from %u, n %u, most %u, per scale %g, error %g, threshold %g",
		 from, n, most, e.per_scale, e.per_error, threshold);
	n_want = ref->head_pick(want, y, &e, threshold, from, n, most);
	n_got = ops->head_pick(got, y, &e, threshold, from, n, most);
	return same_bits(&n_got, &n_want, 1, 4, what, what_bytes) &&
		compare(got, want, most, what, what_bytes);
}

static bool head_drop(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		      size_t what_bytes)
{
	u32 n = between(1, 1024), n_want, n_got;
	float *want = floats(WANT, n, FLOAT_ALIGN), *got = buffer(GOT, n * 4, FLOAT_ALIGN);
	float threshold = want[below(n)];

	memcpy(got, want, n * sizeof(*want));
	snprintf(what, what_bytes, "n %u, threshold %g", n, threshold);
	n_want = ref->head_drop(want, threshold, n);
	n_got = ops->head_drop(got, threshold, n);
	return same_bits(&n_got, &n_want, 1, 4, what, what_bytes) &&
		compare(got, want, n, what, what_bytes);
}

const struct check head_checks[] = {
	{ "embed", embed },
	{ "head_full", head_full },
	{ "head_top", head_top },
	{ "head_lower", head_lower },
	{ "head_pick", head_pick },
	{ "head_drop", head_drop },
	{ NULL, NULL },
};

// SPDX-License-Identifier: GPL-2.0
/*
 * linear.c - checkasm: linear_t2 and quantize
 */
#include <stdio.h>

#include "checkasm.h"

enum { W, X, SUM, GOT, WANT };

/* extremes in one case of three: sums that would overflow 16 bits */
static void rnd_weights(u8 *w, size_t bytes)
{
	static const u8 constant[] = { 0xff, 0xaa, 0x00, 0x55, 0xc0, 0x03 };

	if (below(3))
		rnd_bytes(w, bytes);
	else
		memset(w, constant[below(sizeof(constant))], bytes);
}

static void rnd_activations(s8 *x, size_t bytes)
{
	static const s8 constant[] = { 127, -128, -127, 1 };

	if (below(3))
		rnd_bytes(x, bytes);
	else
		memset(x, constant[below(sizeof(constant))], bytes);
}

static bool linear_t2(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		      size_t what_bytes)
{
	/* narrow and wide, few rows and many, all batches; only the reference's cost is bounded */
	u32 blocks = below(8) ? between(1, 12) : between(1, BN_MAX_COLS / BN_T2_BLOCK_COLS);
	u32 rows = blocks > 12 ? between(1, 5) : between(1, 23);
	u32 batch = below(3) ? between(1, 9) : between(1, BN_MAX_ROWS);
	u32 row_bytes = blocks * BN_T2_BLOCK_BYTES;
	size_t x_stride = blocks * BN_T2_BLOCK_COLS + (below(2) ? 0 : 64 * below(5));
	size_t y_stride = rows + below(7), y_elems;
	s32 *want, *got, *x_sum;
	bool intact;
	u8 *w;
	s8 *x;

	if (blocks > 12 && batch > 8)
		batch = 8;
	y_elems = (batch - 1) * y_stride + rows;
	snprintf(what, what_bytes, "%u rows x %u columns, batch %u, x_stride %zu, y_stride %zu",
		 rows, blocks * BN_T2_BLOCK_COLS, batch, x_stride, y_stride);
	w = buffer(W, (size_t)rows * row_bytes, 64);
	rnd_weights(w, (size_t)rows * row_bytes);
	x = buffer(X, (batch - 1) * x_stride + blocks * BN_T2_BLOCK_COLS, 64);
	rnd_activations(x, (batch - 1) * x_stride + blocks * BN_T2_BLOCK_COLS);
	x_sum = buffer(SUM, batch * sizeof(*x_sum), 4);
	for (u32 b = 0; b < batch; b++) {
		x_sum[b] = 0;
		for (u32 i = 0; i < blocks * BN_T2_BLOCK_COLS; i++)
			x_sum[b] += x[b * x_stride + i];
		if (!below(20))
			x_sum[b] = (s32)rnd();		/* nonsense has a defined result too */
	}
	want = buffer(WANT, y_elems * sizeof(*want), 4);
	got = buffer(GOT, y_elems * sizeof(*got), 4);
	memset(want, 0, y_elems * sizeof(*want));
	memset(got, 0, y_elems * sizeof(*got));
	ref->linear_t2(want, y_stride, w, row_bytes, rows, x, x_stride, x_sum, batch);
	ops->linear_t2(got, y_stride, w, row_bytes, rows, x, x_stride, x_sum, batch);
	intact = buffer_intact(GOT);
	if (!intact)
		snprintf(what + strlen(what), what_bytes - strlen(what), ": writes outside y");
	return intact && same_bits(got, want, y_elems, sizeof(*got), what, what_bytes);
}

static bool quantize(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		     size_t what_bytes)
{
	u32 n = between(1, 3000), n_pad = bn_round_up(n, BN_T2_BLOCK_COLS);
	struct { s32 sum; float inv; } got, want;
	float *x = buffer(X, n_pad * sizeof(*x), 64);
	s8 *q_got = buffer(GOT, n_pad, 64), *q_want = buffer(WANT, n_pad, 64);

	memset(x, 0, n_pad * sizeof(*x));
	rnd_floats(x, n);
	/* ties: the largest is 127, so the scale is 1 */
	if (!below(4)) {
		for (u32 i = 0; i < n; i++)
			x[i] = (float)((s32)below(509) - 254) * 0.5f;
		x[below(n)] = 127.0f;
	}
	snprintf(what, what_bytes, "n_pad %u", n_pad);
	ref->quantize(q_want, &want.sum, &want.inv, x, n_pad);
	ops->quantize(q_got, &got.sum, &got.inv, x, n_pad);
	return buffer_intact(GOT) && same_bits(q_got, q_want, n_pad, 1, what, what_bytes) &&
		same_bits(&got.sum, &want.sum, 1, 4, what, what_bytes) &&
		same_bits(&got.inv, &want.inv, 1, 4, what, what_bytes);
}

const struct check linear_checks[] = {
	{ "linear_t2", linear_t2 },
	{ "quantize", quantize },
	{ NULL, NULL },
};

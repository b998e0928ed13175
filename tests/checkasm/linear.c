// SPDX-License-Identifier: GPL-2.0
/*
 * linear.c - checkasm: products with packed weights, and quantize
 */
#include <stdio.h>
#include <stdlib.h>

#include "checkasm.h"

enum { W, X, SUM, GOT, WANT, TMP };

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

/*
 * Ascending numbers of @n of @lines lines, or NULL for the first ones; in malloc'd memory of just
 * @n. Callers ask for more than the product takes: what is ahead.
 */
static u32 *rnd_index(u32 n, u32 lines)
{
	u32 *index;

	if (below(2))
		return NULL;
	index = malloc(n * sizeof(*index));
	for (u32 i = 0, line = 0; i < n; i++, line++) {
		line += below(lines - line - (n - i) + 1);
		index[i] = line;
	}
	return index;
}

/*
 * Weights, activations and their sums for a product of @lines lines and @cols activations a row.
 * Columns may be longer than what is wanted of them.
 */
static void rnd_product(struct bn_product *p, u32 lines, u32 cols, u32 blocks_behind)
{
	s32 *x_sum;
	u8 *w;
	s8 *x;

	p->line_bytes = (p->blocks + blocks_behind) * BN_BLOCK_BYTES;
	p->x_stride = bn_round_up(cols, 64) + (below(2) ? 0 : 64 * below(5));
	w = buffer(W, (size_t)(lines - 1) * p->line_bytes + p->blocks * BN_BLOCK_BYTES, 64);
	rnd_weights(w, (size_t)(lines - 1) * p->line_bytes + p->blocks * BN_BLOCK_BYTES);
	x = buffer(X, (p->batch - 1) * p->x_stride + bn_round_up(cols, 64), 64);
	rnd_activations(x, (p->batch - 1) * p->x_stride + bn_round_up(cols, 64));
	x_sum = buffer(SUM, p->batch * sizeof(*x_sum), 4);
	for (u32 b = 0; b < p->batch; b++) {
		x_sum[b] = 0;
		for (u32 i = 0; i < cols; i++)
			x_sum[b] += x[b * p->x_stride + i];
		if (!below(20))
			x_sum[b] = (s32)rnd();		/* nonsense has a defined result too */
	}
	p->w = w;
	p->x = x;
	p->x_sum = x_sum;
	p->tmp = buffer(TMP, BN_TMP_BYTES, 64);
}

typedef void product_fn(const struct bn_product *p);

static bool same_product(struct bn_product *p, product_fn *ref, product_fn *ops, u32 width,
			 char *what, size_t what_bytes)
{
	u32 rows = p->part[0] ? BN_PARTS : p->batch;
	size_t elems = (rows - 1) * p->y_stride + width;
	s32 *want = buffer(WANT, elems * sizeof(*want), 4);
	s32 *got = buffer(GOT, elems * sizeof(*got), 4);
	bool intact;

	/* columns() adds to what is there */
	for (size_t i = 0; i < elems; i++)
		want[i] = got[i] = (s32)rnd();
	p->y = want;
	ref(p);
	p->y = got;
	ops(p);
	intact = buffer_intact(GOT) && buffer_intact(TMP);
	if (!intact)
		snprintf(what + strlen(what), what_bytes - strlen(what),
			 ": writes outside y or tmp");
	return intact && same_bits(got, want, elems, sizeof(*got), what, what_bytes);
}

/* Addresses of @n lines, in any order and more than once; NULL now and then, or as @always */
static const u8 **rnd_list(const struct bn_product *p, u32 n, u32 lines, bool always)
{
	const u8 **list;

	if (!always && below(2))
		return NULL;
	list = malloc(n * sizeof(*list));
	for (u32 i = 0; i < n; i++)
		list[i] = p->w + (size_t)below(lines) * p->line_bytes;
	return list;
}

static bool linear(const struct bn_ops *ref, const struct bn_ops *ops, u32 packing, char *what,
		   size_t what_bytes)
{
	/* narrow and wide, few rows and many, all batches; only the reference's cost is bounded */
	u32 most = BN_MAX_COLS / bn_block_cols(packing);
	struct bn_product p = {
		.blocks = below(8) ? between(1, 12) : between(1, most),
		.batch = below(3) ? between(1, 9) : below(2) ? between(1, BN_MAX_ROWS) : 1,
	};
	const u8 **list, **fetch;
	u32 lines, cols;
	bool good, parts;

	p.n = p.blocks > 12 ? between(1, 5) : between(1, 23);
	if (p.blocks > 12 && p.batch > 8)
		p.batch = between(1, 8);
	p.ahead = below(2) ? below(20) : 0;
	lines = p.n + p.ahead + below(10);
	cols = p.blocks * bn_block_cols(packing);
	p.y_stride = p.n + below(7);
	rnd_product(&p, lines, cols, 0);
	list = rnd_list(&p, p.n + p.ahead, lines, false);
	p.list = list;
	p.n_fetch = p.batch == 1 ? below(2 * p.n) : 0;
	fetch = rnd_list(&p, p.n_fetch + 1, lines, true);
	p.fetch = fetch;
	p.streams = below(2);
	parts = p.batch == 1 && !list && p.n >= BN_PARTS && below(2);
	if (parts) {
		p.n -= p.n % BN_PARTS;
		p.y_stride = p.n / BN_PARTS + below(7);
		for (u32 k = 0; k < BN_PARTS; k++)
			p.part[k] = p.w + (size_t)below(lines - p.n / BN_PARTS + 1) * p.line_bytes;
	}
	snprintf(what, what_bytes, "%u rows x %u columns, batch %u, x_stride %zu, y_stride %zu%s",
		 p.n, cols, p.batch, p.x_stride, p.y_stride,
		 list ? ", listed" : parts ? ", in parts" : "");
	good = same_product(&p, ref->linear[packing], ops->linear[packing],
			    parts ? p.n / BN_PARTS : p.n, what, what_bytes);
	free(list);
	free(fetch);
	return good;
}

static u32 max_of(u32 a, u32 b)
{
	return a > b ? a : b;
}

static bool columns(const struct bn_ops *ref, const struct bn_ops *ops, u32 packing, char *what,
		    size_t what_bytes)
{
	struct bn_product p = {
		.blocks = below(4) ? between(1, 3) : between(1, 12),
		.n = below(4) ? between(1, 60) : between(1, 600),
		.batch = below(3) ? 1 : below(3) ? between(2, 9) : between(1, BN_MAX_ROWS),
	};
	const u8 **fetch;
	u32 lines, width;
	u32 *index;
	bool good, turns = below(2);

	/* extremes need hundreds of columns to overflow 16 bits: now and then with many rows too */
	if (p.batch > 1 && !below(4)) {
		p.blocks = 1;
		p.n = between(40, 200);
	} else if (p.batch == 1 && !below(4)) {
		p.blocks = between(13, 40);	/* more than a cache holds sums for */
		p.n = between(1, 40);
	} else if (p.n * p.blocks * p.batch > 2000) {
		p.n = between(1, max_of(2000 / (p.blocks * p.batch), 1));
	}
	width = p.blocks * bn_block_cols(packing);
	p.ahead = below(2) ? below(70) : 0;
	lines = p.n + p.ahead + below(3 * p.n);
	index = rnd_index(p.n + p.ahead, lines);
	for (u32 i = 0; index && p.batch == 1 && turns && i < p.n + p.ahead; i++)
		index[i] = i % BN_PARTS * (lines / BN_PARTS) + i / BN_PARTS;
	p.index = index;
	p.y_stride = width + below(7);
	rnd_product(&p, lines, lines, below(3));
	p.n_fetch = p.batch == 1 && below(2) ? below(2 * p.n) : 0;
	fetch = rnd_list(&p, p.n_fetch + 1, lines, true);
	p.fetch = fetch;
	snprintf(what, what_bytes,
		 "%u columns x %u outputs, batch %u, x_stride %zu, y_stride %zu%s", p.n, width,
		 p.batch, p.x_stride, p.y_stride, index ? ", indexed" : "");
	good = same_product(&p, ref->columns[packing], ops->columns[packing], width, what,
			    what_bytes);
	free(index);
	free(fetch);
	return good;
}

#define PRODUCT_CHECK(kind, name, packing)					\
static bool kind##_##name(const struct bn_ops *ref, const struct bn_ops *ops, char *what,	\
			  size_t what_bytes)					\
{										\
	return kind(ref, ops, packing, what, what_bytes);			\
}

PRODUCT_CHECK(linear, t2, BN_T2)
PRODUCT_CHECK(linear, t1, BN_T1)
PRODUCT_CHECK(columns, t2, BN_T2)
PRODUCT_CHECK(columns, t1, BN_T1)

static bool quantize(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		     size_t what_bytes)
{
	u32 n = between(1, 3000), n_pad = bn_round_up(n, 64);
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
	{ "linear_t1", linear_t1 },
	{ "columns_t2", columns_t2 },
	{ "columns_t1", columns_t1 },
	{ "quantize", quantize },
	{ NULL, NULL },
};

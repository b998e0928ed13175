// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avxvnni.c - AVX-VNNI: 256-bit vpdpbusd. Everything but products is AVX2's
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#define BATCH_GROUP	2

#define FEW_ROWS	4	/* 2 x 4 sums, 2 packed, 2 codes, 1 x, 3 constants: 16 */
#define FEW_GROUP	2
#define FEW_GROUP_4	2
#include "bn_ymm.h"
#include "bn_vnni_ops.h"
#include "bn_vnni_batch.h"
#include "bn_vnni_few.h"

/* half a block of one row; fields 1 and 3 are added up four times too large, in @sum4 */
BN_INLINE void dot_half(vec *sum, vec *sum4, const u8 *w, const s8 *x)
{
	const vec low = mask_of_field(0), high = mask_of_field(1);
	vec packed = load(w), shifted = shift_16(packed, 4);

	*sum = dot(*sum, packed & low, load(x));
	*sum4 = dot(*sum4, packed & high, load(x + 64));
	*sum = dot(*sum, shifted & low, load(x + 128));
	*sum4 = dot(*sum4, shifted & high, load(x + 192));
}

/*
 * The last row of activations: one pass over the packed rows. No lane can overflow: 8 products of
 * 12 * 128 for each of at most 256 halves of a row's blocks are 3.2e6.
 */
BN_INLINE void last_row_of_x(const struct bn_product *p, const enum bn_order order)
{
	const u32 b = p->batch - 1;

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct group g = group_at(p, r, order);
		struct quad sum = quad_zero(), sum4 = sum;

		for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
			prefetch_group(&g, at, order);
			for (size_t half = at; half < at + BN_BLOCK_BYTES; half += 32) {
				const s8 *in = p->x + b * p->x_stride + 3 * at + half;

				dot_half(&sum.a, &sum4.a, g.row.a + half, in);
				dot_half(&sum.b, &sum4.b, g.row.b + half, in);
				dot_half(&sum.c, &sum4.c, g.row.c + half, in);
				dot_half(&sum.d, &sum4.d, g.row.d + half, in);
			}
		}
		sum = quad_add(sum, quad_quarter(sum4));
		bn_store_one(p, b, r, quad_sums(sum), order);
	}
}

/*
 * Rows @b and @b + 1 of activations: the packed rows are read once for each field, from the
 * first-level cache after the first time, top field first. Before the next lower field all sums are
 * divided by 4: exact, as they are multiples of the field's scale. No lane can overflow: 4 products
 * of 192 * 128 for each of at most 256 halves of a row's blocks are 2.6e7.
 */
static void two_rows_of_x(const struct bn_product *p, u32 b)
{
	const size_t step = ahead_step(BN_GROUP, p->list);

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct bn_rows row = lines(p, r, p->n);
		const struct bn_rows next = rows_ahead(p, r, p->list);
		s32 *y = p->y + b * p->y_stride + r;
		struct quad sum0 = quad_zero(), sum1 = sum0;

		for (u32 field = 4; field--; ) {
			const s8 *x = p->x + b * p->x_stride + 64 * field;
			const vec mask = mask_of_field(field);

			sum0 = quad_quarter(sum0);
			sum1 = quad_quarter(sum1);
			for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
				if (field == 3)
					bn_prefetch_rows(&next, at * step);
				for (size_t half = at; half < at + BN_BLOCK_BYTES; half += 32) {
					const s8 *in = x + 3 * at + half;
					struct quad codes = quad_and(quad_load(&row, half), mask);

					sum0 = quad_dot(sum0, codes, load(in));
					sum1 = quad_dot(sum1, codes, load(in + p->x_stride));
				}
			}
		}
		bn_store_group(y, quad_sums(sum0), p->x_sum[b], p->n - r);
		bn_store_group(y + p->y_stride, quad_sums(sum1), p->x_sum[b + 1], p->n - r);
	}
}

/* Batches that are too small for unpacking to pay, or as many rows of weights */
static void linear_t2_few(const struct bn_product *p)
{
	u32 b = 0;

	for (; b + BATCH_GROUP <= p->batch; b += BATCH_GROUP)
		two_rows_of_x(p, b);
	if (b < p->batch)
		IN_ORDER(last_row_of_x, p);
}

static void linear_t2(const struct bn_product *p)
{
	if (p->batch < 2 * BATCH_GROUP || p->n <= LANES / 2)
		linear_t2_few(p);
	else
		linear_many(p, BN_T2);
}

static void linear_t1(const struct bn_product *p)
{
	if (p->batch == 1)
		linear_t1_1(p);
	else if (p->batch <= FEW_ROWS)
		linear_t1_few(p);
	else
		linear_many(p, BN_T1);
}

static void columns_t2(const struct bn_product *p)
{
	columns(p, BN_T2);
}

static void columns_t1(const struct bn_product *p)
{
	columns(p, BN_T1);
}

const struct bn_ops bn_ops_avxvnni = {
	.name = "avxvnni",
	.needs = BN_CPU_AVX2 | BN_CPU_AVXVNNI,
	.macs_per_us = 50000,
	.batch_macs_per_us = 100000,
	.parted_columns = true,
	.linear = { [BN_T2] = linear_t2, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = columns_t2, [BN_T1] = columns_t1 },
	BN_SHARED_OPS_OF(avx2),
	.head_quantize = bn_head_quantize_avxvnni,
	.head_top = bn_head_top_avxvnni,
	.clear = bn_clear_avx2,
};

#endif /* __CHECKER__ */

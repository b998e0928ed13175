// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx512vnni.c - AVX-512 with VNNI: 512-bit vpdpbusd
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_simd.h"
#include "bn_lanes_avx512.h"

#define FLOAT_OP(type, name)	type bn_##name##_avx512vnni
#include "bn_float_ops.h"

#define BATCH_GROUP	6	/* 4 x 6 sums, 4 codes, 1 x, 1 mask: 30 of 32 registers */

#define FEW_ROWS	8	/* 2 x 8 sums, 2 packed, 2 codes, 1 x, 10 constants: 31 */
#define FEW_GROUP	2
#define FEW_GROUP_4	4
#include "bn_zmm.h"
#include "bn_vnni_ops.h"
#include "bn_vnni_batch.h"
#include "bn_vnni_few.h"

/*
 * One row of activations: one pass over the packed rows, with sums for each field. No lane can
 * overflow: 4 products of 192 * 128 for each of at most 128 blocks of a row are 1.3e7.
 */
BN_INLINE void rows_t2(const struct bn_product *p, const enum bn_order order)
{
	const vec mask0 = mask_of_field(0), mask1 = mask_of_field(1);
	const vec mask2 = mask_of_field(2), mask3 = mask_of_field(3);

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct group g = group_at(p, r, order);
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

		for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
			struct quad packed = quad_load(&g.row, at);
			const s8 *in = p->x + 4 * at;

			prefetch_group(&g, at, order);
			sum0 = quad_dot(sum0, quad_and(packed, mask0), load(in));
			sum1 = quad_dot(sum1, quad_and(packed, mask1), load(in + 64));
			sum2 = quad_dot(sum2, quad_and(packed, mask2), load(in + 128));
			sum3 = quad_dot(sum3, quad_and(packed, mask3), load(in + 192));
		}
		sum2 = quad_add(sum2, quad_quarter(sum3));
		sum1 = quad_add(sum1, quad_quarter(sum2));
		sum0 = quad_add(sum0, quad_quarter(sum1));
		bn_store_one(p, 0, r, quad_sums(sum0), order);
	}
}

static void linear_t2_1(const struct bn_product *p)
{
	IN_ORDER(rows_t2, p);
}

/*
 * @batch rows of activations from the @first on: the packed rows are read once for each field, from
 * the first-level cache after the first time, top field first. Before the next lower field all sums
 * are divided by 4: exact, as they are multiples of the field's scale. So each masked code serves
 * @batch products.
 */
BN_INLINE void rows_of_x(const struct bn_product *p, u32 first, const u32 batch)
{
	const size_t x_stride = p->x_stride, step = ahead_step(BN_GROUP, p->list);

#define EACH_ROW(f)						\
	do {							\
		f(0);						\
		f(1);						\
		if (batch > 2)					\
			f(2);					\
		if (batch > 3)					\
			f(3);					\
		if (batch > 4)					\
			f(4);					\
		if (batch > 5)					\
			f(5);					\
	} while (0)
#define QUARTER(b)	(sum##b = quad_quarter(sum##b))
#define DOT(b)		(sum##b = quad_dot(sum##b, codes, load(in + (b) * x_stride)))
#define STORE(b)	bn_store_group(y + (b) * p->y_stride, quad_sums(sum##b), \
				       p->x_sum[first + (b)], p->n - r)

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct bn_rows row = lines(p, r, p->n);
		const struct bn_rows next = rows_ahead(p, r, p->list);
		s32 *y = p->y + first * p->y_stride + r;
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0,
			    sum5 = sum0;

		for (u32 field = 4; field--; ) {
			const vec mask = mask_of_field(field);
			const s8 *in = p->x + first * x_stride + 64 * field;

			EACH_ROW(QUARTER);
			for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
				struct quad codes = quad_and(quad_load(&row, at), mask);

				if (field == 3)
					bn_prefetch_rows(&next, at * step);
				EACH_ROW(DOT);
				in += BN_T2_BLOCK_COLS;
			}
		}
		EACH_ROW(STORE);
	}
#undef STORE
#undef DOT
#undef QUARTER
#undef EACH_ROW
}

/* One function for each width: in one frame the spilled pointers of all would add up. */
#define ROWS_OF_X(n)						\
BN_NOINLINE void rows_of_##n(const struct bn_product *p, u32 first)	\
{								\
	rows_of_x(p, first, n);					\
}

ROWS_OF_X(2)
ROWS_OF_X(3)
ROWS_OF_X(4)
ROWS_OF_X(5)
ROWS_OF_X(6)

/* Batches that are too small for unpacking to pay, or as many rows of weights */
static void linear_t2_few(const struct bn_product *p)
{
	u32 rows;

	for (u32 b = 0; b < p->batch; b += rows) {
		rows = share(p->batch - b, BATCH_GROUP);
		switch (rows) {
		case 2:
			rows_of_2(p, b);
			break;
		case 3:
			rows_of_3(p, b);
			break;
		case 4:
			rows_of_4(p, b);
			break;
		case 5:
			rows_of_5(p, b);
			break;
		case 6:
			rows_of_6(p, b);
			break;
		}
	}
}

void bn_linear_t2_avx512vnni(const struct bn_product *p)
{
	if (p->batch == 1)
		linear_t2_1(p);
	else if (p->batch <= 2 * BATCH_GROUP || p->n <= LANES / 2)
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

void bn_columns_t2_avx512vnni(const struct bn_product *p)
{
	columns(p, BN_T2);
}

static void columns_t1(const struct bn_product *p)
{
	columns(p, BN_T1);
}

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
void bn_clear_avx512vnni(void)
{
	asm volatile("vzeroall\n\t"
		     "vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17\n\t"
		     "vpxord %%zmm18, %%zmm18, %%zmm18\n\tvpxord %%zmm19, %%zmm19, %%zmm19\n\t"
		     "vpxord %%zmm20, %%zmm20, %%zmm20\n\tvpxord %%zmm21, %%zmm21, %%zmm21\n\t"
		     "vpxord %%zmm22, %%zmm22, %%zmm22\n\tvpxord %%zmm23, %%zmm23, %%zmm23\n\t"
		     "vpxord %%zmm24, %%zmm24, %%zmm24\n\tvpxord %%zmm25, %%zmm25, %%zmm25\n\t"
		     "vpxord %%zmm26, %%zmm26, %%zmm26\n\tvpxord %%zmm27, %%zmm27, %%zmm27\n\t"
		     "vpxord %%zmm28, %%zmm28, %%zmm28\n\tvpxord %%zmm29, %%zmm29, %%zmm29\n\t"
		     "vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31\n\t"
		     "kxorq %%k1, %%k1, %%k1\n\tkxorq %%k2, %%k2, %%k2\n\t"
		     "kxorq %%k3, %%k3, %%k3\n\tkxorq %%k4, %%k4, %%k4\n\t"
		     "kxorq %%k5, %%k5, %%k5\n\tkxorq %%k6, %%k6, %%k6\n\t"
		     "kxorq %%k7, %%k7, %%k7\n\tkxorq %%k0, %%k0, %%k0"
		     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
		       "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
		       "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2",
		       "k3", "k4", "k5", "k6", "k7", "memory");
}

const struct bn_ops bn_ops_avx512vnni = {
	.name = "avx512vnni",
	.needs = BN_CPU_AVX2 | BN_CPU_AVX512VNNI,
	.macs_per_us = 60000,
	.batch_macs_per_us = 300000,
	.parted_columns = true,
	.linear = { [BN_T2] = bn_linear_t2_avx512vnni, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = bn_columns_t2_avx512vnni, [BN_T1] = columns_t1 },
	BN_SHARED_OPS_OF(avx512vnni),
	.head_quantize = bn_head_quantize_avx512vnni,
	.head_top = bn_head_top_avx512vnni,
	.clear = bn_clear_avx512vnni,
};

#endif /* __CHECKER__ */

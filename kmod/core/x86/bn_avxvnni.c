// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avxvnni.c - AVX-VNNI: 256-bit vpdpbusd. Everything but linear_t2 is AVX2's
 *
 * Codes need not be shifted down: a field that stands 2i bits up is 4^i times too large as an
 * unsigned byte (at most 192), and so is its sum, which is divided exactly at the end. No lane can
 * overflow: 4 products of 192 * 128 for each of at most 256 vectors of a row are 2.6e7.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_quad.h"

#define BATCH_GROUP	2

BN_INLINE __v8si dot(__v8si sum, __v8si codes, __v8si x)
{
	return (__v8si)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)codes, (__m256i)x);
}

BN_INLINE struct quad quad_dot(struct quad sum, struct quad codes, __v8si x)
{
	return (struct quad){
		dot(sum.a, codes.a, x), dot(sum.b, codes.b, x),
		dot(sum.c, codes.c, x), dot(sum.d, codes.d, x),
	};
}

BN_INLINE __v8si mask_of_field(u32 field)
{
	return (__v8si)_mm256_set1_epi8((char)(3 << (2 * field)));
}

/* half a block of one row; fields 1 and 3 are added up four times too large, in @sum4 */
BN_INLINE void dot_half(__v8si *sum, __v8si *sum4, const u8 *w, const s8 *x)
{
	const __v8si low = mask_of_field(0), high = mask_of_field(1);
	__v8si packed = load(w), shifted = (__v8si)_mm256_srli_epi16((__m256i)packed, 4);

	*sum = dot(*sum, packed & low, load(x));
	*sum4 = dot(*sum4, packed & high, load(x + 64));
	*sum = dot(*sum, shifted & low, load(x + 128));
	*sum4 = dot(*sum4, shifted & high, load(x + 192));
}

static void one_row_of_x(s32 *y, const u8 *w, u32 row_bytes, u32 rows, const s8 *x, s32 x_sum)
{
	const size_t ahead = bn_prefetch_bytes(row_bytes);

	for (u32 r = 0; r < rows; r += BN_GROUP) {
		const struct bn_rows row = bn_rows(w, row_bytes, rows, r);
		struct quad sum = quad_zero(), sum4 = sum;

		for (size_t at = 0; at < row_bytes; at += BN_T2_BLOCK_BYTES) {
			bn_prefetch_rows(&row, at + ahead);
			for (size_t half = at; half < at + BN_T2_BLOCK_BYTES; half += 32) {
				const s8 *in = x + 3 * at + half;

				dot_half(&sum.a, &sum4.a, row.a + half, in);
				dot_half(&sum.b, &sum4.b, row.b + half, in);
				dot_half(&sum.c, &sum4.c, row.c + half, in);
				dot_half(&sum.d, &sum4.d, row.d + half, in);
			}
		}
		sum = quad_add(sum, quad_quarter(sum4));
		bn_store_group(y + r, quad_sums(sum), x_sum, rows - r);
	}
}

/*
 * Two rows of activations: the packed rows are read once for each field, from the first-level cache
 * after the first time, top field first. Before the next lower field all sums are divided by 4:
 * exact, as they are multiples of the field's scale.
 */
static void two_rows_of_x(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows,
			  const s8 *x, size_t x_stride, const s32 *x_sum)
{
	const size_t ahead = bn_prefetch_bytes(row_bytes);

	for (u32 r = 0; r < rows; r += BN_GROUP) {
		const struct bn_rows row = bn_rows(w, row_bytes, rows, r);
		struct quad sum0 = quad_zero(), sum1 = sum0;

		for (u32 field = 4; field--; ) {
			const __v8si mask = mask_of_field(field);

			sum0 = quad_quarter(sum0);
			sum1 = quad_quarter(sum1);
			for (size_t at = 0; at < row_bytes; at += BN_T2_BLOCK_BYTES) {
				if (field == 3)
					bn_prefetch_rows(&row, at + ahead);
				for (size_t half = at; half < at + BN_T2_BLOCK_BYTES; half += 32) {
					const s8 *in = x + 3 * at + half + 64 * field;
					struct quad codes = quad_and(quad_load(&row, half), mask);

					sum0 = quad_dot(sum0, codes, load(in));
					sum1 = quad_dot(sum1, codes, load(in + x_stride));
				}
			}
		}
		bn_store_group(y + r, quad_sums(sum0), x_sum[0], rows - r);
		bn_store_group(y + y_stride + r, quad_sums(sum1), x_sum[1], rows - r);
	}
}

static void linear_t2(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
		      size_t x_stride, const s32 *x_sum, u32 batch)
{
	u32 b = 0;

	for (; b + BATCH_GROUP <= batch; b += BATCH_GROUP)
		two_rows_of_x(y + b * y_stride, y_stride, w, row_bytes, rows, x + b * x_stride,
			      x_stride, x_sum + b);
	if (b < batch)
		one_row_of_x(y + b * y_stride, w, row_bytes, rows, x + b * x_stride, x_sum[b]);
}

const struct bn_ops bn_ops_avxvnni = {
	.name = "avxvnni",
	.needs = BN_CPU_AVX2 | BN_CPU_AVXVNNI,
	.macs_per_us = 50000,
	.linear_t2 = linear_t2,
	.quantize = bn_quantize_avx2,
	.rmsnorm = bn_rmsnorm_avx2,
	.dequant = bn_dequant_avx2,
	.glu = bn_glu_avx2,
	.f16_to_f32 = bn_f16_to_f32_avx2,
	.f32_to_f16 = bn_f32_to_f16_avx2,
	.rope = bn_rope_avx2,
	.attention = bn_attention_avx2,
	.head = bn_head_avx2,
	.max_value = bn_max_value_avx2,
	.sum_exp = bn_sum_exp_avx2,
	.clear = bn_clear_avx2,
};

#endif /* __CHECKER__ */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx2.c - AVX2 and F16C
 *
 * linear_t2: vpmaddubsw multiplies codes (unsigned, 0 .. 3) with activations and adds pairs in 16
 * bits. One such sum is at most 3 * 128 * 2 = 768 in magnitude, so 42 of them can be added before
 * 16 bits overflow; after 40 they are widened by vpmaddwd with ones.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_lanes_avx2.h"
#include "bn_quad.h"

#define FLOAT_OP(type, name)	type bn_##name##_avx2
#include "bn_float_ops.h"

#define WIDEN_BLOCKS	5	/* 2 halves * 4 fields * 5 = 40 sums */
#define BATCH_GROUP	2

/* Four vectors of 16-bit sums: with struct quad's element type, each would take two registers. */
struct quad16 {
	__v16hi a, b, c, d;
};

BN_INLINE struct quad16 quad16_zero(void)
{
	return (struct quad16){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE __v8si widen(__v16hi sum16)
{
	return (__v8si)_mm256_madd_epi16((__m256i)sum16, _mm256_set1_epi16(1));
}

BN_INLINE struct quad quad_widen(struct quad sum, struct quad16 q)
{
	return quad_add(sum, (struct quad){ widen(q.a), widen(q.b), widen(q.c), widen(q.d) });
}

BN_INLINE __v16hi dot(__v16hi sum16, __v8si codes, __v8si x)
{
	return sum16 + (__v16hi)_mm256_maddubs_epi16((__m256i)codes, (__m256i)x);
}

BN_INLINE __v8si shift(__v8si packed, int by)
{
	return (__v8si)_mm256_srl_epi16((__m256i)packed, _mm_cvtsi32_si128(by));
}

/* half a block of one row, 32 bytes, 128 weights; for one row of activations or two */
BN_INLINE void dot_half(__v16hi *sum0, __v16hi *sum1, const u8 *w, const s8 *x0, const s8 *x1)
{
	const __v8si mask = (__v8si)_mm256_set1_epi8(3);
	__v8si packed = load(w), codes;

	codes = packed & mask;
	*sum0 = dot(*sum0, codes, load(x0));
	if (x1)
		*sum1 = dot(*sum1, codes, load(x1));
	codes = shift(packed, 2) & mask;
	*sum0 = dot(*sum0, codes, load(x0 + 64));
	if (x1)
		*sum1 = dot(*sum1, codes, load(x1 + 64));
	codes = shift(packed, 4) & mask;
	*sum0 = dot(*sum0, codes, load(x0 + 128));
	if (x1)
		*sum1 = dot(*sum1, codes, load(x1 + 128));
	codes = shift(packed, 6) & mask;
	*sum0 = dot(*sum0, codes, load(x0 + 192));
	if (x1)
		*sum1 = dot(*sum1, codes, load(x1 + 192));
}

BN_INLINE size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

BN_INLINE void rows_of_x(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
			 size_t x_stride, const s32 *x_sum, const u32 batch)
{
	const size_t ahead = bn_prefetch_bytes(row_bytes);

	for (u32 r = 0; r < rows; r += BN_GROUP) {
		const struct bn_rows row = bn_rows(w, row_bytes, rows, r);
		struct quad sum0 = quad_zero(), sum1 = sum0;
		size_t at = 0;

		while (at < row_bytes) {
			size_t end = smaller(at + WIDEN_BLOCKS * BN_T2_BLOCK_BYTES, row_bytes);
			struct quad16 part0 = quad16_zero(), part1 = part0;

			for (; at < end; at += BN_T2_BLOCK_BYTES) {
				bn_prefetch_rows(&row, at + ahead);
				for (size_t half = at; half < at + BN_T2_BLOCK_BYTES; half += 32) {
					const s8 *x0 = x + 3 * at + half;
					const s8 *x1 = batch > 1 ? x0 + x_stride : NULL;

					dot_half(&part0.a, &part1.a, row.a + half, x0, x1);
					dot_half(&part0.b, &part1.b, row.b + half, x0, x1);
					dot_half(&part0.c, &part1.c, row.c + half, x0, x1);
					dot_half(&part0.d, &part1.d, row.d + half, x0, x1);
				}
			}
			sum0 = quad_widen(sum0, part0);
			sum1 = quad_widen(sum1, part1);
		}
		bn_store_group(y + r, quad_sums(sum0), x_sum[0], rows - r);
		if (batch > 1)
			bn_store_group(y + y_stride + r, quad_sums(sum1), x_sum[1], rows - r);
	}
}

BN_NOINLINE void one_row_of_x(s32 *y, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
			      const s32 *x_sum)
{
	rows_of_x(y, 0, w, row_bytes, rows, x, 0, x_sum, 1);
}

BN_NOINLINE void two_rows_of_x(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows,
			       const s8 *x, size_t x_stride, const s32 *x_sum)
{
	rows_of_x(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum, 2);
}

static void linear_t2(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
		      size_t x_stride, const s32 *x_sum, u32 batch)
{
	u32 b = 0;

	for (; b + BATCH_GROUP <= batch; b += BATCH_GROUP)
		two_rows_of_x(y + b * y_stride, y_stride, w, row_bytes, rows, x + b * x_stride,
			      x_stride, x_sum + b);
	if (b < batch)
		one_row_of_x(y + b * y_stride, w, row_bytes, rows, x + b * x_stride, x_sum + b);
}

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
void bn_clear_avx2(void)
{
	asm volatile("vzeroall"
		     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

const struct bn_ops bn_ops_avx2 = {
	.name = "avx2",
	.needs = BN_CPU_AVX2,
	.macs_per_us = 40000,
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

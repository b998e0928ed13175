// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx512vnni.c - AVX-512 with VNNI: 512-bit vpdpbusd
 *
 * Codes need not be shifted down: a field that stands 2i bits up is 4^i times too large as an
 * unsigned byte (at most 192), and so is its sum, which is divided exactly at the end. No lane can
 * overflow: 4 products of 192 * 128 for each of at most 128 blocks of a row are 1.3e7.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_simd.h"
#include "bn_lanes_avx512.h"

#define FLOAT_OP(type, name)	static type name
#include "bn_float_ops.h"

#define BATCH_GROUP	6	/* 4 x 6 sums, 4 codes, 1 x, 1 mask: 30 of 32 registers */

/*
 * One vector for each row of a group. Named members, since gcc keeps arrays of vectors in memory if
 * it likes; and of the element type that vpdpbusd wants: as __m512i, each sum would take two
 * registers.
 */
struct quad {
	__v16si a, b, c, d;
};

BN_INLINE struct quad quad_zero(void)
{
	return (struct quad){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE __v16si load(const void *p)
{
	return *(const __v16si *)p;
}

BN_INLINE struct quad quad_load(const struct bn_rows *row, size_t at)
{
	return (struct quad){
		load(row->a + at), load(row->b + at), load(row->c + at), load(row->d + at),
	};
}

BN_INLINE struct quad quad_and(struct quad q, __v16si mask)
{
	return (struct quad){ q.a & mask, q.b & mask, q.c & mask, q.d & mask };
}

BN_INLINE struct quad quad_add(struct quad p, struct quad q)
{
	return (struct quad){ p.a + q.a, p.b + q.b, p.c + q.c, p.d + q.d };
}

/* a quarter of each, which leaves no rest */
BN_INLINE struct quad quad_quarter(struct quad q)
{
	return (struct quad){ q.a >> 2, q.b >> 2, q.c >> 2, q.d >> 2 };
}

BN_INLINE __v16si dot(__v16si sum, __v16si codes, __v16si x)
{
	return (__v16si)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)x);
}

BN_INLINE struct quad quad_dot(struct quad sum, struct quad codes, __v16si x)
{
	return (struct quad){
		dot(sum.a, codes.a, x), dot(sum.b, codes.b, x),
		dot(sum.c, codes.c, x), dot(sum.d, codes.d, x),
	};
}

/* halves of the lanes of @a and @b added, interleaved within 128 bits */
BN_INLINE __m512i fold_32(__v16si a, __v16si b)
{
	return _mm512_add_epi32(_mm512_unpacklo_epi32((__m512i)a, (__m512i)b),
				_mm512_unpackhi_epi32((__m512i)a, (__m512i)b));
}

BN_INLINE __m512i fold_64(__m512i a, __m512i b)
{
	return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* the sum of each row's lanes */
BN_INLINE __m128i quad_sums(struct quad q)
{
	__m512i s = fold_64(fold_32(q.a, q.b), fold_32(q.c, q.d));
	__m256i half = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

BN_INLINE __v16si mask_of_field(u32 field)
{
	return (__v16si)_mm512_set1_epi8((char)(3 << (2 * field)));
}

/* One row of activations: one pass over the packed rows, with sums for each field */
static void one_row_of_x(s32 *y, const u8 *w, u32 row_bytes, u32 rows, const s8 *x, s32 x_sum)
{
	const __v16si mask0 = mask_of_field(0), mask1 = mask_of_field(1);
	const __v16si mask2 = mask_of_field(2), mask3 = mask_of_field(3);
	const size_t ahead = bn_prefetch_bytes(row_bytes);

	for (u32 r = 0; r < rows; r += BN_GROUP) {
		const struct bn_rows row = bn_rows(w, row_bytes, rows, r);
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

		for (size_t at = 0; at < row_bytes; at += BN_T2_BLOCK_BYTES) {
			struct quad packed = quad_load(&row, at);
			const s8 *in = x + 4 * at;

			bn_prefetch_rows(&row, at + ahead);
			sum0 = quad_dot(sum0, quad_and(packed, mask0), load(in));
			sum1 = quad_dot(sum1, quad_and(packed, mask1), load(in + 64));
			sum2 = quad_dot(sum2, quad_and(packed, mask2), load(in + 128));
			sum3 = quad_dot(sum3, quad_and(packed, mask3), load(in + 192));
		}
		sum2 = quad_add(sum2, quad_quarter(sum3));
		sum1 = quad_add(sum1, quad_quarter(sum2));
		sum0 = quad_add(sum0, quad_quarter(sum1));
		bn_store_group(y + r, quad_sums(sum0), x_sum, rows - r);
	}
}

/*
 * @batch rows of activations: the packed rows are read once for each field, from the first-level
 * cache after the first time, top field first. Before the next lower field all sums are divided by
 * 4: exact, as they are multiples of the field's scale. So each masked code serves @batch products.
 */
BN_INLINE void rows_of_x(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
			 size_t x_stride, const s32 *x_sum, const u32 batch)
{
	const size_t ahead = bn_prefetch_bytes(row_bytes);

#define EACH_ROW(f)						\
	do {							\
		f(0);						\
		if (batch > 1)					\
			f(1);					\
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
#define STORE(b)	bn_store_group(y + (b) * y_stride + r, quad_sums(sum##b), x_sum[b], left)

	for (u32 r = 0; r < rows; r += BN_GROUP) {
		const struct bn_rows row = bn_rows(w, row_bytes, rows, r);
		const u32 left = rows - r;
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0,
			    sum5 = sum0;

		for (u32 field = 4; field--; ) {
			const __v16si mask = mask_of_field(field);
			const s8 *in = x + 64 * field;

			EACH_ROW(QUARTER);
			for (size_t at = 0; at < row_bytes; at += BN_T2_BLOCK_BYTES) {
				struct quad codes = quad_and(quad_load(&row, at), mask);

				if (field == 3)
					bn_prefetch_rows(&row, at + ahead);
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
#define ROWS_OF_X(n)								\
BN_NOINLINE void rows_of_##n(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows,	\
			     const s8 *x, size_t x_stride, const s32 *x_sum)	\
{										\
	rows_of_x(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum, n);	\
}

ROWS_OF_X(2)
ROWS_OF_X(3)
ROWS_OF_X(4)
ROWS_OF_X(5)
ROWS_OF_X(6)

static void linear_t2(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
		      size_t x_stride, const s32 *x_sum, u32 batch)
{
	for (; batch >= BATCH_GROUP; batch -= BATCH_GROUP) {
		rows_of_6(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum);
		y += BATCH_GROUP * y_stride;
		x += BATCH_GROUP * x_stride;
		x_sum += BATCH_GROUP;
	}
	switch (batch) {
	case 1:
		one_row_of_x(y, w, row_bytes, rows, x, *x_sum);
		break;
	case 2:
		rows_of_2(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum);
		break;
	case 3:
		rows_of_3(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum);
		break;
	case 4:
		rows_of_4(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum);
		break;
	case 5:
		rows_of_5(y, y_stride, w, row_bytes, rows, x, x_stride, x_sum);
		break;
	}
}

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
static void clear(void)
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
	.linear_t2 = linear_t2,
	.quantize = quantize,
	.rmsnorm = rmsnorm,
	.dequant = dequant,
	.glu = glu,
	.f16_to_f32 = f16_to_f32,
	.f32_to_f16 = f32_to_f16,
	.rope = rope,
	.attention = attention,
	.head = head,
	.max_value = max_value,
	.sum_exp = sum_exp,
	.clear = clear,
};

#endif /* __CHECKER__ */

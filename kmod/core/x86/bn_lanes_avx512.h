/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_lanes_avx512.h - sixteen f32 lanes as one AVX-512 register, for bn_float_ops.h
 */
#ifndef BN_LANES_AVX512_H
#define BN_LANES_AVX512_H

#include "bn_simd.h"

struct lanes {
	__m512 v;
};

/* One register of the lanes, for loops that would run out of registers on whole ones */
struct lanes_part {
	__m512 v;
};

#define LANES_PARTS	1
#define LANES_SUMS	16	/* scores whose sums stay in registers */
#define LANES_DIMS	4	/* vectors of weighted values that do ... */
#define LANES_HEADS	4	/* ... of so many heads */
#define LANES_BLOCK	8	/* sums of logits that stay in registers ... */
#define LANES_SLOTS	4	/* ... of so many slots */

BN_INLINE struct lanes lanes_set(float f)
{
	return (struct lanes){ _mm512_set1_ps(f) };
}

BN_INLINE struct lanes lanes_load(const float *p)
{
	return (struct lanes){ _mm512_loadu_ps(p) };
}

BN_INLINE void lanes_store(float *p, struct lanes a)
{
	_mm512_storeu_ps(p, a.v);
}

/* mask of the first @n of sixteen lanes */
BN_INLINE __mmask16 lanes_first(u32 n)
{
	return n >= BN_LANES ? 0xffff : (1U << n) - 1;
}

/* lanes from @n on become zero */
BN_INLINE struct lanes lanes_keep(struct lanes a, u32 n)
{
	return (struct lanes){ _mm512_maskz_mov_ps(lanes_first(n), a.v) };
}

/* the first @n elements, the others @fill; nothing behind them is touched */
BN_INLINE struct lanes lanes_load_n(const float *p, u32 n, float fill)
{
	return (struct lanes){ _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes_first(n), p) };
}

BN_INLINE void lanes_store_n(float *p, struct lanes a, u32 n)
{
	_mm512_mask_storeu_ps(p, lanes_first(n), a.v);
}

BN_INLINE struct lanes lanes_load_f16(const u16 *p)
{
	return (struct lanes){ _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p)) };
}

/* Elements [@at, @at + 16) of sixteen rows: those of one element to a vector, @stride apart */
BN_INLINE void lanes_transpose_f16(float *to, size_t stride, const u16 *const *row, u32 at)
{
	__m512 quarter[16], a, b;

	bn_for_each(g, 4) {	/* of four rows: element 4 * i + k in quarter i of number k */
		__m512 r0 = lanes_load_f16(row[4 * g] + at).v;
		__m512 r1 = lanes_load_f16(row[4 * g + 1] + at).v;
		__m512 r2 = lanes_load_f16(row[4 * g + 2] + at).v;
		__m512 r3 = lanes_load_f16(row[4 * g + 3] + at).v;
		__m512 low_01 = _mm512_unpacklo_ps(r0, r1), high_01 = _mm512_unpackhi_ps(r0, r1);
		__m512 low_23 = _mm512_unpacklo_ps(r2, r3), high_23 = _mm512_unpackhi_ps(r2, r3);

		quarter[4 * g] = _mm512_shuffle_ps(low_01, low_23, 0x44);
		quarter[4 * g + 1] = _mm512_shuffle_ps(low_01, low_23, 0xee);
		quarter[4 * g + 2] = _mm512_shuffle_ps(high_01, high_23, 0x44);
		quarter[4 * g + 3] = _mm512_shuffle_ps(high_01, high_23, 0xee);
	}
	bn_for_each(k, 4) {
		a = _mm512_shuffle_f32x4(quarter[k], quarter[4 + k], 0x88);
		b = _mm512_shuffle_f32x4(quarter[8 + k], quarter[12 + k], 0x88);
		_mm512_storeu_ps(to + k * stride, _mm512_shuffle_f32x4(a, b, 0x88));
		_mm512_storeu_ps(to + (8 + k) * stride, _mm512_shuffle_f32x4(a, b, 0xdd));
		a = _mm512_shuffle_f32x4(quarter[k], quarter[4 + k], 0xdd);
		b = _mm512_shuffle_f32x4(quarter[8 + k], quarter[12 + k], 0xdd);
		_mm512_storeu_ps(to + (4 + k) * stride, _mm512_shuffle_f32x4(a, b, 0x88));
		_mm512_storeu_ps(to + (12 + k) * stride, _mm512_shuffle_f32x4(a, b, 0xdd));
	}
}

BN_INLINE struct lanes_part part_zero(void)
{
	return (struct lanes_part){ _mm512_setzero_ps() };
}

BN_INLINE struct lanes_part part_load_f16(const u16 *p)
{
	return (struct lanes_part){
		_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p))
	};
}

/* sum + p[0 ..] * b */
BN_INLINE struct lanes_part part_add_product(struct lanes_part sum, const float *p,
					     struct lanes_part b)
{
	return (struct lanes_part){
		_mm512_add_ps(sum.v, _mm512_mul_ps(_mm512_loadu_ps(p), b.v))
	};
}

BN_INLINE void lanes_set_part(struct lanes *a, u32 part, struct lanes_part v)
{
	a->v = v.v;
}

BN_INLINE void lanes_store_f16(u16 *p, struct lanes a)
{
	_mm256_storeu_si256((__m256i_u *)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

BN_INLINE void lanes_store_f16_n(u16 *p, struct lanes a, u32 n)
{
	_mm256_mask_storeu_epi16(p, lanes_first(n),
				 _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

/* As in bn_lanes_avx2.h */
BN_INLINE void lanes_upper_of(u8 *to, const u8 *high, const u8 *low, const u32 place)
{
	__v32hu n = *(const __v32hu *)(high + place / 2 * 64);
	__v32hu t = *(const __v32hu *)(high + 128) << (6 - 2 * place);
	__v32hu m = *(const __v32hu *)low >> (2 * place);
	__m512i v = (__m512i)(place % 2 ? n >> 2 : n << 2);

	/* Where the mask is set the second, else the third */
	v = _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x3c), v, (__m512i)t, 0xca);
	_mm512_store_si512(to, _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), (__m512i)m, v, 0xca));
}

BN_INLINE struct lanes lanes_load_planes(const u8 *upper, const u8 *lower)
{
	const __m512i exponent = _mm512_set1_epi32(0x4b000000);
	__m512i u = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)upper));
	__m512i l = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)lower));

	u = _mm512_ternarylogic_epi32(_mm512_slli_epi32(u, 8), l, exponent, 0xfe);	/* or */
	return (struct lanes){
		_mm512_sub_ps(_mm512_castsi512_ps(u), _mm512_set1_ps(8388608.0f + 32768.0f))
	};
}

BN_INLINE struct lanes lanes_load_s32(const s32 *p)
{
	return (struct lanes){ _mm512_cvtepi32_ps(_mm512_loadu_si512(p)) };
}

BN_INLINE struct lanes lanes_load_s32_n(const s32 *p, u32 n)
{
	return (struct lanes){ _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes_first(n), p)) };
}

BN_INLINE struct lanes lanes_add(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_add_ps(a.v, b.v) };
}

BN_INLINE struct lanes lanes_sub(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_sub_ps(a.v, b.v) };
}

BN_INLINE struct lanes lanes_mul(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_mul_ps(a.v, b.v) };
}

BN_INLINE struct lanes lanes_div(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_div_ps(a.v, b.v) };
}

/* a > b ? a : b */
BN_INLINE struct lanes lanes_max(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_max_ps(a.v, b.v) };
}

/* a < b ? a : b */
BN_INLINE struct lanes lanes_min(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm512_min_ps(a.v, b.v) };
}

BN_INLINE struct lanes lanes_abs(struct lanes a)
{
	return (struct lanes){ _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v) };
}

BN_INLINE struct lanes lanes_neg(struct lanes a)
{
	return (struct lanes){ _mm512_xor_ps(_mm512_set1_ps(-0.0f), a.v) };
}

/* @a where @g > 0, else 0 */
BN_INLINE struct lanes lanes_if_positive(struct lanes g, struct lanes a)
{
	__mmask16 positive = _mm512_cmp_ps_mask(g.v, _mm512_setzero_ps(), _CMP_GT_OQ);

	return (struct lanes){ _mm512_maskz_mov_ps(positive, a.v) };
}

/* a bit for each lane that comes before the @n-th */
BN_INLINE u32 lanes_bits(u32 n)
{
	return lanes_first(n);
}

/* a bit for each lane with a < b */
BN_INLINE u32 lanes_less(struct lanes a, struct lanes b)
{
	return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
}

BN_INLINE u32 lanes_equal(struct lanes a, struct lanes b)
{
	return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
}

/* a < b ? yes : no */
BN_INLINE struct lanes lanes_if_less(struct lanes a, struct lanes b, struct lanes yes,
				     struct lanes no)
{
	return (struct lanes){ _mm512_mask_mov_ps(no.v, (__mmask16)lanes_less(a, b), yes.v) };
}

BN_INLINE struct lanes lanes_one_nan(struct lanes a)
{
	__m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(BN_F32_NAN));

	return (struct lanes){
		_mm512_mask_mov_ps(a.v, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), nan)
	};
}

/* the last steps of bn_exp(): y with n added to its exponent; 0 below x's range, infinite above */
BN_INLINE struct lanes lanes_scale(struct lanes y, struct lanes n, struct lanes x)
{
	__m512i bits = _mm512_add_epi32(_mm512_castps_si512(y.v),
					_mm512_slli_epi32(_mm512_castps_si512(n.v), 23));
	__mmask16 normal = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(BN_EXP_MIN), _CMP_GE_OQ);
	__mmask16 above = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(BN_EXP_MAX), _CMP_GT_OQ);

	bits = _mm512_maskz_mov_epi32(normal, bits);
	bits = _mm512_mask_mov_epi32(bits, above, _mm512_set1_epi32(BN_F32_INF));
	return (struct lanes){ _mm512_castsi512_ps(bits) };
}

/* store sixteen int8, rounded to nearest even and clamped; add them to @sum */
BN_INLINE __m256i lanes_store_s8(s8 *p, struct lanes a, __m256i sum)
{
	__m128i q = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v));
	__m512i wide = _mm512_cvtepi8_epi32(q);

	_mm_storeu_si128((__m128i_u *)p, q);
	return _mm256_add_epi32(sum, _mm256_add_epi32(_mm512_castsi512_si256(wide),
						      _mm512_extracti64x4_epi64(wide, 1)));
}

/* steps 8 and 4 of the tree */
BN_INLINE __m128 lanes_fold(struct lanes a)
{
	__m256 s = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));

	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

BN_INLINE __m128 lanes_fold_max(struct lanes a)
{
	__m256 s = _mm256_max_ps(_mm512_extractf32x8_ps(a.v, 1), _mm512_castps512_ps256(a.v));

	return _mm_max_ps(_mm256_extractf128_ps(s, 1), _mm256_castps256_ps128(s));
}

/*
 * The sums of LANES_SUMS vectors: all at once, each step of the tree halves their number. Vectors
 * i, i + 4, i + 8 and i + 12 come together first, so that the sums end up in order.
 */
BN_INLINE void lanes_sums(float *out, const struct lanes *v)
{
	__m512 eight[8], four[4], two[2], sum;

	bn_for_each(i, 8) {	/* 8 elements of two: steps of 4 are in different quarters */
		__m512 a = v[i / 2 + i % 2 * 8].v, b = v[i / 2 + i % 2 * 8 + 4].v;

		eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44),
					 _mm512_shuffle_f32x4(a, b, 0xee));
	}
	bn_for_each(i, 4) {	/* 4 elements of four, a quarter each */
		__m512 a = eight[2 * i], b = eight[2 * i + 1];

		four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88),
					_mm512_shuffle_f32x4(a, b, 0xdd));
	}
	bn_for_each(i, 2) {
		__m512 a = four[2 * i], b = four[2 * i + 1];

		two[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	}
	sum = _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x44),
			    _mm512_shuffle_ps(two[0], two[1], 0xee));
	lanes_store(out, lanes_one_nan((struct lanes){ sum }));
}

#endif /* BN_LANES_AVX512_H */

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_lanes_avx2.h - sixteen f32 lanes as two AVX registers, for bn_float_ops.h
 */
#ifndef BN_LANES_AVX2_H
#define BN_LANES_AVX2_H

#include "bn_simd.h"

struct lanes {
	__m256 lo, hi;
};

/* One register of the lanes, for loops that would run out of registers on whole ones */
struct lanes_part {
	__m256 v;
};

/* Sixteen registers hold eight sums, and what is added: of lanes in halves, or of four vectors */
#define LANES_PARTS	2
#define LANES_SUMS	8	/* parts of scores that stay in registers */
#define LANES_DIMS	2	/* vectors of weighted values that do ... */
#define LANES_HEADS	2	/* ... of so many heads */
#define LANES_BLOCK	4	/* sums of logits that stay in registers ... */
#define LANES_SLOTS	4	/* ... of so many slots */

BN_INLINE struct lanes lanes_set(float f)
{
	return (struct lanes){ _mm256_set1_ps(f), _mm256_set1_ps(f) };
}

BN_INLINE struct lanes lanes_load(const float *p)
{
	return (struct lanes){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

BN_INLINE void lanes_store(float *p, struct lanes a)
{
	_mm256_storeu_ps(p, a.lo);
	_mm256_storeu_ps(p + 8, a.hi);
}

/* all ones in the first @n of eight elements */
BN_INLINE __m256i lanes_first(s32 n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* lanes from @n on become zero */
BN_INLINE struct lanes lanes_keep(struct lanes a, u32 n)
{
	a.lo = _mm256_and_ps(a.lo, _mm256_castsi256_ps(lanes_first(n)));
	a.hi = _mm256_and_ps(a.hi, _mm256_castsi256_ps(lanes_first((s32)n - 8)));
	return a;
}

/* the first @n elements, the others @fill; nothing behind them is touched */
BN_INLINE struct lanes lanes_load_n(const float *p, u32 n, float fill)
{
	__m256i lo = lanes_first(n), hi = lanes_first((s32)n - 8);
	__m256 other = _mm256_set1_ps(fill);

	return (struct lanes){
		_mm256_blendv_ps(other, _mm256_maskload_ps(p, lo), _mm256_castsi256_ps(lo)),
		_mm256_blendv_ps(other, _mm256_maskload_ps(p + 8, hi), _mm256_castsi256_ps(hi)),
	};
}

BN_INLINE void lanes_store_n(float *p, struct lanes a, u32 n)
{
	_mm256_maskstore_ps(p, lanes_first(n), a.lo);
	_mm256_maskstore_ps(p + 8, lanes_first((s32)n - 8), a.hi);
}

BN_INLINE struct lanes lanes_load_f16(const u16 *p)
{
	return (struct lanes){
		_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p)),
		_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(p + 8))),
	};
}

BN_INLINE struct lanes_part part_zero(void)
{
	return (struct lanes_part){ _mm256_setzero_ps() };
}

BN_INLINE struct lanes_part part_load_f16(const u16 *p)
{
	return (struct lanes_part){ _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p)) };
}

/* As in bn_lanes_avx512.h, by squares of eight */
BN_INLINE void lanes_transpose_f16(float *to, size_t stride, const u16 *const *row, u32 at)
{
	__m256 half[8];

	bn_for_each(square, 4) {
		const u16 *const *first = row + square / 2 * 8;
		const u32 from = at + square % 2 * 8;
		float *square_to = to + square % 2 * 8 * stride + square / 2 * 8;

		bn_for_each(g, 2) {
			__m256 r0 = part_load_f16(first[4 * g] + from).v;
			__m256 r1 = part_load_f16(first[4 * g + 1] + from).v;
			__m256 r2 = part_load_f16(first[4 * g + 2] + from).v;
			__m256 r3 = part_load_f16(first[4 * g + 3] + from).v;
			__m256 low_01 = _mm256_unpacklo_ps(r0, r1);
			__m256 high_01 = _mm256_unpackhi_ps(r0, r1);
			__m256 low_23 = _mm256_unpacklo_ps(r2, r3);
			__m256 high_23 = _mm256_unpackhi_ps(r2, r3);

			half[4 * g] = _mm256_shuffle_ps(low_01, low_23, 0x44);
			half[4 * g + 1] = _mm256_shuffle_ps(low_01, low_23, 0xee);
			half[4 * g + 2] = _mm256_shuffle_ps(high_01, high_23, 0x44);
			half[4 * g + 3] = _mm256_shuffle_ps(high_01, high_23, 0xee);
		}
		bn_for_each(k, 4) {
			_mm256_storeu_ps(square_to + k * stride,
					 _mm256_permute2f128_ps(half[k], half[4 + k], 0x20));
			_mm256_storeu_ps(square_to + (4 + k) * stride,
					 _mm256_permute2f128_ps(half[k], half[4 + k], 0x31));
		}
	}
}

/* sum + p[0 ..] * b */
BN_INLINE struct lanes_part part_add_product(struct lanes_part sum, const float *p,
					     struct lanes_part b)
{
	return (struct lanes_part){
		_mm256_add_ps(sum.v, _mm256_mul_ps(_mm256_loadu_ps(p), b.v))
	};
}

BN_INLINE void lanes_set_part(struct lanes *a, u32 part, struct lanes_part v)
{
	*(part ? &a->hi : &a->lo) = v.v;
}

BN_INLINE void lanes_store_f16(u16 *p, struct lanes a)
{
	_mm_storeu_si128((__m128i_u *)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
	_mm_storeu_si128((__m128i_u *)(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

BN_INLINE void lanes_store_f16_n(u16 *p, struct lanes a, u32 n)
{
	u16 tmp[BN_LANES];

	lanes_store_f16(tmp, a);
	memcpy(p, tmp, n * sizeof(*p));
}

/*
 * The upper 8 bits of numbers 64 * @place ... 64 * @place + 63 of those that begin at @high and
 * @low, as bn_pack_planes() packs them: two from pairs, four from nibbles, two from pairs
 */
BN_INLINE void lanes_upper_of(u8 *to, const u8 *high, const u8 *low, const u32 place)
{
	bn_for_each(i, 2) {
		__v16hu n = *(const __v16hu *)(high + place / 2 * 64 + 32 * i);
		__v16hu t = *(const __v16hu *)(high + 128 + 32 * i) << (6 - 2 * place);
		__v16hu m = *(const __v16hu *)(low + 32 * i) >> (2 * place);
		__m256i v = (__m256i)(place % 2 ? n >> 2 : n << 2);

		v = _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi8(0x3c)),
				    _mm256_and_si256((__m256i)t, _mm256_set1_epi8(-64)));
		*(__m256i *)(to + 32 * i) =
			_mm256_or_si256(v, _mm256_and_si256((__m256i)m, _mm256_set1_epi8(3)));
	}
}

/*
 * 256 * upper + lower - 32768, of 16 bytes each. The bytes side by side are words, and below the
 * exponent of 2^23 they are numbers from 2^23 on.
 */
BN_INLINE struct lanes lanes_load_planes(const u8 *upper, const u8 *lower)
{
	const __m128i u = _mm_load_si128((const __m128i *)upper);
	const __m128i l = _mm_load_si128((const __m128i *)lower);
	const __m256i exponent = _mm256_set1_epi32(0x4b000000);
	const __m256 base = _mm256_set1_ps(8388608.0f + 32768.0f);
	__m256i a = _mm256_cvtepu16_epi32(_mm_unpacklo_epi8(l, u));
	__m256i b = _mm256_cvtepu16_epi32(_mm_unpackhi_epi8(l, u));

	return (struct lanes){
		_mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(a, exponent)), base),
		_mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(b, exponent)), base),
	};
}

BN_INLINE struct lanes lanes_load_s32(const s32 *p)
{
	return (struct lanes){
		_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i_u *)p)),
		_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i_u *)(p + 8))),
	};
}

BN_INLINE struct lanes lanes_load_s32_n(const s32 *p, u32 n)
{
	return (struct lanes){
		_mm256_cvtepi32_ps(_mm256_maskload_epi32(p, lanes_first(n))),
		_mm256_cvtepi32_ps(_mm256_maskload_epi32(p + 8, lanes_first((s32)n - 8))),
	};
}

BN_INLINE struct lanes lanes_add(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi) };
}

BN_INLINE struct lanes lanes_sub(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi) };
}

BN_INLINE struct lanes lanes_mul(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi) };
}

BN_INLINE struct lanes lanes_div(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi) };
}

/* a > b ? a : b */
BN_INLINE struct lanes lanes_max(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi) };
}

/* a < b ? a : b */
BN_INLINE struct lanes lanes_min(struct lanes a, struct lanes b)
{
	return (struct lanes){ _mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi) };
}

BN_INLINE struct lanes lanes_abs(struct lanes a)
{
	__m256 sign = _mm256_set1_ps(-0.0f);

	return (struct lanes){ _mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi) };
}

BN_INLINE struct lanes lanes_neg(struct lanes a)
{
	__m256 sign = _mm256_set1_ps(-0.0f);

	return (struct lanes){ _mm256_xor_ps(sign, a.lo), _mm256_xor_ps(sign, a.hi) };
}

BN_INLINE __m256 lanes_one_nan_256(__m256 a)
{
	__m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(BN_F32_NAN));

	return _mm256_blendv_ps(a, nan, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

/* @a where @g > 0, else 0 */
BN_INLINE struct lanes lanes_if_positive(struct lanes g, struct lanes a)
{
	const __m256 zero = _mm256_setzero_ps();

	return (struct lanes){
		_mm256_and_ps(a.lo, _mm256_cmp_ps(g.lo, zero, _CMP_GT_OQ)),
		_mm256_and_ps(a.hi, _mm256_cmp_ps(g.hi, zero, _CMP_GT_OQ)),
	};
}

/* a bit for each lane that comes before the @n-th */
BN_INLINE u32 lanes_bits(u32 n)
{
	return n >= BN_LANES ? 0xffff : (1U << n) - 1;
}

/* a bit for each lane with a < b */
BN_INLINE u32 lanes_less(struct lanes a, struct lanes b)
{
	return (u32)_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)) |
		(u32)_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)) << 8;
}

BN_INLINE u32 lanes_equal(struct lanes a, struct lanes b)
{
	return (u32)_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ)) |
		(u32)_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)) << 8;
}

/* a < b ? yes : no */
BN_INLINE struct lanes lanes_if_less(struct lanes a, struct lanes b, struct lanes yes,
				     struct lanes no)
{
	return (struct lanes){
		_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
		_mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)),
	};
}

BN_INLINE struct lanes lanes_one_nan(struct lanes a)
{
	return (struct lanes){ lanes_one_nan_256(a.lo), lanes_one_nan_256(a.hi) };
}

/* the last steps of bn_exp(): y with n added to its exponent; 0 below x's range, infinite above */
BN_INLINE __m256 lanes_scale_256(__m256 y, __m256 n, __m256 x)
{
	__m256i bits = _mm256_add_epi32(_mm256_castps_si256(y),
					_mm256_slli_epi32(_mm256_castps_si256(n), 23));
	__m256 inf = _mm256_castsi256_ps(_mm256_set1_epi32(BN_F32_INF));

	y = _mm256_and_ps(_mm256_castsi256_ps(bits),
			  _mm256_cmp_ps(x, _mm256_set1_ps(BN_EXP_MIN), _CMP_GE_OQ));
	return _mm256_blendv_ps(y, inf, _mm256_cmp_ps(x, _mm256_set1_ps(BN_EXP_MAX), _CMP_GT_OQ));
}

BN_INLINE struct lanes lanes_scale(struct lanes y, struct lanes n, struct lanes x)
{
	return (struct lanes){ lanes_scale_256(y.lo, n.lo, x.lo),
			       lanes_scale_256(y.hi, n.hi, x.hi) };
}

/* store sixteen int8, rounded to nearest even and clamped; add them to @sum */
BN_INLINE __m256i lanes_store_s8(s8 *p, struct lanes a, __m256i sum)
{
	__m256i min = _mm256_set1_epi32(-128), max = _mm256_set1_epi32(127);
	__m256i lo = _mm256_min_epi32(_mm256_max_epi32(_mm256_cvtps_epi32(a.lo), min), max);
	__m256i hi = _mm256_min_epi32(_mm256_max_epi32(_mm256_cvtps_epi32(a.hi), min), max);
	__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);
	__m128i q = _mm_packs_epi16(_mm256_castsi256_si128(words),
				    _mm256_extracti128_si256(words, 1));

	_mm_storeu_si128((__m128i_u *)p, q);
	return _mm256_add_epi32(sum, _mm256_add_epi32(lo, hi));
}

/* steps 8 and 4 of the tree */
BN_INLINE __m128 lanes_fold(struct lanes a)
{
	__m256 s = _mm256_add_ps(a.lo, a.hi);

	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* the sums of four vectors */
BN_INLINE __m128 lanes_sum4(const struct lanes v[4])
{
	__m128 a = lanes_fold(v[0]), b = lanes_fold(v[1]);
	__m128 c = lanes_fold(v[2]), d = lanes_fold(v[3]);
	__m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
	__m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));

	return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

/* the sums of LANES_SUMS vectors */
BN_INLINE void lanes_sums(float *out, const struct lanes *v)
{
	_mm256_storeu_ps(out, lanes_one_nan_256(_mm256_set_m128(lanes_sum4(v + 4),
								lanes_sum4(v))));
}

BN_INLINE __m128 lanes_fold_max(struct lanes a)
{
	__m256 s = _mm256_max_ps(a.hi, a.lo);

	return _mm_max_ps(_mm256_extractf128_ps(s, 1), _mm256_castps256_ps128(s));
}

#endif /* BN_LANES_AVX2_H */

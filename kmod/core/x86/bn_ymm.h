/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_ymm.h - operations on vectors of 32 bytes, for bn_vnni_ops.h
 */
#ifndef BN_YMM_H
#define BN_YMM_H

#include "bn_quad.h"

#define MOST_X		6	/* 2 x 6 sums, 2 codes, 1 x: 15 of 16 registers */

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

BN_INLINE vec mask_of_field(u32 field)
{
	return (vec)_mm256_set1_epi8((char)(3 << (2 * field)));
}

BN_INLINE void store(void *p, vec v)
{
	*(vec *)p = v;
}

/* four activations, for all outputs */
BN_INLINE vec broadcast(const s8 *x)
{
	s32 four;

	memcpy(&four, x, sizeof(four));
	return (vec)_mm256_set1_epi32(four);
}

BN_INLINE vec unpack_low_8(vec a, vec b)
{
	return (vec)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_high_8(vec a, vec b)
{
	return (vec)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_low_16(vec a, vec b)
{
	return (vec)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_high_16(vec a, vec b)
{
	return (vec)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b);
}

/* 16 bytes of each of two lines */
BN_INLINE __m256i load_2x16(const u8 *const row[], size_t at)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(*(const __m128i *)(row[0] + at)),
				       *(const __m128i *)(row[4] + at), 1);
}

/* 16 bytes of each of eight lines, by four bytes: of each vector, lane i comes from line i */
BN_INLINE struct quad transpose(const u8 *const row[], size_t at)
{
	__m256i a = load_2x16(row, at), b = load_2x16(row + 1, at);
	__m256i c = load_2x16(row + 2, at), d = load_2x16(row + 3, at);
	__m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
	__m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

	return (struct quad){
		(vec)_mm256_unpacklo_epi64(ab_low, cd_low),
		(vec)_mm256_unpackhi_epi64(ab_low, cd_low),
		(vec)_mm256_unpacklo_epi64(ab_high, cd_high),
		(vec)_mm256_unpackhi_epi64(ab_high, cd_high),
	};
}

BN_INLINE void add_8(s32 *y, __m256i v)
{
	__m256i_u *to = (__m256i_u *)y;

	_mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
}

/* The bytes in fours: the first four of both 128 bits are then the first 8 bytes, and so on */
BN_INLINE vec spread(vec v)
{
	const __m256i from = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);

	return (vec)_mm256_permutevar8x32_epi32((__m256i)v, from);
}

/* y[0 .. 7] += @a, y[8 .. 15] += @b */
BN_INLINE void add_both(s32 *y, vec a, vec b)
{
	add_8(y, (__m256i)a);
	add_8(y + 8, (__m256i)b);
}

/* y[16i .. 16i + 7] += the i'th four of @a, then of @b, i = 0 .. 1: what interleave() took apart */
BN_INLINE void add_pair(s32 *y, vec a, vec b)
{
	add_8(y, _mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x20));
	add_8(y + 16, _mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x31));
}

/*
 * y[16i .. 16i + 15] += the i'th four of @a[0], @b[0], @a[1] and @b[1]: the sums of low and high
 * bytes as interleave() took them apart
 */
BN_INLINE void add_quad(s32 *y, const vec *a, const vec *b)
{
	add_pair(y, a[0], b[0]);
	add_pair(y + 8, a[1], b[1]);
}

/* The first @n of @sum, less @x_sum, to @y */
BN_INLINE void store_sums(s32 *y, vec sum, u32 n, s32 x_sum)
{
	const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (s32)n : 8),
						 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));

	_mm256_maskstore_epi32(y, first, _mm256_sub_epi32((__m256i)sum, _mm256_set1_epi32(x_sum)));
}

#endif /* BN_YMM_H */

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_quad.h - vectors of 32 bytes, and four of them, one for each row of a group
 *
 * Named members, since gcc keeps arrays of vectors in memory if it likes; and of the element type
 * that the sums have: as __m256i, each sum would take two registers.
 */
#ifndef BN_QUAD_H
#define BN_QUAD_H

#include "bn_simd.h"

#define vec		__v8si
#define words		__v16hu
#define VEC_BYTES	32

struct quad {
	vec a, b, c, d;
};

BN_INLINE struct quad quad_zero(void)
{
	return (struct quad){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE vec load(const void *p)
{
	return *(const vec *)p;
}

BN_INLINE struct quad quad_load(const struct bn_rows *row, size_t at)
{
	return (struct quad){
		load(row->a + at), load(row->b + at), load(row->c + at), load(row->d + at),
	};
}

BN_INLINE struct quad quad_and(struct quad q, vec mask)
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

BN_INLINE vec shift_16(vec v, int by)
{
	return (vec)((words)v >> by);
}

BN_INLINE vec set_bytes(char value)
{
	return (vec)_mm256_set1_epi8(value);
}

BN_INLINE vec subtract_bytes(vec a, vec b)
{
	return (vec)_mm256_sub_epi8((__m256i)a, (__m256i)b);
}

/* the smaller ones, unsigned */
BN_INLINE vec min_bytes(vec a, vec b)
{
	return (vec)_mm256_min_epu8((__m256i)a, (__m256i)b);
}

/* @table's bytes at the places that the lower four bits of @at say, the uppermost being zero */
BN_INLINE vec look_up(__m128i table, vec at)
{
	return (vec)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), (__m256i)at);
}

/* halves of the lanes of @a and @b added, interleaved within 128 bits */
BN_INLINE __m256i fold_32(vec a, vec b)
{
	return _mm256_add_epi32(_mm256_unpacklo_epi32((__m256i)a, (__m256i)b),
				_mm256_unpackhi_epi32((__m256i)a, (__m256i)b));
}

BN_INLINE __m256i fold_64(__m256i a, __m256i b)
{
	return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* the sum of each row's lanes */
BN_INLINE __m128i quad_sums(struct quad q)
{
	__m256i s = fold_64(fold_32(q.a, q.b), fold_32(q.c, q.d));

	return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

#endif /* BN_QUAD_H */

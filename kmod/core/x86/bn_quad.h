/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_quad.h - four 256-bit vectors, one for each row of a group, for linear_t2
 *
 * Named members, since gcc keeps arrays of vectors in memory if it likes; and of the element type
 * that the sums have: as __m256i, each sum would take two registers.
 */
#ifndef BN_QUAD_H
#define BN_QUAD_H

#include "bn_simd.h"

struct quad {
	__v8si a, b, c, d;
};

BN_INLINE struct quad quad_zero(void)
{
	return (struct quad){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE __v8si load(const void *p)
{
	return *(const __v8si *)p;
}

BN_INLINE struct quad quad_load(const struct bn_rows *row, size_t at)
{
	return (struct quad){
		load(row->a + at), load(row->b + at), load(row->c + at), load(row->d + at),
	};
}

BN_INLINE struct quad quad_and(struct quad q, __v8si mask)
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

/* halves of the lanes of @a and @b added, interleaved within 128 bits */
BN_INLINE __m256i fold_32(__v8si a, __v8si b)
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

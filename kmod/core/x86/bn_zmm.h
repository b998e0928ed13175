/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_zmm.h - operations on vectors of 64 bytes, for bn_vnni_ops.h
 */
#ifndef BN_ZMM_H
#define BN_ZMM_H

#include "bn_simd.h"

#define vec		__v16si	/* what vpdpbusd adds up: __m512i sums would take two registers */
#define words		__v32hu
#define VEC_BYTES	64
#define MOST_X		12	/* 2 x 12 sums, 2 codes, 1 x: 27 of 32 registers */

/* One vector for each row of a group. Named members: gcc keeps arrays in memory if it likes. */
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

BN_INLINE vec dot(vec sum, vec codes, vec x)
{
	return (vec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)x);
}

BN_INLINE struct quad quad_dot(struct quad sum, struct quad codes, vec x)
{
	return (struct quad){
		dot(sum.a, codes.a, x), dot(sum.b, codes.b, x),
		dot(sum.c, codes.c, x), dot(sum.d, codes.d, x),
	};
}

/* halves of the lanes of @a and @b added, interleaved within 128 bits */
BN_INLINE __m512i fold_32(vec a, vec b)
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

BN_INLINE vec mask_of_field(u32 field)
{
	return (vec)_mm512_set1_epi8((char)(3 << (2 * field)));
}

BN_INLINE vec shift_16(vec v, int by)
{
	return (vec)((words)v >> by);
}

BN_INLINE vec set_bytes(char value)
{
	return (vec)_mm512_set1_epi8(value);
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
	return (vec)_mm512_set1_epi32(four);
}

BN_INLINE vec subtract_bytes(vec a, vec b)
{
	return (vec)_mm512_sub_epi8((__m512i)a, (__m512i)b);
}

#ifdef VBMI
/* @table's bytes at the places that the lower six bits of @at say */
BN_INLINE vec look_up_64(vec table, vec at)
{
	return (vec)_mm512_permutexvar_epi8((__m512i)at, (__m512i)table);
}
#else
/* the smaller ones, unsigned */
BN_INLINE vec min_bytes(vec a, vec b)
{
	return (vec)_mm512_min_epu8((__m512i)a, (__m512i)b);
}

/* @table's bytes at the places that the lower four bits of @at say, the uppermost being zero */
BN_INLINE vec look_up(__m128i table, vec at)
{
	return (vec)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), (__m512i)at);
}
#endif

BN_INLINE vec unpack_low_8(vec a, vec b)
{
	return (vec)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_high_8(vec a, vec b)
{
	return (vec)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_low_16(vec a, vec b)
{
	return (vec)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_high_16(vec a, vec b)
{
	return (vec)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b);
}

/* 16 bytes of each of four lines */
BN_INLINE __m512i load_4x16(const u8 *const row[], size_t at)
{
	__m512i v = _mm512_castsi128_si512(*(const __m128i *)(row[0] + at));

	v = _mm512_inserti32x4(v, *(const __m128i *)(row[4] + at), 1);
	v = _mm512_inserti32x4(v, *(const __m128i *)(row[8] + at), 2);
	return _mm512_inserti32x4(v, *(const __m128i *)(row[12] + at), 3);
}

/* 16 bytes of each of sixteen lines, by four bytes: of each vector, lane i comes from line i */
BN_INLINE struct quad transpose(const u8 *const row[], size_t at)
{
	__m512i a = load_4x16(row, at), b = load_4x16(row + 1, at);
	__m512i c = load_4x16(row + 2, at), d = load_4x16(row + 3, at);
	__m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
	__m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

	return (struct quad){
		(vec)_mm512_unpacklo_epi64(ab_low, cd_low),
		(vec)_mm512_unpackhi_epi64(ab_low, cd_low),
		(vec)_mm512_unpacklo_epi64(ab_high, cd_high),
		(vec)_mm512_unpackhi_epi64(ab_high, cd_high),
	};
}

BN_INLINE void add_8(s32 *y, __m256i v)
{
	__m256i_u *to = (__m256i_u *)y;

	_mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
}

/* The bytes in fours: the first four of each 128 bits are then the first 16 bytes, and so on */
BN_INLINE vec spread(vec v)
{
	const __m512i from = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13,
					       2, 6, 10, 14, 3, 7, 11, 15);

	return (vec)_mm512_permutexvar_epi32(from, (__m512i)v);
}

/* y[0 .. 15] += @a, y[16 .. 31] += @b */
BN_INLINE void add_both(s32 *y, vec a, vec b)
{
	_mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), (__m512i)a));
	_mm512_storeu_si512(y + 16, _mm512_add_epi32(_mm512_loadu_si512(y + 16), (__m512i)b));
}

/* y[16i .. 16i + 7] += the i'th four of @a, then of @b, i = 0 .. 3: what interleave() took apart */
BN_INLINE void add_pair(s32 *y, vec a, vec b)
{
	const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
	const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
	__m512i v = _mm512_permutex2var_epi64((__m512i)a, low, (__m512i)b);
	__m512i w = _mm512_permutex2var_epi64((__m512i)a, high, (__m512i)b);

	add_8(y, _mm512_castsi512_si256(v));
	add_8(y + 16, _mm512_extracti64x4_epi64(v, 1));
	add_8(y + 32, _mm512_castsi512_si256(w));
	add_8(y + 48, _mm512_extracti64x4_epi64(w, 1));
}

/*
 * y[16i .. 16i + 15] += the i'th four of @a[0], @b[0], @a[1] and @b[1]: the sums of low and high
 * bytes as interleave() took them apart
 */
BN_INLINE void add_quad(s32 *y, const vec *a, const vec *b)
{
	const __m512i low = _mm512_shuffle_i32x4((__m512i)a[0], (__m512i)b[0], 0x44);
	const __m512i low_2nd = _mm512_shuffle_i32x4((__m512i)a[0], (__m512i)b[0], 0xee);
	const __m512i high = _mm512_shuffle_i32x4((__m512i)a[1], (__m512i)b[1], 0x44);
	const __m512i high_2nd = _mm512_shuffle_i32x4((__m512i)a[1], (__m512i)b[1], 0xee);

	add_both(y, (vec)_mm512_shuffle_i32x4(low, high, 0x88),
		 (vec)_mm512_shuffle_i32x4(low, high, 0xdd));
	add_both(y + 32, (vec)_mm512_shuffle_i32x4(low_2nd, high_2nd, 0x88),
		 (vec)_mm512_shuffle_i32x4(low_2nd, high_2nd, 0xdd));
}

/* The first @n of @sum, less @x_sum, to @y */
BN_INLINE void store_sums(s32 *y, vec sum, u32 n, s32 x_sum)
{
	const __mmask16 first = n < 16 ? (1U << n) - 1 : 0xffff;

	_mm512_mask_storeu_epi32(y, first, _mm512_sub_epi32((__m512i)sum,
							    _mm512_set1_epi32(x_sum)));
}

/* Numbers of the high plane at @place of a block, from its nibbles there and its pairs of bits */
BN_INLINE vec plane_codes(vec nibbles, vec pairs, const u32 place)
{
	const words n = (words)nibbles >> (place % 2 * 4), t = (words)pairs;
	const words two = place < 2 ? t << (4 - 2 * place) % 16 : t >> (2 * place - 4) % 16;
	__m512i v;

	/* The lower nibble of n and the upper one of t, of which two bits count */
	v = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), (__m512i)n, (__m512i)two, 0xca);
	return (vec)_mm512_and_si512(v, _mm512_set1_epi8(63));
}

#endif /* BN_ZMM_H */

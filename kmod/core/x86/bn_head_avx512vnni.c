// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_head_avx512vnni.c - the head's high plane with 512-bit vpdpbusd
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_head_simd.h"
#include "bn_zmm.h"

#define HEAD_OP(type, name)	type bn_head_##name##_avx512vnni
#define HEAD_COLS	64
#define HEAD_SLOTS	2	/* 16 sums; of 24, many would be on the stack at the end */

struct head_row {
	__v16si v;
};

struct head_sum {
	__v16si a, b;
};

BN_INLINE struct head_row head_load(const u8 *block, const u32 place)
{
	return (struct head_row){ plane_codes(load(block + place / 2 * 64), load(block + 128),
					      place) };
}

BN_INLINE void head_unpack_at(u8 *codes, const u8 *block, const u32 place)
{
	*(__v16si *)codes = head_load(block, place).v;
}

BN_INLINE struct head_row head_unpacked(const u8 *codes)
{
	return (struct head_row){ *(const __v16si *)codes };
}

BN_INLINE struct head_sum head_zero(void)
{
	return (struct head_sum){ { 0 }, { 0 } };
}

BN_INLINE struct head_sum head_dot(struct head_sum sum, struct head_row row, const u8 *q, size_t at,
				   u32 n_pad)
{
	const __m512i a = _mm512_load_si512(q + at);
	const __m512i b = _mm512_load_si512(q + at + head_second(n_pad));

	return (struct head_sum){
		(__v16si)_mm512_dpbusd_epi32((__m512i)sum.a, (__m512i)row.v, a),
		(__v16si)_mm512_dpbusd_epi32((__m512i)sum.b, (__m512i)row.v, b),
	};
}

BN_INLINE __m256i halves(__v16si v)
{
	return _mm256_add_epi32(_mm512_castsi512_si256((__m512i)v),
				_mm512_extracti64x4_epi64((__m512i)v, 1));
}

BN_INLINE __m128i head_total(const struct head_sum *s, s32 q_sum)
{
	return head_combine(head_fold(halves(s[0].a), halves(s[1].a), halves(s[2].a),
				      halves(s[3].a)),
			    head_fold(halves(s[0].b), halves(s[1].b), halves(s[2].b),
				      halves(s[3].b)), q_sum);
}

#include "bn_head_top.h"

#endif /* __CHECKER__ */

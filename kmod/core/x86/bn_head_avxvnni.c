// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_head_avxvnni.c - the head's high plane with 256-bit vpdpbusd
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_head_simd.h"
#include "bn_ymm.h"
#include "bn_vnni_ops.h"
#include "bn_vnni_batch.h"

#define HEAD_OP(type, name)	type bn_head_##name##_avxvnni
#define HEAD_COLS	32
#define HEAD_SLOTS	1	/* 8 sums and 4 rows of 16 registers */
#define HEAD_TILES	5

struct head_row {
	__v8si v;
};

struct head_sum {
	__v8si a, b;
};

BN_INLINE struct head_row head_load(const u8 *block, const u32 place)
{
	return (struct head_row){ (__v8si)head_bytes(block, place) };
}

BN_INLINE struct head_row head_unpacked(const u8 *codes)
{
	return (struct head_row){ *(const __v8si *)codes };
}

BN_INLINE struct head_sum head_zero(void)
{
	return (struct head_sum){ { 0 }, { 0 } };
}

BN_INLINE struct head_sum head_dot(struct head_sum sum, struct head_row row, const u8 *q, size_t at,
				   u32 n_pad)
{
	const __m256i a = _mm256_load_si256((const __m256i *)(q + at));
	const __m256i b = _mm256_load_si256((const __m256i *)(q + at + head_second(n_pad)));

	return (struct head_sum){
		(__v8si)_mm256_dpbusd_avx_epi32((__m256i)sum.a, (__m256i)row.v, a),
		(__v8si)_mm256_dpbusd_avx_epi32((__m256i)sum.b, (__m256i)row.v, b),
	};
}

BN_INLINE __m128i head_total(const struct head_sum *s, s32 q_sum)
{
	return head_combine(head_fold((__m256i)s[0].a, (__m256i)s[1].a, (__m256i)s[2].a,
				      (__m256i)s[3].a),
			    head_fold((__m256i)s[0].b, (__m256i)s[1].b, (__m256i)s[2].b,
				      (__m256i)s[3].b), q_sum);
}

#include "bn_head_tiles.h"
#include "bn_head_top.h"

#endif /* __CHECKER__ */

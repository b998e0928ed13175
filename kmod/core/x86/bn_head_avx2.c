// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_head_avx2.c - the head's high plane with AVX2: bytes are made 16-bit words for vpmaddwd
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#define HEAD_WORDS
#include "bn_head_simd.h"

#define HEAD_OP(type, name)	type bn_head_##name##_avx2
#define HEAD_COLS	32
#define HEAD_SLOTS	3	/* 12 sums, a row and a product */

/* 32 elements, a word each */
struct head_row {
	__v16hi a, b;
};

struct head_sum {
	__v8si v;
};

BN_INLINE struct head_row head_load(const u8 *block, const u32 place)
{
	const __m256i bytes = head_bytes(block, place);

	return (struct head_row){
		(__v16hi)_mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)),
		(__v16hi)_mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1)),
	};
}

BN_INLINE struct head_row head_unpacked(const u8 *codes)
{
	return (struct head_row){
		(__v16hi)_mm256_cvtepu8_epi16(*(const __m128i *)codes),
		(__v16hi)_mm256_cvtepu8_epi16(*(const __m128i *)(codes + 16)),
	};
}

BN_INLINE struct head_sum head_zero(void)
{
	return (struct head_sum){ { 0 } };
}

/* No pair of products is beyond 2 * 63 * 32639: vpmaddwd is exact */
BN_INLINE struct head_sum head_dot(struct head_sum sum, struct head_row row, const u8 *q, size_t at,
				   u32 n_pad)
{
	const __m256i *x = (const __m256i *)(q + 2 * at);

	sum.v += (__v8si)_mm256_madd_epi16((__m256i)row.a, x[0]);
	sum.v += (__v8si)_mm256_madd_epi16((__m256i)row.b, x[1]);
	return sum;
}

BN_INLINE void head_store(void *q, u32 i, u32 n_pad, __m256i words)
{
	_mm256_store_si256((__m256i *)((s16 *)q + i), words);
}

BN_INLINE size_t head_sum_at(u32 n_pad)
{
	return 2 * (size_t)n_pad;
}

BN_INLINE __m128i head_total(const struct head_sum *sum, s32 q_sum)
{
	return head_centre(head_fold((__m256i)sum[0].v, (__m256i)sum[1].v, (__m256i)sum[2].v,
				     (__m256i)sum[3].v), q_sum);
}

#include "bn_head_top.h"

#endif /* __CHECKER__ */

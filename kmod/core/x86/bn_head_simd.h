/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_head_simd.h - what the instances of bn_head_top.h have in common
 *
 * vpdpbusd takes bytes, unsigned and signed ones. The plane is 0 .. 63; an integer q is split into
 * two signed digits, q = 256 * a + b, a and b in -128 .. 127. With A and B the sums of plane * a
 * and of plane * b,
 *
 *	sum of (4 * plane - 126) * q = 4 * (256 * A + B) - 126 * (sum of q)
 *
 * modulo 2^32, and therefore exactly, as the result fits. A and B fit anyhow: 63 * 128 * 32768 <
 * 2^31.
 */
#ifndef BN_HEAD_SIMD_H
#define BN_HEAD_SIMD_H

#include "bn_lanes_avx2.h"

/* lanes_sum() and lanes_top(): as in bn_float_ops.h */
BN_INLINE float lanes_sum(struct lanes a)
{
	__m128 s = lanes_fold(a);

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

BN_INLINE float lanes_top(struct lanes a)
{
	__m128 s = lanes_fold_max(a);

	s = _mm_max_ps(_mm_movehl_ps(s, s), s);
	return _mm_cvtss_f32(_mm_max_ss(_mm_shuffle_ps(s, s, 1), s));
}

/* the sum of each vector's lanes */
BN_INLINE __m128i head_fold(__m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));

	return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* the digits a and b of sixteen integers, which are @apart bytes apart */
BN_INLINE void head_store_digits(u8 *q, __m256i words, size_t apart)
{
	__m256i a = _mm256_srai_epi16(_mm256_add_epi16(words, _mm256_set1_epi16(128)), 8);
	__m256i b = _mm256_sub_epi16(words, _mm256_slli_epi16(a, 8));

	a = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
	_mm_store_si128((__m128i *)q, _mm256_castsi256_si128(a));
	_mm_store_si128((__m128i *)(q + apart), _mm256_extracti128_si256(a, 1));
}

/* 32 elements from one place of half a block, a byte each */
BN_INLINE __m256i head_bytes(const u8 *block, const u32 place)
{
	__v16hu n = *(const __v16hu *)(block + place / 2 * 64), t = *(const __v16hu *)(block + 128);

	n = n >> (place % 2 * 4);
	t = place < 2 ? t << (4 - 2 * place) % 16 : t >> (2 * place - 4) % 16;
	return _mm256_or_si256(_mm256_and_si256((__m256i)n, _mm256_set1_epi8(0x0f)),
			       _mm256_and_si256((__m256i)t, _mm256_set1_epi8(0x30)));
}

/*
 * Where head_quantize() puts the digits b of @n_pad integers, behind the digits a and their sum:
 * half of a slot. So the digits of all slots are rows of bytes at one distance.
 */
BN_INLINE size_t head_second(u32 n_pad)
{
	return BN_HEAD_Q_BYTES(n_pad) / 2;
}

#ifndef HEAD_WORDS		/* head_dot() reads digits */
BN_INLINE void head_store(void *q, u32 i, u32 n_pad, __m256i words)
{
	head_store_digits((u8 *)q + i, words, head_second(n_pad));
}

BN_INLINE size_t head_sum_at(u32 n_pad)
{
	return n_pad;
}
#endif

/* From the sums of plane * q */
BN_INLINE __m128i head_centre(__m128i sums, s32 q_sum)
{
	const u32 all = 126 * (u32)q_sum;

	return _mm_sub_epi32(_mm_slli_epi32(sums, 2), _mm_set1_epi32((s32)all));
}

BN_INLINE __m128i head_combine(__m128i a, __m128i b, s32 q_sum)
{
	return head_centre(_mm_add_epi32(_mm_slli_epi32(a, 8), b), q_sum);
}

BN_INLINE __m128 head_scaled(__m128i sums, float step, __m128 scales)
{
	const __m128 nan = _mm_castsi128_ps(_mm_set1_epi32(BN_F32_NAN));
	__m128 v = _mm_mul_ps(_mm_cvtepi32_ps(sums), _mm_set1_ps(step));

	v = _mm_mul_ps(v, scales);
	return _mm_blendv_ps(v, nan, _mm_cmpunord_ps(v, v));
}

/* four logits: the first @n of @y are written, the first @n scales are read */
BN_INLINE void head_logits(float *y, __m128i sums, float step, const float *scale, u32 n)
{
	const __m128i first = _mm_cmpgt_epi32(_mm_set1_epi32((s32)n), _mm_setr_epi32(0, 1, 2, 3));

	_mm_maskstore_ps(y, first, head_scaled(sums, step, _mm_maskload_ps(scale, first)));
}

/* four logits, @apart floats from each other, as their scales are */
BN_INLINE void head_logits_apart(float *y, __m128i sums, float step, const float *scale,
				 size_t apart)
{
	float logits[4];

	_mm_storeu_ps(logits, head_scaled(sums, step,
					  _mm_setr_ps(scale[0], scale[apart], scale[2 * apart],
						      scale[3 * apart])));
	bn_for_each(k, 4)
		y[k * apart] = logits[k];
}

#ifndef HEAD_WORDS
/*
 * Logits of @slot and up to @n rows from the @r'th on, from the sums of the first digit and of the
 * second, both 16-byte aligned
 */
BN_INLINE void head_end(const struct bn_head *p, u32 slot, u32 r, const u32 n, const s32 *first,
			const s32 *second)
{
	const u8 *q = (const u8 *)p->x + slot * p->x_stride;
	s32 q_sum;

	memcpy(&q_sum, q + head_sum_at(p->n_pad), sizeof(q_sum));
	for (u32 i = 0; i < n && r + i < p->n; i += 4) {
		__m128i a = _mm_load_si128((const __m128i *)(first + i));
		__m128i b = _mm_load_si128((const __m128i *)(second + i));

		head_logits(p->y + slot * p->y_stride + r + i, head_combine(a, b, q_sum),
			    p->step[slot], p->scale + r + i, p->n - r - i);
	}
}
#endif

#endif /* BN_HEAD_SIMD_H */

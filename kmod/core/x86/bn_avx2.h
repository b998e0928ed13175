/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_avx2.h - what the products of the "avx2" variant have in common
 *
 * vpmaddubsw multiplies codes (unsigned, 0 .. 3) with activations and adds pairs of products in 16
 * bits: a sum of magnitude 3 * 2 * 128 = 768 at most, of which 42 fit into 16 bits.
 */
#ifndef BN_AVX2_H
#define BN_AVX2_H

#include "bn_quad.h"
#include "bn_t1.h"

#define BN_SUMS_16	40	/* sums of two products that are added in 16 bits, of 42 possible */

void bn_linear_t2_avx2(const struct bn_product *p);
void bn_linear_t1_avx2(const struct bn_product *p);
void bn_columns_t2_avx2(const struct bn_product *p);
void bn_columns_t1_avx2(const struct bn_product *p);

BN_INLINE u32 smaller(u32 a, u32 b)
{
	return a < b ? a : b;
}

BN_INLINE __v16hi multiply(__v8si codes, __v8si x)
{
	return (__v16hi)_mm256_maddubs_epi16((__m256i)codes, (__m256i)x);
}

/*
 * @sum plus products. The empty asm wants the sum in a register after each: gcc would put several
 * additions to one sum in another order, and keep all their products until then, in memory.
 */
BN_INLINE __v16hi add_products(__v16hi sum, __v8si codes, __v8si x)
{
	sum += multiply(codes, x);
	asm("" : "+x" (sum));
	return sum;
}

BN_INLINE __v8si widen(__v16hi sum16)
{
	return (__v8si)_mm256_madd_epi16((__m256i)sum16, _mm256_set1_epi16(1));
}

/* A load that stays one: gcc makes it an operand of each instruction that uses it. */
BN_INLINE __v8si load_once(const void *p)
{
	__v8si v = load(p);

	asm("" : "+x" (v));
	return v;
}

/* Line @i of those wanted, or the last one before @end */
BN_INLINE const u8 *line_of(const struct bn_product *p, u32 i, u32 end)
{
	i = smaller(i, end - 1);
	return p->list ? p->list[i] : p->w + (size_t)i * p->line_bytes;
}

/* Four lines from @i on; behind the last before @end, that one again */
BN_INLINE struct bn_rows lines_of(const struct bn_product *p, u32 i, u32 end)
{
	return (struct bn_rows){
		line_of(p, i, end), line_of(p, i + 1, end), line_of(p, i + 2, end),
		line_of(p, i + 3, end),
	};
}

/*
 * struct ahead - what to prefetch next
 *
 * Kernels read several lines at once. Prefetches in that order reach 11 GB/s on Zen 3, those of one
 * line after the other, as they lie in memory, 15 (a plain read: 15 of one stream, 18 of four).
 */
struct ahead {
	const struct bn_product *p;
	const u8 *line;
	u32 i, at;
};

/* From the wanted line @i on, which may be one of the next call's */
BN_INLINE struct ahead ahead_from(const struct bn_product *p, u32 i)
{
	return (struct ahead){ .p = p, .line = line_of(p, i, p->n + p->ahead), .i = i };
}

BN_INLINE void prefetch_next(struct ahead *a)
{
	const struct bn_product *p = a->p;

	bn_prefetch(a->line + a->at);
	a->at += BN_BLOCK_BYTES;
	if (a->at == p->blocks * BN_BLOCK_BYTES) {
		a->at = 0;
		a->line = line_of(p, ++a->i, p->n + p->ahead);
	}
}

/* Codes of 32 bytes of t2: field @field of each */
BN_INLINE __v8si field_of(__v8si packed, const u32 field)
{
	return shift_16(packed, (int)(2 * field)) & set_bytes(3);
}

#endif /* BN_AVX2_H */

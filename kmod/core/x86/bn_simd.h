/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_simd.h - intrinsics for kernel and userspace, and what the linear_t2 kernels have in common
 */
#ifndef BN_SIMD_H
#define BN_SIMD_H

/* The intrinsics' aligned malloc needs <stdlib.h>, which the kernel has not; nobody calls it. */
#define _MM_MALLOC_H_INCLUDED		/* gcc */
#define __MM_MALLOC_H			/* clang */
#include <immintrin.h>

#include "bn_x86.h"
#include "../bn_float.h"
#include "../bn_image.h"

#define BN_INLINE	static inline __attribute__((__always_inline__))
#define BN_NOINLINE	static __attribute__((__noinline__))

/*
 * BN_UNINIT - behind an array of registers that its function sets in part. Kernels zero variables
 * first (CONFIG_INIT_STACK_ALL_ZERO), and gcc then keeps such an array in memory.
 */
#define BN_UNINIT	__attribute__((__uninitialized__))

/*
 * bn_for_each() - a loop over registers, @n being constant and at most 16. Unrolled, since gcc -O2
 * would keep the loop, and the registers in memory.
 */
#ifdef __clang__
#define BN_UNROLL	_Pragma("clang loop unroll(full)")
#else
#define BN_UNROLL	_Pragma("GCC unroll 16")
#endif
#define bn_for_each(i, n)	BN_UNROLL for (u32 i = 0; i < (n); i++)

#define BN_GROUP	4	/* weight rows that share the loads of activations */

_Static_assert(BN_GROUP == BN_PARTS, "a row of each part makes a group");

/* struct bn_rows - the rows of a group */
struct bn_rows {
	const u8 *a, *b, *c, *d;
};

/**
 * bn_prefetch_bytes() - how far ahead to prefetch lines that follow: whole groups, at least 4 KiB
 *
 * Less than a group would be among the lines that are being read.
 */
BN_INLINE size_t bn_prefetch_bytes(u32 row_bytes)
{
	size_t group = (size_t)row_bytes * BN_GROUP;

	return (4096 + group - 1) / group * group;
}

/*
 * How far ahead to fetch several lines of one long stream that are read at once, as they lie, into
 * the second-level cache. Into the first level, or from four places in turns, Zen 4 reads less.
 */
#define BN_STREAM_AHEAD	20480

/* Of parts, each a stream of its own: how far ahead in it. Sapphire Rapids likes 2 to 3 KiB. */
#define BN_PART_AHEAD	3072

/*
 * bn_stream_behind() - where the @k'th of @streams starts that are fetched with line @r of @n, from
 * @w on, and those that are multiplied together with it
 *
 * The @ahead lines behind the @n make as many streams, which a CPU's own prefetcher sees more ahead
 * of than of one; a stream goes on with every @streams lines that are multiplied.
 */
BN_INLINE const u8 *bn_stream_behind(const u8 *w, u32 line_bytes, u32 n, u32 ahead, u32 r,
				     const u32 k, const u32 streams)
{
	return w + (n + k * (ahead / streams) + r / streams) * (size_t)line_bytes;
}

/* How the lines of a product are found: one behind the other, by its list, or in its parts */
enum bn_order { BN_FOLLOWING, BN_LISTED, BN_PARTED };

BN_INLINE enum bn_order bn_order_of(const struct bn_product *p)
{
	return p->part[0] ? BN_PARTED : p->list ? BN_LISTED : BN_FOLLOWING;
}

/** bn_rows_of_parts() - the @i'th row of each part */
BN_INLINE struct bn_rows bn_rows_of_parts(const struct bn_product *p, u32 i)
{
	const size_t at = (size_t)i * p->line_bytes;

	return (struct bn_rows){
		p->part[0] + at, p->part[1] + at, p->part[2] + at, p->part[3] + at,
	};
}

BN_INLINE void bn_prefetch(const void *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T0);
}

BN_INLINE void bn_prefetch_rows(const struct bn_rows *row, size_t at)
{
	bn_prefetch(row->a + at);
	bn_prefetch(row->b + at);
	bn_prefetch(row->c + at);
	bn_prefetch(row->d + at);
}

/** bn_prefetch_2nd() - into the second-level cache */
BN_INLINE void bn_prefetch_2nd(const void *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T1);
}

/* struct bn_fetch - lines that are fetched while a group is multiplied */
struct bn_fetch {
	const u8 *a, *b;
};

_Static_assert(BN_FETCH_LINES == 2, "struct bn_fetch has them all");

/** bn_fetch_of() - those of the group that starts with the @i'th line; @instead where none are */
BN_INLINE struct bn_fetch bn_fetch_of(const struct bn_product *p, u32 i, const u8 *instead)
{
	const u32 at = i / BN_GROUP * BN_FETCH_LINES;

	return (struct bn_fetch){
		at < p->n_fetch ? p->fetch[at] : instead,
		at + 1 < p->n_fetch ? p->fetch[at + 1] : instead,
	};
}

BN_INLINE void bn_fetch(const struct bn_fetch *f, size_t at)
{
	bn_prefetch_2nd(f->a + at);
	bn_prefetch_2nd(f->b + at);
}

/* bn_store_group() - y[0 .. n-1] = sum[] - x_sum, n = 1 .. BN_GROUP */
BN_INLINE void bn_store_group(s32 *y, __m128i sum, s32 x_sum, u32 n)
{
	const __m128i first = _mm_setr_epi32(0, 1, 2, 3);

	sum = _mm_sub_epi32(sum, _mm_set1_epi32(x_sum));
	if (n >= BN_GROUP)
		_mm_storeu_si128((__m128i_u *)y, sum);
	else
		_mm_maskstore_epi32(y, _mm_cmpgt_epi32(_mm_set1_epi32((s32)n), first), sum);
}

/* bn_store_one() - the @i'th group of lines with a batch's row @b of activations, see bn_product */
BN_INLINE void bn_store_one(const struct bn_product *p, u32 b, u32 i, __m128i sum,
			    const enum bn_order order)
{
	s32 *y = p->y + i / BN_GROUP;

	if (order != BN_PARTED) {
		bn_store_group(p->y + b * p->y_stride + i, sum, p->x_sum[b], p->n - i);
		return;
	}
	sum = _mm_sub_epi32(sum, _mm_set1_epi32(p->x_sum[0]));
	y[0] = _mm_cvtsi128_si32(sum);
	y[p->y_stride] = _mm_extract_epi32(sum, 1);
	y[2 * p->y_stride] = _mm_extract_epi32(sum, 2);
	y[3 * p->y_stride] = _mm_extract_epi32(sum, 3);
}

#endif /* BN_SIMD_H */

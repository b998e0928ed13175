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
 * bn_prefetch_bytes() - how far ahead to prefetch: whole groups of rows, at least 2 KiB
 *
 * So the lines fetched are those that the same four pointers will read: one fetch for each line.
 */
BN_INLINE size_t bn_prefetch_bytes(u32 row_bytes)
{
	size_t group = (size_t)row_bytes * BN_GROUP;

	return group >= 2048 ? group : (2048 + group - 1) / group * group;
}

/* Of parts, each a stream of its own: how far ahead in it. Sapphire Rapids likes 2 to 3 KiB. */
#define BN_PART_AHEAD	3072

/* How the lines of a product are found: one behind the other, by its list, or in its parts */
enum bn_order { BN_FOLLOWING, BN_LISTED, BN_PARTED };

BN_INLINE enum bn_order bn_order_of(const struct bn_product *p)
{
	return p->part[0] ? BN_PARTED : p->index ? BN_LISTED : BN_FOLLOWING;
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

#endif /* BN_SIMD_H */

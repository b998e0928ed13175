/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_ops.h - the operations that have one implementation per instruction set ("variant")
 *
 * Every variant gives the same bits as the scalar reference, bn_ops_ref.c, for all inputs including
 * NaN, infinities, denormals and the invalid weight code 3 (which acts as weight +2). What makes
 * that possible:
 *
 *   - integer sums are exact (and wrap, where nonsense in x_sum makes them overflow);
 *   - a float reduction of n elements uses BN_LANES partial sums, element i going to lane i % 16 in
 *     ascending order, and then the tree l[j] += l[j+8], l[j] += l[j+4], += l[j+2], += l[j+1];
 *   - max-reductions the same from -infinity, with max(a, b) = a > b ? a : b (as maxps: b when
 *     either is NaN, or both are zeros), b being the running value: l = max(x, l), then
 *     l[j] = max(l[j+8], l[j]) and so on, so that a NaN element is ignored;
 *   - an f32 result that is NaN is BN_F32_NAN, since which NaN an operation makes depends on the
 *     order of its operands, which compilers choose (f16 conversions have one operand: they keep
 *     the payload);
 *   - no contraction to FMA (-ffp-contract=off), no reassociation, IEEE division and square root,
 *     round to nearest even, denormals kept (MXCSR default);
 *   - one own exp, with a fixed sequence of operations: bn_exp().
 *
 * All buffers are 64-byte aligned with 64-byte multiples as strides, padding zero, unless said
 * otherwise. All functions need the FPU section (also the reference: it uses SSE2 floats), never
 * sleep, and take time proportional to their arguments; the caller bounds those.
 */
#ifndef BN_OPS_H
#define BN_OPS_H

#include "bn_types.h"

/* CPU features, as bits of a mask that glue or library fill in */
#define BN_CPU_AVX2		(1U << 0)	/* AVX2, F16C, and the OS saves ymm */
#define BN_CPU_AVXVNNI		(1U << 1)	/* AVX-VNNI (vpdpbusd, VEX) */
#define BN_CPU_AVX512VNNI	(1U << 2)	/* AVX512F, BW, VL, DQ, VNNI; the OS saves zmm */

struct bn_ops {
	const char *name;	/* "ref", "avx2", "avxvnni", "avx512vnni" */
	u32 needs;		/* BN_CPU_* bits */
	u32 macs_per_us;	/* rough speed of linear_t2, for sizing tiles */

	/**
	 * @linear_t2: y[b][r] = sum over c of (code(r, c) - 1) * x[b][c]
	 * @y:		int32; row b at y + b * y_stride, elements r = 0 .. rows-1
	 * @y_stride:	in elements
	 * @w:		packed rows; 64-byte aligned
	 * @row_bytes:	stride of @w; = blocks of 64 bytes * 256 weights: the columns computed
	 * @rows:	weight rows, any number >= 1
	 * @x:		int8, row b at x + b * x_stride; row_bytes * 4 elements each, padding zero
	 * @x_stride:	in bytes, >= row_bytes * 4
	 * @x_sum:	x_sum[b] = sum of x[b][*]
	 * @batch:	1 .. BN_MAX_ROWS
	 */
	void (*linear_t2)(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows,
			  const s8 *x, size_t x_stride, const s32 *x_sum, u32 batch);

	/**
	 * @quantize: absmax int8: s = 127 / max(max|x|, 1e-5), q = x * s, rounded half to even and
	 *		clamped to -128 .. 127
	 * @q:		out, @n_pad bytes, padding zero
	 * @sum:	out, sum of q
	 * @inv:	out, 1 / s as f32: multiplies back (computed as max(max|x|, 1e-5) / 127)
	 * @x:		f32, @n_pad elements, padding zero. A NaN or infinite product rounds to -128
	 *		(as cvtps2dq's 0x80000000 does after saturation)
	 * @n_pad:	multiple of BN_T2_BLOCK_COLS
	 */
	void (*quantize)(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad);

	/**
	 * @rmsnorm: y = (x * (1 / sqrt(sum(x^2) / n + eps))) * g
	 * @y:		f32, @n_pad elements; may alias @x
	 * @g:		weights; only @n elements need be readable up to the next multiple of 16
	 * @n:		true length (of the mean)
	 * @n_pad:	multiple of BN_LANES >= n; x is zero from n on, and so is y, whatever lies
	 *		behind @g
	 */
	void (*rmsnorm)(float *y, const float *x, const float *g, u32 n, u32 n_pad, float eps);

	/**
	 * @dequant: y[i] = (f32)acc[i] * scale, or y[i] += that
	 * @n:		any
	 * (@y and @acc need 4-byte alignment only)
	 */
	void (*dequant)(float *y, const s32 *acc, u32 n, float scale, bool add);

	/**
	 * @glu: y[i] = f(g[i]) * u[i], f(g) = max(g, 0)^2 (0 for NaN) or g / (1 + exp(-g))
	 * @activation:	BITNET_ACT_*
	 * @n:		any; 4-byte alignment only
	 */
	void (*glu)(float *y, const float *g, const float *u, u32 n, u32 activation);

	/** @f16_to_f32: n elements, 2/4-byte alignment only. f16 signalling NaNs become quiet */
	void (*f16_to_f32)(float *y, const u16 *x, u32 n);

	/** @f32_to_f16: round to nearest even, overflow to infinity, NaN stays a quiet NaN */
	void (*f32_to_f16)(u16 *y, const float *x, u32 n);

	/**
	 * @rope: rotate pairs (j, j + half) of one head: a' = a*cos - b*sin, b' = b*cos + a*sin
	 * @x:		f32 head, 2 * half elements used; 4-byte alignment only
	 * @cos, @sin:	half elements each
	 */
	void (*rope)(float *x, const float *cos, const float *sin, u32 half);

	/**
	 * @attention: one online-softmax step over @n positions for @heads query heads that share a
	 *		KV head
	 * @acc:	f32 [heads][head_pad], weighted sums so far, updated
	 * @ml:		f32 [heads][2]: running maximum and running sum; (-inf, 0) at the start
	 * @q:		f32 [heads][head_pad], already scaled by 1/sqrt(head_dim)
	 * @k, @v:	f16 [n][head_pad]
	 * @n:		1 .. BN_ATTN_CHUNK positions
	 *
	 * Scores s_t = dot(q, k_t) (lane reduction); m' = max(max-reduction of all s_t, m); factor
	 * exp(m - m'); p_t = exp(s_t - m'); sum' = sum * factor + (lane reduction of p);
	 * acc' = acc * factor, then += p_t * v_t in ascending t. exp(-inf) is 0, and so is
	 * exp(NaN), as of (-inf) - (-inf). A NaN score takes no part; a NaN value does, even with
	 * p_t = 0.
	 */
	void (*attention)(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
			  u32 head_pad, u32 heads, u32 n);

	/**
	 * @head: logits[i] = dot(h, e_i) over f16 rows
	 * @logits:	f32, @rows
	 * @h:		f32, @n_pad
	 * @e:		f16 rows of @stride elements
	 * @n_pad:	multiple of BN_LANES, <= stride; both padded with zeros
	 */
	void (*head)(float *logits, const float *h, const u16 *e, size_t stride, u32 rows,
		     u32 n_pad);

	/** @max_value: max-reduction of n >= 1 floats (any alignment), -inf if all are NaN */
	float (*max_value)(const float *x, u32 n);

	/** @sum_exp: lane reduction of exp(x[i] - max) over n floats (any alignment) */
	float (*sum_exp)(const float *x, u32 n, float max);

	/** @clear: zero all vector and mask registers that the variant uses, at a section's end */
	void (*clear)(void);
};

#define BN_ATTN_CHUNK	64	/* positions of one attention() call; part of the bit pattern */

/** bn_variants - all variants compiled in, slowest (the reference) first; NULL-terminated */
extern const struct bn_ops *const bn_variants[];
extern const struct bn_ops bn_ops_ref;

/** bn_variant_find() - by name; "fastest" gives the last that @cpu allows. NULL if none. No FPU */
const struct bn_ops *bn_variant_find(const char *name, u32 cpu);

/**
 * bn_selftest() - compare one case of one variant with the reference
 * @ops:	variant
 * @nr:		case, from 0
 * @scratch:	BN_SELFTEST_BYTES, 64-byte aligned
 *
 * Each case is seeded, uses odd shapes and special values, and is short enough for one FPU section.
 * Return: BN_OK, BN_ESELFTEST, or BN_END when there is no case @nr.
 */
enum bn_err bn_selftest(const struct bn_ops *ops, u32 nr, void *scratch);
#define BN_SELFTEST_BYTES	(256 * 1024)

#endif /* BN_OPS_H */

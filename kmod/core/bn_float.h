/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_float.h - scalar elementary functions with one defined result each. All need the FPU.
 */
#ifndef BN_FLOAT_H
#define BN_FLOAT_H

#include "bn_env.h"

#define BN_F32_SIGN	0x80000000U
#define BN_F32_INF	0x7f800000U
#define BN_F32_NAN	0x7fc00000U	/* the one NaN that operations return */

/*
 * Constants of bn_exp(), shared with the SIMD variants. The polynomial is the minimax one of degree
 * 4 for (e^r - 1 - r) / r^2, relative to e^r, on |r| <= 0.3475: 3.1e-9. (Derived with Remez'
 * algorithm.)
 */
#define BN_EXP_MIN	(-87.3f)	/* e^x is 0 below: before it would be denormal */
#define BN_EXP_MAX	88.7f		/* infinite above */
#define BN_EXP_LOG2E	1.44269504f
#define BN_EXP_ROUND	12582912.0f	/* 1.5 * 2^23 */
#define BN_EXP_LN2_HI	0.693145751953125f
#define BN_EXP_LN2_LO	1.42860682e-06f
#define BN_EXP_P0	0.00138142216f
#define BN_EXP_P1	0.00836889911f
#define BN_EXP_P2	0.0416684039f
#define BN_EXP_P3	0.166665196f
#define BN_EXP_P4	0.49999994f

#define BN_HEAD_LEAST	0x1p-100f	/* see head_quantize() */
#define BN_HEAD_SLACK	0x1p-120f	/* see head_lower() */

/* pi/2 as three exact 23-bit parts and a rest, for bn_sincos() */
#define BN_PIO2_1	0x1.921fb4p+0
#define BN_PIO2_2	0x1.4442dp-24
#define BN_PIO2_3	0x1.84698p-48
#define BN_PIO2_4	0x1.3198a2e037073p-69

/**
 * bn_exp() - e^x in f32
 *
 * Defined by its sequence of operations, which the SIMD variants repeat lane by lane: within 2 ulp
 * over the normal range; 0 below -87.3 (flushed before it would be denormal) and for -inf, +inf
 * above 88.7; NaN gives 0, so that a poisoned score cannot poison a sum.
 */
float bn_exp(float x);

/** bn_log() - natural logarithm in f32, within 2 ulp; -inf for 0, NaN below and for NaN */
float bn_log(float x);

/** bn_sincos() - of |x| <= 2^30 radians, computed in f64, rounded to f32; NaN and huge: 0 and 1 */
void bn_sincos(double x, float *sin, float *cos);

/** bn_sqrt() - one instruction; sparse does not know the builtin */
static inline float bn_sqrt(float x)
{
#ifdef __CHECKER__
	return x;
#else
	return __builtin_sqrtf(x);
#endif
}

/** bn_f16_to_f32() - exact; signalling NaNs become quiet, payload kept */
float bn_f16_to_f32(u16 h);

/** bn_f32_to_f16() - nearest even, overflow to infinity; NaNs become quiet, payload cut */
u16 bn_f32_to_f16(float f);

/**
 * bn_head_q_max() - the largest integer that head_quantize() may make of a row
 * @top:	largest magnitude in it
 * @l1:		sum of all
 *
 * So that no sum of products with s8 overflows: with q = x * (m / top), rounded, 128 * sum |q| is
 * at most 128 * (l1 * m / top + n / 2) but for the rounding of all of that, for which 2^-10 is
 * left. A row with few large elements gets more bits than one whose elements are all alike.
 */
static inline s32 bn_head_q_max(float top, float l1, u32 n_pad)
{
	float room = 16777216.0f - 64.0f - 0.51f * (float)n_pad;
	float m = room * (1.0f - 0x1p-10f) * (top / l1);

	if (!(m >= 1.0f))		/* NaN too */
		return 1;
	return m < 32639.0f ? (s32)m : 32639;
}

#endif /* BN_FLOAT_H */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_float.c - scalar elementary functions with one defined result each
 *
 * Nothing here may be contracted, reassociated or evaluated in another precision: bn_exp() is
 * repeated operation by operation in x86/bn_float_ops.h, and the others decide bits that golden
 * hashes pin down.
 */
#include "bn_float.h"

static float float_of(u32 bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static u32 bits_of(float f)
{
	u32 bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

/*
 * x = n ln 2 + r with |r| <= ln 2 / 2, e^x = 2^n (1 + r + r^2 p(r)).
 *
 * Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. BN_EXP_LN2_HI has 15
 * bits, so n * BN_EXP_LN2_HI is exact. Between the two bounds n is -126 .. 128, and n = 128 comes
 * with a mantissa part below 1, n = -126 with one of 1 or more: adding n to the exponent field
 * stays in the normal range.
 */
float bn_exp(float x)
{
	float c = x > BN_EXP_MIN ? x : BN_EXP_MIN;	/* NaN too */
	float t, n, r, p, y;

	c = c < BN_EXP_MAX ? c : BN_EXP_MAX;
	t = c * BN_EXP_LOG2E + BN_EXP_ROUND;
	n = t - BN_EXP_ROUND;
	r = c - n * BN_EXP_LN2_HI;
	r = r - n * BN_EXP_LN2_LO;
	p = BN_EXP_P0;
	p = p * r + BN_EXP_P1;
	p = p * r + BN_EXP_P2;
	p = p * r + BN_EXP_P3;
	p = p * r + BN_EXP_P4;
	y = (p * (r * r) + r) + 1.0f;
	y = float_of(bits_of(y) + (bits_of(t) << 23));
	if (x > BN_EXP_MAX)
		return float_of(BN_F32_INF);
	return x >= BN_EXP_MIN ? y : 0.0f;
}

/*
 * x = 2^k m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), by the
 * series up to s^11: |s| < 0.1716, so the next term is below 5e-11 s. In f64, where every f32 is a
 * normal number, and rounded once at the end.
 */
float bn_log(float x)
{
	double d = x, m, s, z, p;
	u64 bits;
	int k;

	if (!(x >= 0.0f))
		return float_of(BN_F32_NAN);
	if (x == 0.0f)
		return float_of(BN_F32_INF | BN_F32_SIGN);
	if (bits_of(x) == BN_F32_INF)
		return x;
	memcpy(&bits, &d, sizeof(bits));
	k = (int)(bits >> 52) - 1023;
	bits = (bits & ((1ULL << 52) - 1)) | 1023ULL << 52;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.4142135623730951) {
		m = m * 0.5;
		k++;
	}
	s = (m - 1.0) / (m + 1.0);
	z = s * s;
	p = 1.0 / 11;
	p = p * z + 1.0 / 9;
	p = p * z + 1.0 / 7;
	p = p * z + 1.0 / 5;
	p = p * z + 1.0 / 3;
	p = p * z * s + s;
	return (float)((double)k * 0.6931471805599453 + 2.0 * p);
}

/*
 * x = n pi/2 + r, |r| <= pi/4. Three parts of pi/2 have 23 bits each, so that their products with n
 * (30 bits) are exact; the fourth carries the rest. Then Taylor series, whose first dropped term is
 * below 2^-54, with the factorials as exact divisors.
 */
void bn_sincos(double x, float *sin, float *cos)
{
	const double round = 6755399441055744.0;	/* 1.5 * 2^52 */
	double t, n, r, z, s, c, swap;
	u64 quadrant;

	if (!(x >= -1073741824.0 && x <= 1073741824.0)) {
		*sin = 0.0f;
		*cos = 1.0f;
		return;
	}
	t = x * 0.6366197723675814 + round;
	n = t - round;
	memcpy(&quadrant, &t, sizeof(quadrant));
	r = x - n * BN_PIO2_1;
	r = r - n * BN_PIO2_2;
	r = r - n * BN_PIO2_3;
	r = r - n * BN_PIO2_4;
	z = r * r;

	s = -1.0 / 1307674368000.0;
	s = s * z + 1.0 / 6227020800.0;
	s = s * z - 1.0 / 39916800.0;
	s = s * z + 1.0 / 362880.0;
	s = s * z - 1.0 / 5040.0;
	s = s * z + 1.0 / 120.0;
	s = s * z - 1.0 / 6.0;
	s = s * z * r + r;

	c = 1.0 / 20922789888000.0;
	c = c * z - 1.0 / 87178291200.0;
	c = c * z + 1.0 / 479001600.0;
	c = c * z - 1.0 / 3628800.0;
	c = c * z + 1.0 / 40320.0;
	c = c * z - 1.0 / 720.0;
	c = c * z + 1.0 / 24.0;
	c = c * z - 0.5;
	c = c * z + 1.0;

	if (quadrant & 1) {
		swap = s;
		s = c;
		c = -swap;
	}
	if (quadrant & 2) {
		s = -s;
		c = -c;
	}
	*sin = (float)s;
	*cos = (float)c;
}

float bn_f16_to_f32(u16 h)
{
	u32 sign = (u32)(h & 0x8000) << 16;
	u32 exponent = h >> 10 & 0x1f;
	u32 mantissa = h & 0x3ff;

	if (exponent == 0x1f)
		return float_of(sign | BN_F32_INF | (mantissa ? mantissa << 13 | 0x400000 : 0));
	if (!exponent) {
		if (!mantissa)
			return float_of(sign);
		/* denormal: shift the leading one into place */
		exponent = 1;
		while (!(mantissa & 0x400)) {
			mantissa <<= 1;
			exponent--;
		}
		mantissa &= 0x3ff;
	}
	return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

u16 bn_f32_to_f16(float f)
{
	u32 bits = bits_of(f);
	u32 sign = bits >> 16 & 0x8000;
	u32 abs = bits & ~BN_F32_SIGN;
	u32 mantissa, shift, half;

	if (abs > BN_F32_INF)
		return sign | 0x7e00 | (abs >> 13 & 0x3ff);
	if (abs >= 0x47800000)			/* 65536 and above, infinity */
		return sign | 0x7c00;
	if (abs >= 0x38800000) {		/* normal in f16; may round up into infinity */
		abs -= 112U << 23;
		return sign | (abs + 0xfff + (abs >> 13 & 1)) >> 13;
	}
	if (abs < 0x33000000)			/* below half of the smallest denormal */
		return sign;
	mantissa = (abs & 0x7fffff) | 0x800000;
	shift = 126 - (abs >> 23);		/* 14 .. 24 */
	half = mantissa >> shift;
	mantissa &= (1U << shift) - 1;
	half += mantissa > 1U << (shift - 1) || (mantissa == 1U << (shift - 1) && (half & 1));
	return sign | half;
}

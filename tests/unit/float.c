// SPDX-License-Identifier: GPL-2.0
/*
 * float.c - bn_float.c against libm, and the float operations of the reference against plain f64
 *
 * checkasm shows that the variants equal the reference; here it is the reference's turn: that its
 * numbers are right, apart from rounding.
 */
#include <math.h>
#include <stdlib.h>

#include "bn_float.h"
#include "bn_image.h"
#include "bn_ops.h"
#include "tap.h"

static float f32(u32 bits)
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

/* How far @got is from @want, in units of the f32 that is nearest to @want */
static double ulps(float got, double want)
{
	float nearest = fabsf((float)want);
	double ulp = (double)nextafterf(nearest, INFINITY) - nearest;

	return fabs((double)got - want) / ulp;
}

static void exponential(void)
{
	double worst = 0;
	float at = 0, previous = 0;
	u32 falls = 0;

	for (float x = -87.3f; x <= 88.7f; x += 0x1p-15f) {
		float y = bn_exp(x);
		double off = ulps(y, exp((double)x));

		if (off > worst) {
			worst = off;
			at = x;
		}
		falls += y < previous * (1 - 0x1p-22f);
		previous = y;
	}
	ok(worst <= 1.0, "bn_exp: within an ulp from -87.3 to 88.7 (%.2f at %a)", worst, at);
	is(falls, 0, "bn_exp: rises");

	worst = 0;
	for (u32 bits = 0x20000000; bits < 0x3f000000; bits += 977)
		for (u32 sign = 0; sign < 2; sign++) {
			float x = f32(bits | sign << 31);

			worst = fmax(worst, ulps(bn_exp(x), exp((double)x)));
		}
	ok(worst <= 1.0, "bn_exp: within an ulp near 0 (%.2f)", worst);

	is(bits_of(bn_exp(0.0f)), bits_of(1.0f), "bn_exp: 0 gives 1");
	is(bits_of(bn_exp(-0.0f)), bits_of(1.0f), "bn_exp: -0 gives 1");
	is(bits_of(bn_exp(-INFINITY)), 0, "bn_exp: -inf gives 0");
	is(bits_of(bn_exp(INFINITY)), BN_F32_INF, "bn_exp: inf gives inf");
	is(bits_of(bn_exp(NAN)), 0, "bn_exp: NaN gives 0");
	is(bits_of(bn_exp(nextafterf(BN_EXP_MIN, -100))), 0, "bn_exp: 0 just below -87.3");
	ok(bn_exp(BN_EXP_MIN) >= 0x1p-126f, "bn_exp: normal at -87.3");
	ok(isfinite(bn_exp(BN_EXP_MAX)), "bn_exp: finite at 88.7");
	is(bits_of(bn_exp(nextafterf(BN_EXP_MAX, 100))), BN_F32_INF,
	   "bn_exp: infinite just above 88.7");
	is(bits_of(bn_exp(3e38f)), BN_F32_INF, "bn_exp: infinite far above");
	is(bits_of(bn_exp(-3e38f)), 0, "bn_exp: 0 far below");
}

static void logarithm(void)
{
	double worst = 0;

	for (u32 bits = 1; bits < BN_F32_INF; bits += 1009)
		worst = fmax(worst, ulps(bn_log(f32(bits)), log((double)f32(bits))));
	for (u32 bits = bits_of(0.999f); bits < bits_of(1.001f); bits++)
		if (f32(bits) != 1.0f)
			worst = fmax(worst, ulps(bn_log(f32(bits)), log((double)f32(bits))));
	ok(worst <= 0.51,
	   "bn_log: rounded right but for 1 in 100 ulp, over all magnitudes and near 1 (%.3f)",
	   worst);
	is(bits_of(bn_log(1.0f)), 0, "bn_log: 1 gives 0");
	is(bits_of(bn_log(0.0f)), bits_of(-INFINITY), "bn_log: 0 gives -inf");
	is(bits_of(bn_log(-0.0f)), bits_of(-INFINITY), "bn_log: -0 gives -inf");
	is(bits_of(bn_log(-1.0f)), BN_F32_NAN, "bn_log: negative gives NaN");
	is(bits_of(bn_log(-INFINITY)), BN_F32_NAN, "bn_log: -inf gives NaN");
	is(bits_of(bn_log(f32(0xffc01234))), BN_F32_NAN, "bn_log: NaN gives the one NaN");
	is(bits_of(bn_log(INFINITY)), BN_F32_INF, "bn_log: inf gives inf");
}

static void sine_and_cosine(void)
{
	double worst = 0, x;
	float s, c;

	/* absolute, against f64: half an ulp of f32 at 1, and what f64 adds */
	for (x = -100; x < 100; x += 0.00137) {
		bn_sincos(x, &s, &c);
		worst = fmax(worst, fmax(fabs(s - sin(x)), fabs(c - cos(x))));
	}
	ok(worst <= 0x1p-25 + 0x1p-40, "bn_sincos: rounded right from -100 to 100 (off by %.3g)",
	   worst);
	worst = 0;
	for (x = 1; x <= 0x1p30; x *= 1.0000137) {
		bn_sincos(x, &s, &c);
		worst = fmax(worst, fmax(fabs(s - sin(x)), fabs(c - cos(x))));
	}
	ok(worst <= 0x1p-25 + 0x1p-40, "bn_sincos: rounded right up to 2^30 (off by %.3g)", worst);
	worst = 0;
	for (u32 n = 1; n < 683000000; n += 341987) {	/* next to multiples of pi/2: relative */
		x = n * 1.5707963267948966;
		bn_sincos(x, &s, &c);
		worst = fmax(worst, n & 1 ? ulps(c, cos(x)) : ulps(s, sin(x)));
	}
	ok(worst <= 0.51, "bn_sincos: its small values are within an ulp too (%.3f)", worst);
	bn_sincos(0.0, &s, &c);
	ok(s == 0.0f && c == 1.0f, "bn_sincos: 0");
	static const double odd[] = { NAN, INFINITY, -INFINITY, 0x1.0000001p30, -1e300 };

	for (u32 i = 0; i < 5; i++) {
		bn_sincos(odd[i], &s, &c);
		ok(s == 0.0f && c == 1.0f, "bn_sincos: %g gives 0 and 1", odd[i]);
	}
}

/* What a binary16 is, straight from its definition */
static double f16_value(u16 h)
{
	int exponent = h >> 10 & 31;
	double mantissa = h & 0x3ff;

	if (exponent == 31)
		return h & 0x3ff ? NAN : h & 0x8000 ? -INFINITY : INFINITY;
	mantissa = exponent ? ldexp(mantissa + 1024, exponent - 25) : ldexp(mantissa, -24);
	return h & 0x8000 ? -mantissa : mantissa;
}

/* The nearest binary16 by search; ties to even */
static u16 f16_nearest(float f)
{
	u16 sign = signbit(f) ? 0x8000 : 0, low = 0, high = 0x7c00;
	double x = fabs((double)f), below, above;

	if (x >= 65520.0)
		return sign | 0x7c00;
	while (high - low > 1) {
		u16 middle = (low + high) / 2;

		if (f16_value(middle) <= x)
			low = middle;
		else
			high = middle;
	}
	below = x - f16_value(low);
	above = (high == 0x7c00 ? 65536.0 : f16_value(high)) - x;
	return sign | (below < above || (below == above && !(low & 1)) ? low : high);
}

static void half(void)
{
	u32 wrong = 0, back = 0, nans = 0;

	for (u32 h = 0; h < 0x10000; h++) {
		float f = bn_f16_to_f32(h);

		if ((h & 0x7c00) == 0x7c00 && h & 0x3ff) {
			u32 want = (h & 0x8000) << 16 | BN_F32_NAN | (h & 0x3ff) << 13;

			nans += bits_of(f) != want || bn_f32_to_f16(f) != (h | 0x200);
			continue;
		}
		wrong += (double)f != f16_value(h) || !signbit(f) != !(h >> 15);
		back += bn_f32_to_f16(f) != h;
	}
	is(wrong, 0, "bn_f16_to_f32: all numbers and infinities");
	is(back, 0, "bn_f32_to_f16: all of them back");
	is(nans, 0, "both: NaNs become quiet and keep sign and payload");

	wrong = 0;
	for (u64 bits = 0; bits < BN_F32_INF; bits += 3001)
		wrong += bn_f32_to_f16(f32(bits)) != f16_nearest(f32(bits));
	/* half-way between neighbours, and one bit to each side */
	for (u32 h = 0; h < 0x7c00; h++) {
		float tie =
			(float)((f16_value(h) + (h == 0x7bff ? 65536.0 : f16_value(h + 1))) / 2);

		for (int d = -1; d <= 1; d++)
			wrong += bn_f32_to_f16(f32(bits_of(tie) + d)) !=
				 f16_nearest(f32(bits_of(tie) + d));
	}
	is(wrong, 0, "bn_f32_to_f16: nearest, ties to even");
	is(bn_f32_to_f16(INFINITY), 0x7c00, "bn_f32_to_f16: infinity");
	is(bn_f32_to_f16(f32(0xff800001)), 0xfe00,
	   "bn_f32_to_f16: a signalling NaN without payload");
}

/* ---- the reference's operations ------------------------------------------------------------- */

#define N	300
#define N_PAD	304

static float rnd(void)
{
	return (float)rand() / (float)RAND_MAX * 2 - 1;
}

static void reference_norm(const struct bn_ops *ref)
{
	float x[N_PAD] = { 0 }, g[N_PAD], y[N_PAD];
	double sum = 0, worst = 0;

	for (u32 i = 0; i < N; i++) {
		x[i] = rnd() * 10;
		sum += (double)x[i] * x[i];
	}
	for (u32 i = 0; i < N_PAD; i++)
		g[i] = rnd();
	ref->rmsnorm(y, x, g, N, N_PAD, 1e-5f);
	for (u32 i = 0; i < N; i++)
		worst = fmax(worst, fabs(y[i] - x[i] / sqrt(sum / N + 1e-5) * g[i]));
	ok(worst < 1e-6, "rmsnorm: as in f64 (off by %.2g)", worst);
}

static void reference_glu(const struct bn_ops *ref)
{
	float g[N], u[N], y[N];
	double worst = 0;

	for (u32 i = 0; i < N; i++) {
		g[i] = rnd() * 20;
		u[i] = rnd();
	}
	ref->glu(y, g, u, N, BITNET_ACT_RELU2);
	for (u32 i = 0; i < N; i++)
		worst = fmax(worst, fabs(y[i] - (g[i] > 0 ? (double)g[i] * g[i] * u[i] : 0)));
	ok(worst < 1e-4, "glu: relu^2 as in f64 (off by %.2g)", worst);
	worst = 0;
	ref->glu(y, g, u, N, BITNET_ACT_SILU);
	for (u32 i = 0; i < N; i++)
		worst = fmax(worst, fabs(y[i] - g[i] / (1 + exp(-(double)g[i])) * u[i]));
	ok(worst < 1e-5, "glu: silu as in f64 (off by %.2g)", worst);
}

static void reference_rope(const struct bn_ops *ref)
{
	float x[64], x0[64], c[32], s[32];
	double worst = 0;

	for (u32 i = 0; i < 64; i++)
		x0[i] = x[i] = rnd();
	for (u32 i = 0; i < 32; i++)
		bn_sincos(i * 0.3, &s[i], &c[i]);
	ref->rope(x, c, s, 32);
	for (u32 i = 0; i < 32; i++) {
		double a = x0[i], b = x0[i + 32];

		worst = fmax(worst, fabs(x[i] - (a * cos(i * 0.3) - b * sin(i * 0.3))));
		worst = fmax(worst, fabs(x[i + 32] - (b * cos(i * 0.3) + a * sin(i * 0.3))));
	}
	ok(worst < 1e-6, "rope: rotates by the angle (off by %.2g)", worst);
}

/* three chunks of positions, as one softmax */
static void reference_attention(const struct bn_ops *ref)
{
	enum { HEADS = 3, DIM = 48, CHUNKS = 3 };
	static const u32 chunk[CHUNKS] = { 64, 64, 17 };
	static float acc[HEADS][DIM], q[HEADS][DIM], ml[HEADS][2], s[HEADS][64], weights[HEADS][64];
	static u16 k[145][DIM], v[145][DIM];
	double worst = 0;
	u32 at = 0, n = 145;

	for (u32 h = 0; h < HEADS; h++) {
		ml[h][0] = -INFINITY;
		for (u32 i = 0; i < DIM; i++)
			q[h][i] = rnd();
	}
	for (u32 t = 0; t < n; t++)
		for (u32 i = 0; i < DIM; i++) {
			k[t][i] = bn_f32_to_f16(rnd() * 3);
			v[t][i] = bn_f32_to_f16(rnd());
		}
	for (u32 i = 0; i < CHUNKS; at += chunk[i++]) {
		struct bn_attention p = {
			.q = q[0], .acc = acc[0], .ml = ml[0], .s = s[0], .s_stride = 64,
			.p = weights[0], .kv = k[at], .rows = 1, .head_pad = DIM, .heads = HEADS, .n = chunk[i],
		};

		ref->scores(&p);
		p.kv = v[at];
		ref->weigh(&p);
	}
	for (u32 h = 0; h < HEADS; h++) {
		double want[DIM] = { 0 }, sum = 0;

		for (u32 t = 0; t < n; t++) {
			double score = 0, p;

			for (u32 i = 0; i < DIM; i++)
				score += (double)q[h][i] * bn_f16_to_f32(k[t][i]);
			p = exp(score);
			sum += p;
			for (u32 i = 0; i < DIM; i++)
				want[i] += p * bn_f16_to_f32(v[t][i]);
		}
		for (u32 i = 0; i < DIM; i++)
			worst = fmax(worst, fabs(acc[h][i] / ml[h][1] - want[i] / sum));
	}
	ok(worst < 1e-5, "attention: softmax over three chunks as in f64 (off by %.2g)", worst);
}

static void reference_reductions(const struct bn_ops *ref)
{
	static float x[1000];
	float top = -INFINITY;
	double sum = 0;

	for (u32 i = 0; i < 1000; i++) {
		x[i] = rnd() * 10;
		top = fmaxf(top, x[i]);
	}
	x[500] = NAN;
	ok(ref->max_value(x, 1000) == top, "max_value: the largest, NaN ignored");
	x[500] = 0;
	for (u32 i = 0; i < 1000; i++)
		sum += exp((double)x[i] - top);
	is_near(ref->sum_exp(x, 1000, top), sum, sum * 1e-6, "sum_exp: as in f64");
}

static void reference_head(const struct bn_ops *ref)
{
	static float h[512] __attribute__((aligned(64)));
	static u8 high[2][384], low[2][640];
	static s16 q[BN_HEAD_Q_BYTES(512) / 2], values[2][N];
	const float scale[2] = { 1.0f, 1.0f / 32639 };
	double dot = 0, top = 0, l1 = 0, squares = 0;
	float logits[2], step;
	struct bn_head_norms norms;
	struct bn_head p = {
		.y = logits, .high = high[0], .low = low[0], .scale = scale, .n = 2,
		.step = &step, .n_pad = 512, .slots = 1,
	};

	for (u32 i = 0; i < N; i++) {
		h[i] = rnd();
		values[1][i] = rnd() * 32639;
		dot += (double)h[i] * values[1][i] * scale[1];
		l1 += fabs((double)h[i]);
		squares += (double)h[i] * h[i];
	}
	for (u32 r = 0; r < 2; r++)
		bn_pack_planes(high[r], low[r], values[r], N);
	for (u32 i = 0; i < N; i++)
		top += (double)h[i] * 256 * (4 * bn_high_plane(high[1], i) - 126) * scale[1];
	p.x = h;
	ref->head_full(&p);
	ok(logits[0] == 0.0f, "head_full: zeros");
	is_near(logits[1], dot, 1e-5, "head_full: as in f64");
	ref->head_quantize(q, &step, &norms, h, 512);
	is_near(norms.l1, l1, l1 * 1e-6, "head_quantize: sum of magnitudes");
	is_near(norms.squares, squares, squares * 1e-6, "head_quantize: sum of squares");
	p.x = q;
	ref->head_top(&p);
	is_near(logits[1], top, 1e-2, "head_top: the high plane, as in f64");
}

static void reference_quantize(const struct bn_ops *ref)
{
	static float x[512];
	static s8 q[512];
	s32 sum, want = 0;
	float inv;
	u32 wrong = 0;

	/* the scale is 1: halves are ties */
	for (u32 i = 0; i < 509; i++) {
		x[i] = (float)((s32)i - 254) * 0.5f;
		want += (s32)nearbyint(x[i]);
	}
	ref->quantize(q, &sum, &inv, x, 512);
	for (u32 i = 0; i < 512; i++)
		wrong += q[i] != (s32)nearbyint(x[i]);
	is(wrong, 0, "quantize: rounds half to even");
	is(sum, want, "quantize: sum");
	ok(inv == 1.0f, "quantize: scale");
	memset(x, 0, sizeof(x));
	x[3] = 1e-7f;
	ref->quantize(q, &sum, &inv, x, 512);
	ok(q[3] == 1 && sum == 1 && inv == 1e-5f / 127.0f, "quantize: tiny rows use 1e-5");
	x[5] = NAN;
	x[6] = -INFINITY;
	ref->quantize(q, &sum, &inv, x, 512);
	ok(q[3] == 0 && q[5] == -128 && q[6] == -128 && isinf(inv), "quantize: NaN and infinity");
}

static void reference_dequant(const struct bn_ops *ref)
{
	static const s32 acc[5] = { 1, -2, 16777217, -877824, 0 };
	float y[5] = { 1, 1, 1, 1, NAN };

	ref->dequant(y, acc, 4, 0.5f, false);
	ok(y[0] == 0.5f && y[1] == -1.0f && y[2] == 8388608.0f && y[3] == -438912.0f,
	   "dequant: stores");
	ref->dequant(y, acc, 4, 0.5f, true);
	ok(y[0] == 1.0f && y[1] == -2.0f && y[2] == 16777216.0f && isnan(y[4]), "dequant: adds");
}

int main(void)
{
	const struct bn_ops *ref = bn_variants[0];

	is_str(ref->name, "ref", "the first variant is the reference");
	exponential();
	logarithm();
	sine_and_cosine();
	half();
	reference_norm(ref);
	reference_glu(ref);
	reference_rope(ref);
	reference_attention(ref);
	reference_reductions(ref);
	reference_head(ref);
	reference_quantize(ref);
	reference_dequant(ref);
	return done();
}

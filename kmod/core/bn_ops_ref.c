// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_ops_ref.c - the operations of struct bn_ops as plain loops: the specification
 *
 * Compiled with the baseline only (SSE2 floats). Written to be read, not to be fast: where a
 * variant and this file differ, the variant is wrong.
 */
#include "bn_float.h"
#include "bn_image.h"
#include "bn_ops.h"

static float float_of(u32 bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Which NaN an operation makes depends on operand order: there is only one in results. */
static float one_nan(float f)
{
	return f == f ? f : float_of(BN_F32_NAN);
}

static float larger(float a, float b)
{
	return a > b ? a : b;
}

static void lanes_fill(float *lane, float value)
{
	for (u32 j = 0; j < BN_LANES; j++)
		lane[j] = value;
}

static float lanes_sum(float *lane)
{
	for (u32 step = BN_LANES / 2; step; step /= 2)
		for (u32 j = 0; j < step; j++)
			lane[j] = lane[j] + lane[j + step];
	return lane[0];
}

static float lanes_max(float *lane)
{
	for (u32 step = BN_LANES / 2; step; step /= 2)
		for (u32 j = 0; j < step; j++)
			lane[j] = larger(lane[j + step], lane[j]);
	return lane[0];
}

static void linear_t2(s32 *y, size_t y_stride, const u8 *w, u32 row_bytes, u32 rows, const s8 *x,
		      size_t x_stride, const s32 *x_sum, u32 batch)
{
	for (u32 b = 0; b < batch; b++) {
		for (u32 r = 0; r < rows; r++) {
			const u8 *row = w + (size_t)r * row_bytes;
			const s8 *in = x + b * x_stride;
			u32 sum = -(u32)x_sum[b];	/* unsigned: wraps if x_sum is nonsense */

			for (u32 i = 0; i < row_bytes; i++) {
				u32 col = i / BN_T2_BLOCK_BYTES * BN_T2_BLOCK_COLS +
					  i % BN_T2_BLOCK_BYTES;

				for (u32 field = 0; field < 4; field++) {
					s32 code = row[i] >> (2 * field) & 3;

					sum += (u32)(code * in[col + field * BN_T2_BLOCK_BYTES]);
				}
			}
			y[b * y_stride + r] = (s32)sum;
		}
	}
}

static void quantize(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad)
{
	float lane[BN_LANES], top, scale;
	s32 total = 0;

	lanes_fill(lane, 0.0f);
	for (u32 i = 0; i < n_pad; i++)
		lane[i % BN_LANES] = larger(x[i] < 0.0f ? -x[i] : x[i], lane[i % BN_LANES]);
	top = larger(lanes_max(lane), 1e-5f);
	scale = 127.0f / top;
	for (u32 i = 0; i < n_pad; i++) {
		float p = x[i] * scale;

		if (!(p >= -128.0f))		/* NaN too */
			q[i] = -128;
		else if (p >= 127.0f)
			q[i] = 127;
		else				/* to nearest even: the sum has no fraction bits */
			q[i] = (s8)((p + 12582912.0f) - 12582912.0f);
		total += q[i];
	}
	*sum = total;
	*inv = top / 127.0f;
}

static void rmsnorm(float *y, const float *x, const float *g, u32 n, u32 n_pad, float eps)
{
	float lane[BN_LANES], r;

	lanes_fill(lane, 0.0f);
	for (u32 i = 0; i < n_pad; i++)
		lane[i % BN_LANES] = lane[i % BN_LANES] + x[i] * x[i];
	r = 1.0f / bn_sqrt(lanes_sum(lane) / (float)n + eps);
	for (u32 i = 0; i < n; i++)
		y[i] = one_nan(x[i] * r * g[i]);
	/* not a product: r, or what a hostile image has behind g, may be infinite */
	for (u32 i = n; i < n_pad; i++)
		y[i] = 0.0f;
}

static void dequant(float *y, const s32 *acc, u32 n, float scale, bool add)
{
	for (u32 i = 0; i < n; i++) {
		float p = (float)acc[i] * scale;

		y[i] = one_nan(add ? y[i] + p : p);
	}
}

static void glu(float *y, const float *g, const float *u, u32 n, u32 activation)
{
	for (u32 i = 0; i < n; i++) {
		float a;

		if (activation == BITNET_ACT_RELU2) {
			a = larger(g[i], 0.0f);
			a = a * a;
		} else {
			a = g[i] / (1.0f + bn_exp(-g[i]));
		}
		y[i] = one_nan(a * u[i]);
	}
}

static void f16_to_f32(float *y, const u16 *x, u32 n)
{
	for (u32 i = 0; i < n; i++)
		y[i] = bn_f16_to_f32(x[i]);
}

static void f32_to_f16(u16 *y, const float *x, u32 n)
{
	for (u32 i = 0; i < n; i++)
		y[i] = bn_f32_to_f16(x[i]);
}

static void rope(float *x, const float *cos, const float *sin, u32 half)
{
	for (u32 j = 0; j < half; j++) {
		float a = x[j], b = x[j + half];

		x[j] = one_nan(a * cos[j] - b * sin[j]);
		x[j + half] = one_nan(b * cos[j] + a * sin[j]);
	}
}

static float dot_f16(const float *a, const u16 *b, u32 n)
{
	float lane[BN_LANES];

	lanes_fill(lane, 0.0f);
	for (u32 i = 0; i < n; i++)
		lane[i % BN_LANES] = lane[i % BN_LANES] + a[i] * bn_f16_to_f32(b[i]);
	return lanes_sum(lane);
}

static void attention(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
		      u32 head_pad, u32 heads, u32 n)
{
	float p[BN_ATTN_CHUNK], lane[BN_LANES], top, factor;

	for (u32 h = 0; h < heads; h++, acc += head_pad, ml += 2, q += head_pad) {
		lanes_fill(lane, float_of(BN_F32_INF | BN_F32_SIGN));
		for (u32 t = 0; t < n; t++) {
			p[t] = dot_f16(q, k + t * head_pad, head_pad);
			lane[t % BN_LANES] = larger(p[t], lane[t % BN_LANES]);
		}
		top = larger(lanes_max(lane), ml[0]);
		factor = bn_exp(ml[0] - top);

		lanes_fill(lane, 0.0f);
		for (u32 t = 0; t < n; t++) {
			p[t] = bn_exp(p[t] - top);
			lane[t % BN_LANES] = lane[t % BN_LANES] + p[t];
		}
		ml[0] = one_nan(top);
		ml[1] = one_nan(ml[1] * factor + lanes_sum(lane));

		for (u32 i = 0; i < head_pad; i++) {
			float sum = acc[i] * factor;

			for (u32 t = 0; t < n; t++)
				sum = sum + p[t] * bn_f16_to_f32(v[t * head_pad + i]);
			acc[i] = one_nan(sum);
		}
	}
}

static void head(float *logits, const float *h, const u16 *e, size_t stride, u32 rows, u32 n_pad)
{
	for (u32 r = 0; r < rows; r++)
		logits[r] = one_nan(dot_f16(h, e + r * stride, n_pad));
}

static float max_value(const float *x, u32 n)
{
	float lane[BN_LANES];

	lanes_fill(lane, float_of(BN_F32_INF | BN_F32_SIGN));
	for (u32 i = 0; i < n; i++)
		lane[i % BN_LANES] = larger(x[i], lane[i % BN_LANES]);
	return lanes_max(lane);
}

static float sum_exp(const float *x, u32 n, float top)
{
	float lane[BN_LANES];

	lanes_fill(lane, 0.0f);
	for (u32 i = 0; i < n; i++)
		lane[i % BN_LANES] = lane[i % BN_LANES] + bn_exp(x[i] - top);
	return lanes_sum(lane);
}

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
static void clear(void)
{
	asm volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\t"
		     "pxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
		     "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
		     "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
		     "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\t"
		     "pxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
		     "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\t"
		     "pxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15"
		     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

const struct bn_ops bn_ops_ref = {
	.name = "ref",
	.needs = 0,
	.macs_per_us = 1000,
	.linear_t2 = linear_t2,
	.quantize = quantize,
	.rmsnorm = rmsnorm,
	.dequant = dequant,
	.glu = glu,
	.f16_to_f32 = f16_to_f32,
	.f32_to_f16 = f32_to_f16,
	.rope = rope,
	.attention = attention,
	.head = head,
	.max_value = max_value,
	.sum_exp = sum_exp,
	.clear = clear,
};

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
#include "x86/bn_x86.h"

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

#define MAX_FIELDS	5	/* weights in a byte */

/* The codes of a packed byte, of weights that are BN_BLOCK_BYTES apart. Returns how many */
static inline u32 codes_of(u32 packing, u8 byte, s32 *codes)
{
	s32 rest = byte % 28;

	if (packing == BN_T2) {
		for (u32 i = 0; i < 4; i++)
			codes[i] = byte >> (2 * i) & 3;
		return 4;
	}
	codes[0] = byte / 84;
	codes[1] = byte / 28 % 3;
	codes[2] = rest < 18 ? rest / 9 : 2;	/* the rest is 27 of a byte that no weights make */
	codes[3] = (rest - 9 * codes[2]) / 3;
	codes[4] = rest % 3;
	return 5;
}

/* Number of the first weight of byte @i of a line */
static inline u32 first_weight(u32 packing, u32 i)
{
	return i / BN_BLOCK_BYTES * bn_block_cols(packing) + i % BN_BLOCK_BYTES;
}

static const u8 *line_of(const struct bn_product *p, u32 i)
{
	if (p->part[0])
		return p->part[i % BN_PARTS] + (size_t)(i / BN_PARTS) * p->line_bytes;
	return p->list ? p->list[i] : p->w + (size_t)i * p->line_bytes;
}

/* Where the result of line @i and row @b of activations goes */
static s32 *result_of(const struct bn_product *p, u32 b, u32 i)
{
	if (p->part[0])
		return p->y + i % BN_PARTS * p->y_stride + i / BN_PARTS;
	return p->y + b * p->y_stride + i;
}

/* Sums are unsigned: they wrap if x_sum, or what y holds already, is nonsense. */
static void linear(const struct bn_product *p, u32 packing)
{
	for (u32 b = 0; b < p->batch; b++) {
		const s8 *x = p->x + b * p->x_stride;

		for (u32 i = 0; i < p->n; i++) {
			const u8 *line = line_of(p, i);
			u32 sum = -(u32)p->x_sum[b];

			for (u32 j = 0; j < p->blocks * BN_BLOCK_BYTES; j++) {
				s32 codes[MAX_FIELDS];
				u32 fields = codes_of(packing, line[j], codes);
				u32 c = first_weight(packing, j);

				for (u32 k = 0; k < fields; k++)
					sum += (u32)(codes[k] * x[c + k * BN_BLOCK_BYTES]);
			}
			*result_of(p, b, i) = (s32)sum;
		}
	}
}

static void columns(const struct bn_product *p, u32 packing)
{
	for (u32 i = 0; i < p->n; i++) {
		u32 column = p->index ? p->index[i] : i;
		const u8 *line = p->w + (size_t)column * p->line_bytes;

		for (u32 j = 0; j < p->blocks * BN_BLOCK_BYTES; j++) {
			s32 codes[MAX_FIELDS];
			u32 fields = codes_of(packing, line[j], codes);
			u32 o = first_weight(packing, j);

			for (u32 b = 0; b < p->batch; b++) {
				s32 x = p->x[b * p->x_stride + column];
				s32 *y = p->y + b * p->y_stride + o;

				for (u32 k = 0; k < fields; k++)
					y[k * BN_BLOCK_BYTES] = (s32)((u32)y[k * BN_BLOCK_BYTES] +
								      (u32)(codes[k] * x));
			}
		}
	}
}

void bn_linear_t2_ref(const struct bn_product *p)
{
	linear(p, BN_T2);
}

void bn_linear_t1_ref(const struct bn_product *p)
{
	linear(p, BN_T1);
}

void bn_columns_t2_ref(const struct bn_product *p)
{
	columns(p, BN_T2);
}

void bn_columns_t1_ref(const struct bn_product *p)
{
	columns(p, BN_T1);
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
			if (!(g[i] > 0.0f)) {
				y[i] = 0.0f;
				continue;
			}
			a = g[i] * g[i];
		} else {
			a = g[i] / (1.0f + bn_exp(-g[i]));
		}
		y[i] = one_nan(a * u[i]);
	}
}

static void embed(float *y, const u8 *high, const u8 *low, float scale, u32 n)
{
	for (u32 i = 0; i < n; i++)
		y[i] = one_nan((float)bn_unpack_planes(high, low, i) * scale);
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

static void widen(float *to, const u16 *kv, u32 n, u32 head_pad)
{
	for (u32 i = 0; i < n * head_pad; i++)
		to[i] = bn_f16_to_f32(kv[i]);
}

/* Element @i of a position's key or value */
static float element(const struct bn_attention *p, u32 t, u32 i)
{
	size_t at = (size_t)t * p->head_pad + i;

	return p->wide ? p->wide[at] : bn_f16_to_f32(p->kv[at]);
}

static float score(const struct bn_attention *p, const float *q, u32 t)
{
	float lane[BN_LANES];

	lanes_fill(lane, 0.0f);
	for (u32 i = 0; i < p->head_pad; i++)
		lane[i % BN_LANES] = lane[i % BN_LANES] + q[i] * element(p, t, i);
	return one_nan(lanes_sum(lane));
}

static void scores(const struct bn_attention *p)
{
	for (u32 r = 0; r < p->rows; r++)
		for (u32 h = 0; h < p->heads; h++)
			for (u32 t = 0; t < p->n; t++)
				p->s[(r * p->heads + h) * p->s_stride + t] =
					score(p, p->q + r * p->q_stride + h * p->head_pad, t);
}

/* Scores of one head to weights; updates maximum and sum. Returns the factor of what is older. */
static float softmax_step(float *w, float *ml, const float *s, u32 n)
{
	float lane[BN_LANES], top, factor;

	lanes_fill(lane, float_of(BN_F32_INF | BN_F32_SIGN));
	for (u32 t = 0; t < n; t++)
		lane[t % BN_LANES] = larger(s[t], lane[t % BN_LANES]);
	top = larger(lanes_max(lane), ml[0]);
	factor = bn_exp(ml[0] - top);

	lanes_fill(lane, 0.0f);
	for (u32 t = 0; t < n; t++) {
		w[t] = bn_exp(s[t] - top);
		lane[t % BN_LANES] = lane[t % BN_LANES] + w[t];
	}
	ml[0] = one_nan(top);
	ml[1] = one_nan(ml[1] * factor + lanes_sum(lane));
	return factor;
}

static void weigh_head(const struct bn_attention *p, u32 r, u32 h)
{
	float *acc = p->acc + r * p->acc_stride + h * p->head_pad;
	float *ml = p->ml + r * p->ml_stride + 2 * h;
	float *s = p->s + (r * p->heads + h) * p->s_stride;
	float *w = p->p + (r * p->heads + h) * BN_ATTN_CHUNK;
	float factor = softmax_step(w, ml, s, p->n);

	for (u32 i = 0; i < p->head_pad; i++) {
		float sum = acc[i] * factor;

		for (u32 t = 0; t < p->n; t++)
			sum = sum + w[t] * element(p, t, i);
		acc[i] = one_nan(sum);
	}
}

static void weigh(const struct bn_attention *p)
{
	for (u32 r = 0; r < p->rows; r++)
		for (u32 h = 0; h < p->heads; h++)
			weigh_head(p, r, h);
}

static void head_full(const struct bn_head *p)
{
	for (u32 s = 0; s < p->slots; s++) {
		const float *x = (const void *)((const u8 *)p->x + s * p->x_stride);

		for (u32 i = 0; i < p->n; i++) {
			u32 row = p->index ? p->index[i] : i;
			const u8 *high = p->high + (size_t)row * bn_high_bytes(p->n_pad);
			const u8 *low = p->low + (size_t)row * bn_low_bytes(p->n_pad);
			float lane[BN_LANES];

			lanes_fill(lane, 0.0f);
			for (u32 j = 0; j < p->n_pad; j++)
				lane[j % BN_LANES] =
					lane[j % BN_LANES] +
					x[j] * (float)bn_unpack_planes(high, low, j);
			p->y[s * p->y_stride + i] = one_nan(lanes_sum(lane) * p->scale[row]);
		}
	}
}

static void head_quantize(void *q, float *step, struct bn_head_norms *norms, const float *x,
			  u32 n_pad)
{
	float sums[BN_LANES], squares[BN_LANES], tops[BN_LANES], top, sum, m, factor;
	s16 *out = q;

	lanes_fill(sums, 0.0f);
	lanes_fill(squares, 0.0f);
	lanes_fill(tops, 0.0f);
	for (u32 i = 0; i < n_pad; i++) {
		float a = x[i] < 0.0f ? -x[i] : x[i];

		sums[i % BN_LANES] = sums[i % BN_LANES] + a;
		squares[i % BN_LANES] = squares[i % BN_LANES] + a * a;
		tops[i % BN_LANES] = larger(a, tops[i % BN_LANES]);
	}
	top = larger(lanes_max(tops), BN_HEAD_LEAST);
	sum = lanes_sum(sums);
	m = (float)bn_head_q_max(top, sum, n_pad);
	factor = m / top;
	for (u32 i = 0; i < n_pad; i++) {
		float p = x[i] * factor;

		if (!(p >= -m))				/* NaN too */
			p = -m;
		else if (p >= m)
			p = m;
		out[i] = (s16)((p + 12582912.0f) - 12582912.0f);
	}
	*step = 256.0f * (top / m);
	norms->l1 = one_nan(sum);
	norms->squares = one_nan(lanes_sum(squares));
}

/* struct head_at - the @i'th row of head_top(), and its number among scales and logits */
struct head_at {
	const u8 *high;
	size_t number;
};

static struct head_at head_at(const struct bn_head *p, u32 i)
{
	const u32 part = i % BN_PARTS, of_part = i / BN_PARTS;
	const size_t bytes = bn_high_bytes(p->n_pad);

	if (!p->part[0])
		return (struct head_at){ p->high + i * bytes, i };
	return (struct head_at){ p->part[part] + of_part * bytes, p->apart * part + of_part };
}

static void head_top(const struct bn_head *p)
{
	for (u32 s = 0; s < p->slots; s++) {
		const s16 *q = (const void *)((const u8 *)p->x + s * p->x_stride);

		for (u32 i = 0; i < p->n; i++) {
			const struct head_at at = head_at(p, i);
			s32 sum = 0;

			for (u32 j = 0; j < p->n_pad; j++)
				sum += (4 * bn_high_plane(at.high, j) - 126) * q[j];
			p->y[s * p->y_stride + at.number] =
				one_nan((float)sum * p->step[s] * p->scale[at.number]);
		}
	}
}

/* How far the approximate logit @y can be off, or NaN if nothing is known */
static float head_error(float y, const struct bn_head_error *e, u32 i)
{
	float scale = e->scale[i], error = e->error[i];

	scale = (scale < 0.0f ? -scale : scale) * e->per_scale;
	error = (error < 0.0f ? -error : error) * e->per_error;
	return ((scale + error) + BN_HEAD_SLACK) + (y - y);
}

static void head_lower(float *max, const float *y, const struct bn_head_error *e, u32 n)
{
	float lane[BN_LANES];

	for (u32 from = 0; from < n; from += BN_HEAD_ROWS) {
		lanes_fill(lane, float_of(BN_F32_INF | BN_F32_SIGN));
		for (u32 i = from; i < n && i < from + BN_HEAD_ROWS; i++)
			lane[i % BN_LANES] = larger(y[i] - head_error(y[i], e, i),
						    lane[i % BN_LANES]);
		max[from / BN_HEAD_ROWS] = lanes_max(lane);
	}
}

static u32 head_pick(u32 *index, const float *y, const struct bn_head_error *e, float threshold,
		     u32 from, u32 n, u32 most)
{
	u32 found = 0;

	for (u32 i = from; i < n && found < most; i++)
		if (!(y[i] + head_error(y[i], e, i) < threshold))
			index[found++] = i;
	return found;
}

static u32 head_drop(float *y, float threshold, u32 n)
{
	const float none = float_of(BN_F32_INF | BN_F32_SIGN);
	u32 left = 0;

	for (u32 i = 0; i < n; i++) {
		if (y[i] < threshold)
			y[i] = none;
		left += y[i] != none;
	}
	return left;
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
	.batch_macs_per_us = 1000,
	.linear = { [BN_T2] = bn_linear_t2_ref, [BN_T1] = bn_linear_t1_ref },
	.columns = { [BN_T2] = bn_columns_t2_ref, [BN_T1] = bn_columns_t1_ref },
	.quantize = quantize,
	.rmsnorm = rmsnorm,
	.dequant = dequant,
	.glu = glu,
	.embed = embed,
	.f32_to_f16 = f32_to_f16,
	.rope = rope,
	.widen_keys = widen,
	.widen_values = widen,
	.scores = scores,
	.weigh = weigh,
	.head_full = head_full,
	.head_quantize = head_quantize,
	.head_top = head_top,
	.head_lower = head_lower,
	.head_pick = head_pick,
	.head_drop = head_drop,
	.max_value = max_value,
	.sum_exp = sum_exp,
	.clear = clear,
};

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_float_ops.h - the float operations of struct bn_ops, written once on sixteen lanes
 *
 * The including file has defined struct lanes (bn_lanes_*.h) and FLOAT_OP(type, name), which makes
 * their heads. Each function repeats bn_ops_ref.c operation by operation; only what is computed
 * side by side differs.
 */

BN_INLINE struct lanes lanes_exp(struct lanes x)
{
	struct lanes round = lanes_set(BN_EXP_ROUND), c, t, n, r, p;

	c = lanes_min(lanes_max(x, lanes_set(BN_EXP_MIN)), lanes_set(BN_EXP_MAX));
	t = lanes_add(lanes_mul(c, lanes_set(BN_EXP_LOG2E)), round);
	n = lanes_sub(t, round);
	r = lanes_sub(c, lanes_mul(n, lanes_set(BN_EXP_LN2_HI)));
	r = lanes_sub(r, lanes_mul(n, lanes_set(BN_EXP_LN2_LO)));
	p = lanes_set(BN_EXP_P0);
	p = lanes_add(lanes_mul(p, r), lanes_set(BN_EXP_P1));
	p = lanes_add(lanes_mul(p, r), lanes_set(BN_EXP_P2));
	p = lanes_add(lanes_mul(p, r), lanes_set(BN_EXP_P3));
	p = lanes_add(lanes_mul(p, r), lanes_set(BN_EXP_P4));
	p = lanes_add(lanes_add(lanes_mul(p, lanes_mul(r, r)), r), lanes_set(1.0f));
	return lanes_scale(p, t, x);
}

/* steps 2 and 1 of the tree */
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

/* the same for four vectors at once */
BN_INLINE __m128 lanes_sum4(const struct lanes v[4])
{
	__m128 a = lanes_fold(v[0]), b = lanes_fold(v[1]);
	__m128 c = lanes_fold(v[2]), d = lanes_fold(v[3]);
	__m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
	__m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));

	return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

BN_INLINE float one_nan(float f)
{
	u32 bits = BN_F32_NAN;

	if (f != f)
		memcpy(&f, &bits, sizeof(f));
	return f;
}

BN_INLINE float minus_infinity(void)
{
	u32 bits = BN_F32_INF | BN_F32_SIGN;
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

FLOAT_OP(void, quantize)(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad)
{
	struct lanes top = lanes_set(0.0f), scale;
	__m256i total = _mm256_setzero_si256();
	__m128i sums;
	float max;

	for (u32 i = 0; i < n_pad; i += BN_LANES)
		top = lanes_max(lanes_abs(lanes_load(x + i)), top);
	max = lanes_top(top);
	max = max > 1e-5f ? max : 1e-5f;
	scale = lanes_set(127.0f / max);
	for (u32 i = 0; i < n_pad; i += BN_LANES)
		total = lanes_store_s8(q + i, lanes_mul(lanes_load(x + i), scale), total);
	sums = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
	sums = _mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums));
	*sum = _mm_cvtsi128_si32(sums) + _mm_extract_epi32(sums, 1);
	*inv = max / 127.0f;
}

FLOAT_OP(void, rmsnorm)(float *y, const float *x, const float *g, u32 n, u32 n_pad, float eps)
{
	struct lanes sum = lanes_set(0.0f), r;
	u32 i;

	for (i = 0; i < n_pad; i += BN_LANES) {
		struct lanes v = lanes_load(x + i);

		sum = lanes_add(sum, lanes_mul(v, v));
	}
	r = lanes_set(1.0f / bn_sqrt(lanes_sum(sum) / (float)n + eps));
	for (i = 0; i + BN_LANES <= n; i += BN_LANES) {
		struct lanes v = lanes_mul(lanes_mul(lanes_load(x + i), r), lanes_load(g + i));

		lanes_store(y + i, lanes_one_nan(v));
	}
	if (i < n) {
		struct lanes v = lanes_mul(lanes_mul(lanes_load(x + i), r),
					   lanes_load_n(g + i, n - i, 0.0f));

		lanes_store(y + i, lanes_keep(lanes_one_nan(v), n - i));
		i += BN_LANES;
	}
	for (; i < n_pad; i += BN_LANES)
		lanes_store(y + i, lanes_set(0.0f));
}

FLOAT_OP(void, dequant)(float *y, const s32 *acc, u32 n, float scale, bool add)
{
	const struct lanes s = lanes_set(scale);
	struct lanes v;
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES) {
		v = lanes_mul(lanes_load_s32(acc + i), s);
		if (add)
			v = lanes_add(lanes_load(y + i), v);
		lanes_store(y + i, lanes_one_nan(v));
	}
	if (i < n) {
		v = lanes_mul(lanes_load_s32_n(acc + i, n - i), s);
		if (add)
			v = lanes_add(lanes_load_n(y + i, n - i, 0.0f), v);
		lanes_store_n(y + i, lanes_one_nan(v), n - i);
	}
}

BN_INLINE struct lanes lanes_glu(struct lanes g, struct lanes u, u32 activation)
{
	struct lanes a;

	if (activation == BITNET_ACT_RELU2) {
		a = lanes_mul(lanes_mul(g, g), u);
		return lanes_if_positive(g, lanes_one_nan(a));
	}
	a = lanes_div(g, lanes_add(lanes_set(1.0f), lanes_exp(lanes_neg(g))));
	return lanes_one_nan(lanes_mul(a, u));
}

FLOAT_OP(void, glu)(float *y, const float *g, const float *u, u32 n, u32 activation)
{
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES)
		lanes_store(y + i, lanes_glu(lanes_load(g + i), lanes_load(u + i), activation));
	if (i < n)
		lanes_store_n(y + i, lanes_glu(lanes_load_n(g + i, n - i, 0.0f),
					       lanes_load_n(u + i, n - i, 0.0f),
					       activation), n - i);
}

FLOAT_OP(void, embed)(float *y, const s8 *high, const s8 *low, float scale, u32 n)
{
	const struct lanes s = lanes_set(scale);
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES)
		lanes_store(y + i, lanes_one_nan(lanes_mul(lanes_load_planes(high + i, low + i),
							   s)));
	if (i < n)
		lanes_store_n(y + i, lanes_one_nan(lanes_mul(lanes_load_planes(high + i, low + i),
							     s)), n - i);
}

FLOAT_OP(void, f32_to_f16)(u16 *y, const float *x, u32 n)
{
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES)
		lanes_store_f16(y + i, lanes_load(x + i));
	if (i < n)
		lanes_store_f16_n(y + i, lanes_load_n(x + i, n - i, 0.0f), n - i);
}

BN_INLINE void lanes_rotate(struct lanes *a, struct lanes *b, struct lanes cos, struct lanes sin)
{
	struct lanes left = lanes_sub(lanes_mul(*a, cos), lanes_mul(*b, sin));

	*b = lanes_one_nan(lanes_add(lanes_mul(*b, cos), lanes_mul(*a, sin)));
	*a = lanes_one_nan(left);
}

FLOAT_OP(void, rope)(float *x, const float *cos, const float *sin, u32 half)
{
	struct lanes a, b;
	u32 j;

	for (j = 0; j + BN_LANES <= half; j += BN_LANES) {
		a = lanes_load(x + j);
		b = lanes_load(x + half + j);
		lanes_rotate(&a, &b, lanes_load(cos + j), lanes_load(sin + j));
		lanes_store(x + j, a);
		lanes_store(x + half + j, b);
	}
	if (j < half) {
		a = lanes_load_n(x + j, half - j, 0.0f);
		b = lanes_load_n(x + half + j, half - j, 0.0f);
		lanes_rotate(&a, &b, lanes_load_n(cos + j, half - j, 0.0f),
			     lanes_load_n(sin + j, half - j, 0.0f));
		lanes_store_n(x + j, a, half - j);
		lanes_store_n(x + half + j, b, half - j);
	}
}

/*
 * Dot products of @heads queries with four rows of f16; the rows' conversion is shared. @rows may
 * repeat a row. The results of head h go to out[h * out_stride .. + 3].
 */
BN_INLINE void dot4_f16(float *out, u32 out_stride, const float *q, const u16 *const rows[4], u32 n,
			const u32 heads)
{
	struct lanes sum[LANES_HEADS * 4];

	bn_for_each(i, heads * 4)
		sum[i] = lanes_set(0.0f);
	for (u32 i = 0; i < n; i += BN_LANES) {
		bn_for_each(r, 4) {
			struct lanes k = lanes_load_f16(rows[r] + i);

			bn_for_each(h, heads)
				sum[h * 4 + r] = lanes_add(sum[h * 4 + r],
							   lanes_mul(lanes_load(q + h * n + i), k));
		}
	}
	bn_for_each(h, heads)
		_mm_storeu_ps(out + h * out_stride, lanes_sum4(sum + h * 4));
}

/* acc = acc * factor + sum of p[t] * v[t], for @dims vectors of @heads heads */
BN_INLINE void weigh_values(float *acc, u32 head_pad, const float *factor, const float *p,
			    const u16 *v, u32 n, const u32 dims, const u32 heads)
{
	struct lanes sum[LANES_HEADS * LANES_DIMS];

	bn_for_each(i, heads * dims)
		sum[i] = lanes_mul(lanes_load(acc + i / dims * head_pad + i % dims * BN_LANES),
				   lanes_set(factor[i / dims]));
	for (u32 t = 0; t < n; t++) {
		bn_for_each(d, dims) {
			struct lanes value = lanes_load_f16(v + t * head_pad + d * BN_LANES);

			bn_for_each(h, heads) {
				struct lanes weight = lanes_set(p[h * BN_ATTN_CHUNK + t]);

				sum[h * dims + d] = lanes_add(sum[h * dims + d],
							      lanes_mul(weight, value));
			}
		}
	}
	bn_for_each(i, heads * dims)
		lanes_store(acc + i / dims * head_pad + i % dims * BN_LANES, lanes_one_nan(sum[i]));
}

/* scores of one head, in p[0 .. n-1], to probabilities; updates maximum and sum. Return: factor */
BN_INLINE float softmax_step(float *p, float *ml, u32 n)
{
	struct lanes top = lanes_set(minus_infinity()), sum = lanes_set(0.0f);
	float max, factor[BN_LANES];

	for (u32 t = 0; t < n; t += BN_LANES)
		top = lanes_max(lanes_load_n(p + t, n - t, minus_infinity()), top);
	max = lanes_top(top);
	max = max > ml[0] ? max : ml[0];
	for (u32 t = 0; t < n; t += BN_LANES) {
		struct lanes e = lanes_load_n(p + t, n - t, 0.0f);

		e = lanes_keep(lanes_exp(lanes_sub(e, lanes_set(max))), n - t);
		lanes_store(p + t, e);
		sum = lanes_add(sum, e);
	}
	lanes_store(factor, lanes_exp(lanes_set(ml[0] - max)));
	ml[1] = one_nan(ml[1] * factor[0] + lanes_sum(sum));
	ml[0] = one_nan(max);
	return factor[0];
}

BN_INLINE void attend(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
		      u32 head_pad, u32 n, const u32 heads)
{
	float p[LANES_HEADS * BN_ATTN_CHUNK], factor[LANES_HEADS];
	u32 i = 0;

	for (u32 t = 0; t < n; t += 4) {
		const u16 *rows[4];

		for (u32 r = 0; r < 4; r++)
			rows[r] = k + (t + r < n ? t + r : n - 1) * head_pad;
		dot4_f16(p + t, BN_ATTN_CHUNK, q, rows, head_pad, heads);
	}
	bn_for_each(h, heads)
		factor[h] = softmax_step(p + h * BN_ATTN_CHUNK, ml + 2 * h, n);
	for (; i + LANES_DIMS * BN_LANES <= head_pad; i += LANES_DIMS * BN_LANES)
		weigh_values(acc + i, head_pad, factor, p, v + i, n, LANES_DIMS, heads);
	for (; i < head_pad; i += BN_LANES)
		weigh_values(acc + i, head_pad, factor, p, v + i, n, 1, heads);
}

/* Functions of their own, so that the scores of both are not in one frame */
BN_NOINLINE void attend_heads(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
			      u32 head_pad, u32 n)
{
	attend(acc, ml, q, k, v, head_pad, n, LANES_HEADS);
}

BN_NOINLINE void attend_head(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
			     u32 head_pad, u32 n)
{
	attend(acc, ml, q, k, v, head_pad, n, 1);
}

FLOAT_OP(void, attention)(float *acc, float *ml, const float *q, const u16 *k, const u16 *v,
			  u32 head_pad, u32 heads, u32 n)
{
	for (; heads >= LANES_HEADS; heads -= LANES_HEADS) {
		attend_heads(acc, ml, q, k, v, head_pad, n);
		acc += LANES_HEADS * head_pad;
		ml += LANES_HEADS * 2;
		q += LANES_HEADS * head_pad;
	}
	if (heads)
		attend_head(acc, ml, q, k, v, head_pad, n);
}

/* Row @i of those that are wanted; behind the last one, the last one */
BN_INLINE size_t head_row(const struct bn_head *p, u32 i)
{
	i = i < p->n ? i : p->n - 1;
	return p->index ? p->index[i] : i;
}

/*
 * Logits of @rows (1, 2 or 4) rows from number @i on with slots @slot .. @slot + @slots - 1: each
 * row is made float once
 */
BN_INLINE void head_block(const struct bn_head *p, u32 i, u32 slot, const u32 rows, const u32 slots)
{
	const float *x = (const float *)((const u8 *)p->x + slot * p->x_stride);
	const size_t x_stride = p->x_stride / sizeof(*x);
	const size_t ahead = p->index ? 0 : (p->n < rows ? p->n : rows) * p->row_bytes;
	struct lanes sum[LANES_BLOCK];
	const s8 *high[4], *low[4];

	bn_for_each(r, rows) {
		high[r] = p->high + head_row(p, i + r) * p->row_bytes;
		low[r] = p->low + head_row(p, i + r) * p->row_bytes;
	}
	bn_for_each(k, rows * slots)
		sum[k] = lanes_set(0.0f);
	for (size_t j = 0; j < p->n_pad; j += BN_LANES) {
		if (!(j & 63)) {
			bn_for_each(r, rows) {
				bn_prefetch(high[r] + j + ahead);
				bn_prefetch(low[r] + j + ahead);
			}
		}
		bn_for_each(r, rows) {
			struct lanes w = lanes_load_planes(high[r] + j, low[r] + j);

			bn_for_each(s, slots) {
				struct lanes xw = lanes_mul(lanes_load(x + s * x_stride + j), w);

				sum[s * rows + r] = lanes_add(sum[s * rows + r], xw);
			}
		}
	}
	bn_for_each(s, slots) {
		bn_for_each(r, rows) {
			float logit = lanes_sum(sum[s * rows + r]) * p->scale[head_row(p, i + r)];

			if (i + r < p->n)
				p->y[(slot + s) * p->y_stride + i + r] = one_nan(logit);
		}
	}
}

BN_NOINLINE void head_one(const struct bn_head *p, u32 slot)
{
	for (u32 i = 0; i < p->n; i += 4)
		head_block(p, i, slot, 4, 1);
}

BN_NOINLINE void head_many(const struct bn_head *p, u32 slot)
{
	for (u32 i = 0; i < p->n; i += LANES_BLOCK / LANES_SLOTS)
		head_block(p, i, slot, LANES_BLOCK / LANES_SLOTS, LANES_SLOTS);
}

FLOAT_OP(void, head_full)(const struct bn_head *p)
{
	u32 slot = 0;

	for (; slot + LANES_SLOTS <= p->slots; slot += LANES_SLOTS)
		head_many(p, slot);
	for (; slot < p->slots; slot++)
		head_one(p, slot);
}

/* How far the approximate logits @y can be off, or NaN where nothing is known */
BN_INLINE struct lanes head_error(struct lanes y, struct lanes scale, float bound)
{
	struct lanes e = lanes_mul(lanes_abs(scale), lanes_set(bound));

	return lanes_add(lanes_add(e, lanes_set(BN_HEAD_SLACK)), lanes_sub(y, y));
}

FLOAT_OP(void, head_lower)(float *max, const float *y, const float *scale, float bound, u32 n)
{
	for (u32 from = 0; from < n; from += BN_HEAD_ROWS) {
		u32 to = n - from < BN_HEAD_ROWS ? n : from + BN_HEAD_ROWS, i;
		struct lanes top = lanes_set(minus_infinity()), v;

		for (i = from; i + BN_LANES <= to; i += BN_LANES) {
			v = lanes_load(y + i);
			v = lanes_sub(v, head_error(v, lanes_load(scale + i), bound));
			top = lanes_max(v, top);
		}
		if (i < to) {		/* what fills up is not finite: it does not count */
			v = lanes_load_n(y + i, to - i, minus_infinity());
			v = lanes_sub(v, head_error(v, lanes_load_n(scale + i, to - i, 0.0f),
						    bound));
			top = lanes_max(v, top);
		}
		max[from / BN_HEAD_ROWS] = lanes_top(top);
	}
}

FLOAT_OP(u32, head_pick)(u32 *index, const float *y, const float *scale, float bound,
			 float threshold, u32 from, u32 n, u32 most)
{
	const struct lanes least = lanes_set(threshold);
	u32 found = 0;

	for (u32 i = from; i < n; i += BN_LANES) {
		struct lanes v = lanes_load_n(y + i, n - i, 0.0f);
		struct lanes e = head_error(v, lanes_load_n(scale + i, n - i, 0.0f), bound);
		u32 wanted = ~lanes_less(lanes_add(v, e), least) & lanes_bits(n - i);

		for (; wanted; wanted &= wanted - 1) {
			index[found++] = i + (u32)__builtin_ctz(wanted);
			if (found == most)
				return found;
		}
	}
	return found;
}

FLOAT_OP(u32, head_drop)(float *y, float threshold, u32 n)
{
	const struct lanes least = lanes_set(threshold), none = lanes_set(minus_infinity());
	u32 kept = 0;

	for (u32 i = 0; i < n; i += BN_LANES) {
		struct lanes v = lanes_load_n(y + i, n - i, minus_infinity());
		u32 bits;

		v = lanes_if_less(v, least, none, v);
		lanes_store_n(y + i, v, n - i);
		bits = ~lanes_equal(v, none) & lanes_bits(n - i);
		for (; bits; bits &= bits - 1)
			kept++;
	}
	return kept;
}

FLOAT_OP(float, max_value)(const float *x, u32 n)
{
	struct lanes top = lanes_set(minus_infinity());
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES)
		top = lanes_max(lanes_load(x + i), top);
	if (i < n)
		top = lanes_max(lanes_load_n(x + i, n - i, minus_infinity()), top);
	return lanes_top(top);
}

FLOAT_OP(float, sum_exp)(const float *x, u32 n, float max)
{
	struct lanes sum = lanes_set(0.0f);
	u32 i;

	for (i = 0; i + BN_LANES <= n; i += BN_LANES)
		sum = lanes_add(sum, lanes_exp(lanes_sub(lanes_load(x + i), lanes_set(max))));
	if (i < n) {
		struct lanes e = lanes_load_n(x + i, n - i, 0.0f);

		e = lanes_exp(lanes_sub(e, lanes_set(max)));
		sum = lanes_add(sum, lanes_keep(e, n - i));
	}
	return lanes_sum(sum);
}

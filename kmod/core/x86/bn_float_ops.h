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

/* A shift by a constant is half of one by a number. */
BN_INLINE void lanes_upper(u8 *to, const u8 *high, const u8 *low, u32 place)
{
	switch (place) {
	case 0:
		lanes_upper_of(to, high, low, 0);
		break;
	case 1:
		lanes_upper_of(to, high, low, 1);
		break;
	case 2:
		lanes_upper_of(to, high, low, 2);
		break;
	default:
		lanes_upper_of(to, high, low, 3);
		break;
	}
}

FLOAT_OP(void, embed)(float *y, const u8 *high, const u8 *low, float scale, u32 n)
{
	const struct lanes s = lanes_set(scale);
	u8 upper[64] BN_UNINIT __attribute__((aligned(64)));

	for (u32 i = 0; i < n; i += BN_LANES) {
		const u32 at = i / BN_PLANE_COLS * BN_PLANE_COLS, place = i % BN_PLANE_COLS / 64;
		const u8 *l = low + bn_low_bytes(at);
		struct lanes v;

		if (i % 64 == 0)
			lanes_upper(upper, high + bn_high_bytes(at), l, place);
		v = lanes_load_planes(upper + i % 64, l + 64 + i % BN_PLANE_COLS);
		lanes_store_n(y + i, lanes_one_nan(lanes_mul(v, s)), n - i);
	}
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

#define ATTN_LINE	(64 / sizeof(u16))	/* elements of a line of the caches */
#define SCORE_AHEAD	16			/* positions ahead of which keys are prefetched */
#define WEIGH_POSITIONS	16			/* whose values are added before the next ones */

/* Position @t of the keys or values; behind them, of what comes next, or NULL */
BN_INLINE const u16 *attn_row(const struct bn_attention *p, u32 t)
{
	if (t < p->n)
		return p->kv + (size_t)t * p->head_pad;
	return p->next ? p->next + (size_t)(t - p->n) * p->head_pad : NULL;
}

/*
 * Scores of @heads queries from @head on with LANES_SUMS / @heads keys from @t on: each key is made
 * float once for all of them. Behind the last key that one is repeated.
 */
BN_INLINE void score_block(const struct bn_attention *p, u32 head, u32 t, const u16 *ahead,
			   const u32 heads)
{
	const u32 keys = LANES_SUMS / heads, wide = BN_LANES / LANES_PARTS, head_pad = p->head_pad;
	const float *q = p->q + (size_t)head * head_pad;
	float *s = p->s + head * p->s_stride + t, out[LANES_SUMS];
	struct lanes sum[LANES_SUMS];
	const u16 *k[LANES_SUMS];

	bn_for_each(r, keys)
		k[r] = p->kv + (t + r < p->n ? t + r : p->n - 1) * head_pad;
	bn_for_each(part, LANES_PARTS) {
		struct lanes_part s_part[LANES_SUMS];

		bn_for_each(i, LANES_SUMS)
			s_part[i] = part_zero();
		for (u32 i = part * wide; i < head_pad; i += BN_LANES) {
			if (ahead && !part && !(i & (ATTN_LINE - 1)))
				bn_for_each(r, keys)
					bn_prefetch(ahead + r * head_pad + i);
			bn_for_each(r, keys) {
				struct lanes_part key = part_load_f16(k[r] + i);

				bn_for_each(h, heads)
					s_part[h * keys + r] =
						part_add_product(s_part[h * keys + r],
								 q + h * head_pad + i, key);
			}
		}
		bn_for_each(i, LANES_SUMS)
			lanes_set_part(sum + i, part, s_part[i]);
	}
	lanes_sums(out, sum);
	bn_for_each(h, heads)
		memcpy(s + h * p->s_stride, out + h * keys, keys * sizeof(*s));
}

/*
 * Wide keys lie by sixteen positions: of those, element BN_LANES * i + j is vector i of row j of
 * head_pad elements. So scores of sixteen positions are the lanes of one vector: sums of lanes j
 * are taken from row j, and no element moves from lane to lane.
 */
FLOAT_OP(void, widen_keys)(float *to, const u16 *keys, u32 n, u32 head_pad)
{
	const u16 *row[BN_LANES];

	for (u32 t = 0; t < n; t += BN_LANES) {
		for (u32 r = 0; r < BN_LANES; r++)
			row[r] = keys + (t + r < n ? t + r : n - 1) * head_pad;
		for (u32 i = 0; i < head_pad; i += BN_LANES)
			lanes_transpose_f16(to + t * head_pad + i, head_pad, row, i);
	}
}

FLOAT_OP(void, widen_values)(float *to, const u16 *values, u32 n, u32 head_pad)
{
	for (u32 i = 0; i < n * head_pad; i += BN_LANES)
		lanes_store(to + i, lanes_load_f16(values + i));
}

/* The sums of lanes @j and @j + 8, and both together: the first step of the tree */
BN_INLINE void wide_8(struct lanes *sum, const float *keys, const float *q, u32 head_pad, u32 j,
		      const u32 heads)
{
	struct lanes a[LANES_HEADS] BN_UNINIT, b[LANES_HEADS] BN_UNINIT;

	bn_for_each(h, heads)
		a[h] = b[h] = lanes_set(0.0f);
	for (u32 i = 0; i < head_pad; i += BN_LANES) {
		const struct lanes key_a = lanes_load(keys + j * head_pad + i);
		const struct lanes key_b = lanes_load(keys + (j + 8) * head_pad + i);

		bn_for_each(h, heads) {
			const float *x = q + h * head_pad + i + j;

			a[h] = lanes_add(a[h], lanes_mul(lanes_set(x[0]), key_a));
			b[h] = lanes_add(b[h], lanes_mul(lanes_set(x[8]), key_b));
		}
	}
	bn_for_each(h, heads)
		sum[h] = lanes_add(a[h], b[h]);
}

/* The tree's next steps: what step @by makes of lanes @j and @j + @by */
#define WIDE_STEP(by, half)								\
BN_INLINE void wide_##half(struct lanes *sum, const float *keys, const float *q,	\
			   u32 head_pad, u32 j, const u32 heads)			\
{											\
	struct lanes other[LANES_HEADS] BN_UNINIT;					\
											\
	wide_##by(sum, keys, q, head_pad, j, heads);					\
	wide_##by(other, keys, q, head_pad, j + half, heads);				\
	bn_for_each(h, heads)								\
		sum[h] = lanes_add(sum[h], other[h]);					\
}

WIDE_STEP(8, 4)
WIDE_STEP(4, 2)
WIDE_STEP(2, 1)

/* Scores with the sixteen keys from @t on */
BN_INLINE void score_wide(const struct bn_attention *p, u32 head, u32 t, const u32 heads)
{
	float *s = p->s + head * p->s_stride + t;
	struct lanes sum[LANES_HEADS] BN_UNINIT;

	wide_1(sum, p->wide + t * p->head_pad, p->q + (size_t)head * p->head_pad, p->head_pad, 0,
	       heads);
	bn_for_each(h, heads)
		lanes_store(s + h * p->s_stride, lanes_one_nan(sum[h]));
}

BN_NOINLINE void score_wide_most(const struct bn_attention *p, u32 head, u32 t)
{
	score_wide(p, head, t, LANES_HEADS);
}

BN_NOINLINE void score_wide_one(const struct bn_attention *p, u32 head, u32 t)
{
	score_wide(p, head, t, 1);
}

/* Row @r of several */
BN_INLINE struct bn_attention attn_of_row(const struct bn_attention *p, u32 r)
{
	struct bn_attention row = *p;

	row.q += r * p->q_stride;
	row.acc += r * p->acc_stride;
	row.ml += r * p->ml_stride;
	row.s += r * p->heads * p->s_stride;
	row.p += r * p->heads * BN_ATTN_CHUNK;
	return row;
}

/* Sixteen keys, with all rows; the next ones. So keys stay in the first-level cache. */
static void scores_wide(const struct bn_attention *p)
{
	for (u32 t = 0; t < p->n; t += BN_LANES) {
		for (u32 i = 0; p->next && i < BN_LANES * p->head_pad; i += ATTN_LINE)
			bn_prefetch_2nd(p->next + t * p->head_pad + i);
		for (u32 r = 0; r < p->rows; r++) {
			const struct bn_attention row = attn_of_row(p, r);
			u32 head = 0;

			for (; head + LANES_HEADS <= p->heads; head += LANES_HEADS)
				score_wide_most(&row, head, t);
			for (; head < p->heads; head++)
				score_wide_one(&row, head, t);
		}
	}
}

BN_INLINE void score_heads(const struct bn_attention *p, u32 head, const u32 heads)
{
	for (u32 t = 0; t < p->n; t += LANES_SUMS / heads)
		score_block(p, head, t, head ? NULL : attn_row(p, t + SCORE_AHEAD), heads);
}

/* Functions of their own, so that their frames do not add up */
BN_NOINLINE void score_most(const struct bn_attention *p, u32 head)
{
	score_heads(p, head, LANES_HEADS);
}

BN_NOINLINE void score_two(const struct bn_attention *p, u32 head)
{
	score_heads(p, head, 2);
}

BN_NOINLINE void score_one(const struct bn_attention *p, u32 head)
{
	score_heads(p, head, 1);
}

FLOAT_OP(void, scores)(const struct bn_attention *p)
{
	u32 head = 0;

	if (p->wide) {
		scores_wide(p);
		return;
	}
	for (; head + LANES_HEADS <= p->heads; head += LANES_HEADS)
		score_most(p, head);
	for (; LANES_HEADS > 2 && head + 2 <= p->heads; head += 2)
		score_two(p, head);
	for (; head < p->heads; head++)
		score_one(p, head);
}

/* Scores of some heads to weights; updates maxima and sums. @factor: of what is older */
BN_INLINE void softmax_step(const struct bn_attention *p, u32 head, float *factor, const u32 heads)
{
	float *ml = p->ml + 2 * head;
	float max[LANES_HEADS];

	bn_for_each(h, heads) {
		const float *s = p->s + (head + h) * p->s_stride;
		struct lanes top = lanes_set(minus_infinity());

		for (u32 t = 0; t < p->n; t += BN_LANES)
			top = lanes_max(lanes_load_n(s + t, p->n - t, minus_infinity()), top);
		max[h] = lanes_top(top);
		max[h] = max[h] > ml[2 * h] ? max[h] : ml[2 * h];
		factor[h] = ml[2 * h] - max[h];
	}
	lanes_store(factor, lanes_exp(lanes_load(factor)));
	bn_for_each(h, heads) {
		const float *s = p->s + (head + h) * p->s_stride;
		float *w = p->p + (head + h) * BN_ATTN_CHUNK;
		struct lanes sum = lanes_set(0.0f);

		for (u32 t = 0; t < p->n; t += BN_LANES) {
			struct lanes e = lanes_load_n(s + t, p->n - t, 0.0f);

			e = lanes_keep(lanes_exp(lanes_sub(e, lanes_set(max[h]))), p->n - t);
			lanes_store(w + t, e);
			sum = lanes_add(sum, e);
		}
		ml[2 * h + 1] = one_nan(ml[2 * h + 1] * factor[h] + lanes_sum(sum));
		ml[2 * h] = one_nan(max[h]);
	}
}

/*
 * acc += weight * value of positions [t, t + n), for @vectors vectors from dimension @d on; with
 * @factor, acc = acc * factor before that
 */
BN_INLINE void weigh_block(const struct bn_attention *p, u32 head, u32 d, u32 t, u32 n,
			   const float *factor, const u32 vectors, const u32 heads, const bool wide)
{
	const float *w = p->p + head * BN_ATTN_CHUNK + t;
	float *acc = p->acc + (size_t)head * p->head_pad + d;
	const u16 *ahead = head || wide ? NULL : attn_row(p, t + WEIGH_POSITIONS);
	size_t at = (size_t)t * p->head_pad + d;
	struct lanes sum[LANES_HEADS * LANES_DIMS];

	bn_for_each(i, heads * vectors) {
		sum[i] = lanes_load(acc + i / vectors * p->head_pad + i % vectors * BN_LANES);
		if (factor)
			sum[i] = lanes_mul(sum[i], lanes_set(factor[i / vectors]));
	}
	for (u32 i = 0; i < n; i++, at += p->head_pad) {
		if (ahead)
			for (u32 j = 0; j < vectors * BN_LANES; j += ATTN_LINE)
				bn_prefetch(ahead + i * p->head_pad + d + j);
		bn_for_each(j, vectors) {
			struct lanes value = wide ? lanes_load(p->wide + at + j * BN_LANES) :
						    lanes_load_f16(p->kv + at + j * BN_LANES);

			bn_for_each(h, heads) {
				struct lanes weight = lanes_set(w[h * BN_ATTN_CHUNK + i]);

				sum[h * vectors + j] = lanes_add(sum[h * vectors + j],
								 lanes_mul(weight, value));
			}
		}
	}
	bn_for_each(i, heads * vectors)
		lanes_store(acc + i / vectors * p->head_pad + i % vectors * BN_LANES, sum[i]);
}

/* Positions from @t on, all dimensions */
BN_INLINE void weigh_some(const struct bn_attention *p, u32 head, u32 t, const float *factor,
			  const u32 heads, const bool wide)
{
	u32 n = p->n - t < WEIGH_POSITIONS ? p->n - t : WEIGH_POSITIONS, d = 0;

	for (; d + LANES_DIMS * BN_LANES <= p->head_pad; d += LANES_DIMS * BN_LANES)
		weigh_block(p, head, d, t, n, factor, LANES_DIMS, heads, wide);
	for (; d < p->head_pad; d += BN_LANES)
		weigh_block(p, head, d, t, n, factor, 1, heads, wide);
}

BN_INLINE void weigh_end(float *acc, u32 n)
{
	for (u32 i = 0; i < n; i += BN_LANES)
		lanes_store(acc + i, lanes_one_nan(lanes_load(acc + i)));
}

/*
 * All dimensions of some positions, then the next ones, so that values are read in the order in
 * which they lie: what reads ahead of us in the CPU follows one stream, and not leaps.
 */
BN_INLINE void weigh_heads(const struct bn_attention *p, u32 head, const u32 heads)
{
	float factor[BN_LANES] = { 0 };

	softmax_step(p, head, factor, heads);
	for (u32 t = 0; t < p->n; t += WEIGH_POSITIONS)
		weigh_some(p, head, t, t ? NULL : factor, heads, false);
	weigh_end(p->acc + (size_t)head * p->head_pad, heads * p->head_pad);
}

BN_NOINLINE void weigh_most(const struct bn_attention *p, u32 head)
{
	weigh_heads(p, head, LANES_HEADS);
}

BN_NOINLINE void weigh_two(const struct bn_attention *p, u32 head)
{
	weigh_heads(p, head, 2);
}

BN_NOINLINE void weigh_one(const struct bn_attention *p, u32 head)
{
	weigh_heads(p, head, 1);
}

/* What weigh_heads() does before the first values */
BN_INLINE void soften(const struct bn_attention *p, u32 head, const u32 heads)
{
	float *acc = p->acc + (size_t)head * p->head_pad;
	float factor[BN_LANES] = { 0 };

	softmax_step(p, head, factor, heads);
	for (u32 h = 0; h < heads; h++, acc += p->head_pad)
		for (u32 d = 0; d < p->head_pad; d += BN_LANES)
			lanes_store(acc + d, lanes_mul(lanes_load(acc + d), lanes_set(factor[h])));
}

BN_NOINLINE void soften_most(const struct bn_attention *p, u32 head)
{
	soften(p, head, LANES_HEADS);
}

BN_NOINLINE void soften_one(const struct bn_attention *p, u32 head)
{
	soften(p, head, 1);
}

BN_NOINLINE void weigh_wide_most(const struct bn_attention *p, u32 head, u32 t)
{
	weigh_some(p, head, t, NULL, LANES_HEADS, true);
}

BN_NOINLINE void weigh_wide_one(const struct bn_attention *p, u32 head, u32 t)
{
	weigh_some(p, head, t, NULL, 1, true);
}

/* As scores_wide() */
static void weigh_wide(const struct bn_attention *p)
{
	for (u32 r = 0; r < p->rows; r++) {
		const struct bn_attention row = attn_of_row(p, r);
		u32 head = 0;

		for (; head + LANES_HEADS <= p->heads; head += LANES_HEADS)
			soften_most(&row, head);
		for (; head < p->heads; head++)
			soften_one(&row, head);
	}
	for (u32 t = 0; t < p->n; t += WEIGH_POSITIONS) {
		for (u32 i = 0; p->next && i < WEIGH_POSITIONS * p->head_pad; i += ATTN_LINE)
			bn_prefetch_2nd(p->next + t * p->head_pad + i);
		for (u32 r = 0; r < p->rows; r++) {
			const struct bn_attention row = attn_of_row(p, r);
			u32 head = 0;

			for (; head + LANES_HEADS <= p->heads; head += LANES_HEADS)
				weigh_wide_most(&row, head, t);
			for (; head < p->heads; head++)
				weigh_wide_one(&row, head, t);
		}
	}
	for (u32 r = 0; r < p->rows; r++)
		weigh_end(p->acc + r * p->acc_stride, p->heads * p->head_pad);
}

FLOAT_OP(void, weigh)(const struct bn_attention *p)
{
	u32 head = 0;

	if (p->wide) {
		weigh_wide(p);
		return;
	}
	for (; head + LANES_HEADS <= p->heads; head += LANES_HEADS)
		weigh_most(p, head);
	for (; LANES_HEADS > 2 && head + 2 <= p->heads; head += 2)
		weigh_two(p, head);
	for (; head < p->heads; head++)
		weigh_one(p, head);
}

/* Row @i of those that are wanted; behind the last one, the last one */
BN_INLINE size_t head_row(const struct bn_head *p, u32 i)
{
	i = i < p->n ? i : p->n - 1;
	return p->index ? p->index[i] : i;
}

/* Four rows from number @i on with one slot: four sums, each of which waits for itself */
BN_INLINE void head_four(const struct bn_head *p, u32 i)
{
	const float *x = p->x;
	const u32 high_bytes = bn_high_bytes(p->n_pad), low_bytes = bn_low_bytes(p->n_pad);
	const size_t ahead = p->index ? 0 : p->n < 4 ? p->n : 4;
	u8 upper[4 * 64] BN_UNINIT __attribute__((aligned(64)));
	const u8 *high[4], *low[4];
	struct lanes sum[4];

	bn_for_each(r, 4) {
		high[r] = p->high + head_row(p, i + r) * high_bytes;
		low[r] = p->low + head_row(p, i + r) * low_bytes;
		sum[r] = lanes_set(0.0f);
	}
	for (u32 at = 0; at < p->n_pad; at += 64, x += 64) {
		const u32 block = at / BN_PLANE_COLS * BN_PLANE_COLS, in = at - block;
		const u32 l = bn_low_bytes(block);

		bn_for_each(r, 4) {
			bn_prefetch(high[r] + ahead * high_bytes + at / 4 * 3);
			bn_prefetch(low[r] + ahead * low_bytes + l + in);
			if (!in)
				bn_prefetch(low[r] + ahead * low_bytes + l + BN_PLANE_COLS);
			lanes_upper(upper + 64 * r, high[r] + bn_high_bytes(block), low[r] + l,
				    in / 64);
		}
		/* Not unrolled: gcc would have all elements in registers, and sums in memory. */
		for (size_t j = 0; j < 64; j += BN_LANES) {
			const struct lanes v = lanes_load(x + j);

			bn_for_each(r, 4) {
				struct lanes w = lanes_load_planes(upper + 64 * r + j,
								   low[r] + l + 64 + in + j);

				sum[r] = lanes_add(sum[r], lanes_mul(v, w));
			}
		}
	}
	for (u32 r = 0; r < 4 && i + r < p->n; r++)
		p->y[i + r] = one_nan(lanes_sum(sum[r]) * p->scale[head_row(p, i + r)]);
}

BN_NOINLINE void head_one(const struct bn_head *p)
{
	for (u32 i = 0; i < p->n; i += 4)
		head_four(p, i);
}

#define HEAD_ROWS	(LANES_BLOCK / LANES_SLOTS)	/* that share a product's elements */
#define HEAD_SUMS	512
#define HEAD_X		8192				/* elements of all slots at a time */
#define HEAD_COLUMNS	(HEAD_X / 2)			/* the most of them, of two slots */
#define HEAD_AHEAD	4				/* rows ahead of which is fetched */

/*
 * struct head_work - with several slots, in a tmp: some columns of HEAD_ROWS rows are made float
 * once for all slots, and what they add to the sums of all rows and slots
 */
struct head_work {
	float w[HEAD_ROWS][HEAD_COLUMNS];
	float sums[HEAD_SUMS][BN_LANES];
};

_Static_assert(sizeof(struct head_work) <= BN_TMP_BYTES, "head_work fits tmp");

/* struct head_part - columns from some block on of row @i, which may be behind the last one */
struct head_part {
	const u8 *high, *low;
};

BN_INLINE struct head_part head_part(const struct bn_head *p, u32 i, u32 column)
{
	const size_t number = p->index ? head_row(p, i) : i;

	return (struct head_part){
		p->high + number * bn_high_bytes(p->n_pad) + bn_high_bytes(column),
		p->low + number * bn_low_bytes(p->n_pad) + bn_low_bytes(column),
	};
}

/* Elements of @n columns, while those of @next are fetched */
BN_INLINE void head_floats(float *w, struct head_part row, struct head_part next, u32 n)
{
	u8 upper[64] BN_UNINIT __attribute__((aligned(64)));

	for (u32 at = 0; at < n; at += 64, w += 64) {
		const u32 block = at / BN_PLANE_COLS * BN_PLANE_COLS, in = at - block;
		const u8 *low = row.low + bn_low_bytes(block);

		bn_prefetch(next.high + at / 4 * 3);
		bn_prefetch(next.low + bn_low_bytes(block) + in);
		if (!in)
			bn_prefetch(next.low + bn_low_bytes(block) + BN_PLANE_COLS);
		lanes_upper(upper, row.high + bn_high_bytes(block), low, in / 64);
		bn_for_each(j, 64 / BN_LANES)
			lanes_store(w + BN_LANES * j,
				    lanes_load_planes(upper + BN_LANES * j,
						      low + 64 + in + BN_LANES * j));
	}
}

/* Adds columns [@from, @end) of HEAD_ROWS rows to their sums with @slots slots */
BN_INLINE void head_dots(const struct bn_head *p, struct head_work *work, u32 first_sum, u32 slot,
			 u32 from, u32 end, const u32 slots)
{
	const float *x = (const float *)((const u8 *)p->x + slot * p->x_stride) + from;
	float (*sums)[BN_LANES] = work->sums + first_sum + slot * HEAD_ROWS;
	const size_t x_stride = p->x_stride / sizeof(*x);
	struct lanes sum[LANES_BLOCK] BN_UNINIT;

	bn_for_each(k, HEAD_ROWS * slots)
		sum[k] = from ? lanes_load(sums[k]) : lanes_set(0.0f);
	for (size_t at = 0; at < end - from; at += BN_LANES) {
		bn_for_each(r, HEAD_ROWS) {
			const struct lanes v = lanes_load(work->w[r] + at);

			bn_for_each(s, slots) {
				struct lanes xw = lanes_mul(lanes_load(x + s * x_stride + at), v);

				sum[s * HEAD_ROWS + r] = lanes_add(sum[s * HEAD_ROWS + r], xw);
			}
		}
	}
	bn_for_each(k, HEAD_ROWS * slots)
		lanes_store(sums[k], sum[k]);
}

/* Of rows from the @first on, as many as there are sums for; returns how many */
BN_INLINE u32 head_band(const struct bn_head *p, u32 first)
{
	const u32 most = HEAD_SUMS / p->slots / HEAD_ROWS * HEAD_ROWS;
	const u32 n = p->n - first < most ? p->n - first : most;
	const u32 columns = bn_round_up(HEAD_X / p->slots, BN_PLANE_COLS);
	struct head_work *work = p->tmp;

	for (u32 from = 0, end; from < p->n_pad; from = end) {
		end = p->n_pad - from < columns ? p->n_pad : from + columns;
		for (u32 i = 0; i < n; i += HEAD_ROWS) {
			u32 slot = 0;

			for (u32 r = 0; r < HEAD_ROWS; r++) {
				/* Behind these rows are the next columns', or other rows. */
				const u32 ahead = i + r + HEAD_AHEAD;
				const bool next = ahead >= n && end < p->n_pad;
				const u32 column = next ? end : ahead < n ? from : 0;
				const u32 row = i + r < n ? i + r : i;

				head_floats(work->w[r], head_part(p, first + row, from),
					    head_part(p, first + ahead - (next ? n : 0), column),
					    end - from);
			}
			for (; slot + LANES_SLOTS <= p->slots; slot += LANES_SLOTS)
				head_dots(p, work, i * p->slots, slot, from, end, LANES_SLOTS);
			for (; slot < p->slots; slot++)
				head_dots(p, work, i * p->slots, slot, from, end, 1);
		}
	}
	for (u32 i = 0; i < n; i++) {
		const float scale = p->scale[head_row(p, first + i)];
		const u32 sum = i / HEAD_ROWS * HEAD_ROWS * p->slots + i % HEAD_ROWS;

		for (u32 s = 0; s < p->slots; s++) {
			struct lanes v = lanes_load(work->sums[sum + s * HEAD_ROWS]);

			p->y[s * p->y_stride + first + i] = one_nan(lanes_sum(v) * scale);
		}
	}
	return n;
}

BN_NOINLINE void head_many(const struct bn_head *p)
{
	for (u32 i = 0; i < p->n; )
		i += head_band(p, i);
}

FLOAT_OP(void, head_full)(const struct bn_head *p)
{
	if (p->slots > 1)
		head_many(p);
	else
		head_one(p);
}

/* How far the approximate logits @y of rows from @i on can be off; @n rows are left */
BN_INLINE struct lanes head_error(struct lanes y, const struct bn_head_error *e, u32 i, u32 n)
{
	struct lanes a = lanes_abs(lanes_load_n(e->scale + i, n, 0.0f));
	struct lanes b = lanes_abs(lanes_load_n(e->error + i, n, 0.0f));

	a = lanes_add(lanes_mul(a, lanes_set(e->per_scale)), lanes_mul(b, lanes_set(e->per_error)));
	return lanes_add(lanes_add(a, lanes_set(BN_HEAD_SLACK)), lanes_sub(y, y));
}

FLOAT_OP(void, head_lower)(float *max, const float *y, const struct bn_head_error *e, u32 n)
{
	for (u32 from = 0; from < n; from += BN_HEAD_ROWS) {
		u32 to = n - from < BN_HEAD_ROWS ? n : from + BN_HEAD_ROWS;
		struct lanes top = lanes_set(minus_infinity());

		/* What fills up is not finite: it does not count. */
		for (u32 i = from; i < to; i += BN_LANES) {
			struct lanes v = lanes_load_n(y + i, to - i, minus_infinity());

			top = lanes_max(lanes_sub(v, head_error(v, e, i, to - i)), top);
		}
		max[from / BN_HEAD_ROWS] = lanes_top(top);
	}
}

FLOAT_OP(u32, head_pick)(u32 *index, const float *y, const struct bn_head_error *e,
			 float threshold, u32 from, u32 n, u32 most)
{
	const struct lanes least = lanes_set(threshold);
	u32 found = 0;

	for (u32 i = from; i < n; i += BN_LANES) {
		struct lanes v = lanes_load_n(y + i, n - i, 0.0f);
		u32 wanted = ~lanes_less(lanes_add(v, head_error(v, e, i, n - i)), least) &
			     lanes_bits(n - i);

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

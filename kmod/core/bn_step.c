// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_step.c - computing one piece of one tile. All of it needs the FPU; bn_step_plan.c says what
 * there is
 *
 * Weights, norms, embeddings and RoPE frequencies lie in memory that a process may change at any
 * time: they are operands here and nothing else, never an index, a count or a condition of a loop.
 */
#include "bn_float.h"
#include "bn_step_priv.h"

#include <linux/bitnet_image.h>

static float *row_of(float *buffer, u32 row, u32 stride)
{
	return buffer + (size_t)row * stride;
}

static u32 min2(u32 a, u32 b)
{
	return a < b ? a : b;
}

/* ---- rows: embedding, norms, RoPE ------------------------------------------------------------ */

static bool embed(struct bn_step *s, u32 row)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	float *cos = row_of(sc->cos, row, sc->rope_stride);
	float *sin = row_of(sc->sin, row, sc->rope_stride);
	double pos = s->rows[row].pos;

	s->ops->f16_to_f32(row_of(sc->x, row, sc->wide_stride),
			   m->token_embd + (size_t)s->rows[row].token * m->embd_stride, m->hidden);
	for (u32 j = 0; j < m->rope_dims / 2; j++)
		bn_sincos(pos * m->rope_freq[j], &sin[j], &cos[j]);
	return false;
}

static void quantize(struct bn_step *s, u32 row, const float *x, u32 n_pad)
{
	struct bn_scratch *sc = s->scratch;

	s->ops->quantize(sc->q8 + (size_t)row * sc->q8_stride, &sc->q_sum[row], &sc->q_inv[row], x,
			 n_pad);
}

/*
 * Norm (@g may be NULL: none) of a row of @buffer, and its int8 form as input of the next product.
 * Long rows take two pieces.
 */
static bool norm_quantize(struct bn_step *s, u32 row, float *buffer, const float *g, u32 n,
			  u32 n_pad, u32 *cursor)
{
	struct bn_scratch *sc = s->scratch;
	const float *x = row_of(buffer, row, sc->wide_stride);
	float *norm = row_of(sc->norm, row, sc->wide_stride);

	if (!g) {
		quantize(s, row, x, n_pad);
		return false;
	}
	if (*cursor == 0) {
		s->ops->rmsnorm(norm, x, g, n, n_pad, s->model->norm_eps);
		if (n_pad > sc->elems) {
			*cursor = 1;
			return true;
		}
	}
	quantize(s, row, norm, n_pad);
	return false;
}

/* Rotate q and k and store k and v into the cache, a few heads at a time; @cursor is the head. */
static bool rope_store(struct bn_step *s, u32 layer, u32 row, u32 *cursor)
{
	const struct bn_model *m = s->model;
	const struct bn_row *r = &s->rows[row];
	struct bn_scratch *sc = s->scratch;
	float *heads = row_of(sc->qkv, row, sc->qkv_stride);
	const float *cos = row_of(sc->cos, row, sc->rope_stride);
	const float *sin = row_of(sc->sin, row, sc->rope_stride);
	size_t plane = (size_t)m->n_kv_heads * r->kv->n_ctx * m->head_pad;
	u32 n_heads = m->n_heads + 2 * m->n_kv_heads;
	u32 end = min2(*cursor + (sc->elems + m->head_pad - 1) / m->head_pad, n_heads);

	for (u32 h = *cursor; h < end; h++) {
		float *x = heads + (size_t)h * m->head_pad;
		u32 kv_head = h - m->n_heads;	/* only used for k and v */
		u16 *cache = r->kv->data + (size_t)layer * 2 * plane;

		if (h < m->n_heads + m->n_kv_heads) {
			s->ops->rope(x, cos, sin, m->rope_dims / 2);
		} else {
			kv_head -= m->n_kv_heads;
			cache += plane;
		}
		if (h >= m->n_heads)
			s->ops->f32_to_f16(cache + ((size_t)kv_head * r->kv->n_ctx + r->pos) *
					   m->head_pad, x, m->head_pad);
	}
	*cursor = end;
	return end < n_heads;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Divide the weighted sums by the sum of the weights, and drop the heads' padding. */
static void attention_end(struct bn_step *s, u32 row, u32 head, u32 heads)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	const float *att = row_of(sc->att, row, sc->att_stride);
	const float *ml = row_of(sc->ml, row, sc->ml_stride);
	float *mix = row_of(sc->mix, row, sc->wide_stride);

	for (u32 h = head; h < head + heads; h++) {
		/* No weight at all: every score was NaN or -inf. */
		float inv = ml[2 * h + 1] > 0 ? 1.0f / ml[2 * h + 1] : 0;

		for (u32 i = 0; i < m->head_dim; i++)
			mix[(size_t)h * m->head_dim + i] = att[(size_t)h * m->head_pad + i] * inv;
	}
}

/*
 * The query heads of one row that share a key/value head. Pieces go through the positions in chunks
 * that are counted from position 0 - a row's result does not depend on how the prompt was cut - and
 * within a chunk through the query heads.
 */
static bool attention(struct bn_step *s, u32 layer, u32 tile, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 row = tile / m->n_kv_heads, kv_head = tile % m->n_kv_heads;
	const struct bn_row *r = &s->rows[row];
	u32 group = m->n_heads / m->n_kv_heads;
	u32 parts = (group + sc->attn_heads - 1) / sc->attn_heads;
	u32 from = *cursor % parts * sc->attn_heads;
	u32 at = *cursor / parts * BN_ATTN_CHUNK;
	u32 n = min2(r->pos + 1 - at, BN_ATTN_CHUNK);
	u32 heads = min2(sc->attn_heads, group - from);
	u32 head = kv_head * group + from;
	size_t plane = (size_t)m->n_kv_heads * r->kv->n_ctx * m->head_pad;
	const u16 *k = r->kv->data + (size_t)layer * 2 * plane +
		       ((size_t)kv_head * r->kv->n_ctx + at) * m->head_pad;
	float *acc = row_of(sc->att, row, sc->att_stride) + (size_t)head * m->head_pad;
	float *ml = row_of(sc->ml, row, sc->ml_stride) + 2 * head;

	if (at == 0) {
		memset(acc, 0, sizeof(float) * heads * m->head_pad);
		for (u32 h = 0; h < heads; h++) {
			ml[2 * h] = -__builtin_inff();
			ml[2 * h + 1] = 0;
		}
	}
	s->ops->attention(acc, ml,
			  row_of(sc->qkv, row, sc->qkv_stride) + (size_t)head * m->head_pad, k,
			  k + plane, m->head_pad, heads, n);
	if (at + n == r->pos + 1)
		attention_end(s, row, head, heads);
	*cursor += 1;
	return at + n < r->pos + 1 || from + heads < group;
}

/* ---- ternary products ------------------------------------------------------------------------ */

/* Products of weight rows [r0, r0 + n) with all rows' int8 form, into columns @col ... of acc. */
static void product(struct bn_step *s, const struct bn_matrix *w, u32 r0, u32 n, u32 col)
{
	struct bn_scratch *sc = s->scratch;

	s->ops->linear_t2(sc->acc + col, sc->acc_stride, w->data + (size_t)r0 * w->row_bytes,
			  w->row_bytes, n, sc->q8, sc->q8_stride, sc->q_sum, s->n_rows);
}

/* Columns @col ... of acc as floats at @y + @at of each row; added there with @add. */
static void scale_out(struct bn_step *s, const struct bn_matrix *w, u32 col, u32 n, float *y,
		      u32 at, bool add)
{
	struct bn_scratch *sc = s->scratch;

	for (u32 b = 0; b < s->n_rows; b++)
		s->ops->dequant(row_of(y, b, sc->wide_stride) + at,
				sc->acc + (size_t)b * sc->acc_stride + col, n,
				sc->q_inv[b] * w->scale, add);
}

/*
 * The same into heads that are padded, from out feature @r0 on; @first is the first head's place.
 */
static void scale_heads(struct bn_step *s, const struct bn_matrix *w, u32 r0, u32 n, u32 col,
			u32 first, float factor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;

	for (u32 done = 0; done < n;) {
		u32 head = (r0 + done) / m->head_dim, at = (r0 + done) % m->head_dim;
		u32 len = min2(n - done, m->head_dim - at);

		for (u32 b = 0; b < s->n_rows; b++)
			s->ops->dequant(row_of(sc->qkv, b, sc->qkv_stride) +
					(size_t)(first + head) * m->head_pad + at,
					sc->acc + (size_t)b * sc->acc_stride + col + done, len,
					sc->q_inv[b] * w->scale * factor, false);
		done += len;
	}
}

static bool qkv(struct bn_step *s, u32 layer, u32 tile)
{
	const struct bn_model *m = s->model;
	const struct bn_layer *l = &m->layers[layer];
	struct bn_scratch *sc = s->scratch;
	const struct bn_matrix *w = &l->attn_q;
	u32 step = sc->tile_rows[BN_PHASE_QKV], first = 0, col = 0, r0, n;
	float factor = 1.0f / bn_sqrt((float)m->head_dim);

	if (tile >= sc->q_tiles + sc->kv_tiles) {
		tile -= sc->q_tiles + sc->kv_tiles;
		w = &l->attn_v;
		first = m->n_heads + m->n_kv_heads;
		col = l->attn_q.rows + l->attn_k.rows;
		factor = 1;
	} else if (tile >= sc->q_tiles) {
		tile -= sc->q_tiles;
		w = &l->attn_k;
		first = m->n_heads;
		col = l->attn_q.rows;
		factor = 1;
	}
	r0 = tile * step;
	n = min2(step, w->rows - r0);
	product(s, w, r0, n, col + r0);
	scale_heads(s, w, r0, n, col + r0, first, factor);
	return false;
}

/* A product that is added to the residual stream. */
static bool residual(struct bn_step *s, const struct bn_matrix *w, u32 step, u32 tile)
{
	u32 r0 = tile * step, n = min2(step, w->rows - r0);

	product(s, w, r0, n, r0);
	scale_out(s, w, r0, n, s->scratch->x, r0, true);
	return false;
}

static bool gate_up(struct bn_step *s, u32 layer, u32 tile)
{
	const struct bn_model *m = s->model;
	const struct bn_layer *l = &m->layers[layer];
	struct bn_scratch *sc = s->scratch;
	u32 step = sc->tile_rows[BN_PHASE_GATE_UP], r0 = tile * step, n = min2(step, m->ffn - r0);

	product(s, &l->ffn_gate, r0, n, r0);
	product(s, &l->ffn_up, r0, n, m->ffn + r0);
	scale_out(s, &l->ffn_gate, r0, n, sc->norm, r0, false);
	scale_out(s, &l->ffn_up, m->ffn + r0, n, sc->up, r0, false);
	for (u32 b = 0; b < s->n_rows; b++)
		s->ops->glu(row_of(sc->act, b, sc->wide_stride) + r0,
			    row_of(sc->norm, b, sc->wide_stride) + r0,
			    row_of(sc->up, b, sc->wide_stride) + r0, n, m->activation);
	return false;
}

static bool linear(struct bn_step *s, u32 tile)
{
	const struct bn_linear_req *r = &s->linear;
	struct bn_scratch *sc = s->scratch;
	u32 step = sc->tile_rows[BN_PHASE_LINEAR], r0 = tile * step,
	    n = min2(step, r->w->rows - r0);

	/*
	 * Not straight into r->y: a variant may read what it wrote, and a process may write there.
	 */
	s->ops->linear_t2(sc->acc + r0, sc->acc_stride, r->w->data + (size_t)r0 * r->w->row_bytes,
			  r->w->row_bytes, n, r->x, r->x_stride, r->x_sum, r->rows);
	for (u32 b = 0; b < r->rows; b++)
		memcpy(r->y + (size_t)b * r->w->rows + r0,
		       sc->acc + (size_t)b * sc->acc_stride + r0, sizeof(s32) * n);
	return false;
}

/* ---- head ------------------------------------------------------------------------------------ */

static void block_stats(struct bn_step *s, u32 slot, u32 block, u32 n)
{
	struct bn_scratch *sc = s->scratch;
	struct bn_block_stats *stats = &sc->blocks[(size_t)slot * sc->n_blocks + block];
	u32 first = block * BN_VOCAB_BLOCK;
	const float *logits = row_of(sc->logits, slot, sc->logits_stride) + first;
	u64 hash = 0;

	stats->max = s->ops->max_value(logits, n);
	stats->sum_exp = s->ops->sum_exp(logits, n, stats->max);
	for (u32 i = 0; i < n; i++) {
		u32 bits;

		memcpy(&bits, &logits[i], sizeof(bits));
		/*
		 * Which NaN comes out of two depends on the order of operands: the compiler's
		 * choice.
		 */
		if ((bits & 0x7fffffff) > 0x7f800000)
			bits = 0x7fc00000;
		hash += bn_logits_hash(first + i, bits);
	}
	stats->hash = hash;
}

/*
 * One block of the vocabulary for all slots: first the logits, row by row, then each slot's
 * statistics.
 */
static bool head(struct bn_step *s, u32 block, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 first = block * BN_VOCAB_BLOCK, rows = min2(m->vocab - first, BN_VOCAB_BLOCK);
	u32 at = *cursor, n;

	if (at >= rows) {
		block_stats(s, at - rows, block, rows);
		*cursor += 1;
		return *cursor < rows + s->n_slots;
	}
	n = min2(sc->head_rows, rows - at);
	for (u32 slot = 0; slot < s->n_slots; slot++)
		s->ops->head(row_of(sc->logits, slot, sc->logits_stride) + first + at,
			     row_of(sc->head_in, slot, sc->wide_stride),
			     m->output + (size_t)(first + at) * m->embd_stride, m->embd_stride, n,
			     bn_round_up(m->hidden, BN_LANES));
	*cursor += n;
	return true;
}

static bool sample(struct bn_step *s, u32 slot, u32 *cursor)
{
	if (*cursor == 0) {
		bn_sampler_start(&s->samplers[slot]);
		*cursor = 1;
	}
	return bn_sampler_run(&s->samplers[slot]);
}

bool bn_step_tile(struct bn_step *s, u32 phase, u32 tile, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	enum bn_phase_kind kind = bn_phase_kind(s, phase);
	u32 layer = bn_step_layer(s, phase);
	const struct bn_layer *l = &m->layers[layer < m->n_layers ? layer : 0];

	switch (kind) {
	case BN_PHASE_EMBED:
		return embed(s, tile);
	case BN_PHASE_ATTN_NORM:
		return norm_quantize(s, tile, sc->x, l->attn_norm, m->hidden, m->hidden_pad,
				     cursor);
	case BN_PHASE_QKV:
		return qkv(s, layer, tile);
	case BN_PHASE_ROPE:
		return rope_store(s, layer, tile, cursor);
	case BN_PHASE_ATTENTION:
		return attention(s, layer, tile, cursor);
	case BN_PHASE_ATTN_SUB_NORM:
		return norm_quantize(s, tile, sc->mix, l->attn_sub_norm, m->n_heads * m->head_dim,
				     m->attn_pad, cursor);
	case BN_PHASE_ATTN_OUT:
		return residual(s, &l->attn_out, sc->tile_rows[kind], tile);
	case BN_PHASE_FFN_NORM:
		return norm_quantize(s, tile, sc->x, l->ffn_norm, m->hidden, m->hidden_pad, cursor);
	case BN_PHASE_GATE_UP:
		return gate_up(s, layer, tile);
	case BN_PHASE_FFN_SUB_NORM:
		return norm_quantize(s, tile, sc->act, l->ffn_sub_norm, m->ffn, m->ffn_pad, cursor);
	case BN_PHASE_DOWN:
		return residual(s, &l->ffn_down, sc->tile_rows[kind], tile);
	case BN_PHASE_OUT_NORM:
		s->ops->rmsnorm(row_of(sc->head_in, tile, sc->wide_stride),
				row_of(sc->x, s->slot_row[tile], sc->wide_stride), m->output_norm,
				m->hidden, m->hidden_pad, m->norm_eps);
		return false;
	case BN_PHASE_HEAD:
		return head(s, tile, cursor);
	case BN_PHASE_SAMPLE:
		return sample(s, tile, cursor);
	case BN_PHASE_LINEAR:
		return linear(s, tile);
	case BN_PHASE_KINDS:
		break;
	}
	return false;
}

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

_Static_assert(sizeof(struct bn_tile_buffer) <= BN_TILE_BYTES, "tile buffer");
_Static_assert(2 * sizeof(float) * BN_ATTN_HEADS * BN_ATTN_CHUNK <= BN_TMP_BYTES, "scores");

/*
 * BN_LANES elements at once: with -O2 gcc 12 makes no vectors of loops whose lengths it does not
 * know, or whose memory might overlap.
 */
#define VECTOR		__attribute__((__vector_size__(4 * BN_LANES)))
#define ANYWHERE	__attribute__((__packed__, __aligned__(4), __may_alias__))

struct s32s {
	s32 v VECTOR;
} ANYWHERE;

struct floats {
	float v VECTOR;
} ANYWHERE;

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
	size_t token = s->rows[row].token;
	double pos = s->rows[row].pos;

	s->ops->embed(row_of(sc->x, row, sc->x_stride),
		      m->token_embd.high + token * bn_high_bytes(m->embd_pad),
		      m->token_embd.low + token * bn_low_bytes(m->embd_pad),
		      m->token_embd.scale[token], m->hidden);
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
 * Norm (@g may be NULL: none) of row @row, which is @x, and its int8 form as input of the next
 * product. Long rows take two pieces.
 */
static bool norm_quantize(struct bn_step *s, u32 row, float *x, const float *g, u32 n, u32 n_pad,
			  u32 *cursor)
{
	struct bn_scratch *sc = s->scratch;
	float *norm = row_of(sc->norm, row, sc->norm_stride);

	/* Logits of the step before may lie there. */
	memset(x + n, 0, (n_pad - n) * sizeof(*x));
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

/* The cache's keys of a head, from position @at on; the values lie a plane behind them */
static u16 *keys_at(const struct bn_model *m, const struct bn_kv *kv, u32 layer, u32 kv_head,
		    u32 at)
{
	size_t plane = (size_t)m->n_kv_heads * kv->n_ctx * m->head_pad;

	return kv->data + (size_t)layer * 2 * plane +
		((size_t)kv_head * kv->n_ctx + at) * m->head_pad;
}

static u16 *values_at(const struct bn_model *m, const struct bn_kv *kv, u32 layer, u32 kv_head,
		      u32 at)
{
	return keys_at(m, kv, layer, m->n_kv_heads + kv_head, at);
}

static float *head_of(struct bn_step *s, u32 row, u32 head)
{
	struct bn_scratch *sc = s->scratch;

	return row_of(sc->qkv, row, sc->qkv_stride) + (size_t)head * s->model->head_pad;
}

static void rotate(struct bn_step *s, u32 row, float *head)
{
	struct bn_scratch *sc = s->scratch;

	s->ops->rope(head, row_of(sc->cos, row, sc->rope_stride),
		     row_of(sc->sin, row, sc->rope_stride), s->model->rope_dims / 2);
}

/* Rotate a row's key and store it and the value into the cache. */
static void store_kv(struct bn_step *s, u32 layer, u32 row, u32 kv_head)
{
	const struct bn_model *m = s->model;
	const struct bn_row *r = &s->rows[row];
	float *k = head_of(s, row, m->n_heads + kv_head);
	const float *v = head_of(s, row, m->n_heads + m->n_kv_heads + kv_head);

	rotate(s, row, k);
	s->ops->f32_to_f16(keys_at(m, r->kv, layer, kv_head, r->pos), k, m->head_pad);
	s->ops->f32_to_f16(values_at(m, r->kv, layer, kv_head, r->pos), v, m->head_pad);
}

/* The queries of some key/value heads, and their keys and values; @cursor counts all three. */
static bool rope_store(struct bn_step *s, u32 layer, u32 tile, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 tiles = (m->n_kv_heads + sc->rope_heads - 1) / sc->rope_heads;
	u32 row = tile / tiles, first = tile % tiles * sc->rope_heads;
	u32 group = m->n_heads / m->n_kv_heads;
	u32 n = min2(sc->rope_heads, m->n_kv_heads - first) * (group + 1);
	u32 end = min2(*cursor + (sc->elems + m->head_pad - 1) / m->head_pad, n);

	for (u32 i = *cursor; i < end; i++) {
		u32 kv_head = first + i / (group + 1), nr = i % (group + 1);

		if (nr < group)
			rotate(s, row, head_of(s, row, kv_head * group + nr));
		else
			store_kv(s, layer, row, kv_head);
	}
	*cursor = end;
	return end < n;
}

/* ---- attention ------------------------------------------------------------------------------- */

/*
 * Positions go in chunks that are counted from position 0: a row's result does not depend on how
 * the prompt was cut, nor on the rows beside it.
 *
 * Usually a tile takes a key/value head and some rows of one session: of each chunk, first the
 * scores of a row's query heads, then the values. But a single row behind a long context has few
 * heads for many workers. Then BN_PHASE_ROPE computes all scores, by ranges of positions, and only
 * the values are left.
 */

/* All scores of a row's head, where they are kept */
static float *scores_of(const struct bn_step *s, u32 row, u32 head)
{
	const struct bn_scratch *sc = s->scratch;
	size_t stride = (size_t)sc->score_tiles * sc->score_positions;

	return sc->norm + (row * s->model->n_heads + head) * stride;
}

/*
 * Rotated queries of a key/value head, and their scores with a range of positions. Each tile
 * rotates the queries for itself; the one that has the row's own position stores key and value
 * first.
 */
static bool rope_scores(struct bn_step *s, u32 layer, u32 tile, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 range = tile % sc->score_tiles, kv_head = tile / sc->score_tiles % m->n_kv_heads;
	u32 row = tile / sc->score_tiles / m->n_kv_heads, group = m->n_heads / m->n_kv_heads;
	const struct bn_row *r = &s->rows[row];
	u32 begin = range * sc->score_positions, end = r->pos + 1, at;
	float *q = row_of(sc->att, row * sc->score_tiles + range, sc->att_stride) +
		   (size_t)kv_head * group * m->head_pad;
	struct bn_attention p = {
		.q = q, .s_stride = (size_t)sc->score_tiles * sc->score_positions,
		.rows = 1, .head_pad = m->head_pad, .heads = group,
	};

	if (begin >= end)
		return false;
	if (*cursor == 0) {
		memcpy(q, head_of(s, row, kv_head * group), sizeof(*q) * group * m->head_pad);
		for (u32 h = 0; h < group; h++)
			rotate(s, row, q + (size_t)h * m->head_pad);
		if (end - begin <= sc->score_positions)
			store_kv(s, layer, row, kv_head);
	}
	end = min2(end, begin + sc->score_positions);
	at = begin + *cursor * BN_ATTN_CHUNK;
	for (u32 i = 0; i < sc->attn_calls && at < end; i++, at += p.n) {
		p.n = min2(end - at, BN_ATTN_CHUNK);
		p.kv = keys_at(m, r->kv, layer, kv_head, at);
		p.next = at + p.n < end ? p.kv + BN_ATTN_CHUNK * m->head_pad : NULL;
		p.s = scores_of(s, row, kv_head * group) + at;
		s->ops->scores(&p);
		*cursor += 1;
	}
	return at < end;
}

/* to[i] = from[i] * by, i = 0 .. n - 1 */
static void multiply_floats(float *to, const float *from, float by, u32 n)
{
	u32 i = 0;

	for (; i + BN_LANES <= n; i += BN_LANES)
		((struct floats *)(to + i))->v = ((const struct floats *)(from + i))->v * by;
	for (; i < n; i++)
		to[i] = from[i] * by;
}

/* Divide the weighted sums by the sum of the weights, and drop the heads' padding. */
static void attention_end(struct bn_step *s, u32 row, u32 head, u32 heads)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	const float *att = row_of(sc->att, row, sc->att_stride);
	const float *ml = row_of(sc->ml, row, sc->ml_stride);
	float *mix = row_of(sc->mix, row, sc->mix_stride);

	for (u32 h = head; h < head + heads; h++) {
		/* No weight at all: every score was NaN or -inf. */
		float inv = ml[2 * h + 1] > 0 ? 1.0f / ml[2 * h + 1] : 0;

		multiply_floats(mix + (size_t)h * m->head_dim, att + (size_t)h * m->head_pad, inv,
				m->head_dim);
	}
}

/*
 * struct chunk - some positions of a key/value head
 * @keys, @values: of all from position @at on
 * @wide_keys, @wide_values: what has been made of them for many queries, or NULL
 */
struct chunk {
	u32 at;
	const u16 *keys, *values;
	float *wide_keys, *wide_values;
};

/* Behind the scores of rows that take a chunk together */
static float *wide_room(const struct bn_scratch *sc, struct bn_tile_buffer *buffer)
{
	return (float *)buffer->tmp + BN_ATTN_ROWS * sc->attn_heads * BN_ATTN_CHUNK;
}

/* Make them f32 in @room, so far as rows at positions up to @last see them. */
static void widen(const struct bn_step *s, struct chunk *c, u32 last, float *room)
{
	const u32 head_pad = s->model->head_pad, n = min2(last + 1 - c->at, BN_ATTN_CHUNK);

	c->wide_keys = room;
	c->wide_values = room + BN_ATTN_CHUNK * head_pad;
	s->ops->widen_keys(c->wide_keys, c->keys, n, head_pad);
	s->ops->widen_values(c->wide_values, c->values, n, head_pad);
}

/* Some query heads of rows from @row on with a chunk. @p: how many, what is next */
static void attend(struct bn_step *s, struct bn_attention *p, u32 row, u32 head,
		   const struct chunk *c)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;

	p->acc = row_of(sc->att, row, sc->att_stride) + (size_t)head * m->head_pad;
	p->acc_stride = sc->att_stride;
	p->ml = row_of(sc->ml, row, sc->ml_stride) + 2 * head;
	p->ml_stride = sc->ml_stride;
	for (u32 r = 0; c->at == 0 && r < p->rows; r++) {
		memset(p->acc + r * p->acc_stride, 0, sizeof(float) * p->heads * m->head_pad);
		for (u32 h = 0; h < p->heads; h++) {
			p->ml[r * p->ml_stride + 2 * h] = -__builtin_inff();
			p->ml[r * p->ml_stride + 2 * h + 1] = 0;
		}
	}
	if (!sc->score_positions) {
		struct bn_attention with_keys = *p;

		with_keys.q = head_of(s, row, head);
		with_keys.q_stride = sc->qkv_stride;
		with_keys.kv = c->keys;
		with_keys.wide = c->wide_keys;
		if (!c->wide_keys)
			with_keys.next = c->values;
		else if (p->next)
			with_keys.next = c->keys + BN_ATTN_CHUNK * m->head_pad;
		s->ops->scores(&with_keys);
	}
	p->kv = c->values;
	p->wide = c->wide_values;
	s->ops->weigh(p);
	for (u32 r = row; r < row + p->rows; r++)
		if (s->rows[r].pos < c->at + BN_ATTN_CHUNK)
			attention_end(s, r, head, p->heads);
}

/*
 * Pieces go through the chunks, within a chunk through the rows that see it, and for each through
 * the query heads. With many of those, a piece first makes a chunk f32, and rows that see all of it
 * take it together.
 */
static bool attention(struct bn_step *s, u32 layer, u32 tile, u32 *cursor,
		      struct bn_tile_buffer *buffer)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 kv_head = tile % m->n_kv_heads, nr = tile / m->n_kv_heads;
	u32 first = sc->group_row[nr], end = sc->group_row[nr + 1], rows = end - first;
	u32 group = m->n_heads / m->n_kv_heads;
	u32 calls = (group + sc->attn_heads - 1) / sc->attn_heads;	/* for a row and chunk */
	u32 last_pos = s->rows[end - 1].pos, last = last_pos / BN_ATTN_CHUNK, done = 0;
	bool wide = sc->attn_widen && rows * group >= BN_WIDE_QUERIES;
	const struct bn_kv *kv = s->rows[first].kv;
	struct chunk c = { .at = ~0U };
	u32 n;

	for (; done < sc->attn_calls && *cursor < (last + 1) * rows * calls; *cursor += n) {
		u32 at = *cursor / (rows * calls) * BN_ATTN_CHUNK;
		u32 row = first + *cursor / calls % rows, pos = s->rows[row].pos;
		u32 from = *cursor % calls * sc->attn_heads, head = kv_head * group + from;
		struct bn_attention p = {
			.s = (float *)buffer->tmp, .s_stride = BN_ATTN_CHUNK,
			.head_pad = m->head_pad, .heads = min2(sc->attn_heads, group - from),
			.n = min2(pos + 1 - at, BN_ATTN_CHUNK),
		};

		n = 1;
		if (pos < at)
			continue;
		if (c.at != at) {
			c.at = at;
			c.keys = keys_at(m, kv, layer, kv_head, at);
			c.values = values_at(m, kv, layer, kv_head, at);
			if (wide) {
				widen(s, &c, last_pos, wide_room(sc, buffer));
				done += sc->attn_widen;
			}
		}
		p.p = p.s;
		if (wide && p.n == BN_ATTN_CHUNK) {
			n = done < sc->attn_calls ? min2(end - row, sc->attn_calls - done) : 1;
		} else if (sc->score_positions) {
			p.p = p.s + p.heads * BN_ATTN_CHUNK;
			p.s = scores_of(s, row, head) + at;
			p.s_stride = (size_t)sc->score_tiles * sc->score_positions;
		}
		p.rows = n;
		/* The last call with a chunk is the one that the next chunk follows. */
		if (at / BN_ATTN_CHUNK < last && row + n == end && from + p.heads == group)
			p.next = (sc->score_positions || wide ? c.values : c.keys) +
				 BN_ATTN_CHUNK * m->head_pad;
		attend(s, &p, row, head, &c);
		done += wide || sc->score_positions ? n : 2;
	}
	return *cursor < (last + 1) * rows * calls;
}

/* ---- ternary products ------------------------------------------------------------------------ */

/* Where int32 products are put before they become floats: in memory that floats use otherwise */
static s32 *sums(struct bn_scratch *sc)
{
	return (s32 *)sc->norm;
}

/*
 * Multiply lines that have been counted. Unless they are listed, those from the first to the last
 * are looked up together.
 */
static void multiply_again(struct bn_step *s, const struct bn_matrix *w, struct bn_product *p)
{
	size_t first = p->index ? (size_t)p->index[0] * p->line_bytes : 0;
	size_t last = p->index ? (size_t)p->index[p->n - 1] * p->line_bytes :
				 (size_t)(p->n - 1) * p->line_bytes;
	u64 bytes = last - first + (u64)p->blocks * BN_BLOCK_BYTES;

	if (!p->part[0] && !p->list)
		p->w = bn_weights_at(s->model, p->w + first, bytes) - first;
	if (w->by_column)
		s->ops->columns[w->packing](p);
	else
		s->ops->linear[w->packing](p);
}

static void multiply(struct bn_step *s, const struct bn_matrix *w, struct bn_product *p,
		     struct bn_tile_buffer *buffer)
{
	multiply_again(s, w, p);
	buffer->weight_bytes += (u64)p->n * p->blocks * BN_BLOCK_BYTES;
}

/* All rows' int8 form with lines of @w, into @y; index and n are the caller's */
static struct bn_product product(struct bn_step *s, const struct bn_matrix *w, s32 *y,
				 size_t y_stride, void *tmp)
{
	struct bn_scratch *sc = s->scratch;

	return (struct bn_product){
		.y = y, .y_stride = y_stride, .w = w->data, .line_bytes = w->line_bytes,
		.blocks = w->line_bytes / BN_BLOCK_BYTES, .x = sc->q8, .x_stride = sc->q8_stride,
		.x_sum = sc->q_sum, .batch = s->n_rows, .streams = s->streams, .tmp = tmp,
	};
}

/*
 * struct lines - rows of a matrix: @n from @at on of each of @parts parts, which are @apart rows
 * long
 */
struct lines {
	u32 parts, apart, at, n;
};

static u32 first_of(const struct lines *l, u32 part)
{
	return part * l->apart + l->at;
}

/* Those of a tile */
static struct lines tile_of(const struct bn_scratch *sc, enum bn_phase_kind kind,
			    const struct bn_matrix *w, u32 tile)
{
	struct lines l = { .parts = sc->parts[kind], .apart = w->rows / sc->parts[kind] };

	l.at = tile * sc->tile_lines[kind];
	l.n = min2(sc->tile_lines[kind], l.apart - l.at);
	return l;
}

/* The next piece of @tile, from @cursor on */
static struct lines piece_of(const struct bn_scratch *sc, enum bn_phase_kind kind,
			     const struct lines *tile, u32 cursor)
{
	struct lines l = *tile;

	l.at += cursor;
	l.n = min2(sc->piece_lines[kind], tile->n - cursor);
	return l;
}

/* Rows @l of @w with all rows of activations; row r of it gives element r of @y */
static void rows_product(struct bn_step *s, const struct bn_matrix *w, const struct lines *l,
			 s32 *y, size_t y_stride, u32 n_fetch, struct bn_tile_buffer *buffer)
{
	struct bn_product p = product(s, w, y + l->at, y_stride, buffer->tmp);

	p.n = l->parts * l->n;
	p.fetch = buffer->fetch;
	p.n_fetch = n_fetch;
	if (l->parts == 1) {
		p.w += (size_t)l->at * w->line_bytes;
		p.ahead = w->rows - l->at - l->n;
	} else {
		p.y_stride = l->apart;
		for (u32 k = 0; k < BN_PARTS; k++)
			p.part[k] = bn_weights_at(s->model,
						  w->data + (size_t)first_of(l, k) * w->line_bytes,
						  (u64)l->n * w->line_bytes);
	}
	multiply(s, w, &p, buffer);
}

static float scale_of(const struct bn_step *s, const struct bn_matrix *w, u32 row)
{
	return s->scratch->q_inv[row] * w->scale;
}

/* Sums from @col on as floats, into heads that are padded; @first is the first head's place */
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
					sums(sc) + (size_t)b * sc->norm_stride + col + done, len,
					scale_of(s, w, b) * factor, false);
		done += len;
	}
}

static bool qkv(struct bn_step *s, u32 layer, u32 tile, u32 *cursor, struct bn_tile_buffer *buffer)
{
	const struct bn_model *m = s->model;
	const struct bn_layer *l = &m->layers[layer];
	struct bn_scratch *sc = s->scratch;
	const struct bn_matrix *w = &l->attn_q;
	u32 first = 0, col = 0;
	float factor = 1.0f / bn_sqrt((float)m->head_dim);
	struct lines all, piece;

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
	all = tile_of(sc, BN_PHASE_QKV, w, tile);
	piece = piece_of(sc, BN_PHASE_QKV, &all, *cursor);
	rows_product(s, w, &piece, sums(sc) + col, sc->norm_stride, 0, buffer);
	for (u32 k = 0; k < piece.parts; k++)
		scale_heads(s, w, first_of(&piece, k), piece.n, col + first_of(&piece, k), first,
			    factor);
	*cursor += piece.n;
	return *cursor < all.n;
}

/* Sums of out features [r0, r0 + n) are added to the residual stream. */
static void add_residual(struct bn_step *s, const struct bn_matrix *w, u32 r0, u32 n)
{
	struct bn_scratch *sc = s->scratch;

	for (u32 b = 0; b < s->n_rows; b++)
		s->ops->dequant(row_of(sc->x, b, sc->x_stride) + r0,
				sums(sc) + (size_t)b * sc->norm_stride + r0, n, scale_of(s, w, b),
				true);
}

/* A product that is added to the residual stream */
static bool attn_out(struct bn_step *s, const struct bn_matrix *w, u32 tile, u32 *cursor,
		     struct bn_tile_buffer *buffer)
{
	struct bn_scratch *sc = s->scratch;
	struct lines all = tile_of(sc, BN_PHASE_ATTN_OUT, w, tile);
	struct lines piece = piece_of(sc, BN_PHASE_ATTN_OUT, &all, *cursor);

	rows_product(s, w, &piece, sums(sc), sc->norm_stride, 0, buffer);
	for (u32 k = 0; k < piece.parts; k++)
		add_residual(s, w, first_of(&piece, k), piece.n);
	*cursor += piece.n;
	return *cursor < all.n;
}

/* ---- feed-forward network -------------------------------------------------------------------- */

#define STRIP_NUMBERS	(BN_STRIP_LINES * BN_PARTS)	/* channels of a strip */

/* Rows @l of gate or up, as floats: row r of it at @out + r of each row */
static void ffn_rows(struct bn_step *s, const struct bn_matrix *w, const struct lines *l,
		     float *out, u32 stride, u32 n_fetch, struct bn_tile_buffer *buffer)
{
	rows_product(s, w, l, (s32 *)out, stride, n_fetch, buffer);
	for (u32 b = 0; b < s->n_rows; b++)
		for (u32 k = 0; k < l->parts; k++) {
			float *y = row_of(out, b, stride) + first_of(l, k);

			s->ops->dequant(y, (const s32 *)y, l->n, scale_of(s, w, b), false);
		}
}

static void glu(struct bn_step *s, float *act, const float *gate, u32 n)
{
	s->ops->glu(act, gate, act, n, s->model->activation);
}

/*
 * Channels [from, end) whose gate is open in any row, at most @most; *@next is where to go on.
 * Gates are products with weights: any of them may be NaN.
 */
static u32 open_gates(const struct bn_step *s, u32 from, u32 end, u32 most, u32 *index, u32 *next)
{
	const struct bn_scratch *sc = s->scratch;
	const float *gate = sc->norm;
	u32 n = 0, c;

	for (c = from; c < end && n < most; c++) {
		bool open = gate[c] > 0.0f;

		for (u32 b = 1; b < s->n_rows; b++)
			open |= gate[(size_t)b * sc->norm_stride + c] > 0.0f;
		index[n] = c;
		n += open;
	}
	*next = c;
	return n;
}

/* Lines of each part of a tile that are a strip: BN_STRIP_LINES of each of BN_PARTS, or as many */
static u32 strip_lines(const struct lines *tile)
{
	return BN_STRIP_LINES * BN_PARTS / tile->parts;
}

/*
 * Open channels of @tile from number @nr to @end, at most @most. Channels of a tile are counted
 * strip by strip, in each part by part. Returns how many; *@next is the number to go on with.
 */
static u32 open_lines(const struct bn_step *s, const struct lines *tile, u32 nr, u32 end, u32 most,
		      u32 *index, u32 *next)
{
	u32 lines = strip_lines(tile), strip, part, from, to, c, n = 0;

	while (nr < end && n < most) {
		strip = nr / STRIP_NUMBERS * lines;
		part = first_of(tile, nr / lines % tile->parts);
		from = part + min2(strip + nr % lines, tile->n);
		to = part + min2(strip + lines, tile->n);
		n += open_gates(s, from, to, most - n, index + n, &c);
		nr = c < to ? nr + c - from : nr - nr % lines + lines;
	}
	*next = nr;
	return n;
}

static u32 numbers_of(const struct lines *tile)
{
	return bn_round_up(tile->n, strip_lines(tile)) * tile->parts;
}

static const u8 *line_at(const struct bn_step *s, const struct bn_matrix *w, u32 line)
{
	return bn_weights_at(s->model, w->data + (size_t)line * w->line_bytes, w->line_bytes);
}

/*
 * Gates of some lines of @tile. They are read at full speed, but open rows of up here and there
 * are not: while a strip is multiplied, the rows are fetched that the strip before opened.
 */
static void gates(struct bn_step *s, const struct bn_layer *l, const struct lines *tile,
		  const struct lines *piece, struct bn_tile_buffer *buffer)
{
	u32 end = piece->at + piece->n, lines = strip_lines(tile), strip, open, next;
	struct bn_scratch *sc = s->scratch;
	struct lines some = *piece;

	for (; some.at < end; some.at += some.n) {
		strip = (some.at - tile->at) / lines;
		some.n = min2(tile->at + (strip + 1) * lines, end) - some.at;
		/* Beyond what the product can fetch, none. */
		open = strip ? open_lines(s, tile, (strip - 1) * STRIP_NUMBERS,
					  strip * STRIP_NUMBERS,
					  some.n * some.parts / BN_PARTS * BN_FETCH_LINES,
					  buffer->index, &next) : 0;
		for (u32 i = 0; i < open; i++)
			buffer->fetch[i] = line_at(s, &l->ffn_up, buffer->index[i]);
		ffn_rows(s, &l->ffn_gate, &some, sc->norm, sc->norm_stride, open, buffer);
	}
}

/* Up of @n channels of one row of activations, in buffer->up, and the GLU of them */
static void end_channels(struct bn_step *s, const struct bn_matrix *up, u32 row, const u32 *index,
			 u32 n, struct bn_tile_buffer *buffer)
{
	struct bn_scratch *sc = s->scratch;
	const float *gate = row_of(sc->norm, row, sc->norm_stride);
	float *act = row_of(sc->act, row, sc->act_stride);

	s->ops->dequant(buffer->up, (const s32 *)buffer->up, n, scale_of(s, up, row), false);
	for (u32 i = 0; i < n; i++)
		buffer->gate[i] = gate[index[i]];
	glu(s, buffer->up, buffer->gate, n);
	for (u32 i = 0; i < n; i++)
		act[index[i]] = buffer->up[i];
}

/*
 * Up of the channels of @tile that are open in the one row of activations, from number @nr on, and
 * the GLU of them. Returns the number to go on with.
 */
static u32 open_channels(struct bn_step *s, const struct bn_matrix *up, const struct lines *tile,
			 u32 nr, u32 most, struct bn_tile_buffer *buffer)
{
	struct bn_product p = product(s, up, (s32 *)buffer->up, 0, buffer->tmp);
	u32 end = numbers_of(tile), last = end - STRIP_NUMBERS, next, further;

	/* Those of the last strip have not been fetched. */
	p.n = open_lines(s, tile, nr, last, most, buffer->index, &next);
	if (next >= last && last < end) {
		p.fetch = buffer->list + p.n;
		p.n_fetch = open_lines(s, tile, next, end, most - p.n, buffer->index + p.n, &next);
		p.n += p.n_fetch;
	}
	p.ahead = open_lines(s, tile, next, end, BN_AHEAD_LINES, buffer->index + p.n, &further);
	if (!p.n)
		return next;
	for (u32 i = 0; i < p.n + p.ahead; i++)
		buffer->list[i] = line_at(s, up, buffer->index[i]);
	p.list = buffer->list;
	multiply(s, up, &p, buffer);
	end_channels(s, up, 0, buffer->index, p.n, buffer);
	return next;
}

static bool is_open(const struct bn_scratch *sc, u32 row, u32 channel)
{
	return row_of(sc->norm, row, sc->norm_stride)[channel] > 0.0f;
}

/* How many of @n channels fit a piece, with each row they are open in; at least 1 */
static u32 channels_in_time(const struct bn_step *s, const u32 *index, u32 n)
{
	const struct bn_scratch *sc = s->scratch;
	u32 products = 0, i;

	for (i = 0; i < n; i++) {
		for (u32 row = 0; row < s->n_rows; row++)
			products += is_open(sc, row, index[i]);
		if (products > sc->sparse_products && i)
			break;
	}
	return i;
}

/*
 * The same with several rows of activations: each only with the channels that are open in it. A
 * row of up comes from memory once and then from the caches; those of the next piece are fetched.
 */
static u32 open_channels_of_rows(struct bn_step *s, const struct bn_matrix *up,
				 const struct lines *tile, u32 nr, u32 most,
				 struct bn_tile_buffer *buffer)
{
	u32 end = numbers_of(tile), n, in_time, ahead, fetched = 0, next, further;
	struct bn_scratch *sc = s->scratch;

	most = min2(most, sc->sparse_lines);
	n = open_lines(s, tile, nr, end, most, buffer->index, &next);
	in_time = channels_in_time(s, buffer->index, n);
	if (in_time < n)
		n = open_lines(s, tile, nr, end, in_time, buffer->index, &next);
	ahead = open_lines(s, tile, next, end, most, buffer->index + n, &further);
	for (u32 i = 0; i < ahead; i++)
		buffer->soon[i] = line_at(s, up, buffer->index[n + i]);
	for (u32 row = 0; row < s->n_rows; row++) {
		struct bn_product p = product(s, up, (s32 *)buffer->up, 0, buffer->tmp);

		for (u32 i = 0; i < n; i++) {
			buffer->of_row[p.n] = buffer->index[i];
			p.n += is_open(sc, row, buffer->index[i]);
		}
		if (!p.n)
			continue;
		for (u32 i = 0; i < p.n; i++)
			buffer->list[i] = line_at(s, up, buffer->of_row[i]);
		p.list = buffer->list;
		p.batch = 1;
		p.x += row * p.x_stride;
		p.x_sum += row;
		p.fetch = buffer->soon + fetched;
		p.n_fetch = min2(ahead - fetched, p.n / BN_PARTS * BN_FETCH_LINES);
		fetched += p.n_fetch;
		multiply_again(s, up, &p);
		end_channels(s, up, row, buffer->of_row, p.n, buffer);
	}
	buffer->weight_bytes += (u64)n * up->line_bytes;
	return next;
}

/*
 * A tile's channels: first their gates, then up - of all of them, or of those whose gate is open in
 * some row - and the GLU.
 */
static bool gate_up(struct bn_step *s, u32 layer, u32 tile, u32 *cursor,
		    struct bn_tile_buffer *buffer)
{
	const struct bn_layer *l = &s->model->layers[layer];
	struct bn_scratch *sc = s->scratch;
	struct lines all = tile_of(sc, BN_PHASE_GATE_UP, &l->ffn_gate, tile), piece;
	u32 most = sc->parts[BN_PHASE_GATE_UP] * sc->piece_lines[BN_PHASE_GATE_UP];

	if (*cursor < all.n) {
		piece = piece_of(sc, BN_PHASE_GATE_UP, &all, *cursor);
		if (sc->sparse && s->n_rows == 1)
			gates(s, l, &all, &piece, buffer);
		else
			ffn_rows(s, &l->ffn_gate, &piece, sc->norm, sc->norm_stride, 0,
				 buffer);
		for (u32 b = 0; sc->sparse && b < s->n_rows; b++)
			for (u32 k = 0; k < piece.parts; k++)
				memset(row_of(sc->act, b, sc->act_stride) + first_of(&piece, k), 0,
				       piece.n * sizeof(float));
		*cursor += piece.n;
		return true;
	}
	if (sc->sparse) {
		u32 nr = *cursor - all.n;

		if (s->n_rows > 1)
			nr = open_channels_of_rows(s, &l->ffn_up, &all, nr, most, buffer);
		else
			nr = open_channels(s, &l->ffn_up, &all, nr, most, buffer);
		*cursor = all.n + nr;
		return nr < numbers_of(&all);
	}
	piece = piece_of(sc, BN_PHASE_GATE_UP, &all, *cursor - all.n);
	ffn_rows(s, &l->ffn_up, &piece, sc->act, sc->act_stride, 0, buffer);
	for (u32 b = 0; b < s->n_rows; b++)
		for (u32 k = 0; k < piece.parts; k++)
			glu(s, row_of(sc->act, b, sc->act_stride) + first_of(&piece, k),
			    row_of(sc->norm, b, sc->norm_stride) + first_of(&piece, k), piece.n);
	*cursor += piece.n;
	return *cursor < 2 * all.n;
}

/* Eight inputs from @c on of a row that is padded to so many: those [from, end), or 0 */
static u64 eight_inputs(const s8 *x, u32 c, u32 from, u32 end)
{
	u8 input[8];
	u64 eight;

	memcpy(input, x + c, sizeof(input));
	if (c < from)
		memset(input, 0, from - c);
	if (end - c < 8)
		memset(input + (end - c), 0, 8 - (end - c));
	memcpy(&eight, input, sizeof(eight));
	return eight;
}

/* Numbers @c + i of those that are not zero, to @index, of which it takes 8. Returns how many */
static u32 list_eight(u64 eight, u32 c, u32 *index)
{
	u32 n = 0;

	/* Without a condition: which of them are zero is not to be foreseen. */
	for (u32 i = 0; i < 8; i++) {
		index[n] = c + i;
		n += ((const u8 *)&eight)[i] != 0;
	}
	return n;
}

/*
 * Numbers of the columns [from, end) that have an input other than zero in some of @batch rows, to
 * @index: of all, or at least @most and up to 7 more. It takes 7 more than it gets.
 */
static u32 columns_that_matter(const struct bn_product *p, u32 batch, u32 from, u32 end, u32 most,
			       u32 *index)
{
	u32 n = 0;

	for (u32 c = from - from % 8; c < end && n < most; c += 8) {
		u64 any = 0;

		for (u32 b = 0; b < batch; b++)
			any |= eight_inputs(p->x + b * p->x_stride, c, from, end);
		n += list_eight(any, c, index + n);
	}
	return n;
}

/*
 * What the sums of rows from @row on start with: minus the sum of the inputs, or 0. As many rows as
 * fit a piece; returns the next one.
 */
static u32 start_sums(const struct bn_step *s, const struct bn_matrix *w,
		      const struct bn_product *p, const s32 *start, u32 row)
{
	u32 n = p->blocks * bn_block_cols(w->packing);
	u32 end = min2(row + (s->scratch->elems + n - 1) / n, p->batch);

	for (; row < end; row++) {
		s32 *y = p->y + row * p->y_stride;
		struct s32s first;

		memset(&first, 0, sizeof(first));
		if (start)
			first.v -= start[row];

		/* Blocks are multiples of so many. */
		for (u32 o = 0; o < n; o += BN_LANES)
			*(struct s32s *)(y + o) = first;
	}
	return end;
}

/* The uppermost bit of each byte that is not zero */
static u64 not_zero(u64 eight)
{
	const u64 low = 0x7f7f7f7f7f7f7f7fULL;

	return (((eight & low) + low) | eight) & ~low;
}

static u32 count_bytes(u64 uppermost_bits)
{
	return (u32)((uppermost_bits >> 7) * 0x0101010101010101ULL >> 56);
}

/*
 * Columns from @at on that fit a piece, of at most @most that matter, with each row they matter to;
 * at least one. Returns the number to go on with; *n of them matter to any row.
 */
static u32 columns_in_time(const struct bn_step *s, const struct bn_product *p, u32 at, u32 end,
			   u32 most, u32 *n)
{
	/* Eight together, or one by one where so many might be too much. */
	const u32 step = most < 8 || s->scratch->sparse_products < 8 * p->batch ? 1 : 8;
	u32 products = 0, c = at - at % step;

	*n = 0;
	end = min2(end, c + BN_PIECE_LINES);
	for (; c < end; c += step) {
		u32 from = c < at ? at : c, n_products = 0, n_any;
		u64 any = 0;

		for (u32 b = 0; b < p->batch; b++) {
			u64 inputs = not_zero(eight_inputs(p->x + b * p->x_stride, c - c % 8, from,
							   min2(end, c + step)));

			n_products += count_bytes(inputs);
			any |= inputs;
		}
		n_any = count_bytes(any);
		if (*n && (products + n_products > s->scratch->sparse_products ||
			   *n + n_any > most))
			return c;
		products += n_products;
		*n += n_any;
	}
	return end;
}

/*
 * A piece of columns [at, end) with several rows of activations: each only with those that matter
 * to it. A column comes from memory once and then from the caches; those of the next piece are
 * fetched meanwhile. Returns the number to go on with.
 */
static u32 columns_of_rows(struct bn_step *s, const struct bn_matrix *w,
			   const struct bn_product *all, u32 at, u32 end,
			   struct bn_tile_buffer *buffer)
{
	u32 piece = s->scratch->piece_lines[BN_PHASE_DOWN], n, ahead, fetched = 0;
	u32 next = columns_in_time(s, all, at, end, piece, &n);

	/* That may be another tile's: most likely it is the next one of the same worker. */
	ahead = columns_that_matter(all, all->batch, next, min2(2 * next - at, w->cols),
				    BN_PIECE_LINES, buffer->index);
	for (u32 i = 0; i < ahead; i++)
		buffer->soon[i] = line_at(s, w, buffer->index[i]);
	/* A product fetches eight together. */
	for (; ahead % 8; ahead++)
		buffer->soon[ahead] = buffer->soon[ahead - 1];
	for (u32 row = 0; row < all->batch; row++) {
		struct bn_product p = *all;

		p.batch = 1;
		p.x += row * p.x_stride;
		p.y += row * p.y_stride;
		p.n = columns_that_matter(&p, 1, at, next, BN_PIECE_LINES, buffer->index);
		p.index = buffer->index;
		if (!p.n)
			continue;
		p.fetch = buffer->soon + fetched;
		p.n_fetch = min2(ahead - fetched, bn_round_up(p.n, 8));
		fetched += p.n_fetch;
		multiply_again(s, w, &p);
	}
	buffer->weight_bytes += (u64)n * all->blocks * BN_BLOCK_BYTES;
	return next;
}

/*
 * Are @columns whole columns to be taken from BN_PARTS parts of them in turns? As rows are, see
 * has_parts(), @piece at a time.
 */
static bool columns_in_parts(const struct bn_step *s, const struct bn_product *p, u32 columns,
			     u32 piece)
{
	return s->streams && s->ops->parted_columns && p->batch == 1 &&
	       p->blocks * BN_BLOCK_BYTES == p->line_bytes && columns % BN_PARTS == 0 &&
	       piece % BN_PARTS == 0;
}

/* The next @n of the columns [from, end) in turns, @done having been taken, and some ahead */
static void list_parts(struct bn_product *p, u32 from, u32 end, u32 done, u32 n, u32 *index)
{
	const u32 apart = (end - from) / BN_PARTS;
	u32 first = from + done / BN_PARTS;

	p->n = n;
	p->ahead = min2(end - from - done - n, BN_AHEAD_LINES);
	p->index = index;
	for (u32 i = 0; i < p->n + p->ahead; i += BN_PARTS, first++)
		for (u32 k = 0; k < BN_PARTS; k++)
			index[i + k] = first + k * apart;
}

/*
 * A piece of a product by columns [from, end): first the sums get what they start with, row by row,
 * then columns are added. @cursor counts rows and columns. Returns false when they are through.
 */
static bool columns_piece(struct bn_step *s, const struct bn_matrix *w, struct bn_product *p,
			  enum bn_phase_kind kind, u32 from, u32 end, const s32 *start, bool sparse,
			  u32 *cursor, struct bn_tile_buffer *buffer)
{
	u32 piece = s->scratch->piece_lines[kind], at, next, n;

	if (*cursor < p->batch) {
		u32 row = *cursor;

		*cursor = start_sums(s, w, p, start, row);
		if (row || *cursor < p->batch)
			return true;	/* of few rows, columns fit into the same piece */
	}
	at = from + *cursor - p->batch;
	next = min2(at + piece, end);
	if (sparse && p->batch > 1) {
		next = columns_of_rows(s, w, p, at, end, buffer);
	} else {
		if (sparse) {
			n = columns_that_matter(p, 1, at, end, piece + BN_AHEAD_LINES,
						buffer->index);
			p->n = min2(n, piece);
			p->ahead = n - p->n;
			p->index = buffer->index;
			next = p->ahead ? p->index[p->n] : end;
		} else if (columns_in_parts(s, p, end - from, piece)) {
			list_parts(p, from, end, at - from, next - at, buffer->index);
		} else {
			p->n = next - at;
			p->w += (size_t)at * w->line_bytes;
			p->x += at;
			p->ahead = end - next;
		}
		if (p->n)
			multiply(s, w, p, buffer);
	}
	*cursor = p->batch + next - from;
	return next < end;
}

/* A tile of out features of a matrix by column: all columns of some blocks */
static bool outputs_tile(struct bn_step *s, const struct bn_matrix *w, struct bn_product *p,
			 enum bn_phase_kind kind, u32 tile, u32 *cursor,
			 struct bn_tile_buffer *buffer)
{
	u32 block_cols = bn_block_cols(w->packing), tile_rows = s->scratch->tile_rows[kind];
	u32 first = tile * tile_rows;

	p->w += (size_t)first / block_cols * BN_BLOCK_BYTES;
	p->blocks = min2(tile_rows / block_cols, p->blocks - first / block_cols);
	p->y += first;
	return columns_piece(s, w, p, kind, 0, w->cols, p->x_sum, false, cursor, buffer);
}

/*
 * The sums of ffn_down. Of few rows by column, a tile is some columns, whole, so that what is read
 * lies together: each tile has sums of its own then.
 */
static bool down(struct bn_step *s, const struct bn_matrix *w, u32 tile, u32 *cursor,
		 struct bn_tile_buffer *buffer)
{
	struct bn_scratch *sc = s->scratch;
	struct bn_product p = product(s, w, sums(sc), sc->norm_stride, buffer->tmp);
	u32 from = tile * sc->down_cols;

	if (!w->by_column) {
		struct lines all = tile_of(sc, BN_PHASE_DOWN, w, tile);
		struct lines piece = piece_of(sc, BN_PHASE_DOWN, &all, *cursor);

		rows_product(s, w, &piece, p.y, sc->norm_stride, 0, buffer);
		*cursor += piece.n;
		return *cursor < all.n;
	}
	if (!sc->down_cols)
		return outputs_tile(s, w, &p, BN_PHASE_DOWN, tile, cursor, buffer);
	p.y += (size_t)tile * s->n_rows * sc->norm_stride;
	return columns_piece(s, w, &p, BN_PHASE_DOWN, from, min2(from + sc->down_cols, w->cols),
			     tile ? NULL : p.x_sum, sc->sparse_columns, cursor, buffer);
}

/* Some of a row's sums of ffn_down are added to the residual stream. */
static void down_add(struct bn_step *s, const struct bn_matrix *w, u32 tile_nr)
{
	struct bn_scratch *sc = s->scratch;
	u32 row = tile_nr / sc->add_tiles;
	u32 width = bn_round_up((w->rows + sc->add_tiles - 1) / sc->add_tiles, BN_LANES);
	u32 first = min2(tile_nr % sc->add_tiles * width, w->rows);
	u32 n = min2(width, w->rows - first);
	s32 *sum = sums(sc) + (size_t)row * sc->norm_stride + first;
	u32 parts = sc->down_cols ? sc->tiles[BN_PHASE_DOWN] : 1;

	for (u32 tile = 1; tile < parts; tile++) {
		const s32 *part = sum + (size_t)tile * s->n_rows * sc->norm_stride;

		/* Behind the last output is room. */
		for (u32 o = 0; o < n; o += BN_LANES)
			((struct s32s *)(sum + o))->v += ((const struct s32s *)(part + o))->v;
	}
	s->ops->dequant(row_of(sc->x, row, sc->x_stride) + first, sum, n, scale_of(s, w, row),
			true);
}

/* ---- LINEAR ---------------------------------------------------------------------------------- */

/* Not straight into r->y: a variant may read what it wrote, and a process may write there. */
static bool linear(struct bn_step *s, u32 tile, u32 *cursor, struct bn_tile_buffer *buffer)
{
	const struct bn_linear_req *r = &s->linear;
	const struct bn_matrix *w = r->w;
	struct bn_scratch *sc = s->scratch;
	struct bn_product p = product(s, w, sums(sc), sc->norm_stride, buffer->tmp);
	struct lines all, piece;
	u32 r0, n;
	bool more = false;

	p.x = r->x;
	p.x_stride = r->x_stride;
	p.x_sum = r->x_sum;
	if (w->by_column) {
		if (outputs_tile(s, w, &p, BN_PHASE_LINEAR, tile, cursor, buffer))
			return true;
		r0 = tile * sc->tile_rows[BN_PHASE_LINEAR];
		n = min2(sc->tile_rows[BN_PHASE_LINEAR], w->rows - r0);
	} else {
		all = tile_of(sc, BN_PHASE_LINEAR, w, tile);
		piece = piece_of(sc, BN_PHASE_LINEAR, &all, *cursor);
		r0 = piece.at;
		n = piece.n;
		p.w += (size_t)r0 * w->line_bytes;
		p.y += r0;
		p.n = n;
		multiply(s, w, &p, buffer);
		*cursor += n;
		more = *cursor < all.n;
	}
	for (u32 b = 0; b < r->rows; b++)
		memcpy(r->y + (size_t)b * w->rows + r0,
		       sums(sc) + (size_t)b * sc->norm_stride + r0, sizeof(s32) * n);
	return more;
}

/* ---- head ------------------------------------------------------------------------------------ */

static bool out_norm(struct bn_step *s, u32 slot, u32 *cursor)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;

	if (*cursor == 0) {
		s->ops->rmsnorm(row_of(sc->head_in, slot, sc->x_stride),
				row_of(sc->x, s->slot_row[slot], sc->x_stride), m->output_norm,
				m->hidden, m->hidden_pad, m->norm_eps);
		if (m->hidden_pad > sc->elems) {
			*cursor = 1;
			return true;
		}
	}
	bn_head_prepare(s, slot);
	return false;
}

static bool sample(struct bn_step *s, u32 slot, u32 *cursor)
{
	if (*cursor == 0) {
		bn_sampler_start(&s->samplers[slot]);
		*cursor = 1;
	}
	return bn_sampler_run(&s->samplers[slot]);
}

/*
 * Workers claim tiles in turns. Each shall go on where it stopped, so that what it reads is one
 * long stream: tile number c is one of worker c % workers, whose tiles follow each other. When they
 * get out of step they change places, which costs them a new start each.
 */
static u32 place_of(const struct bn_step *s, enum bn_phase_kind kind, u32 tile)
{
	u32 workers = s->workers, tiles = s->scratch->tiles[kind], of, each, rest;

	if (workers < 2 || s->n_rows > BN_SPARSE_ROWS || tiles < 2 * workers)
		return tile;
	of = tile % workers;
	each = tiles / workers;
	rest = tiles % workers;
	return of * each + min2(of, rest) + tile / workers;
}

bool bn_step_tile(struct bn_step *s, u32 phase, u32 tile, u32 *cursor, void *buffer)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	struct bn_tile_buffer *buf = buffer;
	enum bn_phase_kind kind = bn_phase_kind(s, phase);
	u32 layer = bn_step_layer(s, phase);
	const struct bn_layer *l = &m->layers[layer < m->n_layers ? layer : 0];

	tile = place_of(s, kind, tile);
	switch (kind) {
	case BN_PHASE_EMBED:
		return embed(s, tile);
	case BN_PHASE_ATTN_NORM:
		return norm_quantize(s, tile, row_of(sc->x, tile, sc->x_stride), l->attn_norm,
				     m->hidden, m->hidden_pad, cursor);
	case BN_PHASE_QKV:
		return qkv(s, layer, tile, cursor, buf);
	case BN_PHASE_ROPE:
		if (sc->score_positions)
			return rope_scores(s, layer, tile, cursor);
		return rope_store(s, layer, tile, cursor);
	case BN_PHASE_ATTENTION:
		return attention(s, layer, tile, cursor, buf);
	case BN_PHASE_ATTN_SUB_NORM:
		return norm_quantize(s, tile, row_of(sc->mix, tile, sc->mix_stride),
				     l->attn_sub_norm, m->n_heads * m->head_dim, m->attn_pad,
				     cursor);
	case BN_PHASE_ATTN_OUT:
		return attn_out(s, &l->attn_out, tile, cursor, buf);
	case BN_PHASE_FFN_NORM:
		return norm_quantize(s, tile, row_of(sc->x, tile, sc->x_stride), l->ffn_norm,
				     m->hidden, m->hidden_pad, cursor);
	case BN_PHASE_GATE_UP:
		return gate_up(s, layer, tile, cursor, buf);
	case BN_PHASE_FFN_SUB_NORM:
		return norm_quantize(s, tile, row_of(sc->act, tile, sc->act_stride),
				     l->ffn_sub_norm, m->ffn, m->ffn_pad, cursor);
	case BN_PHASE_DOWN:
		return down(s, &l->ffn_down, tile, cursor, buf);
	case BN_PHASE_DOWN_ADD:
		down_add(s, &l->ffn_down, tile);
		return false;
	case BN_PHASE_OUT_NORM:
		return out_norm(s, tile, cursor);
	case BN_PHASE_HEAD:
		return bn_head_logits(s, tile, cursor, buf);
	case BN_PHASE_SELECT:
		return bn_head_select(s, tile, cursor, buf);
	case BN_PHASE_REFINE:
		return bn_head_refine(s, tile, cursor, buf);
	case BN_PHASE_SAMPLE:
		return sample(s, tile, cursor);
	case BN_PHASE_LINEAR:
		return linear(s, tile, cursor, buf);
	case BN_PHASE_KINDS:
		break;
	}
	return false;
}

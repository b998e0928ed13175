// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_step_plan.c - what there is to do in a step: memory, phases and tiles. All without the FPU
 *
 * bn_step.c computes the tiles. The two are separate files because compilers use vector registers
 * for copying and clearing wherever they are allowed to, and these functions run outside FPU
 * sections.
 */
#include "bn_step_priv.h"

#include <linux/bitnet_image.h>

/*
 * What a piece should take, in microseconds of the variant's rated speed. Half of the section
 * length that the module promises (50), for the rating is of hot caches.
 */
#define PIECE_US	20

/*
 * A phase is cut into about this many tiles even if fewer would do, so that workers finish together
 * - but not into tiles shorter than TILE_MIN_US, which would cost more to hand out than to compute.
 */
#define TILES_WANTED	8
#define TILE_MIN_US	2

/* f32 work (attention, exp) against int8 multiply-adds, for want of a rating of its own. */
#define F32_SLOWDOWN	8

static u32 max2(u32 a, u32 b)
{
	return a > b ? a : b;
}

static u32 min2(u32 a, u32 b)
{
	return a < b ? a : b;
}

static u32 tiles_of(u32 rows, u32 tile_rows)
{
	return (rows + tile_rows - 1) / tile_rows;
}

/* ---- memory ---------------------------------------------------------------------------------- */

struct carver {
	u8 *base;	/* NULL: only add up */
	u64 used;
};

static void *carve(struct carver *c, u64 count, u64 bytes)
{
	void *p = c->base ? c->base + c->used : NULL;

	c->used += (count * bytes + 63) & ~63ULL;
	return p;
}

/* Lay out the scratch memory of @m; pointers are only good if @base is. Returns its length. */
static u64 lay_out(struct bn_scratch *sc, const struct bn_model *m, void *base)
{
	struct carver c = { base, 0 };
	u32 heads = m->n_heads + 2 * m->n_kv_heads;

	carve(&c, 1, sizeof(*sc));
	sc->wide_stride = max2(max2(m->hidden_pad, m->ffn_pad), m->attn_pad);
	/* Many widths are multiples of 4096: rows would all start in the same set of the caches. */
	sc->q8_stride = sc->wide_stride + 64;
	sc->qkv_stride = heads * m->head_pad;
	sc->att_stride = m->n_heads * m->head_pad;
	sc->ml_stride = bn_round_up(2 * m->n_heads, BN_LANES);
	sc->rope_stride = bn_round_up(max2(m->rope_dims / 2, 1), BN_LANES);
	sc->acc_stride = bn_round_up(max2(heads * m->head_dim, max2(2 * m->ffn, m->hidden)),
				     BN_LANES);
	sc->logits_stride = bn_round_up(m->vocab, BN_LANES);
	sc->n_blocks = tiles_of(m->vocab, BN_VOCAB_BLOCK);

	sc->x = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->wide_stride);
	sc->norm = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->wide_stride);
	sc->up = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->wide_stride);
	sc->mix = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->wide_stride);
	sc->act = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->wide_stride);
	sc->q8 = carve(&c, BN_MAX_ROWS, sc->q8_stride);
	sc->q_sum = carve(&c, BN_MAX_ROWS, sizeof(s32));
	sc->q_inv = carve(&c, BN_MAX_ROWS, sizeof(float));
	sc->qkv = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->qkv_stride);
	sc->att = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->att_stride);
	sc->ml = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->ml_stride);
	sc->cos = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->rope_stride);
	sc->sin = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->rope_stride);
	sc->acc = carve(&c, BN_MAX_ROWS, sizeof(s32) * sc->acc_stride);
	sc->head_in = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float) * sc->wide_stride);
	sc->logits = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float) * (u64)sc->logits_stride);
	sc->blocks = carve(&c, BN_MAX_HEAD_ROWS, sizeof(*sc->blocks) * (u64)sc->n_blocks);
	sc->samplers = carve(&c, BN_MAX_HEAD_ROWS, sizeof(*sc->samplers));
	return c.used;
}

u64 bn_scratch_bytes(const struct bn_model *m)
{
	struct bn_scratch sc;

	return lay_out(&sc, m, NULL);
}

void bn_step_init(struct bn_step *s, const struct bn_model *m, const struct bn_ops *ops,
		  void *scratch)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->model = m;
	s->scratch = scratch;
	lay_out(s->scratch, m, scratch);
	s->samplers = s->scratch->samplers;
}

void bn_step_wipe(struct bn_step *s)
{
	struct bn_scratch *sc = s->scratch;
	u64 rows = sc->dirty_rows, slots = sc->dirty_slots;

	memset(sc->x, 0, rows * sc->wide_stride * sizeof(float));
	memset(sc->norm, 0, rows * sc->wide_stride * sizeof(float));
	memset(sc->up, 0, rows * sc->wide_stride * sizeof(float));
	memset(sc->mix, 0, rows * sc->wide_stride * sizeof(float));
	memset(sc->act, 0, rows * sc->wide_stride * sizeof(float));
	memset(sc->q8, 0, rows * sc->q8_stride);
	memset(sc->q_sum, 0, rows * sizeof(s32));
	memset(sc->q_inv, 0, rows * sizeof(float));
	memset(sc->qkv, 0, rows * sc->qkv_stride * sizeof(float));
	memset(sc->att, 0, rows * sc->att_stride * sizeof(float));
	memset(sc->ml, 0, rows * sc->ml_stride * sizeof(float));
	memset(sc->cos, 0, rows * sc->rope_stride * sizeof(float));
	memset(sc->sin, 0, rows * sc->rope_stride * sizeof(float));
	memset(sc->acc, 0, rows * sc->acc_stride * sizeof(s32));
	memset(sc->head_in, 0, slots * sc->wide_stride * sizeof(float));
	memset(sc->logits, 0, slots * sc->logits_stride * sizeof(float));
	memset(sc->blocks, 0, slots * sc->n_blocks * sizeof(*sc->blocks));
	memset(sc->samplers, 0, slots * sizeof(*sc->samplers));
	sc->dirty_rows = sc->dirty_slots = 0;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Weight rows that @macs_per_us computes in @us for @batch input rows; may be 0. */
static u32 rows_in(u32 macs_per_us, u32 us, u32 row_bytes, u32 batch)
{
	u64 macs = (u64)row_bytes * (BN_T2_BLOCK_COLS / BN_T2_BLOCK_BYTES) * batch;

	return (u32)((u64)macs_per_us * us / macs);
}

/*
 * Rows of a tile = one piece of one section, of a matrix of @rows rows that are @row_bytes apart.
 */
static u32 tile_rows(const struct bn_step *s, u32 rows, u32 row_bytes)
{
	u32 limit = min2(BN_SECTION_BYTES / row_bytes,
			 rows_in(s->ops->macs_per_us, PIECE_US, row_bytes, s->n_rows));
	u32 enough = max2(rows_in(s->ops->macs_per_us, TILE_MIN_US, row_bytes, s->n_rows),
			  tiles_of(rows, TILES_WANTED));
	u32 n = min2(limit, enough);

	if (n >= 4)
		n &= ~3U;	/* the kernels take four weight rows at a time */
	return max2(n, 1);
}

static void plan_tiles(struct bn_step *s)
{
	const struct bn_model *m = s->model;
	const struct bn_layer *l = &m->layers[0];
	struct bn_scratch *sc = s->scratch;
	u32 f32_per_us = max2(s->ops->macs_per_us / F32_SLOWDOWN, 1);
	u32 n;

	for (u32 kind = 0; kind < BN_PHASE_KINDS; kind++) {
		sc->tiles[kind] = s->n_rows;
		sc->tile_rows[kind] = 0;
	}

	/*
	 * All layers have the same shapes: bn_model_parse() saw to it. q, k and v share their
	 * columns.
	 */
	n = tile_rows(s, l->attn_q.rows, l->attn_q.row_bytes);
	sc->tile_rows[BN_PHASE_QKV] = n;
	sc->q_tiles = tiles_of(l->attn_q.rows, n);
	sc->kv_tiles = tiles_of(l->attn_k.rows, n);
	sc->tiles[BN_PHASE_QKV] = sc->q_tiles + 2 * sc->kv_tiles;

	sc->tiles[BN_PHASE_ATTENTION] = s->n_rows * m->n_kv_heads;

	n = tile_rows(s, l->attn_out.rows, l->attn_out.row_bytes);
	sc->tile_rows[BN_PHASE_ATTN_OUT] = n;
	sc->tiles[BN_PHASE_ATTN_OUT] = tiles_of(l->attn_out.rows, n);

	/* A tile takes the same rows of both gate and up. */
	n = tile_rows(s, l->ffn_gate.rows, 2 * l->ffn_gate.row_bytes);
	sc->tile_rows[BN_PHASE_GATE_UP] = n;
	sc->tiles[BN_PHASE_GATE_UP] = tiles_of(l->ffn_gate.rows, n);

	n = tile_rows(s, l->ffn_down.rows, l->ffn_down.row_bytes);
	sc->tile_rows[BN_PHASE_DOWN] = n;
	sc->tiles[BN_PHASE_DOWN] = tiles_of(l->ffn_down.rows, n);

	sc->tiles[BN_PHASE_OUT_NORM] = s->n_slots;
	sc->tiles[BN_PHASE_HEAD] = sc->n_blocks;
	sc->tiles[BN_PHASE_SAMPLE] = s->n_slots;

	n = f32_per_us * PIECE_US / (m->embd_stride * max2(s->n_slots, 1));
	sc->head_rows = max2(min2(n, BN_SECTION_BYTES / (2 * m->embd_stride)), 1);

	n = (u32)((u64)f32_per_us * PIECE_US / (2 * BN_ATTN_CHUNK * m->head_pad));
	sc->attn_heads = max2(min2(n, m->n_heads / m->n_kv_heads), 1);

	sc->elems = max2(min2(f32_per_us, 8192), 512);
}

/* May row @at come behind those before it? Its session's rows must follow each other. */
static enum bn_err check_row(const struct bn_step *s, u32 at, u64 *slots)
{
	const struct bn_row *row = &s->rows[at];

	if (!row->kv || !row->kv->data)
		return BN_EPARAM;
	if (row->token >= s->model->vocab || row->pos >= row->kv->n_ctx)
		return BN_ERANGE;
	/* kv->n_past may change by now: a cancelled job's session can be rewound. */
	for (u32 i = at; i-- > 0;) {
		if (s->rows[i].kv != row->kv)
			continue;
		if (row->pos != s->rows[i].pos + 1)
			return BN_EPARAM;
		break;
	}
	if (row->slot == BN_NO_SLOT)
		return BN_OK;
	if (row->slot >= BN_MAX_HEAD_ROWS || *slots & 1ULL << row->slot)
		return BN_EPARAM;
	*slots |= 1ULL << row->slot;
	return BN_OK;
}

static void start_sampler(const struct bn_step *s, u32 slot)
{
	struct bn_sampler *sampler = &s->samplers[slot];
	struct bn_scratch *sc = s->scratch;

	memset(sampler, 0, sizeof(*sampler));
	sampler->ops = s->ops;
	sampler->logits = sc->logits + (size_t)slot * sc->logits_stride;
	sampler->blocks = sc->blocks + (size_t)slot * sc->n_blocks;
	sampler->vocab = s->model->vocab;
	sampler->force = BN_SAMPLE;
}

enum bn_err bn_step_begin(struct bn_step *s, u32 n_rows)
{
	struct bn_scratch *sc = s->scratch;
	u64 slots = 0;
	u32 n_slots = 0;

	if (!n_rows || n_rows > BN_MAX_ROWS)
		return BN_EPARAM;
	for (u32 i = 0; i < n_rows; i++) {
		enum bn_err err = check_row(s, i, &slots);

		if (err != BN_OK)
			return err;
		if (s->rows[i].slot != BN_NO_SLOT) {
			s->slot_row[s->rows[i].slot] = (u16)i;
			n_slots++;
		}
	}
	if (slots != (1ULL << n_slots) - 1)
		return BN_EPARAM;	/* slots are used from 0 on, without holes */

	s->n_rows = n_rows;
	s->n_slots = n_slots;
	s->n_phases = 1 + s->model->n_layers * BN_LAYER_PHASES + (n_slots ? BN_HEAD_PHASES : 0);
	for (u32 i = 0; i < n_slots; i++)
		start_sampler(s, i);
	sc->linear = false;
	sc->dirty_rows = max2(sc->dirty_rows, n_rows);
	sc->dirty_slots = max2(sc->dirty_slots, n_slots);
	plan_tiles(s);
	return BN_OK;
}

enum bn_err bn_step_begin_linear(struct bn_step *s)
{
	const struct bn_linear_req *r = &s->linear;
	struct bn_scratch *sc = s->scratch;
	u32 n;

	if (!r->w || !r->x || !r->x_sum || !r->y || !r->rows || r->rows > BN_MAX_ROWS)
		return BN_EPARAM;
	if (r->w->rows > sc->acc_stride || r->x_stride / 4 < r->w->row_bytes)
		return BN_EPARAM;
	s->n_rows = r->rows;
	s->n_slots = 0;
	s->n_phases = 1;
	n = tile_rows(s, r->w->rows, r->w->row_bytes);
	sc->tile_rows[BN_PHASE_LINEAR] = n;
	sc->tiles[BN_PHASE_LINEAR] = tiles_of(r->w->rows, n);
	sc->linear = true;
	sc->dirty_rows = max2(sc->dirty_rows, s->n_rows);
	return BN_OK;
}

u32 bn_step_tiles(const struct bn_step *s, u32 phase)
{
	return s->scratch->tiles[bn_phase_kind(s, phase)];
}

u32 bn_step_layer(const struct bn_step *s, u32 phase)
{
	u32 layer = phase ? (phase - 1) / BN_LAYER_PHASES : 0;

	return min2(layer, s->model->n_layers);
}

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
 * A phase is cut into about this many tiles, so that workers finish together. By column, a tile is
 * few blocks of many columns: the fewer tiles, the longer the runs of bytes that are read.
 */
#define TILES_WANTED		16
#define COLUMN_TILES_WANTED	4
#define FEW_ROWS		16	/* up to so many, reading is what takes time there */
#define COLUMN_ROWS		16	/* from which on products by column are as fast as rated */
#define MOST_DOWN_TILES		16	/* two for each worker, at least four */
#define ADD_TILES		4	/* which mostly wait for what others have added up */

/* Positions from which on the scores of few rows are computed by ranges, if at all */
#define SPLIT_POSITIONS		(2 * BN_ATTN_CHUNK)

_Static_assert(2 * TILES_WANTED <= BN_MAX_ROWS, "rows for rotated queries");

/*
 * Up to so many rows of activations, those of ffn_down are multiplied one by one, each with the
 * columns that matter to it, also by variants that are fast with batches: of 16, AMX takes as long
 * with all columns.
 */
#define BY_ROW		8

#define SPARSE_PAIRS	1024	/* of a line and one of several rows: looked at in a piece */

/* f32 work (exp) against int8 multiply-adds, for want of a rating of its own. */
#define F32_SLOWDOWN	8
#define ATTN_SLOWDOWN	4
/* and the head's products of 8 with 16 bits */
#define HEAD_SLOWDOWN	2

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
	u32 heads = m->n_heads + 2 * m->n_kv_heads, wide;
	u64 shared, used;

	carve(&c, 1, sizeof(*sc));
	/* Many widths are multiples of 4096: rows would all start in the same set of the caches. */
	sc->x_stride = m->hidden_pad + BN_LANES;
	sc->mix_stride = m->attn_pad + BN_LANES;
	sc->act_stride = m->ffn_pad + BN_LANES;
	wide = max2(max2(m->hidden_pad, m->ffn_pad), m->attn_pad);
	sc->norm_stride = max2(wide, bn_round_up(heads * m->head_dim, BN_LANES)) + BN_LANES;
	sc->q8_stride = wide + 64;
	sc->qkv_stride = heads * m->head_pad;
	sc->att_stride = m->n_heads * m->head_pad;
	sc->ml_stride = bn_round_up(2 * m->n_heads, BN_LANES);
	sc->rope_stride = bn_round_up(max2(m->rope_dims / 2, 1), BN_LANES);
	sc->logits_stride = bn_round_up(m->vocab, BN_LANES);
	sc->n_blocks = tiles_of(m->vocab, BN_VOCAB_BLOCK);
	sc->n_lower = tiles_of(m->vocab, BN_HEAD_ROWS);
	sc->head_q_stride = BN_HEAD_Q_BYTES(m->embd_pad);
	sc->kept_stride = sc->x_stride + 2 * sc->rope_stride;

	/* Of the layers, and no longer needed when there are logits: the same memory */
	shared = c.used;
	sc->mix = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->mix_stride);
	sc->act = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->act_stride);
	sc->norm = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->norm_stride);
	sc->q8 = carve(&c, BN_MAX_ROWS, sc->q8_stride);
	sc->att = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->att_stride);
	used = c.used;
	c.used = shared;
	sc->logits = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float) * (u64)sc->logits_stride);
	c.used = c.used > used ? c.used : used;

	sc->x = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->x_stride);
	sc->q_sum = carve(&c, BN_MAX_ROWS, sizeof(s32));
	sc->q_inv = carve(&c, BN_MAX_ROWS, sizeof(float));
	sc->qkv = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->qkv_stride);
	sc->ml = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->ml_stride);
	sc->cos = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->rope_stride);
	sc->sin = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->rope_stride);
	for (u32 i = 0; i < BN_STEP_KEPT; i++)
		sc->kept[i] = carve(&c, BN_MAX_ROWS, sizeof(float) * sc->kept_stride);
	sc->head_in = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float) * sc->x_stride);
	sc->lower = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float) * (u64)sc->n_lower);
	sc->head_q = carve(&c, BN_MAX_HEAD_ROWS, sc->head_q_stride);
	sc->head_step = carve(&c, BN_MAX_HEAD_ROWS, sizeof(float));
	sc->head = carve(&c, BN_MAX_HEAD_ROWS, sizeof(*sc->head));
	sc->tokens = carve(&c, BN_MAX_HEAD_ROWS, sizeof(u32) * BN_MAX_CANDIDATES);
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
	s->scratch->elems = max2(min2(ops->macs_per_us / F32_SLOWDOWN, 8192), 512);
	s->samplers = s->scratch->samplers;
	s->streams = bn_likes_streams();
}

u32 bn_step_pause(const struct bn_step *s, u32 phase)
{
	u32 layers = phase ? (phase - 1) / BN_LAYER_PHASES + 1 : 1;

	if (s->scratch->linear || layers > s->model->n_layers)
		return s->n_phases;
	return 1 + layers * BN_LAYER_PHASES;
}

void bn_step_keep(struct bn_step *s, u32 place)
{
	struct bn_scratch *sc = s->scratch;
	float *kept = sc->kept[place];

	for (u32 r = 0; r < s->n_rows; r++, kept += sc->kept_stride) {
		memcpy(kept, sc->x + (size_t)r * sc->x_stride, sc->x_stride * sizeof(float));
		memcpy(kept + sc->x_stride, sc->cos + (size_t)r * sc->rope_stride,
		       sc->rope_stride * sizeof(float));
		memcpy(kept + sc->x_stride + sc->rope_stride,
		       sc->sin + (size_t)r * sc->rope_stride, sc->rope_stride * sizeof(float));
	}
}

void bn_step_take_up(struct bn_step *s, u32 place, u32 from, u32 to, u32 n)
{
	struct bn_scratch *sc = s->scratch;
	const float *kept = sc->kept[place] + (size_t)from * sc->kept_stride;

	for (u32 r = to; r < to + n; r++, kept += sc->kept_stride) {
		memcpy(sc->x + (size_t)r * sc->x_stride, kept, sc->x_stride * sizeof(float));
		memcpy(sc->cos + (size_t)r * sc->rope_stride, kept + sc->x_stride,
		       sc->rope_stride * sizeof(float));
		memcpy(sc->sin + (size_t)r * sc->rope_stride,
		       kept + sc->x_stride + sc->rope_stride, sc->rope_stride * sizeof(float));
	}
}

void bn_step_drop(struct bn_step *s, u32 place, u32 rows)
{
	struct bn_scratch *sc = s->scratch;

	memset(sc->kept[place], 0, (size_t)rows * sc->kept_stride * sizeof(float));
}

u64 bn_tile_weight_bytes(void *buffer)
{
	struct bn_tile_buffer *b = buffer;
	u64 bytes = b->weight_bytes;

	b->weight_bytes = 0;
	return bytes;
}

void bn_step_wipe(struct bn_step *s)
{
	struct bn_scratch *sc = s->scratch;
	u64 rows = sc->dirty_rows, slots = sc->dirty_slots;

	memset(sc->x, 0, rows * sc->x_stride * sizeof(float));
	memset(sc->norm, 0, rows * sc->norm_stride * sizeof(float));
	memset(sc->mix, 0, rows * sc->mix_stride * sizeof(float));
	memset(sc->act, 0, rows * sc->act_stride * sizeof(float));
	memset(sc->q8, 0, rows * sc->q8_stride);
	memset(sc->q_sum, 0, rows * sizeof(s32));
	memset(sc->q_inv, 0, rows * sizeof(float));
	memset(sc->qkv, 0, rows * sc->qkv_stride * sizeof(float));
	memset(sc->att, 0, rows * sc->att_stride * sizeof(float));
	memset(sc->ml, 0, rows * sc->ml_stride * sizeof(float));
	memset(sc->cos, 0, rows * sc->rope_stride * sizeof(float));
	memset(sc->sin, 0, rows * sc->rope_stride * sizeof(float));
	memset(sc->head_in, 0, slots * sc->x_stride * sizeof(float));
	memset(sc->logits, 0, slots * sc->logits_stride * sizeof(float));
	memset(sc->lower, 0, slots * sc->n_lower * sizeof(float));
	memset(sc->head_q, 0, slots * sc->head_q_stride);
	memset(sc->head_step, 0, slots * sizeof(float));
	memset(sc->head, 0, slots * sizeof(*sc->head));
	memset(sc->tokens, 0, slots * sizeof(u32) * BN_MAX_CANDIDATES);
	memset(sc->blocks, 0, slots * sc->n_blocks * sizeof(*sc->blocks));
	memset(sc->samplers, 0, slots * sizeof(*sc->samplers));
	sc->dirty_rows = sc->dirty_slots = 0;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Lines of @blocks blocks that a piece may take, from time and from bytes; at least 1 */
static u32 piece_lines(const struct bn_step *s, const struct bn_matrix *w, u32 blocks)
{
	u32 rate = s->n_rows > 1 ? s->ops->batch_macs_per_us : s->ops->macs_per_us;
	u64 macs = (u64)blocks * bn_block_cols(w->packing) * s->n_rows;
	u32 n;

	if (w->by_column && s->n_rows > 1 && s->n_rows < COLUMN_ROWS)
		rate = max2(rate * s->n_rows / COLUMN_ROWS, s->ops->macs_per_us);
	n = (u32)((u64)rate * PIECE_US / macs);
	n = min2(n, BN_SECTION_BYTES / (blocks * BN_BLOCK_BYTES));
	if (s->n_rows <= BN_SPARSE_ROWS)
		n = min2(n, BN_PIECE_LINES);
	/* The kernels take four lines at a time; in batches, up to 32 outputs, or 64 columns. */
	if (n >= 64 && s->n_rows > 1 && w->by_column)
		n &= ~63U;
	else if (n >= 32 && s->n_rows > 1)
		n &= ~31U;
	else if (n >= 16 && s->n_rows > 1)
		n &= ~15U;
	else if (n >= 4)
		n &= ~3U;
	return max2(n, 1);
}

/*
 * Bytes of a tile of one row of activations: so that each worker has several, the last of which
 * takes little time beside all, but claims them rarely.
 */
static u32 tile_bytes(u64 bytes)
{
	return max2(min2((u32)(bytes / 8), 2 * BN_SECTION_BYTES), 16384);
}

/* Are rows of @w to be taken from BN_PARTS parts at once? */
static bool has_parts(const struct bn_step *s, const struct bn_matrix *w)
{
	return s->streams && s->n_rows == 1 && w->rows % BN_PARTS == 0;
}

/* Rows of @w, in tiles of whole pieces, about as many as workers can share */
static void plan_rows(struct bn_step *s, enum bn_phase_kind kind, const struct bn_matrix *w,
		      bool parts)
{
	struct bn_scratch *sc = s->scratch;
	u32 piece = piece_lines(s, w, w->line_bytes / BN_BLOCK_BYTES);
	u32 lines = tiles_of(w->rows, TILES_WANTED);

	sc->parts[kind] = parts && piece >= BN_PARTS ? BN_PARTS : 1;
	if (s->n_rows == 1)
		lines = tile_bytes((u64)w->rows * w->line_bytes) /
			(sc->parts[kind] * w->line_bytes);
	sc->piece_lines[kind] = max2(piece / sc->parts[kind], 1);
	sc->tile_lines[kind] = bn_round_up(max2(lines, 1), sc->piece_lines[kind]);
	sc->tiles[kind] = bn_row_tiles(sc, kind, w);
}

/* A phase of products with @w: tiles of rows, or by column of whole blocks */
static void plan_matrix(struct bn_step *s, enum bn_phase_kind kind, const struct bn_matrix *w)
{
	struct bn_scratch *sc = s->scratch;
	u32 block_cols = bn_block_cols(w->packing);
	u32 wanted = s->n_rows > FEW_ROWS ? TILES_WANTED : COLUMN_TILES_WANTED;

	if (!w->by_column) {
		plan_rows(s, kind, w, has_parts(s, w));
		return;
	}
	sc->tile_rows[kind] = bn_round_up(tiles_of(w->rows, wanted), block_cols);
	sc->piece_lines[kind] = piece_lines(s, w, sc->tile_rows[kind] / block_cols);
	sc->tiles[kind] = tiles_of(w->rows, sc->tile_rows[kind]);
}

/* Of few rows: tiles of whole columns, each of which has rows of @norm for its sums. */
static void plan_columns(struct bn_step *s, const struct bn_matrix *w)
{
	u32 wanted = min2(max2(2 * s->workers, 4), MOST_DOWN_TILES);
	struct bn_scratch *sc = s->scratch;

	sc->piece_lines[BN_PHASE_DOWN] = piece_lines(s, w, w->line_bytes / BN_BLOCK_BYTES);
	if (sc->sparse_columns && s->n_rows > 1)
		sc->piece_lines[BN_PHASE_DOWN] = max2(min2(BN_SECTION_BYTES / w->line_bytes,
							   BN_PIECE_LINES), 1);
	wanted = min2(wanted, BN_MAX_ROWS / s->n_rows);
	sc->down_cols = bn_round_up(tiles_of(w->cols, wanted), 8);
	sc->tiles[BN_PHASE_DOWN] = tiles_of(w->cols, sc->down_cols);
	sc->dirty_rows = max2(sc->dirty_rows, sc->tiles[BN_PHASE_DOWN] * s->n_rows);
	sc->add_tiles = ADD_TILES;
	sc->tiles[BN_PHASE_DOWN_ADD] = ADD_TILES * s->n_rows;
}

/* Rows that follow each other in one session, up to @most, are a group. */
static void plan_groups(struct bn_step *s, u32 most)
{
	struct bn_scratch *sc = s->scratch;
	u32 n = 0;

	for (u32 i = 0; i < s->n_rows; i++)
		if (!n || s->rows[i].kv != s->rows[i - 1].kv || i - sc->group_row[n - 1] == most)
			sc->group_row[n++] = (u8)i;
	sc->group_row[n] = (u8)s->n_rows;
	sc->n_groups = n;
}

/*
 * Are there too few rows and heads for all workers to have tiles of the attention? Then the scores
 * are computed by ranges of positions, if there is memory for them. @calls: query heads that fit a
 * piece.
 */
static void plan_scores(struct bn_step *s, u32 calls)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 heads = s->n_rows * m->n_kv_heads, group = m->n_heads / m->n_kv_heads;
	u32 positions = 0, tiles;
	u64 elems;

	sc->score_positions = sc->score_tiles = 0;
	for (u32 i = 0; i < s->n_rows; i++)
		positions = max2(positions, s->rows[i].pos + 1);
	if (heads >= TILES_WANTED || positions < SPLIT_POSITIONS || group > calls ||
	    group > BN_ATTN_HEADS)
		return;
	/* Scores are computed while keys are stored: there must be none of a row beside. */
	for (u32 i = 1; i < s->n_rows; i++)
		for (u32 j = 0; j < i; j++)
			if (s->rows[i].kv == s->rows[j].kv)
				return;
	tiles = min2(tiles_of(TILES_WANTED, heads), tiles_of(positions, BN_ATTN_CHUNK));
	positions = bn_round_up(tiles_of(positions, tiles), BN_ATTN_CHUNK);
	elems = (u64)s->n_rows * m->n_heads * tiles * positions;
	if (elems > (u64)BN_MAX_ROWS * sc->norm_stride)
		return;
	sc->score_positions = positions;
	sc->score_tiles = tiles;
	sc->dirty_rows = max2(sc->dirty_rows, tiles_of((u32)elems, sc->norm_stride));
	sc->dirty_rows = max2(sc->dirty_rows, s->n_rows * tiles);
}

/* Making keys and values of a chunk f32 takes as long as three or four queries with it save. */
#define WIDEN_QUERIES		4
#define WIDE_CALLS		6	/* a piece has to have, or that takes too much of it */

/* Do pieces make a chunk f32, if there are queries enough? */
static void plan_wide(struct bn_step *s)
{
	struct bn_scratch *sc = s->scratch;
	u32 floats = BN_ATTN_CHUNK * (BN_ATTN_ROWS * sc->attn_heads + 2 * s->model->head_pad);
	u32 calls = tiles_of(WIDEN_QUERIES, sc->attn_heads);

	sc->attn_widen = 0;
	if (!sc->score_positions && sc->attn_heads >= s->model->n_heads / s->model->n_kv_heads &&
	    floats * sizeof(float) <= BN_TMP_BYTES &&
	    sc->attn_calls >= calls + WIDE_CALLS)
		sc->attn_widen = calls;
}

static void plan_attention(struct bn_step *s)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;
	u32 group = m->n_heads / m->n_kv_heads;
	u32 calls = (u32)((u64)s->ops->macs_per_us / ATTN_SLOWDOWN * PIECE_US /
			  (2 * BN_ATTN_CHUNK * m->head_pad));

	plan_scores(s, calls);
	sc->attn_heads = max2(min2(min2(calls, group), BN_ATTN_HEADS), 1);
	sc->attn_calls = max2(2 * calls / sc->attn_heads, 2);
	sc->rope_heads = s->n_rows * m->n_kv_heads < TILES_WANTED ? 1 : m->n_kv_heads;
	plan_wide(s);
	plan_groups(s, sc->score_positions ? 1 : BN_ATTN_ROWS);
	sc->tiles[BN_PHASE_ROPE] = s->n_rows * tiles_of(m->n_kv_heads, sc->rope_heads) *
				   max2(sc->score_tiles, 1);
	sc->tiles[BN_PHASE_ATTENTION] = sc->n_groups * m->n_kv_heads;
}

/* Rows of the high plane that a piece may take; kernels for several slots take 32 at a time. */
static u32 head_rows(const struct bn_step *s, u32 slots)
{
	u32 rate = slots > 1 ? s->ops->batch_macs_per_us : s->ops->macs_per_us;
	u32 cols = s->model->embd_pad, bytes = bn_high_bytes(cols);
	u32 n = rate / HEAD_SLOWDOWN * PIECE_US / (cols * slots);

	if (slots > 1 && n >= 32 && 32 * bytes <= 2 * BN_SECTION_BYTES)
		return min2(n, 2 * BN_SECTION_BYTES / bytes) & ~31U;
	return max2(min2(n, BN_SECTION_BYTES / bytes) & ~3U, 1);
}

/*
 * Up to how many rows of activations are multiplied one by one with what matters for each? In a
 * batch, a variant that multiplies much faster, by AMX, has done it all before.
 */
static u32 sparse_rows(const struct bn_step *s)
{
	return s->ops->batch_macs_per_us / 8 > s->ops->macs_per_us ? 4 : BN_SPARSE_ROWS;
}

static void plan_tiles(struct bn_step *s)
{
	const struct bn_model *m = s->model;
	const struct bn_layer *l = &m->layers[0];
	struct bn_scratch *sc = s->scratch;
	u32 f32_per_us = max2(s->ops->macs_per_us / F32_SLOWDOWN, 1);
	bool zeros = m->activation == BITNET_ACT_RELU2 && !s->dense;
	u32 n;

	for (u32 kind = 0; kind < BN_PHASE_KINDS; kind++)
		sc->tiles[kind] = s->n_rows;
	sc->sparse = zeros && s->n_rows <= sparse_rows(s);
	sc->sparse_columns = sc->sparse || (zeros && s->n_rows <= BY_ROW);

	/* All layers have the same shapes: bn_model_parse() saw to it. */
	plan_rows(s, BN_PHASE_QKV, &l->attn_q,
		  has_parts(s, &l->attn_q) && has_parts(s, &l->attn_k));
	sc->q_tiles = sc->tiles[BN_PHASE_QKV];
	sc->kv_tiles = bn_row_tiles(sc, BN_PHASE_QKV, &l->attn_k);
	sc->tiles[BN_PHASE_QKV] += 2 * sc->kv_tiles;

	plan_attention(s);

	plan_matrix(s, BN_PHASE_ATTN_OUT, &l->attn_out);
	plan_matrix(s, BN_PHASE_GATE_UP, &l->ffn_gate);
	plan_matrix(s, BN_PHASE_DOWN, &l->ffn_down);
	sc->down_cols = 0;
	sc->add_tiles = 1;
	if (l->ffn_down.by_column && s->n_rows <= FEW_ROWS)
		plan_columns(s, &l->ffn_down);

	sc->sparse_lines = max2(SPARSE_PAIRS / s->n_rows, 1);
	sc->sparse_products = s->ops->macs_per_us * PIECE_US / m->hidden_pad;

	sc->tiles[BN_PHASE_OUT_NORM] = s->n_slots;
	sc->tiles[BN_PHASE_HEAD] = sc->n_blocks;
	sc->tiles[BN_PHASE_SELECT] = s->n_slots;
	sc->tiles[BN_PHASE_REFINE] = sc->n_blocks;
	sc->tiles[BN_PHASE_SAMPLE] = s->n_slots;

	n = f32_per_us * PIECE_US / m->embd_pad;
	sc->head_slots = max2(min2(n, s->n_slots), 1);
	n /= sc->head_slots;
	sc->full_rows = max2(min2(n, BN_SECTION_BYTES / (2 * m->embd_pad)), 1);
	sc->head_rows = head_rows(s, sc->head_slots);
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
	sampler->all_logits = true;
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

	if (!r->w || !r->x || !r->x_sum || !r->y || !r->rows || r->rows > BN_MAX_ROWS)
		return BN_EPARAM;
	if (r->x_stride < bn_cols_pad(r->w->cols))
		return BN_EPARAM;
	s->n_rows = r->rows;
	s->n_slots = 0;
	s->n_phases = 1;
	if (r->w->by_column)
		plan_matrix(s, BN_PHASE_LINEAR, r->w);
	else
		plan_rows(s, BN_PHASE_LINEAR, r->w, false);
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

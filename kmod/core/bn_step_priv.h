/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_step_priv.h - scratch memory of a step: shared by bn_step.c and bn_step_plan.c, nobody else
 */
#ifndef BN_STEP_PRIV_H
#define BN_STEP_PRIV_H

#include "bn_step.h"

enum bn_phase_kind {
	BN_PHASE_EMBED,
	/* those of a layer, in order */
	BN_PHASE_ATTN_NORM,
	BN_PHASE_QKV,
	BN_PHASE_ROPE,			/* of few rows behind a long context: scores too */
	BN_PHASE_ATTENTION,
	BN_PHASE_ATTN_SUB_NORM,
	BN_PHASE_ATTN_OUT,
	BN_PHASE_FFN_NORM,
	BN_PHASE_GATE_UP,
	BN_PHASE_FFN_SUB_NORM,
	BN_PHASE_DOWN,
	BN_PHASE_DOWN_ADD,
	/* behind the last layer, if there are slots */
	BN_PHASE_OUT_NORM,
	BN_PHASE_HEAD,
	BN_PHASE_SELECT,
	BN_PHASE_REFINE,
	BN_PHASE_SAMPLE,
	/* a step of its own */
	BN_PHASE_LINEAR,
	BN_PHASE_KINDS,
};

#define BN_LAYER_PHASES	(BN_PHASE_DOWN_ADD - BN_PHASE_ATTN_NORM + 1)
#define BN_HEAD_PHASES	(BN_PHASE_SAMPLE - BN_PHASE_OUT_NORM + 1)

/**
 * struct bn_scratch - start of the scratch memory; the buffers lie behind it
 *
 * Buffers hold one row (or slot) behind the other, @*_stride elements apart; they are 64-byte
 * aligned, and what is behind a row's true length is zero when it is read. @norm, @mix, @act, @q8
 * and @att share memory with @logits: none of them lives on from one layer to the next, nor to what
 * comes behind the last. Those of BN_MAX_ROWS rows:
 *
 * @x:		f32 residual stream [x]
 * @norm:	f32 what was normalised last, or the gate; before that int32 products, which are
 *		made floats in place or added to @x. Of few rows, each tile of BN_PHASE_DOWN has
 *		rows of its own, and all of it are the scores of the attention [norm]
 * @mix:	f32 result of the attention, heads without padding [mix]
 * @act:	f32 result of the GLU; before that up [act]
 * @q8:		int8 quantised row [q8], with @q_sum and @q_inv
 * @qkv:	f32 heads, padded: q (scaled by 1/sqrt(head_dim)), then k, then v [qkv]
 * @att:	f32 running sums of the attention, heads padded; before that each tile's rotated
 *		queries, where scores are computed apart [att]
 * @ml:		f32 its maximum and sum for each head [ml]
 * @cos, @sin:	f32 of the row's position [rope]
 * @kept:	x, cos and sin of the rows of steps that were put aside [kept]
 *
 * and those of BN_MAX_HEAD_ROWS slots:
 *
 * @head_in:	f32 normalised row [x]
 * @head_q:	the same as integers [head_q bytes]
 * @logits:	f32 [logits]
 * @lower:	f32 what the largest logit of BN_HEAD_ROWS tokens each is at least [n_lower]
 * @blocks:	statistics of each block of logits [n_blocks]
 * @tokens:	for the sampler [BN_MAX_CANDIDATES]
 * @head, @head_step: what is known of the slot's logits
 */
struct bn_scratch {
	u32 x_stride, norm_stride, mix_stride, act_stride, q8_stride, qkv_stride, att_stride;
	u32 ml_stride, rope_stride, logits_stride, n_blocks, head_q_stride, n_lower;
	u32 kept_stride;
	float *x, *norm, *mix, *act;
	s8 *q8;
	s32 *q_sum;
	float *q_inv;
	float *qkv, *att, *ml, *cos, *sin;
	float *kept[BN_STEP_KEPT];
	float *head_in, *logits, *lower, *head_step;
	u8 *head_q;
	struct bn_head_slot *head;
	struct bn_block_stats *blocks;
	u32 *tokens;
	struct bn_sampler *samplers;
	u32 elems;			/* elements of a piece of element-wise work */
	/* what was used since the last wipe */
	u32 dirty_rows, dirty_slots;
	/* of the step that is being computed */
	bool linear;
	bool sparse;			/* up is multiplied with a row's open channels only ... */
	bool sparse_columns;		/* ... and ffn_down with a row's inputs that are not 0 */
	u32 q_tiles, kv_tiles;		/* of BN_PHASE_QKV: q's, then k's, then v's */
	u32 tiles[BN_PHASE_KINDS];
	/*
	 * Of the ternary phases by row: rows are taken from one part of the matrix, or from
	 * BN_PARTS equal ones at once, of each of which a tile has lines that follow each other.
	 */
	u32 parts[BN_PHASE_KINDS];
	u32 tile_lines[BN_PHASE_KINDS];	/* of each part */
	u32 tile_rows[BN_PHASE_KINDS];	/* by column: out features of a tile */
	u32 down_cols;			/* columns of a tile of BN_PHASE_DOWN; 0: outputs */
	u32 add_tiles;			/* of BN_PHASE_DOWN_ADD, for each row */
	u32 piece_lines[BN_PHASE_KINDS]; /* of each part, or columns of a matrix by column */
	u32 sparse_lines;		/* of a piece, if several rows are sparse ... */
	u32 sparse_products;		/* ... and products of one of them with a row */
	u32 head_slots;			/* slots of a piece of logits */
	u32 head_rows;			/* vocabulary rows of it, of the high plane ... */
	u32 full_rows;			/* ... or of both */
	u32 rope_heads;			/* key/value heads of a tile of BN_PHASE_ROPE */
	u32 score_positions;		/* with scores: their positions; else 0 */
	u32 score_tiles;		/* such tiles of a row and key/value head */
	u32 attn_heads;			/* query heads of one call */
	u32 attn_calls;			/* calls of a piece, with keys or values only, or f32 ... */
	u32 attn_widen;			/* ... and as how many it counts to make a chunk f32 */
	u32 n_groups;			/* of rows that a tile of the attention takes together */
	u8 group_row[BN_MAX_ROWS + 1];	/* the first row of each, and behind the last */
};

/**
 * struct bn_head_slot - how the logits of a slot are found
 * @certified:	first from the high plane alone; else all from both
 * @per_scale, @per_error: how far such logits are off at most, see struct bn_head_error
 * @threshold:	logits below it cannot matter
 * @least:	progress of BN_PHASE_SELECT: the least of the exact logits so far ...
 * @found:	... and how many they are
 * @wanted:	rank that the threshold is to have among the lower bounds left
 * @prefix:	bytes of the threshold's key found so far
 */
struct bn_head_slot {
	bool certified;
	float per_scale, per_error, threshold, least;
	u32 found, wanted, prefix;
};

/* Numbers of lines for one piece of a product, a multiple of 8, and to prefetch behind them */
#define BN_PIECE_LINES	256
#define BN_AHEAD_LINES	48

/* Query heads of a key/value head that one call takes, at most */
#define BN_ATTN_HEADS	32

/* Rows of one session whose attention a tile computes together: keys and values are read once */
#define BN_ATTN_ROWS	8

/* With so many queries for each key and value, it pays to make these f32 before */
#define BN_WIDE_QUERIES	16

/*
 * Channels of the FFN whose gates are computed before rows of up are fetched for them: so many
 * lines of each part
 */
#define BN_STRIP_LINES	16

/*
 * struct bn_tile_buffer - the memory of whoever computes a tile, BN_TILE_BYTES long
 * @tmp:	for the operations
 * @weight_bytes: weights read since bn_tile_weight_bytes() was asked
 * @list, @index: lines wanted in this piece, as addresses or numbers
 * @of_row:	of those in @index, the ones wanted by one row of activations
 * @fetch:	lines that a product is to fetch meanwhile, see struct bn_product
 * @soon:	lines of the next piece
 * @gate, @up:	their elements, of one row of activations
 */
struct bn_tile_buffer {
	u8 tmp[BN_TMP_BYTES];
	u64 weight_bytes;
	const u8 *list[BN_PIECE_LINES + BN_AHEAD_LINES];
	const u8 *fetch[BN_FETCH_LINES * BN_STRIP_LINES];
	const u8 *soon[BN_PIECE_LINES];
	u32 index[2 * BN_PIECE_LINES + 8];	/* eight are looked at together */
	u32 of_row[BN_PIECE_LINES];
	float gate[BN_PIECE_LINES];
	float up[BN_PIECE_LINES];
};

/* bn_row_tiles() - tiles that the rows of @w make in a phase */
static inline u32 bn_row_tiles(const struct bn_scratch *sc, enum bn_phase_kind kind,
			       const struct bn_matrix *w)
{
	u32 lines = sc->tile_lines[kind];

	return (w->rows / sc->parts[kind] + lines - 1) / lines;
}

/* bn_weights_at() - the better address of weights at @p, if all lie in one chunk that has one */
static inline const u8 *bn_weights_at(const struct bn_model *m, const u8 *p, u64 bytes)
{
	u64 at = (u64)(p - m->base), chunk = at / BN_CHUNK_BYTES;

	if (!m->chunks || (at + bytes - 1) / BN_CHUNK_BYTES != chunk || !m->chunks[chunk])
		return p;
	return m->chunks[chunk] + at % BN_CHUNK_BYTES;
}

/* bn_head.c: pieces of the head's phases; as bn_step_tile() */
void bn_head_prepare(struct bn_step *s, u32 slot);
bool bn_head_logits(struct bn_step *s, u32 block, u32 *cursor, struct bn_tile_buffer *buffer);
bool bn_head_select(struct bn_step *s, u32 slot, u32 *cursor, struct bn_tile_buffer *buffer);
bool bn_head_refine(struct bn_step *s, u32 block, u32 *cursor, struct bn_tile_buffer *buffer);

static inline enum bn_phase_kind bn_phase_kind(const struct bn_step *s, u32 phase)
{
	u32 layers = s->model->n_layers * BN_LAYER_PHASES;

	if (s->scratch->linear)
		return BN_PHASE_LINEAR;
	if (phase == 0)
		return BN_PHASE_EMBED;
	phase--;
	if (phase < layers)
		return BN_PHASE_ATTN_NORM + phase % BN_LAYER_PHASES;
	phase -= layers;
	return phase < BN_HEAD_PHASES ? BN_PHASE_OUT_NORM + phase : BN_PHASE_SAMPLE;
}

#endif /* BN_STEP_PRIV_H */

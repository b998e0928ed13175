/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_step.h - one pass of up to BN_MAX_ROWS rows through all layers, cut into phases of tiles
 *
 * The engine says what work there is; who does it is the caller's business. A step is a sequence of
 * phases; the tiles of one phase may run in any order and in parallel on any CPUs; a phase may
 * start when all tiles of the one before are done. Results do not depend on who did what.
 */
#ifndef BN_STEP_H
#define BN_STEP_H

#include "bn_sampler.h"

#define BN_NO_SLOT	0xffffU

/*
 * Up to so many rows, a step reads only those rows of ffn_up and columns of ffn_down that matter
 * for one of them, and multiplies each row only with those that matter for it.
 */
#define BN_SPARSE_ROWS	16

/**
 * struct bn_kv - a session's key/value cache
 * @data:	f16, bn_kv_bytes() long: [layer][K, V][kv_head][n_ctx][head_pad]
 * @n_ctx:	capacity in tokens
 * @n_past:	tokens held (rows fed in finished steps); owned by whoever builds steps
 */
struct bn_kv {
	u16 *data;
	u32 n_ctx;
	u32 n_past;
};

/**
 * struct bn_row - one token position
 * @kv:		cache that it reads (positions 0 .. pos) and writes (pos)
 * @token:	input token, < vocab
 * @pos:	position, < kv->n_ctx; rows of one session in a step have consecutive positions,
 *		ascending
 * @slot:	head slot, each used once and from 0 on without holes, or BN_NO_SLOT
 */
struct bn_row {
	struct bn_kv *kv;
	u32 token;
	u32 pos;
	u32 slot;
};

/**
 * struct bn_linear_req - a LINEAR job as a step of its own kind
 * @w:		matrix
 * @x:		int8 rows, each padded with zeros to bn_cols_pad(w->cols)
 * @x_stride:	bytes between them
 * @x_sum:	their sums
 * @y:		int32 rows x w->rows, 4-byte aligned, dense; may be memory shared with a process:
 *		only written
 * @rows:	1 .. BN_MAX_ROWS
 */
struct bn_linear_req {
	const struct bn_matrix *w;
	const s8 *x;
	size_t x_stride;
	const s32 *x_sum;
	s32 *y;
	u32 rows;
};

struct bn_scratch;	/* layout private to bn_step.c */

/**
 * struct bn_step - a step being computed
 * @dense:	set by the caller: read all weights, also where they cannot matter (to measure)
 * @workers:	set by the caller: how many will probably take tiles; with the right number, each
 *		of them reads what follows on what it read before. 0 is as good as 1
 * @streams:	rows that one row of activations is multiplied with are read in BN_PARTS places at
 *		once, and of several rows what comes next is fetched so; bn_step_init() takes what
 *		this CPU reads faster, the caller may change it
 * @samplers:	one per head slot: the caller fills params, recent, position, force of used slots
 *		after bn_step_begin() and before the first tile; results are there after the last
 *		phase
 */
struct bn_step {
	const struct bn_ops *ops;
	const struct bn_model *model;
	struct bn_scratch *scratch;
	u32 n_rows, n_slots;
	struct bn_row rows[BN_MAX_ROWS];
	u16 slot_row[BN_MAX_HEAD_ROWS];
	struct bn_sampler *samplers;
	struct bn_linear_req linear;
	u32 n_phases;
	u32 workers;
	bool dense;
	bool streams;
};

/**
 * bn_scratch_bytes() - scratch memory that steps of @m need (zeroed, 64-byte aligned, reused). No
 * FPU
 */
u64 bn_scratch_bytes(const struct bn_model *m);

/** bn_step_init() - bind a step to its model, variant and scratch; once. No FPU */
void bn_step_init(struct bn_step *s, const struct bn_model *m, const struct bn_ops *ops,
		  void *scratch);

/**
 * bn_step_begin() - start a pass over s->rows[0 .. n_rows-1], which the caller has filled
 *
 * Checks rows against the limits in their doc. No FPU. Return: BN_OK, BN_ERANGE or BN_EPARAM.
 */
enum bn_err bn_step_begin(struct bn_step *s, u32 n_rows);

/** bn_step_begin_linear() - start a step that only computes s->linear. No FPU */
enum bn_err bn_step_begin_linear(struct bn_step *s);

/** bn_step_tiles() - tiles of phase @phase (>= 1), phases are 0 .. s->n_phases-1. No FPU */
u32 bn_step_tiles(const struct bn_step *s, u32 phase);

/**
 * bn_step_layer() - layer that @phase belongs to; n_layers for what comes after the last. No FPU
 */
u32 bn_step_layer(const struct bn_step *s, u32 phase);

/**
 * bn_step_tile() - compute one piece of one tile
 * @cursor:	0 at the tile's first piece; private to the tile in between
 * @buffer:	BN_TILE_BYTES of the caller, 64-byte aligned, zeroed once; holds activations
 *		afterwards
 *
 * One piece fits an FPU section: at most BN_SECTION_BYTES of weights at batch 1, less for larger
 * batches and slow variants. Needs the FPU. Return: true if the tile has another piece.
 */
bool bn_step_tile(struct bn_step *s, u32 phase, u32 tile, u32 *cursor, void *buffer);
#define BN_TILE_BYTES	(BN_TMP_BYTES + 12288)

/** bn_tile_weight_bytes() - weights read with @buffer since it was last asked. No FPU */
u64 bn_tile_weight_bytes(void *buffer);

/**
 * bn_step_pause() - the first phase behind @phase before which the step can be put aside. No FPU
 *
 * That is the first of each layer, and of what comes behind the layers. Return: n_phases if there
 * is none.
 */
u32 bn_step_pause(const struct bn_step *s, u32 phase);

#define BN_STEP_KEPT	2	/* steps that can be put aside at a time */

/**
 * bn_step_keep() - put the step aside before a phase that bn_step_pause() named
 * @place:	0 .. BN_STEP_KEPT - 1
 *
 * Keeps what later phases need of all rows, but the caches, which they are in. No FPU
 */
void bn_step_keep(struct bn_step *s, u32 place);

/**
 * bn_step_take_up() - rows of a step that was put aside become rows of the one that was just begun
 * @from, @to:	number of the first then, and now
 * @n:		rows
 *
 * That step then starts with the phase before which the other was put aside. No FPU
 */
void bn_step_take_up(struct bn_step *s, u32 place, u32 from, u32 to, u32 n);

/** bn_step_drop() - zero what @rows rows have left in a place, at last. No FPU */
void bn_step_drop(struct bn_step *s, u32 place, u32 rows);

/**
 * bn_step_wipe() - zero activations and logits (before scratch serves another user's rows). No FPU
 */
void bn_step_wipe(struct bn_step *s);

#endif /* BN_STEP_H */

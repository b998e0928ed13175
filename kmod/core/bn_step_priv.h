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
	BN_PHASE_ROPE,
	BN_PHASE_ATTENTION,
	BN_PHASE_ATTN_SUB_NORM,
	BN_PHASE_ATTN_OUT,
	BN_PHASE_FFN_NORM,
	BN_PHASE_GATE_UP,
	BN_PHASE_FFN_SUB_NORM,
	BN_PHASE_DOWN,
	/* behind the last layer, if there are slots */
	BN_PHASE_OUT_NORM,
	BN_PHASE_HEAD,
	BN_PHASE_SAMPLE,
	/* a step of its own */
	BN_PHASE_LINEAR,
	BN_PHASE_KINDS,
};

#define BN_LAYER_PHASES	(BN_PHASE_DOWN - BN_PHASE_ATTN_NORM + 1)
#define BN_HEAD_PHASES	(BN_PHASE_SAMPLE - BN_PHASE_OUT_NORM + 1)

/**
 * struct bn_scratch - start of the scratch memory; the buffers lie behind it
 *
 * Buffers hold one row (or slot) behind the other, @*_stride elements apart; they are 64-byte
 * aligned, and what is behind a row's true length is zero and stays zero. Those of BN_MAX_ROWS
 * rows:
 *
 * @x:		f32 residual stream [wide]
 * @norm:	f32 what was normalised last, or the gate [wide]
 * @up:		f32 [wide]
 * @mix:	f32 result of the attention (heads without padding), or of the GLU [wide]
 * @q8:		int8 quantised row [q8], with @q_sum and @q_inv
 * @qkv:	f32 heads, padded: q (scaled by 1/sqrt(head_dim)), then k, then v [qkv]
 * @att:	f32 running sums of the attention, heads padded [att]
 * @ml:		f32 its maximum and sum for each head [ml]
 * @cos, @sin:	f32 of the row's position [rope]
 * @acc:	int32 products: a tile uses its own columns of each row [acc]
 *
 * and those of BN_MAX_HEAD_ROWS slots:
 *
 * @head_in:	f32 normalised row [wide]
 * @logits:	f32 [logits]
 * @blocks:	statistics of each block of logits [n_blocks]
 */
struct bn_scratch {
	u32 wide_stride, q8_stride, qkv_stride, att_stride, ml_stride, rope_stride, acc_stride;
	u32 logits_stride, n_blocks;
	float *x, *norm, *up, *mix, *act;
	s8 *q8;
	s32 *q_sum;
	float *q_inv;
	float *qkv, *att, *ml, *cos, *sin;
	s32 *acc;
	float *head_in, *logits;
	struct bn_block_stats *blocks;
	struct bn_sampler *samplers;
	/* what was used since the last wipe */
	u32 dirty_rows, dirty_slots;
	/* of the step that is being computed */
	bool linear;
	u32 q_tiles, kv_tiles;		/* of BN_PHASE_QKV: q's, then k's, then v's */
	u32 tiles[BN_PHASE_KINDS];
	u32 tile_rows[BN_PHASE_KINDS];	/* weight rows of a tile of the ternary phases */
	u32 head_rows;			/* vocabulary rows of a piece */
	u32 attn_heads;			/* query heads of a piece */
	u32 elems;			/* elements of a piece of element-wise work */
};

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

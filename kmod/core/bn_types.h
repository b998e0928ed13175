/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_types.h - limits, errors and the view of a model
 *
 * The engine is a library without allocation, locks, printing, libm or errno. It is compiled into
 * the module and into userspace from the same files. Functions say whether they need the FPU: in
 * the kernel the caller holds a kernel_fpu_begin/end section around those, and calls none of them
 * outside.
 */
#ifndef BN_TYPES_H
#define BN_TYPES_H

#include "bn_env.h"

#define BN_T2_BLOCK_COLS	256	/* weights in a 64-byte block of t2 */
#define BN_T2_BLOCK_BYTES	64
#define BN_LANES		16	/* float reductions: 16 lanes, then a fixed tree */

#define BN_MAX_LAYERS		256
#define BN_MAX_COLS		32768	/* of any matrix: a row of t2 is below a section's 16 KiB */
#define BN_MAX_ROWS_OUT		32768	/* out features of any ternary matrix */
#define BN_MAX_HEADS		256
#define BN_MAX_HEAD_DIM		256
#define BN_MAX_VOCAB		(1U << 20)
#define BN_MAX_CTX		(1U << 20)
#define BN_MAX_IMAGE_BYTES	(64ULL << 30)

#define BN_MAX_ROWS		64	/* rows (token positions) of one step */
#define BN_MAX_HEAD_ROWS	16	/* of these, rows whose logits are wanted */
#define BN_MAX_STOP		16
#define BN_MAX_RECENT		256

#define BN_SECTION_BYTES	16384	/* weights of one tile at batch 1 */

enum bn_err {
	BN_OK = 0,
	BN_EMAGIC,	/* not an image of this version */
	BN_ESHAPE,	/* shapes, formats or offsets contradict each other or the limits */
	BN_ERANGE,	/* token id or length out of range */
	BN_EPARAM,	/* parameter out of range */
	BN_ESELFTEST,	/* variant differs from the reference */
	BN_END,		/* no such case or phase: iteration is over */
};

/**
 * struct bn_matrix - view of a ternary matrix, y = W x
 * @data:	packed rows; hostile for ever: any bytes give in-bounds accesses
 * @rows:	out features
 * @cols:	in features
 * @row_bytes:	stride, a multiple of 64
 * @scale:	multiplies each product
 */
struct bn_matrix {
	const u8 *data;
	u32 rows;
	u32 cols;
	u32 row_bytes;
	float scale;
};

/** struct bn_layer - views of one layer's tensors; the sub-norms may be NULL */
struct bn_layer {
	struct bn_matrix attn_q, attn_k, attn_v, attn_out, ffn_gate, ffn_up, ffn_down;
	const float *attn_norm, *attn_sub_norm, *ffn_norm, *ffn_sub_norm;
};

/**
 * struct bn_model - private, validated copy of an image's structure
 *
 * Filled by bn_model_parse(). @layers points to caller-owned memory of n_layers elements. Strides
 * are in elements: @hidden_pad, @ffn_pad, @attn_pad (= heads * head_dim padded) are rounded up to
 * BN_T2_BLOCK_COLS, so that one activation row can be the input of any matrix; @head_pad is
 * head_dim rounded up to BN_LANES; @embd_stride is the f16 row stride of embedding and head.
 */
struct bn_model {
	u32 n_layers, hidden, ffn, n_heads, n_kv_heads, head_dim, rope_dims, vocab, max_ctx;
	u32 activation;			/* BITNET_ACT_* */
	u32 hidden_pad, ffn_pad, attn_pad, head_pad, embd_stride;
	float norm_eps;
	u64 digest;
	const u16 *token_embd;		/* f16, vocab x embd_stride */
	const u16 *output;		/* f16, vocab x embd_stride; == token_embd when tied */
	const float *output_norm;
	const double *rope_freq;	/* rope_dims / 2 */
	struct bn_layer *layers;
};

static inline u32 bn_round_up(u32 n, u32 multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

#endif /* BN_TYPES_H */

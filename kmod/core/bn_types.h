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

#define BN_BLOCK_BYTES		64	/* of packed weights: the unit of both packings */
#define BN_T2_BLOCK_COLS	256	/* weights in a block of t2 */
#define BN_T1_BLOCK_COLS	320	/* weights in a block of t1 */
#define BN_PLANE_COLS		256	/* elements of an embedding that are packed together */
#define BN_LANES		16	/* float reductions: 16 lanes, then a fixed tree */

#define BN_MAX_LAYERS		256
#define BN_MAX_COLS		32768	/* of any matrix; blocks of t1 make it up to 32,960 */
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

#define BN_SECTION_BYTES	65536	/* weights of one piece at batch 1: some 4 us of reading */

enum bn_err {
	BN_OK = 0,
	BN_EMAGIC,	/* not an image of this version */
	BN_ESHAPE,	/* shapes, formats or offsets contradict each other or the limits */
	BN_ERANGE,	/* token id or length out of range */
	BN_EPARAM,	/* parameter out of range */
	BN_ESELFTEST,	/* variant differs from the reference */
	BN_END,		/* no such case or phase: iteration is over */
};

/* How ternary weights are packed; bn_pack.c has the layouts */
enum bn_packing {
	BN_T2,		/* 2 bits a weight */
	BN_T1,		/* 1.6 bits a weight: five in a byte */
	BN_PACKINGS,
};

/**
 * struct bn_matrix - view of a ternary matrix, y = W x
 * @data:	packed lines: its rows, or with @by_column its columns; hostile for ever: any bytes
 *		give in-bounds accesses
 * @rows:	out features
 * @cols:	in features
 * @line_bytes:	stride of the lines, a multiple of BN_BLOCK_BYTES
 * @packing:	of the lines
 * @by_column:	a line is a column: all weights of one in feature
 * @scale:	multiplies each product
 */
struct bn_matrix {
	const u8 *data;
	u32 rows;
	u32 cols;
	u32 line_bytes;
	u8 packing;
	bool by_column;
	float scale;
};

/**
 * struct bn_embedding - 16-bit fixed point per row: element = (1024 * high + low - 32768) * scale
 * @high:	the upper 6 bits, vocab rows of bn_high_bytes(embd_pad)
 * @low:	the lower 10 bits, vocab rows of bn_low_bytes(embd_pad)
 * @scale:	of each row
 * @error:	of each row, what the low plane can be worth: |scale| * (norm of low - 512)
 *
 * In two planes, so that a step can do with the first one for all but few rows (bn_head.c);
 * bn_pack.c has their layout. All of it is hostile for ever.
 */
struct bn_embedding {
	const u8 *high, *low;
	const float *scale, *error;
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
 * are in elements: @hidden_pad, @ffn_pad, @attn_pad (= heads * head_dim padded) are rounded up by
 * bn_cols_pad(), so that one activation row can be the input of a matrix of any packing; @head_pad
 * is head_dim rounded up to BN_LANES; @embd_pad is the columns of embedding and head rounded up
 * to BN_PLANE_COLS.
 *
 * @base is where the image is mapped, as given to bn_model_parse(). @chunks is the caller's, who
 * may set it afterwards: for each BN_CHUNK_BYTES of the image, a second address of the same bytes
 * that costs fewer TLB misses, or NULL.
 */
struct bn_model {
	u32 n_layers, hidden, ffn, n_heads, n_kv_heads, head_dim, rope_dims, vocab, max_ctx;
	u32 activation;			/* BITNET_ACT_* */
	u32 packing;			/* BN_T2 or BN_T1: of all matrices */
	u32 hidden_pad, ffn_pad, attn_pad, head_pad, embd_pad;
	float norm_eps;
	u64 digest;
	struct bn_embedding token_embd;
	struct bn_embedding output;	/* the same when tied */
	const float *output_norm;
	const double *rope_freq;	/* rope_dims / 2 */
	struct bn_layer *layers;
	const u8 *base;
	const u8 *const *chunks;
};

#define BN_CHUNK_BYTES	(2U << 20)

static inline u32 bn_round_up(u32 n, u32 multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

/** bn_block_cols() - weights in a block of @packing */
static inline u32 bn_block_cols(u32 packing)
{
	return packing == BN_T1 ? BN_T1_BLOCK_COLS : BN_T2_BLOCK_COLS;
}

/** bn_line_bytes() - bytes of a packed line of @n weights, n <= BN_MAX_COLS */
static inline u32 bn_line_bytes(u32 packing, u32 n)
{
	return (n + bn_block_cols(packing) - 1) / bn_block_cols(packing) * BN_BLOCK_BYTES;
}

/** bn_high_bytes(), bn_low_bytes() - of a row of an embedding of @pad columns, in each plane */
static inline u32 bn_high_bytes(u32 pad)
{
	return pad / 4 * 3;
}

static inline u32 bn_low_bytes(u32 pad)
{
	return pad / 4 * 5;
}

/** bn_cols_pad() - @n rounded up so that rows of activations are whole blocks of any packing */
static inline u32 bn_cols_pad(u32 n)
{
	u32 t2 = bn_round_up(n, BN_T2_BLOCK_COLS), t1 = bn_round_up(n, BN_T1_BLOCK_COLS);

	return t1 > t2 ? t1 : t2;
}

#endif /* BN_TYPES_H */

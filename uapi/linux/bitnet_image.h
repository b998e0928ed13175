/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * bitnet_image.h - the packed image: what MODEL_LOAD pins. bitnet-image.md explains it byte by
 * byte.
 */
#ifndef _UAPI_LINUX_BITNET_IMAGE_H
#define _UAPI_LINUX_BITNET_IMAGE_H

#include <linux/types.h>

#define BITNET_IMAGE_MAGIC	"BITNETIM"	/* 8 bytes, no NUL */
#define BITNET_IMAGE_VERSION	4
#define BITNET_IMAGE_ALIGN	64		/* of each tensor and of each row */
#define BITNET_IMAGE_PAGE	4096		/* the image's length is a multiple of it */

/* Activation of the feed-forward network */
#define BITNET_ACT_RELU2	0	/* relu(gate)^2 * up */
#define BITNET_ACT_SILU		1	/* gate * sigmoid(gate) * up */

#define BITNET_IMAGE_F_SUB_NORMS (1U << 0)	/* attn_sub_norm and ffn_sub_norm are there */
#define BITNET_IMAGE_F_TIED	(1U << 1)	/* no OUTPUT tensor: the head is TOKEN_EMBD */
#define BITNET_IMAGE_F_T1	(1U << 2)	/* matrices are packed as T1, not T2: all of them */
#define __BITNET_IMAGE_F_ALL	(BITNET_IMAGE_F_SUB_NORMS | BITNET_IMAGE_F_TIED | BITNET_IMAGE_F_T1)

/* Tensor formats */
#define BITNET_IMAGE_FMT_F32	1
#define BITNET_IMAGE_FMT_F64	3
/*
 * 2 bits a weight: 64 bytes hold 256 weights, codes 0/1/2 = -1/0/+1; bits 2i+1:2i of byte j are
 * weight 64*i + j of the 256
 */
#define BITNET_IMAGE_FMT_T2	4
/*
 * 1.6 bits a weight: 64 bytes hold 320 weights; byte j holds weights 64*i + j of the 320, i = 0 ..
 * 4, as 28 * (3*t0 + t1) + 9*t2 + 3*t3 + t4 of the codes
 */
#define BITNET_IMAGE_FMT_T1	5
/* The same by column: what lies one behind the other are columns of @rows weights */
#define BITNET_IMAGE_FMT_T2_COLUMNS 6
#define BITNET_IMAGE_FMT_T1_COLUMNS 7
/*
 * Numbers -32768 .. 32767, plus 32768: the upper 6 bits of 256 of them in 192 bytes. Of number
 * 64*i + j, bits 3:0 are bits 4*(i%2)+3 : 4*(i%2) of byte 64*(i/2) + j, and bits 5:4 are bits
 * 2i+1:2i of byte 128 + j
 */
#define BITNET_IMAGE_FMT_HIGH6	9
/*
 * The lower 10 bits in 320 bytes: of number 64*i + j, bits 9:8 are bits 2i+1:2i of byte j, and bits
 * 7:0 are byte 64 + 64*i + j
 */
#define BITNET_IMAGE_FMT_LOW10	10

/* Tensor roles. Those below BITNET_ROLE_LAYER exist once, the others once for each layer. */
/*
 * An embedding is three tensors: element (t, i) = (1024 * HIGH + LOW - 32768)(t, i) * SCALE(0, t).
 * What is called just TOKEN_EMBD or OUTPUT is its high plane. SCALE(1, t) is at least |SCALE(0, t)|
 * times the root of the sum of (LOW(t, i) - 512)^2: how far HIGH alone can be off. If it is less,
 * tokens may be wrong.
 */
#define BITNET_ROLE_TOKEN_EMBD	0	/* HIGH6, vocab x hidden */
#define BITNET_ROLE_OUTPUT	1	/* HIGH6, vocab x hidden; not with F_TIED */
#define BITNET_ROLE_OUTPUT_NORM	2	/* F32, 1 x hidden */
#define BITNET_ROLE_ROPE_FREQ	3	/* F64, 1 x rope_dims/2: radians a position of each pair */
#define BITNET_ROLE_TOKEN_EMBD_LOW 4	/* LOW10, vocab x hidden */
#define BITNET_ROLE_TOKEN_EMBD_SCALE 5	/* F32, 2 x vocab */
#define BITNET_ROLE_OUTPUT_LOW	6	/* LOW10, vocab x hidden; not with F_TIED */
#define BITNET_ROLE_OUTPUT_SCALE 7	/* F32, 2 x vocab; not with F_TIED */
#define BITNET_ROLE_LAYER	8
#define BITNET_ROLE_ATTN_Q	8	/* matrix, n_heads*head_dim x hidden; as BITNET_MATRIX_* */
#define BITNET_ROLE_ATTN_K	9	/* matrix, n_kv_heads*head_dim x hidden */
#define BITNET_ROLE_ATTN_V	10	/* matrix, n_kv_heads*head_dim x hidden */
#define BITNET_ROLE_ATTN_OUT	11	/* matrix, hidden x n_heads*head_dim */
#define BITNET_ROLE_FFN_GATE	12	/* matrix, ffn x hidden */
#define BITNET_ROLE_FFN_UP	13	/* matrix, ffn x hidden */
#define BITNET_ROLE_FFN_DOWN	14	/* matrix, hidden x ffn; by column with ACT_RELU2 */
#define BITNET_ROLE_ATTN_NORM	15	/* F32, 1 x hidden */
#define BITNET_ROLE_ATTN_SUB_NORM 16	/* F32, 1 x n_heads*head_dim; only with F_SUB_NORMS */
#define BITNET_ROLE_FFN_NORM	17	/* F32, 1 x hidden */
#define BITNET_ROLE_FFN_SUB_NORM 18	/* F32, 1 x ffn; only with F_SUB_NORMS */
#define BITNET_ROLE_COUNT	19

/**
 * struct bitnet_image_header - first 256 bytes of an image, little-endian
 * @magic:	BITNET_IMAGE_MAGIC
 * @version:	BITNET_IMAGE_VERSION
 * @header_bytes: sizeof(struct bitnet_image_header)
 * @total_bytes: length of the image, a multiple of BITNET_IMAGE_PAGE
 * @digest:	hash of the image, this field taken as 0, by the writer; names it, not verified by
 *		the kernel
 * @flags:	BITNET_IMAGE_F_*
 * @activation:	BITNET_ACT_*
 * @n_layers:	layers
 * @hidden:	width of the residual stream
 * @ffn:	width of the feed-forward network
 * @n_heads:	query heads
 * @n_kv_heads:	key/value heads, a divisor of @n_heads
 * @head_dim:	width of a head, even
 * @rope_dims:	rotated elements of a head, even, at most @head_dim; pairs are (j, j + rope_dims/2)
 * @vocab:	vocabulary size
 * @max_ctx:	context that the model was trained for
 * @norm_eps:	epsilon of the RMS norms, bits of an f32
 * @tensor_count: entries of the tensor table
 * @tensor_bytes: sizeof(struct bitnet_image_tensor)
 * @tensor_offset: byte offset of the tensor table
 * @name:	the model's name, NUL-terminated, for people
 * @__resv:	0
 */
struct bitnet_image_header {
	__u8 magic[8];
	__u32 version;
	__u32 header_bytes;
	__aligned_u64 total_bytes;
	__aligned_u64 digest;
	__u32 flags;
	__u32 activation;
	__u32 n_layers;
	__u32 hidden;
	__u32 ffn;
	__u32 n_heads;
	__u32 n_kv_heads;
	__u32 head_dim;
	__u32 rope_dims;
	__u32 vocab;
	__u32 max_ctx;
	__u32 norm_eps;
	__u32 tensor_count;
	__u32 tensor_bytes;
	__aligned_u64 tensor_offset;
	char name[64];
	__u8 __resv[96];
};

/**
 * struct bitnet_image_tensor - one entry of the tensor table, 64 bytes
 * @role:	BITNET_ROLE_*
 * @layer:	layer, 0 for roles below BITNET_ROLE_LAYER
 * @format:	BITNET_IMAGE_FMT_*
 * @scale:	bits of an f32 that multiplies the product (ternary tensors: mean |w|); else 0
 * @rows:	out features
 * @cols:	in features
 * @row_bytes:	bytes from one row (by column: from one column) to the next, a multiple of
 *		BITNET_IMAGE_ALIGN: what @cols (@rows) need, padded with zero values (matrices: to
 *		a whole number of 64-byte blocks)
 * @__resv0:	0
 * @offset:	byte offset in the image, a multiple of BITNET_IMAGE_ALIGN
 * @bytes:	rows * row_bytes (by column: cols * row_bytes)
 * @__resv1:	0
 */
struct bitnet_image_tensor {
	__u32 role;
	__u32 layer;
	__u32 format;
	__u32 scale;
	__u32 rows;
	__u32 cols;
	__u32 row_bytes;
	__u32 __resv0;
	__aligned_u64 offset;
	__aligned_u64 bytes;
	__u8 __resv1[16];
};

#endif /* _UAPI_LINUX_BITNET_IMAGE_H */

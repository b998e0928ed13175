/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_image.h - the packed image's structure: checked once, from a private copy
 */
#ifndef BN_IMAGE_H
#define BN_IMAGE_H

#include "bn_types.h"
#include <linux/bitnet_image.h>

/**
 * bn_image_check_header() - is this a header that we can go on with?
 * @hdr:	private copy
 * @length:	bytes of the image
 *
 * Checks magic, version, dimensions against the limits, and that the tensor table lies inside.
 * Context: any, no FPU.
 * Return: BN_OK, BN_EMAGIC or BN_ESHAPE.
 */
enum bn_err bn_image_check_header(const struct bitnet_image_header *hdr, u64 length);

/**
 * bn_model_parse() - check the tensor table and fill the view
 * @m:		out
 * @layers:	memory for hdr->n_layers elements; m->layers afterwards
 * @hdr:	private copy that bn_image_check_header() accepted
 * @table:	private copy of the tensor table, hdr->tensor_count entries
 * @base:	where the image is mapped; page-aligned. Only addresses are computed, nothing is
 *		read
 * @length:	bytes mapped
 *
 * Each tensor that the architecture needs must be there exactly once, with the right format and
 * shape, inside the image, aligned, and not over the header or table.
 * Context: any. Holds f32 as bits and copies them with memcpy: no FPU.
 * Return: BN_OK or BN_ESHAPE; *@bad (may be NULL) then is the index of the offending table entry,
 * or the count when one is missing.
 */
enum bn_err bn_model_parse(struct bn_model *m, struct bn_layer *layers,
			   const struct bitnet_image_header *hdr,
			   const struct bitnet_image_tensor *table, const void *base, u64 length,
			   u32 *bad);

/** bn_kv_bytes() - key/value cache bytes of @n_ctx tokens. Cannot overflow within the limits. */
u64 bn_kv_bytes(const struct bn_model *m, u32 n_ctx);

/** bn_format_is_ternary() - is this BITNET_IMAGE_FMT_* one of ternary matrices? */
static inline bool bn_format_is_ternary(u32 format)
{
	return format >= BITNET_IMAGE_FMT_T2 && format <= BITNET_IMAGE_FMT_T1_COLUMNS;
}

/** bn_format_by_column() - does it store columns one behind the other? */
static inline bool bn_format_by_column(u32 format)
{
	return format == BITNET_IMAGE_FMT_T2_COLUMNS || format == BITNET_IMAGE_FMT_T1_COLUMNS;
}

/**
 * bn_pack_line() - pack one line of codes
 * @packing:	BN_T2 or BN_T1
 * @dst:	bn_line_bytes(@packing, @n) bytes
 * @codes:	@n bytes, 0/1/2 = -1/0/+1
 * @n:		weights
 *
 * Padding is code 1 (zero). Context: any, no FPU.
 */
void bn_pack_line(u32 packing, u8 *dst, const u8 *codes, u32 n);

/** bn_unpack_line() - the reverse; t2's invalid code 3 comes out as 3 */
void bn_unpack_line(u32 packing, u8 *codes, const u8 *src, u32 n);

/**
 * bn_pack_planes() - pack one row of an embedding
 * @high:	bn_high_bytes(@n rounded up to BN_PLANE_COLS)
 * @low:	bn_low_bytes(the same)
 * @values:	@n numbers
 *
 * Padding is number 0. Return: sum of (low - 512)^2 over all @n. Context: any, no FPU.
 */
u64 bn_pack_planes(u8 *high, u8 *low, const s16 *values, u32 n);

/** bn_high_plane() - upper 6 bits of number @i of a row, plus 32: 0 .. 63 */
s32 bn_high_plane(const u8 *high, u32 i);

/** bn_unpack_planes() - number @i of a row */
s32 bn_unpack_planes(const u8 *high, const u8 *low, u32 i);

/**
 * bn_hash64() - hash of @bytes (for image digests), chained through @seed
 *
 * Pieces whose lengths are multiples of 8 (all but the last) may be hashed one after the other,
 * each with the hash of those before it as @seed. Against accidents, not attacks.
 * Context: any, no FPU.
 */
u64 bn_hash64(const void *data, size_t bytes, u64 seed);

#endif /* BN_IMAGE_H */

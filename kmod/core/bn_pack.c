// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_pack.c - the t2 packing: 2 bits a weight
 *
 * A block of 64 bytes holds 256 weights; bits 2i+1:2i of byte j are weight 64 * i + j. So one
 * 64-byte vector load, shifted by 2i and masked, lines up with 64 consecutive activations.
 */
#include "bn_image.h"

#define BN_T2_FIELDS	(BN_T2_BLOCK_COLS / BN_T2_BLOCK_BYTES)

void bn_pack_t2(u8 *dst, const u8 *codes, u32 cols)
{
	for (u32 block = 0; block < cols; block += BN_T2_BLOCK_COLS) {
		for (u32 j = 0; j < BN_T2_BLOCK_BYTES; j++) {
			u32 byte = 0;

			for (u32 i = 0; i < BN_T2_FIELDS; i++) {
				u32 col = block + BN_T2_BLOCK_BYTES * i + j;
				u32 code = col < cols ? codes[col] & 3 : 1;

				byte |= code << (2 * i);
			}
			*dst++ = byte;
		}
	}
}

void bn_unpack_t2(u8 *codes, const u8 *src, u32 cols)
{
	for (u32 col = 0; col < cols; col++) {
		u32 block = col / BN_T2_BLOCK_COLS, in_block = col % BN_T2_BLOCK_COLS;
		u8 byte = src[block * BN_T2_BLOCK_BYTES + in_block % BN_T2_BLOCK_BYTES];

		codes[col] = byte >> (2 * (in_block / BN_T2_BLOCK_BYTES)) & 3;
	}
}

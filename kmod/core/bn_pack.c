// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_pack.c - the packings of ternary weights
 *
 * Both store a line of codes, 0/1/2 = -1/0/+1, in blocks of 64 bytes, so that one 64-byte vector
 * holds what lines up with several vectors of 64 consecutive activations:
 *
 * t2, 2 bits a weight: a block holds 256; bits 2i+1:2i of byte j are weight 64 * i + j.
 *
 * t1, 1.6 bits: a block holds 320; byte j holds the five weights 64 * i + j, i = 0 .. 4, as digits
 * of v = (((t0*3 + t1)*3 + t2)*3 + t3)*3 + t4, stored as b = ceil(v * 256 / 243): v / 243 as a
 * binary fraction. So the digits come out by multiplication alone: 3*b has the first one above bit
 * 7, and in its low 8 bits the fraction that has the others. Of any byte, also of the 13 that no
 * weights make, five digits of 0 .. 2 come out.
 */
#include "bn_image.h"

#define T1_DIGITS	5
#define T1_VALUES	243	/* 3^5 */

static u32 code_at(const u8 *codes, u32 n, u32 at)
{
	return at < n ? codes[at] & 3 : 1;
}

static u8 pack_t2(const u8 *codes, u32 n, u32 at)
{
	u32 byte = 0;

	for (u32 i = 0; i < 4; i++)
		byte |= code_at(codes, n, at + 64 * i) << (2 * i);
	return byte;
}

static u8 pack_t1(const u8 *codes, u32 n, u32 at)
{
	u32 v = 0;

	for (u32 i = 0; i < T1_DIGITS; i++)
		v = 3 * v + code_at(codes, n, at + 64 * i);
	return (v * 256 + T1_VALUES - 1) / T1_VALUES;
}

void bn_pack_line(u32 packing, u8 *dst, const u8 *codes, u32 n)
{
	for (u32 at = 0; at < n; at += bn_block_cols(packing))
		for (u32 j = 0; j < BN_BLOCK_BYTES; j++)
			*dst++ = packing == BN_T1 ? pack_t1(codes, n, at + j) :
						    pack_t2(codes, n, at + j);
}

static u8 unpack(u32 packing, u8 byte, u32 place)
{
	u32 b = byte;

	if (packing == BN_T2)
		return b >> (2 * place) & 3;
	while (place--)
		b = 3 * b & 255;
	return 3 * b >> 8;
}

void bn_unpack_line(u32 packing, u8 *codes, const u8 *src, u32 n)
{
	u32 cols = bn_block_cols(packing);

	for (u32 at = 0; at < n; at++)
		codes[at] = unpack(packing, src[at / cols * BN_BLOCK_BYTES + at % BN_BLOCK_BYTES],
				   at % cols / BN_BLOCK_BYTES);
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_pack.c - the packings of ternary weights and of embeddings
 *
 * Those of ternary weights store a line of codes, 0/1/2 = -1/0/+1, in blocks of 64 bytes, so that
 * one 64-byte vector holds what lines up with several vectors of 64 consecutive activations:
 *
 * t2, 2 bits a weight: a block holds 256; bits 2i+1:2i of byte j are weight 64 * i + j.
 *
 * t1, 1.6 bits: a block holds 320; byte j holds the five weights 64 * i + j, i = 0 .. 4, as digits
 * t0 .. t4 of b = 28 * (3 * t0 + t1) + 9 * t2 + 3 * t3 + t4. In plain base 3 it would be 27: that
 * 28 is seven fours makes the first two digits a function of the upper six bits of b alone, and
 * vpermb looks up by six bits. Of the 13 bytes that no weights make digits come out that may be 3,
 * as from any byte of t2.
 *
 * The numbers of an embedding are cut in two planes, of 6 and 10 bits, in which 256 numbers make 3
 * and 5 such vectors: two of nibbles and one of pairs of bits make the upper 6 bits, one of pairs
 * and four of bytes the lower 10. As with t2, what is in the i'th bits of byte j is of number
 * 64 * i + j.
 */
#include "bn_image.h"

/* What a digit of t1 counts */
static const u8 t1_places[] = { 84, 28, 9, 3, 1 };

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
	u32 byte = 0;

	for (u32 i = 0; i < 5; i++)
		byte += code_at(codes, n, at + 64 * i) * t1_places[i];
	return byte;
}

void bn_pack_line(u32 packing, u8 *dst, const u8 *codes, u32 n)
{
	for (u32 at = 0; at < n; at += bn_block_cols(packing))
		for (u32 j = 0; j < BN_BLOCK_BYTES; j++)
			*dst++ = packing == BN_T1 ? pack_t1(codes, n, at + j) :
						    pack_t2(codes, n, at + j);
}

static u8 unpack_t2(u8 byte, u32 place)
{
	return byte >> (2 * place) & 3;
}

static u8 unpack_t1(u8 byte, u32 place)
{
	u32 rest = byte % 28, third = rest < 18 ? rest / 9 : 2;

	switch (place) {
	case 0:
		return byte / 84;
	case 1:
		return byte / 28 % 3;
	case 2:
		return third;
	case 3:
		return (rest - 9 * third) / 3;
	default:
		return rest % 3;
	}
}

void bn_unpack_line(u32 packing, u8 *codes, const u8 *src, u32 n)
{
	u32 cols = bn_block_cols(packing);

	for (u32 at = 0; at < n; at++) {
		u8 byte = src[at / cols * BN_BLOCK_BYTES + at % BN_BLOCK_BYTES];
		u32 place = at % cols / BN_BLOCK_BYTES;

		codes[at] = packing == BN_T1 ? unpack_t1(byte, place) : unpack_t2(byte, place);
	}
}

u64 bn_pack_planes(u8 *high, u8 *low, const s16 *values, u32 n)
{
	u32 pad = bn_round_up(n, BN_PLANE_COLS);
	u64 squares = 0;

	memset(high, 0, bn_high_bytes(pad));
	memset(low, 0, bn_low_bytes(pad));
	for (u32 i = 0; i < pad; i++) {
		u8 *h = high + bn_high_bytes(i / BN_PLANE_COLS * BN_PLANE_COLS) + i % 64;
		u8 *l = low + bn_low_bytes(i / BN_PLANE_COLS * BN_PLANE_COLS) + i % 64;
		u32 place = i % BN_PLANE_COLS / 64, v = (i < n ? values[i] : 0) + 32768;
		s32 rest = (s32)(v & 1023) - 512;

		h[place / 2 * 64] |= (v >> 10 & 15) << (place % 2 * 4);
		h[128] |= (v >> 14) << (2 * place);
		l[0] |= (v >> 8 & 3) << (2 * place);
		l[64 + 64 * place] = (u8)v;
		if (i < n)
			squares += (u64)(rest * rest);
	}
	return squares;
}

s32 bn_high_plane(const u8 *high, u32 i)
{
	const u8 *h = high + bn_high_bytes(i / BN_PLANE_COLS * BN_PLANE_COLS) + i % 64;
	u32 place = i % BN_PLANE_COLS / 64;

	return (h[128] >> (2 * place) & 3) << 4 | (h[place / 2 * 64] >> (place % 2 * 4) & 15);
}

s32 bn_unpack_planes(const u8 *high, const u8 *low, u32 i)
{
	const u8 *l = low + bn_low_bytes(i / BN_PLANE_COLS * BN_PLANE_COLS) + i % 64;
	u32 place = i % BN_PLANE_COLS / 64;

	return 1024 * bn_high_plane(high, i) + (l[0] >> (2 * place) & 3) * 256 +
		l[64 + 64 * place] - 32768;
}

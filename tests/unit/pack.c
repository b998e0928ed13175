// SPDX-License-Identifier: GPL-2.0
/*
 * pack.c - the packings: where each weight lies, round trips, and that the reference reads them so
 */
#include <stdlib.h>

#include "bn_image.h"
#include "bn_ops.h"
#include "tap.h"

#define MAX_COLS	3000

static u8 codes[MAX_COLS], back[MAX_COLS + 320], packed[MAX_COLS];

static void layout(void)
{
	u32 wrong = 0;

	is(bn_line_bytes(BN_T2, 1), 64, "one weight takes a block");
	is(bn_line_bytes(BN_T2, 256), 64, "256 weights fill one of t2");
	is(bn_line_bytes(BN_T2, 257), 128, "one more takes another");
	is(bn_line_bytes(BN_T2, BN_MAX_COLS), 8192, "the widest row of t2");
	is(bn_line_bytes(BN_T1, 320), 64, "320 weights fill one of t1");
	is(bn_line_bytes(BN_T1, 321), 128, "one more takes another");
	is(bn_line_bytes(BN_T1, BN_MAX_COLS), 6592, "the widest row of t1");
	is(bn_cols_pad(2560), 2560, "2560 columns are whole blocks of both");
	is(bn_cols_pad(6912), 7040, "6912 are not of t1");
	is(bn_cols_pad(1), 320, "nor is one of either");

	/* a single +1 among zeros, at each place: bits 2i+1:2i of byte j are weight 64 * i + j */
	for (u32 col = 0; col < 512; col++) {
		u32 in_block = col % 256;

		memset(codes, 1, 512);
		codes[col] = 2;
		bn_pack_line(BN_T2, packed, codes, 512);
		for (u32 i = 0; i < 128; i++) {
			bool here = i == col / 256 * 64 + in_block % 64;
			u8 want = 0x55 + (here ? 1 << (2 * (in_block / 64)) : 0);

			wrong += packed[i] != want;
		}
	}
	is(wrong, 0, "t2: each weight is where the header says");

	/* zeros are 125, and in byte j weight 64 * i + j counts this much */
	for (u32 col = 0; col < 640; col++) {
		static const u32 place[] = { 84, 28, 9, 3, 1 };
		u32 in_block = col % 320;

		memset(codes, 1, 640);
		codes[col] = 2;
		bn_pack_line(BN_T1, packed, codes, 640);
		for (u32 i = 0; i < 128; i++) {
			bool here = i == col / 320 * 64 + in_block % 64;

			wrong += packed[i] != 125 + (here ? place[in_block / 64] : 0);
		}
	}
	is(wrong, 0, "t1: each weight is where the header says");
}

static void round_trips(u32 packing)
{
	const char *name = packing == BN_T1 ? "t1" : "t2";
	u32 wrong = 0, padding = 0, outside = 0;

	for (u32 cols = 1; cols < MAX_COLS; cols += 1 + (u32)rand() % 40) {
		u32 bytes = bn_line_bytes(packing, cols), all = bytes / 64 * bn_block_cols(packing);

		for (u32 i = 0; i < cols; i++)
			codes[i] = (u8)rand() % (packing == BN_T1 ? 3 : 4);
		memset(packed, 0xa5, sizeof(packed));
		bn_pack_line(packing, packed, codes, cols);
		outside += packed[bytes] != 0xa5;
		memset(back, 0xee, sizeof(back));
		bn_unpack_line(packing, back, packed, cols);
		wrong += memcmp(codes, back, cols) != 0;
		outside += back[cols] != 0xee;
		bn_unpack_line(packing, back, packed, all);
		for (u32 i = cols; i < all; i++)
			padding += back[i] != 1;
	}
	is(wrong, 0, "%s: unpacking gives the codes back, t2's invalid one too", name);
	is(padding, 0, "%s: padding is code 1", name);
	is(outside, 0, "%s: nothing is written behind the row", name);
}

/* Every byte of t1 acts as some five digits of 0 .. 3, which the reference agrees about. */
static void any_byte(void)
{
	u32 wrong = 0, seen = 0;

	for (u32 byte = 0; byte < 256; byte++) {
		const s32 x_sum = 0;
		s8 x[320] = { 0 };
		u32 top = 0;
		s32 y;
		const struct bn_product p = {
			.w = packed, .line_bytes = 64, .blocks = 1, .n = 1, .x = x, .x_stride = 320,
			.x_sum = &x_sum, .batch = 1, .y = &y, .y_stride = 1,
		};

		memset(packed, (int)byte, 64);
		bn_unpack_line(BN_T1, back, packed, 320);
		for (u32 i = 0; i < 5; i++) {
			u8 digit = back[64 * i];

			top = digit > top ? digit : top;
			x[64 * i] = 1;
			bn_variants[0]->linear[BN_T1](&p);
			x[64 * i] = 0;
			wrong += y != digit;
		}
		wrong += top > 3;
		if (top == 3)
			continue;
		bn_pack_line(BN_T1, packed, back, 320);
		seen += packed[0] == byte;
	}
	is(wrong, 0, "t1: any byte is five digits");
	is(seen, 243, "t1: 243 bytes are what packing makes, of digits below 3");
}

/* The reference by way of the unpacked codes, in 64 bits */
static void linear(u32 packing)
{
	static s8 x[3][1280];
	s32 x_sum[3] = { 0 }, y[3][8];
	static u8 w[5][256];
	const u32 index[] = { 0, 2, 3 };
	const u8 *const list[] = { w[0], w[2], w[3] };
	struct bn_product p = {
		.y = y[0], .y_stride = 8, .w = w[0], .line_bytes = 256,
		.blocks = bn_line_bytes(packing, 1000) / 64, .n = 5,
		.x = x[0], .x_stride = 1280, .x_sum = x_sum, .batch = 3,
	};
	u32 wrong = 0;

	memset(x, 0, sizeof(x));
	for (u32 b = 0; b < 3; b++)
		for (u32 i = 0; i < 1000; i++)
			x_sum[b] += x[b][i] = (s8)rand();
	for (u32 r = 0; r < 5; r++) {
		for (u32 i = 0; i < 1000; i++)
			codes[i] = (u8)rand() % 3;
		bn_pack_line(packing, w[r], codes, 1000);
	}
	for (u32 listed = 0; listed < 2; listed++) {
		p.list = listed ? list : NULL;
		p.n = listed ? 3 : 5;
		bn_variants[0]->linear[packing](&p);
		for (u32 r = 0; r < p.n; r++) {
			bn_unpack_line(packing, back, w[listed ? index[r] : r], 1000);
			for (u32 b = 0; b < 3; b++) {
				long long want = 0;

				for (u32 i = 0; i < 1000; i++)
					want += (back[i] - 1) * x[b][i];
				wrong += y[b][r] != want;
			}
		}
	}
	is(wrong, 0, "packing %u: the reference multiplies by code - 1", packing);
}

static void columns(u32 packing)
{
	static s8 x[2][64];
	static s32 y[2][640];
	static u8 w[40][128];
	const u32 index[] = { 3, 4, 17, 39 };
	struct bn_product p = {
		.y = y[0], .y_stride = 640, .w = w[0], .line_bytes = 128, .blocks = 2,
		.x = x[0], .x_stride = 64, .batch = 2,
	};
	u32 wrong = 0, outputs = 2 * bn_block_cols(packing);

	for (u32 i = 0; i < 40; i++) {
		for (u32 o = 0; o < outputs; o++)
			codes[o] = (u8)rand() % 3;
		bn_pack_line(packing, w[i], codes, outputs);
		x[0][i] = (s8)rand();
		x[1][i] = (s8)rand();
	}
	for (u32 indexed = 0; indexed < 2; indexed++) {
		p.index = indexed ? index : NULL;
		p.n = indexed ? 4 : 40;
		for (u32 o = 0; o < 640; o++)
			y[0][o] = y[1][o] = 1000;
		bn_variants[0]->columns[packing](&p);
		for (u32 b = 0; b < 2; b++) {
			for (u32 o = 0; o < outputs; o++) {
				long long want = 1000;

				for (u32 i = 0; i < p.n; i++) {
					u32 c = indexed ? index[i] : i;

					bn_unpack_line(packing, back, w[c], outputs);
					want += back[o] * x[b][c];
				}
				wrong += y[b][o] != want;
			}
		}
	}
	is(wrong, 0, "packing %u: columns adds code times activation", packing);
}

static void digest(void)
{
	u8 data[64] = "a digest of some bytes, and then some more of them";
	u64 whole = bn_hash64(data, 61, 7), same = 0;

	is(bn_hash64(data + 24, 37, bn_hash64(data, 24, 7)), whole,
	   "hash: pieces of whole words chain");
	is(bn_hash64(data, 0, 7), 7, "hash: of nothing is the seed");
	for (u32 bit = 0; bit < 61 * 8; bit++) {
		data[bit / 8] ^= 1 << bit % 8;
		same += bn_hash64(data, 61, 7) == whole;
		data[bit / 8] ^= 1 << bit % 8;
	}
	is(same, 0, "hash: every bit counts");
	ok(bn_hash64(data, 61, 8) != whole, "hash: so does the seed");
	memset(data, 0, sizeof(data));
	for (u32 n = 0; n < 64; n++)
		for (u32 m = 0; m < n; m++)
			same += bn_hash64(data, n, 0) == bn_hash64(data, m, 0);
	is(same, 0, "hash: and the number of zeros");
}

int main(void)
{
	layout();
	any_byte();
	for (u32 packing = 0; packing < BN_PACKINGS; packing++) {
		round_trips(packing);
		linear(packing);
		columns(packing);
	}
	digest();
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * pack.c - the t2 packing: where each weight lies, round trips, and that linear_t2 reads it so
 */
#include <stdlib.h>

#include "bn_image.h"
#include "bn_ops.h"
#include "tap.h"

#define MAX_COLS	3000

static u8 codes[MAX_COLS], back[MAX_COLS + 256], packed[MAX_COLS];

static void layout(void)
{
	u32 wrong = 0;

	is(bn_t2_row_bytes(1), 64, "one weight takes a block");
	is(bn_t2_row_bytes(256), 64, "256 weights fill it");
	is(bn_t2_row_bytes(257), 128, "one more takes another");
	is(bn_t2_row_bytes(BN_MAX_COLS), 8192, "the widest row");

	/* a single +1 among zeros, at each place: bits 2i+1:2i of byte j are weight 64 * i + j */
	for (u32 col = 0; col < 512; col++) {
		u32 in_block = col % 256;

		memset(codes, 1, 512);
		codes[col] = 2;
		bn_pack_t2(packed, codes, 512);
		for (u32 i = 0; i < 128; i++) {
			bool here = i == col / 256 * 64 + in_block % 64;
			u8 want = 0x55 + (here ? 1 << (2 * (in_block / 64)) : 0);

			wrong += packed[i] != want;
		}
	}
	is(wrong, 0, "each weight is where the header says");
}

static void round_trips(void)
{
	u32 wrong = 0, padding = 0, outside = 0;

	for (u32 cols = 1; cols < MAX_COLS; cols += 1 + (u32)rand() % 40) {
		u32 bytes = bn_t2_row_bytes(cols);

		for (u32 i = 0; i < cols; i++)
			codes[i] = (u8)rand() % 4;
		memset(packed, 0xa5, sizeof(packed));
		bn_pack_t2(packed, codes, cols);
		outside += packed[bytes] != 0xa5;
		memset(back, 0xee, sizeof(back));
		bn_unpack_t2(back, packed, cols);
		wrong += memcmp(codes, back, cols) != 0;
		outside += back[cols] != 0xee;
		bn_unpack_t2(back, packed, bytes * 4);
		for (u32 i = cols; i < bytes * 4; i++)
			padding += back[i] != 1;
	}
	is(wrong, 0, "unpacking gives the codes back, the invalid one too");
	is(padding, 0, "padding is code 1");
	is(outside, 0, "nothing is written behind the row");
}

/* linear_t2 by way of the unpacked codes, in 64 bits */
static void product(void)
{
	static s8 x[3][1024];
	s32 x_sum[3] = { 0 }, y[3][8];
	static u8 w[5][256];
	u32 wrong = 0;

	for (u32 b = 0; b < 3; b++)
		for (u32 i = 0; i < 1000; i++)
			x_sum[b] += x[b][i] = (s8)rand();
	for (u32 r = 0; r < 5; r++) {
		for (u32 i = 0; i < 1000; i++)
			codes[i] = (u8)rand() % 4;
		bn_pack_t2(w[r], codes, 1000);
	}
	bn_variants[0]->linear_t2(y[0], 8, w[0], 256, 5, x[0], 1024, x_sum, 3);
	for (u32 r = 0; r < 5; r++) {
		bn_unpack_t2(back, w[r], 1000);
		for (u32 b = 0; b < 3; b++) {
			long long want = 0;

			for (u32 i = 0; i < 1000; i++)
				want += (back[i] - 1) * x[b][i];
			wrong += y[b][r] != want;
		}
	}
	is(wrong, 0, "the reference multiplies by code - 1");
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
	round_trips();
	product();
	digest();
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx2_columns.c - products whose lines are columns
 *
 * Two columns at a time, interleaved byte by byte, so that vpmaddubsw with a pair of activations in
 * each word adds up both columns' products. The bytes are interleaved while they are packed.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_avx2.h"

#define MAX_PAIRS	BN_SUMS_16	/* that are added up before 32-bit sums */

/* struct pair - two columns; a last one without partner has itself, with an activation of zero */
struct pair {
	const u8 *first, *second;
};

/* In p->tmp: sums of few rows of activations stay in registers, codes for many lie here */
struct scratch {
	struct pair pair[MAX_PAIRS];
	u8 codes[MAX_PAIRS * BN_T1_BLOCK_COLS * 2] __attribute__((__aligned__(64)));
	u32 x[MAX_PAIRS * BN_MAX_ROWS];	/* pair by pair, that of each row, twice */
};

_Static_assert(sizeof(struct scratch) <= BN_TMP_BYTES, "scratch is larger than tmp");

/* The pairs of @lines columns from the @from'th wanted on; returns how many */
static u32 take_pairs(const struct bn_product *p, u32 from, u32 lines)
{
	struct scratch *s = p->tmp;
	const u32 rows = bn_round_up(p->batch, 4);
	u32 n = 0;

	for (u32 i = from; i < from + lines; i += 2, n++) {
		const bool alone = i + 1 == from + lines;
		const u32 at0 = p->index ? p->index[i] : i;
		const u32 at1 = alone ? at0 : p->index ? p->index[i + 1] : i + 1;
		struct pair *pair = s->pair + n;

		pair->first = p->w + (size_t)at0 * p->line_bytes;
		pair->second = p->w + (size_t)at1 * p->line_bytes;
		for (u32 b = 0; b < p->batch; b++) {
			const s8 *x = p->x + b * p->x_stride;
			u32 second = alone ? 0 : (u8)x[at1];

			s->x[n * rows + b] = ((u8)x[at0] | second << 8) * 0x10001;
		}
	}
	return n;
}

BN_INLINE __v8si pair_of_x(const u32 *x)
{
	__v8si v = (__v8si)_mm256_set1_epi32((s32)*x);

	asm("" : "+x" (v));
	return v;
}

BN_INLINE __v8si low_bytes(__v8si first, __v8si second)
{
	return (__v8si)_mm256_unpacklo_epi8((__m256i)first, (__m256i)second);
}

BN_INLINE __v8si high_bytes(__v8si first, __v8si second)
{
	return (__v8si)_mm256_unpackhi_epi8((__m256i)first, (__m256i)second);
}

BN_INLINE void add_8(s32 *y, __m128i sum16)
{
	__m256i_u *at = (__m256i_u *)y;

	_mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at),
						 _mm256_cvtepi16_epi32(sum16)));
}

/* Sums of outputs 0 .. 7 and 16 .. 23, as the interleaving leaves them */
BN_INLINE void add_to_outputs(s32 *y, __v16hi sum16)
{
	add_8(y, _mm256_castsi256_si128((__m256i)sum16));
	add_8(y + 16, _mm256_extracti128_si256((__m256i)sum16, 1));
}

/* ---- one row of activations ------------------------------------------------------------------ */

BN_INLINE void half_t2(s32 *y, const struct scratch *s, u32 pairs, size_t at,
		       struct ahead *ahead)
{
	__v16hi low0 = { 0 }, low1 = low0, low2 = low0, low3 = low0;
	__v16hi high0 = low0, high1 = low0, high2 = low0, high3 = low0;

	for (u32 i = 0; i < pairs; i++) {
		const struct pair *pair = s->pair + i;
		__v8si first = load_once(pair->first + at), second = load_once(pair->second + at);
		__v8si in = pair_of_x(s->x + 4 * i), both;

		prefetch_next(ahead);
		both = low_bytes(first, second);
		low0 = add_products(low0, field_of(both, 0), in);
		low1 = add_products(low1, field_of(both, 1), in);
		low2 = add_products(low2, field_of(both, 2), in);
		low3 = add_products(low3, field_of(both, 3), in);
		both = high_bytes(first, second);
		high0 = add_products(high0, field_of(both, 0), in);
		high1 = add_products(high1, field_of(both, 1), in);
		high2 = add_products(high2, field_of(both, 2), in);
		high3 = add_products(high3, field_of(both, 3), in);
	}
	add_to_outputs(y, low0);
	add_to_outputs(y + 8, high0);
	add_to_outputs(y + 64, low1);
	add_to_outputs(y + 72, high1);
	add_to_outputs(y + 128, low2);
	add_to_outputs(y + 136, high2);
	add_to_outputs(y + 192, low3);
	add_to_outputs(y + 200, high3);
}

/* The low or the high bytes of each 16: with the sums of both, registers would not suffice. */
BN_INLINE void quarter_t1(s32 *y, const struct scratch *s, u32 pairs, size_t at,
			  struct ahead *ahead, const bool high)
{
	__v16hi sum0 = { 0 }, sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0;

	for (u32 i = 0; i < pairs; i++) {
		const struct pair *pair = s->pair + i;
		__v8si first = load(pair->first + at), second = load(pair->second + at);
		__v8si in = pair_of_x(s->x + 4 * i);
		__v8si both = high ? high_bytes(first, second) : low_bytes(first, second);

		if (!high)
			prefetch_next(ahead);
		sum0 = add_products(sum0, t1_digit(&both, 0), in);
		sum1 = add_products(sum1, t1_digit(&both, 1), in);
		sum2 = add_products(sum2, t1_digit(&both, 2), in);
		sum3 = add_products(sum3, t1_digit(&both, 3), in);
		sum4 = add_products(sum4, t1_digit(&both, 4), in);
	}
	add_to_outputs(y, sum0);
	add_to_outputs(y + 64, sum1);
	add_to_outputs(y + 128, sum2);
	add_to_outputs(y + 192, sum3);
	add_to_outputs(y + 256, sum4);
}

BN_NOINLINE void one_row_of_x_t2(const struct bn_product *p, u32 pairs, struct ahead *ahead)
{
	for (u32 i = 0; i < p->blocks; i++)
		for (u32 h = 0; h < BN_BLOCK_BYTES; h += 32)
			half_t2(p->y + i * BN_T2_BLOCK_COLS + h, p->tmp, pairs,
				i * BN_BLOCK_BYTES + h, ahead);
}

BN_NOINLINE void one_row_of_x_t1(const struct bn_product *p, u32 pairs, struct ahead *ahead)
{
	for (u32 i = 0; i < p->blocks; i++) {
		for (u32 h = 0; h < BN_BLOCK_BYTES; h += 32) {
			s32 *y = p->y + i * BN_T1_BLOCK_COLS + h;

			quarter_t1(y, p->tmp, pairs, i * BN_BLOCK_BYTES + h, ahead, false);
			quarter_t1(y + 8, p->tmp, pairs, i * BN_BLOCK_BYTES + h, ahead, true);
		}
	}
}

/* ---- more ------------------------------------------------------------------------------------ */

/*
 * A block's codes, for all rows of activations: by 32 outputs, then by pairs, the low bytes' vector
 * and the high bytes' one.
 */
BN_INLINE void put_codes(u8 *codes, u32 outputs, u32 pairs, __v8si low, __v8si high)
{
	codes += (size_t)outputs / 32 * pairs * 64;
	*(__v8si *)codes = low;
	*(__v8si *)(codes + 32) = high;
}

BN_INLINE void unpack(const u32 packing, struct scratch *s, u32 pairs, size_t at,
		      struct ahead *ahead)
{
	for (u32 i = 0; i < pairs; i++) {
		const struct pair *pair = s->pair + i;
		u8 *codes = s->codes + i * 64;

		prefetch_next(ahead);
		prefetch_next(ahead);
		for (u32 h = 0; h < BN_BLOCK_BYTES; h += 32) {
			__v8si first = load(pair->first + at + h);
			__v8si second = load(pair->second + at + h);
			__v8si low = low_bytes(first, second), high = high_bytes(first, second);

			if (packing == BN_T1)
				bn_for_each(k, 5)
					put_codes(codes, h + 64 * k, pairs, t1_digit(&low, k),
						  t1_digit(&high, k));
			else
				bn_for_each(f, 4)
					put_codes(codes, h + 64 * f, pairs, field_of(low, f),
						  field_of(high, f));
		}
	}
}

BN_NOINLINE void unpack_t2(struct scratch *s, u32 pairs, size_t at,
			   struct ahead *ahead)
{
	unpack(BN_T2, s, pairs, at, ahead);
}

BN_NOINLINE void unpack_t1(struct scratch *s, u32 pairs, size_t at,
			   struct ahead *ahead)
{
	unpack(BN_T1, s, pairs, at, ahead);
}

/* 32 outputs of up to four rows of activations */
BN_INLINE void dot_pairs(s32 *y, size_t y_stride, const u8 *codes, u32 pairs, const u32 *x,
			 u32 x_rows, const u32 batch)
{
	__v16hi low0 = { 0 }, low1 = low0, low2 = low0, low3 = low0;
	__v16hi high0 = low0, high1 = low0, high2 = low0, high3 = low0;

	for (u32 i = 0; i < pairs; i++) {
		__v8si low = load_once(codes), high = load_once(codes + 32), in;

		in = pair_of_x(x);
		low0 = add_products(low0, low, in);
		high0 = add_products(high0, high, in);
		if (batch > 1) {
			in = pair_of_x(x + 1);
			low1 = add_products(low1, low, in);
			high1 = add_products(high1, high, in);
		}
		if (batch > 2) {
			in = pair_of_x(x + 2);
			low2 = add_products(low2, low, in);
			high2 = add_products(high2, high, in);
		}
		if (batch > 3) {
			in = pair_of_x(x + 3);
			low3 = add_products(low3, low, in);
			high3 = add_products(high3, high, in);
		}
		codes += 64;
		x += x_rows;
	}
	add_to_outputs(y, low0);
	add_to_outputs(y + 8, high0);
	if (batch > 1) {
		add_to_outputs(y + y_stride, low1);
		add_to_outputs(y + y_stride + 8, high1);
	}
	if (batch > 2) {
		add_to_outputs(y + 2 * y_stride, low2);
		add_to_outputs(y + 2 * y_stride + 8, high2);
	}
	if (batch > 3) {
		add_to_outputs(y + 3 * y_stride, low3);
		add_to_outputs(y + 3 * y_stride + 8, high3);
	}
}

/* A block's outputs for @batch rows of activations from @b on */
#define BLOCK(n)								\
BN_NOINLINE void block_##n(const struct bn_product *p, s32 *y, u32 outputs, u32 pairs,	\
			   u32 b)						\
{										\
	const struct scratch *s = p->tmp;					\
	const u8 *codes = s->codes;						\
										\
	y += b * p->y_stride;							\
	for (u32 o = 0; o < outputs; o += 32, codes += (size_t)64 * pairs)	\
		dot_pairs(y + o, p->y_stride, codes, pairs, s->x + b,		\
			  bn_round_up(p->batch, 4), n);				\
}

BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)

static void rows_of_x(const struct bn_product *p, u32 packing, u32 pairs,
		      struct ahead *ahead)
{
	const u32 outputs = bn_block_cols(packing);

	for (u32 i = 0; i < p->blocks; i++) {
		s32 *y = p->y + i * outputs;
		u32 b = 0;

		if (packing == BN_T1)
			unpack_t1(p->tmp, pairs, i * BN_BLOCK_BYTES, ahead);
		else
			unpack_t2(p->tmp, pairs, i * BN_BLOCK_BYTES, ahead);
		for (; b + 4 <= p->batch; b += 4)
			block_4(p, y, outputs, pairs, b);
		if (p->batch - b == 3)
			block_3(p, y, outputs, pairs, b);
		else if (p->batch - b == 2)
			block_2(p, y, outputs, pairs, b);
		else if (p->batch - b == 1)
			block_1(p, y, outputs, pairs, b);
	}
}

static void columns(const struct bn_product *p, u32 packing)
{
	/* Equal parts: adding up the sums of few pairs would cost more than making them */
	const u32 parts = (p->n - 1) / (2 * MAX_PAIRS) + 1;
	const u32 part = bn_round_up((p->n - 1) / parts + 1, 2);
	struct ahead ahead = ahead_from(p, p->n);

	for (u32 i = 0; i < p->n; i += part) {
		u32 pairs = take_pairs(p, i, smaller(part, p->n - i));

		if (p->batch > 1)
			rows_of_x(p, packing, pairs, &ahead);
		else if (packing == BN_T1)
			one_row_of_x_t1(p, pairs, &ahead);
		else
			one_row_of_x_t2(p, pairs, &ahead);
	}
}

void bn_columns_t2_avx2(const struct bn_product *p)
{
	columns(p, BN_T2);
}

void bn_columns_t1_avx2(const struct bn_product *p)
{
	columns(p, BN_T1);
}

#endif /* __CHECKER__ */

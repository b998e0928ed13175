// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx2_linear.c - products whose lines are rows
 *
 * One row of activations: four lines at a time share its loads; codes never leave the registers.
 * Up to four rows: the same with two lines at a time. More: eight lines are unpacked into bytes,
 * once, which all rows of activations are multiplied with, two lines with four rows at a time, in
 * parts that fit into the first-level cache.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_avx2.h"

/* Prefetched are the lines that are one or more whole groups of four ahead. */
#define AHEAD_BYTES	2048

BN_INLINE u32 lines_ahead(const struct bn_product *p)
{
	return BN_GROUP * ((AHEAD_BYTES - 1) / (BN_GROUP * p->line_bytes) + 1);
}

/* Four vectors of 16-bit sums: with struct quad's element type, each would take two registers. */
struct quad16 {
	__v16hi a, b, c, d;
};

BN_INLINE struct quad16 quad16_zero(void)
{
	return (struct quad16){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE struct quad quad_widen(struct quad sum, struct quad16 q)
{
	return quad_add(sum, (struct quad){ widen(q.a), widen(q.b), widen(q.c), widen(q.d) });
}

/* ---- one row of activations ------------------------------------------------------------------ */

#define T2_BLOCKS	5	/* to be added in 16 bits: 2 halves of 4 fields each */
#define T1_BLOCKS	4	/* of 5 digits */

BN_INLINE __v16hi half_t2(__v16hi sum, const u8 *w, const s8 *x)
{
	__v8si packed = load(w);

	sum = add_products(sum, field_of(packed, 0), load(x));
	sum = add_products(sum, field_of(packed, 1), load(x + 64));
	sum = add_products(sum, field_of(packed, 2), load(x + 128));
	sum = add_products(sum, field_of(packed, 3), load(x + 192));
	return sum;
}

BN_INLINE __v16hi half_t1(__v16hi sum, const u8 *w, const s8 *x)
{
	__v8si packed = load(w);

	bn_for_each(k, 5)
		sum = add_products(sum, t1_digit(&packed, k), load(x + 64 * k));
	return sum;
}

BN_INLINE __v16hi half(const u32 packing, __v16hi sum, const u8 *w, const s8 *x)
{
	return packing == BN_T1 ? half_t1(sum, w, x) : half_t2(sum, w, x);
}

/* Without a list, what comes next lies behind: also behind the last line, where it does no harm. */
BN_INLINE void one_row_of_x(const u32 packing, const enum bn_order order,
			    const struct bn_product *p)
{
	const u32 cols = packing == BN_T1 ? BN_T1_BLOCK_COLS : BN_T2_BLOCK_COLS;
	const u32 most = (packing == BN_T1 ? T1_BLOCKS : T2_BLOCKS) * BN_BLOCK_BYTES;
	const u32 bytes = p->blocks * BN_BLOCK_BYTES;
	const size_t distance = (size_t)lines_ahead(p) * bytes;
	struct ahead ahead = ahead_from(p, lines_ahead(p));

	for (u32 i = 0; i < p->n; i += BN_GROUP) {
		const struct bn_rows row = order == BN_PARTED ? bn_rows_of_parts(p, i / BN_GROUP) :
							    lines_of(p, i, p->n);
		const struct bn_fetch fetch = bn_fetch_of(p, i, row.a);
		const u8 *next = row.a + distance;
		struct quad sum = quad_zero();
		const s8 *x = p->x;
		u32 at = 0;

		while (at < bytes) {
			u32 end = smaller(at + most, bytes);
			struct quad16 part = quad16_zero();

			for (; at < end; at += BN_BLOCK_BYTES, x += cols) {
				bn_for_each(r, BN_GROUP) {
					if (order == BN_LISTED)
						prefetch_next(&ahead);
					else if (order == BN_FOLLOWING)
						bn_prefetch(next + BN_GROUP * at +
							    r * BN_BLOCK_BYTES);
				}
				if (order == BN_PARTED)
					bn_prefetch_rows(&row, at + BN_PART_AHEAD);
				bn_fetch(&fetch, at);
				for (u32 h = 0; h < BN_BLOCK_BYTES; h += 32) {
					part.a = half(packing, part.a, row.a + at + h, x + h);
					part.b = half(packing, part.b, row.b + at + h, x + h);
					part.c = half(packing, part.c, row.c + at + h, x + h);
					part.d = half(packing, part.d, row.d + at + h, x + h);
				}
			}
			sum = quad_widen(sum, part);
		}
		bn_store_one(p, 0, i, quad_sums(sum), order);
	}
}

#define ONE_ROW_OF_X(name, packing, order)		\
BN_NOINLINE void name(const struct bn_product *p)	\
{							\
	one_row_of_x(packing, order, p);		\
}

ONE_ROW_OF_X(one_row_t2, BN_T2, BN_FOLLOWING)
ONE_ROW_OF_X(one_row_t1, BN_T1, BN_FOLLOWING)
ONE_ROW_OF_X(one_row_listed_t2, BN_T2, BN_LISTED)
ONE_ROW_OF_X(one_row_listed_t1, BN_T1, BN_LISTED)
ONE_ROW_OF_X(one_row_parts_t2, BN_T2, BN_PARTED)
ONE_ROW_OF_X(one_row_parts_t1, BN_T1, BN_PARTED)

/* ---- more ------------------------------------------------------------------------------------ */

/*
 * Two lines with up to four rows of activations: one vector of 16-bit sums for each pair of them.
 * Members of a struct quad16 are rows of activations here.
 */
struct lines16 {
	struct quad16 first, second;
};

BN_INLINE void dot_lines(struct lines16 *sum, __v8si first, __v8si second, const s8 *x,
			 size_t x_stride, const u32 batch)
{
	__v8si in = load_once(x);

	sum->first.a = add_products(sum->first.a, first, in);
	sum->second.a = add_products(sum->second.a, second, in);
	if (batch > 1) {
		in = load_once(x + x_stride);
		sum->first.b = add_products(sum->first.b, first, in);
		sum->second.b = add_products(sum->second.b, second, in);
	}
	if (batch > 2) {
		in = load_once(x + 2 * x_stride);
		sum->first.c = add_products(sum->first.c, first, in);
		sum->second.c = add_products(sum->second.c, second, in);
	}
	if (batch > 3) {
		in = load_once(x + 3 * x_stride);
		sum->first.d = add_products(sum->first.d, first, in);
		sum->second.d = add_products(sum->second.d, second, in);
	}
}

/* y[b] = sums - x_sum[b], or y[b] += sums where @x_sum is NULL */
BN_INLINE void store_line(s32 *y, size_t y_stride, struct quad sum, const s32 *x_sum,
			  const u32 batch)
{
	u32 total[BN_GROUP];

	_mm_storeu_si128((__m128i_u *)total, quad_sums(sum));
	for (u32 b = 0; b < batch; b++)
		y[b * y_stride] = (s32)(total[b] + (x_sum ? 0 - (u32)x_sum[b] :
							    (u32)y[b * y_stride]));
}

/* Straight from the packed lines, which are read once for each four rows of activations. */
BN_INLINE void some_rows_of_x(const u32 packing, const struct bn_product *p, const u32 batch)
{
	const u32 cols = packing == BN_T1 ? BN_T1_BLOCK_COLS : BN_T2_BLOCK_COLS;
	const u32 most = (packing == BN_T1 ? T1_BLOCKS : T2_BLOCKS) * BN_BLOCK_BYTES;
	const u32 bytes = p->blocks * BN_BLOCK_BYTES;
	struct ahead ahead = ahead_from(p, lines_ahead(p));
	const size_t stride = p->x_stride;

	for (u32 i = 0; i < p->n; i += 2) {
		const u8 *w0 = line_of(p, i, p->n), *w1 = line_of(p, i + 1, p->n);
		struct quad sum0 = quad_zero(), sum1 = sum0;
		const s8 *x = p->x;
		u32 at = 0;

		while (at < bytes) {
			u32 end = smaller(at + most, bytes);
			struct lines16 part = { quad16_zero(), quad16_zero() };

			for (; at < end; at += BN_BLOCK_BYTES / 2) {
				__v8si v0 = load(w0 + at), v1 = load(w1 + at);

				prefetch_next(&ahead);
				if (packing == BN_T1)
					bn_for_each(k, 5)
						dot_lines(&part, t1_digit(&v0, k), t1_digit(&v1, k),
							  x + 64 * k, stride, batch);
				else
					bn_for_each(f, 4)
						dot_lines(&part, field_of(v0, f), field_of(v1, f),
							  x + 64 * f, stride, batch);
				x += at & 32 ? cols - 32 : 32;
			}
			sum0 = quad_widen(sum0, part.first);
			sum1 = quad_widen(sum1, part.second);
		}
		store_line(p->y + i, p->y_stride, sum0, p->x_sum, batch);
		if (i + 1 < p->n)
			store_line(p->y + i + 1, p->y_stride, sum1, p->x_sum, batch);
	}
}

/*
 * From codes, unpacked once for all rows of activations. What is multiplied together stays in the
 * first-level cache: a part of the columns of eight lines, and of four rows of activations.
 */
#define TILE_LINES	8
#define TILE_COLS	2048

/* Codes of two lines lie together, 32 of each in turn. */
#define CODES_STRIDE	64

BN_INLINE void put_codes(u8 *codes, u32 at, __v8si code)
{
	*(__v8si *)(codes + 2 * at) = code;
}

BN_INLINE void unpack(const u32 packing, u8 *codes, const u8 *w, u32 blocks, struct ahead *ahead)
{
	for (; blocks--; w += BN_BLOCK_BYTES) {
		prefetch_next(ahead);
		for (u32 h = 0; h < BN_BLOCK_BYTES; h += 32) {
			__v8si packed = load(w + h);

			if (packing == BN_T1)
				bn_for_each(k, 5)
					put_codes(codes, h + 64 * k, t1_digit(&packed, k));
			else
				bn_for_each(f, 4)
					put_codes(codes, h + 64 * f, field_of(packed, f));
		}
		codes += 2 * (packing == BN_T1 ? BN_T1_BLOCK_COLS : BN_T2_BLOCK_COLS);
	}
}

/* Two lines of codes with up to four rows of activations */
BN_INLINE void dot_codes(s32 *y, size_t y_stride, const u8 *codes, u32 cols, u32 lines, const s8 *x,
			 size_t x_stride, const s32 *x_sum, const u32 batch)
{
	struct quad sum0 = quad_zero(), sum1 = sum0;

	while (cols) {
		u32 n = smaller(32 * BN_SUMS_16, cols);
		struct lines16 part = { quad16_zero(), quad16_zero() };

		cols -= n;
		for (; n; n -= 32) {
			dot_lines(&part, load(codes), load(codes + 32), x, x_stride, batch);
			codes += CODES_STRIDE;
			x += 32;
		}
		sum0 = quad_widen(sum0, part.first);
		sum1 = quad_widen(sum1, part.second);
	}
	store_line(y, y_stride, sum0, x_sum, batch);
	if (lines > 1)
		store_line(y + 1, y_stride, sum1, x_sum, batch);
}

/* A tile's lines from @i on with @batch rows of activations from @b on */
BN_INLINE void dot_tile(const struct bn_product *p, u32 i, u32 lines, u32 from, u32 cols, u32 b,
			const u32 batch)
{
	const s8 *x = p->x + b * p->x_stride + from;
	s32 *y = p->y + b * p->y_stride + i;
	const u8 *codes = p->tmp;

	for (u32 l = 0; l < lines; l += 2, codes += 2 * cols)
		dot_codes(y + l, p->y_stride, codes, cols, lines - l, x, p->x_stride,
			  from ? NULL : p->x_sum + b, batch);
}

BN_INLINE void unpack_tile(const u32 packing, const struct bn_product *p, u32 i, u32 lines,
			   u32 from, u32 blocks, u32 cols, struct ahead *ahead)
{
	u8 *codes = p->tmp;

	for (u32 l = 0; l < lines; l++) {
		const u8 *w = line_of(p, i + l, p->n);

		unpack(packing, codes + 32 * (l & 1), w + from, blocks, ahead);
		if (l & 1)
			codes += 2 * cols;
	}
}

/* One function for each width: their spilled registers do not add up in one frame. */
#define SOME_ROWS_OF_X(n)								\
BN_NOINLINE void rows_t2_##n(const struct bn_product *p)				\
{											\
	some_rows_of_x(BN_T2, p, n);							\
}											\
											\
BN_NOINLINE void rows_t1_##n(const struct bn_product *p)				\
{											\
	some_rows_of_x(BN_T1, p, n);							\
}

#define DOT_TILE(n)									\
BN_NOINLINE void dot_tile_##n(const struct bn_product *p, u32 i, u32 lines, u32 from,	\
			      u32 cols, u32 b)						\
{											\
	dot_tile(p, i, lines, from, cols, b, n);					\
}

SOME_ROWS_OF_X(2)
SOME_ROWS_OF_X(3)
SOME_ROWS_OF_X(4)
DOT_TILE(1)
DOT_TILE(2)
DOT_TILE(3)
DOT_TILE(4)

BN_NOINLINE void unpack_tile_t2(const struct bn_product *p, u32 i, u32 lines, u32 from, u32 blocks,
				struct ahead *ahead)
{
	unpack_tile(BN_T2, p, i, lines, from, blocks, blocks * BN_T2_BLOCK_COLS, ahead);
}

BN_NOINLINE void unpack_tile_t1(const struct bn_product *p, u32 i, u32 lines, u32 from, u32 blocks,
				struct ahead *ahead)
{
	unpack_tile(BN_T1, p, i, lines, from, blocks, blocks * BN_T1_BLOCK_COLS, ahead);
}

static void many_rows_of_x(const struct bn_product *p, u32 packing)
{
	const u32 block_cols = bn_block_cols(packing), most = TILE_COLS / block_cols;
	const u32 part = (p->blocks - 1) / ((p->blocks - 1) / most + 1) + 1;
	struct ahead ahead = ahead_from(p, TILE_LINES);

	for (u32 i = 0; i < p->n; i += TILE_LINES) {
		u32 lines = smaller(TILE_LINES, p->n - i);

		for (u32 at = 0; at < p->blocks; at += part) {
			u32 blocks = smaller(part, p->blocks - at), from = at * block_cols, b = 0;
			u32 cols = blocks * block_cols;

			if (packing == BN_T1)
				unpack_tile_t1(p, i, lines, at * BN_BLOCK_BYTES, blocks, &ahead);
			else
				unpack_tile_t2(p, i, lines, at * BN_BLOCK_BYTES, blocks, &ahead);
			for (; b + 4 <= p->batch; b += 4)
				dot_tile_4(p, i, lines, from, cols, b);
			if (p->batch - b == 3)
				dot_tile_3(p, i, lines, from, cols, b);
			else if (p->batch - b == 2)
				dot_tile_2(p, i, lines, from, cols, b);
			else if (p->batch - b == 1)
				dot_tile_1(p, i, lines, from, cols, b);
		}
	}
}

#define LINEAR(t, packing)					\
void bn_linear_##t##_avx2(const struct bn_product *p)		\
{								\
	switch (p->batch) {					\
	case 1:							\
		if (p->part[0])					\
			one_row_parts_##t(p);			\
		else if (p->list)				\
			one_row_listed_##t(p);			\
		else						\
			one_row_##t(p);				\
		break;						\
	case 2:							\
		rows_##t##_2(p);				\
		break;						\
	case 3:							\
		rows_##t##_3(p);				\
		break;						\
	case 4:							\
		rows_##t##_4(p);				\
		break;						\
	default:						\
		many_rows_of_x(p, packing);			\
		break;						\
	}							\
}

LINEAR(t2, BN_T2)
LINEAR(t1, BN_T1)

#endif /* __CHECKER__ */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_amx.c - AVX-512 with VNNI and VBMI, but batches of products with AMX
 *
 * Of userspace only: see README.md about tiles in the kernel. Whoever may use it has asked the
 * kernel for the permission to.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#define VBMI			/* all CPUs with AMX have it */
#include "bn_zmm.h"
#include "bn_vnni_ops.h"
#include "bn_head_simd.h"
#include "bn_tiles.h"

/*
 * Rows of activations from which on it pays. Of so few the codes take most of the time to unpack;
 * t2 has a kernel for up to six that unpacks nothing.
 */
#define LEAST		5
#define LEAST_T2	7

_Static_assert(BN_MAX_ROWS <= SUMS * TILE_ROWS, "a sum for each tile of activations");

/* @codes, with all @tiles tiles of activations, to as many sums from @first on */
BN_INLINE void multiply_all(const void *codes, const s8 *x, size_t x_stride, const u32 first,
			    const u32 tiles)
{
	compiler_barrier(codes);
	load_codes(codes);
	bn_for_each(t, tiles) {
		load_x(x, x_stride, t, tiles);
		multiply(first + t, t, tiles);
	}
}

/* 64 bytes of 16 lines, by four bytes: of each of the 16 vectors, lane i comes from line i */
BN_INLINE void load_lines(vec *packed, const u8 *const row[], size_t at)
{
	bn_for_each(i, 4) {
		struct quad q = transpose(row, at + 16 * i);

		packed[4 * i] = q.a;
		packed[4 * i + 1] = q.b;
		packed[4 * i + 2] = q.c;
		packed[4 * i + 3] = q.d;
	}
}

/* What to fetch while lines [@r, @r + 16) of @n are multiplied: four streams of what is behind */
BN_INLINE struct bn_rows streams_behind(const u8 *w, u32 line_bytes, u32 n, u32 ahead, u32 r)
{
	return (struct bn_rows){
		bn_stream_behind(w, line_bytes, n, ahead, r, 0, 4),
		bn_stream_behind(w, line_bytes, n, ahead, r, 1, 4),
		bn_stream_behind(w, line_bytes, n, ahead, r, 2, 4),
		bn_stream_behind(w, line_bytes, n, ahead, r, 3, 4),
	};
}

BN_INLINE void fetch_streams(struct bn_rows *next)
{
	bn_prefetch_2nd(next->a);
	bn_prefetch_2nd(next->b);
	bn_prefetch_2nd(next->c);
	bn_prefetch_2nd(next->d);
	next->a += 64;
	next->b += 64;
	next->c += 64;
	next->d += 64;
}

/*
 * A tile is multiplied when so many more have been made: it cannot be loaded before its bytes have
 * gone from the CPU's queue of stores to the cache, and whoever waits for that keeps instructions
 * behind him from retiring, and so their stores in the queue. With more of them codes would take up
 * more of the first-level cache.
 */
#define DELAY		3

_Static_assert(DELAY < BN_T2_BLOCK_COLS / 64, "all that waits are tiles of a block");

/* The place of a block whose tile is due when that of place @k, of @n, has been made */
BN_INLINE u32 due(const u32 k, const u32 n)
{
	return (k + n - DELAY) % n;
}

/*
 * Adding to a sum takes as long as unpacking two or three tiles: with up to two tiles of
 * activations there are two sums of each, that take turns. Return: where those of place @k start
 */
BN_INLINE u32 turn_of(const u32 k, const u32 tiles)
{
	return 2 * tiles <= SUMS ? k % 2 * tiles : 0;
}

/* Sums of 16 lines as they are in tiles, by rows of activations, to memory */
BN_INLINE void store_tiles(vec sums[][TILE_ROWS])
{
	bn_for_each(i, SUMS)
		store_sum(i, sums[i], 64);
	compiler_barrier(sums);
}

/* Those of row @b of activations */
BN_INLINE vec sum_of_row(vec sums[][TILE_ROWS], u32 b, const u32 tiles)
{
	vec sum = sums[b / TILE_ROWS][b % TILE_ROWS];

	if (2 * tiles <= SUMS)
		sum += sums[tiles + b / TILE_ROWS][b % TILE_ROWS];
	return sum;
}

/* ---- linear ---------------------------------------------------------------------------------- */

/*
 * struct lines_room - a call's tmp
 * @codes:	of 16 lines and a block: a tile for each place
 * @sums:	of 16 lines
 */
struct lines_room {
	vec codes[BN_T1_BLOCK_COLS / 64][TILE_ROWS];
	vec sums[SUMS][TILE_ROWS];
};

_Static_assert(sizeof(struct lines_room) <= BN_TMP_BYTES, "it fits tmp");

/*
 * Lines [r, r + 16) with all rows of activations. No lane overflows: 32960 products of 3 * 128 are
 * 1.3e7, and of columns at most as many.
 */
BN_INLINE void lines_16(const struct bn_product *p, u32 r, const u32 packing, const u32 tiles)
{
	const u32 n = places(packing), ahead = p->list ? 0 : smaller(p->n, p->ahead);
	struct lines_room *room = p->tmp;
	const u8 *row[TILE_ROWS];
	const s8 *x = p->x;
	struct bn_rows next;

	bn_for_each(i, TILE_ROWS)
		row[i] = line(p, r + i, p->n);
	next = ahead ? streams_behind(p->w, p->line_bytes, p->n, ahead, r) :
		       (struct bn_rows){ row[0], row[4], row[8], row[12] };
	zero_sums();
	for (u32 block = 0; block < p->blocks; block++) {
		vec packed[TILE_ROWS] BN_UNINIT;

		load_lines(packed, row, block * BN_BLOCK_BYTES);
		bn_for_each(k, n) {
			if (k < TILE_ROWS / 4)
				fetch_streams(&next);
			bn_for_each(i, TILE_ROWS)
				store(room->codes[k] + i, codes_of(packed + i, k, packing));
			if (k >= DELAY || block) {
				multiply_all(room->codes[due(k, n)], x, p->x_stride,
					     turn_of(due(k, n), tiles), tiles);
				x += 64;
			}
		}
	}
	bn_for_each(k, DELAY)
		multiply_all(room->codes[due(k, n)], x + 64 * k, p->x_stride,
			     turn_of(due(k, n), tiles), tiles);
	store_tiles(room->sums);
	for (u32 b = 0; b < p->batch; b++)
		store_sums(p->y + b * p->y_stride + r, sum_of_row(room->sums, b, tiles), p->n - r,
			   p->x_sum[b]);
}

BN_INLINE void all_lines(const struct bn_product *p, const u32 packing, const u32 tiles)
{
	for (u32 r = 0; r < p->n; r += TILE_ROWS)
		lines_16(p, r, packing, tiles);
}

/* ---- columns --------------------------------------------------------------------------------- */

#define COLUMNS_TILED	256	/* columns at once: with their activations, about a cache */
#define STEPS_LATER	2	/* of 64 columns, between making codes and multiplying them */

/*
 * A product is that of all columns with one place of some times 16 outputs. Sums of two products,
 * in turns, fit the tiles: of one tile of activations even with twice the outputs each.
 */
BN_INLINE u32 groups_of(const u32 tiles)
{
	return tiles == 1 ? 2 : 1;
}

/* Where the sums of the products of turn @turn start */
BN_INLINE u32 sums_of(const u32 turn, const u32 tiles)
{
	return tiles > 2 ? 0 : 2 * turn;
}

/*
 * struct columns_room - columns, in a call's tmp
 * @packed:	of each 16 outputs of a block, by quad of columns
 * @codes:	of steps, in turns
 * @steps:	of 64 columns, at least STEPS_LATER
 * @made:	steps whose codes have been made, so far
 */
struct columns_room {
	struct columns list;
	vec packed[4][COLUMNS_TILED / 4];
	vec codes[2 * STEPS_LATER][2][TILE_ROWS];
	u32 steps, made;
};

_Static_assert(sizeof(struct columns_room) <= BN_TMP_BYTES, "it fits tmp");

/* Bytes of a block, by outputs and quads of columns */
BN_INLINE void interleave_columns(struct columns_room *room, const u8 *w)
{
	const u32 *at = room->list.at;

	for (u32 i = 0; i < 16 * room->steps; i++, at += 4) {
		const vec a = spread(load(w + at[0])), b = spread(load(w + at[1]));
		const vec c = spread(load(w + at[2])), d = spread(load(w + at[3]));
		struct pair low = interleave(a, b, c, d, false);
		struct pair high = interleave(a, b, c, d, true);

		room->packed[0][i] = low.a;
		room->packed[1][i] = low.b;
		room->packed[2][i] = high.a;
		room->packed[3][i] = high.b;
	}
}

/* Sums from @first on, of outputs from @y on, from there or to there */
BN_INLINE void move_sums(const struct bn_product *p, s32 *y, const u32 first, const u32 tiles,
			 const bool load)
{
	const size_t stride = p->y_stride * sizeof(*y);

	bn_for_each(g, groups_of(tiles)) {
		bn_for_each(t, tiles) {
			s32 *at = y + TILE_ROWS * (g + t * p->y_stride);

			if (load)
				load_sum(first + g * tiles + t, at, stride);
			else
				store_sum(first + g * tiles + t, at, stride);
		}
	}
	compiler_barrier(y);
}

/* Add to @y what the @step'th 64 columns make: their codes were made STEPS_LATER steps ago. */
BN_INLINE void multiply_step(const struct bn_product *p, const struct columns_room *room, s32 *y,
			     u32 step, const u32 first, const u32 tiles)
{
	const u32 made = (room->made + STEPS_LATER) % (2 * STEPS_LATER);
	const struct columns *c = &room->list;

	if (step == 0)
		move_sums(p, y, first, tiles, true);
	bn_for_each(g, groups_of(tiles))
		multiply_all(room->codes[made][g], c->in + 64 * step, c->in_stride,
			     first + g * tiles, tiles);
	if (step == room->steps - 1)
		move_sums(p, y, first, tiles, false);
}

/*
 * Make the codes of a product, that of place @k and outputs from the @g'th 16 on, to be added to
 * @y; and multiply them as far as they are due, after what is left of the product @before.
 */
BN_INLINE void columns_product(const struct bn_product *p, struct columns_room *room, s32 *y,
			       s32 *before, u32 g, const u32 k, const u32 turn, const u32 packing,
			       const u32 tiles)
{
	fetch(&room->list, p);
	for (u32 step = 0; step < room->steps; step++, room->made++) {
		vec (*codes)[TILE_ROWS] = room->codes[room->made % (2 * STEPS_LATER)];

		bn_for_each(i, groups_of(tiles)) {
			vec *packed = room->packed[g + i] + TILE_ROWS * step;

			bn_for_each(q, TILE_ROWS)
				store(codes[i] + q, codes_of(packed + q, k, packing));
		}
		if (step >= STEPS_LATER)
			multiply_step(p, room, y, step - STEPS_LATER, sums_of(turn, tiles), tiles);
		else if (before)
			multiply_step(p, room, before, room->steps + step - STEPS_LATER,
				      sums_of(!turn, tiles), tiles);
	}
}

/* A block of the columns listed */
BN_INLINE void columns_block(const struct bn_product *p, struct columns_room *room, s32 *y,
			     const u32 packing, const u32 tiles)
{
	s32 *before = NULL;

	/* Two times each place: so the number of products is even. */
	for (u32 g = 0; g < 4; g += 2 * groups_of(tiles)) {
		bn_for_each(half, 2) {
			bn_for_each(k, places(packing)) {
				u32 from = g + half * groups_of(tiles);
				s32 *to = y + 64 * k + TILE_ROWS * from;

				columns_product(p, room, to, before, from, k,
						(half * places(packing) + k) % 2, packing, tiles);
				before = to;
			}
		}
	}
	for (u32 i = 0; i < STEPS_LATER; i++, room->made++)
		multiply_step(p, room, before, room->steps + i - STEPS_LATER, sums_of(1, tiles),
			      tiles);
}

BN_INLINE void columns(const struct bn_product *p, const u32 packing, const u32 tiles)
{
	struct columns_room *room = p->tmp;
	u32 n;

	room->made = 0;
	for (u32 from = 0; from < p->n; from += n) {
		n = smaller(p->n - from, COLUMNS_TILED);
		room->steps = n > 64 * STEPS_LATER ? times(n, 64) : STEPS_LATER;
		list_columns(&room->list, p, from, n, 64 * room->steps);
		plan_fetch(&room->list, p, from, n,
			   p->blocks * 4 / groups_of(tiles) * places(packing));
		for (u32 block = 0; block < p->blocks; block++) {
			interleave_columns(room, p->w + (size_t)block * BN_BLOCK_BYTES);
			columns_block(p, room, p->y + block * bn_block_cols(packing), packing,
				      tiles);
		}
	}
}

/* ---- the head ------------------------------------------------------------------------------- */

/*
 * struct head_room - rows of the high plane, in a call's tmp
 * @bits:	of 16 rows, by quad of elements: nibbles of two places, of the other two, and pairs
 *		of bits
 * @codes, @sums: as of struct lines_room
 */
struct head_room {
	vec bits[3][TILE_ROWS];
	vec codes[4][TILE_ROWS];
	vec sums[SUMS][TILE_ROWS];
};

_Static_assert(sizeof(struct head_room) <= BN_TMP_BYTES, "it fits tmp");

/* Rows [r, r + 16) of the plane with the two digits of each slot, which are rows of activations */
BN_INLINE void head_16(const struct bn_head *p, u32 r, const u32 tiles)
{
	const u32 row_bytes = bn_high_bytes(p->n_pad), n = BN_PLANE_COLS / 64;
	const size_t x_stride = p->x_stride / 2;
	struct head_room *room = p->tmp;
	const u8 *row[TILE_ROWS];
	const s8 *x = p->x;
	struct bn_rows next;

	bn_for_each(i, TILE_ROWS)
		row[i] = p->high + (size_t)smaller(r + i, p->n - 1) * row_bytes;
	/* Behind them is the next piece. */
	next = streams_behind(p->high, row_bytes, p->n, p->n, r);
	zero_sums();
	for (u32 at = 0; at < row_bytes; at += 192) {
		bn_for_each(part, 3)
			load_lines(room->bits[part], row, at + 64 * part);
		bn_for_each(k, n) {
			bn_for_each(i, 3)
				fetch_streams(&next);
			bn_for_each(i, TILE_ROWS)
				store(room->codes[k] + i,
				      plane_codes(room->bits[k / 2][i], room->bits[2][i], k));
			if (k >= DELAY || at) {
				multiply_all(room->codes[due(k, n)], x, x_stride,
					     turn_of(due(k, n), tiles), tiles);
				x += 64;
			}
		}
	}
	bn_for_each(k, DELAY)
		multiply_all(room->codes[due(k, n)], x + 64 * k, x_stride,
			     turn_of(due(k, n), tiles), tiles);
	store_tiles(room->sums);
	for (u32 slot = 0; slot < p->slots; slot++) {
		const vec first = sum_of_row(room->sums, 2 * slot, tiles);
		const vec second = sum_of_row(room->sums, 2 * slot + 1, tiles);

		head_end(p, slot, r, LANES, (const s32 *)&first, (const s32 *)&second);
	}
}

BN_NOINLINE void head_1(const struct bn_head *p)
{
	for (u32 r = 0; r < p->n; r += TILE_ROWS)
		head_16(p, r, 1);
}

BN_NOINLINE void head_2(const struct bn_head *p)
{
	for (u32 r = 0; r < p->n; r += TILE_ROWS)
		head_16(p, r, 2);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* One function for each number of tiles of activations: their numbers are part of instructions. */
#define WITH_TILES(name, what, packing, tiles)				\
BN_NOINLINE void name##_##tiles(const struct bn_product *p)		\
{									\
	what(p, packing, tiles);					\
}

#define OF_TILES(name, what, packing)					\
WITH_TILES(name, what, packing, 1)					\
WITH_TILES(name, what, packing, 2)					\
WITH_TILES(name, what, packing, 3)					\
WITH_TILES(name, what, packing, 4)					\
									\
static void name(const struct bn_product *p)				\
{									\
	switch (configure_tiles(p->batch)) {					\
	case 1:								\
		name##_1(p);						\
		break;							\
	case 2:								\
		name##_2(p);						\
		break;							\
	case 3:								\
		name##_3(p);						\
		break;							\
	default:							\
		name##_4(p);						\
		break;							\
	}								\
	_tile_release();						\
}

OF_TILES(lines_t2, all_lines, BN_T2)
OF_TILES(lines_t1, all_lines, BN_T1)
OF_TILES(columns_by_tiles_t2, columns, BN_T2)
OF_TILES(columns_by_tiles_t1, columns, BN_T1)

static void linear_t2(const struct bn_product *p)
{
	if (p->batch < LEAST_T2 || p->n <= LANES / 2)
		bn_linear_t2_avx512vnni(p);
	else
		lines_t2(p);
}

static void linear_t1(const struct bn_product *p)
{
	if (p->batch < LEAST)
		bn_linear_t1_avx512vbmi(p);
	else
		lines_t1(p);
}

static void columns_t2(const struct bn_product *p)
{
	if (p->batch < LEAST)
		bn_columns_t2_avx512vnni(p);
	else
		columns_by_tiles_t2(p);
}

static void columns_t1(const struct bn_product *p)
{
	if (p->batch < LEAST)
		bn_columns_t1_avx512vbmi(p);
	else
		columns_by_tiles_t1(p);
}

static void head_top(const struct bn_head *p)
{
	if (p->slots < LEAST) {
		bn_head_top_avx512vnni(p);
	} else {
		if (configure_tiles(2 * p->slots) == 1)
			head_1(p);
		else
			head_2(p);
		_tile_release();
	}
}

static void clear(void)
{
	_tile_release();
	bn_clear_avx512vnni();
}

const struct bn_ops bn_ops_amx = {
	.name = "amx",
	.needs = BN_CPU_AVX2 | BN_CPU_AVX512VNNI | BN_CPU_AVX512VBMI | BN_CPU_AMX,
	.macs_per_us = 60000,
	.batch_macs_per_us = 1000000,
	.parted_columns = true,
	.linear = { [BN_T2] = linear_t2, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = columns_t2, [BN_T1] = columns_t1 },
	BN_SHARED_OPS_OF(avx512vnni),
	.head_quantize = bn_head_quantize_avx512vnni,
	.head_top = head_top,
	.clear = clear,
};

#endif /* __CHECKER__ */

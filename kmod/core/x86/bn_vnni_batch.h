/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_batch.h - products with several rows of activations by vpdpbusd, behind bn_vnni_ops.h
 *
 * The including file has defined MOST_X: how many rows of activations, times two vectors of
 * outputs, fill the registers with sums.
 *
 * What vpdpbusd adds up in a lane are four products, of four consecutive activations (or four
 * columns) with the weights of one output. So codes are laid out by quads of activations, and
 * within a quad by outputs: a vector of codes times four activations, broadcast, adds to a vector
 * of outputs, and there is nothing to add up across lanes.
 */

#define LINEAR_ROWS	(2 * LANES)		/* lines whose codes are unpacked at once */
#define CODES_BYTES	16384			/* of these: fits a cache of 32 KiB, with x */
#define COLUMNS_BATCH	384			/* columns at once, beside their activations */
#define COLUMNS_UNIT	16			/* their number is a multiple */

/*
 * struct tile - a product of codes with some rows of activations
 * @sums:	for each row of activations, a vector of sums for each vector of codes
 * @codes:	by quad of activations
 * @packed, @taken: of two vectors: they are yet to be taken out of what is there, see take()
 * @x:		first activation of the first row
 * @quads:	of activations, a multiple of four
 * @add:	to what is in @sums
 * @next:	what is fetched into the second-level cache meanwhile: of FETCH_PARTS parts, @part
 *		bytes apart, a line in turns, each @step bytes further with each quad. A core waits
 *		when it has asked for more than a dozen lines at once
 */
struct tile {
	vec *sums;
	u8 *codes;
	bool packed;
	vec taken;
	const s8 *x;
	size_t x_stride;
	u32 quads;
	bool add;
	const u8 *next;
	u32 part, step;
};

#define FETCH_PARTS	4
#define FETCH_ROWS	8	/* with more rows of activations, one part: there is time */

/* Let tiles of @rows rows of activations fetch @bytes bytes within @quads quads. */
BN_INLINE void fetch_next(struct tile *t, const u8 *next, size_t bytes, u32 quads, u32 rows)
{
	const u32 parts = rows <= FETCH_ROWS ? FETCH_PARTS : 1;

	t->next = next;
	t->part = parts > 1 ? (u32)bytes / parts : 0;
	t->step = times((u32)bytes / parts, quads);
}

/* Codes of one place, for columns_part_few(): with VBMI of t1 by a table, else of t2 by a mask */
BN_INLINE vec take(vec packed, vec taken)
{
#ifdef VBMI
	return look_up_64(taken, packed);
#else
	return packed & taken;
#endif
}

#include "bn_vnni_multiply.h"

/*
 * struct columns_batch - columns in batches, in the call's tmp
 * @sums:	of a tile
 * @packed, @codes: of two vectors of outputs, those of a place at a time
 */
struct columns_batch {
	struct columns list;
	vec sums[2 * MOST_X];
	struct pair packed[COLUMNS_BATCH / 4], codes[COLUMNS_BATCH / 4];
};

_Static_assert(sizeof(struct columns_batch) <= BN_TMP_BYTES, "columns fit tmp");

/*
 * Of each four columns, the outputs of the first half of a vector of bytes, or of the other, in
 * order: spread() has put them where interleave() takes them from.
 */
BN_INLINE void interleave_columns(struct columns_batch *c, u32 n, const u8 *w, const bool high)
{
	for (u32 i = 0; i < n; i += 4) {
		const u32 *at = c->list.at + i;

		c->packed[i / 4] = interleave(spread(load(w + at[0])), spread(load(w + at[1])),
					      spread(load(w + at[2])), spread(load(w + at[3])),
					      high);
	}
}

/* Codes of place @k of what is interleaved */
BN_INLINE void unpack_place(struct columns_batch *c, u32 n, const u32 k, const u32 packing)
{
	for (u32 i = 0; i < n / 4; i++) {
		struct pair packed = c->packed[i];

		c->codes[i] = (struct pair){
			codes_of(&packed.a, k, packing), codes_of(&packed.b, k, packing),
		};
		c->packed[i] = packed;
	}
}

BN_INLINE void unpack_columns(struct columns_batch *c, u32 n, u32 k, const u32 packing)
{
	bn_for_each(place, places(packing))
		if (place == k)
			unpack_place(c, n, place, packing);
}

/* A half of a vector of bytes of all columns: codes, then products */
BN_INLINE void columns_part(const struct bn_product *p, struct columns_batch *c, u32 n, const u8 *w,
			    s32 *y, const u32 packing, const bool high)
{
	struct tile t = {
		.sums = c->sums, .codes = (u8 *)c->codes, .x_stride = c->list.in_stride,
		.quads = n / 4, .next = (const u8 *)c->codes,
	};
	u32 rows;

	interleave_columns(c, n, w, high);
	for (u32 k = 0; k < places(packing); k++) {
		unpack_columns(c, n, k, packing);
		for (u32 b = 0; b < p->batch; b += rows) {
			rows = share(p->batch - b, MOST_X);
			t.x = c->list.in + b * c->list.in_stride;
			fetch(&c->list, p);
			multiply_tile(&t, 2, rows);
			for (u32 r = 0; r < rows; r++)
				add_both(y + (b + r) * p->y_stride + 64 * k, t.sums[2 * r],
					 t.sums[2 * r + 1]);
		}
	}
}

/*
 * The same for as few rows of activations as one tile takes. For them, making codes would take as
 * long as multiplying: they are taken out of packed bytes on the way. That is done for one packing,
 * since the other's way would be as much code again.
 */
#ifdef VBMI
#define TAKEN		BN_T1

/* Of t1 first out of bytes that tell two digits, which are where columns_part() has its codes. */
BN_INLINE void put_packed(struct columns_batch *c, u32 i, struct pair b)
{
	c->codes[i] = (struct pair){ t1_quarter(b.a), t1_quarter(b.b) };
	c->packed[i] = (struct pair){ t1_rest(b.a), t1_rest(b.b) };
}

BN_INLINE void take_place(struct tile *t, struct columns_batch *c, u32 k)
{
	t->codes = (u8 *)(k < 2 ? c->codes : c->packed);
	t->taken = t1_table(k);
}
#else
#define TAKEN		BN_T2

BN_INLINE void put_packed(struct columns_batch *c, u32 i, struct pair b)
{
	c->packed[i] = b;
}

BN_INLINE void take_place(struct tile *t, struct columns_batch *c, u32 k)
{
	t->codes = (u8 *)c->packed;
	t->taken = mask_of_field(k);
}
#endif

BN_INLINE void columns_part_few(const struct bn_product *p, struct columns_batch *c, u32 n,
				const u8 *w, s32 *y, const bool high)
{
	struct tile t = {
		.sums = c->sums, .x = c->list.in, .x_stride = c->list.in_stride, .quads = n / 4,
		.next = (const u8 *)c->packed, .packed = true,
	};

	for (u32 i = 0; i < n / 4; i++)
		put_packed(c, i, interleave_at(w, c->list.at + 4 * i, high));
	for (u32 k = 0; k < places(TAKEN); k++) {
		const u32 shift = TAKEN == BN_T2 ? 2 * k : 0;

		take_place(&t, c, k);
		fetch(&c->list, p);
		multiply_tile(&t, 2, p->batch);
		for (u32 b = 0; b < p->batch; b++)
			add_pair(y + b * p->y_stride + 64 * k, t.sums[2 * b] >> shift,
				 t.sums[2 * b + 1] >> shift);
	}
}

BN_INLINE void columns_many(const struct bn_product *p, struct columns_batch *c, u32 n, u32 block,
			    const u32 packing)
{
	const u8 *w = p->w + (size_t)block * BN_BLOCK_BYTES;
	s32 *y = p->y + block * bn_block_cols(packing);

	for (u32 part = 0; part < BN_BLOCK_BYTES; part += VEC_BYTES) {
		if (packing == TAKEN && p->batch <= MOST_X) {
			columns_part_few(p, c, n, w + part, y + part, false);
			columns_part_few(p, c, n, w + part, y + part + 8, true);
			continue;
		}
		columns_part(p, c, n, w + part, y + part, packing, false);
		columns_part(p, c, n, w + part, y + part + VEC_BYTES / 2, packing, true);
	}
}

BN_INLINE void columns(const struct bn_product *p, const u32 packing)
{
	struct columns_batch *c = p->tmp;
	u32 n;

	if (p->batch == 1) {
		columns_of_one(p, packing);
		return;
	}
	for (u32 from = 0; from < p->n; from += n) {
		u32 listed;

		n = smaller(p->n - from, COLUMNS_BATCH);
		listed = bn_round_up(n, COLUMNS_UNIT);
		list_columns(&c->list, p, from, n, COLUMNS_UNIT);
		plan_fetch(&c->list, p, from, n,
			   p->blocks * 2 * (BN_BLOCK_BYTES / VEC_BYTES) * places(packing) *
				   times(p->batch, MOST_X));
		for (u32 block = 0; block < p->blocks; block++)
			columns_many(p, c, listed, block, packing);
	}
}

/* struct linear_tile - sums of all activations with LINEAR_ROWS lines, or with LANES, in a tmp */
struct linear_tile {
	vec sums[2 * BN_MAX_ROWS];
	u8 codes[CODES_BYTES];
};

_Static_assert(sizeof(struct linear_tile) <= BN_TMP_BYTES, "a tile fits tmp");

/* 16 bytes of a vector of lines: for each place, codes of four quads, which are @stride apart */
BN_INLINE void unpack_lines_16(u8 *codes, size_t stride, const u8 *const row[], size_t at,
			       const u32 packing)
{
	struct quad q = transpose(row, at);

	bn_for_each(k, places(packing)) {
		store(codes, codes_of(&q.a, k, packing));
		store(codes + stride, codes_of(&q.b, k, packing));
		store(codes + 2 * stride, codes_of(&q.c, k, packing));
		store(codes + 3 * stride, codes_of(&q.d, k, packing));
		codes += 16 * stride;
	}
}

/* Unpack @blocks blocks, @at bytes behind the start of @row[], of one or two vectors of lines */
BN_INLINE void unpack_lines(u8 *codes, const u8 *const row[], size_t at, u32 blocks, u32 vectors,
			    const u32 packing)
{
	for (; blocks--; at += BN_BLOCK_BYTES) {
		for (u32 i = 0; i < 4; i++) {
			for (u32 v = 0; v < vectors; v++)
				unpack_lines_16(codes + (4 * i * vectors + v) * VEC_BYTES,
						vectors * VEC_BYTES, row + v * LANES, at + 16 * i,
						packing);
		}
		codes += 16 * places(packing) * vectors * VEC_BYTES;
	}
}

/*
 * Let a tile of lines from the @r'th on, which takes @quads quads, fetch the lines behind them, as
 * they lie.
 */
BN_INLINE void fetch_lines(struct tile *t, const struct bn_product *p, u32 r, u32 quads)
{
	u32 end = p->n + p->ahead, n;

	if (p->list || r + LINEAR_ROWS >= end)
		return;
	n = smaller(end - r - LINEAR_ROWS, LINEAR_ROWS);
	fetch_next(t, line(p, r + LINEAR_ROWS, end), n * p->line_bytes, quads,
		   share(p->batch, MOST_X));
}

/* Sums of lines [r, r + LANES * @vectors), which are complete, to the results */
BN_INLINE void store_lines(const struct bn_product *p, const vec *sums, u32 r, u32 vectors)
{
	for (u32 b = 0; b < p->batch; b++, sums += vectors) {
		s32 *y = p->y + b * p->y_stride + r;

		store_sums(y, sums[0], p->n - r, p->x_sum[b]);
		if (vectors > 1)
			store_sums(y + LANES, sums[1], p->n - r - LANES, p->x_sum[b]);
	}
}

/* The results of LINEAR_ROWS lines, which are stored soon: each row is a page of its own */
BN_INLINE void prefetch_results(const struct bn_product *p, u32 r, u32 b, u32 rows)
{
	for (u32 i = b; i < b + rows; i++)
		for (u32 at = 0; at < LINEAR_ROWS; at += 16)
			bn_prefetch(p->y + i * p->y_stride + r + at);
}

/*
 * Lines [r, r + LINEAR_ROWS) with all activations, in pieces of blocks whose codes fit the
 * first-level cache. Each piece of codes is unpacked once and serves the whole batch. No lane
 * overflows: 32960 products of 3 * 128 are 1.3e7.
 */
BN_INLINE void linear_rows(const struct bn_product *p, u32 r, u32 vectors, const u32 packing)
{
	const u32 most = CODES_BYTES / (16 * places(packing) * 2 * VEC_BYTES);
	struct linear_tile *tile = p->tmp;
	struct tile t = {
		.codes = tile->codes, .x_stride = p->x_stride, .next = tile->codes,
	};
	const u8 *row[LINEAR_ROWS];
	u32 blocks, rows;

	for (u32 i = 0; i < vectors * LANES; i++)
		row[i] = line(p, r + i, p->n);
	fetch_lines(&t, p, r, 16 * places(packing) * p->blocks * times(p->batch, MOST_X));
	for (u32 block = 0; block < p->blocks; block += blocks) {
		blocks = smaller(p->blocks - block, most);
		unpack_lines(tile->codes, row, (size_t)block * BN_BLOCK_BYTES, blocks, vectors,
			     packing);
		t.quads = 16 * places(packing) * blocks;
		t.add = block > 0;
		for (u32 b = 0; b < p->batch; b += rows) {
			rows = share(p->batch - b, MOST_X);
			t.sums = tile->sums + b * vectors;
			t.x = p->x + b * p->x_stride + block * bn_block_cols(packing);
			if (block + blocks == p->blocks)
				prefetch_results(p, r, b, rows);
			multiply_tile(&t, vectors, rows);
			t.next += t.quads * t.step;
		}
	}
	store_lines(p, tile->sums, r, vectors);
}

BN_INLINE void linear_many(const struct bn_product *p, const u32 packing)
{
	for (u32 r = 0; r < p->n; r += LINEAR_ROWS)
		linear_rows(p, r, p->n - r > LANES ? 2 : 1, packing);
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_ops.h - products by vpdpbusd, written once for vectors of 32 and of 64 bytes
 *
 * The including file has defined vec, words and VEC_BYTES, struct quad (a vector for each line of
 * a group), the operations on both, and MOST_X: how many rows of activations, times two vectors
 * of outputs, fill the registers with sums; QUADS: of how many quads of activations at a time
 * multiply_tile() computes the products. With AMX defined it does so by tiles.
 *
 * Codes of t2 need not be shifted down: a field that stands 2i bits up is 4^i times too large as an
 * unsigned byte (at most 192), and so is its sum, which is divided exactly at the end, as no lane
 * overflows.
 *
 * Batches. What vpdpbusd adds up in a lane are four products, of four consecutive activations (or
 * four columns) with the weights of one output. So codes are laid out by quads of activations,
 * and within a quad by outputs: a vector of codes times four activations, broadcast, adds to a
 * vector of outputs, and there is nothing to add up across lanes.
 */

#include "bn_t1.h"

#define LANES		(VEC_BYTES / 4)		/* outputs of a vector of sums */
#define LINEAR_ROWS	(2 * LANES)		/* lines whose codes are unpacked at once */
#define CODES_BYTES	16384			/* of these: fits a cache of 32 KiB, with x */
#define COLUMNS_MOST	512			/* columns that are added at once */
#define COLUMNS_BATCH	(QUADS > 1 ? 256 : 384)	/* the same in batches, beside their activations */
#define COLUMNS_AHEAD	32			/* listed columns to blocks fetched in advance */
#define COLUMNS_NEAR	8			/* the same, to the others */
#define COLUMNS_BLOCKS	16			/* whose sums are kept at once: half a cache */
#define COLUMNS_UNIT	(QUADS > 4 ? 4 * QUADS : 16)	/* in batches, their number is a multiple */
#define COLUMNS_GROUP	8			/* columns that share loads and stores of sums */
#define HALVES		(VEC_BYTES / 32)	/* of their vectors, that registers hold at once */

/* Digits or fields of a byte */
BN_INLINE u32 places(const u32 packing)
{
	return packing == BN_T1 ? 5 : 4;
}

BN_INLINE u32 smaller(u32 a, u32 b)
{
	return a < b ? a : b;
}

BN_INLINE u32 times(u32 n, u32 most)
{
	return (n + most - 1) / most;
}

/* How many rows of activations to take next of @left, at most @most: about equally many each */
BN_INLINE u32 share(u32 left, u32 most)
{
	u32 n = times(left, most);

	return (left + n - 1) / n;
}

/* the @i'th line wanted; behind @end, the last one before it */
BN_INLINE const u8 *line(const struct bn_product *p, u32 i, u32 end)
{
	i = smaller(i, end - 1);
	return p->list ? p->list[i] : p->w + (size_t)i * p->line_bytes;
}

BN_INLINE struct bn_rows lines(const struct bn_product *p, u32 i, u32 end)
{
	return (struct bn_rows){
		line(p, i, end), line(p, i + 1, end), line(p, i + 2, end), line(p, i + 3, end),
	};
}

#define LISTED_AHEAD	8	/* lines to what is fetched whole ... */
#define LISTED_FAR	32	/* ... and in advance */

/*
 * What to prefetch first for the @k'th of @group lines that are multiplied together, the @i'th
 * wanted: of a list, the same place of a line further on, and so on from there. Lines that follow
 * each other are prefetched in the order in which they lie in memory, a cache line of it for each
 * line, since all CPUs see through that: Zen 4 reads up to twice as much as by lines.
 */
BN_INLINE const u8 *ahead_of(const struct bn_product *p, u32 i, u32 k, const bool listed)
{
	if (listed)
		return line(p, i + LISTED_AHEAD + k, p->n + p->ahead);
	return p->w + (size_t)i * p->line_bytes + bn_prefetch_bytes(p->line_bytes) + k * 64;
}

/* How far ahead_of() moves with each byte */
BN_INLINE size_t ahead_step(const u32 group, const bool listed)
{
	return listed ? 1 : group;
}

BN_INLINE struct bn_rows rows_ahead(const struct bn_product *p, u32 i, const bool listed)
{
	return (struct bn_rows){
		ahead_of(p, i, 0, listed), ahead_of(p, i, 1, listed), ahead_of(p, i, 2, listed),
		ahead_of(p, i, 3, listed),
	};
}

/*
 * struct group - lines that are multiplied together, and what to prefetch meanwhile
 * @ahead:	rows_ahead(); not of parts
 * @far:	of a list: lines further on, of which the first two cache lines are fetched, so that
 *		the CPU's own prefetcher takes notice and brings the others: it may have more reads
 *		under way than this core. Not if the caller says what to fetch
 */
struct group {
	struct bn_rows row, ahead, far;
	struct bn_fetch fetch;
};

/* the group that starts with the @i'th line wanted */
BN_INLINE struct group group_at(const struct bn_product *p, u32 i, const enum bn_order order)
{
	struct group g;

	if (order == BN_PARTED) {
		g.row = bn_rows_of_parts(p, i / BN_GROUP);
		g.fetch = bn_fetch_of(p, i, g.row.a);
		return g;
	}
	g.row = lines(p, i, p->n);
	g.ahead = rows_ahead(p, i, order == BN_LISTED);
	if (order == BN_LISTED)
		g.far = p->n_fetch ? g.ahead : lines(p, i + LISTED_FAR, p->n + p->ahead);
	g.fetch = bn_fetch_of(p, i, g.row.a);
	return g;
}

/* @at bytes into the lines of a group */
BN_INLINE void prefetch_group(const struct group *g, size_t at, const enum bn_order order)
{
	if (order == BN_PARTED)
		bn_prefetch_rows(&g->row, at + BN_PART_AHEAD);
	else if (order == BN_LISTED && at < 2 * BN_BLOCK_BYTES)
		bn_prefetch_rows(&g->far, at);
	else if (order == BN_LISTED)
		bn_prefetch_rows(&g->ahead, at);
	else
		bn_for_each(k, BN_GROUP)
			bn_prefetch(g->ahead.a + BN_GROUP * at + k * 64);
	bn_fetch(&g->fetch, at);
}

/* One function for each order: in one, the registers would not hold the addresses. */
#define IN_ORDER(rows, p)			\
	do {					\
		switch (bn_order_of(p)) {	\
		case BN_FOLLOWING:		\
			rows(p, BN_FOLLOWING);	\
			break;			\
		case BN_LISTED:			\
			rows(p, BN_LISTED);	\
			break;			\
		case BN_PARTED:			\
			rows(p, BN_PARTED);	\
			break;			\
		}				\
	} while (0)

/* ---- linear, t1, one row of activations ------------------------------------------------------ */

BN_INLINE struct quad quad_scaled(struct quad *packed, const u32 k)
{
	return (struct quad){
		t1_scaled(&packed->a, k), t1_scaled(&packed->b, k),
		t1_scaled(&packed->c, k), t1_scaled(&packed->d, k),
	};
}

/* With digits times 64 and 16 no lane overflows: 32960 products of 192 * 128 are 8.1e8. */
BN_INLINE void rows_t1(const struct bn_product *p, const enum bn_order order)
{
	const size_t bytes = (size_t)p->blocks * BN_BLOCK_BYTES;

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct group g = group_at(p, r, order);
		struct quad first = quad_zero(), sum = quad_zero();
		const s8 *x = p->x;
		__m128i sums;

		for (size_t at = 0; at < bytes; at += BN_BLOCK_BYTES) {
			prefetch_group(&g, at, order);
			bn_for_each(part, BN_BLOCK_BYTES / VEC_BYTES) {
				struct quad packed = quad_load(&g.row, at + part * VEC_BYTES);

				bn_for_each(k, 5) {
					struct quad digits = quad_scaled(&packed, k);
					vec in = load(x + part * VEC_BYTES + 64 * k);

					if (T1_APART && k == 0)
						first = quad_dot(first, digits, in);
					else
						sum = quad_dot(sum, digits, in);
				}
			}
			x += BN_T1_BLOCK_COLS;
		}
		sums = quad_sums(T1_APART ? quad_add(quad_quarter(first), sum) : sum);
		if (T1_APART)
			sums = _mm_srai_epi32(sums, 4);
		bn_store_group(p->y + r, sums, *p->x_sum, p->n - r);
	}
}

BN_INLINE void linear_t1_1(const struct bn_product *p)
{
	IN_ORDER(rows_t1, p);
}

/* ---- columns --------------------------------------------------------------------------------- */

/* two vectors of outputs, in each of which a lane has the bytes of four columns */
struct pair {
	vec a, b;
};

/*
 * struct place_sums - those of a vector of packed bytes, interleaved as interleave() does it: low
 * and high ones, and of either two vectors
 */
struct place_sums {
	vec a[2][5], b[2][5];
};

/*
 * struct columns - up to COLUMNS_MOST columns of a call, in its tmp
 * @at:		where each column starts, from the product's w; then what to prefetch
 * @in, @in_stride: what each is multiplied with, by row of activations: the product's own rows if
 *		they hold just that, or @x
 * @configured:	as of struct tile
 * @next, @next_block, @end: columns that come behind those listed, of which the blocks from this
 *		one on are still to be fetched
 * @share:	blocks to fetch with each product
 * @sums:	of a tile
 * @packed, @codes: of two vectors of outputs, those of a place at a time
 * @places:	of one row of activations: the sums of each place of some blocks
 */
struct columns {
	u32 at[COLUMNS_MOST + COLUMNS_AHEAD];
	const s8 *in;
	size_t in_stride;
	u32 configured;
	u32 next, next_block, end, share;
	s8 x[BN_MAX_ROWS][COLUMNS_MOST];
	vec sums[2 * MOST_X];
	union {
		struct {
			struct pair packed[COLUMNS_BATCH / 4], codes[COLUMNS_BATCH / 4];
		};
		struct place_sums places[COLUMNS_BLOCKS * BN_BLOCK_BYTES / VEC_BYTES];
	};
};

_Static_assert(sizeof(struct columns) <= BN_TMP_BYTES, "columns fit tmp");

BN_INLINE u32 column_number(const struct bn_product *p, u32 i)
{
	return p->index ? p->index[i] : i;
}

/* List @n columns from the @from'th on, made up to a multiple of @unit by some times zero */
BN_INLINE void list_columns(struct columns *c, const struct bn_product *p, u32 from, u32 n,
			    u32 unit)
{
	for (u32 i = 0; i < bn_round_up(n, unit); i++)
		c->at[i] = column_number(p, from + smaller(i, n - 1)) * p->line_bytes;
	c->in = p->x + from;
	c->in_stride = p->x_stride;
	if (!p->index && n % unit == 0)
		return;
	for (u32 b = 0; b < p->batch; b++) {
		const s8 *x = p->x + b * p->x_stride;

		if (!p->index)
			memcpy(c->x[b], x + from, n);
		for (u32 i = 0; p->index && i < n; i++)
			c->x[b][i] = x[p->index[from + i]];
		for (u32 i = n; i % unit; i++)
			c->x[b][i] = 0;
	}
	c->in = c->x[0];
	c->in_stride = COLUMNS_MOST;
}

/*
 * Interleave four columns: of each 16 bytes the first 8 (or with @high the others), the outputs of
 * four in @a and of the next four in @b.
 */
BN_INLINE struct pair interleave(vec a, vec b, vec c, vec d, const bool high)
{
	vec ab = high ? unpack_high_8(a, b) : unpack_low_8(a, b);
	vec cd = high ? unpack_high_8(c, d) : unpack_low_8(c, d);

	return (struct pair){ unpack_low_16(ab, cd), unpack_high_16(ab, cd) };
}

/* Those that start at these places from @w on */
BN_INLINE struct pair interleave_at(const u8 *w, const u32 *at, const bool high)
{
	return interleave(load(w + at[0]), load(w + at[1]), load(w + at[2]), load(w + at[3]),
			  high);
}

/* What is multiplied for the @k'th place of packed bytes: of t2 as it stands in them */
BN_INLINE vec place_of(vec *packed, const u32 k, const u32 packing)
{
	return packing == BN_T1 ? t1_part(packed, k) : *packed & mask_of_field(k);
}

/* The places of the vectors of two quads of columns, multiplied with their activations */
BN_INLINE void add_places(vec *a, vec *b, struct pair first, vec x, struct pair second, vec y,
			  const u32 packing)
{
	bn_for_each(k, places(packing)) {
		vec c = dot(a[k], place_of(&first.a, k, packing), x);
		vec d = dot(b[k], place_of(&first.b, k, packing), x);

		a[k] = dot(c, place_of(&second.a, k, packing), y);
		b[k] = dot(d, place_of(&second.b, k, packing), y);
	}
}

/*
 * HALVES halves of the vectors of eight columns, from the @first on. Both are interleaved before
 * any is added up: the compiler has to load vectors again once it has stored sums.
 */
BN_INLINE void add_halves(struct place_sums *sums, const u8 *w, const u32 *at, const u32 first,
			  vec x, vec y, const u32 packing)
{
	struct pair p[HALVES] BN_UNINIT, q[HALVES] BN_UNINIT;

	bn_for_each(i, HALVES) {
		p[i] = interleave_at(w, at, first + i);
		q[i] = interleave_at(w, at + 4, first + i);
	}
	bn_for_each(i, HALVES)
		add_places(sums->a[first + i], sums->b[first + i], p[i], x, q[i], y, packing);
}

/* Sums of the @k'th digit or field, of what add_places() has added up */
BN_INLINE vec sum_of(const vec *place, const u32 k, const u32 packing)
{
	return packing == BN_T1 ? t1_sum(place, k) : place[k] >> 2 * k;
}

/* What add_places() has added up, to the outputs */
BN_INLINE void end_places(s32 *y, const struct place_sums *sums, const u32 packing)
{
	bn_for_each(k, places(packing)) {
		const vec a[2] = { sum_of(sums->a[0], k, packing), sum_of(sums->a[1], k, packing) };
		const vec b[2] = { sum_of(sums->b[0], k, packing), sum_of(sums->b[1], k, packing) };

		add_quad(y + 64 * k, a, b);
	}
}

/*
 * What to fetch with a block of a group of columns, the first of which is the @i'th: of columns
 * here and there, the same block of a group further on, and the first two blocks in advance, see
 * struct group; of whole columns that follow each other, memory as it lies.
 */
BN_INLINE void prefetch_columns(const struct columns *c, const u8 *w, u32 i, u32 block,
				const bool scattered)
{
	const u32 ahead = block < 2 ? COLUMNS_AHEAD : COLUMNS_NEAR;

	if (scattered) {
		bn_for_each(j, COLUMNS_GROUP)
			bn_prefetch(w + c->at[i + j + ahead] + block * BN_BLOCK_BYTES);
		return;
	}
	w += c->at[i] + (size_t)block * COLUMNS_GROUP * BN_BLOCK_BYTES;
	bn_for_each(j, COLUMNS_GROUP)
		bn_prefetch_2nd(w + BN_STREAM_AHEAD + j * BN_BLOCK_BYTES);
}

/*
 * One row of activations, blocks [first, end): column after column, as they lie in memory, some at
 * a time, the sums being in the first-level cache.
 *
 * No lane overflows: 512 products of 252 * 128 are 1.7e7.
 */
BN_INLINE void columns_1(const struct bn_product *p, struct columns *c, u32 n, u32 first, u32 end,
			 const u32 packing, const bool scattered)
{
	const u32 vectors = BN_BLOCK_BYTES / VEC_BYTES;
	const u8 *w = p->w;

	memset(c->places, 0, (end - first) * vectors * sizeof(*c->places));
	for (u32 i = 0; i < n; i += COLUMNS_GROUP) {
		const vec x = broadcast(c->in + i), z = broadcast(c->in + i + 4);
		struct place_sums *sums = c->places;

		for (u32 block = first; block < end; block++) {
			prefetch_columns(c, w, i, block, scattered);
			bn_for_each(v, vectors) {
				const u8 *from = w + block * BN_BLOCK_BYTES + v * VEC_BYTES;

				bn_for_each(half, 2 / HALVES)
					add_halves(sums, from, c->at + i, half * HALVES, x, z,
						   packing);
				sums++;
			}
		}
	}
	for (u32 i = 0; i < (end - first) * vectors; i++) {
		end_places(p->y + (first + i / vectors) * bn_block_cols(packing) +
			   i % vectors * VEC_BYTES, c->places + i, packing);
	}
}

/* All blocks; what to prefetch behind scattered columns are those that follow. */
BN_INLINE void columns_alone(const struct bn_product *p, struct columns *c, u32 n, u32 next,
			     const u32 packing, const bool scattered)
{
	for (u32 i = 0; scattered && i < COLUMNS_AHEAD; i++)
		c->at[n + i] = column_number(p, smaller(next + i, p->n + p->ahead - 1)) *
			       p->line_bytes;
	for (u32 first = 0; first < p->blocks; first += COLUMNS_BLOCKS)
		columns_1(p, c, n, first, smaller(first + COLUMNS_BLOCKS, p->blocks), packing,
			  scattered);
}

/* ---- batches --------------------------------------------------------------------------------- */

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
 * @configured:	AMX: rows of activations that the CPU's tiles are configured for, or 0
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
	u32 *configured;
};

#define FETCH_PARTS	4
#define FETCH_ROWS	8	/* with more rows of activations, one part: there is time */

/* Let tiles of @rows rows of activations fetch @bytes bytes within @quads quads. */
BN_INLINE void fetch_next(struct tile *t, const u8 *next, size_t bytes, u32 quads, u32 rows)
{
	const u32 parts = rows <= FETCH_ROWS || QUADS > 1 ? FETCH_PARTS : 1;

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

#ifdef AMX
#include "bn_amx_multiply.h"
#else
#include "bn_vnni_multiply.h"
#endif

/* Codes of place @k, the places before it having been asked for; destroys @packed */
BN_INLINE vec unpack(vec *packed, const u32 k, const u32 packing)
{
	vec b = *packed;

	if (packing == BN_T1)
		return t1_digit(packed, k);
	*packed = shift_16(b, 2);
	return b & set_bytes(3);
}

/*
 * Of each four columns, the outputs of the first half of a vector of bytes, or of the other, in
 * order: spread() has put them where interleave() takes them from.
 */
BN_INLINE void interleave_columns(struct columns *c, u32 n, const u8 *w, const bool high)
{
	for (u32 i = 0; i < n; i += 4) {
		const u32 *at = c->at + i;

		c->packed[i / 4] = interleave(spread(load(w + at[0])), spread(load(w + at[1])),
					      spread(load(w + at[2])), spread(load(w + at[3])),
					      high);
	}
}

/* Codes of place @k of what is interleaved */
BN_INLINE void unpack_place(struct columns *c, u32 n, const u32 k, const u32 packing)
{
	for (u32 i = 0; i < n / 4; i++) {
		struct pair packed = c->packed[i];

		c->codes[i] = (struct pair){
			unpack(&packed.a, k, packing), unpack(&packed.b, k, packing),
		};
		c->packed[i] = packed;
	}
}

BN_INLINE void unpack_columns(struct columns *c, u32 n, u32 k, const u32 packing)
{
	bn_for_each(place, places(packing))
		if (place == k)
			unpack_place(c, n, place, packing);
}

/*
 * What comes behind the @n columns from @from on is fetched into the second-level cache while these
 * are multiplied, as they lie and evenly: a core waits when it has asked for more than some lines.
 */
BN_INLINE void plan_fetch(struct columns *c, const struct bn_product *p, u32 from, u32 n,
			  const u32 packing)
{
	u32 products = p->blocks * 2 * (BN_BLOCK_BYTES / VEC_BYTES) * places(packing) *
		       times(p->batch, MOST_X);

	c->next = from + n;
	c->end = smaller(c->next + n, p->n + p->ahead);
	c->next_block = 0;
	c->share = (n * p->blocks + products - 1) / products;
}

BN_INLINE void fetch(struct columns *c, const struct bn_product *p)
{
	for (u32 i = 0; i < c->share && c->next < c->end; i++) {
		bn_prefetch_2nd(p->w + (size_t)column_number(p, c->next) * p->line_bytes +
				c->next_block * BN_BLOCK_BYTES);
		if (++c->next_block == p->blocks) {
			c->next_block = 0;
			c->next++;
		}
	}
}

/* A half of a vector of bytes of all columns: codes, then products */
BN_INLINE void columns_part(const struct bn_product *p, struct columns *c, u32 n, const u8 *w,
			    s32 *y, const u32 packing, const bool high)
{
	struct tile t = {
		.sums = c->sums, .codes = (u8 *)c->codes, .x_stride = c->in_stride,
		.quads = n / 4, .next = (const u8 *)c->codes, .configured = &c->configured,
	};
	u32 rows;

	interleave_columns(c, n, w, high);
	for (u32 k = 0; k < places(packing); k++) {
		unpack_columns(c, n, k, packing);
		for (u32 b = 0; b < p->batch; b += rows) {
			rows = share(p->batch - b, MOST_X);
			t.x = c->in + b * c->in_stride;
			fetch(c, p);
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
BN_INLINE void put_packed(struct columns *c, u32 i, struct pair b)
{
	c->codes[i] = (struct pair){ t1_quarter(b.a), t1_quarter(b.b) };
	c->packed[i] = (struct pair){ t1_rest(b.a), t1_rest(b.b) };
}

BN_INLINE void take_place(struct tile *t, struct columns *c, u32 k)
{
	t->codes = (u8 *)(k < 2 ? c->codes : c->packed);
	t->taken = t1_table(k);
}
#else
#define TAKEN		BN_T2

BN_INLINE void put_packed(struct columns *c, u32 i, struct pair b)
{
	c->packed[i] = b;
}

BN_INLINE void take_place(struct tile *t, struct columns *c, u32 k)
{
	t->codes = (u8 *)c->packed;
	t->taken = mask_of_field(k);
}
#endif

BN_INLINE void columns_part_few(const struct bn_product *p, struct columns *c, u32 n, const u8 *w,
				s32 *y, const bool high)
{
	struct tile t = {
		.sums = c->sums, .x = c->in, .x_stride = c->in_stride, .quads = n / 4,
		.next = (const u8 *)c->packed, .packed = true,
	};

	for (u32 i = 0; i < n / 4; i++)
		put_packed(c, i, interleave_at(w, c->at + 4 * i, high));
	for (u32 k = 0; k < places(TAKEN); k++) {
		const u32 shift = TAKEN == BN_T2 ? 2 * k : 0;

		take_place(&t, c, k);
		fetch(c, p);
		multiply_tile(&t, 2, p->batch);
		for (u32 b = 0; b < p->batch; b++)
			add_pair(y + b * p->y_stride + 64 * k, t.sums[2 * b] >> shift,
				 t.sums[2 * b + 1] >> shift);
	}
}

BN_INLINE void columns_many(const struct bn_product *p, struct columns *c, u32 n, u32 block,
			    const u32 packing)
{
	const u8 *w = p->w + (size_t)block * BN_BLOCK_BYTES;
	s32 *y = p->y + block * bn_block_cols(packing);

	for (u32 part = 0; part < BN_BLOCK_BYTES; part += VEC_BYTES) {
		if (QUADS == 1 && packing == TAKEN && p->batch <= MOST_X) {
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
	const u32 unit = p->batch == 1 ? COLUMNS_GROUP : COLUMNS_UNIT;
	struct columns *c = p->tmp;
	u32 n;

	c->configured = 0;
	for (u32 from = 0; from < p->n; from += n) {
		u32 listed;

		n = smaller(p->n - from, p->batch == 1 ? COLUMNS_MOST : COLUMNS_BATCH);
		listed = bn_round_up(n, unit);
		list_columns(c, p, from, n, unit);
		if (p->batch == 1) {
			/* Not one stream: columns here and there, or some blocks of each */
			if (p->index || p->blocks * BN_BLOCK_BYTES < p->line_bytes)
				columns_alone(p, c, listed, from + n, packing, true);
			else
				columns_alone(p, c, listed, from + n, packing, false);
			continue;
		}
		plan_fetch(c, p, from, n, packing);
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
		store(codes, unpack(&q.a, k, packing));
		store(codes + stride, unpack(&q.b, k, packing));
		store(codes + 2 * stride, unpack(&q.c, k, packing));
		store(codes + 3 * stride, unpack(&q.d, k, packing));
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
BN_INLINE void linear_rows(const struct bn_product *p, u32 r, u32 vectors, u32 *configured,
			   const u32 packing)
{
	const u32 most = CODES_BYTES / (16 * places(packing) * 2 * VEC_BYTES);
	struct linear_tile *tile = p->tmp;
	struct tile t = {
		.codes = tile->codes, .x_stride = p->x_stride, .configured = configured,
		.next = tile->codes,
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
	u32 configured = 0;

	for (u32 r = 0; r < p->n; r += LINEAR_ROWS)
		linear_rows(p, r, p->n - r > LANES ? 2 : 1, &configured, packing);
}

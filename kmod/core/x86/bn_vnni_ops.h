/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_ops.h - products by vpdpbusd, written once for vectors of 32 and of 64 bytes
 *
 * The including file has defined vec, words and VEC_BYTES, struct quad (a vector for each line of
 * a group) and the operations on both. Here is one row of activations, and what batches of them
 * need whoever multiplies; bn_vnni_batch.h is vpdpbusd's way.
 *
 * Codes of t2 need not be shifted down: a field that stands 2i bits up is 4^i times too large as an
 * unsigned byte (at most 192), and so is its sum, which is divided exactly at the end, as no lane
 * overflows.
 */

#include "bn_t1.h"

#define LANES		(VEC_BYTES / 4)		/* outputs of a vector of sums */
#define COLUMNS_MOST	512			/* columns that are added at once */
#define COLUMNS_AHEAD	32			/* listed columns to blocks fetched in advance */
#define COLUMNS_NEAR	8			/* the same, to the others */
#define COLUMNS_BLOCKS	16			/* whose sums are kept at once: half a cache */
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
		bn_store_one(p, 0, r, sums, order);
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
 * @next, @next_block, @end: columns that come behind those listed, of which the blocks from this
 *		one on are still to be fetched
 * @share:	blocks to fetch with each product
 */
struct columns {
	u32 at[COLUMNS_MOST + COLUMNS_AHEAD];
	const s8 *in;
	size_t in_stride;
	u32 next, next_block, end, share;
	s8 x[BN_MAX_ROWS][COLUMNS_MOST];
};

/* struct columns_one - of one row of activations, the sums of each place of some blocks */
struct columns_one {
	struct columns list;
	struct place_sums places[COLUMNS_BLOCKS * BN_BLOCK_BYTES / VEC_BYTES];
};

_Static_assert(sizeof(struct columns_one) <= BN_TMP_BYTES, "columns fit tmp");

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
 * What to fetch with a block of a group of columns, the first of which is the @i'th: what the
 * caller said, @fetch; of columns here and there, the same block of a group further on, and the
 * first two blocks in advance, see struct group; of parts, each a stream of its own, all blocks in
 * advance; of whole columns that follow each other, memory as it lies.
 */
BN_INLINE void prefetch_columns(const struct columns *c, const u8 *w, u32 i, u32 block,
				const u8 *const *fetch, const enum bn_order order)
{
	const u32 ahead = order == BN_PARTED || block < 2 ? COLUMNS_AHEAD : COLUMNS_NEAR;

	if (fetch) {
		bn_for_each(j, COLUMNS_GROUP)
			bn_prefetch_2nd(fetch[j] + block * BN_BLOCK_BYTES);
		return;
	}
	if (order != BN_FOLLOWING) {
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
BN_INLINE void columns_1(const struct bn_product *p, struct columns_one *one, u32 n, u32 first,
			 u32 end, const u32 packing, const enum bn_order order)
{
	const struct columns *c = &one->list;
	const u32 vectors = BN_BLOCK_BYTES / VEC_BYTES;
	const u8 *w = p->w;

	memset(one->places, 0, (end - first) * vectors * sizeof(*one->places));
	for (u32 i = 0; i < n; i += COLUMNS_GROUP) {
		const vec x = broadcast(c->in + i), z = broadcast(c->in + i + 4);
		struct place_sums *sums = one->places;
		const u8 *const *fetch = NULL;

		if (order == BN_LISTED && i + COLUMNS_GROUP <= p->n_fetch)
			fetch = p->fetch + i;
		for (u32 block = first; block < end; block++) {
			prefetch_columns(c, w, i, block, fetch, order);
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
			   i % vectors * VEC_BYTES, one->places + i, packing);
	}
}

/* All blocks; what to prefetch behind columns of a list are those that follow. */
BN_INLINE void columns_alone(const struct bn_product *p, struct columns_one *one, u32 n, u32 next,
			     const u32 packing, const enum bn_order order)
{
	u32 *at = one->list.at + n;

	for (u32 i = 0; order != BN_FOLLOWING && i < COLUMNS_AHEAD; i++)
		at[i] = column_number(p, smaller(next + i, p->n + p->ahead - 1)) * p->line_bytes;
	for (u32 first = 0; first < p->blocks; first += COLUMNS_BLOCKS)
		columns_1(p, one, n, first, smaller(first + COLUMNS_BLOCKS, p->blocks), packing,
			  order);
}

/* How the columns of a product lie: only of parts in turns, the fifth is next to the first. */
BN_INLINE enum bn_order order_of_columns(const struct bn_product *p)
{
	if (p->index && p->n > BN_PARTS && p->index[BN_PARTS] == p->index[0] + 1)
		return BN_PARTED;
	/* Not one stream: columns here and there, or some blocks of each */
	if (p->index || p->blocks * BN_BLOCK_BYTES < p->line_bytes)
		return BN_LISTED;
	return BN_FOLLOWING;
}

BN_INLINE void columns_of_one(const struct bn_product *p, const u32 packing)
{
	struct columns_one *one = p->tmp;
	u32 n;

	for (u32 from = 0; from < p->n; from += n) {
		u32 listed;

		n = smaller(p->n - from, COLUMNS_MOST);
		listed = bn_round_up(n, COLUMNS_GROUP);
		list_columns(&one->list, p, from, n, COLUMNS_GROUP);
		switch (order_of_columns(p)) {
		case BN_FOLLOWING:
			columns_alone(p, one, listed, from + n, packing, BN_FOLLOWING);
			break;
		case BN_LISTED:
			columns_alone(p, one, listed, from + n, packing, BN_LISTED);
			break;
		case BN_PARTED:
			columns_alone(p, one, listed, from + n, packing, BN_PARTED);
			break;
		}
	}
}

/* ---- of batches ------------------------------------------------------------------------------ */

/* Codes of place @k; those before it have been asked for. Destroys @packed of t1 */
BN_INLINE vec codes_of(vec *packed, const u32 k, const u32 packing)
{
	if (packing == BN_T1)
		return t1_digit(packed, k);
	return shift_16(*packed, 2 * (int)k) & set_bytes(3);
}

/*
 * What comes behind the @n columns from @from on is fetched into the second-level cache while these
 * are multiplied, in @products calls of fetch(), as they lie and evenly: a core waits when it has
 * asked for more than some lines.
 */
BN_INLINE void plan_fetch(struct columns *c, const struct bn_product *p, u32 from, u32 n,
			  u32 products)
{
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

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_head_top.h - head_quantize() and head_top() of struct bn_ops, written once
 *
 * The including file has defined
 *   HEAD_OP(type, name)	the heads of the two functions
 *   HEAD_COLS			columns that are multiplied at a time: 16, 32 or 64
 *   HEAD_SLOTS			slots that share a group of rows in registers: 1 to 3
 *   HEAD_TILES			from how many slots on bn_head_tiles.h is faster, if ever
 *   struct head_row, head_load(block, place)	HEAD_COLS elements, 64 * place elements behind
 *				those at the same place of a block
 *   head_unpack_at(codes, block, place), head_unpacked(codes)	the same by way of bytes; the
 *				former only if HEAD_COLS is not 32
 *   struct head_sum, head_zero(), head_dot(sum, row, q, at, n_pad)	sums of their products with
 *				integers
 *   head_store(q, i, n_pad, words)	sixteen integers from the i'th on, as head_dot() reads them
 *   head_sum_at(n_pad)		where in q the sum of all integers lies
 *   head_total(sums, q_sum)	the sums of four rows
 */

/* sixteen integers -m .. m, to nearest even; NaN: -m */
BN_INLINE __m256i head_round(struct lanes x, struct lanes factor, s32 m)
{
	const __m256i min = _mm256_set1_epi32(-m), max = _mm256_set1_epi32(m);
	const struct lanes p = lanes_mul(x, factor), low = lanes_set((float)-m);
	const struct lanes high = lanes_set((float)m);
	/* As floats first: +inf has no integer. max(NaN, low) is low. */
	const struct lanes c = lanes_min(lanes_max(p, low), high);
	__m256i a = _mm256_cvtps_epi32(c.lo), b = _mm256_cvtps_epi32(c.hi);

	a = _mm256_min_epi32(_mm256_max_epi32(a, min), max);
	b = _mm256_min_epi32(_mm256_max_epi32(b, min), max);
	return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

BN_INLINE float head_one_nan(float v)
{
	u32 nan = BN_F32_NAN;

	if (v != v)
		memcpy(&v, &nan, sizeof(nan));
	return v;
}

HEAD_OP(void, quantize)(void *q, float *step, struct bn_head_norms *norms, const float *x,
			u32 n_pad)
{
	struct lanes sum = lanes_set(0.0f), squares = sum, top = sum, factor;
	__m256i total = _mm256_setzero_si256();
	s32 m, totals[8], all = 0;
	float max, l1;

	for (u32 i = 0; i < n_pad; i += BN_LANES) {
		struct lanes a = lanes_abs(lanes_load(x + i));

		sum = lanes_add(sum, a);
		squares = lanes_add(squares, lanes_mul(a, a));
		top = lanes_max(a, top);
	}
	max = lanes_top(top);
	max = max > BN_HEAD_LEAST ? max : BN_HEAD_LEAST;
	l1 = lanes_sum(sum);
	m = bn_head_q_max(max, l1, n_pad);
	factor = lanes_set((float)m / max);
	for (u32 i = 0; i < n_pad; i += BN_LANES) {
		__m256i words = head_round(lanes_load(x + i), factor, m);

		total = _mm256_add_epi32(total, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
		head_store(q, i, n_pad, words);
	}
	_mm256_storeu_si256((__m256i_u *)totals, total);
	for (u32 i = 0; i < 8; i++)
		all += totals[i];
	memcpy((u8 *)q + head_sum_at(n_pad), &all, sizeof(all));
	*step = 256.0f * (max / (float)m);
	norms->l1 = head_one_nan(l1);
	norms->squares = head_one_nan(lanes_sum(squares));
}

#define HEAD_ROW_AHEAD	2048	/* of one row, how far ahead it is fetched */

#define HEAD_BLOCK	192	/* bytes of BN_PLANE_COLS elements */

_Static_assert(HEAD_BLOCK == BN_PLANE_COLS / 4 * 3, "bn_high_bytes()");

/* The products of a block of a row, the elements of which begin with the @at'th */
BN_INLINE struct head_sum head_dot_block(struct head_sum sum, const u8 *block, const u8 *q,
					 size_t at, u32 n_pad)
{
	bn_for_each(i, 64 / HEAD_COLS) {
		const u32 in = HEAD_COLS * i;

		bn_for_each(place, 4)
			sum = head_dot(sum, head_load(block + in, place), q, at + 64 * place + in,
				       n_pad);
	}
	return sum;
}

/*
 * With one slot, a row of each part at a time: four streams, in each of which the CPU is told what
 * comes.
 */
BN_NOINLINE void head_parts(const struct bn_head *p)
{
	const u32 row_bytes = bn_high_bytes(p->n_pad);
	const u8 *q = p->x;
	s32 q_sum;

	memcpy(&q_sum, q + head_sum_at(p->n_pad), sizeof(q_sum));
	for (u32 i = 0; i < p->n / BN_PARTS; i++) {
		struct bn_rows rows = {
			p->part[0] + (size_t)i * row_bytes, p->part[1] + (size_t)i * row_bytes,
			p->part[2] + (size_t)i * row_bytes, p->part[3] + (size_t)i * row_bytes,
		};
		struct head_sum sum[BN_PARTS] = {
			head_zero(), head_zero(), head_zero(), head_zero(),
		};
		size_t block = 0;

		for (size_t at = 0; at < p->n_pad; at += BN_PLANE_COLS, block += HEAD_BLOCK) {
			bn_for_each(k, HEAD_BLOCK / 64)
				bn_prefetch_rows(&rows, block + BN_PART_AHEAD + 64 * k);
			sum[0] = head_dot_block(sum[0], rows.a + block, q, at, p->n_pad);
			sum[1] = head_dot_block(sum[1], rows.b + block, q, at, p->n_pad);
			sum[2] = head_dot_block(sum[2], rows.c + block, q, at, p->n_pad);
			sum[3] = head_dot_block(sum[3], rows.d + block, q, at, p->n_pad);
		}
		head_logits_apart(p->y + i, head_total(sum, q_sum), p->step[0], p->scale + i,
				  p->apart);
	}
}

/*
 * With one slot, rows as they lie: a piece has too few for streams of one of each quarter to become
 * long. One after the other, as a CPU sees through a row at a time best: Zen 4 reads a quarter
 * more, and a fifth less if a loop does it for all four.
 */
BN_NOINLINE void head_rows_one(const struct bn_head *p)
{
	const u32 row_bytes = bn_high_bytes(p->n_pad);
	const u8 *q = p->x;
	s32 q_sum;

	memcpy(&q_sum, q + head_sum_at(p->n_pad), sizeof(q_sum));
	for (u32 i = 0; i < p->n; i += 4) {
		const u32 n = p->n - i < 4 ? p->n - i : 4;
		struct head_sum sum[4] = { head_zero(), head_zero(), head_zero(), head_zero() };

		bn_for_each(k, 4) {
			const u8 *block = p->high + (size_t)(i + (k < n ? k : 0)) * row_bytes;

			for (u32 at = 0; at < p->n_pad; at += BN_PLANE_COLS, block += HEAD_BLOCK) {
				bn_for_each(l, HEAD_BLOCK / 64)
					bn_prefetch_2nd(block + HEAD_ROW_AHEAD + 64 * l);
				sum[k] = head_dot_block(sum[k], block, q, at, p->n_pad);
			}
		}
		head_logits(p->y + i, head_total(sum, q_sum), p->step[0], p->scale + i, n);
	}
}

/* ---- several slots --------------------------------------------------------------------------- */

/* struct head_ahead - four lines at a time that are fetched, @apart bytes from each other */
struct head_ahead {
	const u8 *next;
	size_t apart, advance;
	u32 owed, passes;
};

/*
 * What is fetched while row @row and those behind it are multiplied in @passes passes over all
 * slots: where streams are liked, the rows behind these, where the next piece is, of each quarter
 * of them; elsewhere, of several passes, which wait for the multipliers, the same as they lie; and
 * of one pass, what comes next.
 */
BN_INLINE struct head_ahead head_ahead(const struct bn_head *p, u32 row, u32 passes)
{
	const size_t row_bytes = bn_high_bytes(p->n_pad), bytes = p->n * row_bytes;
	const u8 *at = p->high + row * row_bytes;

	if (p->streams)
		return (struct head_ahead){
			p->high + bytes + row * row_bytes / 4, bytes / 4, 64, 0, passes
		};
	if (passes == 1)
		return (struct head_ahead){ at + BN_STREAM_AHEAD, 64, 256, 0, passes };
	return (struct head_ahead){ at + bytes, 64, 256, 0, passes };
}

/* With each 256 elements of a pass over four rows: in all passes together, as much as is read */
BN_INLINE void head_fetch(struct head_ahead *a)
{
	for (a->owed += HEAD_BLOCK / 64; a->owed >= a->passes; a->owed -= a->passes) {
		bn_for_each(k, 4)
			bn_prefetch_2nd(a->next + k * a->apart);
		a->next += a->advance;
	}
}

#if HEAD_COLS == 32
BN_INLINE void head_unpack_at(u8 *codes, const u8 *block, const u32 place)
{
	*(__m256i *)codes = head_bytes(block, place);
}
#endif

/* The elements of a row, a byte each */
BN_INLINE void head_unpack(u8 *codes, const u8 *row, u32 n_pad)
{
	for (u32 at = 0; at < n_pad; at += BN_PLANE_COLS, row += HEAD_BLOCK) {
		bn_for_each(i, 64 / HEAD_COLS) {
			bn_for_each(place, 4)
				head_unpack_at(codes + at + 64 * place + HEAD_COLS * i,
					       row + HEAD_COLS * i, place);
		}
	}
}

/* struct head_group - up to four rows from the @first on, which share loads of integers */
struct head_group {
	const u8 *codes[4];
	u32 first, n;
};

/* Their products with slots @slot .. @slot + @slots - 1 */
BN_INLINE void head_slots(const struct bn_head *p, const struct head_group *g, u32 slot,
			  struct head_ahead *ahead, const u32 slots)
{
	const u8 *q = (const u8 *)p->x + slot * p->x_stride;
	struct head_sum sum[4 * HEAD_SLOTS] BN_UNINIT;

	bn_for_each(k, 4 * slots)
		sum[k] = head_zero();
	/* Not unrolled: gcc would reassociate the additions, and run out of registers. */
	for (size_t at = 0; at < p->n_pad; at += HEAD_COLS) {
		if (at % BN_PLANE_COLS == 0)
			head_fetch(ahead);
		bn_for_each(k, 4) {
			const struct head_row w = head_unpacked(g->codes[k] + at);

			bn_for_each(s, slots)
				sum[4 * s + k] = head_dot(sum[4 * s + k], w, q + s * p->x_stride,
							  at, p->n_pad);
		}
	}
	bn_for_each(s, slots) {
		s32 q_sum;

		memcpy(&q_sum, q + s * p->x_stride + head_sum_at(p->n_pad), sizeof(q_sum));
		head_logits(p->y + (slot + s) * p->y_stride + g->first,
			    head_total(sum + 4 * s, q_sum), p->step[slot + s], p->scale + g->first,
			    g->n);
	}
}

BN_NOINLINE void head_one(const struct bn_head *p, const struct head_group *g, u32 slot,
			  struct head_ahead *ahead)
{
	head_slots(p, g, slot, ahead, 1);
}

#if HEAD_SLOTS > 1
BN_NOINLINE void head_two(const struct bn_head *p, const struct head_group *g, u32 slot,
			  struct head_ahead *ahead)
{
	head_slots(p, g, slot, ahead, 2);
}
#endif

#if HEAD_SLOTS > 2
BN_NOINLINE void head_three(const struct bn_head *p, const struct head_group *g, u32 slot,
			    struct head_ahead *ahead)
{
	head_slots(p, g, slot, ahead, 3);
}
#endif

/* Rows are unpacked once for all slots: into memory that the first-level cache holds. */
BN_INLINE void head_rows_many(const struct bn_head *p)
{
	const u32 row_bytes = bn_high_bytes(p->n_pad), most = 4 * p->n_pad <= BN_TMP_BYTES ? 4 : 2;
	const u32 passes = (p->slots + HEAD_SLOTS - 1) / HEAD_SLOTS;

	for (u32 i = 0; i < p->n; i += most) {
		struct head_group g = { .first = i, .n = p->n - i < most ? p->n - i : most };
		struct head_ahead ahead = head_ahead(p, i, passes);

		for (u32 k = 0; k < 4; k++) {
			u8 *codes = (u8 *)p->tmp + (k < g.n ? k * p->n_pad : 0);

			g.codes[k] = codes;
			if (k < g.n)
				head_unpack(codes, p->high + (size_t)(i + k) * row_bytes, p->n_pad);
		}
		for (u32 slot = 0, pass = 0; slot < p->slots; pass++) {
			u32 slots = (p->slots - slot + passes - pass - 1) / (passes - pass);

			switch (slots) {
			case 1:
				head_one(p, &g, slot, &ahead);
				break;
#if HEAD_SLOTS > 1
			case 2:
				head_two(p, &g, slot, &ahead);
				break;
#endif
#if HEAD_SLOTS > 2
			case 3:
				head_three(p, &g, slot, &ahead);
				break;
#endif
			}
			slot += slots;
		}
	}
}

_Static_assert(2 * BN_MAX_COLS <= BN_TMP_BYTES, "two rows fit tmp");

#ifndef HEAD_TILES
#define HEAD_TILES	(BN_MAX_HEAD_ROWS + 1)
BN_INLINE void head_tiles(const struct bn_head *p)
{
}
#endif

HEAD_OP(void, top)(const struct bn_head *p)
{
	if (p->part[0])
		head_parts(p);
	else if (p->slots >= HEAD_TILES)
		head_tiles(p);
	else if (p->slots > 1)
		head_rows_many(p);
	else
		head_rows_one(p);
}

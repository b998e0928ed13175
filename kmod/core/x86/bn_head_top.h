/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_head_top.h - head_quantize() and head_top() of struct bn_ops, written once
 *
 * The including file has defined
 *   HEAD_OP(type, name)	the heads of the two functions
 *   HEAD_COLS			columns that are multiplied at a time: 16, 32 or 64
 *   HEAD_SLOTS			slots that share a group of rows in registers: 1 to 3
 *   HEAD_TILES			from how many slots on bn_head_tiles.h is faster, if ever
 *   struct head_row, head_load(row)	HEAD_COLS elements of the plane
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

HEAD_OP(void, quantize)(void *q, float *step, float *l1, const float *x, u32 n_pad)
{
	struct lanes sum = lanes_set(0.0f), top = sum, factor;
	__m256i total = _mm256_setzero_si256();
	s32 m, totals[8], all = 0;
	u32 nan = BN_F32_NAN;
	float max;

	for (u32 i = 0; i < n_pad; i += BN_LANES) {
		struct lanes a = lanes_abs(lanes_load(x + i));

		sum = lanes_add(sum, a);
		top = lanes_max(a, top);
	}
	max = lanes_top(top);
	max = max > BN_HEAD_LEAST ? max : BN_HEAD_LEAST;
	*l1 = lanes_sum(sum);
	m = bn_head_q_max(max, *l1, n_pad);
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
	if (*l1 != *l1)
		memcpy(l1, &nan, sizeof(nan));
}

/* struct head_pass - the @pass'th of @passes over all rows, with the slots from @slot on */
struct head_pass {
	u32 slot, pass, passes;
};

#define HEAD_ROW_AHEAD	2048	/* of one row, how far ahead it is fetched */

/*
 * Four rows with one slot, one after the other. In a loop of its own each: in one for all four,
 * Zen 4 reads a fifth less.
 */
BN_INLINE void head_dot_rows(const struct bn_head *p, const u8 *const rows[4], const u8 *q,
			     struct head_sum sum[4])
{
	bn_for_each(k, 4) {
		for (size_t at = 0; at < p->n_pad; at += HEAD_COLS) {
			bn_prefetch_2nd(rows[k] + at + HEAD_ROW_AHEAD);
			sum[k] = head_dot(sum[k], head_load(rows[k] + at), q, at, p->n_pad);
		}
	}
}

/*
 * With one slot, a row of each part at a time: four streams, in each of which the CPU is told what
 * comes.
 */
BN_NOINLINE void head_parts(const struct bn_head *p)
{
	const u8 *q = p->x;
	s32 q_sum;

	memcpy(&q_sum, q + head_sum_at(p->n_pad), sizeof(q_sum));
	for (u32 i = 0; i < p->n / BN_PARTS; i++) {
		const size_t row = i * p->row_bytes;
		const struct bn_rows rows = {
			(const u8 *)p->part[0] + row, (const u8 *)p->part[1] + row,
			(const u8 *)p->part[2] + row, (const u8 *)p->part[3] + row,
		};
		struct head_sum sum[BN_PARTS] = {
			head_zero(), head_zero(), head_zero(), head_zero(),
		};

		for (size_t at = 0; at < p->n_pad; at += HEAD_COLS) {
			if (HEAD_COLS == 64 || !(at & 63))
				bn_prefetch_rows(&rows, at + BN_PART_AHEAD);
			sum[0] = head_dot(sum[0], head_load(rows.a + at), q, at, p->n_pad);
			sum[1] = head_dot(sum[1], head_load(rows.b + at), q, at, p->n_pad);
			sum[2] = head_dot(sum[2], head_load(rows.c + at), q, at, p->n_pad);
			sum[3] = head_dot(sum[3], head_load(rows.d + at), q, at, p->n_pad);
		}
		head_logits_apart(p->y + i, head_total(sum, q_sum), p->step[0], p->scale + i,
				  p->apart);
	}
}

/*
 * Four rows at once, which share loads of what they are multiplied with. What is fetched meanwhile
 * is memory as it lies. Of several passes, the first would wait for memory and the others for the
 * multipliers: so each fetches its share of the rows behind these, where the next piece is; and
 * where streams are liked, of each quarter of them.
 */
BN_INLINE void head_dot_group(const struct bn_head *p, const u8 *const rows[4], const u8 *q,
			      struct head_sum *sum, const u32 slots, const struct head_pass *h)
{
	const u32 passes = h->passes, step = 4 * HEAD_COLS / passes;
	const size_t bytes = p->n * p->row_bytes, quarter = bytes / 4;
	const size_t done = rows[0] - (const u8 *)p->high;
	const bool quarters = passes > 1 && p->streams;
	const u8 *next = rows[0] + BN_STREAM_AHEAD;
	u32 wait = 0;

	if (passes > 1)
		next = rows[0] + bytes + h->pass * 4 * p->row_bytes / passes;
	if (quarters)
		next = (const u8 *)p->high + bytes + (h->pass * quarter + done / 4) / passes;
	/* Not unrolled: gcc would reassociate the additions, and run out of registers. */
	for (size_t at = 0; at < p->n_pad; at += HEAD_COLS) {
		if (HEAD_COLS == 64 || !(at & 63)) {
			if (quarters && !wait--) {
				bn_for_each(k, 4)
					bn_prefetch_2nd(next + k * quarter);
				next += 64;
				wait = passes - 1;
			} else if (!quarters) {
				bn_prefetch_2nd(next);
				bn_prefetch_2nd(next + 64);
				if (passes == 1) {
					bn_prefetch_2nd(next + 128);
					bn_prefetch_2nd(next + 192);
				}
			}
		}
		if (!quarters)
			next += step;
		bn_for_each(k, 4) {
			const struct head_row w = head_load(rows[k] + at);

			bn_for_each(s, slots)
				sum[4 * s + k] = head_dot(sum[4 * s + k], w,
							  q + s * p->x_stride, at, p->n_pad);
		}
	}
}

/*
 * Rows @first .. @first + @n - 1, 1 <= n <= 4, with slots @slot .. @slot + @slots - 1. Rows are
 * read as they lie: a piece has too few for streams of one of each quarter to become long. With
 * vectors of a cache line, one product after the other takes less time than reading, and a CPU sees
 * through a row at a time best: Zen 4 reads a quarter more.
 */
BN_INLINE void head_group(const struct bn_head *p, u32 first, u32 n, const u32 slots,
			  const struct head_pass *h)
{
	const u32 slot = h->slot;
	const u8 *row = (const u8 *)p->high + first * p->row_bytes;
	const u8 *const rows[4] = {
		row, row + (n > 1 ? 1 : 0) * p->row_bytes, row + (n > 2 ? 2 : 0) * p->row_bytes,
		row + (n > 3 ? 3 : 0) * p->row_bytes,
	};
	const u8 *q = (const u8 *)p->x + slot * p->x_stride;
	struct head_sum sum[4 * HEAD_SLOTS] BN_UNINIT;

	bn_for_each(k, 4 * slots)
		sum[k] = head_zero();
	if (HEAD_COLS == 64 && slots == 1 && h->passes == 1)
		head_dot_rows(p, rows, q, sum);
	else
		head_dot_group(p, rows, q, sum, slots, h);
	bn_for_each(s, slots) {
		s32 q_sum;

		memcpy(&q_sum, q + s * p->x_stride + head_sum_at(p->n_pad), sizeof(q_sum));
		head_logits(p->y + (slot + s) * p->y_stride + first, head_total(sum + 4 * s, q_sum),
			    p->step[slot + s], p->scale + first, n);
	}
}

BN_INLINE void head_all(const struct bn_head *p, const struct head_pass *h, const u32 slots)
{
	for (u32 i = 0; i < p->n; i += 4)
		head_group(p, i, p->n - i < 4 ? p->n - i : 4, slots, h);
}

BN_NOINLINE void head_one(const struct bn_head *p, const struct head_pass *h)
{
	head_all(p, h, 1);
}

#if HEAD_SLOTS > 1
BN_NOINLINE void head_two(const struct bn_head *p, const struct head_pass *h)
{
	head_all(p, h, 2);
}
#endif

#if HEAD_SLOTS > 2
BN_NOINLINE void head_three(const struct bn_head *p, const struct head_pass *h)
{
	head_all(p, h, 3);
}
#endif

#ifndef HEAD_TILES
#define HEAD_TILES	(BN_MAX_HEAD_ROWS + 1)
BN_INLINE void head_tiles(const struct bn_head *p)
{
}
#endif

HEAD_OP(void, top)(const struct bn_head *p)
{
	struct head_pass h = { .passes = (p->slots + HEAD_SLOTS - 1) / HEAD_SLOTS };
	u32 slots;

	if (p->part[0]) {
		head_parts(p);
		return;
	}
	if (p->slots >= HEAD_TILES) {
		head_tiles(p);
		return;
	}
	for (; h.slot < p->slots; h.slot += slots, h.pass++) {
		slots = (p->slots - h.slot + h.passes - h.pass - 1) / (h.passes - h.pass);
		switch (slots) {
		case 1:
			head_one(p, &h);
			break;
#if HEAD_SLOTS > 1
		case 2:
			head_two(p, &h);
			break;
#endif
#if HEAD_SLOTS > 2
		case 3:
			head_three(p, &h);
			break;
#endif
		}
	}
}

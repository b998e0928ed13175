/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_few.h - products of lines of t1 with few rows of activations, behind bn_vnni_ops.h
 *
 * The including file has defined FEW_ROWS: with how many rows of activations, times FEW_GROUP
 * lines, sums fill the registers; and FEW_GROUP_4: how many lines with up to four rows.
 */

/* The sums of two lines with row @b of activations, which are in the lower half of @sums */
BN_INLINE void store_two(const struct bn_product *p, __m128i sums, u32 r, u32 b)
{
	__m128i v = _mm_sub_epi32(sums, _mm_set1_epi32(p->x_sum[b]));
	s32 *y = p->y + b * p->y_stride + r;

	if (p->n - r > 1)
		_mm_storel_epi64((__m128i_u *)y, v);
	else
		*y = _mm_cvtsi128_si32(v);
}

/* Sums of a group of lines from the @r'th on with row @b of activations; of two, with @b + 1 too */
BN_INLINE void store_few(const struct bn_product *p, __m128i sums, u32 r, u32 b, u32 last,
			 const u32 group)
{
	if (group == 4) {
		bn_store_group(p->y + b * p->y_stride + r, sums, p->x_sum[b], p->n - r);
		return;
	}
	store_two(p, sums, r, b);
	if (b < last)
		store_two(p, _mm_unpackhi_epi64(sums, sums), r, b + 1);
}

/* Places of @group packed vectors, times those of @rows rows of activations */
BN_INLINE void add_few(vec *sum, const vec *codes, const s8 *x, size_t x_stride, const u32 rows,
		       const u32 group)
{
	bn_for_each(i, rows) {
		vec in = load(x + i * x_stride);

		bn_for_each(g, group)
			sum[i * group + g] = dot(sum[i * group + g], codes[g], in);
	}
}

/* What to fetch first for the @g'th of @group lines from the @r'th on; with @streams, of as many */
BN_INLINE const u8 *few_ahead(const struct bn_product *p, u32 r, u32 g, bool streams,
			      const u32 group)
{
	return streams ? bn_stream_behind(p->w, p->line_bytes, p->n, p->n, r, g, group) :
			 ahead_of(p, r, g, p->list);
}

BN_INLINE void few_fetch(const u8 *next, bool streams)
{
	if (streams)
		bn_prefetch_2nd(next);
	else
		bn_prefetch(next);
}

/*
 * Rows [@b, @b + @rows) of activations with @group lines at a time: codes are made in registers and
 * multiplied as they lie. That transposes nothing, but lanes have to be added up for each line.
 */
BN_INLINE void few(const struct bn_product *p, u32 b, const u32 rows, const u32 group)
{
	const size_t bytes = (size_t)p->blocks * BN_BLOCK_BYTES;
	const bool streams = p->streams && !p->list && p->ahead >= p->n;
	const size_t step = ahead_step(group, p->list || streams);

	for (u32 r = 0; r < p->n; r += group) {
		vec sum[FEW_GROUP * FEW_ROWS] BN_UNINIT;
		const s8 *x = p->x + b * p->x_stride;
		const u8 *w[4], *next[4];

		bn_for_each(g, group) {
			w[g] = line(p, r + g, p->n);
			next[g] = few_ahead(p, r, g, streams, group);
		}
		bn_for_each(i, group * rows)
			sum[i] = (vec){ 0 };
		for (size_t at = 0; at < bytes; at += BN_BLOCK_BYTES) {
			bn_for_each(g, group)
				few_fetch(next[g] + at * step, streams);
			bn_for_each(part, BN_BLOCK_BYTES / VEC_BYTES) {
				vec packed[4] BN_UNINIT, codes[4] BN_UNINIT;

				bn_for_each(g, group)
					packed[g] = load(w[g] + at + part * VEC_BYTES);
				bn_for_each(k, 5) {
					const s8 *in = x + part * VEC_BYTES + 64 * k;

					bn_for_each(g, group)
						codes[g] = t1_digit(&packed[g], k);
					add_few(sum, codes, in, p->x_stride, rows, group);
				}
			}
			x += BN_T1_BLOCK_COLS;
		}
		bn_for_each(i, (group * rows + 3) / 4) {
			const vec *v = sum + 4 * i, *last = sum + group * rows - 2;
			const vec *second = v < last ? v + 2 : v;
			struct quad q = { v[0], v[1], second[0], second[1] };

			store_few(p, quad_sums(q), r, b + 4 * i / group, b + rows - 1, group);
		}
	}
}

#define FEW(rows, group)					\
BN_NOINLINE void few_##rows(const struct bn_product *p, u32 b)	\
{								\
	few(p, b, rows, group);					\
}

#define FEW_CASE(rows)						\
	case rows:						\
		few_##rows(p, b);				\
		break

FEW(2, FEW_GROUP_4)
FEW(3, FEW_GROUP_4)
FEW(4, FEW_GROUP_4)
#if FEW_ROWS > 4
FEW(5, FEW_GROUP)
FEW(6, FEW_GROUP)
FEW(7, FEW_GROUP)
FEW(8, FEW_GROUP)
#endif

/* Batches of two and more that are too small for unpacking to memory to pay */
static void linear_t1_few(const struct bn_product *p)
{
	u32 rows;

	for (u32 b = 0; b < p->batch; b += rows) {
		rows = share(p->batch - b, FEW_ROWS);
		switch (rows) {
		FEW_CASE(2);
		FEW_CASE(3);
		FEW_CASE(4);
#if FEW_ROWS > 4
		FEW_CASE(5);
		FEW_CASE(6);
		FEW_CASE(7);
		FEW_CASE(8);
#endif
		}
	}
}

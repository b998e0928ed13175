// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avxvnni.c - AVX-VNNI: 256-bit vpdpbusd. Everything but products is AVX2's
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_quad.h"

#define BATCH_GROUP	2

#define vec		__v8si
#define words		__v16hu
#define VEC_BYTES	32
#define MOST_X		6	/* 2 x 6 sums, 2 codes, 1 x: 15 of 16 registers */
#define QUADS		1

BN_INLINE __v8si dot(__v8si sum, __v8si codes, __v8si x)
{
	return (__v8si)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)codes, (__m256i)x);
}

BN_INLINE struct quad quad_dot(struct quad sum, struct quad codes, __v8si x)
{
	return (struct quad){
		dot(sum.a, codes.a, x), dot(sum.b, codes.b, x),
		dot(sum.c, codes.c, x), dot(sum.d, codes.d, x),
	};
}

BN_INLINE vec mask_of_field(u32 field)
{
	return (vec)_mm256_set1_epi8((char)(3 << (2 * field)));
}

BN_INLINE vec set_bytes(char value)
{
	return (vec)_mm256_set1_epi8(value);
}

BN_INLINE void store(void *p, vec v)
{
	*(vec *)p = v;
}

/* four activations, for all outputs */
BN_INLINE vec broadcast(const s8 *x)
{
	s32 four;

	memcpy(&four, x, sizeof(four));
	return (vec)_mm256_set1_epi32(four);
}

BN_INLINE vec add_bytes(vec a, vec b)
{
	return (vec)_mm256_add_epi8((__m256i)a, (__m256i)b);
}

/* not below zero */
BN_INLINE vec subtract_bytes(vec a, vec b)
{
	return (vec)_mm256_subs_epu8((__m256i)a, (__m256i)b);
}

BN_INLINE vec average_bytes(vec a, vec b)
{
	return (vec)_mm256_avg_epu8((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_low_8(vec a, vec b)
{
	return (vec)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_high_8(vec a, vec b)
{
	return (vec)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_low_16(vec a, vec b)
{
	return (vec)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b);
}

BN_INLINE vec unpack_high_16(vec a, vec b)
{
	return (vec)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b);
}

/* 16 bytes of each of two lines */
BN_INLINE __m256i load_2x16(const u8 *const row[], size_t at)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(*(const __m128i *)(row[0] + at)),
				       *(const __m128i *)(row[4] + at), 1);
}

/* 16 bytes of each of eight lines, by four bytes: of each vector, lane i comes from line i */
BN_INLINE struct quad transpose(const u8 *const row[], size_t at)
{
	__m256i a = load_2x16(row, at), b = load_2x16(row + 1, at);
	__m256i c = load_2x16(row + 2, at), d = load_2x16(row + 3, at);
	__m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
	__m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

	return (struct quad){
		(vec)_mm256_unpacklo_epi64(ab_low, cd_low),
		(vec)_mm256_unpackhi_epi64(ab_low, cd_low),
		(vec)_mm256_unpacklo_epi64(ab_high, cd_high),
		(vec)_mm256_unpackhi_epi64(ab_high, cd_high),
	};
}

BN_INLINE void add_8(s32 *y, __m256i v)
{
	__m256i_u *to = (__m256i_u *)y;

	_mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
}

/* y[16i .. 16i + 7] += the i'th four of @a, then of @b, i = 0 .. 1: what interleave() took apart */
BN_INLINE void add_pair(s32 *y, vec a, vec b)
{
	add_8(y, _mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x20));
	add_8(y + 16, _mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x31));
}

/* The first @n of @sum, less @x_sum, to @y */
BN_INLINE void store_sums(s32 *y, vec sum, u32 n, s32 x_sum)
{
	const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (s32)n : 8),
						 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));

	_mm256_maskstore_epi32(y, first, _mm256_sub_epi32((__m256i)sum, _mm256_set1_epi32(x_sum)));
}

#include "bn_vnni_ops.h"

/* half a block of one row; fields 1 and 3 are added up four times too large, in @sum4 */
BN_INLINE void dot_half(vec *sum, vec *sum4, const u8 *w, const s8 *x)
{
	const vec low = mask_of_field(0), high = mask_of_field(1);
	vec packed = load(w), shifted = shift_16(packed, 4);

	*sum = dot(*sum, packed & low, load(x));
	*sum4 = dot(*sum4, packed & high, load(x + 64));
	*sum = dot(*sum, shifted & low, load(x + 128));
	*sum4 = dot(*sum4, shifted & high, load(x + 192));
}

/*
 * The last row of activations: one pass over the packed rows. No lane can overflow: 8 products of
 * 12 * 128 for each of at most 256 halves of a row's blocks are 3.2e6.
 */
BN_INLINE void last_row_of_x(const struct bn_product *p, const enum bn_order order)
{
	const u32 b = p->batch - 1;

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct group g = group_at(p, r, order);
		struct quad sum = quad_zero(), sum4 = sum;

		for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
			prefetch_group(&g, at, order);
			for (size_t half = at; half < at + BN_BLOCK_BYTES; half += 32) {
				const s8 *in = p->x + b * p->x_stride + 3 * at + half;

				dot_half(&sum.a, &sum4.a, g.row.a + half, in);
				dot_half(&sum.b, &sum4.b, g.row.b + half, in);
				dot_half(&sum.c, &sum4.c, g.row.c + half, in);
				dot_half(&sum.d, &sum4.d, g.row.d + half, in);
			}
		}
		sum = quad_add(sum, quad_quarter(sum4));
		bn_store_group(p->y + b * p->y_stride + r, quad_sums(sum), p->x_sum[b], p->n - r);
	}
}

/*
 * Rows @b and @b + 1 of activations: the packed rows are read once for each field, from the
 * first-level cache after the first time, top field first. Before the next lower field all sums are
 * divided by 4: exact, as they are multiples of the field's scale. No lane can overflow: 4 products
 * of 192 * 128 for each of at most 256 halves of a row's blocks are 2.6e7.
 */
static void two_rows_of_x(const struct bn_product *p, u32 b)
{
	const u32 ahead = lines_ahead(p);

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct bn_rows row = lines(p, r, p->n);
		const struct bn_rows next = lines(p, r + ahead, p->n + p->ahead);
		s32 *y = p->y + b * p->y_stride + r;
		struct quad sum0 = quad_zero(), sum1 = sum0;

		for (u32 field = 4; field--; ) {
			const s8 *x = p->x + b * p->x_stride + 64 * field;
			const vec mask = mask_of_field(field);

			sum0 = quad_quarter(sum0);
			sum1 = quad_quarter(sum1);
			for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
				if (field == 3)
					bn_prefetch_rows(&next, at);
				for (size_t half = at; half < at + BN_BLOCK_BYTES; half += 32) {
					const s8 *in = x + 3 * at + half;
					struct quad codes = quad_and(quad_load(&row, half), mask);

					sum0 = quad_dot(sum0, codes, load(in));
					sum1 = quad_dot(sum1, codes, load(in + p->x_stride));
				}
			}
		}
		bn_store_group(y, quad_sums(sum0), p->x_sum[b], p->n - r);
		bn_store_group(y + p->y_stride, quad_sums(sum1), p->x_sum[b + 1], p->n - r);
	}
}

/* Batches that are too small for unpacking to pay, or as many rows of weights */
static void linear_t2_few(const struct bn_product *p)
{
	u32 b = 0;

	for (; b + BATCH_GROUP <= p->batch; b += BATCH_GROUP)
		two_rows_of_x(p, b);
	if (b < p->batch)
		IN_ORDER(last_row_of_x, p);
}

static void linear_t2(const struct bn_product *p)
{
	if (p->batch < 2 * BATCH_GROUP || p->n <= LANES / 2)
		linear_t2_few(p);
	else
		linear_many(p, BN_T2);
}

static void linear_t1(const struct bn_product *p)
{
	if (p->batch == 1)
		linear_t1_1(p);
	else
		linear_many(p, BN_T1);
}

static void columns_t2(const struct bn_product *p)
{
	columns(p, BN_T2);
}

static void columns_t1(const struct bn_product *p)
{
	columns(p, BN_T1);
}

const struct bn_ops bn_ops_avxvnni = {
	.name = "avxvnni",
	.needs = BN_CPU_AVX2 | BN_CPU_AVXVNNI,
	.macs_per_us = 50000,
	.batch_macs_per_us = 100000,
	.linear = { [BN_T2] = linear_t2, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = columns_t2, [BN_T1] = columns_t1 },
	.quantize = bn_quantize_avx2,
	.rmsnorm = bn_rmsnorm_avx2,
	.dequant = bn_dequant_avx2,
	.glu = bn_glu_avx2,
	.embed = bn_embed_avx2,
	.f32_to_f16 = bn_f32_to_f16_avx2,
	.rope = bn_rope_avx2,
	.scores = bn_scores_avx2,
	.weigh = bn_weigh_avx2,
	.head_full = bn_head_full_avx2,
	.head_quantize = bn_head_quantize_avxvnni,
	.head_top = bn_head_top_avxvnni,
	.head_lower = bn_head_lower_avx2,
	.head_pick = bn_head_pick_avx2,
	.head_drop = bn_head_drop_avx2,
	.max_value = bn_max_value_avx2,
	.sum_exp = bn_sum_exp_avx2,
	.clear = bn_clear_avx2,
};

#endif /* __CHECKER__ */

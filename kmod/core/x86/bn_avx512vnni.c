// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx512vnni.c - AVX-512 with VNNI: 512-bit vpdpbusd
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_simd.h"
#include "bn_lanes_avx512.h"

#define FLOAT_OP(type, name)	static type name
#include "bn_float_ops.h"

#define BATCH_GROUP	6	/* 4 x 6 sums, 4 codes, 1 x, 1 mask: 30 of 32 registers */

#define vec		__v16si	/* what vpdpbusd adds up: __m512i sums would take two registers */
#define words		__v32hu
#define VEC_BYTES	64
#define MOST_X		12	/* 2 x 12 sums, 2 codes, 1 x: 27 of 32 registers */

/* One vector for each row of a group. Named members: gcc keeps arrays in memory if it likes. */
struct quad {
	vec a, b, c, d;
};

BN_INLINE struct quad quad_zero(void)
{
	return (struct quad){ { 0 }, { 0 }, { 0 }, { 0 } };
}

BN_INLINE vec load(const void *p)
{
	return *(const vec *)p;
}

BN_INLINE struct quad quad_load(const struct bn_rows *row, size_t at)
{
	return (struct quad){
		load(row->a + at), load(row->b + at), load(row->c + at), load(row->d + at),
	};
}

BN_INLINE struct quad quad_and(struct quad q, vec mask)
{
	return (struct quad){ q.a & mask, q.b & mask, q.c & mask, q.d & mask };
}

BN_INLINE struct quad quad_add(struct quad p, struct quad q)
{
	return (struct quad){ p.a + q.a, p.b + q.b, p.c + q.c, p.d + q.d };
}

/* a quarter of each, which leaves no rest */
BN_INLINE struct quad quad_quarter(struct quad q)
{
	return (struct quad){ q.a >> 2, q.b >> 2, q.c >> 2, q.d >> 2 };
}

BN_INLINE vec dot(vec sum, vec codes, vec x)
{
	return (vec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)x);
}

BN_INLINE struct quad quad_dot(struct quad sum, struct quad codes, vec x)
{
	return (struct quad){
		dot(sum.a, codes.a, x), dot(sum.b, codes.b, x),
		dot(sum.c, codes.c, x), dot(sum.d, codes.d, x),
	};
}

/* halves of the lanes of @a and @b added, interleaved within 128 bits */
BN_INLINE __m512i fold_32(vec a, vec b)
{
	return _mm512_add_epi32(_mm512_unpacklo_epi32((__m512i)a, (__m512i)b),
				_mm512_unpackhi_epi32((__m512i)a, (__m512i)b));
}

BN_INLINE __m512i fold_64(__m512i a, __m512i b)
{
	return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* the sum of each row's lanes */
BN_INLINE __m128i quad_sums(struct quad q)
{
	__m512i s = fold_64(fold_32(q.a, q.b), fold_32(q.c, q.d));
	__m256i half = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

BN_INLINE vec mask_of_field(u32 field)
{
	return (vec)_mm512_set1_epi8((char)(3 << (2 * field)));
}

BN_INLINE vec set_bytes(char value)
{
	return (vec)_mm512_set1_epi8(value);
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
	return (vec)_mm512_set1_epi32(four);
}

BN_INLINE vec add_bytes(vec a, vec b)
{
	return (vec)_mm512_add_epi8((__m512i)a, (__m512i)b);
}

/* not below zero */
BN_INLINE vec subtract_bytes(vec a, vec b)
{
	return (vec)_mm512_subs_epu8((__m512i)a, (__m512i)b);
}

BN_INLINE vec average_bytes(vec a, vec b)
{
	return (vec)_mm512_avg_epu8((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_low_8(vec a, vec b)
{
	return (vec)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_high_8(vec a, vec b)
{
	return (vec)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_low_16(vec a, vec b)
{
	return (vec)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b);
}

BN_INLINE vec unpack_high_16(vec a, vec b)
{
	return (vec)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b);
}

/* 16 bytes of each of four lines */
BN_INLINE __m512i load_4x16(const u8 *const row[], size_t at)
{
	__m512i v = _mm512_castsi128_si512(*(const __m128i *)(row[0] + at));

	v = _mm512_inserti32x4(v, *(const __m128i *)(row[4] + at), 1);
	v = _mm512_inserti32x4(v, *(const __m128i *)(row[8] + at), 2);
	return _mm512_inserti32x4(v, *(const __m128i *)(row[12] + at), 3);
}

/* 16 bytes of each of sixteen lines, by four bytes: of each vector, lane i comes from line i */
BN_INLINE struct quad transpose(const u8 *const row[], size_t at)
{
	__m512i a = load_4x16(row, at), b = load_4x16(row + 1, at);
	__m512i c = load_4x16(row + 2, at), d = load_4x16(row + 3, at);
	__m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
	__m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

	return (struct quad){
		(vec)_mm512_unpacklo_epi64(ab_low, cd_low),
		(vec)_mm512_unpackhi_epi64(ab_low, cd_low),
		(vec)_mm512_unpacklo_epi64(ab_high, cd_high),
		(vec)_mm512_unpackhi_epi64(ab_high, cd_high),
	};
}

BN_INLINE void add_8(s32 *y, __m256i v)
{
	__m256i_u *to = (__m256i_u *)y;

	_mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
}

/* y[16i .. 16i + 7] += the i'th four of @a, then of @b, i = 0 .. 3: what interleave() took apart */
BN_INLINE void add_pair(s32 *y, vec a, vec b)
{
	const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
	const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
	__m512i v = _mm512_permutex2var_epi64((__m512i)a, low, (__m512i)b);
	__m512i w = _mm512_permutex2var_epi64((__m512i)a, high, (__m512i)b);

	add_8(y, _mm512_castsi512_si256(v));
	add_8(y + 16, _mm512_extracti64x4_epi64(v, 1));
	add_8(y + 32, _mm512_castsi512_si256(w));
	add_8(y + 48, _mm512_extracti64x4_epi64(w, 1));
}

/* The first @n of @sum, less @x_sum, to @y */
BN_INLINE void store_sums(s32 *y, vec sum, u32 n, s32 x_sum)
{
	const __mmask16 first = n < 16 ? (1U << n) - 1 : 0xffff;

	_mm512_mask_storeu_epi32(y, first, _mm512_sub_epi32((__m512i)sum,
							    _mm512_set1_epi32(x_sum)));
}

#include "bn_vnni_ops.h"

/*
 * One row of activations: one pass over the packed rows, with sums for each field. No lane can
 * overflow: 4 products of 192 * 128 for each of at most 128 blocks of a row are 1.3e7.
 */
BN_INLINE void rows_t2(const struct bn_product *p, const enum bn_order order)
{
	const vec mask0 = mask_of_field(0), mask1 = mask_of_field(1);
	const vec mask2 = mask_of_field(2), mask3 = mask_of_field(3);

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct group g = group_at(p, r, order);
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

		for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
			struct quad packed = quad_load(&g.row, at);
			const s8 *in = p->x + 4 * at;

			prefetch_group(&g, at, order);
			sum0 = quad_dot(sum0, quad_and(packed, mask0), load(in));
			sum1 = quad_dot(sum1, quad_and(packed, mask1), load(in + 64));
			sum2 = quad_dot(sum2, quad_and(packed, mask2), load(in + 128));
			sum3 = quad_dot(sum3, quad_and(packed, mask3), load(in + 192));
		}
		sum2 = quad_add(sum2, quad_quarter(sum3));
		sum1 = quad_add(sum1, quad_quarter(sum2));
		sum0 = quad_add(sum0, quad_quarter(sum1));
		bn_store_group(p->y + r, quad_sums(sum0), *p->x_sum, p->n - r);
	}
}

static void linear_t2_1(const struct bn_product *p)
{
	IN_ORDER(rows_t2, p);
}

/*
 * @batch rows of activations from the @first on: the packed rows are read once for each field, from
 * the first-level cache after the first time, top field first. Before the next lower field all sums
 * are divided by 4: exact, as they are multiples of the field's scale. So each masked code serves
 * @batch products.
 */
BN_INLINE void rows_of_x(const struct bn_product *p, u32 first, const u32 batch)
{
	const size_t x_stride = p->x_stride;
	const u32 ahead = lines_ahead(p);

#define EACH_ROW(f)						\
	do {							\
		f(0);						\
		if (batch > 1)					\
			f(1);					\
		if (batch > 2)					\
			f(2);					\
		if (batch > 3)					\
			f(3);					\
		if (batch > 4)					\
			f(4);					\
		if (batch > 5)					\
			f(5);					\
	} while (0)
#define QUARTER(b)	(sum##b = quad_quarter(sum##b))
#define DOT(b)		(sum##b = quad_dot(sum##b, codes, load(in + (b) * x_stride)))
#define STORE(b)	bn_store_group(y + (b) * p->y_stride, quad_sums(sum##b), \
				       p->x_sum[first + (b)], p->n - r)

	for (u32 r = 0; r < p->n; r += BN_GROUP) {
		const struct bn_rows row = lines(p, r, p->n);
		const struct bn_rows next = lines(p, r + ahead, p->n + p->ahead);
		s32 *y = p->y + first * p->y_stride + r;
		struct quad sum0 = quad_zero(), sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0,
			    sum5 = sum0;

		for (u32 field = 4; field--; ) {
			const vec mask = mask_of_field(field);
			const s8 *in = p->x + first * x_stride + 64 * field;

			EACH_ROW(QUARTER);
			for (size_t at = 0; at < p->line_bytes; at += BN_BLOCK_BYTES) {
				struct quad codes = quad_and(quad_load(&row, at), mask);

				if (field == 3)
					bn_prefetch_rows(&next, at);
				EACH_ROW(DOT);
				in += BN_T2_BLOCK_COLS;
			}
		}
		EACH_ROW(STORE);
	}
#undef STORE
#undef DOT
#undef QUARTER
#undef EACH_ROW
}

/* One function for each width: in one frame the spilled pointers of all would add up. */
#define ROWS_OF_X(n)						\
BN_NOINLINE void rows_of_##n(const struct bn_product *p, u32 first)	\
{								\
	rows_of_x(p, first, n);					\
}

ROWS_OF_X(1)
ROWS_OF_X(2)
ROWS_OF_X(3)
ROWS_OF_X(4)
ROWS_OF_X(5)
ROWS_OF_X(6)

/* Batches that are too small for unpacking to pay, or as many rows of weights */
static void linear_t2_few(const struct bn_product *p)
{
	u32 b = 0;

	for (; b + BATCH_GROUP <= p->batch; b += BATCH_GROUP)
		rows_of_6(p, b);
	switch (p->batch - b) {
	case 1:
		rows_of_1(p, b);
		break;
	case 2:
		rows_of_2(p, b);
		break;
	case 3:
		rows_of_3(p, b);
		break;
	case 4:
		rows_of_4(p, b);
		break;
	case 5:
		rows_of_5(p, b);
		break;
	}
}

static void linear_t2(const struct bn_product *p)
{
	if (p->batch == 1)
		linear_t2_1(p);
	else if (p->batch <= BATCH_GROUP || p->n <= LANES / 2)
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

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
static void clear(void)
{
	asm volatile("vzeroall\n\t"
		     "vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17\n\t"
		     "vpxord %%zmm18, %%zmm18, %%zmm18\n\tvpxord %%zmm19, %%zmm19, %%zmm19\n\t"
		     "vpxord %%zmm20, %%zmm20, %%zmm20\n\tvpxord %%zmm21, %%zmm21, %%zmm21\n\t"
		     "vpxord %%zmm22, %%zmm22, %%zmm22\n\tvpxord %%zmm23, %%zmm23, %%zmm23\n\t"
		     "vpxord %%zmm24, %%zmm24, %%zmm24\n\tvpxord %%zmm25, %%zmm25, %%zmm25\n\t"
		     "vpxord %%zmm26, %%zmm26, %%zmm26\n\tvpxord %%zmm27, %%zmm27, %%zmm27\n\t"
		     "vpxord %%zmm28, %%zmm28, %%zmm28\n\tvpxord %%zmm29, %%zmm29, %%zmm29\n\t"
		     "vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31\n\t"
		     "kxorq %%k1, %%k1, %%k1\n\tkxorq %%k2, %%k2, %%k2\n\t"
		     "kxorq %%k3, %%k3, %%k3\n\tkxorq %%k4, %%k4, %%k4\n\t"
		     "kxorq %%k5, %%k5, %%k5\n\tkxorq %%k6, %%k6, %%k6\n\t"
		     "kxorq %%k7, %%k7, %%k7\n\tkxorq %%k0, %%k0, %%k0"
		     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
		       "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
		       "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2",
		       "k3", "k4", "k5", "k6", "k7", "memory");
}

const struct bn_ops bn_ops_avx512vnni = {
	.name = "avx512vnni",
	.needs = BN_CPU_AVX2 | BN_CPU_AVX512VNNI,
	.macs_per_us = 60000,
	.batch_macs_per_us = 300000,
	.linear = { [BN_T2] = linear_t2, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = columns_t2, [BN_T1] = columns_t1 },
	.quantize = quantize,
	.rmsnorm = rmsnorm,
	.dequant = dequant,
	.glu = glu,
	.embed = embed,
	.f32_to_f16 = f32_to_f16,
	.rope = rope,
	.attention = attention,
	.head_full = head_full,
	.head_quantize = bn_head_quantize_avx512vnni,
	.head_top = bn_head_top_avx512vnni,
	.head_lower = head_lower,
	.head_pick = head_pick,
	.head_drop = head_drop,
	.max_value = max_value,
	.sum_exp = sum_exp,
	.clear = clear,
};

#endif /* __CHECKER__ */

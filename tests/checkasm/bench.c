// SPDX-License-Identifier: GPL-2.0
/*
 * bench.c - checkasm --bench: the speed of each variant beside the limits of this machine, measured
 * in the same run
 *
 * One thread, its CPU time. Medians of several rounds, variants interleaved, because shared
 * machines drift. "hot" is a matrix of the 2B-4T shape in the caches; "streamed" walks through 1 GiB
 * of distinct weights, as a decode step does, in calls of one tile each.
 */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "checkasm.h"

#define STREAM_BYTES	(1ULL << 30)
#define ROUNDS		7
#define HOT_NS		4000000		/* of one measurement */
#define MAX_VARIANTS	8

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, u32 n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static void *pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

/* ---- the limits ----------------------------------------------------------------------------- */

/* Four streams with prefetch: the fastest plain read that was found on this kind of machine. */
__attribute__((target("avx2")))
static u64 read_all_256(const u8 *p, size_t bytes)
{
	__m256i sum = _mm256_setzero_si256();
	size_t part = bytes / 4;

	for (size_t i = 0; i < part; i += 64) {
		for (u32 s = 0; s < 4; s++) {
			const u8 *at = p + s * part + i;

			_mm_prefetch((const char *)at + 2048, _MM_HINT_T0);
			sum = _mm256_or_si256(sum, _mm256_load_si256((const __m256i *)at));
			sum = _mm256_or_si256(sum, _mm256_load_si256((const __m256i *)(at + 32)));
		}
	}
	return (u64)_mm256_extract_epi64(sum, 0);
}

static u64 read_all_64(const u8 *p, size_t bytes)
{
	u64 sum = 0, word;

	for (size_t i = 0; i < bytes; i += 8) {
		memcpy(&word, p + i, 8);
		sum |= word;
	}
	return sum;
}

#define PEAK_LOOPS	200000
#define PEAK_REGS	12

/* Independent multiply-adds on registers; in asm, so that no compiler sees that they are alike */
#define PEAK(name, target_, vec, bytes, op)						\
__attribute__((target(target_)))							\
static double name(void)								\
{											\
	vec sum[PEAK_REGS] = { 0 }, a = { 0 };						\
	double best = 0, rate;								\
											\
	for (u32 round = 0; round < ROUNDS; round++) {					\
		u64 start = now();							\
											\
		for (u32 i = 0; i < PEAK_LOOPS; i++) {					\
			_Pragma("GCC unroll 12")					\
			for (u32 r = 0; r < PEAK_REGS; r++)				\
				asm volatile(op : "+v" (sum[r]) : "v" (a));		\
		}									\
		rate = (double)(bytes) * PEAK_REGS * PEAK_LOOPS / (double)(now() - start); \
		best = rate > best ? rate : best;					\
	}										\
	return best;									\
}

PEAK(peak_512, "avx512f,avx512vnni", __m512i, 64, "vpdpbusd %1, %1, %0")
PEAK(peak_256, "avx2,avxvnni", __m256i, 32, "%{vex%} vpdpbusd %1, %1, %0")
PEAK(peak_avx2, "avx2", __m256i, 32, "vpmaddubsw %1, %1, %%ymm15\n\tvpaddw %%ymm15, %0, %0")

/* ---- linear_t2 ------------------------------------------------------------------------------ */

struct shape {
	u32 rows, cols, batch;
};

static const struct shape shapes[] = {
	{ 2560, 2560, 1 }, { 640, 2560, 1 }, { 6912, 2560, 1 }, { 2560, 6912, 1 },
	{ 2560, 2560, 2 }, { 2560, 2560, 4 }, { 2560, 2560, 8 }, { 2560, 2560, 16 },
	{ 2560, 2560, 64 }, { 6912, 2560, 64 }, { 2560, 6912, 64 },
};

static u8 *weights;
static s8 *x;
static s32 *y, x_sum[BN_MAX_ROWS];
static float *floats_a, *floats_b, *floats_y;

/* rows of one call, as the engine would choose: a tile of 16 KiB */
static u32 tile_rows(u32 row_bytes)
{
	u32 rows = BN_SECTION_BYTES / row_bytes / 4 * 4;

	return rows ? rows : 1;
}

static double linear_hot(const struct bn_ops *ops, const struct shape *s)
{
	u32 row_bytes = bn_t2_row_bytes(s->cols), tile = tile_rows(row_bytes), calls = 0;
	u64 start = now(), end;

	do {
		for (u32 r = 0; r < s->rows; r += tile)
			ops->linear_t2(y + r, s->rows, weights + (size_t)r * row_bytes, row_bytes,
				       tile < s->rows - r ? tile : s->rows - r, x, row_bytes * 4,
				       x_sum, s->batch);
		calls++;
		end = now();
	} while (end - start < HOT_NS);
	return (double)(end - start) / calls;
}

static double linear_streamed(const struct bn_ops *ops, u32 cols, u32 batch)
{
	u32 row_bytes = bn_t2_row_bytes(cols), tile = tile_rows(row_bytes);
	size_t bytes = (size_t)tile * row_bytes;
	u64 start = now();

	for (size_t at = 0; at + bytes <= STREAM_BYTES; at += bytes)
		ops->linear_t2(y, tile, weights + at, row_bytes, tile, x, row_bytes * 4, x_sum,
			       batch);
	return (double)(now() - start);
}

/* ---- float operations ----------------------------------------------------------------------- */

enum float_op {
	QUANTIZE, RMSNORM, DEQUANT, RELU2, SILU, TO_F32, TO_F16, ROPE, ATTENTION, HEAD, MAX, EXP,
	FLOAT_OPS
};

static const struct {
	const char *name;
	u32 bytes;		/* read and written, for GB/s */
} float_ops[FLOAT_OPS] = {
	[QUANTIZE] = { "quantize 6912", 6912 * 5 },
	[RMSNORM] = { "rmsnorm 2560", 2560 * 12 },
	[DEQUANT] = { "dequant 2560, add", 2560 * 12 },
	[RELU2] = { "glu relu2 6912", 6912 * 12 },
	[SILU] = { "glu silu 6912", 6912 * 12 },
	[TO_F32] = { "f16_to_f32 2560", 2560 * 6 },
	[TO_F16] = { "f32_to_f16 640", 640 * 6 },
	[ROPE] = { "rope 128", 128 * 12 },
	[ATTENTION] = { "attention 4 x 128, 64 positions", 64 * 128 * 4 },
	[HEAD] = { "head 2560, 64 rows", 64 * 2560 * 2 },
	[MAX] = { "max_value 1024", 1024 * 4 },
	[EXP] = { "sum_exp 1024", 1024 * 4 },
};

static volatile float sink;

static void run_float_op(const struct bn_ops *ops, enum float_op op)
{
	const u16 *f16 = (const u16 *)weights;
	static float ml[8], zeros[64], ones[64] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	float inv;

	switch (op) {
	case QUANTIZE:
		ops->quantize((s8 *)floats_y, x_sum, &inv, floats_a, 6912);
		break;
	case RMSNORM:
		ops->rmsnorm(floats_y, floats_a, floats_b, 2560, 2560, 1e-5f);
		break;
	case DEQUANT:
		ops->dequant(floats_y, y, 2560, 1e-30f, true);
		break;
	case RELU2:
	case SILU:
		ops->glu(floats_y, floats_a, floats_b, 6912,
			 op == SILU ? BITNET_ACT_SILU : BITNET_ACT_RELU2);
		break;
	case TO_F32:
		ops->f16_to_f32(floats_y, f16, 2560);
		break;
	case TO_F16:
		ops->f32_to_f16((u16 *)floats_y, floats_a, 640);
		break;
	case ROPE:
		/* a quarter turn each: magnitudes stay */
		ops->rope(floats_a, zeros, ones, 64);
		break;
	case ATTENTION:
		memset(ml, 0, sizeof(ml));
		ops->attention(floats_y, ml, floats_a, f16, f16 + 64 * 128, 128, 4, 64);
		break;
	case HEAD:
		ops->head(floats_y, floats_a, f16, 2560, 64, 2560);
		break;
	case MAX:
		sink = ops->max_value(floats_a, 1024);
		break;
	default:
		sink = ops->sum_exp(floats_a, 1024, 2.0f);
		break;
	}
}

static double float_hot(const struct bn_ops *ops, enum float_op op)
{
	u64 start = now(), end, calls = 0;

	do {
		for (u32 i = 0; i < 8; i++)
			run_float_op(ops, op);
		calls += 8;
		end = now();
	} while (end - start < HOT_NS / 4);
	return (double)(end - start) / calls;
}

static double head_streamed(const struct bn_ops *ops)
{
	const size_t rows = STREAM_BYTES / (2560 * 2);
	u64 start = now();

	for (size_t r = 0; r + 4 <= rows; r += 4)
		ops->head(floats_y, floats_a, (const u16 *)weights + r * 2560, 2560, 4, 2560);
	return (double)(now() - start);
}

/* ---- tables --------------------------------------------------------------------------------- */

static const struct bn_ops *variants[MAX_VARIANTS];
static u32 n_variants;
static double times[MAX_VARIANTS][ROUNDS];

/* the reference would take minutes where the others take seconds */
static bool too_slow(const struct bn_ops *ops, double macs)
{
	return ops->needs == 0 && macs > 2e7;
}

static void bench_hot(void)
{
	printf("\nlinear_t2, hot%44s\n%-24s %-12s %10s %8s %8s\n", "", "rows x columns, batch",
	       "variant", "us", "GB/s", "GMAC/s");
	for (u32 i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const struct shape *s = shapes + i;
		double macs = (double)s->rows * s->cols * s->batch;
		double bytes = (double)s->rows * bn_t2_row_bytes(s->cols);

		for (u32 round = 0; round < ROUNDS; round++)
			for (u32 v = 0; v < n_variants; v++)
				if (!too_slow(variants[v], macs))
					times[v][round] = linear_hot(variants[v], s);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], ROUNDS);

			if (!too_slow(variants[v], macs))
				printf("%5u x %-5u %3u         %-12s %10.1f %8.1f %8.1f\n", s->rows,
				       s->cols, s->batch, variants[v]->name, ns / 1000, bytes / ns,
				       macs / ns);
		}
	}
}

static void bench_streamed(void)
{
	static const struct shape streamed[] = { { 0, 2560, 1 }, { 0, 6912, 1 }, { 0, 2560, 4 } };
	double limit[3];

	printf("\nlinear_t2 and head, streamed over 1 GiB\n%-24s %-12s %10s %8s %8s\n",
	       "columns, batch", "variant", "ms", "GB/s", "of read");
	for (u32 i = 0; i < 4; i++) {
		for (u32 round = 0; round < 3; round++) {
			u64 start = now();

			sink = __builtin_cpu_supports("avx2") ? read_all_256(weights, STREAM_BYTES)
							      : read_all_64(weights, STREAM_BYTES);
			limit[round] = (double)STREAM_BYTES / (double)(now() - start);
			for (u32 v = 0; v < n_variants; v++)
				if (variants[v]->needs)
					times[v][round] = i == 3 ? head_streamed(variants[v]) :
						linear_streamed(variants[v], streamed[i].cols,
								streamed[i].batch);
		}
		median(limit, 3);
		if (i < 3)
			printf("%5u %3u %14s", streamed[i].cols, streamed[i].batch, "");
		else
			printf("head, 2560 %13s", "");
		printf("%-12s %10.1f %8.1f\n", "plain read", STREAM_BYTES / limit[1] / 1e6,
		       limit[1]);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], 3);

			if (variants[v]->needs)
				printf("%24s %-12s %10.1f %8.1f %7.0f%%\n", "", variants[v]->name,
				       ns / 1e6, STREAM_BYTES / ns,
				       100 * STREAM_BYTES / ns / limit[1]);
		}
	}
}

static void bench_floats(void)
{
	printf("\nfloat operations, hot\n%-34s %-12s %10s %8s\n", "op", "variant", "ns", "GB/s");
	for (u32 op = 0; op < FLOAT_OPS; op++) {
		for (u32 round = 0; round < ROUNDS; round++)
			for (u32 v = 0; v < n_variants; v++)
				times[v][round] = float_hot(variants[v], op);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], ROUNDS);

			printf("%-34s %-12s %10.0f %8.1f\n", float_ops[op].name, variants[v]->name,
			       ns, float_ops[op].bytes / ns);
		}
	}
}

/* Random codes 0 .. 2 as in a real model, f16 values that are numbers, and activations */
static void fill(void)
{
	for (size_t i = 0; i < STREAM_BYTES; i += 8) {
		u64 word = rnd();

		word &= ~(word >> 1 & word << 0 & 0x5555555555555555ULL);	/* 3 becomes 2 */
		word &= 0xbfbfbfbfbfbfbfbfULL;		/* exponent of the f16 below infinity */
		memcpy(weights + i, &word, sizeof(word));
	}
	for (size_t i = 0; i < BN_MAX_ROWS * 8192; i++)
		x[i] = rnd();
	for (u32 i = 0; i < 8192; i++) {
		floats_a[i] = (float)(s32)rnd() / 2147483648.0f;
		floats_b[i] = (float)(s32)rnd() / 2147483648.0f;
		floats_y[i] = 0.0f;
	}
}

int bench(u32 cpu, const char *only)
{
	weights = pages(STREAM_BYTES + (1 << 21));
	x = pages(BN_MAX_ROWS * 8192);
	y = pages(BN_MAX_ROWS * 8192 * sizeof(*y));
	floats_a = pages(8192 * sizeof(float));
	floats_b = pages(8192 * sizeof(float));
	floats_y = pages(8192 * sizeof(float));
	rnd_seed(1);
	fill();

	for (u32 i = 0; bn_variants[i] && n_variants < MAX_VARIANTS; i++)
		if (bn_variant_find(bn_variants[i]->name, cpu) &&
		    (!only || !strcmp(only, bn_variants[i]->name)))
			variants[n_variants++] = bn_variants[i];

	printf("limits, one thread, GMAC/s:");
	if (cpu & BN_CPU_AVX2)
		printf(" vpmaddubsw+vpaddw %.0f", peak_avx2());
	if (cpu & BN_CPU_AVXVNNI)
		printf(" vpdpbusd/256 %.0f", peak_256());
	if (cpu & BN_CPU_AVX512VNNI)
		printf(" vpdpbusd/512 %.0f", peak_512());
	printf("\n");
	bench_hot();
	bench_streamed();
	bench_floats();
	return 0;
}

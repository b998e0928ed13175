// SPDX-License-Identifier: GPL-2.0
/*
 * bench.c - checkasm --bench: the speed of each variant beside the limits of this machine, measured
 * in the same run
 *
 * One thread, its CPU time. Medians of several rounds, variants interleaved, because shared
 * machines drift. "hot" is a matrix of the 2B-4T shape in the caches; "streamed" walks through 1
 * GiB of distinct weights, as a decode step does, in calls of one section each. Where lines are
 * skipped, the limit is a plain read of those that are not: 640 bytes here and there are read at
 * less than half the rate of a long run.
 */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "checkasm.h"

#define STREAM_BYTES	(1ULL << 30)
#define ROUNDS		7
#define HOT_NS		2000000		/* of one measurement */
#define STREAM_LINES	6912		/* of a matrix that is streamed */
#define AHEAD_LINES	64		/* that a call is told of, as the engine does */
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

/* In one stream or several, a line of each in turns; some CPUs like to be told with a prefetch. */
__attribute__((target("avx2")))
static u64 read_all_256(const u8 *p, size_t bytes, u32 streams, bool prefetch)
{
	__m256i sum = _mm256_setzero_si256();
	size_t part = bytes / streams;

	for (size_t i = 0; i < part; i += 64) {
		for (u32 s = 0; s < streams; s++) {
			const u8 *at = p + s * part + i;

			if (prefetch)
				_mm_prefetch((const char *)at + 2048, _MM_HINT_T0);
			sum = _mm256_or_si256(sum, _mm256_load_si256((const __m256i *)at));
			sum = _mm256_or_si256(sum, _mm256_load_si256((const __m256i *)(at + 32)));
		}
	}
	return (u64)_mm256_extract_epi64(sum, 0);
}

/* The lines of a list, one after the other */
__attribute__((target("avx2")))
static u64 read_lines_256(const u8 *p, size_t line_bytes, const u32 *index, u32 n, u32 ahead)
{
	__m256i sum = _mm256_setzero_si256();

	for (u32 i = 0; i < n; i++) {
		const u8 *line = p + index[i] * line_bytes;
		const u8 *next = p + index[i + ahead < n ? i + ahead : n - 1] * line_bytes;

		for (size_t at = 0; at < line_bytes; at += 64) {
			_mm_prefetch((const char *)next + at, _MM_HINT_T0);
			sum = _mm256_or_si256(sum, _mm256_load_si256((const __m256i *)(line + at)));
			sum = _mm256_or_si256(sum,
					      _mm256_load_si256((const __m256i *)(line + at + 32)));
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

/* ---- products ------------------------------------------------------------------------------- */

struct shape {
	u32 rows, cols, batch;
};

static const struct shape shapes[] = {
	{ 2560, 2560, 1 }, { 640, 2560, 1 }, { 6912, 2560, 1 }, { 2560, 6912, 1 },
	{ 2560, 2560, 2 }, { 2560, 2560, 4 }, { 2560, 2560, 8 }, { 2560, 2560, 16 },
	{ 2560, 2560, 64 }, { 6912, 2560, 64 }, { 2560, 6912, 64 },
};

/* Products by columns: columns, outputs, batch */
static const struct shape column_shapes[] = {
	{ 6912, 2560, 1 }, { 6912, 2560, 2 }, { 6912, 2560, 8 }, { 6912, 2560, 64 },
};

static u8 *weights, *tmp;
static s8 *x;
static s32 *y, x_sum[BN_MAX_ROWS];
static float *floats_a, *floats_b, *floats_y;

/* rows of one call, as the engine would choose: a piece */
static u32 tile_rows(u32 row_bytes)
{
	u32 rows = BN_SECTION_BYTES / row_bytes / 4 * 4;

	return rows ? rows : 1;
}

static struct bn_product product(u32 packing, u32 cols, u32 rows, u32 batch)
{
	return (struct bn_product){
		.y = y, .y_stride = rows, .w = weights, .line_bytes = bn_line_bytes(packing, cols),
		.blocks = bn_line_bytes(packing, cols) / BN_BLOCK_BYTES, .n = rows, .x = x,
		.x_stride = bn_cols_pad(cols) + 64, .x_sum = x_sum, .batch = batch, .tmp = tmp,
	};
}

static double linear_hot(const struct bn_ops *ops, u32 packing, const struct shape *s)
{
	struct bn_product p = product(packing, s->cols, s->rows, s->batch);
	u32 tile = tile_rows(p.line_bytes), calls = 0;
	u64 start = now(), end;

	do {
		for (u32 r = 0; r < s->rows; r += tile) {
			p.y = y + r;
			p.w = weights + (size_t)r * p.line_bytes;
			p.n = tile < s->rows - r ? tile : s->rows - r;
			ops->linear[packing](&p);
		}
		calls++;
		end = now();
	} while (end - start < HOT_NS);
	return (double)(end - start) / calls;
}

static double columns_hot(const struct bn_ops *ops, u32 packing, const struct shape *s)
{
	struct bn_product p = product(packing, s->cols, s->cols, s->batch);
	u32 tile = tile_rows(p.line_bytes), calls = 0;
	u64 start = now(), end;

	p.y_stride = 8192;
	do {
		for (u32 c = 0; c < s->rows; c += tile) {
			p.x = x + c;
			p.w = weights + (size_t)c * p.line_bytes;
			p.n = tile < s->rows - c ? tile : s->rows - c;
			ops->columns[packing](&p);
		}
		calls++;
		end = now();
	} while (end - start < HOT_NS);
	return (double)(end - start) / calls;
}

/* One of @every lines of each run of @lines, ascending */
static u32 choose(u32 *index, u32 lines, u32 every)
{
	for (u32 i = 0; i < lines / every; i++)
		index[i] = i * every + rnd() % every;
	return lines / every;
}

/* Calls of one section's weights each, that know what the next ones will ask for */
static double streamed(void (*op)(const struct bn_product *p), struct bn_product *p, u32 lines,
		       u32 every, u32 ahead, bool by_column, u64 *bytes)
{
	static u32 index[STREAM_LINES];
	static const u8 *list[STREAM_LINES];
	u32 wanted = choose(index, lines, every), piece = tile_rows(p->line_bytes);
	size_t matrix = (size_t)lines * p->line_bytes;
	const s8 *x0 = p->x;
	u64 start = now();

	*bytes = 0;
	for (size_t at = 0; at + matrix <= STREAM_BYTES; at += matrix) {
		for (u32 i = 0; i < wanted; i += piece) {
			u32 left = wanted - i;

			p->n = piece < left ? piece : left;
			left -= p->n;
			p->ahead = ahead < left ? ahead : left;
			p->index = every > 1 ? index + i : NULL;
			for (u32 k = i; every > 1 && !by_column && k < i + p->n + p->ahead; k++)
				list[k] = weights + at + (size_t)index[k] * p->line_bytes;
			p->list = every > 1 && !by_column ? list + i : NULL;
			p->w = weights + at + (every > 1 ? 0 : (size_t)i * p->line_bytes);
			if (by_column)
				p->x = x0 + (every > 1 ? 0 : i);
			op(p);
		}
		*bytes += (u64)wanted * p->line_bytes;
	}
	return (double)(now() - start);
}

/* ---- head ------------------------------------------------------------------------------------ */

/* The rows of a 2B-4T head, in calls of one piece; @full: both planes, one behind the other */
static double head_streamed(const struct bn_ops *ops, bool full, u32 slots)
{
	/* No power of two apart, as they are in an image: caches are by address. */
	const u32 high = bn_high_bytes(2560), low = full ? bn_low_bytes(2560) : 0;
	const size_t rows = (STREAM_BYTES - 4800 * 64) / (high + low);
	const size_t plane = rows * high + 4800 * 64;
	static float step[BN_MAX_HEAD_ROWS];
	struct bn_head p = {
		.y = (float *)y, .n_pad = 2560, .slots = slots, .step = step,
		.scale = floats_b, .tmp = tmp, .x = x, .x_stride = full ? 2560 * sizeof(float)
							    : BN_HEAD_Q_BYTES(2560),
	};
	struct bn_head_norms norms;
	u64 start;

	p.n = p.y_stride = BN_SECTION_BYTES / (high + low);
	for (u32 s = 0; s < slots; s++) {
		u8 *to = (u8 *)x + s * p.x_stride;

		if (full)
			memcpy(to, floats_a, 2560 * sizeof(float));
		else
			ops->head_quantize(to, step + s, &norms, floats_a, 2560);
	}
	start = now();
	for (size_t at = 0; at + p.n <= rows; at += p.n) {
		p.high = weights + at * high;
		p.low = weights + plane + at * low;
		if (full)
			ops->head_full(&p);
		else
			ops->head_top(&p);
	}
	return (double)(now() - start);
}

/* ---- float operations ----------------------------------------------------------------------- */

enum float_op {
	QUANTIZE, RMSNORM, DEQUANT, RELU2, SILU, EMBED, TO_F16, ROPE, SCORES, WEIGH, WIDEN_KEYS,
	WIDEN_VALUES, WIDE_SCORES, WIDE_WEIGH, HEAD_QUANTIZE,
	HEAD_LOWER, HEAD_PICK, HEAD_DROP, MAX, EXP, FLOAT_OPS
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
	[EMBED] = { "embed 2560", 2560 * 6 },
	[TO_F16] = { "f32_to_f16 640", 640 * 6 },
	[ROPE] = { "rope 128", 128 * 12 },
	[SCORES] = { "scores 4 x 128, 64 positions", 64 * 128 * 2 },
	[WEIGH] = { "weigh 4 x 128, 64 positions", 64 * 128 * 2 },
	[WIDEN_KEYS] = { "widen_keys 128, 64 positions", 64 * 128 * 6 },
	[WIDEN_VALUES] = { "widen_values 128, 64 positions", 64 * 128 * 6 },
	[WIDE_SCORES] = { "scores 4 x 128, wide", 64 * 128 * 4 },
	[WIDE_WEIGH] = { "weigh 4 x 128, wide", 64 * 128 * 4 },
	[HEAD_QUANTIZE] = { "head_quantize 2560", 2560 * 6 },
	[HEAD_LOWER] = { "head_lower 1024", 1024 * 12 },
	[HEAD_PICK] = { "head_pick 1024, none", 1024 * 12 },
	[HEAD_DROP] = { "head_drop 1024, all", 1024 * 8 },
	[MAX] = { "max_value 1024", 1024 * 4 },
	[EXP] = { "sum_exp 1024", 1024 * 4 },
};

static volatile float sink;

static void run_float_op(const struct bn_ops *ops, enum float_op op)
{
	struct bn_attention attention = {
		.s_stride = 64, .rows = 1, .head_pad = 128, .heads = 4, .n = 64,
	};
	static float ml[8], zeros[64], ones[64] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	const struct bn_head_error error = { floats_b, floats_b, 1.0f, 1.0f };
	struct bn_head_norms norms;
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
	case EMBED:
		ops->embed(floats_y, weights, weights + bn_high_bytes(2560), 1.0f, 2560);
		break;
	case TO_F16:
		ops->f32_to_f16((u16 *)floats_y, floats_a, 640);
		break;
	case ROPE:
		/* a quarter turn each: magnitudes stay */
		ops->rope(floats_a, zeros, ones, 64);
		break;
	case WIDEN_KEYS:
		ops->widen_keys((float *)tmp, (const u16 *)weights, 64, 128);
		break;
	case WIDEN_VALUES:
		ops->widen_values((float *)tmp, (const u16 *)weights, 64, 128);
		break;
	case SCORES:
	case WEIGH:
	case WIDE_SCORES:
	case WIDE_WEIGH:
		memset(ml, 0, sizeof(ml));
		if (op == SCORES || op == WEIGH)
			attention.kv = (const u16 *)weights;
		else
			attention.wide = floats_b;
		attention.q = attention.s = floats_a;
		if (op == SCORES || op == WIDE_SCORES)
			attention.s = floats_y;
		attention.p = (float *)tmp;
		attention.acc = floats_y;
		attention.ml = ml;
		(op == SCORES || op == WIDE_SCORES ? ops->scores : ops->weigh)(&attention);
		break;
	case HEAD_QUANTIZE:
		ops->head_quantize(tmp, floats_y, &norms, floats_a, 2560);
		break;
	case HEAD_LOWER:
		ops->head_lower(floats_y, floats_a, &error, 1024);
		break;
	case HEAD_PICK:
		sink = (float)ops->head_pick((u32 *)tmp, floats_a, &error, 1e30f, 0, 1024, 1024);
		break;
	case HEAD_DROP:
		memset(floats_y, 0, 1024 * sizeof(*floats_y));
		sink = (float)ops->head_drop(floats_y, 1.0f, 1024);
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

/* ---- tables --------------------------------------------------------------------------------- */

static const struct bn_ops *variants[MAX_VARIANTS];
static u32 n_variants;
static double times[MAX_VARIANTS][ROUNDS];
static double peaks[3];		/* of AVX2, AVX-VNNI, AVX-512-VNNI */

static double peak(const struct bn_ops *ops)
{
	return peaks[ops->needs & BN_CPU_AVX512VNNI ? 2 : ops->needs & BN_CPU_AVXVNNI ? 1 : 0];
}

/* the reference would take minutes where the others take seconds */
static bool too_slow(const struct bn_ops *ops, bool by_column, u32 packing, double macs)
{
	const struct bn_ops *ref = &bn_ops_ref;
	bool slow = by_column ? ops->columns[packing] == ref->columns[packing] :
				ops->linear[packing] == ref->linear[packing];

	return slow && macs > 2e6;
}

static void bench_hot(bool by_column, u32 packing, const struct shape *list, u32 n)
{
	printf("\n%s, t%u, hot\n%-24s %-12s %10s %8s %8s %8s\n", by_column ? "columns" : "linear",
	       2 - packing, by_column ? "columns x outputs, batch" : "rows x columns, batch",
	       "variant", "us", "GB/s", "GMAC/s", "of peak");
	for (u32 i = 0; i < n; i++) {
		const struct shape *s = list + i;
		double macs = (double)s->rows * s->cols * s->batch;
		double bytes = (double)s->rows * bn_line_bytes(packing, s->cols);

		for (u32 round = 0; round < ROUNDS; round++)
			for (u32 v = 0; v < n_variants; v++)
				if (!too_slow(variants[v], by_column, packing, macs))
					times[v][round] = by_column ?
						columns_hot(variants[v], packing, s) :
						linear_hot(variants[v], packing, s);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], ROUNDS);

			if (!too_slow(variants[v], by_column, packing, macs))
				printf("%5u x %-5u %3u         %-12s %10.1f %8.1f %8.1f %7.0f%%\n",
				       s->rows, s->cols, s->batch, variants[v]->name, ns / 1000,
				       bytes / ns, macs / ns, 100 * macs / ns / peak(variants[v]));
		}
	}
}

/* The rate of a plain read of all, the faster way */
static double read_all(void)
{
	bool avx2 = __builtin_cpu_supports("avx2");
	double best = 0, rate;

	for (u32 way = 0; way < 2; way++) {
		u64 start = now();

		if (!avx2)
			sink = read_all_64(weights, STREAM_BYTES);
		else if (way)
			sink = read_all_256(weights, STREAM_BYTES, 4, true);
		else
			sink = read_all_256(weights, STREAM_BYTES, 1, false);
		rate = (double)STREAM_BYTES / (double)(now() - start);
		best = rate > best ? rate : best;
	}
	return best;
}

/* The same of one of @every lines */
static double plain_read(u32 line_bytes, u32 every)
{
	static u32 index[STREAM_LINES];
	u32 n = choose(index, STREAM_LINES, every);
	size_t matrix = (size_t)STREAM_LINES * line_bytes, bytes = 0;
	u64 start = now();

	if (every == 1 || !__builtin_cpu_supports("avx2"))
		return read_all();
	for (size_t at = 0; at + matrix <= STREAM_BYTES; at += matrix) {
		sink = read_lines_256(weights + at, line_bytes, index, n, 4);
		bytes += (size_t)n * line_bytes;
	}
	return (double)bytes / (double)(now() - start);
}

static void bench_streamed(void)
{
	static const struct {
		const char *name;
		bool by_column;
		u32 packing, cols, batch, every;
	} cases[] = {
		{ "t2, 2560 columns", false, BN_T2, 2560, 1, 1 },
		{ "t2, 6912 columns", false, BN_T2, 6912, 1, 1 },
		{ "t2, 2560, 1 row of 4", false, BN_T2, 2560, 1, 4 },
		{ "t2, 2560, batch 2", false, BN_T2, 2560, 2, 1 },
		{ "t2, 2560, batch 3", false, BN_T2, 2560, 3, 1 },
		{ "t2, 2560, batch 4", false, BN_T2, 2560, 4, 1 },
		{ "t1, 2560 columns", false, BN_T1, 2560, 1, 1 },
		{ "t1, 6912 columns", false, BN_T1, 6912, 1, 1 },
		{ "t1, 2560, 1 row of 4", false, BN_T1, 2560, 1, 4 },
		{ "t1, 2560, batch 2", false, BN_T1, 2560, 2, 1 },
		{ "t1, 2560, batch 4", false, BN_T1, 2560, 4, 1 },
		{ "t2 by column, all", true, BN_T2, 2560, 1, 1 },
		{ "t2 by column, 1 of 6", true, BN_T2, 2560, 1, 6 },
		{ "t2 by column, batch 2", true, BN_T2, 2560, 2, 1 },
		{ "t2 by column, batch 4", true, BN_T2, 2560, 4, 1 },
		{ "t1 by column, all", true, BN_T1, 2560, 1, 1 },
		{ "t1 by column, 1 of 6", true, BN_T1, 2560, 1, 6 },
		{ "t1 by column, batch 4", true, BN_T1, 2560, 4, 1 },
	};

	printf("\nstreamed over 1 GiB of weights\n%-24s %-12s %10s %8s %8s\n", "packing", "variant",
	       "ms", "GB/s", "of read");
	for (u32 i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double limit[ROUNDS];
		u64 bytes = STREAM_BYTES;
		bool by_column = cases[i].by_column;
		u32 packing = cases[i].packing;

		for (u32 round = 0; round < ROUNDS; round++) {
			limit[round] = plain_read(bn_line_bytes(packing, cases[i].cols),
						  cases[i].every);
			for (u32 v = 0; v < n_variants; v++) {
				const struct bn_ops *ops = variants[v];
				struct bn_product p = product(packing, cases[i].cols, STREAM_LINES,
							      cases[i].batch);

				p.y_stride = 8192;
				if (!too_slow(ops, by_column, packing, 1e9))
					times[v][round] =
						streamed(by_column ? ops->columns[packing] :
							 ops->linear[packing], &p, STREAM_LINES,
							 cases[i].every, AHEAD_LINES, by_column,
							 &bytes);
			}
		}
		median(limit, ROUNDS);
		printf("%-24s %-12s %10.1f %8.1f\n", cases[i].name, "plain read",
		       bytes / limit[ROUNDS / 2] / 1e6, limit[ROUNDS / 2]);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], ROUNDS);

			if (!too_slow(variants[v], by_column, packing, 1e9))
				printf("%24s %-12s %10.1f %8.1f %7.0f%%\n", "", variants[v]->name,
				       ns / 1e6, bytes / ns,
				       100 * bytes / ns / limit[ROUNDS / 2]);
		}
	}
}

static void bench_head(void)
{
	static const u32 slots[] = { 1, 4, 16 };

	printf("\nhead, streamed over 1 GiB of planes\n%-24s %-12s %10s %8s %8s\n", "slots, planes",
	       "variant", "ms", "GB/s", "of read");
	for (u32 i = 0; i < 2 * sizeof(slots) / sizeof(*slots); i++) {
		double limit[ROUNDS];
		bool full = i % 2;

		for (u32 round = 0; round < ROUNDS; round++) {
			limit[round] = plain_read(0, 1);
			for (u32 v = 0; v < n_variants; v++)
				if (variants[v]->needs)
					times[v][round] = head_streamed(variants[v], full,
									slots[i / 2]);
		}
		median(limit, ROUNDS);
		printf("%2u, %-20s %-12s %10.1f %8.1f\n", slots[i / 2], full ? "both" : "high only",
		       "plain read", STREAM_BYTES / limit[ROUNDS / 2] / 1e6, limit[ROUNDS / 2]);
		for (u32 v = 0; v < n_variants; v++) {
			double ns = median(times[v], ROUNDS);

			if (variants[v]->needs)
				printf("%24s %-12s %10.1f %8.1f %7.0f%%\n", "", variants[v]->name,
				       ns / 1e6, STREAM_BYTES / ns,
				       100 * STREAM_BYTES / ns / limit[ROUNDS / 2]);
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

static bool wanted(const char *what, const char *table)
{
	return !what || !strcmp(what, table);
}

int bench(u32 cpu, const char *only, const char *what)
{
	weights = pages(STREAM_BYTES + (1 << 21));
	tmp = pages(BN_TMP_BYTES);
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

	if (cpu & BN_CPU_AVX2)
		peaks[0] = peak_avx2();
	if (cpu & BN_CPU_AVXVNNI)
		peaks[1] = peak_256();
	if (cpu & BN_CPU_AVX512VNNI)
		peaks[2] = peak_512();
	printf("limits, one thread, GMAC/s: vpmaddubsw+vpaddw %.0f, vpdpbusd/256 %.0f, /512 %.0f\n",
	       peaks[0], peaks[1], peaks[2]);
	for (u32 packing = 0; packing < BN_PACKINGS && wanted(what, "hot"); packing++) {
		bench_hot(false, packing, shapes, sizeof(shapes) / sizeof(*shapes));
		bench_hot(true, packing, column_shapes,
			  sizeof(column_shapes) / sizeof(*column_shapes));
	}
	if (wanted(what, "streamed"))
		bench_streamed();
	if (wanted(what, "head"))
		bench_head();
	if (wanted(what, "float"))
		bench_floats();
	return 0;
}

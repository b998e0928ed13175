// SPDX-License-Identifier: GPL-2.0
/*
 * How long the pieces of a step take, each of which is an FPU section in the module: the engine's own
 * code in one thread of this process, on whatever machine and clock there is.
 *
 *	pieces MODEL [VARIANT [PACKING [RUNS [STEP]]]]
 *
 * Each step, or the ones whose names begin with STEP, is computed RUNS times (default 9), always the
 * same, and of each piece's times the shortest counts: what interrupted this process, and what a
 * virtual machine's host took away, is not in it. Caches are as a step leaves them, for a step has
 * passed between two times of a piece. With one run, what interrupts is in it as it is in the module.
 */
#include <errno.h>
#include <time.h>
#include <x86intrin.h>

#include "bn_step_priv.h"
#include "cpu.h"
#include "image.h"
#include "tap.h"

#define GOAL_US		50
#define BUCKET_US	2
#define BUCKETS		(GOAL_US / BUCKET_US + 1)	/* the last: all that is longer */
#define SESSIONS	16
#define CONTEXT		4096

static const char *const kinds[BN_PHASE_KINDS] = {
	"embedding", "norm", "q, k, v", "rope", "attention", "norm", "attention out", "norm",
	"gate, up", "norm", "down", "adding", "norm", "head", "select", "refine", "sample", "linear",
};

/*
 * struct shape - the steps that are measured
 * @rows:	of one session, or one of each if @sessions
 * @slots:	rows that want a token, the last ones
 * @past:	tokens in the context before, as a part of it: the rows come behind
 */
struct shape {
	const char *name;
	u32 rows, slots;
	bool sessions, past, sampled;
};

static const struct shape shapes[] = {
	{ "1 row", 1, 1, false, false, false },
	{ "1 row, sampled", 1, 1, false, false, true },
	{ "1 row, long context", 1, 1, false, true, false },
	{ "4 sessions", 4, 4, true, false, false },
	{ "8 sessions", 8, 8, true, false, false },
	{ "16 sessions, sampled", 16, 16, true, false, true },
	{ "16 rows of a prompt", 16, 1, false, false, false },
	{ "64 rows of a prompt", 64, 1, false, false, false },
	{ "64 rows, long context", 64, 1, false, true, false },
	{ "64 rows, 16 scored", 64, 16, false, true, false },
};

static struct bn_model model;
static struct bn_step step;
static struct bn_kv caches[SESSIONS];
static void *buffer;
static u64 ticks_per_ms;

/* The time stamp counter's rate: in QEMU that counts instructions it is that of the clock as well. */
static void calibrate(void)
{
	struct timespec a, b;
	u64 start, ns;

	clock_gettime(CLOCK_MONOTONIC, &a);
	start = __rdtsc();
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
		ns = (b.tv_sec - a.tv_sec) * 1000000000ULL + b.tv_nsec - a.tv_nsec;
	} while (ns < 50000000);
	ticks_per_ms = (__rdtsc() - start) * 1000000 / ns;
}

static u64 ticks(void)
{
	unsigned int cpu;

	return __rdtscp(&cpu);
}

static void begin(const struct shape *shape)
{
	static const struct bn_sampler_params params[2] = {
		{ 0 }, { .seed = 1, .temperature_ppm = BITNET_PPM, .min_p_ppm = BITNET_PPM / 50,
			 .top_p_ppm = BITNET_PPM },
	};
	u32 n_ctx = caches[0].n_ctx, past = shape->past ? n_ctx - shape->rows : 0, slots = 0;

	for (u32 i = 0; i < shape->rows; i++)
		step.rows[i] = (struct bn_row){
			.kv = &caches[shape->sessions ? i : 0],
			.token = (i * 2654435761U + 17) % model.vocab,
			.pos = shape->sessions ? past : past + i,
			.slot = i + shape->slots >= shape->rows ? slots++ : BN_NO_SLOT,
		};
	if (bn_step_begin(&step, shape->rows) != BN_OK)
		bail("%s: no such step", shape->name);
	for (u32 i = 0; i < slots; i++) {
		step.samplers[i].params = &params[shape->sampled];
		step.samplers[i].recent = NULL;
		step.samplers[i].n_recent = 0;
		step.samplers[i].all_logits = slots > 1 && shape->past;
		step.samplers[i].position = i;
		step.samplers[i].force = BN_SAMPLE;
	}
}

struct piece {
	u32 ticks;
	u8 kind;
};

static struct piece *pieces;
static u32 n_pieces, room;

/* One pass. The first finds out what pieces there are, the others make their times shorter. */
static void pass(const struct shape *shape, bool first)
{
	u32 n = 0;

	begin(shape);
	for (u32 phase = 0; phase < step.n_phases; phase++) {
		u32 tiles = bn_step_tiles(&step, phase);

		for (u32 tile = 0; tile < tiles; tile++) {
			u32 cursor = 0;
			bool more;

			do {
				u64 start = ticks(), length;

				more = bn_step_tile(&step, phase, tile, &cursor, buffer);
				length = ticks() - start;
				if (n == room) {
					room = 2 * room + 4096;
					pieces = realloc(pieces, room * sizeof(*pieces));
				}
				if (!pieces || (!first && n == n_pieces))
					bail("%s: %u pieces", shape->name, n);
				if (first || length < pieces[n].ticks)
					pieces[n].ticks = length;
				pieces[n++].kind = bn_phase_kind(&step, phase);
			} while (more);
		}
	}
	n_pieces = n;
}

static int by_ticks(const void *a, const void *b)
{
	u32 x = ((const struct piece *)a)->ticks, y = ((const struct piece *)b)->ticks;

	return x < y ? -1 : x > y;
}

static double us(u32 t)
{
	return t * 1e3 / ticks_per_ms;
}

static void measure(const struct shape *shape, u32 runs, u64 *histogram)
{
	u32 n, beyond = 0;

	for (u32 run = 0; run < runs; run++)
		pass(shape, !run);
	n = n_pieces;
	qsort(pieces, n, sizeof(*pieces), by_ticks);
	for (u32 i = 0; i < n; i++) {
		u32 bucket = us(pieces[i].ticks) / BUCKET_US;

		histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
		beyond += us(pieces[i].ticks) > GOAL_US;
	}
	printf("%-24s %8u %7.1f %7.1f %7.1f %7.1f %7u  %s\n", shape->name, n,
	       us(pieces[n / 2].ticks), us(pieces[n - 1 - n / 100].ticks),
	       us(pieces[n - 1 - n / 1000].ticks), us(pieces[n - 1].ticks), beyond,
	       kinds[pieces[n - 1].kind]);
	fflush(stdout);
}

static void draw(const u64 *histogram)
{
	u64 most = 1, all = 0;

	for (u32 i = 0; i < BUCKETS; i++) {
		most = histogram[i] > most ? histogram[i] : most;
		all += histogram[i];
	}
	for (u32 i = 0; i < BUCKETS; i++) {
		if (i < BUCKETS - 1)
			printf("%3u - %2u us", i * BUCKET_US, (i + 1) * BUCKET_US);
		else
			printf("     beyond");
		printf(" %9llu %7.3f %% ", (unsigned long long)histogram[i],
		       100.0 * histogram[i] / all);
		for (u64 bar = 0; bar * most < histogram[i] * 50; bar++)
			putchar('#');
		putchar('\n');
	}
}

static void *memory(u64 bytes)
{
	void *p = aligned_alloc(4096, (bytes + 4095) & ~4095ULL);

	if (!p)
		bail("no memory");
	return memset(p, 0, (bytes + 4095) & ~4095ULL);
}

int main(int argc, char **argv)
{
	const char *variant = argc > 2 ? argv[2] : "fastest";
	struct bitnet_image_options options = { .packing = argc > 3 ? argv[3] : NULL };
	u32 runs = argc > 4 ? atoi(argv[4]) : 9;
	const char *only = argc > 5 ? argv[5] : "";
	u64 histogram[BUCKETS] = { 0 };
	struct bitnet_model_file file;
	const struct bn_ops *ops = bn_variant_find(variant, bitnet_cpu_mask());
	struct bitnet_error err;
	u32 n_ctx;

	if (argc < 2 || !ops || !runs)
		bail("usage: pieces MODEL [VARIANT [PACKING [RUNS [STEP]]]]");
	if (bitnet_model_file_open(argv[1], NULL, &file, &err) ||
	    bitnet_model_file_image(&file, &options, &err) ||
	    bitnet_image_parse(file.image.base, file.image.length, argv[1], &model, &err))
		bail("%s", err.msg);
	n_ctx = model.max_ctx < CONTEXT ? model.max_ctx : CONTEXT;
	for (u32 i = 0; i < SESSIONS; i++) {
		caches[i].n_ctx = i ? 64 : n_ctx;
		caches[i].data = memory(bn_kv_bytes(&model, caches[i].n_ctx));
	}
	buffer = memory(BN_TILE_BYTES);
	bn_step_init(&step, &model, ops, memory(bn_scratch_bytes(&model)));
	step.workers = 1;
	calibrate();

	printf("%s, %s, shortest of %u times, us:\n", ops->name, model.packing ==
	       BN_T1 ? "t1" : "t2", runs);
	printf("%-24s %8s %7s %7s %7s %7s %7s  %s\n", "step", "pieces", "p50", "p99", "p99.9",
	       "max", "> 50", "the longest");
	for (u32 i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if (!strncmp(shapes[i].name, only, strlen(only)))
			measure(&shapes[i], runs, histogram);
	draw(histogram);
	return 0;
}

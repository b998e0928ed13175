/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench.h - what 'bitnetctl bench' is made of
 *
 * A speed means little without the limit that it runs against. So each measurement is preceded, at
 * once, by one of the machine's limits, and is given as a value and as a share of that limit; a run
 * goes through all measurements in turn, so that a machine that drifts does so for all of them.
 */
#ifndef BITNETCTL_BENCH_H
#define BITNETCTL_BENCH_H

#include "bitnet.h"
#include "bn_ops.h"
#include "model.h"

#define BENCH_MAX_RUNS		100
#define BENCH_MAX_TOKENS	512	/* of one decode */
#define BENCH_MAX_SESSIONS	16	/* that decode together: rows with logits of one step */
#define BENCH_MAX_ROWS		48
#define BENCH_MAX_NOTES		8

/* ---- numbers: bench_machine.c ---------------------------------------------------------------- */

struct series {
	double *v;
	unsigned int n, room;
};

/** series_add() - without memory the value is lost, and the median is that of fewer runs */
void series_add(struct series *s, double v);
void series_free(struct series *s);
double series_median(const struct series *s);
double series_least(const struct series *s);
double series_most(const struct series *s);

/* ---- the machine: bench_machine.c ------------------------------------------------------------ */

struct bench_machine {
	char cpu[96];
	char kernel[80];
	unsigned int cpus;
	uint64_t cache_bytes;		/* the last level's */
	double load;			/* average of the last minute */
};

void bench_machine_look(struct bench_machine *m);

/** bench_memory_available() - bytes that can be had without swapping; UINT64_MAX if nobody knows */
uint64_t bench_memory_available(void);

/** bench_module_is_dense() - was bitnet.ko told to read weights also where they cannot matter? */
bool bench_module_is_dense(void);

/** struct bench_cpu_time - seconds of all CPUs since the machine started */
struct bench_cpu_time {
	double busy, stolen, total;
	double own;			/* of this process and the children it waited for */
};

bool bench_cpu_time(struct bench_cpu_time *t);

/**
 * bench_team() - run @work on several threads at once
 * @work:	called with @arg and the number of the thread, 0 .. @threads - 1
 *
 * Return: seconds from the first one's start to the last one's end; negative if there are no such
 * threads to be had.
 */
double bench_team(unsigned int threads, void (*work)(void *arg, unsigned int thread), void *arg);

/* ---- its limits: bench_machine.c ------------------------------------------------------------- */

/**
 * struct bench_limits - what all else is measured against
 * @buffer:	memory that is read, and the weights of the products; in huge pages where there are
 * @huge_bytes:	of it, in huge pages
 * @threads:	as many as the engine has
 * @hot_bytes:	of a model that fits into the caches; 0: it does not
 * @ops:	variant whose instructions the peak is of
 * @read_one, @read_all, @read_hot: GB/s of one thread and of all, and of all from the caches
 * @peak_one, @peak_all: 10^9 int8 multiply-adds a second
 */
struct bench_limits {
	struct bitnet_image buffer;
	uint64_t huge_bytes;
	unsigned int threads;
	uint64_t hot_bytes;
	const struct bn_ops *ops;
	struct series read_one, read_all, read_hot, peak_one, peak_all;
};

/** struct bench_now - the limits at this moment, with all threads */
struct bench_now {
	double read;			/* GB/s from where the model is */
	double stream;			/* GB/s from memory */
	double peak;			/* GMAC/s */
};

/** bench_peak_name() - the instructions of the peak */
const char *bench_peak_name(const struct bn_ops *ops);

/** bench_limits_open() - get and fill @bytes of memory; the other fields are the caller's */
int bench_limits_open(struct bench_limits *l, uint64_t bytes, struct bitnet_error *err);
/** bench_limits_measure() - the best of a few tries each: whatever disturbs makes them lower */
int bench_limits_measure(struct bench_limits *l, struct bench_now *now, struct bitnet_error *err);
void bench_limits_close(struct bench_limits *l);

/* ---- products: bench_gemv.c ------------------------------------------------------------------ */

/**
 * struct bench_gemv - products of one shape with one row of activations, streamed from memory
 * @matrix:	what the model calls it
 * @rows, @cols: its shape
 * @packing:	BN_T2, BN_T1
 * @by_column:	its lines are columns
 * @every:	one line of so many is wanted, as with a sparse input
 */
struct bench_gemv {
	const char *matrix;
	uint32_t rows, cols;
	uint32_t packing;
	bool by_column;
	unsigned int every;
};

/**
 * bench_gemv_run() - go through all of the buffer once, or as far as half a second reaches
 *
 * Return: GB/s of weights wanted, or a negative errno.
 */
double bench_gemv_run(const struct bench_limits *l, const struct bench_gemv *g,
		      struct bitnet_error *err);

/* ---- a model in an engine: bench_engine.c ---------------------------------------------------- */

/**
 * struct bench_engine - an engine with the model in it
 * @options:	that it was opened with; children open their own with them
 * @image:	the model, or NULL if only the device has it
 * @shared:	name of the shared model, or NULL
 * @vocab, @seed: tokens of prompts are random ones
 * @session:	for one conversation, @ctx tokens long
 * @sessions:	for many
 */
struct bench_engine {
	struct bitnet_engine *engine;
	struct bitnet_engine_options options;
	const struct bitnet_image *image;
	const char *shared;
	uint32_t model;
	uint32_t vocab;
	uint64_t seed;
	uint32_t session, sessions[BENCH_MAX_SESSIONS];
	uint32_t token[BENCH_MAX_TOKENS + 1];	/* what decode fed last, and what came of it */
	unsigned int n_token;
};

/**
 * struct bench_speed - what a measurement gave
 * @seconds:	of a token; of several sessions: divided by what all made
 * @bytes:	weights read for a token, as the engine counts them; 0: it does not
 */
struct bench_speed {
	double seconds, bytes;
};

/** bench_decode() - make @tokens tokens with what the session holds before, @past */
int bench_decode(struct bench_engine *b, uint32_t past, uint32_t tokens, struct bench_speed *speed,
		 struct bitnet_error *err);

/**
 * bench_layers() - the very steps of the last bench_decode() from an empty session, without logits
 *
 * They are SCORE jobs of one token each, which is not scored for want of one before it.
 */
int bench_layers(struct bench_engine *b, struct bench_speed *speed, struct bitnet_error *err);

/** bench_prefill() - read a prompt of @tokens into the empty session: time to the first token */
int bench_prefill(struct bench_engine *b, uint32_t tokens, struct bench_speed *speed,
		  struct bitnet_error *err);

/** bench_batch() - @n sessions, @tokens tokens each, together */
int bench_batch(struct bench_engine *b, unsigned int n, uint32_t tokens, struct bench_speed *speed,
		struct bitnet_error *err);

/** bench_processes() - the same with a process, an engine and a model handle for each session */
int bench_processes(struct bench_engine *b, unsigned int n, uint32_t tokens,
		    struct bench_speed *speed, struct bitnet_error *err);

/* ---- all of it: cmd_bench.c, told by bench_report.c ------------------------------------------ */

struct bench;

/* What --only names */
enum bench_item { ITEM_GEMV, ITEM_DECODE, ITEM_HEAD, ITEM_DENSE, ITEM_CONTEXT, ITEM_PREFILL,
		  ITEM_BATCH, BENCH_ITEMS };

enum bench_unit { UNIT_GBPS, UNIT_TOKENS_PER_S, UNIT_MS };

/* What a speed is compared with; LIMIT_NEARER becomes one of the others in the first run */
enum bench_limit { LIMIT_READ, LIMIT_INT8, LIMIT_NEARER };

/**
 * struct bench_rate - what one measurement gave
 * @value:	in the row's unit; 0: nothing that means anything
 * @bytes:	weights read for a token
 * @gb_per_s:	of weights
 * @gmac_per_s:	of the ternary matrices, as if none of them was left out
 */
struct bench_rate {
	double value, bytes, gb_per_s, gmac_per_s;
};

/**
 * struct bench_row - one measurement
 * @name:	for programs
 * @label:	for people
 * @measure:	does it once
 * @gemv:	of a product: which
 * @sessions:	of a batch: how many
 * @limit:	what it runs against
 * @value, @ratio, @bytes: of each run; no @ratio where there is nothing to compare
 */
struct bench_row {
	const char *name;
	char label[48];
	int (*measure)(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
		       struct bitnet_error *err);
	struct bench_gemv gemv;
	unsigned int sessions;
	enum bench_unit unit;
	enum bench_limit limit;
	struct series value, ratio, bytes;
};

/**
 * struct bench_sizes - what a token needs, from the model's shape
 * @macs:	of the ternary matrices
 * @layers:	bytes of them, in the model's packing
 * @ffn:	of these, up and down: what sparsity can leave out
 * @head:	bytes of the head, as f16
 */
struct bench_sizes {
	double macs, layers, ffn, head;
};

/**
 * struct bench - one call of the verb
 * @counted:	the engine counts the weights that it reads
 * @uncounted:	bytes of the head, if it counts those of the matrices alone; else 0
 * @last_decode, @last_layers: what the head is the difference of
 */
struct bench {
	uint32_t runs, tokens, prompt, context;
	bool processes, quick, counted;
	struct bench_machine machine;
	struct model model;
	struct bench_limits limits;
	struct bench_sizes sizes;
	double uncounted;
	struct bench_engine normal, dense, past;
	struct bench_speed last_decode, last_layers;
	struct bench_row rows[BENCH_MAX_ROWS];
	unsigned int n_rows;
	char notes[BENCH_MAX_NOTES][160];
	unsigned int n_notes;
};

void bench_print(const struct bench *b);
json_t *bench_json(const struct bench *b);

#endif

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* packing.c - see packing.h */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bn_ops.h"
#include "cpu.h"
#include "packing.h"

#define CACHE_BYTES	(32ULL << 20)	/* models below that are not measured */
/* Beyond what most last-level caches hold of it. With 512 MiB the tool died in User Mode Linux. */
#define STREAM_BYTES	(128ULL << 20)
#define MAX_THREADS	16
#define ROUNDS		5
#define COLS		2560		/* whole blocks of both packings */

struct stream {
	const struct bn_ops *ops;
	uint8_t *weights;
	uint64_t bytes;
	unsigned int n_threads;		/* known when @gate opens */
	bool streams;
	pthread_mutex_t gate;
	pthread_barrier_t barrier;
};

struct member {
	struct stream *stream;
	unsigned int number;
	pthread_t thread;
	struct {
		int8_t x[COLS];
		int32_t y[BN_SECTION_BYTES / BN_BLOCK_BYTES];
		uint8_t tmp[BN_TMP_BYTES];
	} *memory;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One pass over this member's part of the weights, in pieces as a step takes them */
static void pass(struct member *m, enum bn_packing packing)
{
	struct stream *s = m->stream;
	const uint32_t row_bytes = bn_line_bytes(packing, COLS);
	const uint32_t rows = BN_SECTION_BYTES / row_bytes / BN_PARTS * BN_PARTS;
	const uint64_t part = s->bytes / s->n_threads / BN_PARTS / row_bytes * row_bytes;
	const int32_t x_sum = 0;
	struct bn_product p = {
		.y = m->memory->y, .y_stride = rows / BN_PARTS, .line_bytes = row_bytes,
		.blocks = row_bytes / BN_BLOCK_BYTES, .n = rows, .x = m->memory->x,
		.x_stride = COLS, .x_sum = &x_sum, .batch = 1, .tmp = m->memory->tmp,
	};

	for (uint64_t at = 0; BN_PARTS * at + rows * row_bytes <= BN_PARTS * part;
	     at += rows / BN_PARTS * row_bytes) {
		p.w = s->weights + (m->number * part + at) * BN_PARTS;
		for (uint32_t k = 0; s->streams && k < BN_PARTS; k++)
			p.part[k] = s->weights + (m->number * BN_PARTS + k) * part + at;
		s->ops->linear[packing](&p);
	}
}

/* The first member measures: weights for each nanosecond, of either packing, the best of all rounds */
static void rounds(struct member *m, double *rate)
{
	for (int i = 0; i < ROUNDS * BN_PACKINGS; i++) {
		enum bn_packing packing = i % BN_PACKINGS;
		uint64_t start;
		double r;

		pthread_barrier_wait(&m->stream->barrier);
		start = now_ns();
		pass(m, packing);
		pthread_barrier_wait(&m->stream->barrier);
		r = (double)m->stream->bytes / BN_BLOCK_BYTES * bn_block_cols(packing) /
		    (double)(now_ns() - start + 1);
		if (rate && r > rate[packing])
			rate[packing] = r;
	}
}

static void *member(void *arg)
{
	struct member *m = arg;

	pthread_mutex_lock(&m->stream->gate);
	pthread_mutex_unlock(&m->stream->gate);
	rounds(m, NULL);
	return NULL;
}

static void measure(struct stream *s, struct member *members, double *rate)
{
	unsigned int n = 1;

	pthread_mutex_init(&s->gate, NULL);
	pthread_mutex_lock(&s->gate);
	while (n < s->n_threads &&
	       !pthread_create(&members[n].thread, NULL, member, &members[n]))
		n++;
	/* Fewer threads than wanted are as good. */
	s->n_threads = n;
	pthread_barrier_init(&s->barrier, NULL, n);
	pthread_mutex_unlock(&s->gate);
	rounds(&members[0], rate);
	for (unsigned int i = 1; i < n; i++)
		pthread_join(members[i].thread, NULL);
	pthread_barrier_destroy(&s->barrier);
	pthread_mutex_destroy(&s->gate);
}

enum bn_packing bitnet_packing_faster(uint64_t weight_bytes)
{
	struct stream s = { .ops = bn_variant_find("fastest", bitnet_cpu_mask()), .n_threads = 1,
			    .streams = bn_likes_streams() };
	struct member members[MAX_THREADS] = { 0 };
	double rate[BN_PACKINGS] = { 0 };
	bool ready = true;
	cpu_set_t cpus;

	if (weight_bytes < CACHE_BYTES)
		return BN_T2;
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		s.n_threads = CPU_COUNT(&cpus) < MAX_THREADS ? CPU_COUNT(&cpus) : MAX_THREADS;
	s.bytes = weight_bytes < STREAM_BYTES ? weight_bytes : STREAM_BYTES;
	s.weights = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (s.weights == MAP_FAILED)
		return BN_T2;
	madvise(s.weights, s.bytes, MADV_HUGEPAGE);
	memset(s.weights, 0x55, s.bytes);
	for (unsigned int i = 0; i < s.n_threads; i++) {
		size_t bytes = bn_round_up(sizeof(*members[i].memory), 64);

		members[i].stream = &s;
		members[i].number = i;
		members[i].memory = aligned_alloc(64, bytes);
		if (members[i].memory)
			memset(members[i].memory, 0, bytes);
		ready &= members[i].memory != NULL;
	}
	if (ready)
		measure(&s, members, rate);
	for (unsigned int i = 0; i < MAX_THREADS; i++)
		free(members[i].memory);
	munmap(s.weights, s.bytes);
	return rate[BN_T1] > rate[BN_T2] ? BN_T1 : BN_T2;
}

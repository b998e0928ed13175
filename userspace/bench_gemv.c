// SPDX-License-Identifier: GPL-2.0
/* bench_gemv.c - ternary products whose weights come from memory, in pieces as the engine's */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define MOST_NS		500000000ULL	/* enough of a variant that is slow */

/* What a thread needs for itself */
struct room {
	int32_t *y;
	void *tmp;
	const uint8_t **list;		/* of rows here and there: their addresses */
};

struct products {
	const struct bn_ops *ops;
	const struct bench_gemv *shape;
	const uint8_t *base;
	struct bn_product product;	/* all but what a thread and a piece add to it */
	uint64_t matrix_bytes, n_matrices;
	uint32_t wanted, piece;		/* lines of a matrix, and of a call */
	bool streams;			/* asked for once: it may take microseconds */
	uint32_t *index;		/* of lines here and there, or in turns; or NULL */
	struct room *rooms;
	uint64_t next, done;		/* atomic: matrix to take, and how many there were */
	uint64_t end_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * As a step does it: of lines that are all wanted, those of BN_PARTS parts at once if this CPU
 * likes that, and the variant, if they are columns; else one behind the other.
 */
static void one_matrix(const struct products *p, const uint8_t *w, const struct room *room)
{
	struct bn_product q = p->product;

	q.tmp = room->tmp;
	q.w = w;
	for (uint32_t i = 0; room->list && i < p->wanted; i++)
		room->list[i] = w + (size_t)p->index[i] * q.line_bytes;
	for (uint32_t at = 0; at < p->wanted; at += p->piece) {
		q.n = p->wanted - at < p->piece ? p->wanted - at : p->piece;
		q.ahead = p->wanted - at - q.n;
		q.y = room->y + (p->shape->by_column ? 0 : at);
		q.list = room->list ? room->list + at : NULL;
		q.index = p->index ? p->index + at : NULL;
		if (!p->index)
			q.w = w + (size_t)at * q.line_bytes;
		if (p->shape->by_column) {
			q.x = p->product.x + (p->index ? 0 : at);
			p->ops->columns[p->shape->packing](&q);
			continue;
		}
		if (!p->index && p->streams) {
			q.y = room->y + at / BN_PARTS;
			q.y_stride = p->wanted / BN_PARTS;
			for (uint32_t k = 0; k < BN_PARTS; k++)
				q.part[k] = w + (size_t)(k * p->wanted + at) / BN_PARTS *
						q.line_bytes;
		}
		p->ops->linear[p->shape->packing](&q);
	}
}

static void multiply(void *arg, unsigned int thread)
{
	struct products *p = arg;
	uint64_t i;

	do {
		i = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
		if (i >= p->n_matrices)
			break;
		one_matrix(p, p->base + i * p->matrix_bytes, &p->rooms[thread]);
		__atomic_fetch_add(&p->done, 1, __ATOMIC_RELAXED);
	} while (now_ns() < p->end_ns);
}

/* 64-byte aligned and zero */
static void *zeroed(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) & ~63ULL);

	return p ? memset(p, 0, (bytes + 63) & ~63ULL) : NULL;
}

static void free_products(struct products *p, unsigned int threads)
{
	for (unsigned int t = 0; p->rooms && t < threads; t++) {
		free(p->rooms[t].y);
		free(p->rooms[t].tmp);
		free(p->rooms[t].list);
	}
	free(p->rooms);
	free(p->index);
	free((void *)p->product.x);
}

static int make_products(struct products *p, const struct bench_limits *l,
			 const struct bench_gemv *g)
{
	static int32_t x_sum;
	uint32_t weights = g->by_column ? g->rows : g->cols;
	uint32_t lines = g->by_column ? g->cols : g->rows;
	uint32_t line_bytes = bn_line_bytes(g->packing, weights);
	size_t n_x = bn_cols_pad(g->cols), n_y = bn_cols_pad(g->rows);
	bool listed = g->every > 1, rows = listed && !g->by_column, turns, indexed;
	int8_t *x = zeroed(n_x);

	*p = (struct products){
		.ops = l->ops, .shape = g, .base = l->buffer.base,
		.matrix_bytes = (uint64_t)line_bytes * lines,
		.wanted = lines / g->every / BN_PARTS * BN_PARTS,
		.piece = BN_SECTION_BYTES / line_bytes / BN_PARTS * BN_PARTS,
		.streams = bn_likes_streams(),
		.product = { .y_stride = n_y, .line_bytes = line_bytes,
			     .blocks = line_bytes / BN_BLOCK_BYTES, .x = x, .x_stride = n_x,
			     .x_sum = &x_sum, .batch = 1 },
	};
	p->piece = p->piece ? p->piece : BN_PARTS;
	turns = !listed && g->by_column && p->streams && l->ops->parted_columns;
	indexed = listed || turns;
	p->n_matrices = l->buffer.length / p->matrix_bytes;
	p->end_ns = now_ns() + MOST_NS;
	p->rooms = calloc(l->threads, sizeof(*p->rooms));
	p->index = indexed ? calloc(lines, sizeof(*p->index)) : NULL;
	if (!p->n_matrices || !x || !p->rooms || (indexed && !p->index))
		return -ENOMEM;
	for (uint32_t i = 0; i < g->cols; i++)
		x[i] = i * 37 % 255 - 127;
	/* somewhere in each group, so that no prefetcher of the CPU guesses it */
	for (uint32_t i = 0; listed && i < p->wanted; i++)
		p->index[i] = i * g->every + i * 2654435761U / 65536 % g->every;
	for (uint32_t i = 0; turns && i < p->wanted; i++)
		p->index[i] = i % BN_PARTS * (p->wanted / BN_PARTS) + i / BN_PARTS;
	for (unsigned int t = 0; t < l->threads; t++) {
		p->rooms[t].y = zeroed(n_y * sizeof(int32_t));
		p->rooms[t].tmp = zeroed(BN_TMP_BYTES);
		p->rooms[t].list = rows ? calloc(lines, sizeof(*p->rooms[t].list)) : NULL;
		if (!p->rooms[t].y || !p->rooms[t].tmp || (rows && !p->rooms[t].list))
			return -ENOMEM;
	}
	return 0;
}

double bench_gemv_run(const struct bench_limits *l, const struct bench_gemv *g,
		      struct bitnet_error *err)
{
	struct products p;
	double seconds = 0, bytes = 0;
	int ret = make_products(&p, l, g);

	if (ret) {
		bitnet_error_set(err, ret, "no memory for a product of %u x %u", g->rows, g->cols);
	} else {
		seconds = bench_team(l->threads, multiply, &p);
		bytes = (double)p.done * p.wanted * p.product.line_bytes;
		if (seconds <= 0)
			ret = bitnet_error_set(err, EAGAIN, "cannot start %u threads", l->threads);
	}
	free_products(&p, l->threads);
	return ret ? ret : bytes / seconds / 1e9;
}

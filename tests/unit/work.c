// SPDX-License-Identifier: GPL-2.0
/*
 * Handing out tiles to many threads: each once, no phase before the one in front of it is done
 */
#include <pthread.h>
#include <stdint.h>

#include "bn_step_priv.h"
#include "bn_work.h"
#include "tap.h"

#define THREADS		8
#define LAYERS		20
#define ROUNDS		300
#define MAX_TILES	40

static struct bn_model model = { .n_layers = LAYERS };
static struct bn_scratch scratch;
static struct bn_step step = { .model = &model, .scratch = &scratch };
static struct bn_work work;

/* What tiles leave behind; plain memory, so that the thread sanitizer sees a missing barrier. */
static unsigned int sum[1 + LAYERS * BN_LAYER_PHASES + BN_HEAD_PHASES][MAX_TILES];
static unsigned int wrong, finished, waits;
static pthread_barrier_t barrier;
static unsigned int stop_after;		/* tiles, 0: never */
static unsigned int claimed;
static unsigned int stop_done;		/* bn_work_stop() has returned */
static unsigned int late;		/* tiles that were given out to who asked after that */

/* Each tile of a phase sums up the phase before, and so checks that it was complete. */
static void compute(uint32_t phase, uint32_t tile)
{
	unsigned int n = phase ? bn_step_tiles(&step, phase - 1) : 0;

	for (unsigned int i = 0; i < n; i++)
		if (sum[phase - 1][i] != phase)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	if (sum[phase][tile])
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	sum[phase][tile] = phase + 1;
}

static void take_part(void)
{
	uint32_t phase, tile;

	for (;;) {
		unsigned int asked_late = __atomic_load_n(&stop_done, __ATOMIC_ACQUIRE);

		switch (bn_work_claim(&work, &phase, &tile)) {
		case BN_CLAIM_TILE:
			compute(phase, tile);
			__atomic_fetch_add(&late, asked_late, __ATOMIC_RELAXED);
			if (__atomic_add_fetch(&claimed, 1, __ATOMIC_RELAXED) == stop_after) {
				bn_work_stop(&work);
				__atomic_store_n(&stop_done, 1, __ATOMIC_RELEASE);
			}
			if (bn_work_done(&work, phase) == BN_DONE_STEP)
				__atomic_fetch_add(&finished, 1, __ATOMIC_RELAXED);
			break;
		case BN_CLAIM_WAIT:
			__atomic_fetch_add(&waits, 1, __ATOMIC_RELAXED);
			break;
		case BN_CLAIM_END:
			return;
		}
	}
}

static void *thread(void *arg)
{
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		take_part();
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void prepare(unsigned int round)
{
	memset(sum, 0, sizeof(sum));
	for (unsigned int kind = 0; kind < BN_PHASE_KINDS; kind++)
		scratch.tiles[kind] = 1 + (round * 7 + kind * 11) % MAX_TILES;
	step.n_phases = 1 + LAYERS * BN_LAYER_PHASES + BN_HEAD_PHASES;
	stop_after = round % 5 == 4 ? 1 + round * 13 % 2000 : 0;
	claimed = finished = stop_done = 0;
	bn_work_start(&work, &step, 0, step.n_phases);
}

int main(void)
{
	pthread_t threads[THREADS];
	unsigned int whole = 0, complete = 0, stopped = 0, twice = 0;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, NULL);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int tiles = 0;

		prepare(round);
		for (uint32_t p = 0; p < step.n_phases; p++)
			tiles += bn_step_tiles(&step, p);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		if (stop_after && stop_after < tiles) {
			stopped++;
			twice += finished > 1;
			continue;
		}
		whole++;
		complete += claimed == tiles && finished == 1 &&
			    bn_work_phase(&work) == step.n_phases;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	is(wrong, 0, "every tile once, and after the whole phase before");
	is(complete, whole, "%u steps: all tiles done, and one worker was told so", whole);
	ok(stopped > 10, "%u steps were stopped", stopped);
	is(twice, 0, "none of them was finished twice");
	is(late, 0, "nothing was claimed after that");
	diag("%u polls", waits);

	/* One worker alone, and one that looks in after the end. */
	prepare(0);
	take_part();
	is(finished, 1, "alone");
	{
		uint32_t phase, tile;

		is(bn_work_claim(&work, &phase, &tile), BN_CLAIM_END, "nothing after the end");
	}
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* crew.c - see crew.h */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "crew.h"

/*
 * Times to spin before sleeping, in pauses of about 60 ns: for another's last tile, which takes up
 * to 20 us; and for the next step, which follows as soon as the results are taken. A futex wake-up
 * takes 5 us natively and ten times that in a virtual machine.
 */
#define SPIN_PHASE	1000
#define SPIN_STEP	1000

/* The door: who is inside with the step, and whether it is open. */
#define DOOR_OPEN	(1U << 31)

struct bitnet_crew {
	uint8_t *buffers;		/* BN_TILE_BYTES for the leader and each thread */
	uint32_t n_begun;		/* threads that have taken their number; atomic */
	struct bn_work work;
	struct bn_step *step;
	struct bitnet_crew_cost cost;	/* atomic */
	uint32_t door __attribute__((aligned(64)));	/* DOOR_OPEN and members inside; atomic */
	uint32_t round;			/* steps announced; atomic */
	uint32_t quit;			/* atomic */
	struct bitnet_event announced;	/* @round or @quit changed */
	struct bitnet_event opened;	/* a phase was opened, or the step stopped */
	struct bitnet_event left;	/* the last member left after the door was closed */
	unsigned int n_threads;
	pthread_t threads[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- events ---------------------------------------------------------------------------------- */

void bitnet_event_post(struct bitnet_event *e)
{
	/*
	 * A full barrier, as is the one of prepare(): either we see the sleeper or it sees the
	 * change.
	 */
	__atomic_fetch_add(&e->seq, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&e->sleepers, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &e->seq, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

uint32_t bitnet_event_prepare(struct bitnet_event *e)
{
	__atomic_fetch_add(&e->sleepers, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&e->seq, __ATOMIC_SEQ_CST);
}

void bitnet_event_cancel(struct bitnet_event *e)
{
	__atomic_fetch_sub(&e->sleepers, 1, __ATOMIC_SEQ_CST);
}

int bitnet_event_sleep(struct bitnet_event *e, uint32_t prepared, int64_t timeout_ns)
{
	struct timespec ts = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
	int ret = 0;

	if (syscall(SYS_futex, &e->seq, FUTEX_WAIT_PRIVATE, prepared, timeout_ns < 0 ? NULL : &ts,
		    NULL, 0))
		ret = errno == EINTR || errno == ETIMEDOUT ? -errno : 0;
	bitnet_event_cancel(e);
	return ret;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static bool stopped(struct bitnet_crew *crew)
{
	return __atomic_load_n(&crew->work.stop, __ATOMIC_SEQ_CST);
}

/* All tiles of @phase are taken: wait until there is another phase. */
static void wait_for_phase(struct bitnet_crew *crew, uint32_t phase)
{
	uint32_t prepared;

	for (int i = 0; i < SPIN_PHASE; i++) {
		if (bn_work_phase(&crew->work) != phase || stopped(crew))
			return;
		relax();
	}
	prepared = bitnet_event_prepare(&crew->opened);
	if (bn_work_phase(&crew->work) != phase || stopped(crew))
		bitnet_event_cancel(&crew->opened);
	else
		bitnet_event_sleep(&crew->opened, prepared, -1);
}

/* Take part in the step until there is nothing left to take. */
static void work(struct bitnet_crew *crew, void *buffer)
{
	struct bn_work *w = &crew->work;
	uint64_t start = now_ns();
	uint32_t open, phase, tile, cursor;

	for (;;) {
		/* Read before the claim: a phase opened after it must not be slept through. */
		open = bn_work_phase(w);
		switch (bn_work_claim(w, &phase, &tile)) {
		case BN_CLAIM_TILE:
			cursor = 0;
			while (bn_step_tile(crew->step, phase, tile, &cursor, buffer))
				;
			bn_work_done(w, phase);
			if (bn_work_phase(w) != phase)
				bitnet_event_post(&crew->opened);
			break;
		case BN_CLAIM_WAIT:
			wait_for_phase(crew, open);
			break;
		case BN_CLAIM_END:
			__atomic_fetch_add(&crew->cost.busy_ns, now_ns() - start, __ATOMIC_RELAXED);
			__atomic_fetch_add(&crew->cost.weight_bytes, bn_tile_weight_bytes(buffer),
					   __ATOMIC_RELAXED);
			return;
		}
	}
}

/* ---- threads --------------------------------------------------------------------------------- */

static bool enter(struct bitnet_crew *crew)
{
	uint32_t door = __atomic_load_n(&crew->door, __ATOMIC_RELAXED);

	/* The acquire pairs with the release in bitnet_crew_run(): step and work are set. */
	while (door & DOOR_OPEN)
		if (__atomic_compare_exchange_n(&crew->door, &door, door + 1, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

static void leave(struct bitnet_crew *crew)
{
	/* The release pairs with the acquire of bitnet_crew_run(): we are done with the step. */
	if (__atomic_sub_fetch(&crew->door, 1, __ATOMIC_ACQ_REL) == 0)
		bitnet_event_post(&crew->left);
}

static bool nothing_new(struct bitnet_crew *crew, uint32_t round)
{
	return __atomic_load_n(&crew->round, __ATOMIC_SEQ_CST) == round &&
	       !__atomic_load_n(&crew->quit, __ATOMIC_SEQ_CST);
}

static void *member(void *arg)
{
	struct bitnet_crew *crew = arg;
	uint32_t number = __atomic_add_fetch(&crew->n_begun, 1, __ATOMIC_RELAXED);
	void *buffer = crew->buffers + (size_t)number * BN_TILE_BYTES;
	uint32_t round = 0, prepared;

	while (!__atomic_load_n(&crew->quit, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < SPIN_STEP && nothing_new(crew, round); i++)
			relax();
		if (nothing_new(crew, round)) {
			prepared = bitnet_event_prepare(&crew->announced);
			if (nothing_new(crew, round))
				bitnet_event_sleep(&crew->announced, prepared, -1);
			else
				bitnet_event_cancel(&crew->announced);
			continue;
		}
		round = __atomic_load_n(&crew->round, __ATOMIC_ACQUIRE);
		if (enter(crew)) {
			work(crew, buffer);
			leave(crew);
		}
	}
	return NULL;
}

struct bitnet_crew *bitnet_crew_create(unsigned int threads)
{
	struct bitnet_crew *crew;
	sigset_t all, old;
	size_t bytes;
	int error = 0;

	if (!threads || threads > BITNET_CREW_MAX) {
		errno = EINVAL;
		return NULL;
	}
	bytes = sizeof(*crew) + (threads - 1) * sizeof(crew->threads[0]);
	crew = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (!crew) {
		errno = ENOMEM;
		return NULL;
	}
	memset(crew, 0, bytes);
	crew->buffers = aligned_alloc(64, (size_t)threads * BN_TILE_BYTES);
	if (!crew->buffers) {
		free(crew);
		errno = ENOMEM;
		return NULL;
	}
	memset(crew->buffers, 0, (size_t)threads * BN_TILE_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!error && crew->n_threads < threads - 1) {
		error = pthread_create(&crew->threads[crew->n_threads], NULL, member, crew);
		crew->n_threads += !error;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		bitnet_crew_destroy(crew);
		errno = error;
		return NULL;
	}
	return crew;
}

void bitnet_crew_destroy(struct bitnet_crew *crew)
{
	if (!crew)
		return;
	__atomic_store_n(&crew->quit, 1, __ATOMIC_SEQ_CST);
	bitnet_event_post(&crew->announced);
	while (crew->n_threads)
		pthread_join(crew->threads[--crew->n_threads], NULL);
	free(crew->buffers);
	free(crew);
}

static bool empty(struct bitnet_crew *crew)
{
	return !(__atomic_load_n(&crew->door, __ATOMIC_ACQUIRE) & ~DOOR_OPEN);
}

static void wait_until_empty(struct bitnet_crew *crew)
{
	uint32_t prepared;

	for (int i = 0; i < SPIN_PHASE && !empty(crew); i++)
		relax();
	while (!empty(crew)) {
		prepared = bitnet_event_prepare(&crew->left);
		if (empty(crew))
			bitnet_event_cancel(&crew->left);
		else
			bitnet_event_sleep(&crew->left, prepared, -1);
	}
}

void bitnet_crew_begin(struct bitnet_crew *crew, struct bn_step *step)
{
	bn_work_start(&crew->work, step, 0, step->n_phases);
	crew->step = step;
}

bool bitnet_crew_run(struct bitnet_crew *crew, struct bitnet_crew_cost *cost)
{
	bool finished;

	__atomic_store_n(&crew->cost.busy_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&crew->cost.weight_bytes, 0, __ATOMIC_RELAXED);
	if (crew->n_threads) {
		__atomic_store_n(&crew->door, DOOR_OPEN, __ATOMIC_RELEASE);
		__atomic_fetch_add(&crew->round, 1, __ATOMIC_SEQ_CST);
		bitnet_event_post(&crew->announced);
	}
	work(crew, crew->buffers);
	__atomic_fetch_and(&crew->door, ~DOOR_OPEN, __ATOMIC_ACQ_REL);
	wait_until_empty(crew);
	finished = bn_work_phase(&crew->work) >= crew->step->n_phases;
	if (cost) {
		cost->busy_ns = __atomic_load_n(&crew->cost.busy_ns, __ATOMIC_RELAXED);
		cost->weight_bytes = __atomic_load_n(&crew->cost.weight_bytes, __ATOMIC_RELAXED);
	}
	return finished;
}

void bitnet_crew_stop(struct bitnet_crew *crew)
{
	bn_work_stop(&crew->work);
	bitnet_event_post(&crew->opened);
}

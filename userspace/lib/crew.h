/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * crew.h - threads that compute steps together; the local engine's counterpart of the module's
 * workers
 */
#ifndef BITNET_LIB_CREW_H
#define BITNET_LIB_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "bn_work.h"

#define BITNET_CREW_MAX	256

/**
 * struct bitnet_event - sleeping until something has changed, with a futex
 * @seq:	counts changes; atomic
 * @sleepers:	who may be asleep; atomic
 */
struct bitnet_event {
	uint32_t seq;
	uint32_t sleepers;
};

/** bitnet_event_post() - what was stored before is a change: wake all. Async-signal-safe */
void bitnet_event_post(struct bitnet_event *e);

/**
 * bitnet_event_prepare() - about to sleep
 *
 * The caller then looks once more whether there is a reason to, and ends with either
 * bitnet_event_sleep() or bitnet_event_cancel(). A change between the look and the sleep is not
 * missed.
 * Return: what bitnet_event_sleep() wants.
 */
uint32_t bitnet_event_prepare(struct bitnet_event *e);

/**
 * bitnet_event_sleep() - sleep until there is a change, a signal or the time is over
 * @timeout_ns:	negative: for ever
 * Return: 0 (also without reason), -EINTR or -ETIMEDOUT.
 */
int bitnet_event_sleep(struct bitnet_event *e, uint32_t prepared, int64_t timeout_ns);
void bitnet_event_cancel(struct bitnet_event *e);

struct bitnet_crew;

/**
 * bitnet_crew_create() - start @threads - 1 threads; who calls bitnet_crew_run() is the last one
 *
 * They block all signals, spin for some microseconds when there is nothing to do, and then sleep.
 * Return: the crew, or NULL with errno set.
 */
struct bitnet_crew *bitnet_crew_create(unsigned int threads);

/** bitnet_crew_destroy() - end the threads; no run may be going on. @crew may be NULL */
void bitnet_crew_destroy(struct bitnet_crew *crew);

/**
 * bitnet_crew_begin() - the step that the next bitnet_crew_run() computes; bn_step_begin() has
 * accepted it
 *
 * From here on bitnet_crew_stop() means this step.
 */
void bitnet_crew_begin(struct bitnet_crew *crew, struct bn_step *step);

/**
 * struct bitnet_crew_cost - what a step has cost
 * @busy_ns:	time that all threads together spent with it
 * @weight_bytes: weights that they read
 */
struct bitnet_crew_cost {
	uint64_t busy_ns, weight_bytes;
};

/**
 * bitnet_crew_run() - compute the step
 * @cost:	out; may be NULL
 *
 * When it returns no thread touches the step any more. One run at a time.
 * Return: true if the step is finished, false if bitnet_crew_stop() came first.
 */
bool bitnet_crew_run(struct bitnet_crew *crew, struct bitnet_crew_cost *cost);

/** bitnet_crew_stop() - abandon the step that was begun last, if it is not over; from any thread */
void bitnet_crew_stop(struct bitnet_crew *crew);

#endif /* BITNET_LIB_CREW_H */

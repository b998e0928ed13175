/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_work.h - handing the tiles of a step to however many workers come, without locks
 *
 * One 64-bit word holds {phase, next tile}; workers claim tiles by adding to it. Whoever finishes
 * the last tile of a phase opens the next. A worker that is late, preempted or never comes holds up
 * nobody longer than the tile it has claimed.
 *
 * What it does not do is count workers: before a step's memory is used for the next one, the caller
 * makes sure that everyone who may still look at @step has left.
 */
#ifndef BN_WORK_H
#define BN_WORK_H

#include "bn_step.h"

struct bn_work {
	u64 next __attribute__((aligned(64)));	/* phase << 32 | next tile; atomic */
	u32 done __attribute__((aligned(64)));	/* tiles of the phase that are finished; atomic */
	u32 stop;				/* abandon: claim nothing more; atomic */
	u32 until;				/* phase that is not opened until it is asked for */
	const struct bn_step *step;
};

enum bn_claim {
	BN_CLAIM_TILE,		/* *phase and *tile are yours: compute, then bn_work_done() */
	BN_CLAIM_WAIT,		/* nothing is left of this phase, and the next is not open */
	BN_CLAIM_END,		/* the step is finished or abandoned */
};

/**
 * bn_work_start() - open phase @phase; before any worker sees @w. No FPU
 * @until:	the first phase behind @phase that is to wait for bn_work_extend(); n_phases: none
 */
void bn_work_start(struct bn_work *w, const struct bn_step *s, u32 phase, u32 until);

/**
 * bn_work_extend() - open the phase that waits, as far as the one before @until
 *
 * By whoever got BN_DONE_PAUSED, before he leaves the step. No FPU.
 */
void bn_work_extend(struct bn_work *w, u32 until);

/** bn_work_claim() - get a tile. Any number of callers at once. No FPU */
enum bn_claim bn_work_claim(struct bn_work *w, u32 *phase, u32 *tile);

enum bn_done {
	BN_DONE_MORE,
	BN_DONE_PAUSED,		/* all before @until is finished; exactly one caller gets this */
	BN_DONE_STEP,		/* the whole step is finished; exactly one caller gets this */
};

/** bn_work_done() - a claimed tile is finished. No FPU */
enum bn_done bn_work_done(struct bn_work *w, u32 phase);

#define BN_WORK_PAUSED	0x80000000U

/**
 * bn_work_phase() - the phase that is open now; n_phases once the step is finished. No FPU
 *
 * While a phase waits to be opened, BN_WORK_PAUSED is set beside its number. For waking those who
 * sleep after BN_CLAIM_WAIT: when it differs from the phase of the tile just done, there is work
 * again.
 */
u32 bn_work_phase(const struct bn_work *w);

/**
 * bn_work_stop() - make every further claim return BN_CLAIM_END. No FPU
 *
 * Tiles that are claimed already are computed and done as usual, so the step may still finish.
 */
void bn_work_stop(struct bn_work *w);

#endif /* BN_WORK_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sched_machine.h - what the module's queue and workers do with the policy (kmod/core/bn_sched.h),
 * without a module: jobs that could run, the step in flight, and those that were put aside
 *
 * Time, costs and what jobs want are the caller's: random ones in tests/unit/sched_sim.c, those of
 * a module's trace in tests/device/replay.c.
 */
#ifndef TESTS_SUPPORT_SCHED_MACHINE_H
#define TESTS_SUPPORT_SCHED_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/bitnet.h>

#include "bn_sched.h"

#define MACHINE_CANDS	64

enum machine_state {
	MACHINE_AWAY,		/* not there, or refused */
	MACHINE_PREPARED,	/* accepted, and cannot run yet */
	MACHINE_READY,
	MACHINE_STEPPING,	/* in the step in flight, or in one that was put aside */
	MACHINE_OVER,
};

/**
 * struct machine_job - a job
 * @user:	number; @user_ns, @process_ns: what it and the process have attained
 * @wants, @decoding, @scores: see struct bn_sched_cand
 * @period, @release, @due: REALTIME
 */
struct machine_job {
	enum machine_state state;
	uint64_t id, user, period, release, due;
	uint32_t job_class, wants;
	bool decoding, scores;
	u64 *user_ns, *process_ns;
	struct bn_demand *demand;
};

/**
 * struct machine_step - rows of jobs
 * @layer:	that is next; that of the head is the number of layers
 */
struct machine_step {
	uint32_t n, rows, slots, layer;
	struct machine_job *job[MACHINE_CANDS];
	uint32_t granted[MACHINE_CANDS];
	enum bn_rank rank;
};

struct machine {
	uint32_t layers, n_jobs;
	struct machine_job *job;
	struct bn_costs costs;
	struct bn_sched sched;
	struct bn_demand demand[BN_SCHED_REALTIME];
	struct machine_step step, aside[BN_ASIDES];
};

/** machine_admit() - @j comes at @now, with its due time set, and is accepted or not */
enum bn_refusal machine_admit(struct machine *m, struct machine_job *j, uint64_t now,
			      uint64_t piece, uint64_t busy, u64 *load_ppm);

/** machine_piece() - worst cost of what comes next in the step in flight */
uint64_t machine_piece(const struct machine *m);

/** machine_yields() - must the step in flight wait, at @now? */
bool machine_yields(struct machine *m, uint64_t now);

/** machine_put_aside() - it does. Its REALTIME jobs are ready again */
void machine_put_aside(struct machine *m);

/** machine_account() - the step in flight has had @ns */
void machine_account(struct machine *m, uint64_t ns);

/**
 * machine_choose() - the next step, at @now
 *
 * Return: where it was put aside, or BN_ASIDE_NONE: then it is a new one, of m->step.n jobs, maybe
 * none.
 */
enum bn_aside machine_choose(struct machine *m, uint64_t now);

/** machine_token_time() - @j has got its token at @now: when the next is due. Was it late? */
bool machine_token_time(struct machine_job *j, uint64_t now);

#endif /* TESTS_SUPPORT_SCHED_MACHINE_H */

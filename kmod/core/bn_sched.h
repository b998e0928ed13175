/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_sched.h - which rows go into the next step: the policy, and nothing but the policy
 *
 * Pure functions over small arrays, so that it can be tested and replaced without a kernel.
 */
#ifndef BN_SCHED_H
#define BN_SCHED_H

#include "bn_types.h"

/**
 * struct bn_sched_cand - a job that could use rows now
 * @model:		jobs of one step share their model: an opaque key
 * @user:		opaque key of the user
 * @user_attained:	worker time that the user's jobs have got, ns, decayed or not: only compared
 * @job_attained:	the same for this job's process
 * @arrival:		sequence number; decides ties
 * @wants:		rows it could use, >= 1
 * @slots_per_row:	1: each row needs a head slot (SCORE); 0: only the last of the wanted rows
 *		does
 * @decoding:		a single row that continues generated text
 * @job:		opaque, the caller's: finds the job again after the reordering
 * @rows:		out: rows granted, 0 .. wants
 */
struct bn_sched_cand {
	const void *model;
	u64 user;
	u64 user_attained;
	u64 job_attained;
	u64 arrival;
	u32 wants;
	u32 slots_per_row;
	bool decoding;
	void *job;
	u32 rows;
};

/**
 * bn_sched_plan() - grant rows of one step
 * @cand:	candidates, reordered: the granted ones come first
 * @n:		how many
 *
 * Least attained service first, by user and then by process, then arrival. The first candidate
 * decides the model and is always served. Then decoding rows of that model go in, then prefill
 * fills up: at most BN_SCHED_PREFILL_MIXED rows of it when there are decoding rows beside it, so
 * that no token waits for a long prompt; else up to BN_MAX_ROWS. Never more than BN_MAX_ROWS rows
 * and BN_MAX_HEAD_ROWS slots. Takes time in proportion to n * BN_MAX_ROWS. No FPU. Return:
 * candidates that got rows.
 */
u32 bn_sched_plan(struct bn_sched_cand *cand, u32 n);

#define BN_SCHED_PREFILL_MIXED	8

#endif /* BN_SCHED_H */

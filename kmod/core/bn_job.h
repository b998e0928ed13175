/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_job.h - a GENERATE or SCORE job as a state machine: which rows it needs next, what comes out
 *
 * No memory, locks or time here: module and local engine keep those. A job that is being computed
 * must not be touched between bn_job_fill() and bn_job_finish() by anything else.
 *
 * GENERATE feeds its input, samples a token from the last row's logits, and then feeds each token
 * to get the next. SCORE feeds its input with the logits of every row but the last: token i+1 is
 * scored by row i. The first token has nothing in this job to be scored by, so n tokens give n-1
 * scores.
 */
#ifndef BN_JOB_H
#define BN_JOB_H

#include "bn_step.h"

struct bitnet_job;

struct bn_job {
	/* set by the caller, constant */
	u32 kind;			/* BITNET_JOB_GENERATE or BITNET_JOB_SCORE */
	struct bn_kv *kv;
	const u32 *input;		/* tokens */
	u32 n_input;
	u32 max_tokens;
	struct bn_sampler_params sampling;
	bool all_logits;		/* hashes of all logits are wanted */
	u32 stop[BN_MAX_STOP];
	u32 n_stop;
	/* state, zeroed by bn_job_init() */
	u32 fed;			/* input tokens that are in the cache */
	u32 made;			/* tokens handed out */
	u32 last;			/* last generated token, fed next */
	u32 n_recent, recent_at;
	u32 recent[BN_MAX_RECENT];	/* ring of the last tokens of input and output */
	u32 n_window;
	u32 window[BN_MAX_RECENT];	/* its distinct part, for the sampler */
	u16 times[BN_MAX_RECENT];	/* how often window[i] is in the ring */
	u32 filled, slot0, n_slots;	/* of the step in flight */
	u32 base;			/* position of its first row; kv->n_past may change */
	u32 reason;			/* BITNET_REASON_* once it ended, else 0 */
};

/** struct bn_token - one TOKEN completion */
struct bn_token {
	u32 token;
	u32 position;
	u32 index;
	s32 logprob;
	u64 hash;
};

/**
 * bn_job_check_request() - is this a request that the interface allows? For all three kinds
 * @r:		private copy of what the caller submitted
 *
 * Checks what needs no model or session: flags, reserved fields, fields that the kind does not
 * have, and ranges. Context: any, no FPU. Return: BN_OK or BN_EPARAM.
 */
enum bn_err bn_job_check_request(const struct bitnet_job *r);

/**
 * bn_job_import() - set the constant part from a GENERATE or SCORE request, but for @kv and @input
 * @r:		private copy that bn_job_check_request() accepted
 */
void bn_job_import(struct bn_job *j, const struct bitnet_job *r);

/**
 * bn_job_init() - check parameters and tokens against the model, clear the state
 *
 * Takes time in proportion to the input. No FPU.
 * Return: BN_OK, BN_EPARAM, or BN_ERANGE (token id, or input longer than the context that is left)
 */
enum bn_err bn_job_init(struct bn_job *j, const struct bn_model *m);

/**
 * bn_job_fits() - does the input fit into what the cache has left now?
 *
 * To be asked again before the first bn_job_fill() of a job that waited for others of its session.
 * No FPU
 */
bool bn_job_fits(const struct bn_job *j);

/**
 * bn_job_wants() - rows that the job could use now: input left, or 1. 0 once it has ended. No FPU
 */
u32 bn_job_wants(const struct bn_job *j);

/** bn_job_decoding() - is the next row the continuation of generated text (not prefill)? No FPU */
bool bn_job_decoding(const struct bn_job *j);

/**
 * bn_job_slots() - head slots that @rows further rows would need, and tokens that they will give.
 * No FPU
 */
u32 bn_job_slots(const struct bn_job *j, u32 rows);

/**
 * bn_job_fill() - put @rows rows into a step that is being built
 * @s:		step; rows go to s->rows[*n_rows ...], slots from *n_slots on; both are advanced
 * @rows:	1 .. bn_job_wants(); there must be room for them and for bn_job_slots(@rows)
 *
 * The caller later calls bn_step_begin() and then bn_job_arm(). No FPU.
 */
void bn_job_fill(struct bn_job *j, struct bn_step *s, u32 rows, u32 *n_rows, u32 *n_slots);

/** bn_job_arm() - fill the samplers of the job's slots, after bn_step_begin(). No FPU */
void bn_job_arm(struct bn_job *j, struct bn_step *s);

/**
 * bn_job_finish() - take the results of a finished step
 * @out:	at least BN_MAX_HEAD_ROWS elements
 *
 * Advances kv->n_past. Sets j->reason when the job has ended. No FPU.
 * Return: tokens written to @out.
 */
u32 bn_job_finish(struct bn_job *j, const struct bn_step *s, struct bn_token *out);

/**
 * bn_job_abandon() - the step was abandoned: forget bn_job_fill(); the rows can be filled again. No
 * FPU
 */
void bn_job_abandon(struct bn_job *j);

#endif /* BN_JOB_H */

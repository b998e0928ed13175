/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_sched.h - which rows go into the next step, what may interrupt it, and which realtime jobs are
 * accepted: the policy, and nothing but the policy
 *
 * Pure functions over small arrays, so that it can be tested, simulated and replaced without a
 * kernel. Times are in ns. None needs the FPU.
 *
 * Realtime claims are served by earliest deadline. Everything else gets what they leave: as long as
 * something else is computed, the slack - time that can be lost now without a claim being late,
 * bn_sched_slack() - stays longer than the piece that cannot be interrupted, a layer. That this is
 * always so is what bn_sched_admit() checks before it accepts another claim.
 */
#ifndef BN_SCHED_H
#define BN_SCHED_H

#include "bn_types.h"

#define BN_SCHED_REALTIME	64	/* realtime jobs accepted at a time */
#define BN_SCHED_PREFILL_MIXED	8	/* prompt rows beside decoding ones */
#define BN_SCHED_SIZES		7	/* 1, 2, 4 .. BN_MAX_ROWS rows */

/**
 * struct bn_costs - how long steps of a model take, at worst, by number of rows
 *
 * Each is a maximum that is forgotten slowly: a sample takes off 1/1024 of it, or sets a new one.
 * [i] is of steps of up to 2^i rows; 0: not measured. The last one is a guess for one row, which
 * counts as long as nothing was measured.
 *
 * @layer:	any one layer
 * @layers:	all layers
 * @head:	what comes behind them, by head slots
 * @usual:	a whole step when nothing comes between: a minimum that is forgotten slowly. A step
 *		that had to wait for a CPU says nothing about what others pay for sharing it
 */
struct bn_costs {
	u64 layer[BN_SCHED_SIZES + 1];
	u64 layers[BN_SCHED_SIZES + 1];
	u64 head[BN_SCHED_SIZES + 1];
	u64 usual[BN_SCHED_SIZES + 1];
};

/**
 * bn_costs_guess() - start with a guess, which is rather too long
 * @c:		zero
 * @macs_per_us: rated speed of the variant in use
 */
void bn_costs_guess(struct bn_costs *c, const struct bn_model *m, u32 macs_per_us);

/** bn_costs_add() - a sample of @rows rows (or slots), for one of the arrays of struct bn_costs */
void bn_costs_add(u64 *worst, u32 rows, u64 ns);

/** bn_costs_add_usual() - a sample of @rows rows for @usual of struct bn_costs */
void bn_costs_add_usual(u64 *usual, u32 rows, u64 ns);

/**
 * bn_costs_of() - what @rows rows (or slots) cost at worst
 *
 * Of sizes that were not measured: a multiple of a smaller one, or a larger one.
 * Return: 0 if @rows is 0, or nothing was measured and there is no guess.
 */
u64 bn_costs_of(const u64 *worst, u32 rows);

/** bn_costs_step() - a step of @rows rows with @slots head slots */
u64 bn_costs_step(const struct bn_costs *c, u32 rows, u32 slots);

/** bn_costs_prompt() - all steps of a prompt of @rows rows, and the first token */
u64 bn_costs_prompt(const struct bn_costs *c, u64 rows);

/**
 * struct bn_demand - what an accepted realtime job may claim
 * @release:	when its next token becomes a realtime claim
 * @due:	when that is to be there
 * @left:	worker time it takes, the rest of the prompt included
 * @token:	worker time of each token after it
 * @period:	time between these, >= 1
 * @taken:	the token is being made by the step that is in question
 */
struct bn_demand {
	u64 release;
	u64 due;
	u64 left;
	u64 token;
	u64 period;
	bool taken;
};

/**
 * bn_sched_slack() - time that may be lost from @now on without any claim being late
 *
 * For each point d at which a token is due, what must be computed until then is at most
 *
 *   sum over jobs i:  left_i (if due_i <= d and it is not taken) + (d - due_i) * token_i / period_i
 *
 * and the slack is the least of what is left of d - @now. It is enough to look at each job's next
 * two due times: from there on demand grows no faster than time, as the rates add up to 1 at most.
 *
 * Return: 0 if there is none; U64_MAX without demands.
 */
u64 bn_sched_slack(const struct bn_demand *demand, u32 n, u64 now);

enum bn_refusal {
	BN_ADMITTED,
	BN_REFUSED_LOAD,	/* too much together with the others */
	BN_REFUSED_PERIOD,	/* too much alone */
};

/**
 * bn_sched_admit() - can demand[n - 1] be accepted beside the others?
 * @layer:	longest time for which a lower step cannot be interrupted: a layer of one row, or a
 *		head
 * @busy:	longest time until what is being computed now can be interrupted or ends
 * @floor_ppm:	share that is kept for BATCH jobs
 * @load_ppm:	out: share that all would need together, @floor_ppm not included
 *
 * Accepted if, when ordered by period, the rates of all jobs up to any one of them, and the longest
 * wait for something that is not interrupted - a layer, or a step of a job with a longer period -
 * take no more than that job's period; and if all that is claimed already leaves the time for it.
 */
enum bn_refusal bn_sched_admit(const struct bn_demand *demand, u32 n, u64 now, u64 layer,
			       u64 busy, u32 floor_ppm, u64 *load_ppm);

/**
 * struct bn_sched_cand - a job that could use rows now
 * @model:		jobs of one step share their model: an opaque key
 * @costs:		of the model; NULL: unknown, and no limit that is a time is kept
 * @user:		opaque key of the user
 * @user_attained:	worker time that the user's jobs have got, ns, decayed or not: only compared
 * @job_attained:	the same for this job's process
 * @arrival:		sequence number; decides ties
 * @wants:		rows it could use, >= 1
 * @slots_per_row:	1: each row needs a head slot (SCORE); 0: only the last of the wanted rows
 *		does
 * @decoding:		a single row that continues generated text
 * @job_class:		BITNET_CLASS_*
 * @demand:		REALTIME: its claim, one of those of struct bn_sched
 * @job:		opaque, the caller's: finds the job again after the reordering
 * @rows:		out: rows granted, 0 .. wants
 */
struct bn_sched_cand {
	const void *model;
	const struct bn_costs *costs;
	u64 user;
	u64 user_attained;
	u64 job_attained;
	u64 arrival;
	u32 wants;
	u32 slots_per_row;
	bool decoding;
	u32 job_class;
	struct bn_demand *demand;
	void *job;
	u32 rows;
};

/**
 * struct bn_sched - the situation, and what of the past the policy needs
 * @now:	time
 * @demand:	of all accepted realtime jobs that can run, in the step in question or not
 * @n_demand:	how many
 * @floor_ppm:	share that BATCH jobs get at least while any waits
 * @owed:	of that, what they have not got yet
 * @ahead:	what they have had beyond it, a step being more than is owed: it counts later
 * @urgent:	out of bn_sched_take_up(): nothing but REALTIME jobs has the time
 * @claim:	out of bn_sched_plan(): the step is for a claim, or as urgent; it does not yield
 */
struct bn_sched {
	u64 now;
	struct bn_demand *demand;
	u32 n_demand;
	u32 floor_ppm;
	u64 owed;
	u64 ahead;
	bool urgent;
	bool claim;
};

/** enum bn_rank - who comes first */
enum bn_rank {
	BN_RANK_REALTIME,	/* claims, by due time */
	BN_RANK_OWED,		/* BATCH jobs that have got less than their floor */
	BN_RANK_INTERACTIVE,	/* and realtime jobs that are ahead of their time */
	BN_RANK_BATCH,
};

/** bn_sched_rank() - of a job of class @job_class; @demand: of a REALTIME one */
enum bn_rank bn_sched_rank(const struct bn_sched *s, u32 job_class, const struct bn_demand *demand);

/**
 * bn_sched_plan() - grant rows of one step
 * @cand:	candidates, reordered: the granted ones come first
 * @n:		how many
 *
 * The first by rank, then due time or least attained service - by user, then by process - then
 * arrival, decides the model and is always served. Then decoding rows of that model go in, then
 * prefill fills up: at most BN_SCHED_PREFILL_MIXED rows of it when there are decoding rows beside
 * it, so that no token waits for a long prompt; else up to BN_MAX_ROWS. Never more than BN_MAX_ROWS
 * rows and BN_MAX_HEAD_ROWS slots, and as long as it costs no more than
 *
 *   beside a claim:	a quarter more than claims alone, and no claim its due time
 *   else:		as many times what the first's rows usually cost alone as there are users:
 *			nobody has less from a step that is shared than from his share of the time;
 *			with rows of BATCH jobs a quarter more, if the first is of another class
 *   while there are claims to come:  a layer that fits into the slack of a job that has just got
 *			its token
 *
 * Takes time in proportion to n * BN_MAX_ROWS. Return: candidates that got rows.
 */
u32 bn_sched_plan(struct bn_sched *s, struct bn_sched_cand *cand, u32 n);

/**
 * struct bn_sched_waiting - who could run instead of a step
 * @realtime:	a claim of another model or job whose time has come
 * @ahead:	a realtime job, also one that is ahead of its time or in this very step
 * @interactive: a job of that rank, if not more: an INTERACTIVE one, or a realtime one that waits
 */
struct bn_sched_waiting {
	bool realtime;
	bool ahead;
	bool interactive;
};

/**
 * bn_sched_yields() - should a step be interrupted before its next piece?
 * @rank:	of the step, when it was planned
 * @piece:	worst cost of what comes next: a layer, or the head; 0: unknown
 * @waiting:	who could run instead
 */
bool bn_sched_yields(const struct bn_sched *s, enum bn_rank rank, u64 piece,
		     const struct bn_sched_waiting *waiting);

/* Steps that are put aside: at most one of each kind */
enum bn_aside { BN_ASIDE_INTERACTIVE, BN_ASIDE_BATCH, BN_ASIDES, BN_ASIDE_NONE = BN_ASIDES };

/**
 * bn_sched_take_up() - which step that was put aside goes on before another is started?
 * @piece:	of each, as for bn_sched_yields(); ~0: there is none
 * @cand:	candidates for another one ...
 * @n:		... which may become fewer: only REALTIME ones may start
 *
 * No step is started that could not be put aside because there is one of its kind; but those of
 * claims never are. Return: BN_ASIDE_NONE: start another, if there are candidates.
 */
enum bn_aside bn_sched_take_up(struct bn_sched *s, const u64 piece[BN_ASIDES],
			       struct bn_sched_cand *cand, u32 *n,
			       const struct bn_sched_waiting *waiting);

/**
 * bn_sched_account() - @ns were computed, @batch of them for BATCH jobs
 * @waits:	any of these waits, or has waited during that time
 */
void bn_sched_account(struct bn_sched *s, u64 ns, u64 batch, bool waits);

#endif /* BN_SCHED_H */

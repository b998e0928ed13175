// SPDX-License-Identifier: GPL-2.0
/*
 * worker.c - the step in flight, and the threads that compute it
 *
 * There is one step at a time. Its life is one atomic state; whoever brings about a change of state
 * owns what belongs to it, without a lock:
 *
 *   IDLE       nobody. Left by a worker that finds runnable jobs (cmpxchg)
 *   BUILDING   one worker, which chooses jobs and fills the step
 *   ACTIVE     all workers, through bn_work_claim(); bitnet.lock for @jobs and @live
 *   CLOSING    nobody claims any more; those who are inside leave
 *   DELIVERING the last one to leave (cmpxchg); hands out the results, or puts the step aside, and
 *              goes on to BUILDING
 *
 * Whoever finishes a layer looks whether something else has a higher claim (bn_sched_yields()).
 * Then the step is put aside: what its rows need later is kept, and from the same layer on another
 * step goes on with them. One INTERACTIVE and one BATCH step can be aside; those of claims never
 * are.
 *
 * A worker is "inside" while it may look at the work or the step: from before it reads the state
 * until it has dropped the tile that it claimed. Going inside and reading the state, and changing
 * the state and counting who is inside, are fully ordered against each other: nobody can be inside
 * a step that is being delivered. A worker that is preempted holds up the others for no longer than
 * its tile.
 *
 * The threads are per-CPU threads of the kernel's own kind (smpboot), which CPU hotplug and suspend
 * park and unpark. They must not be frozen: a frozen thread could not be parked. Instead they pause
 * while the system prepares for suspend.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <linux/smpboot.h>
#include <linux/suspend.h>
#include <uapi/linux/sched/types.h>

#include "bitnet.h"
#include "trace.h"

enum engine_state { IDLE, BUILDING, ACTIVE, CLOSING, DELIVERING };

static_assert((int)BN_ASIDES == BN_STEP_KEPT);

/*
 * How long a worker looks for more work before it sleeps: phases of small models take some 10 us, a
 * sleep and a wake-up about 5.
 */
#define SPIN_NS		30000

/* What keeps a realtime thread from its CPU for longer than this is told. */
#define STALL_NS	5000000

/* A SCHED_FIFO worker that is not alone on its CPU leaves it for so long, so often: 1 % of it. */
#define BREAK_US	100
#define BREAK_MS	10

/*
 * struct aside - a step that was put aside. Owned like the step in flight is between two steps
 * @jobs:	of it, each with a reference; 0: none is here
 * @rows:	it had
 * @phase:	with which it goes on
 * @layers_ns:	spent in layers
 * @whole:	all its layers had so many rows
 */
struct aside {
	struct bitnet_model *model;
	struct bitnet_kjob *jobs[BITNET_CANDS];
	u32 n_jobs;
	u32 rows;
	u32 phase;
	u64 layers_ns;
	bool whole;
};

/*
 * struct engine - the step in flight
 * @state:	enum engine_state
 * @inside:	workers that may look at @work and @step
 * @work, @step: see above for who owns them
 * @model:	of the step, held by its jobs
 * @jobs:	in the step, each with a reference; @n_jobs is 0 but while a step is in flight
 * @live:	of these, not ended. bitnet.lock
 * @rank:	that it was started with
 * @taken_up:	it goes on with the step that was in this place, or BN_ASIDE_NONE
 * @from:	number of each job's first row there
 * @phase:	with which it starts, or that it is put aside before
 * @yielding:	it is put aside as soon as all have left
 * @start_ns, @piece_ns, @account_ns: when it was started, the layer in flight was, and its time was
 *		last shared out to classes
 * @layers_ns:	time of its layers, @layer_ns of the longest
 * @whole:	that is what @rows rows take: it had no more before jobs of it ended
 * @busy_ns:	what of it cannot be interrupted takes at most so long; bitnet.lock
 * @batch_rows:	rows of BATCH jobs
 * @ns:		time spent in sections
 * @weight_bytes: weights read in them
 * @sleepers:	workers with @sleeping set
 * @paused:	the system prepares for suspend
 * @exiting:	the threads are being stopped
 */
static struct engine {
	atomic_t state;
	atomic_t inside;
	struct bn_work work;
	struct bn_step *step;
	struct bitnet_model *model;
	struct bitnet_kjob *jobs[BITNET_CANDS];
	u32 n_jobs;
	u32 live;
	u32 rows;
	enum bn_rank rank;
	enum bn_aside taken_up;
	u32 from[BITNET_CANDS];
	u32 phase;
	bool yielding;
	u64 start_ns, piece_ns, account_ns;
	u64 layers_ns, layer_ns;
	bool whole;
	u64 busy_ns;
	u32 batch_rows;
	atomic64_t ns;
	atomic64_t weight_bytes;
	atomic_t sleepers;
	bool paused;
	bool exiting;
	struct aside aside[BN_ASIDES];
	struct bn_sched sched;			/* bitnet.lock */
	struct bn_demand demand[BN_SCHED_REALTIME];
	/* scratch of whoever builds or delivers */
	struct bitnet_cands cands;
	struct bn_token tokens[BN_MAX_HEAD_ROWS];
} engine = { .sched.demand = engine.demand };

static DEFINE_PER_CPU(struct bitnet_worker, workers);
static DEFINE_PER_CPU(struct task_struct *, worker_tasks);
static struct cpumask worker_cpus;
static struct cpumask resting;	/* of these, those that shall not compute; workers_lock */
static DEFINE_MUTEX(workers_lock);
static int fifo_priority;

/* Wakes workers that sleep. The caller has made the reason visible. */
static void wake_sleepers(void)
{
	int cpu;

	/* Pairs with the barrier in doze(): it sees the reason, or we see it sleep. */
	smp_mb();
	if (!atomic_read(&engine.sleepers))
		return;
	rcu_read_lock();
	for_each_cpu(cpu, &worker_cpus) {
		struct bitnet_worker *worker = per_cpu_ptr(&workers, cpu);
		struct task_struct *task = READ_ONCE(*per_cpu_ptr(&worker_tasks, cpu));

		/*
		 * Pairs with stop_threads(): tasks that are there now stay until the end of this
		 * section.
		 */
		if (READ_ONCE(engine.exiting))
			break;
		if (!task || !READ_ONCE(worker->sleeping) || cpumask_test_cpu(cpu, &resting))
			continue;
		WRITE_ONCE(worker->kick, true);
		wake_up_process(task);
	}
	rcu_read_unlock();
}

/** bitnet_workers_kick() - there may be runnable jobs. Context: no locks held */
void bitnet_workers_kick(void)
{
	/*
	 * Pairs with the lock in step_build(): the job was seen there, or the state is IDLE here.
	 */
	smp_mb();
	if (READ_ONCE(bitnet.runnable) && atomic_read(&engine.state) == IDLE)
		wake_sleepers();
}

/**
 * bitnet_workers_leave_locked() - a job that is part of the step in flight, or of one aside, ends
 * @job:	the job
 *
 * If it was the last that anybody waited for, the step in flight is abandoned.
 */
void bitnet_workers_leave_locked(struct bitnet_kjob *job)
{
	struct bitnet_ring *ring = job->file->ring;

	lockdep_assert_held(&bitnet.lock);
	ring->promised -= job->promised;
	job->promised = 0;
	if (job->state == BITNET_STATE_STEPPING && !--engine.live)
		bn_work_stop(&engine.work);
}

/* ------------------------------------------------------------------ building */

/* Rows that the job can have without promising more ring slots than there are. */
static u32 rows_within_ring_locked(const struct bitnet_kjob *job, u32 rows)
{
	u32 room = bitnet_ring_free_locked(job->file->ring);

	while (rows && bn_job_slots(&job->core, rows) > room)
		rows--;
	return rows;
}

/** bitnet_job_started_locked() - the job's first step begins */
void bitnet_job_started_locked(struct bitnet_kjob *job, u64 now)
{
	lockdep_assert_held(&bitnet.lock);
	job->started = true;
	bitnet_count_locked(job, queue_ns, now - job->submit_ns);
	trace_bitnet_job_start(job, now - job->submit_ns);
}

static void add_locked(struct bitnet_kjob *job, u32 row, u32 rows)
{
	job->state = BITNET_STATE_STEPPING;
	if (job->session)
		job->session->in_step = true;
	job->step_row = row;
	job->step_rows = rows;
	engine.rows += rows;
	engine.batch_rows += job->job_class == BITNET_CLASS_BATCH ? rows : 0;
	engine.live++;
}

static void join_locked(struct bitnet_kjob *job, u32 rows)
{
	u64 now = ktime_get_ns();

	bitnet_job_unrun_locked(job);
	add_locked(job, engine.rows, rows);
	job->file->ring->promised += job->promised;
	refcount_inc(&job->refs);
	if (!job->started)
		bitnet_job_started_locked(job, now);
	engine.jobs[engine.n_jobs++] = job;
}

/* Puts the granted ones into a new step. */
static void start_locked(u32 granted)
{
	const struct bn_sched_cand *first = engine.cands.cand;
	u32 n_rows = 0, n_slots = 0;

	engine.rank = engine.sched.claim ? BN_RANK_REALTIME :
		      bn_sched_rank(&engine.sched, first->job_class, first->demand);
	/* Claims, and what is owed, come out of turn. */
	if (engine.rank == BN_RANK_INTERACTIVE || engine.rank == BN_RANK_BATCH)
		bitnet.floor_ns = max(bitnet.floor_ns, first->user_attained);
	for (u32 i = 0; i < granted; i++) {
		const struct bn_sched_cand *cand = &engine.cands.cand[i];
		struct bitnet_kjob *job = cand->job;
		u32 rows = cand->rows;

		if (!i) {
			engine.model = job->model;
			engine.step = &job->model->step;
		}
		trace_bitnet_sched_grant(job, rows);
		job->file->user->floor_ns = max(job->file->user->floor_ns, cand->job_attained);
		if (job->kind == BITNET_JOB_LINEAR) {
			engine.step->linear = job->linear;
			engine.step->linear.rows = rows;
			join_locked(job, rows);
			break;
		}
		rows = rows_within_ring_locked(job, rows);
		if (!rows)
			continue;
		job->promised = bn_job_slots(&job->core, rows);
		bn_job_fill(&job->core, engine.step, rows, &n_rows, &n_slots);
		join_locked(job, rows);
	}
}

/* Goes on with a step that was put aside, but for jobs that have ended since. */
static void take_up_locked(enum bn_aside place)
{
	struct aside *aside = &engine.aside[place];
	u32 n_rows = 0, n_slots = 0;

	engine.taken_up = place;
	engine.rank = place == BN_ASIDE_BATCH ? BN_RANK_BATCH : BN_RANK_INTERACTIVE;
	engine.model = aside->model;
	engine.step = &aside->model->step;
	engine.phase = aside->phase;
	engine.layers_ns = aside->layers_ns;
	for (u32 i = 0; i < aside->n_jobs; i++) {
		struct bitnet_kjob *job = aside->jobs[i];

		engine.from[engine.n_jobs] = job->step_row;
		engine.jobs[engine.n_jobs++] = job;
		bn_job_abandon(&job->core);
		if (job->state == BITNET_STATE_ENDED) {
			job->step_rows = 0;
			continue;
		}
		bn_job_fill(&job->core, engine.step, job->step_rows, &n_rows, &n_slots);
		add_locked(job, engine.rows, job->step_rows);
	}
	aside->n_jobs = 0;
	engine.whole = aside->whole && engine.rows == aside->rows;
}

static u64 piece_cost(const struct bitnet_model *model, u32 phase, u32 rows, u32 slots)
{
	return bn_step_layer(&model->step, phase) < model->core.n_layers ?
	       bn_costs_of(model->costs.layer, rows) : bn_costs_of(model->costs.head, slots);
}

static enum bn_aside whom_to_take_up(const struct bn_sched_waiting *waiting)
{
	u64 piece[BN_ASIDES];

	for (u32 i = 0; i < BN_ASIDES; i++) {
		const struct aside *a = &engine.aside[i];

		piece[i] = U64_MAX;
		if (!a->n_jobs)
			continue;
		/* Getting its rows back takes time too: less than a layer of them. */
		piece[i] = max(piece_cost(a->model, a->phase, a->rows, a->n_jobs),
			       bn_costs_of(a->model->costs.layer, a->rows));
	}
	return bn_sched_take_up(&engine.sched, piece, engine.cands.cand, &engine.cands.n, waiting);
}

static void start_empty(void)
{
	engine.n_jobs = 0;
	engine.live = 0;
	engine.rows = 0;
	engine.batch_rows = 0;
	engine.taken_up = BN_ASIDE_NONE;
	engine.phase = 0;
	engine.yielding = false;
	engine.layers_ns = 0;
	engine.layer_ns = 0;
	engine.whole = true;
}

/* Fills the step with jobs. Return: how many; 0 with the state IDLE, unless jobs were parked. */
static u32 choose_locked(void)
{
	struct bn_sched_waiting waiting;
	enum bn_aside place;
	u32 granted = 0;

	start_empty();
	bitnet_queue_look_locked(&engine.sched, ktime_get_ns(), &waiting);
	bitnet_queue_collect_locked(&engine.cands);
	place = whom_to_take_up(&waiting);
	if (place == BN_ASIDE_NONE)
		granted = bn_sched_plan(&engine.sched, engine.cands.cand, engine.cands.n);
	trace_bitnet_sched_plan(engine.sched.now, place, granted && engine.sched.claim, granted);
	if (place != BN_ASIDE_NONE)
		take_up_locked(place);
	else if (granted)
		start_locked(granted);
	if (!engine.n_jobs && !engine.cands.n_parked)
		atomic_set(&engine.state, IDLE);
	return engine.n_jobs;
}

/* Chooses the next step's jobs. Return: false if there is nothing to do; the state is IDLE then. */
static bool choose(void)
{
	u32 n, parked;

	do {
		spin_lock(&bitnet.lock);
		n = choose_locked();
		parked = engine.cands.n_parked;
		spin_unlock(&bitnet.lock);
		if (!n && !parked)
			return false;	/* from here on @engine is somebody else's */
		/* Who waits for these jobs should know. */
		while (engine.cands.n_parked) {
			struct bitnet_kjob *job = engine.cands.parked[--engine.cands.n_parked];

			bitnet_ring_notify(job->file);
			bitnet_job_put_later(job);
		}
	} while (!n);
	return true;
}

static bool seen_before(const struct bitnet_model *model, kuid_t uid)
{
	for (u32 i = 0; i < model->n_seen; i++)
		if (uid_eq(model->seen[i], uid))
			return true;
	return false;
}

/*
 * What one user's rows left in the scratch memory is wiped before a user's rows use it who was not
 * there. As long as the same users share the steps this costs nothing.
 */
static void wipe_for_strangers(struct bitnet_model *model)
{
	bool stranger = false;
	int cpu;

	for (u32 i = 0; i < engine.n_jobs; i++)
		if (!seen_before(model, engine.jobs[i]->file->user->uid))
			stranger = true;
	if (!stranger)
		return;
	bn_step_wipe(&model->step);
	/* Nobody computes now. */
	for_each_cpu(cpu, &worker_cpus)
		memset(per_cpu_ptr(&workers, cpu)->buffer, 0, BN_TILE_BYTES);
	model->n_seen = 0;
	for (u32 i = 0; i < engine.n_jobs; i++) {
		kuid_t uid = engine.jobs[i]->file->user->uid;

		if (!seen_before(model, uid))
			model->seen[model->n_seen++] = uid;
	}
}

/* Rows that were put aside are in the step again. */
static void restore(void)
{
	struct aside *aside = &engine.aside[engine.taken_up];

	for (u32 i = 0; i < engine.n_jobs; i++)
		bn_step_take_up(engine.step, engine.taken_up, engine.from[i],
				engine.jobs[i]->step_row, engine.jobs[i]->step_rows);
	bn_step_drop(engine.step, engine.taken_up, aside->rows);
	aside->rows = 0;
}

static enum bn_err begin(void)
{
	struct bn_step *step = engine.step;
	enum bn_err err;

	if (engine.jobs[0]->kind == BITNET_JOB_LINEAR)
		return bn_step_begin_linear(step);
	step->workers = bitnet_workers_count();
	err = bn_step_begin(step, engine.rows);
	if (err)
		return err;
	for (u32 i = 0; i < engine.n_jobs; i++)
		bn_job_arm(&engine.jobs[i]->core, step);
	if (engine.taken_up != BN_ASIDE_NONE)
		restore();
	return BN_OK;
}

static u32 layer_of(u32 phase)
{
	return bn_step_layer(engine.step, phase);
}

/* At worst, until the step can be interrupted: a claim's cannot. */
static u64 busy_time(void)
{
	const struct bn_costs *costs = &engine.model->costs;
	u32 slots = engine.step->n_slots;

	if (engine.rank == BN_RANK_REALTIME)
		return bn_costs_step(costs, engine.rows, slots);
	return max(bn_costs_of(costs->layer, engine.rows), bn_costs_of(costs->head, slots));
}

static void deliver(bool computed);

/*
 * In state BUILDING: start the next step. Return: false if there is none, and the state is IDLE.
 */
static bool step_build(void)
{
	while (choose()) {
		wipe_for_strangers(engine.model);
		atomic64_set(&engine.ns, 0);
		atomic64_set(&engine.weight_bytes, 0);
		engine.start_ns = engine.piece_ns = engine.account_ns = ktime_get_ns();
		if (!engine.rows) {
			/* All that was aside has ended. */
			restore();
			deliver(false);
			continue;
		}
		if (WARN_ON_ONCE(begin())) {
			deliver(false);
			continue;
		}
		if (engine.taken_up != BN_ASIDE_NONE)
			trace_bitnet_step_resume(engine.rank, layer_of(engine.phase), engine.rows);
		else
			trace_bitnet_step_start(engine.rank, 0, engine.rows);
		bn_work_start(&engine.work, engine.step, engine.phase,
			      bn_step_pause(engine.step, engine.phase));
		/* Jobs may have ended since they were chosen, before there was anything to stop. */
		spin_lock(&bitnet.lock);
		engine.busy_ns = busy_time();
		if (!engine.live)
			bn_work_stop(&engine.work);
		/* Release: who reads ACTIVE sees the step. */
		atomic_set_release(&engine.state, ACTIVE);
		spin_unlock(&bitnet.lock);
		wake_sleepers();
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- delivering */

static void count_realtime_locked(struct bitnet_kjob *job, u64 now, struct bitnet_ring_entry *entry)
{
	u64 late = bitnet_realtime_token_locked(job, now);

	bitnet_count_locked(job, realtime_tokens, 1);
	if (!late)
		return;
	bitnet_count_locked(job, late, 1);
	bitnet_event_late_locked(job, late);
	entry->flags = BITNET_ENTRY_F_LATE;
}

/**
 * bitnet_job_token_locked() - count a token, and make its entry
 * @job:	not ended
 * @token:	what bitnet_job_results_locked() gave
 * @now:	when it was ready
 * @entry:	out
 */
void bitnet_job_token_locked(struct bitnet_kjob *job, const struct bn_token *token, u64 now,
			     struct bitnet_ring_entry *entry)
{
	u64 latency = now - job->last_ns;
	u32 bucket = bitnet_bucket(latency);

	lockdep_assert_held(&bitnet.lock);
	*entry = (struct bitnet_ring_entry){
		.user_data = job->user_data,
		.kind = BITNET_ENTRY_TOKEN,
		.token = token->token,
		.position = token->position,
		.logprob = token->logprob,
		.n_tokens = token->index,
		.time_ns = now,
		.logits_hash = job->flags & BITNET_JOB_F_HASH ? token->hash : 0,
	};
	if (job->job_class == BITNET_CLASS_REALTIME)
		count_realtime_locked(job, now, entry);
	job->last_ns = now;
	job->tokens_out++;
	bitnet_count_locked(job, token_ns[bucket], 1);
	trace_bitnet_token(job, token->index, latency);
}

/**
 * bitnet_job_results_locked() - take what a finished step has made for a GENERATE or SCORE job
 * @job:	not ended
 * @step:	the step
 * @tokens:	out: BN_MAX_HEAD_ROWS
 *
 * Return: how many tokens, for bitnet_job_token_locked().
 */
u32 bitnet_job_results_locked(struct bitnet_kjob *job, const struct bn_step *step,
			      struct bn_token *tokens)
{
	u32 fed = job->core.fed, n;

	lockdep_assert_held(&bitnet.lock);
	n = bn_job_finish(&job->core, step, tokens);
	fed = job->core.fed - fed;
	job->tokens_in += fed;
	bitnet_count_locked(job, tokens_in, fed);
	if (job->kind == BITNET_JOB_GENERATE)
		bitnet_count_locked(job, tokens_out, n);
	return n;
}

static void post_token_locked(struct bitnet_kjob *job, const struct bn_token *token, u64 now)
{
	struct bitnet_ring_entry entry;

	bitnet_job_token_locked(job, token, now, &entry);
	bitnet_ring_post_locked(job->file, &entry);
}

/* The rows behind those that are done. Return: false if there are none. */
static bool linear_go_on(struct bn_linear_req *req, u32 done)
{
	req->x += done * req->x_stride;
	req->x_sum += done;
	req->y += (size_t)done * req->w->rows;
	req->rows -= done;
	return req->rows;
}

/* Hands out what the step has made for a job that is not ended. */
static void deliver_job_locked(struct bitnet_kjob *job, u64 now, struct list_head *ended)
{
	u32 n;

	if (job->kind == BITNET_JOB_LINEAR) {
		if (linear_go_on(&job->linear, job->step_rows))
			bitnet_job_run_locked(job);
		else
			bitnet_job_end_locked(job, 0, ended);
		return;
	}
	n = bitnet_job_results_locked(job, engine.step, engine.tokens);
	for (u32 i = 0; i < n; i++)
		post_token_locked(job, &engine.tokens[i], now);
	if (job->core.reason)
		bitnet_job_end_locked(job, 0, ended);
	else
		bitnet_job_run_locked(job);
}

/**
 * bitnet_job_charge_locked() - what a step has cost: to the job, its file, user and class
 * @job:	may have ended
 * @ns:		time spent in sections
 * @weight_bytes: weights read in them
 */
void bitnet_job_charge_locked(struct bitnet_kjob *job, u64 ns, u64 weight_bytes)
{
	lockdep_assert_held(&bitnet.lock);
	job->cpu_ns += ns;
	job->file->attained_ns += ns;
	job->file->user->attained_ns += ns;
	trace_bitnet_sched_charge(job, ns);
	bitnet_count_locked(job, cpu_ns, ns);
	bitnet_count_locked(job, class_cpu_ns[job->job_class], ns);
	bitnet_count_locked(job, weight_bytes, weight_bytes);
}

/* What the jobs have cost so far goes to their accounts. */
static void charge_all_locked(void)
{
	u64 ns = atomic64_read(&engine.ns);
	u64 weight_bytes = atomic64_read(&engine.weight_bytes);
	u32 rows = max(engine.rows, 1U);

	for (u32 i = 0; i < engine.n_jobs; i++) {
		struct bitnet_kjob *job = engine.jobs[i];

		bitnet_job_charge_locked(job, div_u64(ns * job->step_rows, rows),
					 div_u64(weight_bytes * job->step_rows, rows));
	}
}

/* Tells the policy what of the time since it was last told went to BATCH jobs. */
static void account_locked(u64 now)
{
	u64 ns = now - engine.account_ns;
	bool waits = engine.batch_rows || bitnet.n_runnable[BITNET_CLASS_BATCH] ||
		     engine.aside[BN_ASIDE_BATCH].n_jobs;

	engine.sched.floor_ppm = bitnet.batch_floor_ppm;
	bn_sched_account(&engine.sched, ns,
			 div_u64(ns * engine.batch_rows, max(engine.rows, 1U)), waits);
	engine.account_ns = now;
	trace_bitnet_sched_account(now, ns, engine.sched.owed);
}

static void end_piece(u64 now)
{
	engine.layer_ns = max(engine.layer_ns, now - engine.piece_ns);
	engine.layers_ns += now - engine.piece_ns;
	engine.piece_ns = now;
}

static void learn_layer_locked(void)
{
	bn_costs_add(engine.model->costs.layer, engine.rows, engine.layer_ns);
	trace_bitnet_sched_cost(BITNET_COST_LAYER, engine.rows, engine.layer_ns);
}

/* A whole step was computed: what did it take? */
static void learn_costs_locked(u64 now)
{
	struct bn_costs *costs = &engine.model->costs;
	u32 slots = engine.step->n_slots;
	u64 head_ns = 0;

	if (engine.jobs[0]->kind == BITNET_JOB_LINEAR ||
	    bn_work_phase(&engine.work) < engine.step->n_phases)
		return;
	if (!slots) {
		end_piece(now);
	} else {
		head_ns = now - engine.piece_ns;
		/* If it was taken up just before, that is in it: longer the more rows it has. */
		if (layer_of(engine.phase) < engine.model->core.n_layers) {
			bn_costs_add(costs->head, slots, head_ns);
			trace_bitnet_sched_cost(BITNET_COST_HEAD, slots, head_ns);
		}
	}
	learn_layer_locked();
	bitnet.worst_piece_ns = max(bn_costs_of(costs->layer, 1), bn_costs_of(costs->head, 1));
	if (!engine.whole)
		return;
	bn_costs_add(costs->layers, engine.rows, engine.layers_ns);
	trace_bitnet_sched_cost(BITNET_COST_LAYERS, engine.rows, engine.layers_ns);
	bn_costs_add_usual(costs->usual, engine.rows, engine.layers_ns + head_ns);
	trace_bitnet_sched_cost(BITNET_COST_USUAL, engine.rows, engine.layers_ns + head_ns);
}

/* The step is over for @job, and stores nothing any more. Then bitnet_ring_notify() is due. */
static void leave_step_locked(struct bitnet_kjob *job)
{
	if (!job->session)
		return;
	job->session->in_step = false;
	if (job->state == BITNET_STATE_ENDED)
		atomic_or(BITNET_NOTIFY_RUN, &job->file->notify);
}

/* In state DELIVERING, or BUILDING when the step could not begin: results to their owners. */
static void deliver(bool computed)
{
	u64 now = ktime_get_ns();
	LIST_HEAD(ended);

	trace_bitnet_step(engine.n_jobs, engine.rows, now - engine.start_ns,
			  atomic64_read(&engine.ns));
	spin_lock(&bitnet.lock);
	charge_all_locked();
	account_locked(now);
	if (computed)
		learn_costs_locked(now);
	for (u32 i = 0; i < engine.n_jobs; i++) {
		struct bitnet_kjob *job = engine.jobs[i];

		leave_step_locked(job);
		if (job->kind != BITNET_JOB_LINEAR &&
		    (job->state == BITNET_STATE_ENDED || !computed))
			bn_job_abandon(&job->core);
		if (job->state == BITNET_STATE_ENDED)
			continue;
		job->state = BITNET_STATE_DELIVERED;
		job->file->ring->promised -= job->promised;
		job->promised = 0;
		if (computed)
			deliver_job_locked(job, now, &ended);
		else
			bitnet_job_end_locked(job, -EINVAL, &ended);
	}
	engine.live = 0;
	bitnet.steps += computed;
	memset(engine.tokens, 0, sizeof(engine.tokens));
	spin_unlock(&bitnet.lock);

	for (u32 i = 0; i < engine.n_jobs; i++) {
		bitnet_ring_notify(engine.jobs[i]->file);
		bitnet_job_put_later(engine.jobs[i]);
	}
	engine.n_jobs = 0;
	bitnet_jobs_ended(&ended, true);
}

/* -------------------------------------------------------------------- yielding */

static enum bn_aside place_of_step(void)
{
	return engine.rank == BN_RANK_INTERACTIVE ? BN_ASIDE_INTERACTIVE : BN_ASIDE_BATCH;
}

/* In state DELIVERING: jobs that stay, and those that are done with this step */
static u32 part_locked(struct aside *aside, struct bitnet_kjob **gone)
{
	u32 n_gone = 0;

	for (u32 i = 0; i < engine.n_jobs; i++) {
		struct bitnet_kjob *job = engine.jobs[i];

		leave_step_locked(job);
		if (job->state == BITNET_STATE_STEPPING &&
		    job->job_class != BITNET_CLASS_REALTIME) {
			job->state = BITNET_STATE_PAUSED;
			aside->jobs[aside->n_jobs++] = job;
			continue;
		}
		bn_job_abandon(&job->core);
		gone[n_gone++] = job;
		if (job->state == BITNET_STATE_ENDED)
			continue;
		/* Ahead of its time when the step began; now it may have a claim of its own. */
		job->file->ring->promised -= job->promised;
		job->promised = 0;
		bitnet_job_run_locked(job);
	}
	return n_gone;
}

/* In state DELIVERING: the step has to wait. */
static void put_aside(void)
{
	enum bn_aside place = place_of_step();
	struct aside *aside = &engine.aside[place];
	struct bitnet_kjob **gone = engine.cands.parked;	/* nobody needs it now */
	u64 now = ktime_get_ns();
	u32 n_gone;

	trace_bitnet_step_yield(engine.rank, layer_of(engine.phase), engine.rows);
	bn_step_keep(engine.step, place);
	aside->model = engine.model;
	aside->rows = engine.rows;
	aside->phase = engine.phase;
	aside->layers_ns = engine.layers_ns;
	aside->whole = engine.whole;
	spin_lock(&bitnet.lock);
	charge_all_locked();
	account_locked(now);
	learn_layer_locked();
	n_gone = part_locked(aside, gone);
	bitnet.yields++;
	engine.live = 0;
	spin_unlock(&bitnet.lock);

	if (!aside->n_jobs) {
		bn_step_drop(engine.step, place, aside->rows);
		aside->rows = 0;
	}
	engine.n_jobs = 0;
	while (n_gone) {
		bitnet_ring_notify(gone[--n_gone]->file);
		bitnet_job_put_later(gone[n_gone]);
	}
}

/* Of the step in flight, all before @phase is computed: must it wait? */
static bool must_yield(u32 phase, u64 now)
{
	struct bn_sched_waiting waiting;
	bool yields;

	if (!READ_ONCE(bitnet.runnable) || engine.rank == BN_RANK_REALTIME)
		return false;
	spin_lock(&bitnet.lock);
	bitnet_queue_look_locked(&engine.sched, now, &waiting);
	account_locked(now);
	yields = bn_sched_yields(&engine.sched, engine.rank,
				 piece_cost(engine.model, phase, engine.rows, engine.step->n_slots),
				 &waiting);
	trace_bitnet_sched_layer(now, layer_of(phase), yields);
	spin_unlock(&bitnet.lock);
	return yields;
}

/*
 * A layer is finished, and the next one waits to be opened. Return: false if the step yields.
 *
 * Nobody else touches what this writes: there is no tile to finish.
 */
static bool next_layer(void)
{
	u32 phase = bn_work_phase(&engine.work) & ~BN_WORK_PAUSED;
	u64 now = ktime_get_ns();

	end_piece(now);
	if (must_yield(phase, now)) {
		engine.phase = phase;
		engine.yielding = true;
		return false;
	}
	bn_work_extend(&engine.work, bn_step_pause(engine.step, phase));
	return true;
}

/**
 * bitnet_workers_busy_locked() - longest time until what is computed now can be interrupted or ends
 */
u64 bitnet_workers_busy_locked(void)
{
	lockdep_assert_held(&bitnet.lock);
	return engine.live ? engine.busy_ns : 0;
}

/* ------------------------------------------------------------------- working */

enum found { FOUND_TILE, FOUND_WAIT, FOUND_IDLE };

/*
 * Leaves the step. Return: true for the last one to leave a step that is over: it delivers.
 *
 * All of it fully ordered, see the comment at the top. Between the two looks others may have come
 * in, finished a step that was not over then, and still be inside: it is for them to deliver.
 */
static bool leave(void)
{
	if (!atomic_dec_and_test(&engine.inside))
		return false;
	while (!atomic_read(&engine.inside) &&
	       atomic_cmpxchg(&engine.state, CLOSING, DELIVERING) == CLOSING) {
		if (!atomic_read(&engine.inside))
			return true;
		atomic_set(&engine.state, CLOSING);
		smp_mb();	/* whoever is inside sees it when he leaves, or has left here */
	}
	return false;
}

static void close_step(void)
{
	atomic_cmpxchg(&engine.state, ACTIVE, CLOSING);
}

static void finish(void)
{
	if (engine.yielding)
		put_aside();
	else
		deliver(true);
	atomic_set(&engine.state, BUILDING);
	step_build();
}

/* Gets a tile; the caller is inside then. */
static enum found enter(u32 *phase, u32 *tile)
{
	enum bn_claim claim = BN_CLAIM_WAIT;
	bool last = false;
	int state;

	/* Being inside without a tile keeps a step from being delivered: not for a time slice. */
	preempt_disable();
	atomic_inc(&engine.inside);
	/* Pairs with the full barriers of leave() and close_step(). */
	smp_mb__after_atomic();
	state = atomic_read_acquire(&engine.state);
	if (state == ACTIVE)
		claim = bn_work_claim(&engine.work, phase, tile);
	if (claim == BN_CLAIM_END)
		close_step();
	if (claim != BN_CLAIM_TILE)
		last = leave();
	preempt_enable();

	if (last)
		finish();
	if (claim == BN_CLAIM_TILE)
		return FOUND_TILE;
	return state == IDLE ? FOUND_IDLE : FOUND_WAIT;
}

/*
 * A tile took @ns more than its sections. At SCHED_FIFO almost nothing may do that but throttling
 * (kernel.sched_rt_runtime_us), and a host that takes the CPU away.
 */
static void notice_stall(struct bitnet_worker *worker, u64 ns)
{
	if (!fifo_priority || ns < STALL_NS)
		return;
	WRITE_ONCE(worker->throttled_ns, worker->throttled_ns + ns);
	bitnet_event_overload(raw_smp_processor_id(), ns);
	pr_notice_once("a worker could not run for %llu us: see kernel.sched_rt_runtime_us\n",
		       div_u64(ns, NSEC_PER_USEC));
}

static void compute(struct bitnet_worker *worker, u32 phase, u32 tile)
{
	bool opened = false, last;
	enum bn_done done;
	u64 ns, lost_ns;

	if (bitnet_fpu_tile(worker, engine.step, phase, tile, &engine.work.stop, &ns, &lost_ns)) {
		done = bn_work_done(&engine.work, phase);
		if (done == BN_DONE_STEP || (done == BN_DONE_PAUSED && !next_layer()))
			close_step();
		opened = bn_work_phase(&engine.work) != phase;
	} else {
		close_step();
	}
	WRITE_ONCE(worker->cpu_ns, worker->cpu_ns + ns);
	notice_stall(worker, lost_ns);
	atomic64_add(ns, &engine.ns);
	atomic64_add(bn_tile_weight_bytes(worker->buffer), &engine.weight_bytes);
	if (opened)
		wake_sleepers();
	last = leave();
	if (last)
		finish();
	/* What was done here is no part of the next section. */
	if (opened || last)
		worker->clock.ns = 0;
}

static bool must_rest(unsigned int cpu)
{
	return kthread_should_stop() || kthread_should_park() || READ_ONCE(engine.paused) ||
	       cpumask_test_cpu(cpu, &resting);
}

/* Finds runnable jobs when nobody computes. Return: true if there is a step now. */
static bool start_idle(void)
{
	if (!READ_ONCE(bitnet.runnable))
		return false;
	if (atomic_cmpxchg(&engine.state, IDLE, BUILDING) != IDLE)
		return true;
	return step_build();
}

/*
 * Says that this worker sleeps from now on, so that it is woken. It looks once more before it does.
 */
static void doze(struct bitnet_worker *worker)
{
	WRITE_ONCE(worker->sleeping, true);
	atomic_inc(&engine.sleepers);
	/* Pairs with the barrier in wake_sleepers(). */
	smp_mb__after_atomic();
}

static void awake(struct bitnet_worker *worker)
{
	if (!worker->sleeping)
		return;
	WRITE_ONCE(worker->sleeping, false);
	atomic_dec(&engine.sleepers);
}

/* Waits a little for another phase or state than the given ones. */
static void spin(int state, u32 phase)
{
	u64 start = ktime_get_ns();

	while (atomic_read(&engine.state) == state && bn_work_phase(&engine.work) == phase &&
	       !need_resched() && ktime_get_ns() - start < SPIN_NS)
		cpu_relax();
}

/*
 * Who else wants this CPU gets it for a moment. A SCHED_FIFO worker may have something to compute
 * for hours; below it are threads that the kernel itself depends on, above all on PREEMPT_RT:
 * timers, softirqs, and RCU's own, without which grace periods do not end.
 */
static void take_break(struct bitnet_worker *worker)
{
	if (!fifo_priority || time_before(jiffies, worker->next_break) || single_task_running())
		return;
	usleep_range(BREAK_US, BREAK_US + BREAK_US / 10);
	worker->next_break = jiffies + msecs_to_jiffies(BREAK_MS);
}

/*
 * The thread's work, until there is none. Returns as well, between two tiles, when the thread is to
 * stop, park or pause.
 */
static void worker_fn(unsigned int cpu)
{
	struct bitnet_worker *worker = per_cpu_ptr(&workers, cpu);
	bool waited = false;

	/*
	 * enter() has a full barrier: a reason to wake up that came with this kick is seen there.
	 */
	WRITE_ONCE(worker->kick, false);
	awake(worker);
	while (!must_rest(cpu)) {
		int state = atomic_read(&engine.state);
		u32 at = bn_work_phase(&engine.work);
		u32 phase, tile;
		enum found found = enter(&phase, &tile);

		if (found != FOUND_TILE)
			worker->clock.ns = 0;
		if (found == FOUND_TILE) {
			awake(worker);
			compute(worker, phase, tile);
			take_break(worker);
		} else if (found == FOUND_IDLE && start_idle()) {
			awake(worker);
		} else if (worker->sleeping) {
			return;
		} else if (found == FOUND_WAIT && !waited) {
			spin(state, at);
			waited = true;
			cond_resched();
			continue;
		} else {
			doze(worker);
		}
		waited = false;
	}
}

static int should_run(unsigned int cpu)
{
	return READ_ONCE(per_cpu_ptr(&workers, cpu)->kick) && !READ_ONCE(engine.paused) &&
	       !cpumask_test_cpu(cpu, &resting);
}

static void look_for_work(unsigned int cpu)
{
	if (cpumask_test_cpu(cpu, &worker_cpus))
		WRITE_ONCE(per_cpu_ptr(&workers, cpu)->kick, true);
}

static void worker_setup(unsigned int cpu)
{
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = SCHED_FIFO,
		.sched_priority = fifo_priority,
	};

	if (!cpumask_test_cpu(cpu, &worker_cpus))
		return;
	if (fifo_priority && sched_setattr_nocheck(current, &attr))
		pr_warn_once("SCHED_FIFO was refused\n");
	per_cpu_ptr(&workers, cpu)->next_break = jiffies;
	look_for_work(cpu);
}

static void tell_online(unsigned int cpu, bool online)
{
	if (cpumask_test_cpu(cpu, &worker_cpus))
		bitnet_event_worker(cpu, cpumask_test_cpu(cpu, &resting), online);
}

static void worker_park(unsigned int cpu)
{
	look_for_work(cpu);	/* as soon as it is unparked */
	tell_online(cpu, false);
}

static void worker_unpark(unsigned int cpu)
{
	tell_online(cpu, true);
}

/*
 * Threads on CPUs outside of worker_cpus come with smpboot; they never run. That is the price for
 * parking that works: an ordinary bound thread is pushed to other CPUs before a callback of ours
 * could park it.
 */
static struct smp_hotplug_thread worker_threads = {
	.store = &worker_tasks,
	.thread_should_run = should_run,
	.thread_fn = worker_fn,
	.setup = worker_setup,
	.park = worker_park,
	.unpark = worker_unpark,
	.thread_comm = "bitnet/%u",
};

static int pm_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	int cpu;

	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
		WRITE_ONCE(engine.paused, true);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
		WRITE_ONCE(engine.paused, false);
		cpus_read_lock();
		for_each_cpu(cpu, &worker_cpus) {
			struct task_struct *task = *per_cpu_ptr(&worker_tasks, cpu);

			look_for_work(cpu);
			if (task)
				wake_up_process(task);
		}
		cpus_read_unlock();
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_block = { .notifier_call = pm_event };

static int parse_cpus(const char *cpus)
{
	unsigned int last;

	if (*cpus) {
		int err = cpulist_parse(cpus, &worker_cpus);

		if (err)
			return err;
		cpumask_and(&worker_cpus, &worker_cpus, cpu_possible_mask);
	} else if (num_online_cpus() > 2) {
		cpumask_copy(&worker_cpus, cpu_possible_mask);
		cpumask_clear_cpu(0, &worker_cpus);
	} else {
		last = cpumask_last(cpu_online_mask);
		cpumask_set_cpu(last, &worker_cpus);
	}
	return cpumask_intersects(&worker_cpus, cpu_online_mask) ? 0 : -EINVAL;
}

static int parse_policy(const char *policy)
{
	int err;

	if (!strcmp(policy, "other"))
		return 0;
	if (strncmp(policy, "fifo:", 5))
		return -EINVAL;
	err = kstrtoint(policy + 5, 10, &fifo_priority);
	if (err)
		return err;
	return fifo_priority >= 1 && fifo_priority <= 99 ? 0 : -EINVAL;
}

/*
 * They are stopped and freed one after the other, while those that are left may want to wake them.
 */
static void stop_threads(void)
{
	WRITE_ONCE(engine.exiting, true);
	/* Pairs with the read-side section in wake_sleepers(). */
	synchronize_rcu();
	smpboot_unregister_percpu_thread(&worker_threads);
}

static void free_buffers(void)
{
	int cpu;

	for_each_cpu(cpu, &worker_cpus) {
		kvfree_sensitive(per_cpu_ptr(&workers, cpu)->buffer, BN_TILE_BYTES);
		per_cpu_ptr(&workers, cpu)->buffer = NULL;
	}
}

/* Page-aligned: of a size that kmalloc() rounds up to pages, or vmalloc()'s. */
static int alloc_buffers(void)
{
	int cpu;

	for_each_cpu(cpu, &worker_cpus) {
		void *buffer = kvzalloc_node(BN_TILE_BYTES, GFP_KERNEL, cpu_to_node(cpu));

		if (!buffer) {
			free_buffers();
			return -ENOMEM;
		}
		per_cpu_ptr(&workers, cpu)->buffer = buffer;
	}
	return 0;
}

/**
 * bitnet_workers_init() - start the threads
 * @cpus:	list of CPUs; "": all but CPU 0 where there are more than two, else the last
 * @policy:	"other" or "fifo:N"
 */
int bitnet_workers_init(const char *cpus, const char *policy)
{
	int err;

	err = parse_cpus(cpus);
	if (err) {
		pr_err("cpus=%s: no such CPU is online\n", cpus);
		return err;
	}
	err = parse_policy(policy);
	if (err) {
		pr_err("policy=%s: neither \"other\" nor \"fifo:1\" .. \"fifo:99\"\n", policy);
		return err;
	}
	err = alloc_buffers();
	if (err)
		return err;
	err = smpboot_register_percpu_thread(&worker_threads);
	if (err)
		goto out_buffers;
	err = register_pm_notifier(&pm_block);
	if (err)
		goto out_threads;
	return 0;

out_threads:
	stop_threads();
out_buffers:
	free_buffers();
	return err;
}

/**
 * bitnet_workers_exit() - stop the threads
 *
 * No file is open. A step whose jobs have all ended may still be in flight; the threads leave it
 * between two tiles, and what is left of it is dropped here.
 */
void bitnet_workers_exit(void)
{
	unregister_pm_notifier(&pm_block);
	stop_threads();
	if (atomic_read(&engine.state) == ACTIVE || atomic_read(&engine.state) == CLOSING)
		deliver(false);
	for (u32 p = 0; p < BN_ASIDES; p++)
		for (u32 i = 0; i < engine.aside[p].n_jobs; i++)
			bitnet_job_put_later(engine.aside[p].jobs[i]);
	free_buffers();
}

/** bitnet_workers_count() - threads that can compute now */
u32 bitnet_workers_count(void)
{
	unsigned int cpu;
	u32 n = 0;

	for_each_cpu_and(cpu, &worker_cpus, cpu_online_mask)
		n += !cpumask_test_cpu(cpu, &resting);
	return n;
}

/**
 * bitnet_section_histogram() - lengths of all sections since the module was loaded, RUN's too
 * @buckets:	BITNET_SECTION_BUCKETS, zeroed; NULL: not wanted
 *
 * Return: the longest, in ns.
 */
u64 bitnet_section_histogram(u64 *buckets)
{
	u64 max_ns = 0;
	int cpu;

	for_each_cpu(cpu, &worker_cpus)
		bitnet_sections_add(&per_cpu_ptr(&workers, cpu)->sections, buckets, &max_ns);
	bitnet_sections_inline(buckets, &max_ns);
	return max_ns;
}

/** bitnet_section_max_ns() - the longest of them */
u64 bitnet_section_max_ns(void)
{
	return bitnet_section_histogram(NULL);
}

/* ------------------------------------------------------------------- resting */

/*
 * Makes all workers that may compute look for work: one that goes to rest between two tiles may
 * have been the only one that was awake.
 */
static void wake_computing(void)
{
	int cpu;

	/* Pairs with the barrier in wake_sleepers(): it sees the mask, or they see its reason. */
	smp_mb();
	rcu_read_lock();
	for_each_cpu_andnot(cpu, &worker_cpus, &resting) {
		struct task_struct *task = READ_ONCE(*per_cpu_ptr(&worker_tasks, cpu));

		/* Pairs with stop_threads(), see wake_sleepers(). */
		if (READ_ONCE(engine.exiting))
			break;
		look_for_work(cpu);
		if (task)
			wake_up_process(task);
	}
	rcu_read_unlock();
}

/**
 * bitnet_workers_set() - choose the workers that compute from now on
 * @cpus:	theirs; the others rest: they leave the step in flight after their tile and sleep
 *
 * Context: sleeps. Return: -EINVAL if a CPU has no worker, or if none that is online would be left.
 */
int bitnet_workers_set(const struct cpumask *cpus)
{
	unsigned int cpu;
	int err = -EINVAL;

	mutex_lock(&workers_lock);
	cpus_read_lock();
	if (!cpumask_subset(cpus, &worker_cpus) || !cpumask_intersects(cpus, cpu_online_mask))
		goto out;
	for_each_cpu(cpu, &worker_cpus) {
		bool rest = !cpumask_test_cpu(cpu, cpus);

		if (rest == cpumask_test_cpu(cpu, &resting))
			continue;
		if (rest)
			cpumask_set_cpu(cpu, &resting);
		else
			cpumask_clear_cpu(cpu, &resting);
		bitnet_event_worker(cpu, rest, cpu_online(cpu));
	}
	wake_computing();
	err = 0;
out:
	cpus_read_unlock();
	mutex_unlock(&workers_lock);
	return err;
}

/**
 * bitnet_workers_each() - call a function for each CPU that has a worker, until it returns an error
 * @from:	first CPU
 * @fn:		called without locks
 * @arg:	for @fn
 *
 * Return: the CPU that @fn failed for, or nr_cpu_ids.
 */
int bitnet_workers_each(unsigned int from,
			int (*fn)(const struct bitnet_worker_info *info, void *arg), void *arg)
{
	unsigned int cpu;

	for_each_cpu(cpu, &worker_cpus) {
		const struct bitnet_worker *worker = per_cpu_ptr(&workers, cpu);
		const struct bitnet_worker_info info = {
			.cpu = cpu,
			.parked = cpumask_test_cpu(cpu, &resting),
			.online = cpu_online(cpu),
			.cpu_ns = READ_ONCE(worker->cpu_ns),
			.section_max_ns = READ_ONCE(worker->sections.max_ns),
			.throttled_ns = READ_ONCE(worker->throttled_ns),
		};

		if (cpu >= from && fn(&info, arg))
			return cpu;
	}
	return nr_cpu_ids;
}

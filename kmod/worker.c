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
 *   DELIVERING the last one to leave (cmpxchg); hands out the results and goes on to BUILDING
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
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/smpboot.h>
#include <linux/suspend.h>
#include <uapi/linux/sched/types.h>

#include "bitnet.h"
#include "trace.h"

enum engine_state { IDLE, BUILDING, ACTIVE, CLOSING, DELIVERING };

/*
 * How long a worker looks for more work before it sleeps: phases of small models take some 10 us, a
 * sleep and a wake-up about 5.
 */
#define SPIN_NS		30000

/*
 * struct engine - the step in flight
 * @state:	enum engine_state
 * @inside:	workers that may look at @work and @step
 * @work, @step: see above for who owns them
 * @model:	of the step, held by its jobs
 * @jobs:	in the step, each with a reference; @n_jobs is 0 but while a step is in flight
 * @live:	of these, not ended. bitnet.lock
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
	atomic64_t ns;
	atomic64_t weight_bytes;
	u64 start_ns;
	atomic_t sleepers;
	bool paused;
	bool exiting;
	/* scratch of whoever builds or delivers */
	struct bn_sched_cand cands[BITNET_CANDS];
	struct bitnet_kjob *cand_jobs[BITNET_CANDS];
	struct bitnet_kjob *parked[BITNET_CANDS];
	u32 n_parked;
	struct bn_token tokens[BN_MAX_HEAD_ROWS];
} engine;

static DEFINE_PER_CPU(struct bitnet_worker, workers);
static DEFINE_PER_CPU(struct task_struct *, worker_tasks);
static struct cpumask worker_cpus;
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
		if (!task || !READ_ONCE(worker->sleeping))
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
 * bitnet_workers_leave_locked() - a job that is part of the step in flight ends
 * @job:	the job
 *
 * If it was the last that anybody waited for, the step is abandoned.
 */
void bitnet_workers_leave_locked(struct bitnet_kjob *job)
{
	struct bitnet_ring *ring = job->file->ring;

	lockdep_assert_held(&bitnet.lock);
	ring->promised -= job->promised;
	job->promised = 0;
	if (!--engine.live)
		bn_work_stop(&engine.work);
}

/* ------------------------------------------------------------------ building */

static void collect_user_locked(struct bitnet_user *user, u32 most, u32 *n)
{
	struct bitnet_kjob *job, *next;
	u32 from = *n;

	list_for_each_entry_safe(job, next, &user->runnable, run_node) {
		struct bitnet_file *file = job->file;
		bool linear = job->kind == BITNET_JOB_LINEAR;

		if (*n == BITNET_CANDS || *n - from == most)
			return;
		if (!linear && !bitnet_ring_free_locked(file->ring)) {
			if (engine.n_parked == BITNET_CANDS)
				return;
			atomic_inc(&job->refs);
			engine.parked[engine.n_parked++] = job;
			bitnet_job_park_locked(job);
			continue;
		}
		engine.cands[*n] = (struct bn_sched_cand){
			/* A LINEAR job shares its step with no other. */
			.model = linear ? (void *)job : (void *)job->model,
			.user = (uintptr_t)user,
			.user_attained = user->attained_ns,
			.job_attained = file->attained_ns,
			/* Unique, in order of arrival, and leads back to the job. */
			.arrival = job->arrival * BITNET_CANDS + *n,
			.wants = linear ? job->linear.rows : bn_job_wants(&job->core),
			.slots_per_row = job->kind == BITNET_JOB_SCORE,
			.decoding = !linear && bn_job_decoding(&job->core),
		};
		engine.cand_jobs[*n] = job;
		++*n;
	}
}

/* Candidates for the next step: from each user as many as from any other. */
static u32 collect_locked(void)
{
	u32 n_users = 0, n = 0;
	struct bitnet_user *user;

	list_for_each_entry(user, &bitnet.active, active)
		n_users++;
	bitnet.rounds++;
	while (n < BITNET_CANDS && !list_empty(&bitnet.active)) {
		user = list_first_entry(&bitnet.active, struct bitnet_user, active);
		if (user->asked == bitnet.rounds)
			break;
		user->asked = bitnet.rounds;
		/* Who did not get in comes first next time. */
		list_move_tail(&user->active, &bitnet.active);
		collect_user_locked(user, max(1U, BITNET_CANDS / n_users), &n);
	}
	return n;
}

/* Rows that the job can have without promising more ring slots than there are. */
static u32 rows_within_ring(const struct bitnet_kjob *job, u32 rows)
{
	u32 room = bitnet_ring_free_locked(job->file->ring);

	while (rows && bn_job_slots(&job->core, rows) > room)
		rows--;
	return rows;
}

static void join_locked(struct bitnet_kjob *job, u32 rows)
{
	u64 now = ktime_get_ns();

	bitnet_job_unrun_locked(job);
	job->state = BITNET_STATE_STEPPING;
	job->step_rows = rows;
	job->file->ring->promised += job->promised;
	atomic_inc(&job->refs);
	if (!job->started) {
		job->started = true;
		job->file->count.queue_ns += now - job->submit_ns;
		bitnet.count.queue_ns += now - job->submit_ns;
		trace_bitnet_job_start(job, now - job->submit_ns);
	}
	engine.jobs[engine.n_jobs++] = job;
	engine.rows += rows;
}

/* Fills the step with jobs. Return: how many; 0 with the state IDLE, unless jobs were parked. */
static u32 choose_locked(void)
{
	u32 n_rows = 0, n_slots = 0;
	u32 granted;

	engine.n_jobs = 0;
	engine.rows = 0;
	granted = bn_sched_plan(engine.cands, collect_locked());
	for (u32 i = 0; i < granted; i++) {
		const struct bn_sched_cand *cand = &engine.cands[i];
		struct bitnet_kjob *job = engine.cand_jobs[cand->arrival % BITNET_CANDS];
		u32 rows = cand->rows;

		if (!i) {
			bitnet.floor_ns = max(bitnet.floor_ns, cand->user_attained);
			engine.model = job->model;
			engine.step = &job->model->step;
		}
		job->file->user->floor_ns = max(job->file->user->floor_ns, cand->job_attained);
		if (job->kind == BITNET_JOB_LINEAR) {
			engine.step->linear = job->linear;
			join_locked(job, job->linear.rows);
			break;
		}
		rows = rows_within_ring(job, rows);
		if (!rows)
			continue;
		job->promised = bn_job_slots(&job->core, rows);
		bn_job_fill(&job->core, engine.step, rows, &n_rows, &n_slots);
		join_locked(job, rows);
	}
	engine.live = engine.n_jobs;
	if (!engine.n_jobs && !engine.n_parked)
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
		parked = engine.n_parked;
		spin_unlock(&bitnet.lock);
		if (!n && !parked)
			return false;	/* from here on @engine is somebody else's */
		/* Who waits for these jobs should know. */
		while (engine.n_parked) {
			struct bitnet_kjob *job = engine.parked[--engine.n_parked];

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

static enum bn_err begin(void)
{
	struct bn_step *step = engine.step;
	enum bn_err err;

	if (engine.jobs[0]->kind == BITNET_JOB_LINEAR)
		return bn_step_begin_linear(step);
	err = bn_step_begin(step, engine.rows);
	if (!err)
		for (u32 i = 0; i < engine.n_jobs; i++)
			bn_job_arm(&engine.jobs[i]->core, step);
	return err;
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
		engine.start_ns = ktime_get_ns();
		if (WARN_ON_ONCE(begin())) {
			deliver(false);
			continue;
		}
		bn_work_start(&engine.work, engine.step);
		/* Jobs may have ended since they were chosen, before there was anything to stop. */
		spin_lock(&bitnet.lock);
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

static void post_token_locked(struct bitnet_kjob *job, const struct bn_token *token, u64 now)
{
	struct bitnet_ring_entry entry = {
		.user_data = job->user_data,
		.kind = BITNET_ENTRY_TOKEN,
		.token = token->token,
		.position = token->position,
		.logprob = token->logprob,
		.n_tokens = token->index,
		.time_ns = now,
		.logits_hash = job->flags & BITNET_JOB_F_HASH ? token->hash : 0,
	};
	u64 latency = now - job->last_ns;
	u32 bucket = bitnet_bucket(latency);

	job->last_ns = now;
	job->tokens_out++;
	job->file->count.token_ns[bucket]++;
	bitnet.count.token_ns[bucket]++;
	trace_bitnet_token(job, token->index, latency);
	bitnet_ring_post_locked(job->file, &entry);
}

/* Hands out what the step has made for a job that is not ended. */
static void deliver_job_locked(struct bitnet_kjob *job, u64 now, struct list_head *ended)
{
	struct bitnet_counters *count = &job->file->count;
	u32 fed, n;

	if (job->kind == BITNET_JOB_LINEAR) {
		bitnet_job_end_locked(job, 0, ended);
		return;
	}
	fed = job->core.fed;
	n = bn_job_finish(&job->core, engine.step, engine.tokens);
	fed = job->core.fed - fed;
	for (u32 i = 0; i < n; i++)
		post_token_locked(job, &engine.tokens[i], now);
	job->tokens_in += fed;
	count->tokens_in += fed;
	bitnet.count.tokens_in += fed;
	if (job->kind == BITNET_JOB_GENERATE) {
		count->tokens_out += n;
		bitnet.count.tokens_out += n;
	}
	if (job->core.reason)
		bitnet_job_end_locked(job, 0, ended);
	else
		bitnet_job_run_locked(job);
}

static void charge_locked(struct bitnet_kjob *job, u64 ns, u64 weight_bytes)
{
	job->cpu_ns += ns;
	job->file->attained_ns += ns;
	job->file->user->attained_ns += ns;
	job->file->count.cpu_ns += ns;
	bitnet.count.cpu_ns += ns;
	job->file->count.weight_bytes += weight_bytes;
	bitnet.count.weight_bytes += weight_bytes;
}

/* In state DELIVERING, or BUILDING when the step could not begin: results to their owners. */
static void deliver(bool computed)
{
	u64 ns = atomic64_read(&engine.ns);
	u64 weight_bytes = atomic64_read(&engine.weight_bytes);
	u64 now = ktime_get_ns();
	LIST_HEAD(ended);

	trace_bitnet_step(engine.n_jobs, engine.rows, now - engine.start_ns, ns);
	spin_lock(&bitnet.lock);
	for (u32 i = 0; i < engine.n_jobs; i++) {
		struct bitnet_kjob *job = engine.jobs[i];

		charge_locked(job, div_u64(ns * job->step_rows, engine.rows),
			      div_u64(weight_bytes * job->step_rows, engine.rows));
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

/* ------------------------------------------------------------------- working */

enum found { FOUND_TILE, FOUND_WAIT, FOUND_IDLE };

/* Leaves the step. Return: true for the last one to leave a step that is over: it delivers. */
static bool leave(void)
{
	/* Fully ordered: see the comment at the top. */
	return atomic_dec_and_test(&engine.inside) &&
	       atomic_cmpxchg(&engine.state, CLOSING, DELIVERING) == CLOSING;
}

static void close_step(void)
{
	atomic_cmpxchg(&engine.state, ACTIVE, CLOSING);
}

static void finish(void)
{
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

static void compute(struct bitnet_worker *worker, u32 phase, u32 tile)
{
	bool opened = false;
	u64 ns;

	if (bitnet_fpu_tile(worker, engine.step, phase, tile, &engine.work.stop, &ns)) {
		if (bn_work_done(&engine.work, phase))
			close_step();
		opened = bn_work_phase(&engine.work) != phase;
	} else {
		close_step();
	}
	atomic64_add(ns, &engine.ns);
	atomic64_add(bn_tile_weight_bytes(worker->buffer), &engine.weight_bytes);
	if (opened)
		wake_sleepers();
	if (leave())
		finish();
}

static bool must_rest(void)
{
	return kthread_should_stop() || kthread_should_park() || READ_ONCE(engine.paused);
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
	while (!must_rest()) {
		int state = atomic_read(&engine.state);
		u32 at = bn_work_phase(&engine.work);
		u32 phase, tile;
		enum found found = enter(&phase, &tile);

		if (found == FOUND_TILE) {
			awake(worker);
			compute(worker, phase, tile);
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
	return READ_ONCE(per_cpu_ptr(&workers, cpu)->kick) && !READ_ONCE(engine.paused);
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
	look_for_work(cpu);
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
	.park = look_for_work,		/* as soon as it is unparked */
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
	free_buffers();
}

/** bitnet_workers_count() - threads that can compute now */
u32 bitnet_workers_count(void)
{
	unsigned int cpu;
	u32 n = 0;

	for_each_cpu_and(cpu, &worker_cpus, cpu_online_mask)
		n++;
	return n;
}

/** bitnet_section_max_ns() - the longest section since the module was loaded */
u64 bitnet_section_max_ns(void)
{
	u64 most = 0;
	int cpu;

	for_each_cpu(cpu, &worker_cpus)
		most = max(most, READ_ONCE(per_cpu_ptr(&workers, cpu)->section_max_ns));
	return most;
}

/** bitnet_section_histogram() - lengths of all sections; @buckets: BITNET_HIST_BUCKETS, zeroed */
void bitnet_section_histogram(u64 *buckets)
{
	int cpu;

	for_each_cpu(cpu, &worker_cpus)
		for (int i = 0; i < BITNET_HIST_BUCKETS; i++)
			buckets[i] += READ_ONCE(per_cpu_ptr(&workers, cpu)->sections[i]);
}

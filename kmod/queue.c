// SPDX-License-Identifier: GPL-2.0
/*
 * queue.c - jobs that could run: who they are, what realtime jobs claim, and whom a step may choose
 * from
 *
 * The order is bn_sched.h's business. Here is what it needs to know: lists of runnable jobs by
 * user, in two queues, so that neither BATCH jobs in great number keep others out of sight nor the
 * other way round, and the list of all accepted REALTIME jobs. All of it under bitnet.lock.
 */
#include <linux/ktime.h>

#include "bitnet.h"
#include "trace.h"

#define BATCH_CANDS	16	/* candidates that others leave to BATCH jobs */

static enum bitnet_queue queue_of(const struct bitnet_kjob *job)
{
	return job->job_class == BITNET_CLASS_BATCH ? BITNET_QUEUE_BATCH : BITNET_QUEUE_FIRST;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* After an interruption of its own making, a job claims no time that has passed. */
static void claim_anew(struct bitnet_kjob *job, u64 now)
{
	job->due_ns = max(job->due_ns, now + job->period_ns);
	job->release_ns = now;
}

/*
 * bitnet_job_run_locked() - put a job that is QUEUED, PARKED or was part of a step among the
 * runnable ones
 */
void bitnet_job_run_locked(struct bitnet_kjob *job)
{
	struct bitnet_user *user = job->file->user;
	enum bitnet_queue q = queue_of(job);

	lockdep_assert_held(&bitnet.lock);
	if (job->state == BITNET_STATE_PARKED) {
		list_del(&job->run_node);
		job->file->n_parked--;
		user->n_parked--;
		if (job->job_class == BITNET_CLASS_REALTIME)
			claim_anew(job, ktime_get_ns());
	}
	job->state = BITNET_STATE_RUNNABLE;
	/* Who was idle does not get the time back that he did not use. */
	if (!user->n_runnable++)
		user->attained_ns = max(user->attained_ns, bitnet.floor_ns);
	if (list_empty(&user->runnable[q]))
		list_add_tail(&user->active[q], &bitnet.active[q]);
	job->file->attained_ns = max(job->file->attained_ns, user->floor_ns);
	list_add_tail(&job->run_node, &user->runnable[q]);
	bitnet.n_runnable[job->job_class]++;
	WRITE_ONCE(bitnet.runnable, bitnet.runnable + 1);
	trace_bitnet_sched_ready(job);
}

/** bitnet_job_unrun_locked() - take a RUNNABLE job out; the caller sets its next state */
void bitnet_job_unrun_locked(struct bitnet_kjob *job)
{
	struct bitnet_user *user = job->file->user;
	enum bitnet_queue q = queue_of(job);

	lockdep_assert_held(&bitnet.lock);
	list_del(&job->run_node);
	user->n_runnable--;
	bitnet.n_runnable[job->job_class]--;
	WRITE_ONCE(bitnet.runnable, bitnet.runnable - 1);
	if (list_empty(&user->runnable[q]))
		list_del_init(&user->active[q]);
}

/*
 * bitnet_job_park_locked() - a RUNNABLE job finds no room in the ring. Then bitnet_ring_notify() is
 * due
 */
void bitnet_job_park_locked(struct bitnet_kjob *job)
{
	bitnet_job_unrun_locked(job);
	job->state = BITNET_STATE_PARKED;
	list_add_tail(&job->run_node, &job->file->parked);
	job->file->n_parked++;
	job->file->user->n_parked++;
	bitnet_ring_park_locked(job->file);
	trace_bitnet_sched_park(job);
}

/* ---- realtime -------------------------------------------------------------------------------- */

static void demand_of(const struct bitnet_kjob *job, struct bn_demand *d)
{
	const struct bn_costs *costs = &job->model->costs;

	*d = (struct bn_demand){
		.release = job->release_ns,
		.due = job->due_ns,
		.token = bn_costs_step(costs, 1, 1),
		.period = job->period_ns,
	};
	d->left = bn_job_decoding(&job->core) ? d->token :
		  bn_costs_prompt(costs, bn_job_wants(&job->core));
}

/**
 * bitnet_queue_look_locked() - bring the situation up to date
 * @s:		the policy's state; @s->demand has room for BN_SCHED_REALTIME
 * @now:	CLOCK_MONOTONIC
 * @waiting:	out: who could run now; may be NULL
 *
 * Left out is who cannot run by his own doing: jobs that SUBMIT still prepares, and parked ones.
 */
void bitnet_queue_look_locked(struct bn_sched *s, u64 now, struct bn_sched_waiting *waiting)
{
	struct bn_sched_waiting w = { .interactive = bitnet.n_runnable[BITNET_CLASS_INTERACTIVE] };
	struct bitnet_kjob *job;

	lockdep_assert_held(&bitnet.lock);
	s->now = now;
	s->n_demand = 0;
	s->floor_ppm = bitnet.batch_floor_ppm;
	list_for_each_entry(job, &bitnet.realtime, realtime_node) {
		job->demand = NULL;
		if (job->state == BITNET_STATE_PREPARED || job->state == BITNET_STATE_PARKED)
			continue;
		job->demand = &s->demand[s->n_demand++];
		demand_of(job, job->demand);
		w.ahead |= job->state == BITNET_STATE_RUNNABLE ||
			   job->state == BITNET_STATE_STEPPING;
		w.realtime |= job->state == BITNET_STATE_RUNNABLE && job->release_ns <= now;
		w.interactive |= job->state == BITNET_STATE_RUNNABLE;
	}
	if (waiting)
		*waiting = w;
}

/*
 * What @token_ns in every period are of the workers' time. What is more than all of it, the policy
 * refuses.
 */
static u32 share_of(const struct bitnet_kjob *job, u64 token_ns)
{
	return min_t(u64, div64_u64(token_ns * 1000000, job->period_ns), 1000000) + 1;
}

/**
 * bitnet_realtime_admit_locked() - accept a REALTIME job, or not
 * @job:	prepared; its time begins now
 * @refusal:	out, if refused: why
 *
 * Return: 0 or -EDQUOT.
 */
int bitnet_realtime_admit_locked(struct bitnet_kjob *job, struct bitnet_refusal *refusal)
{
	static struct bn_demand demand[BN_SCHED_REALTIME];	/* bitnet.lock */
	const struct bn_costs *costs = &job->model->costs;
	u64 now = ktime_get_ns(), load, piece, busy;
	enum bn_refusal verdict;
	struct bitnet_kjob *other;
	u32 n = 0;

	lockdep_assert_held(&bitnet.lock);
	refusal->step_ns = bn_costs_step(costs, 1, 1);
	if (bitnet.n_realtime == BN_SCHED_REALTIME) {
		refusal->why = BITNET_REFUSED_REALTIME;
		return -EDQUOT;
	}
	job->realtime_ppm = share_of(job, refusal->step_ns);
	if (refusal->step_ns <= job->period_ns &&
	    bitnet_charge_locked(job->file->user, BITNET_RES_REALTIME_PPM, job->realtime_ppm)) {
		refusal->why = BITNET_REFUSED_SHARE;
		refusal->load_ppm = job->file->user->used[BITNET_RES_REALTIME_PPM] +
				    job->realtime_ppm;
		return -EDQUOT;
	}
	job->release_ns = now;
	job->due_ns = now + job->first_token_ns;
	list_for_each_entry(other, &bitnet.realtime, realtime_node)
		demand_of(other, &demand[n++]);
	demand_of(job, &demand[n++]);
	/* Of all loaded models, the worst piece that cannot be interrupted. */
	piece = max(bitnet.worst_piece_ns, bn_costs_of(costs->layer, 1));
	busy = bitnet_workers_busy_locked();
	verdict = bn_sched_admit(demand, n, now, piece, busy, bitnet.batch_floor_ppm, &load);
	refusal->load_ppm = min_t(u64, load, U32_MAX);
	trace_bitnet_admit(job, verdict, refusal->load_ppm, refusal->step_ns, now, piece, busy);
	if (verdict != BN_ADMITTED) {
		if (refusal->step_ns <= job->period_ns)
			bitnet_uncharge_locked(job->file->user, BITNET_RES_REALTIME_PPM,
					       job->realtime_ppm);
		refusal->why = verdict == BN_REFUSED_PERIOD ? BITNET_REFUSED_PERIOD :
							      BITNET_REFUSED_LOAD;
		return -EDQUOT;
	}
	list_add_tail(&job->realtime_node, &bitnet.realtime);
	bitnet.n_realtime++;
	return 0;
}

/** bitnet_realtime_leave_locked() - the reverse, also for jobs of other classes */
void bitnet_realtime_leave_locked(struct bitnet_kjob *job)
{
	lockdep_assert_held(&bitnet.lock);
	if (list_empty(&job->realtime_node))
		return;
	list_del_init(&job->realtime_node);
	bitnet.n_realtime--;
	bitnet_uncharge_locked(job->file->user, BITNET_RES_REALTIME_PPM, job->realtime_ppm);
}

/**
 * bitnet_realtime_token_locked() - a REALTIME job has got a token
 * @job:	the job
 * @now:	when
 *
 * Sets when the next is due. Return: by how much it was late, ns.
 */
u64 bitnet_realtime_token_locked(struct bitnet_kjob *job, u64 now)
{
	u64 late = now > job->due_ns ? now - job->due_ns : 0;

	job->due_ns = (late ? now : job->due_ns) + job->period_ns;
	job->release_ns = job->due_ns - job->period_ns;
	return late;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Adds @job; or parks it: then it is counted in @cands->n_parked, with a reference. */
static void add_locked(struct bitnet_cands *cands, struct bitnet_kjob *job)
{
	struct bitnet_file *file = job->file;
	bool linear = job->kind == BITNET_JOB_LINEAR;

	if (!linear && !bitnet_ring_free_locked(file->ring)) {
		if (cands->n_parked == BITNET_CANDS)
			return;
		refcount_inc(&job->refs);
		cands->parked[cands->n_parked++] = job;
		bitnet_job_park_locked(job);
		return;
	}
	cands->cand[cands->n++] = (struct bn_sched_cand){
		/*
		 * A LINEAR job shares its step with no other. It is not interrupted, but takes no
		 * longer than a layer of as many rows.
		 */
		.model = linear ? (void *)job : (void *)job->model,
		.costs = &job->model->costs,
		.user = (uintptr_t)file->user,
		.user_attained = file->user->attained_ns,
		.job_attained = file->attained_ns,
		.arrival = job->arrival,
		.wants = linear ? job->linear.rows : bn_job_wants(&job->core),
		.slots_per_row = job->kind == BITNET_JOB_SCORE,
		.decoding = !linear && bn_job_decoding(&job->core),
		.job_class = job->job_class,
		.demand = job->job_class == BITNET_CLASS_REALTIME ? job->demand : NULL,
		.job = job,
	};
}

static void add_realtime_locked(struct bitnet_cands *cands)
{
	struct bitnet_kjob *job;

	/*
	 * Parking one may let others run again that were parked when the situation was looked at.
	 * They have no claim in it: their turn is the next step's.
	 */
	list_for_each_entry(job, &bitnet.realtime, realtime_node)
		if (job->state == BITNET_STATE_RUNNABLE && job->demand && cands->n < BITNET_CANDS)
			add_locked(cands, job);
}

static void add_user_locked(struct bitnet_cands *cands, struct bitnet_user *user,
			    enum bitnet_queue q, u32 most, u32 limit)
{
	struct bitnet_kjob *job, *next;
	u32 from = cands->n;

	list_for_each_entry_safe(job, next, &user->runnable[q], run_node) {
		if (cands->n >= limit || cands->n - from == most || cands->n_parked == BITNET_CANDS)
			return;
		if (job->job_class != BITNET_CLASS_REALTIME)
			add_locked(cands, job);
	}
}

/* Of one queue: from each user as many as from any other, up to @limit in all. */
static void add_queue_locked(struct bitnet_cands *cands, enum bitnet_queue q, u32 limit)
{
	u32 n_users = 0;
	struct bitnet_user *user;

	list_for_each_entry(user, &bitnet.active[q], active[q])
		n_users++;
	bitnet.rounds++;
	while (cands->n < limit && !list_empty(&bitnet.active[q])) {
		user = list_first_entry(&bitnet.active[q], struct bitnet_user, active[q]);
		if (user->asked == bitnet.rounds)
			break;
		user->asked = bitnet.rounds;
		/* Who did not get in comes first next time. */
		list_move_tail(&user->active[q], &bitnet.active[q]);
		add_user_locked(cands, user, q, max(1U, limit / n_users), limit);
	}
}

/**
 * bitnet_queue_collect_locked() - candidates for the next step
 * @cands:	out; jobs in @cands->parked have a reference, and their files are to be notified
 *
 * After bitnet_queue_look_locked(). All realtime jobs that could run then are among them.
 */
void bitnet_queue_collect_locked(struct bitnet_cands *cands)
{
	cands->n = 0;
	add_realtime_locked(cands);
	add_queue_locked(cands, BITNET_QUEUE_FIRST,
			 bitnet.n_runnable[BITNET_CLASS_BATCH] ? BITNET_CANDS - BATCH_CANDS :
								 BITNET_CANDS);
	add_queue_locked(cands, BITNET_QUEUE_BATCH, BITNET_CANDS);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * run.c - RUN: one job computed in its caller's own thread
 *
 * The workers have no part in it: policy, affinity, priority and cgroup of the caller are what
 * counts. Nothing that changes is shared with them or with another RUN: the step, its scratch
 * memory and the tile buffer belong to the session (struct bitnet_inline), which the job has to
 * itself from its preparation to its end. Of the model only what is constant is used.
 *
 * The open file is held by the system call, so it cannot be closed meanwhile; all others are kept
 * by the job's references. The caller alone ends the job: CANCEL and signals are looked for between
 * two sections. Entries are copied to him between two steps, without locks.
 *
 * One thing has to be waited for: a job of the session that was cancelled may still be part of the
 * workers' step in flight, which goes on for others and stores keys and values of all its rows.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bitnet.h"
#include "trace.h"

/*
 * struct run - a RUN going on
 * @entries:	the caller's array, with room for @n_entries more
 * @n_entries:	how many it has by now
 * @final:	its last
 * @clock:	of the current step's last section
 * @ns:		time that the current step has spent in sections
 */
struct run {
	struct bitnet_kjob *job;
	struct bitnet_inline *inl;
	struct bitnet_ring_entry __user *entries;
	u32 n_entries;
	struct bitnet_ring_entry final;
	struct bitnet_clock clock;
	u64 ns;
};

/** bitnet_inline_destroy() - with the session. @inl: may be NULL. Context: sleeps */
void bitnet_inline_destroy(struct bitnet_inline *inl)
{
	if (!inl)
		return;
	bitnet_big_free(inl->memory, inl->bytes);
	kfree_sensitive(inl);
}

static struct bitnet_inline *inline_create(const struct bitnet_model *model, u64 bytes)
{
	struct bitnet_inline *inl = kzalloc(sizeof(*inl), GFP_KERNEL_ACCOUNT);

	if (!inl)
		return NULL;
	inl->bytes = bytes;
	inl->memory = bitnet_big_alloc(bytes);
	if (!inl->memory) {
		kfree(inl);
		return NULL;
	}
	inl->buffer = inl->memory;
	bn_step_init(&inl->step, &model->core, bitnet.ops, inl->memory + PAGE_ALIGN(BN_TILE_BYTES));
	inl->step.dense = !bitnet.sparse;
	return inl;
}

/*
 * Gives the job's session what its RUNs compute with; it keeps that, so that a RUN for each token
 * costs nothing.
 */
static int have_inline(struct bitnet_kjob *job)
{
	struct bitnet_session *session = job->session;
	struct bitnet_inline *inl;
	u64 bytes;
	int err;

	if (session->inl)
		return 0;
	bytes = PAGE_ALIGN(BN_TILE_BYTES) + bn_scratch_bytes(&job->model->core);
	err = bitnet_charge(session->user, BITNET_RES_KV_BYTES, bytes);
	if (err)
		return err;
	inl = inline_create(job->model, bytes);
	if (!inl) {
		bitnet_uncharge(session->user, BITNET_RES_KV_BYTES, bytes);
		return -ENOMEM;
	}
	spin_lock(&bitnet.lock);
	session->inl = inl;
	session->inl_bytes = bytes;
	job->file->kv_bytes += bytes;
	spin_unlock(&bitnet.lock);
	return 0;
}

/* Rows of the next step. As many as a step can have: their results do not depend on it. */
static u32 rows_wanted(const struct bn_job *core)
{
	u32 most = core->kind == BITNET_JOB_SCORE ? min(BN_MAX_ROWS, BN_MAX_HEAD_ROWS) :
						    BN_MAX_ROWS;

	return min(bn_job_wants(core), most);
}

static int why_stop(const struct bitnet_kjob *job)
{
	if (READ_ONCE(job->stop))
		return -ECANCELED;
	return signal_pending(current) ? -EINTR : 0;
}

static int compute_tile(struct run *run, u32 phase, u32 tile)
{
	u32 cursor = 0;
	bool more;
	u64 ns;

	do {
		int err = why_stop(run->job);

		if (err)
			return err;
		more = bitnet_fpu_piece_inline(&run->inl->step, phase, tile, &cursor,
					       run->inl->buffer, &run->clock, &ns);
		run->ns += ns;
	} while (more);
	return 0;
}

static int compute(struct run *run)
{
	const struct bn_step *step = &run->inl->step;

	for (u32 phase = 0; phase < step->n_phases; phase++) {
		u32 tiles = bn_step_tiles(step, phase);

		for (u32 tile = 0; tile < tiles; tile++) {
			int err = compute_tile(run, phase, tile);

			if (err)
				return err;
		}
	}
	return 0;
}

/* Accounts for a step, and takes its tokens if it was finished. Return: how many entries. */
static u32 take_results(struct run *run, u32 rows, u64 start, bool finished)
{
	struct bitnet_inline *inl = run->inl;
	struct bitnet_kjob *job = run->job;
	u64 weight_bytes = bn_tile_weight_bytes(inl->buffer);
	u64 now = ktime_get_ns();
	u32 n = 0;

	trace_bitnet_step(1, rows, now - start, run->ns);
	spin_lock(&bitnet.lock);
	bitnet_job_charge_locked(job, run->ns, weight_bytes);
	bitnet.steps += finished;
	if (finished)
		n = bitnet_job_results_locked(job, &inl->step, inl->tokens);
	else
		bn_job_abandon(&job->core);
	for (u32 i = 0; i < n; i++)
		bitnet_job_token_locked(job, &inl->tokens[i], now, &inl->entries[i]);
	spin_unlock(&bitnet.lock);
	return n;
}

static int put_entries(struct run *run, const struct bitnet_ring_entry *entries, u32 n)
{
	if (copy_to_user(run->entries + run->n_entries, entries, n * sizeof(*entries)))
		return -EFAULT;
	run->n_entries += n;
	return 0;
}

static int one_step(struct run *run)
{
	struct bn_step *step = &run->inl->step;
	struct bn_job *core = &run->job->core;
	u32 rows = rows_wanted(core), n_rows = 0, n_slots = 0, n;
	u64 start = ktime_get_ns();
	int err;

	run->ns = 0;
	run->clock.ns = 0;
	bn_job_fill(core, step, rows, &n_rows, &n_slots);
	err = bitnet_errno(bn_step_begin(step, rows));
	if (WARN_ON_ONCE(err)) {
		bn_job_abandon(core);
		return err;
	}
	bn_job_arm(core, step);
	err = compute(run);
	n = take_results(run, rows, start, !err);
	return err ? err : put_entries(run, run->inl->entries, n);
}

static bool may_start(const struct bitnet_kjob *job)
{
	bool may;

	spin_lock(&bitnet.lock);
	may = !job->session->in_step || job->stop;
	spin_unlock(&bitnet.lock);
	return may;
}

/* Waits until nobody else writes to the session's cache. */
static int until_alone(const struct bitnet_kjob *job)
{
	if (wait_event_interruptible(job->file->wait, may_start(job)))
		return -EINTR;
	return why_stop(job);
}

/* Computes the accepted job to its end, whatever that is. Drops the job. */
static int run_job(struct run *run)
{
	struct bitnet_kjob *job = run->job;
	int err = until_alone(job);
	LIST_HEAD(ended);

	while (!err && bn_job_wants(&job->core))
		err = one_step(run);

	spin_lock(&bitnet.lock);
	bitnet_job_end_locked(job, err, &ended);
	spin_unlock(&bitnet.lock);
	/* Jobs of the session may have waited. */
	bitnet_workers_kick();
	bitnet_jobs_ended(&ended, false);
	return err == -EFAULT ? err : put_entries(run, &run->final, 1);
}

static u64 entries_needed(const struct bitnet_job *job)
{
	return job->kind == BITNET_JOB_GENERATE ? (u64)job->max_tokens + 1 : job->input_count;
}

static int check_request(const struct bitnet_run *u, const struct bitnet_job *job)
{
	int err = bitnet_errno(bn_job_check_request(job));

	if (err)
		return err;
	if (job->kind == BITNET_JOB_LINEAR || job->job_class == BITNET_CLASS_REALTIME)
		return -EINVAL;
	if (u->n_entries < entries_needed(job))
		return -ENOSPC;
	if (!access_ok(u64_to_user_ptr(u->entries),
		       entries_needed(job) * sizeof(struct bitnet_ring_entry)))
		return -EFAULT;
	return 0;
}

int bitnet_run(struct bitnet_call *call)
{
	struct bitnet_run *u = call->u;
	struct bitnet_refusal refusal;
	struct bitnet_job request;
	struct run run = { .entries = u64_to_user_ptr(u->entries) };
	int err;

	if (u->flags || u->__resv || u->job_size < BITNET_JOB_SIZE_V1)
		return -EINVAL;
	if (u->job_size > BITNET_MAX_STRUCT_BYTES)
		return -E2BIG;
	err = copy_struct_from_user(&request, sizeof(request), u64_to_user_ptr(u->job),
				    u->job_size);
	if (!err)
		err = check_request(u, &request);
	if (err)
		return err;

	run.job = bitnet_job_prepare(call->file, &request, NULL, &refusal, &run.final);
	if (IS_ERR(run.job))
		return PTR_ERR(run.job);
	/*
	 * Nothing is computed for a caller whose struct cannot be written, and nothing kept either.
	 */
	u->out_entries = 0;
	err = bitnet_respond(call);
	if (!err)
		err = have_inline(run.job);
	if (err) {
		bitnet_job_abort(run.job);
		return err;
	}
	run.inl = run.job->session->inl;
	bitnet_job_commit_inline(run.job);
	err = run_job(&run);
	u->out_entries = run.n_entries;
	return err ? err : bitnet_respond(call);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * job.c - jobs: accepted, queued, ended
 *
 * A job is made in two steps, so that a failing SUBMIT has no effect: bitnet_job_prepare()
 * allocates and sets aside all that the job will ever need, bitnet_jobs_commit() cannot fail.
 * Between the two nobody else sees the job.
 *
 *   PREPARED -> QUEUED -> RUNNABLE <-> STEPPING <-> PAUSED
 *                  \        | ^          /            /
 *                   \       v |         /            /
 *                    \    PARKED       /            /
 *                     `-----> ENDED <-'------------'
 *
 * Whoever ends a job posts its final entry at once. A job that ended while it was part of the step
 * in flight stays in memory until the step is over, and its results are dropped.
 *
 * RUN's job (@final is set) goes PREPARED -> INLINE -> ENDED and is in no queue: from its
 * preparation to its end it has the session to itself (@inlined), and only its caller ends it.
 */
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bitnet.h"
#include "trace.h"

static struct kmem_cache *job_cache;
static LLIST_HEAD(put_later);

static void job_destroy(struct bitnet_kjob *job)
{
	kvfree_sensitive(job->input, job->input_bytes);
	if (job->session)
		bitnet_session_put(job->session);
	else if (job->model)
		bitnet_model_put(job->model);
	WARN_ON_ONCE(!list_empty(&job->realtime_node));
	bitnet_file_put(job->file);
	memzero_explicit(job, sizeof(*job));
	kmem_cache_free(job_cache, job);
}

/** bitnet_job_put() - give a reference back. Context: no locks held; may sleep */
void bitnet_job_put(struct bitnet_kjob *job)
{
	if (refcount_dec_and_test(&job->refs))
		job_destroy(job);
}

static void put_later_fn(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&put_later);
	struct bitnet_kjob *job, *next;

	llist_for_each_entry_safe(job, next, list, later_node) {
		job_destroy(job);
		cond_resched();
	}
}

static DECLARE_WORK(put_later_work, put_later_fn);

/** bitnet_job_put_later() - the same for workers: what is to be freed may be gigabytes */
void bitnet_job_put_later(struct bitnet_kjob *job)
{
	if (refcount_dec_and_test(&job->refs) && llist_add(&job->later_node, &put_later))
		queue_work(bitnet.wq, &put_later_work);
}

static const struct bn_matrix *matrix_of(const struct bn_layer *layer, u32 matrix)
{
	const struct bn_matrix *const all[BITNET_MATRIX_COUNT] = {
		[BITNET_MATRIX_ATTN_Q] = &layer->attn_q,
		[BITNET_MATRIX_ATTN_K] = &layer->attn_k,
		[BITNET_MATRIX_ATTN_V] = &layer->attn_v,
		[BITNET_MATRIX_ATTN_OUT] = &layer->attn_out,
		[BITNET_MATRIX_FFN_GATE] = &layer->ffn_gate,
		[BITNET_MATRIX_FFN_UP] = &layer->ffn_up,
		[BITNET_MATRIX_FFN_DOWN] = &layer->ffn_down,
	};

	return all[array_index_nospec(matrix, BITNET_MATRIX_COUNT)];
}

static int prepare_linear(struct bitnet_kjob *job, const struct bitnet_job *u)
{
	const struct bitnet_ring *ring = job->file->ring;
	const struct bn_model *core;
	struct bn_linear_req *req = &job->linear;
	const struct bn_matrix *w;
	u64 out_bytes;
	s32 *sum;
	s8 *x;

	job->model = bitnet_model_get(job->file, u->model_id);
	if (!job->model)
		return -ENOENT;
	core = &job->model->core;
	if (u->layer >= core->n_layers || u->matrix >= BITNET_MATRIX_COUNT)
		return -EINVAL;
	w = matrix_of(&core->layers[array_index_nospec(u->layer, core->n_layers)], u->matrix);

	/* At most 64 rows, 32768 columns, 32768 outputs: no overflow. */
	out_bytes = (u64)u->input_count * w->rows * sizeof(s32);
	if (out_bytes > ring->data_bytes || u->data_offset > ring->data_bytes - out_bytes)
		return -EINVAL;

	req->w = w;
	req->rows = u->input_count;
	req->x_stride = bn_cols_pad(w->cols);
	req->y = ring->data + u->data_offset;
	/* The sums lie behind the rows. A power of two from kmalloc, or pages: 64-byte aligned. */
	job->input_bytes = req->rows * req->x_stride + ALIGN(req->rows * sizeof(*sum), 64);
	job->input_bytes = max_t(size_t, roundup_pow_of_two(job->input_bytes), 256);
	job->input = kvzalloc(job->input_bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!job->input)
		return -ENOMEM;
	x = job->input;
	sum = job->input + req->rows * req->x_stride;
	req->x = x;
	req->x_sum = sum;
	for (u32 r = 0; r < req->rows; r++, x += req->x_stride) {
		if (copy_from_user(x, u64_to_user_ptr(u->input) + (u64)r * w->cols, w->cols))
			return -EFAULT;
		for (u32 c = 0; c < w->cols; c++)
			sum[r] += x[c];
		cond_resched();
	}
	return 0;
}

/* GENERATE, SCORE. @tokens: the input of an in-kernel caller, or NULL */
static int prepare_tokens(struct bitnet_kjob *job, const struct bitnet_job *u, const u32 *tokens)
{
	struct bitnet_session *session = job->session;
	/*
	 * What is in the cache when the job's turn comes is not known yet: see
	 * session_next_locked().
	 */
	struct bn_kv empty = { .n_ctx = session->kv.n_ctx };
	u32 *input;
	int err;

	if (u->input_count > session->kv.n_ctx)
		return -ERANGE;
	job->input_bytes = array_size(u->input_count, sizeof(u32));
	job->input = kvmalloc(job->input_bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!job->input)
		return -ENOMEM;
	if (tokens)
		memcpy(job->input, tokens, job->input_bytes);
	else if (copy_from_user(job->input, u64_to_user_ptr(u->input), job->input_bytes))
		return -EFAULT;

	bn_job_import(&job->core, u);
	job->core.input = job->input;
	job->core.kv = &empty;
	err = bitnet_errno(bn_job_init(&job->core, &job->model->core));
	job->core.kv = &session->kv;
	if (err)
		return err;
	/*
	 * The ids index the embedding later on; no speculation past the check just made takes them
	 * there.
	 */
	input = job->input;
	for (u32 i = 0; i < u->input_count; i++)
		input[i] = array_index_nospec(input[i], job->model->core.vocab);
	return 0;
}

static int refuse(struct bitnet_refusal *refusal)
{
	refusal->why = BITNET_REFUSED_JOBS;
	return -EDQUOT;
}

/* Sets aside what the job needs in queues and ring. */
static int reserve_locked(struct bitnet_kjob *job, struct bitnet_refusal *refusal)
{
	struct bitnet_session *session = job->session;
	struct bitnet_file *file = job->file;
	int err = 0;

	lockdep_assert_held(&bitnet.lock);
	if (session && session->closed)
		return -ENOENT;
	if (job->final && session->n_jobs)
		return -EBUSY;
	if (session && !session->n_jobs && !bn_job_fits(&job->core))
		return -ERANGE;
	if (file->n_jobs + file->n_preparing >= BITNET_FILE_JOBS)
		return refuse(refusal);
	if (bitnet_charge_locked(file->user, BITNET_RES_JOBS, 1))
		return refuse(refusal);
	if (!job->final)
		err = bitnet_ring_reserve_locked(file->ring);
	if (err)
		goto out_charge;
	if (job->job_class == BITNET_CLASS_REALTIME)
		err = bitnet_realtime_admit_locked(job, refusal);
	if (err)
		goto out_ring;
	file->n_preparing++;
	if (session) {
		session->n_jobs++;
		if (job->final)
			session->inlined = true;
	}
	return 0;

out_ring:
	file->ring->reserved--;
out_charge:
	bitnet_uncharge_locked(file->user, BITNET_RES_JOBS, 1);
	return err;
}

/**
 * bitnet_job_prepare() - check a job and set aside all that it will need
 * @file:	has a ring, unless @final is given
 * @u:		private copy of the request; with @final not LINEAR
 * @tokens:	input of an in-kernel caller, or NULL: @u->input is a user pointer
 * @refusal:	out, if the result is -EDQUOT: why
 * @final:	NULL: for bitnet_jobs_commit(). Else for bitnet_job_commit_inline(): the session
 *		must have no jobs (-EBUSY), the job must not be REALTIME, and the final entry will
 *		go here
 *
 * Context: sleeps. Return: the job, for one of these or bitnet_job_abort(), or an ERR_PTR.
 */
struct bitnet_kjob *bitnet_job_prepare(struct bitnet_file *file, const struct bitnet_job *u,
				       const u32 *tokens, struct bitnet_refusal *refusal,
				       struct bitnet_ring_entry *final)
{
	struct bitnet_kjob *job;
	int err;

	err = bitnet_errno(bn_job_check_request(u));
	if (err)
		return ERR_PTR(err);
	job = kmem_cache_zalloc(job_cache, GFP_KERNEL);
	if (!job)
		return ERR_PTR(-ENOMEM);
	refcount_set(&job->refs, 1);
	INIT_LIST_HEAD(&job->realtime_node);
	kref_get(&file->ref);
	job->file = file;
	job->user_data = u->user_data;
	job->kind = u->kind;
	job->flags = u->flags;
	job->job_class = u->job_class;
	job->first_token_ns = u->first_token_ns;
	job->period_ns = u->period_ns;
	job->final = final;

	if (job->kind == BITNET_JOB_LINEAR) {
		err = prepare_linear(job, u);
	} else {
		job->session = bitnet_session_get(file, u->session_id);
		err = -ENOENT;
		if (job->session) {
			job->model = job->session->model;
			err = prepare_tokens(job, u, tokens);
		}
	}
	if (err)
		goto out;
	spin_lock(&bitnet.lock);
	err = reserve_locked(job, refusal);
	spin_unlock(&bitnet.lock);
	if (err)
		goto out;
	return job;
out:
	bitnet_job_put(job);
	return ERR_PTR(err);
}

static void count_end_locked(const struct bitnet_kjob *job, int error)
{
	if (!error)
		bitnet_count_locked(job, jobs_done, 1);
	else if (error == -ECANCELED)
		bitnet_count_locked(job, jobs_cancelled, 1);
	else
		bitnet_count_locked(job, jobs_failed, 1);
}

/* Ends @job alone, without a look at those behind it. */
static void end_one_locked(struct bitnet_kjob *job, int error, struct list_head *ended)
{
	struct bitnet_file *file = job->file;
	struct bitnet_ring_entry entry = {
		.user_data = job->user_data,
		.kind = error ? BITNET_ENTRY_ERROR : BITNET_ENTRY_DONE,
		.error = error,
		.n_tokens = job->tokens_out,
		.time_ns = ktime_get_ns(),
		.cpu_ns = job->cpu_ns,
	};

	switch (job->state) {
	case BITNET_STATE_RUNNABLE:
		bitnet_job_unrun_locked(job);
		break;
	case BITNET_STATE_PARKED:
		list_del(&job->run_node);
		file->user->n_parked--;
		if (!--file->n_parked)
			WRITE_ONCE(file->ring->header->flags, 0);
		break;
	case BITNET_STATE_STEPPING:
	case BITNET_STATE_PAUSED:
		bitnet_workers_leave_locked(job);
		break;
	case BITNET_STATE_INLINE:
		job->session->inlined = false;
		break;
	default:
		break;
	}
	job->state = BITNET_STATE_ENDED;
	bitnet_realtime_leave_locked(job);
	list_del(&job->file_node);
	file->n_jobs--;
	bitnet_uncharge_locked(file->user, BITNET_RES_JOBS, 1);
	if (job->session) {
		if (!job->final)
			list_del(&job->session_node);
		job->session->n_jobs--;
		entry.position = job->session->kv.n_past;
	}
	if (!error)
		entry.reason = job->session ? job->core.reason : BITNET_REASON_LENGTH;

	if (job->final) {
		*job->final = entry;
	} else {
		file->ring->reserved--;
		bitnet_ring_post_locked(file, &entry);
	}
	count_end_locked(job, error);
	trace_bitnet_job_done(job, error);
	bitnet_event_job_locked(job, error);
	list_add_tail(&job->entry_node, ended);
}

/*
 * Lets the first job of the session run, unless a RUN has it; ends those that do not fit behind
 * what their forerunners left.
 */
static void session_next_locked(struct bitnet_session *session, struct list_head *ended)
{
	struct bitnet_kjob *job;

	if (session->inlined)
		return;
	while ((job = list_first_entry_or_null(&session->jobs, struct bitnet_kjob, session_node))) {
		if (bn_job_fits(&job->core)) {
			bitnet_job_run_locked(job);
			return;
		}
		end_one_locked(job, -ERANGE, ended);
	}
}

/**
 * bitnet_job_end_locked() - end a job: final entry, counters, next job of the session
 * @job:	not ended
 * @error:	negative errno, or 0 if it ended well
 * @ended:	list for bitnet_jobs_ended(), which is due when the lock is released
 */
void bitnet_job_end_locked(struct bitnet_kjob *job, int error, struct list_head *ended)
{
	bool first = job->session && job->state != BITNET_STATE_QUEUED;

	lockdep_assert_held(&bitnet.lock);
	end_one_locked(job, error, ended);
	if (first)
		session_next_locked(job->session, ended);
}

/**
 * bitnet_jobs_ended() - wake who waits for the entries of jobs that ended, and drop the jobs
 * @ended:	what bitnet_job_end_locked() has collected
 * @later:	the caller is a worker
 *
 * Context: no locks held; sleeps unless @later.
 */
void bitnet_jobs_ended(struct list_head *ended, bool later)
{
	struct bitnet_kjob *job, *next;

	list_for_each_entry_safe(job, next, ended, entry_node) {
		bitnet_ring_notify(job->file);
		if (later)
			bitnet_job_put_later(job);
		else
			bitnet_job_put(job);
	}
}

/** bitnet_job_abort() - undo bitnet_job_prepare() */
void bitnet_job_abort(struct bitnet_kjob *job)
{
	struct bitnet_file *file = job->file;
	LIST_HEAD(ended);

	spin_lock(&bitnet.lock);
	file->n_preparing--;
	if (job->session)
		job->session->n_jobs--;
	bitnet_realtime_leave_locked(job);
	if (job->final) {
		/* Jobs that came meanwhile have waited for it. */
		job->session->inlined = false;
		session_next_locked(job->session, &ended);
	} else {
		file->ring->reserved--;
	}
	bitnet_uncharge_locked(file->user, BITNET_RES_JOBS, 1);
	spin_unlock(&bitnet.lock);
	if (job->final)
		bitnet_workers_kick();
	bitnet_jobs_ended(&ended, false);
	bitnet_job_put(job);
}

static void accept_locked(struct bitnet_kjob *job)
{
	struct bitnet_file *file = job->file;

	job->submit_ns = ktime_get_ns();
	job->last_ns = job->submit_ns;
	job->arrival = bitnet.next_arrival++;
	file->n_preparing--;
	file->n_jobs++;
	list_add_tail(&job->file_node, &file->jobs);
	bitnet_count_locked(job, jobs_submitted, 1);
	trace_bitnet_job_submit(job);
}

static void commit_locked(struct bitnet_kjob *job, struct list_head *ended)
{
	accept_locked(job);
	job->state = BITNET_STATE_QUEUED;
	if (!job->session) {
		bitnet_job_run_locked(job);
		return;
	}
	list_add_tail(&job->session_node, &job->session->jobs);
	if (list_is_first(&job->session_node, &job->session->jobs))
		session_next_locked(job->session, ended);
}

/**
 * bitnet_jobs_commit() - accept prepared jobs
 * @jobs:	linked by file_node, in order; empty afterwards
 *
 * Context: no locks held, sleeps.
 */
void bitnet_jobs_commit(struct list_head *jobs)
{
	struct bitnet_kjob *job, *next;
	LIST_HEAD(ended);

	spin_lock(&bitnet.lock);
	list_for_each_entry_safe(job, next, jobs, file_node) {
		list_del(&job->file_node);
		commit_locked(job, &ended);
	}
	spin_unlock(&bitnet.lock);
	bitnet_workers_kick();
	bitnet_jobs_ended(&ended, false);
}

/**
 * bitnet_job_commit_inline() - accept a prepared job that its caller computes now
 * @job:	prepared with a place for its final entry
 *
 * Nobody but the caller ends it, with bitnet_job_end_locked(): when it ends itself, or soon after
 * @stop was set.
 * Context: no locks held.
 */
void bitnet_job_commit_inline(struct bitnet_kjob *job)
{
	spin_lock(&bitnet.lock);
	accept_locked(job);
	job->state = BITNET_STATE_INLINE;
	bitnet_job_started_locked(job, job->submit_ns);
	spin_unlock(&bitnet.lock);
}

static void abort_all(struct list_head *jobs)
{
	struct bitnet_kjob *job, *next;

	list_for_each_entry_safe(job, next, jobs, file_node) {
		list_del(&job->file_node);
		bitnet_job_abort(job);
	}
}

int bitnet_submit(struct bitnet_call *call)
{
	struct bitnet_submit *u = call->u;
	struct bitnet_refusal refusal = {};
	struct bitnet_job request;
	struct bitnet_kjob *job;
	LIST_HEAD(jobs);
	int err = 0;

	if (u->flags || !u->count || u->job_size < BITNET_JOB_SIZE_V1)
		return -EINVAL;
	if (u->count > BITNET_MAX_SUBMIT || u->job_size > BITNET_MAX_STRUCT_BYTES)
		return -E2BIG;
	/* Pairs with the release in ring_publish(). */
	if (!smp_load_acquire(&call->file->ring))
		return -ENXIO;

	u->out_accepted = 0;
	u->out_error = 0;
	for (u32 i = 0; i < u->count; i++) {
		err = copy_struct_from_user(&request, sizeof(request),
					    u64_to_user_ptr(u->jobs) + (u64)i * u->job_size,
					    u->job_size);
		if (err)
			goto out;
		job = bitnet_job_prepare(call->file, &request, NULL, &refusal, NULL);
		if (IS_ERR(job)) {
			u->out_error = PTR_ERR(job);
			break;
		}
		list_add_tail(&job->file_node, &jobs);
		u->out_accepted++;
	}
	u->out_refusal = refusal.why;
	u->out_load_ppm = refusal.load_ppm;
	u->out_step_ns = refusal.why > BITNET_REFUSED_JOBS ? refusal.step_ns : 0;
	err = bitnet_respond(call);
	if (err)
		goto out;
	bitnet_jobs_commit(&jobs);
	return 0;
out:
	abort_all(&jobs);
	return err;
}

/*
 * Tells who computes RUN's job to end it: until he is out of the section, nobody else may have the
 * session. bitnet_ring_notify() is due when the lock is released. Return: false if he has been told
 * before.
 */
static bool stop_locked(struct bitnet_kjob *job)
{
	bool before = job->stop;

	lockdep_assert_held(&bitnet.lock);
	WRITE_ONCE(job->stop, true);
	atomic_or(BITNET_NOTIFY_RUN, &job->file->notify);
	return !before;
}

/**
 * bitnet_jobs_cancel() - end jobs of a file; RUN's end a moment later
 * @file:	whose
 * @user_data:	those with it; NULL: all
 *
 * Context: no locks held, sleeps; does not wait for a step in flight. Return: how many.
 */
u32 bitnet_jobs_cancel(struct bitnet_file *file, const u64 *user_data)
{
	struct bitnet_kjob *job, *next;
	LIST_HEAD(match);
	LIST_HEAD(ended);
	u32 n = 0;

	spin_lock(&bitnet.lock);
	/* First find them all: ending one may end others of its session. */
	list_for_each_entry(job, &file->jobs, file_node) {
		if (user_data && job->user_data != *user_data)
			continue;
		if (!job->final)
			list_add(&job->entry_node, &match);
		else if (stop_locked(job))
			n++;
	}
	/* Last ones first, so that none is started only to be cancelled. */
	list_for_each_entry_safe(job, next, &match, entry_node) {
		list_del(&job->entry_node);
		end_one_locked(job, -ECANCELED, &ended);
		n++;
	}
	list_for_each_entry(job, &ended, entry_node) {
		struct bitnet_session *session = job->session;

		if (!session || list_empty(&session->jobs))
			continue;
		if (list_first_entry(&session->jobs, struct bitnet_kjob, session_node)->state ==
		    BITNET_STATE_QUEUED)
			session_next_locked(session, &ended);
	}
	spin_unlock(&bitnet.lock);
	bitnet_workers_kick();
	bitnet_ring_notify(file);
	bitnet_jobs_ended(&ended, false);
	return n;
}

static u32 count_jobs(struct bitnet_file *file, u64 user_data)
{
	struct bitnet_kjob *job;
	u32 n = 0;

	spin_lock(&bitnet.lock);
	list_for_each_entry(job, &file->jobs, file_node)
		n += job->user_data == user_data && !job->stop;
	spin_unlock(&bitnet.lock);
	return n;
}

int bitnet_cancel(struct bitnet_call *call)
{
	struct bitnet_cancel *u = call->u;
	int err;

	if (u->flags || u->__resv)
		return -EINVAL;
	/*
	 * Nothing is cancelled if the number cannot be told. Jobs may end by themselves in between.
	 */
	u->out_cancelled = count_jobs(call->file, u->user_data);
	if (!u->out_cancelled)
		return -ENOENT;
	err = bitnet_respond(call);
	if (err)
		return err;
	u->out_cancelled = bitnet_jobs_cancel(call->file, &u->user_data);
	/*
	 * Its place was writable a moment ago; who takes it away meanwhile does not get the number.
	 */
	err = bitnet_respond(call);
	return 0;
}

int bitnet_job_init(void)
{
	job_cache = KMEM_CACHE(bitnet_kjob, SLAB_ACCOUNT);
	return job_cache ? 0 : -ENOMEM;
}

/** bitnet_job_exit() - no file and no worker is left, and the work queue is empty */
void bitnet_job_exit(void)
{
	kmem_cache_destroy(job_cache);
}

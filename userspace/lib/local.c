// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * local.c - the engine in this process: the device's objects, rules and errors, on threads
 *
 * One thread, the leader, builds steps, computes them with its crew, and hands out the results.
 * What the caller's thread does - load, submit, cancel, consume - it does under one lock, which is
 * never held during computation. While a step is in flight, the jobs in it (job.rows != 0) and the
 * caches of their sessions belong to the leader; a job that is cancelled meanwhile gets its final
 * entry at once and is freed when the step is over.
 *
 * A job of run() is the caller's thread's alone: in no list, with step and memory of its own. Its
 * session counts it, so that nothing else happens to that meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bn_job.h"
#include "bn_sched.h"
#include "cpu.h"
#include "crew.h"
#include "engine.h"
#include "image.h"
#include "local.h"

#define RING_ENTRIES	1024	/* unless the caller says how many */

/*
 * What BATCH jobs get at least while any waits, as in the device. Steps are not interrupted here, so
 * they are owed the time of a whole one before they come out of turn.
 */
#define BATCH_FLOOR_PPM	50000
#define OWED_LEAST_NS	20000000

/* @refs: its handle, sessions and LINEAR jobs */
struct model {
	unsigned int refs;
	char name[BITNET_NAME_BYTES];
	uint64_t image_bytes;
	struct bn_model core;
	void *scratch;
	struct bn_step step;
};

/* @refs: its id and its jobs */
struct session {
	unsigned int refs;
	struct model *model;
	struct bn_kv kv;
	uint64_t kv_bytes;
	unsigned int n_jobs;
	uint64_t attained_ns;
	uint64_t tick;		/* the plan that found its first job */
};

struct job {
	struct job *next, *prev;
	uint64_t user_data;
	uint32_t flags;
	uint32_t job_class;
	struct session *session;	/* NULL: LINEAR */
	struct model *model;
	void *input;			/* tokens, or int8 rows with their sums behind them */
	struct bn_job core;
	struct bn_linear_req linear;
	uint64_t arrival;
	uint64_t submit_ns, last_ns, cpu_ns;
	uint32_t n_tokens;		/* TOKEN entries made */
	uint32_t rows;			/* in the step in flight */
	uint32_t promised;		/* ring entries set aside for it */
	bool started, parked, ended;
};

struct counters {
	uint64_t submitted, done, failed, cancelled;
	uint64_t tokens_in, tokens_out;
	uint64_t cpu_ns, queue_ns, weight_bytes;
	uint64_t class_cpu_ns[BITNET_CLASS_BATCH + 1];
	uint64_t token_ns[BITNET_HIST_BUCKETS];
};

struct local {
	struct bitnet_engine base;
	const struct bn_ops *ops;
	unsigned int n_threads;
	bool dense;
	uint64_t data_bytes;
	void *data;
	struct bitnet_ring_entry *ring;
	uint32_t n_entries;
	struct bitnet_crew *crew;
	pthread_t leader;
	struct bitnet_event posted;	/* entries, jobs that ended or parked: for wait() */

	pthread_mutex_t lock;
	pthread_cond_t runnable;	/* something may have become runnable, or @closing */
	/* all that follows is under @lock, with the exception of what a step in flight owns */
	bool closing;
	bool stepping;
	struct model *models[BITNET_LOCAL_MODELS];
	struct session *sessions[BITNET_LOCAL_SESSIONS];
	struct job jobs;		/* head of the list of unfinished ones, by arrival */
	unsigned int n_jobs, n_parked;
	uint64_t next_arrival, tick;
	bool linear_last;		/* the last step was a LINEAR job's */
	struct bn_sched sched;
	bool batch_waits;		/* a BATCH job could have been in the last step */
	uint64_t batch_step_ns;		/* what a step of theirs takes, about */
	uint32_t head, tail;		/* of the ring */
	uint32_t reserved, promised;	/* slots for final entries, for tokens of the step */
	struct job *in_step[BN_MAX_ROWS];
	unsigned int n_in_step;
	struct counters count;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static struct local *local_of(struct bitnet_engine *engine)
{
	return (struct local *)engine;
}

static int errno_of(enum bn_err err)
{
	switch (err) {
	case BN_OK:
		return 0;
	case BN_ERANGE:
		return -ERANGE;
	case BN_EMAGIC:
		return -ENOEXEC;
	case BN_ESHAPE:
		return -EBADMSG;
	default:
		return -EINVAL;
	}
}

/* The uapi's sentence for an errno, where there is nothing more to say. */
static int plain_error(struct bitnet_error *err, int code)
{
	return bitnet_error_set(err, code, "%s", bitnet_strerror(code));
}

/* ---- models and sessions --------------------------------------------------------------------- */

static void model_put(struct model *m)
{
	if (--m->refs)
		return;
	free(m->core.layers);
	free(m->scratch);
	free(m);
}

static void session_put(struct session *s)
{
	if (--s->refs)
		return;
	munmap(s->kv.data, s->kv_bytes);
	model_put(s->model);
	free(s);
}

static struct model *model_of(struct local *e, uint32_t id)
{
	return id && id <= BITNET_LOCAL_MODELS ? e->models[id - 1] : NULL;
}

static struct session *session_of(struct local *e, uint32_t id)
{
	return id && id <= BITNET_LOCAL_SESSIONS ? e->sessions[id - 1] : NULL;
}

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len < BITNET_NAME_BYTES &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

static int no_shared_models(struct bitnet_error *err)
{
	bitnet_error_set(err, EOPNOTSUPP, "the local engine has no shared models");
	return bitnet_error_hint(err,
				 "Load the kernel module, or load the model without sharing it.");
}

static int model_load(struct bitnet_engine *engine, const struct bitnet_image *image,
		      const char *name, uint32_t flags, uint32_t *model_id,
		      struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	unsigned int id = 0;
	struct model *m;
	uint64_t bytes;
	int ret;

	if (flags & BITNET_MODEL_F_SHARED)
		return no_shared_models(err);
	if (flags || (name && !name_is_valid(name)))
		return plain_error(err, EINVAL);
	m = calloc(1, sizeof(*m));
	if (!m)
		return plain_error(err, ENOMEM);
	m->refs = 1;
	m->image_bytes = image->length;
	snprintf(m->name, sizeof(m->name), "%s", name ? name : "");
	ret = bitnet_image_parse(image->base, image->length, "image", &m->core, err);
	if (ret)
		goto out;
	bytes = bn_scratch_bytes(&m->core);
	m->scratch = aligned_alloc(64, bytes);
	if (!m->scratch) {
		ret = plain_error(err, ENOMEM);
		goto out;
	}
	memset(m->scratch, 0, bytes);
	bn_step_init(&m->step, &m->core, e->ops, m->scratch);
	m->step.dense = e->dense;
	m->step.workers = e->n_threads;

	pthread_mutex_lock(&e->lock);
	while (id < BITNET_LOCAL_MODELS && e->models[id])
		id++;
	if (id < BITNET_LOCAL_MODELS)
		e->models[id] = m;
	pthread_mutex_unlock(&e->lock);
	if (id < BITNET_LOCAL_MODELS) {
		*model_id = id + 1;
		return 0;
	}
	ret = plain_error(err, EDQUOT);
out:
	model_put(m);
	return ret;
}

static int model_open(struct bitnet_engine *engine, const char *name, uint32_t *model_id,
		      struct bitnet_error *err)
{
	return no_shared_models(err);
}

static int model_unload(struct bitnet_engine *engine, const char *name, struct bitnet_error *err)
{
	return no_shared_models(err);
}

static int model_close(struct bitnet_engine *engine, uint32_t model_id, struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct model *m;

	pthread_mutex_lock(&e->lock);
	m = model_of(e, model_id);
	if (m) {
		e->models[model_id - 1] = NULL;
		model_put(m);
	}
	pthread_mutex_unlock(&e->lock);
	return m ? 0 : plain_error(err, ENOENT);
}

static int model_info(struct bitnet_engine *engine, uint32_t model_id,
		      struct bitnet_model_info *info, struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct model *m;

	pthread_mutex_lock(&e->lock);
	m = model_of(e, model_id);
	if (m) {
		memset(info, 0, sizeof(*info));
		info->size = sizeof(*info);
		info->model_id = model_id;
		info->out_packing = m->core.packing == BN_T1 ? BITNET_IMAGE_FMT_T1 :
							       BITNET_IMAGE_FMT_T2;
		info->out_digest = m->core.digest;
		info->out_image_bytes = m->image_bytes;
		info->out_kv_bytes_per_token = bn_kv_bytes(&m->core, 1);
		info->out_n_layers = m->core.n_layers;
		info->out_hidden = m->core.hidden;
		info->out_ffn = m->core.ffn;
		info->out_n_heads = m->core.n_heads;
		info->out_n_kv_heads = m->core.n_kv_heads;
		info->out_head_dim = m->core.head_dim;
		info->out_vocab = m->core.vocab;
		info->out_max_ctx = m->core.max_ctx;
		memcpy(info->out_name, m->name, sizeof(m->name));
	}
	pthread_mutex_unlock(&e->lock);
	return m ? 0 : plain_error(err, ENOENT);
}

/*
 * @m has a reference for the session. Memory is taken as the conversation grows: mmap, not calloc.
 */
static struct session *session_create(struct model *m, uint32_t n_ctx, int *error)
{
	struct session *s = calloc(1, sizeof(*s));

	*error = ENOMEM;
	if (!s)
		return NULL;
	s->refs = 1;
	s->model = m;
	s->kv.n_ctx = n_ctx ? n_ctx : m->core.max_ctx;
	s->kv_bytes = bn_kv_bytes(&m->core, s->kv.n_ctx);
	if (s->kv_bytes > BITNET_LOCAL_KV_BYTES) {
		*error = EDQUOT;
		goto out;
	}
	s->kv.data =
		mmap(NULL, s->kv_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->kv.data != MAP_FAILED) {
		madvise(s->kv.data, s->kv_bytes, MADV_HUGEPAGE);
		return s;
	}
out:
	free(s);
	return NULL;
}

static int session_open(struct bitnet_engine *engine, uint32_t model_id, uint32_t n_ctx,
			uint32_t *session_id, struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct session *s;
	unsigned int id = 0;
	struct model *m;
	int error = 0;

	pthread_mutex_lock(&e->lock);
	m = model_of(e, model_id);
	while (id < BITNET_LOCAL_SESSIONS && e->sessions[id])
		id++;
	if (!m)
		error = ENOENT;
	else if (n_ctx > m->core.max_ctx)
		error = EINVAL;
	else if (id == BITNET_LOCAL_SESSIONS)
		error = EDQUOT;
	if (!error) {
		s = session_create(m, n_ctx, &error);
		if (s) {
			error = 0;
			m->refs++;
			e->sessions[id] = s;
			*session_id = id + 1;
		}
	}
	pthread_mutex_unlock(&e->lock);
	return error ? plain_error(err, error) : 0;
}

static int session_rewind(struct bitnet_engine *engine, uint32_t session_id, uint32_t n_tokens,
			  struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct session *s;
	int error = 0;

	pthread_mutex_lock(&e->lock);
	s = session_of(e, session_id);
	if (!s)
		error = ENOENT;
	else if (s->n_jobs)
		error = EBUSY;
	else if (n_tokens > s->kv.n_past)
		error = ERANGE;
	else
		s->kv.n_past = n_tokens;
	pthread_mutex_unlock(&e->lock);
	return error ? plain_error(err, error) : 0;
}

static int session_close(struct bitnet_engine *engine, uint32_t session_id,
			 struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct session *s;
	int error = 0;

	pthread_mutex_lock(&e->lock);
	s = session_of(e, session_id);
	if (!s)
		error = ENOENT;
	else if (s->n_jobs)
		error = EBUSY;
	if (!error) {
		e->sessions[session_id - 1] = NULL;
		session_put(s);
	}
	pthread_mutex_unlock(&e->lock);
	return error ? plain_error(err, error) : 0;
}

/* ---- ring ------------------------------------------------------------------------------------ */

/* Slots that neither hold an entry nor are set aside for one. */
static uint32_t ring_free(const struct local *e)
{
	return e->n_entries - (e->tail - e->head) - e->reserved - e->promised;
}

static void post(struct local *e, const struct bitnet_ring_entry *entry)
{
	e->ring[e->tail++ & (e->n_entries - 1)] = *entry;
}

static void set_parked(struct local *e, struct job *j, bool parked)
{
	if (parked && !j->parked)
		e->n_parked++;
	else if (!parked && j->parked)
		e->n_parked--;
	j->parked = parked;
}

/* There is room in the ring: parked jobs can go on, at once as far as wait() is concerned. */
static void unpark(struct local *e)
{
	for (struct job *j = e->jobs.next; j != &e->jobs; j = j->next)
		set_parked(e, j, false);
	pthread_cond_signal(&e->runnable);
}

static bool next(struct bitnet_engine *engine, struct bitnet_ring_entry *entry)
{
	struct local *e = local_of(engine);
	bool some;

	pthread_mutex_lock(&e->lock);
	some = e->head != e->tail;
	if (some) {
		*entry = e->ring[e->head++ & (e->n_entries - 1)];
		if (e->n_parked)
			unpark(e);
	}
	pthread_mutex_unlock(&e->lock);
	return some;
}

/* What wait() returns, if it need not sleep. */
static int wait_result(struct local *e, unsigned int min_entries, int otherwise)
{
	uint32_t n;
	int ret;

	pthread_mutex_lock(&e->lock);
	n = e->tail - e->head;
	ret = n >= min_entries || e->n_jobs == e->n_parked ? (int)n : otherwise;
	pthread_mutex_unlock(&e->lock);
	return ret;
}

static int wait_for_entries(struct bitnet_engine *engine, unsigned int min_entries,
			    int64_t timeout_ns)
{
	struct local *e = local_of(engine);
	uint64_t end = now_ns() + (timeout_ns > 0 ? timeout_ns : 0);
	int ret, why = 0;

	if (min_entries > e->n_entries)
		return -EINVAL;
	for (;;) {
		uint32_t prepared = bitnet_event_prepare(&e->posted);
		uint64_t now = timeout_ns < 0 ? 0 : now_ns();

		if (!why && timeout_ns >= 0 && now >= end)
			why = -ETIME;
		ret = wait_result(e, min_entries, why ? why : -EAGAIN);
		if (ret != -EAGAIN) {
			bitnet_event_cancel(&e->posted);
			return ret;
		}
		if (bitnet_event_sleep(&e->posted, prepared,
				       timeout_ns < 0 ? -1 : (int64_t)(end - now)) == -EINTR)
			why = -EINTR;
	}
}

/* ---- the life of a job ----------------------------------------------------------------------- */

static void job_free(struct job *j)
{
	if (j->session)
		session_put(j->session);
	else if (j->model)
		model_put(j->model);
	free(j->input);
	free(j);
}

static void count_end(struct counters *c, int error)
{
	if (!error)
		c->done++;
	else if (error == -ECANCELED)
		c->cancelled++;
	else
		c->failed++;
}

static struct bitnet_ring_entry final_entry(const struct job *j, int error)
{
	struct bitnet_ring_entry entry = {
		.user_data = j->user_data,
		.kind = error ? BITNET_ENTRY_ERROR : BITNET_ENTRY_DONE,
		.error = error,
		.n_tokens = j->n_tokens,
		.time_ns = now_ns(),
		.cpu_ns = j->cpu_ns,
	};

	if (!error)
		entry.reason = j->session ? j->core.reason : BITNET_REASON_LENGTH;
	if (j->session)
		entry.position = j->session->kv.n_past;
	return entry;
}

/*
 * The final entry, in the slot that was set aside for it. The job is gone from all lists; it is
 * freed unless a step still uses it, which then does that.
 */
static void job_end(struct local *e, struct job *j, int error)
{
	struct bitnet_ring_entry entry = final_entry(j, error);

	if (j->session)
		j->session->n_jobs--;
	set_parked(e, j, false);
	j->prev->next = j->next;
	j->next->prev = j->prev;
	e->n_jobs--;
	e->reserved--;
	e->promised -= j->promised;
	j->promised = 0;
	post(e, &entry);
	count_end(&e->count, error);
	j->ended = true;
	if (!j->rows)
		job_free(j);
}

static const struct bn_matrix *matrix_of(const struct bn_layer *l, uint32_t matrix)
{
	switch (matrix) {
	case BITNET_MATRIX_ATTN_Q:
		return &l->attn_q;
	case BITNET_MATRIX_ATTN_K:
		return &l->attn_k;
	case BITNET_MATRIX_ATTN_V:
		return &l->attn_v;
	case BITNET_MATRIX_ATTN_OUT:
		return &l->attn_out;
	case BITNET_MATRIX_FFN_GATE:
		return &l->ffn_gate;
	case BITNET_MATRIX_FFN_UP:
		return &l->ffn_up;
	default:
		return &l->ffn_down;
	}
}

static int prepare_linear(struct local *e, struct job *j, const struct bitnet_job *r)
{
	const int8_t *in = (const int8_t *)(uintptr_t)r->input;
	struct bn_linear_req *q = &j->linear;
	struct model *m = model_of(e, r->model_id);
	uint64_t out_bytes;
	size_t bytes;
	int32_t *sum;
	int8_t *x;

	if (!m)
		return -ENOENT;
	if (r->layer >= m->core.n_layers)
		return -EINVAL;
	q->w = matrix_of(&m->core.layers[r->layer], r->matrix);
	out_bytes = (uint64_t)r->input_count * q->w->rows * sizeof(int32_t);
	if (out_bytes > e->data_bytes || r->data_offset > e->data_bytes - out_bytes)
		return -EINVAL;
	if (!in)
		return -EFAULT;

	q->rows = r->input_count;
	q->x_stride = bn_cols_pad(q->w->cols);
	q->y = (int32_t *)((uint8_t *)e->data + r->data_offset);
	bytes = q->rows * q->x_stride + sizeof(int32_t) * BN_MAX_ROWS;
	x = aligned_alloc(64, bytes);
	if (!x)
		return -ENOMEM;
	memset(x, 0, bytes);
	sum = (int32_t *)(x + q->rows * q->x_stride);
	for (uint32_t row = 0; row < q->rows; row++) {
		memcpy(x + row * q->x_stride, in + (size_t)row * q->w->cols, q->w->cols);
		for (uint32_t c = 0; c < q->w->cols; c++)
			sum[row] += in[(size_t)row * q->w->cols + c];
	}
	q->x = x;
	q->x_sum = sum;
	j->input = x;
	j->model = m;
	m->refs++;
	return 0;
}

static int prepare_tokens(struct local *e, struct job *j, const struct bitnet_job *r)
{
	struct session *s = session_of(e, r->session_id);
	/* What is in the cache when the job's turn comes is not known yet: see first_jobs(). */
	struct bn_kv unused = { .n_ctx = s ? s->kv.n_ctx : 0 };
	int ret;

	if (!s)
		return -ENOENT;
	if (r->input_count > s->kv.n_ctx)
		return -ERANGE;
	if (!r->input)
		return -EFAULT;
	j->input = malloc(sizeof(uint32_t) * (size_t)r->input_count);
	if (!j->input)
		return -ENOMEM;
	memcpy(j->input, (const void *)(uintptr_t)r->input,
	       sizeof(uint32_t) * (size_t)r->input_count);
	bn_job_import(&j->core, r);
	j->core.input = j->input;
	j->core.kv = &unused;
	ret = errno_of(bn_job_init(&j->core, &s->model->core));
	j->core.kv = &s->kv;
	if (ret)
		return ret;
	if (!s->n_jobs && !bn_job_fits(&j->core))
		return -ERANGE;
	j->session = s;
	j->model = s->model;
	s->refs++;
	return 0;
}

/* A session that was idle does not get the time back that it did not use. */
static void wake_session(struct local *e, struct session *s)
{
	uint64_t least = UINT64_MAX;

	for (struct job *j = e->jobs.next; j != &e->jobs; j = j->next)
		if (j->session && j->session->attained_ns < least)
			least = j->session->attained_ns;
	if (least != UINT64_MAX && s->attained_ns < least)
		s->attained_ns = least;
}

static int submit_one(struct local *e, const struct bitnet_job *r)
{
	struct job *j;
	int ret = errno_of(bn_job_check_request(r));

	if (!ret && r->job_class == BITNET_CLASS_REALTIME)
		ret = -EOPNOTSUPP;
	if (ret)
		return ret;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	ret = r->kind == BITNET_JOB_LINEAR ? prepare_linear(e, j, r) : prepare_tokens(e, j, r);
	if (!ret && e->n_jobs >= BITNET_LOCAL_JOBS)
		ret = -EDQUOT;
	if (!ret && !ring_free(e))
		ret = -ENOSPC;
	if (ret) {
		job_free(j);
		return ret;
	}
	e->reserved++;
	e->count.submitted++;
	j->user_data = r->user_data;
	j->flags = r->flags;
	j->job_class = r->job_class;
	j->arrival = e->next_arrival++;
	j->submit_ns = j->last_ns = now_ns();
	if (j->session && !j->session->n_jobs++)
		wake_session(e, j->session);
	j->prev = e->jobs.prev;
	j->next = &e->jobs;
	j->prev->next = j->next->prev = j;
	e->n_jobs++;
	return 0;
}

static int describe_submit(struct bitnet_error *err, int ret, const struct bitnet_job *refused)
{
	if (ret != -EOPNOTSUPP || refused->job_class != BITNET_CLASS_REALTIME)
		return plain_error(err, ret);
	bitnet_error_set(
		err, ret,
		"realtime jobs need the device: the local engine cannot promise when tokens come");
	return bitnet_error_hint(err,
				 "load the module (as root): modprobe bitnet; or --class interactive");
}

static int submit(struct bitnet_engine *engine, const struct bitnet_job *jobs, unsigned int count,
		  unsigned int *accepted, struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	unsigned int n = 0;
	int ret = 0;

	if (accepted)
		*accepted = 0;
	if (!count)
		return plain_error(err, EINVAL);
	if (count > BITNET_MAX_SUBMIT)
		return plain_error(err, E2BIG);
	pthread_mutex_lock(&e->lock);
	while (n < count && !ret) {
		ret = submit_one(e, &jobs[n]);
		n += !ret;
	}
	if (n)
		pthread_cond_signal(&e->runnable);
	pthread_mutex_unlock(&e->lock);
	if (accepted)
		*accepted = n;
	return ret ? describe_submit(err, ret, &jobs[n]) : 0;
}

/* Does anybody still want what the step in flight computes? */
static bool step_is_wanted(const struct local *e)
{
	for (unsigned int i = 0; i < e->n_in_step; i++)
		if (!e->in_step[i]->ended)
			return true;
	return false;
}

static void cancel_jobs(struct local *e, const uint64_t *user_data, unsigned int *n)
{
	struct job *j, *after;

	for (j = e->jobs.next; j != &e->jobs; j = after) {
		after = j->next;
		if (user_data && j->user_data != *user_data)
			continue;
		job_end(e, j, -ECANCELED);
		++*n;
	}
	if (e->stepping && !step_is_wanted(e))
		bitnet_crew_stop(e->crew);
	if (*n)
		pthread_cond_signal(&e->runnable);	/* the next jobs of their sessions */
}

static int cancel(struct bitnet_engine *engine, uint64_t user_data)
{
	struct local *e = local_of(engine);
	unsigned int n = 0;

	pthread_mutex_lock(&e->lock);
	cancel_jobs(e, &user_data, &n);
	pthread_mutex_unlock(&e->lock);
	if (n)
		bitnet_event_post(&e->posted);
	return n ? 0 : -ENOENT;
}

/* ---- the leader ------------------------------------------------------------------------------ */

/*
 * Ring entries that the next rows of @j may need; what a prompt needs that is far from its end is
 * none.
 */
static uint32_t entries_wanted(const struct job *j)
{
	uint32_t wants = bn_job_wants(&j->core);

	return bn_job_slots(&j->core, wants < BN_MAX_ROWS ? wants : BN_MAX_ROWS);
}

/* List @j for the step, with as many rows as the ring has room for; else it parks. */
static bool candidate(struct local *e, struct job *j, uint32_t *room, struct bn_sched_cand *c)
{
	uint32_t wants = bn_job_wants(&j->core), need = entries_wanted(j);

	if (need > *room && j->core.kind == BITNET_JOB_SCORE && *room) {
		wants = *room;
		need = *room;
	}
	set_parked(e, j, need > *room);
	if (j->parked)
		return false;
	*room -= need;
	*c = (struct bn_sched_cand){
		.model = j->model,
		.job_attained = j->session->attained_ns,
		.arrival = j->arrival,
		.wants = wants,
		.slots_per_row = j->core.kind == BITNET_JOB_SCORE,
		.decoding = bn_job_decoding(&j->core),
		.job = j,
	};
	return true;
}

/*
 * Those of @job_class among the first jobs of all sessions, and its first LINEAR one. Jobs that no
 * longer fit end here.
 */
static unsigned int first_jobs(struct local *e, uint32_t job_class, struct bn_sched_cand *cand,
			       struct job **linear)
{
	uint32_t room = ring_free(e);
	unsigned int n = 0;
	struct job *j, *after;

	*linear = NULL;
	e->tick++;
	for (j = e->jobs.next; j != &e->jobs; j = after) {
		after = j->next;
		if (!j->session) {
			e->batch_waits |= j->job_class == BITNET_CLASS_BATCH;
			if (!*linear && j->job_class == job_class)
				*linear = j;
			continue;
		}
		if (j->session->tick == e->tick)
			continue;
		if (!bn_job_fits(&j->core)) {
			job_end(e, j, -ERANGE);
			continue;
		}
		j->session->tick = e->tick;
		e->batch_waits |= j->job_class == BITNET_CLASS_BATCH;
		if (j->job_class == job_class)
			n += candidate(e, j, &room, &cand[n]);
	}
	return n;
}

static void enter_step(struct local *e, struct job *j, uint32_t rows, uint64_t now)
{
	j->rows = rows;
	e->in_step[e->n_in_step++] = j;
	if (!j->started)
		e->count.queue_ns += now - j->submit_ns;
	j->started = true;
}

static void drop_step(struct local *e)
{
	for (unsigned int i = 0; i < e->n_in_step; i++) {
		e->in_step[i]->rows = 0;
		job_end(e, e->in_step[i], -EINVAL);
	}
	e->n_in_step = 0;
}

/* Put together what is to be computed next. Returns its step, or NULL if there is nothing to do. */
static struct bn_step *plan(struct local *e)
{
	struct bn_sched_cand cand[BITNET_LOCAL_SESSIONS];
	uint32_t n_rows = 0, n_slots = 0;
	uint64_t now = now_ns();
	struct job *linear;
	struct bn_step *s;
	bool owed = e->sched.owed >= e->batch_step_ns && e->sched.owed >= OWED_LEAST_NS;
	unsigned int n;

	e->batch_waits = false;
	n = first_jobs(e, owed ? BITNET_CLASS_BATCH : BITNET_CLASS_INTERACTIVE, cand, &linear);
	if (!n && !linear)
		n = first_jobs(e, owed ? BITNET_CLASS_INTERACTIVE : BITNET_CLASS_BATCH, cand,
			       &linear);
	e->n_in_step = 0;
	if (linear && (!n || !e->linear_last)) {
		e->linear_last = true;
		s = &linear->model->step;
		s->linear = linear->linear;
		bn_step_begin_linear(s);
		enter_step(e, linear, linear->linear.rows, now);
		return s;
	}
	e->linear_last = false;
	n = bn_sched_plan(&e->sched, cand, n);
	if (!n)
		return NULL;
	s = &((struct job *)cand[0].job)->model->step;
	for (unsigned int i = 0; i < n; i++) {
		struct job *j = cand[i].job;

		j->promised = bn_job_slots(&j->core, cand[i].rows);
		e->promised += j->promised;
		bn_job_fill(&j->core, s, cand[i].rows, &n_rows, &n_slots);
		enter_step(e, j, cand[i].rows, now);
	}
	if (bn_step_begin(s, n_rows) != BN_OK) {
		/* A bug of ours: jobs were checked by bn_job_init(), rows by the scheduler. */
		drop_step(e);
		return NULL;
	}
	for (unsigned int i = 0; i < n; i++)
		bn_job_arm(&((struct job *)cand[i].job)->core, s);
	return s;
}

/* A step of @busy_ns is over, of which BATCH jobs had @batch_ns: are they owed more? */
static void account(struct local *e, uint64_t busy_ns, uint64_t batch_ns)
{
	if (batch_ns)
		e->batch_step_ns += ((int64_t)batch_ns - (int64_t)e->batch_step_ns) / 4;
	bn_sched_account(&e->sched, busy_ns, batch_ns, batch_ns || e->batch_waits);
}

static void count_token_time(struct local *e, struct job *j, uint64_t now)
{
	uint64_t ns = now - j->last_ns;
	unsigned int bucket = ns ? 63 - __builtin_clzll(ns) : 0;

	e->count.token_ns[bucket < BITNET_HIST_BUCKETS ? bucket : BITNET_HIST_BUCKETS - 1]++;
	j->last_ns = now;
}

/* @entries: out, BN_MAX_HEAD_ROWS. Return: how many tokens the step gave. */
static uint32_t token_entries(struct local *e, struct job *j, const struct bn_step *s, uint64_t now,
			      struct bitnet_ring_entry *entries)
{
	struct bn_token tokens[BN_MAX_HEAD_ROWS];
	bool prefill = !bn_job_decoding(&j->core);
	uint32_t n = bn_job_finish(&j->core, s, tokens);

	if (prefill)
		e->count.tokens_in += j->rows;
	for (uint32_t i = 0; i < n; i++) {
		entries[i] = (struct bitnet_ring_entry){
			.user_data = j->user_data,
			.kind = BITNET_ENTRY_TOKEN,
			.token = tokens[i].token,
			.position = tokens[i].position,
			.logprob = tokens[i].logprob,
			.n_tokens = tokens[i].index,
			.time_ns = now,
			.logits_hash = j->flags & BITNET_JOB_F_HASH ? tokens[i].hash : 0,
		};
		j->n_tokens++;
		count_token_time(e, j, now);
	}
	if (j->core.kind == BITNET_JOB_GENERATE)
		e->count.tokens_out += n;
	return n;
}

static void take_tokens(struct local *e, struct job *j, const struct bn_step *s, uint64_t now)
{
	struct bitnet_ring_entry entries[BN_MAX_HEAD_ROWS];
	uint32_t n = token_entries(e, j, s, now, entries);

	e->promised -= j->promised;
	j->promised = 0;
	for (uint32_t i = 0; i < n; i++)
		post(e, &entries[i]);
}

/*
 * Hand out what a step gave. A job that ended meanwhile has had its final entry: nothing more comes
 * of it.
 */
static void finish(struct local *e, const struct bn_step *s, bool finished,
		   const struct bitnet_crew_cost *cost)
{
	uint64_t now = now_ns();
	uint64_t batch_ns = 0;
	uint32_t rows = 0;

	for (unsigned int i = 0; i < e->n_in_step; i++)
		rows += e->in_step[i]->rows;
	e->count.weight_bytes += cost->weight_bytes;
	for (unsigned int i = 0; i < e->n_in_step; i++) {
		struct job *j = e->in_step[i];
		uint64_t share = cost->busy_ns * j->rows / rows;

		e->count.cpu_ns += share;
		e->count.class_cpu_ns[j->job_class] += share;
		batch_ns += j->job_class == BITNET_CLASS_BATCH ? share : 0;
		j->cpu_ns += share;
		if (j->session)
			j->session->attained_ns += share;
		if (j->ended) {
			job_free(j);
			continue;
		}
		if (!finished) {
			if (j->session)
				bn_job_abandon(&j->core);
			e->promised -= j->promised;
			j->promised = 0;
			j->rows = 0;
			continue;
		}
		if (j->session)
			take_tokens(e, j, s, now);
		j->rows = 0;
		if (!j->session || j->core.reason)
			job_end(e, j, 0);
	}
	account(e, cost->busy_ns, batch_ns);
	e->n_in_step = 0;
}

static void *leader(void *arg)
{
	struct local *e = arg;
	struct bn_step *s;
	struct bitnet_crew_cost cost;
	bool finished;

	pthread_mutex_lock(&e->lock);
	while (!e->closing) {
		uint32_t tail = e->tail, parked = e->n_parked;

		s = plan(e);
		if (e->tail != tail || e->n_parked != parked)
			bitnet_event_post(&e->posted);
		if (!s) {
			pthread_cond_wait(&e->runnable, &e->lock);
			continue;
		}
		e->stepping = true;
		bitnet_crew_begin(e->crew, s);
		pthread_mutex_unlock(&e->lock);

		finished = bitnet_crew_run(e->crew, &cost);

		pthread_mutex_lock(&e->lock);
		e->stepping = false;
		finish(e, s, finished, &cost);
		bitnet_event_post(&e->posted);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

/* ---- run: in the caller's thread -------------------------------------------------------------- */

/* What it takes, as long as it takes. */
struct inline_step {
	struct bn_step step;
	void *scratch, *buffer;
};

static void inline_free(struct inline_step *in)
{
	free(in->scratch);
	free(in->buffer);
}

static int inline_init(struct inline_step *in, const struct local *e, const struct model *m)
{
	uint64_t bytes = bn_scratch_bytes(&m->core);

	in->scratch = aligned_alloc(64, bytes);
	in->buffer = aligned_alloc(64, BN_TILE_BYTES);
	if (!in->scratch || !in->buffer) {
		inline_free(in);
		return -ENOMEM;
	}
	memset(in->scratch, 0, bytes);
	memset(in->buffer, 0, BN_TILE_BYTES);
	memset(&in->step, 0, sizeof(in->step));
	bn_step_init(&in->step, &m->core, e->ops, in->scratch);
	in->step.dense = e->dense;
	return 0;
}

/* The next step of @j, all of it. Return: entries made. */
static uint32_t inline_compute(struct local *e, struct job *j, struct inline_step *in,
			       struct bitnet_ring_entry *entries)
{
	uint32_t most = j->core.kind == BITNET_JOB_SCORE ? BN_MAX_HEAD_ROWS : BN_MAX_ROWS;
	uint32_t n_rows = 0, n_slots = 0, wants = bn_job_wants(&j->core), n;
	uint64_t start = now_ns(), now;

	j->rows = wants < most ? wants : most;
	bn_job_fill(&j->core, &in->step, j->rows, &n_rows, &n_slots);
	bn_step_begin(&in->step, n_rows);
	bn_job_arm(&j->core, &in->step);
	for (uint32_t phase = 0; phase < in->step.n_phases; phase++) {
		uint32_t tiles = bn_step_tiles(&in->step, phase);

		for (uint32_t tile = 0; tile < tiles; tile++) {
			uint32_t cursor = 0;

			while (bn_step_tile(&in->step, phase, tile, &cursor, in->buffer))
				;
		}
	}
	now = now_ns();
	pthread_mutex_lock(&e->lock);
	j->cpu_ns += now - start;
	e->count.cpu_ns += now - start;
	e->count.weight_bytes += bn_tile_weight_bytes(in->buffer);
	n = token_entries(e, j, &in->step, now, entries);
	pthread_mutex_unlock(&e->lock);
	return n;
}

/* The job, which its session counts from here on, and what it is computed with. */
static int inline_prepare(struct local *e, struct job *j, const struct bitnet_job *r,
			  unsigned int n_entries, struct inline_step *in)
{
	uint64_t need = r->kind == BITNET_JOB_GENERATE ? (uint64_t)r->max_tokens + 1 :
							 r->input_count;
	int ret = errno_of(bn_job_check_request(r));

	if (ret)
		return ret;
	if (r->kind == BITNET_JOB_LINEAR || r->job_class == BITNET_CLASS_REALTIME)
		return -EINVAL;
	if (n_entries < need)
		return -ENOSPC;
	ret = prepare_tokens(e, j, r);
	if (ret)
		return ret;
	if (j->session->n_jobs)
		return -EBUSY;
	ret = inline_init(in, e, j->model);
	if (ret)
		return ret;
	j->session->n_jobs++;
	j->user_data = r->user_data;
	j->flags = r->flags;
	j->submit_ns = j->last_ns = now_ns();
	e->count.submitted++;
	return 0;
}

static int run(struct bitnet_engine *engine, const struct bitnet_job *r,
	       struct bitnet_ring_entry *entries, unsigned int n_entries, unsigned int *made,
	       struct bitnet_error *err)
{
	struct local *e = local_of(engine);
	struct job *j = calloc(1, sizeof(*j));
	struct bitnet_ring_entry step_entries[BN_MAX_HEAD_ROWS];
	struct inline_step in;
	int ret;

	*made = 0;
	if (!j)
		return plain_error(err, ENOMEM);
	pthread_mutex_lock(&e->lock);
	ret = inline_prepare(e, j, r, n_entries, &in);
	pthread_mutex_unlock(&e->lock);
	if (ret)
		goto out;
	while (bn_job_wants(&j->core)) {
		uint32_t n = inline_compute(e, j, &in, step_entries);

		memcpy(entries + *made, step_entries, n * sizeof(*entries));
		*made += n;
	}
	pthread_mutex_lock(&e->lock);
	count_end(&e->count, 0);
	j->session->n_jobs--;
	entries[(*made)++] = final_entry(j, 0);
	pthread_mutex_unlock(&e->lock);
	inline_free(&in);
out:
	pthread_mutex_lock(&e->lock);
	job_free(j);
	pthread_mutex_unlock(&e->lock);
	return ret ? plain_error(err, ret) : 0;
}

/* ---- the engine ------------------------------------------------------------------------------ */

static unsigned int allowed_cpus(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || !CPU_COUNT(&cpus))
		return 1;
	return CPU_COUNT(&cpus);
}

static int check_options(const struct bitnet_engine_options *o, struct local *e,
			 struct bitnet_error *err)
{
	long page = 4096;

	e->dense = o->dense;
	e->n_threads = o->threads ? o->threads : allowed_cpus();
	if (!o->threads && e->n_threads > BITNET_CREW_MAX)
		e->n_threads = BITNET_CREW_MAX;
	if (e->n_threads > BITNET_CREW_MAX)
		return bitnet_error_set(err, EINVAL, "%u threads are too many: at most %u",
					e->n_threads, BITNET_CREW_MAX);
	e->ops = bn_variant_find(o->variant ? o->variant : "fastest", bitnet_cpu_mask());
	if (!e->ops) {
		bitnet_error_set(err, EOPNOTSUPP, "this CPU has no variant \"%s\"", o->variant);
		return bitnet_error_hint(
			err, "\"fastest\" takes the best one there is; \"ref\" runs everywhere.");
	}
	e->n_entries = o->ring_entries ? o->ring_entries : RING_ENTRIES;
	if (e->n_entries < 2 || e->n_entries > BITNET_LOCAL_RING_ENTRIES ||
	    e->n_entries & (e->n_entries - 1))
		return bitnet_error_set(err, EINVAL,
					"a ring has a power of two of entries, from 2 to %u",
					BITNET_LOCAL_RING_ENTRIES);
	if (o->data_bytes > BITNET_LOCAL_DATA_BYTES || o->data_bytes % page)
		return bitnet_error_set(err, EINVAL,
					"the data area is a multiple of %ld bytes, at most %llu",
					page, (unsigned long long)BITNET_LOCAL_DATA_BYTES);
	e->data_bytes = o->data_bytes;
	return 0;
}

static int start_leader(struct local *e)
{
	sigset_t all, old;
	int error;

	/* Signals are for the caller's threads: they interrupt wait(). */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&e->leader, NULL, leader, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

static void destroy(struct local *e)
{
	bitnet_crew_destroy(e->crew);
	pthread_cond_destroy(&e->runnable);
	pthread_mutex_destroy(&e->lock);
	if (e->data)
		munmap(e->data, e->data_bytes);
	free(e->ring);
	free(e);
}

static int local_open(const struct bitnet_engine_options *options, struct bitnet_engine **engine,
		      struct bitnet_error *err)
{
	struct local *e = calloc(1, sizeof(*e));
	int ret;

	*engine = NULL;
	if (!e)
		return plain_error(err, ENOMEM);
	e->base.ops = &bitnet_local_ops;
	e->base.kind = BITNET_ENGINE_LOCAL;
	e->jobs.next = e->jobs.prev = &e->jobs;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->runnable, NULL);
	ret = check_options(options, e, err);
	if (ret)
		goto out;
	e->sched.floor_ppm = BATCH_FLOOR_PPM;
	e->ring = calloc(e->n_entries, sizeof(*e->ring));
	if (e->data_bytes) {
		e->data = mmap(NULL, e->data_bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (e->data == MAP_FAILED)
			e->data = NULL;
	}
	if (!e->ring || (e->data_bytes && !e->data)) {
		ret = plain_error(err, ENOMEM);
		goto out;
	}
	e->crew = bitnet_crew_create(e->n_threads);
	if (!e->crew || start_leader(e)) {
		ret = bitnet_error_set(err, ENOMEM, "cannot start %u threads", e->n_threads);
		goto out;
	}
	*engine = &e->base;
	return 0;
out:
	destroy(e);
	return ret;
}

static void local_close(struct bitnet_engine *engine)
{
	struct local *e = local_of(engine);
	unsigned int n = 0;

	pthread_mutex_lock(&e->lock);
	e->closing = true;
	cancel_jobs(e, NULL, &n);
	pthread_cond_signal(&e->runnable);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->leader, NULL);

	for (unsigned int i = 0; i < BITNET_LOCAL_SESSIONS; i++)
		if (e->sessions[i])
			session_put(e->sessions[i]);
	for (unsigned int i = 0; i < BITNET_LOCAL_MODELS; i++)
		if (e->models[i])
			model_put(e->models[i]);
	destroy(e);
}

static int info(struct bitnet_engine *engine, struct bitnet_info *i, struct bitnet_error *err)
{
	struct local *e = local_of(engine);

	memset(i, 0, sizeof(*i));
	i->size = sizeof(*i);
	i->out_abi_version = BITNET_ABI_VERSION;
	i->out_workers = e->n_threads;
	i->out_features = BITNET_FEATURE_GENERATE | BITNET_FEATURE_SCORE | BITNET_FEATURE_LINEAR |
			  BITNET_FEATURE_RUN;
	i->out_max_model_bytes = BN_MAX_IMAGE_BYTES;
	i->out_max_pinned_bytes = BN_MAX_IMAGE_BYTES;
	i->out_max_kv_bytes = BITNET_LOCAL_KV_BYTES;
	i->out_max_data_bytes = BITNET_LOCAL_DATA_BYTES;
	i->out_max_models = BITNET_LOCAL_MODELS;
	i->out_max_sessions = BITNET_LOCAL_SESSIONS;
	i->out_max_jobs = BITNET_LOCAL_JOBS;
	i->out_max_ring_entries = BITNET_LOCAL_RING_ENTRIES;
	i->out_max_rows = BN_MAX_ROWS;
	snprintf(i->out_variant, sizeof(i->out_variant), "%s", e->ops->name);
	return 0;
}

static int stats(struct bitnet_engine *engine, uint32_t flags, uint32_t session_id,
		 struct bitnet_stats *s, struct bitnet_error *err)
{
	struct local *e = local_of(engine);

	if (flags || session_id)
		return bitnet_error_set(err, EOPNOTSUPP,
					"the local engine keeps no counters of users and sessions");
	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	pthread_mutex_lock(&e->lock);
	for (unsigned int i = 0; i < BITNET_LOCAL_MODELS; i++) {
		if (!e->models[i])
			continue;
		s->out_models++;
		s->out_pinned_bytes += e->models[i]->image_bytes;
	}
	for (unsigned int i = 0; i < BITNET_LOCAL_SESSIONS; i++) {
		if (!e->sessions[i])
			continue;
		s->out_sessions++;
		s->out_kv_bytes += e->sessions[i]->kv_bytes;
	}
	s->out_jobs = e->n_jobs;
	s->out_parked = e->n_parked;
	s->out_jobs_submitted = e->count.submitted;
	s->out_jobs_done = e->count.done;
	s->out_jobs_failed = e->count.failed;
	s->out_jobs_cancelled = e->count.cancelled;
	s->out_tokens_in = e->count.tokens_in;
	s->out_tokens_out = e->count.tokens_out;
	s->out_cpu_ns = e->count.cpu_ns;
	s->out_queue_ns = e->count.queue_ns;
	s->out_weight_bytes = e->count.weight_bytes;
	for (unsigned int c = 0; c <= BITNET_CLASS_BATCH; c++)
		s->out_class_cpu_ns[c] = e->count.class_cpu_ns[c];
	for (unsigned int i = 0; i < BITNET_HIST_BUCKETS; i++)
		s->out_token_ns[i] = e->count.token_ns[i];
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static void *data(struct bitnet_engine *engine)
{
	return local_of(engine)->data;
}

static int no_fd(struct bitnet_engine *engine)
{
	return -1;
}

const struct bitnet_engine_ops bitnet_local_ops = {
	.open = local_open,
	.close = local_close,
	.info = info,
	.stats = stats,
	.model_load = model_load,
	.model_open = model_open,
	.model_close = model_close,
	.model_unload = model_unload,
	.model_info = model_info,
	.session_open = session_open,
	.session_rewind = session_rewind,
	.session_close = session_close,
	.submit = submit,
	.run = run,
	.cancel = cancel,
	.wait = wait_for_entries,
	.next = next,
	.data = data,
	.fd = no_fd,
};

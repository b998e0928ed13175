// SPDX-License-Identifier: GPL-2.0
/*
 * run_inline.c - RUN gives what SUBMIT gives, bit for bit, and ends when it is told to
 *
 * What it does to the caller's scheduling is in run_policy.c and run_cpu_max.c.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sys/time.h>

#include "device.h"

static struct t_image demo, slow, tiny;
static const uint32_t four[4] = { 1, 2, 3, 4 };
static struct t_result submitted, inlined;

/* Where the demo model takes seconds for what is done many times elsewhere. */
static bool is_slow_bed(void)
{
	return !t_is_uml() && !t_release_size();
}

/* A client without a ring: RUN needs none. */
struct plain {
	int fd;
	uint32_t model, session;
};

static void plain_open(struct plain *p, const struct t_image *image)
{
	p->fd = t_open();
	if (t_model_load(p->fd, image, 0, NULL, &p->model) ||
	    t_session_open(p->fd, p->model, 0, &p->session))
		bail("a file with a model and a session");
}

/* ---- the same bits ------------------------------------------------------------------- */

/* One job both ways, each in an empty session. */
static bool same_both_ways(struct t_client *c, struct plain *p, struct bitnet_job job)
{
	int err;

	t_session_rewind(c->fd, c->session, 0);
	t_session_rewind(p->fd, p->session, 0);
	job.session_id = c->session;
	err = t_run(&c->ring, &job, &submitted);
	job.session_id = p->session;
	if (!err)
		err = t_inline_run(p->fd, &job, &inlined);
	if (err)
		diag("%s", strerror(-err));
	return !err && t_same_results(&submitted, &inlined);
}

static void check_same(void)
{
	static uint32_t many[T_DEMO_CTX - 8];
	const uint32_t n = t_tokens(T_N_GREEDY);
	struct bitnet_job job;
	struct t_client c;
	struct plain p;
	unsigned int i;

	t_client_open(&c, &demo, 1024);
	plain_open(&p, &demo);
	for (i = 0; i < (is_slow_bed() ? 1 : T_N_GOLDEN); i++) {
		const struct t_golden *g = &t_golden[i];

		job = t_generate(0, g->ids, g->n_ids, n, 0x100000000 + i);
		ok(same_both_ways(&c, &p, job), "GENERATE, prompt %u", i);
	}
	job = t_generate(0, t_golden[0].ids, t_golden[0].n_ids, n, 1);
	ok(same_both_ways(&c, &p, job) && t_same_tokens(&inlined, t_golden[0].greedy, n),
	   "golden continuation");
	is(inlined.end.n_tokens, n, "DONE counts the tokens");
	ok(inlined.end.cpu_ns > 0, "and what was charged");

	job = t_generate(0, t_golden[0].ids, t_golden[0].n_ids, n, 1);
	job.temperature_ppm = BITNET_PPM;
	job.top_k = 50;
	job.repeat_penalty_ppm = 1300000;
	job.repeat_last_n = 32;
	job.seed = 9;
	ok(same_both_ways(&c, &p, job), "GENERATE, sampled, with a penalty");
	job.flags = 0;
	job.job_class = BITNET_CLASS_BATCH;
	ok(same_both_ways(&c, &p, job), "of class BATCH, without F_HASH");
	job = t_generate(0, t_golden[0].ids, t_golden[0].n_ids, n, 1);
	job.n_stop = 1;
	job.stop_tokens[0] = t_golden[0].greedy[4];
	ok(same_both_ways(&c, &p, job) && inlined.end.reason == BITNET_REASON_STOP,
	   "ended by a stop token");

	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = i * 7 % T_DEMO_VOCAB;
	job = t_score(0, many, t_release_size() ? ARRAY_SIZE(many) : 20, 1);
	ok(same_both_ways(&c, &p, job), "SCORE of %u tokens", job.input_count);
	job = t_score(0, many, 1, 1);
	ok(same_both_ways(&c, &p, job) && !inlined.n, "SCORE of one token");
	job = t_generate(0, many, 66, 2, 1);
	ok(same_both_ways(&c, &p, job), "a prompt longer than a step");

	close(p.fd);
	t_client_close(&c);
}

/* RUN for each token, SUBMIT for the next: one text, in one session. */
static void check_by_turns(void)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_model_info info;
	const uint32_t n = t_tokens(T_N_GREEDY);
	struct bitnet_stats first = { 0 }, last;
	struct bitnet_job job;
	struct t_client c;
	uint32_t i, right = 0, most_percent = 0;
	uint64_t cpu = 0, charged = 0, took = 0;

	t_client_open(&c, &demo, 16);
	t_model_info(c.fd, c.model, &info);
	job = t_generate(c.session, g->ids, g->n_ids, 1, 1);
	for (i = 0; i < n; i++) {
		uint64_t began = t_now(), wall;
		int err = i % 3 ? t_inline_run(c.fd, &job, &inlined) :
				  t_run(&c.ring, &job, &inlined);

		if (err)
			break;
		right += inlined.n == 1 && inlined.token[0].token == g->greedy[i] &&
			 inlined.token[0].position == g->n_ids + i;
		wall = t_now() - began;
		cpu += inlined.end.cpu_ns;
		if (i % 3) {
			uint32_t percent = inlined.end.cpu_ns * 100 / wall;

			charged += inlined.end.cpu_ns;
			took += wall;
			most_percent = percent > most_percent ? percent : most_percent;
		}
		job = t_generate(c.session, &g->greedy[i], 1, 1, 1);
		if (i == 1)
			first = t_stats(c.fd);
	}
	is(right, n, "a text by RUN and SUBMIT in turns is golden");
	/* A little in rate, and where the TSC is not stable by a tick: so far the clocks may differ. */
	ok(charged <= took + took / 100 + (t_is_uml() ? 0 : 10000000),
	   "RUNs were charged no more time than they took: %" PRIu64 " of %" PRIu64 " ns", charged,
	   took);
	ok(most_percent >= 25, "but at least a quarter of it, once: %u %%", most_percent);
	is(t_ring_pending(&c.ring), 0, "RUN puts nothing into the ring");
	last = t_stats(c.fd);
	is(last.out_jobs_done, n, "STATS counts the jobs of both");
	is(last.out_jobs_submitted, n, "as submitted too");
	is(last.out_jobs, 0, "none is left");
	is(last.out_tokens_out, n, "tokens out");
	is(last.out_tokens_in, g->n_ids + n - 1, "tokens in");
	is(last.out_cpu_ns, cpu, "time charged is what the DONE entries say");
	ok(last.out_weight_bytes > 0, "weights were read");
	ok(first.out_kv_bytes > info.out_kv_bytes_per_token * info.out_max_ctx,
	   "the first RUN's memory is counted");
	is(last.out_kv_bytes, first.out_kv_bytes, "and there is no more than that");
	is(t_session_close(c.fd, c.session), 0, "the session is closed");
	is(t_stats(c.fd).out_kv_bytes, 0, "and with it this memory is gone");
	t_client_close(&c);
}

/* ---- errors -------------------------------------------------------------------------- */

static int call_run(int fd, const struct bitnet_run *run)
{
	struct bitnet_run arg = *run;

	return t_ioctl(fd, BITNET_IOC_RUN, &arg);
}

static void check_errors(void)
{
	static struct bitnet_ring_entry entries[16];
	static uint32_t tokens[300] = { 1, 2, 3 };
	struct { struct bitnet_job job; uint64_t tail; } longer = { .tail = 0 };
	struct bitnet_stats stats;
	struct bitnet_job good, job;
	struct bitnet_run run;
	struct t_client c;
	uint32_t made;

	t_client_open(&c, &tiny, 4);
	good = t_generate(c.session, tokens, 3, 10, 5);
#define BAD(change, want, name)						\
	do {								\
		job = good;						\
		change;							\
		is(t_inline(c.fd, &job, entries, 16, &made), want, name); \
	} while (0)
	BAD(job.kind = 9, -EINVAL, "EINVAL: no such kind");
	BAD(job.flags = 2, -EINVAL, "EINVAL: unknown flag of the job");
	BAD(job.__resv2 = 1, -EINVAL, "EINVAL: reserved field of the job");
	BAD(job.max_tokens = 0, -EINVAL, "EINVAL: no tokens to make");
	BAD((job.job_class = BITNET_CLASS_REALTIME, job.first_token_ns = job.period_ns = 1000000),
	    -EINVAL, "EINVAL: REALTIME");
	BAD((job = (struct bitnet_job){ .kind = BITNET_JOB_LINEAR, .model_id = c.model,
					.input = t_pointer(tokens), .input_count = 1 }),
	    -EINVAL, "EINVAL: LINEAR");
	BAD(job.session_id = 55, -ENOENT, "ENOENT: no such session");
	BAD(job.input = 8, -EFAULT, "EFAULT: the input cannot be read");
	BAD(job.input_count = 257, -ERANGE, "ERANGE: more tokens than the context holds");
	tokens[1] = tiny.header->vocab;
	BAD((void)0, -ERANGE, "ERANGE: a token outside of the vocabulary");
	tokens[1] = 2;
	BAD(job.max_tokens = 16, -ENOSPC, "ENOSPC: no room for the last entry of GENERATE");
	BAD(job.max_tokens = UINT32_MAX, -ENOSPC, "ENOSPC: as many tokens as can be asked for");
	job = t_score(c.session, tokens, 17, 5);
	is(t_inline(c.fd, &job, entries, 16, NULL), -ENOSPC, "ENOSPC: nor of SCORE");

	run = (struct bitnet_run){ .size = sizeof(run), .job = t_pointer(&good),
				   .job_size = sizeof(good), .n_entries = 16,
				   .entries = t_pointer(entries) };
	run.job = 8;
	is(call_run(c.fd, &run), -EFAULT, "EFAULT: the job cannot be read");
	run.job = t_pointer(&good);
	run.entries = -(uint64_t)T_PAGE;
	is(call_run(c.fd, &run), -EFAULT, "EFAULT: entries in the kernel");
	run.entries = t_pointer(entries);
	run.job_size = 8;
	is(call_run(c.fd, &run), -EINVAL, "EINVAL: a short job");
	run.job_size = 4097;
	is(call_run(c.fd, &run), -E2BIG, "E2BIG: a job longer than a page");
	longer.job = good;
	longer.tail = 1;
	run.job = t_pointer(&longer);
	run.job_size = sizeof(longer);
	is(call_run(c.fd, &run), -E2BIG, "E2BIG: a tail that is not zero");
	stats = t_stats(c.fd);
	ok(!stats.out_jobs && !stats.out_jobs_submitted && !stats.out_cpu_ns,
	   "none of these had an effect");
	longer.tail = 0;
	is(call_run(c.fd, &run), 0, "a tail of zeros is fine");
	is(t_session_rewind(c.fd, c.session, 0), 0, "REWIND");
	job = t_score(c.session, tokens, 16, 5);
	is(t_inline(c.fd, &job, entries, 16, &made), 0, "SCORE with just enough room");
	is(made, 16, "fills it");

	job = t_generate(c.session, tokens, 1, 200, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job that parks");
	is(t_inline(c.fd, &good, entries, 16, NULL), -EBUSY, "EBUSY: the session has jobs");
	is(t_cancel(c.fd, 1, NULL), 0, "CANCEL");
	is(t_collect(&c.ring, &submitted, 1, 1), 0, "ends it");
	t_session_rewind(c.fd, c.session, 0);
	is(t_inline(c.fd, &good, entries, 16, NULL), 0, "then it works");
	t_client_close(&c);
}

/* Entries that cannot be written end the job, and nothing else. */
static void check_fault(void)
{
	char *pages = t_pages(2 * T_PAGE);
	struct bitnet_ring_entry *entries = (void *)(pages + T_PAGE - 3 * sizeof(*entries));
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, &tiny, 64);
	job = t_generate(c.session, four, 4, 20, 1);
	if (t_run(&c.ring, &job, &submitted))
		bail("the tiny model does not run");
	t_session_rewind(c.fd, c.session, 0);

	mprotect(pages + T_PAGE, T_PAGE, PROT_NONE);
	is(t_inline(c.fd, &job, entries, 21, NULL), -EFAULT, "entries that end in a hole");
	is(entries[2].kind, BITNET_ENTRY_TOKEN, "those before it are there");
	ok(entries[0].token == submitted.token[0].token &&
	   entries[2].logits_hash == submitted.token[2].logits_hash, "and right");
	is(t_stats(c.fd).out_jobs, 0, "the job is gone");
	is(t_stats(c.fd).out_jobs_failed, 1, "as a failed one");
	is(t_session_rewind(c.fd, c.session, 0), 0, "the session is free");
	mprotect(pages, T_PAGE, PROT_READ);
	is(t_inline(c.fd, &job, entries, 21, NULL), -EFAULT, "entries in read-only memory");
	mprotect(pages, 2 * T_PAGE, PROT_READ | PROT_WRITE);
	/* The job behind it has its last entry alone in a hole: all its tokens are there. */
	t_session_rewind(c.fd, c.session, 0);
	job.max_tokens = 3;
	mprotect(pages + T_PAGE, T_PAGE, PROT_NONE);
	is(t_inline(c.fd, &job, entries, 4, NULL), -EFAULT, "the last entry in a hole");
	is(t_session_rewind(c.fd, c.session, 6), 0, "all was computed");
	t_session_rewind(c.fd, c.session, 0);
	job.max_tokens = 20;
	is(t_inline_run(c.fd, &job, &inlined), 0, "the session works");
	ok(t_same_results(&submitted, &inlined), "as ever");
	munmap(pages, 2 * T_PAGE);
	t_client_close(&c);
}

/* ---- other threads ------------------------------------------------------------------- */

struct thread {
	pthread_t id;
	int fd;
	struct bitnet_job job;
	struct t_result result;
	int err;
};

static void *thread_fn(void *arg)
{
	struct thread *t = arg;

	t->err = t_inline_run(t->fd, &t->job, &t->result);
	return NULL;
}

static void thread_start(struct thread *t, int fd, struct bitnet_job job)
{
	t->fd = fd;
	t->job = job;
	if (pthread_create(&t->id, NULL, thread_fn, t))
		bail("pthread_create");
}

/* Jobs that a session has now, as STATS says */
static uint32_t jobs_of(int fd, uint32_t session)
{
	struct bitnet_stats s = { .size = sizeof(s), .flags = BITNET_STATS_F_SESSION,
				  .session_id = session };

	return t_ioctl(fd, BITNET_IOC_STATS, &s) ? UINT32_MAX : s.out_jobs;
}

/* Waits until the job of a thread is computed, or has been. */
static void until_running(int fd)
{
	while (!t_stats(fd).out_jobs_submitted)
		sched_yield();
}

static void check_cancel(void)
{
	static uint32_t prompt[1000];
	static struct thread t;
	struct plain p;
	unsigned int i;
	uint32_t n;
	int err;

	for (i = 0; i < ARRAY_SIZE(prompt); i++)
		prompt[i] = i;
	for (i = 0; i < 2; i++) {
		plain_open(&p, &slow);
		thread_start(&t, p.fd, i ? t_generate(p.session, prompt, 1000, 2, 7) :
					   t_generate(p.session, four, 4, 1000, 7));
		until_running(p.fd);
		is(jobs_of(p.fd, p.session), 1, "STATS of the session during RUN: a job");
		is(t_session_close(p.fd, p.session), -EBUSY, "SESSION_CLOSE during RUN");
		is(t_session_rewind(p.fd, p.session, 0), -EBUSY, "SESSION_REWIND");
		is(t_inline_run(p.fd, &t.job, &inlined), -EBUSY, "another RUN");
		is(t_cancel(p.fd, 8, NULL), -ENOENT, "CANCEL of another user_data");
		is(t_cancel(p.fd, 7, &n), 0, i ? "CANCEL in the prompt" : "CANCEL");
		is(n, 1, "one job");
		err = t_cancel(p.fd, 7, NULL);
		is(err, -ENOENT, "it cannot be cancelled twice");
		pthread_join(t.id, NULL);
		is(t.err, 0, "RUN returns 0");
		is(t.result.end.kind, BITNET_ENTRY_ERROR, "its last entry is ERROR");
		is(t.result.end.error, -ECANCELED, "with ECANCELED");
		ok(t.result.end.position < 1000, "after %u tokens, %u in the cache", t.result.n,
		   t.result.end.position);
		is(t_stats(p.fd).out_jobs_cancelled, 1, "it is counted");
		is(jobs_of(p.fd, p.session), 0, "the session has none");
		is(t_session_rewind(p.fd, p.session, t.result.end.position), 0,
		   "the cache holds what it says");
		is(t_session_rewind(p.fd, p.session, 0), 0, "REWIND");
		t.job = t_generate(p.session, four, 4, 3, 7);
		is(t_inline_run(p.fd, &t.job, &inlined), 0, "the session goes on");
		close(p.fd);
	}
}

/* Cancelled at random moments, the session is always where it says it is. */
static void check_cancel_random(void)
{
	unsigned int i, wrong = 0, before = 0, n = t_size(40, 2000);
	static struct thread t;
	uint64_t seed = 3;
	struct plain p;

	plain_open(&p, &tiny);
	t.job = t_generate(p.session, four, 4, 20, 1);
	if (t_inline_run(p.fd, &t.job, &submitted))
		bail("the tiny model does not run");
	for (i = 0; t_more(i, n, "RUN cancelled"); i++) {
		t_session_rewind(p.fd, p.session, 0);
		thread_start(&t, p.fd, t_generate(p.session, four, 4, 200, 2));
		t_sleep_ns(t_random(&seed) % 1000000);
		before += t_cancel(p.fd, 2, NULL) == -ENOENT;
		pthread_join(t.id, NULL);
		if (t.err || t_session_rewind(p.fd, p.session, t.result.end.position) ||
		    t_session_rewind(p.fd, p.session, 0))
			wrong++;
		t.job = t_generate(p.session, four, 4, 20, 1);
		if (t_inline_run(p.fd, &t.job, &inlined) || !t_same_results(&submitted, &inlined))
			wrong++;
	}
	is(wrong, 0, "%u cancelled at random moments (%u too early or too late)", i, before);
	close(p.fd);
}

static void check_queue(void)
{
	static struct thread t;
	static struct t_result behind[2];
	struct bitnet_job jobs[2];
	const uint32_t n = t_tokens(20);
	struct bitnet_stats stats;
	uint32_t entries, other;
	struct t_client c;

	t_client_open(&c, &slow, 64);
	if (t_session_open(c.fd, c.model, 50, &other))
		bail("another session");
	thread_start(&t, c.fd, t_generate(c.session, four, 4, 1000, 9));
	until_running(c.fd);
	is(t_wait(c.fd, 1, T_HANG_NS, &entries), 0, "WAIT while there is only RUN's job");
	is(entries, 0, "does not wait for it: it makes no entries");
	jobs[0] = t_generate(c.session, four, 1, 3, 1);
	jobs[1] = t_generate(other, four, 1, 3, 2);
	is(t_submit(c.fd, jobs, 2, NULL), 0, "SUBMIT to the session of RUN, and to another");
	stats = t_stats(c.fd);
	is(stats.out_jobs_submitted, 3, "three jobs");
	/* The other session's does not wait. */
	ok(stats.out_jobs >= 2, "%u of which have not ended", stats.out_jobs);
	is(t_cancel(c.fd, 9, NULL), 0, "RUN is cancelled");
	is(t_collect(&c.ring, behind, 2, 1), 0, "both end");
	pthread_join(t.id, NULL);
	is(t.result.end.error, -ECANCELED, "RUN ended by CANCEL");
	ok(behind[0].n == 3 && behind[1].n == 3, "with their tokens");
	ok(behind[0].token[0].time_ns >= t.result.end.time_ns, "the one of the session after RUN");
	is(behind[0].end.position, t.result.end.position + 3, "behind what it left in the cache");

	/* A job that did not fit any more behind what RUN made. */
	t_session_rewind(c.fd, other, 0);
	thread_start(&t, c.fd, t_generate(other, four, 4, n, 9));
	while (!t_stats(c.fd).out_jobs && t_stats(c.fd).out_jobs_submitted < 4)
		sched_yield();
	jobs[0] = t_score(other, t_golden[0].greedy, 48, 1);
	if (t_submit(c.fd, jobs, 1, NULL) || t_collect(&c.ring, behind, 1, 1))
		diag("SUBMIT was too late");
	pthread_join(t.id, NULL);
	is(t.result.n, n, "RUN makes its tokens");
	ok(behind[0].end.error == -ERANGE || !behind[0].end.kind,
	   "and what does not fit behind it is refused");
	t_client_close(&c);
}

/* Two sessions of one model by RUN, a third by the workers: nobody sees the others. */
static void check_together(void)
{
	static struct thread t[2];
	static struct t_result want[3], got;
	const uint32_t n = is_slow_bed() ? 4 : t_tokens(T_N_GREEDY);
	uint32_t session[2], round, wrong = 0;
	struct t_client c;
	unsigned int i;

	t_client_open(&c, &demo, 64);
	for (i = 0; i < 3; i++) {
		struct bitnet_job job = t_generate(c.session, t_golden[i].ids, t_golden[i].n_ids,
						   n, 1);

		t_session_rewind(c.fd, c.session, 0);
		if (t_run(&c.ring, &job, &want[i]))
			bail("the demo model does not run");
	}
	for (i = 0; i < 2; i++)
		if (t_session_open(c.fd, c.model, 0, &session[i]))
			bail("a session");
	for (round = 0; round < (is_slow_bed() ? 1 : 3); round++) {
		struct bitnet_job job = t_generate(c.session, t_golden[2].ids, t_golden[2].n_ids,
						   n, 1);

		t_session_rewind(c.fd, c.session, 0);
		for (i = 0; i < 2; i++) {
			t_session_rewind(c.fd, session[i], 0);
			thread_start(&t[i], c.fd, t_generate(session[i], t_golden[i].ids,
							     t_golden[i].n_ids, n, 10 + i));
		}
		if (t_run(&c.ring, &job, &got) || !t_same_results(&want[2], &got))
			wrong++;
		for (i = 0; i < 2; i++) {
			pthread_join(t[i].id, NULL);
			if (t[i].err || !t_same_results(&want[i], &t[i].result))
				wrong++;
		}
	}
	is(wrong, 0, "two RUN and a SUBMIT at once give what each gives alone");
	t_client_close(&c);
}

/*
 * A cancelled job is still part of the step in flight, which goes on for another one and stores
 * keys and values of all its rows. RUN in the session of the cancelled one is not disturbed.
 */
static void check_after_cancel(void)
{
	static uint32_t prompt[400], text[200];
	static struct t_result want, got;
	unsigned int i, wrong = 0, n = t_release_size() ? 300 : is_slow_bed() ? 2 : 20;
	struct bitnet_job beside, cancelled, job;
	uint32_t session, entries;
	uint64_t seed = 11;
	struct t_client c;

	for (i = 0; i < ARRAY_SIZE(prompt); i++)
		prompt[i] = i;
	for (i = 0; i < ARRAY_SIZE(text); i++)
		text[i] = 5000 + i;
	t_client_open(&c, &slow, 2048);
	if (t_session_open(c.fd, c.model, 0, &session))
		bail("another session");
	job = t_score(session, text, ARRAY_SIZE(text), 3);
	if (t_inline_run(c.fd, &job, &want))
		bail("the slow model does not run");
	for (i = 0; i < n; i++) {
		t_session_rewind(c.fd, c.session, 0);
		t_session_rewind(c.fd, session, 0);
		beside = t_generate(c.session, four, 4, 1000, 1);
		cancelled = t_generate(session, prompt, ARRAY_SIZE(prompt), 1, 2);
		if (t_submit(c.fd, &beside, 1, NULL) || t_wait(c.fd, 1, T_HANG_NS, &entries) ||
		    t_submit(c.fd, &cancelled, 1, NULL))
			break;
		t_sleep_ns(t_random(&seed) % 20000000);
		t_cancel(c.fd, 2, NULL);
		t_session_rewind(c.fd, session, 0);
		if (t_inline_run(c.fd, &job, &got) || !t_same_results(&want, &got))
			wrong++;
		t_cancel(c.fd, 1, NULL);
		for (uint32_t left = 2; left;) {
			struct bitnet_ring_entry e;

			if (t_ring_wait(&c.ring, &e))
				break;
			left -= e.kind != BITNET_ENTRY_TOKEN;
		}
	}
	is(i, n, "%u jobs cancelled in a step that goes on", n);
	is(wrong, 0, "RUN in their session gives what it gives alone");
	t_client_close(&c);
}

/* ---- signals ------------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void interrupt_every(long us)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval it = { .it_interval = { .tv_usec = us }, .it_value = { .tv_usec = us } };

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

/* A signal ends the job, and the next RUN goes on where it was: the text is the same. */
static void check_signal(void)
{
	const uint32_t n = t_release_size() ? 400 : t_tokens(40);
	uint32_t made = 0, cached = 0, input[4 + 400], interrupted = 0;
	bool right = true;
	struct bitnet_job job;
	struct t_client c;
	long us = 1000;
	sigset_t set;

	t_client_open(&c, &slow, 1024);
	job = t_generate(c.session, four, 4, n, 1);
	if (t_run(&c.ring, &job, &submitted))
		bail("the slow model does not run");
	memcpy(input, four, sizeof(four));
	for (uint32_t i = 0; i < n; i++)
		input[4 + i] = submitted.token[i].token;

	t_session_rewind(c.fd, c.session, 0);
	interrupt_every(us);
	while (made < n) {
		/* What is not in the cache of prompt and text so far is this job's input. */
		job = t_generate(c.session, input + cached, 4 + made - cached, n - made, 1);
		if (t_inline_run(c.fd, &job, &inlined))
			break;
		for (uint32_t i = 0; i < inlined.n && made < n; i++, made++)
			right &= inlined.token[i].token == submitted.token[made].token &&
				 inlined.token[i].logits_hash ==
					submitted.token[made].logits_hash;
		if (inlined.end.kind == BITNET_ENTRY_DONE)
			break;
		/* Too often for a single step. */
		if (inlined.end.position == cached)
			interrupt_every(us *= 2);
		cached = inlined.end.position;
		right &= inlined.end.error == -EINTR;
		interrupted++;
	}
	interrupt_every(0);
	is(made, n, "a text that signals interrupt again and again");
	ok(interrupted > 0, "%u times", interrupted);
	ok(right, "is the same, and each interrupted RUN ends with EINTR");
	is(t_stats(c.fd).out_jobs_failed, interrupted, "STATS counts those as failed");

	/* One that is blocked does not count. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGALRM);
	t_session_rewind(c.fd, c.session, 0);
	job = t_generate(c.session, four, 4, 3, 1);
	is(t_inline_run(c.fd, &job, &inlined), 0, "RUN with a signal that is blocked");
	is(inlined.end.kind, BITNET_ENTRY_DONE, "is not interrupted");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	t_client_close(&c);
}

static int killed_child(void *arg)
{
	struct plain p;

	(void)arg;
	plain_open(&p, &slow);
	for (;;) {
		struct bitnet_job job = t_generate(p.session, four, 4, 1000, 1);

		t_session_rewind(p.fd, p.session, 0);
		if (t_inline_run(p.fd, &job, &inlined))
			return 1;
	}
}

static void check_kill(void)
{
	unsigned int i, n = t_size(5, 200), died = 0;
	uint64_t seed = 1;

	for (i = 0; t_more(i, n, "RUN killed"); i++) {
		int status;
		pid_t pid;

		pid = t_fork();
		if (!pid)
			_exit(killed_child(NULL));
		t_sleep_ns(20000000 + t_random(&seed) % 50000000);
		kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGKILL)
			died++;
	}
	is(died, i, "processes killed in RUN are gone");
}

/* ---- what may go away meanwhile ------------------------------------------------------ */

static int inherited_fd;
static uint32_t inherited_session;

/* The parent closes its descriptor; the child's still counts. */
static int child_runs(void *arg)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_job job = t_generate(inherited_session, g->ids, g->n_ids,
					   t_tokens(T_N_GREEDY), 1);

	(void)arg;
	if (t_inline_run(inherited_fd, &job, &inlined))
		return 1;
	return t_same_tokens(&inlined, g->greedy, t_tokens(T_N_GREEDY)) ? 0 : 2;
}

static void check_lifetime(void)
{
	static struct thread t;
	struct bitnet_job job;
	struct plain p;
	uint32_t n;
	int status;
	pid_t pid;

	plain_open(&p, &demo);
	inherited_fd = p.fd;
	inherited_session = p.session;
	pid = t_fork();
	if (!pid)
		_exit(child_runs(NULL));
	close(p.fd);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && !WEXITSTATUS(status),
	   "RUN through an inherited descriptor, the first one being closed");

	p.fd = t_open();
	is(t_model_load(p.fd, &slow, BITNET_MODEL_F_SHARED, "run-inline", &p.model), 0,
	   "a shared model");
	is(t_session_open(p.fd, p.model, 0, &p.session), 0, "a session");
	job = t_generate(p.session, four, 4, t_tokens(20), 1);
	is(t_inline_run(p.fd, &job, &submitted), 0, "RUN");
	t_session_rewind(p.fd, p.session, 0);
	n = t_stats(p.fd).out_jobs_submitted;
	thread_start(&t, p.fd, job);
	while (t_stats(p.fd).out_jobs_submitted == n)
		sched_yield();
	is(t_model_unload(p.fd, "run-inline"), 0, "MODEL_UNLOAD during RUN");
	is(t_model_close(p.fd, p.model), 0, "MODEL_CLOSE");
	ok(syscall(SYS_delete_module, "bitnet", O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
	   "the module cannot be removed");
	pthread_join(t.id, NULL);
	ok(!t.err && t_same_results(&submitted, &t.result), "RUN goes on as if nothing had been");
	close(p.fd);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	int fd;

	demo = t_image_demo();
	slow = t_image_random(&t_slow);
	tiny = t_image_random(&t_tiny);
	fd = t_open();
	ok(t_info(fd).out_features & BITNET_FEATURE_RUN, "the device says that it has RUN");
	close(fd);
	check_same();
	check_by_turns();
	check_errors();
	check_fault();
	check_cancel();
	check_cancel_random();
	check_queue();
	check_together();
	check_after_cancel();
	check_signal();
	check_kill();
	check_lifetime();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

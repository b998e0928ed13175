// SPDX-License-Identifier: GPL-2.0
/*
 * The local engine keeps the device's rules: errors, order of jobs, a ring that never overflows,
 * cancelling, waiting, LINEAR jobs, counters
 */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "bn_image.h"
#include "golden/golden.h"
#include "local.h"
#include "matrix.h"

static struct bitnet_model_file file;
static struct bitnet_error err;
static uint32_t prompt[600];

static struct bitnet_engine *open_engine(unsigned int entries, uint64_t data_bytes,
					 unsigned int threads)
{
	struct bitnet_engine_options o = { .kind = BITNET_ENGINE_LOCAL, .threads = threads,
					   .ring_entries = entries, .data_bytes = data_bytes };
	struct bitnet_engine *e;

	if (bitnet_engine_open(&o, &e, &err))
		bail("%s", err.msg);
	return e;
}

static uint32_t load(struct bitnet_engine *e)
{
	uint32_t id;

	if (bitnet_engine_model_load(e, &file.image, "demo", 0, &id, &err))
		bail("%s", err.msg);
	return id;
}

static uint32_t open_session(struct bitnet_engine *e, uint32_t model, uint32_t n_ctx)
{
	uint32_t id;

	if (bitnet_engine_session_open(e, model, n_ctx, &id, &err))
		bail("%s", err.msg);
	return id;
}

static struct bitnet_job generate(uint32_t session, uint64_t user_data, uint32_t n_input,
				  uint32_t max_tokens)
{
	return (struct bitnet_job){ .kind = BITNET_JOB_GENERATE, .session_id = session,
				    .user_data = user_data, .input = (uintptr_t)prompt,
				    .input_count = n_input, .max_tokens = max_tokens };
}

static int submit(struct bitnet_engine *e, struct bitnet_job job)
{
	unsigned int accepted = 77;
	int ret = bitnet_engine_submit(e, &job, 1, &accepted, &err);

	if (accepted != !ret)
		diag("accepted %u, returned %d", accepted, ret);
	return accepted == !ret ? ret : -EPROTO;
}

/* The next entry; fails the test if there is none within a minute. */
static struct bitnet_ring_entry take(struct bitnet_engine *e)
{
	struct bitnet_ring_entry entry = { 0 };

	while (!bitnet_engine_next(e, &entry)) {
		int ret = bitnet_engine_wait(e, 1, 60000000000);

		if (ret <= 0)
			bail("wait: %d", ret);
	}
	return entry;
}

/* Tokens of the only job that runs, up to its last entry. */
static uint32_t take_all(struct bitnet_engine *e, uint32_t *tokens, struct bitnet_ring_entry *last)
{
	uint32_t n = 0;

	for (;;) {
		*last = take(e);
		if (last->kind != BITNET_ENTRY_TOKEN)
			return n;
		tokens[n++] = last->token;
	}
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- objects --------------------------------------------------------------------------------- */

static void check_options(void)
{
	static const struct {
		const char *name;
		struct bitnet_engine_options o;
		int want;
	} cases[] = {
		{ "unknown variant", { .variant = "sse9" }, -EOPNOTSUPP },
		{ "ring of 3", { .ring_entries = 3 }, -EINVAL },
		{ "ring of 1", { .ring_entries = 1 }, -EINVAL },
		{ "ring too large", { .ring_entries = 1 << 17 }, -EINVAL },
		{ "half a page of data", { .data_bytes = 2048 }, -EINVAL },
		{ "too much data", { .data_bytes = 1ULL << 40 }, -EINVAL },
		{ "too many threads", { .threads = 1000 }, -EINVAL },
	};
	struct bitnet_engine *e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bitnet_engine_options o = cases[i].o;

		o.kind = BITNET_ENGINE_LOCAL;
		is(bitnet_engine_open(&o, &e, &err), cases[i].want, "%s", cases[i].name);
		ok(!e && err.msg[0], "\"%s\"", err.msg);
	}
}

static void check_objects(void)
{
	struct bitnet_engine *e = open_engine(0, 0, 2);
	struct bitnet_model_info mi;
	struct bitnet_info info;
	struct bitnet_image broken = file.image;
	uint32_t model, other, session, ids[BITNET_LOCAL_SESSIONS];
	uint8_t page[4096] = { 0 };

	is(bitnet_engine_info(e, &info, &err), 0, "info");
	is(info.out_workers, 2, "threads");
	is(info.out_max_sessions, BITNET_LOCAL_SESSIONS, "limit of sessions");
	is(bitnet_engine_kind(e), BITNET_ENGINE_LOCAL, "kind");
	is(bitnet_engine_fd(e), -1, "no descriptor");
	ok(!bitnet_engine_data(e), "no data area");

	is(bitnet_engine_model_load(e, &file.image, "demo", BITNET_MODEL_F_SHARED, &model, &err),
	   -EOPNOTSUPP, "shared models are the device's");
	is(bitnet_engine_model_load(e, &file.image, "a b", 0, &model, &err), -EINVAL, "bad name");
	is(bitnet_engine_model_load(e, &file.image, "demo", 2, &model, &err), -EINVAL,
	   "unknown flag");
	broken.length -= 4096;
	is(bitnet_engine_model_load(e, &broken, "demo", 0, &model, &err), -EBADMSG, "wrong length");
	broken.base = page;
	broken.length = sizeof(page);
	is(bitnet_engine_model_load(e, &broken, "demo", 0, &model, &err), -ENOEXEC, "no image");
	is(bitnet_engine_model_open(e, "demo", &model, &err), -EOPNOTSUPP, "open by name");
	is(bitnet_engine_model_unload(e, "demo", &err), -EOPNOTSUPP, "unload");

	model = load(e);
	is(bitnet_engine_model_info(e, model, &mi, &err), 0, "model info");
	is(mi.out_hidden, 256, "hidden");
	is(mi.out_vocab, 4096, "vocab");
	is_str(mi.out_name, "demo", "name");
	is(mi.out_digest, file.image.header->digest, "digest");
	is(bitnet_engine_model_info(e, 99, &mi, &err), -ENOENT, "info of no model");
	is(bitnet_engine_session_open(e, 99, 0, &session, &err), -ENOENT, "session of no model");
	is(bitnet_engine_session_open(e, model, 513, &session, &err), -EINVAL,
	   "context longer than the model's");
	for (int i = 0; i < BITNET_LOCAL_SESSIONS; i++)
		ids[i] = open_session(e, model, 16);
	is(bitnet_engine_session_open(e, model, 16, &session, &err), -EDQUOT, "too many sessions");
	is(bitnet_engine_session_close(e, ids[5], &err), 0, "close one");
	is(bitnet_engine_session_close(e, ids[5], &err), -ENOENT, "it is gone");
	is(open_session(e, model, 16), ids[5], "its place is free");
	is(bitnet_engine_session_rewind(e, ids[0], 1, &err), -ERANGE,
	   "rewind to what is not there");
	is(bitnet_engine_session_rewind(e, 99, 0, &err), -ENOENT, "rewind nothing");

	other = load(e);
	is(bitnet_engine_model_close(e, model, &err), 0, "close a model with sessions");
	is(bitnet_engine_model_close(e, model, &err), -ENOENT, "the handle is gone");
	is(submit(e, generate(ids[0], 1, 3, 1)), 0, "but its sessions live on");
	take(e);
	is(take(e).kind, BITNET_ENTRY_DONE, "and compute");
	is(bitnet_engine_model_close(e, other, &err), 0, "close the other");
	bitnet_engine_close(e);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void check_submit_errors(void)
{
	struct bitnet_engine *e = open_engine(512, 4096, 1);
	uint32_t model = load(e), session = open_session(e, model, 32);
	struct bitnet_job jobs[BITNET_MAX_SUBMIT + 1], job;
	unsigned int accepted;

	memset(jobs, 0, sizeof(jobs));
	is(bitnet_engine_submit(e, jobs, 0, &accepted, &err), -EINVAL, "no jobs");
	is(bitnet_engine_submit(e, jobs, BITNET_MAX_SUBMIT + 1, &accepted, &err), -E2BIG,
	   "too many jobs");
	is(submit(e, generate(99, 1, 3, 1)), -ENOENT, "no session");
	is(submit(e, generate(session, 1, 33, 1)), -ERANGE, "longer than the context");
	is(submit(e, generate(session, 1, 3, 0)), -EINVAL, "no tokens wanted");
	job = generate(session, 1, 3, 1);
	job.input = 0;
	is(submit(e, job), -EFAULT, "no input");
	job = generate(session, 1, 3, 1);
	job.n_stop = 1;
	job.stop_tokens[0] = 4096;
	is(submit(e, job), -ERANGE, "stop token beyond the vocabulary");
	prompt[2] = 4096;
	is(submit(e, generate(session, 1, 3, 1)), -ERANGE, "token beyond the vocabulary");
	prompt[2] = 2;
	is(submit(e, (struct bitnet_job){ .kind = BITNET_JOB_LINEAR,
					  .model_id = 99,
					  .input = (uintptr_t)prompt,
					  .input_count = 1 }),
	   -ENOENT, "no model");
	is(submit(e, (struct bitnet_job){ .kind = BITNET_JOB_LINEAR,
					  .model_id = model,
					  .layer = 6,
					  .input = (uintptr_t)prompt,
					  .input_count = 1 }),
	   -EINVAL, "no layer");
	is(submit(e, (struct bitnet_job){ .kind = BITNET_JOB_LINEAR,
					  .model_id = model,
					  .data_offset = 3136,
					  .input = (uintptr_t)prompt,
					  .input_count = 1 }),
	   -EINVAL, "results beyond the data area");

	jobs[0] = generate(session, 1, 3, 1);
	jobs[1] = generate(session, 2, 3, 1);
	jobs[2] = generate(99, 3, 3, 1);
	jobs[3] = generate(session, 4, 3, 1);
	is(bitnet_engine_submit(e, jobs, 4, &accepted, &err), -ENOENT, "the third of four is bad");
	is(accepted, 2, "the first two are in");
	for (int i = 0; i < 4; i++)
		take(e);
	is(bitnet_engine_wait(e, 1, 0), 0,
	   "and nothing else: wait does not wait for what cannot come");
	bitnet_engine_close(e);

	/* A job needs a slot for its last entry, and there are only so many jobs. */
	e = open_engine(2, 0, 1);
	session = open_session(e, load(e), 0);
	for (int i = 0; i < 3; i++)
		jobs[i] = generate(session, i, 3, 1);
	is(bitnet_engine_submit(e, jobs, 3, &accepted, &err), -ENOSPC,
	   "a ring of two has no slot for the third job");
	is(accepted, 2, "but for two");
	bitnet_engine_close(e);
	e = open_engine(1024, 0, 1);
	session = open_session(e, load(e), 0);
	for (accepted = 0; !submit(e, generate(session, 1, 512, 1)); accepted++)
		;
	is(accepted, BITNET_LOCAL_JOBS, "as many jobs as are allowed");
	is(-err.code, -EDQUOT, "then no more");
	bitnet_engine_close(e);
}

static void check_generate(void)
{
	struct bitnet_engine *e = open_engine(0, 0, 2);
	uint32_t session = open_session(e, load(e), 64), tokens[64], more[64], n;
	struct bitnet_ring_entry first, last;
	struct bitnet_job job = generate(session, 42, 5, 20);
	uint64_t start = now_ns();

	is(submit(e, job), 0, "generate");
	first = take(e);
	is(first.kind, BITNET_ENTRY_TOKEN, "a token");
	is(first.user_data, 42, "user data");
	is(first.position, 5, "position");
	is(first.n_tokens, 0, "index");
	is(first.logits_hash, 0, "no hash unless asked for");
	ok(first.logprob <= 0 && first.logprob != BITNET_LOGPROB_NONE, "log-probability");
	ok(first.time_ns > start && first.time_ns <= now_ns(), "time");
	tokens[0] = first.token;
	n = 1 + take_all(e, tokens + 1, &last);
	is(n, 20, "20 tokens");
	is(last.kind, BITNET_ENTRY_DONE, "done");
	is(last.reason, BITNET_REASON_LENGTH, "because they are enough");
	is(last.position, 24, "the last one is not in the cache");
	is(last.n_tokens, 20, "counted");
	ok(last.cpu_ns > 0, "time was charged");

	/* The same in two jobs: the last token of the first starts the second. */
	is(bitnet_engine_session_rewind(e, session, 25, &err), -ERANGE, "rewind beyond the end");
	is(bitnet_engine_session_rewind(e, session, 0, &err), 0, "rewind");
	job.max_tokens = 8;
	submit(e, job);
	is(take_all(e, more, &last), 8, "8 tokens");
	job = generate(session, 43, 1, 12);
	job.input = (uintptr_t)&more[7];
	submit(e, job);
	is(take_all(e, more + 8, &last), 12, "and 12");
	is_mem(more, tokens, 20 * sizeof(*tokens), "are the same");

	/* A stop token ends it, and is the last one. */
	bitnet_engine_session_rewind(e, session, 5, &err);
	job = generate(session, 44, 1, 20);
	job.input = (uintptr_t)tokens;
	job.n_stop = 2;
	job.stop_tokens[0] = 4095;
	job.stop_tokens[1] = tokens[6];
	for (n = 1; tokens[n] != tokens[6]; n++)
		;
	submit(e, job);
	is(take_all(e, more, &last), n, "up to the stop token");
	is(last.reason, BITNET_REASON_STOP, "reason");

	bitnet_engine_session_rewind(e, session, 5, &err);
	job.max_tokens = 1000;
	job.n_stop = 0;
	submit(e, job);
	is(take_all(e, more, &last), 59, "to the end of the context");
	is(last.reason, BITNET_REASON_CONTEXT, "reason");
	is(last.position, 64, "full");
	is(submit(e, job), -ERANGE, "nothing fits any more");
	bitnet_engine_close(e);
}

/* Jobs of one session in order; one that no longer fits when its turn comes fails alone. */
static void check_order(void)
{
	struct bitnet_engine *e = open_engine(0, 0, 2);
	uint32_t session = open_session(e, load(e), 20);
	struct bitnet_job jobs[] = { generate(session, 1, 8, 6), generate(session, 2, 8, 1),
				     generate(session, 3, 4, 1), generate(session, 4, 1, 100) };
	struct bitnet_ring_entry entry;
	uint64_t last = 0;
	bool ordered = true;

	is(bitnet_engine_submit(e, jobs, 4, NULL, &err), 0, "four jobs");
	do {
		entry = take(e);
		ordered &= entry.user_data >= last;
		last = entry.user_data;
		if (entry.user_data == 2) {
			is(entry.kind, BITNET_ENTRY_ERROR,
			   "the second does not fit behind the first");
			is(entry.error, -ERANGE, "which is its error");
		}
	} while (entry.user_data != 4 || entry.kind == BITNET_ENTRY_TOKEN);
	ok(ordered, "one after the other");
	is(entry.reason, BITNET_REASON_CONTEXT, "the last fills the context");
	is(entry.n_tokens, 3, "13 + 4 tokens were there: three fit, three come out");
	bitnet_engine_close(e);
}

static void check_score(void)
{
	struct bitnet_engine *e = open_engine(0, 0, 2);
	uint32_t session = open_session(e, load(e), 64), tokens[64];
	struct bitnet_job job = generate(session, 1, 5, 20);
	struct bitnet_ring_entry entry;
	int32_t logprob[20];
	bool held = true;

	job.flags = BITNET_JOB_F_HASH;
	submit(e, job);
	for (int i = 0; i < 20; i++) {
		entry = take(e);
		prompt[5 + i] = entry.token;
		logprob[i] = entry.logprob;
		held &= entry.logits_hash != 0;
	}
	take(e);
	ok(held, "hashes on request");
	bitnet_engine_session_rewind(e, session, 0, &err);
	is(submit(e, (struct bitnet_job){ .kind = BITNET_JOB_SCORE,
					  .session_id = session,
					  .input = (uintptr_t)prompt,
					  .input_count = 25 }),
	   0, "score");
	held = true;
	for (uint32_t i = 1; i < 25; i++) {
		entry = take(e);
		held &= entry.token == prompt[i] && entry.position == i && entry.n_tokens == i - 1;
		if (i >= 5)
			held &= entry.logprob == logprob[i - 5];
	}
	ok(held, "the same log-probabilities as when they were generated");
	take_all(e, tokens, &entry);
	is(entry.reason, BITNET_REASON_LENGTH, "end");
	is(entry.position, 25, "all are in the cache");
	is(entry.n_tokens, 24, "one less was scored");
	bitnet_engine_close(e);
}

/* A ring of four: three tokens and the end. The job parks, nobody else notices, nothing is lost. */
static void check_park(void)
{
	struct bitnet_engine *e = open_engine(4, 0, 2);
	uint32_t model = load(e), session = open_session(e, model, 0), tokens[64], want[40], n = 0;
	struct bitnet_ring_entry entry;
	struct bitnet_stats stats;

	submit(e, generate(session, 1, 5, 40));
	while ((entry = take(e)).kind == BITNET_ENTRY_TOKEN)
		want[n++] = entry.token;
	is(n, 40, "all tokens, one by one");

	bitnet_engine_session_rewind(e, session, 0, &err);
	submit(e, generate(session, 1, 5, 40));
	is(bitnet_engine_wait(e, 4, -1), 3, "wait ends when the job is parked");
	bitnet_engine_stats(e, &stats, &err);
	is(stats.out_jobs, 1, "one job");
	is(stats.out_parked, 1, "parked");
	is(submit(e, generate(session, 2, 5, 1)), -ENOSPC, "no room for another");
	is(bitnet_engine_session_close(e, session, &err), -EBUSY, "its session cannot be closed");
	is(bitnet_engine_session_rewind(e, session, 0, &err), -EBUSY, "nor rewound");
	n = 0;
	do {
		if (n % 7 == 3)
			bitnet_engine_wait(e, 3, 5000000);
		entry = take(e);
		if (entry.kind == BITNET_ENTRY_TOKEN)
			tokens[n++] = entry.token;
	} while (entry.kind == BITNET_ENTRY_TOKEN);
	is(n, 40, "all of them came");
	is_mem(tokens, want, sizeof(want), "the same ones");

	/* Scoring takes as many rows as the ring has room for. */
	bitnet_engine_session_rewind(e, session, 0, &err);
	submit(e, (struct bitnet_job){ .kind = BITNET_JOB_SCORE, .session_id = session,
				       .input = (uintptr_t)prompt, .input_count = 60 });
	is(bitnet_engine_wait(e, 4, -1), 3, "scoring parks, too");
	is(take_all(e, tokens, &entry), 59, "and goes on");

	bitnet_engine_session_rewind(e, session, 0, &err);
	submit(e, generate(session, 1, 5, 40));
	bitnet_engine_wait(e, 4, -1);
	is(bitnet_engine_cancel(e, 1), 0, "cancel a parked job");
	is(take_all(e, tokens, &entry), 3, "its tokens are still there");
	is(entry.error, -ECANCELED, "then its end");
	bitnet_engine_stats(e, &stats, &err);
	is(stats.out_parked, 0, "none is parked");
	bitnet_engine_close(e);
}

static void check_cancel(void)
{
	struct bitnet_engine *e = open_engine(0, 0, 2);
	uint32_t model = load(e), session = open_session(e, model, 0),
		 other = open_session(e, model, 0);
	struct bitnet_ring_entry entry;
	uint32_t tokens[512];
	int cancelled = 0, good = 0;

	is(bitnet_engine_cancel(e, 7), -ENOENT, "nothing to cancel");
	for (int i = 0; i < 60; i++) {
		struct bitnet_job jobs[] = { generate(session, 7, 490, 10),
					     generate(session, 8, 4, 1), generate(other, 9, 1, 1) };
		int32_t end[10], want;
		int n[10] = { 0 };

		bitnet_engine_session_rewind(e, session, 0, &err);
		bitnet_engine_submit(e, jobs, 3, NULL, &err);
		nanosleep(&(struct timespec){ .tv_nsec = 100000 * (i % 20) }, NULL);
		want = bitnet_engine_cancel(e, 7) ? 0 : -ECANCELED;
		cancelled += want != 0;
		while (bitnet_engine_wait(e, 1, -1) > 0) {
			entry = take(e);
			n[entry.user_data] += entry.kind != BITNET_ENTRY_TOKEN;
			end[entry.user_data] = entry.error;
		}
		/*
		 * One last entry each; what follows in the session runs on what the cancelled job
		 * left.
		 */
		good += n[7] == 1 && n[8] == 1 && n[9] == 1 && end[7] == want && !end[8] && !end[9];
	}
	is(good, 60, "60 times three jobs: the right one ends early, the others as usual");
	ok(cancelled > 0, "%d were cancelled in time", cancelled);

	bitnet_engine_session_rewind(e, session, 0, &err);
	submit(e, generate(session, 1, 5, 100));
	take(e);
	bitnet_engine_cancel(e, 1);
	take_all(e, tokens, &entry);
	is(entry.error, -ECANCELED, "cancelled while it generates");
	is(bitnet_engine_session_close(e, session, &err), 0, "its session can be closed at once");
	submit(e, generate(other, 1, 200, 300));
	bitnet_engine_close(e);
	ok(true, "closed with a job running");
}

static void on_alarm(int sig)
{
}

static void check_wait(void)
{
	struct bitnet_engine *e = open_engine(512, 0, 2);
	uint32_t model = load(e), session = open_session(e, model, 0);
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 },
			 never = { 0 };
	int ret = 0;

	is(bitnet_engine_wait(e, 0, 0), 0, "nothing there");
	is(bitnet_engine_wait(e, 1, -1), 0, "nor will there be");
	is(bitnet_engine_wait(e, 513, 0), -EINVAL, "more than the ring holds");
	/* Work for some tenths of a second. */
	for (int i = 0; i < 16; i++)
		submit(e, generate(open_session(e, model, 0), 1, 500, 1));
	is(bitnet_engine_wait(e, 32, 0), -ETIME, "not yet");
	is(bitnet_engine_wait(e, 32, 1000), -ETIME, "nor after a microsecond");
	is(bitnet_engine_wait(e, 32, -1), 32, "now");
	is(bitnet_engine_wait(e, 0, 0), 32, "still there");
	while (bitnet_engine_next(e, &(struct bitnet_ring_entry){ 0 }))
		;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (int i = 0; i < 100 && ret != -EINTR; i++) {
		bitnet_engine_session_rewind(e, session, 0, &err);
		submit(e, generate(session, 1, 1, 400));
		ret = bitnet_engine_wait(e, 401, -1);
		bitnet_engine_cancel(e, 1);
		while (bitnet_engine_next(e, &(struct bitnet_ring_entry){ 0 }))
			;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	is(ret, -EINTR, "a signal ends the wait");
	bitnet_engine_close(e);
}

static void check_linear(void)
{
	struct bitnet_engine *e = open_engine(0, 1 << 20, 2);
	uint32_t model = load(e), session = open_session(e, model, 0), n_done = 0, n_tokens = 0;
	struct bn_model m;
	const int32_t *y = bitnet_engine_data(e);
	int8_t x[3 * 768];
	struct bitnet_ring_entry entry;

	if (bitnet_image_parse(file.image.base, file.image.length, "image", &m, &err))
		bail("%s", err.msg);
	for (size_t i = 0; i < sizeof(x); i++)
		x[i] = (int8_t)(i * 37 + i / 7);
	for (uint32_t matrix = 0; matrix < BITNET_MATRIX_COUNT; matrix++) {
		const struct bn_layer *l = &m.layers[3];
		const struct bn_matrix *const all[] = { &l->attn_q,   &l->attn_k,   &l->attn_v,
							&l->attn_out, &l->ffn_gate, &l->ffn_up,
							&l->ffn_down };
		const struct bn_matrix *w = all[matrix];
		uint8_t codes[768];
		bool held = true;

		is(submit(e, (struct bitnet_job){ .kind = BITNET_JOB_LINEAR,
						  .model_id = model,
						  .layer = 3,
						  .matrix = matrix,
						  .input = (uintptr_t)x,
						  .input_count = 3,
						  .data_offset = 128 }),
		   0, "matrix %u", matrix);
		entry = take(e);
		is(entry.kind, BITNET_ENTRY_DONE, "done");
		for (uint32_t r = 0; r < w->rows; r++) {
			for (uint32_t c = 0; c < w->cols; c++)
				codes[c] = matrix_code(w, r, c);
			for (uint32_t b = 0; b < 3; b++) {
				int32_t want = 0;

				for (uint32_t c = 0; c < w->cols; c++)
					want += (codes[c] - 1) * x[b * w->cols + c];
				held &= y[32 + b * w->rows + r] == want;
			}
		}
		ok(held, "%u x %u, exact", w->rows, w->cols);
	}
	free(m.layers);

	/* Products and a text at the same time. */
	submit(e, generate(session, 1, 5, 30));
	for (int i = 0; i < 30; i++)
		submit(e, (struct bitnet_job){ .kind = BITNET_JOB_LINEAR,
					       .model_id = model,
					       .user_data = 2,
					       .input = (uintptr_t)x,
					       .input_count = 2 });
	while (n_done < 31) {
		entry = take(e);
		n_done += entry.kind == BITNET_ENTRY_DONE;
		n_tokens += entry.kind == BITNET_ENTRY_TOKEN;
	}
	is(n_tokens, 30, "beside 30 products: 30 tokens");
	bitnet_engine_close(e);
}

static void check_stats(void)
{
	struct bitnet_engine *e = open_engine(4, 0, 2);
	uint32_t model = load(e), session = open_session(e, model, 100), tokens[128];
	struct bitnet_ring_entry entry;
	struct bitnet_stats s;
	uint64_t intervals = 0;

	submit(e, generate(session, 1, 7, 10));
	take_all(e, tokens, &entry);
	submit(e, (struct bitnet_job){ .kind = BITNET_JOB_SCORE, .session_id = session,
				       .input = (uintptr_t)prompt, .input_count = 5 });
	take_all(e, tokens, &entry);
	/* Cancelled while it is parked, with three tokens in the ring. */
	submit(e, generate(session, 1, 7, 10));
	bitnet_engine_wait(e, 4, -1);
	bitnet_engine_cancel(e, 1);
	do
		take_all(e, tokens, &entry);
	while (entry.kind == BITNET_ENTRY_TOKEN);
	submit(e, generate(session, 2, 60, 1));
	submit(e, generate(session, 3, 60, 1));
	take_all(e, tokens, &entry);
	take_all(e, tokens, &entry);

	is(bitnet_engine_stats(e, &s, &err), 0, "stats");
	is(s.out_models, 1, "models");
	is(s.out_sessions, 1, "sessions");
	is(s.out_jobs, 0, "jobs");
	is(s.out_jobs_submitted, 5, "submitted");
	is(s.out_jobs_done, 3, "done");
	is(s.out_jobs_cancelled, 1, "cancelled");
	is(s.out_jobs_failed, 1, "failed: the last did not fit");
	is(s.out_tokens_in, 7 + 5 + 7 + 60, "tokens in");
	is(s.out_tokens_out, 10 + 3 + 1, "tokens out");
	ok(s.out_cpu_ns > 0, "time");
	is(s.out_pinned_bytes, file.image.length, "image bytes");
	is(s.out_kv_bytes, 100ULL * 6 * 2 * 2 * 64 * 2, "cache bytes");
	for (int i = 0; i < BITNET_HIST_BUCKETS; i++)
		intervals += s.out_token_ns[i];
	is(intervals, s.out_tokens_out + 4, "a time for each token");
	bitnet_engine_close(e);
}

/* Many sessions at once: each gets what it gets alone, and its share of the time. */
static void check_sessions(void)
{
	struct bitnet_engine *e = open_engine(1024, 0, 2);
	uint32_t model = load(e), id[24], want[24][10], got[24][10], n[24] = { 0 }, ended = 0;
	struct bitnet_ring_entry entry;
	bool held = true;

	for (int i = 0; i < 24; i++) {
		struct bitnet_job job;

		id[i] = open_session(e, model, 100);
		job = generate(id[i], i, 3 + i, 10);
		job.temperature_ppm = 900000;
		job.seed = i;
		submit(e, job);
		take_all(e, want[i], &entry);
		bitnet_engine_session_rewind(e, id[i], 0, &err);
	}
	for (int i = 0; i < 24; i++) {
		struct bitnet_job job = generate(id[i], i, 3 + i, 10);

		job.temperature_ppm = 900000;
		job.seed = i;
		submit(e, job);
	}
	while (ended < 24) {
		entry = take(e);
		if (entry.kind == BITNET_ENTRY_TOKEN)
			got[entry.user_data][n[entry.user_data]++] = entry.token;
		else
			ended++;
	}
	for (int i = 0; i < 24; i++)
		held &= n[i] == 10 && !memcmp(got[i], want[i], sizeof(want[i]));
	ok(held, "24 sessions together draw the same tokens as alone");
	bitnet_engine_close(e);
}

static void check_class_errors(struct bitnet_engine *e, uint32_t session)
{
	struct bitnet_job job = generate(session, 1, 2, 4);

	job.job_class = BITNET_CLASS_REALTIME;
	job.first_token_ns = job.period_ns = BITNET_MAX_PERIOD_NS;
	is(submit(e, job), -EOPNOTSUPP, "realtime needs the device");
	ok(strstr(err.msg, "realtime jobs need the device") && *err.hint, "  and says so");
	job.period_ns = 0;
	is(submit(e, job), -EINVAL, "realtime without a period");
	job.job_class = BITNET_CLASS_BATCH;
	is(submit(e, job), -EINVAL, "a deadline for a batch job");
	job.first_token_ns = 0;
	job.job_class = 3;
	is(submit(e, job), -EINVAL, "a class that is none");
}

/*
 * Jobs that are handed in together are seen together, so that nothing of this depends on time:
 * every entry of the interactive ones comes before any of the batch ones.
 */
static void check_classes(void)
{
	struct bitnet_engine *e = open_engine(64, 1 << 20, 2);
	uint32_t model = load(e), id[3], first_batch = 0, last_interactive = 0, ended = 0;
	static int8_t input[1024];
	struct bitnet_ring_entry entry;
	struct bitnet_stats stats;
	struct bitnet_job job[4];
	unsigned int accepted;

	for (int i = 0; i < 3; i++)
		id[i] = open_session(e, model, 64);
	check_class_errors(e, id[0]);
	job[0] = generate(id[0], 0, 30, 8);
	job[0].job_class = BITNET_CLASS_BATCH;
	job[1] = (struct bitnet_job){ .kind = BITNET_JOB_LINEAR, .user_data = 1, .model_id = model,
				      .input = (uintptr_t)input, .input_count = 1,
				      .job_class = BITNET_CLASS_BATCH };
	job[2] = generate(id[1], 2, 30, 8);
	job[3] = generate(id[2], 3, 1, 8);
	is(bitnet_engine_submit(e, job, 4, &accepted, &err), 0, "batch and interactive jobs");
	for (uint32_t at = 1; ended < 4; at++) {
		entry = take(e);
		ended += entry.kind != BITNET_ENTRY_TOKEN;
		if (entry.user_data >= 2)
			last_interactive = at;
		else if (!first_batch)
			first_batch = at;
		if (entry.kind == BITNET_ENTRY_ERROR)
			diag("job %u: %d", (unsigned int)entry.user_data, entry.error);
	}
	ok(last_interactive < first_batch, "batch jobs begin when interactive ones have ended");
	is(last_interactive, 18, "all of these was there by then");
	bitnet_engine_stats(e, &stats, NULL);
	ok(stats.out_class_cpu_ns[BITNET_CLASS_BATCH] &&
	   stats.out_class_cpu_ns[BITNET_CLASS_INTERACTIVE] &&
	   !stats.out_class_cpu_ns[BITNET_CLASS_REALTIME], "time is counted by class");
	is(stats.out_class_cpu_ns[BITNET_CLASS_BATCH] +
	   stats.out_class_cpu_ns[BITNET_CLASS_INTERACTIVE], stats.out_cpu_ns, "all of it");
	bitnet_engine_close(e);
}

/* However many interactive jobs there are, a batch job gets its floor, and ends. */
static void check_floor(void)
{
	struct bitnet_engine *e = open_engine(64, 0, 2);
	/* Of lengths that hardly ever end together: one is always there */
	static const uint32_t length[6] = { 31, 37, 41, 43, 47, 2 };
	uint32_t model = load(e), id[6], interactive = 0;
	struct bitnet_ring_entry entry;
	struct bitnet_job job;
	struct bitnet_stats stats;
	bool over = false;

	for (int i = 0; i < 6; i++) {
		id[i] = open_session(e, model, 64);
		job = generate(id[i], i, i < 5 ? 1 : 8, length[i]);
		job.job_class = i < 5 ? BITNET_CLASS_INTERACTIVE : BITNET_CLASS_BATCH;
		is(submit(e, job), 0, i < 5 ? "an interactive job" : "a batch job");
	}
	while (!over && interactive < 100000) {
		entry = take(e);
		over = entry.user_data == 5 && entry.kind != BITNET_ENTRY_TOKEN;
		if (entry.user_data == 5)
			continue;
		interactive += entry.kind == BITNET_ENTRY_TOKEN;
		if (entry.kind == BITNET_ENTRY_TOKEN)
			continue;
		job = generate(id[entry.user_data], entry.user_data, 1, length[entry.user_data]);
		if (bitnet_engine_session_rewind(e, job.session_id, 0, &err) || submit(e, job))
			bail("%s", err.msg);
	}
	bitnet_engine_stats(e, &stats, NULL);
	/* It is owed a step for each 0.4 s that others have computed, and needs two. */
	ok(over && stats.out_cpu_ns < 2000000000, "a batch job ends beside jobs that never end,"
	   " after %u of their tokens, %llu ms", interactive,
	   (unsigned long long)stats.out_cpu_ns / 1000000);
	ok(stats.out_class_cpu_ns[BITNET_CLASS_BATCH] <
	   stats.out_class_cpu_ns[BITNET_CLASS_INTERACTIVE], "and has the smaller part of the time");
	bitnet_engine_close(e);
}

int main(void)
{
	golden_open(&file, GOLDEN_I2_S, NULL);
	for (uint32_t i = 0; i < 600; i++)
		prompt[i] = i % 4000;
	check_options();
	check_objects();
	check_submit_errors();
	check_generate();
	check_order();
	check_score();
	check_park();
	check_cancel();
	check_wait();
	check_linear();
	check_stats();
	check_sessions();
	check_classes();
	check_floor();
	bitnet_model_file_close(&file);
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * bench_engine.c - how fast an engine decodes and reads prompts, by the clock in its entries
 *
 * The time of a token is from the entry before it to its own, so that what handing in a job costs
 * is not in it. Sessions that decode together are looked at while all of them do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "interrupt.h"

#define WAIT_SLICE_NS	200000000LL
#define LAYER_STEPS	BITNET_MAX_SUBMIT	/* handed in at once */

/* What one job gave: when its tokens, and the job itself, were done */
struct stream {
	uint64_t time_ns[BENCH_MAX_TOKENS];
	uint64_t done_ns;
	unsigned int n;
	int error;
};

static uint32_t next_token(struct bench_engine *b)
{
	/* splitmix64 */
	uint64_t z = b->seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) % b->vocab;
}

static void take(struct bench_engine *b, const struct bitnet_ring_entry *e, struct stream *s)
{
	if (e->kind == BITNET_ENTRY_TOKEN) {
		if (s->n < BENCH_MAX_TOKENS) {
			s->time_ns[s->n] = e->time_ns;
			if (!e->user_data && b->n_token < BENCH_MAX_TOKENS)
				b->token[b->n_token++] = e->token;
		}
		s->n++;
	} else {
		s->done_ns = e->time_ns;
		s->error = e->error;
	}
}

/* Hand in @n jobs, whose user_data are 0 .. n-1, and see them through. */
static int run_jobs(struct bench_engine *b, const struct bitnet_job *jobs, unsigned int n,
		    struct stream *streams, struct bitnet_error *err)
{
	struct bitnet_ring_entry e;
	unsigned int left = n;
	int ret = bitnet_engine_submit(b->engine, jobs, n, NULL, err);

	if (ret)
		return ret;
	memset(streams, 0, n * sizeof(*streams));
	while (left) {
		if (interrupt_pending())
			return bitnet_error_set(err, EINTR, "interrupted");
		if (!bitnet_engine_next(b->engine, &e)) {
			ret = bitnet_engine_wait(b->engine, 1, WAIT_SLICE_NS);
			if (ret < 0 && ret != -ETIME && ret != -EINTR)
				return bitnet_error_set(err, ret, "waiting for tokens: %s",
							bitnet_strerror(ret));
			continue;
		}
		if (e.user_data >= n)
			continue;
		take(b, &e, &streams[e.user_data]);
		left -= e.kind != BITNET_ENTRY_TOKEN;
	}
	for (unsigned int i = 0; i < n; i++)
		if (streams[i].error)
			return bitnet_error_set(err, streams[i].error, "a job failed: %s",
						bitnet_strerror(streams[i].error));
	return 0;
}

static int weight_bytes(struct bench_engine *b, uint64_t *bytes, struct bitnet_error *err)
{
	struct bitnet_stats stats;
	int ret = bitnet_engine_stats(b->engine, &stats, err);

	*bytes = ret ? 0 : stats.out_weight_bytes;
	return ret;
}

static struct bitnet_job generate(uint32_t session, const uint32_t *input, uint32_t n,
				  uint32_t tokens)
{
	return (struct bitnet_job){
		.kind = BITNET_JOB_GENERATE,
		.session_id = session,
		.input = (uintptr_t)input,
		.input_count = n,
		.max_tokens = tokens,
	};
}

int bench_decode(struct bench_engine *b, uint32_t past, uint32_t tokens, struct bench_speed *speed,
		 struct bitnet_error *err)
{
	uint32_t first = next_token(b);
	struct bitnet_job job = generate(b->session, &first, 1, tokens);
	uint64_t before, after;
	struct stream *s;
	int ret;

	s = malloc(sizeof(*s));
	if (!s)
		return bitnet_error_set(err, ENOMEM, "no memory");
	b->token[0] = first;
	b->n_token = 1;
	ret = bitnet_engine_session_rewind(b->engine, b->session, past, err);
	if (!ret)
		ret = weight_bytes(b, &before, err);
	if (!ret)
		ret = run_jobs(b, &job, 1, s, err);
	if (!ret)
		ret = weight_bytes(b, &after, err);
	if (!ret) {
		speed->seconds = (s->time_ns[tokens - 1] - s->time_ns[0]) / 1e9 / (tokens - 1);
		speed->bytes = (double)(after - before) / tokens;
	}
	free(s);
	return ret;
}

int bench_layers(struct bench_engine *b, struct bench_speed *speed, struct bitnet_error *err)
{
	struct bitnet_job jobs[LAYER_STEPS];
	unsigned int n = b->n_token - 1 < LAYER_STEPS ? b->n_token - 1 : LAYER_STEPS;
	uint64_t before, after;
	struct stream *s;
	int ret;

	s = malloc(n * sizeof(*s));
	if (!s)
		return bitnet_error_set(err, ENOMEM, "no memory");
	for (unsigned int i = 0; i < n; i++)
		jobs[i] = (struct bitnet_job){
			.kind = BITNET_JOB_SCORE,
			.user_data = i,
			.session_id = b->session,
			.input = (uintptr_t)&b->token[i],
			.input_count = 1,
		};
	ret = bitnet_engine_session_rewind(b->engine, b->session, 0, err);
	if (!ret)
		ret = weight_bytes(b, &before, err);
	if (!ret)
		ret = run_jobs(b, jobs, n, s, err);
	if (!ret)
		ret = weight_bytes(b, &after, err);
	if (!ret) {
		speed->seconds = (s[n - 1].done_ns - s[0].done_ns) / 1e9 / (n - 1);
		speed->bytes = (double)(after - before) / n;
	}
	free(s);
	return ret;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

int bench_prefill(struct bench_engine *b, uint32_t tokens, struct bench_speed *speed,
		  struct bitnet_error *err)
{
	uint32_t *prompt = malloc(tokens * sizeof(*prompt));
	struct stream *s = malloc(sizeof(*s));
	struct bitnet_job job = generate(b->session, prompt, tokens, 1);
	uint64_t before, after, submit_ns;
	int ret;

	if (!prompt || !s) {
		ret = bitnet_error_set(err, ENOMEM, "no memory");
		goto out;
	}
	for (uint32_t i = 0; i < tokens; i++)
		prompt[i] = next_token(b);
	ret = bitnet_engine_session_rewind(b->engine, b->session, 0, err);
	if (!ret)
		ret = weight_bytes(b, &before, err);
	if (ret)
		goto out;
	submit_ns = now_ns();
	ret = run_jobs(b, &job, 1, s, err);
	if (!ret)
		ret = weight_bytes(b, &after, err);
	if (!ret) {
		speed->seconds = (s->time_ns[0] - submit_ns) / 1e9 / tokens;
		speed->bytes = (double)(after - before) / tokens;
	}
out:
	free(prompt);
	free(s);
	return ret;
}

/* ---- sessions that decode together ----------------------------------------------------------- */

/* Seconds of a token while all of them decode; of everything, should there be no such time. */
static double together(const struct stream *s, unsigned int n)
{
	uint64_t begin = 0, end = UINT64_MAX, first = UINT64_MAX, last = 0, tokens = 0, all = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t a = s[i].time_ns[0], z = s[i].time_ns[s[i].n - 1];

		begin = a > begin ? a : begin;
		end = z < end ? z : end;
		first = a < first ? a : first;
		last = z > last ? z : last;
		all += s[i].n - 1;
	}
	if (begin >= end)
		return (last - first) / 1e9 / all;
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int t = 0; t < s[i].n; t++)
			tokens += s[i].time_ns[t] > begin && s[i].time_ns[t] <= end;
	return (end - begin) / 1e9 / tokens;
}

int bench_batch(struct bench_engine *b, unsigned int n, uint32_t tokens, struct bench_speed *speed,
		struct bitnet_error *err)
{
	struct bitnet_job jobs[BENCH_MAX_SESSIONS];
	uint32_t first[BENCH_MAX_SESSIONS];
	struct stream *s = malloc(n * sizeof(*s));
	uint64_t before, after;
	int ret = 0;

	if (!s)
		return bitnet_error_set(err, ENOMEM, "no memory");
	for (unsigned int i = 0; i < n && !ret; i++) {
		first[i] = next_token(b);
		jobs[i] = generate(b->sessions[i], &first[i], 1, tokens);
		jobs[i].user_data = i;
		ret = bitnet_engine_session_rewind(b->engine, b->sessions[i], 0, err);
	}
	if (!ret)
		ret = weight_bytes(b, &before, err);
	if (!ret)
		ret = run_jobs(b, jobs, n, s, err);
	if (!ret)
		ret = weight_bytes(b, &after, err);
	if (!ret) {
		speed->seconds = together(s, n);
		speed->bytes = (double)(after - before) / n / tokens;
	}
	free(s);
	return ret;
}

/* ---- processes that decode together ---------------------------------------------------------- */

/* What a child leaves to its parent, in memory that they share */
struct child {
	struct stream stream;
	uint64_t weight_bytes;
	struct bitnet_error error;
	int ret;
};

static int child_open(const struct bench_engine *parent, struct bench_engine *b, uint32_t tokens,
		      struct bitnet_error *err)
{
	int ret;

	*b = *parent;
	ret = bitnet_engine_open(&parent->options, &b->engine, err);
	if (ret)
		return ret;
	if (parent->shared)
		ret = bitnet_engine_model_open(b->engine, parent->shared, &b->model, err);
	else
		ret = bitnet_engine_model_load(b->engine, parent->image, NULL, 0, &b->model, err);
	if (!ret)
		ret = bitnet_engine_session_open(b->engine, b->model, tokens + 1, &b->session, err);
	return ret;
}

/* Says on @ready that it could begin, and begins when @go is closed. */
static void child_run(const struct bench_engine *parent, unsigned int nr, uint32_t tokens,
		      struct child *c, int ready, int go)
{
	struct bench_engine b;
	struct bitnet_job job;
	uint32_t first;
	char byte = 0;

	c->ret = child_open(parent, &b, tokens, &c->error);
	b.seed += nr;
	first = next_token(&b);
	b.n_token = 0;
	job = generate(b.session, &first, 1, tokens);
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0)
		c->ret = c->ret ? c->ret : bitnet_error_set(&c->error, EINTR, "interrupted");
	if (!c->ret)
		c->ret = run_jobs(&b, &job, 1, &c->stream, &c->error);
	if (!c->ret)
		c->ret = weight_bytes(&b, &c->weight_bytes, &c->error);
	bitnet_engine_close(b.engine);
	_exit(0);
}

static int children_result(const struct child *c, unsigned int n, uint32_t tokens,
			   struct bench_speed *speed, struct bitnet_error *err)
{
	struct stream *s = malloc(n * sizeof(*s));
	uint64_t bytes = 0;
	int ret = 0;

	if (!s)
		return bitnet_error_set(err, ENOMEM, "no memory");
	for (unsigned int i = 0; i < n && !ret; i++) {
		s[i] = c[i].stream;
		bytes += c[i].weight_bytes;
		if (c[i].ret) {
			*err = c[i].error;
			ret = c[i].ret;
		} else if (s[i].n != tokens) {
			ret = bitnet_error_set(err, EIO, "process %u of %u died", i + 1, n);
		}
	}
	if (!ret) {
		speed->seconds = together(s, n);
		speed->bytes = (double)bytes / n / tokens;
	}
	free(s);
	return ret;
}

int bench_processes(struct bench_engine *b, unsigned int n, uint32_t tokens,
		    struct bench_speed *speed, struct bitnet_error *err)
{
	struct child *c = mmap(NULL, n * sizeof(*c), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ready[2] = { -1, -1 }, go[2] = { -1, -1 }, ret = 0;
	pid_t pids[BENCH_MAX_SESSIONS];
	unsigned int started = 0;
	char byte;

	if (c == MAP_FAILED)
		return bitnet_error_set(err, ENOMEM, "no memory");
	if (pipe(ready) || pipe(go))
		ret = bitnet_error_set(err, errno, "pipe: %s", strerror(errno));
	for (; !ret && started < n; started++) {
		pids[started] = fork();
		if (pids[started] < 0) {
			ret = bitnet_error_set(err, errno, "fork: %s", strerror(errno));
			break;
		}
		if (!pids[started]) {
			close(ready[0]);
			close(go[1]);
			child_run(b, started, tokens, &c[started], ready[1], go[0]);
		}
	}
	close(ready[1]);
	/* whoever dies before closes his end too: this does not hang */
	for (unsigned int i = 0; i < started && read(ready[0], &byte, 1) == 1; i++)
		;
	close(go[1]);
	close(go[0]);
	close(ready[0]);
	for (unsigned int i = 0; i < started; i++)
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	b->seed += n;
	if (!ret && interrupt_pending())
		ret = bitnet_error_set(err, EINTR, "interrupted");
	if (!ret)
		ret = children_result(c, n, tokens, speed, err);
	munmap(c, n * sizeof(*c));
	return ret;
}

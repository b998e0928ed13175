// SPDX-License-Identifier: GPL-2.0
/*
 * preempt.c - a realtime token that comes in the middle of another user's long prompt waits for no
 * more than the layer in flight, as the tracepoints tell; nor for many rows of a LINEAR job
 */
#include <sys/wait.h>

#include "tracing.h"
#include "bn_sched.h"

#define NAME		"preempt"
#define MS		1000000ULL
#define MAX_WAITS	1000

static const struct t_shape shape = {
	.n_layers = 8, .hidden = 512, .ffn = 2048, .n_heads = 8, .n_kv_heads = 8, .head_dim = 64,
	.vocab = 512, .max_ctx = 2112, .flags = BITNET_IMAGE_F_TIED,
};

static volatile int *stop;
static uint32_t prompt[2048], n_prompt;

/* Another user, always in the middle of a prompt of 2048 tokens */
static void read_prompts(void)
{
	uint32_t model, session;
	struct bitnet_job job;
	struct t_ring ring;
	static struct t_result result;
	int fd;

	t_drop_privileges(3100, T_GID_BITNET);
	fd = t_open();
	if (t_model_open(fd, NAME, &model) || t_session_open(fd, model, n_prompt + 8, &session))
		_exit(2);
	t_ring_open(&ring, fd, 64, 0);
	while (!*stop) {
		job = t_generate(session, prompt, n_prompt, 1, 1);
		if (t_run(&ring, &job, &result) || t_session_rewind(fd, session, 0))
			_exit(3);
	}
	_exit(0);
}

static void make_claims(uint32_t n)
{
	uint32_t model, session, failed = 0;
	static struct t_result result;
	uint64_t seed = 3;
	struct t_ring ring;
	int fd = t_open();

	is(t_model_open(fd, NAME, &model), 0, "the model is opened");
	is(t_session_open(fd, model, 16, &session), 0, "a session");
	t_ring_open(&ring, fd, 64, 0);
	while (n--) {
		struct bitnet_job job = t_generate(session, prompt, 1, 1, 1);

		t_sleep_ns(2 * MS + t_random(&seed) % (20 * MS));
		job.job_class = BITNET_CLASS_REALTIME;
		job.first_token_ns = job.period_ns = 60000 * MS;
		failed += t_run(&ring, &job, &result) || result.n != 1;
		failed += !!t_session_rewind(fd, session, 0);
	}
	is(failed, 0, "all realtime tokens came");
	t_ring_unmap(&ring);
	close(fd);
}

/*
 * What the trace tells
 * @busy:	a step that is not for a claim is in flight
 * @arrived:	when a realtime job came during such a step that has not been served; 0: none
 * @passed:	layers that have begun since
 */
static struct {
	bool busy;
	uint64_t arrived, passed, most_passed, layer_ns, wait[MAX_WAITS];
	uint32_t n;
} told;

static void take(const char *line)
{
	if (!strncmp(line, "bitnet_admit:", 13)) {
		if (told.busy)
			told.arrived = t_trace_field(line, "now_ns");
		told.passed = 0;
	} else if (!strncmp(line, "bitnet_sched_layer:", 19)) {
		told.passed += !t_trace_field(line, "yields");
	} else if (!strncmp(line, "bitnet_sched_cost:", 18)) {
		if (!t_trace_field(line, "what") && t_trace_field(line, "rows") && t_trace_field(line, "ns") > told.layer_ns)
			told.layer_ns = t_trace_field(line, "ns");
	} else if (!strncmp(line, "bitnet_sched_plan:", 18)) {
		told.busy = !t_trace_field(line, "claim") && (t_trace_field(line, "jobs") ||
						      t_trace_field(line, "resumed") < BN_ASIDE_NONE);
		if (!told.arrived || !t_trace_field(line, "claim"))
			return;
		if (told.n < MAX_WAITS)
			told.wait[told.n++] = t_trace_field(line, "now_ns") - told.arrived;
		if (told.passed > told.most_passed)
			told.most_passed = told.passed;
		told.arrived = 0;
	}
}

/* ---- LINEAR ---------------------------------------------------------------------------------- */

#define LINEAR_ROWS	64
#define LINEAR_BYTES	(LINEAR_ROWS * 512 * 4)

static int8_t input[LINEAR_ROWS * 2048];

/* Steps of the last LINEAR job in the trace: the workers' total has those of others. */
static uint64_t linear_job;
static uint32_t linear_steps;

static void take_linear(const char *event)
{
	if (!strncmp(event, "bitnet_job_submit:", 18)) {
		if (t_trace_field(event, "kind") == BITNET_JOB_LINEAR)
			linear_job = t_trace_field(event, "job");
	} else if (!strncmp(event, "bitnet_sched_grant:", 19)) {
		linear_steps += linear_job && t_trace_field(event, "job") == linear_job;
	}
}

/* Return: in how many steps it was computed, 0 if it failed. */
static uint32_t linear(struct t_client *c)
{
	static struct t_result result;
	struct bitnet_job job = {
		.kind = BITNET_JOB_LINEAR,
		.user_data = 1,
		.model_id = c->model,
		.input = t_pointer(input),
		.input_count = LINEAR_ROWS,
		.matrix = BITNET_MATRIX_FFN_DOWN,
	};
	int err;

	t_trace_go_on();
	err = t_run(&c->ring, &job, &result);
	t_trace_stop();
	linear_job = linear_steps = 0;
	ok(t_trace_read(take_linear), "the trace of LINEAR is whole");
	return !err && result.end.kind == BITNET_ENTRY_DONE ? linear_steps : 0;
}

/* While there are claims to come, many rows are computed in parts; with the same product. */
static void check_linear(void)
{
	struct bitnet_job job;
	struct bitnet_submit submit = {
		.size = sizeof(submit),
		.jobs = t_pointer(&job),
		.count = 1,
		.job_size = sizeof(job),
	};
	struct t_client c, claims;
	uint64_t seed = 2, token_ns;
	uint8_t *want = malloc(LINEAR_BYTES);
	uint32_t steps;

	for (uint32_t i = 0; i < sizeof(input); i++)
		input[i] = t_random(&seed);
	c.fd = t_open();
	if (!want || t_model_open(c.fd, NAME, &c.model))
		bail("setting up");
	t_ring_open(&c.ring, c.fd, 64, LINEAR_BYTES);
	claims.fd = t_open();
	if (t_model_open(claims.fd, NAME, &claims.model) ||
	    t_session_open(claims.fd, claims.model, 1024, &claims.session))
		bail("setting up");
	t_ring_open(&claims.ring, claims.fd, 2048, 0);

	is(linear(&c), 1, "LINEAR of %d rows, in one step", LINEAR_ROWS);
	memcpy(want, c.ring.data, LINEAR_BYTES);
	memset(c.ring.data, 0, LINEAR_BYTES);

	/* It goes on ahead of its time all the while. */
	job = t_generate(claims.session, prompt, 1, 1000, 1);
	job.job_class = BITNET_CLASS_REALTIME;
	job.period_ns = BITNET_MIN_PERIOD_NS;
	job.first_token_ns = 60000 * MS;
	if (t_ioctl(claims.fd, BITNET_IOC_SUBMIT, &submit))
		bail("SUBMIT");
	is(submit.out_refusal, BITNET_REFUSED_PERIOD, "a period that no token can keep");
	/* No more than it must be: LINEAR is not cut where it fits into half of what a token leaves. */
	token_ns = job.period_ns = submit.out_step_ns;
	for (; !t_ioctl(claims.fd, BITNET_IOC_SUBMIT, &submit) && !submit.out_accepted;)
		job.period_ns += job.period_ns / 32;
	steps = linear(&c);
	ok(steps >= 2, "LINEAR beside a token of %llu us each %llu us, in %u steps",
	   (unsigned long long)token_ns / 1000, (unsigned long long)job.period_ns / 1000, steps);
	is(t_stats(claims.fd).out_jobs, 1, "which has not ended");
	ok(!memcmp(want, c.ring.data, LINEAR_BYTES), "the product is the same");
	t_ring_unmap(&claims.ring);
	close(claims.fd);
	t_client_close(&c);
	free(want);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint32_t id, n = t_release_size() ? 500 : t_is_uml() ? 60 : 8;
	struct t_image image;
	uint64_t seed = 1;
	int fd, status;
	pid_t pid;

	if (!t_can_trace())
		skip_all("no tracing in this kernel");
	/* Where vectors are emulated: as long, but of fewer tokens */
	n_prompt = t_is_uml() || t_release_size() ? 2048 : 192;
	for (uint32_t i = 0; i < n_prompt; i++)
		prompt[i] = t_random(&seed) % shape.vocab;
	stop = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	image = t_image_random(&shape);
	fd = t_open();
	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "a shared model");
	t_trace_start("16384");
	pid = t_fork();
	if (!pid)
		read_prompts();
	make_claims(n);
	t_figure(n, t_size(n, 500), "claims in a step");
	*stop = 1;
	waitpid(pid, &status, 0);
	t_trace_stop();
	is(status, 0, "the other user has read his prompts");
	ok(t_trace_read(take), "the trace is whole");
	qsort(told.wait, told.n, sizeof(*told.wait), by_size);
	check_linear();
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);

	ok(told.n >= n / 2, "%u of %u tokens came in the middle of a step of another user", told.n, n);
	is(told.most_passed, 0, "none let another layer begin before it");
	/* In the middle of a layer, on average; the host may take the CPU away in any of them. */
	ok(told.n && told.wait[told.n / 2] <= told.layer_ns,
	   "its step began after %llu us, median; %llu at most; a layer takes up to %llu",
	   (unsigned long long)told.wait[told.n / 2] / 1000,
	   (unsigned long long)told.wait[told.n ? told.n - 1 : 0] / 1000,
	   (unsigned long long)told.layer_ns / 1000);
	ok(t_leaks_none(&before), "nothing is left");
	t_trace_reset();
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * costs.c - what so many rows take is learnt from steps that had as many in every layer. A step
 * that lost some, because a job of it was cancelled while it was aside, tells nothing about those
 * left: one row that is thought to take as long as many keeps realtime jobs from being accepted.
 * BATCH steps go aside for realtime jobs that are ahead of their time as for interactive ones
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tracing.h"

#define ROWS	48
#define LAYERS	1	/* bitnet_sched_cost: what all layers of a step took */
#define HEAD	2	/* and its head */
#define MS	1000000ULL

static struct t_shape shape = {
	.n_layers = 4, .hidden = 128, .ffn = 512, .n_heads = 2, .n_kv_heads = 2, .head_dim = 64,
	.vocab = 512, .max_ctx = 512, .flags = BITNET_IMAGE_F_TIED,
};

static volatile int *stop;
static uint32_t prompt[ROWS];

/* Of another model, so that no row of others is in its steps; realtime: far ahead of its time */
static void keep_busy(const struct t_image *image, uint32_t job_class)
{
	static struct t_result result;
	struct bitnet_job job;
	struct t_client c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	t_client_open(&c, image, 1024);
	while (!*stop) {
		job = t_generate(c.session, prompt, 1, 500, 1);
		job.job_class = job_class;
		if (job_class == BITNET_CLASS_REALTIME)
			job.first_token_ns = job.period_ns = 60000 * MS;
		if (t_run(&c.ring, &job, &result) || t_session_rewind(c.fd, c.session, 0))
			_exit(3);
	}
	_exit(0);
}

static long long yields(void)
{
	return t_number_in(T_DEBUGFS_STATS, "yields", -1);
}

/* Two prompts share a step; the long one is cancelled once it is aside, if that is soon. */
static void lose_rows(struct t_client *c, uint32_t other)
{
	struct bitnet_job jobs[2] = {
		t_generate(c->session, prompt, ROWS, 1, 1), t_generate(other, prompt, 1, 1, 2)
	};
	static struct t_result results[2];
	long long before = yields();
	uint32_t n;

	jobs[0].job_class = jobs[1].job_class = BITNET_CLASS_BATCH;
	if (t_submit(c->fd, jobs, 2, &n) || n != 2)
		bail("SUBMIT");
	while (yields() == before && t_stats(c->fd).out_jobs == 2)
		t_sleep_ns(MS / 50);
	t_cancel(c->fd, 1, &n);
	if (t_collect(&c->ring, results, 2, 1) || t_session_rewind(c->fd, c->session, 0) ||
	    t_session_rewind(c->fd, other, 0))
		bail("jobs that end");
}

/*
 * @rows:	of the step that is aside, or was
 * @less:	the step in flight had more rows once; @aside: so had the one aside
 * @lost:	steps that lost rows; @learnt: of them, how many were learnt from
 * @others:	of the other steps, how many were
 * @before_head: the step in flight was taken up just before its head
 * @heads:	such steps; @heads_learnt: of them, how many were learnt from
 */
static struct {
	uint64_t rows;
	bool less, aside, before_head;
	uint32_t lost, learnt, others, heads, heads_learnt;
} told;

static void take(const char *event)
{
	if (!strncmp(event, "bitnet_step_start:", 18)) {
		told.less = false;
		told.before_head = false;
	} else if (!strncmp(event, "bitnet_step_yield:", 18)) {
		told.aside = told.less;
		told.rows = t_trace_field(event, "rows");
	} else if (!strncmp(event, "bitnet_step_resume:", 19)) {
		told.less = told.aside || t_trace_field(event, "rows") < told.rows;
		told.lost += told.less && !told.aside;
		told.before_head = t_trace_field(event, "layer") == shape.n_layers;
		told.heads += told.before_head;
	} else if (!strncmp(event, "bitnet_sched_cost:", 18)) {
		told.heads_learnt += told.before_head && t_trace_field(event, "what") == HEAD;
		if (t_trace_field(event, "what") != LAYERS)
			return;
		told.learnt += told.less;
		told.others += !told.less;
	}
}

static void check(struct t_client *c, uint32_t other, const struct t_image *image,
		  uint32_t job_class, const char *name)
{
	uint32_t rounds = t_size(t_is_uml() ? 10 : 5, 400), i;
	pid_t pid;
	int status;

	memset(&told, 0, sizeof(told));
	*stop = 0;
	t_trace_start("16384");
	pid = t_fork();
	if (!pid)
		keep_busy(image, job_class);
	for (i = 0; t_more(i, rounds, "steps that lose rows"); i++)
		lose_rows(c, other);
	*stop = 1;
	waitpid(pid, &status, 0);
	t_trace_stop();
	is(status, 0, "%s jobs were done", name);
	ok(t_trace_read(take), "the trace is whole");
	t_trace_reset();
	/* Whether the cancelling comes while a step is aside, the host decides as well. */
	ok(told.lost > i / 10 && told.others, "beside them, %u of %u steps lost rows while aside",
	   told.lost, i);
	is(told.learnt, 0, "none of them was learnt from");
	/* Getting its rows back is in what such a head takes. */
	is(told.heads_learnt, 0, "nor any of the %u heads before which a step was taken up",
	   told.heads);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image;
	uint64_t seed = 1;
	struct t_client c;
	uint32_t other;

	if (!t_can_trace() || yields() < 0)
		skip_all("no tracing, or no debugfs, in this kernel");
	for (uint32_t i = 0; i < ROWS; i++)
		prompt[i] = t_random(&seed) % shape.vocab;
	stop = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t_is_fast()) {	/* long enough to be cancelled aside */
		shape.n_layers = 16;
		shape.ffn = 2048;
	}
	image = t_image_random(&shape);
	t_client_open(&c, &image, 64);
	is(t_session_open(c.fd, c.model, ROWS + 8, &other), 0, "another session");
	check(&c, other, &image, BITNET_CLASS_INTERACTIVE, "interactive");
	check(&c, other, &image, BITNET_CLASS_REALTIME, "realtime");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

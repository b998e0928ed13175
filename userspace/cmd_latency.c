// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_latency.c - how even tokens come, as one client among others: cyclictest for tokens
 *
 * One session makes tokens in jobs of a fixed length, each from an empty cache, so that all jobs
 * cost the same and a few thousand tokens do not need a long context.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bitnetctl.h"
#include "interrupt.h"
#include "latency.h"
#include "model.h"
#include "newfile.h"

#define USER_DATA	1
#define WAIT_SLICE_NS	200000000LL	/* how long a signal just before WAIT can go unnoticed */
#define TOKENS		1000
#define JOB_TOKENS	128
#define PROMPT_TOKENS	16
#define WARM_TOKENS	16
#define LOAD_TOKENS	2048

struct latency_values {
	struct engine_args engine;
	struct file_args file;
	struct class_args job_class;
	const char *model_name, *load, *svg, *record, *label;
	uint64_t duration_ns;
	uint32_t tokens, job_tokens, prompt_tokens, load_tokens;
	bool compare;
};

const struct arg latency_args[] = {
	CLASS_ARGS(struct latency_values, job_class),
	ARG("tokens", 'n', ARG_U32, struct latency_values, tokens, "N",
	    "measure so many tokens (1000, or as many as --duration allows)", .min = 2),
	ARG("duration", 'd', ARG_TIME, struct latency_values, duration_ns, "TIME",
	    "measure for so long: 10s, 500ms", .min = 1),
	ARG("job-tokens", 0, ARG_U32, struct latency_values, job_tokens, "N",
	    "tokens of each job (128, or what the context allows)", .min = 2),
	ARG("prompt-tokens", 'p', ARG_U32, struct latency_values, prompt_tokens, "N",
	    "tokens of each job's prompt (16)", .min = 1),
	ARG("load", 0, ARG_STRING, struct latency_values, load, "LIST",
	    "run clients meanwhile: CLASS:N[:prefill|:decode],..."),
	ARG("load-tokens", 0, ARG_U32, struct latency_values, load_tokens, "N",
	    "tokens of each of their jobs (2048, or what the context allows)", .min = 1),
	ARG("svg", 0, ARG_STRING, struct latency_values, svg, "FILE",
	    "plot the histogram into FILE", .completion = COMPLETE_FILE),
	ARG("record", 0, ARG_STRING, struct latency_values, record, "FILE",
	    "write all times into FILE, for --compare", .completion = COMPLETE_FILE),
	ARG("label", 0, ARG_STRING, struct latency_values, label, "TEXT",
	    "what plots and comparisons call it (class, engine and load)"),
	ARG("compare", 0, ARG_FLAG, struct latency_values, compare, NULL,
	    "measure nothing: compare two recordings"),
	ENGINE_ARGS(struct latency_values, engine),
	ARG("model-name", 0, ARG_STRING, struct latency_values, model_name, "NAME",
	    "use the shared model NAME; MODEL gives the tokenizer", .completion = COMPLETE_NAME),
	FILE_ARGS(struct latency_values, file),
	{ 0 }
};

/**
 * struct measurement - one run
 * @input:	prompt of every job
 * @end_ns:	measure until then, 0: until @tokens are there
 * @wanted:	tokens to measure
 * @made:	tokens measured
 */
struct measurement {
	const struct latency_values *v;
	struct model model;
	struct load_spec spec;
	struct load *load;
	uint32_t session, *input;
	uint32_t job_tokens, load_tokens;
	uint64_t begin_ns, end_ns, wanted, made;
	struct recording recording;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* ---- one job --------------------------------------------------------------------------------- */

/* Nothing more is to be measured: enough, too late, or Ctrl-C. */
static bool is_over(const struct measurement *m)
{
	return interrupt_pending() || m->made >= m->wanted || (m->end_ns && now_ns() >= m->end_ns);
}

static void show_progress(const struct measurement *m)
{
	uint64_t done = m->made, total = m->wanted;

	if (m->end_ns) {
		done = now_ns() - m->begin_ns;
		total = m->end_ns - m->begin_ns;
	}
	out_progress("measuring", done, total);
}

static int record_token(struct measurement *m, const struct bitnet_ring_entry *e, uint64_t before)
{
	struct recording *r = &m->recording;
	uint64_t seen = now_ns();
	/* in a time namespace the kernel's clock is not ours */
	uint64_t took = e->time_ns > before ? e->time_ns - before : 0;

	m->made++;
	r->late += !!(e->flags & BITNET_ENTRY_F_LATE);
	if (times_add(e->n_tokens ? &r->token : &r->first, took))
		return -ENOMEM;
	return times_add(&r->seen, seen > e->time_ns ? seen - e->time_ns : 0);
}

/* The next entry of the job, or an errno. */
static int next_entry(struct measurement *m, struct bitnet_ring_entry *e, bool *cancelled,
		      bool measured)
{
	int ret;

	for (;;) {
		if (!*cancelled && (measured ? is_over(m) : interrupt_pending() != 0)) {
			/* -ENOENT: it has ended by itself */
			bitnet_engine_cancel(m->model.engine, USER_DATA);
			*cancelled = true;
		}
		if (bitnet_engine_next(m->model.engine, e))
			return 0;
		ret = bitnet_engine_wait(m->model.engine, 1, WAIT_SLICE_NS);
		if (ret < 0 && ret != -ETIME && ret != -EINTR)
			return ret;
	}
}

/* See a job through. @measured: its times count. */
static int run_job(struct measurement *m, const struct bitnet_job *job, bool measured,
		   struct bitnet_error *err)
{
	struct bitnet_ring_entry e;
	uint64_t before = now_ns();
	bool cancelled = false;
	int ret;

	ret = bitnet_engine_submit(m->model.engine, job, 1, NULL, err);
	if (ret)
		return ret;
	for (;;) {
		ret = next_entry(m, &e, &cancelled, measured);
		if (ret)
			return bitnet_error_set(err, ret, "waiting for tokens: %s",
						bitnet_strerror(ret));
		if (e.kind != BITNET_ENTRY_TOKEN)
			break;
		if (measured && !cancelled && record_token(m, &e, before))
			return bitnet_error_set(err, ENOMEM, "out of memory");
		before = e.time_ns;
		if (measured)
			show_progress(m);
	}
	if (e.kind == BITNET_ENTRY_ERROR && !(cancelled && e.error == -ECANCELED))
		return bitnet_error_set(err, e.error, "a job failed: %s", bitnet_strerror(e.error));
	return bitnet_engine_session_rewind(m->model.engine, m->session, 0, err);
}

static struct bitnet_job make_job(const struct measurement *m, uint64_t tokens)
{
	return (struct bitnet_job){
		.kind = BITNET_JOB_GENERATE,
		.user_data = USER_DATA,
		.session_id = m->session,
		.input = (uintptr_t)m->input,
		.input_count = m->v->prompt_tokens,
		.max_tokens = tokens < m->job_tokens ? tokens : m->job_tokens,
	};
}

/*
 * Interactive, whatever is measured: it is always accepted, and the device learns what a token
 * takes before it has to promise anything.
 */
static int warm_up(struct measurement *m, struct bitnet_error *err)
{
	struct bitnet_job job = make_job(m, WARM_TOKENS);

	return run_job(m, &job, false, err);
}

static int measure(struct measurement *m, struct bitnet_error *err)
{
	struct bitnet_job job;
	uint64_t ns, before;
	int ret = 0;

	before = load_tokens(m->load);
	m->begin_ns = now_ns();
	m->end_ns = m->v->duration_ns ? m->begin_ns + m->v->duration_ns : 0;
	while (!ret && !is_over(m)) {
		job = make_job(m, m->wanted - m->made);
		class_apply(&m->v->job_class, &job);
		ret = run_job(m, &job, true, err);
		if (!ret)
			ret = load_check(m->load, err);
	}
	out_progress_end();
	ns = now_ns() - m->begin_ns;
	m->recording.load_tokens_per_s = (load_tokens(m->load) - before) * 1e9 / (ns ? ns : 1);
	m->recording.interrupted = interrupt_pending() != 0;
	return ret;
}

/* ---- what is measured ------------------------------------------------------------------------ */

static bool on_device(const struct measurement *m)
{
	return bitnet_engine_kind(m->model.engine) == BITNET_ENGINE_DEVICE;
}

static const char *class_text(const struct class_args *a, char *text, size_t size)
{
	if (a->job_class == BITNET_CLASS_REALTIME)
		snprintf(text, size, "realtime: first token after %.4g ms, then every %.4g ms",
			 a->first_token_ns / 1e6, a->period_ns / 1e6);
	else
		snprintf(text, size, "%s", class_names[a->job_class]);
	return text;
}

static json_t *text_json(const struct measurement *m, const char *load)
{
	const struct bitnet_info *e = &m->model.engine_info;
	const char *parts = on_device(m) ? "worker" : "thread";
	char engine[160], class[96], jobs[96], name[BITNET_NAME_BYTES + 1];

	snprintf(engine, sizeof(engine), "%s, %s, %u %s%s", on_device(m) ? "device" : "local",
		 e->out_variant, e->out_workers, parts, e->out_workers == 1 ? "" : "s");
	snprintf(jobs, sizeof(jobs), "of %u tokens, behind prompts of %u", m->job_tokens,
		 m->v->prompt_tokens);
	snprintf(name, sizeof(name), "%.*s", BITNET_NAME_BYTES, m->model.info.out_name);
	return json_pack("{s:o, s:s, s:s, s:s, s:s}", "model", out_string(name, strlen(name)),
			 "engine", engine, "class",
			 class_text(&m->v->job_class, class, sizeof(class)), "load", load, "jobs",
			 jobs);
}

static json_t *setup_json(const struct measurement *m)
{
	const struct latency_values *v = m->v;
	char load[256], label[384];
	json_t *j;

	load_text(&m->spec, load, sizeof(load));
	snprintf(label, sizeof(label), "%s, %s%s%s", class_names[v->job_class.job_class],
		 on_device(m) ? "device" : "local engine", m->spec.n ? ", beside " : ", alone",
		 m->spec.n ? load : "");
	if (v->label)
		snprintf(label, sizeof(label), "%s", v->label);
	j = json_pack("{s:o, s:o, s:o, s:s, s:i, s:i, s:i, s:o}", "label",
		      out_string(label, strlen(label)), "model", model_json(&m->model), "engine",
		      model_engine_json(&m->model), "load", load, "job_tokens", (int)m->job_tokens,
		      "prompt_tokens", (int)v->prompt_tokens, "load_job_tokens",
		      m->spec.n ? (int)m->load_tokens : 0, "text", text_json(m, load));
	class_json(&v->job_class, j);
	return j;
}

/* ---- setting up ------------------------------------------------------------------------------ */

/* Lengths that were not asked for are cut to the model's context; those that were must fit. */
static int set_lengths(struct measurement *m, struct bitnet_error *err)
{
	const struct latency_values *v = m->v;
	uint32_t max = m->model.info.out_max_ctx;

	m->load_tokens = v->load_tokens ? v->load_tokens : LOAD_TOKENS;
	m->job_tokens = v->job_tokens ? v->job_tokens : JOB_TOKENS;
	if (!v->load_tokens && m->load_tokens > max - 1)
		m->load_tokens = max - 1;
	if (!v->job_tokens && v->prompt_tokens < max && m->job_tokens > max - v->prompt_tokens)
		m->job_tokens = max - v->prompt_tokens;
	if ((uint64_t)v->prompt_tokens + m->job_tokens > max || m->load_tokens > max - 1 ||
	    m->job_tokens < 2)
		return bitnet_error_set(err, ERANGE,
					"prompts and tokens of jobs do not fit into the model's context of %u",
					max);
	return 0;
}

static int open_all(struct measurement *m, const char *model, struct bitnet_error *err)
{
	const struct latency_values *v = m->v;
	const struct model_request rq = {
		.model = model,
		.shared_name = v->model_name,
		.engine = &v->engine,
		.file = &v->file,
	};
	int ret;

	ret = model_open(&rq, &m->model, err);
	if (ret)
		return ret;
	model_say_engine(&m->model);
	ret = set_lengths(m, err);
	if (ret)
		return ret;
	m->input = malloc(v->prompt_tokens * sizeof(*m->input));
	if (!m->input)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < v->prompt_tokens; i++)
		m->input[i] = (i + 1) * 7919ULL % m->model.info.out_vocab;
	return bitnet_engine_session_open(m->model.engine, m->model.id,
					  v->prompt_tokens + m->job_tokens, &m->session, err);
}

static int start_load(struct measurement *m, struct bitnet_error *err)
{
	const struct load_target target = {
		.engine = m->model.engine,
		.options = {
			.kind = bitnet_engine_kind(m->model.engine),
			.device = m->v->engine.device,
			.threads = m->v->engine.threads,
			.variant = m->v->engine.variant,
		},
		.shared = *m->model.shared ? m->model.shared : NULL,
		.image = &m->model.file.image,
		.vocab = m->model.info.out_vocab,
		.tokens = m->load_tokens,
	};

	if (m->spec.n && on_device(m) && !target.shared) {
		bitnet_error_set(err, EINVAL,
				 "--load needs a model that its processes can share");
		return bitnet_error_hint(err,
					 "as root: bitnetctl load FILE --name NAME; then give NAME");
	}
	return load_start(&m->spec, &target, &m->load, err);
}

static void close_all(struct measurement *m)
{
	recording_free(&m->recording);
	free(m->input);
	model_close(&m->model);
}

/* ---- results --------------------------------------------------------------------------------- */

static int write_svg(const char *path, const struct latency_view *views, unsigned int n,
		     struct bitnet_error *err)
{
	struct newfile file;
	int ret;

	ret = newfile_open(&file, path, err);
	if (ret)
		return ret;
	errno = 0;
	return newfile_close(&file, latency_svg(file.f, views, n), err);
}

static int report(const struct latency_values *v, const struct recording *r,
		  struct bitnet_error *err)
{
	struct latency_view view;
	int ret = 0;

	if (latency_view_init(&view, r))
		return bitnet_error_set(err, ENOMEM, "out of memory");
	if (v->record)
		ret = recording_write(r, v->record, err);
	if (!ret && v->svg)
		ret = write_svg(v->svg, &view, 1, err);
	if (ret)
		return ret;
	if (out.json)
		out_json(latency_json(&view));
	else
		latency_print(&view, 1);
	return 0;
}

static int compare(const struct latency_values *v, char **paths, struct bitnet_error *err)
{
	struct recording r[LATENCY_MAX_SERIES] = { 0 };
	struct latency_view views[LATENCY_MAX_SERIES];
	int ret = 0;

	for (int i = 0; i < LATENCY_MAX_SERIES && !ret; i++) {
		ret = recording_read(&r[i], paths[i], err);
		if (!ret && latency_view_init(&views[i], &r[i]))
			ret = bitnet_error_set(err, ENOMEM, "out of memory");
	}
	if (!ret && v->svg)
		ret = write_svg(v->svg, views, LATENCY_MAX_SERIES, err);
	if (!ret && out.json)
		out_json(json_pack("{s:o, s:o, s:o}", "a", latency_json(&views[0]), "b",
				   latency_json(&views[1]), "ratio",
				   latency_ratio_json(&views[0], &views[1])));
	else if (!ret)
		latency_print(views, LATENCY_MAX_SERIES);
	for (int i = 0; i < LATENCY_MAX_SERIES; i++)
		recording_free(&r[i]);
	return ret;
}

static int check_args(const struct latency_values *v, int operands, struct load_spec *spec,
		      struct bitnet_error *err)
{
	if (v->compare && operands != LATENCY_MAX_SERIES)
		return bitnet_error_set(err, EINVAL, "latency: --compare expects two recordings");
	if (v->compare && (v->load || v->record))
		return bitnet_error_set(err, EINVAL, "--compare measures nothing: no --%s",
					v->load ? "load" : "record");
	if (!v->compare && operands != 1)
		return bitnet_error_set(err, EINVAL, "latency: expected MODEL");
	if (v->load_tokens && !v->load)
		return bitnet_error_set(err, EINVAL, "--load-tokens goes with --load");
	if (v->load && load_parse(v->load, spec, err))
		return -EINVAL;
	return class_check(&v->job_class, err);
}

int cmd_latency(const struct command *self, int argc, char **argv)
{
	struct latency_values v = { .prompt_tokens = PROMPT_TOKENS };
	struct measurement m = { .v = &v };
	struct bitnet_error err = { 0 };
	int n, code, ret, stopped;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (check_args(&v, n, &m.spec, &err))
		return command_usage(self, &err);
	if (v.compare)
		return compare(&v, argv + 1, &err) ? out_error(&err) : OUT_OK;
	m.wanted = v.tokens ? v.tokens : v.duration_ns ? UINT64_MAX : TOKENS;

	interrupt_catch(false);
	ret = open_all(&m, argv[1], &err);
	if (!ret)
		ret = warm_up(&m, &err);
	if (!ret)
		ret = start_load(&m, &err);
	if (!ret) {
		m.recording.setup = setup_json(&m);
		ret = measure(&m, &err);
	}
	/* the error of the measurement is what counts; load that failed spoils one that did not */
	stopped = load_stop(m.load, ret ? NULL : &err);
	ret = ret ? ret : stopped;
	if (!ret)
		ret = report(&v, &m.recording, &err);
	code = ret ? out_error(&err) : OUT_OK;
	if (!ret && interrupt_pending())
		code = 128 + interrupt_pending();
	close_all(&m);
	return code;
}

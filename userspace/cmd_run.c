// SPDX-License-Identifier: GPL-2.0
/* cmd_run.c - one prompt, text as it comes */
#include <errno.h>
#include <string.h>

#include "bitnetctl.h"
#include "interrupt.h"
#include "prompt.h"

struct run_values {
	struct prompt_args prompt;
	bool stats, stream, echo, run_inline;
};

const struct arg run_args[] = {
	PROMPT_ARGS(struct run_values, prompt),
	ARG("echo", 0, ARG_FLAG, struct run_values, echo, NULL,
	    "print the prompt in front of the text"),
	ARG("inline", 0, ARG_FLAG, struct run_values, run_inline, NULL,
	    "compute in this thread: chrt, taskset, nice and cpu.max of the caller count"),
	ARG("stats", 0, ARG_FLAG, struct run_values, stats, NULL,
	    "tell speed, latency and seed on standard error"),
	ARG("stream", 0, ARG_FLAG, struct run_values, stream, NULL,
	    "with --json: one line of JSON a token, then the result"),
	{ 0 }
};

static bool print_text(void *arg, const char *text, size_t len,
		       const struct bitnet_ring_entry *entry)
{
	return !len || out_text(text, len);
}

static bool print_line(void *arg, const char *text, size_t len,
		       const struct bitnet_ring_entry *e)
{
	const uint64_t *submit_ns = arg;
	json_t *j;

	if (!e && !len)
		return true;
	j = json_pack("{s:s, s:o}", "type", "text", "text", out_string(text, len));
	if (e) {
		json_object_set_new(j, "token", json_integer(e->token));
		json_object_set_new(j, "logprob", e->logprob == BITNET_LOGPROB_NONE ? json_null() :
				    json_real(e->logprob / 1e6));
		json_object_set_new(j, "ms", json_real((e->time_ns - *submit_ns) / 1e6));
	}
	out_json_line(j);
	return !out_broken();
}

static void print_result(const struct run_values *v, const struct prompt *p,
			 const struct generation *g)
{
	json_t *j;

	if (out.json) {
		j = prompt_json(p, g);
		if (v->stream) {
			json_object_set_new(j, "type", json_string("result"));
			out_json_line(j);
		} else {
			out_json(j);
		}
	} else if (!g->text_len || g->text[g->text_len - 1] != '\n') {
		out_text("\n", 1);
	}
	if (v->stats)
		generation_say_speed(g);
}

static int check_inline(const struct run_values *v, struct bitnet_error *err)
{
	if (v->run_inline && v->prompt.engine.threads)
		return bitnet_error_set(err, EINVAL,
					"--inline is this one thread: it excludes --threads");
	return 0;
}

static int has_inline(const struct prompt *p, struct bitnet_error *err)
{
	if (p->model.engine_info.out_features & BITNET_FEATURE_RUN)
		return 0;
	bitnet_error_set(err, EOPNOTSUPP, "this device cannot run a job in its caller's thread");
	return bitnet_error_hint(err,
				 "install module and tool of the same release, or leave out --inline");
}

int cmd_run(const struct command *self, int argc, char **argv)
{
	struct run_values v = { .prompt = PROMPT_DEFAULTS };
	struct bitnet_error err = { 0 };
	struct prompt p = { 0 };
	struct generation g;
	int n, code, ret;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (prompt_check_args(&v.prompt, n, argv, &err) || check_inline(&v, &err))
		return command_usage(self, &err);

	interrupt_catch(false);
	ret = prompt_read(&v.prompt, n > 1, &p.text, &p.len, &err);
	if (ret == -EINVAL)
		return command_usage(self, &err);
	if (!ret)
		ret = prompt_open(&v.prompt, argv[1], &p, &err);
	if (!ret && v.run_inline)
		ret = has_inline(&p, &err);
	if (ret) {
		prompt_close(&p);
		return out_error(&err);
	}
	if (v.run_inline)
		model_say_inline(&p.model);
	else
		model_say_engine(&p.model);

	g = prompt_generation(&v.prompt, &p);
	g.run_inline = v.run_inline;
	if (!out.json) {
		if (v.echo)
			out_text(p.text, p.len);
		g.on_text = print_text;
	} else if (v.stream) {
		g.on_text = print_line;
		g.arg = &g.submit_ns;
	}
	ret = generate(&g, &err);
	if (!ret)
		print_result(&v, &p, &g);
	else if (!out.json && g.text_shown)
		out_text("\n", 1);
	code = ret ? out_error(&err) : OUT_OK;
	if (!ret && interrupt_pending())
		code = 128 + interrupt_pending();
	generation_free(&g);
	prompt_close(&p);
	return code;
}

// SPDX-License-Identifier: GPL-2.0
/* cmd_submit.c - background jobs: submit, wait, cancel */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitnetctl.h"
#include "interrupt.h"
#include "jobs.h"
#include "prompt.h"

#define SHOWN_PROMPT_BYTES	60
#define CANCEL_MS		5000	/* time for an orderly end, before the holder is killed */

struct submit_values {
	struct prompt_args prompt;
};

struct wait_values {
	uint32_t timeout_ppm;
	bool list, keep;
};

struct cancel_values {
	bool all;
};

const struct arg submit_args[] = {
	PROMPT_ARGS(struct submit_values, prompt),
	{ 0 }
};

const struct arg wait_args[] = {
	ARG("timeout", 0, ARG_PPM, struct wait_values, timeout_ppm, "SECONDS",
	    "give up after so long (never)", .max = 4000ULL * BITNET_PPM),
	ARG("keep", 0, ARG_FLAG, struct wait_values, keep, NULL,
	    "leave the result where it is, to be read again"),
	ARG("list", 'l', ARG_FLAG, struct wait_values, list, NULL,
	    "list the jobs, do not wait"),
	{ 0 }
};

const struct arg cancel_args[] = {
	ARG("all", 'a', ARG_FLAG, struct cancel_values, all, NULL, "all of your jobs"),
	{ 0 }
};

/* ---- submit ---------------------------------------------------------------------------------- */

/* What the holder tells the process that started it. */
struct started {
	int ret;
	struct bitnet_error err;
};

static json_t *error_json(const struct bitnet_error *err)
{
	const char *name = strerrorname_np(err->code);

	return json_pack("{s:{s:s, s:o, s:o}}", "error", "code", name ? name : "EIO", "message",
			 out_string(err->msg, strlen(err->msg)), "hint",
			 out_string(err->hint, strlen(err->hint)));
}

static void tell(void *arg, int ret, const struct bitnet_error *err)
{
	int pipe_fd = *(const int *)arg;
	struct started s = { .ret = ret };

	if (ret)
		s.err = *err;
	/* nobody listens any more: then nobody needs to know */
	if (write(pipe_fd, &s, sizeof(s)) != sizeof(s))
		out_debug("the process that submitted the job is gone");
	close(pipe_fd);
}

static bool keep_going(void *arg, const char *text, size_t len, const struct bitnet_ring_entry *e)
{
	return true;
}

/* The holder: a process of its own session that computes one job and leaves the result. */
static int hold(const struct submit_values *v, const char *model, struct prompt *p, unsigned int id,
		int pipe_fd)
{
	struct bitnet_error err = { 0 };
	struct generation g = { 0 };
	json_t *result;
	int ret, null;

	setsid();
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	interrupt_clear();
	interrupt_catch(true);

	ret = prompt_open(&v->prompt, model, p, &err);
	if (ret) {
		tell(&pipe_fd, ret, &err);
		return 1;
	}
	g = prompt_generation(&v->prompt, p);
	g.on_text = keep_going;
	g.on_submitted = tell;
	g.arg = &pipe_fd;
	ret = generate(&g, &err);
	result = ret ? error_json(&err) : prompt_json(p, &g);
	json_object_set_new(result, "id", json_integer(id));
	jobs_finish(id, result);
	json_decref(result);
	generation_free(&g);
	prompt_close(p);
	return 0;
}

static json_t *request_json(const struct submit_values *v, const char *model,
			    const struct prompt *p)
{
	size_t shown = p->len < SHOWN_PROMPT_BYTES ? p->len : SHOWN_PROMPT_BYTES;
	json_t *j;

	while (shown < p->len && shown && (p->text[shown] & 0xc0) == 0x80)
		shown--;
	j = json_pack("{s:o, s:o, s:I}", "model", out_string(model, strlen(model)), "prompt",
		      out_string(p->text, shown), "submitted", (json_int_t)time(NULL));
	class_json(&v->prompt.job_class, j);
	return j;
}

/* Wait until the engine has taken the holder's job, so that what is wrong is told here and now. */
static int await_start(int pipe_fd, pid_t pid, struct bitnet_error *err)
{
	struct started s;
	ssize_t n;

	do {
		n = read(pipe_fd, &s, sizeof(s));
	} while (n < 0 && errno == EINTR && !interrupt_pending());
	if (n == sizeof(s)) {
		if (s.ret)
			*err = s.err;
		return s.ret;
	}
	if (interrupt_pending()) {
		kill(pid, SIGKILL);
		return bitnet_error_set(err, EINTR, "interrupted");
	}
	return bitnet_error_set(err, EIO, "the background process died before the job began");
}

int cmd_submit(const struct command *self, int argc, char **argv)
{
	struct submit_values v = { .prompt = PROMPT_DEFAULTS };
	struct bitnet_error err = { 0 };
	struct prompt p = { 0 };
	int n, code, ret, lock, pipe_fds[2];
	unsigned int id;
	json_t *request, *j;
	pid_t pid = -1;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (prompt_check_args(&v.prompt, n, argv, &err))
		return command_usage(self, &err);
	interrupt_catch(false);
	ret = prompt_read(&v.prompt, n > 1, &p.text, &p.len, &err);
	if (ret == -EINVAL)
		return command_usage(self, &err);
	if (ret)
		return out_error(&err);

	request = request_json(&v, argv[1], &p);
	lock = jobs_create(request, &id, &err);
	json_decref(request);
	if (lock < 0) {
		free(p.text);
		return out_error(&err);
	}
	if (pipe2(pipe_fds, O_CLOEXEC)) {
		ret = bitnet_error_set(&err, errno, "cannot make a pipe: %s", strerror(errno));
		goto remove;
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(pipe_fds[0]);
		jobs_set_holder(lock, getpid());
		_exit(hold(&v, argv[1], &p, id, pipe_fds[1]));
	}
	close(pipe_fds[1]);
	if (pid < 0)
		ret = bitnet_error_set(&err, errno, "cannot start a process: %s", strerror(errno));
	else
		ret = await_start(pipe_fds[0], pid, &err);
	close(pipe_fds[0]);
remove:
	close(lock);
	free(p.text);
	if (ret) {
		/* it ends soon, and leaves a result if it came so far: not behind the removal */
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		jobs_remove(id);
		return out_error(&err);
	}
	if (out.json) {
		j = json_pack("{s:i, s:i}", "id", (int)id, "pid", (int)pid);
		class_json(&v.prompt.job_class, j);
		out_json(j);
	} else {
		printf("%u\n", id);
	}
	return OUT_OK;
}

/* ---- wait ------------------------------------------------------------------------------------ */

static const char *state_name(const struct job_state *job)
{
	return job->running ? "running" : job->ended ? "ended" : "died";
}

static int list_job(void *arg, const struct job_state *job)
{
	json_t *list = arg, *j;

	j = json_pack("{s:i, s:s}", "id", (int)job->id, "state", state_name(job));
	if (job->request)
		json_object_update_missing(j, (json_t *)job->request);
	json_array_append_new(list, j);
	return 0;
}

static int list_jobs(void)
{
	json_t *list = json_array(), *j;
	const char *prompt;
	size_t i;

	jobs_each(list_job, list);
	if (out.json) {
		out_json(json_pack("{s:o}", "jobs", list));
		return OUT_OK;
	}
	if (json_array_size(list))
		printf("%s%6s %-8s %-11s %-24s %s%s\n", out_style(STYLE_BOLD), "ID", "STATE",
		       "CLASS", "MODEL", "PROMPT", out_style(STYLE_PLAIN));
	else
		out_note("no jobs");
	json_array_foreach(list, i, j) {
		printf("%6lld %-8s %-11s %-24s ",
		       (long long)json_integer_value(json_object_get(j, "id")),
		       json_string_value(json_object_get(j, "state")),
		       json_string_value(json_object_get(j, "class")),
		       json_string_value(json_object_get(j, "model")));
		prompt = json_string_value(json_object_get(j, "prompt"));
		for (; prompt && *prompt; prompt++)
			putchar((unsigned char)*prompt < 0x20 || *prompt == 0x7f ? ' ' : *prompt);
		putchar('\n');
	}
	json_decref(list);
	return OUT_OK;
}

static int code_by_name(const char *name)
{
	const char *n;

	for (int code = 1; name && code < 4096; code++) {
		n = strerrorname_np(code);
		if (n && !strcmp(n, name))
			return code;
	}
	return EIO;
}

static int print_result(json_t *result)
{
	const json_t *e = json_object_get(result, "error"), *text = json_object_get(result, "text");
	struct bitnet_error err = { 0 };
	size_t len = json_string_length(text);

	if (e) {
		bitnet_error_set(&err, code_by_name(json_string_value(json_object_get(e, "code"))),
				 "%s", json_string_value(json_object_get(e, "message")));
		bitnet_error_hint(&err, "%s", json_string_value(json_object_get(e, "hint")));
		return out_error(&err);
	}
	if (out.json) {
		out_json(json_incref(result));
		return OUT_OK;
	}
	out_text(json_string_value(text), len);
	if (!len || json_string_value(text)[len - 1] != '\n')
		out_text("\n", 1);
	return OUT_OK;
}

static int no_job(const char *text)
{
	struct bitnet_error err = { 0 };

	bitnet_error_set(&err, ENOENT, "no job %s", text);
	bitnet_error_hint(&err, "'bitnetctl wait --list' lists your jobs");
	return out_error(&err);
}

int cmd_wait(const struct command *self, int argc, char **argv)
{
	struct wait_values v = { .timeout_ppm = UINT32_MAX };
	struct bitnet_error err = { 0 };
	unsigned int id;
	json_t *result;
	int n, code, ret;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (v.list)
		return list_jobs();
	if (!n) {
		bitnet_error_set(&err, EINVAL, "wait: expected ID or --list");
		return command_usage(self, &err);
	}
	if (jobs_parse_id(argv[1], &id)) {
		bitnet_error_set(&err, EINVAL, "'%s' is not a job id", argv[1]);
		return command_usage(self, &err);
	}
	interrupt_catch(false);
	ret = jobs_wait(id, v.timeout_ppm == UINT32_MAX ? -1 : (int64_t)v.timeout_ppm / 1000);
	if (ret == -ENOENT)
		return no_job(argv[1]);
	if (ret == -ETIME)
		bitnet_error_set(&err, ETIME, "job %u is still running", id);
	if (ret == -EINTR)
		bitnet_error_set(&err, EINTR, "interrupted; job %u goes on", id);
	if (ret)
		return out_error(&err);

	result = jobs_result(id);
	if (!result) {
		bitnet_error_set(&err, EIO, "job %u died: its process ended without a result", id);
		jobs_remove(id);
		return out_error(&err);
	}
	code = print_result(result);
	json_decref(result);
	/* what could not be written must not be lost */
	if (!v.keep && !fflush(stdout) && !out_broken())
		jobs_remove(id);
	return code;
}

/* ---- cancel ---------------------------------------------------------------------------------- */

/* Return: was it still running? Negative: -ENOENT. */
static int cancel_job(unsigned int id)
{
	int ret = jobs_signal(id, SIGTERM);

	if (ret == -ENOENT)
		return ret;
	if (!ret && jobs_wait(id, CANCEL_MS) == -ETIME) {
		/* the kernel cancels the jobs of a process that ends, however it ends */
		jobs_signal(id, SIGKILL);
		jobs_wait(id, CANCEL_MS);
	}
	jobs_remove(id);
	return !ret;
}

static int cancel_each(void *arg, const struct job_state *job)
{
	json_t *list = arg;
	int ret = cancel_job(job->id);

	if (ret >= 0)
		json_array_append_new(
			list, json_pack("{s:i, s:b}", "id", (int)job->id, "was_running", ret));
	return 0;
}

int cmd_cancel(const struct command *self, int argc, char **argv)
{
	struct cancel_values v = { 0 };
	struct job_state job = { 0 };
	struct bitnet_error err = { 0 };
	json_t *list, *j;
	size_t i;
	int n, code;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (!n != v.all) {
		bitnet_error_set(&err, EINVAL, "cancel: expected ID, or --all");
		return command_usage(self, &err);
	}
	if (n && jobs_parse_id(argv[1], &job.id)) {
		bitnet_error_set(&err, EINVAL, "'%s' is not a job id", argv[1]);
		return command_usage(self, &err);
	}
	list = json_array();
	if (v.all)
		jobs_each(cancel_each, list);
	else
		cancel_each(list, &job);
	if (n && !json_array_size(list)) {
		json_decref(list);
		return no_job(argv[1]);
	}
	if (out.json) {
		out_json(json_pack("{s:o}", "cancelled", list));
		return OUT_OK;
	}
	json_array_foreach(list, i, j) printf(
		"job %lld %s\n", (long long)json_integer_value(json_object_get(j, "id")),
		json_is_true(json_object_get(j, "was_running")) ? "cancelled"
								: "had ended; its result is gone");
	json_decref(list);
	return OUT_OK;
}

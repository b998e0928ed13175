// SPDX-License-Identifier: GPL-2.0
/*
 * latency_load.c - processes that keep the engine busy while something else is measured
 *
 * Each has an open file, or a local engine, of its own, as other clients would. It keeps a job of
 * each of two sessions queued, so that it never pauses between two of them. Whatever ends the
 * process that started them ends them (PR_SET_PDEATHSIG), and with them all they had on the device.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "interrupt.h"
#include "latency.h"

#define SESSIONS	2	/* of a client: one is computed while the other is refilled */

/* What a client tells, in memory that all share */
struct client_state {
	uint64_t tokens;	/* computed so far; atomic */
	int ret;
	struct bitnet_error err;
};

/**
 * struct load - running clients
 * @state:	one for each, shared
 * @ready:	pipe; a client writes a byte when it has had a first result, and closes its end
 */
struct load {
	unsigned int n;
	pid_t pid[LOAD_MAX_CLIENTS];
	struct client_state *state;
	int ready[2];
};

/* ---- what the user says ---------------------------------------------------------------------- */

static const char *const work_names[] = {
	[LOAD_PREFILL] = "prefill", [LOAD_DECODE] = "decode", NULL
};

static int index_of(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

static int parse_group(char *text, struct load_group *g, struct bitnet_error *err)
{
	const char *class_name = strsep(&text, ":"), *clients = strsep(&text, ":");
	const char *work = strsep(&text, ":");
	uint64_t n;
	int i;

	g->job_class = index_of(class_names, class_name);
	if (g->job_class < 0 || g->job_class == BITNET_CLASS_REALTIME)
		return bitnet_error_set(err, EINVAL,
					"--load: '%s' is neither interactive nor batch", class_name);
	if (!clients || args_number(clients, &n) || !n || n > LOAD_MAX_CLIENTS)
		return bitnet_error_set(err, EINVAL, "--load: %s:N: N is from 1 to %d", class_name,
					LOAD_MAX_CLIENTS);
	g->clients = n;
	i = work ? index_of(work_names, work) : LOAD_PREFILL;
	if (i < 0 || text)
		return bitnet_error_set(err, EINVAL, "--load: '%s' is neither prefill nor decode",
					i < 0 ? work : text);
	g->work = i;
	return 0;
}

int load_parse(const char *text, struct load_spec *spec, struct bitnet_error *err)
{
	char *copy = strdup(text), *rest = copy, *word;
	unsigned int clients = 0;
	int ret = 0;

	memset(spec, 0, sizeof(*spec));
	if (!copy)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	while (!ret && (word = strsep(&rest, ","))) {
		if (spec->n == LOAD_MAX_GROUPS)
			ret = bitnet_error_set(err, EINVAL, "--load: at most %d groups",
					       LOAD_MAX_GROUPS);
		else
			ret = parse_group(word, &spec->group[spec->n], err);
		if (!ret)
			clients += spec->group[spec->n++].clients;
	}
	if (!ret && clients > LOAD_MAX_CLIENTS)
		ret = bitnet_error_set(err, EINVAL, "--load: %u clients are too many: at most %d",
				       clients, LOAD_MAX_CLIENTS);
	if (ret == -EINVAL && !err->hint[0])
		bitnet_error_hint(err, "CLASS:N[:prefill|:decode],... as in --load batch:8:prefill");
	free(copy);
	return ret;
}

const char *load_text(const struct load_spec *spec, char *text, size_t size)
{
	size_t len = 0;

	snprintf(text, size, "none");
	for (unsigned int i = 0; i < spec->n && len < size; i++) {
		const struct load_group *g = &spec->group[i];

		len += snprintf(text + len, size - len, "%s%u %s client%s (%s)", i ? ", " : "",
				g->clients, class_names[g->job_class], g->clients == 1 ? "" : "s",
				work_names[g->work]);
	}
	return text;
}

/* ---- one client ------------------------------------------------------------------------------ */

struct client {
	struct bitnet_engine *engine;
	uint32_t session[SESSIONS];
	uint32_t *input;
	struct bitnet_job job;	/* but for session and user_data */
};

static int client_open(struct client *c, const struct load_group *g, const struct load_target *t,
		       unsigned int nr, struct bitnet_error *err)
{
	uint32_t model;
	int ret;

	c->input = malloc(t->tokens * sizeof(*c->input));
	if (!c->input)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	/* other tokens in each client, in case some are cheaper than others */
	for (uint32_t i = 0; i < t->tokens; i++)
		c->input[i] = (uint64_t)(i + 1) * (2 * nr + 7919) % t->vocab;
	c->job = (struct bitnet_job){
		.kind = BITNET_JOB_GENERATE,
		.job_class = g->job_class,
		.input = (uintptr_t)c->input,
		.input_count = g->work == LOAD_PREFILL ? t->tokens : 1,
		.max_tokens = g->work == LOAD_PREFILL ? 1 : t->tokens,
	};
	ret = bitnet_engine_open(&t->options, &c->engine, err);
	if (ret)
		return ret;
	if (t->shared)
		ret = bitnet_engine_model_open(c->engine, t->shared, &model, err);
	else
		ret = bitnet_engine_model_load(c->engine, t->image, NULL, 0, &model, err);
	for (unsigned int i = 0; i < SESSIONS && !ret; i++)
		ret = bitnet_engine_session_open(c->engine, model, t->tokens + 1, &c->session[i],
						 err);
	return ret;
}

static int client_submit(struct client *c, unsigned int i, struct bitnet_error *err)
{
	struct bitnet_job job = c->job;

	job.session_id = c->session[i];
	job.user_data = i;
	return bitnet_engine_submit(c->engine, &job, 1, NULL, err);
}

/* Account for one entry; a job that is done is followed by the next of its session. */
static int client_take(struct client *c, const struct bitnet_ring_entry *e, struct client_state *s,
		       struct bitnet_error *err)
{
	int ret;

	if (e->kind == BITNET_ENTRY_TOKEN) {
		__atomic_fetch_add(&s->tokens, e->n_tokens ? 1 : c->job.input_count,
				   __ATOMIC_RELAXED);
		return 0;
	}
	if (e->error)
		return bitnet_error_set(err, e->error, "a job of the load failed: %s",
					bitnet_strerror(e->error));
	ret = bitnet_engine_session_rewind(c->engine, c->session[e->user_data], 0, err);
	return ret ? ret : client_submit(c, e->user_data, err);
}

static int client_loop(struct client *c, struct client_state *s, int ready,
		       struct bitnet_error *err)
{
	struct bitnet_ring_entry e;
	bool told = false;
	int ret = 0;

	for (unsigned int i = 0; i < SESSIONS && !ret; i++)
		ret = client_submit(c, i, err);
	while (!ret) {
		if (!bitnet_engine_next(c->engine, &e)) {
			ret = bitnet_engine_wait(c->engine, 1, -1);
			ret = ret < 0 && ret != -EINTR ?
				bitnet_error_set(err, ret, "the load cannot wait: %s",
						 bitnet_strerror(ret)) : 0;
			continue;
		}
		ret = client_take(c, &e, s, err);
		if (!told) {
			told = write(ready, "", 1) == 1;
			close(ready);
			if (!told)
				ret = bitnet_error_set(err, errno, "pipe: %s", strerror(errno));
		}
	}
	return ret;
}

static void client_run(const struct load_group *g, const struct load_target *t, unsigned int nr,
		       struct client_state *s, int ready, pid_t parent)
{
	struct client c = { 0 };
	int fd = bitnet_engine_fd(t->engine);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* it may have died before that */
	if (getppid() != parent)
		_exit(1);
	/* Ctrl-C reaches the whole group: the parent ends the load when it has stopped measuring */
	signal(SIGINT, SIG_IGN);
	if (fd >= 0)
		close(fd);
	s->ret = client_open(&c, g, t, nr, &s->err);
	if (!s->ret)
		s->ret = client_loop(&c, s, ready, &s->err);
	_exit(1);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The error of a client that has ended; it was not to. */
static int client_error(const struct load *l, struct bitnet_error *err)
{
	for (unsigned int i = 0; i < l->n; i++) {
		if (!l->state[i].ret)
			continue;
		if (err)
			*err = l->state[i].err;
		return l->state[i].ret;
	}
	return bitnet_error_set(err, EIO, "a process of the load died");
}

/* Has the client ended by itself? Its pid is then 0. */
static bool reap(pid_t *pid)
{
	if (!*pid || waitpid(*pid, NULL, WNOHANG) != *pid)
		return false;
	*pid = 0;
	return true;
}

static int start_clients(struct load *l, const struct load_spec *spec,
			 const struct load_target *target, struct bitnet_error *err)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	for (unsigned int g = 0; g < spec->n; g++) {
		for (unsigned int i = 0; i < spec->group[g].clients; i++) {
			pid = fork();
			if (pid < 0)
				return bitnet_error_set(err, errno, "cannot start a process: %s",
							strerror(errno));
			if (!pid) {
				close(l->ready[0]);
				client_run(&spec->group[g], target, l->n, &l->state[l->n],
					   l->ready[1], parent);
			}
			l->pid[l->n++] = pid;
		}
	}
	return 0;
}

/* Who dies does not write, and once nobody is left who might, the pipe has ended. */
static int await_clients(struct load *l, struct bitnet_error *err)
{
	unsigned int ready = 0;
	ssize_t n;
	char byte;
	int ret;

	close(l->ready[1]);
	l->ready[1] = -1;
	while (ready < l->n) {
		if (interrupt_pending())
			return bitnet_error_set(err, EINTR, "interrupted");
		n = read(l->ready[0], &byte, 1);
		if (n == 1)
			ready++;
		else if (!n)
			return client_error(l, err);
		else if (errno != EINTR)
			return bitnet_error_set(err, errno, "pipe: %s", strerror(errno));
		ret = load_check(l, err);
		if (ret)
			return ret;
	}
	return 0;
}

int load_start(const struct load_spec *spec, const struct load_target *target, struct load **load,
	       struct bitnet_error *err)
{
	struct load *l;
	int ret;

	*load = NULL;
	if (!spec->n)
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	l->ready[0] = l->ready[1] = -1;
	l->state = mmap(NULL, LOAD_MAX_CLIENTS * sizeof(*l->state), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->state == MAP_FAILED) {
		free(l);
		return bitnet_error_set(err, ENOMEM, "out of memory");
	}
	ret = pipe(l->ready) ? bitnet_error_set(err, errno, "pipe: %s", strerror(errno)) : 0;
	if (!ret)
		ret = start_clients(l, spec, target, err);
	if (!ret)
		ret = await_clients(l, err);
	if (ret) {
		load_stop(l, NULL);
		return ret;
	}
	*load = l;
	return 0;
}

uint64_t load_tokens(const struct load *l)
{
	uint64_t tokens = 0;

	for (unsigned int i = 0; l && i < l->n; i++)
		tokens += __atomic_load_n(&l->state[i].tokens, __ATOMIC_RELAXED);
	return tokens;
}

int load_check(struct load *l, struct bitnet_error *err)
{
	for (unsigned int i = 0; l && i < l->n; i++)
		if (reap(&l->pid[i]))
			return client_error(l, err);
	return 0;
}

int load_stop(struct load *l, struct bitnet_error *err)
{
	int ret;

	if (!l)
		return 0;
	ret = load_check(l, err);
	for (unsigned int i = 0; i < l->n; i++)
		if (l->pid[i])
			kill(l->pid[i], SIGKILL);
	for (unsigned int i = 0; i < l->n; i++)
		while (l->pid[i] && waitpid(l->pid[i], NULL, 0) < 0 && errno == EINTR)
			;
	for (int i = 0; i < 2; i++)
		if (l->ready[i] >= 0)
			close(l->ready[i]);
	munmap(l->state, LOAD_MAX_CLIENTS * sizeof(*l->state));
	free(l);
	return ret;
}

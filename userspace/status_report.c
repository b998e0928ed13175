// SPDX-License-Identifier: GPL-2.0
/* status_report.c - see status_report.h */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "out.h"
#include "status_report.h"

#define SECTION_GOAL_NS		50000	/* what no section is meant to exceed, see the README */
#define NEAR_LIMIT_PERCENT	95

struct report {
	const struct snapshot *now, *before;
	struct status_problem *problems;
	unsigned int n;
};

__attribute__((format(printf, 3, 4)))
static void add(struct report *r, const char *code, const char *fmt, ...)
{
	struct status_problem *p;
	va_list ap;

	if (r->n == STATUS_MAX_PROBLEMS)
		return;
	p = &r->problems[r->n++];
	p->code = code;
	va_start(ap, fmt);
	vsnprintf(p->message, sizeof(p->message), fmt, ap);
	va_end(ap);
}

static unsigned long long value(const struct record *r, int attr)
{
	return r->value[attr];
}

static void check_workers(struct report *r)
{
	const struct records *workers = &r->now->list[SNAPSHOT_WORKERS];
	unsigned int run = 0;

	for (size_t i = 0; i < workers->n; i++) {
		if (!value(&workers->r[i], BITNET_A_ONLINE))
			add(r, "cpu_offline", "CPU %llu is offline: its worker computes nothing",
			    value(&workers->r[i], BITNET_A_CPU));
		else if (!value(&workers->r[i], BITNET_A_WORKER_PARKED))
			run++;
	}
	if (workers->n && !run)
		add(r, "no_worker", "no worker can run: jobs wait until a CPU of theirs is back");
}

static void check_throttling(struct report *r)
{
	const struct records *workers = &r->now->list[SNAPSHOT_WORKERS];

	for (size_t i = 0; i < workers->n; i++)
		if (value(&workers->r[i], BITNET_A_THROTTLED_NS))
			add(r, "throttled",
			    "the worker of CPU %llu was kept from running for %.1f ms in all: see sched_rt_runtime_us",
			    value(&workers->r[i], BITNET_A_CPU),
			    value(&workers->r[i], BITNET_A_THROTTLED_NS) / 1e6);
}

static void check_progress(struct report *r)
{
	unsigned long long jobs = value(&r->now->totals, BITNET_A_JOBS), parked = 0;
	const struct records *files = &r->now->list[SNAPSHOT_FILES];

	for (size_t i = 0; i < files->n; i++)
		parked += value(&files->r[i], BITNET_A_PARKED);
	if (!r->before || files->error || jobs <= parked ||
	    value(&r->before->totals, BITNET_A_JOBS) < jobs ||
	    value(&r->before->totals, BITNET_A_CPU_NS) != value(&r->now->totals, BITNET_A_CPU_NS))
		return;
	add(r, "stalled", "%llu jobs wait and nothing was computed meanwhile", jobs - parked);
}

static void check_files(struct report *r)
{
	const struct records *files = &r->now->list[SNAPSHOT_FILES];
	const struct record *f;

	for (size_t i = 0; i < files->n; i++) {
		f = &files->r[i];
		if (value(f, BITNET_A_PARKED))
			add(r, "parked",
			    "process %llu (%s) does not take its tokens: %llu of its %llu jobs are parked",
			    value(f, BITNET_A_PID), f->name, value(f, BITNET_A_PARKED),
			    value(f, BITNET_A_JOBS));
		if (value(f, BITNET_A_LATE))
			add(r, "late", "process %llu (%s): %llu of %llu realtime tokens were late",
			    value(f, BITNET_A_PID), f->name, value(f, BITNET_A_LATE),
			    value(f, BITNET_A_REALTIME_TOKENS));
	}
}

static void check_limits(struct report *r)
{
	static const struct {
		int used, limit;
		const char *what;
	} limits[] = {
		{ BITNET_A_SESSIONS, BITNET_A_MAX_SESSIONS, "sessions" },
		{ BITNET_A_JOBS, BITNET_A_MAX_JOBS, "jobs" },
		{ BITNET_A_KV_BYTES, BITNET_A_MAX_KV_BYTES, "context memory" },
		{ BITNET_A_PINNED_BYTES, BITNET_A_MAX_PINNED_BYTES, "pinned memory" },
		{ BITNET_A_REALTIME_PPM, BITNET_A_MAX_REALTIME_PPM, "share of realtime jobs" },
	};
	const struct records *users = &r->now->list[SNAPSHOT_USERS];
	const struct record *u;

	for (size_t i = 0; i < users->n; i++) {
		u = &users->r[i];
		for (size_t k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
			/* in floating point: a limit may be all of 64 bits */
			if (value(u, limits[k].used) &&
			    record_has(u, limits[k].limit) &&
			    value(u, limits[k].used) * 100.0 >=
				    value(u, limits[k].limit) * (double)NEAR_LIMIT_PERCENT)
				add(r, "limit", "user %s has used up the %s allowed to one user",
				    u->user, limits[k].what);
		}
	}
}

static void check_module(struct report *r, const char *tool_version)
{
	unsigned long long section = value(&r->now->totals, BITNET_A_SECTION_MAX_NS);

	if (section > SECTION_GOAL_NS)
		add(r, "section",
		    "the longest section took %.1f us, %d us is the goal (other guests of a host count too)",
		    section / 1e3, SECTION_GOAL_NS / 1000);
	if (strcmp(r->now->totals.name, tool_version))
		add(r, "version", "the module is %s and this tool %s: install both anew",
		    r->now->totals.name, tool_version);
}

unsigned int status_problems(const struct snapshot *now, const struct snapshot *before,
			     const char *tool_version, struct status_problem *problems)
{
	struct report r = { .now = now, .before = before, .problems = problems };

	check_workers(&r);
	check_progress(&r);
	check_files(&r);
	check_throttling(&r);
	check_limits(&r);
	check_module(&r, tool_version);
	return r.n;
}

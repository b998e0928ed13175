// SPDX-License-Identifier: GPL-2.0
/* cmd_status.c - what the device is doing */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "status_report.h"
#include "top_text.h"

struct status_values {
	uint32_t interval_ppm;
};

const struct arg status_args[] = {
	ARG("interval", 0, ARG_PPM, struct status_values, interval_ppm, "SECONDS",
	    "how long to watch for the rates; 0: not at all (0.5)", .max = 3600ULL * BITNET_PPM),
	{ 0 }
};

static unsigned long long total(const struct snapshot *s, int attr)
{
	return s->totals.value[attr];
}

/* Does the module tell this user what others have and do? */
static bool tells_totals(const struct snapshot *s)
{
	return record_has(&s->totals, BITNET_A_STEPS);
}

static const char *plural(unsigned long long n)
{
	return n == 1 ? "" : "s";
}

static void print_module(const struct snapshot *s)
{
	printf("module       %s, interface %llu, %s\n", s->totals.name, total(s, BITNET_A_ABI),
	       s->totals.variant);
}

static void print_workers(const struct snapshot *s)
{
	const struct records *workers = &s->list[SNAPSHOT_WORKERS];
	const struct record *r;

	printf("workers      %llu", total(s, BITNET_A_WORKERS));
	for (size_t i = 0; i < workers->n; i++) {
		r = &workers->r[i];
		printf("%s%llu%s", i ? ", " : workers->n > 1 ? " on CPUs " : " on CPU ",
		       (unsigned long long)r->value[BITNET_A_CPU],
		       !r->value[BITNET_A_ONLINE]	? " (offline)" :
		       r->value[BITNET_A_WORKER_PARKED] ? " (rests)" : "");
	}
	putchar('\n');
}

static void print_memory(const struct snapshot *s)
{
	unsigned long long models = s->list[SNAPSHOT_MODELS].n;

	/*
	 * the totals count handles, and a shared model may have none; without rights only shared
	 * ones
	 */
	if (s->list[SNAPSHOT_MODELS].error || models < total(s, BITNET_A_MODELS))
		models = total(s, BITNET_A_MODELS);
	printf("memory       %s pinned for %llu model%s, %s of context for %llu session%s\n",
	       out_size(total(s, BITNET_A_PINNED_BYTES)), models, plural(models),
	       out_size(total(s, BITNET_A_KV_BYTES)), total(s, BITNET_A_SESSIONS),
	       plural(total(s, BITNET_A_SESSIONS)));
}

static void print_work(const struct top_frame *f)
{
	const struct snapshot *s = f->now;
	char p50[24], p99[24];

	printf("now          %llu job%s, %llu open file%s\n", total(s, BITNET_A_JOBS),
	       plural(total(s, BITNET_A_JOBS)), total(s, BITNET_A_FILES),
	       plural(total(s, BITNET_A_FILES)));
	if (!f->before)
		return;
	printf("rate         %.1f tokens/s in, %.1f tokens/s out, %.2f CPUs busy\n",
	       top_rate(f, BITNET_A_TOKENS_IN), top_rate(f, BITNET_A_TOKENS_OUT),
	       top_rate(f, BITNET_A_CPU_NS) / 1e9);
	if (isnan(top_quantile(f, 0.5)))
		return;
	top_duration(p50, sizeof(p50), top_quantile(f, 0.5));
	top_duration(p99, sizeof(p99), top_quantile(f, 0.99));
	printf("token time   p50 %s, p99 %s\n", p50, p99);
}

static void print_history(const struct snapshot *s)
{
	if (tells_totals(s)) {
		printf("since load   %llu tokens in, %llu out; ", total(s, BITNET_A_TOKENS_IN),
		       total(s, BITNET_A_TOKENS_OUT));
		printf("jobs: %llu done, %llu failed, %llu cancelled\n",
		       total(s, BITNET_A_JOBS_DONE), total(s, BITNET_A_JOBS_FAILED),
		       total(s, BITNET_A_JOBS_CANCELLED));
		printf("             %llu steps, %.1f s of CPU, ", total(s, BITNET_A_STEPS),
		       total(s, BITNET_A_CPU_NS) / 1e9);
	} else {
		printf("since load   ");
	}
	printf("longest section %.1f us\n", total(s, BITNET_A_SECTION_MAX_NS) / 1e3);
	if (record_has(&s->totals, BITNET_A_BATCH_FLOOR))
		printf("batch floor  %g %% of the time for batch jobs while any waits\n",
		       total(s, BITNET_A_BATCH_FLOOR) * 100.0 / BITNET_PPM);
}

static void print_problems(const struct status_problem *problems, unsigned int n)
{
	if (!n)
		printf("problems     %snone%s\n", out_style(STYLE_GOOD), out_style(STYLE_PLAIN));
	for (unsigned int i = 0; i < n; i++)
		printf("%s%s%s%s\n", i ? "             " : "problems     ", out_style(STYLE_BAD),
		       problems[i].message, out_style(STYLE_PLAIN));
}

static void print_models(const struct snapshot *s)
{
	const struct records *models = &s->list[SNAPSHOT_MODELS];
	const struct record *r;

	if (!models->n)
		return;
	printf("\n%s%-32s %9s %-7s %7s %8s%s\n", out_style(STYLE_BOLD), "MODEL", "SIZE", "KIND",
	       "HANDLES", "SESSIONS", out_style(STYLE_PLAIN));
	for (size_t i = 0; i < models->n; i++) {
		r = &models->r[i];
		printf("%-32s %9s %-7s %7llu %8llu\n", *r->name ? r->name : "(no name)",
		       out_size(r->value[BITNET_A_MODEL_BYTES]),
		       r->value[BITNET_A_SHARED] ? "shared" : "private",
		       (unsigned long long)r->value[BITNET_A_MODEL_HANDLES],
		       (unsigned long long)r->value[BITNET_A_MODEL_SESSIONS]);
	}
}

static void print_files(const struct snapshot *s)
{
	const struct records *files = &s->list[SNAPSHOT_FILES];
	const struct record *f;

	if (!files->n)
		return;
	printf("\n%s%7s %-8s %-16s %6s %8s %4s %6s %9s %9s %9s%s\n", out_style(STYLE_BOLD), "PID",
	       "USER", "COMMAND", "MODELS", "SESSIONS", "JOBS", "PARKED", "TOKENS-IN", "OUT",
	       "CPU-MS", out_style(STYLE_PLAIN));
#define N(attr) ((unsigned long long)f->value[attr])
	for (size_t i = 0; i < files->n; i++) {
		f = &files->r[i];
		printf("%7llu %-8s %-16s %6llu %8llu %4llu %6llu %9llu %9llu %9llu\n",
		       N(BITNET_A_PID), f->user, f->name, N(BITNET_A_MODELS), N(BITNET_A_SESSIONS),
		       N(BITNET_A_JOBS), N(BITNET_A_PARKED), N(BITNET_A_TOKENS_IN),
		       N(BITNET_A_TOKENS_OUT), N(BITNET_A_CPU_NS) / 1000000);
	}
#undef N
}

static void print_plain(const struct top_frame *f, const struct status_problem *problems,
			unsigned int n)
{
	print_module(f->now);
	print_workers(f->now);
	if (tells_totals(f->now)) {
		print_memory(f->now);
		print_work(f);
	} else {
		printf("in use       is told to root only\n");
	}
	print_history(f->now);
	print_problems(problems, n);
	print_models(f->now);
	print_files(f->now);
}

static json_t *problems_json(const struct status_problem *problems, unsigned int n)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:o}", "code", problems[i].code,
						      "message",
						      out_string(problems[i].message,
								 strlen(problems[i].message))));
	return list;
}

static int report(const struct snapshot *now, const struct snapshot *before)
{
	const struct top_order order = { .list = SNAPSHOT_FILES };
	struct status_problem problems[STATUS_MAX_PROBLEMS];
	unsigned int n = status_problems(now, before, BITNET_VERSION, problems);
	struct top_frame frame = { 0 };
	struct bitnet_error err;
	json_t *j;

	if (out.json) {
		j = top_json(now, before);
		json_object_set_new(j, "problems", problems_json(problems, n));
		out_json(j);
		return OUT_OK;
	}
	if (top_frame_make(&frame, now, before, &order)) {
		bitnet_error_set(&err, ENOMEM, "out of memory");
		return out_error(&err);
	}
	print_plain(&frame, problems, n);
	top_frame_free(&frame);
	return OUT_OK;
}

/* No netlink: the module is not there, or this is a container; the device tells which. */
static int no_netlink(const struct bitnet_error *why)
{
	const struct bitnet_engine_options options = {
		.kind = BITNET_ENGINE_DEVICE,
		.ring_entries = 2,
	};
	struct bitnet_engine *engine;
	struct bitnet_error err = { 0 };

	if (bitnet_engine_open(&options, &engine, &err))
		return out_error(&err);
	bitnet_engine_close(engine);
	return out_error(why);
}

/* Two snapshots, or one without an interval. */
static int watch(struct bitnet_nl *nl, uint32_t interval_ppm, struct snapshot *before,
		 struct snapshot *now, struct bitnet_error *err)
{
	const struct timespec pause = {
		.tv_sec = interval_ppm / BITNET_PPM,
		.tv_nsec = interval_ppm % BITNET_PPM * 1000L,
	};
	int ret;

	if (interval_ppm) {
		ret = snapshot_collect(nl, before, err);
		if (ret)
			return ret;
		nanosleep(&pause, NULL);
	}
	return snapshot_collect(nl, now, err);
}

int cmd_status(const struct command *self, int argc, char **argv)
{
	struct status_values v = { .interval_ppm = BITNET_PPM / 2 };
	struct snapshot before = { 0 }, now = { 0 };
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return no_netlink(&err);
	ret = watch(nl, v.interval_ppm, &before, &now, &err);
	bitnet_nl_close(nl);
	code = ret ? out_error(&err) : report(&now, v.interval_ppm ? &before : NULL);
	snapshot_free(&before);
	snapshot_free(&now);
	return code;
}

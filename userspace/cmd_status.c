// SPDX-License-Identifier: GPL-2.0
/* cmd_status.c - what the device is doing */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "model.h"

struct status_values {
	uint32_t interval_ppm;
};

const struct arg status_args[] = {
	ARG("interval", 0, ARG_PPM, struct status_values, interval_ppm, "SECONDS",
	    "how long to watch for the rates; 0: not at all (0.5)", .max = 3600ULL * BITNET_PPM),
	{ 0 }
};

struct totals {
	char version[32], variant[BITNET_VARIANT_BYTES];
	uint64_t value[BITNET_A_MAX + 1];
	uint64_t at_ns;
};

static int on_info(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	struct totals *t = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	t->at_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	snprintf(t->version, sizeof(t->version), "%s", bitnet_nl_string(attrs, BITNET_A_VERSION));
	snprintf(t->variant, sizeof(t->variant), "%s", bitnet_nl_string(attrs, BITNET_A_VARIANT));
	for (int a = 1; a <= BITNET_A_MAX; a++)
		t->value[a] = bitnet_nl_number(attrs, a);
	return 0;
}

static int on_file(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	static const struct { int attr; const char *name; } numbers[] = {
		{ BITNET_A_PID, "pid" }, { BITNET_A_UID, "uid" }, { BITNET_A_MODELS, "models" },
		{ BITNET_A_SESSIONS, "sessions" }, { BITNET_A_JOBS, "jobs" },
		{ BITNET_A_PARKED, "parked" }, { BITNET_A_TOKENS_IN, "tokens_in" },
		{ BITNET_A_TOKENS_OUT, "tokens_out" }, { BITNET_A_CPU_NS, "cpu_ns" },
	};
	const char *comm = bitnet_nl_string(attrs, BITNET_A_COMM);
	json_t *j = json_object();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(j, numbers[i].name,
				    json_integer(bitnet_nl_number(attrs, numbers[i].attr)));
	json_object_set_new(j, "comm", out_string(comm, strlen(comm)));
	json_array_append_new(arg, j);
	return 0;
}

static double rate(const struct totals *a, const struct totals *b, int attr)
{
	double seconds = (b->at_ns - a->at_ns) / 1e9;

	return seconds > 0 ? (b->value[attr] - a->value[attr]) / seconds : 0;
}

static json_t *status_json(const struct totals *a, const struct totals *b, json_t *files)
{
	static const struct { int attr; const char *name; } totals[] = {
		{ BITNET_A_MODELS, "models" }, { BITNET_A_SESSIONS, "sessions" },
		{ BITNET_A_JOBS, "jobs" }, { BITNET_A_FILES, "files_open" },
		{ BITNET_A_TOKENS_IN, "tokens_in" }, { BITNET_A_TOKENS_OUT, "tokens_out" },
		{ BITNET_A_JOBS_DONE, "jobs_done" }, { BITNET_A_JOBS_FAILED, "jobs_failed" },
		{ BITNET_A_JOBS_CANCELLED, "jobs_cancelled" },
		{ BITNET_A_PINNED_BYTES, "pinned_bytes" }, { BITNET_A_KV_BYTES, "kv_bytes" },
		{ BITNET_A_CPU_NS, "cpu_ns" }, { BITNET_A_STEPS, "steps" },
		{ BITNET_A_SECTION_MAX_NS, "section_max_ns" },
	};
	json_t *j, *t = json_object();

	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
		json_object_set_new(t, totals[i].name, json_integer(b->value[totals[i].attr]));
	j = json_pack("{s:s, s:i, s:s, s:i, s:o}", "module_version", b->version, "abi",
		      (int)b->value[BITNET_A_ABI], "variant", b->variant, "workers",
		      (int)b->value[BITNET_A_WORKERS], "totals", t);
	if (b->at_ns != a->at_ns)
		json_object_set_new(j, "rates",
				    json_pack("{s:f, s:f, s:f}", "tokens_in_per_s",
					      rate(a, b, BITNET_A_TOKENS_IN), "tokens_out_per_s",
					      rate(a, b, BITNET_A_TOKENS_OUT), "cpus_busy",
					      rate(a, b, BITNET_A_CPU_NS) / 1e9));
	if (files)
		json_object_set(j, "files", files);
	return j;
}

static unsigned long long ull(const struct totals *t, int attr)
{
	return t->value[attr];
}

static int count_model(void *arg, const struct shared_model *s)
{
	++*(unsigned int *)arg;
	return 0;
}

static void print_plain(const struct totals *a, const struct totals *b, const json_t *files)
{
	unsigned int models = 0;
	const json_t *f;
	size_t i;

	printf("module       %s, interface %llu, %s, %llu worker%s\n", b->version,
	       ull(b, BITNET_A_ABI), b->variant, ull(b, BITNET_A_WORKERS),
	       b->value[BITNET_A_WORKERS] == 1 ? "" : "s");
	/*
	 * the totals count handles, and a shared model may have none; without rights only shared
	 * ones
	 */
	if (shared_models_each(count_model, &models, NULL) || models < b->value[BITNET_A_MODELS])
		models = b->value[BITNET_A_MODELS];
	printf("now          %u models (%s pinned), %llu sessions (%s), %llu jobs, %llu open files\n",
	       models, out_size(b->value[BITNET_A_PINNED_BYTES]), ull(b, BITNET_A_SESSIONS),
	       out_size(b->value[BITNET_A_KV_BYTES]), ull(b, BITNET_A_JOBS),
	       ull(b, BITNET_A_FILES));
	if (b->at_ns != a->at_ns)
		printf("rate         %.1f tokens/s in, %.1f tokens/s out, %.2f CPUs busy\n",
		       rate(a, b, BITNET_A_TOKENS_IN), rate(a, b, BITNET_A_TOKENS_OUT),
		       rate(a, b, BITNET_A_CPU_NS) / 1e9);
	printf("since load   %llu tokens in, %llu out; jobs: %llu done, %llu failed, %llu cancelled\n",
	       ull(b, BITNET_A_TOKENS_IN), ull(b, BITNET_A_TOKENS_OUT), ull(b, BITNET_A_JOBS_DONE),
	       ull(b, BITNET_A_JOBS_FAILED), ull(b, BITNET_A_JOBS_CANCELLED));
	printf("             %llu steps, %.1f s of CPU, longest section %.1f us\n",
	       ull(b, BITNET_A_STEPS), b->value[BITNET_A_CPU_NS] / 1e9,
	       b->value[BITNET_A_SECTION_MAX_NS] / 1e3);
	if (!files || !json_array_size(files))
		return;
	printf("\n%s%7s %6s %-16s %6s %8s %4s %6s %9s %9s %9s%s\n", out_style(STYLE_BOLD), "PID",
	       "UID", "COMMAND", "MODELS", "SESSIONS", "JOBS", "PARKED", "TOKENS-IN", "OUT",
	       "CPU-MS", out_style(STYLE_PLAIN));
#define N(key) ((long long)json_integer_value(json_object_get(f, key)))
	json_array_foreach(files, i, f)
		printf("%7lld %6lld %-16s %6lld %8lld %4lld %6lld %9lld %9lld %9lld\n", N("pid"),
		       N("uid"), json_string_value(json_object_get(f, "comm")), N("models"),
		       N("sessions"), N("jobs"), N("parked"), N("tokens_in"), N("tokens_out"),
		       N("cpu_ns") / 1000000);
#undef N
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

int cmd_status(const struct command *self, int argc, char **argv)
{
	struct status_values v = { .interval_ppm = BITNET_PPM / 2 };
	struct totals a = { 0 }, b = { 0 };
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	struct timespec pause;
	json_t *files;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return no_netlink(&err);
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_INFO, on_info, &a, &err);
	b = a;
	if (!ret && v.interval_ppm) {
		pause.tv_sec = v.interval_ppm / BITNET_PPM;
		pause.tv_nsec = v.interval_ppm % BITNET_PPM * 1000L;
		nanosleep(&pause, NULL);
		ret = bitnet_nl_query(nl, BITNET_CMD_GET_INFO, on_info, &b, &err);
	}
	if (ret) {
		bitnet_nl_close(nl);
		return out_error(&err);
	}
	/* who uses it is for the administrator only */
	files = json_array();
	if (bitnet_nl_query(nl, BITNET_CMD_GET_STATS, on_file, files, NULL)) {
		json_decref(files);
		files = NULL;
	}
	bitnet_nl_close(nl);
	if (out.json)
		out_json(status_json(&a, &b, files));
	else
		print_plain(&a, &b, files);
	json_decref(files);
	return OUT_OK;
}

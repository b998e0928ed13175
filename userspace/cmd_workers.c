// SPDX-License-Identifier: GPL-2.0
/* cmd_workers.c - the worker threads: which CPUs compute, and which rest */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"
#include "bitnetctl.h"

static int add_worker(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	bool parked = bitnet_nl_number(attrs, BITNET_A_WORKER_PARKED);
	bool online = bitnet_nl_number(attrs, BITNET_A_ONLINE);
	json_t *j;

#define N(attr) ((json_int_t)bitnet_nl_number(attrs, attr))
	j = json_pack("{s:I, s:s, s:b, s:b, s:I, s:I}", "cpu", N(BITNET_A_CPU), "state",
		      !online ? "offline" : parked ? "resting" : "computing", "parked", parked,
		      "online", online, "section_max_ns", N(BITNET_A_SECTION_MAX_NS),
		      "throttled_ns", N(BITNET_A_THROTTLED_NS));
	/* The administrator is told. */
	if (bitnet_nl_has(attrs, BITNET_A_CPU_NS))
		json_object_set_new(j, "cpu_ns", json_integer(N(BITNET_A_CPU_NS)));
	json_array_append_new(arg, j);
#undef N
	return 0;
}

static void print_plain(const json_t *workers)
{
	const json_t *w;
	char cpu_s[24];
	size_t i;

	printf("%s%5s %-10s %10s %14s %13s%s\n", out_style(STYLE_BOLD), "CPU", "STATE", "CPU-S",
	       "LONGEST-US", "THROTTLED-MS", out_style(STYLE_PLAIN));
#define N(key) ((long long)json_integer_value(json_object_get(w, key)))
	json_array_foreach(workers, i, w) {
		snprintf(cpu_s, sizeof(cpu_s), "%.1f", N("cpu_ns") / 1e9);
		printf("%5lld %-10s %10s %14.1f %13.1f\n", N("cpu"),
		       json_string_value(json_object_get(w, "state")),
		       json_object_get(w, "cpu_ns") ? cpu_s : "-", N("section_max_ns") / 1e3,
		       N("throttled_ns") / 1e6);
	}
#undef N
}

/* "all": the CPUs that have a worker, as a list. Its length is bounded by the number of CPUs. */
static char *list_all(const json_t *workers)
{
	size_t size = json_array_size(workers) * 12 + 1, len = 0, i;
	char *list = calloc(1, size);
	const json_t *w;

	if (!list)
		return NULL;
	json_array_foreach(workers, i, w)
		len += snprintf(list + len, size - len, "%s%lld", len ? "," : "",
				(long long)json_integer_value(json_object_get(w, "cpu")));
	return list;
}

static int set_workers(struct bitnet_nl *nl, const char *cpus, json_t *workers,
		       struct bitnet_error *err)
{
	char *all;
	int ret;

	if (strcmp(cpus, "all"))
		return bitnet_nl_set_workers(nl, cpus, err);
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_WORKERS, add_worker, workers, err);
	if (ret)
		return ret;
	all = list_all(workers);
	if (!all)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	json_array_clear(workers);
	ret = bitnet_nl_set_workers(nl, all, err);
	free(all);
	return ret;
}

int cmd_workers(const struct command *self, int argc, char **argv)
{
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	int operands, code, ret;
	json_t *workers;

	code = command_parse(self, argc, argv, NULL, &operands);
	if (code >= 0)
		return code;
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return out_error(&err);
	workers = json_array();
	if (operands)
		ret = set_workers(nl, argv[1], workers, &err);
	if (!ret)
		ret = bitnet_nl_query(nl, BITNET_CMD_GET_WORKERS, add_worker, workers, &err);
	bitnet_nl_close(nl);
	if (ret)
		code = out_error(&err);
	else
		code = OUT_OK;
	if (!ret && out.json)
		out_json(json_pack("{s:O}", "workers", workers));
	else if (!ret)
		print_plain(workers);
	json_decref(workers);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tracing.h - recording the module's tracepoints and reading them
 */
#ifndef TESTS_DEVICE_TRACING_H
#define TESTS_DEVICE_TRACING_H

#include "device.h"

#define T_TRACING	"/sys/kernel/tracing/"

static inline bool t_can_trace(void)
{
	return !access(T_TRACING "events/bitnet/bitnet_sched_plan", F_OK);
}

static inline void t_trace_put(const char *path, const char *text)
{
	int err = t_put(path, text);

	if (err)
		bail("%s: %s", path, strerror(-err));
}

/*
 * Records all events of the module; @kb: of each CPU's buffer. Called, as t_trace_reset() is, while
 * no worker computes: emulated CPUs do not always see in time that a tracepoint's code has changed,
 * and die of it (see tests/vm/init). Recording may stop and go on at any time.
 */
static inline void t_trace_start(const char *kb)
{
	t_trace_put(T_TRACING "tracing_on", "0");
	t_trace_put(T_TRACING "trace", "");
	/* One order for all CPUs */
	t_trace_put(T_TRACING "trace_clock", "counter");
	t_trace_put(T_TRACING "buffer_size_kb", kb);
	t_trace_put(T_TRACING "events/bitnet/enable", "1");
	t_trace_put(T_TRACING "tracing_on", "1");
}

static inline void t_trace_stop(void)
{
	t_trace_put(T_TRACING "tracing_on", "0");
}

/* Goes on, with empty buffers */
static inline void t_trace_go_on(void)
{
	t_trace_put(T_TRACING "trace", "");
	t_trace_put(T_TRACING "tracing_on", "1");
}

/* Leaves it as it was found. */
static inline void t_trace_reset(void)
{
	t_trace_put(T_TRACING "events/bitnet/enable", "0");
	t_trace_put(T_TRACING "trace", "");
	t_trace_put(T_TRACING "trace_clock", "local");
	t_trace_put(T_TRACING "buffer_size_kb", "1408");
	t_trace_put(T_TRACING "tracing_on", "1");
}

/*
 * Calls @take with each event of the module, from its name on: "bitnet_token: file=1 ...". Return:
 * nothing was lost, for want of room in the buffers.
 */
static inline bool t_trace_read(void (*take)(const char *event))
{
	unsigned long long have = 0, written = 0;
	FILE *f = fopen(T_TRACING "trace", "re");
	char line[1024];

	if (!f)
		bail("trace: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, ": bitnet_");

		if (strstr(line, "entries-in-buffer"))
			sscanf(line, "# entries-in-buffer/entries-written: %llu/%llu", &have,
			       &written);
		if (at)
			take(at + 2);
	}
	fclose(f);
	return have && have == written;
}

/* The value of a field of an event; there must be one. */
static inline uint64_t t_trace_field(const char *event, const char *name)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), " %s=", name);
	at = strstr(event, key);
	if (!at)
		bail("no %s in: %s", name, event);
	return strtoull(at + strlen(key), NULL, 10);
}

#endif /* TESTS_DEVICE_TRACING_H */

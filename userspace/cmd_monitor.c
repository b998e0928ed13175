// SPDX-License-Identifier: GPL-2.0
/* cmd_monitor.c - events of the device, one line each */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"
#include "bitnetctl.h"

static const char *kind_name(uint64_t kind)
{
	switch (kind) {
	case BITNET_JOB_GENERATE:
		return "generate";
	case BITNET_JOB_SCORE:
		return "score";
	case BITNET_JOB_LINEAR:
		return "linear";
	default:
		return "?";
	}
}

static const char *event_name(int cmd)
{
	switch (cmd) {
	case BITNET_CMD_EVENT_MODEL_LOADED:
		return "model_loaded";
	case BITNET_CMD_EVENT_MODEL_UNLOADED:
		return "model_unloaded";
	case BITNET_CMD_EVENT_JOB_DONE:
		return "job_done";
	case BITNET_CMD_EVENT_JOB_FAILED:
		return "job_failed";
	case BITNET_CMD_UNSPEC:
		return "events_lost";
	default:
		return NULL;	/* of a newer module */
	}
}

static void event_json(const char *name, const struct bitnet_nl_attrs *attrs)
{
	static const struct { int attr; const char *name; } numbers[] = {
		{ BITNET_A_TIME_NS, "time_ns" }, { BITNET_A_MODEL_BYTES, "bytes" },
		{ BITNET_A_PID, "pid" }, { BITNET_A_UID, "uid" },
		{ BITNET_A_TOKENS_IN, "tokens_in" }, { BITNET_A_TOKENS_OUT, "tokens_out" },
		{ BITNET_A_CPU_NS, "cpu_ns" },
	};
	json_t *j = json_pack("{s:s}", "event", name);
	const char *text;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (bitnet_nl_has(attrs, numbers[i].attr))
			json_object_set_new(j, numbers[i].name,
					    json_integer(bitnet_nl_number(attrs, numbers[i].attr)));
	if (bitnet_nl_has(attrs, BITNET_A_NAME)) {
		text = bitnet_nl_string(attrs, BITNET_A_NAME);
		json_object_set_new(j, "name", out_string(text, strlen(text)));
	}
	if (bitnet_nl_has(attrs, BITNET_A_SHARED))
		json_object_set_new(j, "shared",
				    json_boolean(bitnet_nl_number(attrs, BITNET_A_SHARED)));
	if (bitnet_nl_has(attrs, BITNET_A_JOB_KIND))
		json_object_set_new(
			j, "kind",
			json_string(kind_name(bitnet_nl_number(attrs, BITNET_A_JOB_KIND))));
	if (bitnet_nl_number(attrs, BITNET_A_ERROR)) {
		text = strerrorname_np(-(int)(int64_t)bitnet_nl_number(attrs, BITNET_A_ERROR));
		json_object_set_new(j, "error", json_string(text ? text : "?"));
	}
	out_json_line(j);
}

static void event_plain(int cmd, const struct bitnet_nl_attrs *attrs)
{
#define N(attr) ((unsigned long long)bitnet_nl_number(attrs, attr))
	struct timespec now;
	struct tm tm;
	char text[256], at[16];
	int error = -(int)(int64_t)bitnet_nl_number(attrs, BITNET_A_ERROR), n;

	switch (cmd) {
	case BITNET_CMD_EVENT_MODEL_LOADED:
	case BITNET_CMD_EVENT_MODEL_UNLOADED:
		n = snprintf(text, sizeof(text), "model %s: %s '%s', %s, uid %llu",
			     cmd == BITNET_CMD_EVENT_MODEL_LOADED ? "loaded" : "unloaded",
			     N(BITNET_A_SHARED) ? "shared" : "private",
			     bitnet_nl_string(attrs, BITNET_A_NAME),
			     out_size(N(BITNET_A_MODEL_BYTES)), N(BITNET_A_UID));
		break;
	case BITNET_CMD_UNSPEC:
		n = snprintf(text, sizeof(text), "events were lost: too many at once");
		break;
	default:
		n = snprintf(
			text, sizeof(text),
			"job %s: pid %llu, uid %llu, %s, %llu tokens in, %llu out, %.1f ms of CPU",
			cmd == BITNET_CMD_EVENT_JOB_DONE ? "done" : "failed", N(BITNET_A_PID),
			N(BITNET_A_UID), kind_name(N(BITNET_A_JOB_KIND)), N(BITNET_A_TOKENS_IN),
			N(BITNET_A_TOKENS_OUT), N(BITNET_A_CPU_NS) / 1e6);
	}
	if (error && n > 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - n, ": %s", bitnet_strerror(-error));
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(at, sizeof(at), "%H:%M:%S", &tm);
	printf("%s.%03ld %s\n", at, now.tv_nsec / 1000000, text);
	out_text("", 0);
#undef N
}

static int on_event(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	const char *name = event_name(cmd);

	if (!name)
		return 0;
	if (out.json)
		event_json(name, attrs);
	else
		event_plain(cmd, attrs);
	return out_broken();
}

int cmd_monitor(const struct command *self, int argc, char **argv)
{
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	int code, ret;

	code = command_parse(self, argc, argv, NULL, NULL);
	if (code >= 0)
		return code;
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return out_error(&err);
	/* Ctrl-C ends it the default way: there is nothing to clean up */
	ret = bitnet_nl_listen(nl, on_event, NULL, &err);
	bitnet_nl_close(nl);
	return ret < 0 && ret != -EINTR ? out_error(&err) : OUT_OK;
}

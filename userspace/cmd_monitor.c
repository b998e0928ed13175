// SPDX-License-Identifier: GPL-2.0
/* cmd_monitor.c - events of the device, one line each */
#include <errno.h>
#include <limits.h>
#include <time.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "event.h"

#define NO_PID		UINT32_MAX
#define NO_TIMEOUT	UINT32_MAX

struct monitor_values {
	struct arg_strings events;
	const char *user, *model;
	uint32_t pid, min_ppm, count, timeout_ppm;
	bool errors;
};

const struct arg monitor_args[] = {
	ARG("event", 'e', ARG_STRINGS, struct monitor_values, events, "KIND",
	    "only this kind; may be given several times", .choices = event_names),
	ARG("user", 'u', ARG_STRING, struct monitor_values, user, "NAME",
	    "only of this user, a name or a number"),
	ARG("pid", 0, ARG_U32, struct monitor_values, pid, "PID", "only of this process",
	    .max = INT_MAX),
	ARG("model", 'm', ARG_STRING, struct monitor_values, model, "PATTERN",
	    "only of models with such a name, such as 'story*'", .completion = COMPLETE_NAME),
	ARG("min", 0, ARG_PPM, struct monitor_values, min_ppm, "SECONDS",
	    "only of so much CPU time, or so late, or blocked so long",
	    .max = 4000ULL * BITNET_PPM),
	ARG("errors", 0, ARG_FLAG, struct monitor_values, errors, NULL,
	    "only failed jobs, missed deadlines and overload"),
	ARG("count", 'n', ARG_U32, struct monitor_values, count, "N",
	    "end after so many events", .min = 1),
	ARG("timeout", 't', ARG_PPM, struct monitor_values, timeout_ppm, "SECONDS",
	    "end after so long; exit code 1 if --count asked for more events",
	    .max = 4000ULL * BITNET_PPM),
	{ 0 }
};

struct monitor {
	struct event_filter filter;
	uint32_t shown, count;
};

static int make_filter(const struct monitor_values *v, struct event_filter *filter,
		       struct bitnet_error *err)
{
	int ret = event_filter_kinds(filter, &v->events, err);

	if (!ret && v->user)
		ret = event_filter_user(filter, v->user, err);
	filter->has_pid = v->pid != NO_PID;
	filter->pid = v->pid;
	filter->model = v->model;
	filter->min_ns = v->min_ppm * 1000ULL;
	filter->errors = v->errors;
	return ret;
}

static void print_event(int cmd, const struct record *r)
{
	char text[256], at[16];
	struct timespec now;
	struct tm tm;

	event_text(cmd, r, text, sizeof(text));
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(at, sizeof(at), "%H:%M:%S", &tm);
	printf("%s.%03ld %s\n", at, now.tv_nsec / 1000000, text);
	out_text("", 0);
}

static int on_event(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	struct monitor *m = arg;
	struct record r;

	if (!event_name(cmd))
		return 0;
	record_read(&r, attrs);
	if (!event_passes(&m->filter, cmd, &r))
		return 0;
	if (out.json)
		out_json_line(event_json(cmd, &r));
	else
		print_event(cmd, &r);
	if (cmd != BITNET_CMD_UNSPEC)
		m->shown++;
	return out_broken() || (m->count && m->shown >= m->count);
}

int cmd_monitor(const struct command *self, int argc, char **argv)
{
	struct monitor_values v = { .pid = NO_PID, .timeout_ppm = NO_TIMEOUT };
	struct monitor m = { 0 };
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (make_filter(&v, &m.filter, &err))
		return command_usage(self, &err);
	m.count = v.count;
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return out_error(&err);
	/* Ctrl-C ends it the default way: there is nothing to clean up */
	ret = bitnet_nl_listen_for(nl, v.timeout_ppm == NO_TIMEOUT ? -1 : v.timeout_ppm * 1000LL,
				   on_event, &m, &err);
	bitnet_nl_close(nl);
	if (ret == -ETIME && m.shown < m.count) {
		bitnet_error_set(&err, ETIME, "%u of %u events came in time", m.shown, m.count);
		return out_error(&err);
	}
	return ret < 0 && ret != -EINTR && ret != -ETIME ? out_error(&err) : OUT_OK;
}

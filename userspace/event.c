// SPDX-License-Identifier: GPL-2.0
/* event.c - see event.h */
#include <errno.h>
#include <fnmatch.h>
#include <pwd.h>
#include <string.h>

#include "event.h"
#include "out.h"

/* In the order of @event_names. */
static const int event_cmds[] = {
	BITNET_CMD_EVENT_MODEL_LOADED,
	BITNET_CMD_EVENT_MODEL_UNLOADED,
	BITNET_CMD_EVENT_JOB_DONE,
	BITNET_CMD_EVENT_JOB_FAILED,
	BITNET_CMD_EVENT_DEADLINE_MISSED,
	BITNET_CMD_EVENT_OVERLOAD,
	BITNET_CMD_EVENT_WORKER,
};

const char *const event_names[] = {
	"model_loaded", "model_unloaded", "job_done", "job_failed", "deadline_missed", "overload",
	"worker", NULL
};

_Static_assert(BITNET_CMD_MAX < 32, "a command is a bit of event_filter.kinds");
_Static_assert(sizeof(event_names) / sizeof(event_names[0]) ==
	       sizeof(event_cmds) / sizeof(event_cmds[0]) + 1, "a name for each event");

const char *event_name(int cmd)
{
	if (cmd == BITNET_CMD_UNSPEC)
		return "events_lost";
	for (int i = 0; event_names[i]; i++)
		if (event_cmds[i] == cmd)
			return event_names[i];
	return NULL;
}

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

/* ---- filter ------------------------------------------------------------------------------------ */

int event_filter_kinds(struct event_filter *filter, const struct arg_strings *names,
		       struct bitnet_error *err)
{
	const char *nearest;
	int k;

	for (unsigned int i = 0; i < names->n; i++) {
		for (k = 0; event_names[k] && strcmp(event_names[k], names->s[i]); k++)
			;
		if (event_names[k]) {
			filter->kinds |= 1U << event_cmds[k];
			continue;
		}
		bitnet_error_set(err, EINVAL, "--event: there is no '%s'", names->s[i]);
		nearest = args_nearest(names->s[i], event_names);
		if (nearest)
			return bitnet_error_hint(err, "did you mean '%s'?", nearest);
		return bitnet_error_hint(
			err,
			"one of model_loaded, model_unloaded, job_done, job_failed, deadline_missed, overload, worker");
	}
	return 0;
}

int event_filter_user(struct event_filter *filter, const char *user, struct bitnet_error *err)
{
	const struct passwd *pw;

	filter->has_uid = true;
	if (!args_number(user, &filter->uid) && filter->uid <= UINT32_MAX)
		return 0;
	pw = getpwnam(user);
	if (!pw)
		return bitnet_error_set(err, EINVAL, "--user: there is no user '%s'", user);
	filter->uid = pw->pw_uid;
	return 0;
}

static bool is_error(int cmd)
{
	return cmd == BITNET_CMD_EVENT_JOB_FAILED || cmd == BITNET_CMD_EVENT_DEADLINE_MISSED ||
	       cmd == BITNET_CMD_EVENT_OVERLOAD;
}

/* How long it took: each event has one such number at most. */
static int duration_attr(const struct record *r)
{
	if (record_has(r, BITNET_A_LATE_NS))
		return BITNET_A_LATE_NS;
	return record_has(r, BITNET_A_THROTTLED_NS) ? BITNET_A_THROTTLED_NS : BITNET_A_CPU_NS;
}

static bool is_number(const struct record *r, int attr, uint64_t number)
{
	return record_has(r, attr) && r->value[attr] == number;
}

bool event_passes(const struct event_filter *filter, int cmd, const struct record *r)
{
	if (cmd == BITNET_CMD_UNSPEC)
		return true;
	if (filter->kinds && !(filter->kinds & 1U << cmd))
		return false;
	if (filter->errors && !is_error(cmd))
		return false;
	if (filter->has_pid && !is_number(r, BITNET_A_PID, filter->pid))
		return false;
	if (filter->has_uid && !is_number(r, BITNET_A_UID, filter->uid))
		return false;
	if (filter->model &&
	    (!record_has(r, BITNET_A_NAME) || fnmatch(filter->model, r->name, 0)))
		return false;
	return !filter->min_ns || (record_has(r, duration_attr(r)) &&
				   r->value[duration_attr(r)] >= filter->min_ns);
}

/* ---- output ------------------------------------------------------------------------------------ */

#define N(attr) ((unsigned long long)r->value[attr])

static void job_text(int cmd, const struct record *r, char *text, size_t size)
{
	int error = (int)(int64_t)r->value[BITNET_A_ERROR];
	int n;

	n = snprintf(text, size,
		     "job %s: pid %llu, uid %llu, %s, %llu tokens in, %llu out, %.1f ms of CPU",
		     cmd == BITNET_CMD_EVENT_JOB_DONE ? "done" : "failed", N(BITNET_A_PID),
		     N(BITNET_A_UID), kind_name(N(BITNET_A_JOB_KIND)), N(BITNET_A_TOKENS_IN),
		     N(BITNET_A_TOKENS_OUT), N(BITNET_A_CPU_NS) / 1e6);
	if (error && n > 0 && (size_t)n < size)
		snprintf(text + n, size - n, ": %s", bitnet_strerror(error));
}

void event_text(int cmd, const struct record *r, char *text, size_t size)
{
	switch (cmd) {
	case BITNET_CMD_EVENT_MODEL_LOADED:
	case BITNET_CMD_EVENT_MODEL_UNLOADED:
		snprintf(text, size, "model %s: %s '%s', %s, uid %llu",
			 cmd == BITNET_CMD_EVENT_MODEL_LOADED ? "loaded" : "unloaded",
			 N(BITNET_A_SHARED) ? "shared" : "private", r->name,
			 out_size(N(BITNET_A_MODEL_BYTES)), N(BITNET_A_UID));
		break;
	case BITNET_CMD_EVENT_DEADLINE_MISSED:
		snprintf(text, size, "deadline missed: pid %llu, uid %llu, by %.3f ms",
			 N(BITNET_A_PID), N(BITNET_A_UID), N(BITNET_A_LATE_NS) / 1e6);
		break;
	case BITNET_CMD_EVENT_OVERLOAD:
		snprintf(text, size, "overload: the worker of CPU %llu could not run for %.3f ms",
			 N(BITNET_A_CPU), N(BITNET_A_THROTTLED_NS) / 1e6);
		break;
	case BITNET_CMD_EVENT_WORKER:
		snprintf(text, size, "worker of CPU %llu: %s", N(BITNET_A_CPU),
			 !N(BITNET_A_ONLINE) ? "offline" :
			 N(BITNET_A_WORKER_PARKED) ? "rests" : "runs");
		break;
	case BITNET_CMD_UNSPEC:
		snprintf(text, size, "events were lost: too many at once");
		break;
	default:
		job_text(cmd, r, text, size);
	}
}

#undef N

static void set_flag(json_t *j, const char *key, const struct record *r, int attr)
{
	if (record_has(r, attr))
		json_object_set_new(j, key, json_boolean(r->value[attr]));
}

json_t *event_json(int cmd, const struct record *r)
{
	static const struct record_field numbers[] = {
		{ BITNET_A_TIME_NS, "time_ns" },
		{ BITNET_A_MODEL_BYTES, "bytes" },
		{ BITNET_A_PID, "pid" },
		{ BITNET_A_UID, "uid" },
		{ BITNET_A_TOKENS_IN, "tokens_in" },
		{ BITNET_A_TOKENS_OUT, "tokens_out" },
		{ BITNET_A_CPU_NS, "cpu_ns" },
		{ BITNET_A_CPU, "cpu" },
		{ BITNET_A_LATE_NS, "late_ns" },
		{ BITNET_A_THROTTLED_NS, "throttled_ns" },
		{ 0 }
	};
	json_t *j = json_pack("{s:s}", "event", event_name(cmd)), *rest = record_json(r, numbers);
	const char *error;

	json_object_update(j, rest);
	json_decref(rest);
	if (record_has(r, BITNET_A_NAME))
		json_object_set_new(j, "name", out_string(r->name, strlen(r->name)));
	set_flag(j, "shared", r, BITNET_A_SHARED);
	set_flag(j, "parked", r, BITNET_A_WORKER_PARKED);
	set_flag(j, "online", r, BITNET_A_ONLINE);
	if (record_has(r, BITNET_A_JOB_KIND))
		json_object_set_new(j, "kind",
				    json_string(kind_name(r->value[BITNET_A_JOB_KIND])));
	if (r->value[BITNET_A_ERROR]) {
		error = strerrorname_np(-(int)(int64_t)r->value[BITNET_A_ERROR]);
		json_object_set_new(j, "error", json_string(error ? error : "?"));
	}
	return j;
}

// SPDX-License-Identifier: GPL-2.0
/* event.c - events of the device: filters, texts and JSON of each kind */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "tap.h"

static struct record job, model, late, overload, worker, none;

static void make_events(void)
{
	record_set(&job, BITNET_A_PID, 7);
	record_set(&job, BITNET_A_UID, 1000);
	record_set(&job, BITNET_A_JOB_KIND, BITNET_JOB_GENERATE);
	record_set(&job, BITNET_A_TOKENS_IN, 3);
	record_set(&job, BITNET_A_TOKENS_OUT, 4);
	record_set(&job, BITNET_A_CPU_NS, 5000000);
	record_set(&job, BITNET_A_ERROR, (uint64_t)(int64_t)-ECANCELED);
	record_set(&model, BITNET_A_NAME, 0);
	record_set(&model, BITNET_A_UID, 0);
	record_set(&model, BITNET_A_MODEL_BYTES, 1 << 20);
	record_set(&model, BITNET_A_SHARED, 1);
	strcpy(model.name, "story");
	record_set(&late, BITNET_A_PID, 7);
	record_set(&late, BITNET_A_UID, 1000);
	record_set(&late, BITNET_A_LATE_NS, 1500000);
	record_set(&overload, BITNET_A_CPU, 3);
	record_set(&overload, BITNET_A_THROTTLED_NS, 50000000);
	record_set(&worker, BITNET_A_CPU, 3);
	record_set(&worker, BITNET_A_WORKER_PARKED, 1);
	record_set(&worker, BITNET_A_ONLINE, 1);
}

/* Which events pass, a letter each: job failed, done, model loaded, late, overload, worker. */
static const char *passing(const struct event_filter *f)
{
	static char text[8];
	char *t = text;

	if (event_passes(f, BITNET_CMD_EVENT_JOB_FAILED, &job))
		*t++ = 'f';
	if (event_passes(f, BITNET_CMD_EVENT_JOB_DONE, &job))
		*t++ = 'd';
	if (event_passes(f, BITNET_CMD_EVENT_MODEL_LOADED, &model))
		*t++ = 'm';
	if (event_passes(f, BITNET_CMD_EVENT_DEADLINE_MISSED, &late))
		*t++ = 'l';
	if (event_passes(f, BITNET_CMD_EVENT_OVERLOAD, &overload))
		*t++ = 'o';
	if (event_passes(f, BITNET_CMD_EVENT_WORKER, &worker))
		*t++ = 'w';
	*t = '\0';
	return text;
}

static void t_filters(void)
{
	struct event_filter f = { 0 };
	struct arg_strings kinds = { .s = { "job_done", "worker" }, .n = 2 };
	struct bitnet_error err;

	is_str(passing(&f), "fdmlow", "no filter");
	is(event_filter_kinds(&f, &kinds, &err), 0, "kinds by name");
	is_str(passing(&f), "dw", "only these");
	f = (struct event_filter){ .errors = true };
	is_str(passing(&f), "flo", "errors");
	f = (struct event_filter){ .has_pid = true, .pid = 7 };
	is_str(passing(&f), "fdl", "of a process");
	f.pid = 8;
	is_str(passing(&f), "", "of another");
	f = (struct event_filter){ .has_uid = true, .uid = 0 };
	is_str(passing(&f), "m", "of root: 0 is a user like others");
	f = (struct event_filter){ .model = "st*y" };
	is_str(passing(&f), "m", "a model by pattern");
	f.model = "poem";
	is_str(passing(&f), "", "another model");
	f = (struct event_filter){ .min_ns = 5000000 };
	is_str(passing(&f), "fdo", "at least so long");
	f.min_ns++;
	is_str(passing(&f), "o", "longer");
	f = (struct event_filter){ .min_ns = 1500000, .errors = true, .has_pid = true, .pid = 7 };
	is_str(passing(&f), "fl", "all at once");
	ok(event_passes(&f, BITNET_CMD_UNSPEC, &none), "lost events pass all of them");

	kinds.s[0] = "job_dome";
	is(event_filter_kinds(&f, &kinds, &err), -EINVAL, "a kind that is none");
	ok(strstr(err.hint, "did you mean 'job_done'?"), "  %s", err.hint);
	f = (struct event_filter){ 0 };
	is(event_filter_user(&f, "4294967295", &err), 0, "a user by number");
	ok(f.has_uid && f.uid == UINT32_MAX, "  that number");
	is(event_filter_user(&f, "root", &err), 0, "a user by name");
	is(f.uid, 0, "  his number");
	is(event_filter_user(&f, "no such user", &err), -EINVAL, "a user that is none");
	is(event_filter_user(&f, "4294967296", &err), -EINVAL, "a number that is none");
}

static void text_is(int cmd, const struct record *r, const char *want)
{
	char text[256];

	event_text(cmd, r, text, sizeof(text));
	is_str(text, want, "%s", event_name(cmd));
}

static void json_is(int cmd, const struct record *r, const char *want)
{
	json_t *j = event_json(cmd, r);
	char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);

	is_str(text, want, "%s in JSON", event_name(cmd));
	free(text);
	json_decref(j);
}

static void t_output(void)
{
	text_is(BITNET_CMD_EVENT_MODEL_LOADED, &model,
		"model loaded: shared 'story', 1.0 MiB, uid 0");
	text_is(BITNET_CMD_EVENT_DEADLINE_MISSED, &late,
		"deadline missed: pid 7, uid 1000, by 1.500 ms");
	text_is(BITNET_CMD_EVENT_OVERLOAD, &overload,
		"overload: the worker of CPU 3 could not run for 50.000 ms");
	text_is(BITNET_CMD_EVENT_WORKER, &worker, "worker of CPU 3: rests");
	record_set(&worker, BITNET_A_WORKER_PARKED, 0);
	text_is(BITNET_CMD_EVENT_WORKER, &worker, "worker of CPU 3: runs");
	record_set(&worker, BITNET_A_ONLINE, 0);
	text_is(BITNET_CMD_EVENT_WORKER, &worker, "worker of CPU 3: offline");
	text_is(BITNET_CMD_UNSPEC, &none, "events were lost: too many at once");

	json_is(BITNET_CMD_EVENT_JOB_FAILED, &job,
		"{\"cpu_ns\":5000000,\"error\":\"ECANCELED\",\"event\":\"job_failed\","
		"\"kind\":\"generate\",\"pid\":7,\"tokens_in\":3,\"tokens_out\":4,\"uid\":1000}");
	json_is(BITNET_CMD_EVENT_MODEL_UNLOADED, &model,
		"{\"bytes\":1048576,\"event\":\"model_unloaded\",\"name\":\"story\","
		"\"shared\":true,\"uid\":0}");
	json_is(BITNET_CMD_EVENT_DEADLINE_MISSED, &late,
		"{\"event\":\"deadline_missed\",\"late_ns\":1500000,\"pid\":7,\"uid\":1000}");
	json_is(BITNET_CMD_EVENT_OVERLOAD, &overload,
		"{\"cpu\":3,\"event\":\"overload\",\"throttled_ns\":50000000}");
	json_is(BITNET_CMD_EVENT_WORKER, &worker,
		"{\"cpu\":3,\"event\":\"worker\",\"online\":false,\"parked\":false}");
	json_is(BITNET_CMD_UNSPEC, &none, "{\"event\":\"events_lost\"}");
	ok(!event_name(BITNET_CMD_GET_INFO) && !event_name(BITNET_CMD_MAX + 1),
	   "what is no event has no name");
}

int main(void)
{
	make_events();
	t_filters();
	t_output();
	return done();
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * event.h - events of the device: their names, their texts, and filters for them
 */
#ifndef BITNETCTL_EVENT_H
#define BITNETCTL_EVENT_H

#include "args.h"
#include "record.h"

/* For --event and JSON: "model_loaded" and so on; NULL-terminated. */
extern const char *const event_names[];

/** event_name() - of a BITNET_CMD_EVENT_*, "events_lost" of UNSPEC; NULL: of a newer module */
const char *event_name(int cmd);

/**
 * struct event_filter - what to show; all that is set has to hold
 * @kinds:	bit c: event c; 0: all
 * @has_pid, @pid, @has_uid, @uid: of the job
 * @model:	shell pattern for the model's name, or NULL
 * @min_ns:	least CPU time of a job, lateness of a token, or time that a worker could not run
 * @errors:	only what went wrong
 */
struct event_filter {
	uint32_t kinds;
	bool has_pid, has_uid, errors;
	uint64_t pid, uid, min_ns;
	const char *model;
};

/** event_filter_kinds() - set @kinds from names. Return: 0 or -EINVAL */
int event_filter_kinds(struct event_filter *filter, const struct arg_strings *names,
		       struct bitnet_error *err);

/** event_filter_user() - set @uid from a user's name or number. Return: 0 or -EINVAL */
int event_filter_user(struct event_filter *filter, const char *user, struct bitnet_error *err);

/**
 * event_passes() - is it to be shown?
 *
 * An event without a property does not pass a filter for it. That events were lost always passes:
 * what is shown is not all then.
 */
bool event_passes(const struct event_filter *filter, int cmd, const struct record *r);

/** event_text() - one line for people, without time */
void event_text(int cmd, const struct record *r, char *text, size_t size);

/** event_json() - as an object */
json_t *event_json(int cmd, const struct record *r);

#endif

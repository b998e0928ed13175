/* SPDX-License-Identifier: GPL-2.0 */
/*
 * snapshot.h - all that the device tells at one time, from netlink and debugfs or from JSON
 */
#ifndef BITNETCTL_SNAPSHOT_H
#define BITNETCTL_SNAPSHOT_H

#include "record.h"

/* What is listed; each is one netlink command. */
enum snapshot_list {
	SNAPSHOT_FILES,		/* open files, CAP_NET_ADMIN */
	SNAPSHOT_USERS,		/* CAP_NET_ADMIN */
	SNAPSHOT_MODELS,	/* without CAP_NET_ADMIN the shared ones */
	SNAPSHOT_WORKERS,
	SNAPSHOT_LISTS,
};

/**
 * struct records - a list
 * @r, @n:	its records
 * @room:	for how many @r has memory
 * @error:	negative errno why there is no list: -EPERM, or -EOPNOTSUPP from a module that does
 *		not know the command
 */
struct records {
	struct record *r;
	size_t n, room;
	int error;
};

/**
 * struct snapshot - the device at one time
 * @time_ns:	CLOCK_MONOTONIC
 * @totals:	of GET_INFO
 * @list:	by enum snapshot_list
 * @has_token_ns: debugfs was readable
 * @token_ns:	histogram of token times since the module was loaded; bucket b: 2^b ns and more
 */
struct snapshot {
	uint64_t time_ns;
	struct record totals;
	struct records list[SNAPSHOT_LISTS];
	bool has_token_ns;
	uint64_t token_ns[BITNET_HIST_BUCKETS];
};

/**
 * snapshot_collect() - ask the device
 * @s:	must be zero or hold an earlier snapshot; in any case for snapshot_free()
 *
 * Lists that it does not give are marked, see struct records. Return: 0, or what GET_INFO gave.
 */
int snapshot_collect(struct bitnet_nl *nl, struct snapshot *s, struct bitnet_error *err);

/** snapshot_json() - the same as an object; lists that are not known are not there */
json_t *snapshot_json(const struct snapshot *s);

/** snapshot_parse() - the reverse of snapshot_json(). Return: 0, -EINVAL or -ENOMEM */
int snapshot_parse(struct snapshot *s, const json_t *object, struct bitnet_error *err);

/** snapshot_histogram() - read "FROM_NS COUNT" lines as debugfs has them; others are skipped */
void snapshot_histogram(FILE *f, uint64_t *buckets);

/** snapshot_add() - one more record, zeroed, for a list; NULL without memory */
struct record *snapshot_add(struct snapshot *s, enum snapshot_list list);

void snapshot_free(struct snapshot *s);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * top_model.h - what "bitnetctl top" knows: differences of snapshots, sorted and filtered
 *
 * Nothing here asks the device or writes to a terminal.
 */
#ifndef BITNETCTL_TOP_MODEL_H
#define BITNETCTL_TOP_MODEL_H

#include "snapshot.h"

enum top_kind {
	TOP_NAME,	/* record.name */
	TOP_USER,	/* record.user */
	TOP_STATE,	/* of a worker: runs, rests, offline */
	TOP_SHARED,	/* shared, private */
	TOP_ID,		/* a number that names something; sorted upwards */
	TOP_HEX,
	TOP_COUNT,
	TOP_RATE,	/* increase per second */
	TOP_PERCENT,	/* increase of nanoseconds per nanosecond, in percent */
	TOP_TIME,	/* nanoseconds */
	TOP_BYTES,
};

/**
 * struct top_column - one column of a pane
 * @title:	NULL ends a table
 * @key:	for --sort
 * @kind:	how its value is made and written
 * @attr:	BITNET_A_*
 * @width:	in terminal columns; 0: what is left of the line, for the last one
 */
struct top_column {
	const char *title, *key;
	enum top_kind kind;
	int attr;
	int width;
};

/**
 * struct top_pane - one list of snapshots as a table
 * @name:	for --pane
 * @absent:	what to say when the device does not give the list
 * @sort:	index of the column by which it is sorted at first
 */
struct top_pane {
	const char *name, *absent;
	const struct top_column *columns;
	unsigned int sort;
};

extern const struct top_pane top_panes[SNAPSHOT_LISTS];		/* by enum snapshot_list */

/**
 * struct top_row - one line
 * @before: the same thing in the earlier snapshot, NULL: it was not there
 */
struct top_row {
	const struct record *now, *before;
};

enum top_filter_kind {
	TOP_FILTER_NONE,
	TOP_FILTER_ANY,
	TOP_FILTER_PID,
	TOP_FILTER_USER,
	TOP_FILTER_COMMAND,
	TOP_FILTER_MODEL,
};

struct top_filter {
	enum top_filter_kind kind;
	char text[64];
};

/**
 * struct top_order - which pane, and how
 * @column: index by which rows are sorted
 * @reverse: the other way round than is usual for the column
 */
struct top_order {
	enum snapshot_list list;
	unsigned int column;
	bool reverse;
	struct top_filter filter;
};

/**
 * struct top_frame - what is shown at one time
 * @now, @before: the snapshots; @before NULL: there is none, and no rates
 * @seconds:	between them, 0 without @before
 * @list:	which one @rows are of
 * @rows:	@n of them, sorted and filtered
 */
struct top_frame {
	const struct snapshot *now, *before;
	double seconds;
	enum snapshot_list list;
	struct top_row *rows;
	size_t n, room;
};

/**
 * top_prepare() - fill in what older modules do not tell
 *
 * Files get numbers, users are summed up from the files. Return: 0 or -ENOMEM.
 */
int top_prepare(struct snapshot *s);

/**
 * top_frame_make() - difference, filter and sort
 * @f:		must be zero, or hold an earlier frame; for top_frame_free()
 * @before:	NULL, or an earlier snapshot; one of before the module was loaded anew is not used
 *
 * Return: 0 or -ENOMEM.
 */
int top_frame_make(struct top_frame *f, const struct snapshot *now, const struct snapshot *before,
		   const struct top_order *order);

void top_frame_free(struct top_frame *f);

/** top_same() - are two records of snapshots the same file, user, model or worker? */
bool top_same(enum snapshot_list list, const struct record *a, const struct record *b);

/** top_value() - a column's number, NAN where it is not known or the column is text */
double top_value(const struct top_frame *f, const struct top_row *row, const struct top_column *c);

/** top_rate() - increase of a total per second, NAN without an earlier snapshot */
double top_rate(const struct top_frame *f, int attr);

/** top_sum() - of a number over all records of a list */
uint64_t top_sum(const struct snapshot *s, enum snapshot_list list, int attr);

/**
 * top_quantile() - of the token times between the two snapshots
 * @q:	0 .. 1
 *
 * Return: nanoseconds, interpolated in a bucket that is a factor of 2 wide; NAN if there were none.
 */
double top_quantile(const struct top_frame *f, double q);

/** top_filter_parse() - "TEXT", or "pid:", "user:", "command:" or "model:" and a text */
void top_filter_parse(struct top_filter *filter, const char *text);

/** top_column_find() - index of the column with that key, or -1 */
int top_column_find(const struct top_pane *pane, const char *key);

/** top_json() - a snapshot with rates: the object of "top --json" and "status --json" */
json_t *top_json(const struct snapshot *now, const struct snapshot *before);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * top_source.h - where the snapshots of "top" come from: the device, or a recording of them
 */
#ifndef BITNETCTL_TOP_SOURCE_H
#define BITNETCTL_TOP_SOURCE_H

#include <stdio.h>

#include "snapshot.h"

/**
 * struct top_source - the last two snapshots, and where the next one comes from
 * @nl:		of the device
 * @replay:	a recording, NULL for the device
 * @path:	of it
 * @complete:	fill in what older modules do not tell, see top_prepare()
 * @line:	last line that was read
 * @shots:	how many there have been
 * @shot:	the last two, in turns
 */
struct top_source {
	struct bitnet_nl *nl;
	FILE *replay;
	const char *path;
	bool complete;
	unsigned long line;
	unsigned long shots;
	struct snapshot shot[2];
};

/** top_source_open() - @path: a recording, "-" for standard input, NULL: the device */
int top_source_open(struct top_source *s, const char *path, struct bitnet_error *err);

/** top_source_next() - take the next snapshot. Return: 0; -ENODATA at the end of a recording */
int top_source_next(struct top_source *s, struct bitnet_error *err);

/** top_source_now(), top_source_before() - the last two; before: NULL if there was only one */
const struct snapshot *top_source_now(const struct top_source *s);
const struct snapshot *top_source_before(const struct top_source *s);

void top_source_close(struct top_source *s);

#endif

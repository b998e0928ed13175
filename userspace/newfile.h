/* SPDX-License-Identifier: GPL-2.0 */
/*
 * newfile.h - results as files: whole, or as before
 */
#ifndef NEWFILE_H
#define NEWFILE_H

#include <stdbool.h>
#include <stdio.h>

struct bitnet_error;

struct newfile {
	FILE *f;
	const char *path;
	char *tmp;		/* beside @path, or NULL: what is no regular file is written as it is */
};

/**
 * newfile_open() - begin a file that shall be at @path; what is there stays until newfile_close()
 *
 * Return: 0 or a negative errno, with @err set; then there is nothing to close.
 */
int newfile_open(struct newfile *n, const char *path, struct bitnet_error *err);

/**
 * newfile_close() - put it in its place, on the disk
 * @failed:	the caller could not write it: drop it
 *
 * Return: 0 or a negative errno, with @err set; then what was at the path is still there.
 */
int newfile_close(struct newfile *n, bool failed, struct bitnet_error *err);

#endif /* NEWFILE_H */

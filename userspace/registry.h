/* SPDX-License-Identifier: GPL-2.0 */
/*
 * registry.h - which file each shared model came from: /run/bitnet/models/NAME.json
 *
 * The device keeps weights and names, but neither paths nor tokenizers. "load" writes a note,
 * "unload" removes it, and "run NAME" finds the tokenizer by it. A note also tells that a file is
 * what is loaded (same device, inode, size and time) without packing the file to compare digests.
 * Notes can be stale: the device has the last word.
 */
#ifndef BITNETCTL_REGISTRY_H
#define BITNETCTL_REGISTRY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <linux/bitnet.h>

#include "error.h"

/**
 * struct registry_note - what is known about a shared model
 * @name:	its name
 * @path:	absolute path of the file
 * @digest:	of the image
 * @dev, @ino, @size, @mtime_ns: the file as it was when it was loaded
 */
struct registry_note {
	char name[BITNET_NAME_BYTES];
	char path[PATH_MAX];
	uint64_t digest;
	uint64_t dev, ino, size;
	int64_t mtime_ns;
};

/** registry_valid_name() - may a model be named so? The rule is the device's */
bool registry_valid_name(const char *name);

/**
 * registry_make_name() - a valid name (BITNET_NAME_BYTES) like @text: what is not allowed becomes
 * '-'
 */
void registry_make_name(const char *text, char *name);

/** registry_describe() - fill all of @note but name and digest from the file at @path */
int registry_describe(const char *path, struct registry_note *note, struct bitnet_error *err);

int registry_write(const struct registry_note *note, struct bitnet_error *err);
int registry_remove(const char *name);

/** registry_read() - 0 or -ENOENT */
int registry_read(const char *name, struct registry_note *note);

/** registry_same_file() - is @path still the very file of @note? */
bool registry_same_file(const struct registry_note *note, const char *path);

/** registry_each() - call @fn for each note until it returns non-zero, and return that */
int registry_each(int (*fn)(void *arg, const struct registry_note *note), void *arg);

#endif

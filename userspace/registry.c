// SPDX-License-Identifier: GPL-2.0
/* registry.c - see registry.h */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry.h"

#define DEFAULT_DIR	"/run/bitnet"

/* BITNET_RUN_DIR lets the tests have a place of their own. */
static const char *run_dir(void)
{
	const char *dir = secure_getenv("BITNET_RUN_DIR");

	return dir && *dir ? dir : DEFAULT_DIR;
}

static int note_path(char *path, size_t size, const char *name, const char *suffix)
{
	int n = snprintf(path, size, "%s/models/%s%s", run_dir(), name, suffix);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool registry_valid_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= BITNET_NAME_BYTES || name[0] == '.')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

void registry_make_name(const char *text, char *name)
{
	snprintf(name, BITNET_NAME_BYTES, "%s", *text ? text : "model");
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '-';
	if (name[0] == '.')
		name[0] = '-';
}

static int64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
}

int registry_describe(const char *path, struct registry_note *note, struct bitnet_error *err)
{
	struct stat st;

	if (!realpath(path, note->path) || stat(note->path, &st))
		return bitnet_error_set(err, errno, "%s: %s", path, strerror(errno));
	note->dev = st.st_dev;
	note->ino = st.st_ino;
	note->size = st.st_size;
	note->mtime_ns = mtime_ns(&st);
	return 0;
}

bool registry_same_file(const struct registry_note *note, const char *path)
{
	struct stat st;

	return !stat(path, &st) && note->dev == st.st_dev && note->ino == st.st_ino &&
	       note->size == (uint64_t)st.st_size && note->mtime_ns == mtime_ns(&st);
}

static int make_dirs(void)
{
	char path[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "%s/models/", run_dir());
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

int registry_write(const struct registry_note *note, struct bitnet_error *err)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	json_t *root;
	char digest[24];
	int ret = make_dirs();

	if (!ret)
		ret = note_path(path, sizeof(path), note->name, ".json");
	if (!ret)
		ret = note_path(temporary, sizeof(temporary), note->name, ".new");
	if (ret)
		goto fail;
	snprintf(digest, sizeof(digest), "0x%016" PRIx64, note->digest);
	root = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "schema", 1, "name",
			 note->name, "path", note->path, "digest", digest, "dev",
			 (json_int_t)note->dev, "ino", (json_int_t)note->ino, "size",
			 (json_int_t)note->size, "mtime_ns", (json_int_t)note->mtime_ns);
	if (!root) {
		/* the only way but for memory: a path that is not UTF-8, which JSON cannot hold */
		return bitnet_error_set(err, EILSEQ, "%s: the path is not UTF-8", note->path);
	}
	/* renamed into place, so that a reader never sees half a note */
	if (json_dump_file(root, temporary, JSON_INDENT(2)) || rename(temporary, path)) {
		ret = errno ? -errno : -EIO;
		unlink(temporary);
	}
	json_decref(root);
	if (!ret)
		return 0;
fail:
	return bitnet_error_set(err, ret, "cannot write a note under %s: %s", run_dir(),
				strerror(-ret));
}

int registry_remove(const char *name)
{
	char path[PATH_MAX];

	if (!registry_valid_name(name) || note_path(path, sizeof(path), name, ".json"))
		return -ENOENT;
	return unlink(path) ? -errno : 0;
}

int registry_read(const char *name, struct registry_note *note)
{
	const char *path_text, *digest;
	json_int_t dev, ino, size, mtime;
	char path[PATH_MAX];
	json_t *root;
	int ret = -ENOENT;

	if (!registry_valid_name(name) || note_path(path, sizeof(path), name, ".json"))
		return -ENOENT;
	root = json_load_file(path, 0, NULL);
	if (!root)
		return -ENOENT;
	if (!json_unpack(root, "{s:s, s:s, s:I, s:I, s:I, s:I}", "path", &path_text, "digest",
			 &digest, "dev", &dev, "ino", &ino, "size", &size, "mtime_ns", &mtime) &&
	    strlen(path_text) < sizeof(note->path)) {
		strcpy(note->name, name);
		strcpy(note->path, path_text);
		note->digest = strtoull(digest, NULL, 16);
		note->dev = dev;
		note->ino = ino;
		note->size = size;
		note->mtime_ns = mtime;
		ret = 0;
	}
	json_decref(root);
	return ret;
}

int registry_each(int (*fn)(void *arg, const struct registry_note *note), void *arg)
{
	struct registry_note note;
	char path[PATH_MAX], name[NAME_MAX + 1];
	struct dirent *e;
	int ret = 0;
	size_t len;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/models", run_dir());
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!ret && (e = readdir(dir))) {
		len = strlen(e->d_name);
		if (len <= 5 || strcmp(e->d_name + len - 5, ".json"))
			continue;
		memcpy(name, e->d_name, len - 5);
		name[len - 5] = '\0';
		if (!registry_read(name, &note))
			ret = fn(arg, &note);
	}
	closedir(dir);
	return ret;
}

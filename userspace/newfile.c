// SPDX-License-Identifier: GPL-2.0
/*
 * newfile.c - results as files: whole, or as before
 *
 * Neither a full disk nor a power cut may leave half a file in the place of a good one: it is written
 * beside its place, synced, and renamed. Pipes and devices are written to as they are.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitnet.h"
#include "error.h"
#include "newfile.h"

static int failed_with(const struct newfile *n, int code, struct bitnet_error *err)
{
	return bitnet_error_set(err, code, "%s: %s", n->path, strerror(code));
}

int newfile_open(struct newfile *n, const char *path, struct bitnet_error *err)
{
	struct stat st;
	int code;

	*n = (struct newfile){ .path = path };
	if ((!lstat(path, &st) && !S_ISREG(st.st_mode)) ||
	    asprintf(&n->tmp, "%s.tmp-%d", path, (int)getpid()) < 0)
		n->tmp = NULL;
	n->f = fopen(n->tmp ? n->tmp : path, "we");
	if (n->f)
		return 0;
	code = errno;
	free(n->tmp);
	return failed_with(n, code, err);
}

int newfile_close(struct newfile *n, bool failed, struct bitnet_error *err)
{
	int code = failed ? errno ? errno : EIO : 0;

	if (!code && (fflush(n->f) || (n->tmp && fsync(fileno(n->f)))))
		code = errno;
	if (fclose(n->f) && !code)
		code = errno;
	if (!code && n->tmp && rename(n->tmp, n->path))
		code = errno;
	if (code && n->tmp)
		unlink(n->tmp);
	free(n->tmp);
	return code ? failed_with(n, code, err) : 0;
}

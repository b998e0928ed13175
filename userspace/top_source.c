// SPDX-License-Identifier: GPL-2.0
/* top_source.c - see top_source.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "top_model.h"
#include "top_source.h"

int top_source_open(struct top_source *s, const char *path, struct bitnet_error *err)
{
	memset(s, 0, sizeof(*s));
	if (!path)
		return bitnet_nl_open(&s->nl, err);
	s->path = path;
	s->replay = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!s->replay)
		return bitnet_error_set(err, errno, "%s: %s", path, strerror(errno));
	return 0;
}

void top_source_close(struct top_source *s)
{
	bitnet_nl_close(s->nl);
	if (s->replay && s->replay != stdin)
		fclose(s->replay);
	snapshot_free(&s->shot[0]);
	snapshot_free(&s->shot[1]);
	memset(s, 0, sizeof(*s));
}

/* The next line that is not empty. */
static int read_line(struct top_source *s, char **line, struct bitnet_error *err)
{
	size_t size = 0;
	ssize_t n;

	*line = NULL;
	do {
		errno = 0;
		n = getline(line, &size, s->replay);
		s->line++;
	} while (n == 1 && **line == '\n');
	if (n >= 0)
		return 0;
	return ferror(s->replay) ? bitnet_error_set(err, errno ? errno : EIO, "%s: %s", s->path,
						    strerror(errno ? errno : EIO)) : -ENODATA;
}

static int read_recording(struct top_source *s, struct snapshot *shot, struct bitnet_error *err)
{
	struct bitnet_error why = { 0 };
	json_error_t wrong;
	json_t *object;
	char *line;
	int ret = read_line(s, &line, err);

	if (ret) {
		free(line);
		return ret;
	}
	object = json_loads(line, 0, &wrong);
	free(line);
	if (!object)
		return bitnet_error_set(err, EINVAL, "%s:%lu: not JSON: %s", s->path, s->line,
					wrong.text);
	ret = snapshot_parse(shot, object, &why);
	json_decref(object);
	if (ret)
		bitnet_error_set(err, ret, "%s:%lu: %s", s->path, s->line, why.msg);
	return ret;
}

int top_source_next(struct top_source *s, struct bitnet_error *err)
{
	struct snapshot *shot = &s->shot[s->shots % 2];
	int ret = s->replay ? read_recording(s, shot, err) : snapshot_collect(s->nl, shot, err);

	if (!ret && s->complete && top_prepare(shot))
		ret = bitnet_error_set(err, ENOMEM, "out of memory");
	if (!ret)
		s->shots++;
	return ret;
}

const struct snapshot *top_source_now(const struct top_source *s)
{
	return &s->shot[(s->shots + 1) % 2];
}

const struct snapshot *top_source_before(const struct top_source *s)
{
	return s->shots > 1 ? &s->shot[s->shots % 2] : NULL;
}

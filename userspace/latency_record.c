// SPDX-License-Identifier: GPL-2.0
/* latency_record.c - recordings as files: one JSON object; see latency.h */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "latency.h"
#include "out.h"
#include "newfile.h"

void recording_free(struct recording *r)
{
	json_decref(r->setup);
	times_free(&r->token);
	times_free(&r->first);
	times_free(&r->seen);
	memset(r, 0, sizeof(*r));
}

const char *recording_label(const struct recording *r)
{
	const char *label = json_string_value(json_object_get(r->setup, "label"));

	return label ? label : "";
}

static json_t *times_json(const struct times *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(list, json_integer(t->ns[i]));
	return list;
}

static json_t *recording_json(const struct recording *r)
{
	return json_pack("{s:i, s:s, s:s, s:O, s:o, s:o, s:o, s:I, s:f, s:b}", "schema", OUT_SCHEMA,
			 "kind", RECORDING_KIND, "clock", "CLOCK_MONOTONIC", "setup", r->setup,
			 "token_ns", times_json(&r->token), "first_token_ns", times_json(&r->first),
			 "seen_ns", times_json(&r->seen), "late_tokens", (json_int_t)r->late,
			 "load_tokens_per_s", r->load_tokens_per_s, "interrupted",
			 (int)r->interrupted);
}

int recording_write(const struct recording *r, const char *path, struct bitnet_error *err)
{
	struct newfile file;
	json_t *j;
	bool bad;
	int ret;

	ret = newfile_open(&file, path, err);
	if (ret)
		return ret;
	errno = 0;
	j = recording_json(r);
	bad = !j || json_dumpf(j, file.f, JSON_COMPACT) || fputc('\n', file.f) == EOF;
	if (!j)
		errno = ENOMEM;
	json_decref(j);
	return newfile_close(&file, bad, err);
}

static int times_from_json(struct times *t, const json_t *list)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(list))
		return -EINVAL;
	json_array_foreach(list, i, v) {
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return -EINVAL;
		if (times_add(t, json_integer_value(v)))
			return -ENOMEM;
	}
	return 0;
}

static int from_json(struct recording *r, const json_t *j)
{
	const char *kind = json_string_value(json_object_get(j, "kind"));
	const json_t *late = json_object_get(j, "late_tokens");
	int ret;

	if (!kind || strcmp(kind, RECORDING_KIND) || !json_is_integer(late) ||
	    json_integer_value(late) < 0 || !json_is_object(json_object_get(j, "setup")))
		return -EINVAL;
	r->setup = json_incref(json_object_get(j, "setup"));
	r->late = json_integer_value(late);
	r->load_tokens_per_s = json_number_value(json_object_get(j, "load_tokens_per_s"));
	r->interrupted = json_is_true(json_object_get(j, "interrupted"));
	ret = times_from_json(&r->token, json_object_get(j, "token_ns"));
	if (!ret)
		ret = times_from_json(&r->first, json_object_get(j, "first_token_ns"));
	return ret ? ret : times_from_json(&r->seen, json_object_get(j, "seen_ns"));
}

int recording_read(struct recording *r, const char *path, struct bitnet_error *err)
{
	FILE *f = fopen(path, "re");
	json_error_t why;
	json_t *j;
	int ret;

	memset(r, 0, sizeof(*r));
	if (!f)
		return bitnet_error_set(err, errno, "%s: %s", path, strerror(errno));
	j = json_loadf(f, 0, &why);
	fclose(f);
	ret = j ? from_json(r, j) : -EINVAL;
	json_decref(j);
	if (!ret)
		return 0;
	recording_free(r);
	if (ret == -ENOMEM)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	bitnet_error_set(err, EINVAL, "%s is not a recording", path);
	return bitnet_error_hint(err, "make one: bitnetctl latency MODEL --record FILE");
}

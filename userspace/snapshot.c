// SPDX-License-Identifier: GPL-2.0
/* snapshot.c - see snapshot.h */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "out.h"
#include "snapshot.h"

#define TOKENS_PATH	"/sys/kernel/debug/bitnet/tokens"

static const struct record_field totals_fields[] = {
	{ BITNET_A_MODELS, "models" },
	{ BITNET_A_SESSIONS, "sessions" },
	{ BITNET_A_JOBS, "jobs" },
	{ BITNET_A_FILES, "files_open" },
	{ BITNET_A_TOKENS_IN, "tokens_in" },
	{ BITNET_A_TOKENS_OUT, "tokens_out" },
	{ BITNET_A_JOBS_DONE, "jobs_done" },
	{ BITNET_A_JOBS_FAILED, "jobs_failed" },
	{ BITNET_A_JOBS_CANCELLED, "jobs_cancelled" },
	{ BITNET_A_PINNED_BYTES, "pinned_bytes" },
	{ BITNET_A_KV_BYTES, "kv_bytes" },
	{ BITNET_A_CPU_NS, "cpu_ns" },
	{ BITNET_A_STEPS, "steps" },
	{ BITNET_A_SECTION_MAX_NS, "section_max_ns" },
	{ BITNET_A_BATCH_FLOOR, "batch_floor_ppm" },
	{ 0 }
};

static const struct record_field module_fields[] = {
	{ BITNET_A_ABI, "abi" },
	{ BITNET_A_WORKERS, "workers" },
	{ 0 }
};

static const struct record_field file_fields[] = {
	{ BITNET_A_FILE_ID, "file" },
	{ BITNET_A_PID, "pid" },
	{ BITNET_A_UID, "uid" },
	{ BITNET_A_MODELS, "models" },
	{ BITNET_A_SESSIONS, "sessions" },
	{ BITNET_A_JOBS, "jobs" },
	{ BITNET_A_PARKED, "parked" },
	{ BITNET_A_TOKENS_IN, "tokens_in" },
	{ BITNET_A_TOKENS_OUT, "tokens_out" },
	{ BITNET_A_CPU_NS, "cpu_ns" },
	{ BITNET_A_QUEUE_NS, "queue_ns" },
	{ BITNET_A_LATE, "late" },
	{ BITNET_A_REALTIME_TOKENS, "realtime_tokens" },
	{ 0 }
};

static const struct record_field user_fields[] = {
	{ BITNET_A_UID, "uid" },
	{ BITNET_A_FILES, "files_open" },
	{ BITNET_A_MODELS, "models" },
	{ BITNET_A_SESSIONS, "sessions" },
	{ BITNET_A_JOBS, "jobs" },
	{ BITNET_A_TOKENS_IN, "tokens_in" },
	{ BITNET_A_TOKENS_OUT, "tokens_out" },
	{ BITNET_A_CPU_NS, "cpu_ns" },
	{ BITNET_A_QUEUE_NS, "queue_ns" },
	{ BITNET_A_LATE, "late" },
	{ BITNET_A_REALTIME_TOKENS, "realtime_tokens" },
	{ BITNET_A_KV_BYTES, "kv_bytes" },
	{ BITNET_A_PINNED_BYTES, "pinned_bytes" },
	{ BITNET_A_MAX_SESSIONS, "max_sessions" },
	{ BITNET_A_MAX_JOBS, "max_jobs" },
	{ BITNET_A_MAX_KV_BYTES, "max_kv_bytes" },
	{ BITNET_A_MAX_PINNED_BYTES, "max_pinned_bytes" },
	{ BITNET_A_REALTIME_PPM, "realtime_ppm" },
	{ BITNET_A_MAX_REALTIME_PPM, "max_realtime_ppm" },
	{ 0 }
};

static const struct record_field model_fields[] = {
	{ BITNET_A_UID, "uid" },
	{ BITNET_A_MODEL_BYTES, "bytes" },
	{ BITNET_A_SHARED, "shared" },
	{ BITNET_A_MODEL_HANDLES, "handles" },
	{ BITNET_A_MODEL_SESSIONS, "sessions" },
	{ 0 }
};

static const struct record_field worker_fields[] = {
	{ BITNET_A_CPU, "cpu" },
	{ BITNET_A_WORKER_PARKED, "parked" },
	{ BITNET_A_ONLINE, "online" },
	{ BITNET_A_CPU_NS, "cpu_ns" },
	{ BITNET_A_SECTION_MAX_NS, "section_max_ns" },
	{ BITNET_A_THROTTLED_NS, "throttled_ns" },
	{ 0 }
};

/* "text": the key of the record's name in JSON, where there is one. */
static const struct {
	int cmd;
	const char *key, *text;
	const struct record_field *fields;
} lists[SNAPSHOT_LISTS] = {
	[SNAPSHOT_FILES] = { BITNET_CMD_GET_STATS, "files", "comm", file_fields },
	[SNAPSHOT_USERS] = { BITNET_CMD_GET_USERS, "users", NULL, user_fields },
	[SNAPSHOT_MODELS] = { BITNET_CMD_GET_MODELS, "models", "name", model_fields },
	[SNAPSHOT_WORKERS] = { BITNET_CMD_GET_WORKERS, "cpus", NULL, worker_fields },
};

struct record *snapshot_add(struct snapshot *s, enum snapshot_list list)
{
	struct records *l = &s->list[list];
	size_t room = l->room ? 2 * l->room : 16;
	struct record *r;

	if (l->n == l->room) {
		r = reallocarray(l->r, room, sizeof(*r));
		if (!r)
			return NULL;
		l->r = r;
		l->room = room;
	}
	r = &l->r[l->n++];
	memset(r, 0, sizeof(*r));
	return r;
}

void snapshot_free(struct snapshot *s)
{
	for (int i = 0; i < SNAPSHOT_LISTS; i++)
		free(s->list[i].r);
	memset(s, 0, sizeof(*s));
}

/* Empties it and keeps the memory of its lists. */
static void reset(struct snapshot *s)
{
	for (int i = 0; i < SNAPSHOT_LISTS; i++) {
		s->list[i].n = 0;
		s->list[i].error = 0;
	}
	memset(&s->totals, 0, sizeof(s->totals));
	memset(s->token_ns, 0, sizeof(s->token_ns));
	s->has_token_ns = false;
}

struct listing {
	struct snapshot *s;
	enum snapshot_list list;
};

static int on_record(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	const struct listing *l = arg;
	struct record *r = snapshot_add(l->s, l->list);

	if (!r)
		return -ENOMEM;
	record_read(r, attrs);
	return 0;
}

static int on_totals(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	struct snapshot *s = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s->time_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	record_read(&s->totals, attrs);
	return 0;
}

void snapshot_histogram(FILE *f, uint64_t *buckets)
{
	uint64_t from, count;
	char line[128], end;
	unsigned int b;

	while (fgets(line, sizeof(line), f)) {
		end = '\0';
		if (sscanf(line, "%" SCNu64 " %" SCNu64 "%c", &from, &count, &end) < 2 ||
		    (end != '\n' && end != '\0'))
			continue;
		b = from ? 63 - __builtin_clzll(from) : 0;
		if (b < BITNET_HIST_BUCKETS)
			buckets[b] += count;
	}
}

/* Root's alone, and not everywhere: without it there are no latencies. */
static void read_tokens(struct snapshot *s)
{
	FILE *f = fopen(TOKENS_PATH, "re");

	if (!f)
		return;
	snapshot_histogram(f, s->token_ns);
	s->has_token_ns = true;
	fclose(f);
}

int snapshot_collect(struct bitnet_nl *nl, struct snapshot *s, struct bitnet_error *err)
{
	struct listing l = { .s = s };
	int ret;

	reset(s);
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_INFO, on_totals, s, err);
	if (ret)
		return ret;
	for (int i = 0; i < SNAPSHOT_LISTS; i++) {
		l.list = i;
		s->list[i].error = bitnet_nl_query(nl, lists[i].cmd, on_record, &l, NULL);
		if (s->list[i].error == -ENOMEM)
			return bitnet_error_set(err, ENOMEM, "out of memory");
		if (s->list[i].error)
			s->list[i].n = 0;
	}
	read_tokens(s);
	return 0;
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void set_text(json_t *j, const char *key, const char *text)
{
	json_object_set_new(j, key, out_string(text, strlen(text)));
}

static json_t *list_json(const struct snapshot *s, enum snapshot_list list)
{
	json_t *array = json_array(), *j;
	const struct record *r;

	for (size_t i = 0; i < s->list[list].n; i++) {
		r = &s->list[list].r[i];
		j = record_json(r, lists[list].fields);
		if (lists[list].text)
			set_text(j, lists[list].text, r->name);
		if (record_has(r, BITNET_A_UID))
			set_text(j, "user", r->user);
		if (record_has(r, BITNET_A_DIGEST))
			json_object_set_new(j, "digest", out_hex64(r->value[BITNET_A_DIGEST]));
		json_array_append_new(array, j);
	}
	return array;
}

static json_t *histogram_json(const uint64_t *buckets)
{
	json_t *array = json_array();

	for (int b = 0; b < BITNET_HIST_BUCKETS; b++)
		if (buckets[b])
			json_array_append_new(array,
					      json_pack("[I, I]",
							(json_int_t)(b ? 1ULL << b : 0),
							(json_int_t)buckets[b]));
	return array;
}

json_t *snapshot_json(const struct snapshot *s)
{
	json_t *j = record_json(&s->totals, module_fields);

	json_object_set_new(j, "time_ns", json_integer(s->time_ns));
	set_text(j, "module_version", s->totals.name);
	set_text(j, "variant", s->totals.variant);
	json_object_set_new(j, "totals", record_json(&s->totals, totals_fields));
	for (int i = 0; i < SNAPSHOT_LISTS; i++)
		if (!s->list[i].error)
			json_object_set_new(j, lists[i].key, list_json(s, i));
	if (s->has_token_ns)
		json_object_set_new(j, "token_ns", histogram_json(s->token_ns));
	return j;
}

static void get_text(char *to, size_t size, const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	record_set_text(to, size, text ? text : "");
}

static int parse_record(struct record *r, enum snapshot_list list, const json_t *j)
{
	const char *digest = json_string_value(json_object_get(j, "digest"));

	if (lists[list].text)
		get_text(r->name, sizeof(r->name), j, lists[list].text);
	get_text(r->user, sizeof(r->user), j, "user");
	if (digest)
		record_set(r, BITNET_A_DIGEST, strtoull(digest, NULL, 16));
	return record_parse(r, lists[list].fields, j);
}

static int parse_list(struct snapshot *s, enum snapshot_list list, const json_t *array)
{
	struct record *r;
	const json_t *j;
	size_t i;

	if (!array) {
		s->list[list].error = -EOPNOTSUPP;
		return 0;
	}
	if (!json_is_array(array))
		return -EINVAL;
	json_array_foreach(array, i, j) {
		r = snapshot_add(s, list);
		if (!r)
			return -ENOMEM;
		if (parse_record(r, list, j))
			return -EINVAL;
	}
	return 0;
}

static int parse_histogram(struct snapshot *s, const json_t *array)
{
	json_int_t from, count;
	const json_t *j;
	unsigned int b;
	size_t i;

	s->has_token_ns = array;
	json_array_foreach(array, i, j) {
		if (json_unpack((json_t *)j, "[I, I]", &from, &count) || from < 0 || count < 0)
			return -EINVAL;
		b = from ? 63 - __builtin_clzll(from) : 0;
		if (b >= BITNET_HIST_BUCKETS)
			return -EINVAL;
		s->token_ns[b] += count;
	}
	return 0;
}

int snapshot_parse(struct snapshot *s, const json_t *object, struct bitnet_error *err)
{
	const json_t *time = json_object_get(object, "time_ns");
	const json_t *totals = json_object_get(object, "totals");
	int ret = json_is_integer(time) && json_integer_value(time) >= 0 &&
		  json_is_object(totals) ? 0 : -EINVAL;

	reset(s);
	s->time_ns = json_integer_value(time);
	get_text(s->totals.name, sizeof(s->totals.name), object, "module_version");
	get_text(s->totals.variant, sizeof(s->totals.variant), object, "variant");
	if (!ret)
		ret = record_parse(&s->totals, module_fields, object);
	if (!ret)
		ret = record_parse(&s->totals, totals_fields, totals);
	for (int i = 0; i < SNAPSHOT_LISTS && !ret; i++)
		ret = parse_list(s, i, json_object_get(object, lists[i].key));
	if (!ret)
		ret = parse_histogram(s, json_object_get(object, "token_ns"));
	if (ret == -ENOMEM)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	if (ret)
		return bitnet_error_set(err, EINVAL, "not a snapshot of 'bitnetctl top --json'");
	return 0;
}

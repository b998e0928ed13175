// SPDX-License-Identifier: GPL-2.0
/* top_model.c - see top_model.h */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "top_model.h"

static const struct top_column process_columns[] = {
	{ "PID", "pid", TOP_ID, BITNET_A_PID, 7 },
	{ "USER", "user", TOP_USER, 0, 8 },
	{ "SESS", "sessions", TOP_COUNT, BITNET_A_SESSIONS, 4 },
	{ "JOBS", "jobs", TOP_COUNT, BITNET_A_JOBS, 4 },
	{ "PARK", "parked", TOP_COUNT, BITNET_A_PARKED, 4 },
	{ "IN/S", "in", TOP_RATE, BITNET_A_TOKENS_IN, 7 },
	{ "OUT/S", "out", TOP_RATE, BITNET_A_TOKENS_OUT, 7 },
	{ "CPU%", "cpu", TOP_PERCENT, BITNET_A_CPU_NS, 6 },
	{ "QUEUED", "queued", TOP_TIME, BITNET_A_QUEUE_NS, 7 },
	{ "LATE", "late", TOP_COUNT, BITNET_A_LATE, 5 },
	{ "COMMAND", "command", TOP_NAME, 0, 0 },
	{ 0 }
};

static const struct top_column user_columns[] = {
	{ "FILES", "files", TOP_COUNT, BITNET_A_FILES, 5 },
	{ "SESS", "sessions", TOP_COUNT, BITNET_A_SESSIONS, 5 },
	{ "JOBS", "jobs", TOP_COUNT, BITNET_A_JOBS, 5 },
	{ "IN/S", "in", TOP_RATE, BITNET_A_TOKENS_IN, 7 },
	{ "OUT/S", "out", TOP_RATE, BITNET_A_TOKENS_OUT, 7 },
	{ "CPU%", "cpu", TOP_PERCENT, BITNET_A_CPU_NS, 6 },
	{ "QUEUED", "queued", TOP_TIME, BITNET_A_QUEUE_NS, 7 },
	{ "LATE", "late", TOP_COUNT, BITNET_A_LATE, 5 },
	{ "CONTEXT", "context", TOP_BYTES, BITNET_A_KV_BYTES, 8 },
	{ "PINNED", "pinned", TOP_BYTES, BITNET_A_PINNED_BYTES, 8 },
	{ "USER", "user", TOP_USER, 0, 0 },
	{ 0 }
};

static const struct top_column model_columns[] = {
	{ "SIZE", "size", TOP_BYTES, BITNET_A_MODEL_BYTES, 8 },
	{ "KIND", "kind", TOP_SHARED, BITNET_A_SHARED, 7 },
	{ "HANDLES", "handles", TOP_COUNT, BITNET_A_MODEL_HANDLES, 7 },
	{ "SESS", "sessions", TOP_COUNT, BITNET_A_MODEL_SESSIONS, 5 },
	{ "USER", "user", TOP_USER, 0, 8 },
	{ "DIGEST", "digest", TOP_HEX, BITNET_A_DIGEST, 16 },
	{ "NAME", "name", TOP_NAME, 0, 0 },
	{ 0 }
};

static const struct top_column worker_columns[] = {
	{ "CPU", "cpu", TOP_ID, BITNET_A_CPU, 5 },
	{ "STATE", "state", TOP_STATE, BITNET_A_ONLINE, 8 },
	{ "BUSY%", "busy", TOP_PERCENT, BITNET_A_CPU_NS, 6 },
	{ "SECTION", "section", TOP_TIME, BITNET_A_SECTION_MAX_NS, 8 },
	{ "THROTTLED", "throttled", TOP_TIME, BITNET_A_THROTTLED_NS, 9 },
	{ 0 }
};

const struct top_pane top_panes[SNAPSHOT_LISTS] = {
	[SNAPSHOT_FILES] = { "processes", "who uses the device is for root only (CAP_NET_ADMIN)",
			     process_columns, 7 },
	[SNAPSHOT_USERS] = { "users", "who uses the device is for root only (CAP_NET_ADMIN)",
			     user_columns, 5 },
	[SNAPSHOT_MODELS] = { "models", "the models are not known", model_columns, 6 },
	[SNAPSHOT_WORKERS] = { "workers", "this module does not tell about single workers",
			       worker_columns, 0 },
};

/* ---- older modules ----------------------------------------------------------------------------- */

static void number_files(struct records *files)
{
	for (size_t i = 0; i < files->n; i++) {
		uint64_t number = 0;

		if (record_has(&files->r[i], BITNET_A_FILE_ID))
			continue;
		for (size_t k = 0; k < i; k++)
			number += files->r[k].value[BITNET_A_PID] ==
				  files->r[i].value[BITNET_A_PID];
		record_set(&files->r[i], BITNET_A_FILE_ID, number);
	}
}

static struct record *user_of(struct snapshot *s, const struct record *file)
{
	struct records *users = &s->list[SNAPSHOT_USERS];
	struct record *u;

	for (size_t i = 0; i < users->n; i++)
		if (users->r[i].value[BITNET_A_UID] == file->value[BITNET_A_UID])
			return &users->r[i];
	u = snapshot_add(s, SNAPSHOT_USERS);
	if (u) {
		record_set(u, BITNET_A_UID, file->value[BITNET_A_UID]);
		memcpy(u->user, file->user, sizeof(u->user));
	}
	return u;
}

static int sum_users(struct snapshot *s)
{
	static const int summed[] = {
		BITNET_A_MODELS, BITNET_A_SESSIONS, BITNET_A_JOBS, BITNET_A_TOKENS_IN,
		BITNET_A_TOKENS_OUT, BITNET_A_CPU_NS, BITNET_A_QUEUE_NS, BITNET_A_LATE,
		BITNET_A_REALTIME_TOKENS,
	};
	const struct record *file;
	struct record *u;
	int a;

	for (size_t i = 0; i < s->list[SNAPSHOT_FILES].n; i++) {
		file = &s->list[SNAPSHOT_FILES].r[i];
		u = user_of(s, file);
		if (!u)
			return -ENOMEM;
		record_set(u, BITNET_A_FILES, u->value[BITNET_A_FILES] + 1);
		for (size_t k = 0; k < sizeof(summed) / sizeof(summed[0]); k++) {
			a = summed[k];
			if (record_has(file, a))
				record_set(u, a, u->value[a] + file->value[a]);
		}
	}
	s->list[SNAPSHOT_USERS].error = 0;
	return 0;
}

int top_prepare(struct snapshot *s)
{
	number_files(&s->list[SNAPSHOT_FILES]);
	if (s->list[SNAPSHOT_USERS].error && !s->list[SNAPSHOT_FILES].error)
		return sum_users(s);
	return 0;
}

/* ---- differences ------------------------------------------------------------------------------- */

bool top_same(enum snapshot_list list, const struct record *a, const struct record *b)
{
	static const int keys[SNAPSHOT_LISTS][2] = {
		[SNAPSHOT_FILES] = { BITNET_A_FILE_ID, BITNET_A_PID },
		[SNAPSHOT_USERS] = { BITNET_A_UID, BITNET_A_UID },
		[SNAPSHOT_MODELS] = { BITNET_A_DIGEST, BITNET_A_UID },
		[SNAPSHOT_WORKERS] = { BITNET_A_CPU, BITNET_A_CPU },
	};

	return a->value[keys[list][0]] == b->value[keys[list][0]] &&
	       a->value[keys[list][1]] == b->value[keys[list][1]] && !strcmp(a->name, b->name);
}

/* Both lists are mostly in the same order: the search begins where the last one ended. */
static const struct record *find_before(const struct records *before, enum snapshot_list list,
					const struct record *now, size_t *hint)
{
	for (size_t i = 0; i < before->n; i++) {
		size_t at = (*hint + i) % before->n;

		if (top_same(list, now, &before->r[at])) {
			*hint = at + 1;
			return &before->r[at];
		}
	}
	return NULL;
}

/* A counter of what is new began at 0; one that went back is another one's. */
static double increase(const struct record *now, const struct record *before, int attr)
{
	uint64_t from = before ? before->value[attr] : 0;

	return now->value[attr] > from ? now->value[attr] - from : 0;
}

static bool one_life(const struct snapshot *now, const struct snapshot *before)
{
	return before && now->time_ns > before->time_ns &&
	       now->totals.value[BITNET_A_STEPS] >= before->totals.value[BITNET_A_STEPS] &&
	       now->totals.value[BITNET_A_CPU_NS] >= before->totals.value[BITNET_A_CPU_NS];
}

double top_rate(const struct top_frame *f, int attr)
{
	if (!f->before || !record_has(&f->now->totals, attr))
		return NAN;
	return increase(&f->now->totals, &f->before->totals, attr) / f->seconds;
}

uint64_t top_sum(const struct snapshot *s, enum snapshot_list list, int attr)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->list[list].n; i++)
		sum += s->list[list].r[i].value[attr];
	return sum;
}

double top_quantile(const struct top_frame *f, double q)
{
	double count[BITNET_HIST_BUCKETS], total = 0, left;
	int b;

	if (!f->before || !f->now->has_token_ns || !f->before->has_token_ns)
		return NAN;
	for (b = 0; b < BITNET_HIST_BUCKETS; b++) {
		count[b] = f->now->token_ns[b] > f->before->token_ns[b] ?
				   f->now->token_ns[b] - f->before->token_ns[b] : 0;
		total += count[b];
	}
	if (total == 0)
		return NAN;
	left = q * total;
	for (b = 0; b < BITNET_HIST_BUCKETS - 1 && (!count[b] || left > count[b]); b++)
		left -= count[b];
	return ldexp(1 + (count[b] > 0 ? left / count[b] : 0), b);
}

double top_value(const struct top_frame *f, const struct top_row *row, const struct top_column *c)
{
	switch (c->kind) {
	case TOP_NAME:
	case TOP_USER:
	case TOP_STATE:
	case TOP_SHARED:
		return NAN;
	default:
		break;
	}
	if (!record_has(row->now, c->attr))
		return NAN;
	if (c->kind != TOP_RATE && c->kind != TOP_PERCENT)
		return row->now->value[c->attr];
	if (!f->before)
		return NAN;
	return increase(row->now, row->before, c->attr) / f->seconds /
	       (c->kind == TOP_PERCENT ? 1e9 / 100 : 1);
}

/* ---- filter ------------------------------------------------------------------------------------ */

void top_filter_parse(struct top_filter *filter, const char *text)
{
	static const struct {
		const char *prefix;
		enum top_filter_kind kind;
	} kinds[] = {
		{ "pid:", TOP_FILTER_PID },
		{ "user:", TOP_FILTER_USER },
		{ "command:", TOP_FILTER_COMMAND },
		{ "model:", TOP_FILTER_MODEL },
	};

	filter->kind = *text ? TOP_FILTER_ANY : TOP_FILTER_NONE;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)))
			continue;
		filter->kind = kinds[i].kind;
		text += strlen(kinds[i].prefix);
		break;
	}
	record_set_text(filter->text, sizeof(filter->text), text);
	if (!*filter->text)
		filter->kind = TOP_FILTER_NONE;
}

static bool is_number(const struct record *r, int attr, const char *text)
{
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)r->value[attr]);
	return record_has(r, attr) && !strcmp(number, text);
}

static bool is_user(const struct record *r, const char *text)
{
	return strcasestr(r->user, text) || is_number(r, BITNET_A_UID, text);
}

/* What a list does not have is not filtered by it. */
static bool passes(enum snapshot_list list, const struct record *r, const struct top_filter *filter)
{
	switch (filter->kind) {
	case TOP_FILTER_NONE:
		return true;
	case TOP_FILTER_PID:
		return list != SNAPSHOT_FILES || is_number(r, BITNET_A_PID, filter->text);
	case TOP_FILTER_USER:
		return list == SNAPSHOT_WORKERS || is_user(r, filter->text);
	case TOP_FILTER_COMMAND:
		return list != SNAPSHOT_FILES || strcasestr(r->name, filter->text);
	case TOP_FILTER_MODEL:
		return list != SNAPSHOT_MODELS || strcasestr(r->name, filter->text);
	case TOP_FILTER_ANY:
		break;
	}
	return strcasestr(r->name, filter->text) || is_user(r, filter->text) ||
	       is_number(r, BITNET_A_PID, filter->text) || is_number(r, BITNET_A_CPU, filter->text);
}

/* ---- order ------------------------------------------------------------------------------------- */

struct sorting {
	const struct top_frame *frame;
	const struct top_column *column;
	bool reverse;
};

static int compare_numbers(double a, double b)
{
	return (a > b) - (a < b);
}

/* Rows that are equal in the column keep the order of the device, that of their numbers. */
static int compare_rows(const void *pa, const void *pb, void *arg)
{
	const struct top_row *a = pa, *b = pb;
	const struct sorting *s = arg;
	const struct top_column *c = s->column;
	double va = top_value(s->frame, a, c), vb = top_value(s->frame, b, c);
	int order;

	if (c->kind == TOP_NAME)
		order = strcasecmp(a->now->name, b->now->name);
	else if (c->kind == TOP_USER)
		order = strcasecmp(a->now->user, b->now->user);
	else if (c->kind == TOP_STATE || c->kind == TOP_SHARED)
		order = compare_numbers(a->now->value[c->attr], b->now->value[c->attr]);
	else if (isnan(va) || isnan(vb))
		return isnan(va) && isnan(vb) ? compare_numbers(a->now - b->now, 0) :
						isnan(va) - isnan(vb);
	else
		order = c->kind == TOP_ID ? compare_numbers(va, vb) : compare_numbers(vb, va);
	if (!order)
		return compare_numbers(a->now - b->now, 0);
	return s->reverse ? -order : order;
}

int top_frame_make(struct top_frame *f, const struct snapshot *now, const struct snapshot *before,
		   const struct top_order *order)
{
	const struct records *list = &now->list[order->list];
	struct sorting sorting = {
		.frame = f,
		.column = &top_panes[order->list].columns[order->column],
		.reverse = order->reverse,
	};
	struct top_row *rows;
	size_t hint = 0;

	f->now = now;
	f->before = one_life(now, before) ? before : NULL;
	f->seconds = f->before ? (now->time_ns - before->time_ns) / 1e9 : 0;
	f->list = order->list;
	f->n = 0;
	if (list->n > f->room) {
		rows = reallocarray(f->rows, list->n, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		f->rows = rows;
		f->room = list->n;
	}
	for (size_t i = 0; i < list->n; i++) {
		if (!passes(order->list, &list->r[i], &order->filter))
			continue;
		f->rows[f->n].now = &list->r[i];
		f->rows[f->n++].before = f->before ?
			find_before(&before->list[order->list], order->list, &list->r[i], &hint) :
			NULL;
	}
	if (f->n)
		qsort_r(f->rows, f->n, sizeof(*f->rows), compare_rows, &sorting);
	return 0;
}

void top_frame_free(struct top_frame *f)
{
	free(f->rows);
	memset(f, 0, sizeof(*f));
}

int top_column_find(const struct top_pane *pane, const char *key)
{
	for (int i = 0; pane->columns[i].title; i++)
		if (!strcmp(pane->columns[i].key, key))
			return i;
	return -1;
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void set_number(json_t *j, const char *key, double value)
{
	if (!isnan(value))
		json_object_set_new(j, key, json_real(value));
}

json_t *top_json(const struct snapshot *now, const struct snapshot *before)
{
	struct top_frame f = {
		.now = now,
		.before = one_life(now, before) ? before : NULL,
	};
	json_t *j = snapshot_json(now), *rates;

	if (!f.before)
		return j;
	f.seconds = (now->time_ns - before->time_ns) / 1e9;
	rates = json_pack("{s:f}", "seconds", f.seconds);
	set_number(rates, "tokens_in_per_s", top_rate(&f, BITNET_A_TOKENS_IN));
	set_number(rates, "tokens_out_per_s", top_rate(&f, BITNET_A_TOKENS_OUT));
	set_number(rates, "steps_per_s", top_rate(&f, BITNET_A_STEPS));
	set_number(rates, "cpus_busy", top_rate(&f, BITNET_A_CPU_NS) / 1e9);
	set_number(rates, "token_p50_ns", top_quantile(&f, 0.5));
	set_number(rates, "token_p99_ns", top_quantile(&f, 0.99));
	json_object_set_new(j, "rates", rates);
	return j;
}

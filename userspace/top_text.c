// SPDX-License-Identifier: GPL-2.0
/* top_text.c - see top_text.h */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "out.h"
#include "top_text.h"

#define MAX_COLUMNS	(TOP_LINE_BYTES / 4 - 1)
#define LAST_WIDTH	6	/* of a last column, at least */

/* The next character of @text and what to write for it. Return: its width; 0: the text is over. */
static int next_character(const char **text, mbstate_t *state, char *bytes, size_t *len)
{
	wchar_t w;
	size_t n = mbrtowc(&w, *text, strlen(*text), state);
	int width;

	if (!**text)
		return 0;
	width = n < (size_t)-2 ? wcwidth(w) : -1;
	if (width > 0) {
		memcpy(bytes, *text, n);
		*len = n;
		*text += n;
		return width;
	}
	if (n >= (size_t)-2)
		memset(state, 0, sizeof(*state));
	*text += n < (size_t)-2 && n ? n : 1;
	*bytes = '?';
	*len = 1;
	return 1;
}

void top_fit(char *to, const char *text, unsigned int columns, bool right)
{
	unsigned int used = 0;
	mbstate_t state = { 0 };
	char bytes[MB_LEN_MAX];
	size_t end = 0, len;
	int width;

	if (columns > MAX_COLUMNS)
		columns = MAX_COLUMNS;
	while ((width = next_character(&text, &state, bytes, &len))) {
		if (used + width > columns)
			break;
		memcpy(to + end, bytes, len);
		end += len;
		used += width;
	}
	if (right) {
		memmove(to + columns - used, to, end);
		memset(to, ' ', columns - used);
	} else {
		memset(to + end, ' ', columns - used);
	}
	to[end + columns - used] = '\0';
}

void top_duration(char *to, size_t size, double ns)
{
	static const struct {
		double unit;
		const char *name;
	} units[] = { { 3600e9, "h" }, { 60e9, "min" }, { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" } };
	double v;

	if (isnan(ns)) {
		snprintf(to, size, "-");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		v = ns / units[i].unit;
		if (v < 1)
			continue;
		snprintf(to, size, v < 99.95 && i > 1 ? "%.1f %s" : "%.0f %s", v, units[i].name);
		return;
	}
	snprintf(to, size, "%.0f ns", ns);
}

/* Rates: one digit where there is room for it. */
static void number(char *to, size_t size, double v)
{
	if (isnan(v))
		snprintf(to, size, "-");
	else
		snprintf(to, size, v < 9999.95 ? "%.1f" : "%.0f", v);
}

static const char *worker_state(const struct record *r)
{
	if (!r->value[BITNET_A_ONLINE])
		return "offline";
	return r->value[BITNET_A_WORKER_PARKED] ? "rests" : "runs";
}

static void cell(const struct top_frame *f, const struct top_row *row, const struct top_column *c,
		 char *to, size_t size)
{
	double v = top_value(f, row, c);

	switch (c->kind) {
	case TOP_NAME:
		snprintf(to, size, "%s", row->now->name);
		return;
	case TOP_USER:
		snprintf(to, size, "%s", *row->now->user ? row->now->user : "-");
		return;
	case TOP_STATE:
		snprintf(to, size, "%s", worker_state(row->now));
		return;
	case TOP_SHARED:
		snprintf(to, size, row->now->value[c->attr] ? "shared" : "private");
		return;
	case TOP_HEX:
		snprintf(to, size, "%016llx", (unsigned long long)row->now->value[c->attr]);
		return;
	case TOP_RATE:
	case TOP_PERCENT:
		number(to, size, v);
		return;
	case TOP_TIME:
		top_duration(to, size, v);
		return;
	case TOP_BYTES:
		snprintf(to, size, "%s", isnan(v) ? "-" : out_size(v));
		return;
	case TOP_ID:
	case TOP_COUNT:
		snprintf(to, size, isnan(v) ? "-" : "%.0f", v);
	}
}

static bool is_text(const struct top_column *c)
{
	return c->kind == TOP_NAME || c->kind == TOP_USER || c->kind == TOP_STATE ||
	       c->kind == TOP_SHARED;
}

/* How wide a column is in a line with so much room left; 0: there is none for it. */
static unsigned int column_width(const struct top_column *c, unsigned int left)
{
	if (!c->width)
		return left >= LAST_WIDTH ? left : 0;
	return left >= (unsigned int)c->width ? c->width : 0;
}

void top_line(const struct top_frame *f, const struct top_row *row, char *to, unsigned int columns)
{
	const struct top_column *c = top_panes[f->list].columns;
	char text[TOP_LINE_BYTES], line[2 * TOP_LINE_BYTES];
	unsigned int used = 0, width;
	size_t len = 0;

	if (columns > MAX_COLUMNS)
		columns = MAX_COLUMNS;
	line[0] = '\0';
	for (; c->title && used < columns; c++) {
		width = column_width(c, columns - used);
		if (!width)
			break;
		if (row)
			cell(f, row, c, text, sizeof(text));
		top_fit(line + len, row ? text : c->title, width, !is_text(c));
		len += strlen(line + len);
		used += width;
		if (used < columns) {
			strcpy(line + len++, " ");
			used++;
		}
	}
	top_fit(to, line, columns, false);
}

int top_title(const struct top_pane *pane, unsigned int column, unsigned int columns,
	      unsigned int *width)
{
	unsigned int used = 0;

	for (unsigned int i = 0; pane->columns[i].title && used < columns; i++) {
		*width = column_width(&pane->columns[i], columns - used);
		if (!*width)
			return -1;
		if (i == column)
			return used;
		used += *width + 1;
	}
	return -1;
}

static unsigned long long total(const struct top_frame *f, int attr)
{
	return f->now->totals.value[attr];
}

static void objects_line(const struct top_frame *f, char *to, size_t size)
{
	const struct snapshot *s = f->now;
	unsigned long long models = s->list[SNAPSHOT_MODELS].n;
	int n;

	if (!record_has(&s->totals, BITNET_A_STEPS)) {
		snprintf(to, size, "what is in use is told to root only");
		return;
	}
	/* the totals count handles, and a shared model may have none */
	if (s->list[SNAPSHOT_MODELS].error || models < total(f, BITNET_A_MODELS))
		models = total(f, BITNET_A_MODELS);
	n = snprintf(to, size, "models %llu (%s)  sessions %llu (%s)  jobs %llu", models,
		     out_size(total(f, BITNET_A_PINNED_BYTES)), total(f, BITNET_A_SESSIONS),
		     out_size(total(f, BITNET_A_KV_BYTES)), total(f, BITNET_A_JOBS));
	if (!s->list[SNAPSHOT_FILES].error)
		n += snprintf(to + n, size - n, ", %llu parked",
			      (unsigned long long)top_sum(s, SNAPSHOT_FILES, BITNET_A_PARKED));
	snprintf(to + n, size - n, "  files %llu", total(f, BITNET_A_FILES));
}

static void rates_line(const struct top_frame *f, char *to, size_t size)
{
	char in[24], tokens[24], steps[24], busy[24];

	number(in, sizeof(in), top_rate(f, BITNET_A_TOKENS_IN));
	number(tokens, sizeof(tokens), top_rate(f, BITNET_A_TOKENS_OUT));
	number(steps, sizeof(steps), top_rate(f, BITNET_A_STEPS));
	number(busy, sizeof(busy), top_rate(f, BITNET_A_CPU_NS) / 1e9);
	snprintf(to, size, "tokens/s in %s, out %s  steps/s %s  CPUs busy %s", in, tokens, steps,
		 busy);
}

static void latency_line(const struct top_frame *f, char *to, size_t size)
{
	char p50[24], p99[24], section[24];
	int n;

	top_duration(p50, sizeof(p50), top_quantile(f, 0.5));
	top_duration(p99, sizeof(p99), top_quantile(f, 0.99));
	top_duration(section, sizeof(section), total(f, BITNET_A_SECTION_MAX_NS));
	n = snprintf(to, size, "token time p50 %s, p99 %s  longest section %s", p50, p99, section);
	if (!f->now->list[SNAPSHOT_FILES].error)
		snprintf(to + n, size - n, "  late %llu of %llu",
			 (unsigned long long)top_sum(f->now, SNAPSHOT_FILES, BITNET_A_LATE),
			 (unsigned long long)top_sum(f->now, SNAPSHOT_FILES,
						     BITNET_A_REALTIME_TOKENS));
}

void top_summary(const struct top_frame *f, unsigned int n, char *to, unsigned int columns)
{
	char text[TOP_LINE_BYTES];

	switch (n) {
	case 0:
		snprintf(text, sizeof(text), "bitnet %s, %s, %llu worker%s", f->now->totals.name,
			 f->now->totals.variant, total(f, BITNET_A_WORKERS),
			 total(f, BITNET_A_WORKERS) == 1 ? "" : "s");
		break;
	case 1:
		objects_line(f, text, sizeof(text));
		break;
	case 2:
		rates_line(f, text, sizeof(text));
		break;
	default:
		latency_line(f, text, sizeof(text));
	}
	top_fit(to, text, columns, false);
}

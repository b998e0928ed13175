// SPDX-License-Identifier: GPL-2.0
/* cmd_top.c - who uses the device, and how fast it is, again and again */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "interrupt.h"
#include "top_text.h"
#include "top_view.h"

#define BATCH_COLUMNS	160

struct top_values {
	uint32_t interval_ppm, count;
	bool batch, reverse;
	int pane;
	const char *sort, *filter, *replay;
};

static const char *const pane_names[] = { "processes", "users", "models", "workers", NULL };

/* What the shell may offer; each pane has some of them. */
static const char *const sort_keys[] = {
	"pid", "user", "sessions", "jobs", "parked", "in", "out", "cpu", "queued", "late",
	"command", "files", "context", "pinned", "size", "kind", "handles", "digest", "name",
	"state", "busy", "section", "throttled", NULL
};

const struct arg top_args[] = {
	ARG("interval", 'd', ARG_PPM, struct top_values, interval_ppm, "SECONDS",
	    "between snapshots (1)", .min = BITNET_PPM / 10, .max = 3600ULL * BITNET_PPM),
	ARG("batch", 'b', ARG_FLAG, struct top_values, batch, NULL,
	    "print snapshots as text, without a screen"),
	ARG("count", 'n', ARG_U32, struct top_values, count, "N",
	    "with --batch or --json: how many (no end)", .min = 1),
	ARG("pane", 0, ARG_CHOICE, struct top_values, pane, "WHICH",
	    "processes, users, models or workers (processes)", .choices = pane_names),
	ARG("sort", 's', ARG_STRING, struct top_values, sort, "COLUMN",
	    "by which column of the pane (processes, users: cpu)", .choices = sort_keys),
	ARG("reverse", 'r', ARG_FLAG, struct top_values, reverse, NULL, "the other way round"),
	ARG("filter", 'f', ARG_STRING, struct top_values, filter, "TEXT",
	    "only what matches; also pid:N, user:NAME, command:TEXT, model:NAME"),
	ARG("replay", 0, ARG_STRING, struct top_values, replay, "FILE",
	    "show a recording made with 'top --json'", .completion = COMPLETE_FILE),
	{ 0 }
};

static int set_order(const struct top_values *v, struct top_order *order, struct bitnet_error *err)
{
	const struct top_pane *pane = &top_panes[v->pane];
	char names[160] = "";
	size_t len = 0;
	int column = pane->sort;

	if (v->sort)
		column = top_column_find(pane, v->sort);
	if (column < 0) {
		for (int i = 0; pane->columns[i].title; i++)
			len += snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					pane->columns[i].key);
		return bitnet_error_set(err, EINVAL, "--sort: '%s' is not one of: %s", v->sort,
					names);
	}
	order->list = v->pane;
	order->column = column;
	order->reverse = v->reverse;
	top_filter_parse(&order->filter, v->filter ? v->filter : "");
	return 0;
}

static void print_line(const char *line)
{
	size_t len = strlen(line);

	while (len && line[len - 1] == ' ')
		len--;
	printf("%.*s\n", (int)len, line);
}

static int print_text(const struct top_source *source, const struct top_order *order,
		      struct bitnet_error *err)
{
	const struct snapshot *now = top_source_now(source);
	struct top_frame frame = { 0 };
	char line[TOP_LINE_BYTES];

	if (top_frame_make(&frame, now, top_source_before(source), order))
		return bitnet_error_set(err, ENOMEM, "out of memory");
	for (int i = 0; i < TOP_SUMMARY_LINES; i++) {
		top_summary(&frame, i, line, BATCH_COLUMNS);
		print_line(line);
	}
	putchar('\n');
	top_line(&frame, NULL, line, BATCH_COLUMNS);
	print_line(line);
	if (now->list[order->list].error)
		print_line(top_panes[order->list].absent);
	for (size_t i = 0; i < frame.n; i++) {
		top_line(&frame, &frame.rows[i], line, BATCH_COLUMNS);
		print_line(line);
	}
	top_frame_free(&frame);
	return 0;
}

static void pause_ns(uint64_t ns)
{
	const struct timespec pause = { ns / 1000000000, ns % 1000000000 };

	/* a signal ends it early, and its handler is asked then */
	nanosleep(&pause, NULL);
}

/* The next snapshot, in due time unless it was recorded. */
static int next(struct top_source *source, uint32_t interval_ppm, struct bitnet_error *err)
{
	int ret;

	if (!source->replay)
		pause_ns(interval_ppm * 1000ULL);
	ret = interrupt_pending() ? -EINTR : top_source_next(source, err);
	return interrupt_pending() ? -EINTR : ret;
}

/* Rates need two: the first snapshot is only shown if it stays alone. */
static int print_all(struct top_source *source, const struct top_values *v,
		     const struct top_order *order, struct bitnet_error *err)
{
	int ret = next(source, v->interval_ppm, err);
	bool alone = ret == -ENODATA;

	if (alone)
		ret = 0;
	for (uint32_t n = 0; !ret && !out_broken(); ) {
		if (out.json)
			out_json_line(top_json(top_source_now(source), top_source_before(source)));
		else
			ret = print_text(source, order, err);
		if (ret || alone || ++n == v->count)
			break;
		if (!out.json) {
			putchar('\n');
			out_text("", 0);
		}
		ret = next(source, v->interval_ppm, err);
	}
	return ret == -ENODATA ? 0 : ret;
}

int cmd_top(const struct command *self, int argc, char **argv)
{
	struct top_values v = { .interval_ppm = BITNET_PPM };
	struct bitnet_error err = { 0 };
	struct top_order order = { 0 };
	struct top_source source;
	bool screen;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (set_order(&v, &order, &err))
		return command_usage(self, &err);
	screen = !v.batch && !out.json && top_view_possible();
	/* nobody looks: one snapshot, as it is now */
	if (!v.count && !v.batch && !out.json)
		v.count = 1;
	interrupt_catch(screen);
	ret = top_source_open(&source, v.replay, &err);
	/* a recording is of what the device told, and nothing else */
	source.complete = !out.json;
	if (!ret)
		ret = top_source_next(&source, &err);
	if (ret == -ENODATA)
		bitnet_error_set(&err, ENODATA, "%s: no snapshot in it", v.replay);
	if (!ret)
		ret = screen ? top_view_run(&source, &order, v.interval_ppm / 1000, &err) :
			       print_all(&source, &v, &order, &err);
	top_source_close(&source);
	if (ret == -EINTR)
		return 128 + interrupt_pending();
	return ret ? out_error(&err) : OUT_OK;
}

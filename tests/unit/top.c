// SPDX-License-Identifier: GPL-2.0
/* top.c - snapshots, their differences, order, filters and lines; what status finds wrong */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "status_report.h"
#include "tap.h"
#include "top_text.h"

#define SECOND	1000000000ULL

static struct record *add_file(struct snapshot *s, uint64_t id, uint64_t pid, const char *user,
			       const char *comm)
{
	struct record *r = snapshot_add(s, SNAPSHOT_FILES);

	record_set(r, BITNET_A_FILE_ID, id);
	record_set(r, BITNET_A_PID, pid);
	record_set(r, BITNET_A_UID, *user);
	strcpy(r->user, user);
	strcpy(r->name, comm);
	return r;
}

static void set_rates(struct record *r, uint64_t tokens_out, uint64_t cpu_ns)
{
	record_set(r, BITNET_A_TOKENS_OUT, tokens_out);
	record_set(r, BITNET_A_CPU_NS, cpu_ns);
}

/* Two snapshots, 2 s apart: file 1 makes 10 tokens/s on half a CPU, 2 nothing, 3 is new. */
static struct snapshot before, now;
static struct top_frame frame;

static void make_pair(void)
{
	before.time_ns = 100 * SECOND;
	now.time_ns = 102 * SECOND;
	record_set(&before.totals, BITNET_A_TOKENS_OUT, 1000);
	record_set(&now.totals, BITNET_A_TOKENS_OUT, 1050);
	record_set(&before.totals, BITNET_A_STEPS, 10);
	record_set(&now.totals, BITNET_A_STEPS, 20);
	set_rates(add_file(&before, 1, 11, "anna", "talker"), 500, 4 * SECOND);
	set_rates(add_file(&before, 2, 12, "bert", "idler"), 500, 4 * SECOND);
	set_rates(add_file(&now, 1, 11, "anna", "talker"), 520, 5 * SECOND);
	set_rates(add_file(&now, 2, 12, "bert", "idler"), 500, 4 * SECOND);
	set_rates(add_file(&now, 3, 13, "anna", "newcomer"), 30, SECOND / 5);
}

static int column(const char *key)
{
	return top_column_find(&top_panes[SNAPSHOT_FILES], key);
}

static double cell_of(size_t row, const char *key)
{
	return top_value(&frame, &frame.rows[row], &top_panes[SNAPSHOT_FILES].columns[column(key)]);
}

/* The pids of the rows, such as "11 12 13". */
static const char *pids(const struct snapshot *b, const char *key, bool reverse,
			const char *filter)
{
	struct top_order order = { .column = column(key), .reverse = reverse };
	static char text[128];
	int n = 0;

	top_filter_parse(&order.filter, filter);
	if (top_frame_make(&frame, &now, b, &order))
		return NULL;
	text[0] = '\0';
	for (size_t i = 0; i < frame.n; i++)
		n += snprintf(text + n, sizeof(text) - n, "%s%d", i ? " " : "",
			      (int)frame.rows[i].now->value[BITNET_A_PID]);
	return text;
}

static void t_rates(void)
{
	pids(&before, "pid", false, "");
	is_near(frame.seconds, 2, 1e-9, "the time between the snapshots is what passed");
	is_near(top_rate(&frame, BITNET_A_TOKENS_OUT), 25, 1e-9, "rate of all");
	ok(isnan(top_rate(&frame, BITNET_A_TOKENS_IN)), "no rate of what is not told");
	is_near(cell_of(0, "out"), 10, 1e-9, "tokens/s of a file");
	is_near(cell_of(0, "cpu"), 50, 1e-9, "CPU %% of a file");
	is_near(cell_of(1, "out"), 0, 1e-9, "none of an idle one");
	is_near(cell_of(2, "out"), 15, 1e-9, "a new file began at 0");
	ok(isnan(cell_of(0, "late")), "a column that the module does not fill");
	pids(NULL, "pid", false, "");
	ok(isnan(cell_of(0, "out")) && isnan(top_rate(&frame, BITNET_A_TOKENS_OUT)),
	   "no rates without an earlier snapshot");
	is(cell_of(0, "pid"), 11, "but numbers");
}

static void t_reload(void)
{
	struct snapshot loaded_anew = before;

	record_set(&loaded_anew.totals, BITNET_A_STEPS, 1000);
	pids(&loaded_anew, "pid", false, "");
	ok(!frame.before && frame.seconds == 0, "counters that went back: another module's life");
	loaded_anew = before;
	loaded_anew.time_ns = now.time_ns;
	pids(&loaded_anew, "pid", false, "");
	ok(!frame.before, "no time passed: no rates");
	before.list[SNAPSHOT_FILES].r[0].value[BITNET_A_PID] = 99;
	pids(&before, "pid", false, "");
	ok(!frame.rows[0].before, "the same number and another process is another file");
	before.list[SNAPSHOT_FILES].r[0].value[BITNET_A_PID] = 11;
	before.list[SNAPSHOT_FILES].r[0].value[BITNET_A_TOKENS_OUT] = 600;
	pids(&before, "pid", false, "");
	is_near(cell_of(0, "out"), 0, 1e-9, "a counter that went back has no negative rate");
	before.list[SNAPSHOT_FILES].r[0].value[BITNET_A_TOKENS_OUT] = 500;
}

static void t_order(void)
{
	is_str(pids(&before, "pid", false, ""), "11 12 13", "identifiers go up");
	is_str(pids(&before, "pid", true, ""), "13 12 11", "or down");
	is_str(pids(&before, "out", false, ""), "13 11 12", "rates go down");
	is_str(pids(&before, "out", true, ""), "12 11 13", "or up");
	is_str(pids(&before, "user", false, ""), "11 13 12",
	       "names go up; equal ones keep the device's order");
	is_str(pids(&before, "user", true, ""), "12 11 13", "also the other way round");
	is_str(pids(&before, "command", false, ""), "12 13 11", "commands");
	is_str(pids(NULL, "out", false, ""), "11 12 13", "what is not known changes nothing");
	is_str(pids(&before, "late", true, ""), "11 12 13", "nor the other way round");
	is(column("nonsense"), -1, "a column that is none");
}

static void t_filter(void)
{
	struct top_filter f;

	is_str(pids(&before, "pid", false, "anna"), "11 13", "a user by text");
	is_str(pids(&before, "pid", false, "user:ANN"), "11 13", "case does not matter");
	is_str(pids(&before, "pid", false, "user:98"), "12", "a user by number");
	is_str(pids(&before, "pid", false, "idle"), "12", "a command by text");
	is_str(pids(&before, "pid", false, "command:er"), "11 12 13", "commands");
	is_str(pids(&before, "pid", false, "command:anna"), "", "a user is no command");
	is_str(pids(&before, "pid", false, "12"), "12", "a pid by text");
	is_str(pids(&before, "pid", false, "pid:1"), "", "the whole pid");
	is_str(pids(&before, "pid", false, "model:x"), "11 12 13",
	       "files are not filtered by models: the device does not tell");
	top_filter_parse(&f, "user:");
	is(f.kind, TOP_FILTER_NONE, "an empty one is none");
	top_filter_parse(&f, "a\033[2Jb");
	is_str(f.text, "a?[2Jb", "nothing that moves a cursor gets into it");
}

static void t_older_module(void)
{
	struct snapshot s = { 0 };
	struct record *r;

	for (int i = 0; i < 3; i++) {
		r = snapshot_add(&s, SNAPSHOT_FILES);
		record_set(r, BITNET_A_PID, i == 2 ? 8 : 7);
		record_set(r, BITNET_A_UID, 1000);
		record_set(r, BITNET_A_JOBS, 2);
		record_set(r, BITNET_A_KV_BYTES, 1);
	}
	s.list[SNAPSHOT_USERS].error = -EOPNOTSUPP;
	is(top_prepare(&s), 0, "a module without GET_USERS and FILE_ID");
	is(s.list[SNAPSHOT_FILES].r[0].value[BITNET_A_FILE_ID], 0, "files of a process");
	is(s.list[SNAPSHOT_FILES].r[1].value[BITNET_A_FILE_ID], 1, "get numbers");
	is(s.list[SNAPSHOT_FILES].r[2].value[BITNET_A_FILE_ID], 0, "each process its own");
	is(s.list[SNAPSHOT_USERS].n, 1, "one user");
	is(s.list[SNAPSHOT_USERS].error, 0, "is known now");
	r = s.list[SNAPSHOT_USERS].r;
	ok(r->value[BITNET_A_FILES] == 3 && r->value[BITNET_A_JOBS] == 6, "summed up");
	ok(!record_has(r, BITNET_A_LATE), "but not what no file has");
	s.list[SNAPSHOT_FILES].error = -EPERM;
	s.list[SNAPSHOT_USERS].error = -EPERM;
	top_prepare(&s);
	is(s.list[SNAPSHOT_USERS].error, -EPERM, "what is forbidden stays unknown");
	snapshot_free(&s);
}

static void t_quantile(void)
{
	struct snapshot a = before, b = now;
	struct top_frame f = { .now = &b, .before = &a, .seconds = 2 };

	ok(isnan(top_quantile(&f, 0.5)), "no latency without debugfs");
	a.has_token_ns = b.has_token_ns = true;
	ok(isnan(top_quantile(&f, 0.5)), "nor without tokens");
	a.token_ns[20] = 1000;		/* long ago */
	b.token_ns[20] = 1000;
	b.token_ns[10] = 98;
	b.token_ns[12] = 2;
	is_near(top_quantile(&f, 0.49), 1024 * 1.5, 0.01, "the middle of a bucket");
	is_near(top_quantile(&f, 0.98), 2048, 0.01, "its end");
	is_near(top_quantile(&f, 0.99), 4096 * 1.5, 0.01, "the tail is in its own bucket");
	is_near(top_quantile(&f, 1), 8192, 0.01, "the end of the last");
	b.token_ns[BITNET_HIST_BUCKETS - 1] = 1;
	is_near(top_quantile(&f, 1), ldexp(1, BITNET_HIST_BUCKETS), 1, "the last bucket of all");
	f.before = NULL;
	ok(isnan(top_quantile(&f, 0.5)), "no latency of one snapshot");
}

static void t_histogram(void)
{
	static const char text[] = "from_ns count\n0 3\n1024 5\n1048576 7\nmax_ns 99\n2048 x\n"
				   "18446744073709551615 1\n4096 9";
	uint64_t b[BITNET_HIST_BUCKETS] = { 0 };
	FILE *f = fmemopen((void *)text, strlen(text), "r");

	snapshot_histogram(f, b);
	fclose(f);
	ok(b[0] == 3 && b[10] == 5 && b[20] == 7 && b[12] == 9, "debugfs's histogram is read");
	is(b[11], 0, "what is none is skipped");
}

static json_t *round_trip(const struct snapshot *s, struct snapshot *copy, int *ret)
{
	json_t *j = snapshot_json(s), *again;

	*ret = snapshot_parse(copy, j, NULL);
	again = snapshot_json(copy);
	json_decref(j);
	return again;
}

static void t_json(void)
{
	struct snapshot copy = { 0 };
	struct bitnet_error err;
	struct record *r;
	json_t *j, *want, *first;
	int ret;

	now.list[SNAPSHOT_USERS].error = -EPERM;
	r = snapshot_add(&now, SNAPSHOT_MODELS);
	strcpy(r->name, "story");
	record_set(r, BITNET_A_DIGEST, 0xfedcba9876543210ULL);
	now.has_token_ns = true;
	now.token_ns[0] = 1;
	now.token_ns[39] = 2;
	want = snapshot_json(&now);
	j = round_trip(&now, &copy, &ret);
	is(ret, 0, "what was written can be read");
	ok(json_equal(j, want), "and is the same");
	ok(!json_object_get(j, "users"), "a list that is not known is not there");
	is(copy.list[SNAPSHOT_USERS].error != 0, 1, "and known to be unknown");
	is(copy.list[SNAPSHOT_MODELS].r[0].value[BITNET_A_DIGEST] == 0xfedcba9876543210ULL, 1,
	   "64 bits stay 64 bits");
	json_decref(j);

	first = json_array_get(json_object_get(want, "files"), 0);
	json_object_set_new(first, "pid", json_integer(-1));
	is(snapshot_parse(&copy, want, &err), -EINVAL, "a negative number");
	ok(strstr(err.msg, "not a snapshot"), "  says so: %s", err.msg);
	json_object_set_new(first, "pid", json_string("1"));
	is(snapshot_parse(&copy, want, NULL), -EINVAL, "a string for a number");
	json_object_set_new(first, "pid", json_integer(1));
	json_object_set_new(first, "comm", json_string("\033]0;x\007"));
	is(snapshot_parse(&copy, want, NULL), 0, "a command with control characters");
	is_str(copy.list[SNAPSHOT_FILES].r[0].name, "?]0;x?", "loses them");
	json_object_set_new(want, "token_ns", json_pack("[[i]]", 1));
	is(snapshot_parse(&copy, want, NULL), -EINVAL, "half of a bucket");
	json_object_set_new(want, "token_ns", json_array());
	json_object_set_new(want, "files", json_integer(3));
	is(snapshot_parse(&copy, want, NULL), -EINVAL, "a number for a list");
	json_object_del(want, "totals");
	is(snapshot_parse(&copy, want, NULL), -EINVAL, "no totals");
	j = json_array();
	is(snapshot_parse(&copy, j, NULL), -EINVAL, "something else");
	json_decref(j);
	json_decref(want);
	snapshot_free(&copy);

	j = top_json(&now, &before);
	is_near(json_real_value(json_object_get(json_object_get(j, "rates"), "tokens_out_per_s")),
		25, 1e-9, "rates in JSON");
	json_decref(j);
	j = top_json(&now, NULL);
	ok(!json_object_get(j, "rates"), "none of one snapshot");
	json_decref(j);
}

static void fits(const char *text, unsigned int columns, bool right, const char *want)
{
	char to[TOP_LINE_BYTES];

	top_fit(to, text, columns, right);
	is_str(to, want, "'%s' in %u columns", text, columns);
}

static void lasts(double ns, const char *want)
{
	char to[24];

	top_duration(to, sizeof(to), ns);
	is_str(to, want, "%g ns", ns);
	ok(strlen(to) <= 7, "  fits");
}

static void t_text(void)
{
	char line[TOP_LINE_BYTES];
	unsigned int width;

	fits("abc", 5, false, "abc  ");
	fits("abc", 5, true, "  abc");
	fits("abcdef", 4, false, "abcd");
	fits("", 2, true, "  ");
	fits("a\xc3\xa4z", 3, false, "a\xc3\xa4z");
	fits("\xe6\xbc\xa2\xe5\xad\x97", 3, false, "\xe6\xbc\xa2 ");
	fits("a\xffz\001", 5, false, "a?z? ");
	top_fit(line, "x", 100000, false);
	ok(strlen(line) < TOP_LINE_BYTES, "a line has an end");

	lasts(NAN, "-");
	lasts(0, "0 ns");
	lasts(999, "999 ns");
	lasts(1000, "1.0 us");
	lasts(12345678, "12.3 ms");
	lasts(123456789, "123 ms");
	lasts(99.9 * SECOND, "2 min");
	lasts(7200.0 * SECOND, "2 h");

	pids(&before, "pid", false, "");
	for (unsigned int columns = 0; columns < 200; columns++) {
		top_line(&frame, &frame.rows[0], line, columns);
		if (strlen(line) != columns)
			break;
		width = columns;
	}
	is(width, 199, "a row fits into any width");
	top_line(&frame, &frame.rows[0], line, 80);
	ok(strstr(line, " 11 anna ") && strstr(line, " 10.0   50.0 ") && strstr(line, "talker"),
	   "a row: %s", line);
	top_line(&frame, NULL, line, 80);
	ok(strstr(line, "PID USER ") && strstr(line, "COMMAND"), "titles: %s", line);
	is(top_title(&top_panes[SNAPSHOT_FILES], column("cpu"), 80, &width),
	   (int)(strstr(line, "  CPU%") - line), "where a title stands");
	is(top_title(&top_panes[SNAPSHOT_FILES], column("command"), 30, &width), -1,
	   "a title that is not there");
	top_summary(&frame, 2, line, 80);
	ok(strstr(line, "out 25.0") && strstr(line, "in -"), "summary: %s", line);
}

static bool has_problem(const struct snapshot *a, const struct snapshot *b, const char *code)
{
	struct status_problem p[STATUS_MAX_PROBLEMS];
	unsigned int n = status_problems(a, b, "1.0", p);

	for (unsigned int i = 0; i < n; i++)
		if (!strcmp(p[i].code, code))
			return true;
	return false;
}

static void t_problems(void)
{
	struct status_problem p[STATUS_MAX_PROBLEMS];
	struct snapshot s = { .time_ns = 2 }, earlier = { .time_ns = 1 };
	struct record *file, *user, *worker;

	strcpy(s.totals.name, "1.0");
	file = add_file(&s, 1, 5, "u", "c");
	user = snapshot_add(&s, SNAPSHOT_USERS);
	worker = snapshot_add(&s, SNAPSHOT_WORKERS);
	record_set(worker, BITNET_A_ONLINE, 1);
	record_set(user, BITNET_A_JOBS, 9);
	record_set(user, BITNET_A_MAX_JOBS, 10);
	record_set(user, BITNET_A_MAX_KV_BYTES, UINT64_MAX);
	is(status_problems(&s, NULL, "1.0", p), 0, "nothing is wrong");

	record_set(user, BITNET_A_JOBS, 10);
	ok(has_problem(&s, NULL, "limit"), "a limit is used up");
	record_set(worker, BITNET_A_WORKER_PARKED, 1);
	ok(has_problem(&s, NULL, "no_worker"), "all workers rest");
	record_set(worker, BITNET_A_WORKER_PARKED, 0);
	record_set(worker, BITNET_A_ONLINE, 0);
	ok(has_problem(&s, NULL, "no_worker") && has_problem(&s, NULL, "cpu_offline"),
	   "all CPUs are offline");
	record_set(worker, BITNET_A_ONLINE, 1);
	record_set(worker, BITNET_A_THROTTLED_NS, 1);
	ok(has_problem(&s, NULL, "throttled"), "a worker was throttled");
	record_set(file, BITNET_A_LATE, 1);
	ok(has_problem(&s, NULL, "late"), "tokens were late");
	record_set(&s.totals, BITNET_A_JOBS, 2);
	record_set(&earlier.totals, BITNET_A_JOBS, 2);
	ok(has_problem(&s, &earlier, "stalled"), "jobs wait and nothing happens");
	ok(!has_problem(&s, NULL, "stalled"), "one snapshot does not tell that");
	record_set(file, BITNET_A_PARKED, 2);
	ok(has_problem(&s, &earlier, "parked") && !has_problem(&s, &earlier, "stalled"),
	   "jobs that are parked wait for their process");
	record_set(file, BITNET_A_PARKED, 0);
	record_set(&s.totals, BITNET_A_CPU_NS, 1);
	ok(!has_problem(&s, &earlier, "stalled"), "something was computed");
	record_set(&s.totals, BITNET_A_SECTION_MAX_NS, 50001);
	ok(has_problem(&s, NULL, "section"), "a long section");
	strcpy(s.totals.name, "1.1");
	ok(has_problem(&s, NULL, "version"), "another module");
	for (int i = 0; i < 2 * STATUS_MAX_PROBLEMS; i++)
		record_set(add_file(&s, i, i, "u", "c"), BITNET_A_PARKED, 1);
	is(status_problems(&s, NULL, "1.0", p), STATUS_MAX_PROBLEMS,
	   "no more than there is room for");
	snapshot_free(&s);
}

int main(void)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	make_pair();
	t_rates();
	t_reload();
	t_order();
	t_filter();
	t_older_module();
	t_quantile();
	t_histogram();
	t_text();
	t_problems();
	t_json();
	top_frame_free(&frame);
	snapshot_free(&before);
	snapshot_free(&now);
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * bitnetctl latency without a clock: percentiles, histograms, axes, recordings, plots, and what
 * --load understands
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latency.h"
#include "tap.h"

static struct bitnet_error err;

static void add(struct times *t, uint64_t ns)
{
	if (times_add(t, ns))
		bail("no memory");
}

/* 1 .. n, in an order that is not sorted */
static struct times count_to(uint64_t n)
{
	struct times t = { 0 };

	for (uint64_t i = 0; i < n; i++)
		add(&t, (i * 7919) % n + 1);
	return t;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void t_summary(void)
{
	static const struct { uint64_t n, p50, p90, p99, p999; } cases[] = {
		/* nearest rank: the ceil(p * n)-th of them */
		{ 1, 1, 1, 1, 1 },
		{ 2, 1, 2, 2, 2 },
		{ 10, 5, 9, 10, 10 },
		{ 100, 50, 90, 99, 100 },
		{ 1000, 500, 900, 990, 999 },
		{ 1001, 501, 901, 991, 1000 },
		{ 10000, 5000, 9000, 9900, 9990 },
	};
	struct summary s;
	struct times t;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		t = count_to(cases[i].n);
		is(times_summary(&t, &s), 0, "1 to %llu", (unsigned long long)cases[i].n);
		is(s.n, cases[i].n, "  count");
		is(s.min, 1, "  least");
		is(s.p50, cases[i].p50, "  p50");
		is(s.p90, cases[i].p90, "  p90");
		is(s.p99, cases[i].p99, "  p99");
		is(s.p999, cases[i].p999, "  p99.9");
		is(s.max, cases[i].n, "  most");
		is_near(s.mean, (cases[i].n + 1) / 2.0, 1e-6, "  mean");
		is_near(summary_jitter(&s), (double)cases[i].p999 / cases[i].p50, 1e-9, "  jitter");
		is(t.ns[0], 1, "  what was measured stays in order");
		times_free(&t);
	}
	memset(&t, 0, sizeof(t));
	is(times_summary(&t, &s), 0, "nothing measured");
	is(s.n + s.min + s.p50 + s.max, 0, "  all 0");
	is_near(summary_jitter(&s), 0, 0, "  and no division by it");
	add(&t, 0);
	times_summary(&t, &s);
	is_near(summary_jitter(&s), 0, 0, "nor by a median of 0");
	times_free(&t);
}

/* ---- histograms ------------------------------------------------------------------------------ */

static void check_axis(uint64_t min, uint64_t max, unsigned int bins, bool log)
{
	const struct hist_axis a = hist_axis_for(min, max, bins);
	double ticks[HIST_MAX_TICKS];
	unsigned int n, rising = 1;

	is(a.log, log, "axis from %llu to %llu: %s", (unsigned long long)min,
	   (unsigned long long)max, log ? "logarithmic" : "linear");
	is(a.bins, bins < HIST_MAX_BINS ? bins : HIST_MAX_BINS, "  bins");
	ok(a.from > 0 && a.from < (min ? min : 1) && a.to > max, "  both ends are inside");
	is_near(hist_edge(&a, 0), a.from, a.from * 1e-9, "  first edge");
	is_near(hist_edge(&a, a.bins), a.to, a.to * 1e-9, "  last edge");
	for (unsigned int i = 0; i < a.bins; i++) {
		rising &= hist_edge(&a, i) < hist_edge(&a, i + 1);
		rising &= fabs(hist_place(&a, hist_edge(&a, i)) - (double)i / a.bins) < 1e-9;
	}
	ok(rising, "  edges rise, and are where they should be");
	n = hist_ticks(&a, ticks);
	rising = 1;
	for (unsigned int i = 0; i < n; i++)
		rising &= ticks[i] >= a.from && ticks[i] <= a.to && (!i || ticks[i] > ticks[i - 1]);
	ok(n >= 1 && n <= HIST_MAX_TICKS && rising, "  %u ticks on it, rising", n);
}

static void t_axis(void)
{
	check_axis(1000, 10000, 20, false);
	check_axis(1000, 10001, 20, true);
	check_axis(5, 5, 20, false);
	check_axis(0, 0, 10, false);
	check_axis(0, 1000000, 100, true);
	check_axis(300000, 1000000000000ULL, 1000, true);
	check_axis(1, UINT64_MAX / 2, 50, true);
	check_axis(1000000, 1000001, 50, false);
}

static void t_fill(void)
{
	const struct hist_axis a = { .from = 100, .to = 200, .bins = 10 };
	struct times t = { 0 };
	struct hist h;
	uint64_t all = 0;

	for (int i = 0; i < 3; i++)
		add(&t, 100);
	add(&t, 109);
	add(&t, 110);
	add(&t, 199);
	add(&t, 1);
	add(&t, 200);
	add(&t, 100000);
	hist_fill(&h, &a, &t);
	is(h.count[0], 5, "the first bin, with what is below it");
	is(h.count[1], 1, "an edge belongs to the bin that begins there");
	is(h.count[9], 3, "the last bin, with what is above it");
	is(h.most, 5, "the largest");
	for (unsigned int i = 0; i < a.bins; i++)
		all += h.count[i];
	is(all, t.n, "nothing is lost");
	times_free(&t);
}

/* ---- recordings ------------------------------------------------------------------------------ */

static struct recording make_recording(const char *label, uint64_t base)
{
	struct recording r = {
		.setup = json_pack("{s:s, s:s, s:{s:s}}", "label", label, "class", "realtime",
				   "text", "class", "realtime"),
		.late = 3,
		.load_tokens_per_s = 12.5,
		.interrupted = true,
	};

	for (int i = 0; i < 990; i++)
		add(&r.token, base + i % 10);
	for (int i = 0; i < 10; i++)
		add(&r.token, 3 * base);
	add(&r.first, 2 * base);
	add(&r.seen, 7);
	return r;
}

static bool same_times(const struct times *a, const struct times *b)
{
	return a->n == b->n && !memcmp(a->ns, b->ns, a->n * sizeof(*a->ns));
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		bail("cannot write %s", path);
}

static void t_recording(const char *path)
{
	static const char *const bad[] = {
		"", "{}", "[]", "not JSON", "{\"kind\":\"bitnet-latency\"}",
		"{\"kind\":\"else\",\"setup\":{},\"late_tokens\":0,\"token_ns\":[],\"first_token_ns\":[],\"seen_ns\":[]}",
		"{\"kind\":\"bitnet-latency\",\"setup\":{},\"late_tokens\":0,\"token_ns\":[-1],\"first_token_ns\":[],\"seen_ns\":[]}",
		"{\"kind\":\"bitnet-latency\",\"setup\":{},\"late_tokens\":0,\"token_ns\":[\"1\"],\"first_token_ns\":[],\"seen_ns\":[]}",
		"{\"kind\":\"bitnet-latency\",\"setup\":{},\"late_tokens\":0,\"token_ns\":[1],\"first_token_ns\":[],\"seen_ns\":7}",
		"{\"kind\":\"bitnet-latency\",\"setup\":[],\"late_tokens\":0,\"token_ns\":[1],\"first_token_ns\":[],\"seen_ns\":[]}",
		"{\"kind\":\"bitnet-latency\",\"setup\":{},\"late_tokens\":-1,\"token_ns\":[1],\"first_token_ns\":[],\"seen_ns\":[]}",
	};
	struct recording a = make_recording("first <one>", 1000000), b;

	is(recording_write(&a, path, &err), 0, "a recording is written");
	is(recording_read(&b, path, &err), 0, "and read");
	ok(same_times(&a.token, &b.token) && same_times(&a.first, &b.first) &&
	   same_times(&a.seen, &b.seen), "with the same times, in the same order");
	is(b.late, 3, "late tokens");
	is_near(b.load_tokens_per_s, 12.5, 0, "load");
	ok(b.interrupted, "that it was interrupted");
	is_str(recording_label(&b), "first <one>", "label");
	recording_free(&b);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_file(path, bad[i]);
		is(recording_read(&b, path, &err), -EINVAL, "'%.40s' is no recording", bad[i]);
	}
	is(recording_read(&b, "/nonexistent/x", &err), -ENOENT, "a file that is not there");
	is(recording_write(&a, "/nonexistent/x", &err), -ENOENT, "a folder that is not there");
	recording_free(&a);
}

static double number_at(const json_t *j, const char *outer, const char *key)
{
	return json_number_value(json_object_get(json_object_get(j, outer), key));
}

static void t_json(void)
{
	struct recording a = make_recording("a", 1000000), b = make_recording("b", 2000000);
	struct recording none = { .setup = json_object() };
	struct latency_view va, vb, vn;
	json_t *j, *bins, *bin;
	uint64_t all = 0;
	size_t i;

	if (latency_view_init(&va, &a) || latency_view_init(&vb, &b) ||
	    latency_view_init(&vn, &none))
		bail("no memory");
	j = latency_json(&va);
	is_near(number_at(j, "token", "p50_ms"), 1.000005, 1e-9, "JSON: p50 in ms");
	is_near(number_at(j, "token", "p99_9_ms"), 3, 1e-9, "JSON: p99.9");
	is_near(number_at(j, "token", "jitter_ms"), 3 - 1.000005, 1e-9, "JSON: longest over median");
	is_near(number_at(j, "token", "jitter_ratio"), 3 / 1.000005, 1e-6, "JSON: jitter");
	is_near(number_at(j, "first_token", "max_ms"), 2, 1e-9, "JSON: first tokens are apart");
	ok(!json_object_get(j, "text"), "JSON: no lines for people");
	bins = json_object_get(j, "histogram");
	json_array_foreach(bins, i, bin) all += json_integer_value(json_object_get(bin, "count"));
	is(all, 1000, "JSON: the histogram has all tokens");
	json_decref(j);
	j = latency_ratio_json(&va, &vb);
	is_near(json_number_value(json_object_get(j, "p99_9")), 2, 1e-9, "JSON: twice as long");
	is_near(json_number_value(json_object_get(j, "first_token_p50")), 2, 1e-9, "JSON: first too");
	json_decref(j);
	j = latency_ratio_json(&vn, &vb);
	ok(json_is_null(json_object_get(j, "p50")), "JSON: no ratio to nothing");
	json_decref(j);
	recording_free(&a);
	recording_free(&b);
	recording_free(&none);
}

/* ---- plots ----------------------------------------------------------------------------------- */

/* Well-formed enough: every tag that opens closes, and no text is markup. */
static bool balanced(const char *svg)
{
	int depth = 0;

	for (const char *p = strstr(svg, "<svg"); p && (p = strchr(p, '<')); p++) {
		const char *end = strchr(p, '>');

		if (!end)
			return false;
		if (p[1] == '/')
			depth--;
		else if (end[-1] != '/')
			depth++;
		if (depth < 0)
			return false;
	}
	return !depth;
}

static unsigned int occurrences(const char *text, const char *of)
{
	unsigned int n = 0;

	while ((text = strstr(text, of))) {
		text += strlen(of);
		n++;
	}
	return n;
}

static char *plot(const struct latency_view *views, unsigned int n)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		bail("no memory");
	is(latency_svg(f, views, n), 0, "a plot of %u", n);
	fclose(f);
	return text;
}

static void t_svg(void)
{
	struct recording r[2] = { make_recording("<b>&\"one\"\n", 1000000),
				  make_recording("two", 2000000) };
	struct recording none = { .setup = json_object() };
	struct latency_view v[2], empty;
	char *one, *two, *nothing;

	if (latency_view_init(&v[0], &r[0]) || latency_view_init(&v[1], &r[1]) ||
	    latency_view_init(&empty, &none))
		bail("no memory");
	one = plot(v, 1);
	two = plot(v, 2);
	nothing = plot(&empty, 1);
	ok(balanced(one) && balanced(two) && balanced(nothing), "tags are balanced");
	ok(!strstr(one, "<b>") && strstr(one, "&lt;b&gt;&amp;&quot;one&quot; <"),
	   "labels are escaped");
	is(occurrences(one, "fill-opacity"), 1, "one histogram");
	is(occurrences(two, "fill-opacity"), 2, "two histograms");
	is(occurrences(two, ">p99.9<"), 2, "their tails are marked");
	is(occurrences(nothing, ">p50<"), 0, "nothing is marked where nothing was measured");
	ok(strstr(one, "1000 tokens: p50 1, p99 1, p99.9 3, max 3 ms; p99.9/p50 3.00"),
	   "the numbers are there");
	ok(strstr(one, ">time of a token, ms<") && strstr(one, ">tokens (logarithmic)<"),
	   "the axes have names");
	ok(strstr(one, ">1<") && strstr(one, ">10<") && strstr(one, ">100<"),
	   "the count's axis is logarithmic");
	ok(!strstr(two, "nan") && !strstr(nothing, "nan") && !strstr(nothing, "inf"),
	   "all are numbers");
	free(one);
	free(two);
	free(nothing);
	recording_free(&r[0]);
	recording_free(&r[1]);
	recording_free(&none);
}

/* ---- load ------------------------------------------------------------------------------------ */

static void t_load(void)
{
	static const char *const bad[] = {
		"", "batch", "batch:", "batch:0", "batch:65", "batch:x", "realtime:1", "else:1",
		"batch:1:sleep", "batch:1:decode:2", "batch:1,", ",batch:1", "batch:60,interactive:5",
		"batch:1,batch:1,batch:1,batch:1,batch:1",
	};
	struct load_spec s;
	char text[256];

	is(load_parse("batch:8", &s, &err), 0, "a group");
	is(s.n, 1, "  one");
	is(s.group[0].job_class, BITNET_CLASS_BATCH, "  its class");
	is(s.group[0].clients, 8, "  its clients");
	is(s.group[0].work, LOAD_PREFILL, "  prefill unless told otherwise");
	is_str(load_text(&s, text, sizeof(text)), "8 batch clients (prefill)", "  in words");
	is(load_parse("batch:2:prefill,interactive:1:decode", &s, &err), 0, "two groups");
	is_str(load_text(&s, text, sizeof(text)),
	       "2 batch clients (prefill), 1 interactive client (decode)", "  in words");
	is_str(load_text(&s, text, 10), "2 batch c", "  cut where there is no room");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&err, 0, sizeof(err));
		is(load_parse(bad[i], &s, &err), -EINVAL, "'%s' is no load", bad[i]);
		ok(!strncmp(err.msg, "--load: ", 8) && *err.hint, "  and is told of");
	}
	memset(&s, 0, sizeof(s));
	is_str(load_text(&s, text, sizeof(text)), "none", "no load");
}

int main(void)
{
	char path[] = "/tmp/bitnet-latency.XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		bail("no temporary file");
	close(fd);
	t_summary();
	t_axis();
	t_fill();
	t_recording(path);
	t_json();
	t_svg();
	t_load();
	unlink(path);
	return done();
}

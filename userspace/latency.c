// SPDX-License-Identifier: GPL-2.0
/* latency.c - times, their statistics and histograms; see latency.h */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latency.h"

/* ---- times ----------------------------------------------------------------------------------- */

int times_add(struct times *t, uint64_t ns)
{
	size_t room = t->room ? 2 * t->room : 1024;
	uint64_t *bigger;

	if (t->n == t->room) {
		bigger = realloc(t->ns, room * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		t->ns = bigger;
		t->room = room;
	}
	t->ns[t->n++] = ns;
	return 0;
}

void times_free(struct times *t)
{
	free(t->ns);
	memset(t, 0, sizeof(*t));
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Nearest rank; the product is exact: nobody has 2^54 tokens. */
static uint64_t quantile(const uint64_t *sorted, size_t n, unsigned int per_mille)
{
	return sorted[(n * per_mille + 999) / 1000 - 1];
}

int times_summary(const struct times *t, struct summary *s)
{
	uint64_t *sorted;

	memset(s, 0, sizeof(*s));
	if (!t->n)
		return 0;
	sorted = malloc(t->n * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, t->ns, t->n * sizeof(*sorted));
	qsort(sorted, t->n, sizeof(*sorted), compare);
	s->n = t->n;
	s->min = sorted[0];
	s->p50 = quantile(sorted, t->n, 500);
	s->p90 = quantile(sorted, t->n, 900);
	s->p99 = quantile(sorted, t->n, 990);
	s->p999 = quantile(sorted, t->n, 999);
	s->max = sorted[t->n - 1];
	for (size_t i = 0; i < t->n; i++)
		s->mean += (double)sorted[i] / t->n;
	free(sorted);
	return 0;
}

double summary_jitter(const struct summary *s)
{
	return s->p50 ? (double)s->p999 / s->p50 : 0;
}

/* ---- histograms ------------------------------------------------------------------------------ */

struct hist_axis hist_axis_for(uint64_t min, uint64_t max, unsigned int bins)
{
	double low = min ? min : 1, high = max > low ? max : low;
	struct hist_axis a = {
		.bins = bins < HIST_MAX_BINS ? bins : HIST_MAX_BINS,
		.log = high > HIST_LOG_RATIO * low,
	};

	/* a little room on both sides, so that neither end lies on an edge */
	if (a.log) {
		a.from = low / 1.02;
		a.to = high * 1.02;
	} else {
		a.to = high + 0.02 * (high - low) + 0.01 * low;
		a.from = low - 0.02 * (high - low) - 0.01 * low;
	}
	return a;
}

double hist_edge(const struct hist_axis *a, unsigned int i)
{
	double share = (double)i / a->bins;

	return a->log ? a->from * pow(a->to / a->from, share) : a->from + (a->to - a->from) * share;
}

double hist_place(const struct hist_axis *a, double ns)
{
	if (!a->log)
		return (ns - a->from) / (a->to - a->from);
	return ns > 0 ? log(ns / a->from) / log(a->to / a->from) : 0;
}

void hist_fill(struct hist *h, const struct hist_axis *a, const struct times *t)
{
	memset(h, 0, sizeof(*h));
	for (size_t i = 0; i < t->n; i++) {
		double place = hist_place(a, t->ns[i]) * a->bins;
		unsigned int bin = place < 0 ? 0 : place >= a->bins ? a->bins - 1 : place;

		h->count[bin]++;
		if (h->count[bin] > h->most)
			h->most = h->count[bin];
	}
}

static unsigned int ticks_log(const struct hist_axis *a, double ticks[HIST_MAX_TICKS])
{
	static const int steps[] = { 1, 2, 5 };
	double decade = pow(10, floor(log10(a->from)));
	/* where the axis has many decades, one tick in each must do */
	unsigned int n = 0, per_decade = log10(a->to / a->from) < 4 ? 3 : 1;

	for (; decade <= a->to && n < HIST_MAX_TICKS; decade *= 10)
		for (unsigned int i = 0; i < per_decade && n < HIST_MAX_TICKS; i++)
			if (decade * steps[i] >= a->from && decade * steps[i] <= a->to)
				ticks[n++] = decade * steps[i];
	return n;
}

static unsigned int ticks_linear(const struct hist_axis *a, double ticks[HIST_MAX_TICKS])
{
	double width = a->to - a->from, step = pow(10, floor(log10(width)));
	unsigned int n = 0;

	/* five to ten of 1, 2 or 5 times a power of ten */
	if (width / step < 2)
		step /= 5;
	else if (width / step < 5)
		step /= 2;
	for (double i = ceil(a->from / step); i * step <= a->to && n < HIST_MAX_TICKS; i++)
		ticks[n++] = i * step;
	return n;
}

unsigned int hist_ticks(const struct hist_axis *a, double ticks[HIST_MAX_TICKS])
{
	return a->log ? ticks_log(a, ticks) : ticks_linear(a, ticks);
}

/* ---- views ----------------------------------------------------------------------------------- */

int latency_view_init(struct latency_view *v, const struct recording *r)
{
	v->recording = r;
	return times_summary(&r->token, &v->token) || times_summary(&r->first, &v->first) ||
	       times_summary(&r->seen, &v->seen) ? -ENOMEM : 0;
}

static json_t *ms_json(double ns)
{
	return json_real(ns / 1e6);
}

static json_t *summary_json(const struct summary *s)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "count",
			 (json_int_t)s->n, "min_ms", ms_json(s->min), "p50_ms", ms_json(s->p50),
			 "p90_ms", ms_json(s->p90), "p99_ms", ms_json(s->p99), "p99_9_ms",
			 ms_json(s->p999), "max_ms", ms_json(s->max), "mean_ms", ms_json(s->mean),
			 "jitter_ms", ms_json(s->max - s->p50), "jitter_ratio", summary_jitter(s));
}

#define JSON_BINS	50

static json_t *hist_json(const struct latency_view *v)
{
	const struct hist_axis a = hist_axis_for(v->token.min, v->token.max, JSON_BINS);
	json_t *bins = json_array();
	struct hist h;

	hist_fill(&h, &a, &v->recording->token);
	for (unsigned int i = 0; i < a.bins && v->token.n; i++)
		if (h.count[i])
			json_array_append_new(bins, json_pack("{s:o, s:o, s:I}", "from_ms",
							      ms_json(hist_edge(&a, i)), "to_ms",
							      ms_json(hist_edge(&a, i + 1)), "count",
							      (json_int_t)h.count[i]));
	return bins;
}

json_t *latency_json(const struct latency_view *v)
{
	const struct recording *r = v->recording;
	json_t *j = json_deep_copy(r->setup);

	/* lines for people, of the same facts */
	json_object_del(j, "text");
	json_object_set_new(j, "clock", json_string("CLOCK_MONOTONIC"));
	json_object_set_new(j, "token", summary_json(&v->token));
	json_object_set_new(j, "first_token", summary_json(&v->first));
	json_object_set_new(j, "seen", summary_json(&v->seen));
	json_object_set_new(j, "histogram", hist_json(v));
	json_object_set_new(j, "late_tokens", json_integer(r->late));
	json_object_set_new(j, "load_tokens_per_s", json_real(r->load_tokens_per_s));
	json_object_set_new(j, "interrupted", json_boolean(r->interrupted));
	return j;
}

static json_t *ratio(double a, double b)
{
	return a > 0 ? json_real(b / a) : json_null();
}

json_t *latency_ratio_json(const struct latency_view *a, const struct latency_view *b)
{
	const struct summary *x = &a->token, *y = &b->token;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "p50", ratio(x->p50, y->p50),
			 "p90", ratio(x->p90, y->p90), "p99", ratio(x->p99, y->p99), "p99_9",
			 ratio(x->p999, y->p999), "max", ratio(x->max, y->max), "mean",
			 ratio(x->mean, y->mean), "jitter_ms",
			 ratio(x->max - x->p50, y->max - y->p50), "jitter_ratio",
			 ratio(summary_jitter(x), summary_jitter(y)), "first_token_p50",
			 ratio(a->first.p50, b->first.p50));
}

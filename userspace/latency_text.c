// SPDX-License-Identifier: GPL-2.0
/* latency_text.c - table and plot for terminals; see latency.h */
#include <math.h>
#include <string.h>

#include "latency.h"
#include "out.h"

#define PLOT_BINS	20
#define PLOT_WIDTH	60	/* characters of all bars of a line */

static const char marks[LATENCY_MAX_SERIES] = { '#', 'o' };

/* A time in ms with three significant digits; valid until the 16th next call. */
static const char *ms(double ns)
{
	static char text[16][24];
	static unsigned int next;
	char *s = text[next++ % 16];
	double v = ns / 1e6;

	snprintf(s, sizeof(text[0]), v >= 100 ? "%.0f" : v >= 10 ? "%.1f" : v >= 1 ? "%.2f" : "%.3f",
		 v);
	return s;
}

static void print_setup(const struct latency_view *v)
{
	static const char *const lines[] = { "model", "engine", "class", "load", "jobs", NULL };
	const json_t *text = json_object_get(v->recording->setup, "text");
	const char *s;

	for (int i = 0; lines[i]; i++) {
		s = json_string_value(json_object_get(text, lines[i]));
		if (s)
			printf("%-8s %s\n", lines[i], s);
	}
	if (v->recording->load_tokens_per_s > 0)
		printf("%-8s of load meanwhile: %.4g tokens/s\n", "rate",
		       v->recording->load_tokens_per_s);
	printf("%-8s CLOCK_MONOTONIC where the token was made; \"seen\": until this process had read it\n",
	       "clock");
	if (v->recording->interrupted)
		printf("%-8s interrupted: this is what there was until then\n", "note");
}

static void print_row(const char *name, const struct summary *s)
{
	printf("%-12s %8zu %8s %8s %8s %8s %8s %8s %8s", name, s->n, ms(s->p50), ms(s->p90),
	       ms(s->p99), ms(s->p999), ms(s->max), ms(s->mean), ms(s->max - s->p50));
	if (s->p50)
		printf(" %9.2f\n", summary_jitter(s));
	else
		printf(" %9s\n", "-");
}

static void print_head(void)
{
	printf("\n%s%-12s %8s %8s %8s %8s %8s %8s %8s %8s %9s%s\n", out_style(STYLE_BOLD), "ms",
	       "count", "p50", "p90", "p99", "p99.9", "max", "mean", "max-p50", "p99.9/p50",
	       out_style(STYLE_PLAIN));
}

static void print_one(const struct latency_view *v)
{
	const struct recording *r = v->recording;

	print_head();
	print_row("token", &v->token);
	print_row("first token", &v->first);
	print_row("seen", &v->seen);
	if (json_object_get(r->setup, "period_ms"))
		printf("late         %8llu of %zu tokens\n", (unsigned long long)r->late,
		       v->seen.n);
}

static void print_ratio(const char *name, double a, double b)
{
	if (a > 0)
		printf("%-12s %12.4g %12.4g %11.2fx\n", name, a, b, b / a);
	else
		printf("%-12s %12.4g %12.4g %12s\n", name, a, b, "-");
}

static void print_two(const struct latency_view *a, const struct latency_view *b)
{
	const struct summary *x = &a->token, *y = &b->token;

	printf("A %c      %s\nB %c      %s\n", marks[0], recording_label(a->recording), marks[1],
	       recording_label(b->recording));
	printf("\n%s%-12s %12s %12s %12s%s\n", out_style(STYLE_BOLD), "ms", "A", "B", "B/A",
	       out_style(STYLE_PLAIN));
	print_ratio("tokens", x->n, y->n);
	print_ratio("p50", x->p50 / 1e6, y->p50 / 1e6);
	print_ratio("p90", x->p90 / 1e6, y->p90 / 1e6);
	print_ratio("p99", x->p99 / 1e6, y->p99 / 1e6);
	print_ratio("p99.9", x->p999 / 1e6, y->p999 / 1e6);
	print_ratio("max", x->max / 1e6, y->max / 1e6);
	print_ratio("mean", x->mean / 1e6, y->mean / 1e6);
	print_ratio("max-p50", (x->max - x->p50) / 1e6, (y->max - y->p50) / 1e6);
	print_ratio("p99.9/p50", summary_jitter(x), summary_jitter(y));
	print_ratio("first p50", a->first.p50 / 1e6, b->first.p50 / 1e6);
	print_ratio("first max", a->first.max / 1e6, b->first.max / 1e6);
	print_ratio("seen p50", a->seen.p50 / 1e6, b->seen.p50 / 1e6);
	print_ratio("late tokens", a->recording->late, b->recording->late);
}

/* Bars grow with the logarithm of the count: one token is a bar already. */
static int bar_length(uint64_t count, uint64_t most, int width)
{
	return count ? 1 + (int)((width - 1) * log(count) / log(most > 1 ? most : 2) + 0.5) : 0;
}

static void print_bar(char mark, uint64_t count, uint64_t most, int width)
{
	int length = bar_length(count, most, width);

	if (!count)
		return;
	putchar(' ');
	for (int i = 0; i < length; i++)
		putchar(mark);
	printf(" %llu", (unsigned long long)count);
}

static void print_plot(const struct latency_view *views, unsigned int n)
{
	uint64_t min = UINT64_MAX, max = 0, most = 0;
	struct hist hist[LATENCY_MAX_SERIES];
	struct hist_axis a;

	for (unsigned int i = 0; i < n; i++) {
		if (!views[i].token.n)
			return;
		min = views[i].token.min < min ? views[i].token.min : min;
		max = views[i].token.max > max ? views[i].token.max : max;
	}
	a = hist_axis_for(min, max, PLOT_BINS);
	for (unsigned int i = 0; i < n; i++) {
		hist_fill(&hist[i], &a, &views[i].recording->token);
		most = hist[i].most > most ? hist[i].most : most;
	}
	printf("\n%s%17s   tokens (logarithmic)%s\n", out_style(STYLE_BOLD), "ms",
	       out_style(STYLE_PLAIN));
	for (unsigned int b = 0; b < a.bins; b++) {
		for (unsigned int i = 0; i < n; i++) {
			if (i)
				printf("%17s |", "");
			else
				printf("%8s %8s |", ms(hist_edge(&a, b)),
				       ms(hist_edge(&a, b + 1)));
			print_bar(marks[i], hist[i].count[b], most, PLOT_WIDTH);
			putchar('\n');
		}
	}
}

void latency_print(const struct latency_view *views, unsigned int n)
{
	if (n == 1) {
		print_setup(views);
		print_one(views);
	} else {
		print_two(&views[0], &views[1]);
	}
	print_plot(views, n);
}

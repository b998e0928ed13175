// SPDX-License-Identifier: GPL-2.0
/* latency_svg.c - the histogram of one or two recordings as a picture; see latency.h */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "latency.h"

/* Pixels */
#define WIDTH		960
#define HEIGHT		540
#define LEFT		80
#define RIGHT		24
#define TOP		132
#define BOTTOM		64
#define PLOT_WIDTH	(WIDTH - LEFT - RIGHT)
#define PLOT_HEIGHT	(HEIGHT - TOP - BOTTOM)
#define LEGEND_HEIGHT	38	/* of one recording: label, and numbers below */

#define FLOOR_COUNT	0.7	/* where the count's axis begins: a bin of 1 stands out from none */

/* Blue and orange: told apart with every kind of colour vision */
static const char *const colors[LATENCY_MAX_SERIES] = { "#0b62a4", "#d9730d" };

struct plot {
	FILE *f;
	struct hist_axis axis;
	uint64_t most;
	struct hist hist[LATENCY_MAX_SERIES];
};

static double x_of(const struct plot *p, double ns)
{
	return LEFT + PLOT_WIDTH * hist_place(&p->axis, ns);
}

static double y_of(const struct plot *p, double count)
{
	double top = log10((p->most > 10 ? p->most : 10) * 1.5);
	double place = count < FLOOR_COUNT ? 0 :
		(log10(count) - log10(FLOOR_COUNT)) / (top - log10(FLOOR_COUNT));

	return TOP + PLOT_HEIGHT * (1 - place);
}

/* Text that may hold anything, for XML */
static void put_escaped(FILE *f, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			/* control characters are not allowed in XML */
			fputc((unsigned char)*s < 0x20 ? ' ' : *s, f);
		}
	}
}

static void put_text(const struct plot *p, double x, double y, const char *attributes,
		     const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void put_text(const struct plot *p, double x, double y, const char *attributes,
		     const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(p->f, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	put_escaped(p->f, text);
	fputs("</text>\n", p->f);
}

static void put_time_axis(const struct plot *p)
{
	double ticks[HIST_MAX_TICKS];
	unsigned int n = hist_ticks(&p->axis, ticks);

	for (unsigned int i = 0; i < n; i++) {
		double x = x_of(p, ticks[i]);

		fprintf(p->f, "<path class=\"grid\" d=\"M%.1f %dV%d\"/>\n", x, TOP,
			TOP + PLOT_HEIGHT);
		put_text(p, x, TOP + PLOT_HEIGHT + 20, "text-anchor=\"middle\"", "%g",
			 ticks[i] / 1e6);
	}
	put_text(p, LEFT + PLOT_WIDTH / 2.0, HEIGHT - 18, "text-anchor=\"middle\"",
		 "time of a token, ms%s", p->axis.log ? " (logarithmic)" : "");
}

static void put_count_axis(const struct plot *p)
{
	for (double count = 1; y_of(p, count) >= TOP; count *= 10) {
		double y = y_of(p, count);

		fprintf(p->f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y,
			LEFT + PLOT_WIDTH);
		put_text(p, LEFT - 8, y + 4, "text-anchor=\"end\"", "%.0f", count);
	}
	fprintf(p->f,
		"<text transform=\"translate(22 %d) rotate(-90)\" text-anchor=\"middle\">tokens (logarithmic)</text>\n",
		TOP + PLOT_HEIGHT / 2);
}

/* The outline of the bins, down to the axis where they are empty. */
static void put_bins(const struct plot *p, unsigned int i)
{
	const struct hist *h = &p->hist[i];

	fprintf(p->f,
		"<path fill=\"%s\" fill-opacity=\"0.25\" stroke=\"%s\" stroke-width=\"1.5\" d=\"M%.1f %.1f",
		colors[i], colors[i], x_of(p, p->axis.from), y_of(p, 0));
	for (unsigned int b = 0; b < p->axis.bins; b++)
		fprintf(p->f, "V%.1fH%.1f", y_of(p, h->count[b]),
			x_of(p, hist_edge(&p->axis, b + 1)));
	fprintf(p->f, "V%.1fZ\"/>\n", y_of(p, 0));
}

static void put_mark(const struct plot *p, unsigned int i, double ns, const char *name)
{
	double x = x_of(p, ns);

	fprintf(p->f,
		"<path stroke=\"%s\" stroke-dasharray=\"5 3\" fill=\"none\" d=\"M%.1f %dV%d\"/>\n",
		colors[i], x, TOP, TOP + PLOT_HEIGHT);
	fprintf(p->f,
		"<text transform=\"translate(%.1f %d) rotate(-90)\" text-anchor=\"end\" fill=\"%s\" font-size=\"11\">%s</text>\n",
		i ? x + 11 : x - 3, TOP + 4, colors[i], name);
}

static void put_legend(const struct plot *p, unsigned int i, const struct latency_view *v)
{
	const struct summary *s = &v->token;
	double y = 52 + LEGEND_HEIGHT * i;

	fprintf(p->f, "<rect x=\"%d\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", LEFT,
		y - 11, colors[i]);
	put_text(p, LEFT + 20, y, "", "%.110s", recording_label(v->recording));
	put_text(p, LEFT + 20, y + 16, "font-size=\"12\" fill=\"#555\"",
		 "%zu tokens: p50 %.3g, p99 %.3g, p99.9 %.3g, max %.3g ms; p99.9/p50 %.2f", s->n,
		 s->p50 / 1e6, s->p99 / 1e6, s->p999 / 1e6, s->max / 1e6, summary_jitter(s));
}

static void put_frame(const struct plot *p)
{
	fprintf(p->f,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n"
		"<title>Time of a token</title>\n"
		"<style>.grid{stroke:#ddd;fill:none}</style>\n"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	put_text(p, LEFT, 26, "font-size=\"17\" font-weight=\"bold\"", "Time of a token");
}

int latency_svg(FILE *f, const struct latency_view *views, unsigned int n)
{
	struct plot p = { .f = f };
	uint64_t min = UINT64_MAX, max = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (!views[i].token.n)
			continue;
		min = views[i].token.min < min ? views[i].token.min : min;
		max = views[i].token.max > max ? views[i].token.max : max;
	}
	p.axis = hist_axis_for(max ? min : 0, max, HIST_MAX_BINS);
	for (unsigned int i = 0; i < n; i++) {
		hist_fill(&p.hist[i], &p.axis, &views[i].recording->token);
		p.most = p.hist[i].most > p.most ? p.hist[i].most : p.most;
	}
	put_frame(&p);
	put_time_axis(&p);
	put_count_axis(&p);
	for (unsigned int i = 0; i < n; i++)
		put_bins(&p, i);
	for (unsigned int i = 0; i < n; i++) {
		if (views[i].token.n) {
			put_mark(&p, i, views[i].token.p50, "p50");
			put_mark(&p, i, views[i].token.p999, "p99.9");
		}
		put_legend(&p, i, &views[i]);
	}
	fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#555\"/>\n</svg>\n",
		LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT);
	return ferror(f) ? -EIO : 0;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * latency.h - how long tokens take, one by one: recordings, their statistics, tables and plots
 *
 * All times are nanoseconds of CLOCK_MONOTONIC. A token's time is from the entry before it to its
 * own (time_ns of struct bitnet_ring_entry, read where the token was made: in the kernel, with the
 * device), the first one's since SUBMIT. How much later this process had read the entry is kept
 * apart.
 */
#ifndef BITNETCTL_LATENCY_H
#define BITNETCTL_LATENCY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bitnet.h"
#include "jobclass.h"

/* ---- times ----------------------------------------------------------------------------------- */

/** struct times - times in the order in which they came, ns */
struct times {
	uint64_t *ns;
	size_t n, room;
};

/** times_add() - Return: 0 or -ENOMEM */
int times_add(struct times *t, uint64_t ns);
void times_free(struct times *t);

/**
 * struct summary - what is said about times; all 0 without any
 * @p50 ... @p999: nearest rank: the smallest time that at least this share of all do not exceed, ns
 * @mean:	ns
 */
struct summary {
	size_t n;
	uint64_t min, p50, p90, p99, p999, max;
	double mean;
};

/** times_summary() - Return: 0 or -ENOMEM */
int times_summary(const struct times *t, struct summary *s);

/** summary_jitter() - p99.9 / p50, 0 where there is nothing to divide */
double summary_jitter(const struct summary *s);

/* ---- histograms ------------------------------------------------------------------------------ */

#define HIST_MAX_BINS	100
#define HIST_LOG_RATIO	10	/* times further apart than this get bins of equal ratio */

/**
 * struct hist_axis - bins of time
 * @from, @to:	ns, 0 < @from < @to; a time outside counts in the first or last bin
 * @bins:	1 .. HIST_MAX_BINS
 * @log:	bins grow by the same factor; else all have the same width
 */
struct hist_axis {
	double from, to;
	unsigned int bins;
	bool log;
};

struct hist {
	uint64_t count[HIST_MAX_BINS];
	uint64_t most;		/* largest of them */
};

/** hist_axis_for() - an axis that shows times from @min to @max, in @bins bins */
struct hist_axis hist_axis_for(uint64_t min, uint64_t max, unsigned int bins);

/** hist_edge() - where bin @i begins, ns; @i == bins: where the last ends */
double hist_edge(const struct hist_axis *a, unsigned int i);

/** hist_place() - where on the axis a time is: 0 at @from, 1 at @to */
double hist_place(const struct hist_axis *a, double ns);

void hist_fill(struct hist *h, const struct hist_axis *a, const struct times *t);

#define HIST_MAX_TICKS	16

/** hist_ticks() - round times on the axis, ascending, ns. Return: how many, at least 1 */
unsigned int hist_ticks(const struct hist_axis *a, double ticks[HIST_MAX_TICKS]);

/* ---- recordings ------------------------------------------------------------------------------ */

#define RECORDING_KIND	"bitnet-latency"

/**
 * struct recording - one measurement
 * @setup:	what was measured: an object for people and programs to read, with "label"
 * @token:	time of each token but the first of each job
 * @first:	of these
 * @seen:	of all tokens: from the entry's time until this process had read it
 * @late:	tokens of a realtime job that came after they were due
 * @load_tokens_per_s: what the load did meanwhile
 * @interrupted: it was ended before all was measured
 */
struct recording {
	json_t *setup;
	struct times token, first, seen;
	uint64_t late;
	double load_tokens_per_s;
	bool interrupted;
};

void recording_free(struct recording *r);

/** recording_label() - what the plots call it */
const char *recording_label(const struct recording *r);

/** recording_write() - to a file. Return: 0 or a negative errno */
int recording_write(const struct recording *r, const char *path, struct bitnet_error *err);

/**
 * recording_read() - of a file that recording_write() made
 *
 * Return: 0, -EINVAL if it is something else or damaged, or an errno of reading. @r is to be freed
 * only after 0.
 */
int recording_read(struct recording *r, const char *path, struct bitnet_error *err);

/* ---- what is shown --------------------------------------------------------------------------- */

#define LATENCY_MAX_SERIES	2

/**
 * struct latency_view - a recording and its statistics
 */
struct latency_view {
	const struct recording *recording;
	struct summary token, first, seen;
};

/** latency_view_init() - Return: 0 or -ENOMEM */
int latency_view_init(struct latency_view *v, const struct recording *r);

/** latency_json() - a recording's set-up and statistics, without its times */
json_t *latency_json(const struct latency_view *v);

/** latency_ratio_json() - @b's statistics over @a's; null where there is nothing to divide by */
json_t *latency_ratio_json(const struct latency_view *a, const struct latency_view *b);

/** latency_print() - table and plot of one or two recordings, on stdout */
void latency_print(const struct latency_view *views, unsigned int n);

/**
 * latency_svg() - plot of the tokens' times: histogram with a logarithmic count
 *
 * Return: 0, or -EIO if @f could not be written.
 */
int latency_svg(FILE *f, const struct latency_view *views, unsigned int n);

/* ---- measuring and load ---------------------------------------------------------------------- */

#define LOAD_MAX_GROUPS		4
#define LOAD_MAX_CLIENTS	64

enum load_work { LOAD_PREFILL, LOAD_DECODE };

/** struct load_group - @clients processes that all do the same without a pause */
struct load_group {
	int job_class;		/* BITNET_CLASS_INTERACTIVE or BITNET_CLASS_BATCH */
	unsigned int clients;
	enum load_work work;
};

struct load_spec {
	struct load_group group[LOAD_MAX_GROUPS];
	unsigned int n;
};

/** load_parse() - "CLASS:N[:prefill|:decode],..."; -EINVAL with a sentence if it is not that */
int load_parse(const char *text, struct load_spec *spec, struct bitnet_error *err);

/** load_text() - "8 batch clients (prefill), ..."; "none" */
const char *load_text(const struct load_spec *spec, char *text, size_t size);

struct load;

/**
 * struct load_target - what the load's processes work on
 * @engine:	of the calling process, which its children close
 * @options:	to open engines of their own
 * @shared:	name of a shared model, or NULL: load @image
 * @tokens:	of a prompt, or to make
 */
struct load_target {
	struct bitnet_engine *engine;
	struct bitnet_engine_options options;
	const char *shared;
	const struct bitnet_image *image;
	uint32_t vocab, tokens;
};

/**
 * load_start() - start the load's processes, and return once each has a first result
 *
 * They end with the calling thread, however that ends. Return: 0, with NULL in @load for an empty
 * @spec, or a negative errno.
 */
int load_start(const struct load_spec *spec, const struct load_target *target, struct load **load,
	       struct bitnet_error *err);

/** load_tokens() - tokens that the load's processes computed so far, prompts' and generated ones */
uint64_t load_tokens(const struct load *load);

/** load_check() - Return: 0 while all of them run, else the errno of one that has ended */
int load_check(struct load *load, struct bitnet_error *err);

/**
 * load_stop() - end them. Return: 0, or the errno of one that failed before. @load may be NULL
 */
int load_stop(struct load *load, struct bitnet_error *err);

#endif

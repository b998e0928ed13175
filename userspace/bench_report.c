// SPDX-License-Identifier: GPL-2.0
/* bench_report.c - what 'bitnetctl bench' found, for people and for programs */
#include <string.h>

#include <linux/bitnet_image.h>

#include "bench.h"
#include "out.h"

#ifdef __clang__
#define COMPILER	"clang " __clang_version__
#else
#define COMPILER	"gcc " __VERSION__
#endif

static const char *const unit_names[] = { "GB/s", "tokens/s", "ms" };
static const char *const limit_names[] = { "read", "int8" };

static const char *packing_name(const struct bench *b)
{
	return b->model.info.out_packing == BITNET_IMAGE_FMT_T1 ? "t1" : "t2";
}

static bool on_device(const struct bench *b)
{
	return bitnet_engine_kind(b->model.engine) == BITNET_ENGINE_DEVICE;
}

static const struct bench_row *find_row(const struct bench *b, const char *name)
{
	for (unsigned int i = 0; i < b->n_rows; i++)
		if (!strcmp(b->rows[i].name, name))
			return &b->rows[i];
	return NULL;
}

/* Share of up and down that decoding reads; negative if nobody knows. */
static double ffn_share(const struct bench *b)
{
	const struct bench_row *layers = find_row(b, "layers");
	double share;

	if (!b->counted || !layers || !layers->bytes.n)
		return -1;
	share = 1 - (b->sizes.layers - series_median(&layers->bytes)) / b->sizes.ffn;
	return share < 0 ? 0 : share;
}

/* ---- for people ------------------------------------------------------------------------------ */

/* Three digits or so; valid until the 8th next call */
static const char *number(double v)
{
	static char text[8][24];
	static unsigned int next;
	char *s = text[next++ % 8];

	snprintf(s, sizeof(text[0]), "%.*f", v >= 99.95 ? 0 : v >= 9.995 ? 1 : v >= 0.1 ? 2 : 4, v);
	return s;
}

/* "12.3 (11.9 .. 12.4)" */
static const char *spread(const struct series *s)
{
	static char text[4][80];
	static unsigned int next;
	char *t = text[next++ % 4];

	if (!s->n)
		snprintf(t, sizeof(text[0]), "-");
	else
		snprintf(t, sizeof(text[0]), "%s (%s .. %s)", number(series_median(s)),
			 number(series_least(s)), number(series_most(s)));
	return t;
}

static void print_pages(const struct bench *b)
{
	if (!b->model.image_bytes) {
		printf("\n");
		return;
	}
	printf(", %.0f %% in huge pages\n", 100.0 * b->model.huge_bytes / b->model.image_bytes);
}

static void print_head(const struct bench *b)
{
	const struct bitnet_info *e = &b->model.engine_info;
	const struct bitnet_model_info *i = &b->model.info;
	const char *parts = on_device(b) ? "worker" : "thread";
	const char *fallback = b->model.fallback;

	printf("CPU      %s, %u online, %s of cache\n", b->machine.cpu, b->machine.cpus,
	       out_size(b->machine.cache_bytes));
	printf("system   Linux %s; compiled by %s\n", b->machine.kernel, COMPILER);
	printf("model    %.*s: %u layers of %u and %u, vocabulary %u, packed as %s, %s",
	       BITNET_NAME_BYTES, i->out_name, i->out_n_layers, i->out_hidden, i->out_ffn,
	       i->out_vocab, packing_name(b), out_size(i->out_image_bytes));
	print_pages(b);
	printf("engine   %s, %s, %u %s%s%s%s%s\n", on_device(b) ? "device" : "local",
	       e->out_variant, e->out_workers, parts, e->out_workers == 1 ? "" : "s",
	       *fallback ? " (" : "", fallback, *fallback ? ")" : "");
	printf("runs     %u; median (least .. most), and the share of the limit\n", b->runs);
}

static void print_limit(const char *label, const struct series *one, const struct series *all,
			const char *unit)
{
	printf("%-32s %-26s %-26s %s\n", label, one ? spread(one) : "", spread(all), unit);
}

static void print_limits(const struct bench *b)
{
	const struct bench_limits *l = &b->limits;
	char label[48], threads[24];

	snprintf(threads, sizeof(threads), "%u thread%s", l->threads, l->threads == 1 ? "" : "s");
	printf("\n%s%-32s %-26s %s%s\n", out_style(STYLE_BOLD), "limit", "1 thread", threads,
	       out_style(STYLE_PLAIN));
	snprintf(label, sizeof(label), "read %s, %.0f %% huge", out_size(l->buffer.length),
		 100.0 * l->huge_bytes / l->buffer.length);
	print_limit(label, &l->read_one, &l->read_all, "GB/s");
	if (l->hot_bytes) {
		snprintf(label, sizeof(label), "read %s, from caches", out_size(l->hot_bytes));
		print_limit(label, NULL, &l->read_hot, "GB/s");
	}
	print_limit(bench_peak_name(l->ops), &l->peak_one, &l->peak_all, "GMAC/s");
}

static void print_row(const struct bench_row *r)
{
	char share[40] = "", bytes[40] = "";

	if (r->ratio.n)
		snprintf(share, sizeof(share), "%4s %% of %s",
			 number(100 * series_median(&r->ratio)), limit_names[r->limit]);
	if (r->bytes.n)
		snprintf(bytes, sizeof(bytes), "  %s MB/token",
			 number(series_median(&r->bytes) / 1e6));
	printf("%-37s %-28s %-8s %s%s\n", r->label, spread(&r->value), unit_names[r->unit], share,
	       bytes);
}

static void print_weights(const struct bench *b)
{
	const struct bench_row *decode = find_row(b, "decode"), *layers = find_row(b, "layers");
	double all, of_layers;

	if (!decode || !b->counted)
		return;
	all = series_median(&decode->bytes);
	printf("\nweights  %s MB a token are read when decoding", number(all / 1e6));
	if (layers) {
		of_layers = series_median(&layers->bytes);
		printf(": layers %s of %s MB (%.0f %% of ffn_up and ffn_down), head %s MB",
		       number(of_layers / 1e6), number(b->sizes.layers / 1e6), 100 * ffn_share(b),
		       number((all - of_layers) / 1e6));
	}
	printf("\n");
}

void bench_print(const struct bench *b)
{
	print_head(b);
	print_limits(b);
	printf("\n%s%-37s %-37s %s%s\n", out_style(STYLE_BOLD), "measured", "speed", "share",
	       out_style(STYLE_PLAIN));
	for (unsigned int i = 0; i < b->n_rows; i++)
		print_row(&b->rows[i]);
	print_weights(b);
	for (unsigned int i = 0; i < b->n_notes; i++)
		printf("%snote     %s\n", !i && !find_row(b, "decode") ? "\n" : "", b->notes[i]);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static json_t *series_json(const struct series *s)
{
	if (!s->n)
		return json_null();
	return json_pack("{s:f, s:f, s:f}", "median", series_median(s), "least", series_least(s),
			 "most", series_most(s));
}

static json_t *limits_json(const struct bench *b)
{
	const struct bench_limits *l = &b->limits;

	return json_pack("{s:i, s:I, s:I, s:s, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "threads",
			 (int)l->threads, "buffer_bytes", (json_int_t)l->buffer.length,
			 "buffer_huge_bytes", (json_int_t)l->huge_bytes, "instructions",
			 bench_peak_name(l->ops), "read_gb_per_s", "one", series_json(&l->read_one),
			 "all", series_json(&l->read_all), "caches", series_json(&l->read_hot),
			 "int8_gmac_per_s", "one", series_json(&l->peak_one), "all",
			 series_json(&l->peak_all));
}

static json_t *row_json(const struct bench *b, const struct bench_row *r)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:o, s:s, s:o}", "name", r->name, "label", r->label,
			      "unit", unit_names[r->unit], "value", series_json(&r->value),
			      "limit", limit_names[r->limit], "ratio", series_json(&r->ratio));

	if (r->bytes.n)
		json_object_set_new(j, "bytes_per_token", json_real(series_median(&r->bytes)));
	if (r->gemv.matrix)
		json_object_set_new(j, "product",
				    json_pack("{s:s, s:s, s:i, s:i, s:b, s:i}", "matrix",
					      r->gemv.matrix, "packing",
					      r->gemv.packing == BN_T1 ? "t1" : "t2", "rows",
					      (int)r->gemv.rows, "cols", (int)r->gemv.cols,
					      "by_column", r->gemv.by_column, "one_of",
					      (int)r->gemv.every));
	if (r->sessions)
		json_object_set_new(j, b->processes ? "processes" : "sessions",
				    json_integer(r->sessions));
	return j;
}

static json_t *model_part(const struct bench *b)
{
	const struct bench_sizes *z = &b->sizes;
	json_t *j = model_json(&b->model), *pages = json_null();
	double share = ffn_share(b);

	if (b->model.image_bytes)
		pages = json_pack("{s:I, s:I}", "image_bytes", (json_int_t)b->model.image_bytes,
				  "huge_bytes", (json_int_t)b->model.huge_bytes);
	json_object_set_new(j, "packing", json_string(packing_name(b)));
	json_object_set_new(j, "image_bytes", json_integer(b->model.info.out_image_bytes));
	json_object_set_new(j, "pages", pages);
	json_object_set_new(j, "macs_per_token", json_real(z->macs));
	json_object_set_new(j, "layer_bytes", json_real(z->layers));
	json_object_set_new(j, "ffn_up_down_bytes", json_real(z->ffn));
	json_object_set_new(j, "ffn_up_down_read", share < 0 ? json_null() : json_real(share));
	return j;
}

json_t *bench_json(const struct bench *b)
{
	json_t *rows = json_array(), *notes = json_array(), *machine;
	const struct bench_machine *m = &b->machine;

	for (unsigned int i = 0; i < b->n_rows; i++)
		json_array_append_new(rows, row_json(b, &b->rows[i]));
	for (unsigned int i = 0; i < b->n_notes; i++)
		json_array_append_new(notes, out_string(b->notes[i], strlen(b->notes[i])));
	machine = json_pack("{s:o, s:s, s:s, s:i, s:I, s:f}", "cpu",
			    out_string(m->cpu, strlen(m->cpu)), "kernel", m->kernel, "compiler",
			    COMPILER, "cpus", (int)m->cpus, "cache_bytes",
			    (json_int_t)m->cache_bytes, "load", m->load);
	return json_pack("{s:o, s:o, s:o, s:i, s:i, s:b, s:o, s:o, s:o}", "machine", machine,
			 "engine", model_engine_json(&b->model), "model", model_part(b), "runs",
			 (int)b->runs, "tokens", (int)b->tokens, "bytes_counted", b->counted,
			 "limits", limits_json(b), "results", rows, "notes", notes);
}

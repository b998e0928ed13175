// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_bench.c - how fast this machine is, and how near to its own limits; see bench.h
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/bitnet_image.h>

#include "bench.h"
#include "bitnetctl.h"
#include "cpu.h"
#include "interrupt.h"
#include "model.h"

/* Sizes: of a measurement that counts, and of one that shows that it works */
#define RUNS		5
#define TOKENS		64
#define PROMPT		512
#define BUFFER_MIB	1024
#define QUICK_RUNS	1
#define QUICK_TOKENS	8
#define QUICK_PROMPT	32
#define QUICK_BUFFER_MIB 32

#define WARM_TOKENS	8
#define WARM_PROMPT	64
#define MIN_CACHES	4		/* the buffer is at least so many times the caches */
#define BUSY_LOAD	0.5		/* runnable tasks before we began */
#define BUSY_SHARE	0.03		/* of the CPUs' time: others' and the hypervisor's */

/* What --only names, as enum bench_item */
static const char *const item_names[] = { "gemv", "decode", "head", "dense", "context", "prefill",
					  "batch", NULL };

struct bench_values {
	struct engine_args engine;
	struct file_args file;
	const char *model_name, *only;
	uint32_t runs, tokens, prompt, context, buffer_mib;
	bool processes, quick;
};

const struct arg bench_args[] = {
	ARG("only", 0, ARG_STRING, struct bench_values, only, "LIST",
	    "of gemv,decode,head,dense,context,prefill,batch (all that can be)",
	    .choices = item_names),
	ARG("runs", 'r', ARG_U32, struct bench_values, runs, "N",
	    "how often each is measured; the median counts (5)", .min = 1, .max = BENCH_MAX_RUNS),
	ARG("tokens", 'n', ARG_U32, struct bench_values, tokens, "N",
	    "tokens to make in each decode (64)", .min = 2, .max = BENCH_MAX_TOKENS),
	ARG("prompt-tokens", 'p', ARG_U32, struct bench_values, prompt, "N",
	    "tokens of the prompt of prefill (512)", .min = 1, .max = 1U << 20),
	ARG("context", 'c', ARG_U32, struct bench_values, context, "N",
	    "decode behind a context of N tokens too", .min = 1, .max = 1U << 20),
	ARG("processes", 0, ARG_FLAG, struct bench_values, processes, NULL,
	    "batch: a process for each session, not one for all"),
	ARG("buffer", 0, ARG_U32, struct bench_values, buffer_mib, "MIB",
	    "memory to read for the limits (1024)", .min = 16),
	ARG("quick", 0, ARG_FLAG, struct bench_values, quick, NULL,
	    "one run with small sizes, to see that it works; its numbers mean little"),
	ARG("engine", 0, ARG_CHOICE, struct bench_values, engine.kind, "WHICH",
	    "auto, device or local; auto: the device if there is one", .choices = engine_names),
	ARG("threads", 't', ARG_U32, struct bench_values, engine.threads, "N",
	    "local engine: threads (one per CPU)", .min = 1, .max = 256),
	ARG("variant", 0, ARG_STRING, struct bench_values, engine.variant, "NAME",
	    "local engine: SIMD variant (the fastest)", .completion = COMPLETE_VARIANT),
	ARG("device", 0, ARG_STRING, struct bench_values, engine.device, "PATH",
	    "the device (" BITNET_DEVICE_PATH ")", .completion = COMPLETE_FILE),
	ARG("model-name", 0, ARG_STRING, struct bench_values, model_name, "NAME",
	    "use the shared model NAME; MODEL gives the tokenizer", .completion = COMPLETE_NAME),
	FILE_ARGS(struct bench_values, file),
	{ 0 }
};

/* ---- rows ------------------------------------------------------------------------------------ */

static void note(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	if (b->n_notes == BENCH_MAX_NOTES)
		return;
	va_start(ap, fmt);
	vsnprintf(b->notes[b->n_notes++], sizeof(b->notes[0]), fmt, ap);
	va_end(ap);
}

/* Layers and @head bytes of a token: those of the layers are counted, or all */
static void set_rate(const struct bench *b, const struct bench_row *r, const struct bench_speed *s,
		     double layers, double head, struct bench_rate *rate)
{
	rate->bytes = b->counted ? s->bytes + (b->uncounted > 0 ? head : 0) : layers + head;
	rate->value = r->unit == UNIT_MS ? s->seconds * 1e3 : 1 / s->seconds;
	rate->gb_per_s = rate->bytes / s->seconds / 1e9;
	rate->gmac_per_s = b->sizes.macs / s->seconds / 1e9;
}

static int measure_gemv(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			struct bitnet_error *err)
{
	double speed = bench_gemv_run(&b->limits, &r->gemv, err);

	rate->value = rate->gb_per_s = speed;
	return speed < 0 ? (int)speed : 0;
}

static int measure_decode(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			  struct bitnet_error *err)
{
	int ret = bench_decode(&b->normal, 0, b->tokens, &b->last_decode, err);

	if (!ret)
		set_rate(b, r, &b->last_decode, b->sizes.layers, b->sizes.head, rate);
	return ret;
}

static int measure_dense(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			 struct bitnet_error *err)
{
	struct bench_speed speed;
	int ret = bench_decode(&b->dense, 0, b->tokens, &speed, err);

	if (!ret)
		set_rate(b, r, &speed, b->sizes.layers, b->sizes.head, rate);
	return ret;
}

static int measure_context(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			   struct bitnet_error *err)
{
	struct bench_speed speed;
	int ret = bench_decode(&b->past, b->context - b->tokens, b->tokens, &speed, err);

	if (!ret)
		set_rate(b, r, &speed, b->sizes.layers, b->sizes.head, rate);
	return ret;
}

/* Right behind the decode whose steps it repeats, or with one of its own. */
static int measure_layers(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			  struct bitnet_error *err)
{
	bool alone = r == b->rows || r[-1].measure != measure_decode;
	int ret = 0;

	if (alone)
		ret = bench_decode(&b->normal, 0, b->tokens, &b->last_decode, err);
	if (!ret)
		ret = bench_layers(&b->normal, &b->last_layers, err);
	if (!ret)
		set_rate(b, r, &b->last_layers, b->sizes.layers, 0, rate);
	return ret;
}

/* What decode takes longer than its layers alone; in the noise that may be nothing. */
static int measure_head(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			struct bitnet_error *err)
{
	struct bench_speed head = {
		.seconds = b->last_decode.seconds - b->last_layers.seconds,
		.bytes = b->last_decode.bytes - b->last_layers.bytes,
	};

	if (head.seconds > 0)
		set_rate(b, r, &head, 0, b->sizes.head, rate);
	return 0;
}

static int measure_prefill(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			   struct bitnet_error *err)
{
	struct bench_speed speed;
	int ret = bench_prefill(&b->normal, b->prompt, &speed, err);

	if (!ret)
		set_rate(b, r, &speed, 0, 0, rate);
	return ret;
}

static int measure_batch(struct bench *b, const struct bench_row *r, struct bench_rate *rate,
			 struct bitnet_error *err)
{
	struct bench_speed speed;
	int ret;

	ret = (b->processes ? bench_processes : bench_batch)(&b->normal, r->sessions, b->tokens,
							     &speed, err);
	if (!ret)
		set_rate(b, r, &speed, b->sizes.layers / r->sessions,
			 b->sizes.head / r->sessions, rate);
	return ret;
}

/* Put @rate beside the @limits of its time. */
static void add_rate(struct bench_row *r, const struct bench_rate *rate,
		     const struct bench_now *limits)
{
	double read = rate->gb_per_s / (r->gemv.matrix ? limits->stream : limits->read);
	double int8 = rate->gmac_per_s / limits->peak;

	if (rate->value <= 0)
		return;
	if (r->limit == LIMIT_NEARER)
		r->limit = read >= int8 ? LIMIT_READ : LIMIT_INT8;
	series_add(&r->value, rate->value);
	series_add(&r->ratio, r->limit == LIMIT_READ ? read : int8);
	if (rate->bytes > 0)
		series_add(&r->bytes, rate->bytes);
}

static struct bench_row *add_row(struct bench *b, const char *name, enum bench_unit unit,
				 int (*measure)(struct bench *b, const struct bench_row *r,
						struct bench_rate *rate,
						struct bitnet_error *err))
{
	struct bench_row *r = &b->rows[b->n_rows++];

	r->name = name;
	r->unit = unit;
	r->measure = measure;
	snprintf(r->label, sizeof(r->label), "%s", name);
	return r;
}

static void add_gemv(struct bench *b, struct bench_gemv g)
{
	struct bench_row *r = add_row(b, "gemv", UNIT_GBPS, measure_gemv);
	char sparse[32] = "";

	if (g.every > 1)
		snprintf(sparse, sizeof(sparse), ", 1 %s of %u", g.by_column ? "column" : "row",
			 g.every);
	snprintf(r->label, sizeof(r->label), "%s %s %ux%u%s", g.packing == BN_T1 ? "t1" : "t2",
		 g.matrix, g.rows, g.cols, sparse);
	r->gemv = g;
}

/* The products of a decode step, in both packings: dense ones, and what sparsity leaves of two. */
static void add_gemvs(struct bench *b, uint32_t packing)
{
	const struct bitnet_model_info *i = &b->model.info;
	uint32_t q = i->out_n_heads * i->out_head_dim, kv = i->out_n_kv_heads * i->out_head_dim;
	struct bench_gemv g = { .packing = packing, .every = 1 };

	g.matrix = q == i->out_hidden ? "attn_q, _out" : "attn_q";
	g.rows = q;
	g.cols = i->out_hidden;
	add_gemv(b, g);
	g.matrix = "attn_k, _v";
	g.rows = kv;
	add_gemv(b, g);
	if (q != i->out_hidden) {
		g.matrix = "attn_out";
		g.rows = i->out_hidden;
		g.cols = q;
		add_gemv(b, g);
	}
	g.matrix = "ffn_gate, _up";
	g.rows = i->out_ffn;
	g.cols = i->out_hidden;
	add_gemv(b, g);
	g.matrix = "ffn_up";
	g.every = 4;
	add_gemv(b, g);
	g = (struct bench_gemv){ .matrix = "ffn_down", .rows = i->out_hidden, .cols = i->out_ffn,
				 .packing = packing, .by_column = true, .every = 1 };
	add_gemv(b, g);
	g.every = 6;
	add_gemv(b, g);
}

static void add_rows(struct bench *b, const bool *wanted)
{
	struct bench_row *r;

	if (wanted[ITEM_GEMV]) {
		add_gemvs(b, BN_T2);
		add_gemvs(b, BN_T1);
	}
	if (wanted[ITEM_DECODE])
		add_row(b, "decode", UNIT_TOKENS_PER_S, measure_decode);
	if (wanted[ITEM_HEAD]) {
		add_row(b, "layers", UNIT_MS, measure_layers);
		add_row(b, "head", UNIT_MS, measure_head);
	}
	if (wanted[ITEM_DENSE])
		add_row(b, "dense", UNIT_TOKENS_PER_S, measure_dense);
	if (wanted[ITEM_CONTEXT]) {
		r = add_row(b, "context", UNIT_TOKENS_PER_S, measure_context);
		snprintf(r->label, sizeof(r->label), "decode, context %u", b->context);
	}
	if (wanted[ITEM_PREFILL]) {
		r = add_row(b, "prefill", UNIT_TOKENS_PER_S, measure_prefill);
		r->limit = LIMIT_INT8;
		snprintf(r->label, sizeof(r->label), "prefill, %u tokens", b->prompt);
	}
	for (unsigned int n = 1; wanted[ITEM_BATCH] && n <= BENCH_MAX_SESSIONS; n *= 2) {
		if (b->quick && n > 2)
			break;
		r = add_row(b, "batch", UNIT_TOKENS_PER_S, measure_batch);
		r->sessions = n;
		r->limit = LIMIT_NEARER;
		snprintf(r->label, sizeof(r->label), "%u %s%s", n,
			 b->processes ? "process" : "session",
			 n == 1 ? "" : b->processes ? "es together" : "s together");
	}
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void find_sizes(struct bench *b)
{
	const struct bitnet_model_info *i = &b->model.info;
	uint32_t packing = i->out_packing == BITNET_IMAGE_FMT_T1 ? BN_T1 : BN_T2;
	double q = (double)i->out_n_heads * i->out_head_dim;
	double kv = (double)i->out_n_kv_heads * i->out_head_dim;
	double hidden = i->out_hidden, ffn = i->out_ffn, layers = i->out_n_layers;
	double by_hidden = bn_line_bytes(packing, i->out_hidden);

	b->sizes.macs = layers * (hidden * (2 * q + 2 * kv) + 3 * hidden * ffn);
	/* up by rows, down by columns: both have lines of @hidden weights */
	b->sizes.ffn = layers * 2 * ffn * by_hidden;
	b->sizes.layers = b->sizes.ffn +
			  layers * ((q + 2 * kv + ffn) * by_hidden +
				    hidden * bn_line_bytes(packing, i->out_n_heads *
							   i->out_head_dim));
	b->sizes.head = 2.0 * i->out_vocab * hidden;
}

/* What an image of the GGUF takes, about; 0: it is one already, and mapped. */
static uint64_t image_estimate(const struct bitnet_model_file *file)
{
	uint64_t bytes = 0;

	if (file->packed)
		return 0;
	for (size_t i = 0; i < bitnet_gguf_n_tensors(file->gguf); i++) {
		const struct bitnet_gguf_tensor *t = bitnet_gguf_tensor_at(file->gguf, i);

		switch (t->type) {
		case BITNET_TENSOR_I2_S:
		case BITNET_TENSOR_TQ1_0:
		case BITNET_TENSOR_TQ2_0:
			bytes += t->n_elems / 4;
			break;
		default:
			bytes += t->n_elems * (t->n_dims > 1 ? 2 : 4);
		}
	}
	return bytes;
}

/*
 * Packing a model only to run out of memory afterwards helps nobody: look before. The model may be
 * on the device already, but that is known later.
 */
static int check_memory(const struct bench_values *v, const char *path, struct bitnet_error *err)
{
	uint64_t buffer = (uint64_t)v->buffer_mib << 20, available = bench_memory_available();
	struct bitnet_model_file file = { 0 };
	char name[BITNET_NAME_BYTES];
	uint64_t image;
	int ret;

	ret = model_find_file(path, &v->file, &file, name, err);
	if (ret)
		return ret;
	image = name[0] ? 0 : image_estimate(&file);
	bitnet_model_file_close(&file);
	if (image + buffer <= available)
		return 0;
	bitnet_error_set(err, ENOMEM, "%s of memory are needed (model %s, buffer %s), %s available",
			 out_size(image + buffer), out_size(image), out_size(buffer),
			 out_size(available));
	return bitnet_error_hint(err, "--buffer takes a smaller one, at best %u times the caches",
				 MIN_CACHES);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static const char demo_model[] = "demo-i2_s.gguf";

/* The demo model is where it was installed, or in the source tree that this was built in. */
static int find_demo(char *path, size_t size, struct bitnet_error *err)
{
	static const char *const from_program[] = { "../share/bitnet", "../userspace/models",
						    "../../userspace/models" };
	char program[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n > 0) {
		program[n] = '\0';
		slash = strrchr(program, '/');
		*slash = '\0';
		for (unsigned int i = 0; i < sizeof(from_program) / sizeof(from_program[0]); i++) {
			n = snprintf(path, size, "%s/%s/%s", program, from_program[i], demo_model);
			if (n > 0 && (size_t)n < size && !access(path, R_OK))
				return 0;
		}
	}
	bitnet_error_set(err, ENOENT, "the demo model, %s, is not installed", demo_model);
	return bitnet_error_hint(err, "name a model: bitnetctl bench MODEL");
}

/* Which items @list names. */
static int parse_only(const char *list, bool *wanted, struct bitnet_error *err)
{
	const char *nearest;
	char word[32];
	size_t len;
	int i;

	for (; list; list = list[len] ? list + len + 1 : NULL) {
		len = strcspn(list, ",");
		snprintf(word, sizeof(word), "%.*s", (int)len, list);
		for (i = 0; item_names[i] && strcmp(item_names[i], word); i++)
			;
		if (item_names[i]) {
			wanted[i] = true;
			continue;
		}
		bitnet_error_set(err, EINVAL, "--only: '%s' is nothing that is measured", word);
		nearest = args_nearest(word, item_names);
		if (nearest)
			return bitnet_error_hint(err, "did you mean '%s'?", nearest);
		return bitnet_error_hint(
			err, "a list of gemv,decode,head,dense,context,prefill,batch");
	}
	return 0;
}

/* What does not fit into the model's context is made to, and told. */
static int fit_context(struct bench *b, bool *wanted, struct bitnet_error *err)
{
	uint32_t max = b->model.info.out_max_ctx;

	if (b->tokens >= max)
		return bitnet_error_set(err, EINVAL, "--tokens %u: the model's context holds %u",
					b->tokens, max);
	if (b->prompt > max) {
		note(b, "prefill of %u tokens, not %u: the model's context holds no more", max,
		     b->prompt);
		b->prompt = max;
	}
	if (b->context > max)
		return bitnet_error_set(err, EINVAL, "--context %u: the model's context holds %u",
					b->context, max);
	if (wanted[ITEM_CONTEXT] && b->context <= b->tokens)
		return bitnet_error_set(err, EINVAL,
					"--context %u is not more than the %u tokens made",
					b->context, b->tokens);
	return 0;
}

static int open_session(struct bench_engine *e, uint32_t n_ctx, uint32_t *session,
			struct bitnet_error *err)
{
	return bitnet_engine_session_open(e->engine, e->model, n_ctx, session, err);
}

/* A second engine with the same model, which reads all weights. */
static int open_dense(struct bench *b, struct bitnet_error *err)
{
	int ret;

	b->dense = b->normal;
	b->dense.engine = NULL;
	b->dense.options.dense = true;
	ret = bitnet_engine_open(&b->dense.options, &b->dense.engine, err);
	if (!ret)
		ret = bitnet_engine_model_load(b->dense.engine, b->dense.image, NULL, 0,
					       &b->dense.model, err);
	if (!ret)
		ret = open_session(&b->dense, b->tokens + 1, &b->dense.session, err);
	return ret;
}

static int open_sessions(struct bench *b, const bool *wanted, struct bitnet_error *err)
{
	uint32_t longest = b->tokens + 1 > b->prompt ? b->tokens + 1 : b->prompt;
	int ret = open_session(&b->normal, longest, &b->normal.session, err);

	if (!ret && wanted[ITEM_CONTEXT]) {
		b->past = b->normal;
		ret = open_session(&b->past, b->context, &b->past.session, err);
	}
	for (unsigned int i = 0; i < BENCH_MAX_SESSIONS && !ret; i++)
		if (wanted[ITEM_BATCH] && !b->processes)
			ret = open_session(&b->normal, b->tokens + 1, &b->normal.sessions[i], err);
	if (!ret && wanted[ITEM_DENSE])
		ret = open_dense(b, err);
	return ret;
}

static bool on_device(const struct bench *b)
{
	return bitnet_engine_kind(b->model.engine) == BITNET_ENGINE_DEVICE;
}

static int open_engine(struct bench *b, const struct bench_values *v, const char *path,
		       bool *wanted, struct bitnet_error *err)
{
	const struct model_request request = {
		.model = path,
		.shared_name = v->model_name,
		.engine = &v->engine,
		.file = &v->file,
	};
	struct bench_engine *e = &b->normal;
	int ret = model_open(&request, &b->model, err);

	if (ret)
		return ret;
	e->engine = b->model.engine;
	e->model = b->model.id;
	e->options = engine_options(&v->engine);
	e->options.kind = bitnet_engine_kind(e->engine);
	e->image = &b->model.file.image;
	e->shared = b->model.shared[0] ? b->model.shared : NULL;
	e->vocab = b->model.info.out_vocab;
	e->seed = 1;
	if (on_device(b) && wanted[ITEM_DENSE]) {
		/* how the device reads is a parameter of the module */
		if (v->only)
			note(b, "dense is for the local engine; device: modprobe bitnet sparse=0");
		wanted[ITEM_DENSE] = false;
	}
	if (on_device(b) && bench_module_is_dense())
		note(b, "the module was loaded with sparse=0: it reads all weights");
	if (on_device(b) && b->processes && !e->shared) {
		bitnet_error_set(err, EINVAL,
				 "--processes on the device needs a model that they can share");
		return bitnet_error_hint(err, "sudo bitnetctl load %s --name NAME", path);
	}
	ret = fit_context(b, wanted, err);
	if (!ret)
		ret = open_sessions(b, wanted, err);
	return ret;
}

static int open_limits(struct bench *b, const struct bench_values *v, struct bitnet_error *err)
{
	const char *variant = b->model.engine_info.out_variant;
	uint64_t bytes = (uint64_t)v->buffer_mib << 20;

	b->limits.ops = bn_variant_find(variant, bitnet_cpu_mask());
	if (!b->limits.ops)
		return bitnet_error_set(err, EOPNOTSUPP, "this tool has no variant '%s'", variant);
	b->limits.threads = b->model.engine_info.out_workers;
	if (bytes < MIN_CACHES * b->machine.cache_bytes && !b->quick)
		note(b, "the buffer, %s, is small beside caches of %s", out_size(bytes),
		     out_size(b->machine.cache_bytes));
	/* its weights stay in the caches: memory is not what limits it */
	if (b->sizes.layers + b->sizes.head <= b->machine.cache_bytes) {
		b->limits.hot_bytes = b->sizes.layers + b->sizes.head;
		if (b->limits.hot_bytes > bytes)
			b->limits.hot_bytes = bytes;
	}
	return bench_limits_open(&b->limits, bytes, err);
}

/* ---- the runs -------------------------------------------------------------------------------- */

/* All memory that will be used is touched, and the clock of the CPU is up. */
static int warm_up(struct bench *b, const bool *wanted, struct bitnet_error *err)
{
	uint32_t tokens = b->tokens < WARM_TOKENS ? b->tokens : WARM_TOKENS;
	uint32_t prompt = b->prompt < WARM_PROMPT ? b->prompt : WARM_PROMPT;
	struct bench_speed s, layers;
	int ret;

	ret = bench_prefill(&b->normal, prompt, &s, err);
	if (!ret)
		ret = bench_decode(&b->normal, 0, tokens, &s, err);
	if (!ret)
		ret = bench_layers(&b->normal, &layers, err);
	if (ret)
		return ret;
	b->counted = s.bytes > 0;
	/* the same steps with and without the head */
	b->uncounted = b->counted && s.bytes <= layers.bytes ? b->sizes.head : 0;
	if (!ret && wanted[ITEM_DENSE])
		ret = bench_decode(&b->dense, 0, tokens, &s, err);
	if (!ret && wanted[ITEM_BATCH] && !b->processes)
		ret = bench_batch(&b->normal, BENCH_MAX_SESSIONS, tokens, &s, err);
	/* stays in the cache: each run rewinds to it */
	if (!ret && wanted[ITEM_CONTEXT])
		ret = bench_prefill(&b->past, b->context - b->tokens, &s, err);
	return ret;
}

static double larger(double x, double y)
{
	return x > y ? x : y;
}

/* Each measurement counts against the higher of the limits before and behind it. */
static int run_all(struct bench *b, struct bitnet_error *err)
{
	unsigned int total = b->runs * b->n_rows;
	struct bench_now before, after, best;
	struct bench_rate rate;
	int ret = bench_limits_measure(&b->limits, &before, err);

	for (unsigned int at = 0; at < total && !ret; at++) {
		struct bench_row *r = &b->rows[at % b->n_rows];

		memset(&rate, 0, sizeof(rate));
		if (!out_progress("measuring", at, total))
			ret = bitnet_error_set(err, EINTR, "interrupted");
		if (!ret)
			ret = r->measure(b, r, &rate, err);
		if (!ret)
			ret = bench_limits_measure(&b->limits, &after, err);
		if (ret)
			break;
		best.read = larger(before.read, after.read);
		best.stream = larger(before.stream, after.stream);
		best.peak = larger(before.peak, after.peak);
		add_rate(r, &rate, &best);
		before = after;
	}
	out_progress_end();
	return ret;
}

static double device_cpu(struct bench *b)
{
	struct bitnet_stats stats;

	if (!on_device(b) || bitnet_engine_stats(b->model.engine, &stats, NULL))
		return 0;
	return stats.out_cpu_ns / 1e9;
}

/* Who else used the machine, where that can be told. */
static void note_others(struct bench *b, const struct bench_cpu_time *t0,
			const struct bench_cpu_time *t1, double device)
{
	double total = t1->total - t0->total, stolen = t1->stolen - t0->stolen;
	double others = t1->busy - t0->busy - (t1->own - t0->own) - device;

	if (total <= 0)
		return;
	if (stolen / total > BUSY_SHARE)
		note(b, "the machine was busy: its host took %.0f %% of the CPUs' time",
		     100 * stolen / total);
	if (others / total > BUSY_SHARE && !(on_device(b) && b->processes))
		note(b, "the machine was busy: others used %.0f %% of the CPUs' time",
		     100 * others / total);
}

static int bench_all(struct bench *b, bool *wanted, struct bitnet_error *err)
{
	struct bench_cpu_time t0, t1;
	double device;
	int ret;

	add_rows(b, wanted);
	if (!b->n_rows)
		return bitnet_error_set(err, EOPNOTSUPP, "nothing is left to measure%s%s",
					b->n_notes ? ": " : "", b->n_notes ? b->notes[0] : "");
	ret = warm_up(b, wanted, err);
	if (ret)
		return ret;
	device = device_cpu(b);
	bench_cpu_time(&t0);
	ret = run_all(b, err);
	if (!ret && bench_cpu_time(&t1))
		note_others(b, &t0, &t1, device_cpu(b) - device);
	if (b->machine.load > BUSY_LOAD)
		note(b, "the load was %.2f before this began", b->machine.load);
	if (!b->counted)
		note(b, "the engine does not count weights: all of them are taken as read");
	else if (b->uncounted > 0)
		note(b, "the engine does not count the head: %s are taken for it, as f16",
		     out_size(b->uncounted));
	return ret;
}

static void bench_close(struct bench *b)
{
	for (unsigned int i = 0; i < b->n_rows; i++) {
		series_free(&b->rows[i].value);
		series_free(&b->rows[i].ratio);
		series_free(&b->rows[i].bytes);
	}
	bench_limits_close(&b->limits);
	bitnet_engine_close(b->dense.engine);
	model_close(&b->model);
	free(b);
}

static void set_defaults(struct bench_values *v)
{
	v->runs = v->runs ? v->runs : v->quick ? QUICK_RUNS : RUNS;
	v->tokens = v->tokens ? v->tokens : v->quick ? QUICK_TOKENS : TOKENS;
	v->prompt = v->prompt ? v->prompt : v->quick ? QUICK_PROMPT : PROMPT;
	if (!v->buffer_mib)
		v->buffer_mib = v->quick ? QUICK_BUFFER_MIB : BUFFER_MIB;
}

static int find_wanted(const struct bench_values *v, bool *wanted, struct bitnet_error *err)
{
	int ret = parse_only(v->only, wanted, err);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < BENCH_ITEMS && !v->only; i++)
		wanted[i] = true;
	if (v->context && v->only && !wanted[ITEM_CONTEXT])
		return bitnet_error_set(err, EINVAL, "--context: --only leaves context out");
	if (v->only && wanted[ITEM_CONTEXT] && !v->context)
		return bitnet_error_set(err, EINVAL, "--only context needs --context N");
	if (v->processes && !wanted[ITEM_BATCH])
		return bitnet_error_set(err, EINVAL, "--processes: --only leaves batch out");
	wanted[ITEM_CONTEXT] = v->context;
	return 0;
}

int cmd_bench(const struct command *self, int argc, char **argv)
{
	bool wanted[BENCH_ITEMS] = { 0 };
	struct bench_values v = { 0 };
	struct bitnet_error err = { 0 };
	char path[PATH_MAX];
	struct bench *b;
	int n, code, ret;

	code = command_parse(self, argc, argv, &v, &n);
	if (code >= 0)
		return code;
	if (find_wanted(&v, wanted, &err))
		return command_usage(self, &err);
	set_defaults(&v);
	b = calloc(1, sizeof(*b));
	if (!b) {
		bitnet_error_set(&err, ENOMEM, "no memory");
		return out_error(&err);
	}
	b->runs = v.runs;
	b->tokens = v.tokens;
	b->prompt = v.prompt;
	b->context = v.context;
	b->processes = v.processes;
	b->quick = v.quick;

	interrupt_catch(false);
	bench_machine_look(&b->machine);
	ret = n ? 0 : find_demo(path, sizeof(path), &err);
	if (!ret)
		ret = check_memory(&v, n ? argv[1] : path, &err);
	if (!ret)
		ret = open_engine(b, &v, n ? argv[1] : path, wanted, &err);
	if (!ret) {
		find_sizes(b);
		ret = open_limits(b, &v, &err);
	}
	if (!ret)
		ret = bench_all(b, wanted, &err);
	if (ret)
		code = out_error(&err);
	else if (out.json)
		out_json(bench_json(b));
	else
		bench_print(b);
	bench_close(b);
	return ret ? code : OUT_OK;
}

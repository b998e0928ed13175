// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_verify.c - is every engine the same, bit for bit?
 *
 * The scalar reference runs locally on one thread, one session at a time. Every other way to
 * compute must then give the same tokens, log-probabilities, hashes over all logits and integer
 * products.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitnetctl.h"
#include "interrupt.h"
#include "model.h"

#define SESSIONS	8
#define MIN_PROMPT	3 /* session i: MIN_PROMPT + i tokens, so that rows of all ages meet */
#define WAIT_SLICE_NS	200000000LL

struct verify_values {
	struct engine_args engine;
	struct file_args file;
	uint32_t tokens;
	bool all_layers;
};

const struct arg verify_args[] = {
	ARG("engine", 0, ARG_CHOICE, struct verify_values, engine.kind, "WHICH",
	    "auto: the local variants, and the device if there is one; device; local",
	    .choices = engine_names),
	ARG("tokens", 'n', ARG_U32, struct verify_values, tokens, "N",
	    "tokens to make in each session (8)", .min = 1, .max = 64),
	ARG("all-layers", 0, ARG_FLAG, struct verify_values, all_layers, NULL,
	    "matrices of all layers, not only of the first and the last"),
	FILE_ARGS(struct verify_values, file),
	ARG("device", 0, ARG_STRING, struct verify_values, engine.device, "PATH",
	    "the device (" BITNET_DEVICE_PATH ")", .completion = COMPLETE_FILE),
	{ 0 }
};

enum suite { GREEDY, SAMPLED, SCORE, LINEAR, SUITES };

static const char *const suite_names[] = { "greedy", "sampled", "score", "linear" };

/* What one job gave. */
struct stream {
	struct bitnet_ring_entry e[64 + MIN_PROMPT + SESSIONS];
	unsigned int n;
	int error;
	bool ended;
};

struct results {
	struct stream stream[LINEAR][SESSIONS];
	uint64_t *linear;
	unsigned int n_linear;
};

/* One way to compute. */
struct way {
	enum bitnet_engine_kind kind;
	char variant[BITNET_VARIANT_BYTES];
	unsigned int threads;
	unsigned int batch;
};

struct verify {
	const struct verify_values *v;
	struct bitnet_model_file file;
	char shared[BITNET_NAME_BYTES];
	const struct bitnet_image_header *shape;
	struct results reference;
	json_t *rows;
	bool differs;
};

/* splitmix64: inputs that are the same everywhere */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint64_t fnv1a(const void *data, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3ULL;
	return h;
}

static uint32_t matrix_rows(const struct bitnet_image_header *h, uint32_t matrix)
{
	switch (matrix) {
	case BITNET_MATRIX_ATTN_Q:
		return h->n_heads * h->head_dim;
	case BITNET_MATRIX_ATTN_K:
	case BITNET_MATRIX_ATTN_V:
		return h->n_kv_heads * h->head_dim;
	case BITNET_MATRIX_FFN_GATE:
	case BITNET_MATRIX_FFN_UP:
		return h->ffn;
	default:
		return h->hidden;
	}
}

static uint32_t matrix_cols(const struct bitnet_image_header *h, uint32_t matrix)
{
	switch (matrix) {
	case BITNET_MATRIX_ATTN_OUT:
		return h->n_heads * h->head_dim;
	case BITNET_MATRIX_FFN_DOWN:
		return h->ffn;
	default:
		return h->hidden;
	}
}

/* ---- running jobs ---------------------------------------------------------------------------- */

static int collect(struct bitnet_engine *engine, struct stream *streams, unsigned int jobs,
		   struct bitnet_error *err)
{
	struct bitnet_ring_entry e;
	struct stream *s;
	int ret;

	while (jobs) {
		if (interrupt_pending())
			return bitnet_error_set(err, EINTR, "interrupted");
		if (!bitnet_engine_next(engine, &e)) {
			ret = bitnet_engine_wait(engine, 1, WAIT_SLICE_NS);
			if (ret < 0 && ret != -ETIME && ret != -EINTR)
				return bitnet_error_set(err, ret, "waiting for results: %s",
							bitnet_strerror(ret));
			continue;
		}
		if (e.user_data >= SESSIONS)
			continue;
		s = &streams[e.user_data];
		if (e.kind == BITNET_ENTRY_TOKEN) {
			if (s->n < sizeof(s->e) / sizeof(s->e[0]))
				s->e[s->n] = e;
			s->n++;
		} else {
			s->error = e.kind == BITNET_ENTRY_ERROR ? e.error : 0;
			s->ended = true;
			jobs--;
		}
	}
	return 0;
}

static void fill_job(const struct verify *vf, enum suite suite, unsigned int i, uint32_t *tokens,
		     struct bitnet_job *job)
{
	uint64_t state = suite * 1000 + i;
	unsigned int n = MIN_PROMPT + i;

	if (suite == SCORE)
		n += vf->v->tokens;
	for (unsigned int t = 0; t < n; t++)
		tokens[t] = next_random(&state) % vf->shape->vocab;
	memset(job, 0, sizeof(*job));
	job->kind = suite == SCORE ? BITNET_JOB_SCORE : BITNET_JOB_GENERATE;
	job->flags = BITNET_JOB_F_HASH;
	job->user_data = i;
	job->input = (uintptr_t)tokens;
	job->input_count = n;
	if (suite != SCORE)
		job->max_tokens = vf->v->tokens;
	if (suite == SAMPLED) {
		job->seed = 42 + i;
		job->temperature_ppm = 800000;
		job->top_k = 40;
		job->top_p_ppm = 950000;
		job->min_p_ppm = 50000;
		job->repeat_penalty_ppm = 1100000;
		job->repeat_last_n = 64;
	}
}

/* @batch 1: one after the other; else all at once. */
static int run_streams(const struct verify *vf, struct bitnet_engine *engine, uint32_t model,
		       enum suite suite, unsigned int batch, struct stream *streams,
		       struct bitnet_error *err)
{
	uint32_t tokens[SESSIONS][64 + MIN_PROMPT + SESSIONS], sessions[SESSIONS];
	struct bitnet_job jobs[SESSIONS];
	unsigned int opened = 0;
	int ret = 0;

	memset(streams, 0, SESSIONS * sizeof(*streams));
	for (; opened < SESSIONS; opened++) {
		fill_job(vf, suite, opened, tokens[opened], &jobs[opened]);
		ret = bitnet_engine_session_open(engine, model, jobs[opened].input_count +
						 jobs[opened].max_tokens, &sessions[opened], err);
		if (ret)
			goto close;
		jobs[opened].session_id = sessions[opened];
	}
	for (unsigned int i = 0; i < SESSIONS && !ret; i += batch) {
		ret = bitnet_engine_submit(engine, &jobs[i], batch, NULL, err);
		if (!ret)
			ret = collect(engine, streams, batch, err);
	}
close:
	/* after an interrupt the jobs are still there: closing the engine ends them */
	while (opened-- && !ret)
		ret = bitnet_engine_session_close(engine, sessions[opened], err);
	return ret;
}

/* Products of one matrix with SESSIONS rows; @batch 1: each row in a job of its own. */
static int run_matrix(const struct verify *vf, struct bitnet_engine *engine, struct bitnet_job *job,
		      const int8_t *x, unsigned int batch, uint64_t *hashes,
		      struct bitnet_error *err)
{
	size_t out_bytes = matrix_rows(vf->shape, job->matrix) * sizeof(int32_t);
	char *y = bitnet_engine_data(engine);
	struct stream *streams;
	int ret = 0;

	streams = calloc(SESSIONS, sizeof(*streams));
	if (!streams)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	for (unsigned int row = 0; row < SESSIONS && !ret; row += batch) {
		job->input = (uintptr_t)(x + (size_t)row * matrix_cols(vf->shape, job->matrix));
		job->input_count = batch;
		memset(y, 0x5a, batch * out_bytes);
		memset(streams, 0, sizeof(*streams));
		ret = bitnet_engine_submit(engine, job, 1, NULL, err);
		if (!ret)
			ret = collect(engine, streams, 1, err);
		if (!ret && streams->error)
			ret = bitnet_error_set(err, streams->error, "LINEAR: %s",
					       bitnet_strerror(streams->error));
		for (unsigned int i = 0; i < batch; i++)
			hashes[row + i] = fnv1a(y + i * out_bytes, out_bytes);
	}
	free(streams);
	return ret;
}

static bool checks_layer(const struct verify *vf, uint32_t layer)
{
	return !layer || layer == vf->shape->n_layers - 1 || vf->v->all_layers;
}

static int run_linear(const struct verify *vf, struct bitnet_engine *engine, uint32_t model,
		      unsigned int batch, struct results *r, struct bitnet_error *err)
{
	const struct bitnet_image_header *h = vf->shape;
	struct bitnet_job job = { .kind = BITNET_JOB_LINEAR, .model_id = model };
	uint64_t state, *to = r->linear;
	size_t elems;
	int8_t *x;
	int ret = 0;

	for (uint32_t layer = 0; layer < h->n_layers && !ret; layer++) {
		if (!checks_layer(vf, layer))
			continue;
		for (uint32_t m = 0; m < BITNET_MATRIX_COUNT && !ret; m++, to += SESSIONS) {
			elems = (size_t)SESSIONS * matrix_cols(h, m);
			x = malloc(elems);
			if (!x)
				return bitnet_error_set(err, ENOMEM, "out of memory");
			state = layer * 100 + m;
			for (size_t i = 0; i < elems; i++)
				x[i] = (int)(next_random(&state) % 255) - 127;
			job.layer = layer;
			job.matrix = m;
			ret = run_matrix(vf, engine, &job, x, batch, to, err);
			free(x);
		}
	}
	return ret;
}

static uint64_t linear_bytes(const struct bitnet_image_header *h)
{
	uint64_t most = 0, n;

	for (uint32_t m = 0; m < BITNET_MATRIX_COUNT; m++) {
		n = (uint64_t)SESSIONS * matrix_rows(h, m) * sizeof(int32_t);
		if (n > most)
			most = n;
	}
	return most;
}

/* ---- one way --------------------------------------------------------------------------------- */

static int run_way(const struct verify *vf, struct way *way, struct results *r,
		   struct bitnet_error *err)
{
	const struct bitnet_engine_options options = {
		.kind = way->kind,
		.device = vf->v->engine.device,
		.threads = way->threads,
		.variant = way->kind == BITNET_ENGINE_LOCAL ? way->variant : NULL,
		.data_bytes = linear_bytes(vf->shape),
	};
	struct bitnet_model_info model_info;
	struct bitnet_engine *engine;
	struct bitnet_info info;
	uint32_t model;
	int ret;

	ret = bitnet_engine_open(&options, &engine, err);
	if (ret)
		return ret;
	ret = bitnet_engine_info(engine, &info, err);
	if (ret)
		goto close;
	snprintf(way->variant, sizeof(way->variant), "%s", info.out_variant);
	way->threads = info.out_workers;
	if (way->kind == BITNET_ENGINE_DEVICE && vf->shared[0])
		ret = bitnet_engine_model_open(engine, vf->shared, &model, err);
	else
		ret = bitnet_engine_model_load(engine, &vf->file.image, NULL, 0, &model, err);
	if (!ret)
		ret = bitnet_engine_model_info(engine, model, &model_info, err);
	if (!ret && model_info.out_digest != vf->shape->digest)
		ret = bitnet_error_set(err, EINVAL, "%s is not what is loaded as '%s'",
				       vf->file.path, vf->shared);
	for (int s = 0; s < LINEAR && !ret; s++)
		ret = run_streams(vf, engine, model, s, way->batch, r->stream[s], err);
	if (!ret)
		ret = run_linear(vf, engine, model, way->batch, r, err);
close:
	bitnet_engine_close(engine);
	return ret;
}

static bool same_entry(const struct bitnet_ring_entry *a, const struct bitnet_ring_entry *b)
{
	return a->token == b->token && a->position == b->position && a->logprob == b->logprob &&
	       a->logits_hash == b->logits_hash && a->n_tokens == b->n_tokens;
}

/* First difference between two runs of a suite as a sentence; true if they are the same. */
static bool compare(const struct results *ref, const struct results *got, enum suite suite,
		    char *text, size_t size)
{
	const struct stream *a, *b;
	unsigned int m;

	if (suite == LINEAR) {
		for (unsigned int i = 0; i < ref->n_linear; i++) {
			if (ref->linear[i] == got->linear[i])
				continue;
			m = i / SESSIONS;
			snprintf(text, size,
				 "linear: row %u of matrix %u of checked layer %u differs",
				 i % SESSIONS, m % BITNET_MATRIX_COUNT, m / BITNET_MATRIX_COUNT);
			return false;
		}
		return true;
	}
	for (unsigned int s = 0; s < SESSIONS; s++) {
		a = &ref->stream[suite][s];
		b = &got->stream[suite][s];
		if (b->error != a->error) {
			snprintf(text, size, "%s: session %u ended with '%s', not '%s'",
				 suite_names[suite], s, bitnet_strerror(b->error),
				 bitnet_strerror(a->error));
			return false;
		}
		if (b->n != a->n) {
			snprintf(text, size, "%s: session %u gave %u tokens, not %u",
				 suite_names[suite], s, b->n, a->n);
			return false;
		}
		for (unsigned int t = 0; t < a->n; t++) {
			if (same_entry(&a->e[t], &b->e[t]))
				continue;
			snprintf(text, size,
				 "%s: session %u, token %u: %u, ln p %d, logits %016" PRIx64
				 "; reference %u, %d, %016" PRIx64, suite_names[suite], s, t,
				 b->e[t].token, b->e[t].logprob, (uint64_t)b->e[t].logits_hash,
				 a->e[t].token, a->e[t].logprob, (uint64_t)a->e[t].logits_hash);
			return false;
		}
	}
	return true;
}

static void print_row(const struct way *way, const bool *same, const char *text)
{
	printf("%-7s %-11s %7u %5u ", way->kind == BITNET_ENGINE_DEVICE ? "device" : "local",
	       way->variant, way->threads, way->batch);
	for (int s = 0; s < SUITES; s++)
		printf(" %s%-8s%s", out_style(same[s] ? STYLE_GOOD : STYLE_BAD),
		       same[s] ? "same" : "DIFFERS", out_style(STYLE_PLAIN));
	printf("\n");
	if (text[0])
		printf("        %s\n", text);
	fflush(stdout);
}

static int check_way(struct verify *vf, struct way *way, struct bitnet_error *err)
{
	struct results *got = calloc(1, sizeof(*got));
	char text[256] = "", first[256] = "";
	struct results *ref = &vf->reference;
	bool same[SUITES];
	json_t *row;
	int ret;

	if (got)
		got->linear = calloc(ref->n_linear, sizeof(*got->linear));
	if (!got || !got->linear) {
		ret = bitnet_error_set(err, ENOMEM, "out of memory");
		goto free;
	}
	got->n_linear = ref->n_linear;
	ret = run_way(vf, way, got, err);
	if (ret)
		goto free;
	row = json_pack("{s:s, s:s, s:i, s:i}", "engine",
			way->kind == BITNET_ENGINE_DEVICE ? "device" : "local", "variant",
			way->variant, "threads", (int)way->threads, "batch", (int)way->batch);
	for (int s = 0; s < SUITES; s++) {
		same[s] = compare(ref, got, s, text, sizeof(text));
		json_object_set_new(row, suite_names[s], json_boolean(same[s]));
		if (!same[s] && !first[0])
			strcpy(first, text);
		vf->differs |= !same[s];
	}
	if (first[0])
		json_object_set_new(row, "difference", json_string(first));
	json_array_append_new(vf->rows, row);
	out_progress_end();
	if (!out.json)
		print_row(way, same, first);
free:
	if (got)
		free(got->linear);
	free(got);
	return ret;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static bool device_there(const struct verify *vf, struct bitnet_error *err)
{
	const struct bitnet_engine_options options = {
		.kind = BITNET_ENGINE_DEVICE,
		.device = vf->v->engine.device,
		.ring_entries = 2,
	};
	struct bitnet_engine *engine;

	if (bitnet_engine_open(&options, &engine, err))
		return false;
	bitnet_engine_close(engine);
	return true;
}

static int make_reference(struct verify *vf, struct bitnet_error *err)
{
	struct way way = {
		.kind = BITNET_ENGINE_LOCAL,
		.variant = "ref",
		.threads = 1,
		.batch = 1,
	};
	unsigned int layers = 0;

	for (uint32_t l = 0; l < vf->shape->n_layers; l++)
		layers += checks_layer(vf, l);
	vf->reference.n_linear = layers * BITNET_MATRIX_COUNT * SESSIONS;
	vf->reference.linear = calloc(vf->reference.n_linear, sizeof(uint64_t));
	if (!vf->reference.linear)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	out_note("computing the reference: scalar, 1 thread, one session after the other");
	return run_way(vf, &way, &vf->reference, err);
}

static int check_all(struct verify *vf, bool device, struct bitnet_error *err)
{
	static const unsigned int batches[] = { 1, SESSIONS };
	const char *name;
	struct way way;
	bool usable;
	int ret;

	if (!out.json)
		printf("%s%-7s %-11s %7s %5s  %-8s %-8s %-8s %-8s%s\n", out_style(STYLE_BOLD),
		       "ENGINE", "VARIANT", "THREADS", "BATCH", "GREEDY", "SAMPLED", "SCORE",
		       "LINEAR", out_style(STYLE_PLAIN));
	out_text("", 0);
	for (unsigned int i = 0; (name = bitnet_variant_name(i, &usable)); i++) {
		if (!usable || vf->v->engine.kind == BITNET_ENGINE_DEVICE)
			continue;
		for (unsigned int threads = 1; threads <= 2; threads++) {
			for (int b = 0; b < 2; b++) {
				way = (struct way){
					.kind = BITNET_ENGINE_LOCAL,
					.threads = threads,
					.batch = batches[b],
				};
				snprintf(way.variant, sizeof(way.variant), "%s", name);
				ret = check_way(vf, &way, err);
				if (ret)
					return ret;
			}
		}
	}
	for (int b = 0; b < 2 && device; b++) {
		way = (struct way){ .kind = BITNET_ENGINE_DEVICE, .batch = batches[b] };
		ret = check_way(vf, &way, err);
		if (ret)
			return ret;
	}
	return 0;
}

static void print_verdict(const struct verify *vf, bool device, const struct bitnet_error *why)
{
	json_t *j;

	if (out.json) {
		j = json_pack("{s:b, s:b, s:O}", "same", !vf->differs, "device", device, "checks",
			      vf->rows);
		if (!device && why->code)
			json_object_set_new(j, "no_device", out_string(why->msg, strlen(why->msg)));
		out_json(j);
		return;
	}
	if (!device && why->code)
		out_note("the device was not verified: %s", why->msg);
	printf("%s\n", vf->differs ? "NOT the same as the reference" :
				     "all the same as the reference, bit for bit");
}

int cmd_verify(const struct command *self, int argc, char **argv)
{
	struct verify_values v = { .tokens = 8 };
	struct verify vf = { .v = &v };
	struct bitnet_error err = { 0 }, why = { 0 };
	bool device = false;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	interrupt_catch(false);
	ret = model_find_file(argv[1], &v.file, &vf.file, vf.shared, &err);
	if (ret)
		return out_error(&err);
	if (v.engine.kind != BITNET_ENGINE_LOCAL)
		device = device_there(&vf, &why);
	if (!device && v.engine.kind == BITNET_ENGINE_DEVICE) {
		bitnet_model_file_close(&vf.file);
		return out_error(&why);
	}
	vf.rows = json_array();
	ret = model_image(&vf.file, &v.file, "packing", NULL, &err);
	if (!ret) {
		vf.shape = vf.file.image.header;
		ret = make_reference(&vf, &err);
	}
	if (!ret)
		ret = check_all(&vf, device, &err);
	if (ret) {
		code = out_error(&err);
	} else {
		print_verdict(&vf, device, &why);
		code = vf.differs ? OUT_FAILURE : OUT_OK;
	}
	json_decref(vf.rows);
	free(vf.reference.linear);
	bitnet_model_file_close(&vf.file);
	return code;
}

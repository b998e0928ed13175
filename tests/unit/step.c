// SPDX-License-Identifier: GPL-2.0
/*
 * A step against a plain forward pass in double precision, on models whose widths fit nothing; and
 * that neither the order of tiles nor their size nor hostile weights matter
 */
#include <math.h>
#include <stdint.h>

#include <linux/bitnet_image.h>

#include "bn_float.h"
#include "bn_image.h"
#include "bn_step_priv.h"
#include "cpu.h"
#include "size.h"
#include "tap.h"

#define LAYERS	2
#define TOKENS	150	/* more than two chunks of the attention */

/* A matrix as the engine has it, and its codes. */
struct plain {
	struct bn_matrix *view;
	uint8_t *codes;
};

struct fixture {
	struct bn_model model;
	struct bn_layer layers[LAYERS];
	struct plain matrices[LAYERS * 7];
	uint32_t n_matrices;
	void *blocks[64];	/* memory of the model, and its sizes */
	size_t bytes[64];
	uint32_t n_blocks;
};

static uint64_t seed = 1;
static uint64_t order_seed = 1;	/* of its own: models must not depend on the variants of the CPU */

static uint64_t next64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint64_t random64(void)
{
	return next64(&seed);
}

static double uniform(void)
{
	return (random64() >> 11) * 0x1p-52 - 1;
}

static void *block(struct fixture *f, size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);

	memset(p, 0, (bytes + 63) / 64 * 64);
	f->blocks[f->n_blocks] = p;
	f->bytes[f->n_blocks++] = bytes;
	return p;
}

static void add_matrix(struct fixture *f, struct bn_matrix *w, uint32_t rows, uint32_t cols,
		       bool by_column)
{
	uint8_t *data, *codes = malloc((size_t)rows * cols), one[1024];

	uint32_t packing = f->model.packing;
	uint32_t lines = by_column ? cols : rows, weights = by_column ? rows : cols;

	*w = (struct bn_matrix){ .rows = rows, .cols = cols, .packing = packing,
				 .by_column = by_column,
				 .line_bytes = bn_line_bytes(packing, weights),
				 .scale = 1.5f / sqrtf(cols) };
	data = block(f, (size_t)lines * w->line_bytes);
	w->data = data;
	for (size_t i = 0; i < (size_t)rows * cols; i++)
		codes[i] = random64() % 3;
	for (uint32_t line = 0; line < lines; line++) {
		for (uint32_t i = 0; i < weights; i++)
			one[i] = by_column ? codes[(size_t)i * cols + line] :
					     codes[(size_t)line * cols + i];
		bn_pack_line(packing, data + (size_t)line * w->line_bytes, one, weights);
	}
	f->matrices[f->n_matrices++] = (struct plain){ w, codes };
}

static float *add_norm(struct fixture *f, uint32_t n)
{
	float *g = block(f, n * sizeof(*g));

	for (uint32_t i = 0; i < n; i++)
		g[i] = 1 + 0.5 * uniform();
	return g;
}

/* Rows of different sizes; what is behind a row's end must not matter. */
static struct bn_embedding add_embedding(struct fixture *f)
{
	const struct bn_model *m = &f->model;
	size_t high_bytes = (size_t)m->vocab * bn_high_bytes(m->embd_pad);
	size_t low_bytes = (size_t)m->vocab * bn_low_bytes(m->embd_pad);
	uint8_t *high = block(f, high_bytes), *low = block(f, low_bytes);
	float *scale = block(f, m->vocab * sizeof(*scale));
	float *error = block(f, m->vocab * sizeof(*error));

	for (size_t i = 0; i < high_bytes; i++)
		high[i] = random64();
	for (size_t i = 0; i < low_bytes; i++)
		low[i] = random64();
	for (uint32_t t = 0; t < m->vocab; t++) {
		scale[t] = (1 + 0.5 * uniform()) / 32639;
		error[t] = scale[t] * 512 * sqrtf((float)m->hidden);
	}
	return (struct bn_embedding){ high, low, scale, error };
}

static double element(const struct bn_model *m, const struct bn_embedding *e, uint32_t token,
		      uint32_t i)
{
	const uint8_t *high = e->high + (size_t)token * bn_high_bytes(m->embd_pad);
	const uint8_t *low = e->low + (size_t)token * bn_low_bytes(m->embd_pad);

	return bn_unpack_planes(high, low, i) * (double)e->scale[token];
}

static void fixture_init(struct fixture *f, const struct bn_model *shape, bool sub_norms)
{
	struct bn_model *m = &f->model;
	uint32_t q = shape->n_heads * shape->head_dim, kv = shape->n_kv_heads * shape->head_dim;
	double *freq;

	/* Weights do not depend on what was shuffled before, that is, on the variants of this CPU. */
	seed = 1;
	memset(f, 0, sizeof(*f));
	*m = *shape;
	m->n_layers = LAYERS;
	m->layers = f->layers;
	m->max_ctx = 256;
	m->norm_eps = 1e-5f;
	m->hidden_pad = bn_cols_pad(m->hidden);
	m->ffn_pad = bn_cols_pad(m->ffn);
	m->attn_pad = bn_cols_pad(q);
	m->head_pad = bn_round_up(m->head_dim, BN_LANES);
	m->embd_pad = bn_round_up(m->hidden, BN_PLANE_COLS);
	m->token_embd = m->output = add_embedding(f);
	m->output_norm = add_norm(f, m->hidden);
	freq = block(f, m->rope_dims / 2 * sizeof(*freq));
	for (uint32_t j = 0; j < m->rope_dims / 2; j++)
		freq[j] = pow(100, -2.0 * j / m->rope_dims);
	m->rope_freq = freq;
	for (uint32_t i = 0; i < LAYERS; i++) {
		struct bn_layer *l = &f->layers[i];

		add_matrix(f, &l->attn_q, q, m->hidden, false);
		add_matrix(f, &l->attn_k, kv, m->hidden, false);
		add_matrix(f, &l->attn_v, kv, m->hidden, false);
		add_matrix(f, &l->attn_out, m->hidden, q, false);
		add_matrix(f, &l->ffn_gate, m->ffn, m->hidden, false);
		add_matrix(f, &l->ffn_up, m->ffn, m->hidden, false);
		add_matrix(f, &l->ffn_down, m->hidden, m->ffn,
			   m->activation == BITNET_ACT_RELU2);
		l->attn_norm = add_norm(f, m->hidden);
		l->ffn_norm = add_norm(f, m->hidden);
		l->attn_sub_norm = sub_norms ? add_norm(f, q) : NULL;
		l->ffn_sub_norm = sub_norms ? add_norm(f, m->ffn) : NULL;
	}
}

static void fixture_free(struct fixture *f)
{
	for (uint32_t i = 0; i < f->n_blocks; i++)
		free(f->blocks[i]);
	for (uint32_t i = 0; i < f->n_matrices; i++)
		free(f->matrices[i].codes);
}

/* ---- the plain forward pass ------------------------------------------------------------------ */

struct pass {
	const struct fixture *f;
	double *k, *v;		/* [layer][position][kv_head][head_dim] */
};

static void plain_norm(double *y, const double *x, const float *g, uint32_t n)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	for (uint32_t i = 0; i < n; i++)
		y[i] = g ? x[i] / sqrt(sum / n + 1e-5) * g[i] : x[i];
}

static void plain_linear(const struct fixture *f, const struct bn_matrix *w, const double *x,
			 double *y)
{
	const struct plain *p = f->matrices;
	double max = 1e-5;

	while (p->view != w)
		p++;
	for (uint32_t c = 0; c < w->cols; c++)
		max = fmax(max, fabs(x[c]));
	for (uint32_t r = 0; r < w->rows; r++) {
		y[r] = 0;
		for (uint32_t c = 0; c < w->cols; c++)
			y[r] += (p->codes[(size_t)r * w->cols + c] - 1) * rint(x[c] * 127 / max);
		y[r] *= max / 127 * w->scale;
	}
}

static void plain_rope(const struct bn_model *m, double *x, uint32_t pos)
{
	uint32_t half = m->rope_dims / 2;

	for (uint32_t j = 0; j < half; j++) {
		double c = cos(pos * m->rope_freq[j]), s = sin(pos * m->rope_freq[j]);
		double a = x[j], b = x[j + half];

		x[j] = a * c - b * s;
		x[j + half] = b * c + a * s;
	}
}

static void plain_attention(struct pass *p, uint32_t layer, uint32_t pos, const double *q,
			    double *out)
{
	const struct bn_model *m = &p->f->model;
	uint32_t width = m->n_kv_heads * m->head_dim;

	for (uint32_t h = 0; h < m->n_heads; h++) {
		size_t at = (size_t)layer * TOKENS * width +
			    h / (m->n_heads / m->n_kv_heads) * m->head_dim;
		double score[TOKENS], max = -INFINITY, sum = 0;

		for (uint32_t t = 0; t <= pos; t++) {
			score[t] = 0;
			for (uint32_t i = 0; i < m->head_dim; i++)
				score[t] += q[h * m->head_dim + i] * p->k[at + t * width + i];
			score[t] /= sqrt(m->head_dim);
			max = fmax(max, score[t]);
		}
		for (uint32_t i = 0; i < m->head_dim; i++)
			out[h * m->head_dim + i] = 0;
		for (uint32_t t = 0; t <= pos; t++)
			sum += exp(score[t] - max);
		for (uint32_t t = 0; t <= pos; t++)
			for (uint32_t i = 0; i < m->head_dim; i++)
				out[h * m->head_dim + i] +=
					exp(score[t] - max) / sum * p->v[at + t * width + i];
	}
}

static void plain_forward(struct pass *p, uint32_t token, uint32_t pos, double *logits)
{
	const struct bn_model *m = &p->f->model;
	uint32_t width = m->n_kv_heads * m->head_dim;
	double x[512], h[512], q[512], a[512], g[512], u[512], *k, *v;

	for (uint32_t i = 0; i < m->hidden; i++)
		x[i] = element(m, &m->token_embd, token, i);
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		const struct bn_layer *l = &m->layers[layer];

		k = p->k + ((size_t)layer * TOKENS + pos) * width;
		v = p->v + ((size_t)layer * TOKENS + pos) * width;
		plain_norm(h, x, l->attn_norm, m->hidden);
		plain_linear(p->f, &l->attn_q, h, q);
		plain_linear(p->f, &l->attn_k, h, k);
		plain_linear(p->f, &l->attn_v, h, v);
		for (uint32_t i = 0; i < m->n_heads; i++)
			plain_rope(m, q + i * m->head_dim, pos);
		for (uint32_t i = 0; i < m->n_kv_heads; i++)
			plain_rope(m, k + i * m->head_dim, pos);
		for (uint32_t i = 0; i < width; i++) {
			k[i] = bn_f16_to_f32(bn_f32_to_f16(k[i]));
			v[i] = bn_f16_to_f32(bn_f32_to_f16(v[i]));
		}
		plain_attention(p, layer, pos, q, a);
		plain_norm(a, a, l->attn_sub_norm, m->n_heads * m->head_dim);
		plain_linear(p->f, &l->attn_out, a, h);
		for (uint32_t i = 0; i < m->hidden; i++)
			x[i] += h[i];
		plain_norm(h, x, l->ffn_norm, m->hidden);
		plain_linear(p->f, &l->ffn_gate, h, g);
		plain_linear(p->f, &l->ffn_up, h, u);
		for (uint32_t i = 0; i < m->ffn; i++)
			a[i] = m->activation == BITNET_ACT_SILU ? g[i] / (1 + exp(-g[i])) * u[i] :
				g[i] > 0 ? g[i] * g[i] * u[i] : 0;
		plain_norm(a, a, l->ffn_sub_norm, m->ffn);
		plain_linear(p->f, &l->ffn_down, a, h);
		for (uint32_t i = 0; i < m->hidden; i++)
			x[i] += h[i];
	}
	plain_norm(x, x, m->output_norm, m->hidden);
	for (uint32_t t = 0; t < m->vocab; t++) {
		logits[t] = 0;
		for (uint32_t i = 0; i < m->hidden; i++)
			logits[t] += x[i] * element(m, &m->output, t, i);
	}
}

/* ---- the engine ------------------------------------------------------------------------------ */

struct engine {
	struct bn_step step;
	struct bn_kv kv;
	uint64_t bytes;
};

static void engine_init(struct engine *e, const struct bn_model *m, const struct bn_ops *ops)
{
	void *scratch;

	memset(e, 0, sizeof(*e));
	/* To the byte: the address sanitizer sees the first one beyond. */
	e->bytes = bn_scratch_bytes(m);
	scratch = aligned_alloc(64, e->bytes);
	memset(scratch, 0, e->bytes);
	bn_step_init(&e->step, m, ops, scratch);
	e->kv.n_ctx = TOKENS;
	e->kv.data = aligned_alloc(64, (bn_kv_bytes(m, TOKENS) + 63) / 64 * 64);
	memset(e->kv.data, 0, bn_kv_bytes(m, TOKENS));
}

static void engine_free(struct engine *e)
{
	free(e->step.scratch);
	free(e->kv.data);
}

/* The pieces of all tiles of a phase in a random order, many tiles begun at once. */
static void run_phase(struct bn_step *s, uint32_t phase, bool shuffled)
{
	static uint8_t buffer[BN_TILE_BYTES] __attribute__((aligned(64)));
	static uint32_t cursor[4096], open[4096];
	uint32_t n = bn_step_tiles(s, phase);

	if (n > 4096)
		bail("%u tiles", n);
	for (uint32_t i = 0; i < n; i++) {
		cursor[i] = 0;
		open[i] = i;
	}
	while (n) {
		uint32_t at = shuffled ? next64(&order_seed) % n : 0, tile = open[at];

		/* Nothing in it may be needed from one piece to the next. */
		memset(buffer + BN_TMP_BYTES, 0xff, sizeof(buffer) - BN_TMP_BYTES);
		if (!bn_step_tile(s, phase, tile, &cursor[tile], buffer))
			open[at] = open[--n];
	}
}

static const struct bn_sampler_params greedy;

/* Feed tokens [from, to), the last one with logits. Returns their hash. */
static uint64_t feed(struct engine *e, const uint32_t *tokens, uint32_t from, uint32_t to,
		     bool shuffled)
{
	struct bn_step *s = &e->step;
	uint32_t n = to - from;

	for (uint32_t i = 0; i < n; i++)
		s->rows[i] = (struct bn_row){ &e->kv, tokens[from + i], from + i,
					      i + 1 == n ? 0 : BN_NO_SLOT };
	if (bn_step_begin(s, n) != BN_OK)
		bail("bn_step_begin");
	s->samplers[0].params = &greedy;
	for (uint32_t p = 0; p < s->n_phases; p++)
		run_phase(s, p, shuffled);
	e->kv.n_past = to;
	return s->samplers[0].hash;
}

static uint64_t feed_all(struct engine *e, const uint32_t *tokens, uint32_t chunk, bool shuffled)
{
	uint64_t hash = 0;

	e->kv.n_past = 0;
	for (uint32_t at = 0; at < TOKENS; at += chunk)
		hash = feed(e, tokens, at, at + chunk < TOKENS ? at + chunk : TOKENS, shuffled);
	return hash;
}

static void make_tokens(uint32_t *tokens, const struct bn_model *m)
{
	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = random64() % m->vocab;
	tokens[0] = 0;
	tokens[1] = m->vocab - 1;
}

static void check_plain(struct fixture *f, const char *name)
{
	const struct bn_model *m = &f->model;
	size_t kv = (size_t)LAYERS * TOKENS * m->n_kv_heads * m->head_dim;
	struct pass p = { f, calloc(kv, sizeof(double)), calloc(kv, sizeof(double)) };
	double *want = malloc(sizeof(*want) * m->vocab), power = 0, error = 0;
	uint32_t tokens[TOKENS];
	struct engine e;

	make_tokens(tokens, m);
	engine_init(&e, m, bn_variant_find("ref", 0));
	for (uint32_t at = 0; at < TOKENS; at++)
		plain_forward(&p, tokens[at], at, want);
	feed_all(&e, tokens, BN_MAX_ROWS, false);
	for (uint32_t i = 0; i < m->vocab; i++) {
		double d = e.step.samplers[0].logits[i] - want[i];

		power += want[i] * want[i];
		error += d * d;
	}
	ok(error < 0.02 * 0.02 * power, "%s: logits off by %.2f %%", name,
	   100 * sqrt(error / power));
	engine_free(&e);
	free(p.k);
	free(p.v);
	free(want);
}

/*
 * Same bits: all variants, chunks, orders and sizes of tiles, with all weights read or not, also
 * where batches are so much faster that only what matters to no row is left out, and in one place
 * or in four.
 * @some: not all of these, but before a release
 */
static void check_same(struct fixture *f, const char *name, bool some)
{
	static const struct {
		uint32_t chunk, speed, of_batches;	/* times the speed of one row */
		bool dense, streams;
	} ways[] = {
		{ 1, 1, 1, false, true }, { 7, 50, 16, false, true },
		{ 64, 100000000, 1, false, true }, { 1, 100000000, 1, true, true },
		{ 3, 500, 1, false, true }, { 4, 100000000, 1, true, true },
		{ 1, 100000000, 1, false, true }, { 1, 500, 1, false, true },
		{ 1, 1, 1, false, false }, { 1, 500, 1, false, false },
		{ 1, 100000000, 1, false, false }, { 1, 100000000, 1, true, false },
		{ 1, 500, 1, true, true }, { 7, 50, 1, false, true },
		{ 8, 100000000, 16, false, true }, { 5, 500, 16, false, true },
	};
	bool release = t_release_size();
	const struct bn_model *m = &f->model;
	uint32_t tokens[TOKENS];
	uint64_t want = 0;
	bool held = true;

	make_tokens(tokens, m);
	for (uint32_t v = 0; bn_variants[v]; v++) {
		struct bn_ops ops = *bn_variants[v];
		struct engine e;

		if ((ops.needs & bitnet_cpu_mask()) != ops.needs)
			continue;
		for (uint32_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
			uint64_t got;

			if (v == 0 && i % 4)
				continue;	/* slow */
			if (some && !release && i != 4 && (v == 0 || i != 1))
				continue;
			ops.macs_per_us = ways[i].speed;
			ops.batch_macs_per_us = ways[i].speed * ways[i].of_batches;
			engine_init(&e, m, &ops);
			e.step.dense = ways[i].dense;
			e.step.streams = ways[i].streams;
			got = feed_all(&e, tokens, ways[i].chunk, i != 0);
			want = want ? want : got;
			if (got != want)
				diag("%s, way %u: chunks of %u, speed %u, dense %d, streams %d",
				     ops.name, i, ways[i].chunk, ways[i].speed, ways[i].dense,
				     ways[i].streams);
			held &= got == want;
			engine_free(&e);
		}
	}
	ok(held, "%s: the same hash %016llx", name, (unsigned long long)want);
}

static void randomize(struct fixture *f, uint32_t i)
{
	for (size_t at = 0; at < f->bytes[i]; at++)
		((uint8_t *)f->blocks[i])[at] = random64();
}

static bool is_matrix(const struct fixture *f, const void *block)
{
	uint32_t i = 0;

	while (i < f->n_matrices && f->matrices[i].view->data != block)
		i++;
	return i < f->n_matrices;
}

static void check_hostile(struct fixture *f)
{
	for (uint32_t i = 0; i < f->n_blocks; i++)
		if (is_matrix(f, f->blocks[i]))
			randomize(f, i);
	check_same(f, "random bytes for weights, invalid codes too", true);
	for (uint32_t i = 0; i < f->n_blocks; i++)
		randomize(f, i);
	check_same(f, "for norms and embeddings, too", true);
	for (uint32_t i = 0; i < f->n_blocks; i++)
		memset(f->blocks[i], 0xff, f->bytes[i]);
	check_same(f, "all bits set", true);
}

static void check_begin(struct fixture *f)
{
	struct engine e;
	struct bn_step *s = &e.step;
	struct bn_kv other;

	engine_init(&e, &f->model, bn_variant_find("ref", 0));
	other = e.kv;
#define ROW(i, ...) (s->rows[i] = (struct bn_row){ __VA_ARGS__ })
	ROW(0, &e.kv, 1, 0, 0);
	is(bn_step_begin(s, 0), BN_EPARAM, "no rows");
	is(bn_step_begin(s, BN_MAX_ROWS + 1), BN_EPARAM, "too many rows");
	is(bn_step_begin(s, 1), BN_OK, "one row");
	is(s->n_phases, 1 + LAYERS * BN_LAYER_PHASES + BN_HEAD_PHASES, "phases with a head");
	is(bn_step_layer(s, 0), 0, "the embedding counts to layer 0");
	is(bn_step_layer(s, BN_LAYER_PHASES), 0, "last phase of layer 0");
	is(bn_step_layer(s, 1 + BN_LAYER_PHASES), 1, "first phase of layer 1");
	is(bn_step_layer(s, s->n_phases - 1), LAYERS, "the head is behind the last layer");
	ROW(0, &e.kv, f->model.vocab, 0, 0);
	is(bn_step_begin(s, 1), BN_ERANGE, "token beyond the vocabulary");
	ROW(0, &e.kv, 1, TOKENS, 0);
	is(bn_step_begin(s, 1), BN_ERANGE, "position beyond the context");
	ROW(0, &e.kv, 1, 0, 0);
	ROW(1, &e.kv, 1, 2, BN_NO_SLOT);
	is(bn_step_begin(s, 2), BN_EPARAM, "position behind a hole");
	/* Rows of a job that was cancelled, and its session rewound, while the step was built. */
	ROW(0, &e.kv, 1, 3, 0);
	is(e.kv.n_past, 0, "a session that was rewound");
	is(bn_step_begin(s, 1), BN_OK, "does not spoil the step of the others");
	ROW(0, NULL, 1, 0, 0);
	is(bn_step_begin(s, 1), BN_EPARAM, "no cache");
	ROW(0, &e.kv, 1, 0, BN_MAX_HEAD_ROWS);
	is(bn_step_begin(s, 1), BN_EPARAM, "slot out of range");
	ROW(0, &e.kv, 1, 0, 1);
	is(bn_step_begin(s, 1), BN_EPARAM, "slots with a hole");
	ROW(0, &e.kv, 1, 0, 0);
	ROW(1, &e.kv, 1, 1, 0);
	is(bn_step_begin(s, 2), BN_EPARAM, "a slot twice");
	ROW(1, &e.kv, 1, 0, BN_NO_SLOT);
	is(bn_step_begin(s, 2), BN_EPARAM, "a position twice");
	ROW(1, &other, 1, 0, BN_NO_SLOT);
	ROW(2, &e.kv, 1, 1, 1);
	is(bn_step_begin(s, 3), BN_OK, "two sessions, interleaved");
	ROW(0, &e.kv, 1, 0, BN_NO_SLOT);
	is(bn_step_begin(s, 1), BN_OK, "no slot");
	is(s->n_phases, 1 + LAYERS * BN_LAYER_PHASES, "phases without a head");
	engine_free(&e);
}

/* An abandoned step leaves nothing that a later one sees; a wipe leaves nothing at all. */
static void check_abandon_and_wipe(struct fixture *f)
{
	const struct bn_ops *ops = bn_variant_find("fastest", bitnet_cpu_mask());
	uint32_t tokens[TOKENS], others[TOKENS];
	struct engine e;
	const uint8_t *p, *end;
	uint64_t want;

	make_tokens(tokens, &f->model);
	make_tokens(others, &f->model);
	engine_init(&e, &f->model, ops);
	want = feed_all(&e, tokens, 40, false);
	e.kv.n_past = 0;
	feed(&e, tokens, 0, 40, false);
	/* Other tokens at the next positions, given up in the second layer. */
	for (uint32_t i = 0; i < 30; i++)
		e.step.rows[i] = (struct bn_row){ &e.kv, others[i], 40 + i, BN_NO_SLOT };
	is(bn_step_begin(&e.step, 30), BN_OK, "a step that will be abandoned");
	for (uint32_t phase = 0; phase < 1 + BN_LAYER_PHASES + 3; phase++)
		run_phase(&e.step, phase, true);
	for (uint32_t at = 40; at < TOKENS; at += 40) {
		uint64_t got = feed(&e, tokens, at, at + 40 < TOKENS ? at + 40 : TOKENS, false);

		if (at + 40 >= TOKENS)
			ok(got == want, "leaves no trace");
	}
	bn_step_wipe(&e.step);
	p = (const uint8_t *)e.step.scratch->x;
	end = (const uint8_t *)e.step.scratch + e.bytes;
	while (p < end && !*p)
		p++;
	ok(p == end, "wiped to the last byte");
	ok(feed_all(&e, tokens, 64, false) == want, "and as good as new");
	engine_free(&e);
}

static void check_linear(struct fixture *f)
{
	struct engine e;
	struct bn_step *s = &e.step;

	engine_init(&e, &f->model, bn_variant_find("fastest", bitnet_cpu_mask()));
	for (uint32_t i = 0; i < 7; i++) {
		const struct plain *p = &f->matrices[i];
		const struct bn_matrix *w = p->view;
		size_t stride = bn_cols_pad(w->cols);
		int8_t *x = aligned_alloc(64, 5 * stride);
		int32_t *y = malloc(sizeof(*y) * 5 * w->rows), sum[5] = { 0 };
		bool held = true;

		memset(x, 0, 5 * stride);
		for (uint32_t b = 0; b < 5; b++) {
			for (uint32_t c = 0; c < w->cols; c++) {
				x[b * stride + c] = random64();
				sum[b] += x[b * stride + c];
			}
		}
		s->linear = (struct bn_linear_req){ w, x, stride, sum, y, 5 };
		is(bn_step_begin_linear(s), BN_OK, "matrix %u", i);
		is(s->n_phases, 1, "one phase");
		run_phase(s, 0, true);
		for (uint32_t b = 0; b < 5; b++) {
			for (uint32_t r = 0; r < w->rows; r++) {
				int32_t want = 0;

				for (uint32_t c = 0; c < w->cols; c++)
					want += (p->codes[(size_t)r * w->cols + c] - 1) *
						x[b * stride + c];
				held &= y[b * w->rows + r] == want;
			}
		}
		ok(held, "5 x %u x %u: exact", w->rows, w->cols);
		free(x);
		free(y);
	}
	s->linear.rows = BN_MAX_ROWS + 1;
	is(bn_step_begin_linear(s), BN_EPARAM, "too many rows");
	s->linear.rows = 0;
	is(bn_step_begin_linear(s), BN_EPARAM, "no rows");
	engine_free(&e);
}

int main(void)
{
	static const struct bn_model odd = {
		.hidden = 200, .ffn = 330, .n_heads = 6, .n_kv_heads = 2, .head_dim = 22,
		.rope_dims = 10, .vocab = 1100, .activation = BITNET_ACT_SILU,
	};
	static const struct bn_model even = {
		.hidden = 128, .ffn = 256, .n_heads = 4, .n_kv_heads = 4, .head_dim = 32,
		.rope_dims = 32, .vocab = 1024, .activation = BITNET_ACT_RELU2,
	};
	static const struct bn_model wide = {
		.hidden = 300, .ffn = 500, .n_heads = 6, .n_kv_heads = 3, .head_dim = 48,
		.rope_dims = 48, .vocab = 700, .activation = BITNET_ACT_RELU2, .packing = BN_T1,
	};
	static const struct bn_model odd_t1 = {
		.hidden = 200, .ffn = 330, .n_heads = 6, .n_kv_heads = 2, .head_dim = 22,
		.rope_dims = 10, .vocab = 1100, .activation = BITNET_ACT_SILU, .packing = BN_T1,
	};
	static const struct bn_model wide_t2 = {
		.hidden = 300, .ffn = 500, .n_heads = 6, .n_kv_heads = 3, .head_dim = 48,
		.rope_dims = 48, .vocab = 700, .activation = BITNET_ACT_RELU2,
	};
	struct fixture f;

	fixture_init(&f, &odd, false);
	check_plain(&f, "odd widths, SiLU, no sub-norms");
	check_same(&f, "odd widths", false);
	check_begin(&f);
	check_abandon_and_wipe(&f);
	check_linear(&f);
	check_hostile(&f);
	fixture_free(&f);

	fixture_init(&f, &even, true);
	check_plain(&f, "even widths, ReLU^2, sub-norms");
	check_same(&f, "even widths", false);
	fixture_free(&f);

	fixture_init(&f, &odd_t1, true);
	check_plain(&f, "odd widths, t1");
	check_same(&f, "odd widths, t1", false);
	fixture_free(&f);

	fixture_init(&f, &wide, true);
	check_plain(&f, "wide, ReLU^2, t1");
	check_same(&f, "wide, ReLU^2, t1", false);
	check_linear(&f);
	check_hostile(&f);
	fixture_free(&f);

	fixture_init(&f, &wide_t2, true);
	check_plain(&f, "wide, ReLU^2, t2");
	check_same(&f, "wide, ReLU^2, t2", false);
	check_linear(&f);
	check_hostile(&f);
	fixture_free(&f);
	return done();
}

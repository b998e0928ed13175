// SPDX-License-Identifier: GPL-2.0
/*
 * What the plan of a step promises, for models of many shapes: that no piece takes longer than a
 * section may, and how much memory a step needs
 *
 * The operations here compute nothing. Each adds up what it would take at the variant's rated
 * speed, so that shapes at the limits cost neither time nor memory for weights.
 */
#include <linux/bitnet_image.h>

#include "bn_float.h"
#include "bn_image.h"
#include "bn_step_priv.h"
#include "tap.h"

#define SECTION_US	50
#define TOKENS		400	/* several chunks of the attention */

/* Multiply-adds of int8 that an element of f32, or a product of the head or attention is like */
#define F32		8
#define ATTN		4
#define WIDE_ATTN	2
#define WIDEN		8
#define HEAD		2

static struct bn_ops rated;	/* speeds of the variant whose turn it is */
static double us;		/* of the piece so far */
static bool many;		/* rows */

static void take(double macs)
{
	us += macs / rated.macs_per_us;
}

static void product(const struct bn_product *p)
{
	double macs = (double)p->n * p->blocks * BN_T2_BLOCK_COLS * p->batch;

	us += macs / (many ? rated.batch_macs_per_us : rated.macs_per_us);
}

/* Every input matters ... */
static void quantize(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad)
{
	memset(q, 1, n_pad);
	take((double)F32 * n_pad);
}

static void rmsnorm(float *y, const float *x, const float *g, u32 n, u32 n_pad, float eps)
{
	take((double)F32 * n_pad);
}

/* ... and every gate is open. */
static void dequant(float *y, const s32 *acc, u32 n, float scale, bool add)
{
	for (u32 i = 0; i < n; i++)
		y[i] = 1;
	take((double)F32 * n);
}

static void glu(float *y, const float *g, const float *u, u32 n, u32 activation)
{
	take((double)F32 * n);
}

static void embed(float *y, const u8 *high, const u8 *low, float scale, u32 n)
{
	take((double)F32 * n);
}

static void f32_to_f16(u16 *y, const float *x, u32 n)
{
	take((double)F32 * n);
}

static void rope(float *x, const float *cos, const float *sin, u32 half)
{
	take(2.0 * F32 * half);
}

static void attend(const struct bn_attention *p)
{
	take((double)(p->wide ? WIDE_ATTN : ATTN) * p->rows * p->heads * p->n *
	     p->head_pad);
}

static void widen(float *to, const u16 *kv, u32 n, u32 head_pad)
{
	take((double)WIDEN * n * head_pad);
}

static void head_full(const struct bn_head *p)
{
	take((double)F32 * p->n * p->n_pad * p->slots);
}

static void head_top(const struct bn_head *p)
{
	double macs = (double)HEAD * p->n * p->n_pad * p->slots;

	us += macs / (p->slots > 1 ? rated.batch_macs_per_us : rated.macs_per_us);
}

static void head_quantize(void *q, float *step, struct bn_head_norms *norms, const float *x,
			  u32 n_pad)
{
	*step = norms->l1 = norms->squares = 1;
	take((double)F32 * n_pad);
}

static void head_lower(float *max, const float *y, const struct bn_head_error *e, u32 n)
{
	take((double)F32 * n);
}

/* All rows may matter: the most that there can be to refine */
static u32 head_pick(u32 *index, const float *y, const struct bn_head_error *e, float threshold,
		     u32 from, u32 n, u32 most)
{
	u32 found = 0;

	for (; from + found < n && found < most; found++)
		index[found] = from + found;
	take((double)F32 * found);
	return found;
}

static u32 head_drop(float *y, float threshold, u32 n)
{
	take((double)F32 * n);
	return n;
}

static float max_value(const float *x, u32 n)
{
	take((double)F32 * n);
	return 0;
}

static float sum_exp(const float *x, u32 n, float max)
{
	take((double)F32 * n);
	return n;
}

static void clear(void)
{
}

static struct bn_ops counting(const struct bn_ops *variant)
{
	rated = *variant;
	return (struct bn_ops){
		.name = variant->name, .macs_per_us = variant->macs_per_us,
		.batch_macs_per_us = variant->batch_macs_per_us,
		.linear = { product, product }, .columns = { product, product },
		.quantize = quantize, .rmsnorm = rmsnorm, .dequant = dequant, .glu = glu,
		.embed = embed, .f32_to_f16 = f32_to_f16, .rope = rope,
		.widen_keys = widen, .widen_values = widen, .scores = attend,
		.weigh = attend, .head_full = head_full, .head_top = head_top,
		.head_quantize = head_quantize, .head_lower = head_lower, .head_pick = head_pick,
		.head_drop = head_drop, .max_value = max_value, .sum_exp = sum_exp, .clear = clear,
	};
}

/* ---- models ---------------------------------------------------------------------------------- */

struct shape {
	const char *name;
	u32 activation, hidden, ffn, heads, kv_heads, head_dim, vocab;
};

static const struct shape shapes[] = {
	{ "demo", BITNET_ACT_RELU2, 256, 768, 8, 2, 32, 4096 },
	{ "small", BITNET_ACT_SILU, 128, 384, 4, 2, 32, 1024 },
	{ "2B-4T", BITNET_ACT_RELU2, 2560, 6912, 20, 5, 128, 128256 },
	{ "8B", BITNET_ACT_SILU, 4096, 14336, 32, 8, 128, 128256 },
	{ "10B", BITNET_ACT_SILU, 3072, 23040, 12, 4, 256, 131072 },
	{ "many small heads", BITNET_ACT_RELU2, 1024, 2048, 256, 256, 16, 32000 },
	{ "one key for many heads", BITNET_ACT_RELU2, 1024, 2048, 256, 1, 128, 32000 },
	{ "widest", BITNET_ACT_RELU2, BN_MAX_COLS, BN_MAX_ROWS_OUT, 128, 8, 256, 4096 },
	{ "most words", BITNET_ACT_RELU2, 320, 640, 5, 5, 64, BN_MAX_VOCAB },
};

static struct bn_matrix matrix(u32 rows, u32 cols, bool by_column)
{
	return (struct bn_matrix){
		.data = (const u8 *)64, .rows = rows, .cols = cols, .packing = BN_T2,
		.by_column = by_column, .scale = 1,
		.line_bytes = bn_line_bytes(BN_T2, by_column ? rows : cols),
	};
}

/* Weights have addresses only: nothing here reads them, but for scales and RoPE's frequencies. */
static void make_model(struct bn_model *m, struct bn_layer *l, const struct shape *shape)
{
	u32 q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim;
	static const double freq[BN_MAX_HEAD_DIM / 2];
	static const float norm[1], scale[BN_MAX_VOCAB];

	*m = (struct bn_model){
		.n_layers = 1, .hidden = shape->hidden, .ffn = shape->ffn,
		.n_heads = shape->heads, .n_kv_heads = shape->kv_heads,
		.head_dim = shape->head_dim, .rope_dims = shape->head_dim, .vocab = shape->vocab,
		.max_ctx = 4096, .activation = shape->activation, .packing = BN_T2,
		.hidden_pad = bn_cols_pad(shape->hidden), .ffn_pad = bn_cols_pad(shape->ffn),
		.attn_pad = bn_cols_pad(q), .head_pad = bn_round_up(shape->head_dim, BN_LANES),
		.embd_pad = bn_round_up(shape->hidden, 256), .norm_eps = 1e-5f,
		.output_norm = norm, .rope_freq = freq, .layers = l,
	};
	m->token_embd = (struct bn_embedding){ (const u8 *)64, (const u8 *)64, scale, scale };
	m->output = m->token_embd;
	*l = (struct bn_layer){
		.attn_q = matrix(q, shape->hidden, false),
		.attn_k = matrix(kv, shape->hidden, false),
		.attn_v = matrix(kv, shape->hidden, false),
		.attn_out = matrix(shape->hidden, q, false),
		.ffn_gate = matrix(shape->ffn, shape->hidden, false),
		.ffn_up = matrix(shape->ffn, shape->hidden, false),
		.ffn_down = matrix(shape->hidden, shape->ffn, shape->activation == BITNET_ACT_RELU2),
		.attn_norm = norm, .attn_sub_norm = norm, .ffn_norm = norm, .ffn_sub_norm = norm,
	};
}

/* ---- sections -------------------------------------------------------------------------------- */

struct longest {
	double us;
	enum bn_phase_kind kind;
	u32 rows;
	u64 bytes;	/* of weights, of one row */
};

static void run_step(struct bn_step *s, struct longest *longest)
{
	static u8 buffer[BN_TILE_BYTES] __attribute__((aligned(64)));

	for (u32 phase = 0; phase < s->n_phases; phase++) {
		for (u32 tile = 0; tile < bn_step_tiles(s, phase); tile++) {
			u32 cursor = 0;
			bool again;

			do {
				u64 bytes;

				us = 0;
				again = bn_step_tile(s, phase, tile, &cursor, buffer);
				bytes = bn_tile_weight_bytes(buffer);
				if (s->n_rows == 1 && bytes > longest->bytes)
					longest->bytes = bytes;
				if (us <= longest->us)
					continue;
				longest->us = us;
				longest->kind = bn_phase_kind(s, phase);
				longest->rows = s->n_rows;
			} while (again);
		}
	}
}

/* A step of @rows rows, of one session or of as many, with logits of as many as there may be */
static void check_rows(struct bn_step *s, struct bn_kv *kv, u32 rows, bool apart, bool all_logits,
		       struct longest *longest)
{
	static const struct bn_sampler_params greedy;
	u32 slots = rows < BN_MAX_HEAD_ROWS ? rows : BN_MAX_HEAD_ROWS;

	for (u32 r = 0; r < rows; r++)
		s->rows[r] = (struct bn_row){
			.kv = apart ? &kv[r] : kv, .pos = TOKENS - rows + (apart ? 0 : r),
			.slot = r < slots ? r : BN_NO_SLOT,
		};
	if (bn_step_begin(s, rows) != BN_OK)
		bail("a step of %u rows", rows);
	for (u32 slot = 0; slot < slots; slot++) {
		s->samplers[slot].params = &greedy;
		s->samplers[slot].all_logits = all_logits;
	}
	many = rows > 1;
	run_step(s, longest);
}

static void check_sections(const struct shape *shape, const struct bn_ops *variant)
{
	static const u32 batches[] = { 1, 2, 4, 5, 16, 17, 64 };
	struct bn_kv kv[BN_MAX_ROWS];
	struct bn_ops ops = counting(variant);
	struct longest longest = { 0 };
	struct bn_layer layer;
	struct bn_model m;
	struct bn_step s;
	void *scratch, *data;
	size_t bytes;

	make_model(&m, &layer, shape);
	bytes = bn_scratch_bytes(&m);
	scratch = aligned_alloc(64, bytes);
	memset(scratch, 0, bytes);
	/* Nobody reads or writes it: sessions may share it. */
	data = aligned_alloc(64, bn_round_up(bn_kv_bytes(&m, TOKENS), 64));
	for (u32 i = 0; i < BN_MAX_ROWS; i++)
		kv[i] = (struct bn_kv){ .data = data, .n_ctx = TOKENS };
	bn_step_init(&s, &m, &ops, scratch);
	for (u32 i = 0; i < sizeof(batches) / sizeof(*batches); i++) {
		check_rows(&s, kv, batches[i], false, false, &longest);
		check_rows(&s, kv, batches[i], true, true, &longest);
	}
	s.streams = !s.streams;
	check_rows(&s, kv, 1, false, false, &longest);
	ok(longest.us <= SECTION_US && longest.bytes <= BN_SECTION_BYTES,
	   "%s, %s: no piece is too long", shape->name, variant->name);
	diag("the longest: %.1f us, phase kind %d of %u rows; %llu bytes at most", longest.us,
	     longest.kind, longest.rows, (unsigned long long)longest.bytes);
	free(scratch);
	free(data);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/*
 * What 2B-4T needs beside its packed weights, its embedding of two bytes and the cache: 16 MiB at
 * most, with the norms and the scales of the embedding's rows, for two workers and a ring.
 */
static void check_memory(void)
{
	const u64 most = 16 << 20, ring = 256 << 10;
	struct bn_layer layer;
	struct bn_model m;
	u64 bytes, norms;

	make_model(&m, &layer, &shapes[2]);
	norms = 30 * (3 * m.hidden + m.ffn) + m.hidden;
	bytes = bn_scratch_bytes(&m) + 2 * BN_TILE_BYTES + ring +
		sizeof(float) * (norms + m.vocab);
	ok(bytes <= most, "2B-4T needs %.1f MiB beside weights and cache", bytes / 1048576.0);
}

int main(void)
{
	check_memory();
	for (const struct bn_ops *const *v = bn_variants + 1; *v; v++)
		for (u32 i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
			check_sections(&shapes[i], *v);
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * image_build.c - GGUF files to packed images: what architectures mean, and which row goes where
 *
 * First all is decided and checked: shape, activation, every tensor's source and place. Then the
 * rows are packed, by as many threads as there are CPUs.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dequant.h"
#include "image.h"
#include "packing.h"

#define MAX_THREADS	16
#define CHUNK_BYTES	(1U << 20)	/* of the image, packed between two looks at progress */

/* ---- what the file says ---------------------------------------------------------------------- */

/* Architectures: the activation where the file has no key for it, and the layout of q and k. */
static const struct arch {
	const char *name;
	uint32_t activation;
	bool sub_norms;		/* required */
	bool permuted;		/* q and k rows are in the order of RoPE pairs (2j, 2j + 1) */
} archs[] = {
	{ "bitnet-b1.58", BITNET_ACT_RELU2, true, false },
	{ "bitnet-25", BITNET_ACT_RELU2, true, false },
	{ "bitnet", BITNET_ACT_SILU, true, false },
	{ "llama", BITNET_ACT_SILU, false, true },
};

struct builder {
	const struct bitnet_gguf *gguf;
	const struct bitnet_image_options *options;
	const struct arch *arch;
	struct bitnet_image_header hdr;
	double rope_base;
	const struct bitnet_gguf_tensor *rope_factors;	/* or NULL */
	struct bitnet_image_tensor *table;
	const struct bitnet_gguf_tensor **source;	/* of each tensor of the table */
	uint32_t n;
	struct bitnet_image *image;
	/* work: chunks of tensors, claimed from @next */
	pthread_mutex_t lock;
	uint64_t next_chunk, n_chunks;	/* lock */
	uint64_t done_bytes;		/* lock */
	bool stop;			/* lock */
	struct bitnet_error error;	/* lock: the first one */
};

static const char *key_of(const struct builder *b, char *buffer, size_t size, const char *suffix)
{
	snprintf(buffer, size, "%s.%s", b->arch->name, suffix);
	return buffer;
}

static bool str_is(const struct bitnet_gguf_str *s, const char *want)
{
	return s->len == strlen(want) && !memcmp(s->s, want, s->len);
}

static int find_arch(struct builder *b, struct bitnet_error *err)
{
	const char *file = bitnet_gguf_name(b->gguf);
	struct bitnet_gguf_str name;

	if (bitnet_gguf_get_str(b->gguf, "general.architecture", &name))
		return bitnet_error_set(err, EINVAL, "%s: no key general.architecture", file);
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
		if (str_is(&name, archs[i].name)) {
			b->arch = &archs[i];
			return 0;
		}
	}
	bitnet_error_set(err, EOPNOTSUPP, "%s: architecture \"%.*s\" is not supported", file,
			 (int)(name.len < 64 ? name.len : 64), name.s);
	return bitnet_error_hint(
		err, "Supported: bitnet-b1.58, bitnet-25, bitnet, llama (with ternary weights).");
}

/*
 * A key of the architecture; @required or left as it is. Arrays (one value a layer) must be
 * uniform.
 */
static int get_u32(const struct builder *b, const char *suffix, bool required, uint32_t *out,
		   struct bitnet_error *err)
{
	const struct bitnet_gguf_kv *kv;
	char key[128];
	int64_t first = 0, v;

	kv = bitnet_gguf_kv_find(b->gguf, key_of(b, key, sizeof(key), suffix));
	if (!kv && !required)
		return 0;
	if (!kv)
		return bitnet_error_set(err, EINVAL, "%s: no key %s", bitnet_gguf_name(b->gguf),
					key);
	for (uint64_t i = 0; i < kv->array.count; i++) {
		if (bitnet_gguf_array_i64(&kv->array, i, &v) || v < 0 || v > UINT32_MAX)
			return bitnet_error_set(err, EINVAL, "%s: key %s is no number in range",
						bitnet_gguf_name(b->gguf), key);
		if (i && v != first)
			return bitnet_error_set(err, EOPNOTSUPP,
						"%s: key %s differs between layers",
						bitnet_gguf_name(b->gguf), key);
		first = v;
	}
	if (!kv->array.count)
		return bitnet_error_set(err, EINVAL, "%s: key %s is empty",
					bitnet_gguf_name(b->gguf), key);
	*out = first;
	return 0;
}

static int get_f32(const struct builder *b, const char *suffix, bool required, float *out,
		   struct bitnet_error *err)
{
	char key[128];
	int ret = bitnet_gguf_get_f32(b->gguf, key_of(b, key, sizeof(key), suffix), out);

	if (ret == -ENOENT && !required)
		return 0;
	if (ret == -ENOENT)
		return bitnet_error_set(err, EINVAL, "%s: no key %s", bitnet_gguf_name(b->gguf),
					key);
	if (ret || !isfinite(*out))
		return bitnet_error_set(err, EINVAL, "%s: key %s is no finite number",
					bitnet_gguf_name(b->gguf), key);
	return 0;
}

static int activation_by_name(const struct bitnet_gguf_str *s, uint32_t *activation)
{
	if (str_is(s, "relu2") || str_is(s, "relu_sqr") || str_is(s, "relu_squared"))
		*activation = BITNET_ACT_RELU2;
	else if (str_is(s, "silu") || str_is(s, "swish"))
		*activation = BITNET_ACT_SILU;
	else
		return -EINVAL;
	return 0;
}

/*
 * The caller's word, else the file's key, else what the architecture's name stands for. Files of
 * b1.58-2B-4T that were converted as "bitnet" are known by their shape: that name means SiLU
 * otherwise, and the model talks nonsense with it.
 */
static int find_activation(struct builder *b, struct bitnet_error *err)
{
	struct bitnet_image_header *h = &b->hdr;
	const char *override = b->options ? b->options->activation : NULL;
	struct bitnet_gguf_str name;
	char key[128];
	int ret;

	if (override) {
		name.s = override;
		name.len = strlen(override);
		if (activation_by_name(&name, &h->activation)) {
			bitnet_error_set(err, EINVAL, "no such activation: %s", override);
			return bitnet_error_hint(err, "There are relu2 and silu.");
		}
		return 0;
	}
	ret = bitnet_gguf_get_str(b->gguf, key_of(b, key, sizeof(key), "hidden_activation"), &name);
	if (!ret) {
		if (!activation_by_name(&name, &h->activation))
			return 0;
		return bitnet_error_set(err, EOPNOTSUPP, "%s: activation \"%.*s\" is not supported",
					bitnet_gguf_name(b->gguf),
					(int)(name.len < 64 ? name.len : 64), name.s);
	}
	h->activation = b->arch->activation;
	if (h->hidden == 2560 && h->ffn == 6912 && h->n_layers == 30 && h->vocab == 128256)
		h->activation = BITNET_ACT_RELU2;
	return 0;
}

/* What the matrices take as t2 */
static uint64_t weight_bytes(const struct bitnet_image_header *h)
{
	uint64_t q = (uint64_t)h->n_heads * h->head_dim, kv = (uint64_t)h->n_kv_heads * h->head_dim;

	return (2 * q + 2 * kv + 3 * (uint64_t)h->ffn) * h->hidden / 4 * h->n_layers;
}

static int find_packing(struct builder *b, struct bitnet_error *err)
{
	const char *packing = b->options ? b->options->packing : NULL;
	bool t1;

	if (!packing) {
		t1 = bitnet_packing_faster(weight_bytes(&b->hdr)) == BN_T1;
	} else if (!strcmp(packing, "t1") || !strcmp(packing, "t2")) {
		t1 = !strcmp(packing, "t1");
	} else {
		bitnet_error_set(err, EINVAL, "no such packing: %s", packing);
		return bitnet_error_hint(err, "There are t1 (1.6 bits a weight) and t2 (2 bits).");
	}
	if (t1)
		b->hdr.flags |= BITNET_IMAGE_F_T1;
	return 0;
}

static int find_rope(struct builder *b, struct bitnet_error *err)
{
	struct bitnet_image_header *h = &b->hdr;
	struct bitnet_gguf_str type;
	float base = 10000, factor = 1;
	char key[128];
	int ret;

	ret = get_f32(b, "rope.freq_base", false, &base, err);
	if (ret)
		return ret;
	if (!(base > 0))
		return bitnet_error_set(err, EINVAL, "%s: rope.freq_base is not positive",
					bitnet_gguf_name(b->gguf));
	b->rope_base = base;
	b->rope_factors = bitnet_gguf_tensor_find(b->gguf, "rope_freqs.weight");

	/*
	 * Llama 3's scaling comes as a tensor of factors; every other kind changes more than
	 * frequencies.
	 */
	ret = get_f32(b, "rope.scaling.factor", false, &factor, err);
	if (ret)
		return ret;
	if (!bitnet_gguf_get_str(b->gguf, key_of(b, key, sizeof(key), "rope.scaling.type"),
				 &type) &&
	    !str_is(&type, "none") && !(b->rope_factors && str_is(&type, "llama3")) && factor != 1)
		return bitnet_error_set(
			err, EOPNOTSUPP, "%s: RoPE scaling \"%.*s\" is not supported",
			bitnet_gguf_name(b->gguf), (int)(type.len < 64 ? type.len : 64), type.s);
	if (b->arch->permuted && h->rope_dims != h->head_dim)
		return bitnet_error_set(
			err, EOPNOTSUPP,
			"%s: RoPE over a part of the head is not supported for architecture llama",
			bitnet_gguf_name(b->gguf));
	return 0;
}

static int find_shape(struct builder *b, struct bitnet_error *err)
{
	struct bitnet_image_header *h = &b->hdr;
	const char *file = bitnet_gguf_name(b->gguf);
	const struct bitnet_gguf_tensor *embd;
	uint32_t value_dim;
	float eps;
	int ret;

	ret = get_u32(b, "block_count", true, &h->n_layers, err);
	if (!ret)
		ret = get_u32(b, "embedding_length", true, &h->hidden, err);
	if (!ret)
		ret = get_u32(b, "feed_forward_length", true, &h->ffn, err);
	if (!ret)
		ret = get_u32(b, "attention.head_count", true, &h->n_heads, err);
	h->n_kv_heads = h->n_heads;
	if (!ret)
		ret = get_u32(b, "attention.head_count_kv", false, &h->n_kv_heads, err);
	if (!ret)
		ret = get_u32(b, "context_length", true, &h->max_ctx, err);
	if (!ret)
		ret = get_f32(b, "attention.layer_norm_rms_epsilon", true, &eps, err);
	if (ret)
		return ret;
	memcpy(&h->norm_eps, &eps, sizeof(eps));
	if (!h->n_heads || !h->n_layers)
		return bitnet_error_set(err, EINVAL, "%s: no heads or no layers", file);

	/* The width of a head: said outright, else what RoPE turns, else an even share. */
	h->head_dim = h->hidden / h->n_heads;
	ret = get_u32(b, "rope.dimension_count", false, &h->head_dim, err);
	h->rope_dims = h->head_dim;
	if (!ret)
		ret = get_u32(b, "attention.key_length", false, &h->head_dim, err);
	value_dim = h->head_dim;
	if (!ret)
		ret = get_u32(b, "attention.value_length", false, &value_dim, err);
	if (ret)
		return ret;
	if (value_dim != h->head_dim)
		return bitnet_error_set(err, EOPNOTSUPP,
					"%s: heads of keys and values differ in width", file);

	embd = bitnet_gguf_tensor_find(b->gguf, "token_embd.weight");
	if (!embd)
		return bitnet_error_set(err, EINVAL, "%s: no tensor token_embd.weight", file);
	if (bitnet_tensor_rows(embd) > BN_MAX_VOCAB)
		return bitnet_error_set(err, EOPNOTSUPP,
					"%s: a vocabulary of %llu tokens is beyond the limit of %u",
					file, (unsigned long long)bitnet_tensor_rows(embd),
					BN_MAX_VOCAB);
	h->vocab = bitnet_tensor_rows(embd);
	if (h->max_ctx > BN_MAX_CTX)
		h->max_ctx = BN_MAX_CTX;
	if (h->n_layers > BN_MAX_LAYERS)
		return bitnet_error_set(err, EOPNOTSUPP, "%s: %u layers are beyond the limit of %u",
					file, h->n_layers, BN_MAX_LAYERS);
	if (!bitnet_gguf_tensor_find(b->gguf, "output.weight"))
		h->flags |= BITNET_IMAGE_F_TIED;
	if (b->arch->sub_norms || bitnet_gguf_tensor_find(b->gguf, "blk.0.attn_sub_norm.weight"))
		h->flags |= BITNET_IMAGE_F_SUB_NORMS;
	ret = find_activation(b, err);
	if (!ret)
		ret = find_rope(b, err);
	return ret;
}

static void set_name(struct builder *b)
{
	const char *file = bitnet_gguf_name(b->gguf);
	struct bitnet_gguf_str s = { file, strlen(file) };

	if (b->options && b->options->name) {
		s.s = b->options->name;
		s.len = strlen(s.s);
	} else {
		bitnet_gguf_get_str(b->gguf, "general.name", &s);
	}
	for (size_t i = 0; i < s.len && i < sizeof(b->hdr.name) - 1; i++)
		b->hdr.name[i] = s.s[i] >= ' ' && s.s[i] <= '~' ? s.s[i] : '?';
}

/* ---- which tensor goes where ----------------------------------------------------------------- */

static const struct role {
	uint32_t role;
	const char *name;	/* of the tensor in the file; from ROLE_LAYER on behind "blk.N." */
	bool sub_norm;
} roles[] = {
	/* An embedding's three in this order: see pack_planes(). */
	{ BITNET_ROLE_TOKEN_EMBD, "token_embd", false },
	{ BITNET_ROLE_TOKEN_EMBD_LOW, "token_embd", false },
	{ BITNET_ROLE_TOKEN_EMBD_SCALE, "token_embd", false },
	{ BITNET_ROLE_OUTPUT, "output", false },
	{ BITNET_ROLE_OUTPUT_LOW, "output", false },
	{ BITNET_ROLE_OUTPUT_SCALE, "output", false },
	{ BITNET_ROLE_OUTPUT_NORM, "output_norm", false },
	{ BITNET_ROLE_ROPE_FREQ, NULL, false },
	{ BITNET_ROLE_ATTN_NORM, "attn_norm", false },
	{ BITNET_ROLE_ATTN_Q, "attn_q", false },
	{ BITNET_ROLE_ATTN_K, "attn_k", false },
	{ BITNET_ROLE_ATTN_V, "attn_v", false },
	{ BITNET_ROLE_ATTN_SUB_NORM, "attn_sub_norm", true },
	{ BITNET_ROLE_ATTN_OUT, "attn_output", false },
	{ BITNET_ROLE_FFN_NORM, "ffn_norm", false },
	{ BITNET_ROLE_FFN_GATE, "ffn_gate", false },
	{ BITNET_ROLE_FFN_UP, "ffn_up", false },
	{ BITNET_ROLE_FFN_SUB_NORM, "ffn_sub_norm", true },
	{ BITNET_ROLE_FFN_DOWN, "ffn_down", false },
};

/* Is the role not in images with these flags? */
static bool left_out(const struct role *r, uint32_t flags)
{
	switch (r->role) {
	case BITNET_ROLE_OUTPUT:
	case BITNET_ROLE_OUTPUT_LOW:
	case BITNET_ROLE_OUTPUT_SCALE:
		return flags & BITNET_IMAGE_F_TIED;
	default:
		return r->sub_norm && !(flags & BITNET_IMAGE_F_SUB_NORMS);
	}
}

/* Is the tensor made together with the high plane in front of it? */
static bool made_with_high(const struct bitnet_image_tensor *t)
{
	return t->role == BITNET_ROLE_TOKEN_EMBD_LOW || t->role == BITNET_ROLE_TOKEN_EMBD_SCALE ||
	       t->role == BITNET_ROLE_OUTPUT_LOW || t->role == BITNET_ROLE_OUTPUT_SCALE;
}

static uint32_t packing_of(const struct bitnet_image_header *h)
{
	return h->flags & BITNET_IMAGE_F_T1 ? BN_T1 : BN_T2;
}

/* What lies one behind the other in a tensor: its rows, or its columns */
static uint32_t n_lines(const struct bitnet_image_tensor *t)
{
	return bn_format_by_column(t->format) ? t->cols : t->rows;
}

static uint32_t line_weights(const struct bitnet_image_tensor *t)
{
	return bn_format_by_column(t->format) ? t->rows : t->cols;
}

/* Format and shape that the engine wants of a role. */
static void describe(const struct bitnet_image_header *h, struct bitnet_image_tensor *t)
{
	uint32_t q = h->n_heads * h->head_dim, kv = h->n_kv_heads * h->head_dim;

	t->format = h->flags & BITNET_IMAGE_F_T1 ? BITNET_IMAGE_FMT_T1 : BITNET_IMAGE_FMT_T2;
	switch (t->role) {
	case BITNET_ROLE_TOKEN_EMBD:
	case BITNET_ROLE_TOKEN_EMBD_LOW:
	case BITNET_ROLE_OUTPUT:
	case BITNET_ROLE_OUTPUT_LOW:
		t->format = BITNET_IMAGE_FMT_HIGH6;
		t->rows = h->vocab;
		t->cols = h->hidden;
		t->row_bytes = bn_high_bytes(bn_round_up(t->cols, BN_PLANE_COLS));
		if (made_with_high(t)) {
			t->format = BITNET_IMAGE_FMT_LOW10;
			t->row_bytes = bn_low_bytes(bn_round_up(t->cols, BN_PLANE_COLS));
		}
		return;
	case BITNET_ROLE_TOKEN_EMBD_SCALE:
	case BITNET_ROLE_OUTPUT_SCALE:
		t->format = BITNET_IMAGE_FMT_F32;
		t->rows = 2;
		t->cols = h->vocab;
		t->row_bytes = bn_round_up(4 * t->cols, BITNET_IMAGE_ALIGN);
		return;
	case BITNET_ROLE_ROPE_FREQ:
		t->format = BITNET_IMAGE_FMT_F64;
		t->rows = 1;
		t->cols = h->rope_dims / 2;
		t->row_bytes = bn_round_up(8 * t->cols, BITNET_IMAGE_ALIGN);
		return;
	case BITNET_ROLE_OUTPUT_NORM:
	case BITNET_ROLE_ATTN_NORM:
	case BITNET_ROLE_FFN_NORM:
	case BITNET_ROLE_ATTN_SUB_NORM:
	case BITNET_ROLE_FFN_SUB_NORM:
		t->format = BITNET_IMAGE_FMT_F32;
		t->rows = 1;
		t->cols = t->role == BITNET_ROLE_FFN_SUB_NORM ? h->ffn :
			  t->role == BITNET_ROLE_ATTN_SUB_NORM ? q : h->hidden;
		t->row_bytes = bn_round_up(4 * t->cols, BITNET_IMAGE_ALIGN);
		return;
	case BITNET_ROLE_ATTN_Q:
		t->rows = q;
		t->cols = h->hidden;
		break;
	case BITNET_ROLE_ATTN_K:
	case BITNET_ROLE_ATTN_V:
		t->rows = kv;
		t->cols = h->hidden;
		break;
	case BITNET_ROLE_ATTN_OUT:
		t->rows = h->hidden;
		t->cols = q;
		break;
	case BITNET_ROLE_FFN_GATE:
	case BITNET_ROLE_FFN_UP:
		t->rows = h->ffn;
		t->cols = h->hidden;
		break;
	case BITNET_ROLE_FFN_DOWN:
		t->rows = h->hidden;
		t->cols = h->ffn;
		if (h->activation == BITNET_ACT_RELU2)
			t->format = h->flags & BITNET_IMAGE_F_T1 ? BITNET_IMAGE_FMT_T1_COLUMNS :
								   BITNET_IMAGE_FMT_T2_COLUMNS;
		break;
	}
	t->row_bytes = bn_line_bytes(packing_of(h), line_weights(t));
}

static int check_source(const struct builder *b, const struct bitnet_image_tensor *t,
			const struct bitnet_gguf_tensor *src, struct bitnet_error *err)
{
	const char *file = bitnet_gguf_name(b->gguf);

	if (src->dims[0] != t->cols || bitnet_tensor_rows(src) != t->rows)
		return bitnet_error_set(err, EINVAL,
					"%s: tensor %s is %llu x %llu, should be %u x %u", file,
					src->name, (unsigned long long)bitnet_tensor_rows(src),
					(unsigned long long)src->dims[0], t->rows, t->cols);
	if (bn_format_is_ternary(t->format)) {
		if (bitnet_tensor_is_ternary(src))
			return 0;
		bitnet_error_set(err, EOPNOTSUPP, "%s: tensor %s is %s, not a ternary type", file,
				 src->name, bitnet_tensor_type_name(src->type));
		return bitnet_error_hint(err, "Read are I2_S, TQ1_0 and TQ2_0.");
	}
	switch (src->type) {
	case BITNET_TENSOR_F32:
	case BITNET_TENSOR_F16:
	case BITNET_TENSOR_BF16:
	case BITNET_TENSOR_Q8_0:
	case BITNET_TENSOR_Q6_K:
		return 0;
	}
	bitnet_error_set(err, EOPNOTSUPP, "%s: tensor %s has the unsupported type %s", file,
			 src->name, bitnet_tensor_type_name(src->type));
	return bitnet_error_hint(err, "Embeddings and norms may be F32, F16, BF16, Q8_0 or Q6_K.");
}

static int add_tensor(struct builder *b, const struct role *r, uint32_t layer,
		      struct bitnet_error *err)
{
	struct bitnet_image_tensor *t = &b->table[b->n];
	const struct bitnet_gguf_tensor *src = NULL;
	char name[BITNET_GGUF_MAX_NAME_BYTES + 1];
	int ret;

	memset(t, 0, sizeof(*t));
	t->role = r->role;
	t->layer = layer;
	describe(&b->hdr, t);
	if (r->name) {
		if (r->role < BITNET_ROLE_LAYER)
			snprintf(name, sizeof(name), "%s.weight", r->name);
		else
			snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, r->name);
		src = bitnet_gguf_tensor_find(b->gguf, name);
		if (!src)
			return bitnet_error_set(err, EINVAL, "%s: no tensor %s",
						bitnet_gguf_name(b->gguf), name);
		ret = made_with_high(t) ? 0 : check_source(b, t, src, err);
		if (ret)
			return ret;
	}
	t->bytes = (uint64_t)n_lines(t) * t->row_bytes;
	t->offset = b->hdr.total_bytes;
	b->hdr.total_bytes += t->bytes;
	b->source[b->n++] = src;
	return 0;
}

/*
 * A tensor that nobody asked for would have changed the result: biases, more norms, other layers.
 */
static int check_leftovers(const struct builder *b, struct bitnet_error *err)
{
	for (size_t i = 0; i < bitnet_gguf_n_tensors(b->gguf); i++) {
		const struct bitnet_gguf_tensor *t = bitnet_gguf_tensor_at(b->gguf, i);
		size_t len = strlen(t->name);
		uint32_t at = 0;

		if (t == b->rope_factors || (len > 6 && !strcmp(t->name + len - 6, ".scale")))
			continue;
		while (at < b->n && b->source[at] != t)
			at++;
		if (at == b->n)
			return bitnet_error_set(err, EOPNOTSUPP,
						"%s: tensor %s has no place in architecture %s",
						bitnet_gguf_name(b->gguf), t->name, b->arch->name);
	}
	return 0;
}

static int plan(struct builder *b, struct bitnet_error *err)
{
	struct bitnet_image_header *h = &b->hdr;
	size_t max = BITNET_ROLE_COUNT * (size_t)h->n_layers;
	struct bn_layer *layers;
	struct bn_model model;
	int ret = 0;

	b->table = calloc(max, sizeof(*b->table));
	b->source = calloc(max, sizeof(*b->source));
	layers = calloc(h->n_layers, sizeof(*layers));
	if (!b->table || !b->source || !layers) {
		ret = bitnet_error_set(err, ENOMEM, "no memory");
		goto out;
	}
	memcpy(h->magic, BITNET_IMAGE_MAGIC, sizeof(h->magic));
	h->version = BITNET_IMAGE_VERSION;
	h->header_bytes = sizeof(*h);
	h->tensor_bytes = sizeof(*b->table);
	h->tensor_offset = sizeof(*h);

	/* Counted first: the table lies in front of the tensors. */
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (left_out(&roles[i], h->flags))
			continue;
		h->tensor_count += roles[i].role < BITNET_ROLE_LAYER ? 1 : h->n_layers;
	}
	h->total_bytes = sizeof(*h) + (uint64_t)h->tensor_count * sizeof(*b->table);

	/* The layers in the order in which a step reads them, then the head. */
	for (uint32_t layer = 0; layer <= h->n_layers; layer++) {
		for (size_t i = 0; !ret && i < sizeof(roles) / sizeof(roles[0]); i++) {
			bool global = roles[i].role < BITNET_ROLE_LAYER;

			if (global != (layer == h->n_layers) || left_out(&roles[i], h->flags))
				continue;
			ret = add_tensor(b, &roles[i], global ? 0 : layer, err);
		}
	}
	if (!ret)
		ret = check_leftovers(b, err);
	if (ret)
		goto out;
	h->total_bytes =
		(h->total_bytes + BITNET_IMAGE_PAGE - 1) / BITNET_IMAGE_PAGE * BITNET_IMAGE_PAGE;

	/* What the engine would refuse, before any memory is taken. Only addresses are computed. */
	if (bn_image_check_header(h, h->total_bytes) != BN_OK ||
	    bn_model_parse(&model, layers, h, b->table, NULL, h->total_bytes, NULL) != BN_OK)
		ret = bitnet_error_set(err, EOPNOTSUPP,
				       "%s: the model's shape is beyond what the engine can do",
				       bitnet_gguf_name(b->gguf));
out:
	free(layers);
	return ret;
}

/* ---- packing --------------------------------------------------------------------------------- */

#define BAND_ROWS	64	/* rows that are turned into pieces of columns together */
#define PLANES_MAX	32639	/* as in images of version 3: a file gives the same numbers */
#define MAX_TURNED	(32U << 20)	/* weights that one thread turns at a time */

/* Memory of one thread: a row of floats, and some rows of codes */
struct row_buffer {
	float *floats;
	uint8_t *codes;		/* BAND_ROWS rows */
	int16_t *planes;	/* and of the numbers of an embedding */
	uint8_t *turned;	/* as many columns as there is room for; allocated when needed */
};

/*
 * Row of the file that becomes row @r of the image. For architecture llama the converter put the
 * RoPE pairs (j, j + half) of each head side by side; the engine wants them as they were.
 */
static uint32_t source_row(const struct builder *b, const struct bitnet_image_tensor *t, uint32_t r)
{
	uint32_t dim = b->hdr.head_dim, in_head = r % dim, half = dim / 2;

	if (!b->arch->permuted || (t->role != BITNET_ROLE_ATTN_Q && t->role != BITNET_ROLE_ATTN_K))
		return r;
	return r - in_head + 2 * (in_head % half) + in_head / half;
}

static int not_finite(const struct bitnet_gguf_tensor *src, uint32_t row, struct bitnet_error *err)
{
	return bitnet_error_set(err, EINVAL,
				"tensor %s, row %u: a value is not finite", src->name, row);
}

/*
 * One row of an embedding: value / scale in two planes. The next two tensors are its low plane, and
 * its scale with what that plane can be worth, rounded up.
 */
static void pack_planes(const struct builder *b, uint32_t at, uint32_t r,
			const struct row_buffer *buf)
{
	const float *values = buf->floats;
	const struct bitnet_image_tensor *t = &b->table[at];
	uint8_t *base = b->image->base;
	uint8_t *high = base + t->offset + (uint64_t)r * t->row_bytes;
	uint8_t *low = base + t[1].offset + (uint64_t)r * t[1].row_bytes;
	float *scale = (float *)(base + t[2].offset) + r;
	float *error = (float *)(base + t[2].offset + t[2].row_bytes) + r;
	float largest = 0;
	uint64_t squares;

	for (uint32_t c = 0; c < t->cols; c++)
		largest = fmaxf(largest, fabsf(values[c]));
	*scale = largest / PLANES_MAX;
	for (uint32_t c = 0; c < t->cols; c++) {
		/* A scale that is denormal is too coarse, and may be much too small. */
		double q = *scale > 0 ? rint((double)values[c] / *scale) : 0;

		buf->planes[c] = q < -PLANES_MAX ? -PLANES_MAX : q > PLANES_MAX ? PLANES_MAX : q;
	}
	squares = bn_pack_planes(high, low, buf->planes, t->cols);
	*error = nextafterf((float)(*scale * sqrt((double)squares)), INFINITY);
}

static int pack_row(const struct builder *b, uint32_t at, uint32_t r, const struct row_buffer *buf,
		    struct bitnet_error *err)
{
	const struct bitnet_image_tensor *t = &b->table[at];
	const struct bitnet_gguf_tensor *src = b->source[at];
	uint8_t *dst = (uint8_t *)b->image->base + t->offset + (uint64_t)r * t->row_bytes;
	int ret;

	if (bn_format_is_ternary(t->format)) {
		ret = bitnet_tensor_row_codes(src, source_row(b, t, r), buf->codes, err);
		if (!ret)
			bn_pack_line(packing_of(&b->hdr), dst, buf->codes, t->cols);
		return ret;
	}
	ret = bitnet_tensor_row_f32(src, r, buf->floats, err);
	if (ret)
		return ret;
	for (uint32_t c = 0; c < t->cols; c++)
		if (!isfinite(buf->floats[c]))
			return not_finite(src, r, err);
	if (t->format == BITNET_IMAGE_FMT_HIGH6)
		pack_planes(b, at, r, buf);
	if (t->format == BITNET_IMAGE_FMT_F32)
		memcpy(dst, buf->floats, sizeof(float) * t->cols);
	return 0;
}

/* Columns [from, end) of a tensor that is stored by column: all rows are read, a band at a time. */
static int pack_columns(const struct builder *b, uint32_t at, uint32_t from, uint32_t end,
			struct row_buffer *buf, struct bitnet_error *err)
{
	const struct bitnet_image_tensor *t = &b->table[at];
	uint8_t *dst = (uint8_t *)b->image->base + t->offset + (uint64_t)from * t->row_bytes;
	int ret;

	if (!buf->turned)
		buf->turned = malloc(MAX_TURNED);
	if (!buf->turned)
		return bitnet_error_set(err, ENOMEM, "no memory");
	for (uint32_t r = 0; r < t->rows; r += BAND_ROWS) {
		uint32_t n = t->rows - r < BAND_ROWS ? t->rows - r : BAND_ROWS;

		for (uint32_t i = 0; i < n; i++) {
			ret = bitnet_tensor_row_codes(b->source[at], source_row(b, t, r + i),
						      buf->codes + (size_t)i * t->cols, err);
			if (ret)
				return ret;
		}
		for (uint32_t c = from; c < end; c++)
			for (uint32_t i = 0; i < n; i++)
				buf->turned[(size_t)(c - from) * t->rows + r + i] =
					buf->codes[(size_t)i * t->cols + c];
	}
	for (uint32_t c = from; c < end; c++, dst += t->row_bytes)
		bn_pack_line(packing_of(&b->hdr), dst, buf->turned + (size_t)(c - from) * t->rows,
			     t->rows);
	return 0;
}

/* Once for each ternary tensor: is it sound, and its scale. */
static int pack_scale(const struct builder *b, uint32_t at, struct bitnet_error *err)
{
	struct bitnet_image_tensor *t = &b->table[at];
	float scale;
	int ret = bitnet_tensor_check(b->source[at], err);

	if (!ret)
		ret = bitnet_tensor_scale(b->source[at], b->gguf, &scale, err);
	if (!ret)
		memcpy(&t->scale, &scale, sizeof(scale));
	return ret;
}

static int pack_rope(const struct builder *b, uint32_t at, struct bitnet_error *err)
{
	const struct bitnet_image_tensor *t = &b->table[at];
	double *freq = (double *)((uint8_t *)b->image->base + t->offset);
	float factors[BN_MAX_HEAD_DIM / 2];

	if (b->rope_factors) {
		int ret;

		if (b->rope_factors->dims[0] != t->cols || bitnet_tensor_rows(b->rope_factors) != 1)
			return bitnet_error_set(
				err, EINVAL, "tensor %s has %llu factors, should have %u",
				b->rope_factors->name, (unsigned long long)b->rope_factors->n_elems,
				t->cols);
		ret = bitnet_tensor_row_f32(b->rope_factors, 0, factors, err);
		if (ret)
			return ret;
	}
	for (uint32_t j = 0; j < t->cols; j++) {
		freq[j] = pow(b->rope_base, -2.0 * j / b->hdr.rope_dims);
		if (b->rope_factors)
			freq[j] /= factors[j];
		if (!isfinite(freq[j]))
			return bitnet_error_set(err, EINVAL, "RoPE frequency %u is not finite", j);
	}
	return 0;
}

static uint32_t chunk_lines(const struct bitnet_image_tensor *t)
{
	/* By column each chunk reads all of the source: as few chunks as there is memory for. */
	if (bn_format_by_column(t->format))
		return MAX_TURNED / t->rows;
	return CHUNK_BYTES / t->row_bytes + 1;
}

static uint64_t n_chunks(const struct bitnet_image_tensor *t)
{
	return made_with_high(t) ? 0 : (n_lines(t) + chunk_lines(t) - 1) / chunk_lines(t);
}

static int pack_chunk(const struct builder *b, uint64_t chunk, struct row_buffer *buf,
		      uint64_t *bytes, struct bitnet_error *err)
{
	const struct bitnet_image_tensor *t;
	uint32_t at = 0, r, end;
	int ret = 0;

	while (chunk >= n_chunks(&b->table[at]))
		chunk -= n_chunks(&b->table[at++]);
	t = &b->table[at];
	r = chunk * chunk_lines(t);
	end = r + chunk_lines(t) < n_lines(t) ? r + chunk_lines(t) : n_lines(t);
	*bytes = (uint64_t)(end - r) * t->row_bytes;
	if (t->format == BITNET_IMAGE_FMT_HIGH6)
		*bytes += (uint64_t)(end - r) * (t[1].row_bytes + 2 * sizeof(float));
	if (!b->source[at])
		return pack_rope(b, at, err);
	if (bn_format_is_ternary(t->format) && !chunk)
		ret = pack_scale(b, at, err);
	if (!ret && bn_format_by_column(t->format))
		return pack_columns(b, at, r, end, buf, err);
	for (; !ret && r < end; r++)
		ret = pack_row(b, at, r, buf, err);
	return ret;
}

/* Take chunks until there are none. Progress is told by the thread that called the library only. */
static void pack_loop(struct builder *b, bool tell)
{
	const struct bitnet_image_options *o = b->options;
	struct bitnet_error err = { 0 };
	struct row_buffer buf = {
		.floats = malloc(sizeof(float) * BN_MAX_COLS),
		.codes = malloc((size_t)BAND_ROWS * BN_MAX_COLS),
		.planes = malloc(sizeof(int16_t) * BN_MAX_COLS),
	};
	int ret = 0;

	if (!buf.floats || !buf.codes || !buf.planes)
		ret = bitnet_error_set(&err, ENOMEM, "no memory");
	pthread_mutex_lock(&b->lock);
	while (!ret && !b->stop && b->next_chunk < b->n_chunks) {
		uint64_t chunk = b->next_chunk++, bytes, done;

		pthread_mutex_unlock(&b->lock);
		ret = pack_chunk(b, chunk, &buf, &bytes, &err);
		pthread_mutex_lock(&b->lock);
		b->done_bytes += bytes;
		done = b->done_bytes;
		if (!ret && tell && o && o->progress) {
			pthread_mutex_unlock(&b->lock);
			if (!o->progress(o->progress_arg, done, b->hdr.total_bytes))
				ret = bitnet_error_set(&err, ECANCELED, "packing was cancelled");
			pthread_mutex_lock(&b->lock);
		}
	}
	if (ret) {
		b->stop = true;
		if (!b->error.code)
			b->error = err;
	}
	pthread_mutex_unlock(&b->lock);
	free(buf.floats);
	free(buf.planes);
	free(buf.codes);
	free(buf.turned);
}

static void *pack_thread(void *arg)
{
	pack_loop(arg, false);
	return NULL;
}

static int pack(struct builder *b, struct bitnet_error *err)
{
	pthread_t threads[MAX_THREADS];
	unsigned int n = 0, want = 1;
	cpu_set_t cpus;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		want = CPU_COUNT(&cpus);
	for (uint32_t i = 0; i < b->n; i++)
		b->n_chunks += n_chunks(&b->table[i]);
	/* Fewer threads than wanted are as good. */
	while (n + 1 < want && n < MAX_THREADS &&
	       !pthread_create(&threads[n], NULL, pack_thread, b))
		n++;
	pack_loop(b, true);
	while (n)
		pthread_join(threads[--n], NULL);
	if (!b->error.code)
		return 0;
	if (err)
		*err = b->error;
	/* Damaged weights are a bad model, like all else that is wrong with one. */
	if (b->error.code == EBADMSG)
		b->error.code = EINVAL;
	if (b->error.code == ENOTSUP)
		b->error.code = EOPNOTSUPP;
	if (err)
		err->code = b->error.code;
	return -b->error.code;
}

int bitnet_image_build(const struct bitnet_gguf *gguf, const struct bitnet_image_options *options,
		       struct bitnet_image *image, struct bitnet_error *err)
{
	struct builder b = { .gguf = gguf, .options = options, .image = image,
			     .lock = PTHREAD_MUTEX_INITIALIZER };
	uint8_t *base;
	int ret;

	memset(image, 0, sizeof(*image));
	ret = find_arch(&b, err);
	if (!ret)
		ret = find_shape(&b, err);
	if (!ret)
		ret = find_packing(&b, err);
	if (ret)
		return ret;
	set_name(&b);
	ret = plan(&b, err);
	if (!ret)
		ret = bitnet_image_alloc(image, b.hdr.total_bytes, err);
	if (ret)
		goto out;
	ret = pack(&b, err);
	if (ret) {
		bitnet_image_free(image);
		goto out;
	}
	base = image->base;
	memcpy(base + b.hdr.tensor_offset, b.table, sizeof(*b.table) * b.hdr.tensor_count);
	b.hdr.digest = bitnet_image_digest(&b.hdr, base);
	memcpy(base, &b.hdr, sizeof(b.hdr));
	if (options && options->progress)
		options->progress(options->progress_arg, b.hdr.total_bytes, b.hdr.total_bytes);
out:
	free(b.source);
	free(b.table);
	return ret;
}

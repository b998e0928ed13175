// SPDX-License-Identifier: GPL-2.0
/*
 * image.c - bn_image.c on images of strangers: wrong ones are refused, accepted ones stay inside
 *
 * The image itself is never there: its address is made up, so any read of it would fault.
 */
#include <stdlib.h>

#include "bn_image.h"
#include "size.h"
#include "tap.h"

#define LAYERS		2
#define MAX_TENSORS	(8 + 11 * LAYERS)
#define BASE		((const u8 *)0x100000000000ULL)

/* Everything that the kernel would copy of an image */
struct image {
	struct bitnet_image_header hdr;
	struct bitnet_image_tensor table[MAX_TENSORS];
	u64 length;
};

static struct bn_layer layers[BN_MAX_LAYERS];
static struct bn_model model;
static u32 bad;

/* Of the image's packing */
#define MATRIX		100
#define BY_COLUMN	101

static void add(struct image *im, u32 role, u32 layer, u32 format, u32 rows, u32 cols)
{
	static const u32 bits[] = { [BITNET_IMAGE_FMT_F32] = 32, [BITNET_IMAGE_FMT_F64] = 64,
				    [BITNET_IMAGE_FMT_HIGH6] = 6,
				    [BITNET_IMAGE_FMT_LOW10] = 10 };
	bool plane = format == BITNET_IMAGE_FMT_HIGH6 || format == BITNET_IMAGE_FMT_LOW10;
	struct bitnet_image_tensor *t = im->table + im->hdr.tensor_count++;
	u32 packing = im->hdr.flags & BITNET_IMAGE_F_T1 ? BN_T1 : BN_T2, lines = rows;

	memset(t, 0, sizeof(*t));
	t->role = role;
	t->layer = layer;
	t->format = format;
	t->rows = rows;
	t->cols = cols;
	t->offset = im->length;
	if (format == MATRIX || format == BY_COLUMN) {
		static const u32 formats[2][2] = {
			{ BITNET_IMAGE_FMT_T2, BITNET_IMAGE_FMT_T2_COLUMNS },
			{ BITNET_IMAGE_FMT_T1, BITNET_IMAGE_FMT_T1_COLUMNS },
		};

		t->format = formats[packing][format == BY_COLUMN];
		t->scale = 0x3f9d70a4;		/* 1.23 */
		t->row_bytes = bn_line_bytes(packing, format == BY_COLUMN ? rows : cols);
		lines = format == BY_COLUMN ? cols : rows;
	} else {
		t->row_bytes = ((plane ? (cols + 255) / 256 * 256 : cols) * bits[format] / 8 + 63) /
			       64 * 64;
	}
	t->bytes = (u64)lines * t->row_bytes;
	im->length += t->bytes;
}

/* A small model with odd sizes: grouped heads, widths that are no multiples of a block */
static void build(struct image *im, u32 flags)
{
	struct bitnet_image_header *h = &im->hdr;
	u32 q, kv;

	memset(im, 0, sizeof(*im));
	memcpy(h->magic, BITNET_IMAGE_MAGIC, 8);
	h->version = BITNET_IMAGE_VERSION;
	h->header_bytes = sizeof(*h);
	h->digest = 0x1234;
	h->flags = flags;
	h->activation = BITNET_ACT_RELU2;
	h->n_layers = LAYERS;
	h->hidden = 300;
	h->ffn = 700;
	h->n_heads = 6;
	h->n_kv_heads = 2;
	h->head_dim = 50;
	h->rope_dims = 40;
	h->vocab = 1000;
	h->max_ctx = 512;
	h->norm_eps = 0x3727c5ac;	/* 1e-5 */
	h->tensor_bytes = sizeof(struct bitnet_image_tensor);
	h->tensor_offset = sizeof(*h);
	strcpy(h->name, "test");
	q = h->n_heads * h->head_dim;
	kv = h->n_kv_heads * h->head_dim;

	im->length = sizeof(*h) + MAX_TENSORS * sizeof(struct bitnet_image_tensor);
	add(im, BITNET_ROLE_TOKEN_EMBD, 0, BITNET_IMAGE_FMT_HIGH6, h->vocab, h->hidden);
	if (!(flags & BITNET_IMAGE_F_TIED))
		add(im, BITNET_ROLE_OUTPUT, 0, BITNET_IMAGE_FMT_HIGH6, h->vocab, h->hidden);
	add(im, BITNET_ROLE_OUTPUT_NORM, 0, BITNET_IMAGE_FMT_F32, 1, h->hidden);
	add(im, BITNET_ROLE_ROPE_FREQ, 0, BITNET_IMAGE_FMT_F64, 1, h->rope_dims / 2);
	for (u32 l = 0; l < h->n_layers; l++) {
		add(im, BITNET_ROLE_ATTN_Q, l, MATRIX, q, h->hidden);
		add(im, BITNET_ROLE_ATTN_K, l, MATRIX, kv, h->hidden);
		add(im, BITNET_ROLE_ATTN_V, l, MATRIX, kv, h->hidden);
		add(im, BITNET_ROLE_ATTN_OUT, l, MATRIX, h->hidden, q);
		add(im, BITNET_ROLE_FFN_GATE, l, MATRIX, h->ffn, h->hidden);
		add(im, BITNET_ROLE_FFN_UP, l, MATRIX, h->ffn, h->hidden);
		add(im, BITNET_ROLE_FFN_DOWN, l, BY_COLUMN, h->hidden, h->ffn);
		add(im, BITNET_ROLE_ATTN_NORM, l, BITNET_IMAGE_FMT_F32, 1, h->hidden);
		add(im, BITNET_ROLE_FFN_NORM, l, BITNET_IMAGE_FMT_F32, 1, h->hidden);
		if (flags & BITNET_IMAGE_F_SUB_NORMS) {
			add(im, BITNET_ROLE_ATTN_SUB_NORM, l, BITNET_IMAGE_FMT_F32, 1, q);
			add(im, BITNET_ROLE_FFN_SUB_NORM, l, BITNET_IMAGE_FMT_F32, 1, h->ffn);
		}
	}
	add(im, BITNET_ROLE_TOKEN_EMBD_LOW, 0, BITNET_IMAGE_FMT_LOW10, h->vocab, h->hidden);
	add(im, BITNET_ROLE_TOKEN_EMBD_SCALE, 0, BITNET_IMAGE_FMT_F32, 2, h->vocab);
	if (!(flags & BITNET_IMAGE_F_TIED)) {
		add(im, BITNET_ROLE_OUTPUT_LOW, 0, BITNET_IMAGE_FMT_LOW10, h->vocab, h->hidden);
		add(im, BITNET_ROLE_OUTPUT_SCALE, 0, BITNET_IMAGE_FMT_F32, 2, h->vocab);
	}
	im->length = (im->length + BITNET_IMAGE_PAGE - 1) / BITNET_IMAGE_PAGE * BITNET_IMAGE_PAGE;
	h->total_bytes = im->length;
}

/* As the module does it: header, then a copy of the table that is as long as the header says */
static enum bn_err parse(const struct image *im)
{
	enum bn_err err = bn_image_check_header(&im->hdr, im->length);
	struct bitnet_image_tensor *table;

	if (err)
		return err;
	table = calloc(im->hdr.tensor_count + !im->hdr.tensor_count, sizeof(*table));
	memcpy(table, im->table, (im->hdr.tensor_count < MAX_TENSORS ? im->hdr.tensor_count
			: MAX_TENSORS) * sizeof(*table));
	err = bn_model_parse(&model, layers, &im->hdr, table, BASE, im->length, &bad);
	free(table);
	return err;
}

/* ---- what an accepted model may point to ---------------------------------------------------- */

static bool inside(const void *p, u64 bytes, u64 align, u64 length)
{
	u64 offset = (const u8 *)p - BASE;

	return p && offset >= sizeof(struct bitnet_image_header) && offset <= length &&
		bytes <= length - offset && offset % align == 0;
}

/* what products will read, and whether its shape is as the step will use it */
static bool matrix_inside(const struct bn_matrix *w, u32 rows, u32 cols, u64 length)
{
	u32 lines = w->by_column ? cols : rows, weights = w->by_column ? rows : cols;

	return w->rows == rows && w->cols == cols && w->packing == model.packing &&
		w->line_bytes == bn_line_bytes(w->packing, weights) &&
		inside(w->data, (u64)lines * w->line_bytes, 64, length) &&
		w->scale - w->scale == 0;		/* finite */
}

static bool norm_inside(const float *g, u32 n, u64 length)
{
	return inside(g, bn_round_up(n, BN_LANES) * sizeof(*g), 64, length);
}

static bool embedding_inside(const struct bn_embedding *e, u64 length)
{
	u64 high = (u64)model.vocab * bn_high_bytes(model.embd_pad);
	u64 low = (u64)model.vocab * bn_low_bytes(model.embd_pad);

	return inside(e->high, high, 64, length) && inside(e->low, low, 64, length) &&
		norm_inside(e->scale, model.vocab, length) &&
		norm_inside(e->error, model.vocab, length) && e->scale != e->error;
}

static bool model_inside(u32 flags, u64 length)
{
	const struct bn_model *m = &model;
	u32 q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;

	if (!m->n_layers || m->n_layers > BN_MAX_LAYERS || m->hidden_pad > BN_MAX_COLS ||
	    m->ffn_pad > BN_MAX_COLS || m->attn_pad > BN_MAX_COLS ||
	    m->head_pad > BN_MAX_HEAD_DIM || m->hidden > m->hidden_pad || m->ffn > m->ffn_pad ||
	    q > m->attn_pad || m->head_dim > m->head_pad || m->hidden > m->embd_pad ||
	    !m->n_kv_heads || m->n_heads % m->n_kv_heads || m->rope_dims > m->head_dim ||
	    m->rope_dims % 2 || !(m->norm_eps >= 0) || m->norm_eps - m->norm_eps != 0 ||
	    m->embd_pad > m->hidden_pad || m->embd_pad % BN_PLANE_COLS)
		return false;
	if (!embedding_inside(&m->token_embd, length) || !embedding_inside(&m->output, length) ||
	    !norm_inside(m->output_norm, m->hidden, length) ||
	    !inside(m->rope_freq, m->rope_dims / 2 * sizeof(double), 64, length))
		return false;
	for (u32 i = 0; i < m->n_layers; i++) {
		const struct bn_layer *l = m->layers + i;

		if (!matrix_inside(&l->attn_q, q, m->hidden, length) ||
		    !matrix_inside(&l->attn_k, kv, m->hidden, length) ||
		    !matrix_inside(&l->attn_v, kv, m->hidden, length) ||
		    !matrix_inside(&l->attn_out, m->hidden, q, length) ||
		    !matrix_inside(&l->ffn_gate, m->ffn, m->hidden, length) ||
		    !matrix_inside(&l->ffn_up, m->ffn, m->hidden, length) ||
		    !matrix_inside(&l->ffn_down, m->hidden, m->ffn, length) ||
		    !norm_inside(l->attn_norm, m->hidden, length) ||
		    !norm_inside(l->ffn_norm, m->hidden, length))
			return false;
		if (!(flags & BITNET_IMAGE_F_SUB_NORMS)) {
			if (l->attn_sub_norm || l->ffn_sub_norm)
				return false;
		} else if (!norm_inside(l->attn_sub_norm, q, length) ||
			   !norm_inside(l->ffn_sub_norm, m->ffn, length)) {
			return false;
		}
	}
	return true;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void valid(void)
{
	struct image im;

	for (u32 flags = 0; flags <= __BITNET_IMAGE_F_ALL; flags++) {
		build(&im, flags);
		is(parse(&im), BN_OK, "valid image with flags %#x", flags);
		ok(model_inside(flags, im.length), "its views lie inside");
		ok(!memcmp(&model.output, &model.token_embd, sizeof(model.output)) ==
		   !!(flags & BITNET_IMAGE_F_TIED),
		   "tied as it says");
	}
	is(model.hidden_pad, 512, "hidden_pad");
	is(model.ffn_pad, 960, "ffn_pad");
	is(model.attn_pad, 512, "attn_pad");
	is(model.head_pad, 64, "head_pad");
	is(model.embd_pad, 512, "embd_pad");
	is(model.digest, 0x1234, "digest");
	ok(model.norm_eps == 1e-5f && layers[1].ffn_down.scale == 1.23f, "floats came through");
	is(bn_kv_bytes(&model, 100), 2 * 2 * 2 * 100 * 64 * 2, "key/value cache");
	model.n_layers = BN_MAX_LAYERS;
	model.n_kv_heads = BN_MAX_HEADS;
	model.head_pad = BN_MAX_HEAD_DIM;
	is(bn_kv_bytes(&model, BN_MAX_CTX), 1LL << 46, "the largest one does not overflow");
	build(&im, 0);
	im.hdr.norm_eps = 0;
	is(parse(&im), BN_OK, "an epsilon of 0 is allowed");
}

struct field {
	const char *name;
	size_t offset, bytes;
	enum bn_err err;	/* of a wrong value; BN_OK: any value is harmless */
};

#define FIELD(type, name, err)	\
	{ #name, offsetof(struct type, name), sizeof(((struct type *)0)->name), err }
#define HDR(name, err)		FIELD(bitnet_image_header, name, err)
#define TENSOR(name, err)	FIELD(bitnet_image_tensor, name, err)

static const struct field header_fields[] = {
	HDR(magic, BN_EMAGIC), HDR(version, BN_EMAGIC), HDR(header_bytes, BN_EMAGIC),
	HDR(total_bytes, BN_ESHAPE), HDR(digest, BN_OK), HDR(flags, BN_ESHAPE),
	HDR(activation, BN_OK), HDR(n_layers, BN_ESHAPE), HDR(hidden, BN_ESHAPE),
	HDR(ffn, BN_ESHAPE), HDR(n_heads, BN_ESHAPE), HDR(n_kv_heads, BN_ESHAPE),
	HDR(head_dim, BN_ESHAPE), HDR(rope_dims, BN_ESHAPE), HDR(vocab, BN_ESHAPE),
	HDR(max_ctx, BN_OK), HDR(norm_eps, BN_OK), HDR(tensor_count, BN_ESHAPE),
	HDR(tensor_bytes, BN_EMAGIC), HDR(tensor_offset, BN_OK), HDR(name, BN_OK),
	HDR(__resv, BN_ESHAPE),
};

static const struct field tensor_fields[] = {
	TENSOR(role, BN_ESHAPE), TENSOR(layer, BN_ESHAPE), TENSOR(format, BN_ESHAPE),
	TENSOR(scale, BN_OK), TENSOR(rows, BN_ESHAPE), TENSOR(cols, BN_ESHAPE),
	TENSOR(row_bytes, BN_ESHAPE), TENSOR(__resv0, BN_ESHAPE), TENSOR(offset, BN_OK),
	TENSOR(bytes, BN_ESHAPE), TENSOR(__resv1, BN_ESHAPE),
};

static const u64 values[] = {
	0, 1, 2, 3, 5, 7, 8, 18, 19, 31, 63, 64, 65, 255, 256, 257, 4095, 4096, 32767, 32768, 32769,
	65536, 0x100000, 0x100001, 0x7f800000, 0x7fc00000, 0x7fffffff, 0x80000000, 0xff800000,
	0xfffffffe, 0xffffffff, 0x100000000, 0x1000000000, 0x7fffffffffffffff, 0x8000000000000000,
	0xffffffffffffffc0, 0xffffffffffffffff,
};

/*
 * Put each of the values, and near misses of the right one, into a field. A wrong value must be
 * refused; where any is harmless, an accepted model must lie inside.
 */
static void mutate_field(u32 flags, struct image *im, u8 *at, const struct field *f,
			 const char *what)
{
	u32 wrong = 0, outside = 0, tried = 0;
	u8 saved[96];

	memcpy(saved, at, f->bytes);
	for (u32 i = 0; i < sizeof(values) / sizeof(*values) + 8 * f->bytes; i++) {
		u32 v = i - sizeof(values) / sizeof(*values);
		enum bn_err err;

		memcpy(at, saved, f->bytes);
		if (i < sizeof(values) / sizeof(*values))
			memcpy(at, values + i, f->bytes < 8 ? f->bytes : 8);
		else
			at[v / 8] ^= 1 << v % 8;
		if (!memcmp(at, saved, f->bytes))
			continue;
		tried++;
		err = parse(im);
		if (err == BN_OK)
			outside += !model_inside(im->hdr.flags, im->length);
		if (f->err != BN_OK)
			wrong += err == BN_OK;
	}
	memcpy(at, saved, f->bytes);
	ok(tried && !wrong && !outside, "%s %s, flags %#x: %u values, %u accepted, %u outside",
	   what, f->name, flags, tried, wrong, outside);
}

static void mutations(void)
{
	struct image im;

	for (u32 flags = 0; flags <= __BITNET_IMAGE_F_ALL; flags++) {
		build(&im, flags);
		for (u32 i = 0; i < sizeof(header_fields) / sizeof(*header_fields); i++)
			mutate_field(flags, &im, (u8 *)&im.hdr + header_fields[i].offset,
				     header_fields + i, "header");
	}
	build(&im, BITNET_IMAGE_F_SUB_NORMS);
	for (u32 i = 0; i < sizeof(tensor_fields) / sizeof(*tensor_fields); i++)
		for (u32 t = 0; t < im.hdr.tensor_count; t += 3) {
			char what[32];

			snprintf(what, sizeof(what), "tensor %u", t);
			mutate_field(im.hdr.flags, &im,
				     (u8 *)(im.table + t) + tensor_fields[i].offset,
				     tensor_fields + i, what);
		}
}

/* One mistake each, and exactly its error */
static void mistakes(void)
{
	struct image im;

#define MISTAKE(err, what, ...)					\
	do {							\
		build(&im, BITNET_IMAGE_F_SUB_NORMS);		\
		__VA_ARGS__;					\
		is(parse(&im), err, what);			\
	} while (0)
	/* the same, to be found before anything is read of the table */
#define HEADER_MISTAKE(err, what, ...)					\
	do {								\
		build(&im, BITNET_IMAGE_F_SUB_NORMS);			\
		__VA_ARGS__;						\
		is(bn_image_check_header(&im.hdr, im.length), err, what); \
	} while (0)

	HEADER_MISTAKE(BN_EMAGIC, "magic", im.hdr.magic[7] = 'X');
	HEADER_MISTAKE(BN_EMAGIC, "version", im.hdr.version++);
	HEADER_MISTAKE(BN_ESHAPE, "length is not what the header says", im.length += 4096);
	HEADER_MISTAKE(BN_ESHAPE, "length no multiple of a page",
		       im.hdr.total_bytes = im.length -= 64);
	HEADER_MISTAKE(BN_ESHAPE, "length over the limit",
		im.hdr.total_bytes = im.length = BN_MAX_IMAGE_BYTES + 4096);
	HEADER_MISTAKE(BN_ESHAPE, "reserved byte", im.hdr.__resv[95] = 1);
	HEADER_MISTAKE(BN_ESHAPE, "unknown flag", im.hdr.flags |= 8);
	HEADER_MISTAKE(BN_ESHAPE, "name without end",
		       memset(im.hdr.name, 'a', sizeof(im.hdr.name)));
	HEADER_MISTAKE(BN_ESHAPE, "epsilon infinite", im.hdr.norm_eps = 0x7f800000);
	HEADER_MISTAKE(BN_ESHAPE, "epsilon NaN", im.hdr.norm_eps = 0x7fc00000);
	HEADER_MISTAKE(BN_ESHAPE, "epsilon negative", im.hdr.norm_eps = 0xb727c5ac);
	HEADER_MISTAKE(BN_ESHAPE, "head_dim odd", im.hdr.head_dim = 51);
	HEADER_MISTAKE(BN_ESHAPE, "rope_dims 0", im.hdr.rope_dims = 0);
	HEADER_MISTAKE(BN_ESHAPE, "max_ctx 0", im.hdr.max_ctx = 0);
	HEADER_MISTAKE(BN_ESHAPE, "heads do not divide", im.hdr.n_kv_heads = 4);
	HEADER_MISTAKE(BN_ESHAPE, "attention wider than the limit", im.hdr.n_heads = 256,
		       im.hdr.head_dim = 130);
	HEADER_MISTAKE(BN_ESHAPE, "table offset not aligned", im.hdr.tensor_offset += 8);
	HEADER_MISTAKE(BN_ESHAPE, "table over the header", im.hdr.tensor_offset = 64);
	HEADER_MISTAKE(BN_ESHAPE, "table behind the end", im.hdr.tensor_offset = im.length);
	HEADER_MISTAKE(BN_ESHAPE, "table offset wraps", im.hdr.tensor_offset = ~0ULL - 63);
	HEADER_MISTAKE(BN_ESHAPE, "too many layers", im.hdr.n_layers = BN_MAX_LAYERS + 1);
	HEADER_MISTAKE(BN_ESHAPE, "too wide", im.hdr.hidden = BN_MAX_COLS + 1);
	HEADER_MISTAKE(BN_ESHAPE, "feed-forward too wide", im.hdr.ffn = BN_MAX_COLS + 1);
	HEADER_MISTAKE(BN_ESHAPE, "rope_dims over head_dim", im.hdr.rope_dims = 52);
	HEADER_MISTAKE(BN_ESHAPE, "rope_dims odd", im.hdr.rope_dims = 39);
	HEADER_MISTAKE(BN_ESHAPE, "head_dim over the limit", im.hdr.head_dim = BN_MAX_HEAD_DIM + 2);
	HEADER_MISTAKE(BN_ESHAPE, "vocabulary empty", im.hdr.vocab = 0);
	HEADER_MISTAKE(BN_ESHAPE, "vocabulary too large", im.hdr.vocab = BN_MAX_VOCAB + 1);
	HEADER_MISTAKE(BN_ESHAPE, "context too long", im.hdr.max_ctx = BN_MAX_CTX + 1);
	HEADER_MISTAKE(BN_ESHAPE, "more tensors than roles",
		       im.hdr.tensor_count = MAX_TENSORS + 1);
	HEADER_MISTAKE(BN_ESHAPE, "unknown activation", im.hdr.activation = 2);

	MISTAKE(BN_ESHAPE, "scale infinite", im.table[4].scale = 0xff800000);
	MISTAKE(BN_ESHAPE, "scale NaN", im.table[4].scale = 0x7f800001);
	MISTAKE(BN_ESHAPE, "scale of a norm", im.table[2].scale = 0x3f800000);
	MISTAKE(BN_ESHAPE, "tensor missing", im.hdr.tensor_count--);
	is(bad, MAX_TENSORS - 1, "... which is said");
	MISTAKE(BN_ESHAPE, "no tensors", im.hdr.tensor_count = 0);
	MISTAKE(BN_ESHAPE, "tensor twice", im.table[7] = im.table[6]);
	is(bad, 7, "... the second one is named");
	MISTAKE(BN_ESHAPE, "norm twice", im.table[12] = im.table[11]);
	MISTAKE(BN_ESHAPE, "layer out of range", im.table[7].layer = LAYERS);
	MISTAKE(BN_ESHAPE, "layer of a global tensor", im.table[0].layer = 1);
	MISTAKE(BN_ESHAPE, "a plane is no scale", im.table[0].role = BITNET_ROLE_TOKEN_EMBD_SCALE);
	MISTAKE(BN_ESHAPE, "the low plane twice", im.table[0].role = BITNET_ROLE_TOKEN_EMBD_LOW);
	MISTAKE(BN_ESHAPE, "role out of range", im.table[0].role = BITNET_ROLE_COUNT);
	MISTAKE(BN_ESHAPE, "sub-norms not announced", im.hdr.flags = 0);
	MISTAKE(BN_ESHAPE, "tensor over the header", im.table[4].offset = 192);
	MISTAKE(BN_ESHAPE, "tensor over the table", im.table[4].offset = 320);
	MISTAKE(BN_ESHAPE, "tensor behind the end", im.table[4].offset = im.length);
	MISTAKE(BN_ESHAPE, "tensor across the end",
		im.table[4].offset = im.length - im.table[4].bytes + 64);
	MISTAKE(BN_ESHAPE, "tensor not aligned", im.table[4].offset += 32);
	MISTAKE(BN_ESHAPE, "tensor's end wraps", im.table[4].offset = ~0ULL - 63);
	MISTAKE(BN_ESHAPE, "row_bytes and bytes too large, but consistent",
		im.table[4].row_bytes += 64, im.table[4].bytes += 64 * im.table[4].rows);

	build(&im, BITNET_IMAGE_F_SUB_NORMS | BITNET_IMAGE_F_TIED);
	im.table[1] = im.table[0];
	im.table[1].role = BITNET_ROLE_OUTPUT;
	is(parse(&im), BN_ESHAPE, "OUTPUT in a tied image");
	MISTAKE(BN_ESHAPE, "tensors that overlap", im.table[5].offset = im.table[4].offset);
}

static void truncations(void)
{
	u32 accepted = 0;
	struct image im;

	build(&im, 0);
	for (u64 length = 0; length < im.hdr.total_bytes; length += 64) {
		struct image cut = im;

		cut.length = length;
		accepted += parse(&cut) == BN_OK;
		cut.hdr.total_bytes = length;
		accepted += parse(&cut) == BN_OK;
	}
	is(accepted, 0, "no truncated image is accepted, whatever its header says of the length");
}

static u64 rnd(void)
{
	static u64 state = 1;
	u64 z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Several fields at once, with values that have a chance: copied from elsewhere, or nearly right */
static void random_mutations(u32 count)
{
	u32 outside = 0, accepted = 0, i;
	struct image good, im;

	for (i = 0; t_more(i, count, "mutated headers"); i++) {
		u32 n = 1 + rnd() % 4;

		if (i % 1000 == 0)
			build(&good, rnd() % (__BITNET_IMAGE_F_ALL + 1));
		im = good;
		while (n--) {
			u32 *words = (u32 *)&im, at = rnd() % (offsetof(struct image, length) / 4);

			if (rnd() % 3)		/* mostly the table and the dimensions */
				at = rnd() % 4 ? 64 + rnd() % (good.hdr.tensor_count * 16)
					       : 8 + rnd() % 16;
			switch (rnd() % 5) {
			case 0:
				words[at] = words[rnd() % (offsetof(struct image, length) / 4)];
				break;
			case 1:
				words[at] += 64 * (rnd() % 65 - 32);
				break;
			case 2:
				words[at] ^= 1U << rnd() % 32;
				break;
			case 3:
				words[at] = values[rnd() % (sizeof(values) / sizeof(*values))];
				break;
			default:
				words[at] += rnd() % 5 - 2;
				break;
			}
		}
		if (parse(&im) != BN_OK)
			continue;
		accepted++;
		outside += !model_inside(im.hdr.flags, im.length);
	}
	is(outside, 0, "%u random mutations, %u still valid: none points outside", i, accepted);
	ok(accepted, "some were still valid, or this says nothing");
}

int main(void)
{
	valid();
	mistakes();
	mutations();
	truncations();
	random_mutations(t_size(300000, 50000000));
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_image.c - check a packed image's structure and turn it into a view
 *
 * Everything comes from a stranger. Header and table are private copies; of the image itself only
 * addresses are computed. No floating point: scales and epsilon are judged and moved as bits.
 */
#include "bn_image.h"

#define GLOBAL_TENSORS	BITNET_ROLE_LAYER
#define OUTPUT_TENSORS	3	/* of these, what a tied image has not */
#define LAYER_TENSORS	(BITNET_ROLE_COUNT - BITNET_ROLE_LAYER)

_Static_assert(sizeof(struct bitnet_image_header) == 256, "image header is 256 bytes");
_Static_assert(sizeof(struct bitnet_image_tensor) == 64, "tensor entry is 64 bytes");

static bool all_zero(const u8 *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

static bool in_range(u32 value, u32 min, u32 max)
{
	return value >= min && value <= max;
}

static bool f32_is_finite(u32 bits)
{
	return (bits & 0x7f800000) != 0x7f800000;
}

enum bn_err bn_image_check_header(const struct bitnet_image_header *hdr, u64 length)
{
	if (memcmp(hdr->magic, BITNET_IMAGE_MAGIC, sizeof(hdr->magic)) ||
	    hdr->version != BITNET_IMAGE_VERSION || hdr->header_bytes != sizeof(*hdr) ||
	    hdr->tensor_bytes != sizeof(struct bitnet_image_tensor))
		return BN_EMAGIC;

	if (hdr->total_bytes != length || length > BN_MAX_IMAGE_BYTES ||
	    length % BITNET_IMAGE_PAGE || length < sizeof(*hdr))
		return BN_ESHAPE;
	if (hdr->flags & ~__BITNET_IMAGE_F_ALL || !all_zero(hdr->__resv, sizeof(hdr->__resv)))
		return BN_ESHAPE;
	if (hdr->activation != BITNET_ACT_RELU2 && hdr->activation != BITNET_ACT_SILU)
		return BN_ESHAPE;
	if (!in_range(hdr->n_layers, 1, BN_MAX_LAYERS) || !in_range(hdr->hidden, 1, BN_MAX_COLS) ||
	    !in_range(hdr->ffn, 1, BN_MAX_COLS) || !in_range(hdr->n_heads, 1, BN_MAX_HEADS) ||
	    !in_range(hdr->n_kv_heads, 1, hdr->n_heads) ||
	    !in_range(hdr->head_dim, 2, BN_MAX_HEAD_DIM) ||
	    !in_range(hdr->rope_dims, 2, hdr->head_dim) || !in_range(hdr->vocab, 1, BN_MAX_VOCAB) ||
	    !in_range(hdr->max_ctx, 1, BN_MAX_CTX))
		return BN_ESHAPE;
	if (hdr->n_heads % hdr->n_kv_heads || hdr->head_dim % 2 || hdr->rope_dims % 2 ||
	    hdr->n_heads * hdr->head_dim > BN_MAX_COLS)
		return BN_ESHAPE;
	/* also refuses -0 */
	if (!f32_is_finite(hdr->norm_eps) || hdr->norm_eps & 0x80000000)
		return BN_ESHAPE;
	if (hdr->name[sizeof(hdr->name) - 1])
		return BN_ESHAPE;

	/* The count is at most a few thousand here: no product below can overflow. */
	if (hdr->tensor_count > GLOBAL_TENSORS + LAYER_TENSORS * hdr->n_layers ||
	    hdr->tensor_offset < sizeof(*hdr) || hdr->tensor_offset % BITNET_IMAGE_ALIGN ||
	    hdr->tensor_offset > length ||
	    (u64)hdr->tensor_count * hdr->tensor_bytes > length - hdr->tensor_offset)
		return BN_ESHAPE;
	return BN_OK;
}

/* What the architecture wants a role to be, and where its view goes */
struct slot {
	u32 format, rows, cols;		/* format: of plain arrays */
	void *view;			/* plain arrays: the pointer to set, whatever its type */
	struct bn_matrix *matrix;	/* or ternary matrices */
	bool wanted;
};

static void slot_vector(struct slot *s, u32 format, u32 rows, u32 cols, void *view)
{
	s->format = format;
	s->rows = rows;
	s->cols = cols;
	s->view = view;
}

static void slot_matrix(struct slot *s, u32 rows, u32 cols, struct bn_matrix *matrix)
{
	s->rows = rows;
	s->cols = cols;
	s->matrix = matrix;
}

static bool find_slot(struct slot *s, struct bn_model *m, u32 flags, u32 role, u32 layer)
{
	const u32 q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
	struct bn_layer *l = &m->layers[layer];

	memset(s, 0, sizeof(*s));
	s->wanted = true;
	switch (role) {
	case BITNET_ROLE_TOKEN_EMBD:
		slot_vector(s, BITNET_IMAGE_FMT_HIGH6, m->vocab, m->hidden, &m->token_embd.high);
		break;
	case BITNET_ROLE_TOKEN_EMBD_LOW:
		slot_vector(s, BITNET_IMAGE_FMT_LOW10, m->vocab, m->hidden, &m->token_embd.low);
		break;
	case BITNET_ROLE_TOKEN_EMBD_SCALE:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 2, m->vocab, &m->token_embd.scale);
		break;
	case BITNET_ROLE_OUTPUT:
		slot_vector(s, BITNET_IMAGE_FMT_HIGH6, m->vocab, m->hidden, &m->output.high);
		s->wanted = !(flags & BITNET_IMAGE_F_TIED);
		break;
	case BITNET_ROLE_OUTPUT_LOW:
		slot_vector(s, BITNET_IMAGE_FMT_LOW10, m->vocab, m->hidden, &m->output.low);
		s->wanted = !(flags & BITNET_IMAGE_F_TIED);
		break;
	case BITNET_ROLE_OUTPUT_SCALE:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 2, m->vocab, &m->output.scale);
		s->wanted = !(flags & BITNET_IMAGE_F_TIED);
		break;
	case BITNET_ROLE_OUTPUT_NORM:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 1, m->hidden, &m->output_norm);
		break;
	case BITNET_ROLE_ROPE_FREQ:
		slot_vector(s, BITNET_IMAGE_FMT_F64, 1, m->rope_dims / 2, &m->rope_freq);
		break;
	case BITNET_ROLE_ATTN_Q:
		slot_matrix(s, q, m->hidden, &l->attn_q);
		break;
	case BITNET_ROLE_ATTN_K:
		slot_matrix(s, kv, m->hidden, &l->attn_k);
		break;
	case BITNET_ROLE_ATTN_V:
		slot_matrix(s, kv, m->hidden, &l->attn_v);
		break;
	case BITNET_ROLE_ATTN_OUT:
		slot_matrix(s, m->hidden, q, &l->attn_out);
		break;
	case BITNET_ROLE_FFN_GATE:
		slot_matrix(s, m->ffn, m->hidden, &l->ffn_gate);
		break;
	case BITNET_ROLE_FFN_UP:
		slot_matrix(s, m->ffn, m->hidden, &l->ffn_up);
		break;
	case BITNET_ROLE_FFN_DOWN:
		slot_matrix(s, m->hidden, m->ffn, &l->ffn_down);
		break;
	case BITNET_ROLE_ATTN_NORM:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 1, m->hidden, &l->attn_norm);
		break;
	case BITNET_ROLE_ATTN_SUB_NORM:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 1, q, &l->attn_sub_norm);
		s->wanted = flags & BITNET_IMAGE_F_SUB_NORMS;
		break;
	case BITNET_ROLE_FFN_NORM:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 1, m->hidden, &l->ffn_norm);
		break;
	case BITNET_ROLE_FFN_SUB_NORM:
		slot_vector(s, BITNET_IMAGE_FMT_F32, 1, m->ffn, &l->ffn_sub_norm);
		s->wanted = flags & BITNET_IMAGE_F_SUB_NORMS;
		break;
	default:
		return false;
	}
	return s->wanted;
}

static u32 row_bytes(u32 format, u32 cols)
{
	switch (format) {
	case BITNET_IMAGE_FMT_HIGH6:
		return bn_high_bytes(bn_round_up(cols, BN_PLANE_COLS));
	case BITNET_IMAGE_FMT_LOW10:
		return bn_low_bytes(bn_round_up(cols, BN_PLANE_COLS));
	case BITNET_IMAGE_FMT_F32:
		return bn_round_up(cols * 4, BITNET_IMAGE_ALIGN);
	default:
		return bn_round_up(cols * 8, BITNET_IMAGE_ALIGN);
	}
}

/* Of a tensor of floats */
static const float *second_row(const float *first, u32 cols)
{
	return first + row_bytes(BITNET_IMAGE_FMT_F32, cols) / sizeof(*first);
}

/* The one format of a matrix: of the model's packing, and by column where a step reads columns. */
static u32 matrix_format(const struct bn_model *m, u32 role)
{
	bool by_column = role == BITNET_ROLE_FFN_DOWN && m->activation == BITNET_ACT_RELU2;

	if (m->packing == BN_T1)
		return by_column ? BITNET_IMAGE_FMT_T1_COLUMNS : BITNET_IMAGE_FMT_T1;
	return by_column ? BITNET_IMAGE_FMT_T2_COLUMNS : BITNET_IMAGE_FMT_T2;
}

/* Dimensions have passed the limits, so rows * row_bytes stays far below 2^64. */
static bool matrix_fits(const struct bn_model *m, const struct bitnet_image_tensor *t)
{
	bool by_column = bn_format_by_column(t->format);

	return t->format == matrix_format(m, t->role) &&
	       t->row_bytes == bn_line_bytes(m->packing, by_column ? t->rows : t->cols) &&
	       t->bytes == (u64)(by_column ? t->cols : t->rows) * t->row_bytes;
}

static bool array_fits(const struct bitnet_image_tensor *t, const struct slot *s)
{
	return t->format == s->format && t->row_bytes == row_bytes(s->format, s->cols) &&
	       t->bytes == (u64)t->rows * t->row_bytes;
}

static bool tensor_fits(const struct bn_model *m, const struct bitnet_image_tensor *t,
			const struct slot *s, u64 table_offset, u64 table_end, u64 length)
{
	if (t->rows != s->rows || t->cols != s->cols)
		return false;
	if (s->matrix ? !matrix_fits(m, t) : !array_fits(t, s))
		return false;
	if (t->__resv0 || !all_zero(t->__resv1, sizeof(t->__resv1)))
		return false;
	if (s->matrix ? !f32_is_finite(t->scale) : t->scale != 0)
		return false;
	if (t->offset % BITNET_IMAGE_ALIGN || t->offset < sizeof(struct bitnet_image_header) ||
	    t->offset > length || t->bytes > length - t->offset)
		return false;
	return t->offset + t->bytes <= table_offset || t->offset >= table_end;
}

static bool take_tensor(struct bn_model *m, const struct bitnet_image_header *hdr,
			const struct bitnet_image_tensor *t, const u8 *base, u64 length)
{
	const u64 table_end = hdr->tensor_offset + (u64)hdr->tensor_count * sizeof(*t);
	const void *data;
	struct slot s;

	if (t->layer >= (t->role < BITNET_ROLE_LAYER ? 1 : m->n_layers))
		return false;
	if (!find_slot(&s, m, hdr->flags, t->role, t->layer) ||
	    !tensor_fits(m, t, &s, hdr->tensor_offset, table_end, length))
		return false;
	if (s.matrix) {
		if (s.matrix->data)
			return false;		/* twice */
		s.matrix->data = base + t->offset;
		s.matrix->rows = t->rows;
		s.matrix->cols = t->cols;
		s.matrix->line_bytes = t->row_bytes;
		s.matrix->packing = m->packing;
		s.matrix->by_column = bn_format_by_column(t->format);
		memcpy(&s.matrix->scale, &t->scale, sizeof(t->scale));
		return true;
	}
	memcpy(&data, s.view, sizeof(data));
	if (data)
		return false;
	data = base + t->offset;
	memcpy(s.view, &data, sizeof(data));
	return true;
}

enum bn_err bn_model_parse(struct bn_model *m, struct bn_layer *layers,
			   const struct bitnet_image_header *hdr,
			   const struct bitnet_image_tensor *table, const void *base, u64 length,
			   u32 *bad)
{
	u64 end = 0;
	u32 expected = GLOBAL_TENSORS - (hdr->flags & BITNET_IMAGE_F_TIED ? OUTPUT_TENSORS : 0) +
		hdr->n_layers * (hdr->flags & BITNET_IMAGE_F_SUB_NORMS ? LAYER_TENSORS
								       : LAYER_TENSORS - 2);

	memset(m, 0, sizeof(*m));
	memset(layers, 0, hdr->n_layers * sizeof(*layers));
	m->layers = layers;
	m->n_layers = hdr->n_layers;
	m->hidden = hdr->hidden;
	m->ffn = hdr->ffn;
	m->n_heads = hdr->n_heads;
	m->n_kv_heads = hdr->n_kv_heads;
	m->head_dim = hdr->head_dim;
	m->rope_dims = hdr->rope_dims;
	m->vocab = hdr->vocab;
	m->max_ctx = hdr->max_ctx;
	m->activation = hdr->activation;
	m->packing = hdr->flags & BITNET_IMAGE_F_T1 ? BN_T1 : BN_T2;
	m->digest = hdr->digest;
	m->base = base;
	m->hidden_pad = bn_cols_pad(m->hidden);
	m->ffn_pad = bn_cols_pad(m->ffn);
	m->attn_pad = bn_cols_pad(m->n_heads * m->head_dim);
	m->head_pad = bn_round_up(m->head_dim, BN_LANES);
	m->embd_pad = bn_round_up(m->hidden, BN_PLANE_COLS);
	memcpy(&m->norm_eps, &hdr->norm_eps, sizeof(m->norm_eps));

	/* Each accepted entry fills a slot of its own: as many as there are slots fill them all. */
	for (u32 i = 0; i < hdr->tensor_count; i++) {
		if (!take_tensor(m, hdr, &table[i], base, length)) {
			if (bad)
				*bad = i;
			return BN_ESHAPE;
		}
		/* Weights that are used twice would make work that was not paid for with memory. */
		if (table[i].offset < end) {
			if (bad)
				*bad = i;
			return BN_ESHAPE;
		}
		end = table[i].offset + table[i].bytes;
	}
	if (hdr->tensor_count != expected) {
		if (bad)
			*bad = hdr->tensor_count;
		return BN_ESHAPE;
	}
	m->token_embd.error = second_row(m->token_embd.scale, m->vocab);
	if (hdr->flags & BITNET_IMAGE_F_TIED)
		m->output = m->token_embd;
	else
		m->output.error = second_row(m->output.scale, m->vocab);
	return BN_OK;
}

u64 bn_kv_bytes(const struct bn_model *m, u32 n_ctx)
{
	return (u64)m->n_layers * 2 * m->n_kv_heads * n_ctx * m->head_pad * sizeof(u16);
}

/* Every input bit reaches every output bit. The sum keeps zeros after a zero seed alive. */
static u64 hash_word(u64 h, u64 word)
{
	h = ((h + 0x9e3779b97f4a7c15ULL) ^ word) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ (h >> 32)) * 0x94d049bb133111ebULL;
	return h ^ (h >> 29);
}

u64 bn_hash64(const void *data, size_t bytes, u64 seed)
{
	const u8 *p = data;
	u64 h = seed, word;

	for (; bytes >= sizeof(word); bytes -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = hash_word(h, word);
	}
	if (bytes) {
		word = (u64)bytes << 56;
		for (size_t i = 0; i < bytes; i++)
			word |= (u64)p[i] << (8 * i);
		h = hash_word(h, word);
	}
	return h;
}

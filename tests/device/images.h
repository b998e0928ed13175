/* SPDX-License-Identifier: GPL-2.0 */
/*
 * images.h - images to load: the demo model, packed by libbitnet, and random ones of any shape
 *
 * The random ones are made without any code of the project: by <linux/bitnet_image.h> alone.
 */
#ifndef TESTS_DEVICE_IMAGES_H
#define TESTS_DEVICE_IMAGES_H

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include <linux/bitnet_image.h>

#include "../tap.h"
#include "golden.h"

#include "bitnet.h"

#define T_UNUSED	__attribute__((unused))
#define T_PAGE		4096UL

/* splitmix64: the tests' only source of chance, so that a seed repeats a run. */
static inline uint64_t t_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* An image in this process's memory, and what the tests need to know of it. */
struct t_image {
	void *base;
	uint64_t length;
	const struct bitnet_image_header *header;
};

static inline void *t_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bail("no memory for %zu bytes: %s", bytes, strerror(errno));
	return p;
}

/* A second image with the same bytes, for tests that damage it. */
static inline struct t_image t_image_copy(const struct t_image *image)
{
	struct t_image copy = { .base = t_pages(image->length), .length = image->length };

	memcpy(copy.base, image->base, image->length);
	copy.header = copy.base;
	return copy;
}

static inline void t_image_free(struct t_image *image)
{
	munmap(image->base, image->length);
	image->base = NULL;
}

static inline const char *t_demo_path(void)
{
	const char *path = getenv("BITNET_MODEL");

	if (!path)
		path = getenv("BITNET_TEST_MODEL");
	return path ? path : "/models/demo-i2_s.gguf";
}

/* The demo model, packed by libbitnet; what golden.json holds of it must be known here. */
static inline struct t_image t_image_demo(void)
{
	struct bitnet_model_file_options file_options = { 0 };
	struct bitnet_image_options options = { 0 };
	struct bitnet_model_file *file = calloc(1, sizeof(*file));
	struct bitnet_error error = { 0 };
	struct t_image image;

	if (!file || bitnet_model_file_open(t_demo_path(), &file_options, file, &error) ||
	    bitnet_model_file_image(file, &options, &error))
		bail("%s: %s", t_demo_path(), error.msg);
	if (file->image.header->vocab != T_DEMO_VOCAB || file->image.header->max_ctx != T_DEMO_CTX)
		bail("%s is not the demo model", t_demo_path());
	/* A copy in pages of its own, so that freeing and damaging it is simple. */
	image = t_image_copy(&(struct t_image){
		.base = file->image.base, .length = file->image.length });
	bitnet_model_file_close(file);
	free(file);
	return image;
}

/* Dimensions of a model with random weights. */
struct t_shape {
	uint32_t n_layers, hidden, ffn, n_heads, n_kv_heads, head_dim, vocab, max_ctx;
	uint32_t flags;			/* BITNET_IMAGE_F_* */
	uint64_t pages;			/* 0, or fill up to this many */
	uint64_t seed;
	uint32_t activation;		/* BITNET_ACT_*; FFN_DOWN is by column with relu^2 */
};

/* Big enough for anything to be computed, small enough to be loaded a thousand times. */
static const struct t_shape t_tiny T_UNUSED = {
	.n_layers = 2, .hidden = 32, .ffn = 96, .n_heads = 2, .n_kv_heads = 1, .head_dim = 16,
	.vocab = 300, .max_ctx = 256, .flags = BITNET_IMAGE_F_SUB_NORMS | BITNET_IMAGE_F_TIED,
};

/* Slow to compute: a client can be sure to find its job unfinished. */
static const struct t_shape t_slow T_UNUSED = {
	.n_layers = 8, .hidden = 512, .ffn = 2048, .n_heads = 8, .n_kv_heads = 8, .head_dim = 64,
	.vocab = 8192, .max_ctx = 1024, .flags = BITNET_IMAGE_F_TIED,
};

struct t_builder {
	uint8_t *base;			/* NULL: only count */
	uint64_t end;
	uint32_t n;
	uint64_t seed;
	float root;			/* of the width, rounded up */
};

static inline uint64_t t_align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static inline struct bitnet_image_tensor *t_image_table(const struct t_image *image)
{
	return (void *)((char *)image->base + image->header->tensor_offset);
}

/* The table's entry of one role and layer. */
static inline struct bitnet_image_tensor *t_image_tensor(const struct t_image *image, uint32_t role,
							 uint32_t layer)
{
	struct bitnet_image_tensor *t = t_image_table(image);
	uint32_t i;

	for (i = 0; i < image->header->tensor_count; i++)
		if (t[i].role == role && t[i].layer == layer)
			return &t[i];
	bail("the image has no tensor of role %u", role);
}

/*
 * Eight bytes at offset @at of a T2 row: random codes 0, 1, 2, and 1 (a zero) where there are no
 * columns.
 */
static inline void t_codes(uint8_t *out, uint32_t at, uint32_t cols, uint64_t *seed)
{
	uint64_t codes = t_random(seed), threes = codes >> 1 & codes & 0x5555555555555555;
	unsigned int byte, i;

	codes &= ~(threes << 1);
	for (byte = 0; byte < 8; byte++) {
		for (i = 0; i < 4; i++) {
			uint32_t col = at / 64 * 256 + i * 64 + at % 64 + byte;
			unsigned int shift = byte * 8 + i * 2;

			if (col >= cols)
				codes = (codes & ~(3ULL << shift)) | 1ULL << shift;
		}
	}
	memcpy(out, &codes, 8);
}

static inline void t_tensor(struct t_builder *b, uint32_t role, uint32_t layer, uint32_t format,
			    uint32_t rows, uint32_t cols)
{
	const bool by_column = format == BITNET_IMAGE_FMT_T2_COLUMNS;
	const bool ternary = format == BITNET_IMAGE_FMT_T2 || by_column;
	const bool high = format == BITNET_IMAGE_FMT_HIGH6;
	const bool plane = high || format == BITNET_IMAGE_FMT_LOW10;
	const uint32_t lines = by_column ? cols : rows, weights = by_column ? rows : cols;
	static const uint32_t elem_bytes[] = {
		[BITNET_IMAGE_FMT_F32] = 4, [BITNET_IMAGE_FMT_F64] = 8,
	};
	struct bitnet_image_tensor t = {
		.role = role, .layer = layer, .format = format, .rows = rows, .cols = cols,
	};
	float scale = 0.05f;
	uint8_t *row;
	uint32_t r, c;

	if (plane)
		t.row_bytes = t_align(cols, 256) / 4 * (high ? 3 : 5);
	else
		t.row_bytes = ternary ? t_align(weights, 256) / 4 :
				t_align((uint64_t)cols * elem_bytes[format], 64);
	t.bytes = (uint64_t)lines * t.row_bytes;
	t.offset = t_align(b->end, BITNET_IMAGE_ALIGN);
	b->end = t.offset + t.bytes;
	if (ternary)
		memcpy(&t.scale, &scale, 4);
	if (!b->base) {
		b->n++;
		return;
	}
	memcpy(b->base + sizeof(struct bitnet_image_header) + b->n++ * sizeof(t), &t, sizeof(t));
	for (r = 0; r < lines; r++) {
		row = b->base + t.offset + (uint64_t)r * t.row_bytes;
		for (c = 0; ternary && c < t.row_bytes; c += 8)
			t_codes(row + c, c, weights, &b->seed);
		for (c = 0; plane && c < t.row_bytes; c += 8) {
			uint64_t bytes = t_random(&b->seed);

			memcpy(row + c, &bytes, 8);
		}
		for (c = 0; format == BITNET_IMAGE_FMT_F32 && c < cols; c++) {
			float near_one = 1 + (float)(t_random(&b->seed) % 64) / 256;

			/*
			 * Norms, or the scales of embeddings, whose elements are 16-bit integers, or
			 * how far the upper 6 bits of these can be off at most
			 */
			if (role < BITNET_ROLE_LAYER && role != BITNET_ROLE_OUTPUT_NORM)
				near_one /= 32768;
			if (r)
				near_one = 1.25f / 32768 * 512 * b->root;
			memcpy(row + c * 4, &near_one, 4);
		}
		for (c = 0; format == BITNET_IMAGE_FMT_F64 && c < cols; c++) {
			double frequency = 1.0 / (1 + c * c);

			memcpy(row + c * 8, &frequency, 8);
		}
	}
}

static inline void t_tensors(struct t_builder *b, const struct t_shape *s, uint32_t vocab)
{
	const uint32_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
	uint32_t l;

	for (b->root = 1; b->root * b->root < (float)s->hidden; )
		b->root++;
	t_tensor(b, BITNET_ROLE_TOKEN_EMBD, 0, BITNET_IMAGE_FMT_HIGH6, vocab, s->hidden);
	t_tensor(b, BITNET_ROLE_TOKEN_EMBD_LOW, 0, BITNET_IMAGE_FMT_LOW10, vocab, s->hidden);
	t_tensor(b, BITNET_ROLE_TOKEN_EMBD_SCALE, 0, BITNET_IMAGE_FMT_F32, 2, vocab);
	if (!(s->flags & BITNET_IMAGE_F_TIED)) {
		t_tensor(b, BITNET_ROLE_OUTPUT, 0, BITNET_IMAGE_FMT_HIGH6, vocab, s->hidden);
		t_tensor(b, BITNET_ROLE_OUTPUT_LOW, 0, BITNET_IMAGE_FMT_LOW10, vocab, s->hidden);
		t_tensor(b, BITNET_ROLE_OUTPUT_SCALE, 0, BITNET_IMAGE_FMT_F32, 2, vocab);
	}
	t_tensor(b, BITNET_ROLE_OUTPUT_NORM, 0, BITNET_IMAGE_FMT_F32, 1, s->hidden);
	t_tensor(b, BITNET_ROLE_ROPE_FREQ, 0, BITNET_IMAGE_FMT_F64, 1, s->head_dim / 2);
	for (l = 0; l < s->n_layers; l++) {
		t_tensor(b, BITNET_ROLE_ATTN_Q, l, BITNET_IMAGE_FMT_T2, q, s->hidden);
		t_tensor(b, BITNET_ROLE_ATTN_K, l, BITNET_IMAGE_FMT_T2, kv, s->hidden);
		t_tensor(b, BITNET_ROLE_ATTN_V, l, BITNET_IMAGE_FMT_T2, kv, s->hidden);
		t_tensor(b, BITNET_ROLE_ATTN_OUT, l, BITNET_IMAGE_FMT_T2, s->hidden, q);
		t_tensor(b, BITNET_ROLE_FFN_GATE, l, BITNET_IMAGE_FMT_T2, s->ffn, s->hidden);
		t_tensor(b, BITNET_ROLE_FFN_UP, l, BITNET_IMAGE_FMT_T2, s->ffn, s->hidden);
		t_tensor(b, BITNET_ROLE_FFN_DOWN, l, s->activation == BITNET_ACT_RELU2 ?
			 BITNET_IMAGE_FMT_T2_COLUMNS : BITNET_IMAGE_FMT_T2, s->hidden, s->ffn);
		t_tensor(b, BITNET_ROLE_ATTN_NORM, l, BITNET_IMAGE_FMT_F32, 1, s->hidden);
		t_tensor(b, BITNET_ROLE_FFN_NORM, l, BITNET_IMAGE_FMT_F32, 1, s->hidden);
		if (s->flags & BITNET_IMAGE_F_SUB_NORMS) {
			t_tensor(b, BITNET_ROLE_ATTN_SUB_NORM, l, BITNET_IMAGE_FMT_F32, 1, q);
			t_tensor(b, BITNET_ROLE_FFN_SUB_NORM, l, BITNET_IMAGE_FMT_F32, 1, s->ffn);
		}
	}
}

/* A valid image of any shape with random weights, made without any code of the project. */
static inline struct t_image t_image_random(const struct t_shape *shape)
{
	struct t_builder count = { 0 }, fill;
	struct t_image image;
	float eps = 1e-5f;
	uint32_t vocab = shape->vocab;

	t_tensors(&count, shape, vocab);
	count.end =
		sizeof(struct bitnet_image_header) + count.n * sizeof(struct bitnet_image_tensor);
	fill = count;
	count.n = 0;
	t_tensors(&count, shape, vocab);
	if (shape->pages) {
		/* A larger vocabulary fills what is left; its scales end anywhere. */
		vocab += (shape->pages * BITNET_IMAGE_PAGE - count.end - 128) /
			 (t_align(shape->hidden, 256) * 2 + 8) /
			 (shape->flags & BITNET_IMAGE_F_TIED ? 1 : 2);
		count.end = fill.end;
		t_tensors(&count, shape, vocab);
	}
	image.length = t_align(count.end, BITNET_IMAGE_PAGE);
	image.base = t_pages(image.length);
	image.header = image.base;

	fill.base = image.base;
	fill.seed = shape->seed;
	*(struct bitnet_image_header *)image.base = (struct bitnet_image_header){
		.version = BITNET_IMAGE_VERSION,
		.header_bytes = sizeof(struct bitnet_image_header),
		.total_bytes = image.length,
		.digest = shape->seed + 1,
		.flags = shape->flags,
		.activation = shape->activation,
		.n_layers = shape->n_layers,
		.hidden = shape->hidden,
		.ffn = shape->ffn,
		.n_heads = shape->n_heads,
		.n_kv_heads = shape->n_kv_heads,
		.head_dim = shape->head_dim,
		.rope_dims = shape->head_dim,
		.vocab = vocab,
		.max_ctx = shape->max_ctx,
		.tensor_count = fill.n,
		.tensor_bytes = sizeof(struct bitnet_image_tensor),
		.tensor_offset = sizeof(struct bitnet_image_header),
		.name = "random",
	};
	memcpy((char *)image.base, BITNET_IMAGE_MAGIC, 8);
	memcpy(&((struct bitnet_image_header *)image.base)->norm_eps, &eps, 4);
	fill.n = 0;
	t_tensors(&fill, shape, vocab);
	return image;
}

#endif /* TESTS_DEVICE_IMAGES_H */

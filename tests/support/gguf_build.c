// SPDX-License-Identifier: GPL-2.0
/* gguf_build.c - see gguf_build.h */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"
#include "support/gguf_build.h"

void gguf_put(struct gguf_bytes *b, const void *p, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = 2 * (b->len + len);
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			abort();
	}
	if (!len)
		return;
	if (p)
		memcpy(b->p + b->len, p, len);
	else
		memset(b->p + b->len, 0, len);
	b->len += len;
}

void gguf_put_u32(struct gguf_bytes *b, uint32_t v)
{
	uint8_t p[4] = { v, v >> 8, v >> 16, v >> 24 };

	gguf_put(b, p, 4);
}

void gguf_put_u64(struct gguf_bytes *b, uint64_t v)
{
	gguf_put_u32(b, (uint32_t)v);
	gguf_put_u32(b, v >> 32);
}

void gguf_put_str(struct gguf_bytes *b, const char *s)
{
	gguf_put_u64(b, strlen(s));
	gguf_put(b, s, strlen(s));
}

static void put_f32(struct gguf_bytes *b, float v)
{
	uint32_t bits;

	memcpy(&bits, &v, 4);
	gguf_put_u32(b, bits);
}

static void align(struct gguf_bytes *b, uint32_t alignment)
{
	gguf_put(b, NULL, (alignment - b->len % alignment) % alignment);
}

void gguf_build_key(struct gguf_build *b, const char *key, uint32_t type)
{
	gguf_put_str(&b->kvs, key);
	gguf_put_u32(&b->kvs, type);
	b->n_kvs++;
}

void gguf_build_u32(struct gguf_build *b, const char *key, uint32_t v)
{
	gguf_build_key(b, key, BITNET_GGUF_U32);
	gguf_put_u32(&b->kvs, v);
}

void gguf_build_f32(struct gguf_build *b, const char *key, float v)
{
	gguf_build_key(b, key, BITNET_GGUF_F32);
	put_f32(&b->kvs, v);
}

void gguf_build_bool(struct gguf_build *b, const char *key, uint8_t v)
{
	gguf_build_key(b, key, BITNET_GGUF_BOOL);
	gguf_put(&b->kvs, &v, 1);
}

void gguf_build_str(struct gguf_build *b, const char *key, const char *v)
{
	gguf_build_key(b, key, BITNET_GGUF_STRING);
	gguf_put_str(&b->kvs, v);
}

static void start_array(struct gguf_build *b, const char *key, uint32_t type, size_t n)
{
	gguf_build_key(b, key, BITNET_GGUF_ARRAY);
	gguf_put_u32(&b->kvs, type);
	gguf_put_u64(&b->kvs, n);
}

void gguf_build_strs(struct gguf_build *b, const char *key, const char *const *v, size_t n)
{
	start_array(b, key, BITNET_GGUF_STRING, n);
	for (size_t i = 0; i < n; i++)
		gguf_put_str(&b->kvs, v[i]);
}

void gguf_build_u32s(struct gguf_build *b, const char *key, const uint32_t *v, size_t n)
{
	start_array(b, key, BITNET_GGUF_U32, n);
	for (size_t i = 0; i < n; i++)
		gguf_put_u32(&b->kvs, v[i]);
}

void gguf_build_f32s(struct gguf_build *b, const char *key, const float *v, size_t n)
{
	start_array(b, key, BITNET_GGUF_F32, n);
	for (size_t i = 0; i < n; i++)
		put_f32(&b->kvs, v[i]);
}

void gguf_build_tensor(struct gguf_build *b, const char *name, uint32_t type, uint64_t cols,
		       uint64_t rows, const void *data, size_t n_bytes)
{
	gguf_put_str(&b->infos, name);
	gguf_put_u32(&b->infos, rows ? 2 : 1);
	gguf_put_u64(&b->infos, cols);
	if (rows)
		gguf_put_u64(&b->infos, rows);
	gguf_put_u32(&b->infos, type);
	align(&b->data, b->alignment ? b->alignment : 32);
	gguf_put_u64(&b->infos, b->data.len);
	gguf_put(&b->data, data, n_bytes);
	b->n_tensors++;
}

void gguf_build_finish(struct gguf_build *b)
{
	b->file.len = 0;
	gguf_put(&b->file, "GGUF", 4);
	gguf_put_u32(&b->file, b->version);
	gguf_put_u64(&b->file, b->n_tensors);
	gguf_put_u64(&b->file, b->n_kvs);
	gguf_put(&b->file, b->kvs.p, b->kvs.len);
	gguf_put(&b->file, b->infos.p, b->infos.len);
	align(&b->file, b->alignment ? b->alignment : 32);
	gguf_put(&b->file, b->data.p, b->data.len);
	b->file.len -= b->data_cut;
}

void gguf_build_free(struct gguf_build *b)
{
	free(b->kvs.p);
	free(b->infos.p);
	free(b->data.p);
	free(b->file.p);
}

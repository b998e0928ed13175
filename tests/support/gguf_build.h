/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gguf_build.h - small GGUF files in memory, sound ones and broken ones
 *
 * Keys and tensors are appended in any order, finish() puts the file together. Tests that want a
 * broken file change what they pass, the fields of the struct, or the bytes of the result.
 */
#ifndef GGUF_BUILD_H
#define GGUF_BUILD_H

#include <stddef.h>
#include <stdint.h>

/* struct gguf_bytes - bytes that grow */
struct gguf_bytes {
	uint8_t *p;
	size_t len;
	size_t cap;
};

/*
 * struct gguf_build - a file in the making; all zero but for @version is an empty one
 * @alignment: of the tensors' data, 0 for the default of 32; is not written as a key
 * @data_cut:  bytes to leave away from the end of the file
 */
struct gguf_build {
	uint32_t version;
	uint32_t alignment;
	uint64_t n_kvs;
	uint64_t n_tensors;
	size_t data_cut;
	struct gguf_bytes kvs;
	struct gguf_bytes infos;
	struct gguf_bytes data;
	struct gguf_bytes file;
};

/* Append raw bytes, little-endian integers, or a string with its length. */
void gguf_put(struct gguf_bytes *b, const void *p, size_t len);
void gguf_put_u32(struct gguf_bytes *b, uint32_t v);
void gguf_put_u64(struct gguf_bytes *b, uint64_t v);
void gguf_put_str(struct gguf_bytes *b, const char *s);

/* Start a key: its name and type; the value is for the caller to append to b->kvs. */
void gguf_build_key(struct gguf_build *b, const char *key, uint32_t type);

/* Whole keys. */
void gguf_build_u32(struct gguf_build *b, const char *key, uint32_t v);
void gguf_build_f32(struct gguf_build *b, const char *key, float v);
void gguf_build_bool(struct gguf_build *b, const char *key, uint8_t v);
void gguf_build_str(struct gguf_build *b, const char *key, const char *v);
void gguf_build_strs(struct gguf_build *b, const char *key, const char *const *v, size_t n);
void gguf_build_u32s(struct gguf_build *b, const char *key, const uint32_t *v, size_t n);
void gguf_build_f32s(struct gguf_build *b, const char *key, const float *v, size_t n);

/* A two-dimensional tensor (one-dimensional if @rows is 0); no data means zeros. */
void gguf_build_tensor(struct gguf_build *b, const char *name, uint32_t type, uint64_t cols,
		       uint64_t rows, const void *data, size_t n_bytes);

/* The file: b->file.p, b->file.len; valid until the next finish or free. */
void gguf_build_finish(struct gguf_build *b);
void gguf_build_free(struct gguf_build *b);

#endif

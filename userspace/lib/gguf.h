/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * gguf.h - reads GGUF model files, versions 2 and 3, little-endian
 *
 * The file is mapped read-only and never copied: strings, arrays and tensor data are pointers into
 * the mapping, valid until bitnet_gguf_close(). A file is not trusted: every length, offset and
 * product is checked before use, and opening costs O(header), at most BITNET_GGUF_MAX_HEADER_BYTES,
 * whatever the file says. What is not covered: a file that somebody truncates while it is mapped
 * raises SIGBUS on the next read of the lost pages, as for any mmap.
 *
 * A struct bitnet_gguf does not change after opening: any number of threads may read it.
 *
 * Format: the GGUF specification, docs/gguf.md of the ggml project.
 */
#ifndef BITNET_LIB_GGUF_H
#define BITNET_LIB_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define BITNET_GGUF_MAX_KVS		65536
#define BITNET_GGUF_MAX_TENSORS		65536
#define BITNET_GGUF_MAX_KEY_BYTES	65535
#define BITNET_GGUF_MAX_NAME_BYTES	64
#define BITNET_GGUF_MAX_DIMS		4
#define BITNET_GGUF_MAX_ALIGNMENT	(1u << 20)
/* Vocabularies make headers: 262144 tokens with 514000 merges take 20 MB, the largest known. */
#define BITNET_GGUF_MAX_HEADER_BYTES	(40u << 20)

/* Types of values, as numbered in the file. */
enum bitnet_gguf_type {
	BITNET_GGUF_U8 = 0,
	BITNET_GGUF_I8 = 1,
	BITNET_GGUF_U16 = 2,
	BITNET_GGUF_I16 = 3,
	BITNET_GGUF_U32 = 4,
	BITNET_GGUF_I32 = 5,
	BITNET_GGUF_F32 = 6,
	BITNET_GGUF_BOOL = 7,
	BITNET_GGUF_STRING = 8,
	BITNET_GGUF_ARRAY = 9,
	BITNET_GGUF_U64 = 10,
	BITNET_GGUF_I64 = 11,
	BITNET_GGUF_F64 = 12,
};

/* Types of tensors whose layout this library knows; a file may hold others. */
enum bitnet_tensor_type {
	BITNET_TENSOR_F32 = 0,
	BITNET_TENSOR_F16 = 1,
	BITNET_TENSOR_Q8_0 = 8,		/* 32 elements: f16 d, int8[32] */
	BITNET_TENSOR_Q6_K = 14,	/* 256 elements: 210 bytes */
	BITNET_TENSOR_BF16 = 30,
	BITNET_TENSOR_TQ1_0 = 34,	/* 256 ternary elements: 54 bytes */
	BITNET_TENSOR_TQ2_0 = 35,	/* 256 ternary elements: 66 bytes */
	BITNET_TENSOR_I2_S = 36,	/* bitnet.cpp: elements/4 + 32 bytes for the whole tensor */
	BITNET_TENSOR_TL1 = 38,		/* bitnet.cpp, named in messages only */
	BITNET_TENSOR_TL2 = 39,		/* bitnet.cpp, named in messages only */
};

struct bitnet_gguf;

/**
 * struct bitnet_gguf_str - a string in the file
 * @s:   UTF-8 as the file has it, unchecked, NOT NUL-terminated, may hold NULs
 * @len: bytes
 */
struct bitnet_gguf_str {
	const char *s;
	size_t len;
};

/**
 * struct bitnet_gguf_array - an array value, or what is left of one
 * @type:  enum bitnet_gguf_type of the elements; never BITNET_GGUF_ARRAY
 * @count: elements
 * @data:  the elements as in the file, unaligned little-endian
 */
struct bitnet_gguf_array {
	uint32_t type;
	uint64_t count;
	const uint8_t *data;
};

/**
 * struct bitnet_gguf_kv - one key with its value
 * @key:   the key, see struct bitnet_gguf_str
 * @type:  enum bitnet_gguf_type
 * @array: the elements if @type is BITNET_GGUF_ARRAY; else one element of type @type
 */
struct bitnet_gguf_kv {
	struct bitnet_gguf_str key;
	uint32_t type;
	struct bitnet_gguf_array array;
};

/**
 * struct bitnet_gguf_tensor - one tensor
 * @name:    NUL-terminated, without NULs inside
 * @type:    enum bitnet_tensor_type, or any other number
 * @n_dims:  1..4 as stored
 * @dims:    dims[0] is the fastest: the columns of a row-major matrix; unused ones are 1
 * @n_elems: product of @dims, fits in an int64_t
 * @offset:  of the data from the start of the file
 * @n_bytes: size of the data; 0 if @type's layout is not known
 * @data:    the data, aligned to general.alignment in the file, readable for @n_bytes; NULL if
 *           @type's layout is not known
 */
struct bitnet_gguf_tensor {
	char name[BITNET_GGUF_MAX_NAME_BYTES + 1];
	uint32_t type;
	uint32_t n_dims;
	uint64_t dims[BITNET_GGUF_MAX_DIMS];
	uint64_t n_elems;
	uint64_t offset;
	uint64_t n_bytes;
	const uint8_t *data;
};

/**
 * bitnet_gguf_open() - map a GGUF file and check its header
 * @path: file name
 * @err:  reason of a failure
 *
 * Return: the open file for bitnet_gguf_close(), or NULL: an errno of open(2) or mmap(2); EBADMSG
 * if the file is no well-formed GGUF, is truncated or exceeds a limit above; ENOTSUP if it is a
 * GGUF of a version or byte order not read here; ENOMEM.
 */
struct bitnet_gguf *bitnet_gguf_open(const char *path, struct bitnet_error *err);

/**
 * bitnet_gguf_open_mem() - the same for a GGUF in memory
 * @data: the file's bytes; any alignment; must stay unchanged until bitnet_gguf_close()
 * @size: bytes
 * @name: what messages call it
 * @err:  reason of a failure
 *
 * Return: as bitnet_gguf_open().
 */
struct bitnet_gguf *bitnet_gguf_open_mem(const void *data, size_t size, const char *name,
					 struct bitnet_error *err);

/**
 * bitnet_gguf_close() - unmap; all pointers got from @g become invalid
 * @g: may be NULL
 */
void bitnet_gguf_close(struct bitnet_gguf *g);

/**
 * bitnet_gguf_name() - file name without its folders, for messages
 * @g: open file
 */
const char *bitnet_gguf_name(const struct bitnet_gguf *g);

/**
 * bitnet_gguf_version() - GGUF version, 2 or 3
 * @g: open file
 */
uint32_t bitnet_gguf_version(const struct bitnet_gguf *g);

/**
 * bitnet_gguf_file_bytes() - size of the whole file
 * @g: open file
 */
uint64_t bitnet_gguf_file_bytes(const struct bitnet_gguf *g);

/**
 * bitnet_gguf_n_kvs() - number of keys
 * @g: open file
 */
size_t bitnet_gguf_n_kvs(const struct bitnet_gguf *g);

/**
 * bitnet_gguf_kv_at() - a key by its place in the file
 * @g: open file
 * @i: less than bitnet_gguf_n_kvs()
 */
const struct bitnet_gguf_kv *bitnet_gguf_kv_at(const struct bitnet_gguf *g, size_t i);

/**
 * bitnet_gguf_kv_find() - a key by its name; O(log n)
 * @g:   open file
 * @key: NUL-terminated
 *
 * Return: the key, or NULL if the file does not have it.
 */
const struct bitnet_gguf_kv *bitnet_gguf_kv_find(const struct bitnet_gguf *g, const char *key);

/**
 * bitnet_gguf_get_u64() - an integer of any width
 * @g:   open file
 * @key: NUL-terminated
 * @out: the value; untouched on failure
 *
 * Return: 0; -ENOENT without such a key; -EINVAL if it is not an integer; -ERANGE if negative.
 */
int bitnet_gguf_get_u64(const struct bitnet_gguf *g, const char *key, uint64_t *out);

/**
 * bitnet_gguf_get_u32() - an integer of any width that fits into 32 bits
 * @g:   open file
 * @key: NUL-terminated
 * @out: the value; untouched on failure
 *
 * Return: as bitnet_gguf_get_u64(), -ERANGE also if the value is too large.
 */
int bitnet_gguf_get_u32(const struct bitnet_gguf *g, const char *key, uint32_t *out);

/**
 * bitnet_gguf_get_f32() - a number of any type, rounded to f32
 * @g:   open file
 * @key: NUL-terminated
 * @out: the value, maybe not finite; untouched on failure
 *
 * Return: 0; -ENOENT without such a key; -EINVAL if it is not a number.
 */
int bitnet_gguf_get_f32(const struct bitnet_gguf *g, const char *key, float *out);

/**
 * bitnet_gguf_get_bool() - a boolean, or an integer taken as one
 * @g:   open file
 * @key: NUL-terminated
 * @out: the value; untouched on failure
 *
 * Return: 0; -ENOENT without such a key; -EINVAL if it is neither.
 */
int bitnet_gguf_get_bool(const struct bitnet_gguf *g, const char *key, bool *out);

/**
 * bitnet_gguf_get_str() - a string
 * @g:   open file
 * @key: NUL-terminated
 * @out: points into the file; untouched on failure
 *
 * Return: 0; -ENOENT without such a key; -EINVAL if it is not a string.
 */
int bitnet_gguf_get_str(const struct bitnet_gguf *g, const char *key, struct bitnet_gguf_str *out);

/**
 * bitnet_gguf_get_array() - an array
 * @g:   open file
 * @key: NUL-terminated
 * @out: points into the file; untouched on failure
 *
 * Return: 0; -ENOENT without such a key; -EINVAL if it is not an array.
 */
int bitnet_gguf_get_array(const struct bitnet_gguf *g, const char *key,
			  struct bitnet_gguf_array *out);

/**
 * bitnet_gguf_array_i64() - element @i of an array of integers or booleans; O(1)
 * @a:   array, or the @array of a scalar key
 * @i:   less than a->count
 * @out: the value; untouched on failure
 *
 * Return: 0; -EINVAL if the elements are not integers or there is no element @i; -ERANGE if an
 * unsigned value is beyond INT64_MAX.
 */
int bitnet_gguf_array_i64(const struct bitnet_gguf_array *a, uint64_t i, int64_t *out);

/**
 * bitnet_gguf_array_f64() - element @i of an array of any numbers; O(1)
 * @a:   array, or the @array of a scalar key
 * @i:   less than a->count
 * @out: the value; untouched on failure
 *
 * Return: 0; -EINVAL if the elements are not numbers or there is no element @i.
 */
int bitnet_gguf_array_f64(const struct bitnet_gguf_array *a, uint64_t i, double *out);

/**
 * bitnet_gguf_array_next_str() - take the first string off an array
 * @a:   array of strings; moves on to the rest
 * @out: the string, points into the file
 *
 * Strings have no fixed size, so they are walked in order: copy the struct to keep the start.
 * Return: true; false at the end, or if the elements are not strings.
 */
bool bitnet_gguf_array_next_str(struct bitnet_gguf_array *a, struct bitnet_gguf_str *out);

/**
 * bitnet_gguf_kv_bytes() - all keys and values as they lie in the file
 * @g:   open file
 * @len: bytes
 *
 * For writing them into another file: they mean the same in versions 2 and 3 behind a header that
 * states bitnet_gguf_n_kvs().
 */
const uint8_t *bitnet_gguf_kv_bytes(const struct bitnet_gguf *g, size_t *len);

/**
 * bitnet_gguf_n_tensors() - number of tensors
 * @g: open file
 */
size_t bitnet_gguf_n_tensors(const struct bitnet_gguf *g);

/**
 * bitnet_gguf_tensor_at() - a tensor by its place in the file
 * @g: open file
 * @i: less than bitnet_gguf_n_tensors()
 */
const struct bitnet_gguf_tensor *bitnet_gguf_tensor_at(const struct bitnet_gguf *g, size_t i);

/**
 * bitnet_gguf_tensor_find() - a tensor by its name; O(log n)
 * @g:    open file
 * @name: NUL-terminated
 *
 * Return: the tensor, or NULL if the file does not have it.
 */
const struct bitnet_gguf_tensor *bitnet_gguf_tensor_find(const struct bitnet_gguf *g,
							 const char *name);

/**
 * bitnet_gguf_type_name() - name of a value type, such as "u32"
 * @type: any number
 *
 * Return: the name, "?" for a number that means nothing here.
 */
const char *bitnet_gguf_type_name(uint32_t type);

/**
 * bitnet_tensor_type_name() - name of a tensor type, such as "TQ2_0"
 * @type: any number
 *
 * Return: the name, "?" for a number that means nothing here. 38 and 39 are named TL1 and TL2 as in
 * bitnet.cpp; newer ggml gave 39 to MXFP4.
 */
const char *bitnet_tensor_type_name(uint32_t type);

#endif

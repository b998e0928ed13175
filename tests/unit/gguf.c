// SPDX-License-Identifier: GPL-2.0
/* gguf.c - the GGUF reader: sound files, and what damaged and hostile ones do to it */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gguf.h"
#include "support/gguf_build.h"
#include "tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct bitnet_error err;
static uint8_t *demo;
static size_t demo_len;
static size_t demo_header;	/* bytes in front of the tensors' data */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static const char *demo_path(void)
{
	static char path[PATH_MAX];
	const char *src = getenv("BITNET_SRC");

	snprintf(path, sizeof(path), "%s/userspace/models/demo-i2_s.gguf", src ? src : ".");
	return path;
}

/* Open what was built, from memory that ends where the file does. */
static struct bitnet_gguf *open_built(struct gguf_build *b, uint8_t **copy)
{
	gguf_build_finish(b);
	*copy = malloc(b->file.len ? b->file.len : 1);
	memcpy(*copy, b->file.p, b->file.len);
	memset(&err, 0, sizeof(err));
	return bitnet_gguf_open_mem(*copy, b->file.len, "test.gguf", &err);
}

/* The file must be refused, with this errno and a message with these words. */
static void refused(struct gguf_build *b, int code, const char *words, const char *what)
{
	uint8_t *copy;
	struct bitnet_gguf *g = open_built(b, &copy);

	if (!ok(!g && err.code == code && strstr(err.msg, words), "refused: %s", what))
		diag("%s: code %d, message \"%s\"", g ? "opened" : "refused", err.code, err.msg);
	bitnet_gguf_close(g);
	free(copy);
	gguf_build_free(b);
}

static void demo_model(void)
{
	struct bitnet_gguf *g = bitnet_gguf_open(demo_path(), &err);
	const struct bitnet_gguf_tensor *t;
	struct bitnet_gguf_array a;
	struct bitnet_gguf_str s;
	uint64_t ends = 0;
	uint32_t v;
	float f;
	bool b;

	if (!g)
		bail("cannot open %s: %s", demo_path(), err.msg);
	is_str(bitnet_gguf_name(g), "demo-i2_s.gguf", "demo: name");
	is(bitnet_gguf_version(g), 3, "demo: version");
	is(bitnet_gguf_file_bytes(g), 3465696, "demo: size");
	ok(!bitnet_gguf_get_str(g, "general.architecture", &s) && s.len == 12 &&
	   !memcmp(s.s, "bitnet-b1.58", 12), "demo: architecture");
	ok(!bitnet_gguf_get_u32(g, "bitnet-b1.58.embedding_length", &v) && v == 256,
	   "demo: an integer");
	ok(!bitnet_gguf_get_f32(g, "bitnet-b1.58.rope.freq_base", &f) && f == 10000.0f,
	   "demo: a float");
	ok(!bitnet_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &b) && b, "demo: a boolean");
	ok(!bitnet_gguf_get_array(g, "tokenizer.ggml.tokens", &a) && a.count == 4096 &&
	   a.type == BITNET_GGUF_STRING, "demo: an array");
	is(bitnet_gguf_n_tensors(g), 68, "demo: tensors");
	t = bitnet_gguf_tensor_find(g, "blk.5.ffn_down.weight");
	ok(t && t->type == BITNET_TENSOR_I2_S && t->n_dims == 2 && t->dims[0] == 768 &&
	   t->dims[1] == 256 && t->dims[2] == 1 && t->n_elems == 768 * 256 &&
	   t->n_bytes == 768 * 256 / 4 + 32, "demo: a ternary tensor");
	t = bitnet_gguf_tensor_find(g, "token_embd.weight");
	ok(t && t->type == BITNET_TENSOR_F16 && t->n_bytes == 4096 * 256 * 2,
	   "demo: the embedding");
	ok(!bitnet_gguf_tensor_find(g, "output.weight"), "demo: no such tensor");
	for (size_t i = 0; i < bitnet_gguf_n_tensors(g); i++) {
		t = bitnet_gguf_tensor_at(g, i);
		if (t->offset + t->n_bytes > ends)
			ends = t->offset + t->n_bytes;
		if (!i)
			demo_header = t->offset;
	}
	ok(ends <= 3465696 && ends + 32 > 3465696, "demo: the tensors fill the file");
	demo_len = bitnet_gguf_file_bytes(g);
	demo = malloc(demo_len);
	memcpy(demo, bitnet_gguf_tensor_at(g, 0)->data - demo_header, demo_len);
	bitnet_gguf_close(g);
}

static void values(void)
{
	struct gguf_build b = { .version = 2 };
	static const char *const words[] = { "", "one", "two" };
	static const uint32_t numbers[] = { 1, 0xffffffff };
	const struct bitnet_gguf_kv *kv;
	struct bitnet_gguf_array a;
	struct bitnet_gguf_str s;
	struct bitnet_gguf *g;
	const uint8_t *raw;
	uint64_t u64 = 7;
	uint32_t u32 = 7;
	uint8_t *copy;
	size_t len;
	bool flag = false;
	double d = 0;
	float f = 0;
	int64_t i = 0;

	gguf_build_key(&b, "i8", BITNET_GGUF_I8);
	gguf_put(&b.kvs, "\xff", 1);
	gguf_build_key(&b, "u16", BITNET_GGUF_U16);
	gguf_put(&b.kvs, "\xff\xff", 2);
	gguf_build_key(&b, "i64", BITNET_GGUF_I64);
	gguf_put_u64(&b.kvs, 1ull << 32);
	gguf_build_key(&b, "u64", BITNET_GGUF_U64);
	gguf_put_u64(&b.kvs, UINT64_MAX);
	gguf_build_key(&b, "f64", BITNET_GGUF_F64);
	gguf_put_u64(&b.kvs, 0x3fe0000000000000ull);
	gguf_build_bool(&b, "bool", 1);
	gguf_build_u32(&b, "u32", 42);
	gguf_build_f32(&b, "f32", 1.5f);
	gguf_build_str(&b, "str", "text");
	gguf_build_strs(&b, "strs", words, 3);
	gguf_build_u32s(&b, "u32s", numbers, 2);
	g = open_built(&b, &copy);
	if (!ok(g != NULL, "version 2 opens"))
		bail("%s", err.msg);
	is(bitnet_gguf_n_kvs(g), 11, "keys are counted");

	ok(!bitnet_gguf_get_u32(g, "u16", &u32) && u32 == 65535, "u16 as u32");
	is(bitnet_gguf_get_u32(g, "i8", &u32), -ERANGE, "negative i8 as u32");
	is(bitnet_gguf_get_u32(g, "i64", &u32), -ERANGE, "2^32 as u32");
	ok(!bitnet_gguf_get_u64(g, "i64", &u64) && u64 == 1ull << 32, "i64 as u64");
	ok(!bitnet_gguf_get_u64(g, "u64", &u64) && u64 == UINT64_MAX, "u64 as u64");
	is(bitnet_gguf_get_u32(g, "f32", &u32), -EINVAL, "f32 as u32");
	is(bitnet_gguf_get_u32(g, "bool", &u32), -EINVAL, "bool as u32");
	is(bitnet_gguf_get_u32(g, "u32s", &u32), -EINVAL, "array as u32");
	is(bitnet_gguf_get_u32(g, "str", &u32), -EINVAL, "string as u32");
	is(bitnet_gguf_get_u32(g, "none", &u32), -ENOENT, "no such key");
	is(u32, 65535, "failures leave the result alone");
	ok(!bitnet_gguf_get_f32(g, "f64", &f) && f == 0.5f, "f64 as f32");
	ok(!bitnet_gguf_get_f32(g, "u32", &f) && f == 42.0f, "u32 as f32");
	is(bitnet_gguf_get_f32(g, "str", &f), -EINVAL, "string as f32");
	ok(!bitnet_gguf_get_bool(g, "bool", &flag) && flag, "bool");
	ok(!bitnet_gguf_get_bool(g, "u32", &flag) && flag, "u32 as bool");
	is(bitnet_gguf_get_bool(g, "str", &flag), -EINVAL, "string as bool");
	ok(!bitnet_gguf_get_str(g, "str", &s) && s.len == 4 && !memcmp(s.s, "text", 4), "string");
	is(bitnet_gguf_get_str(g, "u32", &s), -EINVAL, "u32 as string");
	is(bitnet_gguf_get_array(g, "str", &a), -EINVAL, "string as array");

	ok(!bitnet_gguf_get_array(g, "u32s", &a) && a.count == 2, "array of integers");
	ok(!bitnet_gguf_array_i64(&a, 1, &i) && i == 0xffffffff, "element of it");
	ok(!bitnet_gguf_array_f64(&a, 1, &d) && d == 4294967295.0, "element as float");
	is(bitnet_gguf_array_i64(&a, 2, &i), -EINVAL, "element behind the end");
	ok(!bitnet_gguf_array_next_str(&a, &s), "no string in it");
	kv = bitnet_gguf_kv_find(g, "u64");
	is(bitnet_gguf_array_i64(&kv->array, 0, &i), -ERANGE, "2^64-1 as i64");
	kv = bitnet_gguf_kv_find(g, "i8");
	ok(!bitnet_gguf_array_i64(&kv->array, 0, &i) && i == -1, "-1 as i64");

	bitnet_gguf_get_array(g, "strs", &a);
	for (size_t n = 0; n < 3; n++)
		ok(bitnet_gguf_array_next_str(&a, &s) && s.len == strlen(words[n]) &&
		   !memcmp(s.s, words[n], s.len), "string %zu of an array", n);
	ok(!bitnet_gguf_array_next_str(&a, &s), "end of an array of strings");

	kv = bitnet_gguf_kv_at(g, 5);
	ok(kv->key.len == 4 && !memcmp(kv->key.s, "bool", 4), "keys keep their order");
	raw = bitnet_gguf_kv_bytes(g, &len);
	ok(len == b.kvs.len && !memcmp(raw, b.kvs.p, len), "keys as raw bytes");
	bitnet_gguf_close(g);
	free(copy);
	gguf_build_free(&b);

	is_str(bitnet_gguf_type_name(BITNET_GGUF_F64), "f64", "name of a value type");
	is_str(bitnet_gguf_type_name(13), "?", "no value type");
	is_str(bitnet_tensor_type_name(BITNET_TENSOR_I2_S), "I2_S", "name of a tensor type");
	is_str(bitnet_tensor_type_name(12), "Q4_K", "name of a tensor type not read here");
	is_str(bitnet_tensor_type_name(77777), "?", "no tensor type");
}

static void tensors(void)
{
	struct gguf_build b = { .version = 3, .alignment = 64 };
	struct bitnet_gguf *g;
	uint8_t *copy;

	gguf_build_u32(&b, "general.alignment", 64);
	gguf_build_tensor(&b, "a", BITNET_TENSOR_F32, 3, 2, "abcdefghijklmnopqrstuvwx", 24);
	gguf_build_tensor(&b, "b", BITNET_TENSOR_TQ1_0, 256, 3, NULL, 162);
	gguf_build_tensor(&b, "c", 12, 256, 0, NULL, 144);
	gguf_build_tensor(&b, "d", BITNET_TENSOR_Q6_K, 512, 0, NULL, 420);
	gguf_build_tensor(&b, "e", BITNET_TENSOR_Q8_0, 64, 0, NULL, 68);
	gguf_build_tensor(&b, "f", BITNET_TENSOR_BF16, 5, 0, NULL, 10);
	g = open_built(&b, &copy);
	if (!ok(g != NULL, "alignment 64"))
		bail("%s", err.msg);
	ok(!memcmp(bitnet_gguf_tensor_find(g, "a")->data, "abcdefghijklmnopqrstuvwx", 24), "data");
	is(bitnet_gguf_tensor_find(g, "a")->offset % 64, 0, "data is aligned");
	is(bitnet_gguf_tensor_find(g, "b")->n_bytes, 162, "bytes of TQ1_0");
	ok(!bitnet_gguf_tensor_find(g, "c")->data && !bitnet_gguf_tensor_find(g, "c")->n_bytes,
	   "an unknown type opens, without data");
	is(bitnet_gguf_tensor_find(g, "d")->n_bytes, 420, "bytes of Q6_K");
	is(bitnet_gguf_tensor_find(g, "e")->n_bytes, 68, "bytes of Q8_0");
	is(bitnet_gguf_tensor_find(g, "f")->n_bytes, 10, "bytes of BF16");
	bitnet_gguf_close(g);
	free(copy);
	gguf_build_free(&b);
}

static void refused_header(uint32_t version, const char *magic, size_t len, int code,
			   const char *words, const char *what)
{
	uint8_t head[24] = { 0 };
	struct bitnet_gguf *g;

	memcpy(head, magic, 4);
	for (int i = 0; i < 4; i++)
		head[4 + i] = version >> (8 * i);
	memset(&err, 0, sizeof(err));
	g = bitnet_gguf_open_mem(head, len, "test.gguf", &err);
	ok(!g && err.code == code && strstr(err.msg, words), "refused: %s", what);
	bitnet_gguf_close(g);
}

static void hostile_header(void)
{
	struct bitnet_gguf *g;

	refused_header(3, "GGML", 24, EBADMSG, "not a GGUF", "magic");
	refused_header(3, "GGUF", 23, EBADMSG, "truncated", "23 bytes");
	refused_header(3, "GGUF", 3, EBADMSG, "not a GGUF", "3 bytes");
	refused_header(3, "GGUF", 0, EBADMSG, "not a GGUF", "0 bytes");
	refused_header(0, "GGUF", 24, ENOTSUP, "version 0", "version 0");
	refused_header(1, "GGUF", 24, ENOTSUP, "version 1", "version 1");
	refused_header(4, "GGUF", 24, ENOTSUP, "version 4", "version 4");
	refused_header(3u << 24, "GGUF", 24, ENOTSUP, "big-endian", "big-endian");
	ok(!bitnet_gguf_open("/nonexistent/file.gguf", &err) && err.code == ENOENT,
	   "refused: no file");
	ok(!bitnet_gguf_open("/", &err) && err.code == EISDIR, "refused: a directory");
	ok(!bitnet_gguf_open("/dev/null", &err) && err.code == EINVAL, "refused: a device");
	ok(!bitnet_gguf_open("/nonexistent/file.gguf", NULL), "a caller may not want the reason");
	g = bitnet_gguf_open_mem("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "x", &err);
	ok(g != NULL, "nothing inside is not an error");
	bitnet_gguf_close(g);
}

static void hostile_keys(void)
{
	struct gguf_build b = { .version = 3 };
	char *long_key = malloc(65537);

	memset(long_key, 'k', 65536);
	long_key[65536] = '\0';

	b.n_kvs = UINT64_MAX;
	refused(&b, EBADMSG, "18446744073709551615 keys", "2^64-1 keys");
	b = (struct gguf_build){ .version = 3, .n_kvs = 65537 };
	refused(&b, EBADMSG, "65537 keys", "one key too many");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_u32(&b, long_key, 1);
	refused(&b, EBADMSG, "65536 bytes", "a key too long");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_u32(&b, "twice", 1);
	gguf_build_str(&b, "once", "");
	gguf_build_str(&b, "twice", "");
	refused(&b, EBADMSG, "key twice is there twice", "the same key again");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "strange", 13);
	refused(&b, EBADMSG, "key strange", "a value of unknown type");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "nested", BITNET_GGUF_ARRAY);
	gguf_put_u32(&b.kvs, BITNET_GGUF_ARRAY);
	gguf_put_u64(&b.kvs, 0);
	refused(&b, EBADMSG, "key nested", "an array of arrays");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "long", BITNET_GGUF_STRING);
	gguf_put_u64(&b.kvs, UINT64_MAX);
	refused(&b, EBADMSG, "truncated: key long", "a string of 2^64-1 bytes");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "big", BITNET_GGUF_ARRAY);
	gguf_put_u32(&b.kvs, BITNET_GGUF_U64);
	gguf_put_u64(&b.kvs, 1ull << 61);
	refused(&b, EBADMSG, "truncated: key big", "an array of 2^64 bytes");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "big", BITNET_GGUF_ARRAY);
	gguf_put_u32(&b.kvs, BITNET_GGUF_STRING);
	gguf_put_u64(&b.kvs, UINT64_MAX);
	refused(&b, EBADMSG, "truncated: key big", "an array of 2^64-1 strings");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_key(&b, "evil\x1b[2J\xc2\x9b\xff", BITNET_GGUF_STRING);
	gguf_put_u64(&b.kvs, UINT64_MAX);
	refused(&b, EBADMSG, "evil?[2J???", "and the message has no control characters");
	for (int i = 0; i < 4; i++) {
		static const uint32_t bad[] = { 0, 4, 48, 1u << 31 };

		b = (struct gguf_build){ .version = 3 };
		gguf_build_u32(&b, "general.alignment", bad[i]);
		refused(&b, EBADMSG, "alignment", "alignment 0, 4, 48 or 2^31");
	}
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "general.alignment", "32");
	refused(&b, EBADMSG, "alignment", "alignment as a string");
	free(long_key);
}

/* A file with one tensor of these properties. */
static void one_tensor(struct gguf_build *b, const char *name, uint32_t n_dims,
		       const uint64_t *dims, uint32_t type, uint64_t offset, size_t n_data)
{
	*b = (struct gguf_build){ .version = 3, .n_tensors = 1 };
	gguf_put_str(&b->infos, name);
	gguf_put_u32(&b->infos, n_dims);
	for (uint32_t d = 0; d < n_dims; d++)
		gguf_put_u64(&b->infos, dims[d]);
	gguf_put_u32(&b->infos, type);
	gguf_put_u64(&b->infos, offset);
	gguf_put(&b->data, NULL, n_data);
}

static void hostile_tensors(void)
{
	static const uint64_t small[] = { 32, 2, 1, 1, 1 };
	static const uint64_t huge[] = { 1ull << 32, 1ull << 31, 1, 1 };
	static const uint64_t edge[] = { 1ull << 62, 1 };
	static const uint64_t none[] = { 32, 0 };
	static const uint64_t odd[] = { 33, 1 };
	struct gguf_build b = { .version = 3, .n_tensors = UINT64_MAX };
	struct bitnet_gguf *g;
	char name[66];
	uint8_t *copy;

	memset(name, 'n', 65);
	name[65] = '\0';

	refused(&b, EBADMSG, "18446744073709551615 tensors", "2^64-1 tensors");
	one_tensor(&b, name, 2, small, 0, 0, 256);
	refused(&b, EBADMSG, "name has 65 bytes", "a name of 65 bytes");
	one_tensor(&b, name + 1, 2, small, 0, 0, 256);
	g = open_built(&b, &copy);
	ok(g && !strcmp(bitnet_gguf_tensor_at(g, 0)->name, name + 1), "a name of 64 bytes");
	bitnet_gguf_close(g);
	free(copy);
	gguf_build_free(&b);
	one_tensor(&b, "", 2, small, 0, 0, 256);
	refused(&b, EBADMSG, "name has 0 bytes", "no name");
	one_tensor(&b, "t", 0, small, 0, 0, 256);
	refused(&b, EBADMSG, "0 dimensions", "no dimensions");
	one_tensor(&b, "t", 5, small, 0, 0, 256);
	refused(&b, EBADMSG, "5 dimensions", "five dimensions");
	one_tensor(&b, "t", 2, huge, 0, 0, 256);
	refused(&b, EBADMSG, "too many elements", "2^63 elements");
	one_tensor(&b, "t", 2, edge, 0, 0, 256);
	refused(&b, EBADMSG, "too many bytes", "2^64 bytes");
	one_tensor(&b, "t", 2, edge, 1, 0, 256);
	refused(&b, EBADMSG, "truncated: tensor t", "2^63 bytes");
	one_tensor(&b, "t", 2, edge, BITNET_TENSOR_I2_S, 0, 256);
	refused(&b, EBADMSG, "truncated: tensor t", "2^60 bytes");
	one_tensor(&b, "t", 2, none, 0, 0, 256);
	refused(&b, EBADMSG, "no elements", "a dimension of 0");
	one_tensor(&b, "t", 2, odd, BITNET_TENSOR_Q8_0, 0, 256);
	refused(&b, EBADMSG, "no multiple", "rows that blocks do not fill");
	one_tensor(&b, "t", 2, odd, BITNET_TENSOR_I2_S, 0, 256);
	refused(&b, EBADMSG, "do not fill", "elements that bytes do not fill");
	one_tensor(&b, "t", 2, small, 0, 16, 512);
	refused(&b, EBADMSG, "not aligned", "an offset that is not aligned");
	one_tensor(&b, "t", 2, small, 0, UINT64_MAX - 31, 512);
	refused(&b, EBADMSG, "beyond any file", "an offset that overflows");
	one_tensor(&b, "t", 2, small, 12, 1 << 20, 256);
	refused(&b, EBADMSG, "truncated: tensor t", "an unknown type behind the end");

	b = (struct gguf_build){ .version = 3, .data_cut = 1 };
	gguf_build_tensor(&b, "blk.3.attn_q.weight", BITNET_TENSOR_F32, 4, 4, NULL, 64);
	refused(&b, EBADMSG,
		"test.gguf: truncated: tensor blk.3.attn_q.weight needs bytes 96..160, file has 159",
		"the last byte is missing");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_tensor(&b, "t", BITNET_TENSOR_F32, 4, 4, NULL, 64);
	gguf_build_tensor(&b, "t", BITNET_TENSOR_F32, 4, 4, NULL, 64);
	refused(&b, EBADMSG, "tensor t is there twice", "the same tensor again");
}

/* Cut after every byte: a small file in memory of that size, and the demo model's header. */
static void truncated(void)
{
	struct gguf_build b = { .version = 3 };
	static const char *const words[] = { "one", "", "three" };
	size_t opened = 0, silent = 0;
	double start = now();

	gguf_build_strs(&b, "strs", words, 3);
	gguf_build_u32(&b, "u32", 1);
	gguf_build_bool(&b, "bool", 1);
	gguf_build_tensor(&b, "a.weight", BITNET_TENSOR_F32, 2, 2, NULL, 16);
	gguf_build_tensor(&b, "b.weight", BITNET_TENSOR_TQ2_0, 256, 1, NULL, 66);
	gguf_build_finish(&b);
	for (size_t len = 0; len < b.file.len; len++) {
		uint8_t *copy = malloc(len ? len : 1);
		struct bitnet_gguf *g;

		memcpy(copy, b.file.p, len);
		memset(&err, 0, sizeof(err));
		g = bitnet_gguf_open_mem(copy, len, "cut", &err);
		opened += g != NULL;
		silent += !err.code || !err.msg[0];
		bitnet_gguf_close(g);
		free(copy);
	}
	is(opened, 0, "a small file cut anywhere never opens");
	is(silent, 0, "and every time there is a reason");
	gguf_build_free(&b);

	opened = 0;
	/* instrumented, every byte would take 10 s */
	for (size_t len = 0; len <= demo_header; len += SANITIZED ? 7 : 1) {
		struct bitnet_gguf *g = bitnet_gguf_open_mem(demo, len, "cut", &err);

		opened += g != NULL;
		bitnet_gguf_close(g);
	}
	is(opened, 0, "the demo model cut anywhere in its %zu header bytes never opens",
	   demo_header);
	ok(now() - start < 60, "all of it in a minute");
}

/* What is read goes here, so that it is read. */
static volatile uint64_t sink;

/* Damage that is not noticed must be harmless: walk all that the file then says. */
static void walk(const struct bitnet_gguf *g)
{
	struct bitnet_gguf_str s;

	for (size_t i = 0; i < bitnet_gguf_n_kvs(g); i++) {
		struct bitnet_gguf_array a = bitnet_gguf_kv_at(g, i)->array;
		double d = 0;

		for (uint64_t j = 0; j < a.count && !bitnet_gguf_array_f64(&a, j, &d); j++)
			sink += d != 0;
		while (bitnet_gguf_array_next_str(&a, &s))
			sink += s.len ? s.s[s.len - 1] : 0;
	}
	for (size_t i = 0; i < bitnet_gguf_n_tensors(g); i++) {
		const struct bitnet_gguf_tensor *t = bitnet_gguf_tensor_at(g, i);

		if (t->n_bytes)
			sink += t->data[0] + t->data[t->n_bytes - 1];
	}
}

static void flipped(void)
{
	uint8_t *copy = malloc(demo_len);
	uint64_t seed = 0x1234567;
	size_t opened = 0, refusals = 0;

	memcpy(copy, demo, demo_len);
	for (int round = 0; round < 20000; round++) {
		/* half of it near the places where counts and types are */
		size_t range = round & 1 ? demo_header : 1200;
		size_t at = next_random(&seed) % range;
		uint8_t bit = 1u << (next_random(&seed) & 7);
		struct bitnet_gguf *g;

		copy[at] ^= bit;
		memset(&err, 0, sizeof(err));
		g = bitnet_gguf_open_mem(copy, demo_len, "flip", &err);
		if (g) {
			opened++;
			if (round % 16 == 0)
				walk(g);
		} else {
			refusals += err.code && err.msg[0];
		}
		bitnet_gguf_close(g);
		copy[at] ^= bit;
	}
	ok(opened + refusals == 20000 && opened && refusals,
	   "20000 flipped bits: %zu open, %zu are refused with a reason", opened, refusals);
	free(copy);
}

/* 1 GiB of zeros that claim to be an array of empty strings. */
static void endless(void)
{
	struct gguf_build b = { .version = 3 };
	const char *tmp = getenv("BITNET_TMP");
	struct rusage before, after;
	char path[PATH_MAX];
	double start;
	int fd;

	gguf_build_key(&b, "endless", BITNET_GGUF_ARRAY);
	gguf_put_u32(&b.kvs, BITNET_GGUF_STRING);
	gguf_put_u64(&b.kvs, 1ull << 40);
	gguf_build_finish(&b);
	snprintf(path, sizeof(path), "%s/bitnet-gguf-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || write(fd, b.file.p, b.file.len) != (ssize_t)b.file.len ||
	    ftruncate(fd, 1 << 30))
		bail("cannot make a temporary file");
	getrusage(RUSAGE_SELF, &before);
	start = now();
	ok(!bitnet_gguf_open(path, &err) && strstr(err.msg, "header larger than"),
	   "an endless header ends");
	start = now() - start;
	getrusage(RUSAGE_SELF, &after);
	if (SANITIZED)
		skip("time and memory of an instrumented program mean nothing");
	else
		ok(start < 1.0 && after.ru_maxrss - before.ru_maxrss < 64 << 10,
		   "in %.0f ms and %ld MiB", start * 1e3,
		   (after.ru_maxrss - before.ru_maxrss) >> 10);
	close(fd);
	unlink(path);
	gguf_build_free(&b);
}

int main(void)
{
	demo_model();
	values();
	tensors();
	hostile_header();
	hostile_keys();
	hostile_tensors();
	endless();
	truncated();
	flipped();
	free(demo);
	return done();
}

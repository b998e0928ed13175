// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * gguf.c - see gguf.h
 *
 * The header is read once, front to back, by a cursor that cannot leave the file. What it finds is
 * kept as pointers into the mapping; two arrays of pointers, sorted by name, make look-ups and the
 * search for duplicates O(n log n) whatever names the file invents.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf.h"

#define GGUF_MAGIC		0x46554747u	/* "GGUF" */
#define GGUF_FIXED_BYTES	24
#define GGUF_DEFAULT_ALIGNMENT	32
#define GGUF_MIN_ALIGNMENT	8
#define I2_S_TAIL_BYTES		32

struct bitnet_gguf {
	const uint8_t *data;
	uint64_t size;
	char *name;
	bool mapped;
	uint32_t version;
	uint32_t alignment;
	size_t n_kvs;
	size_t kv_bytes;
	struct bitnet_gguf_kv *kvs;
	const struct bitnet_gguf_kv **kvs_by_key;
	size_t n_tensors;
	struct bitnet_gguf_tensor *tensors;
	const struct bitnet_gguf_tensor **tensors_by_name;
};

/*
 * Sizes of tensors: block_bytes for every block_elems of a row. Types without a size are there for
 * their names in messages.
 */
static const struct {
	const char *name;
	uint16_t type;
	uint16_t block_elems;
	uint16_t block_bytes;
} tensor_types[] = {
	{ "F32", BITNET_TENSOR_F32, 1, 4 },
	{ "F16", BITNET_TENSOR_F16, 1, 2 },
	{ "Q4_0", 2, 0, 0 },
	{ "Q4_1", 3, 0, 0 },
	{ "Q5_0", 6, 0, 0 },
	{ "Q5_1", 7, 0, 0 },
	{ "Q8_0", BITNET_TENSOR_Q8_0, 32, 34 },
	{ "Q8_1", 9, 0, 0 },
	{ "Q2_K", 10, 0, 0 },
	{ "Q3_K", 11, 0, 0 },
	{ "Q4_K", 12, 0, 0 },
	{ "Q5_K", 13, 0, 0 },
	{ "Q6_K", BITNET_TENSOR_Q6_K, 256, 210 },
	{ "Q8_K", 15, 0, 0 },
	{ "IQ4_NL", 20, 0, 0 },
	{ "IQ4_XS", 23, 0, 0 },
	{ "I8", 24, 0, 0 },
	{ "I16", 25, 0, 0 },
	{ "I32", 26, 0, 0 },
	{ "I64", 27, 0, 0 },
	{ "F64", 28, 0, 0 },
	{ "BF16", BITNET_TENSOR_BF16, 1, 2 },
	{ "TQ1_0", BITNET_TENSOR_TQ1_0, 256, 54 },
	{ "TQ2_0", BITNET_TENSOR_TQ2_0, 256, 66 },
	{ "I2_S", BITNET_TENSOR_I2_S, 0, 0 },
	{ "I8_S", 37, 0, 0 },
	{ "TL1", BITNET_TENSOR_TL1, 0, 0 },
	{ "TL2", BITNET_TENSOR_TL2, 0, 0 },
	{ "IQ1_BN", 134, 0, 0 },
	{ "IQ2_BN", 135, 0, 0 },
};

static const struct {
	const char *name;
	uint8_t bytes;		/* 0 for types without a fixed size */
} value_types[] = {
	[BITNET_GGUF_U8] = { "u8", 1 },
	[BITNET_GGUF_I8] = { "i8", 1 },
	[BITNET_GGUF_U16] = { "u16", 2 },
	[BITNET_GGUF_I16] = { "i16", 2 },
	[BITNET_GGUF_U32] = { "u32", 4 },
	[BITNET_GGUF_I32] = { "i32", 4 },
	[BITNET_GGUF_F32] = { "f32", 4 },
	[BITNET_GGUF_BOOL] = { "bool", 1 },
	[BITNET_GGUF_STRING] = { "str", 0 },
	[BITNET_GGUF_ARRAY] = { "arr", 0 },
	[BITNET_GGUF_U64] = { "u64", 8 },
	[BITNET_GGUF_I64] = { "i64", 8 },
	[BITNET_GGUF_F64] = { "f64", 8 },
};

#define N_VALUE_TYPES	(sizeof(value_types) / sizeof(value_types[0]))

static uint32_t get_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* The file is not well-formed: say so, with its name in front. */
#define bad_file(g, err, fmt, ...) \
	bitnet_error_set(err, EBADMSG, "%s: " fmt, (g)->name, ##__VA_ARGS__)

/*
 * struct cursor - the place in the header
 * @end:  first byte not to be read: end of the file, or of the largest header allowed
 * @part: kind of the thing being read and @name its name, for messages
 */
struct cursor {
	const struct bitnet_gguf *g;
	uint64_t pos;
	uint64_t end;
	const char *part;
	struct bitnet_gguf_str name;
	struct bitnet_error *err;
};

/* The next @n bytes, or NULL and a message. */
static const uint8_t *take(struct cursor *c, uint64_t n)
{
	const struct bitnet_gguf *g = c->g;
	const uint8_t *p = g->data + c->pos;
	int name_len = c->name.len < 80 ? (int)c->name.len : 80;

	if (n <= c->end - c->pos) {
		c->pos += n;
		return p;
	}
	if (n > g->size - c->pos) {
		bad_file(g, c->err, "truncated: %s %.*s needs %llu bytes at %llu, file has %llu",
			 c->part, name_len, c->name.s, (unsigned long long)n,
			 (unsigned long long)c->pos, (unsigned long long)g->size);
		bitnet_error_hint(c->err, "Download or copy the file again.");
	} else {
		bad_file(g, c->err, "header larger than %u MiB at %s %.*s",
			 BITNET_GGUF_MAX_HEADER_BYTES >> 20, c->part, name_len, c->name.s);
	}
	return NULL;
}

static int take_u32(struct cursor *c, uint32_t *out)
{
	const uint8_t *p = take(c, 4);

	if (!p)
		return -EBADMSG;
	*out = get_le32(p);
	return 0;
}

static int take_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *p = take(c, 8);

	if (!p)
		return -EBADMSG;
	*out = get_le64(p);
	return 0;
}

static int take_str(struct cursor *c, struct bitnet_gguf_str *out)
{
	const uint8_t *p;
	uint64_t len;
	int ret;

	ret = take_u64(c, &len);
	if (ret)
		return ret;
	p = take(c, len);
	if (!p)
		return -EBADMSG;
	out->s = (const char *)p;
	out->len = len;
	return 0;
}

/* Step over @a->count elements of @a->type, which decides where the next key starts. */
static int take_elems(struct cursor *c, struct bitnet_gguf_array *a)
{
	struct bitnet_gguf_str s;
	uint64_t n_bytes;
	int ret;

	if (a->type >= N_VALUE_TYPES || a->type == BITNET_GGUF_ARRAY)
		return bad_file(c->g, c->err, "key %.*s has elements of unknown type %u",
				(int)c->name.len, c->name.s, a->type);
	a->data = c->g->data + c->pos;
	if (a->type != BITNET_GGUF_STRING) {
		if (__builtin_mul_overflow(a->count, (uint64_t)value_types[a->type].bytes,
					   &n_bytes))
			n_bytes = UINT64_MAX;
		return take(c, n_bytes) ? 0 : -EBADMSG;
	}
	for (uint64_t i = 0; i < a->count; i++) {
		ret = take_str(c, &s);
		if (ret)
			return ret;
	}
	return 0;
}

static int take_kv(struct cursor *c, struct bitnet_gguf_kv *kv)
{
	int ret;

	c->part = "key";
	c->name.len = 0;
	ret = take_str(c, &kv->key);
	if (ret)
		return ret;
	c->name = kv->key;
	if (kv->key.len > BITNET_GGUF_MAX_KEY_BYTES)
		return bad_file(c->g, c->err, "a key has %zu bytes, at most %u are allowed",
				kv->key.len, BITNET_GGUF_MAX_KEY_BYTES);
	ret = take_u32(c, &kv->type);
	if (ret)
		return ret;
	kv->array.type = kv->type;
	kv->array.count = 1;
	if (kv->type == BITNET_GGUF_ARRAY) {
		ret = take_u32(c, &kv->array.type);
		if (!ret)
			ret = take_u64(c, &kv->array.count);
		if (ret)
			return ret;
	}
	return take_elems(c, &kv->array);
}

static int find_type(uint32_t type)
{
	for (size_t i = 0; i < sizeof(tensor_types) / sizeof(tensor_types[0]); i++)
		if (tensor_types[i].type == type)
			return i;
	return -1;
}

/* Fill in @t->n_elems and, where the type is known, @t->n_bytes. */
static int size_tensor(struct cursor *c, struct bitnet_gguf_tensor *t)
{
	int i = find_type(t->type);
	uint32_t block;

	t->n_elems = 1;
	for (uint32_t d = 0; d < t->n_dims; d++) {
		if (!t->dims[d])
			return bad_file(c->g, c->err, "tensor %s has no elements", t->name);
		if (__builtin_mul_overflow(t->n_elems, t->dims[d], &t->n_elems) ||
		    t->n_elems > INT64_MAX)
			return bad_file(c->g, c->err, "tensor %s has too many elements", t->name);
	}
	if (t->type == BITNET_TENSOR_I2_S) {
		if (t->n_elems % 4)
			return bad_file(c->g, c->err,
					"tensor %s: %llu elements do not fill the bytes of I2_S",
					t->name, (unsigned long long)t->n_elems);
		t->n_bytes = t->n_elems / 4 + I2_S_TAIL_BYTES;
		return 0;
	}
	if (i < 0 || !tensor_types[i].block_elems)
		return 0;
	block = tensor_types[i].block_elems;
	if (t->dims[0] % block)
		return bad_file(c->g, c->err,
				"tensor %s: rows of %llu are no multiple of the %u of %s", t->name,
				(unsigned long long)t->dims[0], block, tensor_types[i].name);
	if (__builtin_mul_overflow(t->n_elems / block, (uint64_t)tensor_types[i].block_bytes,
				   &t->n_bytes))
		return bad_file(c->g, c->err, "tensor %s has too many bytes", t->name);
	return 0;
}

static int take_tensor(struct cursor *c, struct bitnet_gguf_tensor *t)
{
	struct bitnet_gguf_str name;
	int ret;

	c->part = "tensor";
	c->name.len = 0;
	ret = take_str(c, &name);
	if (ret)
		return ret;
	c->name = name;
	if (!name.len || name.len > BITNET_GGUF_MAX_NAME_BYTES || memchr(name.s, '\0', name.len))
		return bad_file(c->g, c->err,
				"a tensor's name has %zu bytes or a NUL, 1 to %u are allowed",
				name.len, BITNET_GGUF_MAX_NAME_BYTES);
	memcpy(t->name, name.s, name.len);
	ret = take_u32(c, &t->n_dims);
	if (ret)
		return ret;
	if (!t->n_dims || t->n_dims > BITNET_GGUF_MAX_DIMS)
		return bad_file(c->g, c->err, "tensor %s has %u dimensions, 1 to %u are allowed",
				t->name, t->n_dims, BITNET_GGUF_MAX_DIMS);
	for (uint32_t d = 0; d < BITNET_GGUF_MAX_DIMS; d++) {
		t->dims[d] = 1;
		ret = d < t->n_dims ? take_u64(c, &t->dims[d]) : 0;
		if (ret)
			return ret;
	}
	ret = take_u32(c, &t->type);
	if (!ret)
		ret = take_u64(c, &t->offset);
	if (ret)
		return ret;
	return size_tensor(c, t);
}

/* Turn an offset from the start of the tensor data, at @start, into a place in the file. */
static int place_tensor(const struct bitnet_gguf *g, struct bitnet_gguf_tensor *t, uint64_t start,
			struct bitnet_error *err)
{
	uint64_t end;

	if (t->offset % g->alignment)
		return bad_file(g, err, "tensor %s at offset %llu is not aligned to %u", t->name,
				(unsigned long long)t->offset, g->alignment);
	if (__builtin_add_overflow(t->offset, start, &t->offset) ||
	    __builtin_add_overflow(t->offset, t->n_bytes, &end))
		return bad_file(g, err, "tensor %s lies beyond any file", t->name);
	if (end > g->size) {
		bad_file(g, err, "truncated: tensor %s needs bytes %llu..%llu, file has %llu",
			 t->name, (unsigned long long)t->offset, (unsigned long long)end,
			 (unsigned long long)g->size);
		return bitnet_error_hint(err, "Download or copy the file again.");
	}
	if (t->n_bytes)
		t->data = g->data + t->offset;
	return 0;
}

static int compare_str(const struct bitnet_gguf_str *a, const struct bitnet_gguf_str *b)
{
	int d = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);

	return d ? d : (a->len > b->len) - (a->len < b->len);
}

static int compare_kvs(const void *a, const void *b)
{
	const struct bitnet_gguf_kv *const *x = a, *const *y = b;

	return compare_str(&(*x)->key, &(*y)->key);
}

static int compare_tensors(const void *a, const void *b)
{
	const struct bitnet_gguf_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int read_kvs(struct bitnet_gguf *g, struct cursor *c, uint64_t n)
{
	int ret;

	if (n > BITNET_GGUF_MAX_KVS)
		return bad_file(g, c->err, "%llu keys, at most %u are allowed",
				(unsigned long long)n, BITNET_GGUF_MAX_KVS);
	g->kvs = calloc(n + 1, sizeof(*g->kvs));
	g->kvs_by_key = calloc(n + 1, sizeof(*g->kvs_by_key));
	if (!g->kvs || !g->kvs_by_key)
		return bitnet_error_set(c->err, ENOMEM, "%s: no memory for %llu keys", g->name,
					(unsigned long long)n);
	for (; g->n_kvs < n; g->n_kvs++) {
		ret = take_kv(c, &g->kvs[g->n_kvs]);
		if (ret)
			return ret;
		g->kvs_by_key[g->n_kvs] = &g->kvs[g->n_kvs];
	}
	g->kv_bytes = c->pos - GGUF_FIXED_BYTES;
	qsort(g->kvs_by_key, n, sizeof(*g->kvs_by_key), compare_kvs);
	for (uint64_t i = 1; i < n; i++)
		if (!compare_kvs(&g->kvs_by_key[i - 1], &g->kvs_by_key[i]))
			return bad_file(g, c->err, "key %.*s is there twice",
					(int)g->kvs_by_key[i]->key.len, g->kvs_by_key[i]->key.s);
	return 0;
}

static int read_tensors(struct bitnet_gguf *g, struct cursor *c, uint64_t n)
{
	uint64_t start;
	int ret;

	if (n > BITNET_GGUF_MAX_TENSORS)
		return bad_file(g, c->err, "%llu tensors, at most %u are allowed",
				(unsigned long long)n, BITNET_GGUF_MAX_TENSORS);
	g->tensors = calloc(n + 1, sizeof(*g->tensors));
	g->tensors_by_name = calloc(n + 1, sizeof(*g->tensors_by_name));
	if (!g->tensors || !g->tensors_by_name)
		return bitnet_error_set(c->err, ENOMEM, "%s: no memory for %llu tensors", g->name,
					(unsigned long long)n);
	for (; g->n_tensors < n; g->n_tensors++) {
		ret = take_tensor(c, &g->tensors[g->n_tensors]);
		if (ret)
			return ret;
		g->tensors_by_name[g->n_tensors] = &g->tensors[g->n_tensors];
	}
	start = (c->pos + g->alignment - 1) / g->alignment * g->alignment;
	for (uint64_t i = 0; i < n; i++) {
		ret = place_tensor(g, &g->tensors[i], start, c->err);
		if (ret)
			return ret;
	}
	qsort(g->tensors_by_name, n, sizeof(*g->tensors_by_name), compare_tensors);
	for (uint64_t i = 1; i < n; i++)
		if (!compare_tensors(&g->tensors_by_name[i - 1], &g->tensors_by_name[i]))
			return bad_file(g, c->err, "tensor %s is there twice",
					g->tensors_by_name[i]->name);
	return 0;
}

static int check_version(const struct bitnet_gguf *g, struct bitnet_error *err)
{
	if (g->version == 2 || g->version == 3)
		return 0;
	if (g->version == 1) {
		bitnet_error_set(err, ENOTSUP, "%s: GGUF version 1, versions 2 and 3 are supported",
				 g->name);
		return bitnet_error_hint(
			err, "Convert the model again: no program writes version 1 any more.");
	}
	if (g->version && !(g->version & 0xffff)) {
		bitnet_error_set(err, ENOTSUP, "%s: big-endian GGUF", g->name);
		return bitnet_error_hint(err,
					 "Convert the model again, for little-endian machines.");
	}
	return bitnet_error_set(err, ENOTSUP, "%s: GGUF version %u, versions 2 and 3 are supported",
				g->name, g->version);
}

static int read_alignment(struct bitnet_gguf *g, struct bitnet_error *err)
{
	int ret;

	g->alignment = GGUF_DEFAULT_ALIGNMENT;
	ret = bitnet_gguf_get_u32(g, "general.alignment", &g->alignment);
	if (ret == -ENOENT)
		return 0;
	if (ret || g->alignment < GGUF_MIN_ALIGNMENT || g->alignment > BITNET_GGUF_MAX_ALIGNMENT ||
	    (g->alignment & (g->alignment - 1)))
		return bad_file(g, err, "general.alignment is no power of two from %u to %u",
				GGUF_MIN_ALIGNMENT, BITNET_GGUF_MAX_ALIGNMENT);
	return 0;
}

static int read_header(struct bitnet_gguf *g, struct bitnet_error *err)
{
	struct cursor c = {
		.g = g,
		.pos = GGUF_FIXED_BYTES,
		.end = g->size < BITNET_GGUF_MAX_HEADER_BYTES ? g->size :
								BITNET_GGUF_MAX_HEADER_BYTES,
		.err = err,
	};
	int ret;

	if (g->size < 4 || get_le32(g->data) != GGUF_MAGIC)
		return bad_file(g, err, "not a GGUF file");
	if (g->size < GGUF_FIXED_BYTES)
		return bad_file(g, err, "truncated: %llu bytes hold no GGUF header",
				(unsigned long long)g->size);
	g->version = get_le32(g->data + 4);
	ret = check_version(g, err);
	if (!ret)
		ret = read_kvs(g, &c, get_le64(g->data + 16));
	if (!ret)
		ret = read_alignment(g, err);
	if (!ret)
		ret = read_tensors(g, &c, get_le64(g->data + 8));
	return ret;
}

/* The map, if @mapped, belongs to the result, and is gone if there is none. */
static struct bitnet_gguf *open_data(const void *data, size_t size, const char *name, bool mapped,
				     struct bitnet_error *err)
{
	struct bitnet_gguf *g = calloc(1, sizeof(*g));

	if (g)
		g->name = strdup(name);
	if (!g || !g->name) {
		bitnet_error_set(err, ENOMEM, "%s: no memory", name);
		if (mapped)
			munmap((void *)data, size);
		free(g);
		return NULL;
	}
	g->data = data;
	g->size = size;
	g->mapped = mapped;
	if (read_header(g, err)) {
		bitnet_gguf_close(g);
		return NULL;
	}
	return g;
}

struct bitnet_gguf *bitnet_gguf_open_mem(const void *data, size_t size, const char *name,
					 struct bitnet_error *err)
{
	return open_data(data, size, name, false, err);
}

struct bitnet_gguf *bitnet_gguf_open(const char *path, struct bitnet_error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash && slash[1] ? slash + 1 : path;
	struct stat st;
	void *map;
	int fd;

	/* O_NONBLOCK: do not wait for a writer if it is a FIFO, which is refused below */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		bitnet_error_set(err, errno, "%s: %s", path, strerror(errno));
		goto out_close;
	}
	if (!S_ISREG(st.st_mode)) {
		bitnet_error_set(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
				 "%s: not a regular file", path);
		goto out_close;
	}
	if (!st.st_size) {
		bitnet_error_set(err, EBADMSG, "%s: empty file", path);
		goto out_close;
	}
	map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) {
		bitnet_error_set(err, errno, "%s: cannot map: %s", path, strerror(errno));
		goto out_close;
	}
	close(fd);
	return open_data(map, st.st_size, name, true, err);

out_close:
	if (fd >= 0)
		close(fd);
	return NULL;
}

void bitnet_gguf_close(struct bitnet_gguf *g)
{
	if (!g)
		return;
	if (g->mapped)
		munmap((void *)g->data, g->size);
	free(g->tensors_by_name);
	free(g->tensors);
	free(g->kvs_by_key);
	free(g->kvs);
	free(g->name);
	free(g);
}

const char *bitnet_gguf_name(const struct bitnet_gguf *g)
{
	return g->name;
}

uint32_t bitnet_gguf_version(const struct bitnet_gguf *g)
{
	return g->version;
}

uint64_t bitnet_gguf_file_bytes(const struct bitnet_gguf *g)
{
	return g->size;
}

size_t bitnet_gguf_n_kvs(const struct bitnet_gguf *g)
{
	return g->n_kvs;
}

const struct bitnet_gguf_kv *bitnet_gguf_kv_at(const struct bitnet_gguf *g, size_t i)
{
	return &g->kvs[i];
}

static int compare_key(const void *key, const void *elem)
{
	const struct bitnet_gguf_kv *const *kv = elem;

	return compare_str(key, &(*kv)->key);
}

const struct bitnet_gguf_kv *bitnet_gguf_kv_find(const struct bitnet_gguf *g, const char *key)
{
	struct bitnet_gguf_str s = { .s = key, .len = strlen(key) };
	const struct bitnet_gguf_kv **found;

	found = bsearch(&s, g->kvs_by_key, g->n_kvs, sizeof(*found), compare_key);
	return found ? *found : NULL;
}

int bitnet_gguf_get_u64(const struct bitnet_gguf *g, const char *key, uint64_t *out)
{
	const struct bitnet_gguf_kv *kv = bitnet_gguf_kv_find(g, key);
	int64_t v;
	int ret;

	if (!kv)
		return -ENOENT;
	if (kv->type == BITNET_GGUF_U64) {
		*out = get_le64(kv->array.data);
		return 0;
	}
	if (kv->type == BITNET_GGUF_ARRAY || kv->type == BITNET_GGUF_BOOL)
		return -EINVAL;
	ret = bitnet_gguf_array_i64(&kv->array, 0, &v);
	if (ret)
		return ret;
	if (v < 0)
		return -ERANGE;
	*out = v;
	return 0;
}

int bitnet_gguf_get_u32(const struct bitnet_gguf *g, const char *key, uint32_t *out)
{
	uint64_t v;
	int ret;

	ret = bitnet_gguf_get_u64(g, key, &v);
	if (ret)
		return ret;
	if (v > UINT32_MAX)
		return -ERANGE;
	*out = v;
	return 0;
}

int bitnet_gguf_get_f32(const struct bitnet_gguf *g, const char *key, float *out)
{
	const struct bitnet_gguf_kv *kv = bitnet_gguf_kv_find(g, key);
	double v;
	int ret;

	if (!kv)
		return -ENOENT;
	if (kv->type == BITNET_GGUF_ARRAY || kv->type == BITNET_GGUF_BOOL)
		return -EINVAL;
	ret = bitnet_gguf_array_f64(&kv->array, 0, &v);
	if (ret)
		return ret;
	*out = v;
	return 0;
}

int bitnet_gguf_get_bool(const struct bitnet_gguf *g, const char *key, bool *out)
{
	const struct bitnet_gguf_kv *kv = bitnet_gguf_kv_find(g, key);
	int64_t v;
	int ret;

	if (!kv)
		return -ENOENT;
	if (kv->type == BITNET_GGUF_ARRAY)
		return -EINVAL;
	ret = bitnet_gguf_array_i64(&kv->array, 0, &v);
	if (ret)
		return ret == -ERANGE ? -EINVAL : ret;
	*out = v != 0;
	return 0;
}

int bitnet_gguf_get_str(const struct bitnet_gguf *g, const char *key, struct bitnet_gguf_str *out)
{
	const struct bitnet_gguf_kv *kv = bitnet_gguf_kv_find(g, key);
	struct bitnet_gguf_array a;

	if (!kv)
		return -ENOENT;
	if (kv->type != BITNET_GGUF_STRING)
		return -EINVAL;
	a = kv->array;
	bitnet_gguf_array_next_str(&a, out);
	return 0;
}

int bitnet_gguf_get_array(const struct bitnet_gguf *g, const char *key,
			  struct bitnet_gguf_array *out)
{
	const struct bitnet_gguf_kv *kv = bitnet_gguf_kv_find(g, key);

	if (!kv)
		return -ENOENT;
	if (kv->type != BITNET_GGUF_ARRAY)
		return -EINVAL;
	*out = kv->array;
	return 0;
}

int bitnet_gguf_array_i64(const struct bitnet_gguf_array *a, uint64_t i, int64_t *out)
{
	const uint8_t *p;
	uint64_t v;

	if (i >= a->count)
		return -EINVAL;
	p = a->data + i * value_types[a->type].bytes;
	switch (a->type) {
	case BITNET_GGUF_U8:
	case BITNET_GGUF_BOOL:
		*out = *p;
		return 0;
	case BITNET_GGUF_I8:
		*out = (int8_t)*p;
		return 0;
	case BITNET_GGUF_U16:
		*out = (uint16_t)(p[0] | p[1] << 8);
		return 0;
	case BITNET_GGUF_I16:
		*out = (int16_t)(p[0] | p[1] << 8);
		return 0;
	case BITNET_GGUF_U32:
		*out = get_le32(p);
		return 0;
	case BITNET_GGUF_I32:
		*out = (int32_t)get_le32(p);
		return 0;
	case BITNET_GGUF_I64:
		*out = (int64_t)get_le64(p);
		return 0;
	case BITNET_GGUF_U64:
		v = get_le64(p);
		if (v > INT64_MAX)
			return -ERANGE;
		*out = v;
		return 0;
	default:
		return -EINVAL;
	}
}

int bitnet_gguf_array_f64(const struct bitnet_gguf_array *a, uint64_t i, double *out)
{
	const uint8_t *p;
	uint32_t bits32;
	uint64_t bits64;
	int64_t v;
	float f;
	int ret;

	if (i >= a->count)
		return -EINVAL;
	p = a->data + i * value_types[a->type].bytes;
	switch (a->type) {
	case BITNET_GGUF_F32:
		bits32 = get_le32(p);
		memcpy(&f, &bits32, sizeof(f));
		*out = f;
		return 0;
	case BITNET_GGUF_F64:
		bits64 = get_le64(p);
		memcpy(out, &bits64, sizeof(*out));
		return 0;
	case BITNET_GGUF_U64:
		*out = get_le64(p);
		return 0;
	default:
		ret = bitnet_gguf_array_i64(a, i, &v);
		if (!ret)
			*out = v;
		return ret;
	}
}

bool bitnet_gguf_array_next_str(struct bitnet_gguf_array *a, struct bitnet_gguf_str *out)
{
	if (!a->count || a->type != BITNET_GGUF_STRING)
		return false;
	out->len = get_le64(a->data);
	out->s = (const char *)a->data + 8;
	a->data += 8 + out->len;
	a->count--;
	return true;
}

const uint8_t *bitnet_gguf_kv_bytes(const struct bitnet_gguf *g, size_t *len)
{
	*len = g->kv_bytes;
	return g->data + GGUF_FIXED_BYTES;
}

size_t bitnet_gguf_n_tensors(const struct bitnet_gguf *g)
{
	return g->n_tensors;
}

const struct bitnet_gguf_tensor *bitnet_gguf_tensor_at(const struct bitnet_gguf *g, size_t i)
{
	return &g->tensors[i];
}

static int compare_name(const void *name, const void *elem)
{
	const struct bitnet_gguf_tensor *const *t = elem;

	return strcmp(name, (*t)->name);
}

const struct bitnet_gguf_tensor *bitnet_gguf_tensor_find(const struct bitnet_gguf *g,
							 const char *name)
{
	const struct bitnet_gguf_tensor **found;

	found = bsearch(name, g->tensors_by_name, g->n_tensors, sizeof(*found), compare_name);
	return found ? *found : NULL;
}

const char *bitnet_gguf_type_name(uint32_t type)
{
	return type < N_VALUE_TYPES ? value_types[type].name : "?";
}

const char *bitnet_tensor_type_name(uint32_t type)
{
	int i = find_type(type);

	return i < 0 ? "?" : tensor_types[i].name;
}

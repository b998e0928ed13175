// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_gguf.c - arbitrary bytes as a model file: reader, tokenizer and tensors must survive them
 *
 * As it is, a test program: it runs the files of tests/fuzz/corpus/gguf and mutations of them,
 * always the same ones, 200000 of them, or 100 times as many where BITNET_TEST_SIZE is "release".
 * For libFuzzer:
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -DBITNET_LIBFUZZER -Iuserspace/lib \
 *		tests/fuzz/fuzz_gguf.c -o fuzz_gguf -lpcre2-8 \
 *		userspace/lib/{chat,dequant,error,gguf,pretokenizer,tokenizer,utf8}.c
 *	./fuzz_gguf -max_len=65536 tests/fuzz/corpus/gguf
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "dequant.h"
#include "gguf.h"
#include "tokenizer.h"

/* Work on tensors is bounded: a header can make big ones out of few bytes, not cheap ones. */
#define MAX_ROW		4096
#define MAX_ROWS	4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read goes here, so that it is read. */
static volatile uint64_t sink;

static void walk_keys(const struct bitnet_gguf *g)
{
	struct bitnet_gguf_str s;
	double d;

	for (size_t i = 0; i < bitnet_gguf_n_kvs(g); i++) {
		struct bitnet_gguf_array a = bitnet_gguf_kv_at(g, i)->array;

		for (uint64_t j = 0; j < a.count && !bitnet_gguf_array_f64(&a, j, &d); j++)
			sink += d > 0;
		while (bitnet_gguf_array_next_str(&a, &s))
			sink += s.len ? s.s[0] + s.s[s.len - 1] : 0;
	}
}

static void read_tensors(const struct bitnet_gguf *g)
{
	static uint8_t codes[MAX_ROW];
	static float row[MAX_ROW];
	struct bitnet_error err;
	float scale;

	for (size_t i = 0; i < bitnet_gguf_n_tensors(g); i++) {
		const struct bitnet_gguf_tensor *t = bitnet_gguf_tensor_at(g, i);

		bitnet_tensor_check(t, &err);
		bitnet_tensor_scale(t, g, &scale, &err);
		for (uint64_t r = 0; t->dims[0] <= MAX_ROW && r < MAX_ROWS; r++) {
			bitnet_tensor_row_codes(t, r, codes, &err);
			bitnet_tensor_row_f32(t, r, row, &err);
		}
	}
}

static void use_tokenizer(const struct bitnet_gguf *g, const struct bitnet_tokenizer *tok)
{
	static const char text[] =
		" Hello  world, it's 1234 \xc3\xa9\xff\n<|eot_id|><s>the the aaaaaaaa";
	static const struct bitnet_chat_message msg = { .role = "user", .content = "hi", .len = 2 };
	struct bitnet_decoder *d = bitnet_decoder_new(tok, BITNET_DECODE_F_SPECIAL);
	struct bitnet_tokens t = { 0 };
	struct bitnet_error err;
	size_t len;

	bitnet_tokenizer_encode(tok, text, sizeof(text) - 1,
				BITNET_ENCODE_F_ADD_SPECIAL | BITNET_ENCODE_F_PARSE_SPECIAL, &t,
				&err);
	bitnet_chat_render(tok, bitnet_chat_detect(g, tok), &msg, 1, true, &t, &err);
	for (size_t i = 0; d && i < t.n; i++) {
		/* an encoder must not invent tokens */
		if (t.ids[i] >= bitnet_tokenizer_n_tokens(tok))
			abort();
		bitnet_decoder_push(d, t.ids[i], &len);
	}
	bitnet_tokens_free(&t);
	bitnet_decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bitnet_error err = { 0 };
	struct bitnet_tokenizer *tok;
	struct bitnet_gguf *g;

	g = bitnet_gguf_open_mem(data, size, "fuzz.gguf", &err);
	if (!g) {
		/* a refusal without a reason is a bug too */
		if (!err.code || !err.msg[0])
			abort();
		return 0;
	}
	walk_keys(g);
	read_tensors(g);
	if (!bitnet_tokenizer_from_gguf(g, NULL, &tok, &err)) {
		use_tokenizer(g, tok);
		bitnet_tokenizer_free(tok);
	}
	bitnet_gguf_close(g);
	return 0;
}

#ifndef BITNET_LIBFUZZER

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#include "limits.h"
#include "size.h"
#include "tap.h"

#define MAX_FILES	32
#define MAX_BYTES	65536

static struct {
	uint8_t *data;
	size_t len;
} files[MAX_FILES];
static int n_files;
static uint64_t seed = 0x58b17;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void read_file(const char *folder, const char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (!f || n_files == MAX_FILES)
		bail("cannot read %s", path);
	files[n_files].data = malloc(MAX_BYTES);
	files[n_files].len = fread(files[n_files].data, 1, MAX_BYTES, f);
	n_files++;
	fclose(f);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order of their names, so that mutations are the same everywhere. */
static void read_corpus(void)
{
	const char *src = getenv("BITNET_SRC");
	char *names[MAX_FILES];
	char folder[PATH_MAX];
	struct dirent *e;
	int n = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/gguf", src ? src : ".");
	dir = opendir(folder);
	if (!dir)
		bail("cannot open %s", folder);
	while ((e = readdir(dir)) && n < MAX_FILES)
		if (e->d_name[0] != '.')
			names[n++] = strdup(e->d_name);
	closedir(dir);
	qsort(names, n, sizeof(*names), compare_names);
	for (int i = 0; i < n; i++) {
		read_file(folder, names[i]);
		free(names[i]);
	}
}

/* From memory of just this size, so that a sanitizer sees a read behind the end. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

/* One change to @p; returns the new length. */
static size_t mutate(uint8_t *p, size_t len)
{
	static const uint64_t odd[] = {
		0, 1, 2, 255, 256, 65535, 65536,
		INT32_MAX, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX
	};
	size_t at = len ? next_random() % len : 0;
	size_t n = len - at;
	uint64_t v;

	switch (next_random() % 6) {
	case 0:
		return at;
	case 1:
		v = odd[next_random() % (sizeof(odd) / sizeof(odd[0]))];
		memcpy(p + at, &v, n < 8 ? n : next_random() & 1 ? 4 : 8);
		return len;
	case 2:
		/* shift the rest by some bytes, repeating them */
		v = 1 + next_random() % 16;
		if (len + v > MAX_BYTES)
			return len;
		memmove(p + at + v, p + at, n);
		return len + v;
	case 3:
		v = 1 + next_random() % 16;
		if (v > n)
			return at;
		memmove(p + at, p + at + v, n - v);
		return len - v;
	case 4:
		if (n)
			p[at] = next_random();
		return len;
	default:
		if (n)
			p[at] ^= 1u << (next_random() & 7);
		return len;
	}
}

static void within_limits(const uint8_t *data, size_t len)
{
	limits_begin();
	run(data, len);
	limits_end();
}

int main(void)
{
	long n = t_size(200000, 20000000), done_n;
	static uint8_t input[MAX_BYTES];

	read_corpus();
	for (int i = 0; i < n_files; i++)
		within_limits(files[i].data, files[i].len);
	ok(n_files > 0, "%d files of the corpus", n_files);
	for (done_n = 0; t_more(done_n, n, "mutated files"); done_n++) {
		int from = next_random() % n_files;
		size_t len = files[from].len;

		memcpy(input, files[from].data, len);
		for (int j = next_random() % 6; j >= 0; j--)
			len = mutate(input, len);
		within_limits(input, len);
	}
	limits_check();
	ok(true, "%ld mutations of them", done_n);
	for (int i = 0; i < n_files; i++)
		free(files[i].data);
	return done();
}

#endif /* BITNET_LIBFUZZER */

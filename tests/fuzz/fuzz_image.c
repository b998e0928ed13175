// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_image.c - arbitrary bytes as a packed image: the checks must refuse them or be right
 *
 * What the structure checks accept is held against a second, naive look at every tensor's place,
 *and then computed with: in memory of exactly its size, so that a sanitizer sees the first byte
 *beside it.
 *
 * As it is, a test program: it runs the files of tests/fuzz/corpus/image, each cut off at every
 *byte of header and table, and mutations, always the same ones: 60000, or 100 times as many where
 *BITNET_TEST_SIZE is "release". For libFuzzer:
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -DBITNET_LIBFUZZER -Iuapi -Ikmod/core
 *-Iuserspace/lib \ tests/fuzz/fuzz_image.c build/asan/libbitnet.a -o fuzz_image -lpcre2-8
 *-lnl-genl-3 -lnl-3 -lm -lpthread
 *	./fuzz_image -max_len=65536 tests/fuzz/corpus/image
 *
 * "fuzz_image --make FOLDER" writes the corpus.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../device/device.h"
#include "bn_image.h"
#include "image.h"
#include "limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bitnet_engine *engine;
static unsigned long n_accepted, n_computed;

static void fail(const char *why)
{
	fprintf(stderr, "fuzz_image: %s\n", why);
	abort();
}

/* The naive look: does each tensor lie in the image, behind the header and beside the table? */
static void check_places(const uint8_t *base, uint64_t size)
{
	const struct bitnet_image_header *h = (const void *)base;
	const uint64_t table = h->tensor_offset, end = table + h->tensor_count * 64ULL;
	uint64_t b, last = 0;
	uint32_t i;

	if (table < 256 || end > size)
		fail("the table is outside");
	for (i = 0; i < h->tensor_count; i++) {
		const struct bitnet_image_tensor *t = (const void *)(base + table + i * 64ULL);
		bool by_column = t->format == BITNET_IMAGE_FMT_T2_COLUMNS ||
				 t->format == BITNET_IMAGE_FMT_T1_COLUMNS;
		uint64_t lines = by_column ? t->cols : t->rows;

		if (t->offset < last)
			fail("two tensors share bytes");
		last = t->offset + t->bytes;
		if (t->offset % 64 || t->row_bytes % 64 ||
		    t->bytes != lines * t->row_bytes)
			fail("a tensor's sizes");
		for (b = 0; b < t->bytes; b += 64) {
			uint64_t at = t->offset + b;

			if (at < 256 || at + 64 > size || (at + 64 > table && at < end))
				fail("a tensor's place");
		}
	}
}

/* A few tokens: hostile weights are the engine's business, and in bounds they must stay. */
static void compute(const struct bitnet_image *image)
{
	const uint32_t vocab = image->header->vocab;
	const uint32_t tokens[3] = { 0, vocab - 1, vocab / 2 };
	struct bitnet_error err = { 0 };
	struct bitnet_ring_entry e;
	struct bitnet_job job;
	uint32_t model, session;
	unsigned int accepted;

	if (!engine) {
		struct bitnet_engine_options options = { .kind = BITNET_ENGINE_LOCAL,
							 .threads = 1 };

		if (bitnet_engine_open(&options, &engine, &err))
			fail(err.msg);
	}
	if (bitnet_engine_model_load(engine, image, "fuzz", 0, &model, &err))
		fail("the engine refuses what the check accepts");
	if (!bitnet_engine_session_open(engine, model, image->header->max_ctx < 6 ? 0 : 6, &session,
					&err)) {
		job = t_generate(session, tokens, 3, 3, 1);
		if (image->header->max_ctx >= 3 &&
		    bitnet_engine_submit(engine, &job, 1, &accepted, &err))
			fail(err.msg);
		while (image->header->max_ctx >= 3) {
			if (!bitnet_engine_next(engine, &e)) {
				if (bitnet_engine_wait(engine, 1, -1) < 0)
					fail("WAIT");
				continue;
			}
			if (e.kind != BITNET_ENTRY_TOKEN)
				break;
			if (e.token >= vocab || e.logprob > 0)
				fail("a token beyond the vocabulary");
		}
		bitnet_engine_session_close(engine, session, &err);
	}
	bitnet_engine_model_close(engine, model, &err);
	n_computed++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bitnet_image image = { .length = size, .map_bytes = size };
	struct bitnet_error err = { 0 };
	int parsed, checked;

	/* Page-aligned, and of just this size. */
	if (posix_memalign(&image.base, 4096, size ? size : 1))
		return 0;
	memcpy(image.base, data, size);
	image.header = image.base;

	parsed = bitnet_image_parse(image.base, size, "fuzz", NULL, &err);
	if (parsed && (!err.code || !err.msg[0]))
		fail("a refusal without a reason");
	if (parsed && parsed != -ENOEXEC && parsed != -EBADMSG)
		fail("an errno that MODEL_LOAD does not give");
	if (!parsed) {
		n_accepted++;
		check_places(image.base, size);
		checked = bitnet_image_check(&image, &err);
		if (checked && checked != -EBADMSG)
			fail("an errno of the full check");
		/* Sound or not: the kernel does not look at the weights either. */
		compute(&image);
	}
	free(image.base);
	return 0;
}

#ifndef BITNET_LIBFUZZER

#include <dirent.h>
#include <limits.h>

#define MAX_FILES	16
#define MAX_BYTES	65536

static struct {
	char name[64];
	uint8_t *data;
	size_t len, head;	/* @head: bytes of header and table */
} files[MAX_FILES];
static unsigned int n_files;
static uint64_t seed = 0x1a6e;

/* Small images of all kinds. */
static int make_corpus(const char *folder)
{
	static const struct {
		const char *name;
		struct t_shape shape;
	} kinds[] = {
		{ "tied.image",
		  { 1, 32, 64, 2, 1, 16, 40, 64, BITNET_IMAGE_F_TIED, 0, 1,
		    BITNET_ACT_RELU2 } },
		{ "sub-norms.image",
		  { 2, 16, 48, 4, 2, 4, 24, 8, BITNET_IMAGE_F_TIED | BITNET_IMAGE_F_SUB_NORMS, 0,
		    2, BITNET_ACT_RELU2 } },
		{ "head.image", { 1, 20, 30, 3, 3, 6, 33, 16, 0, 0, 3, BITNET_ACT_SILU } },
		{ "wide.image",
		  { 1, 260, 16, 1, 1, 2, 3, 4, BITNET_IMAGE_F_SUB_NORMS, 0, 4,
		    BITNET_ACT_SILU } },
	};
	char path[PATH_MAX];
	unsigned int i;
	FILE *f;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct t_image image = t_image_random(&kinds[i].shape);
		struct bitnet_image_header *h = image.base;

		h->digest = bitnet_image_digest(h, image.base);
		snprintf(path, sizeof(path), "%s/%s", folder, kinds[i].name);
		f = fopen(path, "wb");
		if (!f || fwrite(image.base, 1, image.length, f) != image.length || fclose(f)) {
			perror(path);
			return 1;
		}
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order of their names, so that mutations are the same everywhere. */
static void read_corpus(void)
{
	const char *src = getenv("BITNET_SRC");
	char *names[MAX_FILES], folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
	struct bitnet_image_header h;
	unsigned int n = 0, i;
	struct dirent *e;
	DIR *dir;
	FILE *f;

	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/image", src ? src : ".");
	dir = opendir(folder);
	if (!dir)
		bail("cannot open %s", folder);
	while ((e = readdir(dir)) && n < MAX_FILES)
		if (e->d_name[0] != '.')
			names[n++] = strdup(e->d_name);
	closedir(dir);
	qsort(names, n, sizeof(*names), compare_names);
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		f = fopen(path, "rb");
		files[i].data = malloc(MAX_BYTES);
		if (!f || !files[i].data)
			bail("cannot read %s", path);
		files[i].len = fread(files[i].data, 1, MAX_BYTES, f);
		fclose(f);
		snprintf(files[i].name, sizeof(files[i].name), "%.63s", names[i]);
		memcpy(&h, files[i].data, sizeof(h));
		files[i].head =
			h.tensor_offset + h.tensor_count * sizeof(struct bitnet_image_tensor);
		if (files[i].len < sizeof(h) || files[i].head > files[i].len)
			bail("%s is no image", names[i]);
		free(names[i]);
	}
	n_files = n;
}

/* One change to @p; returns the new length. Most of them go where the structure is. */
static size_t mutate(uint8_t *p, size_t len, size_t head)
{
	static const uint64_t odd[] = {
		0, 1, 2, 63, 64, 65, 255, 256, 257, 4096, 32768, 32769, 0x7fffffff, 0x80000000,
		0xffffffff, 0x100000000, 0xffffffffffffffc0, 0xffffffffffffffff,
	};
	uint64_t r = t_random(&seed), value = odd[r >> 32 & 15];
	size_t range = r & 7 ? head : len, at = t_random(&seed) % range, other;

	switch (r >> 8 & 7) {
	case 0:
		p[at] ^= 1 << (r >> 16 & 7);
		break;
	case 1:
		p[at] = r >> 16;
		break;
	case 2:		/* a word, aligned */
		at &= ~3UL;
		memcpy(p + at, &value, 4);
		break;
	case 3:		/* a longer word, aligned */
		at &= ~7UL;
		memcpy(p + at, &value, 8);
		break;
	case 4:		/* a little more or less */
		at &= ~3UL;
		value = *(uint32_t *)(p + at) + (r >> 40 & 127) - 64;
		memcpy(p + at, &value, 4);
		break;
	case 5:		/* one entry of the table over another */
		at = 256 + at % ((head - 256) / 64) * 64;
		other = 256 + t_random(&seed) % ((head - 256) / 64) * 64;
		memmove(p + at, p + other, 64);
		break;
	case 6:		/* as if the file had another length */
		value = (1 + (r >> 40 & 15)) * 4096;
		if (value <= MAX_BYTES) {
			memset(p + len, r >> 48, value > len ? value - len : 0);
			len = value;
			if (r >> 60 & 1)
				memcpy(p + 16, &value, 8);
		}
		break;
	default:	/* rubbish in the weights */
		for (other = head + at % (len - head); other < len;
		     other += 1 + (t_random(&seed) & 31))
			p[other] = t_random(&seed);
	}
	return len;
}

static void within_limits(const uint8_t *data, size_t len)
{
	limits_begin();
	LLVMFuzzerTestOneInput(data, len);
	limits_end();
}

int main(int argc, char **argv)
{
	struct bitnet_image_header h;
	unsigned long n = t_size(60000, 6000000), i, cut = 0;
	unsigned int k, changes;
	uint8_t *p;
	size_t len;

	if (argc == 3 && !strcmp(argv[1], "--make"))
		return make_corpus(argv[2]);
	p = malloc(2 * MAX_BYTES);
	if (!p)
		bail("no memory");
	read_corpus();
	ok(n_files >= 4, "%u images in the corpus", n_files);
	for (k = 0; k < n_files; k++) {
		struct bitnet_image image = { .base = files[k].data, .length = files[k].len,
					      .header = (void *)files[k].data };
		struct bitnet_error err = { 0 };

		is(bitnet_image_check(&image, &err), 0, "%s is sound%s%s", files[k].name,
		   err.msg[0] ? ": " : "", err.msg);
		n_computed = 0;
		within_limits(files[k].data, files[k].len);
		is(n_computed, 1, "and can be computed with");
	}

	n_accepted = 0;
	for (k = 0; k < n_files; k++)
		for (len = 0; len < files[k].len; len += len < files[k].head ? 1 : 509, cut++)
			within_limits(files[k].data, len);
	is(n_accepted, 0, "none of %lu cut-off images is accepted", cut);

	n_accepted = n_computed = 0;
	for (i = 0; t_more(i, n, "mutated images"); i++) {
		k = t_random(&seed) % n_files;
		len = files[k].len;
		memcpy(p, files[k].data, len);
		for (changes = 1 + t_random(&seed) % 3; changes; changes--)
			len = mutate(p, len < files[k].len ? files[k].len : len, files[k].head);
		/* The full check trusts the length that the structure's check has seen. */
		if (t_random(&seed) & 1 && len >= sizeof(h)) {
			memcpy(&h, p, sizeof(h));
			if (h.total_bytes == len)
				h.digest = bitnet_image_digest(&h, p);
			memcpy(p, &h, sizeof(h));
		}
		within_limits(p, len);
	}
	ok(n_accepted > i / 50 && n_accepted < i, "%lu mutations: %lu accepted, all computed: %lu",
	   i, n_accepted, n_computed);
	limits_check();
	if (engine)
		bitnet_engine_close(engine);
	free(p);
	for (k = 0; k < n_files; k++)
		free(files[k].data);
	return done();
}

#endif /* BITNET_LIBFUZZER */

// SPDX-License-Identifier: GPL-2.0
/*
 * GGUF to image and back from disk: architectures, activations, row orders, models that are
 * refused, files that are whole or not there
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dequant.h"
#include "image.h"
#include "support/gguf_build.h"
#include "matrix.h"
#include "tap.h"

#define HIDDEN	128
#define FFN	256
#define HEADS	4
#define KV	2
#define DIM	32
#define VOCAB	48

/* What a test changes about an otherwise sound model. */
struct recipe {
	const char *arch;
	const char *skip, *extra;	/* names of tensors */
	const char *all_zero, *code_3, *infinite, *narrow, *plain;
	const char *hidden_activation, *scaling;
	bool no_sub_norms, untied, rope_freqs, no_rope_dims;
};

static const char *tmp;
static char image_path[4096];
static struct bitnet_error err;

static void put_i2_s(uint8_t *data, uint32_t rows, uint32_t cols, uint32_t salt)
{
	float scale = 0.25f * salt;
	uint64_t n = (uint64_t)rows * cols;

	for (uint64_t e = 0; e < n; e++) {
		uint32_t row = e / cols, code = (row * 7 + e % cols * 3 + salt) % 3;

		data[e / 128 * 32 + e % 32] |= code << (6 - 2 * (e % 128 / 32));
	}
	memcpy(data + n / 4, &scale, sizeof(scale));
}

static void add_matrix(struct gguf_build *b, const struct recipe *r, const char *name,
		       uint32_t rows, uint32_t cols)
{
	size_t bytes = (size_t)rows * cols / 4 + 32;
	uint8_t *data = calloc(1, bytes);

	if (r->skip && !strcmp(r->skip, name))
		goto out;
	if (r->plain && !strcmp(r->plain, name)) {
		gguf_build_tensor(b, name, BITNET_TENSOR_F16, cols, rows, NULL,
				  (size_t)rows * cols * 2);
		goto out;
	}
	put_i2_s(data, rows, cols, 1 + strlen(name) % 5);
	if (r->code_3 && !strcmp(r->code_3, name))
		data[40] = 0xff;
	if (r->all_zero && !strcmp(r->all_zero, name))
		memset(data, 0x55, bytes - 32);
	if (r->narrow && !strcmp(r->narrow, name))
		rows /= 2;
	if (r->infinite && !strcmp(r->infinite, name))
		memcpy(data + (size_t)rows * cols / 4, "\0\0\x80\x7f", 4);
	gguf_build_tensor(b, name, BITNET_TENSOR_I2_S, cols, rows, data,
			  (size_t)rows * cols / 4 + 32);
out:
	free(data);
}

static void add_floats(struct gguf_build *b, const struct recipe *r, const char *name,
		       uint32_t rows, uint32_t cols)
{
	size_t n = (size_t)(rows ? rows : 1) * cols;
	float *data = malloc(n * sizeof(*data));

	for (size_t i = 0; i < n; i++)
		data[i] = (rows && i % 3 == 0 ? -1 : 1) * (0.5f + i % 97 / 64.0f);
	if (r->infinite && !strcmp(r->infinite, name))
		data[3] = INFINITY;
	if (!r->skip || strcmp(r->skip, name))
		gguf_build_tensor(b, name, BITNET_TENSOR_F32, cols, rows, data, n * sizeof(*data));
	free(data);
}

static void key(struct gguf_build *b, const char *arch, const char *name, uint32_t v)
{
	char text[100];

	snprintf(text, sizeof(text), "%s.%s", arch, name);
	gguf_build_u32(b, text, v);
}

static struct bitnet_gguf *make(struct gguf_build *b, const struct recipe *r)
{
	static const char *const tokens[] = { "a", "b", "ab", "c" };
	static const char *const merges[] = { "a b" };
	char text[100];

	*b = (struct gguf_build){ .version = 3 };
	gguf_build_str(b, "general.architecture", r->arch);
	gguf_build_str(b, "general.name", "tiny\nmodel");
	key(b, r->arch, "block_count", 1);
	key(b, r->arch, "embedding_length", HIDDEN);
	key(b, r->arch, "feed_forward_length", FFN);
	key(b, r->arch, "attention.head_count", HEADS);
	key(b, r->arch, "attention.head_count_kv", KV);
	key(b, r->arch, "context_length", 512);
	if (!r->no_rope_dims)
		key(b, r->arch, "rope.dimension_count", DIM);
	snprintf(text, sizeof(text), "%s.attention.layer_norm_rms_epsilon", r->arch);
	gguf_build_f32(b, text, 1e-6f);
	snprintf(text, sizeof(text), "%s.rope.freq_base", r->arch);
	gguf_build_f32(b, text, 500);
	if (r->hidden_activation) {
		snprintf(text, sizeof(text), "%s.hidden_activation", r->arch);
		gguf_build_str(b, text, r->hidden_activation);
	}
	if (r->scaling) {
		snprintf(text, sizeof(text), "%s.rope.scaling.type", r->arch);
		gguf_build_str(b, text, r->scaling);
		snprintf(text, sizeof(text), "%s.rope.scaling.factor", r->arch);
		gguf_build_f32(b, text, 4);
	}
	gguf_build_str(b, "tokenizer.ggml.model", "gpt2");
	gguf_build_str(b, "tokenizer.ggml.pre", "gpt-2");
	gguf_build_strs(b, "tokenizer.ggml.tokens", tokens, 4);
	gguf_build_strs(b, "tokenizer.ggml.merges", merges, 1);

	add_floats(b, r, "token_embd.weight", VOCAB, HIDDEN);
	if (r->untied)
		add_floats(b, r, "output.weight", VOCAB, HIDDEN);
	add_floats(b, r, "output_norm.weight", 0, HIDDEN);
	add_floats(b, r, "blk.0.attn_norm.weight", 0, HIDDEN);
	add_floats(b, r, "blk.0.ffn_norm.weight", 0, HIDDEN);
	if (!r->no_sub_norms) {
		add_floats(b, r, "blk.0.attn_sub_norm.weight", 0, HEADS * DIM);
		add_floats(b, r, "blk.0.ffn_sub_norm.weight", 0, FFN);
	}
	add_matrix(b, r, "blk.0.attn_q.weight", HEADS * DIM, HIDDEN);
	add_matrix(b, r, "blk.0.attn_k.weight", KV * DIM, HIDDEN);
	add_matrix(b, r, "blk.0.attn_v.weight", KV * DIM, HIDDEN);
	add_matrix(b, r, "blk.0.attn_output.weight", HIDDEN, HEADS * DIM);
	add_matrix(b, r, "blk.0.ffn_gate.weight", FFN, HIDDEN);
	add_matrix(b, r, "blk.0.ffn_up.weight", FFN, HIDDEN);
	add_matrix(b, r, "blk.0.ffn_down.weight", HIDDEN, FFN);
	if (r->rope_freqs)
		add_floats(b, r, "rope_freqs.weight", 0, DIM / 2);
	if (r->extra)
		add_floats(b, r, r->extra, 0, HIDDEN);
	gguf_build_finish(b);
	return bitnet_gguf_open_mem(b->file.p, b->file.len, "tiny.gguf", &err);
}

static int build(const struct recipe *r, const struct bitnet_image_options *o,
		 struct bitnet_image *image)
{
	struct gguf_build b;
	struct bitnet_gguf *g = make(&b, r);
	int ret;

	if (!g)
		bail("%s", err.msg);
	memset(&err, 0, sizeof(err));
	ret = bitnet_image_build(g, o, image, &err);
	bitnet_gguf_close(g);
	gguf_build_free(&b);
	return ret;
}

/* ---- architectures --------------------------------------------------------------------------- */

static const struct bn_matrix *matrix(const struct bn_layer *l, int i)
{
	const struct bn_matrix *const all[] = { &l->attn_q, &l->attn_k, &l->attn_v, &l->attn_out,
						&l->ffn_gate, &l->ffn_up, &l->ffn_down };

	return all[i];
}

/* Row @row of the image's matrix holds the codes of row @from of the file's. */
static bool row_is(const struct bn_matrix *w, uint32_t row, uint32_t from, uint32_t salt)
{
	for (uint32_t c = 0; c < w->cols; c++)
		if (matrix_code(w, row, c) != (from * 7 + c * 3 + salt) % 3)
			return false;
	return true;
}

static void check_weights(const struct bn_model *m, bool permuted)
{
	static const char *const names[] = { "attn_q", "attn_k", "attn_v", "attn_output",
					     "ffn_gate", "ffn_up", "ffn_down" };
	bool held = true;

	for (int i = 0; i < 7; i++) {
		const struct bn_matrix *w = matrix(&m->layers[0], i);
		uint32_t salt = 1 + (strlen(names[i]) + strlen("blk.0..weight")) % 5;

		for (uint32_t r = 0; r < w->rows; r++) {
			/*
			 * The pair (j, j + 16) of a head lies side by side in files of architecture
			 * llama.
			 */
			uint32_t j = r % DIM, from = r;

			if (permuted && i < 2)
				from = r - j + (j < DIM / 2 ? 2 * j : 2 * (j - DIM / 2) + 1);
			held &= row_is(w, r, from, salt);
		}
		held &= w->scale == 0.25f * salt;
	}
	ok(held, "all weights and scales are in their place");
}

/* Every element is within 2^-15 of its row's largest value, which is 2; see add_floats(). */
static void check_embedding(const struct bn_embedding *e, uint32_t pad, const char *name)
{
	double worst = 0, least = INFINITY, most = 0;

	for (uint32_t t = 0; t < VOCAB; t++) {
		const uint8_t *high = e->high + (size_t)t * bn_high_bytes(pad);
		const uint8_t *low = e->low + (size_t)t * bn_low_bytes(pad);
		double squares = 0, ratio;

		for (uint32_t i = 0; i < HIDDEN; i++) {
			int value = bn_unpack_planes(high, low, i), rest = (value & 1023) - 512;
			double sign = (t * HIDDEN + i) % 3 ? 1 : -1;
			double want = sign * (0.5 + (t * HIDDEN + i) % 97 / 64.0);

			worst = fmax(worst, fabs(value * (double)e->scale[t] - want));
			squares += rest * rest;
		}
		ratio = (double)e->error[t] / ((double)e->scale[t] * sqrt(squares));
		least = fmin(least, ratio);
		most = fmax(most, ratio);
	}
	ok(least >= 1 && most <= 1 + 0x1p-22, "%s: errors are no less than true, and little more",
	   name);
	ok(worst <= 2 * 0x1p-15, "%s: off by at most 2^%.2f of the largest value", name,
	   log2(worst / 2));
}

static void check_arch(const char *name, const struct recipe *r,
		       const struct bitnet_image_options *o, uint32_t activation, bool permuted)
{
	struct bitnet_image image;
	struct bn_model m;

	if (!is(build(r, o, &image), 0, "%s", name)) {
		diag("%s", err.msg);
		return;
	}
	is(image.header->activation, activation, "activation");
	is(bitnet_image_check(&image, &err), 0, "the image is sound");
	if (bitnet_image_parse(image.base, image.length, "image", &m, &err))
		bail("%s", err.msg);
	check_weights(&m, permuted);
	is(!m.layers[0].attn_sub_norm, r->no_sub_norms, "sub-norms");
	is(m.output.high == m.token_embd.high, !r->untied, "tied head");
	is_near(m.rope_freq[3], pow(500, -6.0 / DIM) / (r->rope_freqs ? 0.5 + 3 / 64.0 : 1), 1e-15,
		"RoPE frequency");
	check_embedding(&m.token_embd, m.embd_pad, "embedding");
	check_embedding(&m.output, m.embd_pad, "head");
	is(m.max_ctx, 512, "context");
	is_str(image.header->name, "tiny?model", "name, made printable");
	free(m.layers);
	bitnet_image_free(&image);
}

static void check_archs(void)
{
	static const struct bitnet_image_options relu2 = { .activation = "relu2" },
						 silu = { .activation = "silu" };

	check_arch("bitnet-b1.58", &(struct recipe){ .arch = "bitnet-b1.58" }, NULL,
		   BITNET_ACT_RELU2, false);
	check_arch("bitnet-25", &(struct recipe){ .arch = "bitnet-25", .untied = true }, NULL,
		   BITNET_ACT_RELU2, false);
	check_arch("bitnet", &(struct recipe){ .arch = "bitnet" }, NULL, BITNET_ACT_SILU, false);
	check_arch("bitnet that says relu2",
		   &(struct recipe){ .arch = "bitnet", .hidden_activation = "relu2" }, NULL,
		   BITNET_ACT_RELU2, false);
	check_arch("bitnet that is told relu2", &(struct recipe){ .arch = "bitnet" }, &relu2,
		   BITNET_ACT_RELU2, false);
	check_arch("bitnet-b1.58 that is told silu, against its key",
		   &(struct recipe){ .arch = "bitnet-b1.58", .hidden_activation = "relu2" }, &silu,
		   BITNET_ACT_SILU, false);
	check_arch("llama",
		   &(struct recipe){ .arch = "llama", .no_sub_norms = true, .untied = true }, NULL,
		   BITNET_ACT_SILU, true);
	check_arch("llama 3 with RoPE factors",
		   &(struct recipe){ .arch = "llama", .no_sub_norms = true, .rope_freqs = true,
				     .scaling = "llama3" }, NULL, BITNET_ACT_SILU, true);
	check_arch("without rope.dimension_count",
		   &(struct recipe){ .arch = "llama", .no_sub_norms = true, .no_rope_dims = true },
		   NULL, BITNET_ACT_SILU, true);
}

/* ---- models that are refused ----------------------------------------------------------------- */

static void check_refused(const char *name, const struct recipe *r, int want, const char *text)
{
	struct bitnet_image image;
	int ret = build(r, NULL, &image);

	is(ret, want, "%s", name);
	ok(ret == -err.code && strstr(err.msg, text), "\"%s\"", err.msg);
	ok(!image.base, "no memory is left");
}

static void check_bad_models(void)
{
	static const struct bitnet_image_options gelu = { .activation = "gelu" };
	struct bitnet_image image;

	check_refused("unknown architecture", &(struct recipe){ .arch = "gemma" }, -EOPNOTSUPP,
		      "gemma");
	check_refused("missing tensor",
		      &(struct recipe){ .arch = "bitnet", .skip = "blk.0.ffn_up.weight" }, -EINVAL,
		      "blk.0.ffn_up.weight");
	check_refused("missing sub-norm",
		      &(struct recipe){ .arch = "bitnet", .skip = "blk.0.ffn_sub_norm.weight" },
		      -EINVAL, "ffn_sub_norm");
	check_refused("no embedding",
		      &(struct recipe){ .arch = "bitnet", .skip = "token_embd.weight" }, -EINVAL,
		      "token_embd");
	check_refused("wrong shape",
		      &(struct recipe){ .arch = "bitnet", .narrow = "blk.0.attn_k.weight" },
		      -EINVAL, "32 x 128, should be 64 x 128");
	check_refused("not ternary",
		      &(struct recipe){ .arch = "bitnet", .plain = "blk.0.attn_k.weight" },
		      -EOPNOTSUPP, "F16, not a ternary type");
	check_refused("code 3",
		      &(struct recipe){ .arch = "bitnet", .code_3 = "blk.0.attn_q.weight" },
		      -EINVAL, "blk.0.attn_q.weight");
	check_refused("all zero",
		      &(struct recipe){ .arch = "bitnet", .all_zero = "blk.0.ffn_down.weight" },
		      -EINVAL, "zero");
	check_refused("infinite scale",
		      &(struct recipe){ .arch = "bitnet", .infinite = "blk.0.ffn_down.weight" },
		      -EINVAL, "blk.0.ffn_down.weight");
	check_refused("infinity in the embedding",
		      &(struct recipe){ .arch = "bitnet", .infinite = "token_embd.weight" },
		      -EINVAL, "token_embd.weight, row 0");
	check_refused("bias", &(struct recipe){ .arch = "llama", .no_sub_norms = true,
						.extra = "blk.0.attn_q.bias" },
		      -EOPNOTSUPP, "blk.0.attn_q.bias");
	check_refused("more layers than said", &(struct recipe){ .arch = "bitnet",
								.extra = "blk.1.attn_norm.weight" },
		      -EOPNOTSUPP, "blk.1.attn_norm.weight");
	check_refused("RoPE scaling", &(struct recipe){ .arch = "llama", .no_sub_norms = true,
							.scaling = "yarn" }, -EOPNOTSUPP, "yarn");
	check_refused("activation",
		      &(struct recipe){ .arch = "bitnet", .hidden_activation = "gelu" },
		      -EOPNOTSUPP, "gelu");
	is(build(&(struct recipe){ .arch = "bitnet" }, &gelu, &image), -EINVAL,
	   "option activation");
}

/* ---- files ----------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", tmp, name);
	return path;
}

static int n_files(void)
{
	DIR *d = opendir(tmp);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static bool stop_soon(void *arg, uint64_t done_bytes, uint64_t total)
{
	return done_bytes < total / 2;
}

static bool count_calls(void *arg, uint64_t done_bytes, uint64_t total)
{
	++*(int *)arg;
	return done_bytes <= total;
}

static void poke(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	if (pread(fd, &byte, 1, at) == 1) {
		byte ^= 0x41;
		if (pwrite(fd, &byte, 1, at) != 1)
			bail("write %s", path);
	}
	close(fd);
}

static void check_round_trip(const struct bitnet_image *image, struct bitnet_gguf *meta)
{
	const char *path = image_path;
	struct bitnet_image mapped;
	struct bitnet_gguf *back;
	struct stat st;
	int calls = 0;
	struct bitnet_image_options o = { .progress = count_calls, .progress_arg = &calls };

	is(bitnet_image_write(image, meta, path, &o, &err), 0, "write");
	ok(calls > 0, "progress was told");
	is(n_files(), 1, "one file");
	stat(path, &st);
	is(st.st_mode & 0777, 0644, "readable for all");
	is(bitnet_image_map(path, &mapped, &back, &err), 0, "map");
	is_mem(mapped.base, image->base, image->length, "same bytes");
	is(bitnet_image_check(&mapped, &err), 0, "sound");
	is(bitnet_gguf_n_kvs(back), bitnet_gguf_n_kvs(meta), "all keys are there");
	is(bitnet_gguf_n_tensors(back), 0, "and no tensors");
	bitnet_gguf_close(back);
	bitnet_image_free(&mapped);

	is(bitnet_image_write(image, NULL, path, NULL, &err), 0, "write over it, without metadata");
	is(bitnet_image_map(path, &mapped, &back, &err), 0, "map");
	ok(!back, "no metadata");
	bitnet_image_free(&mapped);
	is(bitnet_image_write(image, meta, path, NULL, &err), 0, "write again");
}

static void check_failed_writes(const struct bitnet_image *image, struct bitnet_gguf *meta)
{
	const char *path = image_path;
	struct bitnet_image_options o = { .progress = stop_soon };
	struct rlimit old, small = { image->length / 2, RLIM_INFINITY };
	struct bitnet_image mapped;
	int status;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	status = bitnet_image_write(image, meta, path, NULL, &err);
	/* What is said here may go to a file, too, which may be longer by now. */
	setrlimit(RLIMIT_FSIZE, &old);
	is(status, -EFBIG, "no room");
	is(n_files(), 1, "nothing is left behind");
	is(bitnet_image_write(image, meta, path, &o, &err), -ECANCELED, "cancelled");
	is(n_files(), 1, "nothing is left behind");
	is(bitnet_image_write(image, meta, path_of("no/such/folder"), NULL, &err), -ENOENT,
	   "no folder");
	is(bitnet_image_write(image, meta, tmp, NULL, &err), -EISDIR, "a folder is in the way");
	is(n_files(), 1, "nothing is left behind");
	is(bitnet_image_map(path, &mapped, NULL, &err), 0, "the old file is whole");
	is(bitnet_image_check(&mapped, &err), 0, "and sound");
	bitnet_image_free(&mapped);
}

/* An image that says of a row that its high plane is better than it is, and is whole otherwise */
static void check_lie(const struct bitnet_image *image)
{
	struct bitnet_image_header *hdr = (struct bitnet_image_header *)image->base;
	struct bn_model m;
	float *error, was;

	if (bitnet_image_parse(image->base, image->length, "image", &m, &err))
		bail("%s", err.msg);
	error = (float *)&m.token_embd.error[VOCAB - 1];
	was = *error;
	*error = nextafterf(nextafterf(was, 0), 0);
	hdr->digest = bitnet_image_digest(hdr, image->base);
	is(bitnet_image_check(image, &err), -EBADMSG, "an error that is too small");
	ok(strstr(err.msg, "token_embd, token") != NULL, "  says where");
	*error = NAN;
	hdr->digest = bitnet_image_digest(hdr, image->base);
	is(bitnet_image_check(image, &err), -EBADMSG, "an error that is no number");
	*error = was;
	hdr->digest = bitnet_image_digest(hdr, image->base);
	is(bitnet_image_check(image, &err), 0, "the true one");
	free(m.layers);
}

static void check_damage(const struct bitnet_image *image, struct bitnet_gguf *meta)
{
	const char *path = image_path;
	struct bitnet_image mapped;
	struct bitnet_gguf *back;

	poke(path, image->length - 5000);
	is(bitnet_image_map(path, &mapped, NULL, &err), 0,
	   "a flipped bit in the weights is not seen by mapping");
	is(bitnet_image_check(&mapped, &err), -EBADMSG, "but by checking");
	bitnet_image_free(&mapped);
	is(bitnet_image_write(image, meta, path, NULL, &err), 0, "repair");
	poke(path, 256 + 16);
	is(bitnet_image_map(path, &mapped, NULL, &err), -EBADMSG,
	   "the tensor table is checked by mapping");
	bitnet_image_write(image, meta, path, NULL, &err);
	poke(path, 8);
	is(bitnet_image_map(path, &mapped, NULL, &err), -ENOEXEC, "another version");
	ok(strstr(err.msg, "version"), "%s", err.msg);
	bitnet_image_write(image, meta, path, NULL, &err);
	poke(path, 0);
	is(bitnet_image_map(path, &mapped, NULL, &err), -ENOEXEC, "another magic");
	bitnet_image_write(image, meta, path, NULL, &err);
	poke(path, image->length + 1);
	is(bitnet_image_map(path, &mapped, &back, &err), -EBADMSG, "damaged metadata");
	ok(!mapped.base && !back, "nothing is left mapped");
	bitnet_image_write(image, meta, path, NULL, &err);
	if (truncate(path, image->length - 1))
		bail("truncate");
	is(bitnet_image_map(path, &mapped, NULL, &err), -EBADMSG, "cut off");
	if (truncate(path, 100))
		bail("truncate");
	is(bitnet_image_map(path, &mapped, NULL, &err), -ENOEXEC, "cut off in the header");
	is(bitnet_image_map(tmp, &mapped, NULL, &err), -EISDIR, "a folder");
	is(bitnet_image_map(path_of("none"), &mapped, NULL, &err), -ENOENT, "no file");
	bitnet_image_write(image, meta, path, NULL, &err);
}

static void make_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		bail("write %s", path);
	close(fd);
}

static void check_bad_file(const char *name, const char *path, int want, const char *text,
			   const char *hint)
{
	struct bitnet_model_file file;

	is(bitnet_model_file_open(path, NULL, &file, &err), want, "%s", name);
	ok(strstr(err.msg, text) && strstr(err.hint, hint), "\"%s\" \"%s\"", err.msg, err.hint);
	ok(!file.gguf && !file.path, "nothing is left open");
}

static void check_model_files(struct bitnet_gguf *meta, const struct gguf_build *b)
{
	struct bitnet_model_file_options o = { .chat_template = "chatml" };
	char *junk = strdup(path_of("junk"));
	struct bitnet_model_file file;

	is(bitnet_model_file_open(image_path, &o, &file, &err), 0, "an image file");
	ok(file.packed && file.image.base, "is mapped");
	is(file.chat, BITNET_CHAT_CHATML, "template as asked for");
	is(bitnet_model_file_image(&file, NULL, &err), 0, "has its image");
	bitnet_model_file_close(&file);
	make_file(path_of("model.gguf"), b->file.p, b->file.len);
	is(bitnet_model_file_open(path_of("model.gguf"), NULL, &file, &err), 0, "a GGUF file");
	ok(!file.packed && !file.image.base, "is not packed yet");
	is(bitnet_model_file_image(&file, NULL, &err), 0, "but now");
	is(file.image.header->vocab, VOCAB, "vocabulary");
	bitnet_model_file_close(&file);

	check_bad_file("no file", path_of("none"), -ENOENT, "No such file", "");
	check_bad_file("a folder", tmp, -EISDIR, "is a directory", "");
	check_bad_file("a device", "/dev/null", -EINVAL, "not a regular file", "");
	make_file(junk, "", 0);
	check_bad_file("empty file", junk, -EINVAL, "is empty", "");
	make_file(junk, "\x7f" "ELF\x02", 5);
	check_bad_file(
		"another format", junk, -EINVAL,
		"not a GGUF or bitnet image (starts with \".ELF....\", 7f 45 4c 46 02 00 00 00)",
		"GGUF");
	make_file(junk, "version https://git-lfs.github.com/spec/v1\n", 43);
	check_bad_file("LFS pointer", junk, -EINVAL, "not a GGUF", "git lfs");
	make_file(junk, "<!doctype html>", 15);
	check_bad_file("web page", junk, -EINVAL, "not a GGUF", "download");
	make_file(junk, "GGUF\3\0\0\0", 8);
	check_bad_file("GGUF cut off", junk, -EBADMSG, "junk", "");
	unlink(junk);
	free(junk);
	unlink(path_of("model.gguf"));
}

int main(void)
{
	struct recipe recipe = { .arch = "bitnet-b1.58" };
	struct bitnet_image image;
	char folder[] = "/tmp/bitnet-image-XXXXXX";
	struct gguf_build b;
	struct bitnet_gguf *meta;

	check_archs();
	check_bad_models();

	tmp = mkdtemp(folder);
	umask(022);
	snprintf(image_path, sizeof(image_path), "%s/model.img", tmp);
	meta = make(&b, &recipe);
	if (!tmp || !meta || build(&recipe, NULL, &image))
		bail("%s", err.msg);
	check_round_trip(&image, meta);
	check_failed_writes(&image, meta);
	check_damage(&image, meta);
	check_lie(&image);
	check_model_files(meta, &b);
	bitnet_gguf_close(meta);
	gguf_build_free(&b);
	bitnet_image_free(&image);
	unlink(image_path);
	is(rmdir(tmp), 0, "nothing is left");
	return done();
}

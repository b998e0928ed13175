// SPDX-License-Identifier: GPL-2.0 OR MIT
/* image.c - packed images in memory and in files; image_build.c makes them out of GGUF files */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"

#define HUGE_PAGE	(2ULL << 20)
#define WRITE_BYTES	(4U << 20)	/* one write(2), and how often progress is told */

/* ---- memory ---------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t n, uint64_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

/* Huge pages from the administrator's pool, else memory that starts where a huge page could. */
int bitnet_image_alloc(struct bitnet_image *image, uint64_t length, struct bitnet_error *err)
{
	uint64_t bytes = round_up(length, HUGE_PAGE), head;
	uint8_t *p = MAP_FAILED;

	memset(image, 0, sizeof(*image));
	if (length >= HUGE_PAGE)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED) {
		p = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return bitnet_error_set(err, ENOMEM, "no memory for an image of %llu MB",
						(unsigned long long)(length >> 20));
		head = -(uintptr_t)p & (HUGE_PAGE - 1);
		if (head)
			munmap(p, head);
		if (head < HUGE_PAGE)
			munmap(p + head + bytes, HUGE_PAGE - head);
		p += head;
		madvise(p, bytes, MADV_HUGEPAGE);
		/*
		 * Pages in the order of their addresses, whatever order they are written in: where
		 * there are no huge ones, they still mostly lie in one piece then.
		 */
		madvise(p, length, MADV_POPULATE_WRITE);
	}
	image->base = p;
	image->length = length;
	image->map_bytes = bytes;
	image->header = image->base;
	return 0;
}

void bitnet_image_free(struct bitnet_image *image)
{
	if (image->base)
		munmap(image->base, image->map_bytes);
	memset(image, 0, sizeof(*image));
}

/* ---- structure ------------------------------------------------------------------------------- */

int bitnet_image_parse(const void *base, uint64_t length, const char *what, struct bn_model *model,
		       struct bitnet_error *err)
{
	struct bitnet_image_tensor *table = NULL;
	struct bitnet_image_header hdr;
	struct bn_layer *layers = NULL;
	struct bn_model local;
	int ret = 0;
	u32 bad;

	if (length < sizeof(hdr))
		return bitnet_error_set(err, ENOEXEC, "%s: too short for a bitnet image", what);
	memcpy(&hdr, base, sizeof(hdr));
	if (!memcmp(hdr.magic, BITNET_IMAGE_MAGIC, sizeof(hdr.magic)) &&
	    hdr.version != BITNET_IMAGE_VERSION) {
		bitnet_error_set(err, ENOEXEC, "%s: image version %u, this program reads %u", what,
				 hdr.version, BITNET_IMAGE_VERSION);
		return bitnet_error_hint(err, hdr.version < BITNET_IMAGE_VERSION ?
			"'bitnetctl pack' makes it anew from the GGUF file." :
			"It was made by a later version of bitnetctl.");
	}
	switch (bn_image_check_header(&hdr, length)) {
	case BN_OK:
		break;
	case BN_EMAGIC:
		return bitnet_error_set(err, ENOEXEC, "%s: not a bitnet image", what);
	default:
		return bitnet_error_set(
			err, EBADMSG,
			"%s: the image's header contradicts itself, its length or the limits",
			what);
	}

	table = malloc(sizeof(*table) * hdr.tensor_count + 1);
	layers = calloc(hdr.n_layers, sizeof(*layers));
	if (!table || !layers) {
		ret = bitnet_error_set(err, ENOMEM, "no memory for the tensor table of %s", what);
		goto out;
	}
	memcpy(table, (const uint8_t *)base + hdr.tensor_offset, sizeof(*table) * hdr.tensor_count);
	if (bn_model_parse(model ? model : &local, layers, &hdr, table, base, length, &bad) !=
	    BN_OK) {
		if (bad < hdr.tensor_count)
			ret = bitnet_error_set(
				err, EBADMSG,
				"%s: tensor %u (role %u, layer %u) has a wrong shape, format or place",
				what, bad, table[bad].role, table[bad].layer);
		else
			ret = bitnet_error_set(err, EBADMSG, "%s: a tensor is missing", what);
		goto out;
	}
	if (model)
		layers = NULL;		/* the caller's now */
out:
	free(layers);
	free(table);
	return ret;
}

/* A byte that packing makes: t1 counts nine times 27 of 28, see bn_pack.c */
static bool is_packed(uint32_t packing, uint8_t byte)
{
	if (packing == BN_T2)
		return !(byte & byte >> 1 & 0x55);
	return byte < 9 * 28 && byte % 28 < 27;
}

static int check_matrix(const uint8_t *base, const struct bitnet_image_tensor *t,
			struct bitnet_error *err)
{
	bool t1 = t->format == BITNET_IMAGE_FMT_T1 || t->format == BITNET_IMAGE_FMT_T1_COLUMNS;
	const uint8_t zeros = t1 ? 125 : 0x55, *p = base + t->offset;
	bool some = false;
	uint8_t good[256];

	for (uint32_t byte = 0; byte < 256; byte++)
		good[byte] = is_packed(t1 ? BN_T1 : BN_T2, byte);
	for (uint64_t i = 0; i < t->bytes; i++) {
		if (!good[p[i]])
			return bitnet_error_set(
				err, EBADMSG, "role %u, layer %u, line %llu: byte 0x%02x is no weights",
				t->role, t->layer, (unsigned long long)(i / t->row_bytes), p[i]);
		some |= p[i] != zeros;
	}
	if (!some)
		return bitnet_error_set(err, EBADMSG, "role %u, layer %u: all weights are zero",
					t->role, t->layer);
	return 0;
}

/* Sum of (low - 512)^2 of the first @n of 64 numbers; see bn_pack_planes() */
static uint32_t low_squares(const uint8_t *block, uint32_t place, uint32_t n)
{
	uint32_t squares = 0;

	for (uint32_t j = 0; j < n; j++) {
		int rest = (block[j] >> (2 * place) & 3) * 256 + block[64 + 64 * place + j] - 512;

		squares += rest * rest;
	}
	return squares;
}

/* Tokens are chosen by the high plane and what the image says the low one is worth: is it true? */
static int check_embedding(const struct bn_model *m, const struct bn_embedding *e, const char *name,
			   struct bitnet_error *err)
{
	for (uint32_t t = 0; t < m->vocab; t++) {
		const uint8_t *low = e->low + (uint64_t)t * bn_low_bytes(m->embd_pad);
		uint64_t squares = 0;

		for (uint32_t at = 0; at < m->hidden; at += 64)
			squares += low_squares(low + bn_low_bytes(at / 256 * 256), at % 256 / 64,
					       m->hidden - at < 64 ? m->hidden - at : 64);
		if (!((double)e->error[t] >= fabs((double)e->scale[t]) * sqrt((double)squares)))
			return bitnet_error_set(err, EBADMSG,
						"%s, token %u: the error of its high plane is more than the image says",
						name, t);
	}
	return 0;
}

uint64_t bitnet_image_digest(const struct bitnet_image_header *hdr, const void *base)
{
	struct bitnet_image_header h = *hdr;

	h.digest = 0;
	return bn_hash64((const uint8_t *)base + sizeof(h), h.total_bytes - sizeof(h),
			 bn_hash64(&h, sizeof(h), 0));
}

int bitnet_image_check(const struct bitnet_image *image, struct bitnet_error *err)
{
	const uint8_t *base = image->base;
	const struct bitnet_image_header *hdr = image->header;
	struct bn_model m;
	int ret = bitnet_image_parse(base, image->length, "image", &m, err);

	if (ret)
		return ret;
	if (bitnet_image_digest(hdr, base) != hdr->digest)
		ret = bitnet_error_set(err, EBADMSG,
				       "the image's contents do not match its digest");
	for (uint32_t i = 0; !ret && i < hdr->tensor_count; i++) {
		const struct bitnet_image_tensor *t =
			(const void *)(base + hdr->tensor_offset + (uint64_t)i * sizeof(*t));

		if (bn_format_is_ternary(t->format))
			ret = check_matrix(base, t, err);
	}
	if (!ret)
		ret = check_embedding(&m, &m.token_embd, "token_embd", err);
	if (!ret && m.output.high != m.token_embd.high)
		ret = check_embedding(&m, &m.output, "output", err);
	free(m.layers);
	return ret;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int map_failed(const char *path, int error, struct bitnet_error *err)
{
	return bitnet_error_set(err, error, "%s: %s", path, strerror(error));
}

int bitnet_image_map(const char *path, struct bitnet_image *image, struct bitnet_gguf **meta,
		     struct bitnet_error *err)
{
	struct bitnet_image_header hdr = { 0 };
	struct stat st;
	uint8_t *base;
	int fd, ret;
	ssize_t n;

	memset(image, 0, sizeof(*image));
	if (meta)
		*meta = NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return map_failed(path, errno, err);
	if (fstat(fd, &st)) {
		ret = map_failed(path, errno, err);
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		ret = map_failed(path, EISDIR, err);
		goto out;
	}
	n = pread(fd, &hdr, sizeof(hdr), 0);
	if (n < 0) {
		ret = map_failed(path, errno, err);
		goto out;
	}
	if (n < (ssize_t)sizeof(hdr) || memcmp(hdr.magic, BITNET_IMAGE_MAGIC, sizeof(hdr.magic))) {
		ret = bitnet_error_set(err, ENOEXEC, "%s: not a bitnet image", path);
		goto out;
	}
	if (hdr.total_bytes > (uint64_t)st.st_size) {
		bitnet_error_set(err, EBADMSG, "%s: cut off: %llu bytes of %llu", path,
				 (unsigned long long)st.st_size,
				 (unsigned long long)hdr.total_bytes);
		ret = bitnet_error_hint(err, "The file was not copied completely.");
		goto out;
	}
	base = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (base == MAP_FAILED) {
		ret = map_failed(path, errno, err);
		goto out;
	}
	image->base = base;
	image->map_bytes = st.st_size;
	image->length = hdr.total_bytes;
	image->header = image->base;
	ret = bitnet_image_parse(base, image->length, path, NULL, err);
	if (!ret && meta && image->length < image->map_bytes) {
		*meta = bitnet_gguf_open_mem(base + image->length, image->map_bytes - image->length,
					     path, err);
		if (!*meta)
			ret = err ? -err->code : -EBADMSG;
	}
	if (ret)
		bitnet_image_free(image);
out:
	close(fd);
	return ret;
}

/* A file being written beside its final place. */
struct writer {
	int fd;
	char *tmp;
	uint64_t done, total;
	const struct bitnet_image_options *options;
};

static int write_all(struct writer *w, const void *data, uint64_t bytes)
{
	const uint8_t *p = data;

	while (bytes) {
		ssize_t n = write(w->fd, p, bytes < WRITE_BYTES ? bytes : WRITE_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		bytes -= n;
		w->done += n;
		if (w->options && w->options->progress &&
		    !w->options->progress(w->options->progress_arg, w->done, w->total))
			return -ECANCELED;
	}
	return 0;
}

struct gguf_head {
	uint8_t magic[4];
	uint32_t version;
	uint64_t n_tensors, n_kvs;
};

/* The metadata as a GGUF file of its own, without tensors. */
static int write_meta(struct writer *w, const struct bitnet_gguf *meta)
{
	struct gguf_head head = { { 'G', 'G', 'U', 'F' }, 3, 0, bitnet_gguf_n_kvs(meta) };
	size_t bytes;
	const uint8_t *kvs = bitnet_gguf_kv_bytes(meta, &bytes);
	int ret = write_all(w, &head, sizeof(head));

	return ret ? ret : write_all(w, kvs, bytes);
}

/*
 * The folder's entry is part of what has to reach the disk; where it cannot be synced, nothing is
 * lost.
 */
static void sync_folder_of(const char *path)
{
	char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	int fd;

	if (slash)
		slash[slash == folder] = '\0';
	fd = folder ? open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(folder);
}

/* A new file beside @path, with the permissions that @path would get. */
static int open_beside(struct writer *w, const char *path)
{
	for (int i = 0; i < 100; i++) {
		if (asprintf(&w->tmp, "%s.tmp-%d-%d", path, (int)getpid(), i) < 0)
			return -ENOMEM;
		w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (w->fd >= 0)
			return 0;
		free(w->tmp);
		/* left behind by a process of this id that was killed */
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

int bitnet_image_write(const struct bitnet_image *image, const struct bitnet_gguf *meta,
		       const char *path, const struct bitnet_image_options *options,
		       struct bitnet_error *err)
{
	struct writer w = { .fd = -1, .options = options };
	size_t meta_bytes = 0;
	int ret;

	ret = open_beside(&w, path);
	if (ret)
		return bitnet_error_set(err, ret, "%s: cannot write beside it: %s", path,
					strerror(-ret));
	if (meta)
		bitnet_gguf_kv_bytes(meta, &meta_bytes);
	w.total = image->length + (meta ? sizeof(struct gguf_head) + meta_bytes : 0);
	/* Find a full disk before the work, where the file system can tell. */
	if (posix_fallocate(w.fd, 0, w.total) == ENOSPC)
		ret = -ENOSPC;
	if (!ret)
		ret = write_all(&w, image->base, image->length);
	if (!ret && meta)
		ret = write_meta(&w, meta);
	if (!ret && fsync(w.fd))
		ret = -errno;
	if (close(w.fd) && !ret)
		ret = -errno;
	if (!ret && rename(w.tmp, path))
		ret = -errno;
	if (ret)
		unlink(w.tmp);
	else
		sync_folder_of(path);
	free(w.tmp);
	if (ret == -ECANCELED)
		return bitnet_error_set(err, ECANCELED, "%s: cancelled", path);
	return ret ? bitnet_error_set(err, ret, "%s: %s", path, strerror(-ret)) : 0;
}

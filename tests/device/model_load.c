// SPDX-License-Identifier: GPL-2.0
/*
 * model_load.c - MODEL_LOAD takes every image that is one, from any memory, and refuses all others
 *
 * Each refusal has its errno, names no pages pinned and leaves the file usable.
 */
#include <stddef.h>

#include "device.h"

static int fd;
static struct t_image good;
static struct t_leaks loaded;	/* with the file open and nothing pinned */

static int load_at(const void *addr, uint64_t length)
{
	struct t_image image = { .base = (void *)addr, .length = length };

	return t_model_load(fd, &image, 0, NULL, NULL);
}

/* The load must fail with @want and leave nothing. */
static void refuse(int err, int want, const char *what)
{
	struct bitnet_stats s = t_stats(fd);

	is(err, want, "%s", what);
	ok(!s.out_models && !s.out_pinned_bytes && t_leaks_none(&loaded), "nothing is left of it");
}

static void check_addresses(void)
{
	uint8_t *p = t_pages(good.length + 2 * T_PAGE);
	uint8_t *readonly;

	memcpy(p, good.base, good.length);
	refuse(load_at(p + 1, good.length), -EINVAL, "address is not that of a page");
	refuse(load_at(p + 64, good.length), -EINVAL, "address is aligned to 64 bytes only");
	refuse(load_at(NULL, good.length), -EFAULT, "address 0");
	refuse(load_at((void *)-T_PAGE, T_PAGE), -EFAULT, "the last page of the address space");
	refuse(load_at((void *)(UINTPTR_MAX / 2 / T_PAGE * T_PAGE + T_PAGE), good.length), -EFAULT,
	       "the kernel's half of the address space");

	mprotect(p, T_PAGE, PROT_NONE);
	refuse(load_at(p, good.length), -EFAULT, "first page cannot be read");
	mprotect(p, T_PAGE, PROT_READ | PROT_WRITE);
	mprotect(p + good.length - T_PAGE, T_PAGE, PROT_NONE);
	refuse(load_at(p, good.length), -EFAULT, "last page cannot be read");
	mprotect(p + good.length - T_PAGE, T_PAGE, PROT_READ | PROT_WRITE);

	readonly = t_pages(good.length);
	memcpy(readonly, good.base, good.length);
	mprotect(readonly, good.length, PROT_READ);
	is(load_at(readonly, good.length), 0, "memory that is only readable");
	/* Once pinned, the pages outlive their mapping. */
	munmap(readonly, good.length);
	munmap(p, good.length + 2 * T_PAGE);
}

/*
 * An image whose header says that it is larger than the device allows; no memory is behind most of
 * it.
 */
static void check_largest(const struct bitnet_info *info)
{
	uint64_t length = (info->out_max_model_bytes / T_PAGE + 1) * T_PAGE;
	struct t_shape shape = t_tiny;
	struct bitnet_image_header *h;
	struct t_image image;
	void *p;

	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED) {
		skip("no address space for an image above the limit");
		return;
	}
	image = t_image_random(&shape);
	memcpy(p, image.base, image.length);
	h = p;
	h->total_bytes = length;
	refuse(load_at(p, length), -EDQUOT, "one page larger than the device allows");
	munmap(p, length);
	t_image_free(&image);
}

static void check_lengths(void)
{
	struct bitnet_info info = t_info(fd);
	struct t_image image = t_image_copy(&good);
	uint64_t length = good.length;
	uint8_t *p;

	refuse(load_at(image.base, 0), -EINVAL, "length 0");
	refuse(load_at(image.base, length - 1), -EBADMSG, "length is no multiple of a page");
	refuse(load_at(image.base, 256), -EBADMSG, "nothing but the header");
	refuse(load_at(image.base, 255), -ENOEXEC, "less than a header");
	refuse(load_at(image.base, length - T_PAGE), -EBADMSG, "a page less than the header says");
	p = t_pages(length + T_PAGE);
	memcpy(p, good.base, length);
	refuse(load_at(p, length + T_PAGE), -EBADMSG, "a page more than the header says");
	munmap(p, length + T_PAGE);
	refuse(load_at(image.base, (info.out_max_model_bytes / T_PAGE + 1) * T_PAGE), -EBADMSG,
	       "longer than the largest model, and not what the header says");
	check_largest(&info);
	refuse(load_at(image.base, UINT64_MAX / T_PAGE * T_PAGE), -EINVAL,
	       "longer than any memory");
	refuse(load_at((void *)(uintptr_t)(UINTPTR_MAX / T_PAGE * T_PAGE - T_PAGE), 4 * T_PAGE),
	       -EFAULT, "address and length wrap around");
	t_image_free(&image);
}

static void check_names(void)
{
	static const struct {
		const char *name;
		int want;
	} names[] = {
		{ "", 0 },
		{ "a", 0 },
		{ "0-Model_v1.58", 0 },
		{ "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", 0 },
		{ "with space", -EINVAL },
		{ "slash/", -EINVAL },
		{ "new\nline", -EINVAL },
		{ "\x1b[31m", -EINVAL },
		{ "\xc3\xa4", -EINVAL },
		{ "a:b", -EINVAL },
		/* 64 characters: no room for the NUL */
		{ "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", -EINVAL },
	};
	struct bitnet_model_load load = {
		.size = sizeof(load),
		.addr = t_pointer(good.base),
		.length = good.length,
	};
	unsigned int i;
	uint32_t id;
	int err;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		err = t_model_load(fd, &good, 0, names[i].name, &id);
		is(err, names[i].want, "name number %u, %zu bytes", i, strlen(names[i].name));
		if (!err)
			t_model_close(fd, id);
	}
	memcpy(load.name, "a\0b", 3);
	err = t_ioctl(fd, BITNET_IOC_MODEL_LOAD, &load);
	ok(err == -EINVAL || !err, "bytes behind the NUL are refused or ignored (%d)", err);
	if (!err)
		t_model_close(fd, load.out_model_id);
	refuse(t_model_load(fd, &good, BITNET_MODEL_F_SHARED, "", NULL), -EINVAL,
	       "a shared model without a name");
}

/* One 32-bit word of the header or of a table entry is changed; the length stays. */
struct damage {
	const char *what;
	size_t offset;
	uint32_t value;
	int want;
};

#define H(field)	offsetof(struct bitnet_image_header, field)
#define T(field)	offsetof(struct bitnet_image_tensor, field)

static void check_damage(const struct damage *d, size_t at, const char *where)
{
	struct t_image image = t_image_copy(&good);
	char what[100];
	uint32_t id;
	int err;

	memcpy((char *)image.base + at + d->offset, &d->value, 4);
	snprintf(what, sizeof(what), "%s%s = 0x%x", where, d->what, d->value);
	err = t_model_load(fd, &image, 0, NULL, &id);
	if (d->want)
		refuse(err, d->want, what);
	else
		is(err, 0, "%s", what);
	if (!err)
		t_model_close(fd, id);
	t_image_free(&image);
}

static void check_headers(void)
{
	static const struct damage damages[] = {
		{ "magic", H(magic), 0x54494e42, -ENOEXEC },
		{ "end of magic", H(magic) + 4, 0x4d495445 + 1, -ENOEXEC },
		{ "version", H(version), 0, -ENOEXEC },
		{ "version", H(version), BITNET_IMAGE_VERSION + 1, -ENOEXEC },
		{ "header_bytes", H(header_bytes), 0, -ENOEXEC },
		{ "header_bytes", H(header_bytes), 257, -ENOEXEC },
		{ "total_bytes", H(total_bytes), 4096, -EBADMSG },
		{ "total_bytes", H(total_bytes), 0, -EBADMSG },
		{ "upper half of total_bytes", H(total_bytes) + 4, 1, -EBADMSG },
		{ "flags", H(flags), ~0U, -EBADMSG },
		{ "flags", H(flags), 8, -EBADMSG },
		{ "flags say T1", H(flags), 7, -EBADMSG },
		{ "flags without SUB_NORMS", H(flags), BITNET_IMAGE_F_TIED, -EBADMSG },
		{ "flags without TIED", H(flags), BITNET_IMAGE_F_SUB_NORMS, -EBADMSG },
		{ "activation", H(activation), 2, -EBADMSG },
		{ "activation, which ffn_down does not fit", H(activation), BITNET_ACT_SILU, -EBADMSG },
		{ "n_layers", H(n_layers), 0, -EBADMSG },
		{ "n_layers", H(n_layers), 1, -EBADMSG },
		{ "n_layers", H(n_layers), 3, -EBADMSG },
		{ "n_layers", H(n_layers), 0x10000000, -EBADMSG },
		{ "n_layers", H(n_layers), ~0U, -EBADMSG },
		{ "hidden", H(hidden), 0, -EBADMSG },
		{ "hidden", H(hidden), 33, -EBADMSG },
		{ "hidden", H(hidden), 0x80000000, -EBADMSG },
		{ "ffn", H(ffn), 0, -EBADMSG },
		{ "ffn", H(ffn), 97, -EBADMSG },
		{ "ffn", H(ffn), ~0U, -EBADMSG },
		{ "n_heads", H(n_heads), 0, -EBADMSG },
		{ "n_heads", H(n_heads), 3, -EBADMSG },
		{ "n_heads", H(n_heads), ~0U, -EBADMSG },
		{ "n_kv_heads", H(n_kv_heads), 0, -EBADMSG },
		{ "n_kv_heads", H(n_kv_heads), 3, -EBADMSG },
		{ "n_kv_heads", H(n_kv_heads), ~0U, -EBADMSG },
		{ "head_dim", H(head_dim), 0, -EBADMSG },
		{ "head_dim", H(head_dim), 15, -EBADMSG },
		{ "head_dim", H(head_dim), 0x40000000, -EBADMSG },
		{ "rope_dims", H(rope_dims), 0, -EBADMSG },
		{ "rope_dims", H(rope_dims), 15, -EBADMSG },
		{ "rope_dims", H(rope_dims), 18, -EBADMSG },
		{ "vocab", H(vocab), 0, -EBADMSG },
		{ "vocab", H(vocab), 301, -EBADMSG },
		{ "vocab", H(vocab), ~0U, -EBADMSG },
		{ "max_ctx", H(max_ctx), 0, -EBADMSG },
		{ "max_ctx", H(max_ctx), ~0U, -EBADMSG },
		{ "norm_eps infinite", H(norm_eps), 0x7f800000, -EBADMSG },
		{ "norm_eps not a number", H(norm_eps), 0x7fc00000, -EBADMSG },
		{ "norm_eps negative", H(norm_eps), 0xb727c5ac, -EBADMSG },
		{ "tensor_count", H(tensor_count), 0, -EBADMSG },
		{ "tensor_count one less", H(tensor_count), 26, -EBADMSG },
		{ "tensor_count one more", H(tensor_count), 28, -EBADMSG },
		{ "tensor_count", H(tensor_count), ~0U, -EBADMSG },
		{ "tensor_count", H(tensor_count), 0x04000000, -EBADMSG },
		{ "tensor_bytes", H(tensor_bytes), 0, -ENOEXEC },
		{ "tensor_bytes", H(tensor_bytes), 128, -ENOEXEC },
		{ "tensor_offset", H(tensor_offset), 0, -EBADMSG },
		{ "tensor_offset", H(tensor_offset), 128, -EBADMSG },
		{ "tensor_offset not aligned", H(tensor_offset), 257, -EBADMSG },
		{ "tensor_offset", H(tensor_offset), 0xffffffc0, -EBADMSG },
		{ "upper half of tensor_offset", H(tensor_offset) + 4, ~0U, -EBADMSG },
		{ "__resv", H(__resv), 1, -EBADMSG },
		{ "end of __resv", H(__resv) + 92, 0x01000000, -EBADMSG },
		/* Neither of these is the kernel's business. */
		{ "digest", H(digest), 0x12345678, 0 },
		{ "name", H(name), 0x00000041, 0 },
	};
	unsigned int i;

	is(good.header->tensor_count, 27, "the table that the damages are written for");
	for (i = 0; i < ARRAY_SIZE(damages); i++)
		check_damage(&damages[i], 0, "header: ");
}

static void check_tables(void)
{
	static const struct damage damages[] = {
		{ "role", T(role), BITNET_ROLE_COUNT, -EBADMSG },
		{ "role", T(role), ~0U, -EBADMSG },
		{ "role of another shape", T(role), BITNET_ROLE_TOKEN_EMBD_SCALE, -EBADMSG },
		{ "role twice", T(role), BITNET_ROLE_ATTN_V, -EBADMSG },
		{ "layer twice", T(layer), 1, -EBADMSG },
		{ "layer", T(layer), 2, -EBADMSG },
		{ "layer", T(layer), ~0U, -EBADMSG },
		{ "format", T(format), 0, -EBADMSG },
		{ "format", T(format), BITNET_IMAGE_FMT_F64, -EBADMSG },
		{ "format", T(format), 5, -EBADMSG },
		{ "format", T(format), ~0U, -EBADMSG },
		{ "scale infinite", T(scale), 0x7f800000, -EBADMSG },
		{ "scale not a number", T(scale), 0xffc00001, -EBADMSG },
		{ "rows", T(rows), 0, -EBADMSG },
		{ "rows", T(rows), 33, -EBADMSG },
		{ "rows", T(rows), 31, -EBADMSG },
		{ "rows", T(rows), ~0U, -EBADMSG },
		{ "cols", T(cols), 0, -EBADMSG },
		{ "cols", T(cols), 31, -EBADMSG },
		{ "cols", T(cols), 33, -EBADMSG },
		{ "row_bytes", T(row_bytes), 0, -EBADMSG },
		{ "row_bytes", T(row_bytes), 32, -EBADMSG },
		{ "row_bytes", T(row_bytes), 128, -EBADMSG },
		{ "row_bytes", T(row_bytes), 0x80000000, -EBADMSG },
		{ "__resv0", T(__resv0), 1, -EBADMSG },
		{ "offset in the header", T(offset), 0, -EBADMSG },
		{ "offset in the table", T(offset), 256, -EBADMSG },
		{ "offset not aligned", T(offset), 8192 + 32, -EBADMSG },
		{ "offset", T(offset), 0xffffffc0, -EBADMSG },
		{ "upper half of offset", T(offset) + 4, ~0U, -EBADMSG },
		{ "bytes", T(bytes), 0, -EBADMSG },
		{ "bytes", T(bytes), 64, -EBADMSG },
		{ "upper half of bytes", T(bytes) + 4, 1, -EBADMSG },
		{ "__resv1", T(__resv1) + 12, 1, -EBADMSG },
	};
	struct t_image image = t_image_copy(&good);
	struct bitnet_image_tensor *t = t_image_tensor(&image, BITNET_ROLE_ATTN_Q, 0), swap;
	struct damage end = { "offset of one row from the end", T(offset), good.length - 64,
			      -EBADMSG };
	size_t at = (char *)t - (char *)image.base;
	size_t norm = (char *)t_image_tensor(&image, BITNET_ROLE_FFN_NORM, 0) - (char *)image.base;
	static const struct damage scaled = { "scale of a norm", T(scale), 0x3f800000, -EBADMSG };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(damages); i++)
		check_damage(&damages[i], at, "table: ");
	check_damage(&end, at, "table: ");
	check_damage(&scaled, norm, "table: ");

	/* Entries are in the order of their offsets, so that no two can share bytes. */
	swap = t[0];
	t[0] = t[3];
	t[3] = swap;
	refuse(t_model_load(fd, &image, 0, NULL, NULL), -EBADMSG, "entries in another order");
	t[3] = t[0];
	t[0] = swap;
	t[2].offset = t[1].offset;
	refuse(t_model_load(fd, &image, 0, NULL, NULL), -EBADMSG, "two tensors in one place");
	t_image_free(&image);
}

static void set_huge_pages(const char *n)
{
	int knob = open("/proc/sys/vm/nr_hugepages", O_WRONLY);

	if (knob < 0)
		return;
	if (write(knob, n, strlen(n)) < 0)
		diag("no huge pages: %s", strerror(errno));
	close(knob);
}

/* Memory of every kind that the header names. */
static void check_memory(void)
{
	char path[] = "/tmp/model_load.XXXXXX";
	struct t_image image = { .length = good.length };
	int mem = memfd_create("image", 0), file = mkstemp(path);
	uint32_t id;
	void *p;

	if (mem < 0 || file < 0 || write(mem, good.base, good.length) != (ssize_t)good.length ||
	    write(file, good.base, good.length) != (ssize_t)good.length)
		bail("files to map");
	unlink(path);

	image.base = mmap(NULL, good.length, PROT_READ, MAP_SHARED, mem, 0);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "a memfd, shared, read-only");
	t_model_close(fd, id);
	munmap(image.base, good.length);

	image.base = mmap(NULL, good.length, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "a memfd, shared, writable");
	t_model_close(fd, id);
	munmap(image.base, good.length);

	image.base = mmap(NULL, good.length, PROT_READ, MAP_PRIVATE, file, 0);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "a file, private, read-only");
	t_model_close(fd, id);
	munmap(image.base, good.length);

	image.base = mmap(NULL, good.length, PROT_READ, MAP_SHARED, file, 0);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "a file, shared, read-only");
	t_model_close(fd, id);
	munmap(image.base, good.length);

	set_huge_pages("2");
	p = mmap(NULL, 2UL << 20, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED) {
		skip("hugetlb: no huge pages: %s", strerror(errno));
	} else {
		memcpy(p, good.base, good.length);
		image.base = p;
		is(t_model_load(fd, &image, 0, NULL, &id), 0, "hugetlb");
		t_model_close(fd, id);
		munmap(p, 2UL << 20);
	}
	set_huge_pages("0");
	close(mem);
	close(file);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_shape untied = t_tiny;
	struct t_image image;
	struct bitnet_stats s;
	uint32_t id;

	good = t_image_random(&t_tiny);
	fd = t_open();
	loaded = t_leaks_now();

	is(t_model_load(fd, &good, 0, NULL, &id), 0, "a good image");
	is(t_pinned_until(loaded.pinned + good.length / T_PAGE) - loaded.pinned,
	   good.length / T_PAGE, "its pages are pinned");
	s = t_stats(fd);
	is(s.out_models, 1, "STATS counts the model");
	is(s.out_pinned_bytes, good.length, "STATS counts the bytes");
	ok(t_number_in("/proc/self/status", "VmPin", 0) * 1024 >= (long long)good.length,
	   "VmPin counts them");
	is(t_model_close(fd, id), 0, "MODEL_CLOSE");
	ok(t_leaks_none(&loaded), "nothing is left");
	is(t_model_close(fd, id), -ENOENT, "MODEL_CLOSE again");

	/* As many pages as no single batch of a driver holds. */
	image = t_image_random(&t_slow);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "an image of 16 MiB");
	is(t_pinned_until(loaded.pinned + image.length / T_PAGE) - loaded.pinned,
	   image.length / T_PAGE, "all its pages are pinned");
	t_image_free(&image);
	is(t_model_close(fd, id), 0, "and, though they are no longer mapped,");
	ok(t_leaks_none(&loaded), "all given back");

	untied.flags = 0;
	image = t_image_random(&untied);
	is(t_model_load(fd, &image, 0, NULL, &id), 0,
	   "an image with a head of its own, without sub-norms");
	t_model_close(fd, id);

	check_memory();
	check_lengths();
	check_headers();
	check_tables();
	check_names();
	check_addresses();
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

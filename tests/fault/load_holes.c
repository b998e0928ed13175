// SPDX-License-Identifier: GPL-2.0
/*
 * load_holes.c - a hole at every page of a model of 64 pages: EFAULT, and nothing is left
 */
#include "../device/device.h"

#define PAGES	64

static struct t_image image;
static struct t_leaks open_only;
static int fd;

enum hole { UNMAPPED, FORBIDDEN, TRUNCATED };

static const char *const hole_names[] = { "unmapped", "PROT_NONE", "behind the end of its file" };

/* A copy of the image with a hole at page @k. */
static void *make(enum hole hole, unsigned int k)
{
	int mem;
	char *p;

	if (hole != TRUNCATED) {
		p = t_pages(image.length);
		memcpy(p, image.base, image.length);
		if (hole == UNMAPPED)
			munmap(p + k * T_PAGE, T_PAGE);
		else
			mprotect(p + k * T_PAGE, T_PAGE, PROT_NONE);
		return p;
	}
	mem = memfd_create("holes", 0);
	if (mem < 0 || write(mem, image.base, k * T_PAGE) != (ssize_t)(k * T_PAGE))
		bail("memfd: %s", strerror(errno));
	p = mmap(NULL, image.length, PROT_READ, MAP_SHARED, mem, 0);
	close(mem);
	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	return p;
}

static void check(enum hole hole)
{
	unsigned int k, wrong = 0, leaks = 0;
	struct t_image holed = { .length = image.length };
	int err;

	for (k = 0; k < PAGES; k++) {
		holed.base = make(hole, k);
		err = t_model_load(fd, &holed, 0, NULL, NULL);
		if (err != -EFAULT) {
			diag("page %u %s gives %d", k, hole_names[hole], err);
			wrong++;
		}
		munmap(holed.base, holed.length);
		if (!t_leaks_none(&open_only) || t_stats(fd).out_models)
			leaks++;
	}
	is(wrong, 0, "each of %u pages %s: EFAULT", PAGES, hole_names[hole]);
	is(leaks, 0, "and nothing is left");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_shape shape = t_tiny;
	uint32_t id;

	shape.pages = PAGES;
	shape.vocab = 64;	/* until they are filled */
	image = t_image_random(&shape);
	is(image.length, PAGES * T_PAGE, "a model of %u pages", PAGES);
	fd = t_open();
	open_only = t_leaks_now();
	check(UNMAPPED);
	check(FORBIDDEN);
	check(TRUNCATED);
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "without a hole it loads");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

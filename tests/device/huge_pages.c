// SPDX-License-Identifier: GPL-2.0
/*
 * huge_pages.c - weights in huge pages are read through the kernel's map of all memory, those in
 * small pages are not, and both give the same tokens
 */
#include "device.h"

#define HUGE_PAGE	(2UL << 20)

static long long direct_bytes(void)
{
	return t_number_in(T_DEBUGFS_STATS, "direct_bytes", -1);
}

/* A copy of the image in memory of its own, with the advice about huge pages */
static struct t_image copy(const struct t_image *image, int advice)
{
	uint64_t bytes = t_align(image->length, HUGE_PAGE) + HUGE_PAGE;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct t_image same = *image;

	if (p == MAP_FAILED)
		bail("mmap");
	p += -(uintptr_t)p & (HUGE_PAGE - 1);
	madvise(p, bytes - HUGE_PAGE, advice);
	memcpy(p, image->base, image->length);
	same.base = p;
	same.header = (void *)p;
	return same;
}

static void text(const struct t_image *image, struct t_result *r)
{
	const uint32_t tokens[] = { 1, 2, 3, 4, 5 };
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, image, 64);
	job = t_generate(c.session, tokens, 5, 8, 1);
	job.flags |= BITNET_JOB_F_HASH;
	is(t_run(&c.ring, &job, r), 0, "a text");
	is(r->n, 8, "of eight tokens");
	t_client_close(&c);
}

int main(void)
{
	static struct t_result small, large;
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_random(&t_slow);
	struct t_image in_small = copy(&image, MADV_NOHUGEPAGE), in_huge;
	long long direct;
	uint32_t id;
	int fd = t_open();

	if (direct_bytes() < 0) {
		skip("no debugfs");
		return done();
	}
	text(&in_small, &small);
	in_huge = copy(&image, MADV_HUGEPAGE);
	is(t_model_load(fd, &in_huge, 0, NULL, &id), 0, "loaded from where huge pages may be");
	direct = direct_bytes();
	if (t_number_in("/proc/self/smaps_rollup", "AnonHugePages", 0) > 0)
		ok(direct > 0, "%lld of %llu bytes are read through the map of all memory", direct,
		   (unsigned long long)image.length);
	else
		skip("this kernel gave no huge pages (%lld bytes lie in one piece anyway)", direct);
	t_model_close(fd, id);
	text(&in_huge, &large);
	ok(t_same_hashes(&small, &large), "the same text from huge and from small pages");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

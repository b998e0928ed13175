// SPDX-License-Identifier: GPL-2.0
/*
 * ring_mmap.c - the ring's mapping: exact offsets, lengths and flags, and what a process may do to
 * it
 *
 * Whatever is done to the mapping - moved, split, unmapped, inherited, kept beyond close() - the
 * kernel must neither fault nor show memory that is not the ring's.
 */
#include "device.h"

static struct t_image image;

static int try_mmap(int fd, size_t bytes, int prot, int flags, off_t offset)
{
	void *p = t_mmap(fd, bytes, prot, flags, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, bytes);
	return 0;
}

/* Is @flag among the VmFlags of the mapping at @addr? -1: the kernel does not say. */
static int vm_flag(const void *addr, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool here = false;
	char line[512];
	int found = -1;

	if (!f)
		return -1;
	while (found < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)addr && (uintptr_t)addr < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = !!strstr(line, flag);
	}
	fclose(f);
	return found;
}

static void check_flag(const void *addr, const char *flag, const char *what)
{
	int found = vm_flag(addr, flag);

	if (found < 0)
		skip("%s: no /proc/self/smaps", what);
	else
		ok(found, "%s", what);
}

static void check_setup(void)
{
	struct bitnet_info info;
	uint64_t bytes = 0;
	int fd = t_open();
	unsigned int i;
	static const uint32_t bad[] = { 0, 1, 3, 5, 6, 100, 0x80000000, ~0U };

	info = t_info(fd);
	is(try_mmap(fd, T_PAGE, PROT_READ, MAP_SHARED, BITNET_MMAP_RING), -ENXIO,
	   "mmap before RING_SETUP");
	is(t_wait(fd, 0, 0, NULL), -ENXIO, "WAIT before RING_SETUP");
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		is(t_ring_setup(fd, bad[i], -1, 0, &bytes), -EINVAL, "0x%x entries", bad[i]);
	is(t_ring_setup(fd, 2 * info.out_max_ring_entries, -1, 0, &bytes), -EINVAL,
	   "twice the most entries");
	is(t_ring_setup(fd, 8, -1, 1, &bytes), -EINVAL, "a data area of one byte");
	is(t_ring_setup(fd, 8, -1, T_PAGE + 64, &bytes), -EINVAL,
	   "a data area of a page and a bit");
	is(t_ring_setup(fd, 8, -1, info.out_max_data_bytes + T_PAGE, &bytes), -EINVAL,
	   "a data area above the limit");
	is(t_ring_setup(fd, 8, -1, UINT64_MAX - T_PAGE + 1, &bytes), -EINVAL,
	   "a data area above all limits");
	is(t_ring_setup(fd, 8, 9999, 0, &bytes), -EINVAL, "an eventfd that is not open");
	is(t_ring_setup(fd, 8, 0, 0, &bytes), -EINVAL, "an eventfd that is none");
	is(t_ring_setup(fd, 8, -2, 0, &bytes), -EINVAL, "eventfd -2");
	is(t_ring_setup(fd, info.out_max_ring_entries, -1, 0, &bytes), 0, "the most entries");
	ok(bytes >= T_PAGE + 64ULL * info.out_max_ring_entries && bytes % T_PAGE == 0,
	   "%llu bytes hold a page and the entries", (unsigned long long)bytes);
	is(t_ring_setup(fd, 8, -1, 0, &bytes), -EEXIST, "a second ring");
	is(try_mmap(fd, T_PAGE, PROT_READ, MAP_SHARED, BITNET_MMAP_DATA), -EINVAL,
	   "no data area to map");
	close(fd);
	fd = t_open();
	is(t_ring_setup(fd, 2, -1, 0, &bytes), 0, "the fewest entries");
	close(fd);
}

static void check_mmap(void)
{
	const off_t data = BITNET_MMAP_DATA;
	uint64_t bytes;
	int fd = t_open();
	const int rw = PROT_READ | PROT_WRITE;

	if (t_ring_setup(fd, 64, -1, 2 * T_PAGE, &bytes))
		bail("RING_SETUP");
	is(bytes, 2 * T_PAGE, "64 entries take a page beside the header");
	is(try_mmap(fd, bytes, rw, MAP_SHARED, 0), 0, "the whole ring");
	is(try_mmap(fd, bytes, PROT_READ, MAP_SHARED, 0), 0, "only to read");
	is(try_mmap(fd, bytes, rw, MAP_PRIVATE, 0), -EINVAL, "MAP_PRIVATE");
	is(try_mmap(fd, bytes, PROT_READ, MAP_PRIVATE, 0), -EINVAL, "MAP_PRIVATE, only to read");
	ok(try_mmap(fd, bytes, rw | PROT_EXEC, MAP_SHARED, 0) < 0, "PROT_EXEC");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, 0), -EINVAL, "shorter than the ring");
	is(try_mmap(fd, bytes + T_PAGE, rw, MAP_SHARED, 0), -EINVAL, "longer than the ring");
	is(try_mmap(fd, 1UL << 30, rw, MAP_SHARED, 0), -EINVAL, "much longer");
	is(try_mmap(fd, bytes, rw, MAP_SHARED, T_PAGE), -EINVAL, "an offset of a page");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, T_PAGE), -EINVAL, "the second page alone");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, 2 * T_PAGE), -EINVAL, "the page behind");
	is(try_mmap(fd, bytes, rw, MAP_SHARED, data - T_PAGE), -EINVAL,
	   "the page before the data area");
	is(try_mmap(fd, 2 * T_PAGE, rw, MAP_SHARED, data), 0, "the data area");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, data), -EINVAL, "a part of it");
	is(try_mmap(fd, 3 * T_PAGE, rw, MAP_SHARED, data), -EINVAL, "more than it");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, data + T_PAGE), -EINVAL, "its second page");
	is(try_mmap(fd, T_PAGE, rw, MAP_SHARED, (off_t)1 << 40), -EINVAL, "an offset beyond all");
	close(fd);
}

static void check_content(void)
{
	static const uint8_t zero[2 * T_PAGE];
	struct bitnet_ring_header *h;
	struct t_client fresh;

	t_client_open(&fresh, &image, 64);
	h = fresh.ring.header;
	is(h->entries, 64, "entries");
	is(h->mask, 63, "mask");
	is(h->tail, 0, "tail");
	is(h->head, 0, "head");
	is(h->flags, 0, "flags");
	ok(h->entries_offset >= sizeof(*h) && h->entries_offset % 64 == 0 &&
		   h->entries_offset + 64 * 64 <= fresh.ring.bytes,
	   "entries lie inside, at %u", h->entries_offset);
	is_mem(h + 1, zero, T_PAGE - sizeof(*h), "the header's page holds nothing else");
	is_mem(fresh.ring.entries, zero, 64 * 64, "nor do the entries");
	check_flag(h, " de", "VM_DONTEXPAND");
	check_flag(h, " dd", "VM_DONTDUMP");
	is(mprotect(h, T_PAGE, PROT_READ | PROT_EXEC) ? -errno : 0, -EACCES,
	   "cannot be made executable");
	t_client_close(&fresh);

	t_client_open(&fresh, &image, 64);
	munmap(fresh.ring.header, fresh.ring.bytes);
	fresh.ring.header =
		t_mmap(fresh.fd, fresh.ring.bytes, PROT_READ, MAP_SHARED, BITNET_MMAP_RING);
	ok(fresh.ring.header != MAP_FAILED, "mapped only to read");
	t_client_close(&fresh);
}

/* A job whose entries go to a ring that was moved, split or unmapped meanwhile. */
static void check_moves(void)
{
	uint32_t tokens[2] = { 1, 2 };
	static struct t_result result;
	struct bitnet_job job;
	struct t_client c;
	uint32_t entries;
	void *p, *place;
	pid_t pid;
	int status;

	t_client_open(&c, &image, 64);
	place = t_pages(c.ring.bytes);
	p = mremap(c.ring.header, c.ring.bytes, c.ring.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	ok(p == place, "mremap to another address");
	if (p == place) {
		c.ring.entries =
			(void *)((char *)p + ((char *)c.ring.entries - (char *)c.ring.header));
		c.ring.header = p;
	}
	job = t_generate(c.session, tokens, 2, 5, 1);
	is(t_run(&c.ring, &job, &result), 0, "a job's entries are seen there");
	p = mremap(c.ring.header, c.ring.bytes, c.ring.bytes + T_PAGE, MREMAP_MAYMOVE);
	ok(p == MAP_FAILED, "it cannot be made longer");
	/* An old size of 0 duplicates a shared mapping. */
	p = mremap(c.ring.header, 0, c.ring.bytes, MREMAP_MAYMOVE);
	if (p == MAP_FAILED) {
		ok(true, "it cannot be duplicated by mremap");
	} else {
		ok(!memcmp(p, c.ring.header, c.ring.bytes), "its duplicate is the same memory");
		munmap(p, c.ring.bytes);
	}

	p = t_mmap(c.fd, c.ring.bytes, PROT_READ, MAP_SHARED, BITNET_MMAP_RING);
	ok(p != MAP_FAILED && !memcmp(p, c.ring.header, c.ring.bytes),
	   "a second mapping is the same memory");
	munmap(p, T_PAGE);
	ok(((struct bitnet_ring_entry *)((char *)p + T_PAGE))->kind,
	   "a half of a mapping stays readable");
	munmap((char *)p + T_PAGE, c.ring.bytes - T_PAGE);

	/* Nobody maps the ring while the job runs. */
	t_ring_unmap(&c.ring);
	job.user_data = 2;
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job without a mapping");
	is(t_wait(c.fd, 6, T_HANG_NS, &entries), 0, "WAIT for its entries");
	is(entries, 6, "all are there");
	t_ring_map(&c.ring, c.fd, c.ring.bytes, 0);
	is(t_collect(&c.ring, &result, 1, 2), 0, "and are found by a new mapping");

	/* The mapping outlives the descriptor: the file is closed with the last of both. */
	job.user_data = 3;
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job");
	close(c.fd);
	ok(c.ring.header->entries == 64, "the mapping can be read after close()");
	pid = t_fork();
	if (!pid)
		_exit(c.ring.header->entries == 64 ? 0 : 1);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "and in a child");
	t_ring_unmap(&c.ring);
}

/*
 * In a child: 0 if dropping the pages changed nothing. SIGBUS on the next access is allowed as
 * well; what must not happen is that other pages take their place.
 */
static int drop_pages(void *arg)
{
	struct t_ring *ring = arg;

	signal(SIGBUS, SIG_DFL);
	madvise(ring->header, ring->bytes, MADV_DONTNEED);
	madvise(ring->header, ring->bytes, MADV_REMOVE);
	return ring->header->entries == 64 ? 0 : 1;
}

static void check_madvise(void)
{
	uint32_t tokens[2] = { 1, 2 };
	static struct t_result result;
	struct bitnet_job job;
	struct t_client c;
	int status;
	pid_t pid;

	t_client_open(&c, &image, 64);
	pid = t_fork();
	if (!pid)
		_exit(drop_pages(&c.ring));
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) ? !WEXITSTATUS(status) : WTERMSIG(status) == SIGBUS,
	   "MADV_DONTNEED shows no other memory");
	job = t_generate(c.session, tokens, 2, 5, 1);
	is(t_run(&c.ring, &job, &result), 0, "the ring still works");
	t_client_close(&c);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	image = t_image_random(&t_tiny);
	check_setup();
	check_mmap();
	check_content();
	check_moves();
	check_madvise();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

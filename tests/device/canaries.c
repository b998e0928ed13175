// SPDX-License-Identifier: GPL-2.0
/*
 * canaries.c - no tenant sees what another has said or loaded, nor what the kernel had in memory
 *
 * One user fills all that he can with a pattern: model, prompts, results, ring, his own memory; and
 * goes. The next one reads all that he gets, in memory and in structs, and looks for the pattern.
 * Both are processes that do so again and again, closing all, and now and then they end instead.
 * Needs a kernel that does not clear memory by itself: the guests are started so.
 */
#include <sys/socket.h>

#include "device.h"

#define CANARY		0xca9a11e5ca9a11e5ULL
#define DATA_BYTES	(64 * T_PAGE)
#define ENTRIES		256
#define PAIR		50	/* rounds until two processes end with all that they hold */

static struct t_image image;

/* Both halves of it, at any multiple of four bytes. */
static unsigned int count(const void *p, size_t bytes)
{
	const uint32_t *words = p;
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < bytes / 4; i++)
		n += words[i] == (uint32_t)CANARY;
	return n;
}

static void fill(void *p, size_t bytes)
{
	uint64_t *words = p;
	size_t i;

	for (i = 0; i < bytes / 8; i++)
		words[i] = CANARY;
}

/* Memory of a process, full of the pattern; goes back to the kernel. */
static void leave_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	fill(p, bytes);
	munmap(p, bytes);
}

/* Leaves the pattern wherever it can. Steps that failed are told by number. */
static int speak(bool last)
{
	struct t_image own = t_image_copy(&image);
	uint32_t tokens[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct bitnet_job jobs[2];
	uint64_t bytes;
	struct t_client c;

	/* Embeddings at the end of the image: all of the pattern. */
	fill((char *)own.base + own.length / 2, own.length / 4);
	c.fd = t_open();
	if (t_model_load(c.fd, &own, 0, "tenant", &c.model) ||
	    t_session_open(c.fd, c.model, 0, &c.session) ||
	    t_ring_setup(c.fd, ENTRIES, -1, DATA_BYTES, &bytes))
		return 1;
	t_ring_map(&c.ring, c.fd, bytes, DATA_BYTES);
	jobs[0] = t_generate(c.session, tokens, 8, 8, CANARY);
	jobs[0].seed = CANARY;
	jobs[1] = (struct bitnet_job){
		.kind = BITNET_JOB_LINEAR, .user_data = CANARY, .model_id = c.model,
		.input = t_pointer((char *)own.base + own.length / 2), .input_count = 16,
	};
	if (t_submit(c.fd, jobs, 2, NULL) || t_wait(c.fd, 10, T_HANG_NS, NULL))
		return 2;
	fill(c.ring.data, DATA_BYTES);
	fill((char *)c.ring.header + T_PAGE, c.ring.bytes - T_PAGE);
	leave_memory(last ? 16 << 20 : 1 << 20);
	if (last)
		return 0;	/* all is closed by the exit */
	t_ring_unmap(&c.ring);
	close(c.fd);
	t_image_free(&own);
	return 0;
}

/* All that the kernel tells: no field may have anything but the answer. */
static unsigned int listen_structs(int fd, uint32_t model, uint32_t session)
{
	struct bitnet_info info = { .size = sizeof(info) };
	struct bitnet_model_info m = { .size = sizeof(m), .model_id = model };
	struct bitnet_stats s = { .size = sizeof(s), .flags = BITNET_STATS_F_SESSION,
				  .session_id = session };
	unsigned int i, n = 0;

	t_ioctl(fd, BITNET_IOC_INFO, &info);
	t_ioctl(fd, BITNET_IOC_MODEL_INFO, &m);
	t_ioctl(fd, BITNET_IOC_STATS, &s);
	n += count(&info, sizeof(info)) + count(&m, sizeof(m)) + count(&s, sizeof(s));
	n += info.__resv || s.__resv;
	/* Behind the end of strings */
	for (i = strlen(info.out_variant); i < sizeof(info.out_variant); i++)
		n += !!info.out_variant[i];
	for (i = strlen(m.out_name); i < sizeof(m.out_name); i++)
		n += !!m.out_name[i];
	return n;
}

/* Return: how much of it there is, at most 100; more are errors. */
static int hear(bool last)
{
	static struct bitnet_ring_entry entries[64];
	uint32_t tokens[8] = { 8, 7, 6, 5, 4, 3, 2, 1 }, made = 0, i;
	struct bitnet_job job;
	unsigned int n = 0;
	uint64_t bytes;
	struct t_client c;

	c.fd = t_open();
	if (t_ring_setup(c.fd, ENTRIES, -1, DATA_BYTES, &bytes))
		return 101;
	t_ring_map(&c.ring, c.fd, bytes, DATA_BYTES);
	n += count(c.ring.header, c.ring.bytes) + count(c.ring.data, DATA_BYTES);
	/* Nothing at all is there yet but the header. */
	for (i = 0; i < DATA_BYTES; i++)
		n += !!c.ring.data[i];
	for (i = T_PAGE; i < c.ring.bytes; i++)
		n += !!((uint8_t *)c.ring.header)[i];
	for (i = sizeof(*c.ring.header); i < T_PAGE; i++)
		n += !!((uint8_t *)c.ring.header)[i];
	if (t_model_load(c.fd, &image, 0, NULL, &c.model) ||
	    t_session_open(c.fd, c.model, 0, &c.session))
		return 102;
	n += listen_structs(c.fd, c.model, c.session);
	job = t_generate(c.session, tokens, 8, 8, 1);
	memset(entries, 0xff, sizeof(entries));
	if (t_submit(c.fd, &job, 1, NULL) || t_wait(c.fd, 9, T_HANG_NS, NULL))
		return 103;
	for (i = 0; i < 9; i++)
		n += c.ring.entries[i].user_data != 1 || c.ring.entries[i].__resv;
	n += count(c.ring.header, c.ring.bytes);
	if (t_session_rewind(c.fd, c.session, 0) ||
	    t_inline(c.fd, &job, entries, 64, &made) || made != 9)
		return 104;
	n += count(entries, sizeof(entries));
	for (i = 0; i < made; i++)
		n += entries[i].user_data != 1 || entries[i].__resv;
	if (!last) {
		t_ring_unmap(&c.ring);
		close(c.fd);
	}
	return n > 100 ? 100 : n;
}

/* One of the two users, in a process of its own: does its part each time it is asked, by a byte. */
struct tenant {
	int (*part)(bool last);
	int fd;
	pid_t pid;
};

static void tenant_start(struct tenant *t, int (*part)(bool last), uid_t uid)
{
	int fds[2];
	uint8_t last, result;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		bail("socketpair: %s", strerror(errno));
	t->pid = t_fork();
	if (t->pid) {
		close(fds[1]);
		t->fd = fds[0];
		return;
	}
	close(fds[0]);
	t_drop_privileges(uid, T_GID_BITNET);
	do {
		if (read(fds[1], &last, 1) != 1)
			_exit(1);
		result = part(last);
		if (write(fds[1], &result, 1) != 1)
			_exit(1);
	} while (!last);
	_exit(0);
}

/* Return: what its part gave; when that was the last one, it has ended */
static unsigned int tenant_acts(struct tenant *t, bool last)
{
	uint8_t byte = last;
	int status;

	if (write(t->fd, &byte, 1) != 1 || read(t->fd, &byte, 1) != 1)
		bail("a tenant has died");
	if (last) {
		close(t->fd);
		if (waitpid(t->pid, &status, 0) != t->pid || status)
			bail("a tenant ends with status 0x%x", status);
	}
	return byte;
}

int main(void)
{
	const unsigned int rounds = t_size(t_is_fast() ? 1000 : 4, 100000);
	struct t_leaks before = t_leaks_start();
	unsigned int i, heard, spoken = 0, seen = 0;
	struct tenant speaker, listener;

	image = t_image_random(&t_tiny);
	for (i = 0; !seen && t_more(i, rounds, "rounds of canaries"); i++) {
		const bool last = i % PAIR == PAIR - 1 || i == rounds - 1;

		if (i % PAIR == 0) {
			tenant_start(&speaker, speak, 1000);
			tenant_start(&listener, hear, 1001);
		}
		spoken += !tenant_acts(&speaker, last);
		heard = tenant_acts(&listener, last);
		if (heard > 100)
			bail("the second tenant fails at %u", heard);
		seen += heard;
	}
	is(spoken, i, "%u rounds", i);
	is(seen, 0, "the second tenant gets nothing that is not his");
	/* Where time or a mistake has ended them, they are still there. */
	if (i % PAIR && i < rounds) {
		tenant_acts(&speaker, true);
		tenant_acts(&listener, true);
	}
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

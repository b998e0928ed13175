// SPDX-License-Identifier: GPL-2.0
/*
 * compat32.c - the 32-bit entry of the device does what the 64-bit one does
 *
 * A 64-bit program reaches it through int 0x80, the system call of 32-bit programs, with structs
 * and memory below 4 GiB. That the structs look the same to a 32-bit compiler is what tests/abi
 * shows.
 */
#include <setjmp.h>

#include "device.h"

/* Numbers of i386. */
#define NR32_OPEN	5
#define NR32_CLOSE	6
#define NR32_IOCTL	54
#define NR32_MUNMAP	91
#define NR32_MMAP2	192

static sigjmp_buf no_compat;

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(no_compat, 1);
}

static long call32(long nr, long a, long b, long c, long d, long e, long f)
{
	register long bp asm("r12") = f;
	long result;

	/*
	 * The sixth argument is in rbp, which a compiler may not be asked for; int 0x80 keeps all
	 * else.
	 */
	asm volatile("xchg %[f], %%rbp\n\t"
		     "int $0x80\n\t"
		     "xchg %[f], %%rbp\n\t"
		     : "=a" (result), [f] "+r" (bp)
		     : "a" (nr), "b" (a), "c" (b), "d" (c), "S" (d), "D" (e)
		     : "memory", "cc", "r8", "r9", "r10", "r11");
	return (int)result;
}

static int ioctl32(int fd, unsigned long nr, void *arg)
{
	return call32(NR32_IOCTL, fd, nr, (long)arg, 0, 0, 0);
}

/* Memory whose addresses fit into 32 bits. */
static void *low_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		       -1, 0);

	if (p == MAP_FAILED)
		bail("no memory below 4 GiB");
	return p;
}

struct low {
	char path[16];
	uint32_t tokens[16];
	struct bitnet_info info;
	struct bitnet_model_load load;
	struct bitnet_model_info model_info;
	struct bitnet_session_open session;
	struct bitnet_session_rewind rewind;
	struct bitnet_ring_setup ring;
	struct bitnet_job jobs[2];
	struct bitnet_submit submit;
	struct bitnet_wait wait;
	struct bitnet_cancel cancel;
	struct bitnet_stats stats;
	struct bitnet_run run;
	struct bitnet_ring_entry entries[4];
	struct bitnet_session_close session_close;
	struct bitnet_model_close model_close;
};

static void main_path(struct low *l, const struct t_image *image, const struct t_result *want)
{
	static struct t_result got[2];
	struct bitnet_ring_header *header;
	struct t_ring ring;
	long address;
	int fd;

	strcpy(l->path, BITNET_DEVICE_PATH);
	fd = call32(NR32_OPEN, (long)l->path, O_RDWR, 0, 0, 0, 0);
	if (!ok(fd >= 0, "open"))
		return;
	l->info.size = sizeof(l->info);
	is(ioctl32(fd, BITNET_IOC_INFO, &l->info), 0, "INFO");
	is(l->info.out_abi_version, BITNET_ABI_VERSION, "ABI version");

	l->load = (struct bitnet_model_load){
		.size = sizeof(l->load), .addr = t_pointer(image->base), .length = image->length,
	};
	is(ioctl32(fd, BITNET_IOC_MODEL_LOAD, &l->load), 0, "MODEL_LOAD");
	l->model_info = (struct bitnet_model_info){
		.size = sizeof(l->model_info), .model_id = l->load.out_model_id,
	};
	is(ioctl32(fd, BITNET_IOC_MODEL_INFO, &l->model_info), 0, "MODEL_INFO");
	is(l->model_info.out_image_bytes, image->length, "image bytes");
	l->session = (struct bitnet_session_open){
		.size = sizeof(l->session), .model_id = l->load.out_model_id,
	};
	is(ioctl32(fd, BITNET_IOC_SESSION_OPEN, &l->session), 0, "SESSION_OPEN");
	l->ring = (struct bitnet_ring_setup){ .size = sizeof(l->ring), .entries = 64, .eventfd = -1,
					      .data_bytes = T_PAGE };
	is(ioctl32(fd, BITNET_IOC_RING_SETUP, &l->ring), 0, "RING_SETUP");

	address = call32(NR32_MMAP2, 0, l->ring.out_ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, BITNET_MMAP_RING / T_PAGE);
	if (!ok(address > 0 || address < -4095, "mmap of the ring"))
		return;
	header = (void *)(uintptr_t)(uint32_t)address;
	ring = (struct t_ring){
		.fd = fd, .header = header, .bytes = l->ring.out_ring_bytes,
		.entries = (void *)((char *)header + header->entries_offset),
	};
	is(header->entries, 64, "its header");
	address =
		call32(NR32_MMAP2, 0, T_PAGE, PROT_READ, MAP_SHARED, fd, BITNET_MMAP_DATA / T_PAGE);
	ok(address > 0 || address < -4095, "mmap of the data area, at an offset of 2^28");

	memcpy(l->tokens, t_golden[0].ids, sizeof(l->tokens));
	l->jobs[0] =
		t_generate(l->session.out_session_id, l->tokens, t_golden[0].n_ids, T_N_GREEDY, 5);
	l->jobs[1] = t_score(l->session.out_session_id, l->tokens, 3, 6);
	l->submit = (struct bitnet_submit){
		.size = sizeof(l->submit), .jobs = t_pointer(l->jobs), .count = 2,
		.job_size = sizeof(l->jobs[0]),
	};
	is(ioctl32(fd, BITNET_IOC_SUBMIT, &l->submit), 0, "SUBMIT");
	is(l->submit.out_accepted, 2, "two jobs accepted");
	l->wait = (struct bitnet_wait){ .size = sizeof(l->wait),
					.min_entries = 1,
					.timeout_ns = T_HANG_NS };
	is(ioctl32(fd, BITNET_IOC_WAIT, &l->wait), 0, "WAIT with a timeout above 2^32");
	ok(l->wait.out_entries >= 1, "%u entries", l->wait.out_entries);
	is(t_collect(&ring, got, 2, 5), 0, "both jobs end");
	ok(t_same_hashes(want, &got[0]), "with the same bits as through the 64-bit entry");

	l->cancel = (struct bitnet_cancel){ .size = sizeof(l->cancel), .user_data = 5 };
	is(ioctl32(fd, BITNET_IOC_CANCEL, &l->cancel), -ENOENT, "CANCEL");
	l->stats.size = sizeof(l->stats);
	is(ioctl32(fd, BITNET_IOC_STATS, &l->stats), 0, "STATS");
	is(l->stats.out_jobs_done, 2, "counts both");
	l->rewind = (struct bitnet_session_rewind){
		.size = sizeof(l->rewind), .session_id = l->session.out_session_id,
	};
	is(ioctl32(fd, BITNET_IOC_SESSION_REWIND, &l->rewind), 0, "SESSION_REWIND");
	l->jobs[0].max_tokens = 3;
	l->run = (struct bitnet_run){
		.size = sizeof(l->run), .job = t_pointer(l->jobs), .job_size = sizeof(l->jobs[0]),
		.n_entries = 4, .entries = t_pointer(l->entries),
	};
	is(ioctl32(fd, BITNET_IOC_RUN, &l->run), 0, "RUN");
	is(l->run.out_entries, 4, "its entries");
	ok(l->entries[2].token == want->token[2].token &&
	   l->entries[2].logits_hash == want->token[2].logits_hash &&
	   l->entries[3].kind == BITNET_ENTRY_DONE, "with the same bits");
	l->session_close = (struct bitnet_session_close){
		.size = sizeof(l->session_close), .session_id = l->session.out_session_id,
	};
	is(ioctl32(fd, BITNET_IOC_SESSION_CLOSE, &l->session_close), 0, "SESSION_CLOSE");
	l->model_close = (struct bitnet_model_close){
		.size = sizeof(l->model_close), .model_id = l->load.out_model_id,
	};
	is(ioctl32(fd, BITNET_IOC_MODEL_CLOSE, &l->model_close), 0, "MODEL_CLOSE");
	is(ioctl32(fd, _IO(BITNET_IOC_TYPE, 0x7f), l), -ENOTTY, "unknown number");
	is(ioctl32(fd, BITNET_IOC_INFO, NULL), -EFAULT, "NULL");
	is(ioctl32(fd, BITNET_IOC_INFO, (void *)0xfffff000UL), -EFAULT,
	   "the last page below 4 GiB");
	call32(NR32_MUNMAP, (uint32_t)(uintptr_t)header, l->ring.out_ring_bytes, 0, 0, 0, 0);
	call32(NR32_MUNMAP, (uint32_t)address, T_PAGE, 0, 0, 0, 0);
	is(call32(NR32_CLOSE, fd, 0, 0, 0, 0, 0), 0, "close");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct t_image demo = t_image_demo(), image;
	static struct t_result want;
	struct bitnet_job job;
	struct t_client c;

	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGILL, &fault, NULL);
	if (sigsetjmp(no_compat, 1) || call32(NR32_CLOSE, -1, 0, 0, 0, 0, 0) != -EBADF)
		skip_all("this kernel has no 32-bit system calls");
	signal(SIGSEGV, SIG_DFL);
	signal(SIGILL, SIG_DFL);

	image.length = demo.length;
	image.base = low_pages(image.length);
	memcpy(image.base, demo.base, demo.length);

	t_client_open(&c, &demo, 64);
	job = t_generate(c.session, t_golden[0].ids, t_golden[0].n_ids, T_N_GREEDY, 5);
	if (t_run(&c.ring, &job, &want))
		bail("the 64-bit entry does not work");
	t_client_close(&c);

	main_path(low_pages(sizeof(struct low)), &image, &want);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

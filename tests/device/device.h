/* SPDX-License-Identifier: GPL-2.0 */
/*
 * device.h - what the tests of /dev/bitnet share: bare ioctls, the ring's consumer, the leak
 * oracle
 *
 * The tests speak the documented interface themselves, so that it is the module that is tested and
 * not the library; libbitnet only makes the image of the demo model. The t_* wrappers return 0 or a
 * negative errno, as the header names them. Anything that cannot fail in a sound system ends the
 * program by bail().
 */
#ifndef TESTS_DEVICE_H
#define TESTS_DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/bitnet.h>
#include <linux/bitnet_image.h>

#include "../size.h"
#include "../tap.h"
#include "golden.h"
#include "images.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Longer than anything takes on the slowest bed: only a hang runs into it. */
#define T_HANG_NS	(120 * 1000000000LL)

/* ---- time and size ------------------------------------------------------------------- */

static inline uint64_t t_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static inline void t_sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&ts, NULL);
}

/* Is this the User Mode Linux bed, which has one CPU and no 32-bit programs, but is fast? */
static inline bool t_is_uml(void)
{
	const char *bed = getenv("BITNET_BED");

	return bed && !strncmp(bed, "uml", 3);
}

/* Is this the bed where nothing is checked? It does in a second what others do in minutes. */
static inline bool t_is_fast(void)
{
	const char *bed = getenv("BITNET_BED");

	return bed && !strcmp(bed, "uml");
}

/* As many tokens as the bed computes in a second or so: @most, or fewer under emulation. */
static inline uint32_t t_tokens(uint32_t most)
{
	return t_is_uml() || t_release_size() || most < 12 ? most : 12;
}

static inline uint64_t t_pointer(const void *p)
{
	return (uintptr_t)p;
}

/* ---- ioctls -------------------------------------------------------------------------- */

static inline int t_ioctl(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) < 0 ? -errno : 0;
}

static inline int t_open_flags(int flags)
{
	int fd = open(BITNET_DEVICE_PATH, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int t_open(void)
{
	int fd = t_open_flags(O_RDWR);

	if (fd < 0)
		bail("cannot open %s: %s", BITNET_DEVICE_PATH, strerror(-fd));
	return fd;
}

static inline struct bitnet_info t_info(int fd)
{
	struct bitnet_info info = { .size = sizeof(info) };
	int err = t_ioctl(fd, BITNET_IOC_INFO, &info);

	if (err)
		bail("INFO: %s", strerror(-err));
	return info;
}

static inline struct bitnet_stats t_stats(int fd)
{
	struct bitnet_stats stats = { .size = sizeof(stats) };
	int err = t_ioctl(fd, BITNET_IOC_STATS, &stats);

	if (err)
		bail("STATS: %s", strerror(-err));
	return stats;
}

/* Names of any length, also those that leave no room for the NUL. The field is zero before. */
static inline void t_name(char field[BITNET_NAME_BYTES], const char *name)
{
	memcpy(field, name, strnlen(name, BITNET_NAME_BYTES));
}

static inline int t_model_load(int fd, const struct t_image *image, uint32_t flags,
			       const char *name, uint32_t *id)
{
	struct bitnet_model_load load = {
		.size = sizeof(load),
		.flags = flags,
		.addr = t_pointer(image->base),
		.length = image->length,
	};
	int err;

	if (name)
		t_name(load.name, name);
	err = t_ioctl(fd, BITNET_IOC_MODEL_LOAD, &load);
	if (id)
		*id = err ? 0 : load.out_model_id;
	return err;
}

static inline int t_model_open(int fd, const char *name, uint32_t *id)
{
	struct bitnet_model_open open_model = { .size = sizeof(open_model) };
	int err;

	t_name(open_model.name, name);
	err = t_ioctl(fd, BITNET_IOC_MODEL_OPEN, &open_model);
	if (id)
		*id = err ? 0 : open_model.out_model_id;
	return err;
}

static inline int t_model_close(int fd, uint32_t id)
{
	struct bitnet_model_close arg = { .size = sizeof(arg), .model_id = id };

	return t_ioctl(fd, BITNET_IOC_MODEL_CLOSE, &arg);
}

static inline int t_model_unload(int fd, const char *name)
{
	struct bitnet_model_unload arg = { .size = sizeof(arg) };

	t_name(arg.name, name);
	return t_ioctl(fd, BITNET_IOC_MODEL_UNLOAD, &arg);
}

static inline int t_model_info(int fd, uint32_t id, struct bitnet_model_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->model_id = id;
	return t_ioctl(fd, BITNET_IOC_MODEL_INFO, info);
}

static inline int t_session_open(int fd, uint32_t model, uint32_t n_ctx, uint32_t *id)
{
	struct bitnet_session_open arg = { .size = sizeof(arg), .model_id = model, .n_ctx = n_ctx };
	int err = t_ioctl(fd, BITNET_IOC_SESSION_OPEN, &arg);

	if (id)
		*id = err ? 0 : arg.out_session_id;
	return err;
}

static inline int t_session_rewind(int fd, uint32_t id, uint32_t n_tokens)
{
	struct bitnet_session_rewind arg = {
		.size = sizeof(arg), .session_id = id, .n_tokens = n_tokens,
	};

	return t_ioctl(fd, BITNET_IOC_SESSION_REWIND, &arg);
}

static inline int t_session_close(int fd, uint32_t id)
{
	struct bitnet_session_close arg = { .size = sizeof(arg), .session_id = id };

	return t_ioctl(fd, BITNET_IOC_SESSION_CLOSE, &arg);
}

/* Returns the errno of the call, else that of the first job that was not accepted. */
static inline int t_submit(int fd, const struct bitnet_job *jobs, uint32_t count,
			   uint32_t *accepted)
{
	struct bitnet_submit arg = {
		.size = sizeof(arg),
		.jobs = t_pointer(jobs),
		.count = count,
		.job_size = sizeof(*jobs),
	};
	int err = t_ioctl(fd, BITNET_IOC_SUBMIT, &arg);

	if (accepted)
		*accepted = err ? 0 : arg.out_accepted;
	return err ? err : arg.out_error;
}

static inline int t_cancel(int fd, uint64_t user_data, uint32_t *n)
{
	struct bitnet_cancel arg = { .size = sizeof(arg), .user_data = user_data };
	int err = t_ioctl(fd, BITNET_IOC_CANCEL, &arg);

	if (n)
		*n = err ? 0 : arg.out_cancelled;
	return err;
}

static inline int t_wait(int fd, uint32_t min_entries, int64_t timeout_ns, uint32_t *entries)
{
	struct bitnet_wait arg = {
		.size = sizeof(arg), .min_entries = min_entries, .timeout_ns = timeout_ns,
	};
	int err = t_ioctl(fd, BITNET_IOC_WAIT, &arg);

	if (entries)
		*entries = arg.out_entries;
	return err;
}

/* ---- the ring ------------------------------------------------------------------------ */

struct t_ring {
	int fd;
	struct bitnet_ring_header *header;
	const struct bitnet_ring_entry *entries;
	size_t bytes;
	uint8_t *data;
	size_t data_bytes;
};

static inline int t_ring_setup(int fd, uint32_t entries, int eventfd, uint64_t data_bytes,
			       uint64_t *ring_bytes)
{
	struct bitnet_ring_setup arg = {
		.size = sizeof(arg),
		.entries = entries,
		.eventfd = eventfd,
		.data_bytes = data_bytes,
	};
	int err = t_ioctl(fd, BITNET_IOC_RING_SETUP, &arg);

	if (ring_bytes)
		*ring_bytes = err ? 0 : arg.out_ring_bytes;
	return err;
}

/* mmap() of a file offset beyond 2^31 works in 32-bit programs too (_FILE_OFFSET_BITS is 64). */
static inline void *t_mmap(int fd, size_t bytes, int prot, int flags, off_t offset)
{
	return mmap(NULL, bytes, prot, flags, fd, offset);
}

static inline void t_ring_map(struct t_ring *ring, int fd, uint64_t ring_bytes, uint64_t data_bytes)
{
	void *p = t_mmap(fd, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, BITNET_MMAP_RING);

	if (p == MAP_FAILED)
		bail("mmap of the ring: %s", strerror(errno));
	*ring = (struct t_ring){ .fd = fd, .header = p, .bytes = ring_bytes };
	ring->entries = (const void *)((const char *)p + ring->header->entries_offset);
	if (!data_bytes)
		return;
	p = t_mmap(fd, data_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, BITNET_MMAP_DATA);
	if (p == MAP_FAILED)
		bail("mmap of the data area: %s", strerror(errno));
	ring->data = p;
	ring->data_bytes = data_bytes;
}

static inline void t_ring_open(struct t_ring *ring, int fd, uint32_t entries, uint64_t data_bytes)
{
	uint64_t ring_bytes;
	int err = t_ring_setup(fd, entries, -1, data_bytes, &ring_bytes);

	if (err)
		bail("RING_SETUP: %s", strerror(-err));
	t_ring_map(ring, fd, ring_bytes, data_bytes);
}

static inline void t_ring_unmap(struct t_ring *ring)
{
	munmap(ring->header, ring->bytes);
	if (ring->data)
		munmap(ring->data, ring->data_bytes);
}

static inline uint32_t t_ring_pending(const struct t_ring *ring)
{
	return __atomic_load_n(&ring->header->tail, __ATOMIC_ACQUIRE) - ring->header->head;
}

/* Takes one entry off the ring, as the header's documentation says. */
static inline bool t_ring_next(struct t_ring *ring, struct bitnet_ring_entry *entry)
{
	struct bitnet_ring_header *h = ring->header;
	uint32_t head = h->head;

	if (head == __atomic_load_n(&h->tail, __ATOMIC_ACQUIRE))
		return false;
	*entry = ring->entries[head & h->mask];
	__atomic_store_n(&h->head, head + 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->flags, __ATOMIC_RELAXED) & BITNET_RING_F_NEED_WAKEUP)
		t_wait(ring->fd, 0, 0, NULL);
	return true;
}

/*
 * The next entry, waiting for it. 0, or why there is none: -ENODATA when no job is left to make
 * one.
 */
static inline int t_ring_wait(struct t_ring *ring, struct bitnet_ring_entry *entry)
{
	uint32_t entries;
	int err;

	while (!t_ring_next(ring, entry)) {
		err = t_wait(ring->fd, 1, T_HANG_NS, &entries);
		if (err && err != -EINTR)
			return err;
		if (!err && !entries && !t_ring_pending(ring))
			return -ENODATA;
	}
	return 0;
}

/* ---- jobs ---------------------------------------------------------------------------- */

static inline struct bitnet_job t_generate(uint32_t session, const uint32_t *tokens, uint32_t n,
					   uint32_t max_tokens, uint64_t user_data)
{
	return (struct bitnet_job){
		.kind = BITNET_JOB_GENERATE,
		.flags = BITNET_JOB_F_HASH,
		.user_data = user_data,
		.session_id = session,
		.input = t_pointer(tokens),
		.input_count = n,
		.max_tokens = max_tokens,
	};
}

static inline struct bitnet_job t_score(uint32_t session, const uint32_t *tokens, uint32_t n,
					uint64_t user_data)
{
	return (struct bitnet_job){
		.kind = BITNET_JOB_SCORE,
		.flags = BITNET_JOB_F_HASH,
		.user_data = user_data,
		.session_id = session,
		.input = t_pointer(tokens),
		.input_count = n,
	};
}

#define T_MAX_TOKENS	1024

/* All that one job put into the ring. */
struct t_result {
	uint32_t n;
	struct bitnet_ring_entry token[T_MAX_TOKENS];
	struct bitnet_ring_entry end;	/* DONE or ERROR; kind 0 while neither came */
	const char *fault; /* first offence against the header's documentation, or NULL */
};

/* Sorts an entry into its job's result and checks all that must hold of any entry. */
static inline void t_result_add(struct t_result *r, const struct bitnet_ring_entry *e)
{
	const struct bitnet_ring_entry *before = r->n ? &r->token[r->n - 1] : NULL;

	if (r->end.kind)
		r->fault = "an entry after the job's last";
	else if (e->__resv)
		r->fault = "__resv is not 0";
	else if (e->n_tokens != r->n)
		r->fault = "n_tokens does not count";
	else if (!e->time_ns || e->time_ns > t_now() || (before && e->time_ns < before->time_ns))
		r->fault = "time_ns runs backwards or is in the future";
	if (r->fault)
		return;
	switch (e->kind) {
	case BITNET_ENTRY_TOKEN:
		if (e->error || e->reason || e->cpu_ns)
			r->fault = "TOKEN with error, reason or cpu_ns";
		else if (e->logprob > 0)
			r->fault = "logprob above 0";
		else if (before && e->position != before->position + 1)
			r->fault = "positions do not count";
		else if (r->n == T_MAX_TOKENS)
			r->fault = "too many tokens";
		else
			r->token[r->n++] = *e;
		break;
	case BITNET_ENTRY_DONE:
		if (e->error || e->reason < BITNET_REASON_STOP || e->reason > BITNET_REASON_CONTEXT)
			r->fault = "DONE with error or without reason";
		r->end = *e;
		break;
	case BITNET_ENTRY_ERROR:
		if (e->error >= 0 || e->reason)
			r->fault = "ERROR without error or with reason";
		r->end = *e;
		break;
	default:
		r->fault = "unknown kind";
	}
}

/*
 * Takes entries until all of @n jobs, whose user_data are first, first + 1, ..., have ended. 0, or
 * why not: -EPROTO for an entry that belongs to none or offends against the documentation.
 */
static inline int t_collect(struct t_ring *ring, struct t_result *results, uint32_t n,
			    uint64_t first)
{
	struct bitnet_ring_entry e;
	uint32_t left = n;
	int err;

	memset(results, 0, n * sizeof(*results));
	while (left) {
		struct t_result *r;

		err = t_ring_wait(ring, &e);
		if (err)
			return err;
		if (e.user_data - first >= n) {
			diag("an entry of kind %u with user_data %llu, which no job has", e.kind,
			     (unsigned long long)e.user_data);
			return -EPROTO;
		}
		r = &results[e.user_data - first];
		t_result_add(r, &e);
		if (r->fault) {
			diag("job %llu, token %u: %s", (unsigned long long)e.user_data, r->n,
			     r->fault);
			return -EPROTO;
		}
		if (r->end.kind)
			left--;
	}
	return 0;
}

/* Submits one job and takes all its entries; 0 or why there are none. */
static inline int t_run(struct t_ring *ring, const struct bitnet_job *job, struct t_result *result)
{
	int err = t_submit(ring->fd, job, 1, NULL);

	return err ? err : t_collect(ring, result, 1, job->user_data);
}

/* RUN: one job in this thread. 0 or a negative errno; @made: entries that it says are there. */
static inline int t_inline(int fd, const struct bitnet_job *job, struct bitnet_ring_entry *entries,
			   uint32_t n_entries, uint32_t *made)
{
	struct bitnet_run arg = {
		.size = sizeof(arg),
		.job = t_pointer(job),
		.job_size = sizeof(*job),
		.n_entries = n_entries,
		.entries = t_pointer(entries),
	};
	int err = t_ioctl(fd, BITNET_IOC_RUN, &arg);

	if (made)
		*made = err ? 0 : arg.out_entries;
	return err;
}

/* The same with all its entries checked as those of the ring are. -EPROTO if they offend. */
static inline int t_inline_run(int fd, const struct bitnet_job *job, struct t_result *result)
{
	struct bitnet_ring_entry *entries = calloc(T_MAX_TOKENS + 1, sizeof(*entries));
	uint32_t i, made;
	int err;

	if (!entries)
		bail("no memory for entries");
	memset(result, 0, sizeof(*result));
	err = t_inline(fd, job, entries, T_MAX_TOKENS + 1, &made);
	for (i = 0; !err && i < made; i++) {
		t_result_add(result, &entries[i]);
		if (!result->fault && entries[i].user_data != job->user_data)
			result->fault = "another job's user_data";
		if (!result->fault && (i == made - 1) != !!result->end.kind)
			result->fault = "the last entry is not where out_entries says";
		if (result->fault) {
			diag("RUN, entry %u: %s", i, result->fault);
			err = -EPROTO;
		}
	}
	free(entries);
	return err;
}

static inline bool t_same_tokens(const struct t_result *r, const uint32_t *tokens, uint32_t n)
{
	uint32_t i;

	if (r->n != n) {
		diag("%u tokens instead of %u", r->n, n);
		return false;
	}
	for (i = 0; i < n; i++) {
		if (r->token[i].token != tokens[i]) {
			diag("token %u is %u instead of %u", i, r->token[i].token, tokens[i]);
			return false;
		}
	}
	return true;
}

static inline bool t_same_hashes(const struct t_result *a, const struct t_result *b)
{
	uint32_t i;

	if (a->n != b->n) {
		diag("%u tokens and %u", a->n, b->n);
		return false;
	}
	for (i = 0; i < a->n; i++) {
		if (a->token[i].token != b->token[i].token ||
		    a->token[i].logits_hash != b->token[i].logits_hash) {
			diag("token %u is %u (logits %llx) and %u (%llx)", i, a->token[i].token,
			     (unsigned long long)a->token[i].logits_hash, b->token[i].token,
			     (unsigned long long)b->token[i].logits_hash);
			return false;
		}
	}
	return true;
}

/* All that two jobs gave, but for what depends on time. */
static inline bool t_same_results(const struct t_result *a, const struct t_result *b)
{
	uint32_t i;

	if (!t_same_hashes(a, b))
		return false;
	for (i = 0; i < a->n; i++) {
		if (a->token[i].logprob != b->token[i].logprob ||
		    a->token[i].position != b->token[i].position) {
			diag("token %u: log-probability %d at %u and %d at %u", i,
			     a->token[i].logprob, a->token[i].position, b->token[i].logprob,
			     b->token[i].position);
			return false;
		}
	}
	if (a->end.kind != b->end.kind || a->end.reason != b->end.reason ||
	    a->end.error != b->end.error || a->end.position != b->end.position) {
		diag("ends with %u %u %d at %u and %u %u %d at %u", a->end.kind, a->end.reason,
		     a->end.error, a->end.position, b->end.kind, b->end.reason, b->end.error,
		     b->end.position);
		return false;
	}
	return true;
}

/* One number for all that a job produced, small enough for a pipe. */
static inline uint64_t t_digest(const struct t_result *r)
{
	uint64_t state = r->n, digest = 0;
	uint32_t i;

	for (i = 0; i < r->n; i++) {
		state ^= r->token[i].logits_hash + r->token[i].token;
		state ^= (uint64_t)(uint32_t)r->token[i].logprob << 32;
		digest = t_random(&state);
	}
	return digest;
}

/* ---- a whole client ------------------------------------------------------------------ */

/*
 * An open file with a model, a session of the model's whole context, and a ring: the usual
 * beginning.
 */
struct t_client {
	int fd;
	uint32_t model, session;
	struct t_ring ring;
};

static inline void t_client_open(struct t_client *c, const struct t_image *image, uint32_t entries)
{
	int err;

	c->fd = t_open();
	err = t_model_load(c->fd, image, 0, NULL, &c->model);
	if (err)
		bail("MODEL_LOAD: %s", strerror(-err));
	err = t_session_open(c->fd, c->model, 0, &c->session);
	if (err)
		bail("SESSION_OPEN: %s", strerror(-err));
	t_ring_open(&c->ring, c->fd, entries, 0);
}

static inline void t_client_close(struct t_client *c)
{
	t_ring_unmap(&c->ring);
	close(c->fd);
}

/* Does golden prompt @i give its golden text in a session that is empty, or rewound to 0 here? */
static inline bool t_golden_holds(struct t_client *c, unsigned int i)
{
	static struct t_result result;
	struct bitnet_job job = t_generate(c->session, t_golden[i].ids, t_golden[i].n_ids,
					   t_tokens(T_N_GREEDY), 0x601d0000 + i);
	int err = t_session_rewind(c->fd, c->session, 0);

	if (!err)
		err = t_run(&c->ring, &job, &result);
	if (err)
		diag("golden prompt %u: %s", i, strerror(-err));
	return !err && result.end.kind == BITNET_ENTRY_DONE &&
	       t_same_tokens(&result, t_golden[i].greedy, t_tokens(T_N_GREEDY));
}

/* ---- processes and what they may ---------------------------------------------------- */

#define T_UID_NOBODY	65534
#define T_GID_BITNET	200	/* of the guest's /etc/group */

/* For a child: give up root for good, as a member of @group or of none (0). */
static inline void t_drop_privileges(uid_t uid, gid_t group)
{
	if (setgroups(group ? 1 : 0, &group) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid)) {
		perror("# giving up root");
		_exit(99);
	}
}

/* What is not yet written would be by the child as well. */
static inline pid_t t_fork(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		bail("fork: %s", strerror(errno));
	return pid;
}

/*
 * Runs @fn in a child; its return value (0 .. 125) comes back. 126: it died of a signal. The child
 * must not use tap.h's checks.
 */
static inline int t_in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	pid = t_fork();
	if (!pid)
		_exit(fn(arg));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			bail("waitpid: %s", strerror(errno));
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	diag("the child died of signal %d", WTERMSIG(status));
	return 126;
}

/* Binds a thread, 0 being this one, to a CPU. */
static inline int t_bind(pid_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(thread, sizeof(set), &set) ? -errno : 0;
}

/* ---- the leak oracle ----------------------------------------------------------------- */

/* Writes to a file of the kernel. */
static inline int t_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* The number behind @key, at the start of a line of the file @path; @missing if there is none. */
static inline long long t_number_in(const char *path, const char *key, long long missing)
{
	size_t len = strlen(key);
	char line[256];
	FILE *f = fopen(path, "re");

	if (!f)
		return missing;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, len) && strchr(" :\t=\n0123456789-", line[len])) {
			missing = strtoll(line + len + strspn(line + len, " :\t="), NULL, 0);
			break;
		}
	}
	fclose(f);
	return missing;
}

/* Pages that are pinned for long in the whole system now. */
static inline long long t_pinned_pages(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	/* Makes the CPUs hand in their shares; kernels for one CPU have no shares and no such file.
	 */
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			bail("stat_refresh: %s", strerror(errno));
		close(fd);
	}
	return t_number_in("/proc/vmstat", "nr_foll_pin_acquired", 0) -
	       t_number_in("/proc/vmstat", "nr_foll_pin_released", 0);
}

/*
 * The same, with patience for @want: what a job held goes a moment after its last entry, when a
 * worker has let go of it.
 */
static inline long long t_pinned_until(long long want)
{
	uint64_t give_up = t_now() + T_HANG_NS / 10;
	long long pages;

	while ((pages = t_pinned_pages()) != want && t_now() < give_up)
		t_sleep_ns(2000000);
	return pages;
}

#define T_DEBUGFS_STATS	"/sys/kernel/debug/bitnet/stats"

/* What must be as before once a test has closed all it opened. */
struct t_leaks {
	long long pinned, vm_pin, users, now[7];
};

static const char *const t_leak_names[] T_UNUSED = {
	"files", "models", "sessions", "jobs", "pinned_bytes", "kv_bytes", "ring_bytes"
};

static inline struct t_leaks t_leaks_now(void)
{
	struct t_leaks l = {
		.pinned = t_pinned_pages(),
		.vm_pin = t_number_in("/proc/self/status", "VmPin", 0),
		.users = t_number_in("/sys/module/bitnet/refcnt", "", 0),
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(l.now); i++)
		l.now[i] = t_number_in(T_DEBUGFS_STATS, t_leak_names[i], 0);
	return l;
}

/* For a test's beginning: nothing of an earlier program may be left. */
static inline struct t_leaks t_leaks_start(void)
{
	return t_leaks_now();
}

/*
 * Is all back where it was? Workers may hold on to a closed file for the section that they are in,
 * hence the patience. Says what is not.
 */
static inline bool t_leaks_none(const struct t_leaks *start)
{
	uint64_t give_up = t_now() + T_HANG_NS / 10;
	struct t_leaks l;
	unsigned int i;

	for (;;) {
		l = t_leaks_now();
		if (!memcmp(&l, start, sizeof(l)))
			return true;
		if (t_now() > give_up)
			break;
		t_sleep_ns(2000000);
	}
	diag("pages pinned %lld, were %lld; VmPin %lld kB, was %lld; refcount %lld, was %lld",
	     l.pinned, start->pinned, l.vm_pin, start->vm_pin, l.users, start->users);
	for (i = 0; i < ARRAY_SIZE(l.now); i++)
		if (l.now[i] != start->now[i])
			diag("%s %lld, were %lld", t_leak_names[i], l.now[i], start->now[i]);
	return false;
}

#endif /* TESTS_DEVICE_H */

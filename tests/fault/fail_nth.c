// SPDX-License-Identifier: GPL-2.0
/*
 * fail_nth.c - every allocation and every access to user memory may fail once
 *
 * For each operation: let the first, second, third ... such event of this thread fail, until the
 * operation meets no more of them. Each failure must give an errno that the header allows, leave
 * nothing behind, and leave the object usable: the same operation works right afterwards. Needs a
 * kernel with fault injection.
 */
#include <linux/bitnet_genl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "../device/device.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define NAME		"fail-nth"
#define MOST		3000	/* events of one operation; more means that it never ends */

static int nth_fd;
static struct t_image image;
static struct t_client c;
static uint32_t tokens[40];
static struct t_result results[3];

/* ---- fault injection ---------------------------------------------------------------------------
 */

static void knob(const char *dir, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		if (write(fd, value, strlen(value)) < 0)
			diag("%s: %s", path, strerror(errno));
		close(fd);
	}
}

/* Allocations that may sleep are what a driver makes: include them. And keep the log quiet. */
static bool faults_init(void)
{
	static const char *const dirs[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	unsigned int i;

	nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (nth_fd < 0 || access("/sys/kernel/debug/failslab", F_OK))
		return false;
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		knob(dirs[i], "ignore-gfp-wait", "N");
		knob(dirs[i], "ignore-gfp-highmem", "N");
		knob(dirs[i], "min-order", "0");
		knob(dirs[i], "verbose", "0");
	}
	return true;
}

static void arm(unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	if (pwrite(nth_fd, text, strlen(text), 0) < 0)
		bail("%s: %s", FAIL_NTH, strerror(errno));
}

/*
 * Disarms. Return: did it fail? Reading the rest of the count is itself an access that counts; if
 * it is that which fails, the operation had met less.
 */
static bool disarm(void)
{
	char text[16] = "";
	ssize_t got = pread(nth_fd, text, sizeof(text) - 1, 0);
	int tries;

	for (tries = 0; pwrite(nth_fd, "0", 1, 0) < 0 && tries < 3;)
		tries++;
	return got > 0 && !strtoul(text, NULL, 10);
}

/* ---- the operations ----------------------------------------------------------------------------
 */

/* Numbers that an operation leaves for its undoing. */
static int made_fd;
static uint32_t made_id;
static void *made_map;
static uint64_t made_bytes;

static int op_open(void)
{
	made_fd = t_open_flags(O_RDWR);
	return made_fd < 0 ? made_fd : 0;
}

static void undo_open(void)
{
	close(made_fd);
}

static int op_info(void)
{
	struct bitnet_info info = { .size = sizeof(info) };

	return t_ioctl(c.fd, BITNET_IOC_INFO, &info);
}

static int op_load(void)
{
	return t_model_load(c.fd, &image, 0, "private", &made_id);
}

static void undo_load(void)
{
	t_model_close(c.fd, made_id);
}

static int op_load_shared(void)
{
	return t_model_load(c.fd, &image, BITNET_MODEL_F_SHARED, NAME, &made_id);
}

static void undo_load_shared(void)
{
	t_model_close(c.fd, made_id);
	t_model_unload(c.fd, NAME);
}

/* From the page cache: memory that a file has, too. */
static struct t_image in_file;

static void setup_memfd(void)
{
	int mem = memfd_create("fail-nth", MFD_CLOEXEC);

	in_file = image;
	if (mem < 0 || write(mem, image.base, image.length) != (ssize_t)image.length)
		bail("memfd: %s", strerror(errno));
	in_file.base = mmap(NULL, image.length, PROT_READ, MAP_SHARED, mem, 0);
	if (in_file.base == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	close(mem);
}

static int op_load_memfd(void)
{
	/* Its pages have to be found again. */
	madvise(in_file.base, in_file.length, MADV_DONTNEED);
	return t_model_load(c.fd, &in_file, 0, "memfd", &made_id);
}

static void cleanup_memfd(void)
{
	munmap(in_file.base, in_file.length);
}

static void setup_shared(void)
{
	if (op_load_shared())
		bail("loading a shared model");
	t_model_close(c.fd, made_id);
}

static void cleanup_shared(void)
{
	t_model_unload(c.fd, NAME);
}

static int op_model_open(void)
{
	return t_model_open(c.fd, NAME, &made_id);
}

static int op_model_info(void)
{
	struct bitnet_model_info info;

	return t_model_info(c.fd, c.model, &info);
}

/* UNLOAD fails or does it; either way there is a name again for the next time. */
static int op_unload(void)
{
	return t_model_unload(c.fd, NAME);
}

static void undo_unload(void)
{
	setup_shared();
}

static int op_session(void)
{
	return t_session_open(c.fd, c.model, 0, &made_id);
}

static void undo_session(void)
{
	t_session_close(c.fd, made_id);
}

static int op_rewind(void)
{
	return t_session_rewind(c.fd, c.session, 0);
}

static int ring_file, ring_eventfd;

static void setup_ring(void)
{
	ring_file = t_open();
	ring_eventfd = eventfd(0, 0);
}

static int op_ring(void)
{
	return t_ring_setup(ring_file, 64, ring_eventfd, 4 * T_PAGE, &made_bytes);
}

static void undo_ring(void)
{
	close(ring_file);
	ring_file = t_open();
}

static void cleanup_ring(void)
{
	close(ring_file);
	close(ring_eventfd);
}

static int op_mmap(void)
{
	made_map = mmap(NULL, c.ring.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c.fd,
			BITNET_MMAP_RING);
	return made_map == MAP_FAILED ? -errno : 0;
}

static void undo_mmap(void)
{
	munmap(made_map, c.ring.bytes);
}

static struct bitnet_job jobs[3];
static uint32_t accepted;

static void setup_submit(void)
{
	jobs[0] = t_generate(c.session, tokens, ARRAY_SIZE(tokens), 3, 0);
	jobs[1] = t_score(c.session, tokens, 5, 1);
	jobs[2] = (struct bitnet_job){
		.kind = BITNET_JOB_LINEAR, .user_data = 2, .model_id = c.model,
		.input = t_pointer(image.base), .input_count = 8,
	};
}

/* A SUBMIT that accepts some has not failed; then those are run and the rest is what it says. */
static int op_submit(void)
{
	int err = t_submit(c.fd, jobs, 3, &accepted);

	return accepted ? 0 : err;
}

static void undo_submit(void)
{
	if (t_collect(&c.ring, results, accepted, 0))
		bail("%u accepted jobs do not end", accepted);
	t_session_rewind(c.fd, c.session, 0);
}

static void setup_parked(void)
{
	jobs[0] = t_generate(c.session, tokens, 2, 200, 0);
	if (t_submit(c.fd, jobs, 1, NULL))
		bail("SUBMIT");
}

static int op_cancel(void)
{
	return t_cancel(c.fd, 0, NULL);
}

static void undo_cancel(void)
{
	if (t_collect(&c.ring, results, 1, 0))
		bail("a cancelled job does not end");
	t_session_rewind(c.fd, c.session, 0);
	setup_parked();
}

static void cleanup_parked(void)
{
	t_cancel(c.fd, 0, NULL);
	t_collect(&c.ring, results, 1, 0);
	t_session_rewind(c.fd, c.session, 0);
}

static int op_wait(void)
{
	uint32_t n;

	return t_wait(c.fd, 3, T_HANG_NS, &n);
}

static int op_wait_timeout(void)
{
	uint32_t n;
	int err = t_wait(c.fd, 16, 1000000, &n);

	/* All jobs are parked, so it returns early; what matters is the failure. */
	return err == -ETIME ? 0 : err;
}

static int op_poll(void)
{
	struct pollfd p = { .fd = c.fd, .events = POLLIN };

	return poll(&p, 1, 1000) < 0 ? -errno : 0;
}

/* In a session without a RUN yet: its memory is part of what can fail. */
static void setup_run(void)
{
	if (t_session_open(c.fd, c.model, 0, &made_id))
		bail("SESSION_OPEN");
}

static int op_run(void)
{
	struct bitnet_job job = t_generate(made_id, tokens, 5, 4, 1);
	struct bitnet_ring_entry entries[5];
	uint32_t n;
	int err = t_inline(c.fd, &job, entries, 5, &n);

	return err ? err : n == 5 && entries[4].kind == BITNET_ENTRY_DONE ? 0 : -EPROTO;
}

/* A RUN that failed in its entries has begun. */
static void undo_run(void)
{
	t_session_close(c.fd, made_id);
	setup_run();
}

static void cleanup_run(void)
{
	t_session_close(c.fd, made_id);
}

static int op_session_stats(void)
{
	struct bitnet_stats stats = {
		.size = sizeof(stats), .flags = BITNET_STATS_F_SESSION, .session_id = c.session,
	};

	return t_ioctl(c.fd, BITNET_IOC_STATS, &stats);
}

static int op_stats(void)
{
	struct bitnet_stats stats = { .size = sizeof(stats) };

	return t_ioctl(c.fd, BITNET_IOC_STATS, &stats);
}

static int op_model_close(void)
{
	return t_model_close(c.fd, made_id);
}

static void setup_model_close(void)
{
	if (t_model_load(c.fd, &image, 0, NULL, &made_id))
		bail("MODEL_LOAD");
}

static int op_session_close(void)
{
	return t_session_close(c.fd, made_id);
}

static void setup_session_close(void)
{
	if (t_session_open(c.fd, c.model, 0, &made_id))
		bail("SESSION_OPEN");
}

/* A file with all that a file can have, jobs included, is closed: close() cannot fail. */
static struct t_client closing;

static void setup_close(void)
{
	struct bitnet_job job;

	t_client_open(&closing, &image, 8);
	job = t_generate(closing.session, tokens, 2, 200, 0);
	if (t_submit(closing.fd, &job, 1, NULL))
		bail("SUBMIT");
}

static int op_close(void)
{
	munmap(closing.ring.header, closing.ring.bytes);
	return close(closing.fd) ? -errno : 0;
}

static void cleanup_close(void)
{
	t_client_close(&closing);
}

/* ---- netlink, without a library that would allocate things of its own ---------------- */

static int nl_fd, nl_family;

struct nl_request {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[64];
};

static int nl_talk(struct nl_request *req, int type, int flags, int cmd, int attr_bytes,
		   char *reply, size_t size)
{
	struct nlmsghdr *h;
	ssize_t n;

	req->nlh = (struct nlmsghdr){
		.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN) + attr_bytes, .nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 1,
	};
	req->genl = (struct genlmsghdr){ .cmd = cmd, .version = 1 };
	if (send(nl_fd, req, req->nlh.nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(nl_fd, reply, size, 0);
		if (n < 0)
			return -errno;
		h = (void *)reply;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
	} while ((flags & NLM_F_DUMP) && h->nlmsg_type != NLMSG_DONE);
	return 0;
}

/* A failure leaves messages behind, or half a dump: each try has a socket of its own. */
static void nl_open(void)
{
	struct timeval patience = { .tv_sec = 2 };

	nl_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (nl_fd < 0)
		bail("netlink: %s", strerror(errno));
	setsockopt(nl_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

static void nl_close(void)
{
	close(nl_fd);
}

static void nl_resolve(void)
{
	struct nl_request req = { 0 };
	struct nlattr *attr = (void *)req.attrs;
	char reply[8192];
	struct nlmsghdr *h = (void *)reply;
	int left;

	nl_open();
	attr->nla_type = CTRL_ATTR_FAMILY_NAME;
	attr->nla_len = NLA_HDRLEN + sizeof(BITNET_GENL_NAME);
	strcpy((char *)attr + NLA_HDRLEN, BITNET_GENL_NAME);
	if (nl_talk(&req, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, NLA_ALIGN(attr->nla_len), reply,
		    sizeof(reply)))
		bail("no netlink family");
	attr = (void *)((char *)NLMSG_DATA(h) + GENL_HDRLEN);
	for (left = h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN); left > NLA_HDRLEN;) {
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			nl_family = *(uint16_t *)((char *)attr + NLA_HDRLEN);
		left -= NLA_ALIGN(attr->nla_len);
		attr = (void *)((char *)attr + NLA_ALIGN(attr->nla_len));
	}
	nl_close();
}

static int nl_ask(int cmd, int flags)
{
	static char reply[32768];
	struct nl_request req = { 0 };

	return nl_talk(&req, nl_family, flags, cmd, 0, reply, sizeof(reply));
}

static int op_nl_info(void)
{
	return nl_ask(BITNET_CMD_GET_INFO, 0);
}

static int op_nl_models(void)
{
	return nl_ask(BITNET_CMD_GET_MODELS, NLM_F_DUMP);
}

static int op_nl_stats(void)
{
	return nl_ask(BITNET_CMD_GET_STATS, NLM_F_DUMP);
}

static int op_nl_users(void)
{
	return nl_ask(BITNET_CMD_GET_USERS, NLM_F_DUMP);
}

static int op_nl_workers(void)
{
	return nl_ask(BITNET_CMD_GET_WORKERS, NLM_F_DUMP);
}

/* Puts an attribute behind @at bytes of others. Return: how many there are now. */
static int nl_put(struct nl_request *req, int at, int type, const void *value, size_t bytes)
{
	struct nlattr *attr = (void *)(req->attrs + at);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + bytes;
	memcpy((char *)attr + NLA_HDRLEN, value, bytes);
	return at + NLA_ALIGN(attr->nla_len);
}

static int nl_set_limit(uint64_t most)
{
	struct nl_request req = { 0 };
	uint32_t uid = T_UID_NOBODY;
	char reply[512];
	int at;

	at = nl_put(&req, 0, BITNET_A_UID, &uid, sizeof(uid));
	at = nl_put(&req, at, BITNET_A_MAX_JOBS, &most, sizeof(most));
	return nl_talk(&req, nl_family, NLM_F_ACK, BITNET_CMD_SET_LIMITS, at, reply, sizeof(reply));
}

static int op_nl_set_limits(void)
{
	return nl_set_limit(7);
}

static void undo_nl_set_limits(void)
{
	nl_close();
	nl_open();
	nl_set_limit(BITNET_LIMIT_NONE);
}

static void cleanup_nl_set_limits(void)
{
	undo_nl_set_limits();
	nl_close();
}

static int op_nl_set_floor(void)
{
	struct nl_request req = { 0 };
	uint32_t ppm = 50000;
	char reply[512];
	int at = nl_put(&req, 0, BITNET_A_BATCH_FLOOR, &ppm, sizeof(ppm));

	return nl_talk(&req, nl_family, NLM_F_ACK, BITNET_CMD_SET_FLOOR, at, reply, sizeof(reply));
}

static int op_nl_set_workers(void)
{
	struct nl_request req = { 0 };
	char reply[512];
	int at = nl_put(&req, 0, BITNET_A_CPUS, "0", 2);

	return nl_talk(&req, nl_family, NLM_F_ACK, BITNET_CMD_SET_WORKERS, at, reply,
		       sizeof(reply));
}

static void undo_nl(void)
{
	nl_close();
	nl_open();
}

static int op_debugfs(void)
{
	static const char *const files[] = { "stats", "variants", "sections", "tokens" };
	char path[64], text[4096];
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/bitnet/%s", files[i]);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			return -errno;
		if (read(fd, text, sizeof(text)) < 0) {
			close(fd);
			return -errno;
		}
		close(fd);
	}
	return 0;
}

/* ---- the sweep ---------------------------------------------------------------------------------
 */

static const struct op {
	const char *name;
	int (*run)(void);
	void (*setup)(void);	/* once, before the sweep */
	void (*undo)(void);	/* after each time that worked */
	void (*retry)(void);	/* after each time that failed; NULL: nothing is needed */
	void (*cleanup)(void);	/* once, after it */
	int also;		/* another errno that is right */
} ops[] = {
	{ "open", op_open, NULL, undo_open, NULL, NULL, 0 },
	{ "INFO", op_info, NULL, NULL, NULL, NULL, 0 },
	{ "MODEL_LOAD", op_load, NULL, undo_load, NULL, NULL, 0 },
	{ "MODEL_LOAD shared", op_load_shared, NULL, undo_load_shared, NULL, NULL, 0 },
	{ "MODEL_LOAD of a memfd", op_load_memfd, setup_memfd, undo_load, NULL, cleanup_memfd, 0 },
	{ "MODEL_OPEN", op_model_open, setup_shared, undo_load, NULL, cleanup_shared, 0 },
	{ "MODEL_INFO", op_model_info, NULL, NULL, NULL, NULL, 0 },
	{ "MODEL_UNLOAD", op_unload, setup_shared, undo_unload, NULL, cleanup_shared, 0 },
	{ "MODEL_CLOSE", op_model_close, setup_model_close, setup_model_close, NULL, undo_load, 0 },
	{ "SESSION_OPEN", op_session, NULL, undo_session, NULL, NULL, 0 },
	{ "SESSION_REWIND", op_rewind, NULL, NULL, NULL, NULL, 0 },
	{ "SESSION_CLOSE", op_session_close, setup_session_close, setup_session_close, NULL,
	  undo_session, 0 },
	{ "RING_SETUP", op_ring, setup_ring, undo_ring, NULL, cleanup_ring, 0 },
	{ "mmap", op_mmap, NULL, undo_mmap, NULL, NULL, 0 },
	{ "SUBMIT", op_submit, setup_submit, undo_submit, NULL, NULL, 0 },
	{ "CANCEL", op_cancel, setup_parked, undo_cancel, NULL, cleanup_parked, 0 },
	{ "WAIT", op_wait, setup_parked, NULL, NULL, cleanup_parked, 0 },
	{ "WAIT with a timeout", op_wait_timeout, setup_parked, NULL, NULL, cleanup_parked, 0 },
	{ "poll", op_poll, NULL, NULL, NULL, NULL, 0 },
	{ "STATS", op_stats, NULL, NULL, NULL, NULL, 0 },
	{ "STATS of a session", op_session_stats, NULL, NULL, NULL, NULL, 0 },
	{ "RUN", op_run, setup_run, undo_run, undo_run, cleanup_run, 0 },
	{ "close", op_close, setup_close, setup_close, NULL, cleanup_close, 0 },
	/* The kernel's netlink code answers with what it has: no buffers, or nothing until the
	   timeout. */
	{ "netlink GET_INFO", op_nl_info, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink GET_MODELS", op_nl_models, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink GET_STATS", op_nl_stats, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink GET_USERS", op_nl_users, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink GET_WORKERS", op_nl_workers, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink SET_LIMITS", op_nl_set_limits, nl_open, undo_nl_set_limits, undo_nl_set_limits,
	  cleanup_nl_set_limits, -EAGAIN },
	{ "netlink SET_FLOOR", op_nl_set_floor, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "netlink SET_WORKERS", op_nl_set_workers, nl_open, undo_nl, undo_nl, nl_close, -EAGAIN },
	{ "debugfs", op_debugfs, NULL, NULL, NULL, NULL, 0 },
};

static bool same_counts(const struct bitnet_stats *a, const struct bitnet_stats *b)
{
	return a->out_models == b->out_models && a->out_sessions == b->out_sessions &&
	       a->out_jobs == b->out_jobs && a->out_pinned_bytes == b->out_pinned_bytes &&
	       a->out_kv_bytes == b->out_kv_bytes;
}

/* What there is once what was closed before is gone: workers and work queues take their time. */
static struct t_leaks settled(void)
{
	struct t_leaks now = t_leaks_now(), then;

	do {
		then = now;
		t_sleep_ns(10000000);
		now = t_leaks_now();
	} while (memcmp(&then, &now, sizeof(now)));
	return now;
}

static void sweep(const struct op *op)
{
	unsigned int n, failures = 0, odd = 0, leaks = 0, unusable = 0, endured = 0;
	struct bitnet_stats stats;
	struct t_leaks before;
	int err;

	if (op->setup)
		op->setup();
	for (n = 1; n < MOST; n++) {
		bool fired;

		before = settled();
		stats = t_stats(c.fd);
		arm(n);
		err = op->run();
		fired = disarm();
		if (!err && op->undo)
			op->undo();
		if (!fired)
			break;
		if (!err) {
			endured++;
			continue;
		}
		failures++;
		if (err != -ENOMEM && err != -EFAULT && err != -ENOBUFS && err != op->also) {
			diag("%s: failure number %u gives %d (%s)", op->name, n, err,
			     strerror(-err));
			odd++;
		}
		if (op->retry)
			op->retry();
		if (!t_leaks_none(&before)) {
			diag("%s: failure number %u leaves something", op->name, n);
			leaks++;
		} else {
			struct bitnet_stats now = t_stats(c.fd);

			if (!same_counts(&stats, &now)) {
				diag("%s: failure number %u changes the counters", op->name, n);
				leaks++;
			}
		}
		err = op->run();
		if (err) {
			diag("%s: after failure number %u it gives %d", op->name, n, err);
			unusable++;
			if (op->retry)
				op->retry();
		} else if (op->undo) {
			op->undo();
		}
	}
	if (op->cleanup)
		op->cleanup();
	ok(n < MOST && !err, "%s: %u failures, %u endured, then none is met", op->name, failures,
	   endured);
	is(odd, 0, "%s: each gives ENOMEM or EFAULT", op->name);
	is(leaks, 0, "%s: none leaves anything", op->name);
	is(unusable, 0, "%s: it works right afterwards", op->name);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	unsigned int i;

	if (!faults_init())
		skip_all("this kernel has no fault injection");
	image = t_image_random(&t_tiny);
	for (i = 0; i < ARRAY_SIZE(tokens); i++)
		tokens[i] = i;
	c.fd = t_open();
	if (t_model_load(c.fd, &image, 0, NULL, &c.model) ||
	    t_session_open(c.fd, c.model, 0, &c.session))
		bail("setting up");
	t_ring_open(&c.ring, c.fd, 16, T_PAGE);
	nl_resolve();

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sweep(&ops[i]);

	/* After all that, the device computes what it did. */
	setup_submit();
	is(op_submit(), 0, "jobs of all kinds");
	is(accepted, 3, "are accepted");
	is(t_collect(&c.ring, results, 3, 0), 0, "and end");
	ok(results[0].n == 3 && results[1].n == 4, "well");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

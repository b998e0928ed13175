// SPDX-License-Identifier: GPL-2.0
/*
 * slow_memory.c - user memory that answers when its owner likes, and then with something else
 *
 * A page under userfaultfd blocks whoever touches it, the kernel too, until a thread of ours has
 * filled it. While a call is blocked there, others go on, the blocked one can be killed, and what
 * was read before is not read again: a struct half of which changes meanwhile counts as it was.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>

#include "device.h"

static struct t_image image;
static struct t_client c, victim;
static const uint32_t tokens[4] = { 1, 2, 3, 4 };

/* Two pages: one to write at will, and one that blocks. */
static struct slow {
	int fd;
	uint8_t *page;			/* the first one */
	pthread_t thread;
	void (*meanwhile)(void);	/* called when somebody is blocked */
	const void *content;		/* then put into the second page, at its start */
	size_t bytes;
	unsigned int blocked;		/* how often that was */
	bool never;			/* do not fill it */
} slow;

static void *serve(void *arg)
{
	static uint8_t page[T_PAGE] __attribute__((aligned(T_PAGE)));
	struct uffdio_copy copy = {
		.dst = t_pointer(slow.page + T_PAGE), .src = t_pointer(page), .len = T_PAGE,
	};
	struct uffd_msg msg;

	memset(page, 0, sizeof(page));
	memcpy(page, slow.content, slow.bytes);
	if (read(slow.fd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	__atomic_add_fetch(&slow.blocked, 1, __ATOMIC_SEQ_CST);
	if (slow.meanwhile)
		slow.meanwhile();
	if (!slow.never && ioctl(slow.fd, UFFDIO_COPY, &copy))
		perror("# UFFDIO_COPY");
	return NULL;
}

/* Makes the second page of @at a slow one, for as long as nobody touches it. */
static bool slow_register(uint8_t *at)
{
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
		.range = { .start = t_pointer(at + T_PAGE), .len = T_PAGE },
	};

	madvise(at + T_PAGE, T_PAGE, MADV_DONTNEED);
	slow.page = at;
	return !ioctl(slow.fd, UFFDIO_REGISTER, &reg);
}

/* false: this kernel has no such thing. */
static bool slow_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	slow.fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	return slow.fd >= 0 && !ioctl(slow.fd, UFFDIO_API, &api) &&
	       slow_register(t_pages(2 * T_PAGE));
}

static void slow_start(void (*meanwhile)(void), const void *content, size_t bytes)
{
	slow.meanwhile = meanwhile;
	slow.content = content;
	slow.bytes = bytes;
	slow.blocked = 0;
	/* Missing again. */
	madvise(slow.page + T_PAGE, T_PAGE, MADV_DONTNEED);
	if (pthread_create(&slow.thread, NULL, serve, NULL))
		bail("pthread_create");
}

/* The page is touched here if the call has not done so; then it was not blocked. */
static bool slow_end(void)
{
	unsigned int blocked = __atomic_load_n(&slow.blocked, __ATOMIC_SEQ_CST);

	slow.meanwhile = NULL;
	(void)*(volatile uint8_t *)(slow.page + T_PAGE);
	pthread_join(slow.thread, NULL);
	return blocked;
}

/* Lays @bytes of @what across the border, @before of them in front of it. */
static void *across(const void *what, size_t bytes, size_t before)
{
	uint8_t *at = slow.page + T_PAGE - before;

	memcpy(at, what, before);
	slow_start(slow.meanwhile, (const uint8_t *)what + before, bytes - before);
	return at;
}

/* ---- read once ------------------------------------------------------------------------------- */

static struct bitnet_job *job_there;

static void spoil_job(void)
{
	job_there->kind = 77;
	job_there->session_id = 1234;
	job_there->input_count = 0x40000000;
	job_there->max_tokens = 0;
	job_there->input = 8;
}

static struct t_result want, got;

/* The second half of the job comes late, and by then the first is another. */
static void check_job(bool run)
{
	struct bitnet_job job = t_generate(c.session, tokens, 4, 6, 1);
	static struct bitnet_ring_entry entries[16];
	uint32_t made = 0;
	int err;

	t_session_rewind(c.fd, c.session, 0);
	slow.meanwhile = spoil_job;
	job_there = (void *)(slow.page + T_PAGE - offsetof(struct bitnet_job, seed));
	across(&job, sizeof(job), offsetof(struct bitnet_job, seed));
	if (run) {
		err = t_inline(c.fd, job_there, entries, ARRAY_SIZE(entries), &made);
		memset(&got, 0, sizeof(got));
		for (uint32_t i = 0; i < made; i++)
			t_result_add(&got, &entries[i]);
	} else {
		err = t_submit(c.fd, job_there, 1, NULL);
		if (!err)
			err = t_collect(&c.ring, &got, 1, 1);
	}
	ok(slow_end(), "%s is blocked in the middle of its job", run ? "RUN" : "SUBMIT");
	is(err, 0, "and accepts it as it was");
	ok(t_same_hashes(&want, &got), "and computes that");
}

static uint32_t *input_there;
static struct bitnet_job job_pair[2];

static void spoil_input(void)
{
	input_there[0] = 0xffffffff;
	input_there[1] = 5;
	/* Also the jobs, which have been read. */
	job_pair[0] = (struct bitnet_job){ .kind = 99 };
}

static void check_input(void)
{
	uint32_t both[4];
	int err;

	memcpy(both, tokens, sizeof(both));
	t_session_rewind(c.fd, c.session, 0);
	slow.meanwhile = spoil_input;
	input_there = (void *)(slow.page + T_PAGE - 8);
	across(both, sizeof(both), 8);
	job_pair[0] = t_generate(c.session, input_there, 4, 6, 1);
	err = t_submit(c.fd, &job_pair[0], 1, NULL);
	if (!err)
		err = t_collect(&c.ring, &got, 1, 1);
	ok(slow_end(), "SUBMIT is blocked in the middle of the prompt");
	is(err, 0, "and accepts it as it was");
	ok(t_same_hashes(&want, &got), "and computes that");
}

static uint32_t *size_there;

static void spoil_size(void)
{
	*size_there = 4000;
}

/* The size is what the struct begins with. */
static void check_size(void)
{
	struct bitnet_session_open u = { .size = sizeof(u), .model_id = c.model, .n_ctx = 8 };
	int err;

	slow.meanwhile = spoil_size;
	size_there = (void *)(slow.page + T_PAGE - 8);
	across(&u, sizeof(u), 8);
	err = t_ioctl(c.fd, BITNET_IOC_SESSION_OPEN, size_there);
	ok(slow_end(), "SESSION_OPEN is blocked in the middle of its struct");
	is(err, 0, "and takes the size that it was called with");
	memcpy(&u, size_there, sizeof(u));
	is(t_session_close(c.fd, u.out_session_id), 0, "a session is there");
}

/* ---- blocked, and what goes on meanwhile ----------------------------------------------------- */

static bool others_went_on;

/* From the thread that serves: all that does not need the blocked call's own object. */
static void go_on(void)
{
	uint32_t session, n;
	struct bitnet_stats s = { .size = sizeof(s) };

	struct bitnet_job job = t_generate(victim.session, tokens, 4, 6, 1);
	static struct t_result r;

	others_went_on = !t_session_rewind(victim.fd, victim.session, 0) &&
			 !t_run(&victim.ring, &job, &r) && t_same_hashes(&want, &r) && !t_ioctl(c.fd, BITNET_IOC_STATS, &s) &&
			 !t_session_open(c.fd, c.model, 8, &session) &&
			 !t_session_close(c.fd, session) && !t_wait(c.fd, 0, 0, &n) &&
			 t_cancel(c.fd, 4711, &n) == -ENOENT;
}

/* Kernel 6.1 does not wait for such a page when it pins: it fails. */
static bool pins_wait = true;

static void check_load(void)
{
	/* The header's page is there, the second is not: pinning blocks. */
	struct t_image copy = t_image_copy(&image);
	uint8_t *page = slow.page;
	uint32_t id;
	int err;

	if (!slow_register(copy.base))
		bail("UFFDIO_REGISTER: %s", strerror(errno));
	others_went_on = false;
	slow_start(go_on, (uint8_t *)image.base + T_PAGE, T_PAGE);
	err = t_model_load(c.fd, &copy, 0, NULL, &id);
	if (!slow_end() && err == -EFAULT) {
		skip("this kernel pins no page that is not there");
		pins_wait = false;
	} else {
		ok(others_went_on, "MODEL_LOAD is blocked while it pins, and others go on");
		is(err, 0, "then it loads");
		is(t_model_close(c.fd, id), 0, "MODEL_CLOSE");
	}
	slow.page = page;
	t_image_free(&copy);
}

static void check_submit(void)
{
	struct bitnet_job job = t_generate(c.session, (void *)(slow.page + T_PAGE), 4, 6, 1);
	int err;

	t_session_rewind(c.fd, c.session, 0);
	others_went_on = false;
	slow_start(go_on, tokens, sizeof(tokens));
	err = t_submit(c.fd, &job, 1, NULL);
	if (!err)
		err = t_collect(&c.ring, &got, 1, 1);
	ok(slow_end(), "SUBMIT is blocked in the prompt");
	ok(others_went_on, "others go on");
	ok(!err && t_same_hashes(&want, &got), "then it computes");
}

static void cancel_run(void)
{
	uint32_t n;

	go_on();
	others_went_on &= !t_cancel(c.fd, 1, &n) && n == 1 &&
			  t_session_close(c.fd, c.session) == -EBUSY;
}

/* RUN's entries go where nobody takes them: the job is there all the while, and can be cancelled. */
static void check_run(void)
{
	struct bitnet_job job = t_generate(c.session, tokens, 4, 40, 1);
	uint32_t made;
	int err;

	t_session_rewind(c.fd, c.session, 0);
	others_went_on = false;
	slow_start(cancel_run, NULL, 0);
	err = t_inline(c.fd, &job, (void *)(slow.page + T_PAGE), 41, &made);
	ok(slow_end(), "RUN is blocked in its entries");
	ok(others_went_on, "others go on, and its job is cancelled");
	is(err, 0, "then it returns");
	is(((struct bitnet_ring_entry *)(slow.page + T_PAGE))[made - 1].error, -ECANCELED,
	   "with the job's end");
	is(t_session_rewind(c.fd, c.session, 0), 0, "its session is free");
}

/* ---- blocked for ever ------------------------------------------------------------------------ */

/* A child that blocks in call number @arg, whose page nobody will ever fill. */
static int block(void *arg)
{
	struct bitnet_job job = t_generate(c.session, tokens, 4, 6, 1);
	struct t_image copy;

	/* A child's memory is not under the parent's userfaultfd: one of its own. */
	if (!slow_open())
		return 1;
	switch (*(int *)arg) {
	case 0:
		job.input = t_pointer(slow.page + T_PAGE);
		t_submit(c.fd, &job, 1, NULL);
		break;
	case 1:
		t_inline(c.fd, &job, (void *)(slow.page + T_PAGE), 7, NULL);
		break;
	case 2:
		t_submit(c.fd, (void *)(slow.page + T_PAGE), 1, NULL);
		break;
	case 3:
		copy = t_image_copy(&image);
		if (slow_register(copy.base))
			t_model_load(c.fd, &copy, 0, NULL, NULL);
		break;
	default:
		t_ioctl(c.fd, BITNET_IOC_STATS, slow.page + T_PAGE);
	}
	return 2;
}

static bool is_blocked(pid_t pid)
{
	char path[64], line[256] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	state = strrchr(line, ')');
	return state && (state[2] == 'S' || state[2] == 'D');
}

static void check_kill(int what, const char *name)
{
	struct bitnet_stats before = t_stats(c.fd), after;
	uint64_t give_up;
	int status;
	pid_t pid;

	t_session_rewind(c.fd, c.session, 0);
	pid = t_fork();
	if (!pid)
		_exit(block(&what));
	give_up = t_now() + T_HANG_NS;
	while (!is_blocked(pid) && t_now() < give_up && !waitpid(pid, &status, WNOHANG))
		t_sleep_ns(1000000);
	t_sleep_ns(10000000);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: blocked for ever, and killed",
	   name);
	after = t_stats(c.fd);
	ok(after.out_models == before.out_models && after.out_sessions == before.out_sessions &&
	   !after.out_jobs, "nothing of it is left");
	is(t_session_rewind(c.fd, c.session, 0), 0, "the session is free");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct bitnet_job job;

	if (!slow_open())
		skip_all("this kernel has no userfaultfd");
	image = t_image_random(&t_tiny);
	t_client_open(&victim, &image, 16);
	t_client_open(&c, &image, 16);
	job = t_generate(c.session, tokens, 4, 6, 1);
	if (t_run(&c.ring, &job, &want))
		bail("a job");

	check_job(false);
	check_job(true);
	check_input();
	check_size();
	check_load();
	check_submit();
	check_run();
	check_kill(0, "SUBMIT in the prompt");
	check_kill(1, "RUN in its entries");
	check_kill(2, "SUBMIT in its jobs");
	if (pins_wait)
		check_kill(3, "MODEL_LOAD in its pages");
	check_kill(4, "STATS");

	t_client_close(&c);
	t_client_close(&victim);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

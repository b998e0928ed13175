// SPDX-License-Identifier: GPL-2.0
/*
 * watchdogs.c - the kernel's watchdogs at their lowest thresholds have nothing to say while the module
 * is busy with all that it does
 *
 * For guests whose clock counts their instructions (BITNET_CLOCK=instructions, tests/vm/cells): on any
 * other the host decides when a watchdog bites.
 */
#include "device.h"

#define NAME		"watchdogs"
#define PREEMPT		"/sys/kernel/debug/sched/preempt"
#define KLOG_BYTES	(1 << 22)

/* The lowest values that mean anything; what a kernel does not have is left out. */
static const struct {
	const char *path, *value;
} lowest[] = {
	{ "/proc/sys/kernel/watchdog_thresh", "1" },
	{ "/proc/sys/kernel/hung_task_timeout_secs", "2" },
	{ "/proc/sys/kernel/hung_task_check_interval_secs", "1" },
	{ "/proc/sys/kernel/hung_task_warnings", "-1" },
	{ "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3" },
	{ "/sys/module/rcupdate/parameters/rcu_exp_cpu_stall_timeout", "1000" },
	{ "/sys/module/rcupdate/parameters/rcu_task_stall_timeout", "3000" },
	{ "/sys/module/workqueue/parameters/watchdog_thresh", "2" },
};

static const char *const complaints[] = {
	"soft lockup", "hard LOCKUP", "blocked for more than", "detected stall", "detected stalls",
	"self-detected stall", "expedited stall", "workqueue lockup", "BUG: workqueue", "rcu_tasks detected",
};

static const uint32_t prompt[4] = { 1, 2, 3, 4 };
static uint32_t long_prompt[900];
static struct t_image slow, tiny;
static uint64_t end;

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Complaints in the kernel's log so far. */
static unsigned int complained(void)
{
	static char log[KLOG_BYTES];
	char *line, *rest = log;
	unsigned int n = 0, i;
	FILE *f = popen("dmesg", "re");
	size_t bytes;

	if (!f)
		bail("dmesg");
	bytes = fread(log, 1, sizeof(log) - 1, f);
	log[bytes] = 0;
	pclose(f);
	while ((line = strsep(&rest, "\n"))) {
		for (i = 0; i < ARRAY_SIZE(complaints); i++) {
			if (!strstr(line, complaints[i]))
				continue;
			diag("%s", line);
			n++;
			break;
		}
	}
	return n;
}

static int64_t left_ns(void)
{
	uint64_t now = t_now();

	return now < end ? end - now : 0;
}

/* A session with the shared model; 0, or which step failed. */
static int slow_open(struct t_client *c)
{
	c->fd = t_open();
	return t_model_open(c->fd, NAME, &c->model) ? 1 : t_session_open(c->fd, c->model, 0, &c->session) ? 2 : 0;
}

/* Far more jobs at once than can be computed soon, again and again. */
static int floods(void)
{
	uint32_t session[16], i;
	struct bitnet_job job;
	struct t_client c;

	if (slow_open(&c))
		return 1;
	t_ring_open(&c.ring, c.fd, 2048, 0);
	for (i = 0; i < ARRAY_SIZE(session); i++)
		if (t_session_open(c.fd, c.model, 128, &session[i]))
			return 2;
	while (t_now() < end) {
		for (i = 0; i < ARRAY_SIZE(session); i++) {
			job = t_generate(session[i], prompt, 4, 100, i);
			if (t_session_rewind(c.fd, session[i], 0) || t_submit(c.fd, &job, 1, NULL))
				return 3;
		}
		/* As long as there is time: who waits for jobs is no hung task. */
		t_wait(c.fd, ARRAY_SIZE(session) * 101, left_ns(), NULL);
		c.ring.header->head = c.ring.header->tail;
	}
	return 0;
}

/* Prompts as long as they get, at the lowest class. */
static int reads(void)
{
	struct bitnet_job job;
	struct t_client c;

	if (slow_open(&c))
		return 1;
	t_ring_open(&c.ring, c.fd, 1024, 0);
	while (t_now() < end) {
		job = t_score(c.session, long_prompt, ARRAY_SIZE(long_prompt), 1);
		job.job_class = BITNET_CLASS_BATCH;
		if (t_submit(c.fd, &job, 1, NULL))
			return 2;
		t_wait(c.fd, 1, left_ns(), NULL);
		t_cancel(c.fd, 1, NULL);
		if (t_session_close(c.fd, c.session) ||
		    t_session_open(c.fd, c.model, 0, &c.session))
			return 3;
		c.ring.header->head = c.ring.header->tail;
	}
	return 0;
}

/* Computes in its own thread. */
static int runs(void)
{
	static struct t_result r;
	struct t_client c;

	if (slow_open(&c))
		return 1;
	while (t_now() < end) {
		struct bitnet_job job = t_generate(c.session, prompt, 4, 10, 1);

		t_session_rewind(c.fd, c.session, 0);
		if (t_inline_run(c.fd, &job, &r))
			return 2;
	}
	return 0;
}

/* Loads, closes with jobs, is killed. */
static int comes_and_goes(void)
{
	uint64_t seed = 1;
	int status;
	pid_t pid;

	while (t_now() < end) {
		pid = fork();
		if (!pid) {
			struct bitnet_job job;
			struct t_client c;

			for (;;) {
				if (slow_open(&c) || t_model_load(c.fd, &tiny, 0, NULL, NULL) ||
				    t_ring_setup(c.fd, 64, -1, 0, NULL))
					_exit(1);
				job = t_generate(c.session, long_prompt, 200, 10, 1);
				t_submit(c.fd, &job, 1, NULL);
				t_sleep_ns(t_random(&seed) % 100000000);
				close(c.fd);
			}
		}
		t_sleep_ns(t_random(&seed) % 500000000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (!WIFSIGNALED(status))
			return 1;
	}
	return 0;
}

static int (*const clients[])(void) = { floods, floods, reads, runs, runs, comes_and_goes };

/* How long the module has computed so far, on all CPUs. */
static uint64_t computed_ns(void)
{
	return t_number_in(T_DEBUGFS_STATS, "cpu_ns", 0);
}

static void load(uint64_t seconds, const char *mode)
{
	uint64_t start = t_now(), computed = computed_ns(), took;
	pid_t pids[ARRAY_SIZE(clients)];
	unsigned int k, failed = 0;
	int status;

	end = start + seconds * 1000000000;
	for (k = 0; k < ARRAY_SIZE(clients); k++) {
		pids[k] = t_fork();
		if (!pids[k]) {
			t_drop_privileges(1000 + k, T_GID_BITNET);
			_exit(clients[k]());
		}
	}
	for (k = 0; k < ARRAY_SIZE(clients); k++) {
		waitpid(pids[k], &status, 0);
		if (status)
			diag("client %u ends with 0x%x", k, status);
		failed += status != 0;
	}
	took = t_now() - start;
	computed = computed_ns() - computed;
	is(failed, 0, "all clients went on%s%s", mode ? ", preemption " : "", mode ? mode : "");
	/* On two CPUs that are busy with system calls, faults, and ticks as well. */
	ok(computed > took / 4, "the module has computed for %llu of %llu s",
	   (unsigned long long)computed / 1000000000, (unsigned long long)took / 1000000000);
	t_figure(took / 1000000000, t_size(seconds, 3600), "seconds of load");
}

int main(void)
{
	const char *clock = getenv("BITNET_CLOCK");
	const uint64_t seconds = t_release_size() ? 3600 : 300;
	static const char *const modes[] = { "none", "voluntary", "full" };
	struct t_leaks before = t_leaks_start();
	unsigned int i, set = 0, was;
	bool loaded = false;
	int fd;

	if (!clock || strcmp(clock, "instructions"))
		skip_all("time here is the host's, which may stop this guest for seconds");
	for (i = 0; i < ARRAY_SIZE(lowest); i++) {
		int err = put(lowest[i].path, lowest[i].value);

		if (!err)
			set++;
		else if (err != -ENOENT)
			ok(false, "%s: %s", lowest[i].path, strerror(-err));
	}
	ok(set >= 5, "%u thresholds at their lowest", set);
	slow = t_image_random(&t_slow);
	tiny = t_image_random(&t_tiny);
	for (i = 0; i < ARRAY_SIZE(long_prompt); i++)
		long_prompt[i] = i % 300;
	fd = t_open();
	if (t_model_load(fd, &slow, BITNET_MODEL_F_SHARED, NAME, NULL))
		bail("a shared model");
	was = complained();
	/* Where the kernel can choose: as it is where nobody is preempted, and so on. */
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		if (put(PREEMPT, modes[i]))
			continue;
		load(seconds, modes[i]);
		loaded = true;
	}
	if (!loaded)
		load(seconds, NULL);
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	is(complained() - was, 0, "no watchdog has said anything");
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

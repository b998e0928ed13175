// SPDX-License-Identifier: GPL-2.0
/* wait_timeout.c - WAIT: counts, timeouts, signals, and no waiting for what cannot come */
#include <sys/time.h>

#include "device.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void alarm_every(long us)
{
	struct itimerval it = { .it_interval = { .tv_usec = us }, .it_value = { .tv_usec = us } };

	setitimer(ITIMER_REAL, &it, NULL);
}

/* A child that waits for ever must be killable. */
static int wait_for_ever(void *arg)
{
	struct t_client *c = arg;

	t_wait(c->fd, 1001, -1, NULL);
	return 1;
}

static void check_kill(struct t_client *c)
{
	siginfo_t info = { 0 };
	int status, exited;
	pid_t pid;

	pid = t_fork();
	if (!pid)
		_exit(wait_for_ever(c));
	t_sleep_ns(20000000);
	exited = waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT);
	ok(!exited && !info.si_pid, "a child waits for ever");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "and dies of SIGKILL");
}

/* One job fills the ring, another waits for the same session: neither can make an entry. */
static void check_queued(const struct t_image *image)
{
	static struct t_result results[2];
	struct bitnet_job jobs[2];
	struct t_client c;
	uint32_t n;

	t_client_open(&c, image, 4);
	jobs[0] = t_generate(c.session, tokens, 4, 5, 1);
	jobs[1] = t_generate(c.session, tokens, 4, 1, 2);
	is(t_submit(c.fd, jobs, 2, NULL), 0, "two jobs of a session");
	is(t_wait(c.fd, 4, T_HANG_NS, &n), 0, "WAIT returns when the first is parked");
	is(n, 2, "with as many entries as there is room for");
	is(t_collect(&c.ring, results, 2, 1), 0, "both end");
	t_client_close(&c);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct sigaction restart = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct t_image slow = t_image_random(&t_slow);
	static struct t_result result;
	struct bitnet_job job;
	struct t_client c;
	uint32_t n;
	uint64_t start;
	int err;

	t_client_open(&c, &slow, 2048);
	is(t_wait(c.fd, 0, 0, &n), 0, "nothing to wait for");
	is(n, 0, "nothing there");
	is(t_wait(c.fd, 1, -1, &n), 0, "without jobs WAIT returns early, even for ever");
	is(n, 0, "with nothing");
	is(t_wait(c.fd, 1, 0, &n), 0, "also without timeout");
	is(t_wait(c.fd, 2048, 0, &n), 0, "as many entries as the ring has");
	is(t_wait(c.fd, 2049, 0, &n), -EINVAL, "one more");
	is(t_wait(c.fd, ~0U, 0, &n), -EINVAL, "as many as there are numbers");

	job = t_generate(c.session, tokens, 4, 1000, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a long job");
	start = t_now();
	is(t_wait(c.fd, 1001, 0, NULL), -ETIME, "timeout 0");
	is(t_wait(c.fd, 1001, 1, NULL), -ETIME, "timeout 1 ns");
	is(t_wait(c.fd, 1001, 3000000, NULL), -ETIME, "timeout 3 ms");
	ok(t_now() - start >= 3000000, "and not earlier");
	is(t_wait(c.fd, 3, T_HANG_NS, &n), 0, "three entries");
	ok(n >= 3, "are %u", n);
	is(t_wait(c.fd, 2, 0, &n), 0, "what is there needs no time");
	ok(n >= 3, "and stays there until it is consumed: %u", n);
	is(t_wait(c.fd, 0, -1, &n), 0, "no entry is never waited for");
	is(t_wait(c.fd, 1, INT64_MAX, &n), 0, "the longest timeout");
	is(t_wait(c.fd, 1, INT64_MIN, &n), 0, "the most negative timeout");

	/* SA_RESTART or not: the ioctl is not restarted, or a timeout would start anew. */
	sigaction(SIGALRM, &restart, NULL);
	alarm_every(2000);
	err = t_wait(c.fd, 1001, -1, NULL);
	alarm_every(0);
	is(err, -EINTR, "a signal ends an endless WAIT");
	alarm_every(2000);
	err = t_wait(c.fd, 1001, T_HANG_NS, NULL);
	alarm_every(0);
	is(err, -EINTR, "and one with a timeout");
	ok(alarms >= 2, "its handler ran");
	check_kill(&c);

	is(t_cancel(c.fd, 1, NULL), 0, "CANCEL");
	is(t_wait(c.fd, 2000, -1, &n), 0, "with no job left WAIT returns what there is");
	is(t_collect(&c.ring, &result, 1, 1), 0, "the entries");
	is(n, result.n + 1, "are as many as it said");
	t_client_close(&c);
	check_queued(&slow);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

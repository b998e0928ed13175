// SPDX-License-Identifier: GPL-2.0
/*
 * grace.c - RCU's grace periods end while a SCHED_FIFO worker, or caller of RUN, computes without a
 * pause: somebody on another CPU waits for one after the other meanwhile
 *
 * For guests of its own with such a worker on CPU 1 alone whose clock counts instructions
 * (tests/vm/cells): on any other the host may stop a CPU for as long as a job takes.
 */
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "device.h"

#define TOKENS	50

static struct t_client c;
static volatile uint32_t *ended;	/* grace periods */

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bail("CPU %d: %s", cpu, strerror(errno));
}

static void policy(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, policy, &param))
		bail("sched_setscheduler: %s", strerror(errno));
}

static pid_t wait_for_grace_periods(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	on_cpu(0);
	while (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		++*ended;
	_exit(1);
}

static void check(bool inlined, const char *who)
{
	static struct t_result result;
	uint32_t token = 1, n;
	struct bitnet_job job = t_generate(c.session, &token, 1, TOKENS, 1);
	int err;

	n = *ended;
	err = inlined ? t_inline_run(c.fd, &job, &result) : t_run(&c.ring, &job, &result);
	n = *ended - n;
	ok(!err && result.end.kind == BITNET_ENTRY_DONE, "%s has computed %u tokens", who, result.n);
	/* One may have waited for the beginning, or the end. */
	ok(n >= 3, "%u grace periods have ended meanwhile", n);
	is(t_session_rewind(c.fd, c.session, 0), 0, "rewind");
}

int main(void)
{
	const char *clock = getenv("BITNET_CLOCK");
	struct t_image image;
	pid_t pid;

	if (!clock || strcmp(clock, "instructions") || sysconf(_SC_NPROCESSORS_ONLN) != 2)
		skip_all("time here is the host's, or there are not two CPUs");
	if (t_put("/proc/sys/kernel/sched_rt_runtime_us", "-1"))
		bail("sched_rt_runtime_us");
	ended = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	image = t_image_demo();
	t_client_open(&c, &image, 64);
	pid = wait_for_grace_periods();
	on_cpu(0);
	check(false, "a worker");
	on_cpu(1);
	policy(SCHED_FIFO, 50);
	check(true, "a caller of RUN");
	policy(SCHED_OTHER, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	t_client_close(&c);
	return done();
}

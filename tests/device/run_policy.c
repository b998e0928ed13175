// SPDX-License-Identifier: GPL-2.0
/*
 * run_policy.c - RUN computes in the caller's thread: on his CPUs, in his time, with his policy
 *
 * Shares of time are measured against a process that wants the CPU all the time, in one run each.
 */
#include <sys/prctl.h>

#include "tracing.h"


static struct t_client tiny, slow;
static struct t_result result;

static uint64_t cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static bool one(struct t_client *c, bool inlined, uint32_t n)
{
	static const uint32_t tokens[4] = { 1, 2, 3, 4 };
	struct bitnet_job job = t_generate(c->session, tokens, 4, n, 1);
	int err;

	t_session_rewind(c->fd, c->session, 0);
	err = inlined ? t_inline_run(c->fd, &job, &result) : t_run(&c->ring, &job, &result);
	return !err && result.end.kind == BITNET_ENTRY_DONE;
}

/* ---- whose time ---------------------------------------------------------------------- */

/* Share of the charged time that this thread has spent itself, in 1/1000. */
static unsigned int own_share(bool inlined)
{
	uint64_t mine = cpu_time(), charged = 0;

	/* Many ticks of the slowest clock; a slow model, beside which system calls are nothing. */
	while (charged < 500000000) {
		if (!one(&slow, inlined, 3))
			bail("a job failed");
		charged += result.end.cpu_ns;
	}
	return (cpu_time() - mine) * 1000 / charged;
}

static void check_time(void)
{
	unsigned int inlined = own_share(true), submitted = own_share(false), again;

	/* What the host takes from User Mode Linux counts as this thread's. */
	for (int i = 0; i < 4 && submitted >= inlined / 2; i++)
		if ((again = own_share(false)) < submitted)
			submitted = again;
	ok(inlined > 700, "RUN: the thread's own time is %u.%u %% of what is charged",
	   inlined / 10, inlined % 10);
	ok(submitted < inlined / 2, "SUBMIT: %u.%u %%", submitted / 10, submitted % 10);
}

/* ---- which CPU ----------------------------------------------------------------------- */

/* Steps in the trace that this thread has computed on @cpu, and on others. */
static void count_steps(int cpu, unsigned int *here, unsigned int *elsewhere)
{
	FILE *f = fopen(T_TRACING "trace", "re");
	char line[512], me[32];

	*here = *elsewhere = 0;
	if (!f)
		return;
	/* "<...>-123  [001] ...: bitnet_step: ..." */
	snprintf(me, sizeof(me), "-%d ", (int)syscall(SYS_gettid));
	while (fgets(line, sizeof(line), f)) {
		char *bracket = strchr(line, '[');

		if (!strstr(line, " bitnet_step: ") || !strstr(line, me) || !bracket)
			continue;
		if (strtol(bracket + 1, NULL, 10) == cpu)
			++*here;
		else
			++*elsewhere;
	}
	fclose(f);
}

static void check_affinity(void)
{
	unsigned int here, elsewhere;
	cpu_set_t all;
	int cpu;

	if (t_put(T_TRACING "events/bitnet/bitnet_step/enable", "1")) {
		skip("no tracepoints: on which CPU RUN computes");
		return;
	}
	sched_getaffinity(0, sizeof(all), &all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || t_bind(0, cpu))
			continue;
		t_put(T_TRACING "trace", "");
		if (!one(&tiny, true, 8))
			bail("RUN failed");
		count_steps(cpu, &here, &elsewhere);
		ok(here >= 8 && !elsewhere, "bound to CPU %d: %u steps there, %u elsewhere", cpu,
		   here, elsewhere);
		sched_setaffinity(0, sizeof(all), &all);
	}
	t_put(T_TRACING "trace", "");
	if (!one(&tiny, false, 8))
		bail("SUBMIT failed");
	count_steps(0, &here, &elsewhere);
	is(here + elsewhere, 0, "of a SUBMIT this thread computes nothing");
	t_put(T_TRACING "events/bitnet/bitnet_step/enable", "0");
	t_put(T_TRACING "trace", "");
}

/* ---- which policy -------------------------------------------------------------------- */

static pid_t hog_start(void)
{
	pid_t pid;

	pid = t_fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			__asm__ volatile("pause");
	}
	return pid;
}

/* What this thread gets of the CPU beside the hog while it does RUN, in 1/1000. */
static unsigned int share_beside_hog(void)
{
	uint64_t wall = t_now(), mine = cpu_time(), end;

	do {
		if (!one(&tiny, true, 50))
			bail("RUN failed");
		end = t_now();
	} while (end - wall < 1500000000 || cpu_time() - mine < 100000000);
	return (cpu_time() - mine) * 1000 / (end - wall);
}

/* As the kernel has it; the C library does not know it. */
struct deadline {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* 40 ms of every 100, also beside a process that would like all the time and may have it first */
static void check_deadline(pid_t hog)
{
	const struct deadline attr = {
		.size = sizeof(attr),
		.policy = 6,	/* SCHED_DEADLINE */
		.runtime = 40000000,
		.deadline = 100000000,
		.period = 100000000,
	};
	struct sched_param fifo = { .sched_priority = 1 }, other = { 0 };
	unsigned int share;
	cpu_set_t all;

	/* It must be allowed on all CPUs. */
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	if (syscall(SYS_sched_setattr, 0, &attr, 0)) {
		skip("SCHED_DEADLINE: %s", strerror(errno));
		return;
	}
	sched_setscheduler(hog, SCHED_FIFO, &fifo);
	share = share_beside_hog();
	sched_setscheduler(hog, SCHED_OTHER, &other);
	sched_setscheduler(0, SCHED_OTHER, &other);
	ok(share > 250 && share < 480,
	   "with 40 %% by SCHED_DEADLINE it gets %u.%u %%, of which a FIFO process takes nothing",
	   share / 10, share % 10);
	t_bind(0, 0);
}

static void check_policy(void)
{
	struct sched_param fifo = { .sched_priority = 1 }, other = { 0 };
	unsigned int equal, nice_share = 0, first = 0;
	int status;
	pid_t hog;

	t_bind(0, 0);
	hog = hog_start();
	equal = share_beside_hog();
	if (setpriority(PRIO_PROCESS, 0, 5))
		skip("nice");
	else
		nice_share = share_beside_hog();
	setpriority(PRIO_PROCESS, 0, 0);
	if (!sched_setscheduler(0, SCHED_FIFO, &fifo))
		first = share_beside_hog();
	sched_setscheduler(0, SCHED_OTHER, &other);
	check_deadline(hog);
	kill(hog, SIGKILL);
	waitpid(hog, &status, 0);

	ok(equal > 300 && equal < 700, "beside an equal process RUN gets %u.%u %%", equal / 10,
	   equal % 10);
	ok(nice_share && nice_share < equal * 3 / 4, "with nice 5 it gets %u.%u %%",
	   nice_share / 10, nice_share % 10);
	ok(first > equal * 4 / 3, "with SCHED_FIFO it gets %u.%u %%", first / 10, first % 10);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image small = t_image_random(&t_tiny), large = t_image_random(&t_slow);

	t_client_open(&tiny, &small, 64);
	t_client_open(&slow, &large, 64);
	check_time();
	check_affinity();
	check_policy();
	t_client_close(&tiny);
	t_client_close(&slow);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

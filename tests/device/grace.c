// SPDX-License-Identifier: GPL-2.0
/*
 * grace.c - RCU's grace periods end while a SCHED_FIFO worker, or caller of RUN, computes without a
 * pause: somebody on another CPU waits for one after the other meanwhile. A worker lets whoever
 * else is on its CPU run now and then, the kernel's threads of lower priority among them
 *
 * For guests of its own with such a worker on CPU 1 alone whose clock counts instructions
 * (tests/vm/cells): on any other the host may stop a CPU for as long as a job takes.
 */
#include <dirent.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "device.h"

#define TOKENS	50
#define MS	1000000ULL

static struct t_client c;
static volatile uint32_t *ended;	/* grace periods, and sleeps */

static void on_cpu(pid_t thread, int cpu)
{
	int err = t_bind(thread, cpu);

	if (err)
		bail("CPU %d: %s", cpu, strerror(-err));
}

/* The thread that begins and ends grace periods; 0: not found */
static pid_t rcu_thread(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	char path[300], name[32];
	pid_t found = 0;
	FILE *f;

	while (proc && !found && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) &&
		    (!strcmp(name, "rcu_preempt\n") || !strcmp(name, "rcu_sched\n")))
			found = atoi(entry->d_name);
		fclose(f);
	}
	closedir(proc);
	return found;
}

static void policy(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, policy, &param))
		bail("sched_setscheduler: %s", strerror(errno));
}

static void wait_for_grace_periods(void)
{
	while (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		++ended[0];
}

static void sleep_behind_worker(void)
{
	policy(SCHED_FIFO, 1);
	while (true) {
		t_sleep_ns(MS);
		++ended[1];
	}
}

/* A process on @cpu that does nothing but @fn */
static pid_t begin(int cpu, void (*fn)(void))
{
	pid_t pid = t_fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	on_cpu(0, cpu);
	fn();
	_exit(1);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void check(bool inlined, const char *who)
{
	static struct t_result result;
	uint32_t token = 1, n;
	struct bitnet_job job = t_generate(c.session, &token, 1, TOKENS, 1);
	int err;

	n = ended[0];
	err = inlined ? t_inline_run(c.fd, &job, &result) : t_run(&c.ring, &job, &result);
	n = ended[0] - n;
	ok(!err && result.end.kind == BITNET_ENTRY_DONE, "%s has computed %u tokens", who, result.n);
	/* One may have waited for the beginning, or the end. */
	ok(n >= 3, "%u grace periods have ended meanwhile", n);
	is(t_session_rewind(c.fd, c.session, 0), 0, "rewind");
}

/* A thread of lower priority with a timer, and RCU's, on the worker's CPU */
static void check_behind(pid_t rcu)
{
	pid_t pid = begin(1, sleep_behind_worker);
	uint64_t start;
	uint32_t n;

	on_cpu(rcu, 1);
	start = t_now();
	n = ended[1];
	check(false, "a worker with others behind it");
	n = ended[1] - n;
	start = t_now() - start;
	ok(n >= start / (50 * MS), "one of them woke up %u times in %llu ms", n, start / MS);
	end(pid);
}

int main(void)
{
	const char *clock = getenv("BITNET_CLOCK");
	struct t_image image;
	pid_t pid, rcu;

	if (!clock || strcmp(clock, "instructions") || sysconf(_SC_NPROCESSORS_ONLN) != 2)
		skip_all("time here is the host's, or there are not two CPUs");
	if (t_put("/proc/sys/kernel/sched_rt_runtime_us", "-1"))
		bail("sched_rt_runtime_us");
	ended = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	image = t_image_demo();
	t_client_open(&c, &image, 64);
	/* A caller of RUN takes no breaks: nothing that runs below it may be what ends grace periods. */
	rcu = rcu_thread();
	if (!rcu)
		bail("there is no thread of RCU's");
	on_cpu(rcu, 0);
	pid = begin(0, wait_for_grace_periods);
	on_cpu(0, 0);
	check(false, "a worker");
	on_cpu(0, 1);
	policy(SCHED_FIFO, 50);
	check(true, "a caller of RUN");
	policy(SCHED_OTHER, 0);
	on_cpu(0, 0);
	check_behind(rcu);
	end(pid);
	t_client_close(&c);
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * run_cpu_max.c - RUN stays within the cpu.max of its caller's cgroup
 *
 * All figures are shares of the same clock within one run. The same oracle is shown to tell:
 * without a limit RUN uses much more. What workers compute is not counted for the caller's cgroup.
 */
#include "device.h"

#define ROOT		"/sys/fs/cgroup"
#define GROUP		ROOT "/bitnet-run"
/* A minute, most of which this test sleeps, on one bed; without a limit less is enough. */
#define PERIODS		(t_release_size() ? 3000 : t_is_uml() ? 20 : 600)
#define PERIODS_FREE	(t_release_size() ? 100 : 20)

static struct t_client c;
static struct t_result result;

static long long stat_of(const char *key)
{
	return t_number_in(GROUP "/cpu.stat", key, -1);
}

/* Why there can be no test, or NULL. */
static const char *group_init(void)
{
	if (access(ROOT "/cgroup.controllers", F_OK))
		return "there is no cgroup v2";
	t_put(ROOT "/cgroup.subtree_control", "+cpu");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		return "no cgroup can be made";
	if (access(GROUP "/cpu.max", F_OK))
		return "this kernel's cgroups have no cpu.max";
	if (t_put(GROUP "/cgroup.procs", "0"))
		return "this process cannot be moved to a cgroup";
	return NULL;
}

static void group_exit(void)
{
	t_put(ROOT "/cgroup.procs", "0");
	/* Gone when the kernel has noticed that it is empty. */
	while (rmdir(GROUP) && errno == EBUSY)
		t_sleep_ns(1000000);
}

static bool one(bool inlined)
{
	static const uint32_t tokens[4] = { 1, 2, 3, 4 };
	struct bitnet_job job = t_generate(c.session, tokens, 4, 50, 1);
	int err;

	t_session_rewind(c.fd, c.session, 0);
	err = inlined ? t_inline_run(c.fd, &job, &result) : t_run(&c.ring, &job, &result);
	return !err && result.end.kind == BITNET_ENTRY_DONE;
}

static uint64_t own_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * Jobs without a pause for as long as @periods of the cgroup are. Return: in 1/1000 of the time,
 * what the cgroup used (@charged: what the module has charged to the jobs; @own: what this
 * process used, which is alone in the cgroup).
 */
static unsigned int used(unsigned int periods, bool inlined, unsigned int *charged,
			 unsigned int *own)
{
	uint64_t start = t_now(), length = periods * 100000000ULL, cpu = 0, end;
	uint64_t mine = own_time();
	long long usage = stat_of("usage_usec");
	unsigned int n = 0;

	do {
		if (!one(inlined))
			bail("a job failed");
		cpu += result.end.cpu_ns;
		end = t_now();
		n++;
	} while (end - start < length);
	usage = (stat_of("usage_usec") - usage) * 1000;
	*own = (own_time() - mine) * 1000 / (end - start);
	*charged = cpu * 1000 / (end - start);
	diag("%u jobs, %llu ms: the cgroup used %lld ms, charged were %llu ms", n,
	     (unsigned long long)(end - start) / 1000000, usage / 1000000,
	     (unsigned long long)cpu / 1000000);
	return usage * 1000 / (end - start);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_random(&t_tiny);
	const char *why = group_init();
	unsigned int share, charged, own, free_share;
	long long periods;

	if (why)
		skip_all("%s", why);
	t_client_open(&c, &image, 64);
	/* What the first RUN allocates. */
	if (!one(true))
		bail("RUN does not work");

	free_share = used(PERIODS_FREE, true, &charged, &own);
	is(t_put(GROUP "/cpu.max", "10000 100000"), 0, "cpu.max 10 %%");
	periods = stat_of("nr_periods");
	share = used(PERIODS, true, &charged, &own);
	ok(share <= 120, "RUN used %u.%u %% of a CPU's time", share / 10, share % 10);
	ok(free_share > 2 * share, "and %u.%u %% without a limit", free_share / 10,
	   free_share % 10);
	periods = stat_of("nr_periods") - periods;
	ok(stat_of("nr_throttled") * 2 >= periods, "it was throttled in %lld of %lld periods",
	   stat_of("nr_throttled"), periods);
	/* What the workers computed for the job must not be in what the cgroup used. */
	share = used(PERIODS_FREE, false, &charged, &own);
	ok(share < own + charged / 2,
	   "SUBMIT's job had %u.%u %% of workers, its cgroup %u.%u %%, of which %u.%u %% were its client's",
	   charged / 10, charged % 10, share / 10, share % 10, own / 10, own % 10);
	is(t_put(GROUP "/cpu.max", "max"), 0, "no limit");
	t_figure(PERIODS, t_size(600, 3000), "periods of cpu.max");
	t_client_close(&c);
	group_exit();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

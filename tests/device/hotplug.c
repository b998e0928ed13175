// SPDX-License-Identifier: GPL-2.0
/*
 * hotplug.c - a worker's CPU goes offline and comes back while jobs run: nothing stops, nothing
 * changes
 *
 * Also suspend as far as the kernel's own tests of it go: freezer and devices.
 */
#include <pthread.h>

#include "device.h"

#define SUSPENDED_FOR	"/sys/module/suspend/parameters/pm_test_delay"	/* seconds */

static volatile bool stop;
static volatile unsigned int switches;

static void *switch_cpus(void *arg)
{
	const char *path = arg;

	while (!stop) {
		if (t_put(path, "0"))
			break;
		t_sleep_ns(3000000);
		if (t_put(path, "1"))
			break;
		t_sleep_ns(3000000);
		switches++;
	}
	t_put(path, "1");
	return NULL;
}

static void check_cpu(struct t_client *c, int cpu)
{
	unsigned int times = t_size(50, 1000), i;
	struct bitnet_info info = t_info(c->fd), now;
	char path[64];
	pthread_t thread;
	bool golden = true;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	if (access(path, W_OK)) {
		skip("CPU %d cannot be switched off", cpu);
		return;
	}
	is(t_put(path, "0"), 0, "CPU %d goes offline", cpu);
	now = t_info(c->fd);
	ok(now.out_workers <= info.out_workers, "%u workers, were %u", now.out_workers,
	   info.out_workers);
	if (now.out_workers)
		ok(t_golden_holds(c, 0), "golden text without it");
	is(t_put(path, "1"), 0, "and comes back");
	is(t_info(c->fd).out_workers, info.out_workers, "with its worker");
	ok(t_golden_holds(c, 1), "golden text");

	stop = false;
	switches = 0;
	if (pthread_create(&thread, NULL, switch_cpus, path))
		bail("pthread_create");
	for (i = 0; t_more(switches, times, "times off and on") || switches < 2; i++)
		golden &= t_golden_holds(c, i % T_N_GOLDEN);
	stop = true;
	pthread_join(thread, NULL);
	ok(golden, "golden texts while CPU %d goes and comes, %u times", cpu, switches);
	is(t_info(c->fd).out_workers, info.out_workers, "all workers are back");
}

/* A job is in flight while the system goes through the motions of suspending. */
static int suspend(struct t_client *c, const char *level, bool *golden)
{
	const struct t_golden *g = &t_golden[0];
	static struct t_result r;
	struct bitnet_job job = t_generate(c->session, g->ids, g->n_ids, T_N_GREEDY, 1);
	int err;

	t_session_rewind(c->fd, c->session, 0);
	if (t_submit(c->fd, &job, 1, NULL))
		bail("SUBMIT");
	t_put("/sys/power/pm_test", level);
	err = t_put("/sys/power/state", "freeze");
	t_put("/sys/power/pm_test", "none");
	*golden &= !t_collect(&c->ring, &r, 1, 1) && t_same_tokens(&r, g->greedy, T_N_GREEDY);
	return err;
}

static void check_suspend(struct t_client *c, const char *level)
{
	unsigned int n = t_size(5, 100), i;
	bool golden = true;
	int err = 0;

	if (t_put("/sys/power/pm_test", level)) {
		skip("no suspend test '%s' here", level);
		return;
	}
	for (i = 0; !err && t_more(i, n, level); i++) {
		err = suspend(c, level, &golden);
		/* Once for as long as others may notice; then the ways in and out are what counts. */
		t_put(SUSPENDED_FOR, "0");
	}
	/* What a kernel cannot do it does not do once. */
	if (err && i == 1)
		skip("suspend test '%s': %s", level, strerror(-err));
	else
		is(err, 0, "%u times suspend test '%s' with a job in flight", i, level);
	ok(golden, "golden texts");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image;
	struct t_client c;
	int cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (cpus < 2)
		skip_all("one CPU");
	image = t_image_demo();
	t_client_open(&c, &image, 64);
	check_cpu(&c, cpus - 1);
	/*
	 * The kernel's test waits busily, by a clock that it calibrated when it booted: on a busy host
	 * 5 s, as usual, can become more than the soft lockup detector takes.
	 */
	t_put(SUSPENDED_FOR, "1");
	check_suspend(&c, "freezer");
	check_suspend(&c, "devices");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/* doctor_cpu.c - checks of kernel and CPUs: who may keep a worker from running; see doctor.h */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "doctor.h"

#define RT_PERIOD_US	1000000LL	/* the kernel's, where it does not say */
#define DEEP_IDLE_US	50		/* about what a worker computes at a time */
#define STEAL_PERCENT	1.0

static bool on_worker(const struct doctor *d, const cpu_set_t *set)
{
	cpu_set_t both;

	CPU_AND(&both, set, &d->workers);
	return CPU_COUNT(&both);
}

/* ---- kernel ---------------------------------------------------------------------------------- */

/* What the kernel was booted with, or runs with where that can be changed; NULL: not told. */
static const char *preemption_model(const struct doctor *d)
{
	static const char *const models[] = { "none", "voluntary", "lazy", "full", NULL };
	char text[4096], marked[32];
	const char *at;

	if (read_text(d, text, sizeof(text), "sys/kernel/debug/sched/preempt") && *text) {
		for (int i = 0; models[i]; i++) {
			snprintf(marked, sizeof(marked), "(%s)", models[i]);
			if (strstr(text, marked))
				return models[i];
		}
	}
	read_text(d, text, sizeof(text), "proc/cmdline");
	at = strstr(text, "preempt=");
	for (int i = 0; at && models[i]; i++)
		if (!strncmp(at + strlen("preempt="), models[i], strlen(models[i])))
			return models[i];
	read_text(d, text, sizeof(text), "proc/version");
	if (strstr(text, "PREEMPT_DYNAMIC"))
		return NULL;
	return strstr(text, " PREEMPT") ? "full" : "voluntary";
}

static void check_preemption(struct doctor *d)
{
	static const char *const why =
		"other kernel code may hold a worker up for milliseconds before it can run";
	char version[512];
	const char *model;
	long long realtime;

	read_text(d, version, sizeof(version), "proc/version");
	if ((read_number(d, &realtime, "sys/kernel/realtime") && realtime == 1) ||
	    strstr(version, "PREEMPT_RT")) {
		found(d, LEVEL_OK, "the kernel is fully preemptible (PREEMPT_RT)");
		return;
	}
	model = preemption_model(d);
	if (!model) {
		found(d, LEVEL_NOTE, "the kernel does not tell how preemptible it is");
		explain(d, why, "run this as root with debugfs mounted; see preempt= in the kernel's parameters");
	} else if (!strcmp(model, "full")) {
		found(d, LEVEL_NOTE, "the kernel is preemptible (full), but for sections under spinlocks");
		explain(d, why, "for the shortest tails: apt install linux-image-rt-amd64");
	} else {
		found(d, LEVEL_WARNING, "the kernel's preemption is %s", model);
		explain(d, why,
			"boot with preempt=full, or take a PREEMPT_RT kernel: apt install linux-image-rt-amd64");
	}
}

/*
 * Since 6.12 there is no throttling of realtime tasks unless CONFIG_RT_GROUP_SCHED, but a server that
 * runs others for some of the time. sched_rt_runtime_us has no say in that. Return: false if there
 * is none here.
 */
static bool check_fair_server(struct doctor *d)
{
	long long runtime, period = 0, most = -1;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &d->workers) ||
		    !read_number(d, &runtime, "sys/kernel/debug/sched/fair_server/cpu%d/runtime",
				 cpu))
			continue;
		read_number(d, &period, "sys/kernel/debug/sched/fair_server/cpu%d/period", cpu);
		most = runtime > most ? runtime : most;
	}
	if (most < 0)
		return false;
	if (!most || !d->fifo) {
		found(d, LEVEL_OK, most ?
		      "what others may take from realtime tasks does not concern the workers" :
		      "nothing is taken from realtime tasks for others");
	} else {
		found(d, LEVEL_WARNING, "other tasks may take %g ms of every %g ms from realtime ones",
		      most / 1e6, period / 1e6);
		explain(d, "a worker that is busy all the time is stopped for so long at once",
			"for each CPU of the workers, if these are theirs alone: echo 0 >/sys/kernel/debug/sched/fair_server/cpuN/runtime");
	}
	return true;
}

static void check_throttling(struct doctor *d)
{
	long long runtime = 950000, period = RT_PERIOD_US;

	if (check_fair_server(d))
		return;
	read_number(d, &runtime, "proc/sys/kernel/sched_rt_runtime_us");
	read_number(d, &period, "proc/sys/kernel/sched_rt_period_us");
	if (runtime < 0 || runtime >= period) {
		found(d, LEVEL_OK, "realtime tasks are not throttled");
	} else if (!d->fifo) {
		found(d, LEVEL_OK, "realtime throttling does not concern the workers: they are not realtime tasks");
	} else {
		found(d, LEVEL_WARNING, "realtime tasks may run %g ms of every %g ms",
		      runtime / 1e3, period / 1e3);
		explain(d, "a worker that is busy all the time is stopped for the rest of each period",
			"sysctl kernel.sched_rt_runtime_us=-1, if the CPUs of the workers are theirs alone");
	}
}

static void check_clocksource(struct doctor *d)
{
	static const char *const good[] = { "tsc", "kvm-clock", "hyperv_clocksource_tsc_page",
					    "xen", "um-timer", NULL };
	char name[64];

	if (!read_text(d, name, sizeof(name),
		       "sys/devices/system/clocksource/clocksource0/current_clocksource")) {
		found(d, LEVEL_NOTE, "the kernel does not tell its clocksource");
		return;
	}
	for (int i = 0; good[i]; i++) {
		if (strcmp(name, good[i]))
			continue;
		found(d, LEVEL_OK, "the clocksource is %s", name);
		return;
	}
	found(d, LEVEL_WARNING, "the clocksource is %s", name);
	explain(d, "reading the time takes microseconds, and a worker does so all the time",
		"find out in the kernel log why tsc was given up; boot with tsc=reliable if that was a mistake");
}

/* ---- whose the CPUs are ---------------------------------------------------------------------- */

static void check_workers(struct doctor *d)
{
	const char *cpus = cpus_text(&d->workers), *s = CPU_COUNT(&d->workers) == 1 ? "" : "s";

	if (!d->loaded)
		found(d, LEVEL_OK, "loaded now, the module would have workers on CPU%s %s", s, cpus);
	else if (!CPU_COUNT(&d->workers))
		found(d, LEVEL_ERROR, "none of the workers' CPUs is online");
	else if (!d->fifo)
		found(d, LEVEL_WARNING, "workers on CPU%s %s have an ordinary priority", s, cpus);
	else if (d->fifo == 99)
		found(d, LEVEL_WARNING, "workers on CPU%s %s have the highest priority, fifo:99", s,
		      cpus);
	else
		found(d, LEVEL_OK, "workers on CPU%s %s have priority fifo:%d", s, cpus, d->fifo);
	if (!d->loaded)
		return;
	if (!CPU_COUNT(&d->workers))
		explain(d, "nothing is computed", "echo 1 > /sys/devices/system/cpu/cpuN/online, or load the module with other cpus=");
	else if (!d->fifo)
		explain(d, "every other process on these CPUs takes its share of each token's time",
			"load the module with policy=fifo:50 (options bitnet policy=fifo:50 in /etc/modprobe.d/bitnet.conf)");
	else if (d->fifo == 99)
		explain(d, "the kernel's own threads for migration and watchdogs have to wait, and it may stall",
			"load the module with a lower one, such as policy=fifo:50");
}

static void check_isolation(struct doctor *d)
{
	char list[256];
	cpu_set_t isolated, nohz, left;

	read_text(d, list, sizeof(list), "sys/devices/system/cpu/isolated");
	cpus_parse(list, &isolated);
	CPU_XOR(&left, &isolated, &d->workers);
	CPU_AND(&left, &left, &d->workers);
	if (!CPU_COUNT(&left)) {
		found(d, LEVEL_OK, "the workers' CPUs are isolated");
	} else {
		found(d, LEVEL_NOTE, "CPUs with workers that are not isolated: %s", cpus_text(&left));
		explain(d, "other tasks run there too, and leave cold caches behind",
			"boot with isolcpus=%s%s", cpus_text(&d->workers),
			CPU_COUNT(&d->workers) == CPU_COUNT(&d->online) ?
			" and cpus= without one CPU, which the system needs" : "");
	}
	CPU_XOR(&left, &isolated, &d->workers);
	CPU_AND(&left, &left, &isolated);
	if (CPU_COUNT(&left)) {
		found(d, LEVEL_NOTE, "isolated CPUs without a worker: %s", cpus_text(&left));
		explain(d, "what is isolated serves nobody else",
			"load the module with cpus=%s, if they are meant for it", cpus_text(&isolated));
	}
	read_text(d, list, sizeof(list), "sys/devices/system/cpu/nohz_full");
	cpus_parse(list, &nohz);
	CPU_XOR(&left, &nohz, &d->workers);
	CPU_AND(&left, &left, &d->workers);
	if (!CPU_COUNT(&left)) {
		found(d, LEVEL_OK, "the workers' CPUs have no tick while one task runs (nohz_full)");
	} else {
		found(d, LEVEL_NOTE, "CPUs with workers and a periodic tick: %s", cpus_text(&left));
		explain(d, "the timer interrupts each of them some hundred times a second",
			"boot with nohz_full=%s", cpus_text(&d->workers));
	}
}

static void check_smt(struct doctor *d)
{
	cpu_set_t siblings, shared, idle_threads;
	char list[256];

	CPU_ZERO(&shared);
	CPU_ZERO(&idle_threads);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &d->workers))
			continue;
		read_text(d, list, sizeof(list),
			  "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		cpus_parse(list, &siblings);
		CPU_CLR(cpu, &siblings);
		CPU_AND(&siblings, &siblings, &d->online);
		if (on_worker(d, &siblings))
			CPU_SET(cpu, &shared);
		CPU_OR(&idle_threads, &idle_threads, &siblings);
	}
	CPU_XOR(&siblings, &idle_threads, &d->workers);
	CPU_AND(&idle_threads, &siblings, &idle_threads);
	if (CPU_COUNT(&shared)) {
		found(d, LEVEL_WARNING, "workers share cores with each other: CPUs %s",
		      cpus_text(&shared));
		explain(d, "two threads of a core share its multipliers: each is slower when the other is busy",
			"load the module with one CPU of each core in cpus=");
	}
	if (CPU_COUNT(&idle_threads)) {
		found(d, LEVEL_WARNING, "workers share cores with CPUs that do other things: %s",
		      cpus_text(&idle_threads));
		explain(d, "what runs there slows the worker beside it by up to half",
			"take these offline (echo 0 > /sys/devices/system/cpu/cpuN/online), or isolate them too");
	}
	if (!CPU_COUNT(&shared) && !CPU_COUNT(&idle_threads))
		found(d, LEVEL_OK, "no worker shares its core");
}

/* ---- interrupts ------------------------------------------------------------------------------ */

/* A folder in that of an interrupt is a handler: without one it never comes. */
static bool has_handler(const struct doctor *d, const char *irq)
{
	char path[512], below[1024];
	struct dirent *e;
	struct stat st;
	bool has = false;
	DIR *dir;

	if (!path_of(d, path, sizeof(path), "proc/irq/%s", irq))
		return false;
	dir = opendir(path);
	while (dir && !has && (e = readdir(dir))) {
		snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		has = *e->d_name != '.' && !stat(below, &st) && S_ISDIR(st.st_mode);
	}
	if (dir)
		closedir(dir);
	return has;
}

static bool irq_on_worker(const struct doctor *d, const char *irq)
{
	char list[256];
	cpu_set_t cpus;

	if (!has_handler(d, irq))
		return false;
	/* where it is really sent, or where it may be */
	if (!read_text(d, list, sizeof(list), "proc/irq/%s/effective_affinity_list", irq) || !*list)
		read_text(d, list, sizeof(list), "proc/irq/%s/smp_affinity_list", irq);
	cpus_parse(list, &cpus);
	return on_worker(d, &cpus);
}

static void check_interrupts(struct doctor *d)
{
	char path[512], numbers[64] = "";
	unsigned int n = 0;
	struct dirent *e;
	size_t len = 0;
	DIR *dir;

	dir = path_of(d, path, sizeof(path), "proc/irq") ? opendir(path) : NULL;
	while (dir && (e = readdir(dir))) {
		if (*e->d_name < '0' || *e->d_name > '9' || !irq_on_worker(d, e->d_name))
			continue;
		if (len < sizeof(numbers) - 16)
			len += snprintf(numbers + len, sizeof(numbers) - len, " %.8s", e->d_name);
		n++;
	}
	if (dir)
		closedir(dir);
	if (!n) {
		found(d, LEVEL_OK, "no device interrupts the workers' CPUs");
		return;
	}
	found(d, CPU_COUNT(&d->workers) == CPU_COUNT(&d->online) ? LEVEL_NOTE : LEVEL_WARNING,
	      "%u device interrupt%s served by the workers' CPUs:%s%s", n, n == 1 ? " is" : "s are",
	      numbers, len < sizeof(numbers) - 16 ? "" : " ...");
	explain(d, "each takes some microseconds, or much longer with its softirqs, from a token",
		"echo LIST > /proc/irq/N/smp_affinity_list with CPUs that have no worker; stop or configure irqbalance");
}

/* ---- power ----------------------------------------------------------------------------------- */

static void check_governor(struct doctor *d)
{
	cpu_set_t slow;
	char name[64], other[64] = "";
	bool any = false;

	CPU_ZERO(&slow);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &d->workers) ||
		    !read_text(d, name, sizeof(name),
			       "sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", cpu))
			continue;
		any = true;
		if (!strcmp(name, "performance"))
			continue;
		CPU_SET(cpu, &slow);
		strcpy(other, name);
	}
	if (!any) {
		found(d, LEVEL_OK, "the kernel does not change the CPUs' frequency");
	} else if (!CPU_COUNT(&slow)) {
		found(d, LEVEL_OK, "the workers' CPUs have the governor performance");
	} else {
		found(d, LEVEL_WARNING, "CPUs with workers and the governor %s: %s", other,
		      cpus_text(&slow));
		explain(d, "after a pause a token is computed at a low frequency, and takes several times as long",
			"cpupower -c %s frequency-set -g performance", cpus_text(&slow));
	}
}

/* The longest that an idle state of this CPU which may be entered takes to leave, us. */
static long long deepest_idle_us(const struct doctor *d, int cpu, char *name, size_t size)
{
	long long latency, deepest = 0, disabled;

	for (int s = 0; read_number(d, &latency, "sys/devices/system/cpu/cpu%d/cpuidle/state%d/latency",
				    cpu, s); s++) {
		if (read_number(d, &disabled,
				"sys/devices/system/cpu/cpu%d/cpuidle/state%d/disable", cpu, s) &&
		    disabled)
			continue;
		if (latency <= deepest)
			continue;
		deepest = latency;
		read_text(d, name, size, "sys/devices/system/cpu/cpu%d/cpuidle/state%d/name", cpu, s);
	}
	return deepest;
}

/* What a process holds in /dev/cpu_dma_latency: a number of 32 bits, the least of all wishes. */
static bool read_dma_latency(const struct doctor *d, int32_t *us)
{
	char path[512];
	bool got = false;
	FILE *f;

	f = path_of(d, path, sizeof(path), "dev/cpu_dma_latency") ? fopen(path, "re") : NULL;
	if (f) {
		got = fread(us, sizeof(*us), 1, f) == 1;
		fclose(f);
	}
	return got;
}

static void check_idle(struct doctor *d)
{
	char name[32] = "", state[32] = "";
	long long us, deepest = 0;
	int32_t allowed;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		us = CPU_ISSET(cpu, &d->workers) ?
			deepest_idle_us(d, cpu, state, sizeof(state)) : 0;
		if (us > deepest) {
			deepest = us;
			memcpy(name, state, sizeof(name));
		}
	}
	if (deepest > DEEP_IDLE_US && read_dma_latency(d, &allowed) && allowed >= 0 &&
	    allowed <= DEEP_IDLE_US) {
		found(d, LEVEL_OK, "a process keeps the CPUs from idling deeper than %d us", allowed);
	} else if (deepest > DEEP_IDLE_US) {
		found(d, LEVEL_WARNING, "the workers' CPUs may idle as deep as %s, %lld us from waking",
		      name, deepest);
		explain(d, "the first token after a pause waits for the CPU to wake up, and finds cold caches",
			"hold /dev/cpu_dma_latency open with %d in it (tuned: latency-performance), or cpupower idle-set -D %d",
			DEEP_IDLE_US, DEEP_IDLE_US);
	} else {
		found(d, LEVEL_OK, "the workers' CPUs have no deep idle states");
	}
}

/* ---- virtual machines ------------------------------------------------------------------------ */

/* Share of all CPU time since boot that the hypervisor gave to others, percent. */
static double steal_percent(const struct doctor *d)
{
	unsigned long long v[8] = { 0 }, all = 0;
	char text[512];
	const char *s;
	int n;

	read_text(d, text, sizeof(text), "proc/stat");
	s = line_of(text, "cpu ");
	n = s ? sscanf(s, "%llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
		       &v[4], &v[5], &v[6], &v[7]) : 0;
	for (int i = 0; i < 8; i++)
		all += v[i];
	return n == 8 && all ? 100.0 * v[7] / all : 0;
}

static void check_virtual(struct doctor *d)
{
	static const char *const why =
		"when the hypervisor runs somebody else, no kernel inside can do anything about it";
	double steal = steal_percent(d);
	char text[8192];
	const char *flags;

	read_text(d, text, sizeof(text), "proc/cpuinfo");
	flags = line_of(text, "flags");
	if (steal >= STEAL_PERCENT) {
		found(d, LEVEL_WARNING, "the hypervisor took %.1f %% of the CPUs' time", steal);
		explain(d, why, "ask for dedicated CPUs, or a machine of one's own");
	} else if (has_word(flags, "hypervisor")) {
		found(d, LEVEL_NOTE, "this is a virtual machine; the hypervisor took %.1f %% of its time",
		      steal);
		explain(d, why, "where the last millisecond counts: dedicated CPUs, pinned by the hypervisor");
	} else {
		found(d, LEVEL_OK, "this is no virtual machine");
	}
}

const struct doctor_check doctor_cpu_checks[] = {
	{ "preemption", check_preemption },
	{ "workers", check_workers },
	{ "isolation", check_isolation },
	{ "throttling", check_throttling },
	{ "interrupts", check_interrupts },
	{ "smt", check_smt },
	{ "governor", check_governor },
	{ "idle", check_idle },
	{ "clocksource", check_clocksource },
	{ "virtual", check_virtual },
	{ 0 }
};

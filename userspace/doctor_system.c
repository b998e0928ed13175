// SPDX-License-Identifier: GPL-2.0
/* doctor_system.c - checks of module, device and memory; see doctor.h */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bitnetctl.h"
#include "doctor.h"

#define CAP_IPC_LOCK_BIT	14
#define SMALL_MEMLOCK		(1ULL << 30)	/* the smallest useful models need half of that */

/* ---- module and device ----------------------------------------------------------------------- */

static void check_module(struct doctor *d)
{
	char version[32];

	if (!d->loaded) {
		found(d, LEVEL_ERROR, "the module is not loaded");
		explain(d, "without it bitnetctl computes in its own process, which competes with all others",
			"modprobe bitnet (as root); 'make install' builds it for this kernel");
		return;
	}
	if (!read_text(d, version, sizeof(version), "sys/module/bitnet/version") || !*version) {
		found(d, LEVEL_NOTE, "the module does not tell its version");
	} else if (strcmp(version, BITNET_VERSION)) {
		found(d, LEVEL_ERROR, "the module has version %s, this program %s", version,
		      BITNET_VERSION);
		explain(d, "what one of them knows of classes and deadlines the other may not",
			"install both from one release: make install; then modprobe -r bitnet, modprobe bitnet");
	} else {
		found(d, LEVEL_OK, "the module has version %s, as this program", version);
	}
}

/* Variants with the CPU flags that they need, fastest first; the kernel's rule. */
static const char *fastest_variant(const char *flags)
{
	static const struct { const char *name, *needs[6]; } variants[] = {
		{ "avx512vbmi", { "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni",
				  "avx512vbmi" } },
		{ "avx512vnni", { "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni" } },
		{ "avxvnni", { "avx2", "avx_vnni" } },
		{ "avx2", { "avx2" } },
	};
	size_t have;

	for (size_t v = 0; v < sizeof(variants) / sizeof(variants[0]); v++) {
		for (have = 0; have < 6 && variants[v].needs[have]; have++)
			if (!has_word(flags, variants[v].needs[have]))
				break;
		if (have == 6 || !variants[v].needs[have])
			return variants[v].name;
	}
	return "ref";
}

/* The name in the row of debugfs's table whose column @column is @value; false: none. */
static bool variant_with(const char *table, int column, const char *value, char name[32])
{
	char verdict[32], in_use[32];

	for (table = strchr(table, '\n'); table; table = strchr(table + 1, '\n'))
		if (sscanf(table, "%31s %31s %*s %*s %31s", name, verdict, in_use) == 3 &&
		    !strcmp(column == 1 ? verdict : in_use, value))
			return true;
	return false;
}

static void check_variant(struct doctor *d)
{
	char text[8192], asked[32], used[32], wrong[32];
	const char *flags, *best;

	if (!d->loaded)
		return;
	read_text(d, text, sizeof(text), "proc/cpuinfo");
	flags = line_of(text, "flags");
	best = flags ? fastest_variant(flags) : NULL;
	read_text(d, asked, sizeof(asked), "sys/module/bitnet/parameters/variant");
	read_text(d, text, sizeof(text), "sys/kernel/debug/bitnet/variants");
	if (!variant_with(text, 2, "yes", used))
		snprintf(used, sizeof(used), "%s", asked);
	if (variant_with(text, 1, "wrong", wrong)) {
		found(d, LEVEL_WARNING, "the variant %s computes something else than the reference, and is not used",
		      wrong);
		explain(d, "a token takes longer; and a compiler, a CPU or a hypervisor is broken",
			"see the kernel log; build the module with another compiler, or try other hardware");
	} else if (!best) {
		found(d, LEVEL_OK, "the module uses the variant %s", used);
	} else if (!strcmp(used, best) || !strcmp(used, "fastest")) {
		found(d, LEVEL_OK, "the module uses the fastest variant of this CPU, %s", best);
	} else {
		found(d, LEVEL_WARNING, "the module uses the variant %s, this CPU could do %s", used,
		      best);
		explain(d, "a token takes longer than it must",
			strcmp(asked, "fastest") ? "load the module without variant=%s" :
			"see the kernel log for why the module does not use another than %s", used);
	}
}

/* Of the process that looks; from /proc, so that a test can be anybody. */
struct identity {
	unsigned int uid;
	uint64_t capabilities;
	char groups[1024];
};

static void read_identity(const struct doctor *d, struct identity *me)
{
	char status[4096], gid[16] = "";
	const char *line;

	memset(me, 0, sizeof(*me));
	read_text(d, status, sizeof(status), "proc/self/status");
	line = line_of(status, "Uid:");
	if (line)
		sscanf(line, "%*u %u", &me->uid);
	line = line_of(status, "CapEff:");
	if (line)
		me->capabilities = strtoull(line, NULL, 16);
	line = line_of(status, "Gid:");
	if (line)
		sscanf(line, "%*u %15s", gid);
	line = line_of(status, "Groups:");
	snprintf(me->groups, sizeof(me->groups), "%s %.*s", gid,
		 line ? (int)strcspn(line, "\n") : 0, line ? line : "");
}

static bool may_open(const struct identity *me, const struct stat *st)
{
	char gid[16];

	snprintf(gid, sizeof(gid), "%u", st->st_gid);
	if (!me->uid)
		return true;
	if (me->uid == st->st_uid)
		return (st->st_mode & 0600) == 0600;
	return has_word(me->groups, gid) ? (st->st_mode & 0060) == 0060 :
					   (st->st_mode & 0006) == 0006;
}

static void check_device(struct doctor *d)
{
	char path[512];
	struct identity me;
	struct stat st;

	if (!d->loaded)
		return;
	if (!path_of(d, path, sizeof(path), "dev/bitnet") || stat(path, &st)) {
		found(d, LEVEL_ERROR, "the module is loaded, but /dev/bitnet does not exist");
		explain(d, "nobody can use it", "is /dev a devtmpfs, and does udev run? In a container, pass the device in");
		return;
	}
	read_identity(d, &me);
	if (may_open(&me, &st)) {
		found(d, LEVEL_OK, "/dev/bitnet may be opened");
		return;
	}
	found(d, LEVEL_ERROR, "/dev/bitnet may not be opened by this user");
	explain(d, "his jobs cannot be scheduled against those of others",
		"usermod -aG bitnet USER (as root), then log in again");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void check_huge_pages(struct doctor *d)
{
	char text[4096];
	const char *line;

	read_text(d, text, sizeof(text), "sys/kernel/mm/transparent_hugepage/enabled");
	if (!*text) {
		found(d, LEVEL_WARNING, "this kernel has no transparent huge pages");
		explain(d, "weights lie in pages of 4 KiB: looking up where costs time at each of them",
			"take a kernel with CONFIG_TRANSPARENT_HUGEPAGE");
	} else if (strstr(text, "[never]")) {
		found(d, LEVEL_WARNING, "transparent huge pages are off");
		explain(d, "weights lie in pages of 4 KiB: looking up where costs time at each of them",
			"echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
	} else {
		found(d, LEVEL_OK, "models get transparent huge pages");
	}
	read_text(d, text, sizeof(text), "proc/meminfo");
	line = line_of(text, "HugePages_Free:");
	if (line && atoll(line) > 0) {
		found(d, LEVEL_NOTE, "%lld reserved huge pages are free", atoll(line));
		explain(d, "models do not use them unless their images lie in hugetlbfs, and they are lost to others",
			"sysctl vm.nr_hugepages=0, if nothing else needs them");
	}
}

static void check_memlock(struct doctor *d)
{
	unsigned long long bytes = 0;
	char text[4096];
	struct identity me;
	const char *line;

	read_identity(d, &me);
	if (me.capabilities & 1ULL << CAP_IPC_LOCK_BIT) {
		found(d, LEVEL_OK, "this user may lock any amount of memory (CAP_IPC_LOCK)");
		return;
	}
	read_text(d, text, sizeof(text), "proc/self/limits");
	line = line_of(text, "Max locked memory");
	if (!line) {
		found(d, LEVEL_NOTE, "the limit on locked memory is not told");
	} else if (sscanf(line, "%llu", &bytes) != 1 || bytes >= SMALL_MEMLOCK) {
		found(d, LEVEL_OK, "the limit on locked memory is %s", bytes ? out_size(bytes) : "off");
	} else {
		found(d, LEVEL_WARNING, "the limit on locked memory is %s", out_size(bytes));
		explain(d, "a model that is larger cannot be pinned by this user, who may use shared ones only",
			"join the group bitnet and log in again, if /etc/security/limits.d/bitnet.conf is installed");
	}
}

static void check_swap(struct doctor *d)
{
	char text[4096];
	const char *rows;

	read_text(d, text, sizeof(text), "proc/swaps");
	rows = strchr(text, '\n');
	if (!rows || !rows[1]) {
		found(d, LEVEL_OK, "there is no swap");
		return;
	}
	found(d, LEVEL_NOTE, "there is swap");
	explain(d, "models and caches of the device stay in memory, but not the clients that wait for the tokens",
		"let clients call mlockall(), or swapoff -a");
}

/* The tightest limit of this process's cgroup and those above; -1: none. Version 2 only. */
static long long cgroup_limit(const struct doctor *d, const char *file)
{
	char text[4096], path[512];
	long long least = -1, n;
	const char *line;
	char *slash;

	read_text(d, text, sizeof(text), "proc/self/cgroup");
	line = line_of(text, "0::");
	if (!line)
		return -1;
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(line, "\n"), line);
	do {
		/* "max", or "max 100000", is no number */
		if (read_text(d, text, sizeof(text), "sys/fs/cgroup%s/%s", path, file) &&
		    sscanf(text, "%lld", &n) == 1 && (least < 0 || n < least))
			least = n;
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return least;
}

static void check_limits(struct doctor *d)
{
	long long memory = cgroup_limit(d, "memory.max"), cpu = cgroup_limit(d, "cpu.max");
	long long overcommit = 0;

	if (cpu >= 0) {
		found(d, LEVEL_WARNING, "the cgroup's CPU time is limited (cpu.max)");
		explain(d, "the local engine and inline jobs stand still when it is used up; the module's workers do not",
			"run clients of the device there, or lift the limit");
	}
	if (memory >= 0) {
		found(d, LEVEL_NOTE, "the cgroup's memory is limited to %s", out_size(memory));
		explain(d, "models and caches count: loading what does not fit is refused, or wakes the OOM killer",
			"raise memory.max above what models and contexts need");
	}
	read_number(d, &overcommit, "proc/sys/vm/overcommit_memory");
	if (overcommit == 2) {
		found(d, LEVEL_NOTE, "memory is not overcommitted (vm.overcommit_memory=2)");
		explain(d, "what a context reserves counts although it is never touched, and may be refused",
			"shorter contexts (--ctx), or sysctl vm.overcommit_memory=0");
	}
	if (cpu < 0 && memory < 0 && overcommit != 2)
		found(d, LEVEL_OK, "no cgroup limits this process");
}

/* ---- what happened to the kernel ------------------------------------------------------------- */

static void check_taint(struct doctor *d)
{
	static const struct { int bit; const char *name; } bad[] = {
		{ 4, "a machine check" }, { 5, "a bad page" }, { 7, "an oops" }, { 9, "a warning" },
		{ 14, "a soft lockup" },
	};
	long long taint = 0;
	char what[128] = "";
	size_t len = 0;

	read_number(d, &taint, "proc/sys/kernel/tainted");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (taint >> bad[i].bit & 1)
			len += snprintf(what + len, sizeof(what) - len, "%s%s", len ? ", " : "",
					bad[i].name);
	if (!len) {
		/* modules from outside, as this one, taint it too: nobody is to worry */
		found(d, LEVEL_OK, "nothing has happened to the kernel since it was booted");
		return;
	}
	found(d, LEVEL_WARNING, "since it was booted, the kernel has seen %s", what);
	explain(d, "it may hold locks for ever, or compute on damaged memory",
		"read the kernel log (dmesg), then boot again");
}

const struct doctor_check doctor_system_checks[] = {
	{ "module", check_module },
	{ "device", check_device },
	{ "variant", check_variant },
	{ "hugepages", check_huge_pages },
	{ "memlock", check_memlock },
	{ "swap", check_swap },
	{ "limits", check_limits },
	{ "taint", check_taint },
	{ 0 }
};

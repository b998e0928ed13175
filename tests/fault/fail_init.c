// SPDX-License-Identifier: GPL-2.0
/*
 * fail_init.c - loading the module with one allocation or user access failing: it loads, or nothing
 * of it stays
 *
 * Most of what can fail when a module is loaded is the kernel's own, which does not always bear it
 * well; so only events count that some function of a module has caused. Leaves the module loaded
 * with default parameters.
 */
#include <limits.h>

#include "../device/device.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"

static int nth_fd, module_fd;

static void knob(const char *dir, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		diag("%s: %s", path, strerror(errno));
	close(fd);
}

/* Where a symbol of the kernel is, and where the next one begins. */
static bool symbol(const char *wanted, unsigned long *start, unsigned long *end)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	unsigned long address;
	char name[256], type;

	*start = 0;
	*end = ULONG_MAX;
	if (!f)
		return false;
	while (fscanf(f, "%lx %c %255s%*[^\n]", &address, &type, name) == 3)
		if (!strcmp(name, wanted))
			*start = address;
	for (rewind(f); fscanf(f, "%lx %c %255s%*[^\n]", &address, &type, name) == 3;)
		if (address > *start && address < *end)
			*end = address;
	fclose(f);
	return *start;
}

static void knob_address(const char *dir, const char *name, unsigned long address)
{
	char value[32];

	snprintf(value, sizeof(value), "0x%lx", address);
	knob(dir, name, value);
}

/*
 * Chooses the events: callers in modules, which lie above the kernel's own text; and none in
 * sysfs_slab_add(), which in 6.12 loses the name of a slab cache when it fails, so that kmemleak
 * would put that down to us.
 */
static bool choose_events(const char *const *dirs, unsigned int n)
{
	unsigned long etext, start, end, unused;
	unsigned int i;

	if (!symbol("_etext", &etext, &unused) || !symbol("sysfs_slab_add", &start, &end))
		return false;
	for (i = 0; i < n; i++) {
		knob(dirs[i], "stacktrace-depth", "32");
		knob_address(dirs[i], "require-start", etext);
		knob_address(dirs[i], "reject-start", start);
		knob_address(dirs[i], "reject-end", end);
	}
	return true;
}

/* Back to all events, for later tests. */
static void choose_all(const char *const *dirs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		knob_address(dirs[i], "require-start", 0);
		knob_address(dirs[i], "reject-start", 0);
		knob_address(dirs[i], "reject-end", 0);
	}
}

static int load(void)
{
	return syscall(SYS_finit_module, module_fd, "", 0) ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "bitnet", O_NONBLOCK) ? -errno : 0;
}

/* Loads with event number @n failing. Return: did it fail? */
static bool load_failing(unsigned int n, int *err)
{
	char text[16];
	ssize_t got;
	int tries;

	snprintf(text, sizeof(text), "%u", n);
	if (pwrite(nth_fd, text, strlen(text), 0) < 0)
		bail("%s: %s", FAIL_NTH, strerror(errno));
	*err = load();
	memset(text, 0, sizeof(text));
	got = pread(nth_fd, text, sizeof(text) - 1, 0);
	for (tries = 0; pwrite(nth_fd, "0", 1, 0) < 0 && tries < 3;)
		tries++;
	return got > 0 && !strtoul(text, NULL, 10);
}

static bool serves(const struct t_image *image)
{
	static struct t_result r;
	const uint32_t tokens[3] = { 1, 2, 3 };
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, image, 16);
	job = t_generate(c.session, tokens, 3, 5, 1);
	if (t_run(&c.ring, &job, &r) || r.n != 5)
		return false;
	t_client_close(&c);
	return true;
}

int main(void)
{
	static const char *const dirs[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	struct t_image image = t_image_random(&t_tiny);
	const char *path = getenv("BITNET_MODULE");
	unsigned int n, i;
	unsigned int failures = 0, endured = 0, odd = 0, left = 0, unusable = 0;
	int err;

	module_fd = open(path ? path : "/modules/bitnet.ko", O_RDONLY | O_CLOEXEC);
	nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (module_fd < 0 || nth_fd < 0 || access("/sys/kernel/debug/failslab", F_OK))
		skip_all("this kernel has no fault injection, or there is no module file");
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		knob(dirs[i], "ignore-gfp-wait", "N");
		knob(dirs[i], "ignore-gfp-highmem", "N");
		knob(dirs[i], "min-order", "0");
		knob(dirs[i], "verbose", "0");
	}
	if (!choose_events(dirs, ARRAY_SIZE(dirs)))
		skip_all("no /proc/kallsyms to choose events by");
	is(unload(), 0, "rmmod");

	for (n = 1;; n++) {
		bool fired = load_failing(n, &err);

		if (!err) {
			unusable += fired && !serves(&image);
			if (unload())
				bail("the module does not unload after failure number %u", n);
		}
		if (!fired)
			break;
		if (!err) {
			endured++;
			continue;
		}
		failures++;
		if (err != -ENOMEM && err != -EFAULT && err != -ENOENT && err != -EINVAL &&
		    err != -ENOEXEC) {
			diag("failure number %u gives %d (%s)", n, err, strerror(-err));
			odd++;
		}
		if (!access("/sys/module/bitnet", F_OK) || !access(BITNET_DEVICE_PATH, F_OK) ||
		    !access("/sys/kernel/debug/bitnet", F_OK) || t_pinned_pages()) {
			diag("failure number %u leaves something", n);
			left++;
		}
	}
	choose_all(dirs, ARRAY_SIZE(dirs));
	ok(failures > 10, "%u failures, %u endured, then none is met", failures, endured);
	is(odd, 0, "each with a reason");
	is(left, 0, "none leaves anything");
	is(unusable, 0, "where it loads it works");
	is(load(), 0, "insmod");
	if (chown(BITNET_DEVICE_PATH, 0, T_GID_BITNET) || chmod(BITNET_DEVICE_PATH, 0660))
		diag("%s: %s", BITNET_DEVICE_PATH, strerror(errno));
	ok(serves(&image), "serves");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * unload.c - the module comes and goes: idle, raced by clients, under load, with every parameter
 *
 * Loads BITNET_MODULE itself, and leaves it loaded as it was found.
 */
#include <pthread.h>

#include "device.h"

static struct t_image image;
static char restore[1024];	/* parameters as they were */
static int module_fd;

static int load(const char *params)
{
	return syscall(SYS_finit_module, module_fd, params, 0) ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "bitnet", O_NONBLOCK) ? -errno : 0;
}

static bool is_loaded(void)
{
	return !access("/sys/module/bitnet", F_OK);
}

/* The value of a parameter, without the newline. */
static bool parameter(const char *name, char *value, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/bitnet/parameters/%s", name);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, value, size - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return false;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return true;
}

/* As udev would, or the users of later tests could not open the device. */
static void set_mode(void)
{
	if (chown(BITNET_DEVICE_PATH, 0, T_GID_BITNET) || chmod(BITNET_DEVICE_PATH, 0660))
		diag("%s: %s", BITNET_DEVICE_PATH, strerror(errno));
}

/* Memory available once caches are dropped; with patience, until it is at least @want. */
static long long mem_available(long long want)
{
	uint64_t give_up = t_now() + T_HANG_NS / 10;
	long long now;
	int fd;

	do {
		fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "3", 1) != 1)
			diag("drop_caches: %s", strerror(errno));
		close(fd);
		t_sleep_ns(20000000);
		now = t_number_in("/proc/meminfo", "MemAvailable", -1);
	} while (now < want && t_now() < give_up);
	return now;
}

static bool serves(void)
{
	static struct t_result r;
	const uint32_t tokens[3] = { 1, 2, 3 };
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, &image, 16);
	job = t_generate(c.session, tokens, 3, 5, 1);
	if (t_run(&c.ring, &job, &r) || r.n != 5)
		return false;
	t_client_close(&c);
	return true;
}

/* What the device is before anybody's udev rule: nobody's but root's. */
static void check_mode(void)
{
	struct stat st;

	if (unload() || load("") || stat(BITNET_DEVICE_PATH, &st))
		bail("rmmod and insmod");
	is(st.st_mode & 0777, 0660, "a new device has mode 0660");
	is(st.st_uid, 0, "and belongs to root");
}

static void check_loop(void)
{
	unsigned int n = t_size(t_is_fast() ? 200 : t_is_uml() ? 40 : 8, 1000), i, failed = 0;
	/*
	 * Kernels with several CPUs fill caches of their own for longer than a few rounds take; a
	 * leak shows where there are many rounds.
	 */
	long long slop, before = 0, after;

	for (i = 0; t_more(i, n, "loads"); i++) {
		failed += unload() != 0 || is_loaded();
		failed += load("") != 0 || access(BITNET_DEVICE_PATH, F_OK);
		if (i % 4 == 3)
			failed += !serves();
		/* What the first use leaves in the kernel's own caches is not ours. */
		if (i == 3)
			before = mem_available(0);
	}
	slop = i < 100 ? 16384 : 4096;
	after = mem_available(before - slop);
	is(failed, 0, "%u times unloaded and loaded, every fourth time used", i);
	ok(before - after <= slop, "available memory: %lld kB, then %lld kB", before, after);
}

static volatile bool stop;
static struct { unsigned long opened, refused, odd; } racers[2];

/* Opens, asks, closes, as fast as it can; without a module there is no device. */
static void *race(void *arg)
{
	struct bitnet_info info = { .size = sizeof(info) };
	int fd, i = arg != NULL, err;

	while (!stop) {
		fd = t_open_flags(O_RDWR);
		if (fd < 0) {
			racers[i].refused++;
			racers[i].odd += fd != -ENOENT && fd != -ENODEV && fd != -ENXIO;
			sched_yield();
			continue;
		}
		racers[i].opened++;
		racers[i].odd += t_ioctl(fd, BITNET_IOC_INFO, &info) != 0;
		if (i) {
			err = t_model_load(fd, &image, 0, NULL, NULL);
			racers[i].odd += err != 0;
		}
		close(fd);
	}
	return NULL;
}

static void check_races(void)
{
	/*
	 * Models that come and go as fast as here let User Mode Linux run out of mappings on its
	 * host somewhere behind 60 rounds: it dies of a page that it has and the host has not.
	 */
	unsigned int n = t_is_fast() ? 60 : t_is_uml() ? 30 : t_size(6, 1000);
	unsigned int gone = 0, busy = 0, odd = 0;
	pthread_t threads[2];
	uint64_t give_up = t_now() + T_HANG_NS;
	int i, err;

	for (i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, race, i ? racers : NULL))
			bail("pthread_create");
	while (t_more(gone, n, "loads in a race") && t_now() < give_up) {
		err = unload();
		if (err == -EWOULDBLOCK || err == -EBUSY) {
			busy++;
			sched_yield();
			continue;
		}
		odd += !!err;
		gone++;
		give_up = t_now() + T_HANG_NS;
		odd += load("") != 0;
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(gone && t_now() < give_up,
	   "unloaded %u times against two threads that open and close (%u times it was busy)", gone,
	   busy);
	is(odd, 0, "no call gave anything odd");
	is(racers[0].odd + racers[1].odd, 0, "nor did theirs: %lu opens, %lu without a module",
	   racers[0].opened + racers[1].opened, racers[0].refused + racers[1].refused);
	set_mode();
	ok(serves(), "the last one serves");
}

static void check_load(void)
{
	static struct t_result r;
	const uint32_t tokens[3] = { 1, 2, 3 };
	struct t_image slow = t_image_random(&t_slow);
	struct bitnet_job job;
	struct t_client c;
	uint32_t id;
	unsigned int i;
	int fd;

	t_client_open(&c, &slow, 1024);
	job = t_generate(c.session, tokens, 3, t_tokens(30), 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job");
	for (i = 0; i < 5; i++)
		is(unload(), -EWOULDBLOCK, "rmmod while it runs");
	is(t_collect(&c.ring, &r, 1, 1), 0, "the job goes on");
	is(r.n, t_tokens(30), "to its end");
	close(c.fd);
	is(unload(), -EWOULDBLOCK, "rmmod while only a mapping is left");
	t_ring_unmap(&c.ring);

	/* Nothing but an ended job's step may be in flight: the module waits for that. */
	for (i = 0; i < 3; i++) {
		t_client_open(&c, &slow, 1024);
		job = t_generate(c.session, tokens, 3, 500, 1);
		t_submit(c.fd, &job, 1, NULL);
		t_wait(c.fd, 1, T_HANG_NS, &id);
		t_client_close(&c);
		if (!is(unload(), 0, "rmmod right behind close() with a job running"))
			break;
		if (!is(load(""), 0, "insmod"))
			break;
	}

	/* A shared model outlives its file, not the module. */
	fd = t_open();
	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, "unload", &id), 0, "a shared model");
	close(fd);
	ok(t_pinned_pages() > 0, "is pinned");
	is(unload(), 0, "rmmod with nothing but a shared model");
	is(t_pinned_until(0), 0, "its pages are given back");
	is(load(""), 0, "insmod");
	fd = t_open();
	is(t_model_open(fd, "unload", &id), -ENOENT, "the name is gone");
	close(fd);
	t_image_free(&slow);
}

#define REFUSED	1	/* EINVAL, or ERANGE where the kernel's own parser has another opinion */

/* Loading with @params must give @want, and if it works, a device that serves. */
static void check_params(const char *params, int want)
{
	int err;

	if (is_loaded() && unload())
		bail("the module does not unload");
	err = load(params);
	if (want == REFUSED && err == -ERANGE)
		err = -EINVAL;
	is(err, want == REFUSED ? -EINVAL : want, "insmod '%s'", params);
	if (!err)
		ok(serves(), "serves");
	else
		ok(!is_loaded() && access(BITNET_DEVICE_PATH, F_OK), "nothing is there");
	is(t_pinned_until(0), 0, "and nothing is pinned");
}

/* Limits of the device, as parameters set them. */
static void check_limits(void)
{
	struct bitnet_info info;
	struct t_image big = t_image_random(&t_slow);
	uint32_t model, session;
	int fd, err;

	if (unload() || load("max_pinned_mb=20 max_kv_mb=15"))
		bail("small limits");
	fd = t_open();
	info = t_info(fd);
	is(info.out_max_pinned_bytes, 20 << 20, "max_pinned_mb=20");
	is(info.out_max_model_bytes, 20 << 20, "no model can be larger");
	ok(info.out_max_kv_bytes <= 15 << 20, "max_kv_mb=15");
	is(t_model_load(fd, &big, 0, NULL, &model), 0, "a model of 16 MiB");
	is(t_model_load(fd, &big, 0, NULL, NULL), -EDQUOT,
	   "a second one is too much, even for root");
	is(t_session_open(fd, model, 1024, &session), -EDQUOT, "a cache of 16 MiB");
	err = t_session_open(fd, model, 500, &session);
	is(err, 0, "half of that");
	is(t_stats(fd).out_models, 1, "failures left nothing");
	close(fd);
	ok(serves(), "all is given back");
	t_image_free(&big);
}

int main(void)
{
	static const char *const names[] = {
		"variant", "cpus", "policy", "max_pinned_mb", "max_kv_mb", "user_percent",
	};
	const char *path = getenv("BITNET_MODULE");
	char value[128];
	unsigned int i;

	module_fd = open(path ? path : "/modules/bitnet.ko", O_RDONLY | O_CLOEXEC);
	if (module_fd < 0)
		skip_all("no module file to load");
	image = t_image_random(&t_tiny);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ok(parameter(names[i], value, sizeof(value)), "parameter %s is '%s'", names[i],
		   value);
		snprintf(restore + strlen(restore), sizeof(restore) - strlen(restore), "%s=%s ",
			 names[i], value);
	}

	check_mode();
	check_loop();
	check_races();
	check_load();
	check_limits();
	check_params("variant=ref", 0);
	check_params("variant=fastest", 0);
	check_params("variant=none-such", -ENODEV);
	check_params("variant=", -ENODEV);
	check_params("cpus=0", 0);
	check_params("cpus=1000", REFUSED);
	check_params("cpus=x", REFUSED);
	check_params("policy=other", 0);
	check_params("policy=fifo:10", 0);
	check_params("policy=fifo:0", -EINVAL);
	check_params("policy=fifo:100", -EINVAL);
	check_params("policy=fifo", -EINVAL);
	check_params("policy=rr:1", -EINVAL);
	check_params("user_percent=100", 0);
	check_params("user_percent=0", -EINVAL);
	check_params("user_percent=101", -EINVAL);
	check_params("user_percent=-1", REFUSED);
	check_params("max_pinned_mb=18446744073709551615", 0);
	check_params("max_pinned_mb=x", REFUSED);

	if (is_loaded() && unload())
		bail("the module does not unload");
	is(load(restore), 0, "loaded as it was: %s", restore);
	set_mode();
	ok(serves(), "serves");
	return done();
}

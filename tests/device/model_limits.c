// SPDX-License-Identifier: GPL-2.0
/*
 * model_limits.c - how much may be pinned: RLIMIT_MEMLOCK of the user, handles of a file, a uid's
 * quota
 */
#include "device.h"

static struct t_image image;
static struct t_leaks before;

static int set_memlock(uint64_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	return setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* The steps of an ordinary user who may lock exactly two images; the number of the one that failed.
 */
static int memlock_user(void *arg)
{
	uint32_t a, b, c;
	int fd, second;

	(void)arg;
	if (set_memlock(2 * image.length))
		return 100;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	second = t_open_flags(O_RDWR);
	if (fd < 0 || second < 0)
		return 101;
	if (t_model_load(fd, &image, 0, NULL, &a))
		return 1;
	if (t_model_load(second, &image, 0, NULL, &b))
		return 2;
	/* The limit is the user's, not the file's; the same pages count each time. */
	if (t_model_load(fd, &image, 0, NULL, &c) != -ENOMEM)
		return 3;
	if (t_stats(fd).out_models != 1 || t_stats(fd).out_pinned_bytes != image.length)
		return 4;
	if (t_model_close(second, b) || t_model_load(fd, &image, 0, NULL, &c))
		return 5;
	if (t_model_load(second, &image, 0, NULL, &b) != -ENOMEM)
		return 6;
	/* Closing the file gives back all that it was charged for. */
	close(fd);
	if (t_model_load(second, &image, 0, NULL, &a) || t_model_load(second, &image, 0, NULL, &b))
		return 7;
	if (t_model_load(second, &image, 0, NULL, &c) != -ENOMEM)
		return 8;
	return 0;
}

/* One page less than two images is not enough for the second. */
static int memlock_page(void *arg)
{
	uint32_t id;
	int fd;

	(void)arg;
	if (set_memlock(2 * image.length - T_PAGE))
		return 100;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 101;
	if (t_model_load(fd, &image, 0, NULL, &id))
		return 1;
	return t_model_load(fd, &image, 0, NULL, &id) == -ENOMEM ? 0 : 2;
}

static int memlock_nothing(void *arg)
{
	uint32_t id;
	int fd;

	(void)arg;
	if (set_memlock(image.length - 1))
		return 100;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 101;
	return t_model_load(fd, &image, 0, NULL, &id) == -ENOMEM ? 0 : 1;
}

/* Two processes of one user share its limit; what the first pinned is free when it has died. */
static int memlock_two(void *arg)
{
	int ready[2], go[2], fd, status;
	char byte;
	uint32_t id;
	pid_t pid;

	(void)arg;
	if (set_memlock(image.length) || pipe(ready) || pipe(go))
		return 100;
	t_drop_privileges(1001, T_GID_BITNET);
	pid = fork();
	if (!pid) {
		fd = t_open_flags(O_RDWR);
		byte = fd < 0 || t_model_load(fd, &image, 0, NULL, &id) ? 'n' : 'y';
		if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	fd = t_open_flags(O_RDWR);
	if (fd < 0 || read(ready[0], &byte, 1) != 1 || byte != 'y')
		return 1;
	if (t_model_load(fd, &image, 0, NULL, &id) != -ENOMEM)
		return 2;
	if (write(go[1], "x", 1) != 1 || waitpid(pid, &status, 0) != pid || status)
		return 3;
	return t_model_load(fd, &image, 0, NULL, &id) ? 4 : 0;
}

static int memlock_root(void *arg)
{
	uint32_t id;
	int fd;

	(void)arg;
	if (set_memlock(0))
		return 100;
	fd = t_open_flags(O_RDWR);
	return fd < 0 || t_model_load(fd, &image, 0, NULL, &id);
}

/*
 * All files of one uid together: the quota of the uid, which INFO does not state, ends it with
 * EDQUOT.
 */
static int user_quota(void *arg)
{
	unsigned int models = 0, files;
	uint32_t id;
	int fd, err = 0;

	(void)arg;
	if (set_memlock(RLIM_INFINITY))
		return 100;
	t_drop_privileges(1000, T_GID_BITNET);
	for (files = 0; files < 4096; files++) {
		fd = t_open_flags(O_RDWR);
		if (fd < 0)
			return fd == -EDQUOT || fd == -EMFILE ? 3 : 1;
		do {
			err = t_model_load(fd, &image, 0, NULL, &id);
			models += !err;
		} while (!err);
		if (err != -EDQUOT)
			return 2;
		if (!t_stats(fd).out_models)
			return models > 16 ? 0 : 4;
	}
	return 5;
}

int main(void)
{
	struct bitnet_info info;
	uint32_t id, first = 0, n;
	int fd, err = 0;

	before = t_leaks_start();
	image = t_image_random(&t_tiny);

	is(t_in_child(memlock_user, NULL), 0, "RLIMIT_MEMLOCK is exact, over a user's files");
	ok(t_leaks_none(&before), "nothing is left");
	is(t_in_child(memlock_page, NULL), 0, "to the page");
	is(t_in_child(memlock_nothing, NULL), 0, "RLIMIT_MEMLOCK below the image is ENOMEM");
	is(t_in_child(memlock_two, NULL), 0, "RLIMIT_MEMLOCK is exact, over a user's processes");
	is(t_in_child(memlock_root, NULL), 0, "CAP_IPC_LOCK exempts");
	is(t_in_child(user_quota, NULL), 0, "a uid's models are limited over all its files");
	ok(t_leaks_none(&before), "nothing is left");

	fd = t_open();
	info = t_info(fd);
	for (n = 0; n <= info.out_max_models; n++) {
		err = t_model_load(fd, &image, 0, NULL, &id);
		if (err)
			break;
		if (!n)
			first = id;
	}
	is(n, info.out_max_models, "a file has as many models as INFO says");
	is(err, -EDQUOT, "then EDQUOT");
	is(t_stats(fd).out_models, info.out_max_models, "STATS counts them");
	is(t_model_close(fd, first), 0, "one is closed");
	is(t_model_load(fd, &image, 0, NULL, &id), 0, "and another one fits");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

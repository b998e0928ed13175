// SPDX-License-Identifier: GPL-2.0
/*
 * readonly_fd.c - a descriptor not open for writing may look, and change nothing; nothing can be
 * read or written
 */
#include <sys/uio.h>

#include "device.h"

int main(void)
{
	static const struct {
		const char *name;
		unsigned long nr;
		uint32_t size;
	} writers[] = {
		{ "MODEL_LOAD", BITNET_IOC_MODEL_LOAD, sizeof(struct bitnet_model_load) },
		{ "MODEL_OPEN", BITNET_IOC_MODEL_OPEN, sizeof(struct bitnet_model_open) },
		{ "MODEL_CLOSE", BITNET_IOC_MODEL_CLOSE, sizeof(struct bitnet_model_close) },
		{ "MODEL_UNLOAD", BITNET_IOC_MODEL_UNLOAD, sizeof(struct bitnet_model_unload) },
		{ "SESSION_OPEN", BITNET_IOC_SESSION_OPEN, sizeof(struct bitnet_session_open) },
		{ "SESSION_REWIND", BITNET_IOC_SESSION_REWIND,
		  sizeof(struct bitnet_session_rewind) },
		{ "SESSION_CLOSE", BITNET_IOC_SESSION_CLOSE, sizeof(struct bitnet_session_close) },
		{ "RING_SETUP", BITNET_IOC_RING_SETUP, sizeof(struct bitnet_ring_setup) },
		{ "SUBMIT", BITNET_IOC_SUBMIT, sizeof(struct bitnet_submit) },
		{ "CANCEL", BITNET_IOC_CANCEL, sizeof(struct bitnet_cancel) },
		{ "RUN", BITNET_IOC_RUN, sizeof(struct bitnet_run) },
	};
	struct t_leaks before = t_leaks_start();
	int fd = t_open_flags(O_RDONLY), pipes[2];
	struct bitnet_info info = { .size = sizeof(info) };
	struct bitnet_stats stats = { .size = sizeof(stats) };
	struct bitnet_model_info model_info;
	uint8_t buffer[T_PAGE] = { 0 };
	unsigned int i;
	uint32_t n;

	ok(fd >= 0, "open O_RDONLY");
	for (i = 0; i < ARRAY_SIZE(writers); i++) {
		memset(buffer, 0, sizeof(buffer));
		memcpy(buffer, &writers[i].size, 4);
		is(t_ioctl(fd, writers[i].nr, buffer), -EPERM, "%s", writers[i].name);
		/* Whatever else is wrong with it. */
		is(t_ioctl(fd, writers[i].nr, NULL), -EPERM, "%s without a struct",
		   writers[i].name);
	}
	is(t_ioctl(fd, BITNET_IOC_INFO, &info), 0, "INFO");
	is(t_ioctl(fd, BITNET_IOC_STATS, &stats), 0, "STATS");
	is(t_model_info(fd, 1, &model_info), -ENOENT, "MODEL_INFO");
	is(t_wait(fd, 0, 0, &n), -ENXIO, "WAIT");
	ok(t_mmap(fd, 2 * T_PAGE, PROT_READ, MAP_SHARED, 0) == MAP_FAILED && errno == ENXIO,
	   "mmap");
	close(fd);

	fd = t_open_flags(O_WRONLY);
	ok(fd >= 0, "open O_WRONLY");
	is(t_ioctl(fd, BITNET_IOC_INFO, &info), 0, "INFO");
	close(fd);

	/* No side effects by read, write and their kin. */
	fd = t_open();
	ok(read(fd, buffer, sizeof(buffer)) < 0 && errno == EINVAL, "read");
	ok(write(fd, buffer, sizeof(buffer)) < 0 && errno == EINVAL, "write");
	ok(pread(fd, buffer, 1, 0) < 0, "pread");
	ok(lseek(fd, 0, SEEK_SET) < 0 && errno == ESPIPE, "lseek");
	if (pipe(pipes))
		bail("pipe");
	ok(splice(fd, NULL, pipes[1], NULL, T_PAGE, SPLICE_F_NONBLOCK) < 0, "splice from it");
	if (write(pipes[1], "x", 1) != 1)
		bail("pipe");
	ok(splice(pipes[0], NULL, fd, NULL, 1, SPLICE_F_NONBLOCK) < 0, "splice to it");
	ok(ftruncate(fd, 0) < 0, "ftruncate");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

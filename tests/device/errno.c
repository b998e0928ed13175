// SPDX-License-Identifier: GPL-2.0
/*
 * errno.c - the table of errors in <linux/bitnet.h>, one by one
 *
 * One way to get each. All the other ways are in the tests of the objects. Not to be had at will:
 * EOPNOTSUPP, and ENODEV, for nobody holds a descriptor of a module that is being removed.
 */
#include <sys/time.h>

#include "device.h"

static struct t_image image;
static struct t_client c;

static void on_alarm(int sig)
{
	(void)sig;
}

/* Interrupts the next call again and again, so that no moment is the wrong one. */
static void interrupt_every(long us)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval it = { .it_interval = { .tv_usec = us }, .it_value = { .tv_usec = us } };

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static int as_user(void *arg)
{
	int fd;

	(void)arg;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 100;
	return t_model_unload(fd, "name") == -EPERM ? 0 : 1;
}

static int no_memlock(void *arg)
{
	struct rlimit none = { 0, 0 };
	int fd;

	(void)arg;
	if (setrlimit(RLIMIT_MEMLOCK, &none))
		return 100;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 101;
	return t_model_load(fd, &image, 0, NULL, NULL) == -ENOMEM ? 0 : 1;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct {
		struct bitnet_info info;
		uint64_t tail;
	} info = { .info.size = sizeof(info), .tail = 1 };
	static struct t_result result;
	uint32_t tokens[3] = { 1, 2, 3 }, id;
	struct bitnet_job job, jobs[4];
	struct t_image bad;
	int err, fd, i;

	image = t_image_random(&t_tiny);
	t_client_open(&c, &image, 4);

	is(t_ring_setup(c.fd, 3, -1, 0, NULL), -EINVAL,
	   "EINVAL: a field that the header does not allow");
	is(t_ioctl(c.fd, BITNET_IOC_INFO, &info), -E2BIG, "E2BIG: a tail that is not zero");
	is(t_ioctl(c.fd, BITNET_IOC_INFO, NULL), -EFAULT, "EFAULT: a pointer that cannot be read");
	is(t_ioctl(c.fd, _IO(BITNET_IOC_TYPE, 0xff), NULL), -ENOTTY,
	   "ENOTTY: unknown ioctl number");
	is(t_session_close(c.fd, 60), -ENOENT, "ENOENT: no such session");
	is(t_model_close(c.fd, 15), -ENOENT, "ENOENT: no such model");
	is(t_model_open(c.fd, "no-such-name", &id), -ENOENT, "ENOENT: no such name");
	is(t_cancel(c.fd, 77, NULL), -ENOENT, "ENOENT: no such job");
	is(t_ring_setup(c.fd, 4, -1, 0, NULL), -EEXIST, "EEXIST: ring set up already");

	job = t_generate(c.session, tokens, 1, 200, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job that parks");
	is(t_session_rewind(c.fd, c.session, 0), -EBUSY, "EBUSY: the session has jobs");
	is(t_inline(c.fd, &job, NULL, 201, NULL), -EBUSY, "EBUSY: RUN, too");
	is(t_inline(c.fd, &job, NULL, 200, NULL), -ENOSPC, "ENOSPC: no room for RUN's last entry");
	for (i = 0; i < 4; i++) {
		jobs[i] = job;
		jobs[i].user_data = 1;
	}
	is(t_submit(c.fd, jobs, 4, NULL), -ENOSPC, "ENOSPC: no completion slot for DONE");
	is(t_cancel(c.fd, 1, NULL), 0, "CANCEL");
	/* Several jobs with one user_data end: look only at the first entry that is an error. */
	for (err = 0; !err && result.end.kind != BITNET_ENTRY_ERROR;)
		err = t_ring_wait(&c.ring, &result.end);
	is(result.end.error, -ECANCELED, "ECANCELED: the job was cancelled");
	t_client_close(&c);
	t_client_open(&c, &image, 4);

	is(t_in_child(as_user, NULL), 0, "EPERM: needs CAP_SYS_ADMIN");
	fd = t_open_flags(O_RDONLY);
	is(t_model_load(fd, &image, 0, NULL, &id), -EPERM, "EPERM: read-only file");
	close(fd);
	is(t_in_child(no_memlock, NULL), 0, "ENOMEM: RLIMIT_MEMLOCK");
	do {
		err = t_session_open(c.fd, c.model, 1, &id);
	} while (!err);
	is(err, -EDQUOT, "EDQUOT: a limit of the device");

	bad = t_image_copy(&image);
	memcpy(bad.base, "GGUF", 4);
	is(t_model_load(c.fd, &bad, 0, NULL, &id), -ENOEXEC, "ENOEXEC: not a valid image");
	t_image_free(&bad);
	bad = t_image_copy(&image);
	((struct bitnet_image_header *)bad.base)->vocab--;
	is(t_model_load(c.fd, &bad, 0, NULL, &id), -EBADMSG,
	   "EBADMSG: a header that contradicts itself");
	t_image_free(&bad);

	fd = t_open();
	is(t_wait(fd, 0, 0, NULL), -ENXIO, "ENXIO: WAIT before RING_SETUP");
	close(fd);
	tokens[2] = image.header->vocab;
	job = t_generate(c.session, tokens, 3, 1, 1);
	is(t_submit(c.fd, &job, 1, NULL), -ERANGE,
	   "ERANGE: a token id not below the vocabulary size");
	tokens[2] = 3;

	t_client_close(&c);
	bad = t_image_random(&t_slow);
	t_client_open(&c, &bad, 2048);
	job = t_generate(c.session, tokens, 1, 1000, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a long job");
	is(t_wait(c.fd, 1001, 1, NULL), -ETIME, "ETIME: the timeout ran out");
	interrupt_every(1000);
	err = t_wait(c.fd, 1001, -1, NULL);
	interrupt_every(0);
	is(err, -EINTR, "EINTR: a signal came first");
	t_client_close(&c);
	t_client_open(&c, &bad, 2);
	job = t_generate(c.session, tokens, 1, 1000, 1);
	interrupt_every(1000);
	err = t_inline_run(c.fd, &job, &result);
	interrupt_every(0);
	is(err ? err : result.end.error, -EINTR, "EINTR: in the last entry of RUN");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

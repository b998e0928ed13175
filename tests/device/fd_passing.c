// SPDX-License-Identifier: GPL-2.0
/*
 * fd_passing.c - a descriptor that went to another process, and another user, means the same there
 *
 * Charges go to who does the thing: the memory's owner for pins, the opener for quotas; and all is
 * given back when the descriptor is gone, whoever closes it.
 */
#include "descriptors.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_image image;

/* Nobody, who could not open the device, uses a descriptor that he was given. */
static int receiver(int sock, uint32_t session, uint64_t ring_bytes)
{
	struct rlimit none = { 0, 0 };
	static struct t_result r;
	struct bitnet_job job;
	struct t_ring ring;
	uint32_t id;
	char byte;
	int fd;

	if (setrlimit(RLIMIT_MEMLOCK, &none))
		return 100;
	t_drop_privileges(T_UID_NOBODY, 0);
	if (t_open_flags(O_RDWR) != -EACCES)
		return 1;
	fd = t_receive_fd(sock, 0);
	if (fd < 0)
		return 2;
	t_ring_map(&ring, fd, ring_bytes, 0);
	job = t_generate(session, tokens, 4, 10, 1);
	if (t_run(&ring, &job, &r) || r.n != 10)
		return 3;
	/* His own memory is charged to his own limit; his rights are his own as well. */
	if (t_model_load(fd, &image, 0, NULL, &id) != -ENOMEM)
		return 4;
	if (t_model_load(fd, &image, BITNET_MODEL_F_SHARED, "name", &id) != -EPERM)
		return 5;
	job.user_data = 2;
	job.max_tokens = 100;
	if (t_submit(fd, &job, 1, NULL))
		return 6;
	/* The sender closes his descriptor now; ours is the last. */
	if (write(sock, "y", 1) != 1 || read(sock, &byte, 1) != 1)
		return 7;
	if (t_stats(fd).out_models != 1)
		return 8;
	return 0;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint64_t bytes;
	int sock[2], status;
	struct t_client c;
	char byte;
	pid_t pid;

	image = t_image_random(&t_tiny);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		bail("socketpair");
	c.fd = t_open();
	if (t_model_load(c.fd, &image, 0, NULL, &c.model) ||
	    t_session_open(c.fd, c.model, 0, &c.session) || t_ring_setup(c.fd, 16, -1, 0, &bytes))
		bail("setting up");
	/* The child must have the descriptor from the socket only. */
	pid = t_fork();
	if (!pid) {
		close(c.fd);
		close(sock[0]);
		_exit(receiver(sock[1], c.session, bytes));
	}
	close(sock[1]);
	is(t_send_fd(sock[0], c.fd, 0), 0, "a descriptor is sent");
	if (read(sock[0], &byte, 1) == 1) {
		close(c.fd);
		ok(t_pinned_pages() != before.pinned,
		   "the sender closes it: the receiver keeps it");
		if (write(sock[0], "z", 1) != 1)
			diag("the receiver is gone");
	} else {
		close(c.fd);
	}
	waitpid(pid, &status, 0);
	is(WIFEXITED(status) ? WEXITSTATUS(status) : 126, 0, "nobody uses it");
	ok(t_leaks_none(&before), "he exits with a job unfinished: nothing is left");

	/* In flight in a socket that nobody reads, then gone with the socket. */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		bail("socketpair");
	t_client_open(&c, &image, 16);
	is(t_send_fd(sock[0], c.fd, 0), 0, "a descriptor is sent");
	t_client_close(&c);
	ok(t_pinned_pages() != before.pinned, "the socket keeps the file");
	close(sock[0]);
	close(sock[1]);
	ok(t_leaks_none(&before), "gone with the socket: nothing is left");
	return done();
}

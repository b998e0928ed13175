/* SPDX-License-Identifier: GPL-2.0 */
/*
 * descriptors.h - descriptors that go from one process to another, or are under way
 */
#ifndef TESTS_DEVICE_DESCRIPTORS_H
#define TESTS_DEVICE_DESCRIPTORS_H

#include <sys/socket.h>

#include "device.h"

/* One byte, with room for a descriptor; what may end in an array of any length is last. */
struct t_fd_message {
	char byte;
	struct iovec iov;
	struct msghdr msg;
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
};

static inline void t_fd_message(struct t_fd_message *m)
{
	*m = (struct t_fd_message){
		.iov = { .iov_base = &m->byte, .iov_len = 1 },
		.msg = { .msg_iov = &m->iov, .msg_iovlen = 1, .msg_control = &m->control,
			 .msg_controllen = sizeof(m->control.space) },
	};
}

static inline int t_send_fd(int sock, int fd, int flags)
{
	struct t_fd_message m;
	struct cmsghdr *cmsg;

	t_fd_message(&m);
	cmsg = CMSG_FIRSTHDR(&m.msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &m.msg, flags) == 1 ? 0 : -errno;
}

/* Return: the descriptor */
static inline int t_receive_fd(int sock, int flags)
{
	const struct cmsghdr *cmsg;
	struct t_fd_message m;
	int fd;

	t_fd_message(&m);
	if (recvmsg(sock, &m.msg, MSG_CMSG_CLOEXEC | flags) != 1)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&m.msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

#endif /* TESTS_DEVICE_DESCRIPTORS_H */

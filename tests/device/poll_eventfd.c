// SPDX-License-Identifier: GPL-2.0
/*
 * poll_eventfd.c - poll, epoll and an eventfd tell of entries; poll lets parked jobs go on as WAIT
 * does
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "device.h"

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_image image;
static struct t_result result;

static int poll_now(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, timeout_ms);

	return n < 0 ? -errno : p.revents;
}

static void check_poll(void)
{
	struct epoll_event event = { .events = EPOLLIN }, got;
	int epfd = epoll_create1(EPOLL_CLOEXEC), edge = epoll_create1(EPOLL_CLOEXEC);
	struct bitnet_job job;
	struct t_client c;
	uint32_t made = 0;
	int fd = t_open();

	is(poll_now(fd, 0) & POLLIN, 0, "poll without a ring");
	close(fd);

	t_client_open(&c, &image, 64);
	epoll_ctl(epfd, EPOLL_CTL_ADD, c.fd, &event);
	event.events = EPOLLIN | EPOLLET;
	epoll_ctl(edge, EPOLL_CTL_ADD, c.fd, &event);
	is(poll_now(c.fd, 0), 0, "poll with an empty ring");
	is(epoll_wait(epfd, &got, 1, 0), 0, "epoll too");
	job = t_generate(c.session, tokens, 4, 10, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job");
	is(poll_now(c.fd, 100000), POLLIN, "poll wakes up");
	is(epoll_wait(epfd, &got, 1, 100000), 1, "epoll too");
	is(epoll_wait(edge, &got, 1, 100000), 1, "edge-triggered too");
	is(t_collect(&c.ring, &result, 1, 1), 0, "the job ends");
	is(poll_now(c.fd, 0), 0, "poll sees that all is consumed");
	t_client_close(&c);

	/* A client that never calls WAIT: poll alone keeps the job going. */
	t_client_open(&c, &image, 4);
	job = t_generate(c.session, tokens, 4, 50, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job with more tokens than the ring has slots");
	for (;;) {
		struct bitnet_ring_header *h = c.ring.header;
		uint32_t head = h->head, kind = 0;

		if (poll_now(c.fd, 100000) != POLLIN)
			break;
		while (head != __atomic_load_n(&h->tail, __ATOMIC_ACQUIRE)) {
			kind = c.ring.entries[head & h->mask].kind;
			made += kind == BITNET_ENTRY_TOKEN;
			head++;
		}
		__atomic_store_n(&h->head, head, __ATOMIC_RELEASE);
		if (kind != BITNET_ENTRY_TOKEN)
			break;
	}
	is(made, 50, "all of them come by poll alone");
	t_client_close(&c);
	close(epfd);
	close(edge);
}

/* A client whose ring has @entries slots. Return: its eventfd. */
static int open_with_eventfd(struct t_client *c, uint32_t entries)
{
	int efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t bytes;

	c->fd = t_open();
	if (t_model_load(c->fd, &image, 0, NULL, &c->model) ||
	    t_session_open(c->fd, c->model, 0, &c->session))
		bail("setting up");
	is(t_ring_setup(c->fd, entries, efd, 0, &bytes), 0, "a ring with an eventfd");
	t_ring_map(&c->ring, c->fd, bytes, 0);
	is(poll_now(efd, 0), 0, "the eventfd is quiet");
	return efd;
}

static void check_eventfd(void)
{
	struct bitnet_job job;
	struct t_client c;
	uint64_t count = 0;
	int efd = open_with_eventfd(&c, 64);

	job = t_generate(c.session, tokens, 4, 10, 1);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job");
	is(poll_now(efd, 100000), POLLIN, "the eventfd wakes up");
	is(t_collect(&c.ring, &result, 1, 1), 0, "the job ends");
	is(read(efd, &count, 8), 8, "the eventfd");
	ok(count >= 1 && count <= 11, "counted %llu times for 11 entries",
	   (unsigned long long)count);
	/* The last signal may come a moment after the last entry. */
	t_sleep_ns(20000000);
	if (read(efd, &count, 8) != 8)
		count = 0;
	ok(count <= 1, "then it is quiet");

	job = t_generate(c.session, tokens, 1, 200, 2);
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job");
	/* The kernel holds on to the eventfd, not to the number. */
	close(efd);
	is(t_collect(&c.ring, &result, 1, 2), 0, "goes on although the eventfd was closed");
	t_client_close(&c);
}

/* What CANCEL ends is told by CANCEL: while a job is parked no worker does. */
static void check_cancel(void)
{
	static struct t_result two[2];
	struct bitnet_job jobs[2];
	struct t_client c;
	uint64_t count;
	int efd = open_with_eventfd(&c, 4);

	jobs[0] = t_generate(c.session, tokens, 4, 50, 1);
	jobs[1] = t_generate(c.session, tokens, 1, 1, 2);
	is(t_submit(c.fd, jobs, 2, NULL), 0, "a job that fills the ring, and one behind it");
	while (!t_stats(c.fd).out_parked)
		sched_yield();
	t_sleep_ns(20000000);
	is(read(efd, &count, 8), 8, "its tokens were told");
	is(t_cancel(c.fd, 2, NULL), 0, "CANCEL of the one behind");
	is(read(efd, &count, 8), 8, "has told so");
	is(t_cancel(c.fd, 1, NULL), 0, "CANCEL of the one that is parked");
	is(read(efd, &count, 8), 8, "has told so");
	is(t_collect(&c.ring, two, 2, 1), 0, "their entries are there");
	close(efd);
	t_client_close(&c);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	image = t_image_random(&t_tiny);
	check_poll();
	check_eventfd();
	check_cancel();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

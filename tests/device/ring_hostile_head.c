// SPDX-License-Identifier: GPL-2.0
/*
 * ring_hostile_head.c - a process that scribbles over its ring harms itself only
 *
 * A thread writes nonsense to all that is mapped, @head most of all, while jobs run and the main
 * thread calls. Nobody promises this file its entries; another file must get its golden text all
 * the while, and the hostile file must still be able to cancel and to close.
 */
#include <pthread.h>

#include "device.h"

static struct t_image image, tiny;
static volatile bool stop;
static struct t_client victim, hostile;

static void *scribble_head(void *arg)
{
	uint64_t seed = 1;
	uint32_t tail;

	(void)arg;
	while (!stop) {
		tail = hostile.ring.header->tail;
		switch (t_random(&seed) % 4) {
		case 0:
			hostile.ring.header->head = t_random(&seed);
			break;
		case 1:
			hostile.ring.header->head = tail + t_random(&seed) % 64;
			break;
		case 2:
			hostile.ring.header->head = tail - t_random(&seed) % 64;
			break;
		default:
			hostile.ring.header->head = tail;
		}
		if (t_random(&seed) % 1024 == 0)
			sched_yield();
	}
	return NULL;
}

static void *scribble_all(void *arg)
{
	uint32_t *words = (void *)hostile.ring.header;
	uint64_t seed = 2;

	(void)arg;
	while (!stop) {
		words[t_random(&seed) % (hostile.ring.bytes / 4)] = t_random(&seed);
		words[t_random(&seed) % 32] = t_random(&seed) % 3 ? 0 : t_random(&seed);
		if (t_random(&seed) % 1024 == 0)
			sched_yield();
	}
	return NULL;
}

static void check(void *(*scribble)(void *arg), const char *what)
{
	const uint32_t tokens[2] = { 1, 2 };
	unsigned int rounds = t_size(t_is_uml() ? 5 : 24, 200), i, n, refused = 0, odd = 0;
	struct bitnet_job job;
	pthread_t thread;
	uint32_t sessions[8];
	bool golden = true;
	int err;

	t_client_open(&hostile, &tiny, 16);
	for (i = 0; i < ARRAY_SIZE(sessions); i++)
		if (t_session_open(hostile.fd, hostile.model, 64, &sessions[i]))
			bail("SESSION_OPEN");
	stop = false;
	if (pthread_create(&thread, NULL, scribble, NULL))
		bail("pthread_create");
	for (n = 0; t_more(n, rounds, "rounds of hostile rings"); n++) {
		for (i = 0; i < ARRAY_SIZE(sessions); i++) {
			job = t_generate(sessions[i], tokens, 2, 30, 1);
			err = t_submit(hostile.fd, &job, 1, NULL);
			refused += !!err;
			odd += err && err != -ENOSPC && err != -ERANGE && err != -EDQUOT;
			t_wait(hostile.fd, 1, 1000000, NULL);
		}
		golden &= t_golden_holds(&victim, n % T_N_GOLDEN);
		err = t_cancel(hostile.fd, 1, NULL);
		odd += err && err != -ENOENT;
		for (i = 0; i < ARRAY_SIZE(sessions); i++)
			odd += t_session_rewind(hostile.fd, sessions[i], 0) != 0;
	}
	ok(golden, "%s: the other file gets its golden texts", what);
	is(odd, 0, "calls give documented results (%u of %u jobs were refused)", refused,
	   n * (unsigned int)ARRAY_SIZE(sessions));
	for (i = 0; i < ARRAY_SIZE(sessions); i++) {
		job = t_generate(sessions[i], tokens, 2, 50, 1);
		t_submit(hostile.fd, &job, 1, NULL);
	}
	/* Closed with jobs, while the thread goes on: the mapping keeps the file. */
	close(hostile.fd);
	t_sleep_ns(5000000);
	stop = true;
	pthread_join(thread, NULL);
	t_ring_unmap(&hostile.ring);
}

/* After nonsense, a head that makes sense again is believed. */
static void check_repair(void)
{
	const uint32_t tokens[2] = { 1, 2 };
	static const uint32_t nonsense[] = { 5, 0x80000000, ~0U, 100 };
	static struct t_result result;
	struct bitnet_job job;
	unsigned int i;
	uint32_t n;

	for (i = 0; i < ARRAY_SIZE(nonsense); i++) {
		t_client_open(&hostile, &tiny, 4);
		hostile.ring.header->head = nonsense[i];
		job = t_generate(hostile.session, tokens, 2, 20, 1);
		is(t_submit(hostile.fd, &job, 1, NULL), 0, "head 0x%x", nonsense[i]);
		t_wait(hostile.fd, 3, T_HANG_NS, &n);
		is(n, 3, "the ring fills up");
		hostile.ring.header->head = 0;
		is(t_collect(&hostile.ring, &result, 1, 1), 0, "head 0: all entries come");
		is(result.n, 20, "none is missing");
		t_client_close(&hostile);
	}
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	image = t_image_demo();
	tiny = t_image_random(&t_tiny);
	t_client_open(&victim, &image, 64);
	ok(t_golden_holds(&victim, 0), "golden text alone");
	check(scribble_head, "head");
	check(scribble_all, "the whole ring");
	check_repair();
	t_client_close(&victim);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * ring.c - the consumer's side of the completion ring, against a producer as the header describes
 * it
 *
 * The producer here is a thread that keeps private indices, writes an entry, then publishes tail;
 * when there is no room it sets NEED_WAKEUP, looks once more, and sleeps until it is told.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring.h"
#include "tap.h"

#define ENTRIES	8
#define PASSES	200000

static struct {
	struct bitnet_ring_header hdr;
	char page[4096 - sizeof(struct bitnet_ring_header)];
	struct bitnet_ring_entry entries[ENTRIES];
} shared __attribute__((aligned(4096)));

static void make(uint32_t start)
{
	memset(&shared, 0, sizeof(shared));
	shared.hdr.entries = ENTRIES;
	shared.hdr.mask = ENTRIES - 1;
	shared.hdr.entries_offset = 4096;
	shared.hdr.head = start;
	shared.hdr.tail = start;
}

static void produce(uint64_t n)
{
	uint32_t tail = shared.hdr.tail;

	shared.entries[tail & (ENTRIES - 1)] = (struct bitnet_ring_entry){ .user_data = n };
	__atomic_store_n(&shared.hdr.tail, tail + 1, __ATOMIC_RELEASE);
}

static void t_attach(void)
{
	struct bitnet_ring r;

	make(0);
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), 0, "a sound header");
	is(bitnet_ring_attach(&r, &shared, 64), -EBADMSG, "a mapping shorter than the header");
	is(bitnet_ring_attach(&r, &shared, sizeof(shared) - 1), -EBADMSG,
	   "entries beyond the mapping");
	shared.hdr.entries = 6;
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), -EBADMSG, "not a power of two");
	shared.hdr.entries = 0;
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), -EBADMSG, "no entries");
	make(0);
	shared.hdr.mask = ENTRIES;
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), -EBADMSG, "a mask of another size");
	make(0);
	shared.hdr.entries_offset = 8;
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), -EBADMSG, "entries over the header");
	shared.hdr.entries_offset = 0xfffff000;
	is(bitnet_ring_attach(&r, &shared, sizeof(shared)), -EBADMSG, "an offset far away");
}

static void t_order(uint32_t start)
{
	struct bitnet_ring_entry e;
	struct bitnet_ring r;

	make(start);
	bitnet_ring_attach(&r, &shared, sizeof(shared));
	ok(!bitnet_ring_next(&r, &e), "empty at first (start %u)", start);
	for (int i = 0; i < ENTRIES; i++)
		produce(i);
	is(bitnet_ring_count(&r), ENTRIES, "all are counted");
	for (int i = 0; i < ENTRIES; i++) {
		bitnet_ring_next(&r, &e);
		if (e.user_data != (uint64_t)i || shared.hdr.head != start + i + 1)
			break;
	}
	is(e.user_data, ENTRIES - 1, "in order, and head follows");
	is(shared.hdr.head, start + ENTRIES, "also when the index wraps");
	ok(!bitnet_ring_next(&r, &e), "empty at the end");
	ok(!bitnet_ring_needs_wakeup(&r), "nobody waits");
	shared.hdr.flags = BITNET_RING_F_NEED_WAKEUP;
	ok(bitnet_ring_needs_wakeup(&r), "somebody waits");
}

static void t_nonsense(void)
{
	struct bitnet_ring_entry e;
	struct bitnet_ring r;
	int n = 0;

	make(0);
	bitnet_ring_attach(&r, &shared, sizeof(shared));
	shared.hdr.tail = 0x80000000;
	is(bitnet_ring_count(&r), ENTRIES, "a tail far ahead counts as a full ring");
	while (n < 100 && bitnet_ring_next(&r, &e))
		n++;
	is(n, 100, "and reading stays inside it");
}

/* ---- two threads ----------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static bool wakeup;

static void *producer(void *arg)
{
	uint32_t tail = shared.hdr.tail;

	for (uint64_t n = 0; n < PASSES; n++) {
		while (tail - __atomic_load_n(&shared.hdr.head, __ATOMIC_ACQUIRE) == ENTRIES) {
			__atomic_store_n(&shared.hdr.flags, BITNET_RING_F_NEED_WAKEUP,
					 __ATOMIC_SEQ_CST);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			if (tail - __atomic_load_n(&shared.hdr.head, __ATOMIC_ACQUIRE) < ENTRIES)
				break;
			pthread_mutex_lock(&lock);
			while (!wakeup)
				pthread_cond_wait(&told, &lock);
			wakeup = false;
			pthread_mutex_unlock(&lock);
		}
		__atomic_store_n(&shared.hdr.flags, 0, __ATOMIC_SEQ_CST);
		shared.entries[tail & (ENTRIES - 1)] = (struct bitnet_ring_entry){
			.user_data = n, .cpu_ns = ~n, .token = n,
		};
		__atomic_store_n(&shared.hdr.tail, ++tail, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void t_threads(void)
{
	struct bitnet_ring_entry e;
	struct bitnet_ring r;
	uint64_t seen = 0, torn = 0, late = 0;
	pthread_t thread;

	make(0xfffffff0);
	bitnet_ring_attach(&r, &shared, sizeof(shared));
	pthread_create(&thread, NULL, producer, NULL);
	/* a lost wake-up would hang this loop; the alarm makes a failure of it */
	alarm(60);
	while (seen < PASSES) {
		if (!bitnet_ring_next(&r, &e)) {
			sched_yield();
			continue;
		}
		torn += e.cpu_ns != ~e.user_data || e.token != (uint32_t)e.user_data;
		late += (uint64_t)e.user_data != seen++;
		if (bitnet_ring_needs_wakeup(&r)) {
			pthread_mutex_lock(&lock);
			wakeup = true;
			pthread_cond_signal(&told);
			pthread_mutex_unlock(&lock);
		}
	}
	alarm(0);
	pthread_join(thread, NULL);
	is(torn, 0, "no entry is torn in %d", PASSES);
	is(late, 0, "none is lost or out of order");
}

int main(void)
{
	t_attach();
	t_order(0);
	t_order(0xfffffffc);
	t_nonsense();
	t_threads();
	return done();
}

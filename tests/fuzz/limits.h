/* SPDX-License-Identifier: GPL-2.0 */
/*
 * limits.h - what one hostile file may cost: a second of CPU time, 64 MiB of memory
 *
 *	limits_begin();
 *	...what is done with one file
 *	limits_end();
 *	and at last limits_check();
 *
 * Memory is counted by hooks of the sanitizer's allocator: what resides means nothing with it, since it
 * keeps what is freed.
 */
#ifndef TESTS_FUZZ_LIMITS_H
#define TESTS_FUZZ_LIMITS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "../tap.h"

#define LIMIT_NS	1000000000ULL
#define LIMIT_BYTES	(64LL << 20)

/* Of the sanitizer's run time, where there is one. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
					      void (*on_free)(const volatile void *))
	__attribute__((weak));
size_t __sanitizer_get_allocated_size(const volatile void *p) __attribute__((weak));

static struct {
	bool hooked;
	long long live, most;		/* bytes now, and at most since limits_begin() */
	long long live_before, worst_bytes;
	uint64_t start_ns, worst_ns, files;
} limits;

static void limits_on_malloc(const volatile void *p, size_t bytes)
{
	long long live = __atomic_add_fetch(&limits.live, bytes, __ATOMIC_RELAXED);

	/* Threads may lose a maximum to each other, not by much. */
	if (live > limits.most)
		limits.most = live;
}

static void limits_on_free(const volatile void *p)
{
	__atomic_sub_fetch(&limits.live, __sanitizer_get_allocated_size(p), __ATOMIC_RELAXED);
}

static inline uint64_t limits_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static inline void limits_begin(void)
{
	if (!limits.hooked && __sanitizer_install_malloc_and_free_hooks)
		limits.hooked = __sanitizer_install_malloc_and_free_hooks(limits_on_malloc, limits_on_free) > 0;
	limits.most = limits.live_before = limits.live;
	limits.start_ns = limits_cpu_ns();
}

static inline void limits_end(void)
{
	uint64_t ns = limits_cpu_ns() - limits.start_ns;
	long long bytes = limits.most - limits.live_before;

	if (ns > limits.worst_ns)
		limits.worst_ns = ns;
	if (bytes > limits.worst_bytes)
		limits.worst_bytes = bytes;
	limits.files++;
}

static inline void limits_check(void)
{
	ok(limits.worst_ns <= LIMIT_NS, "of %llu files none took more than a second: %llu us",
	   (unsigned long long)limits.files, (unsigned long long)limits.worst_ns / 1000);
	if (limits.hooked)
		ok(limits.worst_bytes && limits.worst_bytes <= LIMIT_BYTES,
		   "nor more than 64 MiB: %lld KiB", limits.worst_bytes >> 10);
	else
		skip("memory is counted by the sanitizer's allocator");
}

#endif /* TESTS_FUZZ_LIMITS_H */

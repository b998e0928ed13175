/* SPDX-License-Identifier: GPL-2.0 */
/*
 * size.h - how much a test does: in CI as much as fits into seconds, before a release what is planned
 *
 * BITNET_TEST_SIZE is "ci" or "release". With BITNET_TEST_SECONDS each loop of a release ends after so
 * many seconds, wherever it is, and what is not such a loop has the size of CI. How far a loop came is
 * told in a line that tests/plan.sh reads: "#@ figure DONE PLANNED UNIT".
 *
 *	n = t_size(40, 2000);
 *	for (i = 0; t_more(i, n, "jobs cancelled"); i++)
 *		...				and i says how many there were
 */
#ifndef TESTS_SIZE_H
#define TESTS_SIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline bool t_is_release(void)
{
	const char *size = getenv("BITNET_TEST_SIZE");

	return size && !strcmp(size, "release");
}

/* How long a loop may take, in ns; 0 as long as it needs. */
static inline uint64_t t_loop_ns(void)
{
	const char *seconds = getenv("BITNET_TEST_SECONDS");

	return t_is_release() && seconds ? strtoull(seconds, NULL, 10) * 1000000000ULL : 0;
}

/* Is everything to be done that a release plans, however long it takes? */
static inline bool t_release_size(void)
{
	return t_is_release() && !t_loop_ns();
}

static inline uint64_t t_size(uint64_t ci, uint64_t release)
{
	return t_is_release() ? release : ci;
}

static inline void t_figure(uint64_t done, uint64_t planned, const char *unit)
{
	printf("#@ figure %llu %llu %s\n", (unsigned long long)done, (unsigned long long)planned, unit);
	fflush(stdout);
}

/* Is there another round after @i of @n? One loop at a time; tells the figure when there is none. */
static inline bool t_more(uint64_t i, uint64_t n, const char *unit)
{
	static uint64_t end;
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	if (!i)
		end = t_loop_ns() ? now + t_loop_ns() : UINT64_MAX;
	if (i < n && now < end)
		return true;
	t_figure(i, n, unit);
	return false;
}

#endif /* TESTS_SIZE_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tap.h - the Test Anything Protocol for the test programs in C
 *
 * A program calls ok(), is() and friends as it goes and ends with "return done();". Each check is one
 * line on stdout; a failed one is followed by where it stands and what was seen.
 *
 *	ok(cond, "name %d", i)			is(got, want, "name")		integers
 *	is_str(got, want, "name")		is_mem(got, want, len, "name")	bytes
 *	is_near(got, want, tolerance, "name")	floating point
 *	skip("why")				one check that cannot run here
 *	skip_all("why")				the whole program cannot run here; ends it
 *	diag("text")				a remark
 *	bail("why")				nothing more can be tested; ends the program with a failure
 *
 * All but skip_all() and bail() give back whether the check held. For the main process only: what a
 * child or a thread found is to be reported by the one that waits for it.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#error "tap.h is for C"
#endif

static struct {
	int done;
	int failed;
} tap_count;

__attribute__((format(printf, 4, 0)))
static inline bool tap_report(bool held, const char *file, int line, const char *fmt, va_list args)
{
	if (!tap_count.done)
		setvbuf(stdout, NULL, _IOLBF, 0);
	tap_count.done++;
	if (!held)
		tap_count.failed++;
	printf("%sok %d - ", held ? "" : "not ", tap_count.done);
	vprintf(fmt, args);
	putchar('\n');
	if (!held)
		printf("# failed at %s:%d\n", file, line);
	return held;
}

__attribute__((format(printf, 4, 5)))
static inline bool tap_ok(bool held, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tap_report(held, file, line, fmt, args);
	va_end(args);
	return held;
}

__attribute__((format(printf, 6, 7)))
static inline bool tap_is(long long got, long long want, const char *expr, const char *file, int line,
			  const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tap_report(got == want, file, line, fmt, args);
	va_end(args);
	if (got != want)
		printf("# %s is %lld (0x%llx), want %lld (0x%llx)\n", expr, got, got, want, want);
	return got == want;
}

__attribute__((format(printf, 7, 8)))
static inline bool tap_is_near(double got, double want, double tolerance, const char *expr,
			       const char *file, int line, const char *fmt, ...)
{
	double off = got > want ? got - want : want - got;
	bool held = off <= tolerance;	/* false for a NaN */
	va_list args;

	va_start(args, fmt);
	tap_report(held, file, line, fmt, args);
	va_end(args);
	if (!held)
		printf("# %s is %.9g, want %.9g, off by %.3g, allowed %.3g\n", expr, got, want, off,
		       tolerance);
	return held;
}

__attribute__((format(printf, 6, 7)))
static inline bool tap_is_str(const char *got, const char *want, const char *expr, const char *file,
			      int line, const char *fmt, ...)
{
	bool held = got && want ? !strcmp(got, want) : got == want;
	va_list args;

	va_start(args, fmt);
	tap_report(held, file, line, fmt, args);
	va_end(args);
	if (!held)
		printf("# %s is \"%s\", want \"%s\"\n", expr, got ? got : "(null)",
		       want ? want : "(null)");
	return held;
}

__attribute__((format(printf, 7, 8)))
static inline bool tap_is_mem(const void *got, const void *want, size_t len, const char *expr,
			      const char *file, int line, const char *fmt, ...)
{
	const unsigned char *g = got, *w = want;
	size_t at = 0, differing = 0, i;
	va_list args;

	for (i = 0; i < len; i++)
		if (g[i] != w[i] && !differing++)
			at = i;

	va_start(args, fmt);
	tap_report(!differing, file, line, fmt, args);
	va_end(args);
	if (differing)
		printf("# %s: %zu of %zu bytes differ, first at %zu: 0x%02x, want 0x%02x\n", expr,
		       differing, len, at, g[at], w[at]);
	return !differing;
}

__attribute__((format(printf, 1, 2)))
static inline bool tap_skip(const char *fmt, ...)
{
	va_list args;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ok %d - # SKIP ", ++tap_count.done);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	return true;
}

__attribute__((format(printf, 1, 2)))
static inline void tap_diag(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

__attribute__((noreturn, format(printf, 2, 3)))
static inline void tap_end(bool failed, const char *fmt, ...)
{
	va_list args;

	printf(failed ? "Bail out! " : "1..0 # SKIP ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	exit(failed);
}

/* Prints the plan; its value is main()'s. */
static inline int done(void)
{
	printf("1..%d\n", tap_count.done);
	fflush(stdout);
	return tap_count.failed || !tap_count.done;
}

#define ok(cond, ...)		tap_ok(cond, __FILE__, __LINE__, __VA_ARGS__)
#define is(got, want, ...)	tap_is((long long)(got), (long long)(want), #got, __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, want, ...)	tap_is_str(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)
#define is_mem(got, want, len, ...)	\
	tap_is_mem(got, want, len, #got, __FILE__, __LINE__, __VA_ARGS__)
#define is_near(got, want, tolerance, ...)	\
	tap_is_near(got, want, tolerance, #got, __FILE__, __LINE__, __VA_ARGS__)
#define skip(...)		tap_skip(__VA_ARGS__)
#define skip_all(...)		tap_end(false, __VA_ARGS__)
#define diag(...)		tap_diag(__VA_ARGS__)
#define bail(...)		tap_end(true, __VA_ARGS__)

#endif /* TAP_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * out.h - everything that bitnetctl says: results on stdout, the rest on stderr
 *
 * Results are text for people, or with --json one object with an integer "schema" for programs.
 * Colours and progress bars appear on terminals only. Failures to write are kept, and reported once
 * at the end by out_finish().
 */
#ifndef BITNETCTL_OUT_H
#define BITNETCTL_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

#define OUT_SCHEMA	1	/* changes when a field changes its meaning or goes away */

/* Exit codes, part of the interface. 128 + n: ended by signal n, so 130 after Ctrl-C. */
enum out_exit {
	OUT_OK = 0,
	OUT_FAILURE = 1,
	OUT_USAGE = 2,
	OUT_NO_DEVICE = 3,	/* no device, or no permission */
};

enum out_color_mode { OUT_COLOR_AUTO, OUT_COLOR_ALWAYS, OUT_COLOR_NEVER };

struct out_options {
	bool json;
	bool pretty;
	bool quiet;
	bool verbose;
	int color;	/* enum out_color_mode */
};

extern struct out_options out;

enum out_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD };

/** out_init() - look at the terminal and NO_COLOR; ignore SIGPIPE, see out_finish() */
void out_init(void);

/** out_style() - escape sequence for stdout, empty where it shall have no colour */
const char *out_style(enum out_style style);

/**
 * out_error() - report a failure: a line on stderr, or an error object on stdout with --json
 *
 * Return: the exit code for it.
 */
int out_error(const struct bitnet_error *err);

/** out_exit_code() - exit code for a failure */
int out_exit_code(const struct bitnet_error *err);

/**
 * out_note(), out_warn(), out_debug() - a line on stderr: without --quiet; always; with --verbose
 */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** out_hint() - what the reader can do, behind a note; nothing if it is empty */
void out_hint(const char *hint);

/** out_json() - print an object as the result and free it; "schema" is put in front */
void out_json(json_t *object);

/** out_json_line() - one object of a stream of lines, written at once; freed */
void out_json_line(json_t *object);

/** out_text() - write to stdout at once; false once stdout is broken */
bool out_text(const void *text, size_t len);

/** out_broken() - has writing to stdout failed? */
bool out_broken(void);

/**
 * out_finish() - flush, report what could not be written
 * @code: exit code so far
 *
 * When the reader of a pipe has gone away, the process ends by SIGPIPE as any other would, but only
 * now, after it has cleaned up.
 */
int out_finish(int code);

/** out_progress() - bar on stderr if it is a terminal; bitnet_progress_fn with the label as @arg */
bool out_progress(void *label, uint64_t done, uint64_t total);
void out_progress_end(void);

/** out_size() - bytes for people ("1.2 GiB"); valid until the 8th next call */
const char *out_size(uint64_t bytes);

/** out_hex64() - "0x" and 16 digits; JSON integers lose digits above 2^53 in many readers */
json_t *out_hex64(uint64_t v);

/** out_string() - JSON string of @len bytes that may not be UTF-8: what is not becomes U+FFFD */
json_t *out_string(const char *s, size_t len);

#endif

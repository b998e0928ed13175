/* SPDX-License-Identifier: GPL-2.0 */
/*
 * args.h - command lines as tables: one table parses, prints the help and completes
 */
#ifndef BITNETCTL_ARGS_H
#define BITNETCTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

#define ARGS_MAX_STRINGS	8

enum arg_type {
	ARG_FLAG,	/* bool, set to true */
	ARG_STRING,	/* const char * into argv */
	ARG_STRINGS,	/* struct arg_strings, may be given several times */
	ARG_U32,	/* uint32_t, decimal or 0x, @min .. @max */
	ARG_U64,	/* uint64_t, the same */
	ARG_PPM,	/* uint32_t, a decimal fraction in millionths, @min .. @max of them */
	ARG_TIME,	/* uint64_t, nanoseconds, @min .. @max of them */
	ARG_CHOICE,	/* int, index into @choices */
};

/* What the shell may offer for a value. */
enum arg_completion {
	COMPLETE_NONE,
	COMPLETE_FILE,
	COMPLETE_MODEL,		/* a file, or a shared model's name */
	COMPLETE_NAME,		/* a shared model's name */
	COMPLETE_JOB,		/* a detached job's id */
	COMPLETE_VERB,
	COMPLETE_VARIANT,
};

/**
 * struct arg - one option
 * @name:	long name, without the dashes; NULL ends a table
 * @letter:	short name, or 0
 * @type:	of the value
 * @offset:	of the value in the caller's struct
 * @metavar:	what the help calls the value
 * @help:	one line
 * @min, @max:	numbers: range; @max 0: the type's
 * @choices:	ARG_CHOICE: names, NULL-terminated; else names that the shell may offer, or NULL
 * @completion:	what the shell may offer
 */
struct arg {
	const char *name;
	char letter;
	enum arg_type type;
	size_t offset;
	const char *metavar;
	const char *help;
	uint64_t min, max;
	const char *const *choices;
	enum arg_completion completion;
};

/* One row; further members may follow the help: ARG(..., "help", .max = 3) */
#define ARG(NAME, LETTER, TYPE, STRUCT, MEMBER, METAVAR, ...)					\
	{ .name = NAME, .letter = LETTER, .type = TYPE, .offset = offsetof(STRUCT, MEMBER),	\
	  .metavar = METAVAR, .help = __VA_ARGS__ }

struct arg_strings {
	const char *s[ARGS_MAX_STRINGS];
	unsigned int n;
};

/**
 * struct arg_set - a table and where its values go
 */
struct arg_set {
	const struct arg *table;
	void *values;
};

/**
 * args_parse() - parse the options of a command line
 * @argc, @argv: as in main(); argv[0] is skipped. Non-options are moved to the front of @argv
 * @sets:	tables, searched in order
 * @n_sets:	how many
 * @all:	go on behind the first operand; else stop there
 * @operands:	out, how many operands there are (@all), from argv[1] on; else index of the first
 * @err:	one line that names the option, and a hint
 *
 * "--" ends the options. "-" is an operand. Long options may be abbreviated and take "--name value"
 * or "--name=value". A table's values keep what they held where an option is not given.
 *
 * Return: 0 or -EINVAL.
 */
int args_parse(int argc, char **argv, const struct arg_set *sets, unsigned int n_sets, bool all,
	       int *operands, struct bitnet_error *err);

/**
 * args_ppm() - decimal fraction to millionths, exactly; digits behind the sixth are cut off
 *
 * Return: 0, -EINVAL if @text is no number, -ERANGE.
 */
int args_ppm(const char *text, uint64_t *ppm);

/**
 * args_time() - a time such as "20", "20ms", "0.5ms", "500us", "1s" or "100ns" to nanoseconds
 *
 * Without a unit it is in milliseconds. Digits behind the sixth of a fraction, and fractions of a
 * nanosecond, are cut off.
 *
 * Return: 0, -EINVAL if @text is no time, -ERANGE.
 */
int args_time(const char *text, uint64_t *ns);

/**
 * args_number() - unsigned integer, decimal or with 0x; no sign, blank or other text
 *
 * Return: 0, -EINVAL or -ERANGE.
 */
int args_number(const char *text, uint64_t *number);

/**
 * args_size() - bytes: a whole number, with k, M, G or T behind it for powers of 1024
 *
 * The letter is taken in either case, and "B" or "iB" may follow it. Return: 0, -EINVAL or -ERANGE.
 */
int args_size(const char *text, uint64_t *bytes);

/**
 * args_help() - print a table's options, one or two lines each
 */
void args_help(FILE *f, const struct arg *table);

/**
 * args_nearest() - the name that was probably meant
 * @names: NULL-terminated
 *
 * Return: one of @names at a small edit distance from @typed, or NULL.
 */
const char *args_nearest(const char *typed, const char *const *names);

#endif

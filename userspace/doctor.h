/* SPDX-License-Identifier: GPL-2.0 */
/*
 * doctor.h - what of a machine's set-up makes tokens late
 *
 * Every check is a function of files of /proc, /sys and /dev under a root folder, and of nothing
 * else: it can look at a tree that was copied from another machine, or made up by a test.
 */
#ifndef BITNETCTL_DOCTOR_H
#define BITNETCTL_DOCTOR_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * NOTE costs little, or may be meant so; WARNING makes tokens late; ERROR keeps the module from
 * working
 */
enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARNING, LEVEL_ERROR, LEVEL_COUNT };

/**
 * struct finding - what one check found
 * @check:	its name, part of the interface (--json)
 * @message:	what is there
 * @why:	what that does to tokens; NULL if there is nothing to mend
 * @fix:	what to do; empty if there is nothing to mend
 */
struct finding {
	const char *check;
	enum level level;
	char message[256];
	const char *why;
	char fix[256];
};

/**
 * struct doctor - an examination
 * @root:	folder with the files, "" for this machine
 * @loaded:	is the module?
 * @online:	CPUs
 * @workers:	those with a worker, or that would have one if the module were loaded now
 * @fifo:	priority of the workers if they are SCHED_FIFO, else 0
 * @check:	name of the check that runs
 */
struct doctor {
	const char *root;
	bool loaded;
	cpu_set_t online, workers;
	int fifo;
	const char *check;
	struct finding *findings;
	size_t n;
};

/** struct doctor_check - one row of the tables */
struct doctor_check {
	const char *name;
	void (*run)(struct doctor *d);
};

extern const struct doctor_check doctor_cpu_checks[], doctor_system_checks[];	/* NULL ends them */

/** doctor_examine() - run all checks. Return: 0 or -ENOMEM; the findings are to be freed */
int doctor_examine(struct doctor *d, const char *root);
void doctor_free(struct doctor *d);

/* ---- for the checks -------------------------------------------------------------------------- */

/** found() - add a finding; explain() adds what there is to mend */
void found(struct doctor *d, enum level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** explain() - of the last finding: what it does to tokens, and (format) what to do about it */
void explain(struct doctor *d, const char *why, const char *fix, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * read_text() - the beginning of a file, as a string without newlines at its end
 * @fmt:	path below the root, without a slash in front
 *
 * Return: true if it could be read; else @text is empty.
 */
bool read_text(const struct doctor *d, char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/** read_number() - the same of a file with a decimal number; false also if it is none */
bool read_number(const struct doctor *d, long long *number, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** file_exists() - is there anything of that name? */
bool file_exists(const struct doctor *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** line_of() - what follows @key at the beginning of a line of @text, or NULL */
const char *line_of(const char *text, const char *key);

/** has_word() - is @word one of the words of @text, up to the end of its line? */
bool has_word(const char *text, const char *word);

/** cpus_parse() - "0,2-5" to a set; what is not a list of CPUs ends it. Return: how many */
unsigned int cpus_parse(const char *list, cpu_set_t *set);

/** cpus_text() - the reverse; valid until the 4th next call */
const char *cpus_text(const cpu_set_t *set);

/** path_of() - @root and the path below it. Return: false if it does not fit */
bool path_of(const struct doctor *d, char *path, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif

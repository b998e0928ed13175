// SPDX-License-Identifier: GPL-2.0
/* doctor.c - findings, and reading the files that they are made of; see doctor.h */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

#define MAX_PATH	512
#define MAX_FINDINGS	64

/* ---- findings -------------------------------------------------------------------------------- */

void found(struct doctor *d, enum level level, const char *fmt, ...)
{
	struct finding *f = &d->findings[d->n];
	va_list ap;

	if (d->n + 1 < MAX_FINDINGS)
		d->n++;
	memset(f, 0, sizeof(*f));
	f->check = d->check;
	f->level = level;
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
}

void explain(struct doctor *d, const char *why, const char *fix, ...)
{
	struct finding *f = &d->findings[d->n - 1];
	va_list ap;

	f->why = why;
	va_start(ap, fix);
	vsnprintf(f->fix, sizeof(f->fix), fix, ap);
	va_end(ap);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool make_path(const struct doctor *d, char *path, size_t size, const char *fmt, va_list ap)
{
	size_t len = snprintf(path, size, "%s/", d->root);

	return len < size && len + vsnprintf(path + len, size - len, fmt, ap) < size;
}

bool path_of(const struct doctor *d, char *path, size_t size, const char *fmt, ...)
{
	va_list ap;
	bool fits;

	va_start(ap, fmt);
	fits = make_path(d, path, size, fmt, ap);
	va_end(ap);
	return fits;
}

static bool read_path(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t len;
	bool bad;

	*text = '\0';
	if (!f)
		return false;
	len = fread(text, 1, size - 1, f);
	bad = ferror(f);
	fclose(f);
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\0'))
		len--;
	text[bad ? 0 : len] = '\0';
	return !bad;
}

bool read_text(const struct doctor *d, char *text, size_t size, const char *fmt, ...)
{
	char path[MAX_PATH];
	va_list ap;
	bool fits;

	*text = '\0';
	va_start(ap, fmt);
	fits = make_path(d, path, sizeof(path), fmt, ap);
	va_end(ap);
	return fits && read_path(path, text, size);
}

bool read_number(const struct doctor *d, long long *number, const char *fmt, ...)
{
	char path[MAX_PATH], text[32], *end;
	va_list ap;
	bool fits;

	va_start(ap, fmt);
	fits = make_path(d, path, sizeof(path), fmt, ap);
	va_end(ap);
	if (!fits || !read_path(path, text, sizeof(text)))
		return false;
	*number = strtoll(text, &end, 10);
	return end != text && !*end;
}

bool file_exists(const struct doctor *d, const char *fmt, ...)
{
	char path[MAX_PATH];
	va_list ap;
	bool fits;

	va_start(ap, fmt);
	fits = make_path(d, path, sizeof(path), fmt, ap);
	va_end(ap);
	return fits && !access(path, F_OK);
}

const char *line_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && strncmp(text, key, len)) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text ? text + len : NULL;
}

bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word), n;

	while (text && *text && *text != '\n') {
		text += strspn(text, " \t");
		n = strcspn(text, " \t\n");
		if (n == len && !strncmp(text, word, len))
			return true;
		text += n;
	}
	return false;
}

/* ---- sets of CPUs ---------------------------------------------------------------------------- */

unsigned int cpus_parse(const char *list, cpu_set_t *set)
{
	unsigned long first, last;
	char *end;

	CPU_ZERO(set);
	while (*list >= '0' && *list <= '9') {
		first = last = strtoul(list, &end, 10);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, set);
		list = *end == ',' ? end + 1 : end;
	}
	return CPU_COUNT(set);
}

const char *cpus_text(const cpu_set_t *set)
{
	static char text[4][80];
	static unsigned int next;
	char *s = text[next++ % 4];
	size_t len = 0;
	int last;

	*s = '\0';
	for (int cpu = 0; cpu < CPU_SETSIZE && len < sizeof(text[0]); cpu++) {
		if (!CPU_ISSET(cpu, set))
			continue;
		for (last = cpu; last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set); last++)
			;
		len += snprintf(s + len, sizeof(text[0]) - len, last > cpu ? "%s%d-%d" : "%s%d",
				len ? "," : "", cpu, last);
		cpu = last;
	}
	return s;
}

/* ---- examination ----------------------------------------------------------------------------- */

/* As the module does it: those it was given, else all but CPU 0 of many, else the last one. */
static void find_workers(struct doctor *d)
{
	char cpus[256];
	cpu_set_t possible;

	if (!read_text(d, cpus, sizeof(cpus), "sys/devices/system/cpu/online") ||
	    !cpus_parse(cpus, &d->online)) {
		CPU_ZERO(&d->online);
		CPU_SET(0, &d->online);
	}
	read_text(d, cpus, sizeof(cpus), "sys/devices/system/cpu/possible");
	if (!cpus_parse(cpus, &possible))
		possible = d->online;
	read_text(d, cpus, sizeof(cpus), "sys/module/bitnet/parameters/cpus");
	if (cpus_parse(cpus, &d->workers)) {
		CPU_AND(&d->workers, &d->workers, &possible);
	} else if (CPU_COUNT(&d->online) > 2) {
		d->workers = possible;
		CPU_CLR(0, &d->workers);
	} else {
		for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && !CPU_COUNT(&d->workers); cpu--)
			if (CPU_ISSET(cpu, &d->online))
				CPU_SET(cpu, &d->workers);
	}
	CPU_AND(&d->workers, &d->workers, &d->online);
}

static void run_checks(struct doctor *d, const struct doctor_check *checks)
{
	for (; checks->name; checks++) {
		d->check = checks->name;
		checks->run(d);
	}
}

int doctor_examine(struct doctor *d, const char *root)
{
	char policy[32];

	memset(d, 0, sizeof(*d));
	d->root = root;
	d->findings = calloc(MAX_FINDINGS, sizeof(*d->findings));
	if (!d->findings)
		return -ENOMEM;
	d->loaded = file_exists(d, "sys/module/bitnet");
	find_workers(d);
	read_text(d, policy, sizeof(policy), "sys/module/bitnet/parameters/policy");
	if (!strncmp(policy, "fifo:", 5))
		d->fifo = atoi(policy + 5);
	run_checks(d, doctor_system_checks);
	run_checks(d, doctor_cpu_checks);
	return 0;
}

void doctor_free(struct doctor *d)
{
	free(d->findings);
	memset(d, 0, sizeof(*d));
}

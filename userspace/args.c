// SPDX-License-Identifier: GPL-2.0
/* args.c - see args.h */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

#define MAX_OPTIONS	64
#define PPM		1000000U
#define LONG_ONLY	256	/* what getopt_long() gives for long names starts here */

int args_number(const char *text, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*number = strtoull(text, &end, !strncmp(text, "0x", 2) ? 16 : 10);
	if (*end || end == text)
		return -EINVAL;
	return -errno;
}

int args_size(const char *text, uint64_t *bytes)
{
	static const char letters[] = "kmgt";
	const char *unit;
	uint64_t n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	unit = *end ? strchr(letters, tolower((unsigned char)*end)) : NULL;
	if (unit) {
		for (const char *l = letters; l <= unit; l++)
			if (__builtin_mul_overflow(n, 1024, &n))
				return -ERANGE;
		end++;
		if (*end == 'i' && end[1] == 'B')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end)
		return -EINVAL;
	*bytes = n;
	return 0;
}

int args_ppm(const char *text, uint64_t *ppm)
{
	uint64_t v = 0, unit = PPM;
	bool digits = false;

	for (; isdigit((unsigned char)*text); text++) {
		v = v * 10 + (*text - '0');
		digits = true;
		if (v > UINT32_MAX)
			return -ERANGE;
	}
	v *= PPM;
	if (*text == '.')
		text++;
	for (; isdigit((unsigned char)*text); text++) {
		unit /= 10;
		v += (*text - '0') * unit;
		digits = true;
	}
	if (*text || !digits)
		return -EINVAL;
	*ppm = v;
	return 0;
}

static const struct time_unit {
	const char *name;
	uint64_t ns;
} time_units[] = {
	{ "", 1000000 }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 },
};

int args_time(const char *text, uint64_t *ns)
{
	size_t len = strspn(text, "0123456789.");
	const struct time_unit *u = NULL;
	char number[32];
	uint64_t ppm;
	int ret;

	for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++)
		if (!strcmp(text + len, time_units[i].name))
			u = &time_units[i];
	if (!u || len >= sizeof(number))
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	ret = args_ppm(number, &ppm);
	if (ret)
		return ret;
	/* the parts apart: their product with seconds would not fit into 64 bits */
	if (ppm / PPM > UINT64_MAX / 2 / u->ns)
		return -ERANGE;
	*ns = ppm / PPM * u->ns + ppm % PPM * u->ns / PPM;
	return 0;
}

/* For messages; the buffers rotate so that one message can have two. */
static const char *time_text(uint64_t ns)
{
	static char text[2][32];
	static unsigned int next;
	char *s = text[next++ % 2];
	size_t u = 1;

	while (u + 1 < sizeof(time_units) / sizeof(time_units[0]) && ns >= time_units[u + 1].ns)
		u++;
	snprintf(s, sizeof(text[0]), "%g%s", (double)ns / time_units[u].ns, time_units[u].name);
	return s;
}

static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[40], diagonal, up, best;
	size_t na = strlen(a), nb = strlen(b);

	if (na >= 39 || nb >= 39)
		return 99;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			up = row[j];
			best = diagonal + (a[i - 1] != b[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = up;
		}
	}
	return row[nb];
}

const char *args_nearest(const char *typed, const char *const *names)
{
	unsigned int best = strlen(typed) < 4 ? 2 : 3, d;
	const char *nearest = NULL;

	for (; *names; names++) {
		d = distance(typed, *names);
		if (d < best) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}

/* The option that getopt_long() found: a letter, or LONG_ONLY and its place in all tables. */
static const struct arg *find(const struct arg_set *sets, unsigned int n_sets, int c, void **value)
{
	const struct arg *a;
	int place = LONG_ONLY;

	for (unsigned int s = 0; s < n_sets; s++) {
		for (a = sets[s].table; a->name; a++, place++) {
			if (c < LONG_ONLY ? a->letter == c : place == c) {
				*value = (char *)sets[s].values + a->offset;
				return a;
			}
		}
	}
	return NULL;
}

static int bad_value(struct bitnet_error *err, const struct arg *a, const char *text,
		     const char *expected)
{
	return bitnet_error_set(err, EINVAL, "--%s: '%s' is not %s", a->name, text, expected);
}

static int bad_range(struct bitnet_error *err, const struct arg *a, const char *text, uint64_t max)
{
	if (a->type == ARG_PPM)
		return bitnet_error_set(err, EINVAL, "--%s: %s is not between %g and %g", a->name,
					text, (double)a->min / PPM, (double)max / PPM);
	if (a->type == ARG_TIME)
		return bitnet_error_set(err, EINVAL, "--%s: %s is not between %s and %s", a->name,
					text, time_text(a->min), time_text(max));
	return bitnet_error_set(err, EINVAL, "--%s: %s is not between %llu and %llu", a->name, text,
				(unsigned long long)a->min, (unsigned long long)max);
}

/* The number that @text is for an option of this type. */
static int parse_number(const struct arg *a, const char *text, uint64_t *n)
{
	if (a->type == ARG_PPM)
		return args_ppm(text, n);
	return a->type == ARG_TIME ? args_time(text, n) : args_number(text, n);
}

static const char *expected_number(const struct arg *a)
{
	if (a->type == ARG_PPM)
		return "a number such as 0.8";
	return a->type == ARG_TIME ? "a time such as 20ms, 500us or 1s" : "a whole number";
}

static int set_choice(const struct arg *a, int *value, const char *text, struct bitnet_error *err)
{
	char names[160] = "";
	size_t len = 0;

	for (int i = 0; a->choices[i]; i++) {
		if (!strcmp(text, a->choices[i])) {
			*value = i;
			return 0;
		}
		len += snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
				a->choices[i]);
	}
	return bitnet_error_set(err, EINVAL, "--%s: '%s' is not one of: %s", a->name, text, names);
}

static int set(const struct arg *a, void *value, const char *text, struct bitnet_error *err)
{
	struct arg_strings *list = value;
	bool wide = a->type == ARG_U64 || a->type == ARG_TIME;
	uint64_t n, max = a->max;
	int ret;

	switch (a->type) {
	case ARG_FLAG:
		*(bool *)value = true;
		return 0;
	case ARG_STRING:
		*(const char **)value = text;
		return 0;
	case ARG_STRINGS:
		if (list->n == ARGS_MAX_STRINGS)
			return bitnet_error_set(err, EINVAL, "--%s: at most %u times", a->name,
						ARGS_MAX_STRINGS);
		list->s[list->n++] = text;
		return 0;
	case ARG_CHOICE:
		return set_choice(a, value, text, err);
	case ARG_PPM:
	case ARG_TIME:
	case ARG_U32:
	case ARG_U64:
		break;
	}

	if (!max)
		max = wide ? UINT64_MAX : UINT32_MAX;
	ret = parse_number(a, text, &n);
	if (ret == -EINVAL)
		return bad_value(err, a, text, expected_number(a));
	if (ret || n < a->min || n > max)
		return bad_range(err, a, text, max);
	if (wide)
		*(uint64_t *)value = n;
	else
		*(uint32_t *)value = n;
	return 0;
}

/* What getopt_long() rejected, for people. */
static int unknown(const struct arg_set *sets, unsigned int n_sets, const char *word,
		   struct bitnet_error *err)
{
	const char *names[MAX_OPTIONS + 1], *nearest;
	char typed[40];
	unsigned int n = 0;

	if (optopt && strncmp(word, "--", 2)) {
		bitnet_error_set(err, EINVAL, "unknown option '-%c'", optopt);
		return -EINVAL;
	}
	bitnet_error_set(err, EINVAL, "unknown option '%s'", word);
	if (strncmp(word, "--", 2))
		return -EINVAL;
	snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (unsigned int s = 0; s < n_sets; s++)
		for (const struct arg *a = sets[s].table; a->name && n < MAX_OPTIONS; a++)
			names[n++] = a->name;
	names[n] = NULL;
	/* a flag with a value, or an abbreviation of several, ends up here too */
	for (unsigned int i = 0; i < n; i++) {
		if (!strcmp(names[i], typed))
			return bitnet_error_set(err, EINVAL, "option '--%s' takes no value", typed);
		if (!strncmp(names[i], typed, strlen(typed)))
			return bitnet_error_set(err, EINVAL, "option '--%s' is ambiguous", typed);
	}
	nearest = args_nearest(typed, names);
	for (unsigned int i = 0; i < n && !nearest; i++)
		if (strlen(names[i]) > 2 && !strncmp(names[i], typed, strlen(names[i])))
			nearest = names[i];
	if (nearest)
		bitnet_error_hint(err, "did you mean '--%s'?", nearest);
	return -EINVAL;
}

int args_parse(int argc, char **argv, const struct arg_set *sets, unsigned int n_sets, bool all,
	       int *operands, struct bitnet_error *err)
{
	struct option longs[MAX_OPTIONS + 1] = { 0 };
	char shorts[2 * MAX_OPTIONS + 3];
	const struct arg *a;
	unsigned int n = 0, len = 0;
	int kept = 1, c, ret, word;
	void *value;

	/* in order ('-') or up to the first operand ('+'): POSIXLY_CORRECT makes no difference */
	shorts[len++] = all ? '-' : '+';
	shorts[len++] = ':';
	for (unsigned int s = 0; s < n_sets; s++) {
		for (a = sets[s].table; a->name && n < MAX_OPTIONS; a++, n++) {
			longs[n].name = a->name;
			/*
			 * all different, or glibc takes the first of several that an abbreviation
			 * fits
			 */
			longs[n].val = LONG_ONLY + n;
			longs[n].has_arg = a->type == ARG_FLAG ? no_argument : required_argument;
			if (a->letter) {
				shorts[len++] = a->letter;
				if (a->type != ARG_FLAG)
					shorts[len++] = ':';
			}
		}
	}
	shorts[len] = '\0';

	optind = 0;	/* glibc: start afresh */
	opterr = 0;
	for (;;) {
		word = optind ? optind : 1;
		optopt = 0;
		c = getopt_long(argc, argv, shorts, longs, NULL);
		if (c == -1)
			break;
		if (c == 1) {
			argv[kept++] = optarg;
			continue;
		}
		if (c == '?')
			return unknown(sets, n_sets, argv[word], err);
		if (c == ':') {
			if (!strncmp(argv[word], "--", 2))
				return bitnet_error_set(err, EINVAL, "option '%s' needs a value",
							argv[word]);
			return bitnet_error_set(err, EINVAL, "option '-%c' needs a value", optopt);
		}
		a = find(sets, n_sets, c, &value);
		if (!a)
			return unknown(sets, n_sets, argv[word], err);
		ret = set(a, value, optarg, err);
		if (ret)
			return ret;
	}
	if (!all) {
		*operands = optind;
		return 0;
	}
	while (optind < argc)
		argv[kept++] = argv[optind++];
	*operands = kept - 1;
	return 0;
}

void args_help(FILE *f, const struct arg *table)
{
	char left[64];
	int n;

	for (const struct arg *a = table; a->name; a++) {
		n = a->letter ? snprintf(left, sizeof(left), "-%c, --%s", a->letter, a->name) :
				snprintf(left, sizeof(left), "    --%s", a->name);
		if (a->type != ARG_FLAG)
			snprintf(left + n, sizeof(left) - n, " %s", a->metavar ? a->metavar : "N");
		if (strlen(left) > 24)
			fprintf(f, "  %s\n  %-24s  %s\n", left, "", a->help);
		else
			fprintf(f, "  %-24s  %s\n", left, a->help);
	}
}

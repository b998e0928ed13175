// SPDX-License-Identifier: GPL-2.0
/* args.c - command lines: every type, every way to be wrong, and exact decimal fractions */
#include <errno.h>
#include <string.h>

#include "args.h"
#include "tap.h"

static const char *const colors[] = { "red", "green", NULL };

struct values {
	bool flag, other;
	const char *text;
	struct arg_strings list;
	uint32_t small, ppm;
	uint64_t big, time;
	int color;
};

static const struct arg table[] = {
	ARG("flag", 'f', ARG_FLAG, struct values, flag, NULL, "a flag"),
	ARG("text", 't', ARG_STRING, struct values, text, "TEXT", "a text"),
	ARG("list", 0, ARG_STRINGS, struct values, list, "TEXT", "texts"),
	ARG("small", 'n', ARG_U32, struct values, small, "N", "a number", .min = 1, .max = 100),
	ARG("big", 0, ARG_U64, struct values, big, "N", "a large number"),
	ARG("temp", 0, ARG_PPM, struct values, ppm, "T", "a fraction", .max = 2000000),
	ARG("time", 0, ARG_TIME, struct values, time, "MS", "a time", .min = 10000, .max = 60000000000),
	ARG("color", 0, ARG_CHOICE, struct values, color, "WHICH", "a choice", .choices = colors),
	{ 0 }
};

static const struct arg others[] = {
	ARG("other", 'o', ARG_FLAG, struct values, other, NULL, "of a second table"),
	{ 0 }
};

static struct values v;
static struct bitnet_error err;
static char *argv[32];
static int operands;

/* Parses "prog WORD ..." with both tables. */
static int parse(bool all, const char *words)
{
	const struct arg_set sets[] = { { table, &v }, { others, &v } };
	static char copy[256];
	int argc = 1;

	memset(&v, 0, sizeof(v));
	memset(&err, 0, sizeof(err));
	snprintf(copy, sizeof(copy), "%s", words);
	argv[0] = "prog";
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	return args_parse(argc, argv, sets, 2, all, &operands, &err);
}

static void wrong(const char *words, const char *message, const char *hint)
{
	is(parse(true, words), -EINVAL, "'%s' is wrong", words);
	is_str(err.msg, message, "  and says why");
	is_str(err.hint, hint, "  and what may have been meant");
}

static void t_good(void)
{
	is(parse(true, "a -f -t x --small 7 b --big=0x10 --temp .5 --time 2.5s --color green -o -- -c"), 0,
	   "all types");
	ok(v.flag && v.other, "flags of both tables");
	is_str(v.text, "x", "text");
	is(v.small, 7, "u32");
	is(v.big, 16, "u64, hexadecimal");
	is(v.ppm, 500000, "ppm");
	is(v.time, 2500000000, "time");
	is(v.color, 1, "choice");
	is(operands, 3, "three operands");
	ok(!strcmp(argv[1], "a") && !strcmp(argv[2], "b") && !strcmp(argv[3], "-c"),
	   "operands in order, also behind --");

	is(parse(true, "- -fo -n9 --sm 8 --list a --list b"), 0,
	   "bundles, joined values, abbreviations");
	is(operands, 1, "a dash is an operand");
	is(v.small, 8, "the last one counts");
	is(v.list.n, 2, "a list grows");
	ok(v.flag && v.other, "bundled flags");

	is(parse(false, "-f verb -t x"), 0, "up to the first operand");
	is(operands, 2, "which is argv[2]");
	ok(v.flag && !v.text, "what is behind it is not touched");
	is(parse(true, ""), 0, "nothing at all");
	is(operands, 0, "no operands");
}

static void t_wrong(void)
{
	wrong("--flg", "unknown option '--flg'", "did you mean '--flag'?");
	wrong("--texture", "unknown option '--texture'", "did you mean '--text'?");
	wrong("--zzz", "unknown option '--zzz'", "");
	wrong("-x", "unknown option '-x'", "");
	wrong("-fx", "unknown option '-x'", "");
	wrong("--flag=1", "option '--flag' takes no value", "");
	wrong("--t", "option '--t' is ambiguous", "");
	wrong("--text", "option '--text' needs a value", "");
	wrong("-t", "option '-t' needs a value", "");
	wrong("--small 0", "--small: 0 is not between 1 and 100", "");
	wrong("--small 101", "--small: 101 is not between 1 and 100", "");
	wrong("--small 99999999999999999999",
	      "--small: 99999999999999999999 is not between 1 and 100", "");
	wrong("--small -1", "--small: '-1' is not a whole number", "");
	wrong("--small 1x", "--small: '1x' is not a whole number", "");
	wrong("--temp x", "--temp: 'x' is not a number such as 0.8", "");
	wrong("--temp 2.1", "--temp: 2.1 is not between 0 and 2", "");
	wrong("--time soon", "--time: 'soon' is not a time such as 20ms, 500us or 1s", "");
	wrong("--time 9us", "--time: 9us is not between 10us and 60s", "");
	wrong("--time 60001", "--time: 60001 is not between 10us and 60s", "");
	wrong("--time 9999999999s", "--time: 9999999999s is not between 10us and 60s", "");
	wrong("--color blue", "--color: 'blue' is not one of: red, green", "");
}

static void t_list_full(void)
{
	struct arg_strings list = { 0 };
	const struct arg one[] = {
		{ .name = "s", .type = ARG_STRINGS },
		{ 0 }
	};
	const struct arg_set set = { one, &list };
	char *words[] = { "prog",  "--s=1", "--s=2", "--s=3", "--s=4", "--s=5",
			  "--s=6", "--s=7", "--s=8", "--s=9", NULL };
	int n;

	is(args_parse(9, words, &set, 1, true, &n, &err), 0, "a list of 8");
	list.n = 0;
	is(args_parse(10, words, &set, 1, true, &n, &err), -EINVAL, "a list of 9");
}

static void t_ppm(void)
{
	static const struct { const char *text; int ret; uint64_t ppm;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1000000 },
		{ "0.8", 0, 800000 },
		{ ".000001", 0, 1 },
		{ "0.0000019", 0, 1 },
		{ "0.1", 0, 100000 },
		{ "0.95", 0, 950000 },
		{ "1.", 0, 1000000 },
		{ "100", 0, 100000000 },
		{ "4294967295", 0, 4294967295000000ULL },
		{ "", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0,8", -EINVAL, 0 },
		{ "nan", -EINVAL, 0 },
		{ "1.5x", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "4294967296", -ERANGE, 0 },
		{ "99999999999999999999999999", -ERANGE, 0 },
	};
	uint64_t ppm;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ppm = 0;
		is(args_ppm(cases[i].text, &ppm), cases[i].ret, "'%s' in ppm", cases[i].text);
		if (!cases[i].ret)
			is(ppm, cases[i].ppm, "  exactly");
	}
}

static void t_time(void)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t ns;
	} cases[] = {
		{ "20", 0, 20000000 },
		{ "20ms", 0, 20000000 },
		{ "0.5", 0, 500000 },
		{ "500us", 0, 500000 },
		{ "100ns", 0, 100 },
		{ "1s", 0, 1000000000 },
		{ "1.5s", 0, 1500000000 },
		{ "3600s", 0, 3600000000000ULL },
		{ "4294967295s", 0, 4294967295000000000ULL },
		{ "0", 0, 0 },
		{ "0.0001us", 0, 0 },
		{ "1.9ns", 0, 1 },
		{ "", -EINVAL, 0 },
		{ "ms", -EINVAL, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1 ms", -EINVAL, 0 },
		{ "-1ms", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1.2.3", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "4294967296s", -ERANGE, 0 },
	};
	uint64_t ns;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ns = 0;
		is(args_time(cases[i].text, &ns), cases[i].ret, "'%s' as a time", cases[i].text);
		if (!cases[i].ret)
			is(ns, cases[i].ns, "  exactly");
	}
}

static void t_nearest(void)
{
	static const char *const names[] = { "run", "chat", "submit", "models", NULL };

	is_str(args_nearest("rum", names), "run", "one letter off");
	is_str(args_nearest("sumbit", names), "submit", "two letters swapped");
	is_str(args_nearest("model", names), "models", "one letter short");
	ok(!args_nearest("zz", names), "nothing near");
	ok(!args_nearest("a-very-long-word-that-no-verb-comes-near-to-at-all", names), "too long");
}

static void size(const char *text, int ret, uint64_t bytes)
{
	uint64_t got = 0;

	is(args_size(text, &got), ret, "size '%s'", text);
	if (!ret)
		is(got, bytes, "  is right");
}

static void t_size(void)
{
	size("0", 0, 0);
	size("4096", 0, 4096);
	size("3k", 0, 3 << 10);
	size("3K", 0, 3 << 10);
	size("512M", 0, 512ULL << 20);
	size("4GiB", 0, 4ULL << 30);
	size("4GB", 0, 4ULL << 30);
	size("2T", 0, 2ULL << 40);
	size("7B", 0, 7);
	size("18446744073709551615", 0, UINT64_MAX);
	size("18446744073709551616", -ERANGE, 0);
	size("16777216T", -ERANGE, 0);
	size("", -EINVAL, 0);
	size("M", -EINVAL, 0);
	size("-1", -EINVAL, 0);
	size("1.5G", -EINVAL, 0);
	size("1 G", -EINVAL, 0);
	size("1iB", -EINVAL, 0);
	size("1Gi", -EINVAL, 0);
	size("1GG", -EINVAL, 0);
	size("1P", -EINVAL, 0);
}

int main(void)
{
	t_good();
	t_wrong();
	t_list_full();
	t_ppm();
	t_time();
	t_size();
	t_nearest();
	return done();
}

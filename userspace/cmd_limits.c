// SPDX-License-Identifier: GPL-2.0
/* cmd_limits.c - what users have and may have: show it, and set it */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"
#include "bitnetctl.h"

#define FLOOR_KEEP	UINT32_MAX
#define MAX_FLOOR_PERCENT 50

/* One limit of each kind, as typed; NULL: not given. */
struct limits_values {
	const char *user, *sessions, *jobs, *kv_bytes, *pinned_bytes, *realtime;
	bool by_default;
	uint32_t floor_percent_ppm;
};

const struct arg limits_args[] = {
	ARG("user", 'u', ARG_STRING, struct limits_values, user, "USER",
	    "of this user, by name or number"),
	ARG("default", 0, ARG_FLAG, struct limits_values, by_default, NULL,
	    "of all users without a limit of their own"),
	ARG("sessions", 0, ARG_STRING, struct limits_values, sessions, "N",
	    "at most so many sessions; none: no limit of his own"),
	ARG("jobs", 0, ARG_STRING, struct limits_values, jobs, "N",
	    "at most so many unfinished jobs, or none"),
	ARG("kv-bytes", 0, ARG_STRING, struct limits_values, kv_bytes, "SIZE",
	    "at most so much memory for contexts, such as 512M or 4G, or none"),
	ARG("pinned-bytes", 0, ARG_STRING, struct limits_values, pinned_bytes, "SIZE",
	    "at most so much pinned memory of models, or none"),
	ARG("realtime", 0, ARG_STRING, struct limits_values, realtime, "PERCENT",
	    "at most so much of the workers' time for realtime jobs, or none"),
	ARG("batch-floor", 0, ARG_PPM, struct limits_values, floor_percent_ppm, "PERCENT",
	    "share that batch jobs get at least, 0 to 50", .max = MAX_FLOOR_PERCENT * BITNET_PPM),
	{ 0 }
};

enum unit { UNIT_COUNT, UNIT_BYTES, UNIT_PPM };

static const struct kind {
	const char *key, *option;
	size_t typed, value;	/* offsets in struct limits_values, struct bitnet_limits */
	uint32_t bit;
	int attr;		/* the limit's */
	enum unit unit;
} kinds[] = {
	{ "sessions", "sessions", offsetof(struct limits_values, sessions),
	  offsetof(struct bitnet_limits, sessions), BITNET_LIMIT_SESSIONS, BITNET_A_MAX_SESSIONS,
	  UNIT_COUNT },
	{ "jobs", "jobs", offsetof(struct limits_values, jobs),
	  offsetof(struct bitnet_limits, jobs), BITNET_LIMIT_JOBS, BITNET_A_MAX_JOBS, UNIT_COUNT },
	{ "kv_bytes", "kv-bytes", offsetof(struct limits_values, kv_bytes),
	  offsetof(struct bitnet_limits, kv_bytes), BITNET_LIMIT_KV_BYTES, BITNET_A_MAX_KV_BYTES,
	  UNIT_BYTES },
	{ "pinned_bytes", "pinned-bytes", offsetof(struct limits_values, pinned_bytes),
	  offsetof(struct bitnet_limits, pinned_bytes), BITNET_LIMIT_PINNED_BYTES,
	  BITNET_A_MAX_PINNED_BYTES, UNIT_BYTES },
	{ "realtime_ppm", "realtime", offsetof(struct limits_values, realtime),
	  offsetof(struct bitnet_limits, realtime_ppm), BITNET_LIMIT_REALTIME_PPM,
	  BITNET_A_MAX_REALTIME_PPM, UNIT_PPM },
};

#define N_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

/* ---- what was asked for ---------------------------------------------------------------------- */

static int parse_amount(const struct kind *k, const char *typed, uint64_t *value)
{
	if (k->unit == UNIT_BYTES)
		return args_size(typed, value);
	if (args_number(typed, value) || (k->unit == UNIT_PPM && *value > 100))
		return -EINVAL;
	if (k->unit == UNIT_PPM)
		*value *= BITNET_PPM / 100;
	return 0;
}

static int parse_limit(const struct kind *k, const char *typed, struct bitnet_limits *limits,
		       struct bitnet_error *err)
{
	static const char *const expected[] = {
		[UNIT_COUNT] = "a whole number, or none",
		[UNIT_BYTES] = "a size such as 512M, or none",
		[UNIT_PPM] = "a percentage, 0 to 100, or none",
	};
	uint64_t value = BITNET_LIMIT_NONE;

	if (strcmp(typed, "none") && parse_amount(k, typed, &value))
		return bitnet_error_set(err, EINVAL, "--%s: '%s' is not %s", k->option, typed,
					expected[k->unit]);
	memcpy((char *)limits + k->value, &value, sizeof(value));
	limits->which |= k->bit;
	return 0;
}

static int parse_user(const char *text, uint32_t *uid, struct bitnet_error *err)
{
	const struct passwd *pw;
	uint64_t number;

	if (!args_number(text, &number) && number < UINT32_MAX) {
		*uid = number;
		return 0;
	}
	pw = getpwnam(text);
	if (!pw)
		return bitnet_error_set(err, EINVAL, "--user: no user '%s'", text);
	*uid = pw->pw_uid;
	return 0;
}

static int parse(const struct limits_values *v, struct bitnet_limits *limits, uint32_t *uid,
		 struct bitnet_error *err)
{
	const char *typed;
	int ret = v->user ? parse_user(v->user, uid, err) : 0;

	for (size_t i = 0; i < N_KINDS && !ret; i++) {
		memcpy(&typed, (const char *)v + kinds[i].typed, sizeof(typed));
		if (typed)
			ret = parse_limit(&kinds[i], typed, limits, err);
	}
	if (ret)
		return ret;
	if (v->user && v->by_default)
		return bitnet_error_set(err, EINVAL, "--user and --default exclude each other");
	if (limits->which && !v->user && !v->by_default)
		return bitnet_error_set(err, EINVAL, "limits of whom? --user USER, or --default");
	if (v->by_default && !limits->which)
		return bitnet_error_set(err, EINVAL, "--default: no limit given");
	return 0;
}

/* ---- what there is --------------------------------------------------------------------------- */

/* What one answer says of limits. */
static json_t *limits_json(const struct bitnet_nl_attrs *attrs)
{
	json_t *j = json_object();

	for (size_t i = 0; i < N_KINDS; i++) {
		uint64_t most = bitnet_nl_number(attrs, kinds[i].attr);

		json_object_set_new(j, kinds[i].key,
				    json_integer(most < INT64_MAX ? most : INT64_MAX));
	}
	return j;
}

static json_t *user_json(uint32_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	return json_pack("{s:I, s:o}", "uid", (json_int_t)uid, "user",
			 pw ? out_string(pw->pw_name, strlen(pw->pw_name)) : json_null());
}

static int on_info(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	json_object_set_new(arg, "batch_floor_ppm",
			    json_integer(bitnet_nl_number(attrs, BITNET_A_BATCH_FLOOR)));
	json_object_set_new(arg, "default", limits_json(attrs));
	return 0;
}

static int on_user(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	static const struct { int attr; const char *name; } numbers[] = {
		{ BITNET_A_FILES, "files" }, { BITNET_A_MODELS, "models" },
		{ BITNET_A_SESSIONS, "sessions" }, { BITNET_A_JOBS, "jobs" },
		{ BITNET_A_KV_BYTES, "kv_bytes" }, { BITNET_A_PINNED_BYTES, "pinned_bytes" },
		{ BITNET_A_REALTIME_PPM, "realtime_ppm" },
		{ BITNET_A_TOKENS_IN, "tokens_in" }, { BITNET_A_TOKENS_OUT, "tokens_out" },
		{ BITNET_A_CPU_NS, "cpu_ns" }, { BITNET_A_QUEUE_NS, "queue_ns" },
		{ BITNET_A_LATE, "late" }, { BITNET_A_REALTIME_TOKENS, "realtime_tokens" },
	};
	uint64_t set = bitnet_nl_number(attrs, BITNET_A_OWN_LIMITS);
	json_t *j = user_json(bitnet_nl_number(attrs, BITNET_A_UID)), *own = json_array();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(j, numbers[i].name,
				    json_integer(bitnet_nl_number(attrs, numbers[i].attr)));
	json_object_set_new(j, "limits", limits_json(attrs));
	for (size_t i = 0; i < N_KINDS; i++)
		if (set & kinds[i].bit)
			json_array_append_new(own, json_string(kinds[i].key));
	json_object_set_new(j, "own", own);
	json_array_append_new(arg, j);
	return 0;
}

/* For who may not see others: himself, as the device tells him. */
static int add_myself(json_t *users, struct bitnet_error *err)
{
	const struct bitnet_engine_options options = {
		.kind = BITNET_ENGINE_DEVICE,
		.ring_entries = 2,
	};
	struct bitnet_engine *engine;
	struct bitnet_stats s;
	json_t *j;
	int ret;

	ret = bitnet_engine_open(&options, &engine, err);
	if (ret)
		return ret;
	ret = bitnet_engine_stats_of(engine, BITNET_STATS_F_USER, 0, &s, err);
	bitnet_engine_close(engine);
	if (ret)
		return ret;
	j = user_json(geteuid());
#define SET(key, value) json_object_set_new(j, key, json_integer(value))
	SET("models", s.out_models);
	SET("sessions", s.out_sessions);
	SET("jobs", s.out_jobs);
	SET("kv_bytes", s.out_kv_bytes);
	SET("pinned_bytes", s.out_pinned_bytes);
	SET("realtime_ppm", s.out_realtime_ppm);
	SET("tokens_in", s.out_tokens_in);
	SET("tokens_out", s.out_tokens_out);
	SET("cpu_ns", s.out_cpu_ns);
	SET("queue_ns", s.out_queue_ns);
	SET("late", s.out_late);
	SET("realtime_tokens", s.out_realtime_tokens);
#undef SET
	json_object_set_new(j, "limits",
			    json_pack("{s:I, s:I, s:I, s:I, s:I}", "sessions",
				      (json_int_t)s.out_limit_sessions, "jobs",
				      (json_int_t)s.out_limit_jobs, "kv_bytes",
				      (json_int_t)s.out_limit_kv_bytes, "pinned_bytes",
				      (json_int_t)s.out_limit_pinned_bytes, "realtime_ppm",
				      (json_int_t)s.out_limit_realtime_ppm));
	json_array_append_new(users, j);
	return 0;
}

static int look(struct bitnet_nl *nl, json_t *view, struct bitnet_error *err)
{
	json_t *users = json_array();
	int ret;

	json_object_set_new(view, "users", users);
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_INFO, on_info, view, err);
	if (ret)
		return ret;
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_USERS, on_user, users, err);
	return ret == -EPERM ? add_myself(users, err) : ret;
}

static void keep_only(json_t *view, uint32_t uid)
{
	json_t *users = json_object_get(view, "users");
	size_t i = json_array_size(users);

	while (i--)
		if (json_integer_value(json_object_get(json_array_get(users, i), "uid")) != uid)
			json_array_remove(users, i);
}

/* ---- for people ------------------------------------------------------------------------------ */

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool is_own(const json_t *user, const char *key)
{
	const json_t *own = json_object_get(user, "own"), *name;
	size_t i;

	json_array_foreach(own, i, name)
		if (!strcmp(json_string_value(name), key))
			return true;
	return false;
}

static const char *amount(const struct kind *k, json_int_t n, char text[24])
{
	if (k->unit == UNIT_BYTES)
		return out_size(n);
	if (k->unit == UNIT_PPM)
		snprintf(text, 24, "%.3g%%", n * 100.0 / BITNET_PPM);
	else
		snprintf(text, 24, "%lld", (long long)n);
	return text;
}

/* "used/limit", with a star behind a limit of his own; the default has no use. */
static void print_limit(const struct kind *k, const json_t *user, const json_t *limits)
{
	char text[64], used[24], most[24];

	snprintf(text, sizeof(text), "%s%s%s%s", user ? amount(k, number(user, k->key), used) : "",
		 user ? "/" : "", amount(k, number(limits, k->key), most),
		 is_own(user, k->key) ? "*" : "");
	printf(" %*s", k->unit == UNIT_BYTES ? 18 : 11, text);
}

static void print_row(const char *name, const json_t *user, const json_t *limits)
{
	printf("%-12s", name);
	for (size_t i = 0; i < N_KINDS; i++)
		print_limit(&kinds[i], user, limits);
	if (user)
		printf(" %9lld %9lld %8.1f %6lld", (long long)number(user, "tokens_in"),
		       (long long)number(user, "tokens_out"), number(user, "cpu_ns") / 1e9,
		       (long long)number(user, "late"));
	putchar('\n');
}

static void print_plain(const json_t *view)
{
	const json_t *users = json_object_get(view, "users"), *u;
	char uid[16];
	size_t i;

	printf("batch jobs get at least %g %% while any waits\n\n",
	       number(view, "batch_floor_ppm") * 100.0 / BITNET_PPM);
	printf("%s%-12s %11s %11s %18s %18s %11s %9s %9s %8s %6s%s\n", out_style(STYLE_BOLD), "USER",
	       "SESSIONS", "JOBS", "CONTEXTS", "PINNED", "REALTIME", "TOKENS-IN", "OUT", "CPU-S", "LATE",
	       out_style(STYLE_PLAIN));
	print_row("default", NULL, json_object_get(view, "default"));
	json_array_foreach(users, i, u) {
		const char *name = json_string_value(json_object_get(u, "user"));

		snprintf(uid, sizeof(uid), "%lld", (long long)number(u, "uid"));
		print_row(name ? name : uid, u, json_object_get(u, "limits"));
	}
}

static int apply(struct bitnet_nl *nl, const struct limits_values *v,
		 const struct bitnet_limits *limits, uint32_t uid, struct bitnet_error *err)
{
	int ret = 0;

	if (limits->which)
		ret = bitnet_nl_set_limits(nl, v->user ? &uid : NULL, limits, err);
	if (!ret && v->floor_percent_ppm != FLOOR_KEEP)
		ret = bitnet_nl_set_floor(nl, v->floor_percent_ppm / 100, err);
	return ret;
}

int cmd_limits(const struct command *self, int argc, char **argv)
{
	struct limits_values v = { .floor_percent_ppm = FLOOR_KEEP };
	struct bitnet_limits limits = { 0 };
	struct bitnet_error err = { 0 };
	struct bitnet_nl *nl;
	uint32_t uid = 0;
	json_t *view;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (parse(&v, &limits, &uid, &err))
		return command_usage(self, &err);
	ret = bitnet_nl_open(&nl, &err);
	if (ret)
		return out_error(&err);
	view = json_object();
	ret = apply(nl, &v, &limits, uid, &err);
	if (!ret)
		ret = look(nl, view, &err);
	bitnet_nl_close(nl);
	if (!ret && v.user)
		keep_only(view, uid);
	if (ret)
		code = out_error(&err);
	else
		code = OUT_OK;
	if (!ret && out.json)
		out_json(json_incref(view));
	else if (!ret)
		print_plain(view);
	json_decref(view);
	return code;
}

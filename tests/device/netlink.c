// SPDX-License-Identifier: GPL-2.0
/*
 * netlink.c - the generic netlink family: who may ask what, what the answers and events hold
 */
#include "device.h"
#include "genl.h"

#define NAME	"netlink-shared"

#define INFO_ATTRS_USER								\
	(BIT(BITNET_A_VERSION) | BIT(BITNET_A_ABI) | BIT(BITNET_A_VARIANT) |	\
	 BIT(BITNET_A_WORKERS) | BIT(BITNET_A_SECTION_MAX_NS) |			\
	 BIT(BITNET_A_BATCH_FLOOR) | LIMIT_ATTRS)

static const uint64_t info_attrs = INFO_ATTRS_USER |
	BIT(BITNET_A_MODELS) | BIT(BITNET_A_SESSIONS) | BIT(BITNET_A_JOBS) | BIT(BITNET_A_FILES) |
	BIT(BITNET_A_TOKENS_IN) | BIT(BITNET_A_TOKENS_OUT) | BIT(BITNET_A_JOBS_DONE) |
	BIT(BITNET_A_JOBS_FAILED) | BIT(BITNET_A_JOBS_CANCELLED) | BIT(BITNET_A_PINNED_BYTES) |
	BIT(BITNET_A_KV_BYTES) | BIT(BITNET_A_CPU_NS) | BIT(BITNET_A_STEPS);
static const uint64_t model_attrs = BIT(BITNET_A_NAME) | BIT(BITNET_A_MODEL_BYTES) |
				    BIT(BITNET_A_SHARED) | BIT(BITNET_A_MODEL_HANDLES) |
				    BIT(BITNET_A_MODEL_SESSIONS) | BIT(BITNET_A_DIGEST);
static const uint64_t file_attrs =
	BIT(BITNET_A_PID) | BIT(BITNET_A_UID) | BIT(BITNET_A_COMM) | BIT(BITNET_A_MODELS) |
	BIT(BITNET_A_SESSIONS) | BIT(BITNET_A_JOBS) | BIT(BITNET_A_PARKED) |
	BIT(BITNET_A_FILE_ID) | ACCOUNT_ATTRS;
static const uint64_t model_event_attrs =
	BIT(BITNET_A_NAME) | BIT(BITNET_A_MODEL_BYTES) | BIT(BITNET_A_SHARED) | BIT(BITNET_A_UID) |
	BIT(BITNET_A_TIME_NS);
static const uint64_t job_event_attrs = BIT(BITNET_A_PID) | BIT(BITNET_A_UID) |
					BIT(BITNET_A_JOB_KIND) | BIT(BITNET_A_TOKENS_IN) |
					BIT(BITNET_A_TOKENS_OUT) | BIT(BITNET_A_CPU_NS) |
					BIT(BITNET_A_ERROR) | BIT(BITNET_A_TIME_NS);

static const struct message *find_model(const struct answer *a, const char *name)
{
	unsigned int i;

	for (i = 0; i < a->n; i++)
		if (!strcmp(a->m[i].string[BITNET_A_NAME], name))
			return &a->m[i];
	return NULL;
}

static struct t_client c;
static struct t_image image;
static struct t_result result;
static struct answer answer;

static void check_info(struct nl_sock *sk)
{
	struct bitnet_info info = t_info(c.fd);
	const struct message *m = &answer.m[0];

	is(ask(sk, BITNET_CMD_GET_INFO, 0, &answer), 0, "GET_INFO");
	ok(answer.n == 1 && !answer.fault, "one message (%s)",
	   answer.fault ? answer.fault : "sound");
	is(m->cmd, BITNET_CMD_GET_INFO, "of that command");
	is(m->has, info_attrs, "with the attributes that the header names");
	is(m->number[BITNET_A_ABI], info.out_abi_version, "ABI");
	is(m->number[BITNET_A_WORKERS], info.out_workers, "workers");
	is_str(m->string[BITNET_A_VARIANT], info.out_variant, "variant");
	is(m->number[BITNET_A_FILES], 1, "files");
	is(m->number[BITNET_A_MODELS], 2, "models");
	is(m->number[BITNET_A_SESSIONS], 1, "sessions");
	is(m->number[BITNET_A_PINNED_BYTES], 2 * image.length, "pinned bytes");
	ok(m->number[BITNET_A_TOKENS_OUT] >= 5, "tokens");
	ok(m->number[BITNET_A_STEPS] >= 5, "steps");
	ok(m->number[BITNET_A_SECTION_MAX_NS] > 0, "longest section: %llu ns",
	   (unsigned long long)m->number[BITNET_A_SECTION_MAX_NS]);
}

static void check_dumps(struct nl_sock *sk)
{
	const struct message *m;
	unsigned int i;
	char comm[16] = { 0 };

	is(ask(sk, BITNET_CMD_GET_MODELS, NLM_F_DUMP, &answer), 0, "GET_MODELS as root");
	ok(answer.n == 2 && !answer.fault, "both models (%s)",
	   answer.fault ? answer.fault : "sound");
	m = find_model(&answer, NAME);
	if (ok(m, "the shared one")) {
		is(m->has, model_attrs | BIT(BITNET_A_UID), "attributes");
		is(m->number[BITNET_A_SHARED], 1, "is shared");
		is(m->number[BITNET_A_MODEL_BYTES], image.length, "bytes");
		is(m->number[BITNET_A_MODEL_HANDLES], 1, "handles");
		is(m->number[BITNET_A_DIGEST], image.header->digest, "digest");
	}
	m = find_model(&answer, "");
	if (ok(m, "the private one")) {
		is(m->number[BITNET_A_SHARED], 0, "is not shared");
		is(m->number[BITNET_A_MODEL_SESSIONS], 1, "sessions");
	}

	is(ask(sk, BITNET_CMD_GET_STATS, NLM_F_DUMP, &answer), 0, "GET_STATS as root");
	ok(answer.n == 1 && !answer.fault, "one file (%s)", answer.fault ? answer.fault : "sound");
	m = &answer.m[0];
	is(m->has, file_attrs, "attributes");
	is(m->number[BITNET_A_PID], getpid(), "our process");
	is(m->number[BITNET_A_UID], 0, "user");
	i = open("/proc/self/comm", O_RDONLY);
	if (read(i, comm, 15) > 0)
		comm[strcspn(comm, "\n")] = 0;
	close(i);
	is_str(m->string[BITNET_A_COMM], comm, "comm");
	is(m->number[BITNET_A_MODELS], 2, "models");
	is(m->number[BITNET_A_SESSIONS], 1, "sessions");
	is(m->number[BITNET_A_JOBS], 0, "jobs");
	is(m->number[BITNET_A_TOKENS_IN], 3, "tokens in");
	is(m->number[BITNET_A_TOKENS_OUT], 5, "tokens out");
	is(m->number[BITNET_A_QUEUE_NS], t_stats(c.fd).out_queue_ns, "time in the queue");
	ok(m->number[BITNET_A_FILE_ID] > 0, "number of the file");
}

/* More files and models than fit into one message of a dump. */
static void check_long_dumps(struct nl_sock *sk)
{
	int fds[60];
	unsigned int i, k, twice = 0;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		char name[64];

		fds[i] = t_open();
		snprintf(name, sizeof(name), "a-name-that-is-long-so-that-it-takes-room-%u", i);
		if (t_model_load(fds[i], &image, 0, name, NULL))
			bail("MODEL_LOAD");
	}
	is(ask(sk, BITNET_CMD_GET_STATS, NLM_F_DUMP, &answer), 0, "GET_STATS of 61 files");
	is(answer.n, 61, "all are there");
	is(ask(sk, BITNET_CMD_GET_MODELS, NLM_F_DUMP, &answer), 0, "GET_MODELS of 62 models");
	is(answer.n, 62, "all are there");
	for (i = 0; i < answer.n; i++)
		for (k = 0; k < i; k++)
			twice += !strcmp(answer.m[i].string[BITNET_A_NAME],
					 answer.m[k].string[BITNET_A_NAME]);
	is(twice, 0, "each once");
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static int put_attr(struct nl_msg *msg, const void *attr)
{
	return nla_put_u32(msg, *(const int *)attr, 1);
}

/* Sends with an attribute, a command or flags that no request has. */
static int ask_raw(struct nl_sock *sk, int cmd, int flags, int attr)
{
	return ask_with(sk, cmd, flags, attr ? put_attr : NULL, &attr, &answer);
}

static void check_bad_requests(struct nl_sock *sk)
{
	int cmd;

	for (cmd = BITNET_CMD_EVENT_MODEL_LOADED; cmd <= BITNET_CMD_EVENT_JOB_FAILED; cmd++)
		is(ask_raw(sk, cmd, 0, 0), -EOPNOTSUPP, "command %d is not to be sent", cmd);
	for (cmd = BITNET_CMD_EVENT_DEADLINE_MISSED; cmd <= BITNET_CMD_MAX + 1; cmd++)
		is(ask_raw(sk, cmd, 0, 0), -EOPNOTSUPP, "command %d is not to be sent", cmd);
	is(ask_raw(sk, 0, 0, 0), -EOPNOTSUPP, "command 0");
	is(ask_raw(sk, BITNET_CMD_GET_STATS, 0, 0), -EOPNOTSUPP, "GET_STATS without dump");
	is(ask_raw(sk, BITNET_CMD_GET_MODELS, 0, 0), -EOPNOTSUPP, "GET_MODELS without dump");
	is(ask_raw(sk, BITNET_CMD_GET_INFO, NLM_F_DUMP, 0), -EOPNOTSUPP, "GET_INFO with dump");
	is(ask_raw(sk, BITNET_CMD_GET_INFO, 0, BITNET_A_NAME), -EINVAL,
	   "GET_INFO with an attribute");
	is(ask_raw(sk, BITNET_CMD_GET_INFO, 0, BITNET_A_PAD), -EINVAL, "GET_INFO with padding");
	is(ask_raw(sk, BITNET_CMD_GET_INFO, 0, BITNET_A_MAX + 1), -EINVAL,
	   "GET_INFO with an unknown attribute");
}

/* The same as an ordinary user. Steps that failed are told by number. */
static int as_user(void *arg)
{
	struct nl_sock *sk;
	const struct message *m;
	int group;

	(void)arg;
	t_drop_privileges(T_UID_NOBODY, 0);
	sk = sock_open();
	if (!sk)
		return 100;
	if (ask(sk, BITNET_CMD_GET_INFO, 0, &answer) || answer.n != 1 ||
	    answer.m[0].has != INFO_ATTRS_USER)
		return 1;
	/* Nor what the workers have computed, of which others have had the most. */
	if (ask(sk, BITNET_CMD_GET_WORKERS, NLM_F_DUMP, &answer) || !answer.n ||
	    answer.m[0].has & BIT(BITNET_A_CPU_NS))
		return 7;
	if (ask(sk, BITNET_CMD_GET_STATS, NLM_F_DUMP, &answer) != -EPERM || answer.n)
		return 2;
	if (ask(sk, BITNET_CMD_GET_MODELS, NLM_F_DUMP, &answer) || answer.n != 1)
		return 3;
	m = find_model(&answer, NAME);
	if (!m || m->has != model_attrs)
		return 4;
	group = genl_ctrl_resolve_grp(sk, BITNET_GENL_NAME, BITNET_GENL_MCGRP_EVENTS);
	if (group < 0)
		return 5;
	return nl_socket_add_membership(sk, group) == 0 ? 6 : 0;
}

/* Root of a user namespace with a network namespace of its own does not even see the family. */
static int as_userns_root(void *arg)
{
	struct nl_sock *sk;

	(void)arg;
	t_drop_privileges(T_UID_NOBODY, 0);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 77;
	sk = sock_open();
	if (!sk)
		return 100;
	return genl_ctrl_resolve(sk, BITNET_GENL_NAME) < 0 ? 0 : 1;
}

/* In the first network namespace, but root of a user namespace. */
static int as_userns_root_here(void *arg)
{
	struct nl_sock *sk;
	int group;

	(void)arg;
	t_drop_privileges(T_UID_NOBODY, 0);
	if (unshare(CLONE_NEWUSER))
		return 77;
	sk = sock_open();
	if (!sk)
		return 100;
	if (ask(sk, BITNET_CMD_GET_STATS, NLM_F_DUMP, &answer) != -EPERM)
		return 1;
	group = genl_ctrl_resolve_grp(sk, BITNET_GENL_NAME, BITNET_GENL_MCGRP_EVENTS);
	return nl_socket_add_membership(sk, group) == 0 ? 2 : 0;
}

static void check_child(int (*fn)(void *arg), const char *what)
{
	int status = t_in_child(fn, NULL);

	if (status == 77)
		skip("no such namespaces here");
	else
		is(status, 0, "%s", what);
}

/* Waits for the next event; false if none comes. */
static bool next_event(struct nl_sock *sk, struct nl_cb *cb, struct message *m)
{
	struct pollfd p = { .fd = nl_socket_get_fd(sk), .events = POLLIN };

	answer.n = 0;
	answer.fault = NULL;
	if (poll(&p, 1, 20000) != 1 || nl_recvmsgs(sk, cb) < 0 || answer.n != 1 || answer.fault)
		return false;
	*m = answer.m[0];
	return true;
}

static void check_events(void)
{
	struct nl_sock *sk = sock_open();
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	uint32_t tokens[3] = { 1, 2, 3 }, id;
	struct bitnet_job job;
	struct message m;
	uint64_t start;
	int group;

	group = genl_ctrl_resolve_grp(sk, BITNET_GENL_NAME, BITNET_GENL_MCGRP_EVENTS);
	ok(group > 0, "group 'events'");
	is(nl_socket_add_membership(sk, group), 0, "root joins it");
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, &answer);
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_seq, NULL);

	start = t_now();
	t_model_load(c.fd, &image, 0, "an-event", &id);
	if (ok(next_event(sk, cb, &m), "an event")) {
		is(m.cmd, BITNET_CMD_EVENT_MODEL_LOADED, "MODEL_LOADED");
		is(m.has, model_event_attrs, "its attributes");
		is_str(m.string[BITNET_A_NAME], "an-event", "name");
		is(m.number[BITNET_A_MODEL_BYTES], image.length, "bytes");
		is(m.number[BITNET_A_UID], 0, "user");
		ok(m.number[BITNET_A_TIME_NS] >= start && m.number[BITNET_A_TIME_NS] <= t_now(),
		   "time");
	}
	t_model_close(c.fd, id);
	ok(next_event(sk, cb, &m) && m.cmd == BITNET_CMD_EVENT_MODEL_UNLOADED, "MODEL_UNLOADED");

	t_session_rewind(c.fd, c.session, 0);
	job = t_generate(c.session, tokens, 3, 4, 1);
	t_run(&c.ring, &job, &result);
	if (ok(next_event(sk, cb, &m), "an event")) {
		is(m.cmd, BITNET_CMD_EVENT_JOB_DONE, "JOB_DONE");
		is(m.has, job_event_attrs, "its attributes");
		is(m.number[BITNET_A_PID], getpid(), "process");
		is(m.number[BITNET_A_JOB_KIND], BITNET_JOB_GENERATE, "kind");
		is(m.number[BITNET_A_TOKENS_IN], 3, "tokens in");
		is(m.number[BITNET_A_TOKENS_OUT], 4, "tokens out");
		is(m.number[BITNET_A_CPU_NS], result.end.cpu_ns, "worker time");
		is(m.number[BITNET_A_ERROR], 0, "no error");
	}
	job = t_generate(c.session, tokens, 3, 200, 1);
	t_submit(c.fd, &job, 1, NULL);
	t_cancel(c.fd, 1, NULL);
	t_collect(&c.ring, &result, 1, 1);
	if (ok(next_event(sk, cb, &m), "an event")) {
		is(m.cmd, BITNET_CMD_EVENT_JOB_FAILED, "JOB_FAILED");
		is((int32_t)m.number[BITNET_A_ERROR], -ECANCELED, "error");
	}
	nl_cb_put(cb);
	nl_socket_free(sk);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint32_t tokens[3] = { 1, 2, 3 }, shared;
	struct nl_sock *sk;
	struct bitnet_job job;

	image = t_image_random(&t_tiny);
	t_client_open(&c, &image, 16);
	if (t_model_load(c.fd, &image, BITNET_MODEL_F_SHARED, NAME, &shared))
		bail("loading a shared model");
	job = t_generate(c.session, tokens, 3, 5, 1);
	if (t_run(&c.ring, &job, &result))
		bail("a job");
	sk = sock_open();
	if (!sk)
		bail("no generic netlink");
	family = genl_ctrl_resolve(sk, BITNET_GENL_NAME);
	if (!ok(family > 0, "the family is there"))
		return done();

	check_info(sk);
	check_dumps(sk);
	check_long_dumps(sk);
	check_bad_requests(sk);
	check_child(as_user, "an ordinary user sees shared models and no totals");
	check_child(as_userns_root, "root of a network namespace has no such family");
	check_child(as_userns_root_here, "root of a user namespace is an ordinary user");
	check_events();

	nl_socket_free(sk);
	t_model_unload(c.fd, NAME);
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

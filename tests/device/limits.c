// SPDX-License-Identifier: GPL-2.0
/*
 * limits.c - limits of users: who may set them, whom they bind, and how long they last
 */
#include "device.h"
#include "genl.h"

#define UID_A		2001
#define UID_B		2002
#define UID_AWAY	2003	/* never has a file open */
#define UID_MANY	100000	/* the first of many */
#define MAX_LIMITED	1024	/* by the header: uids with limits of their own */

#define UID_DEFAULT	UINT32_MAX	/* of set_limit(): no uid */

static struct t_image image;
static struct answer answer;
static struct nl_sock *sk;

struct limit {
	uint32_t uid;
	int attr;
	uint64_t most;
};

static int put_limit(struct nl_msg *msg, const void *arg)
{
	const struct limit *l = arg;

	if (l->uid != UID_DEFAULT && nla_put_u32(msg, BITNET_A_UID, l->uid))
		return -1;
	return nla_put_u64(msg, l->attr, l->most);
}

static int set_limit(uint32_t uid, int attr, uint64_t most)
{
	const struct limit l = { uid, attr, most };

	return ask_with(sk, BITNET_CMD_SET_LIMITS, NLM_F_ACK, put_limit, &l, &answer);
}

static struct bitnet_stats user_stats(int fd)
{
	struct bitnet_stats s = { .size = sizeof(s), .flags = BITNET_STATS_F_USER };
	int err = t_ioctl(fd, BITNET_IOC_STATS, &s);

	if (err)
		bail("STATS: %s", strerror(-err));
	return s;
}

/* ---- what children do as another user -------------------------------------------------------- */

struct visit {
	uint32_t uid;
	uint32_t n;	/* of what is allowed; one more is not */
};

static void become(uint32_t uid)
{
	t_drop_privileges(uid, T_GID_BITNET);
}

/* Can he have @n sessions, over two files, and no more? */
static int try_sessions(void *arg)
{
	const struct visit *v = arg;
	uint32_t model[2], id = 0, i;
	int fd[2];

	become(v->uid);
	for (i = 0; i < 2; i++) {
		fd[i] = t_open();
		if (t_model_load(fd[i], &image, 0, NULL, &model[i]))
			return 1;
	}
	for (i = 0; i < v->n; i++)
		if (t_session_open(fd[i % 2], model[i % 2], 0, &id))
			return 2;
	for (i = 0; i < 2; i++)
		if (t_session_open(fd[i], model[i], 0, NULL) != -EDQUOT)
			return 3;
	if (user_stats(fd[0]).out_sessions != v->n || user_stats(fd[0]).out_limit_sessions != v->n)
		return 4;
	/* What is given back can be had again. */
	if (v->n && t_session_close(fd[(v->n - 1) % 2], id))
		return 5;
	return v->n && t_session_open(fd[0], model[0], 0, &id) ? 6 : 0;
}

static int try_jobs(void *arg)
{
	const uint32_t tokens[2] = { 1, 2 };
	const struct visit *v = arg;
	struct bitnet_job jobs[8];
	static struct t_result results[8];
	uint32_t accepted, i;
	struct t_client c;

	become(v->uid);
	t_client_open(&c, &image, 64);
	for (i = 0; i < 8; i++)
		jobs[i] = t_generate(c.session, tokens, 2, 2, i);
	/* They are accepted together, so that none can have ended before. */
	if (t_submit(c.fd, jobs, 8, &accepted) != -EDQUOT || accepted != v->n)
		return 1;
	if (v->n && t_collect(&c.ring, results, v->n, 0))
		return 2;
	if (user_stats(c.fd).out_limit_jobs != v->n)
		return 3;
	if (t_submit(c.fd, jobs, v->n, &accepted) || accepted != v->n)
		return 4;
	/* A job in a step keeps its model's pages until that ends; who comes next counts them. */
	return v->n && t_collect(&c.ring, results, v->n, 0) ? 5 : 0;
}

/* Bytes of as many sessions as @n, and of as many models. */
static int try_bytes(void *arg)
{
	const struct visit *v = arg;
	const uint64_t give_up = t_now() + T_HANG_NS / 10;
	uint32_t model = 0, i;
	int fd;

	become(v->uid);
	fd = t_open();
	/* What he had before goes a moment after its last entry, see t_pinned_until(). */
	while (user_stats(fd).out_pinned_bytes && t_now() < give_up)
		t_sleep_ns(2000000);
	for (i = 0; i < v->n; i++)
		if (t_model_load(fd, &image, 0, NULL, &model))
			return 1;
	if (t_model_load(fd, &image, 0, NULL, NULL) != -EDQUOT)
		return 2;
	for (i = 0; i < v->n; i++)
		if (t_session_open(fd, model, 0, NULL))
			return 3;
	return t_session_open(fd, model, 0, NULL) == -EDQUOT ? 0 : 4;
}

/* A REALTIME job that needs a hundredth of the workers' time: 0, or why it is refused */
static uint32_t submit_realtime(struct t_client *c, uint64_t user_data, uint64_t step_ns,
				struct bitnet_submit *submit)
{
	static const uint32_t tokens[2] = { 1, 2 };
	struct bitnet_job job = t_generate(c->session, tokens, 2, 200, user_data);

	job.job_class = BITNET_CLASS_REALTIME;
	job.period_ns = 100 * step_ns + BITNET_MIN_PERIOD_NS;
	job.first_token_ns = 1000 * job.period_ns;
	*submit = (struct bitnet_submit){
		.size = sizeof(*submit),
		.jobs = t_pointer(&job),
		.count = 1,
		.job_size = sizeof(job),
	};
	if (t_ioctl(c->fd, BITNET_IOC_SUBMIT, submit))
		bail("SUBMIT");
	return submit->out_refusal;
}

static int try_realtime(void *arg)
{
	const struct visit *v = arg;
	struct bitnet_submit submit;
	struct t_client c;
	uint32_t why;

	become(v->uid);
	t_client_open(&c, &image, 1024);
	why = submit_realtime(&c, 1, 10000000, &submit);
	t_client_close(&c);
	return why != (v->n ? 0 : BITNET_REFUSED_SHARE);
}

static int as_user(void *arg)
{
	const uint32_t uid = *(uint32_t *)arg;
	const struct limit floor = { UID_DEFAULT, BITNET_A_MAX_JOBS, 1 };

	become(uid);
	sk = sock_open();
	if (!sk)
		return 100;
	if (set_limit(uid, BITNET_A_MAX_JOBS, 1) != -EPERM)
		return 1;
	if (set_limit(UID_DEFAULT, BITNET_A_MAX_JOBS, 1) != -EPERM)
		return 2;
	if (ask_with(sk, BITNET_CMD_SET_FLOOR, NLM_F_ACK, put_limit, &floor, &answer) != -EPERM)
		return 3;
	if (ask_with(sk, BITNET_CMD_SET_WORKERS, NLM_F_ACK, put_limit, &floor, &answer) != -EPERM)
		return 4;
	if (ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer) != -EPERM || answer.n)
		return 5;
	if (ask(sk, BITNET_CMD_GET_WORKERS, NLM_F_DUMP, &answer) || !answer.n)
		return 6;
	return 0;
}

static int as_userns_root(void *arg)
{
	uint32_t uid = UID_A;

	(void)arg;
	become(uid);
	if (unshare(CLONE_NEWUSER))
		return 77;
	sk = sock_open();
	if (!sk)
		return 100;
	return set_limit(uid, BITNET_A_MAX_JOBS, 1) == -EPERM ? 0 : 1;
}

static void visits(int (*fn)(void *arg), uint32_t uid, uint32_t n, const char *what)
{
	struct visit v = { uid, n };

	is(t_in_child(fn, &v), 0, "uid %u: %s", uid, what);
}

/* ---- the checks ------------------------------------------------------------------------------ */

static void check_whom(void)
{
	struct bitnet_stats start, s;
	uint32_t model, id = 0;
	int fd = t_open();

	if (t_model_load(fd, &image, 0, NULL, &model))
		bail("MODEL_LOAD");
	start = user_stats(fd);
	is(ask(sk, BITNET_CMD_GET_INFO, 0, &answer), 0, "GET_INFO");
	ok(start.out_limit_sessions == answer.m[0].number[BITNET_A_MAX_SESSIONS] &&
	   start.out_limit_jobs == answer.m[0].number[BITNET_A_MAX_JOBS] &&
	   start.out_limit_kv_bytes == answer.m[0].number[BITNET_A_MAX_KV_BYTES] &&
	   start.out_limit_pinned_bytes == answer.m[0].number[BITNET_A_MAX_PINNED_BYTES],
	   "tells the default limits, which STATS tells too");

	is(set_limit(UID_DEFAULT, BITNET_A_MAX_SESSIONS, 2), 0, "a default of 2 sessions");
	visits(try_sessions, UID_A, 2, "2 sessions and no more");
	is(set_limit(UID_A, BITNET_A_MAX_SESSIONS, 3), 0, "a limit of his own");
	visits(try_sessions, UID_A, 3, "3 sessions and no more");
	visits(try_sessions, UID_B, 2, "2 as before");
	is(set_limit(UID_A, BITNET_A_MAX_SESSIONS, 0), 0, "0 is a limit, too");
	visits(try_sessions, UID_A, 0, "none");
	is(set_limit(UID_A, BITNET_A_MAX_SESSIONS, BITNET_LIMIT_NONE), 0, "it is removed");
	visits(try_sessions, UID_A, 2, "the default again");

	ok(!t_session_open(fd, model, 0, NULL) && !t_session_open(fd, model, 0, NULL) &&
	   !t_session_open(fd, model, 0, &id), "the default does not bind root");
	is(set_limit(0, BITNET_A_MAX_SESSIONS, 2), 0, "a limit of root's own, below what he uses");
	s = t_stats(fd);
	is(s.out_sessions, 3, "takes nothing away");
	is(s.out_limit_sessions, 2, "STATS tells it");
	is(t_session_open(fd, model, 0, NULL), -EDQUOT, "no more");
	is(t_session_close(fd, id), 0, "one is closed");
	is(t_session_open(fd, model, 0, NULL), -EDQUOT, "no more");
	is(set_limit(0, BITNET_A_MAX_SESSIONS, BITNET_LIMIT_NONE), 0, "the limit is removed");
	is(t_session_open(fd, model, 0, NULL), 0, "one more");

	is(set_limit(UID_DEFAULT, BITNET_A_MAX_SESSIONS, BITNET_LIMIT_NONE), 0,
	   "the default is removed");
	is(user_stats(fd).out_limit_sessions, start.out_limit_sessions, "it is what it was");
	close(fd);
}

static void check_kinds(void)
{
	struct bitnet_model_info info;
	uint64_t kv_bytes;
	uint32_t model;
	int fd = t_open();

	if (t_model_load(fd, &image, 0, NULL, &model) || t_model_info(fd, model, &info))
		bail("MODEL_LOAD");
	close(fd);
	kv_bytes = info.out_kv_bytes_per_token * info.out_max_ctx;

	is(set_limit(UID_A, BITNET_A_MAX_JOBS, 3), 0, "3 jobs");
	visits(try_jobs, UID_A, 3, "3 jobs and no more");
	is(set_limit(UID_A, BITNET_A_MAX_JOBS, BITNET_LIMIT_NONE), 0, "no limit of jobs");
	is(set_limit(UID_A, BITNET_A_MAX_KV_BYTES, 3 * kv_bytes - 1), 0, "cache for 2 sessions");
	is(set_limit(UID_A, BITNET_A_MAX_PINNED_BYTES, 2 * image.length), 0, "pages of 2 models");
	visits(try_bytes, UID_A, 2, "2 models, 2 sessions and no more");
	is(set_limit(UID_A, BITNET_A_MAX_KV_BYTES, UINT64_MAX - 1), 0, "more than there is");
	fd = t_open();
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	if (ok(find_number(&answer, BITNET_A_UID, UID_A), "the user"))
		is(find_number(&answer, BITNET_A_UID, UID_A)->number[BITNET_A_MAX_KV_BYTES],
		   t_info(fd).out_max_kv_bytes, "has what the device has");
	close(fd);
	is(set_limit(UID_A, BITNET_A_MAX_KV_BYTES, BITNET_LIMIT_NONE), 0, "removed");
	is(set_limit(UID_A, BITNET_A_MAX_PINNED_BYTES, BITNET_LIMIT_NONE), 0, "removed");
}

/* How much of the workers' time one user's REALTIME jobs may need */
static void check_realtime(void)
{
	struct bitnet_submit submit;
	struct t_client c, d;
	uint64_t share;

	visits(try_realtime, UID_A, 1, "a realtime job");
	is(set_limit(UID_A, BITNET_A_MAX_REALTIME_PPM, 0), 0, "no share of his own");
	visits(try_realtime, UID_A, 0, "no realtime job");
	visits(try_realtime, UID_B, 1, "as before");
	is(set_limit(UID_A, BITNET_A_MAX_REALTIME_PPM, BITNET_LIMIT_NONE), 0, "removed");
	is(set_limit(UID_DEFAULT, BITNET_A_MAX_REALTIME_PPM, 0), 0, "no share for anybody");
	visits(try_realtime, UID_B, 0, "no realtime job");

	/* In rings that are soon full: the jobs stay. */
	t_client_open(&c, &image, 8);
	t_client_open(&d, &image, 8);
	is(submit_realtime(&c, 1, 10000000, &submit), 0, "the default does not bind root");
	share = user_stats(c.fd).out_realtime_ppm;
	ok(share > 0, "STATS tells what it needs: %llu ppm", (unsigned long long)share);
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	if (ok(find_number(&answer, BITNET_A_UID, 0), "root"))
		is(find_number(&answer, BITNET_A_UID, 0)->number[BITNET_A_REALTIME_PPM], share,
		   "so does GET_USERS");
	is(set_limit(0, BITNET_A_MAX_REALTIME_PPM, share + share / 2), 0, "half as much again");
	is(user_stats(c.fd).out_limit_realtime_ppm, share + share / 2, "STATS tells it");
	is(submit_realtime(&d, 2, 5000000, &submit), BITNET_REFUSED_SHARE,
	   "one that needs as much again is refused");
	ok(submit.out_error == -EDQUOT && submit.out_load_ppm > share + share / 2,
	   "for the %u ppm that both would need", submit.out_load_ppm);
	t_cancel(c.fd, 1, NULL);
	is(user_stats(c.fd).out_realtime_ppm, 0, "the first is gone");
	is(submit_realtime(&d, 2, 10000000, &submit), 0, "now one is accepted");
	t_client_close(&c);
	t_client_close(&d);
	is(set_limit(0, BITNET_A_MAX_REALTIME_PPM, BITNET_LIMIT_NONE), 0, "removed");
	is(set_limit(UID_DEFAULT, BITNET_A_MAX_REALTIME_PPM, BITNET_LIMIT_NONE), 0, "removed");
}

static void check_dump(void)
{
	const uint64_t attrs = BIT(BITNET_A_UID) | BIT(BITNET_A_FILES) | BIT(BITNET_A_MODELS) |
		BIT(BITNET_A_SESSIONS) | BIT(BITNET_A_JOBS) | BIT(BITNET_A_KV_BYTES) |
		BIT(BITNET_A_PINNED_BYTES) | BIT(BITNET_A_REALTIME_PPM) |
		BIT(BITNET_A_OWN_LIMITS) | ACCOUNT_ATTRS | LIMIT_ATTRS;
	const uint32_t tokens[2] = { 1, 2 };
	static struct t_result r;
	const struct message *m;
	struct bitnet_stats s;
	struct bitnet_job job;
	struct t_client c;

	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.n, 0, "nobody has files or limits");
	is(set_limit(UID_AWAY, BITNET_A_MAX_JOBS, 7), 0, "a limit of a uid that has no file");
	t_client_open(&c, &image, 16);
	job = t_generate(c.session, tokens, 2, 3, 1);
	is(t_run(&c.ring, &job, &r), 0, "root runs a job");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	ok(answer.n == 2 && !answer.fault, "both (%s)", answer.fault ? answer.fault : "sound");

	m = find_number(&answer, BITNET_A_UID, UID_AWAY);
	if (ok(m, "the one with the limit")) {
		is(m->has, attrs, "attributes");
		is(m->number[BITNET_A_FILES], 0, "no file");
		is(m->number[BITNET_A_MAX_JOBS], 7, "the limit");
		is(m->number[BITNET_A_OWN_LIMITS], BITNET_LIMIT_JOBS, "of his own");
	}
	m = find_number(&answer, BITNET_A_UID, 0);
	s = user_stats(c.fd);
	if (ok(m, "root")) {
		is(m->has, attrs, "attributes");
		is(m->number[BITNET_A_FILES], 1, "a file");
		is(m->number[BITNET_A_MODELS], 1, "a model");
		is(m->number[BITNET_A_SESSIONS], 1, "a session");
		is(m->number[BITNET_A_PINNED_BYTES], image.length, "pinned bytes");
		is(m->number[BITNET_A_KV_BYTES], s.out_kv_bytes, "cache bytes");
		is(m->number[BITNET_A_TOKENS_IN], 2, "tokens in");
		is(m->number[BITNET_A_TOKENS_OUT], 3, "tokens out");
		is(m->number[BITNET_A_CPU_NS], s.out_cpu_ns, "worker time");
		is(m->number[BITNET_A_QUEUE_NS], s.out_queue_ns, "time in the queue");
		is(m->number[BITNET_A_MAX_JOBS], s.out_limit_jobs, "limit");
		is(m->number[BITNET_A_OWN_LIMITS], 0, "not of his own");
	}
	t_client_close(&c);
	visits(try_jobs, UID_AWAY, 7, "the limit waited for him");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	ok(find_number(&answer, BITNET_A_UID, UID_AWAY), "and stays when he goes");
	is(set_limit(UID_AWAY, BITNET_A_MAX_JOBS, BITNET_LIMIT_NONE), 0, "it is removed");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.n, 0, "nobody is left");
}

/* Records of uids that are not there are bounded, and a dump of them takes many messages. */
static void check_many(void)
{
	uint32_t i, n = 0;
	int err = 0;

	while (n <= MAX_LIMITED && !err) {
		err = set_limit(UID_MANY + n, BITNET_A_MAX_JOBS, 1);
		n += !err;
	}
	is(err, -EDQUOT, "uids with limits of their own are bounded");
	is(n, MAX_LIMITED, "as the header says");
	is(set_limit(UID_MANY, BITNET_A_MAX_SESSIONS, 1), 0, "who has one gets another");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.total, n, "tells of all");
	for (i = 0; i < n; i++)
		err |= set_limit(UID_MANY + i, BITNET_A_MAX_JOBS, BITNET_LIMIT_NONE) << 1;
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.total, 1, "one limit is left");
	is(set_limit(UID_MANY, BITNET_A_MAX_SESSIONS, BITNET_LIMIT_NONE), 0, "and removed");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.total, 0, "none");
}

static int put_nothing(struct nl_msg *msg, const void *arg)
{
	return nla_put_u32(msg, BITNET_A_UID, UID_A);
}

static int put_short(struct nl_msg *msg, const void *arg)
{
	return nla_put_u32(msg, BITNET_A_MAX_JOBS, 1);
}

static int put_floor(struct nl_msg *msg, const void *arg)
{
	return nla_put_u32(msg, BITNET_A_BATCH_FLOOR, *(const uint32_t *)arg);
}

static int set_floor(uint32_t ppm)
{
	return ask_with(sk, BITNET_CMD_SET_FLOOR, NLM_F_ACK, put_floor, &ppm, &answer);
}

static void check_requests(void)
{
	uint64_t before;

	is(ask_with(sk, BITNET_CMD_SET_LIMITS, NLM_F_ACK, put_nothing, NULL, &answer), -EINVAL,
	   "SET_LIMITS without a limit");
	is(ask_with(sk, BITNET_CMD_SET_LIMITS, NLM_F_ACK, put_short, NULL, &answer), -EINVAL,
	   "with one of 4 bytes");
	is(set_limit(UID_A, BITNET_A_KV_BYTES, 1), -EINVAL, "with another attribute");
	is(ask(sk, BITNET_CMD_SET_LIMITS, NLM_F_DUMP, &answer), -EOPNOTSUPP, "as a dump");

	ask(sk, BITNET_CMD_GET_INFO, 0, &answer);
	before = answer.m[0].number[BITNET_A_BATCH_FLOOR];
	is(before, 50000, "the floor is 5 %% at first");
	is(set_floor(500000), 0, "SET_FLOOR");
	ask(sk, BITNET_CMD_GET_INFO, 0, &answer);
	is(answer.m[0].number[BITNET_A_BATCH_FLOOR], 500000, "GET_INFO tells it");
	is(set_floor(500001), -EINVAL, "more than half");
	is(ask(sk, BITNET_CMD_SET_FLOOR, NLM_F_ACK, &answer), -EINVAL, "none");
	is(set_floor(0), 0, "0");
	is(set_floor(before), 0, "as before");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint32_t uid = UID_B;
	int status;

	image = t_image_random(&t_tiny);
	sk = sock_open();
	if (!sk)
		bail("no generic netlink");
	family = genl_ctrl_resolve(sk, BITNET_GENL_NAME);
	if (!ok(family > 0, "the family is there"))
		return done();

	check_dump();
	check_whom();
	check_kinds();
	check_realtime();
	check_many();
	check_requests();
	is(t_in_child(as_user, &uid), 0, "an ordinary user sets nothing");
	status = t_in_child(as_userns_root, NULL);
	if (status == 77)
		skip("no such namespaces here");
	else
		is(status, 0, "nor does root of a user namespace");
	nl_socket_free(sk);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

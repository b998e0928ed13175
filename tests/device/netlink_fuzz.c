// SPDX-License-Identifier: GPL-2.0
/*
 * netlink_fuzz.c - any bytes sent to the netlink family give a documented error, and nobody but the
 * administrator changes or learns anything by them
 *
 *	netlink_fuzz [SEED]
 */
#include <sys/socket.h>

#include "device.h"
#include "genl.h"

static struct answer answer;
static uint64_t seed = 1;

struct raw {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	uint8_t attrs[512];
};

/* An attribute that fits, nearly fits, or is anything. Return: bytes */
static unsigned int fuzz_attr(uint8_t *at, uint64_t *state)
{
	static const uint8_t likely[] = {
		BITNET_A_UID, BITNET_A_MAX_SESSIONS, BITNET_A_MAX_JOBS, BITNET_A_MAX_KV_BYTES,
		BITNET_A_MAX_PINNED_BYTES, BITNET_A_CPUS, BITNET_A_BATCH_FLOOR, BITNET_A_PAD,
	};
	static const uint8_t sizes[] = { 0, 1, 2, 4, 4, 4, 8, 8, 8, 9, 16, 60 };
	uint64_t r = t_random(state), value = t_random(state);
	struct nlattr *a = (void *)at;
	unsigned int bytes = sizes[r % ARRAY_SIZE(sizes)], i;

	a->nla_type = r >> 8 & 3 ? likely[(r >> 16) % ARRAY_SIZE(likely)] : r >> 16 & 0xffff;
	a->nla_len = NLA_HDRLEN + bytes;
	for (i = 0; i < bytes; i++) {
		at[NLA_HDRLEN + i] = value >> i % 8 * 8;
		if (r >> 11 & 1)
			at[NLA_HDRLEN + i] = "0,1-3:2/"[value >> i % 60 & 7];
	}
	if (r >> 32 & 1)
		memset(at + NLA_HDRLEN + bytes / 2, 0, bytes - bytes / 2);
	if (!(r >> 34 & 15))
		a->nla_len = r >> 40;
	return NLA_ALIGN(NLA_HDRLEN + bytes);
}

static void fuzz_message(struct raw *m, uint64_t *state)
{
	uint64_t r = t_random(state);
	unsigned int n = r % 5, bytes = 0;

	memset(m, 0, sizeof(*m));
	while (n--)
		bytes += fuzz_attr(m->attrs + bytes, state);
	m->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN) + bytes;
	m->nlh.nlmsg_type = family;
	m->nlh.nlmsg_flags = NLM_F_REQUEST | (r >> 8 & 1 ? NLM_F_ACK : 0) |
			     (r >> 9 & 1 ? NLM_F_DUMP : 0) | (r >> 10 & 15 ? 0 : r >> 16 & 0xffff);
	m->nlh.nlmsg_seq = r >> 32;
	m->genl.cmd = r >> 20 & 7 ? (r >> 24) % (BITNET_CMD_MAX + 2) : r >> 24;
	m->genl.version = r >> 48 & 7 ? 1 : r >> 56;
	m->genl.reserved = r >> 51 & 31 ? 0 : 1;
	if (!(r >> 56 & 31))
		m->nlh.nlmsg_len = r >> 16 & 0x3ff;
}

static bool error_ok(int err, bool admin)
{
	return !err || err == -EINVAL || err == -EOPNOTSUPP || err == -ERANGE || err == -EBUSY ||
	       (admin ? err == -EDQUOT : err == -EPERM);
}

/* Has the message attribute @type? */
static bool has(const struct nlmsghdr *h, int type)
{
	struct nlattr *a;
	int left;

	nla_for_each_attr(a, (void *)((char *)NLMSG_DATA(h) + GENL_HDRLEN),
			  (int)(h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN)), left)
		if (nla_type(a) == type)
			return true;
	return false;
}

/* What is wrong with an answer, or NULL. */
static const char *judge(const struct nlmsghdr *h, bool admin)
{
	const struct genlmsghdr *g = NLMSG_DATA(h);

	if (h->nlmsg_type == NLMSG_ERROR)
		return error_ok(((struct nlmsgerr *)NLMSG_DATA(h))->error, admin) ? NULL :
			"an error that the header does not name";
	if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_NOOP)
		return NULL;
	if (h->nlmsg_type != family || h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
		return "an answer that is none";
	if (admin)
		return NULL;
	if (g->cmd != BITNET_CMD_GET_INFO && g->cmd != BITNET_CMD_GET_MODELS &&
	    g->cmd != BITNET_CMD_GET_WORKERS)
		return "an answer that is not for everybody";
	return has(h, BITNET_A_UID) || has(h, BITNET_A_PID) ? "who others are" : NULL;
}

/* Everything that waits in the socket. Return: what is wrong with it, or NULL */
static const char *answers(int fd, bool admin)
{
	static char buf[65536];
	const char *wrong = NULL;
	struct nlmsghdr *h;
	ssize_t n;

	while (!wrong && (n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		h = (void *)buf;
		for (; !wrong && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			wrong = judge(h, admin);
			if (wrong && h->nlmsg_type == NLMSG_ERROR)
				diag("error %d", ((struct nlmsgerr *)NLMSG_DATA(h))->error);
		}
	}
	return wrong;
}

/* Sends @n messages. Return: 0, or 1 if an answer is wrong */
static int fuzz(unsigned int n, bool admin)
{
	uint64_t state = seed + admin;
	const char *wrong = NULL;
	struct raw m;
	unsigned int i;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return 2;
	for (i = 0; !wrong && t_more(i, n, "messages"); i++) {
		unsigned int bytes;

		fuzz_message(&m, &state);
		bytes = m.nlh.nlmsg_len < 16 || m.nlh.nlmsg_len > sizeof(m) ? 64 : m.nlh.nlmsg_len;
		if (send(fd, &m, bytes, 0) < 0 && errno != EBUSY)
			wrong = strerror(errno);
		else
			wrong = answers(fd, admin);
	}
	if (wrong)
		diag("message %u, command %u: %s", i, m.genl.cmd, wrong);
	close(fd);
	return !!wrong;
}

static unsigned int messages(void)
{
	return t_size(t_is_fast() ? 50000 : t_is_uml() ? 10000 : 4000, 5000000);
}

static int fuzz_as_user(void *arg)
{
	t_drop_privileges(T_UID_NOBODY, 0);
	return fuzz(messages(), false);
}

static int put_nothing_set(struct nl_msg *msg, const void *arg)
{
	const uint32_t *uid = arg;
	int attr;

	if (uid && nla_put_u32(msg, BITNET_A_UID, *uid))
		return -1;
	for (attr = BITNET_A_MAX_SESSIONS; attr <= BITNET_A_MAX_PINNED_BYTES; attr++)
		if (nla_put_u64(msg, attr, BITNET_LIMIT_NONE))
			return -1;
	return 0;
}

static int put_floor(struct nl_msg *msg, const void *arg)
{
	return nla_put_u32(msg, BITNET_A_BATCH_FLOOR, *(const uint32_t *)arg);
}

static int put_cpus(struct nl_msg *msg, const void *arg)
{
	return nla_put_string(msg, BITNET_A_CPUS, arg);
}

/* All as it was when the module was loaded. */
static void reset(struct nl_sock *sk, const struct message *was, const char *cpus)
{
	uint32_t ppm = was->number[BITNET_A_BATCH_FLOOR];
	unsigned int i, wrong = 0;

	wrong += !!ask_with(sk, BITNET_CMD_SET_LIMITS, NLM_F_ACK, put_nothing_set, NULL, &answer);
	wrong += !!ask_with(sk, BITNET_CMD_SET_FLOOR, NLM_F_ACK, put_floor, &ppm, &answer);
	wrong += !!ask_with(sk, BITNET_CMD_SET_WORKERS, NLM_F_ACK, put_cpus, cpus, &answer);
	/* A dump has room for so many; each removes those that it told. */
	do {
		static struct answer users;

		ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &users);
		for (i = 0; i < users.n; i++) {
			uint32_t uid = users.m[i].number[BITNET_A_UID];

			wrong += !!ask_with(sk, BITNET_CMD_SET_LIMITS, NLM_F_ACK, put_nothing_set,
					    &uid, &answer);
		}
		i = users.n;
	} while (i);
	is(wrong, 0, "all is set back");
}

static bool same_settings(const struct message *a, const struct message *b)
{
	int attr;

	for (attr = BITNET_A_MAX_SESSIONS; attr <= BITNET_A_MAX_PINNED_BYTES; attr++)
		if (a->number[attr] != b->number[attr])
			return false;
	return a->number[BITNET_A_BATCH_FLOOR] == b->number[BITNET_A_BATCH_FLOOR] &&
	       a->number[BITNET_A_WORKERS] == b->number[BITNET_A_WORKERS];
}

int main(int argc, char **argv)
{
	struct t_leaks before = t_leaks_start();
	static struct message was;
	char cpus[256] = "";
	struct nl_sock *sk = sock_open();
	unsigned int i;

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (!sk)
		bail("no generic netlink");
	family = genl_ctrl_resolve(sk, BITNET_GENL_NAME);
	if (ask(sk, BITNET_CMD_GET_INFO, 0, &answer))
		bail("GET_INFO");
	was = answer.m[0];
	if (ask(sk, BITNET_CMD_GET_WORKERS, NLM_F_DUMP, &answer))
		bail("GET_WORKERS");
	for (i = 0; i < answer.n; i++)
		if (!answer.m[i].number[BITNET_A_WORKER_PARKED])
			snprintf(cpus + strlen(cpus), sizeof(cpus) - strlen(cpus), "%s%u",
				 *cpus ? "," : "", (unsigned int)answer.m[i].number[BITNET_A_CPU]);

	is(t_in_child(fuzz_as_user, NULL), 0, "messages of a user");
	is(ask(sk, BITNET_CMD_GET_INFO, 0, &answer), 0, "GET_INFO");
	ok(same_settings(&answer.m[0], &was), "change nothing");
	is(ask(sk, BITNET_CMD_GET_USERS, NLM_F_DUMP, &answer), 0, "GET_USERS");
	is(answer.n, 0, "nobody has got limits");

	is(fuzz(messages(), true), 0, "messages of the administrator");
	reset(sk, &was, cpus);
	is(ask(sk, BITNET_CMD_GET_INFO, 0, &answer), 0, "GET_INFO");
	ok(same_settings(&answer.m[0], &was), "as it was");
	nl_socket_free(sk);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

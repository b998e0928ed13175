/* SPDX-License-Identifier: GPL-2.0 */
/*
 * genl.h - for tests of the generic netlink family: requests, and answers checked against the
 * header's documentation
 */
#ifndef TESTS_GENL_H
#define TESTS_GENL_H

#include <linux/bitnet_genl.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "device.h"

/* What one attribute is, by <linux/bitnet_genl.h>. */
enum kind { NONE, U8, U32, S32, U64, STRING };

static const enum kind kinds[BITNET_A_MAX + 1] = {
	[BITNET_A_VERSION] = STRING,
	[BITNET_A_ABI] = U32,
	[BITNET_A_VARIANT] = STRING,
	[BITNET_A_WORKERS] = U32,
	[BITNET_A_NAME] = STRING,
	[BITNET_A_MODEL_BYTES] = U64,
	[BITNET_A_SHARED] = U8,
	[BITNET_A_MODEL_HANDLES] = U32,
	[BITNET_A_MODEL_SESSIONS] = U32,
	[BITNET_A_DIGEST] = U64,
	[BITNET_A_PID] = U32,
	[BITNET_A_UID] = U32,
	[BITNET_A_COMM] = STRING,
	[BITNET_A_MODELS] = U32,
	[BITNET_A_SESSIONS] = U32,
	[BITNET_A_JOBS] = U32,
	[BITNET_A_PARKED] = U32,
	[BITNET_A_FILES] = U32,
	[BITNET_A_TOKENS_IN] = U64,
	[BITNET_A_TOKENS_OUT] = U64,
	[BITNET_A_JOBS_DONE] = U64,
	[BITNET_A_JOBS_FAILED] = U64,
	[BITNET_A_JOBS_CANCELLED] = U64,
	[BITNET_A_PINNED_BYTES] = U64,
	[BITNET_A_KV_BYTES] = U64,
	[BITNET_A_CPU_NS] = U64,
	[BITNET_A_STEPS] = U64,
	[BITNET_A_SECTION_MAX_NS] = U64,
	[BITNET_A_JOB_KIND] = U32,
	[BITNET_A_ERROR] = S32,
	[BITNET_A_TIME_NS] = U64,
	[BITNET_A_FILE_ID] = U64,
	[BITNET_A_QUEUE_NS] = U64,
	[BITNET_A_LATE] = U64,
	[BITNET_A_REALTIME_TOKENS] = U64,
	[BITNET_A_MAX_SESSIONS] = U64,
	[BITNET_A_MAX_JOBS] = U64,
	[BITNET_A_MAX_KV_BYTES] = U64,
	[BITNET_A_MAX_PINNED_BYTES] = U64,
	[BITNET_A_REALTIME_PPM] = U64,
	[BITNET_A_MAX_REALTIME_PPM] = U64,
	[BITNET_A_CPU] = U32,
	[BITNET_A_WORKER_PARKED] = U8,
	[BITNET_A_ONLINE] = U8,
	[BITNET_A_BATCH_FLOOR] = U32,
	[BITNET_A_THROTTLED_NS] = U64,
	[BITNET_A_LATE_NS] = U64,
	[BITNET_A_OWN_LIMITS] = U32,
};

#define BIT(a)	(1ULL << (a))

/* What several answers have. */
#define LIMIT_ATTRS	(BIT(BITNET_A_MAX_SESSIONS) | BIT(BITNET_A_MAX_JOBS) |			\
			 BIT(BITNET_A_MAX_KV_BYTES) | BIT(BITNET_A_MAX_PINNED_BYTES) |	\
			 BIT(BITNET_A_MAX_REALTIME_PPM))
#define ACCOUNT_ATTRS	(BIT(BITNET_A_TOKENS_IN) | BIT(BITNET_A_TOKENS_OUT) |			\
			 BIT(BITNET_A_CPU_NS) | BIT(BITNET_A_QUEUE_NS) |			\
			 BIT(BITNET_A_LATE) | BIT(BITNET_A_REALTIME_TOKENS))

struct message {
	int cmd;
	uint64_t has;			/* BIT() of each attribute */
	uint64_t number[BITNET_A_MAX + 1];
	char string[BITNET_A_MAX + 1][80];
};

#define MAX_MESSAGES	64

struct answer {
	struct message m[MAX_MESSAGES];
	unsigned int n;
	unsigned int total;		/* messages, also those for which @m has no room */
	const char *fault;		/* a message against the header's documentation */
	bool finished;
	int error;			/* of the kernel, negative errno */
};

static int family T_UNUSED;

static inline void parse(struct answer *a, struct nlmsghdr *nlh)
{
	struct nlattr *attr;
	struct genlmsghdr *g = nlmsg_data(nlh);
	struct message *m = &a->m[a->n];
	int left, type, len;

	a->total++;
	if (a->n == MAX_MESSAGES) {
		a->fault = "too many messages";
		return;
	}
	memset(m, 0, sizeof(*m));
	m->cmd = g->cmd;
	nla_for_each_attr(attr, genlmsg_attrdata(g, 0), genlmsg_attrlen(g, 0), left) {
		type = nla_type(attr);
		len = nla_len(attr);
		if (type == BITNET_A_PAD)
			continue;
		if (type <= 0 || type > BITNET_A_MAX || kinds[type] == NONE || m->has & BIT(type)) {
			a->fault = "an attribute that is unknown or comes twice";
			return;
		}
		m->has |= BIT(type);
		switch (kinds[type]) {
		case U8:
			if (len != 1)
				a->fault = "length of a u8";
			m->number[type] = nla_get_u8(attr);
			break;
		case U32:
		case S32:
			if (len != 4)
				a->fault = "length of a u32";
			m->number[type] = nla_get_u32(attr);
			break;
		case U64:
			if (len != 8)
				a->fault = "length of a u64";
			m->number[type] = nla_get_u64(attr);
			break;
		default:
			if (len < 1 || len > 80 || ((char *)nla_data(attr))[len - 1])
				a->fault = "a string without end";
			else
				memcpy(m->string[type], nla_data(attr), len);
		}
	}
	a->n++;
}

static inline int on_message(struct nl_msg *msg, void *arg)
{
	parse(arg, nlmsg_hdr(msg));
	return NL_OK;
}

static inline int on_finish(struct nl_msg *msg, void *arg)
{
	((struct answer *)arg)->finished = true;
	return NL_STOP;
}

static inline int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	struct answer *a = arg;

	a->error = err->error;
	a->finished = true;
	return NL_STOP;
}

static inline int on_seq(struct nl_msg *msg, void *arg)
{
	return NL_OK;
}

static inline struct nl_sock *sock_open(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (!sk || genl_connect(sk))
		return NULL;
	return sk;
}

/*
 * Sends @cmd, with the attributes that @fill puts into it, and collects what comes. 0, or the
 * kernel's error.
 */
static inline int ask_with(struct nl_sock *sk, int cmd, int flags,
			   int (*fill)(struct nl_msg *msg, const void *arg), const void *arg,
			   struct answer *a)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	struct nl_msg *msg = nlmsg_alloc();
	int err = -ENOMEM;

	memset(a, 0, sizeof(*a));
	if (cb && msg && genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd,
				     BITNET_GENL_VERSION) && !(fill && fill(msg, arg))) {
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, a);
		nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, a);
		nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_finish, a);
		nl_cb_err(cb, NL_CB_CUSTOM, on_error, a);
		err = nl_send_auto(sk, msg);
		while (err >= 0 && !a->finished)
			err = nl_recvmsgs(sk, cb);
	}
	nlmsg_free(msg);
	nl_cb_put(cb);
	return a->error ? a->error : err < 0 ? -EIO : 0;
}

static inline int ask(struct nl_sock *sk, int cmd, int flags, struct answer *a)
{
	return ask_with(sk, cmd, flags, NULL, NULL, a);
}

/* The first message of which @attr is @value, or NULL. */
static inline const struct message *find_number(const struct answer *a, int attr, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < a->n; i++)
		if (a->m[i].has & BIT(attr) && a->m[i].number[attr] == value)
			return &a->m[i];
	return NULL;
}

#endif /* TESTS_GENL_H */

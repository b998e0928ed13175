// SPDX-License-Identifier: GPL-2.0 OR MIT
/* netlink.c - queries, settings and events of the generic netlink family, on libnl */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"

/* Events come in bursts when many jobs end; what does not fit is lost, see bitnet_nl_listen(). */
#define RECEIVE_BUFFER_BYTES	(1 << 20)

struct bitnet_nl {
	struct nl_sock *sock;
	int family;
};

struct bitnet_nl_attrs {
	struct nlattr *tb[BITNET_A_MAX + 1];
};

/* What the callbacks of one exchange share. */
struct exchange {
	int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs);	/* or NULL */
	void *arg;
	int stop;	/* what @fn returned, if not 0 */
	int error;	/* negative errno that the kernel answered */
	int family;
	bool done;
	bool gone;	/* the family was taken away */
};

/**
 * bitnet_nl_open() - find the family
 * @nl:  for bitnet_nl_close()
 * @err: reason of a failure
 *
 * Return: 0; -ENODEV if the module is not loaded, or this is not the initial network namespace.
 */
int bitnet_nl_open(struct bitnet_nl **nl, struct bitnet_error *err)
{
	struct bitnet_nl *n = calloc(1, sizeof(*n));
	int ret;

	*nl = NULL;
	if (n)
		n->sock = nl_socket_alloc();
	if (!n || !n->sock) {
		free(n);
		return bitnet_error_set(err, ENOMEM, "out of memory");
	}
	ret = genl_connect(n->sock);
	if (ret < 0) {
		bitnet_error_set(err, EIO, "cannot open a netlink socket: %s", nl_geterror(ret));
		bitnet_nl_close(n);
		return -EIO;
	}
	n->family = genl_ctrl_resolve(n->sock, BITNET_GENL_NAME);
	if (n->family < 0) {
		bitnet_nl_close(n);
		bitnet_error_set(err, ENODEV, "no netlink family '%s'", BITNET_GENL_NAME);
		bitnet_error_hint(
			err,
			"load the module (as root): modprobe bitnet; in a container, run it in the host's network namespace");
		return -ENODEV;
	}
	nl_socket_set_buffer_size(n->sock, RECEIVE_BUFFER_BYTES, 0);
	*nl = n;
	return 0;
}

void bitnet_nl_close(struct bitnet_nl *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->sock);
	free(nl);
}

/* Tells the controller that our family is gone? */
static bool is_end_of_family(struct nl_msg *msg, int family)
{
	struct nlattr *id;

	if (genlmsg_hdr(nlmsg_hdr(msg))->cmd != CTRL_CMD_DELFAMILY)
		return false;
	id = nlmsg_find_attr(nlmsg_hdr(msg), GENL_HDRLEN, CTRL_ATTR_FAMILY_ID);
	return id && nla_len(id) == 2 && nla_get_u16(id) == family;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct genlmsghdr *hdr = genlmsg_hdr(nlmsg_hdr(msg));
	struct bitnet_nl_attrs attrs = { 0 };
	struct exchange *x = arg;

	if (nlmsg_hdr(msg)->nlmsg_type == GENL_ID_CTRL) {
		x->gone |= is_end_of_family(msg, x->family);
		return NL_OK;
	}
	if (nla_parse(attrs.tb, BITNET_A_MAX, genlmsg_attrdata(hdr, 0), genlmsg_attrlen(hdr, 0),
		      NULL) < 0)
		return NL_SKIP;
	if (!x->stop && x->fn)
		x->stop = x->fn(x->arg, hdr->cmd, &attrs);
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct exchange *x = arg;

	x->done = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *answer, void *arg)
{
	struct exchange *x = arg;

	x->error = answer->error;
	x->done = true;
	return NL_STOP;
}

static int accept_any(struct nl_msg *msg, void *arg)
{
	return NL_OK;
}

static struct nl_cb *new_callbacks(struct exchange *x)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);

	if (!cb)
		return NULL;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, x);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, x);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, x);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, x);
	return cb;
}

static bool is_dump(int cmd)
{
	return cmd == BITNET_CMD_GET_MODELS || cmd == BITNET_CMD_GET_STATS ||
	       cmd == BITNET_CMD_GET_USERS || cmd == BITNET_CMD_GET_WORKERS;
}

/* A request without attributes yet; NULL without memory. */
static struct nl_msg *new_request(struct bitnet_nl *nl, int cmd)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0,
			       is_dump(cmd) ? NLM_F_DUMP : NLM_F_ACK, cmd, BITNET_GENL_VERSION))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

static int unloaded(struct bitnet_error *err)
{
	bitnet_error_set(err, ENODEV, "the module was unloaded");
	bitnet_error_hint(err, "load the module (as root): modprobe bitnet");
	return -ENODEV;
}

static int describe(struct bitnet_error *err, int error)
{
	switch (error) {
	case -ENOENT:
		/* Of the family's number; no request of ours is answered like that. */
		return unloaded(err);
	case -EPERM:
		bitnet_error_set(err, EPERM, "the request needs CAP_NET_ADMIN");
		bitnet_error_hint(err, "run it as root");
		return error;
	case -EOPNOTSUPP:
		bitnet_error_set(err, EOPNOTSUPP, "the loaded module does not know this request");
		bitnet_error_hint(
			err,
			"module and tool may be of different versions: compare 'bitnetctl version' and 'modinfo bitnet'");
		return error;
	default:
		return bitnet_error_set(err, error, "netlink request failed: %s", strerror(-error));
	}
}

/* Sends @msg, which is freed, or NULL for one that could not be made, and takes the answers. */
static int talk(struct bitnet_nl *nl, struct nl_msg *msg, struct exchange *x,
		struct bitnet_error *err)
{
	struct nl_cb *cb = msg ? new_callbacks(x) : NULL;
	int ret;

	if (!cb) {
		nlmsg_free(msg);
		return bitnet_error_set(err, ENOMEM, "out of memory");
	}
	ret = nl_send_auto(nl->sock, msg);
	while (ret >= 0 && !x->done)
		ret = nl_recvmsgs(nl->sock, cb);
	nl_cb_put(cb);
	nlmsg_free(msg);

	if (x->error)
		return describe(err, x->error);
	/* a dump during which something changed is still a list of things that were there */
	if (ret < 0 && ret != -NLE_DUMP_INTR)
		return bitnet_error_set(err, EIO, "netlink request failed: %s", nl_geterror(ret));
	return x->stop < 0 ? x->stop : 0;
}

int bitnet_nl_query(struct bitnet_nl *nl, int cmd,
		    int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs), void *arg,
		    struct bitnet_error *err)
{
	struct exchange x = { .fn = fn, .arg = arg };

	return talk(nl, new_request(nl, cmd), &x, err);
}

/* A request with attributes that did not all fit is none. */
static struct nl_msg *whole(struct nl_msg *msg, int failed)
{
	if (!failed)
		return msg;
	nlmsg_free(msg);
	return NULL;
}

int bitnet_nl_set_limits(struct bitnet_nl *nl, const uint32_t *uid,
			 const struct bitnet_limits *limits, struct bitnet_error *err)
{
	const struct { int attr; uint32_t bit; uint64_t value; } all[] = {
		{ BITNET_A_MAX_SESSIONS, BITNET_LIMIT_SESSIONS, limits->sessions },
		{ BITNET_A_MAX_JOBS, BITNET_LIMIT_JOBS, limits->jobs },
		{ BITNET_A_MAX_KV_BYTES, BITNET_LIMIT_KV_BYTES, limits->kv_bytes },
		{ BITNET_A_MAX_PINNED_BYTES, BITNET_LIMIT_PINNED_BYTES, limits->pinned_bytes },
		{ BITNET_A_MAX_REALTIME_PPM, BITNET_LIMIT_REALTIME_PPM, limits->realtime_ppm },
	};
	struct nl_msg *msg = new_request(nl, BITNET_CMD_SET_LIMITS);
	struct exchange x = { 0 };
	int failed = 0, ret;

	if (msg && uid)
		failed = nla_put_u32(msg, BITNET_A_UID, *uid);
	for (size_t i = 0; msg && i < sizeof(all) / sizeof(all[0]) && !failed; i++)
		if (limits->which & all[i].bit)
			failed = nla_put_u64(msg, all[i].attr, all[i].value);
	ret = talk(nl, whole(msg, failed), &x, err);
	if (ret == -EDQUOT) {
		bitnet_error_set(err, EDQUOT, "too many users have limits of their own");
		bitnet_error_hint(err, "remove those of others, or set the default");
	}
	return ret;
}

int bitnet_nl_set_workers(struct bitnet_nl *nl, const char *cpus, struct bitnet_error *err)
{
	struct nl_msg *msg = new_request(nl, BITNET_CMD_SET_WORKERS);
	struct exchange x = { 0 };
	int ret;

	ret = talk(nl, whole(msg, msg ? nla_put_string(msg, BITNET_A_CPUS, cpus) : 0), &x, err);
	if (ret == -EINVAL) {
		bitnet_error_set(err, EINVAL,
				 "'%s': not a list of CPUs that have a worker, one of them online",
				 cpus);
		bitnet_error_hint(
			err, "'bitnetctl workers' shows them; the module's parameter cpus= made them");
	}
	return ret;
}

int bitnet_nl_set_floor(struct bitnet_nl *nl, uint32_t ppm, struct bitnet_error *err)
{
	struct nl_msg *msg = new_request(nl, BITNET_CMD_SET_FLOOR);
	struct exchange x = { 0 };

	return talk(nl, whole(msg, msg ? nla_put_u32(msg, BITNET_A_BATCH_FLOOR, ppm) : 0), &x, err);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Milliseconds until @end_ns for poll(): rounded up, so that it does not return before. */
static int poll_timeout(int64_t end_ns)
{
	int64_t left = (end_ns - now_ns() + 999999) / 1000000;

	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : left;
}

/**
 * bitnet_nl_listen_for() - follow the events for some time
 * @fn: called with BITNET_CMD_UNSPEC and no attributes where events were lost: they came faster
 *	than this process took them
 * @timeout_ns: how long; negative: without end
 *
 * Return: what @fn returned if not 0; -ETIME when the time is over (not described in an error);
 * -EINTR when a signal came; -EPERM without CAP_NET_ADMIN; -ENODEV when the module is unloaded, or
 * loaded anew: its events go to a group that this socket has not joined.
 */
int bitnet_nl_listen_for(struct bitnet_nl *nl, int64_t timeout_ns,
			 int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs),
			 void *arg, struct bitnet_error *err)
{
	int64_t end_ns = now_ns() + timeout_ns;
	static const struct bitnet_nl_attrs none;
	struct exchange x = { .fn = fn, .arg = arg, .family = nl->family };
	struct pollfd p = { .fd = nl_socket_get_fd(nl->sock), .events = POLLIN };
	struct nl_cb *cb;
	int group, control, ret, failed = 0;

	/* Before the group is looked for, so that no unloading is missed. */
	control = genl_ctrl_resolve_grp(nl->sock, "nlctrl", "notify");
	if (control >= 0)
		nl_socket_add_membership(nl->sock, control);
	group = genl_ctrl_resolve_grp(nl->sock, BITNET_GENL_NAME, BITNET_GENL_MCGRP_EVENTS);
	if (group < 0)
		return bitnet_error_set(err, ENODEV, "no netlink group '%s': is the module loaded?",
					BITNET_GENL_MCGRP_EVENTS);
	ret = nl_socket_add_membership(nl->sock, group);
	if (ret < 0) {
		bitnet_error_set(err, EPERM, "cannot listen to events: %s", nl_geterror(ret));
		bitnet_error_hint(err, "it needs CAP_NET_ADMIN: run it as root");
		return -EPERM;
	}
	cb = new_callbacks(&x);
	if (!cb)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	/* events answer nothing, so their sequence numbers mean nothing */
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, accept_any, NULL);
	nl_socket_set_nonblocking(nl->sock);

	while (!x.stop && !x.gone) {
		ret = poll(&p, 1, timeout_ns < 0 ? -1 : poll_timeout(end_ns));
		if (ret < 0) {
			failed = -errno;
			break;
		}
		if (!ret && now_ns() >= end_ns) {
			failed = -ETIME;
			break;
		}
		ret = nl_recvmsgs(nl->sock, cb);
		if (ret == -NLE_NOMEM) {
			x.stop = fn(arg, BITNET_CMD_UNSPEC, &none);
		} else if (ret < 0 && ret != -NLE_AGAIN) {
			bitnet_error_set(err, EIO, "netlink: %s", nl_geterror(ret));
			failed = -EIO;
			break;
		}
	}
	nl_cb_put(cb);
	nl_socket_drop_membership(nl->sock, group);
	if (control >= 0)
		nl_socket_drop_membership(nl->sock, control);
	if (x.gone && !x.stop)
		return unloaded(err);
	return x.stop ? x.stop : failed;
}

/** bitnet_nl_listen() - the same without end */
int bitnet_nl_listen(struct bitnet_nl *nl,
		     int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs), void *arg,
		     struct bitnet_error *err)
{
	return bitnet_nl_listen_for(nl, -1, fn, arg, err);
}

bool bitnet_nl_has(const struct bitnet_nl_attrs *attrs, int attr)
{
	return attr > 0 && attr <= BITNET_A_MAX && attrs->tb[attr];
}

uint64_t bitnet_nl_number(const struct bitnet_nl_attrs *attrs, int attr)
{
	const struct nlattr *a;
	uint64_t v64;
	uint32_t v32;

	if (!bitnet_nl_has(attrs, attr))
		return 0;
	a = attrs->tb[attr];
	switch (nla_len(a)) {
	case 1:
		return *(const uint8_t *)nla_data(a);
	case 4:
		memcpy(&v32, nla_data(a), sizeof(v32));
		return attr == BITNET_A_ERROR ? (uint64_t)(int64_t)(int32_t)v32 : v32;
	case 8:
		memcpy(&v64, nla_data(a), sizeof(v64));
		return v64;
	default:
		return 0;
	}
}

const char *bitnet_nl_string(const struct bitnet_nl_attrs *attrs, int attr)
{
	const struct nlattr *a;

	if (!bitnet_nl_has(attrs, attr))
		return "";
	a = attrs->tb[attr];
	return nla_len(a) > 0 && !((const char *)nla_data(a))[nla_len(a) - 1] ? nla_data(a) : "";
}

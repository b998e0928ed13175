// SPDX-License-Identifier: GPL-2.0
/*
 * netlink.c - generic netlink: queries and events (protocol: linux/bitnet_genl.h)
 *
 * Events come from workers, under locks, or from paths that must not fail. They are copied into a
 * queue of fixed length, and a work item makes messages of them; when the queue is full, events are
 * lost, never time.
 */
#include <linux/ktime.h>
#include <linux/user_namespace.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include <linux/bitnet_genl.h>

#include "bitnet.h"

#define EVENTS	256

struct event {
	u8 cmd;
	u64 time_ns;
	kuid_t uid;
	/* job */
	pid_t pid;
	u32 kind;
	int error;
	u64 tokens_in, tokens_out, cpu_ns;
	/* model */
	char name[BITNET_NAME_BYTES];
	u64 bytes;
	bool shared;
};

/*
 * Between those who queue events and the work item; taken under bitnet.lock, never the other way
 * round.
 */
static DEFINE_SPINLOCK(event_lock);
static struct event events[EVENTS];
static u32 event_head, event_tail;

static struct genl_family family;

static int put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, BITNET_A_PAD);
}

/* Numbers of users are those of the initial namespace, where alone this family is. */
static int put_uid(struct sk_buff *skb, kuid_t uid)
{
	return nla_put_u32(skb, BITNET_A_UID, from_kuid_munged(&init_user_ns, uid));
}

static int put_totals(struct sk_buff *skb)
{
	struct bitnet_counters *count = &bitnet.count;
	u64 *used = bitnet.used;

	lockdep_assert_held(&bitnet.lock);
	return nla_put_u32(skb, BITNET_A_MODELS, used[BITNET_RES_MODELS]) ||
	       nla_put_u32(skb, BITNET_A_SESSIONS, used[BITNET_RES_SESSIONS]) ||
	       nla_put_u32(skb, BITNET_A_JOBS, used[BITNET_RES_JOBS]) ||
	       nla_put_u32(skb, BITNET_A_FILES, used[BITNET_RES_FILES]) ||
	       put_u64(skb, BITNET_A_TOKENS_IN, count->tokens_in) ||
	       put_u64(skb, BITNET_A_TOKENS_OUT, count->tokens_out) ||
	       put_u64(skb, BITNET_A_JOBS_DONE, count->jobs_done) ||
	       put_u64(skb, BITNET_A_JOBS_FAILED, count->jobs_failed) ||
	       put_u64(skb, BITNET_A_JOBS_CANCELLED, count->jobs_cancelled) ||
	       put_u64(skb, BITNET_A_PINNED_BYTES, used[BITNET_RES_PINNED_BYTES]) ||
	       put_u64(skb, BITNET_A_KV_BYTES, used[BITNET_RES_KV_BYTES]) ||
	       put_u64(skb, BITNET_A_CPU_NS, count->cpu_ns) ||
	       put_u64(skb, BITNET_A_STEPS, bitnet.steps) ? -EMSGSIZE : 0;
}

static int get_info(struct sk_buff *request, struct genl_info *info)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	void *head;
	int err;

	if (!skb)
		return -ENOMEM;
	head = genlmsg_put_reply(skb, info, &family, 0, BITNET_CMD_GET_INFO);
	if (!head || nla_put_string(skb, BITNET_A_VERSION, BITNET_MODULE_VERSION) ||
	    nla_put_u32(skb, BITNET_A_ABI, BITNET_ABI_VERSION) ||
	    nla_put_string(skb, BITNET_A_VARIANT, bitnet.ops->name) ||
	    nla_put_u32(skb, BITNET_A_WORKERS, bitnet_workers_count()) ||
	    put_u64(skb, BITNET_A_SECTION_MAX_NS, bitnet_section_max_ns()))
		goto too_big;
	spin_lock(&bitnet.lock);
	err = put_totals(skb);
	spin_unlock(&bitnet.lock);
	if (err)
		goto too_big;
	genlmsg_end(skb, head);
	return genlmsg_reply(skb, info);

too_big:
	nlmsg_free(skb);
	return -EMSGSIZE;
}

/* One dump, and where it stands. */
struct dump {
	struct sk_buff *skb;
	struct netlink_callback *cb;
	bool admin;
};

static void *dump_start(const struct dump *dump, u8 cmd)
{
	return genlmsg_put(dump->skb, NETLINK_CB(dump->cb->skb).portid, dump->cb->nlh->nlmsg_seq,
			   &family, NLM_F_MULTI, cmd);
}

static int dump_model(const struct bitnet_model *model, void *arg)
{
	const struct dump *dump = arg;
	struct sk_buff *skb = dump->skb;
	bool shared = model->flags & BITNET_MODEL_F_SHARED;
	void *head;

	if (!shared && !dump->admin)
		return 0;
	head = dump_start(dump, BITNET_CMD_GET_MODELS);
	if (!head)
		return -EMSGSIZE;
	if (nla_put_string(skb, BITNET_A_NAME, model->name) ||
	    put_u64(skb, BITNET_A_MODEL_BYTES, model->bytes) ||
	    nla_put_u8(skb, BITNET_A_SHARED, shared) ||
	    nla_put_u32(skb, BITNET_A_MODEL_HANDLES, atomic_read(&model->handles)) ||
	    nla_put_u32(skb, BITNET_A_MODEL_SESSIONS, atomic_read(&model->sessions)) ||
	    (dump->admin && put_uid(skb, model->uid)) ||
	    put_u64(skb, BITNET_A_DIGEST, model->core.digest)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static int get_models(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump dump = {
		.skb = skb,
		.cb = cb,
		.admin = netlink_capable(cb->skb, CAP_NET_ADMIN),
	};

	cb->args[0] = bitnet_models_each(cb->args[0], dump_model, &dump);
	return skb->len;
}

static int dump_file(const struct bitnet_file *file, const struct dump *dump)
{
	struct sk_buff *skb = dump->skb;
	void *head = dump_start(dump, BITNET_CMD_GET_STATS);

	if (!head)
		return -EMSGSIZE;
	if (nla_put_u32(skb, BITNET_A_PID, file->tgid) || put_uid(skb, file->user->uid) ||
	    nla_put_string(skb, BITNET_A_COMM, file->comm) ||
	    nla_put_u32(skb, BITNET_A_MODELS, file->n_models) ||
	    nla_put_u32(skb, BITNET_A_SESSIONS, file->n_sessions) ||
	    nla_put_u32(skb, BITNET_A_JOBS, file->n_jobs) ||
	    nla_put_u32(skb, BITNET_A_PARKED, file->n_parked) ||
	    put_u64(skb, BITNET_A_TOKENS_IN, file->count.tokens_in) ||
	    put_u64(skb, BITNET_A_TOKENS_OUT, file->count.tokens_out) ||
	    put_u64(skb, BITNET_A_CPU_NS, file->count.cpu_ns)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static int get_stats(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump dump = { .skb = skb, .cb = cb, .admin = true };
	struct bitnet_file *file;

	/* Files are listed in the order of their ids: go on behind the last one told. */
	spin_lock(&bitnet.lock);
	list_for_each_entry(file, &bitnet.files, node) {
		if (file->id <= (unsigned long)cb->args[0])
			continue;
		if (dump_file(file, &dump))
			break;
		cb->args[0] = file->id;
	}
	spin_unlock(&bitnet.lock);
	return skb->len;
}

/* No request has attributes. */
static const struct nla_policy policy[BITNET_A_PAD + 1] = {
	[BITNET_A_PAD] = { .type = NLA_REJECT },
};

static const struct genl_small_ops ops[] = {
	{ .cmd = BITNET_CMD_GET_INFO, .doit = get_info },
	{ .cmd = BITNET_CMD_GET_MODELS, .dumpit = get_models },
	{ .cmd = BITNET_CMD_GET_STATS, .dumpit = get_stats, .flags = GENL_ADMIN_PERM },
};

static const struct genl_multicast_group groups[] = {
	{ .name = BITNET_GENL_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

static struct genl_family family __ro_after_init = {
	.name = BITNET_GENL_NAME,
	.version = BITNET_GENL_VERSION,
	.maxattr = BITNET_A_PAD,
	.policy = policy,
	.netnsok = false,
	.module = THIS_MODULE,
	.small_ops = ops,
	.n_small_ops = ARRAY_SIZE(ops),
	.resv_start_op = BITNET_CMD_UNSPEC + 1,
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

static int put_event(struct sk_buff *skb, const struct event *e)
{
	if (put_uid(skb, e->uid) || put_u64(skb, BITNET_A_TIME_NS, e->time_ns))
		return -EMSGSIZE;
	if (e->cmd == BITNET_CMD_EVENT_MODEL_LOADED || e->cmd == BITNET_CMD_EVENT_MODEL_UNLOADED)
		return nla_put_string(skb, BITNET_A_NAME, e->name) ||
		       put_u64(skb, BITNET_A_MODEL_BYTES, e->bytes) ||
		       nla_put_u8(skb, BITNET_A_SHARED, e->shared) ? -EMSGSIZE : 0;
	return nla_put_u32(skb, BITNET_A_PID, e->pid) ||
	       nla_put_u32(skb, BITNET_A_JOB_KIND, e->kind) ||
	       put_u64(skb, BITNET_A_TOKENS_IN, e->tokens_in) ||
	       put_u64(skb, BITNET_A_TOKENS_OUT, e->tokens_out) ||
	       put_u64(skb, BITNET_A_CPU_NS, e->cpu_ns) ||
	       nla_put_s32(skb, BITNET_A_ERROR, e->error) ? -EMSGSIZE : 0;
}

static void send_event(const struct event *e)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	void *head;

	if (!skb)
		return;
	head = genlmsg_put(skb, 0, 0, &family, 0, e->cmd);
	if (!head || WARN_ON_ONCE(put_event(skb, e))) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, head);
	/* Fails when nobody listens. */
	genlmsg_multicast(&family, skb, 0, 0, GFP_KERNEL);
}

static bool take_event(struct event *e)
{
	bool any;

	spin_lock(&event_lock);
	any = event_head != event_tail;
	if (any)
		*e = events[event_head++ % EVENTS];
	spin_unlock(&event_lock);
	return any;
}

static void send_events(struct work_struct *work)
{
	struct event e;

	while (take_event(&e))
		send_event(&e);
}

static DECLARE_WORK(event_work, send_events);

static void queue_event(const struct event *e)
{
	if (!genl_has_listeners(&family, &init_net, 0))
		return;
	spin_lock(&event_lock);
	if (event_tail - event_head < EVENTS)
		events[event_tail++ % EVENTS] = *e;
	spin_unlock(&event_lock);
	queue_work(bitnet.wq, &event_work);
}

/** bitnet_event_model() - a model was loaded, or is gone. Context: any but interrupts */
void bitnet_event_model(const struct bitnet_model *model, bool loaded)
{
	struct event e = {
		.cmd = loaded ? BITNET_CMD_EVENT_MODEL_LOADED : BITNET_CMD_EVENT_MODEL_UNLOADED,
		.time_ns = ktime_get_ns(),
		.uid = model->uid,
		.bytes = model->bytes,
		.shared = model->flags & BITNET_MODEL_F_SHARED,
	};

	strscpy(e.name, model->name, sizeof(e.name));
	queue_event(&e);
}

/** bitnet_event_job_locked() - a job has ended */
void bitnet_event_job_locked(const struct bitnet_kjob *job, int error)
{
	struct event e = {
		.cmd = error ? BITNET_CMD_EVENT_JOB_FAILED : BITNET_CMD_EVENT_JOB_DONE,
		.time_ns = ktime_get_ns(),
		.uid = job->file->user->uid,
		.pid = job->file->tgid,
		.kind = job->kind,
		.error = error,
		.tokens_in = job->tokens_in,
		.tokens_out = job->tokens_out,
		.cpu_ns = job->cpu_ns,
	};

	lockdep_assert_held(&bitnet.lock);
	queue_event(&e);
}

int __init bitnet_netlink_init(void)
{
	return genl_register_family(&family);
}

/** bitnet_netlink_exit() - nobody makes events any more; those that were made are sent */
void bitnet_netlink_exit(void)
{
	flush_work(&event_work);
	genl_unregister_family(&family);
}

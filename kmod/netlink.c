// SPDX-License-Identifier: GPL-2.0
/*
 * netlink.c - generic netlink: queries and events (protocol: linux/bitnet_genl.h)
 *
 * Events come from workers, under locks, or from paths that must not fail. They are copied into a
 * queue of fixed length, and a work item makes messages of them; when the queue is full, events are
 * lost, never time.
 */
#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/user_namespace.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "bitnet.h"

#define EVENTS		256
#define CPUS_BYTES	4096	/* longest list of CPUs */

struct event {
	u8 cmd;
	u64 time_ns;
	u64 ns;			/* how late, or throttled */
	/* worker */
	unsigned int cpu;
	bool parked, online;
	/* model, job */
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
static bool registered;		/* the family; read without a lock */

/* The limits of a user that can be set, as netlink names them. */
static const struct {
	int attr;
	enum bitnet_resource what;
	u32 bit;
} limits[] = {
	{ BITNET_A_MAX_SESSIONS, BITNET_RES_SESSIONS, BITNET_LIMIT_SESSIONS },
	{ BITNET_A_MAX_JOBS, BITNET_RES_JOBS, BITNET_LIMIT_JOBS },
	{ BITNET_A_MAX_KV_BYTES, BITNET_RES_KV_BYTES, BITNET_LIMIT_KV_BYTES },
	{ BITNET_A_MAX_PINNED_BYTES, BITNET_RES_PINNED_BYTES, BITNET_LIMIT_PINNED_BYTES },
	{ BITNET_A_MAX_REALTIME_PPM, BITNET_RES_REALTIME_PPM, BITNET_LIMIT_REALTIME_PPM },
};

static int put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, BITNET_A_PAD);
}

/* Numbers of users are those of the initial namespace, where alone this family is. */
static int put_uid(struct sk_buff *skb, kuid_t uid)
{
	return nla_put_u32(skb, BITNET_A_UID, from_kuid_munged(&init_user_ns, uid));
}

static int put_default_limits(struct sk_buff *skb)
{
	int err = 0;

	lockdep_assert_held(&bitnet.lock);
	for (int i = 0; i < ARRAY_SIZE(limits) && !err; i++)
		err = put_u64(skb, limits[i].attr,
			      min(bitnet.limit_user[limits[i].what], bitnet.limit[limits[i].what]));
	return err;
}

/* Whoever may look at these often learns what others do, and how much of it. */
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
	err = put_default_limits(skb) ||
	      nla_put_u32(skb, BITNET_A_BATCH_FLOOR, bitnet.batch_floor_ppm);
	if (!err && netlink_capable(request, CAP_NET_ADMIN))
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

/* What a file, or a user, has had so far. */
static int put_account(struct sk_buff *skb, const struct bitnet_counters *count)
{
	return put_u64(skb, BITNET_A_TOKENS_IN, count->tokens_in) ||
	       put_u64(skb, BITNET_A_TOKENS_OUT, count->tokens_out) ||
	       put_u64(skb, BITNET_A_CPU_NS, count->cpu_ns) ||
	       put_u64(skb, BITNET_A_QUEUE_NS, count->queue_ns) ||
	       put_u64(skb, BITNET_A_LATE, count->late) ||
	       put_u64(skb, BITNET_A_REALTIME_TOKENS, count->realtime_tokens);
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
	    put_account(skb, &file->count) || put_u64(skb, BITNET_A_FILE_ID, file->id)) {
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

static int put_limits(struct sk_buff *skb, const struct bitnet_user *user)
{
	u32 own = 0;
	int err = 0;

	lockdep_assert_held(&bitnet.lock);
	for (int i = 0; i < ARRAY_SIZE(limits) && !err; i++) {
		if (user->own.which & BIT(limits[i].what))
			own |= limits[i].bit;
		err = put_u64(skb, limits[i].attr, bitnet_user_limit_locked(user, limits[i].what));
	}
	return err ?: nla_put_u32(skb, BITNET_A_OWN_LIMITS, own);
}

static int dump_user(const struct bitnet_user *user, void *arg)
{
	const struct dump *dump = arg;
	struct sk_buff *skb = dump->skb;
	void *head = dump_start(dump, BITNET_CMD_GET_USERS);

	if (!head)
		return -EMSGSIZE;
	if (put_uid(skb, user->uid) ||
	    nla_put_u32(skb, BITNET_A_FILES, user->used[BITNET_RES_FILES]) ||
	    nla_put_u32(skb, BITNET_A_MODELS, user->used[BITNET_RES_MODELS]) ||
	    nla_put_u32(skb, BITNET_A_SESSIONS, user->used[BITNET_RES_SESSIONS]) ||
	    nla_put_u32(skb, BITNET_A_JOBS, user->used[BITNET_RES_JOBS]) ||
	    put_account(skb, &user->count) ||
	    put_u64(skb, BITNET_A_KV_BYTES, user->used[BITNET_RES_KV_BYTES]) ||
	    put_u64(skb, BITNET_A_PINNED_BYTES, user->used[BITNET_RES_PINNED_BYTES]) ||
	    put_u64(skb, BITNET_A_REALTIME_PPM, user->used[BITNET_RES_REALTIME_PPM]) ||
	    put_limits(skb, user)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static int get_users(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump dump = { .skb = skb, .cb = cb, .admin = true };

	cb->args[0] = bitnet_users_each((unsigned long)cb->args[0], dump_user, &dump);
	return skb->len;
}

static int dump_worker(const struct bitnet_worker_info *worker, void *arg)
{
	const struct dump *dump = arg;
	struct sk_buff *skb = dump->skb;
	void *head = dump_start(dump, BITNET_CMD_GET_WORKERS);

	if (!head)
		return -EMSGSIZE;
	if (nla_put_u32(skb, BITNET_A_CPU, worker->cpu) ||
	    nla_put_u8(skb, BITNET_A_WORKER_PARKED, worker->parked) ||
	    nla_put_u8(skb, BITNET_A_ONLINE, worker->online) ||
	    (dump->admin && put_u64(skb, BITNET_A_CPU_NS, worker->cpu_ns)) ||
	    put_u64(skb, BITNET_A_SECTION_MAX_NS, worker->section_max_ns) ||
	    put_u64(skb, BITNET_A_THROTTLED_NS, worker->throttled_ns)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static int get_workers(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump dump = {
		.skb = skb, .cb = cb,
		.admin = netlink_capable(cb->skb, CAP_NET_ADMIN),
	};

	cb->args[0] = bitnet_workers_each(cb->args[0], dump_worker, &dump);
	return skb->len;
}

static int set_limits(struct sk_buff *request, struct genl_info *info)
{
	struct bitnet_limits change = {};
	kuid_t uid;

	for (int i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct nlattr *most = info->attrs[limits[i].attr];

		if (!most)
			continue;
		change.which |= BIT(limits[i].what);
		change.most[limits[i].what] = nla_get_u64(most);
	}
	if (!change.which)
		return -EINVAL;
	if (!info->attrs[BITNET_A_UID])
		return bitnet_limits_set(NULL, &change);
	uid = make_kuid(&init_user_ns, nla_get_u32(info->attrs[BITNET_A_UID]));
	return uid_valid(uid) ? bitnet_limits_set(&uid, &change) : -EINVAL;
}

static int set_workers(struct sk_buff *request, struct genl_info *info)
{
	cpumask_var_t cpus;
	int err;

	if (!info->attrs[BITNET_A_CPUS])
		return -EINVAL;
	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	err = cpulist_parse(nla_data(info->attrs[BITNET_A_CPUS]), cpus) ? -EINVAL :
		bitnet_workers_set(cpus);
	free_cpumask_var(cpus);
	return err;
}

static int set_floor(struct sk_buff *request, struct genl_info *info)
{
	u32 ppm;

	if (!info->attrs[BITNET_A_BATCH_FLOOR])
		return -EINVAL;
	ppm = nla_get_u32(info->attrs[BITNET_A_BATCH_FLOOR]);
	if (ppm > BITNET_MAX_FLOOR_PPM)
		return -EINVAL;
	spin_lock(&bitnet.lock);
	bitnet.batch_floor_ppm = ppm;
	spin_unlock(&bitnet.lock);
	return 0;
}

/* Queries have no attributes. What a policy does not name is refused. */
static const struct nla_policy no_policy[BITNET_A_PAD + 1] = {
	[BITNET_A_PAD] = { .type = NLA_REJECT },
};

static const struct nla_policy limits_policy[BITNET_A_MAX_REALTIME_PPM + 1] = {
	[BITNET_A_UID] = { .type = NLA_U32 },
	[BITNET_A_MAX_SESSIONS] = { .type = NLA_U64 },
	[BITNET_A_MAX_JOBS] = { .type = NLA_U64 },
	[BITNET_A_MAX_KV_BYTES] = { .type = NLA_U64 },
	[BITNET_A_MAX_PINNED_BYTES] = { .type = NLA_U64 },
	[BITNET_A_MAX_REALTIME_PPM] = { .type = NLA_U64 },
};

static const struct nla_policy workers_policy[BITNET_A_CPUS + 1] = {
	[BITNET_A_CPUS] = { .type = NLA_NUL_STRING, .len = CPUS_BYTES - 1 },
};

static const struct nla_policy floor_policy[BITNET_A_BATCH_FLOOR + 1] = {
	[BITNET_A_BATCH_FLOOR] = { .type = NLA_U32 },
};

static const struct genl_small_ops queries[] = {
	{ .cmd = BITNET_CMD_GET_INFO, .doit = get_info },
	{ .cmd = BITNET_CMD_GET_MODELS, .dumpit = get_models },
	{ .cmd = BITNET_CMD_GET_STATS, .dumpit = get_stats, .flags = GENL_ADMIN_PERM },
	{ .cmd = BITNET_CMD_GET_USERS, .dumpit = get_users, .flags = GENL_ADMIN_PERM },
	{ .cmd = BITNET_CMD_GET_WORKERS, .dumpit = get_workers },
};

#define SETTING(name, fn)							\
	{ .cmd = BITNET_CMD_SET_##name, .doit = set_##fn, .policy = fn##_policy,	\
	  .maxattr = ARRAY_SIZE(fn##_policy) - 1, .flags = GENL_ADMIN_PERM }

static const struct genl_ops settings[] = {
	SETTING(LIMITS, limits),
	SETTING(WORKERS, workers),
	SETTING(FLOOR, floor),
};

static const struct genl_multicast_group groups[] = {
	{ .name = BITNET_GENL_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

static struct genl_family family __ro_after_init = {
	.name = BITNET_GENL_NAME,
	.version = BITNET_GENL_VERSION,
	.maxattr = BITNET_A_PAD,
	.policy = no_policy,
	.netnsok = false,
	.module = THIS_MODULE,
	.small_ops = queries,
	.n_small_ops = ARRAY_SIZE(queries),
	.ops = settings,
	.n_ops = ARRAY_SIZE(settings),
	.resv_start_op = BITNET_CMD_UNSPEC + 1,
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

static int put_model_event(struct sk_buff *skb, const struct event *e)
{
	return put_uid(skb, e->uid) || nla_put_string(skb, BITNET_A_NAME, e->name) ||
	       put_u64(skb, BITNET_A_MODEL_BYTES, e->bytes) ||
	       nla_put_u8(skb, BITNET_A_SHARED, e->shared);
}

static int put_job_event(struct sk_buff *skb, const struct event *e)
{
	return put_uid(skb, e->uid) || nla_put_u32(skb, BITNET_A_PID, e->pid) ||
	       nla_put_u32(skb, BITNET_A_JOB_KIND, e->kind) ||
	       put_u64(skb, BITNET_A_TOKENS_IN, e->tokens_in) ||
	       put_u64(skb, BITNET_A_TOKENS_OUT, e->tokens_out) ||
	       put_u64(skb, BITNET_A_CPU_NS, e->cpu_ns) ||
	       nla_put_s32(skb, BITNET_A_ERROR, e->error);
}

/* Return: not 0 if the message has no room. */
static int put_event(struct sk_buff *skb, const struct event *e)
{
	if (put_u64(skb, BITNET_A_TIME_NS, e->time_ns))
		return -EMSGSIZE;
	switch (e->cmd) {
	case BITNET_CMD_EVENT_MODEL_LOADED:
	case BITNET_CMD_EVENT_MODEL_UNLOADED:
		return put_model_event(skb, e);
	case BITNET_CMD_EVENT_DEADLINE_MISSED:
		return put_uid(skb, e->uid) || nla_put_u32(skb, BITNET_A_PID, e->pid) ||
		       put_u64(skb, BITNET_A_LATE_NS, e->ns);
	case BITNET_CMD_EVENT_OVERLOAD:
		return nla_put_u32(skb, BITNET_A_CPU, e->cpu) ||
		       put_u64(skb, BITNET_A_THROTTLED_NS, e->ns);
	case BITNET_CMD_EVENT_WORKER:
		return nla_put_u32(skb, BITNET_A_CPU, e->cpu) ||
		       nla_put_u8(skb, BITNET_A_WORKER_PARKED, e->parked) ||
		       nla_put_u8(skb, BITNET_A_ONLINE, e->online);
	default:
		return put_job_event(skb, e);
	}
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
	if (!READ_ONCE(registered) || !genl_has_listeners(&family, &init_net, 0))
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

/** bitnet_event_late_locked() - a token of a REALTIME job was made @late_ns after it was due */
void bitnet_event_late_locked(const struct bitnet_kjob *job, u64 late_ns)
{
	const struct event e = {
		.cmd = BITNET_CMD_EVENT_DEADLINE_MISSED,
		.time_ns = ktime_get_ns(),
		.ns = late_ns,
		.uid = job->file->user->uid,
		.pid = job->file->tgid,
	};

	lockdep_assert_held(&bitnet.lock);
	queue_event(&e);
}

/**
 * bitnet_event_overload() - a worker was kept from work that was there
 * @cpu:	its CPU
 * @throttled_ns: for so long
 *
 * Context: any but interrupts.
 */
void bitnet_event_overload(unsigned int cpu, u64 throttled_ns)
{
	const struct event e = {
		.cmd = BITNET_CMD_EVENT_OVERLOAD,
		.time_ns = ktime_get_ns(),
		.ns = throttled_ns,
		.cpu = cpu,
	};

	queue_event(&e);
}

/**
 * bitnet_event_worker() - a worker's state has changed
 * @cpu:	its CPU
 * @parked:	the administrator lets it rest
 * @online:	its CPU is
 *
 * Context: any but interrupts.
 */
void bitnet_event_worker(unsigned int cpu, bool parked, bool online)
{
	const struct event e = {
		.cmd = BITNET_CMD_EVENT_WORKER,
		.time_ns = ktime_get_ns(),
		.cpu = cpu,
		.parked = parked,
		.online = online,
	};

	queue_event(&e);
}

int __init bitnet_netlink_init(void)
{
	int err = genl_register_family(&family);

	WRITE_ONCE(registered, !err);
	return err;
}

/** bitnet_netlink_exit() - nobody makes events any more; those that were made are sent */
void bitnet_netlink_exit(void)
{
	flush_work(&event_work);
	genl_unregister_family(&family);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * workers.c - which workers compute is chosen while jobs run: nothing stops, nothing changes, and
 * one that rests does nothing
 *
 * Loads BITNET_MODULE itself to have workers on two CPUs, and leaves it loaded as it was found.
 */
#include <pthread.h>

#include "device.h"
#include "genl.h"

static struct answer answer;
static struct nl_sock *sk;
static int module_fd;

static int put_cpus(struct nl_msg *msg, const void *cpus)
{
	return nla_put_string(msg, BITNET_A_CPUS, cpus);
}

static int set_workers(const char *cpus)
{
	static struct answer none;

	return ask_with(sk, BITNET_CMD_SET_WORKERS, NLM_F_ACK, put_cpus, cpus, &none);
}

static struct nl_sock *open_family(void)
{
	struct nl_sock *s = sock_open();

	if (!s)
		bail("no generic netlink");
	family = genl_ctrl_resolve(s, BITNET_GENL_NAME);
	if (family <= 0)
		bail("no family");
	return s;
}

/* What the worker of @cpu is, or NULL. */
static const struct message *worker(unsigned int cpu)
{
	if (ask(sk, BITNET_CMD_GET_WORKERS, NLM_F_DUMP, &answer))
		return NULL;
	return find_number(&answer, BITNET_A_CPU, cpu);
}

static uint64_t cpu_ns(unsigned int cpu)
{
	const struct message *m = worker(cpu);

	return m ? m->number[BITNET_A_CPU_NS] : 0;
}

/* Nothing of the kind is obeyed, and nothing changes. */
static void check_refused(unsigned int count)
{
	static const char *const lists[] = { "", "4095", "0-4095", "x", "0-", "-1", "0,,x" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lists); i++)
		is(set_workers(lists[i]), -EINVAL, "'%s' is refused", lists[i]);
	is(ask(sk, BITNET_CMD_SET_WORKERS, NLM_F_ACK, &answer), -EINVAL, "so is no list");
	is(ask(sk, BITNET_CMD_GET_WORKERS, NLM_F_DUMP, &answer), 0, "GET_WORKERS");
	ok(answer.n == count && !answer.fault, "%u workers (%s)", count,
	   answer.fault ? answer.fault : "sound");
	for (i = 0; i < answer.n; i++) {
		is(answer.m[i].has, BIT(BITNET_A_CPU) | BIT(BITNET_A_WORKER_PARKED) |
		   BIT(BITNET_A_ONLINE) | BIT(BITNET_A_CPU_NS) | BIT(BITNET_A_SECTION_MAX_NS) |
		   BIT(BITNET_A_THROTTLED_NS), "attributes");
		is(answer.m[i].number[BITNET_A_WORKER_PARKED], 0, "a worker computes");
		is(answer.m[i].number[BITNET_A_ONLINE], 1, "its CPU is online");
	}
}

/* One CPU: its worker cannot be sent to rest. */
static void check_alone(struct t_client *c)
{
	uint64_t ns = cpu_ns(0);

	check_refused(1);
	is(set_workers("1"), -EINVAL, "a CPU without a worker");
	is(set_workers("0"), 0, "the only one");
	ok(t_golden_holds(c, 0), "it computes");
	ok(cpu_ns(0) > ns, "and counts its time");
}

/* Only @busy computes: its time grows, that of the other does not. */
static void check_rest(struct t_client *c, unsigned int busy)
{
	unsigned int rests = !busy;
	uint64_t rested, computed;
	char list[8];

	snprintf(list, sizeof(list), "%u", busy);
	is(set_workers(list), 0, "only CPU %u", busy);
	is(t_info(c->fd).out_workers, 1, "INFO counts one worker");
	ok(t_golden_holds(c, 0), "golden text");
	/* A tile that it was in is over, since that job is. */
	rested = cpu_ns(rests);
	computed = cpu_ns(busy);
	ok(t_golden_holds(c, 1), "golden text");
	is(cpu_ns(rests), rested, "CPU %u does nothing", rests);
	ok(cpu_ns(busy) > computed, "CPU %u does", busy);
	ok(worker(rests) && worker(rests)->number[BITNET_A_WORKER_PARKED] == 1, "one rests");
	ok(worker(busy) && worker(busy)->number[BITNET_A_WORKER_PARKED] == 0, "the other does not");
}

static int on_event(struct nl_msg *msg, void *arg)
{
	parse(arg, nlmsg_hdr(msg));
	return NL_OK;
}

/* The next event of a worker tells that of @cpu. */
static bool next_event(struct nl_sock *events, unsigned int cpu, bool parked, bool online)
{
	struct pollfd p = { .fd = nl_socket_get_fd(events), .events = POLLIN };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	const struct message *m = &answer.m[0];
	bool right = false;

	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_event, &answer);
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_seq, NULL);
	do {
		memset(&answer, 0, sizeof(answer));
		if (poll(&p, 1, 20000) != 1 || nl_recvmsgs(events, cb) < 0)
			break;
	} while (answer.n && m->cmd != BITNET_CMD_EVENT_WORKER);
	if (answer.n == 1)
		right = m->has == (BIT(BITNET_A_CPU) | BIT(BITNET_A_WORKER_PARKED) |
				   BIT(BITNET_A_ONLINE) | BIT(BITNET_A_TIME_NS)) &&
			m->number[BITNET_A_CPU] == cpu &&
			m->number[BITNET_A_WORKER_PARKED] == parked &&
			m->number[BITNET_A_ONLINE] == online;
	nl_cb_put(cb);
	return right;
}

static struct nl_sock *listen_events(void)
{
	struct nl_sock *events = open_family();
	int group = genl_ctrl_resolve_grp(events, BITNET_GENL_NAME, BITNET_GENL_MCGRP_EVENTS);

	if (group < 0 || nl_socket_add_membership(events, group))
		bail("no events");
	return events;
}

static void check_events(void)
{
	struct nl_sock *events = listen_events();

	is(set_workers("0"), 0, "only CPU 0");
	ok(next_event(events, 1, true, true), "an event: the worker of CPU 1 rests");
	is(set_workers("0"), 0, "the same again");
	is(set_workers("0-1"), 0, "both");
	ok(next_event(events, 1, false, true), "one event: it computes again");
	nl_socket_free(events);
}

static const char *const sets[] = { "0", "1", "0-1", "1", "0" };
static volatile bool stop;
static unsigned int changes;
static bool refused;

static void *change_workers(void *unused)
{
	(void)unused;
	while (!stop) {
		if (set_workers(sets[changes % ARRAY_SIZE(sets)]))
			refused = true;
		changes++;
		t_sleep_ns(1000000);
	}
	return NULL;
}

static void check_load(struct t_client *c)
{
	unsigned int rounds = t_size(3, 200), i;
	pthread_t thread;
	bool golden = true;

	if (pthread_create(&thread, NULL, change_workers, NULL))
		bail("pthread_create");
	for (i = 0; t_more(i, rounds, "texts") || changes < ARRAY_SIZE(sets); i++)
		golden &= t_golden_holds(c, i % T_N_GOLDEN);
	stop = true;
	pthread_join(thread, NULL);
	ok(golden, "golden texts while the set changes, %u times", changes);
	ok(!refused, "no change was refused");
	is(set_workers("0-1"), 0, "both compute");
	is(t_info(c->fd).out_workers, 2, "INFO counts both");
}

static int switch_cpu(const char *to)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, to, 1) < 0)
		err = -errno;
	close(fd);
	return err;
}

static void check_hotplug(struct t_client *c)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_job job = t_generate(c->session, g->ids, g->n_ids, t_tokens(T_N_GREEDY), 1);
	static struct t_result r;
	struct nl_sock *events;

	if (access("/sys/devices/system/cpu/cpu1/online", W_OK)) {
		skip("CPU 1 cannot be switched off");
		return;
	}
	events = listen_events();
	is(set_workers("0"), 0, "CPU 1 rests");
	ok(next_event(events, 1, true, true), "an event");
	is(switch_cpu("0"), 0, "and goes offline");
	ok(next_event(events, 1, true, false), "an event");
	is(set_workers("1"), -EINVAL, "it alone cannot compute");
	ok(t_golden_holds(c, 0), "CPU 0 does");
	is(switch_cpu("1"), 0, "it comes back");
	ok(next_event(events, 1, true, true), "an event: it rests as before");
	is(t_info(c->fd).out_workers, 1, "INFO counts one");

	is(set_workers("1"), 0, "it alone computes");
	is(switch_cpu("0"), 0, "and goes offline");
	is(t_info(c->fd).out_workers, 0, "then nobody does");
	t_session_rewind(c->fd, c->session, 0);
	is(t_submit(c->fd, &job, 1, NULL), 0, "a job waits");
	is(set_workers("0"), 0, "until another may");
	is(t_collect(&c->ring, &r, 1, 1), 0, "and ends");
	ok(t_same_tokens(&r, g->greedy, t_tokens(T_N_GREEDY)), "with its golden text");
	is(switch_cpu("1"), 0, "CPU 1 comes back");
	is(set_workers("0-1"), 0, "both compute");
	nl_socket_free(events);
}

static int reload(const char *params)
{
	if (syscall(SYS_delete_module, "bitnet", O_NONBLOCK) && errno != ENOENT)
		bail("rmmod: %s", strerror(errno));
	return syscall(SYS_finit_module, module_fd, params, 0) ? -errno : 0;
}

static bool parameter(const char *name, char *value, size_t size)
{
	char path[128];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/bitnet/parameters/%s", name);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, value, size - 1);
		close(fd);
	}
	value[n < 0 ? 0 : n] = 0;
	value[strcspn(value, "\n")] = 0;
	return n >= 0;
}

int main(void)
{
	const char *path = getenv("BITNET_MODULE");
	bool alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
	char variant[32], cpus[64], policy[32], params[64], restore[160];
	struct t_leaks before;
	struct t_image image;
	struct t_client c;
	unsigned int i;

	module_fd = open(path ? path : "/modules/bitnet.ko", O_RDONLY | O_CLOEXEC);
	if (module_fd < 0)
		skip_all("no module file to load");
	parameter("variant", variant, sizeof(variant));
	parameter("cpus", cpus, sizeof(cpus));
	parameter("policy", policy, sizeof(policy));
	snprintf(restore, sizeof(restore), "variant=%s cpus=%s policy=%s", variant, cpus, policy);
	snprintf(params, sizeof(params), "variant=%s cpus=%s", variant, alone ? "0" : "0-1");
	if (!is(reload(params), 0, "insmod %s", params))
		return done();

	before = t_leaks_start();
	image = t_image_demo();
	t_client_open(&c, &image, 64);
	sk = open_family();
	if (alone) {
		check_alone(&c);
	} else {
		check_refused(2);
		for (i = 0; i < 2; i++)
			check_rest(&c, i);
		is(set_workers("0-1"), 0, "both compute");
		check_events();
		check_load(&c);
		check_hotplug(&c);
	}
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	/* Removing the module while a worker rests. */
	if (!alone)
		is(set_workers("1"), 0, "only CPU 1");
	nl_socket_free(sk);
	is(reload(restore), 0, "loaded as it was: %s", restore);
	if (chown(BITNET_DEVICE_PATH, 0, T_GID_BITNET) || chmod(BITNET_DEVICE_PATH, 0660))
		diag("%s: %s", BITNET_DEVICE_PATH, strerror(errno));
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * memory_limit.c - a client whose memory cgroup is full is refused, or killed alone: all others go
 * on, and what it had is given back to the last page
 *
 * What the module allocates for a client is charged to his cgroup. A refusal must not wake the OOM
 * killer; the client's own memory may, and then it hits him with all that he holds.
 */
#include "device.h"

#define ROOT		"/sys/fs/cgroup"
#define GROUP		ROOT "/bitnet-limit"
#define LIMIT		"14M"
#define MOST_LEFT	(64 << 10)

static const uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct t_image image;
static struct t_client victim;
static struct t_result want, got;

/* Why there can be no test, or NULL. */
static const char *group_init(void)
{
	if (access(ROOT "/cgroup.controllers", F_OK))
		return "there is no cgroup v2";
	t_put(ROOT "/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		return "no cgroup can be made";
	return access(GROUP "/memory.max", F_OK) ? "cgroups have no memory.max here" : NULL;
}

struct greedy {
	int fd;
	uint32_t model, session[64];
	unsigned int n;
};

static int compute(struct greedy *g, unsigned int i)
{
	struct bitnet_job job = t_generate(g->session[i], tokens, 4, 1, 1);
	struct bitnet_ring_entry entries[2];
	int err = t_session_rewind(g->fd, g->session[i], 0);

	return err ? err : t_inline(g->fd, &job, entries, 2, NULL);
}

/* Sessions that compute, until there is no memory for more. Return: what the last call gave */
static int fill(struct greedy *g)
{
	int err = 0;

	while (g->n < ARRAY_SIZE(g->session)) {
		err = t_session_open(g->fd, g->model, 0, &g->session[g->n]);
		if (err)
			break;
		err = compute(g, g->n++);
		if (err)
			break;
	}
	return err;
}

/* Steps that failed are told by number. With an argument it ends in the OOM killer's hands. */
static int client(void *arg)
{
	const bool die = *(bool *)arg;
	struct greedy g = { 0 };
	size_t at, more = 16 << 20;
	char *p;

	if (t_put(GROUP "/cgroup.procs", "0"))
		return 1;
	t_drop_privileges(1000, T_GID_BITNET);
	g.fd = t_open();
	if (t_model_load(g.fd, &image, 0, NULL, &g.model))
		return 2;
	if (fill(&g) != -ENOMEM || g.n < 3)
		return 3;
	/* What is there works, and what is given back can be had again. */
	if (compute(&g, 0) || t_session_close(g.fd, g.session[--g.n]))
		return 4;
	if (t_session_close(g.fd, g.session[--g.n]) ||
	    t_session_open(g.fd, g.model, 0, &g.session[g.n]) || compute(&g, g.n++))
		return 5;
	if (!die)
		return 0;
	fill(&g);
	p = t_pages(more);
	for (at = 0; at < more; at += T_PAGE)
		p[at] = 1;
	return 6;
}

static bool victim_serves(void)
{
	struct bitnet_job job = t_generate(victim.session, tokens, 4, 8, 1);

	return !t_session_rewind(victim.fd, victim.session, 0) && !t_run(&victim.ring, &job, &got) &&
	       t_same_hashes(&want, &got);
}

/* One client in the cgroup while the victim computes. Return: its status of waitpid() */
static int round_of(bool die, bool *served)
{
	int status;
	pid_t pid;

	pid = t_fork();
	if (!pid)
		_exit(client(&die));
	while (waitpid(pid, &status, WNOHANG) != pid)
		*served &= victim_serves();
	return status;
}

/* Bytes that are still charged, once what CPUs keep in advance is handed in. */
static long long charged(void)
{
	uint64_t give_up = t_now() + T_HANG_NS / 10;
	long long bytes;

	do {
		t_put(GROUP "/memory.max", "0");
		bytes = t_number_in(GROUP "/memory.current", "", -1);
		if (bytes > MOST_LEFT)
			t_sleep_ns(10000000);
	} while (bytes > MOST_LEFT && t_now() < give_up);
	t_put(GROUP "/memory.max", LIMIT);
	return bytes;
}

int main(void)
{
	const unsigned int rounds = t_size(t_is_fast() ? 100 : t_is_uml() ? 4 : 1, 10000);
	unsigned int i, refused = 0, killed = 0, leaks = 0;
	const char *why = group_init();
	struct t_leaks before = t_leaks_start();
	struct bitnet_job job;
	bool served = true;
	int status;

	if (why)
		skip_all("%s", why);
	image = t_image_random(&t_tiny);
	t_client_open(&victim, &image, 16);
	job = t_generate(victim.session, tokens, 4, 8, 1);
	if (t_run(&victim.ring, &job, &want))
		bail("a job");
	t_put(GROUP "/memory.max", LIMIT);
	for (i = 0; t_more(i, rounds, "rounds at the limit"); i++) {
		struct t_leaks now = t_leaks_now();
		long long kills = t_number_in(GROUP "/memory.events", "oom_kill", 0);

		status = round_of(false, &served);
		if (WIFEXITED(status) && !WEXITSTATUS(status) &&
		    t_number_in(GROUP "/memory.events", "oom_kill", 0) == kills)
			refused++;
		else
			diag("refused: status 0x%x", status);
		status = round_of(true, &served);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
		    t_number_in(GROUP "/memory.events", "oom_kill", 0) > kills)
			killed++;
		else
			diag("killed: status 0x%x", status);
		leaks += !t_leaks_none(&now);
		if (charged() > MOST_LEFT) {
			diag("%lld bytes are still charged", charged());
			leaks++;
		}
	}
	is(refused, i, "who has no memory is refused, and nobody is killed for it");
	is(killed, i, "who takes more than he may is killed with all that he holds");
	ok(served, "another one is served all the while");
	is(leaks, 0, "nothing stays charged");
	t_client_close(&victim);
	while (rmdir(GROUP) && errno == EBUSY)
		t_sleep_ns(1000000);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

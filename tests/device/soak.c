// SPDX-License-Identifier: GPL-2.0
/*
 * soak.c - a mixed load that goes on and on: every answer is right to the bit, nothing is left after a
 * round, and memory stays where it was
 *
 * Where the guest's clock leaps over idle time (BITNET_CLOCK=virtual), the clients pause between their
 * jobs as people do: a day passes in a minute, jiffies wrap five minutes after the start.
 */
#include "device.h"
#include "genl.h"

#define NAME		"soak"
#define N_JOBS		4		/* of each client in a round */
#define MOST_DRIFT_KB	256

static struct t_image demo, tiny;
static struct t_result want_tiny, want_long;
static uint32_t long_prompt[100];
static bool has_virtual_clock;
static uint64_t seed;

static uint64_t pause_ns(void)
{
	const uint64_t second = 1000000000;

	return has_virtual_clock ? t_random(&seed) % (2 * 3600 / N_JOBS * second) :
				   t_random(&seed) % (second / 100);
}

/* Golden texts of the demo model. */
static int writes(void)
{
	struct t_client c;

	t_client_open(&c, &demo, 64);
	for (unsigned int i = 0; i < N_JOBS; i++) {
		t_sleep_ns(pause_ns());
		if (!t_golden_holds(&c, t_random(&seed) % T_N_GOLDEN))
			return 1;
	}
	t_client_close(&c);
	return 0;
}

/* RUN, in sessions and models that come and go. */
static int runs(void)
{
	static struct t_result r;
	uint32_t model, session;
	struct bitnet_job job;

	for (unsigned int i = 0; i < 4 * N_JOBS; i++) {
		int fd = t_open();

		if (t_model_load(fd, &tiny, 0, NULL, &model) || t_session_open(fd, model, 0, &session))
			return 1;
		job = t_generate(session, long_prompt, 8, 40, i);
		if (t_inline_run(fd, &job, &r) || !t_same_hashes(&r, &want_tiny))
			return 2;
		close(fd);
		if (i % 4 == 3)
			t_sleep_ns(pause_ns());
	}
	return 0;
}

/* Long prompts at the lowest class, of a model that others use too. */
static int reads(void)
{
	static struct t_result r;
	struct bitnet_job job;
	struct t_client c;

	c.fd = t_open();
	if (t_model_open(c.fd, NAME, &c.model) || t_session_open(c.fd, c.model, 0, &c.session))
		return 1;
	t_ring_open(&c.ring, c.fd, 256, 0);
	for (unsigned int i = 0; i < N_JOBS; i++) {
		job = t_score(c.session, long_prompt, ARRAY_SIZE(long_prompt), i);
		job.job_class = BITNET_CLASS_BATCH;
		t_session_rewind(c.fd, c.session, 0);
		if (t_run(&c.ring, &job, &r) || !t_same_hashes(&r, &want_long))
			return 2;
		t_sleep_ns(pause_ns());
	}
	t_client_close(&c);
	return 0;
}

/* Processes that are killed, whatever they do at that moment. */
static int dies(void)
{
	int status;
	pid_t pid;

	for (unsigned int i = 0; i < 2 * N_JOBS; i++) {
		pid = fork();
		if (!pid)
			for (;;)
				if (runs())
					_exit(1);
		t_sleep_ns(t_random(&seed) % 20000000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (!WIFSIGNALED(status))
			return 1;
		if (i % 2)
			t_sleep_ns(pause_ns());
	}
	return 0;
}

/* The administrator looks and sets. */
static int looks(void)
{
	static const uint8_t queries[] = { BITNET_CMD_GET_INFO, BITNET_CMD_GET_WORKERS,
					   BITNET_CMD_GET_MODELS, BITNET_CMD_GET_USERS };
	static struct answer answer;
	struct nl_sock *sk = sock_open();

	if (!sk)
		return 1;
	family = genl_ctrl_resolve(sk, BITNET_GENL_NAME);
	for (unsigned int i = 0; i < 4 * N_JOBS; i++) {
		if (ask(sk, queries[i % 4], i % 4 ? NLM_F_DUMP : 0, &answer))
			return 2;
		if (i % 4 == 3)
			t_sleep_ns(pause_ns());
	}
	nl_socket_free(sk);
	return 0;
}

/* Jobs with a deadline, accepted or refused. */
static int hurries(void)
{
	static struct t_result r;
	unsigned int accepted = 0;
	struct bitnet_job job;
	struct t_client c;
	int err;

	t_client_open(&c, &tiny, 256);
	for (unsigned int i = 0; i < N_JOBS; i++) {
		job = t_generate(c.session, long_prompt, 8, 40, i);
		job.job_class = BITNET_CLASS_REALTIME;
		job.first_token_ns = 3600000000000ULL;
		job.period_ns = 1000000000;
		t_session_rewind(c.fd, c.session, 0);
		err = t_run(&c.ring, &job, &r);
		if (err && err != -EDQUOT)
			return 1;
		if (!err && !t_same_hashes(&r, &want_tiny))
			return 2;
		accepted += !err;
		t_sleep_ns(pause_ns());
	}
	t_client_close(&c);
	return accepted ? 0 : 3;
}

static int (*const clients[])(void) = { writes, runs, reads, dies, looks, hurries };

/* One of each at the same time. Return: how many failed */
static unsigned int round_of(unsigned int i)
{
	pid_t pids[ARRAY_SIZE(clients)];
	unsigned int k, failed = 0;
	int status;

	for (k = 0; k < ARRAY_SIZE(clients); k++) {
		pids[k] = t_fork();
		if (!pids[k]) {
			seed = i * ARRAY_SIZE(clients) + k;
			t_drop_privileges(k == 4 ? 0 : 1000 + k % 2, T_GID_BITNET);
			_exit(clients[k]());
		}
	}
	for (k = 0; k < ARRAY_SIZE(clients); k++) {
		waitpid(pids[k], &status, 0);
		if (status)
			diag("round %u: client %u ends with 0x%x", i, k, status);
		failed += status != 0;
	}
	return failed;
}

/* What the kernel cannot take back when somebody needs it. */
static long long kernel_kb(void)
{
	static const char *const keys[] = { "SUnreclaim", "KernelStack", "PageTables",
					    "VmallocUsed", "Percpu" };
	long long sum = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++)
		sum += t_number_in("/proc/meminfo", keys[i], 0);
	return sum;
}

/* The least of some looks: what others hold for a moment is not meant. */
static long long least_kb(void)
{
	long long kb, least = kernel_kb();

	for (unsigned int i = 0; i < 20; i++) {
		t_sleep_ns(20000000);
		kb = kernel_kb();
		if (kb < least)
			least = kb;
	}
	return least;
}

int main(void)
{
	const char *clock = getenv("BITNET_CLOCK"), *bed = getenv("BITNET_BED");
	struct t_leaks before = t_leaks_start();
	unsigned int i, n, failed = 0, leaks = 0;
	long long first = 0, last = 0;
	uint64_t start = t_now();
	struct bitnet_job job;
	struct t_client c;
	uint32_t id;
	int fd;

	has_virtual_clock = clock && !strcmp(clock, "virtual");
	demo = t_image_demo();
	tiny = t_image_random(&t_tiny);
	for (i = 0; i < ARRAY_SIZE(long_prompt); i++)
		long_prompt[i] = i * 7 % 300;
	t_client_open(&c, &tiny, 256);
	job = t_generate(c.session, long_prompt, 8, 40, 1);
	if (t_run(&c.ring, &job, &want_tiny))
		bail("a job");
	t_session_rewind(c.fd, c.session, 0);
	job = t_score(c.session, long_prompt, ARRAY_SIZE(long_prompt), 1);
	if (t_run(&c.ring, &job, &want_long))
		bail("a job");
	t_client_close(&c);

	/* In virtual time a round takes about an hour. */
	n = has_virtual_clock ? t_size(24, 720) : t_size(t_is_uml() ? 4 : 2, 20000);
	for (i = 0; has_virtual_clock ? i < n : t_more(i, n, "rounds of a mixed load"); i++) {
		fd = t_open();
		if (t_model_load(fd, &tiny, BITNET_MODEL_F_SHARED, NAME, &id))
			bail("a shared model");
		failed += round_of(i);
		if (t_model_unload(fd, NAME))
			bail("UNLOAD");
		close(fd);
		leaks += !t_leaks_none(&before);
		/* What the first uses leave in the kernel's own caches is not ours. */
		if (i == n / 4 || i == 40)
			first = least_kb();
	}
	last = least_kb();
	if (has_virtual_clock)
		t_figure((t_now() - start) / 3600000000000ULL, t_size(24, 720), "virtual hours");
	is(failed, 0, "%u rounds: all answers are right", i);
	is(leaks, 0, "nothing is left after a round");
	/*
	 * KASAN keeps for a while what is freed; too few rounds say nothing, and there may have been
	 * no time for those before which memory was looked at.
	 */
	if (i < 20 || !first || !bed || strstr(bed, "debug"))
		skip("memory is looked at after more rounds, without KASAN");
	else
		ok(last - first <= MOST_DRIFT_KB, "the kernel has %lld kB, had %lld", last, first);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

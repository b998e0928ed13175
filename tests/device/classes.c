// SPDX-License-Identifier: GPL-2.0
/*
 * classes.c - realtime, interactive and batch jobs: who goes first, who is accepted, and that being
 * put aside changes no bit
 */
#include "device.h"

#define LONG	400		/* tokens of a prompt; less where vectors are emulated */
#define MS	1000000ULL
#define N_SESSIONS	60
#define LATER	(1000 * 1000 * MS)	/* whatever a step is thought to take, that is enough */

static uint32_t prompt[LONG], n_long = LONG;
static struct t_result results[4], alone;
static struct t_image image;

/* What other tests check, and too often here to be told each time */
static void must(int err)
{
	if (err)
		bail("%s", strerror(-err));
}

static struct bitnet_job realtime(uint32_t session, uint32_t n, uint64_t first_ns,
				  uint64_t period_ns, uint64_t user_data)
{
	struct bitnet_job job = t_generate(session, t_golden[0].ids, t_golden[0].n_ids, n,
					   user_data);

	job.job_class = BITNET_CLASS_REALTIME;
	job.first_token_ns = first_ns;
	job.period_ns = period_ns;
	return job;
}

static int refused(int fd, const struct bitnet_job *job, struct bitnet_submit *submit)
{
	*submit = (struct bitnet_submit){
		.size = sizeof(*submit),
		.jobs = t_pointer(job),
		.count = 1,
		.job_size = sizeof(*job),
	};
	if (t_ioctl(fd, BITNET_IOC_SUBMIT, submit))
		return -1;
	return submit->out_accepted ? 0 : submit->out_error;
}

static void check_fields(struct t_client *c)
{
	struct bitnet_job job = realtime(c->session, 1, MS, MS, 1);
	uint32_t accepted;

#define REFUSED(name, change)						\
	do {								\
		job = realtime(c->session, 1, 1000 * MS, 1000 * MS, 1);	\
		change;							\
		is(t_submit(c->fd, &job, 1, &accepted), -EINVAL, name);	\
	} while (0)

	REFUSED("no such class", job.job_class = 3);
	REFUSED("no period", job.period_ns = 0);
	REFUSED("no first deadline", job.first_token_ns = 0);
	REFUSED("a period too short", job.period_ns = BITNET_MIN_PERIOD_NS - 1);
	REFUSED("a period too long", job.period_ns = BITNET_MAX_PERIOD_NS + 1);
	REFUSED("a batch job with a period", job.job_class = BITNET_CLASS_BATCH);
	REFUSED("an interactive one", job.job_class = BITNET_CLASS_INTERACTIVE);
	REFUSED("reserved", job.__resv2 = 1);
	REFUSED("SCORE", job.kind = BITNET_JOB_SCORE; job.max_tokens = 0);
}

/*
 * A long prompt of class batch is put aside for each of many short interactive jobs: these overtake
 * it, and its logits are those that it has alone.
 */
static void check_batch(void)
{
	long long yields = t_number_in(T_DEBUGFS_STATS, "yields", -1);
	struct bitnet_job job, small;
	struct t_client c;
	uint32_t other, n, rounds = 0;
	struct bitnet_ring_entry e;
	bool over = false;

	t_client_open(&c, &image, 2048);
	is(t_session_open(c.fd, c.model, 16, &other), 0, "another session");
	job = t_score(c.session, prompt, n_long, 1);
	is(t_run(&c.ring, &job, &alone), 0, "a batch job alone");
	is(t_session_rewind(c.fd, c.session, 0), 0, "rewind");

	job.job_class = BITNET_CLASS_BATCH;
	small = t_generate(other, prompt, 2, 1, 2);
	memset(results, 0, sizeof(results));
	is(t_submit(c.fd, &job, 1, &n), 0, "a batch job");
	while (!results[0].end.kind && rounds < 1000) {
		must(t_session_rewind(c.fd, other, 0));
		must(t_submit(c.fd, &small, 1, &n));
		rounds++;
		for (over = false; !over;) {
			if (t_ring_wait(&c.ring, &e))
				bail("no entry");
			if (e.user_data == 1)
				t_result_add(&results[0], &e);
			else
				over = e.kind != BITNET_ENTRY_TOKEN;
		}
	}
	ok(results[0].end.kind == BITNET_ENTRY_DONE && !results[0].fault, "it ends");
	ok(t_same_hashes(&results[0], &alone), "all logits are those it has alone");
	ok(rounds > 2, "%u interactive jobs have overtaken it", rounds);
	if (yields < 0)
		skip("no debugfs");
	else
		ok(t_number_in(T_DEBUGFS_STATS, "yields", -1) > yields,
		   "it was put aside %lld times",
		   t_number_in(T_DEBUGFS_STATS, "yields", -1) - yields);
	t_client_close(&c);
}

/* Cancelled, rewound and used again while its step is aside; closed in the middle. */
static void check_cancel(void)
{
	struct bitnet_job jobs[2];
	struct t_client c;
	uint32_t rounds = t_size(t_is_uml() ? 60 : 6, 1000), other, n, i;
	bool same = true;

	t_client_open(&c, &image, 2048);
	is(t_session_open(c.fd, c.model, 64, &other), 0, "another session");
	for (i = 0; t_more(i, rounds, "steps cancelled aside"); i++) {
		jobs[0] = t_score(c.session, prompt, n_long, 1);
		jobs[0].job_class = BITNET_CLASS_BATCH;
		jobs[1] = t_generate(other, prompt, 2, 20, 2);
		must(t_session_rewind(c.fd, other, 0));
		must(t_submit(c.fd, jobs, 1, &n));
		t_sleep_ns(i * 37 % 50 * 20000);
		must(t_submit(c.fd, &jobs[1], 1, &n));
		t_sleep_ns(i * 53 % 50 * 10000);
		t_cancel(c.fd, 1, &n);
		must(t_collect(&c.ring, results, 2, 1));
		must(t_session_rewind(c.fd, c.session, 0));
		jobs[0] = t_score(c.session, prompt, 20, 1);
		must(t_run(&c.ring, &jobs[0], &results[0]));
		for (n = 0; n < results[0].n; n++)
			same &= results[0].token[n].logits_hash == alone.token[n].logits_hash;
		same &= results[0].n == 19;
		must(t_session_rewind(c.fd, c.session, 0));
	}
	ok(same, "whoever is cancelled while aside leaves nothing in the session");
	jobs[0] = t_score(c.session, prompt, n_long, 1);
	jobs[0].job_class = BITNET_CLASS_BATCH;
	jobs[1] = t_generate(other, prompt, 2, 20, 2);
	is(t_submit(c.fd, jobs, 2, &n), 0, "both run");
	t_client_close(&c);
}

/* More than the machine can do is refused at once, and says so. */
static void check_admission(struct t_client *c)
{
	struct bitnet_job job = realtime(c->session, 4, 3600000 * MS, BITNET_MIN_PERIOD_NS, 1);
	struct bitnet_submit submit;
	uint32_t sessions[N_SESSIONS], n, i;
	uint64_t period, step;

	is(refused(c->fd, &job, &submit), -EDQUOT, "a period that no token can keep");
	is(submit.out_refusal, BITNET_REFUSED_PERIOD, "is why");
	ok(submit.out_step_ns > BITNET_MIN_PERIOD_NS, "a token takes %llu ns",
	   (unsigned long long)submit.out_step_ns);
	step = submit.out_step_ns;

	/*
	 * Each wants a fifth, or less, if there was once a layer that took far too long. What a
	 * token is reckoned to take changes as they run.
	 */
	for (i = 0; i < N_SESSIONS; i++)
		must(t_session_open(c->fd, c->model, 256, &sessions[i]));
	for (period = 5 * step;; period *= 2) {
		job = realtime(sessions[0], 250, 1000 * 1000 * MS, period, 10);
		if (!refused(c->fd, &job, &submit) || submit.out_refusal != BITNET_REFUSED_PERIOD)
			break;
	}
	for (n = 1; n < N_SESSIONS; n++) {
		job = realtime(sessions[n], 250, 1000 * 1000 * MS, period, 10 + n);
		if (refused(c->fd, &job, &submit))
			break;
	}
	if (n == N_SESSIONS) {
		skip("%u sessions are too few to want too much", n);
	} else {
		is(submit.out_error, -EDQUOT, "%u jobs were accepted, and one more is not", n);
		ok(submit.out_refusal == BITNET_REFUSED_LOAD ||
		   submit.out_refusal == BITNET_REFUSED_PERIOD, "for the time it would take");
		ok(submit.out_load_ppm > 0, "all would need %u ppm", submit.out_load_ppm);
	}
	for (i = 0; i < n; i++)
		t_cancel(c->fd, 10 + i, NULL);
	while (t_stats(c->fd).out_jobs)
		t_sleep_ns(MS);
	/* Their entries are of no interest. */
	is(t_session_rewind(c->fd, c->session, 0), 0, "rewind");
	job = realtime(sessions[0], 1, 1000 * 1000 * MS, 1000 * 1000 * MS, 30);
	is(t_session_rewind(c->fd, sessions[0], 0), 0, "rewind");
	is(refused(c->fd, &job, &submit), 0, "when they are gone, there is room again");
	while (t_stats(c->fd).out_jobs)
		t_sleep_ns(MS);
}

/* A job that states generous times beside a batch job is on time, with the golden text. */
static void check_realtime(void)
{
	struct bitnet_job job, load;
	struct bitnet_stats before, after;
	struct t_client c, flood;
	uint32_t i, n, late = 0;

	t_client_open(&c, &image, 2048);
	t_client_open(&flood, &image, 2048);
	before = t_stats(c.fd);
	load = t_score(flood.session, prompt, n_long, 7);
	load.job_class = BITNET_CLASS_BATCH;
	is(t_submit(flood.fd, &load, 1, &n), 0, "a batch job");
	job = realtime(c.session, t_tokens(T_N_GREEDY), 3000 * 1000 * MS, 100 * 1000 * MS, 1);
	is(t_run(&c.ring, &job, &results[0]), 0, "a realtime job");
	ok(t_same_tokens(&results[0], t_golden[0].greedy, t_tokens(T_N_GREEDY)), "golden text");
	for (i = 0; i < results[0].n; i++)
		late += results[0].token[i].flags & BITNET_ENTRY_F_LATE;
	is(late, 0, "no token is late");
	after = t_stats(c.fd);
	is(after.out_realtime_tokens - before.out_realtime_tokens, results[0].n,
	   "STATS counts realtime tokens");
	is(after.out_late - before.out_late, 0, "and late ones");

	/* One that cannot be on time, for its session is taken, is told so. */
	is(t_session_rewind(c.fd, c.session, 0), 0, "rewind");
	load = t_score(c.session, prompt, n_long / 2, 1);
	load.job_class = BITNET_CLASS_BATCH;
	is(t_submit(c.fd, &load, 1, &n), 0, "a job before it");
	job = realtime(c.session, 3, 50 * MS, 1000 * 1000 * MS, 2);
	n = 0;
	if (!t_submit(c.fd, &job, 1, &n) && n)
		is(t_collect(&c.ring, results, 2, 1), 0, "both end");
	t_client_close(&flood);
	t_client_close(&c);
}

/*
 * Two realtime jobs are parked, a third is queued behind the first. The process consumes without
 * telling, and cancels the first: the third is looked at, finds no room, and as it is parked the room
 * is seen. The second can run from then on, but is no claim of the situation looked at.
 */
static void check_parked(void)
{
	struct bitnet_job jobs[3];
	uint32_t other, i, room;
	struct t_client c;
	unsigned int round;

	t_client_open(&c, &image, 8);
	must(t_session_open(c.fd, c.model, 0, &other));
	for (round = 0; round < 5; round++) {
		must(t_session_rewind(c.fd, c.session, 0));
		must(t_session_rewind(c.fd, other, 0));
		jobs[0] = realtime(c.session, 200, LATER, LATER, 1);
		jobs[1] = realtime(c.session, 2, LATER, LATER, 2);
		jobs[2] = realtime(other, 9, LATER, LATER, 3);
		must(t_submit(c.fd, jobs, 3, NULL));
		while (t_stats(c.fd).out_parked < 2)
			t_sleep_ns(MS);
		room = t_ring_pending(&c.ring);
		__atomic_store_n(&c.ring.header->head, c.ring.header->head + room,
				 __ATOMIC_RELEASE);
		must(t_cancel(c.fd, 1, NULL));
		t_sleep_ns(20 * MS);
		/* What was made so far is gone: only the ends are counted. */
		for (i = 0; i < 3;) {
			struct bitnet_ring_entry e;

			must(t_ring_wait(&c.ring, &e));
			i += e.kind != BITNET_ENTRY_TOKEN;
		}
	}
	is(round, 5, "realtime jobs whose room is seen as another one is parked");
	t_client_close(&c);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint64_t seed = 5;
	struct t_client c;
	uint32_t i;

	image = t_image_demo();
	if (!t_is_uml())
		n_long = 100;
	for (i = 0; i < LONG; i++)
		prompt[i] = t_random(&seed) % T_DEMO_VOCAB;
	t_client_open(&c, &image, 2048);
	check_fields(&c);
	check_batch();
	check_cancel();
	check_admission(&c);
	t_client_close(&c);
	check_realtime();
	check_parked();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

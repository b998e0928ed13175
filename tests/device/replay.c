// SPDX-License-Identifier: GPL-2.0
/*
 * replay.c - what the module's workers decided, as its tracepoints tell it, is what the simulated
 * machine decides that is told the same: who is accepted, whose rows a step gets, before which
 * layer it yields, which one goes on
 *
 * The trace gives arrivals, times and costs. The rest - claims, what users have attained, what is
 * owed to BATCH jobs - the machine keeps by itself, and that has to agree too.
 */
#include <signal.h>
#include <sys/wait.h>

#include "tracing.h"
#include "support/sched_machine.h"

#define NAME		"replay"
#define MS		1000000ULL
#define CLIENTS		6
#define MAX_JOBS	20000
#define MAX_ACCOUNTS	64
#define MOST_PASSES	8	/* each with CLIENTS processes */
#define PROMPT		400

static uint32_t prompt[PROMPT];

/* ---- clients that give it something to decide ------------------------------------------------ */

struct client {
	int fd;
	uint32_t session[2];
	uint64_t seed;
	struct t_ring ring;
};

static volatile int *stop;
static uint32_t n_rounds;

static void client_start(struct client *c, uid_t uid)
{
	uint32_t model;

	t_drop_privileges(uid, T_GID_BITNET);
	c->seed = uid;
	c->fd = t_open();
	if (t_model_open(c->fd, NAME, &model))
		_exit(2);
	for (int i = 0; i < 2; i++)
		if (t_session_open(c->fd, model, T_DEMO_CTX, &c->session[i]))
			_exit(3);
	t_ring_open(&c->ring, c->fd, 8192, 0);
}

static void drain(struct client *c)
{
	struct bitnet_ring_entry e;

	while (t_stats(c->fd).out_jobs)
		t_sleep_ns(MS / 4);
	while (t_ring_next(&c->ring, &e))
		;
	for (int i = 0; i < 2; i++)
		if (t_session_rewind(c->fd, c->session[i], 0))
			_exit(4);
}

/* Two sessions at a time, long prompts; now and then given up. */
static void batch_client(struct client *c)
{
	struct bitnet_job job;

	while (!*stop) {
		for (int i = 0; i < 2; i++) {
			uint32_t n = 50 + t_random(&c->seed) % (PROMPT - 50);

			job = t_random(&c->seed) % 2 ? t_score(c->session[i], prompt, n, i) :
						       t_generate(c->session[i], prompt, n, 5, i);
			job.job_class = BITNET_CLASS_BATCH;
			if (t_submit(c->fd, &job, 1, NULL))
				_exit(5);
		}
		t_sleep_ns(t_random(&c->seed) % (4 * MS));
		if (t_random(&c->seed) % 4 == 0)
			t_cancel(c->fd, t_random(&c->seed) % 2, NULL);
		drain(c);
	}
}

static void interactive_client(struct client *c)
{
	struct bitnet_job job;

	while (!*stop) {
		job = t_generate(c->session[0], prompt, 1 + t_random(&c->seed) % 30,
				 1 + t_random(&c->seed) % 20, 1);
		if (t_submit(c->fd, &job, 1, NULL))
			_exit(6);
		if (t_random(&c->seed) % 8 == 0)
			t_cancel(c->fd, 1, NULL);
		drain(c);
		/* At times realtime jobs that are ahead of their time have only BATCH jobs beside them. */
		t_sleep_ns(t_random(&c->seed) % ((t_random(&c->seed) % 4 ? 3 : 60) * MS));
	}
}

/* One session, at rates from leisurely to impossible. */
static void realtime_client(struct client *c, uint32_t rounds)
{
	uint64_t period = 10 * MS;

	while (rounds--) {
		struct bitnet_job job = t_generate(c->session[0], prompt,
						   1 + t_random(&c->seed) % 20,
						   1 + t_random(&c->seed) % 30, 1);
		struct bitnet_submit submit = {
			.size = sizeof(submit),
			.jobs = t_pointer(&job),
			.count = 1,
			.job_size = sizeof(job),
		};

		job.job_class = BITNET_CLASS_REALTIME;
		job.period_ns = period;
		job.first_token_ns = 40 * period;
		if (t_ioctl(c->fd, BITNET_IOC_SUBMIT, &submit))
			_exit(7);
		/* Longer when refused, shorter when accepted. */
		period = submit.out_accepted ? period * 4 / 5 + 20000 : period * 2;
		if (t_random(&c->seed) % 6 == 0)
			t_cancel(c->fd, 1, NULL);
		drain(c);
	}
}

static pid_t start(int i)
{
	struct client c = { 0 };
	pid_t pid;

	pid = t_fork();
	if (pid)
		return pid;
	client_start(&c, 3000 + (i < 4 ? i : i - 1));
	if (i < 2)
		realtime_client(&c, n_rounds);
	else if (i < 3)
		batch_client(&c);
	else
		interactive_client(&c);
	_exit(0);
}

/* ---- the trace ------------------------------------------------------------------------------- */

/* ---- deciding again -------------------------------------------------------------------------- */

struct account {
	uint64_t id, floor;
	u64 ns;
};

static struct {
	struct machine m;
	struct account user[MAX_ACCOUNTS], process[MAX_ACCOUNTS];
	uint64_t floor, now;
	bool yielding;
	uint32_t at_grant, n_grants;
	uint64_t wrong, admits, refusals, plans, claims, yields, stays, resumed, grants, shared;
} again;

static void compare(uint64_t ours, uint64_t theirs, const char *what, const char *line)
{
	if (ours == theirs)
		return;
	if (!again.wrong++)
		diag("%s: %llu, the module has %llu: %s", what, (unsigned long long)ours,
		     (unsigned long long)theirs, line);
}

static struct account *account_of(struct account *accounts, uint64_t id)
{
	for (int i = 0; i < MAX_ACCOUNTS; i++) {
		if (!accounts[i].id)
			accounts[i].id = id + 1;
		if (accounts[i].id == id + 1)
			return &accounts[i];
	}
	bail("too many users or processes");
}

static struct machine_job *job_add(uint64_t file)
{
	struct machine_job *j = &again.m.job[again.m.n_jobs++];

	if (again.m.n_jobs > MAX_JOBS)
		bail("too many jobs");
	*j = (struct machine_job){ .id = ~0ULL };
	j->process_ns = &account_of(again.process, file)->ns;
	return j;
}

/* The last one first: most jobs of a trace are over. */
static struct machine_job *job_find(uint64_t id)
{
	for (uint32_t i = again.m.n_jobs; i--;)
		if (again.m.job[i].id == id)
			return &again.m.job[i];
	return NULL;
}

static void on_cost(const char *line)
{
	struct bn_costs *c = &again.m.costs;
	u64 *const arrays[] = { c->layer, c->layers, c->head, c->usual };
	uint64_t what = t_trace_field(line, "what"), ns = t_trace_field(line, "ns");
	uint32_t rows = t_trace_field(line, "rows");

	if (!rows)
		arrays[what][BN_SCHED_SIZES] = ns;
	else if (arrays[what] == c->usual)
		bn_costs_add_usual(c->usual, rows, ns);
	else
		bn_costs_add(arrays[what], rows, ns);
}

static void on_admit(const char *line)
{
	struct machine_job *j = job_add(t_trace_field(line, "file"));
	uint64_t now = t_trace_field(line, "now_ns");
	u64 load;

	j->job_class = BITNET_CLASS_REALTIME;
	j->wants = t_trace_field(line, "wants");
	j->period = t_trace_field(line, "period_ns");
	j->release = now;
	j->due = now + t_trace_field(line, "first_ns");
	compare(machine_admit(&again.m, j, now, t_trace_field(line, "piece_ns"), t_trace_field(line, "busy_ns"),
			      &load), t_trace_field(line, "verdict"), "verdict", line);
	compare(load > UINT32_MAX ? UINT32_MAX : load, t_trace_field(line, "load_ppm"), "load", line);
	again.admits += !t_trace_field(line, "verdict");
	again.refusals += !!t_trace_field(line, "verdict");
	j->state = t_trace_field(line, "verdict") ? MACHINE_OVER : MACHINE_PREPARED;
}

/* Each process has one REALTIME job at a time. */
static void on_submit(const char *line)
{
	const u64 *process = &account_of(again.process, t_trace_field(line, "file"))->ns;

	for (uint32_t i = again.m.n_jobs; i--;) {
		struct machine_job *j = &again.m.job[i];

		if (j->state == MACHINE_PREPARED && j->process_ns == process) {
			j->id = t_trace_field(line, "job");
			return;
		}
	}
}

/* What a step has left of a job's rows */
static void after_step(struct machine_job *j, const char *line)
{
	const struct machine_step *s = &again.m.step;
	uint32_t granted = 0;

	for (uint32_t i = 0; i < s->n && !again.yielding; i++)
		if (s->job[i] == j)
			granted = s->granted[i];
	if (granted == j->wants && granted)
		j->decoding = true;
	j->wants -= granted;
	if (!j->wants)
		j->wants = 1;
	compare(j->wants, t_trace_field(line, "wants"), "rows that it wants", line);
	compare(j->decoding, t_trace_field(line, "decoding"), "decoding", line);
}

static void on_ready(const char *line)
{
	struct account *user = account_of(again.user, t_trace_field(line, "user"));
	struct account *process = account_of(again.process, t_trace_field(line, "file"));
	struct machine_job *j = job_find(t_trace_field(line, "job"));
	bool idle = true;

	for (uint32_t i = 0; i < again.m.n_jobs; i++)
		if (again.m.job[i].state == MACHINE_READY && again.m.job[i].user_ns == &user->ns)
			idle = false;
	if (idle && user->ns < again.floor)
		user->ns = again.floor;
	if (process->ns < user->floor)
		process->ns = user->floor;
	compare(user->ns, t_trace_field(line, "user_ns"), "what the user has attained", line);
	compare(process->ns, t_trace_field(line, "file_ns"), "what the process has attained", line);
	if (j) {
		after_step(j, line);
	} else {
		j = job_add(t_trace_field(line, "file"));
		j->id = t_trace_field(line, "job");
		j->wants = t_trace_field(line, "wants");
		j->job_class = t_trace_field(line, "job_class");
		j->scores = t_trace_field(line, "kind") == BITNET_JOB_SCORE;
	}
	if (j->job_class == BITNET_CLASS_REALTIME) {
		compare(j->release, t_trace_field(line, "release_ns"), "release", line);
		compare(j->due, t_trace_field(line, "due_ns"), "due time", line);
	}
	j->user = t_trace_field(line, "user");
	j->user_ns = &user->ns;
	j->state = MACHINE_READY;
}

static void on_token(const char *line)
{
	struct machine_job *j = job_find(t_trace_field(line, "job"));

	if (j && j->job_class == BITNET_CLASS_REALTIME)
		machine_token_time(j, again.now);
}

static void on_done(const char *line)
{
	struct machine_job *j = job_find(t_trace_field(line, "job"));

	if (j)
		j->state = MACHINE_OVER;
}

static void on_charge(const char *line)
{
	struct machine_job *j = job_find(t_trace_field(line, "job"));

	if (!j)
		bail("nobody knows the job of: %s", line);
	*j->user_ns += t_trace_field(line, "ns");
	*j->process_ns += t_trace_field(line, "ns");
}

static void on_account(const char *line)
{
	again.now = t_trace_field(line, "now_ns");
	machine_account(&again.m, t_trace_field(line, "ns"));
	compare(again.m.sched.owed, t_trace_field(line, "owed_ns"), "owed to batch jobs", line);
}

static void on_layer(const char *line)
{
	bool yields = t_trace_field(line, "yields");

	again.m.step.layer = t_trace_field(line, "layer");
	compare(machine_yields(&again.m, t_trace_field(line, "now_ns")), yields, "yields", line);
	again.yielding = yields;
	again.yields += yields;
	again.stays += !yields;
}

/* As worker.c: who was idle starts where those are who are served. */
static void raise_floors(const struct machine_step *s)
{
	if (s->rank == BN_RANK_INTERACTIVE || s->rank == BN_RANK_BATCH)
		if (again.floor < *s->job[0]->user_ns)
			again.floor = *s->job[0]->user_ns;
	for (uint32_t i = 0; i < s->n; i++) {
		struct account *user = account_of(again.user, s->job[i]->user);

		if (user->floor < *s->job[i]->process_ns)
			user->floor = *s->job[i]->process_ns;
	}
}

static void on_plan(const char *line)
{
	const struct machine_step *s = &again.m.step;
	enum bn_aside place;

	compare(again.at_grant, again.n_grants, "rows granted", line);
	if (again.yielding)
		machine_put_aside(&again.m);
	again.yielding = false;
	place = machine_choose(&again.m, t_trace_field(line, "now_ns"));
	compare(place, t_trace_field(line, "resumed"), "goes on", line);
	again.at_grant = 0;
	again.n_grants = place == BN_ASIDE_NONE ? s->n : 0;
	compare(again.n_grants && again.m.sched.claim, t_trace_field(line, "claim"), "is for a claim", line);
	compare(again.n_grants, t_trace_field(line, "jobs"), "jobs", line);
	if (again.n_grants)
		raise_floors(s);
	again.plans += !!again.n_grants;
	again.shared += again.n_grants > 1;
	again.claims += again.n_grants && again.m.sched.claim;
	again.resumed += place != BN_ASIDE_NONE;
}

static void on_grant(const char *line)
{
	const struct machine_step *s = &again.m.step;

	if (again.at_grant == again.n_grants) {
		compare(0, 1, "rows for a job too many", line);
		return;
	}
	compare(s->job[again.at_grant]->id, t_trace_field(line, "job"), "whose rows", line);
	compare(s->granted[again.at_grant++], t_trace_field(line, "rows"), "how many rows", line);
	again.grants++;
}

static void on_park(const char *line)
{
	bail("a ring was full, and it is not known when it had room again: %s", line);
}

static void replay(const char *event)
{
	static const struct {
		const char *name;
		void (*fn)(const char *event);
	} events[] = {
		{ "bitnet_sched_cost:", on_cost }, { "bitnet_admit:", on_admit },
		{ "bitnet_job_submit:", on_submit }, { "bitnet_sched_ready:", on_ready },
		{ "bitnet_token:", on_token }, { "bitnet_job_done:", on_done },
		{ "bitnet_sched_charge:", on_charge }, { "bitnet_sched_account:", on_account },
		{ "bitnet_sched_layer:", on_layer }, { "bitnet_sched_plan:", on_plan },
		{ "bitnet_sched_grant:", on_grant }, { "bitnet_sched_park:", on_park },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(events); i++)
		if (!strncmp(event, events[i].name, strlen(events[i].name)))
			events[i].fn(event);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* With a module that has just been loaded: nobody has attained anything. */
static void load_anew(void)
{
	int fd = open(getenv("BITNET_MODULE") ?: "/modules/bitnet.ko", O_RDONLY | O_CLOEXEC);

	if (syscall(SYS_delete_module, "bitnet", O_NONBLOCK))
		bail("rmmod: %s", strerror(errno));
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		bail("insmod: %s", strerror(errno));
	close(fd);
	if (chown("/dev/bitnet", 0, T_GID_BITNET) || chmod("/dev/bitnet", 0660))
		bail("/dev/bitnet: %s", strerror(errno));
}

/* Return: how many could not go on */
static int run_clients(void)
{
	pid_t pids[CLIENTS];
	int failed = 0, status;

	*stop = 0;
	for (int i = 0; i < CLIENTS; i++)
		pids[i] = start(i);
	for (int i = 0; i < CLIENTS; i++) {
		waitpid(pids[i], &status, 0);
		failed += status != 0;
		/* The first two decide how long it takes. */
		*stop = i >= 1;
	}
	return failed;
}

static bool all_decided(void)
{
	return again.admits && again.refusals && again.claims && again.shared && again.yields &&
	       again.stays && again.resumed;
}

int main(void)
{
	struct bitnet_model_info info = { .size = sizeof(info) };
	struct t_image image;
	uint64_t seed = 9;
	bool whole = true;
	int fd, failed = 0;
	uint32_t id;

	if (!t_can_trace())
		skip_all("no tracing in this kernel");
	n_rounds = t_release_size() ? 400 : t_is_uml() ? 60 : 5;
	t_figure(n_rounds, t_size(n_rounds, 400), "jobs of a replayed client");
	load_anew();
	stop = mmap(NULL, T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (uint32_t i = 0; i < PROMPT; i++)
		prompt[i] = t_random(&seed) % T_DEMO_VOCAB;
	image = t_image_demo();
	again.m.sched.floor_ppm = 50000;	/* as the module starts with */
	again.m.job = calloc(MAX_JOBS, sizeof(*again.m.job));
	if (!again.m.job)
		bail("no memory");
	t_trace_start("24576");
	fd = t_open();
	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "a shared model");
	info.model_id = id;
	is(t_ioctl(fd, BITNET_IOC_MODEL_INFO, &info), 0, "MODEL_INFO");
	again.m.layers = info.out_n_layers;
	/* Few jobs do not give it everything to decide; then more come. */
	for (int i = 0; i < MOST_PASSES && !all_decided(); i++) {
		if (i)
			t_trace_go_on();
		failed += run_clients();
		t_trace_stop();
		whole &= t_trace_read(replay);
	}
	is(failed, 0, "all clients went on");
	ok(whole, "the trace is whole");
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	t_trace_reset();
	ok(again.admits && again.refusals, "%llu jobs were accepted, %llu refused",
	   (unsigned long long)again.admits, (unsigned long long)again.refusals);
	ok(again.claims && again.claims < again.plans, "%llu steps, %llu of them for claims",
	   (unsigned long long)again.plans, (unsigned long long)again.claims);
	ok(again.shared && again.grants > again.plans, "%llu were shared",
	   (unsigned long long)again.shared);
	ok(again.yields && again.stays, "of %llu layers, %llu made their step yield",
	   (unsigned long long)(again.yields + again.stays), (unsigned long long)again.yields);
	ok(again.resumed, "%llu steps went on later", (unsigned long long)again.resumed);
	is(again.wrong, 0, "every decision is the same");
	free(again.m.job);
	return done();
}

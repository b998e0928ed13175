// SPDX-License-Identifier: GPL-2.0
/*
 * sched_sim.c - the policy in a machine that is only simulated: random sets of jobs, steps that take
 * at most what the cost model says. No accepted deadline is missed, nobody starves.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bitnet.h>

#include "bn_sched.h"
#include "tap.h"

#define JOBS	24
#define LAYERS	6
#define NEVER	(~0ULL)

struct sim_job {
	uint32_t job_class, user, prompt, tokens, fed, made;
	uint64_t arrives, first, period, release, due, attained, done_at, waited_since;
	bool accepted, running, over;
	struct bn_demand *demand;
};

struct sim_step {
	uint32_t n, layer, rows, slots;
	struct sim_job *job[JOBS];
	uint32_t granted[JOBS];
	enum bn_rank rank;
};

static struct {
	uint64_t random, now, busy;
	struct bn_costs costs;
	struct bn_sched sched;
	struct bn_demand demand[JOBS];
	struct sim_job job[JOBS];
	uint32_t n_jobs;
	uint64_t attained[JOBS];	/* of users */
	struct sim_step aside[BN_ASIDES];
	uint64_t late, tokens, yields, refused, accepted, batch_ns, batch_gap, worst_gap;
} sim;

static uint64_t rnd(void)
{
	uint64_t z = sim.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint64_t between(uint64_t low, uint64_t high)
{
	return low + rnd() % (high - low + 1);
}

/* A machine: each row adds something to what a step takes anyway. */
static void make_costs(void)
{
	uint64_t base = between(1000, 100000), row = between(base / 50, base);
	uint64_t head = between(base, 10 * base);

	memset(&sim.costs, 0, sizeof(sim.costs));
	for (uint32_t i = 0; i < BN_SCHED_SIZES; i++) {
		sim.costs.layer[i] = base + (row << i);
		sim.costs.layers[i] = LAYERS * sim.costs.layer[i];
		sim.costs.head[i] = head + (row << i);
	}
}

static uint64_t wants(const struct sim_job *j)
{
	return j->fed < j->prompt ? j->prompt - j->fed : 1;
}

static void demand_of(const struct sim_job *j, struct bn_demand *d)
{
	*d = (struct bn_demand){ .release = j->release, .due = j->due,
				 .token = bn_costs_step(&sim.costs, 1, 1), .period = j->period };
	d->left = j->fed < j->prompt ? bn_costs_prompt(&sim.costs, wants(j)) : d->token;
}

static bool there(const struct sim_job *j)
{
	return j->arrives <= sim.now && !j->over && j->accepted;
}

/* As the module does it: accepted realtime jobs, and who could run */
static void look(struct bn_sched_waiting *waiting)
{
	memset(waiting, 0, sizeof(*waiting));
	sim.sched.now = sim.now;
	sim.sched.demand = sim.demand;
	sim.sched.n_demand = 0;
	for (uint32_t i = 0; i < sim.n_jobs; i++) {
		struct sim_job *j = &sim.job[i];

		if (!there(j))
			continue;
		if (j->job_class == BITNET_CLASS_REALTIME) {
			j->demand = &sim.demand[sim.sched.n_demand++];
			demand_of(j, j->demand);
			waiting->ahead = true;
			waiting->realtime |= !j->running && j->release <= sim.now;
		} else if (j->job_class == BITNET_CLASS_INTERACTIVE) {
			waiting->interactive |= !j->running;
		}
	}
}

static void arrive(struct sim_job *j)
{
	struct bn_demand demand[JOBS];
	uint64_t piece = bn_costs_of(sim.costs.layer, 1);
	u64 load;
	uint32_t n = 0;

	if (j->job_class != BITNET_CLASS_REALTIME) {
		j->accepted = true;
		return;
	}
	for (uint32_t i = 0; i < sim.n_jobs; i++)
		if (there(&sim.job[i]) && sim.job[i].job_class == BITNET_CLASS_REALTIME)
			demand_of(&sim.job[i], &demand[n++]);
	j->release = sim.now;
	j->due = sim.now + j->first;
	demand_of(j, &demand[n++]);
	if (bn_costs_of(sim.costs.head, 1) > piece)
		piece = bn_costs_of(sim.costs.head, 1);
	j->accepted = bn_sched_admit(demand, n, sim.now, piece, sim.busy, sim.sched.floor_ppm,
				     &load) == BN_ADMITTED;
	j->over = !j->accepted;
	sim.accepted += j->accepted;
	sim.refused += !j->accepted;
}

/* Time passes; who comes meanwhile is there then. */
static void pass(uint64_t ns, const struct sim_step *step)
{
	uint64_t end = sim.now + ns, batch = 0;
	bool waits = false;

	if (step) {
		for (uint32_t i = 0; i < step->n; i++) {
			uint64_t share = ns * step->granted[i] / step->rows;

			sim.attained[step->job[i]->user] += share;
			step->job[i]->attained += share;
			if (step->job[i]->job_class == BITNET_CLASS_BATCH)
				batch += share;
		}
	}
	for (uint32_t i = 0; i < sim.n_jobs; i++)
		waits |= there(&sim.job[i]) && sim.job[i].job_class == BITNET_CLASS_BATCH;
	bn_sched_account(&sim.sched, ns, batch, waits);
	sim.batch_ns += batch;
	sim.batch_gap = waits && !batch ? sim.batch_gap + ns : 0;
	if (sim.batch_gap > sim.worst_gap)
		sim.worst_gap = sim.batch_gap;
	for (uint32_t i = 0; i < sim.n_jobs; i++) {
		struct sim_job *j = &sim.job[i];

		if (j->over || j->accepted || j->arrives > end)
			continue;
		/* Realtime time starts when it comes, in the middle of whatever is computed. */
		sim.now = j->arrives > sim.now ? j->arrives : sim.now;
		arrive(j);
	}
	sim.now = end;
}

static void finish(struct sim_step *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_job *j = s->job[i];
		bool token = wants(j) == s->granted[i];

		j->running = false;
		if (j->fed < j->prompt)
			j->fed += s->granted[i];
		if (!token)
			continue;
		sim.tokens++;
		if (j->job_class == BITNET_CLASS_REALTIME) {
			if (sim.now > j->due)
				sim.late++;
			j->due = (sim.now > j->due ? sim.now : j->due) + j->period;
			j->release = j->due - j->period;
		}
		if (++j->made == j->tokens) {
			j->over = true;
			j->done_at = sim.now;
		}
	}
}

static uint64_t piece_of(const struct sim_step *s)
{
	return s->layer < LAYERS ? bn_costs_of(sim.costs.layer, s->rows) :
				   bn_costs_of(sim.costs.head, s->slots);
}

/* Layer after layer, until it is finished or has to wait. */
static void compute(struct sim_step *s)
{
	struct bn_sched_waiting waiting;

	for (;;) {
		uint64_t worst = piece_of(s);

		sim.busy = s->rank == BN_RANK_REALTIME ?
			   bn_costs_step(&sim.costs, s->rows, s->slots) : worst;
		if (s->layer < LAYERS || s->slots)
			pass(between(worst / 2, worst), s);
		if (s->layer++ == LAYERS || (s->layer == LAYERS && !s->slots))
			break;
		look(&waiting);
		if (!bn_sched_yields(&sim.sched, s->rank, piece_of(s), &waiting))
			continue;
		sim.yields++;
		uint32_t kept = 0;

		for (uint32_t i = 0; i < s->n; i++) {
			if (s->job[i]->job_class == BITNET_CLASS_REALTIME) {
				s->job[i]->running = false;
				continue;
			}
			s->job[kept] = s->job[i];
			s->granted[kept++] = s->granted[i];
		}
		s->n = kept;
		if (kept)
			sim.aside[s->rank == BN_RANK_INTERACTIVE ? BN_ASIDE_INTERACTIVE :
								   BN_ASIDE_BATCH] = *s;
		return;
	}
	finish(s);
}

static bool candidate(struct sim_job *j, struct bn_sched_cand *c)
{
	if (!there(j) || j->running)
		return false;
	*c = (struct bn_sched_cand){
		.model = &sim, .costs = &sim.costs, .user = j->user + 1,
		.user_attained = sim.attained[j->user], .job_attained = j->attained,
		.arrival = (uint64_t)(j - sim.job), .wants = (uint32_t)wants(j),
		.decoding = j->fed >= j->prompt, .job_class = j->job_class,
		.demand = j->job_class == BITNET_CLASS_REALTIME ? j->demand : NULL, .job = j,
	};
	return true;
}

/* Return: false if nobody is there to compute for. */
static bool next_step(void)
{
	struct bn_sched_cand cand[JOBS];
	struct bn_sched_waiting waiting;
	u64 piece[BN_ASIDES];
	struct sim_step step = { 0 };
	enum bn_aside place;
	uint32_t n = 0;

	look(&waiting);
	for (uint32_t i = 0; i < sim.n_jobs; i++)
		n += candidate(&sim.job[i], &cand[n]);
	for (uint32_t i = 0; i < BN_ASIDES; i++)
		piece[i] = sim.aside[i].n ? piece_of(&sim.aside[i]) : NEVER;
	place = bn_sched_take_up(&sim.sched, piece, cand, &n, &waiting);
	if (place != BN_ASIDE_NONE) {
		step = sim.aside[place];
		sim.aside[place].n = 0;
		compute(&step);
		return true;
	}
	n = bn_sched_plan(&sim.sched, cand, n);
	if (!n)
		return false;
	step.rank = sim.sched.claim ? BN_RANK_REALTIME :
		    bn_sched_rank(&sim.sched, cand[0].job_class, cand[0].demand);
	if (step.rank != BN_RANK_REALTIME &&
	    sim.aside[step.rank == BN_RANK_INTERACTIVE ? BN_ASIDE_INTERACTIVE : BN_ASIDE_BATCH].n)
		bail("a step is started that could not be put aside");
	for (uint32_t i = 0; i < n; i++) {
		struct sim_job *j = cand[i].job;

		j->running = true;
		step.job[i] = j;
		step.granted[i] = cand[i].rows;
		step.rows += cand[i].rows;
		step.slots += cand[i].rows == cand[i].wants;
	}
	step.n = n;
	if (step.rows > BN_MAX_ROWS)
		bail("%u rows", step.rows);
	compute(&step);
	return true;
}

static void make_job(struct sim_job *j, uint64_t token)
{
	*j = (struct sim_job){
		.job_class = (uint32_t)between(0, 2), .user = (uint32_t)between(0, 3),
		.prompt = (uint32_t)between(1, rnd() % 4 ? 20 : 300),
		.tokens = (uint32_t)between(1, 60), .arrives = between(0, 300 * token),
	};
	if (j->job_class != BITNET_CLASS_REALTIME)
		return;
	j->period = between(token, 20 * token);
	j->first = between(token, 100 * token);
}

static uint64_t unfinished(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < sim.n_jobs; i++)
		n += !sim.job[i].over;
	return n;
}

static void run_set(uint64_t seed)
{
	uint64_t end, token;

	memset(sim.job, 0, sizeof(sim.job));
	memset(sim.attained, 0, sizeof(sim.attained));
	memset(sim.aside, 0, sizeof(sim.aside));
	sim.random = seed;
	sim.now = sim.batch_gap = 0;
	make_costs();
	token = bn_costs_step(&sim.costs, 1, 1);
	sim.sched = (struct bn_sched){ .floor_ppm = 50000 };
	sim.n_jobs = (uint32_t)between(1, JOBS);
	for (uint32_t i = 0; i < sim.n_jobs; i++)
		make_job(&sim.job[i], token);
	pass(0, NULL);
	/* All that was asked for, one row after the other, would take no longer than this. */
	end = 300 * token;
	for (uint32_t i = 0; i < sim.n_jobs; i++)
		end += (sim.job[i].prompt + sim.job[i].tokens + 1ULL) * token * 2;
	while (sim.now < end && unfinished()) {
		if (next_step())
			continue;
		sim.busy = token;	/* it looks again after that time */
		pass(token, NULL);
	}
}

int main(void)
{
	const char *size = getenv("BITNET_TEST_SIZE");
	uint64_t sets = size && !strcmp(size, "release") ? 1000000 : 20000, left = 0, first_late = 0;

	for (uint64_t seed = 1; seed <= sets; seed++) {
		uint64_t late = sim.late;

		run_set(seed);
		left += unfinished();
		if (late != sim.late && !first_late)
			first_late = seed;
	}
	diag("%llu tokens, %llu yields, %llu realtime jobs accepted, %llu refused",
	     (unsigned long long)sim.tokens, (unsigned long long)sim.yields,
	     (unsigned long long)sim.accepted, (unsigned long long)sim.refused);
	ok(sim.accepted > sets && sim.refused > sets / 4 && sim.yields > sets, "all of it happened");
	is(sim.late, 0, "no accepted deadline is missed in %llu sets of jobs (first: set %llu)",
	   (unsigned long long)sets, (unsigned long long)first_late);
	is(left, 0, "and every job ends in time");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * sched_sim.c - the policy in a machine that is only simulated: random sets of jobs, steps that take
 * at most what the cost model says. No accepted deadline is missed, nobody starves.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bitnet.h>

#include "support/sched_machine.h"
#include "size.h"
#include "tap.h"

#define JOBS	24
#define LAYERS	6

/* A job's plan, and how far it is; the rest of it is in the machine, at the same place. */
struct sim_job {
	uint32_t prompt, tokens, fed, made;
	uint64_t arrives, first;
	u64 attained;
};

static struct {
	uint64_t random, now, busy;
	struct machine m;
	struct machine_job job[JOBS];
	struct sim_job plan[JOBS];
	u64 attained[JOBS];		/* of users */
	uint64_t late, tokens, yields, refused, accepted;
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
static void make_costs(struct bn_costs *c)
{
	uint64_t base = between(1000, 100000), row = between(base / 50, base);
	uint64_t head = between(base, 10 * base);

	for (uint32_t i = 0; i < BN_SCHED_SIZES; i++) {
		c->layer[i] = base + (row << i);
		c->layers[i] = LAYERS * c->layer[i];
		c->head[i] = head + (row << i);
	}
}

static struct sim_job *plan_of(const struct machine_job *j)
{
	return &sim.plan[j - sim.job];
}

static void set_wants(struct machine_job *j)
{
	const struct sim_job *p = plan_of(j);

	j->wants = p->fed < p->prompt ? p->prompt - p->fed : 1;
	j->decoding = p->fed >= p->prompt;
}

static void arrive(struct machine_job *j)
{
	uint64_t piece = bn_costs_of(sim.m.costs.layer, 1);
	uint64_t head = bn_costs_of(sim.m.costs.head, 1);
	u64 load;

	j->state = MACHINE_READY;
	if (j->job_class != BITNET_CLASS_REALTIME)
		return;
	j->release = sim.now;
	j->due = sim.now + plan_of(j)->first;
	if (machine_admit(&sim.m, j, sim.now, head > piece ? head : piece, sim.busy, &load)) {
		j->state = MACHINE_OVER;
		sim.refused++;
	} else {
		sim.accepted++;
	}
}

/* Time passes; who comes meanwhile is there then. */
static void pass(uint64_t ns)
{
	const struct machine_step *s = &sim.m.step;
	uint64_t end = sim.now + ns;

	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t share = ns * s->granted[i] / s->rows;

		*s->job[i]->user_ns += share;
		*s->job[i]->process_ns += share;
	}
	machine_account(&sim.m, ns);
	for (uint32_t i = 0; i < sim.m.n_jobs; i++) {
		uint64_t arrives = sim.plan[i].arrives;

		if (sim.job[i].state != MACHINE_AWAY || arrives > end)
			continue;
		/* Realtime time starts when it comes, in the middle of whatever is computed. */
		sim.now = arrives > sim.now ? arrives : sim.now;
		arrive(&sim.job[i]);
	}
	sim.now = end;
}

static void finish(void)
{
	const struct machine_step *s = &sim.m.step;

	for (uint32_t i = 0; i < s->n; i++) {
		struct machine_job *j = s->job[i];
		struct sim_job *p = plan_of(j);
		bool token = j->wants == s->granted[i];

		j->state = MACHINE_READY;
		if (p->fed < p->prompt)
			p->fed += s->granted[i];
		set_wants(j);
		if (!token)
			continue;
		sim.tokens++;
		if (j->job_class == BITNET_CLASS_REALTIME)
			sim.late += machine_token_time(j, sim.now);
		if (++p->made == p->tokens)
			j->state = MACHINE_OVER;
	}
}

/* Layer after layer, until it is finished or has to wait. */
static void compute(void)
{
	struct machine_step *s = &sim.m.step;

	for (;;) {
		uint64_t worst = machine_piece(&sim.m);

		sim.busy = s->rank == BN_RANK_REALTIME ?
			   bn_costs_step(&sim.m.costs, s->rows, s->slots) : worst;
		if (s->layer < LAYERS || s->slots)
			pass(between(worst / 2, worst));
		if (s->layer++ == LAYERS || (s->layer == LAYERS && !s->slots))
			break;
		if (!machine_yields(&sim.m, sim.now))
			continue;
		sim.yields++;
		machine_put_aside(&sim.m);
		return;
	}
	finish();
}

/* Return: false if nobody is there to compute for. */
static bool next_step(void)
{
	const struct machine_step *s = &sim.m.step;
	enum bn_aside place = machine_choose(&sim.m, sim.now);

	if (!s->n)
		return false;
	if (place == BN_ASIDE_NONE && s->rank != BN_RANK_REALTIME &&
	    sim.m.aside[s->rank == BN_RANK_INTERACTIVE ? BN_ASIDE_INTERACTIVE : BN_ASIDE_BATCH].n)
		bail("a step is started that could not be put aside");
	if (s->rows > BN_MAX_ROWS)
		bail("%u rows", s->rows);
	compute();
	return true;
}

static void make_job(uint32_t i, uint64_t token)
{
	struct machine_job *j = &sim.job[i];
	struct sim_job *p = &sim.plan[i];

	j->id = i;
	j->job_class = (uint32_t)between(0, 2);
	j->user = (uint32_t)between(0, 3);
	j->user_ns = &sim.attained[j->user];
	j->process_ns = &p->attained;
	p->prompt = (uint32_t)between(1, rnd() % 4 ? 20 : 300);
	p->tokens = (uint32_t)between(1, 60);
	p->arrives = between(0, 300 * token);
	set_wants(j);
	if (j->job_class != BITNET_CLASS_REALTIME)
		return;
	j->period = between(token, 20 * token);
	p->first = between(token, 100 * token);
}

static uint64_t unfinished(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < sim.m.n_jobs; i++)
		n += sim.job[i].state != MACHINE_OVER;
	return n;
}

static void run_set(uint64_t seed)
{
	uint64_t end, token;

	memset(sim.job, 0, sizeof(sim.job));
	memset(sim.plan, 0, sizeof(sim.plan));
	memset(sim.attained, 0, sizeof(sim.attained));
	sim.random = seed;
	sim.now = 0;
	sim.m = (struct machine){ .layers = LAYERS, .job = sim.job, .sched.floor_ppm = 50000 };
	make_costs(&sim.m.costs);
	token = bn_costs_step(&sim.m.costs, 1, 1);
	sim.m.n_jobs = (uint32_t)between(1, JOBS);
	for (uint32_t i = 0; i < sim.m.n_jobs; i++)
		make_job(i, token);
	pass(0);
	/* All that was asked for, one row after the other, would take no longer than this. */
	end = 300 * token;
	for (uint32_t i = 0; i < sim.m.n_jobs; i++)
		end += (sim.plan[i].prompt + sim.plan[i].tokens + 1ULL) * token * 2;
	while (sim.now < end && unfinished()) {
		if (next_step())
			continue;
		sim.busy = token;	/* it looks again after that time */
		pass(token);
	}
}

int main(void)
{
	uint64_t sets, seed, left = 0, first_late = 0;

	for (seed = 1; t_more(seed - 1, t_size(20000, 1000000), "sets of jobs"); seed++) {
		uint64_t late = sim.late;

		run_set(seed);
		left += unfinished();
		if (late != sim.late && !first_late)
			first_late = seed;
	}
	sets = seed - 1;
	diag("%llu tokens, %llu yields, %llu realtime jobs accepted, %llu refused",
	     (unsigned long long)sim.tokens, (unsigned long long)sim.yields,
	     (unsigned long long)sim.accepted, (unsigned long long)sim.refused);
	ok(sim.accepted > sets && sim.refused > sets / 4 && sim.yields > sets, "all of it happened");
	is(sim.late, 0, "no accepted deadline is missed in %llu sets of jobs (first: set %llu)",
	   (unsigned long long)sets, (unsigned long long)first_late);
	is(left, 0, "and every job ends in time");
	return done();
}

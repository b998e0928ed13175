// SPDX-License-Identifier: GPL-2.0
/*
 * sched_machine.c - see sched_machine.h
 */
#include <stdlib.h>
#include <string.h>

#include "sched_machine.h"

#define NEVER	(~0ULL)

static void demand_of(const struct machine *m, const struct machine_job *j, struct bn_demand *d)
{
	*d = (struct bn_demand){
		.release = j->release,
		.due = j->due,
		.token = bn_costs_step(&m->costs, 1, 1),
		.period = j->period,
	};
	d->left = j->decoding ? d->token : bn_costs_prompt(&m->costs, j->wants);
}

static bool is_realtime(const struct machine_job *j)
{
	return j->job_class == BITNET_CLASS_REALTIME;
}

static bool can_run(const struct machine_job *j)
{
	return j->state == MACHINE_READY || j->state == MACHINE_STEPPING;
}

static void look(struct machine *m, uint64_t now, struct bn_sched_waiting *waiting)
{
	memset(waiting, 0, sizeof(*waiting));
	m->sched.now = now;
	m->sched.demand = m->demand;
	m->sched.n_demand = 0;
	for (uint32_t i = 0; i < m->n_jobs; i++) {
		struct machine_job *j = &m->job[i];

		if (!can_run(j))
			continue;
		if (is_realtime(j)) {
			j->demand = &m->demand[m->sched.n_demand++];
			demand_of(m, j, j->demand);
			waiting->ahead = true;
			waiting->realtime |= j->state == MACHINE_READY && j->release <= now;
			waiting->interactive |= j->state == MACHINE_READY;
		} else if (j->job_class == BITNET_CLASS_INTERACTIVE) {
			waiting->interactive |= j->state == MACHINE_READY;
		}
	}
}

enum bn_refusal machine_admit(struct machine *m, struct machine_job *j, uint64_t now,
			      uint64_t piece, uint64_t busy, u64 *load_ppm)
{
	struct bn_demand demand[BN_SCHED_REALTIME + 1];
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_jobs && n < BN_SCHED_REALTIME; i++) {
		struct machine_job *other = &m->job[i];

		if (other != j && is_realtime(other) &&
		    (can_run(other) || other->state == MACHINE_PREPARED))
			demand_of(m, other, &demand[n++]);
	}
	demand_of(m, j, &demand[n++]);
	return bn_sched_admit(demand, n, now, piece, busy, m->sched.floor_ppm, load_ppm);
}

static uint64_t piece_of(const struct machine *m, const struct machine_step *s, uint32_t slots)
{
	return s->layer < m->layers ? bn_costs_of(m->costs.layer, s->rows) :
				      bn_costs_of(m->costs.head, slots);
}

uint64_t machine_piece(const struct machine *m)
{
	return piece_of(m, &m->step, m->step.slots);
}

bool machine_yields(struct machine *m, uint64_t now)
{
	struct bn_sched_waiting waiting;

	look(m, now, &waiting);
	return bn_sched_yields(&m->sched, m->step.rank, machine_piece(m), &waiting);
}

void machine_put_aside(struct machine *m)
{
	struct machine_step *s = &m->step, *to;

	to = &m->aside[s->rank == BN_RANK_INTERACTIVE ? BN_ASIDE_INTERACTIVE : BN_ASIDE_BATCH];
	*to = *s;
	to->n = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		struct machine_job *j = s->job[i];

		if (j->state != MACHINE_STEPPING || is_realtime(j)) {
			if (j->state == MACHINE_STEPPING)
				j->state = MACHINE_READY;
			continue;
		}
		to->job[to->n] = j;
		to->granted[to->n++] = s->granted[i];
	}
	s->n = 0;
}

void machine_account(struct machine *m, uint64_t ns)
{
	const struct machine_step *s = &m->step;
	uint64_t batch = 0;
	bool waits = m->aside[BN_ASIDE_BATCH].n;

	for (uint32_t i = 0; i < s->n; i++)
		if (s->job[i]->job_class == BITNET_CLASS_BATCH)
			batch += s->granted[i];
	waits |= batch;
	for (uint32_t i = 0; i < m->n_jobs && !waits; i++)
		waits = m->job[i].job_class == BITNET_CLASS_BATCH &&
			m->job[i].state == MACHINE_READY;
	bn_sched_account(&m->sched, ns, s->rows ? ns * batch / s->rows : 0, waits);
}

/* SCORE needs no logits of its very last row. */
static uint32_t slots_of(const struct machine_job *j, uint32_t rows)
{
	if (j->scores)
		return rows == j->wants ? rows - 1 : rows;
	return rows == j->wants;
}

static void add(struct machine_step *s, struct machine_job *j, uint32_t rows)
{
	j->state = MACHINE_STEPPING;
	s->job[s->n] = j;
	s->granted[s->n++] = rows;
	s->rows += rows;
	s->slots += slots_of(j, rows);
}

static void take_up(struct machine *m, enum bn_aside place)
{
	struct machine_step *from = &m->aside[place];

	m->step.layer = from->layer;
	m->step.rank = place == BN_ASIDE_BATCH ? BN_RANK_BATCH : BN_RANK_INTERACTIVE;
	for (uint32_t i = 0; i < from->n; i++)
		if (from->job[i]->state == MACHINE_STEPPING)
			add(&m->step, from->job[i], from->granted[i]);
	from->n = 0;
}

static uint32_t candidates(struct machine *m, struct bn_sched_cand *cand)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_jobs; i++) {
		struct machine_job *j = &m->job[i];

		if (j->state != MACHINE_READY)
			continue;
		if (n == MACHINE_CANDS)
			abort();	/* the module would leave some out */
		cand[n++] = (struct bn_sched_cand){
			.model = m,
			.costs = &m->costs,
			.user = j->user + 1,
			.user_attained = *j->user_ns,
			.job_attained = *j->process_ns,
			.arrival = j->id,
			.wants = j->wants,
			.slots_per_row = j->scores,
			.decoding = j->decoding,
			.job_class = j->job_class,
			.demand = is_realtime(j) ? j->demand : NULL,
			.job = j,
		};
	}
	return n;
}

/* Getting its rows back takes time too: less than a layer of them. */
static uint64_t aside_piece(const struct machine *m, const struct machine_step *s)
{
	uint64_t piece = piece_of(m, s, s->n), layer = bn_costs_of(m->costs.layer, s->rows);

	return piece > layer ? piece : layer;
}

enum bn_aside machine_choose(struct machine *m, uint64_t now)
{
	struct bn_sched_cand cand[MACHINE_CANDS];
	struct bn_sched_waiting waiting;
	u64 piece[BN_ASIDES];
	enum bn_aside place;
	uint32_t n, granted;

	memset(&m->step, 0, sizeof(m->step));
	look(m, now, &waiting);
	n = candidates(m, cand);
	for (uint32_t i = 0; i < BN_ASIDES; i++)
		piece[i] = m->aside[i].n ? aside_piece(m, &m->aside[i]) : NEVER;
	place = bn_sched_take_up(&m->sched, piece, cand, &n, &waiting);
	if (place != BN_ASIDE_NONE) {
		take_up(m, place);
		return place;
	}
	granted = bn_sched_plan(&m->sched, cand, n);
	if (!granted)
		return place;
	m->step.rank = m->sched.claim ? BN_RANK_REALTIME :
		       bn_sched_rank(&m->sched, cand[0].job_class, cand[0].demand);
	for (uint32_t i = 0; i < granted; i++)
		add(&m->step, cand[i].job, cand[i].rows);
	return place;
}

bool machine_token_time(struct machine_job *j, uint64_t now)
{
	bool late = now > j->due;

	j->due = (late ? now : j->due) + j->period;
	j->release = j->due - j->period;
	return late;
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_sched.c - deadlines first, then least attained service over users, processes, arrival
 */
#include "bn_sched.h"

#include <linux/bitnet.h>

#define PPM		1000000U
#define NEVER		(~0ULL)
#define OWED_MOST	1000000000ULL	/* BATCH jobs have no claim to more than this at once ... */
#define AHEAD_MOST	100000000ULL	/* ... and pay back no more than this of what they had */
#define RATE_BITS	20		/* of rates as fixed-point numbers */

static u64 min64(u64 a, u64 b)
{
	return a < b ? a : b;
}

static u64 max64(u64 a, u64 b)
{
	return a > b ? a : b;
}

static u64 less(u64 a, u64 b)
{
	return a > b ? a - b : 0;
}

/* ---- costs ----------------------------------------------------------------------------------- */

static u32 size_of(u32 rows)
{
	u32 i = 0;

	while (1U << i < rows && i < BN_SCHED_SIZES - 1)
		i++;
	return i;
}

void bn_costs_guess(struct bn_costs *c, const struct bn_model *m, u32 macs_per_us)
{
	u64 heads = (u64)m->head_dim * (2 * m->n_heads + 2 * m->n_kv_heads);
	u64 layer = m->hidden * (heads + 3ULL * m->ffn), head = (u64)m->hidden * m->vocab;
	/* The rating is of one worker and hot caches: weights come from memory, at half of it. */
	u64 ns_per_mac_1024 = 2 * 1024 * 1000 / (macs_per_us ? macs_per_us : 1) + 1;

	c->layer[BN_SCHED_SIZES] = (layer * ns_per_mac_1024 >> 10) + 1;
	c->layers[BN_SCHED_SIZES] = c->layer[BN_SCHED_SIZES] * m->n_layers;
	c->head[BN_SCHED_SIZES] = (head * ns_per_mac_1024 >> 10) + 1;
}

void bn_costs_add(u64 *worst, u32 rows, u64 ns)
{
	u64 *w = &worst[size_of(rows)];

	*w = max64(max64(ns, 1), *w - (*w >> 10));
}

void bn_costs_add_usual(u64 *usual, u32 rows, u64 ns)
{
	u64 *u = &usual[size_of(rows)];

	*u = !*u || ns < *u ? max64(ns, 1) : *u + ((ns - *u) >> 8);
}

u64 bn_costs_of(const u64 *worst, u32 rows)
{
	u32 size = size_of(rows), above = size;
	u64 cost = NEVER;

	if (!rows)
		return 0;
	/* Rows that are added never cost more than rows of their own. */
	for (u32 i = 0; i <= size; i++)
		if (worst[i])
			cost = min64(cost, worst[i] << (size - i));
	if (cost != NEVER)
		return cost;
	while (above < BN_SCHED_SIZES && !worst[above])
		above++;
	return above < BN_SCHED_SIZES ? worst[above] : worst[BN_SCHED_SIZES] * rows;
}

u64 bn_costs_step(const struct bn_costs *c, u32 rows, u32 slots)
{
	return bn_costs_of(c->layers, rows) + bn_costs_of(c->head, slots);
}

u64 bn_costs_prompt(const struct bn_costs *c, u64 rows)
{
	u64 whole = rows ? (rows - 1) / BN_MAX_ROWS : 0;

	return whole * bn_costs_step(c, BN_MAX_ROWS, 0) +
	       bn_costs_step(c, (u32)(rows - whole * BN_MAX_ROWS), 1);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

/* Share of the time that the tokens of @d take, 1 << RATE_BITS being all of it; rounded up */
static u64 rate_of(const struct bn_demand *d)
{
	return (min64(d->token, d->period) << RATE_BITS) / d->period + 1;
}

/* Worker time that must be spent until @at. */
static u64 demand_until(const struct bn_demand *demand, u32 n, u64 at)
{
	u64 sum = 0;

	for (u32 i = 0; i < n; i++) {
		const struct bn_demand *d = &demand[i];

		if (d->due > at)
			continue;
		if (!d->taken)
			sum += d->left;
		/* Times of up to some hours, and rates of up to 1: no overflow. */
		sum += (at - d->due) * rate_of(d) >> RATE_BITS;
	}
	return sum;
}

static u64 slack_at(const struct bn_demand *demand, u32 n, u64 now, u64 at, u32 floor_ppm)
{
	u64 time = less(at, now);

	return less(time - time / PPM * floor_ppm, demand_until(demand, n, at));
}

static u64 slack(const struct bn_demand *demand, u32 n, u64 now, u32 floor_ppm)
{
	u64 least = NEVER;

	for (u32 i = 0; i < n; i++) {
		const struct bn_demand *d = &demand[i];

		if (!d->taken)
			least = min64(least, slack_at(demand, n, now, d->due, floor_ppm));
		least = min64(least, slack_at(demand, n, now, d->due + d->period, floor_ppm));
	}
	return least;
}

u64 bn_sched_slack(const struct bn_demand *demand, u32 n, u64 now)
{
	return slack(demand, n, now, 0);
}

/*
 * The jobs with periods up to @d's: their rates, and the longest wait for what is not interrupted,
 * as shares of ppm.
 */
static u64 load_up_to(const struct bn_demand *demand, u32 n, const struct bn_demand *d, u64 layer)
{
	u64 rates = 0, wait = layer;

	for (u32 i = 0; i < n; i++) {
		if (demand[i].period <= d->period)
			rates += rate_of(&demand[i]);
		else
			wait = max64(wait, demand[i].token);
	}
	rates += (min64(wait, d->period) << RATE_BITS) / d->period;
	return rates * PPM >> RATE_BITS;
}

enum bn_refusal bn_sched_admit(const struct bn_demand *demand, u32 n, u64 now, u64 layer,
			       u64 busy, u32 floor_ppm, u64 *load_ppm)
{
	const struct bn_demand *fresh = &demand[n - 1];
	u64 rates = 0;

	for (u32 i = 0; i < n; i++)
		rates += rate_of(&demand[i]);
	*load_ppm = rates * PPM >> RATE_BITS;
	if (load_up_to(fresh, 1, fresh, layer) > PPM - floor_ppm ||
	    slack(fresh, 1, now, floor_ppm) < max64(layer, busy)) {
		*load_ppm = max64(rate_of(fresh) * PPM >> RATE_BITS, *load_ppm);
		return BN_REFUSED_PERIOD;
	}
	for (u32 i = 0; i < n; i++)
		if (load_up_to(demand, n, &demand[i], layer) > PPM - floor_ppm)
			return BN_REFUSED_LOAD;
	return slack(demand, n, now, floor_ppm) < max64(layer, busy) ? BN_REFUSED_LOAD :
								       BN_ADMITTED;
}

/* ---- order ----------------------------------------------------------------------------------- */

enum bn_rank bn_sched_rank(const struct bn_sched *s, u32 job_class, const struct bn_demand *demand)
{
	if (job_class == BITNET_CLASS_REALTIME)
		return demand->release <= s->now ? BN_RANK_REALTIME : BN_RANK_INTERACTIVE;
	if (job_class == BITNET_CLASS_BATCH)
		return s->owed ? BN_RANK_OWED : BN_RANK_BATCH;
	return BN_RANK_INTERACTIVE;
}

static bool before(const struct bn_sched *s, const struct bn_sched_cand *a,
		   const struct bn_sched_cand *b)
{
	enum bn_rank rank = bn_sched_rank(s, a->job_class, a->demand);
	enum bn_rank other = bn_sched_rank(s, b->job_class, b->demand);

	if (rank != other)
		return rank < other;
	if (rank == BN_RANK_REALTIME && a->demand->due != b->demand->due)
		return a->demand->due < b->demand->due;
	if (a->user_attained != b->user_attained)
		return a->user_attained < b->user_attained;
	if (a->job_attained != b->job_attained)
		return a->job_attained < b->job_attained;
	return a->arrival < b->arrival;
}

static u32 first_of(const struct bn_sched *s, const struct bn_sched_cand *cand, u32 n)
{
	u32 best = 0;

	for (u32 i = 1; i < n; i++)
		if (before(s, &cand[i], &cand[best]))
			best = i;
	return best;
}

/* The realtime job that is due first, ahead of its time or not; n if there is none */
static u32 first_due(const struct bn_sched_cand *cand, u32 n)
{
	u32 best = n;

	for (u32 i = 0; i < n; i++)
		if (cand[i].job_class == BITNET_CLASS_REALTIME &&
		    (best == n || cand[i].demand->due < cand[best].demand->due))
			best = i;
	return best;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/*
 * struct room - what is left to give away in the step that is being planned
 * @rows, @slots:	at most so many more ...
 * @used, @used_slots:	... than these
 * @prompt:	further rows of prompts
 * @costs:	NULL: times are not limited
 * @step:	longest step, at worst
 * @usual:	longest step, as usual, with rows of others than @user
 * @beside:	the same with rows of BATCH jobs, where a higher class comes first
 * @layer:	longest layer, at worst
 */
struct room {
	u32 rows, slots, used, used_slots, prompt;
	const struct bn_costs *costs;
	u64 step, usual, beside, layer, user;
};

/* Without a slot left, nothing that needs one for its very first row. */
static bool fits(const struct bn_sched_cand *c, const struct room *room)
{
	return room->slots || (!c->slots_per_row && c->wants > 1);
}

static u32 slots_of(const struct bn_sched_cand *c, u32 rows)
{
	if (c->slots_per_row)
		return rows;
	return rows && rows == c->wants;
}

/* Would @rows more rows of @c keep to the times? */
static bool in_time(const struct bn_sched_cand *c, const struct room *room, u32 rows)
{
	u32 all = room->used + rows;
	u64 usual;

	if (!room->costs)
		return true;
	if (bn_costs_of(room->costs->layer, all) > room->layer)
		return false;
	usual = bn_costs_of(room->costs->usual, all);
	if (c->user != room->user && usual > room->usual)
		return false;
	/* What was never measured is tried once. */
	if (c->job_class == BITNET_CLASS_BATCH && usual > room->beside &&
	    room->costs->usual[size_of(all)])
		return false;
	return bn_costs_step(room->costs, all, room->used_slots + slots_of(c, rows)) <= room->step;
}

/* As many rows as @c wants, @room has and @limit allows, but @least; takes them out of @room. */
static u32 grant(struct bn_sched_cand *c, struct room *room, u32 limit, u32 least)
{
	u32 rows = c->wants, slots;

	if (rows > limit)
		rows = limit;
	if (rows > room->rows)
		rows = room->rows;
	if (c->slots_per_row) {
		if (rows > room->slots)
			rows = room->slots;
	} else if (slots_of(c, rows) > room->slots) {
		rows--;		/* all but the row whose logits are wanted */
	}
	while (rows > least && !in_time(c, room, rows))
		rows--;
	slots = slots_of(c, rows);
	room->rows -= rows;
	room->used += rows;
	room->slots -= slots;
	room->used_slots += slots;
	if (!c->decoding)
		room->prompt -= rows;
	if (c->demand && rows)
		c->demand->taken = true;
	c->rows = rows;
	return rows;
}

static void swap(struct bn_sched_cand *cand, u32 a, u32 b)
{
	struct bn_sched_cand tmp = cand[a];

	cand[a] = cand[b];
	cand[b] = tmp;
}

/* The first of cand[from .. n-1] that is of @model and this kind and fits; n if there is none. */
static u32 next_of(const struct bn_sched *s, const struct bn_sched_cand *cand, u32 from, u32 n,
		   const struct room *room, const void *model, bool decoding)
{
	u32 best = n;

	for (u32 i = from; i < n; i++) {
		if (cand[i].model != model || cand[i].decoding != decoding || !fits(&cand[i], room))
			continue;
		if (best == n || before(s, &cand[i], &cand[best]))
			best = i;
	}
	return best;
}

/* Grants to all of one kind, in order, as long as they have room. Returns how many are granted. */
static u32 grant_all(const struct bn_sched *s, struct bn_sched_cand *cand, u32 granted, u32 n,
		     struct room *room, bool decoding)
{
	const void *model = cand[0].model;
	u32 end = n, at;

	while (room->rows && (decoding || room->prompt) &&
	       (at = next_of(s, cand, granted, end, room, model, decoding)) < end) {
		u32 limit = decoding ? 1 : room->prompt;

		/* Who cannot have any is put aside. */
		if (grant(&cand[at], room, limit, 0))
			swap(cand, granted++, at);
		else
			swap(cand, --end, at);
	}
	return granted;
}

static u32 users_of(const struct bn_sched_cand *cand, u32 n, const void *model)
{
	u32 users = 0;

	for (u32 i = 0; i < n; i++) {
		bool known = cand[i].model != model;

		for (u32 j = 0; j < i && !known; j++)
			known = cand[j].model == model && cand[j].user == cand[i].user;
		users += !known;
	}
	return users;
}

/* The longest layer that fits into the slack of every job that has just got its token, and half */
static u64 layer_beside_claims(const struct bn_sched *s)
{
	u64 least = NEVER;

	for (u32 i = 0; i < s->n_demand; i++)
		least = min64(least, less(s->demand[i].period, s->demand[i].token) / 2);
	return least;
}

static void start_room(const struct bn_sched *s, struct room *room, const struct bn_sched_cand *c)
{
	*room = (struct room){
		.rows = BN_MAX_ROWS,
		.slots = BN_MAX_HEAD_ROWS,
		.prompt = BN_MAX_ROWS,
		.costs = c->costs,
		.step = NEVER,
		.usual = NEVER,
		.beside = NEVER,
		.layer = s->claim ? NEVER : layer_beside_claims(s),
		.user = c->user,
	};
	if (s->claim) {
		c->demand->taken = true;
		/* A prompt is not cut for its own due time: that would only take longer. */
		room->step = bn_sched_slack(s->demand, s->n_demand, s->now);
	}
}

/* What the step may take now that the first has its rows */
static void limit_riders(const struct bn_sched *s, struct room *room,
			 const struct bn_sched_cand *cand, u32 n)
{
	u64 alone, usual;

	if (!room->costs)
		return;
	alone = bn_costs_step(room->costs, room->used, room->used_slots);
	if (s->claim) {
		room->step = min64(room->step, less(cand[0].demand->due, s->now));
		room->step = min64(room->step, alone + alone / 4);
	} else {
		usual = bn_costs_of(room->costs->usual, room->used);
		room->usual = usual * users_of(cand, n, cand[0].model);
		if (cand[0].job_class != BITNET_CLASS_BATCH)
			room->beside = usual + usual / 4;
	}
}

/* Could a claim be late if as little as a layer of @c were computed? */
static bool no_time_for(const struct bn_sched *s, const struct bn_sched_cand *c)
{
	return c->costs && bn_sched_slack(s->demand, s->n_demand, s->now) <
			   bn_costs_of(c->costs->layer, 1);
}

u32 bn_sched_plan(struct bn_sched *s, struct bn_sched_cand *cand, u32 n)
{
	u32 granted = 1, first, due;
	struct room room;
	bool claim;

	s->claim = false;
	if (!n)
		return 0;
	for (u32 i = 0; i < n; i++)
		cand[i].rows = 0;
	for (u32 i = 0; i < s->n_demand; i++)
		s->demand[i].taken = false;
	first = first_of(s, cand, n);
	claim = bn_sched_rank(s, cand[first].job_class, cand[first].demand) == BN_RANK_REALTIME;
	due = first_due(cand, n);
	if (!claim && due < n && (s->urgent || no_time_for(s, &cand[first]))) {
		/* Nothing else has the time: a realtime job goes on before it has to. */
		first = due;
		claim = true;
	}
	s->claim = claim;
	swap(cand, 0, first);
	start_room(s, &room, &cand[0]);
	/* What a claim's prompt costs was reckoned in whole steps. */
	if (!claim && next_of(s, cand, 0, n, &room, cand[0].model, true) < n)
		room.prompt = BN_SCHED_PREFILL_MIXED;

	/*
	 * The first of all gets its share before the decoding rows do: they could otherwise keep
	 * all slots from it for as long as they last.
	 */
	grant(&cand[0], &room, cand[0].decoding ? 1 : room.prompt, 1);
	limit_riders(s, &room, cand, n);
	granted = grant_all(s, cand, granted, n, &room, true);
	return grant_all(s, cand, granted, n, &room, false);
}

bool bn_sched_yields(const struct bn_sched *s, enum bn_rank rank, u64 piece,
		     const struct bn_sched_waiting *waiting)
{
	if (rank == BN_RANK_REALTIME)
		return false;
	if (waiting->realtime)
		return true;
	if (waiting->ahead && bn_sched_slack(s->demand, s->n_demand, s->now) < piece)
		return true;
	return waiting->interactive && rank != BN_RANK_INTERACTIVE && !s->owed;
}

static enum bn_aside best_aside(const struct bn_sched *s, const u64 piece[BN_ASIDES],
				enum bn_rank *rank)
{
	static const u32 class_of[BN_ASIDES] = {
		[BN_ASIDE_INTERACTIVE] = BITNET_CLASS_INTERACTIVE,
		[BN_ASIDE_BATCH] = BITNET_CLASS_BATCH,
	};
	enum bn_aside best = BN_ASIDE_NONE;

	for (u32 i = 0; i < BN_ASIDES; i++) {
		enum bn_rank r = bn_sched_rank(s, class_of[i], NULL);

		if (piece[i] == NEVER || (best != BN_ASIDE_NONE && *rank <= r))
			continue;
		best = (enum bn_aside)i;
		*rank = r;
	}
	return best;
}

static u32 keep_realtime(struct bn_sched_cand *cand, u32 n)
{
	u32 kept = 0;

	for (u32 i = 0; i < n; i++)
		if (cand[i].job_class == BITNET_CLASS_REALTIME)
			cand[kept++] = cand[i];
	return kept;
}

enum bn_aside bn_sched_take_up(struct bn_sched *s, const u64 piece[BN_ASIDES],
			       struct bn_sched_cand *cand, u32 *n,
			       const struct bn_sched_waiting *waiting)
{
	enum bn_rank rank = BN_RANK_BATCH;
	enum bn_aside best = best_aside(s, piece, &rank);

	s->urgent = false;
	if (best == BN_ASIDE_NONE)
		return best;
	for (u32 i = 0; i < *n; i++)
		if (bn_sched_rank(s, cand[i].job_class, cand[i].demand) < rank)
			return BN_ASIDE_NONE;
	if (!bn_sched_yields(s, rank, piece[best], waiting))
		return best;
	*n = keep_realtime(cand, *n);
	s->urgent = *n;
	return *n ? BN_ASIDE_NONE : best;
}

void bn_sched_account(struct bn_sched *s, u64 ns, u64 batch, bool waits)
{
	u64 share = ns / 1000 * s->floor_ppm / 1000, owed = s->owed + share;
	u64 had = s->ahead + batch;

	/* Both grow by what there was; what is in both cancels out. */
	s->ahead = min64(less(had, owed), AHEAD_MOST);
	s->owed = waits ? min64(less(owed, had), OWED_MOST) : 0;
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_sched.c - least attained service over users, then processes, then arrival
 */
#include "bn_sched.h"

/* What is left to give away in the step that is being planned. */
struct room {
	u32 rows, slots;
};

static bool before(const struct bn_sched_cand *a, const struct bn_sched_cand *b)
{
	if (a->user_attained != b->user_attained)
		return a->user_attained < b->user_attained;
	if (a->job_attained != b->job_attained)
		return a->job_attained < b->job_attained;
	return a->arrival < b->arrival;
}

static u32 first_of(const struct bn_sched_cand *cand, u32 n)
{
	u32 best = 0;

	for (u32 i = 1; i < n; i++)
		if (before(&cand[i], &cand[best]))
			best = i;
	return best;
}

/* Without a slot left, nothing that needs one for its very first row. */
static bool fits(const struct bn_sched_cand *c, const struct room *room)
{
	return room->slots || (!c->slots_per_row && c->wants > 1);
}

/* The first of cand[from .. n-1] that is of @model and this kind and fits; n if there is none. */
static u32 next_of(const struct bn_sched_cand *cand, u32 from, u32 n, const struct room *room,
		   const void *model, bool decoding)
{
	u32 best = n;

	for (u32 i = from; i < n; i++) {
		if (cand[i].model != model || cand[i].decoding != decoding || !fits(&cand[i], room))
			continue;
		if (best == n || before(&cand[i], &cand[best]))
			best = i;
	}
	return best;
}

static u32 slots_of(const struct bn_sched_cand *c, u32 rows)
{
	if (c->slots_per_row)
		return rows;
	return rows && rows == c->wants;
}

/* As many rows as @c wants, @room has and @limit allows; takes them out of @room. */
static u32 grant(struct bn_sched_cand *c, struct room *room, u32 limit)
{
	u32 rows = c->wants;

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
	room->rows -= rows;
	room->slots -= slots_of(c, rows);
	c->rows = rows;
	return rows;
}

static void swap(struct bn_sched_cand *cand, u32 a, u32 b)
{
	struct bn_sched_cand tmp = cand[a];

	cand[a] = cand[b];
	cand[b] = tmp;
}

u32 bn_sched_plan(struct bn_sched_cand *cand, u32 n)
{
	struct room room = { BN_MAX_ROWS, BN_MAX_HEAD_ROWS };
	u32 granted = 0, prefill = BN_MAX_ROWS, at;
	const void *model;

	if (!n)
		return 0;
	for (u32 i = 0; i < n; i++)
		cand[i].rows = 0;
	swap(cand, 0, first_of(cand, n));
	model = cand[0].model;
	if (next_of(cand, 0, n, &room, model, true) < n)
		prefill = BN_SCHED_PREFILL_MIXED;

	/*
	 * The first of all gets its share before the decoding rows do: they could otherwise keep
	 * all slots from it for as long as they last.
	 */
	if (cand[0].decoding)
		grant(&cand[0], &room, 1);
	else
		prefill -= grant(&cand[0], &room, prefill);
	granted = 1;

	while (room.rows && (at = next_of(cand, granted, n, &room, model, true)) < n) {
		grant(&cand[at], &room, 1);
		swap(cand, granted++, at);
	}
	while (room.rows && prefill &&
	       (at = next_of(cand, granted, n, &room, model, false)) < n) {
		prefill -= grant(&cand[at], &room, prefill);
		swap(cand, granted++, at);
	}
	return granted;
}

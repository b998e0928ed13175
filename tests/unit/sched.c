// SPDX-License-Identifier: GPL-2.0
/* The policy of steps: who gets rows, and that everybody does in the end */
#include <stdint.h>

#include <linux/bitnet.h>

#include "bn_sched.h"
#include "tap.h"

static int model_a, model_b;
static struct bn_sched sched;

static struct bn_sched_cand decode(uint64_t attained, uint64_t arrival)
{
	return (struct bn_sched_cand){ .model = &model_a, .job_attained = attained,
				       .arrival = arrival, .wants = 1, .decoding = true };
}

static struct bn_sched_cand prefill(uint64_t attained, uint64_t arrival, uint32_t wants)
{
	return (struct bn_sched_cand){ .model = &model_a, .job_attained = attained,
				       .arrival = arrival, .wants = wants };
}

static struct bn_sched_cand score(uint64_t attained, uint64_t arrival, uint32_t wants)
{
	struct bn_sched_cand c = prefill(attained, arrival, wants);

	c.slots_per_row = 1;
	return c;
}

/* Rows of the candidate that came as number @arrival. */
static uint32_t rows_of(const struct bn_sched_cand *c, uint32_t n, uint64_t arrival)
{
	for (uint32_t i = 0; i < n; i++)
		if (c[i].arrival == arrival)
			return c[i].rows;
	return 0;
}

static void check_order(void)
{
	struct bn_sched_cand c[4] = { decode(5, 1), decode(3, 2), decode(3, 3), decode(9, 4) };
	uint32_t n;

	c[3].user_attained = 0;
	c[0].user_attained = c[1].user_attained = c[2].user_attained = 1;
	n = bn_sched_plan(&sched, c, 4);
	is(n, 4, "all fit");
	is(c[0].arrival, 4, "first the user who got least");
	is(c[1].arrival, 2, "then the process, by arrival where equal");
	is(c[2].arrival, 3, "then the next");
	is(c[3].arrival, 1, "then the last");
	is(bn_sched_plan(&sched, c, 0), 0, "nobody there");
}

static void check_models(void)
{
	struct bn_sched_cand c[3] = { decode(1, 1), decode(2, 2), decode(3, 3) };

	c[0].model = &model_b;
	is(bn_sched_plan(&sched, c, 3), 1, "one model in a step");
	is(c[0].arrival, 1, "that of the first");
	is(rows_of(c, 3, 2), 0, "others wait");
	c[0].job_attained = 10;
	is(bn_sched_plan(&sched, c, 3), 2, "until they are first");
}

static void check_limits(void)
{
	struct bn_sched_cand c[80];
	uint32_t n, rows = 0;

	for (uint32_t i = 0; i < 80; i++)
		c[i] = decode(i, i);
	n = bn_sched_plan(&sched, c, 80);
	is(n, BN_MAX_HEAD_ROWS, "decoding: as many as there are head slots");
	is(rows_of(c, 80, 15), 1, "the sixteenth is in");
	is(rows_of(c, 80, 16), 0, "the next is not");

	for (uint32_t i = 0; i < 80; i++)
		c[i] = prefill(i, i, 50);
	n = bn_sched_plan(&sched, c, 80);
	for (uint32_t i = 0; i < n; i++)
		rows += c[i].rows;
	is(rows, BN_MAX_ROWS, "prompts alone: a full step");
	is(rows_of(c, 80, 0), 50, "the first as much as it wants");
	is(rows_of(c, 80, 1), BN_MAX_ROWS - 50, "the second the rest");

	c[0] = score(0, 0, 100);
	is(bn_sched_plan(&sched, c, 1), 1, "scoring alone");
	is(c[0].rows, BN_MAX_HEAD_ROWS, "one slot for each row");
}

static void check_mixed(void)
{
	struct bn_sched_cand c[40];
	uint32_t n = 0;

	c[n++] = decode(1, 1);
	c[n++] = prefill(2, 2, 500);
	c[n++] = prefill(3, 3, 500);
	is(bn_sched_plan(&sched, c, n), 2, "a prompt beside a decoding row");
	is(rows_of(c, n, 2), BN_SCHED_PREFILL_MIXED, "gets a few rows");
	is(rows_of(c, n, 3), 0, "and those are for all prompts together");

	c[0] = prefill(0, 2, 500);
	c[1] = decode(1, 1);
	c[2] = prefill(3, 3, 3);
	bn_sched_plan(&sched, c, 3);
	is(rows_of(c, 3, 2), BN_SCHED_PREFILL_MIXED, "the same when the prompt is first");
	is(rows_of(c, 3, 1), 1, "the decoding row is there");

	/* All slots could go to decoding rows: what is first gets its own before. */
	for (n = 0; n < 20; n++)
		c[n] = decode(5, n);
	c[n++] = prefill(1, 100, 3);
	bn_sched_plan(&sched, c, n);
	is(rows_of(c, n, 100), 3, "the end of a prompt finds a slot among 20 decoding rows");
	for (uint32_t i = 0; i < n; i++)
		if (c[i].arrival == 100)
			c[i] = score(1, 100, 30);
	bn_sched_plan(&sched, c, n);
	is(rows_of(c, n, 100), BN_SCHED_PREFILL_MIXED, "so does scoring");

	/* Not first, and no slot left: all rows but the one that needs it. */
	for (uint32_t i = 0; i < n; i++)
		if (c[i].arrival == 100)
			c[i] = prefill(50, 100, 3);
	bn_sched_plan(&sched, c, n);
	is(rows_of(c, n, 100), 2, "a prompt without a slot goes as far as it can");
}

/*
 * Let 24 jobs run for many steps and charge each for its rows. Head slots are what they compete
 * for, 16 a step among the 22 that need one for each row: everybody gets his share of them. The two
 * prompts get more, for they fill rows that nobody else can use.
 */
static void check_fairness(void)
{
	struct bn_sched_cand c[24];
	uint64_t attained[24] = { 0 }, least = UINT64_MAX, most = 0;
	const uint64_t share = 3000 * BN_MAX_HEAD_ROWS / 22;

	for (int step = 0; step < 3000; step++) {
		for (uint32_t i = 0; i < 24; i++) {
			c[i] = i < 20 ? decode(attained[i], i) :
			       i < 22 ? score(attained[i], i, 100) : prefill(attained[i], i, 100);
			c[i].user = i;
			c[i].user_attained = attained[i];
		}
		bn_sched_plan(&sched, c, 24);
		for (uint32_t i = 0; i < 24; i++)
			attained[c[i].arrival] += c[i].rows;
	}
	for (uint32_t i = 0; i < 22; i++) {
		least = attained[i] < least ? attained[i] : least;
		most = attained[i] > most ? attained[i] : most;
	}
	ok(least + BN_MAX_ROWS >= share && most <= share + BN_MAX_ROWS,
	   "20 decoding and 2 scoring jobs: %llu to %llu rows, %llu is fair",
	   (unsigned long long)least, (unsigned long long)most, (unsigned long long)share);
	ok(attained[22] >= share && attained[23] >= share, "two long prompts: %llu and %llu",
	   (unsigned long long)attained[22], (unsigned long long)attained[23]);
}

/* BATCH jobs of the same user ride along with an INTERACTIVE one, and hardly slow it down. */
static void check_beside(void)
{
	struct bn_costs costs = { .usual = { 100, 120, 200, 400, 800, 1600, 3000 } };
	struct bn_sched_cand c[2];

#define BESIDE(first, rider)						\
	do {								\
		c[0] = first;						\
		c[1] = rider;						\
		c[0].costs = c[1].costs = &costs;			\
		c[1].job_class = BITNET_CLASS_BATCH;			\
		bn_sched_plan(&sched, c, 2);				\
	} while (0)

	BESIDE(decode(1, 1), prefill(2, 2, 500));
	is(rows_of(c, 2, 2), 1, "a prompt has the rows that make the step a quarter longer");
	BESIDE(decode(1, 1), decode(2, 2));
	is(rows_of(c, 2, 2), 1, "so has a decoding row");
	costs.usual[1] = 130;
	BESIDE(decode(1, 1), decode(2, 2));
	is(rows_of(c, 2, 2), 0, "that would take longer");
	costs.usual[1] = 0;
	BESIDE(decode(1, 1), decode(2, 2));
	is(rows_of(c, 2, 2), 1, "or is not known yet");
	costs.usual[1] = 130;
	BESIDE(decode(1, 1), prefill(2, 2, 500));
	c[0].job_class = c[1].job_class = BITNET_CLASS_BATCH;
	bn_sched_plan(&sched, c, 2);
	is(rows_of(c, 2, 2), BN_SCHED_PREFILL_MIXED, "among BATCH jobs it is as before");
}

/* Claims come first, by due time; a realtime job ahead of its time is one among the others. */
static void check_claims(void)
{
	struct bn_demand d[2] = {
		{ .release = 50, .due = 300, .left = 10, .token = 10, .period = 250 },
		{ .release = 100, .due = 200, .left = 10, .token = 10, .period = 100 },
	};
	struct bn_sched s = { .now = 100, .demand = d, .n_demand = 2 };
	struct bn_sched_cand c[4];

#define PLAN()								\
	do {								\
		for (uint32_t i = 0; i < 4; i++) {			\
			c[i] = decode(i < 2 ? 10 : 2 * i, i + 1);	\
			c[i].model = i < 2 ? &model_b : &model_a;	\
			c[i].job_class = i < 2 ? BITNET_CLASS_REALTIME :	\
					 i < 3 ? BITNET_CLASS_BATCH : BITNET_CLASS_INTERACTIVE; \
			c[i].demand = i < 2 ? &d[i] : NULL;		\
		}							\
		bn_sched_plan(&s, c, 4);				\
	} while (0)

	PLAN();
	ok(c[0].arrival == 2 && s.claim, "of two claims the one that is due first");
	d[1].due = 400;
	PLAN();
	ok(c[0].arrival == 1 && s.claim, "whichever that is");
	d[0].release = d[1].release = 101;
	PLAN();
	ok(c[0].arrival == 4 && !s.claim, "ahead of their time they come after who got less");
	s.owed = 1;
	PLAN();
	ok(c[0].arrival == 3 && !s.claim, "and after BATCH jobs that are owed some time");
	s.urgent = true;
	PLAN();
	ok(c[0].arrival == 1 && s.claim, "unless nothing else has the time");
}

/* A step is more than what BATCH jobs are owed: over time they get their floor, and no more. */
static void check_floor(void)
{
	struct bn_sched s = { .floor_ppm = 50000 };
	uint64_t batch = 0, others = 0;

	for (int i = 0; i < 10000; i++) {
		bool theirs = bn_sched_rank(&s, BITNET_CLASS_BATCH, NULL) == BN_RANK_OWED;

		bn_sched_account(&s, theirs ? 20000000 : 4000000, theirs ? 20000000 : 0, true);
		*(theirs ? &batch : &others) += theirs ? 20000000 : 4000000;
	}
	is(batch * 1000 / (batch + others), 50, "BATCH jobs get their floor of 5 %%");

	/* Hours alone are not held against them. */
	for (int i = 0; i < 10000; i++)
		bn_sched_account(&s, 1000000000, 1000000000, true);
	for (others = 0; !s.owed && others < 10000000000; others += 4000000)
		bn_sched_account(&s, 4000000, 0, true);
	ok(others <= 2100000000, "but after having had all of it they wait for %llu ms at most",
	   (unsigned long long)others / 1000000);
	bn_sched_account(&s, 4000000, 0, false);
	is(s.owed, 0, "nothing is owed when none waits");
}

int main(void)
{
	check_order();
	check_models();
	check_limits();
	check_mixed();
	check_fairness();
	check_beside();
	check_claims();
	check_floor();
	return done();
}

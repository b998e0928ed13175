// SPDX-License-Identifier: GPL-2.0
/*
 * The sampler against a sort in double precision: which tokens are kept, and how often each is
 * drawn
 */
#include <math.h>
#include <stdint.h>

#include "bn_sampler.h"
#include "tap.h"

#define MAX_VOCAB	5000

extern const struct bn_ops bn_ops_ref;

struct query {
	const float *logits;
	uint32_t vocab;
	struct bn_sampler_params params;
	const uint32_t *recent;
	uint32_t n_recent;
	uint64_t position;
	uint32_t force;
};

static uint64_t seed = 20261123;

static uint64_t random64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static float random_logit(void)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (random64() >> 11) * 0x1p-53;
	return 3 * (sum - 6);
}

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static uint64_t hash_of(const float *logits, uint32_t n)
{
	uint64_t hash = 0;

	for (uint32_t i = 0; i < n; i++)
		hash += bn_logits_hash(i, bits_of(logits[i]));
	return hash;
}

/* Run to the end, with the block statistics that the head phase would leave. */
static struct bn_sampler sample(const struct query *q)
{
	static float logits[MAX_VOCAB];
	static struct bn_block_stats blocks[MAX_VOCAB / BN_VOCAB_BLOCK + 1];
	struct bn_sampler s = {
		.ops = &bn_ops_ref, .params = &q->params, .recent = q->recent,
		.n_recent = q->n_recent, .logits = logits, .blocks = blocks, .vocab = q->vocab,
		.position = q->position, .force = q->force ? q->force : BN_SAMPLE,
	};
	int pieces = 0;

	memcpy(logits, q->logits, sizeof(*logits) * q->vocab);
	for (uint32_t at = 0; at < q->vocab; at += BN_VOCAB_BLOCK) {
		struct bn_block_stats *b = &blocks[at / BN_VOCAB_BLOCK];
		uint32_t n = q->vocab - at < BN_VOCAB_BLOCK ? q->vocab - at : BN_VOCAB_BLOCK;

		b->max = bn_ops_ref.max_value(logits + at, n);
		b->sum_exp = bn_ops_ref.sum_exp(logits + at, n, b->max);
		b->hash = 0;
		for (uint32_t i = at; i < at + n; i++)
			b->hash += bn_logits_hash(i, bits_of(logits[i]));
	}
	bn_sampler_start(&s);
	while (bn_sampler_run(&s))
		if (++pieces > 1000)
			bail("the sampler does not end");
	return s;
}

/* ---- the same by sorting --------------------------------------------------------------------- */

static const float *sort_logits;

static int likelier(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

	if (sort_logits[i] != sort_logits[j])
		return sort_logits[i] < sort_logits[j] ? 1 : -1;
	return i < j ? -1 : 1;
}

/* Probability of each token; the sum of all is 1. */
static void distribution(const struct query *q, double *p)
{
	static float logits[MAX_VOCAB];
	static uint32_t order[MAX_VOCAB];
	const struct bn_sampler_params *o = &q->params;
	double total = 0, sum = 0, max;
	uint32_t n = q->vocab, kept = 0;

	memcpy(logits, q->logits, sizeof(*logits) * n);
	if (o->repeat_penalty_ppm) {
		for (uint32_t i = 0; i < q->n_recent; i++) {
			float *l = &logits[q->recent[i]], penalty = o->repeat_penalty_ppm * 1e-6f;

			*l = *l > 0 ? *l / penalty : *l * penalty;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		order[i] = i;
		p[i] = 0;
	}
	sort_logits = logits;
	qsort(order, n, sizeof(*order), likelier);
	max = logits[order[0]];
	if (o->top_k && o->top_k < n)
		n = o->top_k;
	for (uint32_t i = 0; i < n; i++)
		total += exp(logits[order[i]] - max);
	while (kept < n && (kept == 0 || !o->top_p_ppm || sum < o->top_p_ppm * 1e-6 * total))
		sum += exp(logits[order[kept++]] - max);
	total = 0;
	for (uint32_t i = 0; i < kept; i++) {
		double l = logits[order[i]] - max;

		if (exp(l) < o->min_p_ppm * 1e-6)
			break;
		p[order[i]] = exp(l / (o->temperature_ppm * 1e-6));
		total += p[order[i]];
	}
	for (uint32_t i = 0; i < q->vocab; i++)
		p[i] /= total;
}

/*
 * Draw @n times at different positions. Tokens of probability 0 never come; the others as often as
 * they should: chi-square over those that are expected five times and more, the rest in one class.
 * The bound is 5 standard deviations; the positions are fixed, so the test always gives the same.
 */
static void check_draws(struct query *q, int n, const char *name)
{
	static double p[MAX_VOCAB];
	static int seen[MAX_VOCAB];
	double chi = 0, rest = 0;
	int classes = 0, rest_seen = 0, impossible = 0;

	distribution(q, p);
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < n; i++) {
		q->position = i;
		seen[sample(q).token]++;
	}
	for (uint32_t i = 0; i < q->vocab; i++) {
		double want = p[i] * n;

		if (p[i] == 0) {
			impossible += seen[i];
		} else if (want < 5) {
			rest += want;
			rest_seen += seen[i];
		} else {
			chi += (seen[i] - want) * (seen[i] - want) / want;
			classes++;
		}
	}
	if (rest >= 5) {
		chi += (rest_seen - rest) * (rest_seen - rest) / rest;
		classes++;
	}
	is(impossible, 0, "%s: nothing that was left out", name);
	ok(chi < classes - 1 + 5 * sqrt(2.0 * classes) + 1, "%s: chi-square %.1f of %d classes",
	   name, chi, classes);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_distributions(void)
{
	static const struct {
		const char *name;
		uint32_t vocab;
		int draws;
		struct bn_sampler_params params;
	} cases[] = {
		{ "plain", 40, 20000, { .seed = 1, .temperature_ppm = 1000000 } },
		{ "warm", 40, 20000, { .seed = 2, .temperature_ppm = 1700000 } },
		{ "cool", 40, 20000, { .seed = 3, .temperature_ppm = 500000 } },
		{ "top-k", 40, 20000, { .seed = 4, .temperature_ppm = 1000000, .top_k = 7 } },
		{ "top-k 1", 40, 100, { .seed = 5, .temperature_ppm = 1000000, .top_k = 1 } },
		{ "top-k of all",
		  40,
		  2000,
		  { .seed = 6, .temperature_ppm = 1000000, .top_k = 65536 } },
		{ "top-p",
		  40,
		  20000,
		  { .seed = 7, .temperature_ppm = 1000000, .top_p_ppm = 800000 } },
		{ "top-p 1 ppm",
		  40,
		  100,
		  { .seed = 8, .temperature_ppm = 1000000, .top_p_ppm = 1 } },
		{ "min-p",
		  40,
		  20000,
		  { .seed = 9, .temperature_ppm = 1000000, .min_p_ppm = 100000 } },
		{ "all of them",
		  40,
		  20000,
		  { .seed = 10,
		    .temperature_ppm = 800000,
		    .top_k = 12,
		    .top_p_ppm = 950000,
		    .min_p_ppm = 50000 } },
		{ "many blocks", 5000, 2000, { .seed = 11, .temperature_ppm = 800000 } },
		{ "many blocks, all",
		  5000,
		  2000,
		  { .seed = 12,
		    .temperature_ppm = 800000,
		    .top_k = 40,
		    .top_p_ppm = 950000,
		    .min_p_ppm = 50000 } },
		{ "many blocks, top-p",
		  5000,
		  2000,
		  { .seed = 13, .temperature_ppm = 1000000, .top_p_ppm = 900000 } },
	};
	static const uint32_t recent[] = { 3, 17, 20, 39 };
	static float logits[MAX_VOCAB];
	struct query q = { .logits = logits };

	for (uint32_t i = 0; i < MAX_VOCAB; i++)
		logits[i] = random_logit();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		q.vocab = cases[i].vocab;
		q.params = cases[i].params;
		check_draws(&q, cases[i].draws, cases[i].name);
	}
	q.vocab = 40;
	q.recent = recent;
	q.n_recent = 4;
	q.params = (struct bn_sampler_params){ .seed = 14, .temperature_ppm = 1000000,
					       .repeat_penalty_ppm = 1300000, .repeat_last_n = 4 };
	check_draws(&q, 20000, "repetition penalty");
	q.params.repeat_penalty_ppm = 500000;
	q.params.top_k = 5;
	check_draws(&q, 20000, "reward for repetition, top-k");
}

/* Equal logits everywhere: only ids decide what is kept. */
static void check_ties(void)
{
	static float logits[MAX_VOCAB];
	struct query q = { .logits = logits, .vocab = 3000 };
	uint32_t highest = 0;

	q.params =
		(struct bn_sampler_params){ .seed = 1, .temperature_ppm = 1000000, .top_k = 1100 };
	logits[5] = -0.0f;
	for (q.position = 0; q.position < 300; q.position++) {
		uint32_t token = sample(&q).token;

		highest = token > highest ? token : highest;
	}
	ok(highest < 1100 && highest > 1050, "top-k keeps the lower ids of equal ones: up to %u",
	   highest);

	q.params.top_k = 0;
	q.params.top_p_ppm = 500000;
	highest = 0;
	for (q.position = 0; q.position < 300; q.position++) {
		uint32_t token = sample(&q).token;

		highest = token > highest ? token : highest;
	}
	ok(highest < 1500 && highest > 1450, "so does top-p: up to %u", highest);

	q.params.top_k = 100;
	highest = 0;
	for (q.position = 0; q.position < 300; q.position++) {
		uint32_t token = sample(&q).token;

		highest = token > highest ? token : highest;
	}
	ok(highest < 50 && highest > 40, "top-p among the k of top-k: up to %u", highest);
	q.params = (struct bn_sampler_params){ 0 };
	is(sample(&q).token, 0, "greedy takes the lowest id");
}

static void check_odd_logits(void)
{
	float logits[6] = { NAN, 1, NAN, -INFINITY, 1, 0.5f };
	struct query q = { .logits = logits, .vocab = 6 };
	struct query warm = {
		.logits = logits,
		.vocab = 6,
		.params = { .temperature_ppm = 1000000, .top_k = 4, .top_p_ppm = 990000 }
	};
	struct bn_sampler s;

	is(sample(&q).token, 1, "greedy: NaN is never the largest");
	for (warm.position = 0; warm.position < 200; warm.position++) {
		uint32_t token = sample(&warm).token;

		if (token != 1 && token != 4 && token != 5)
			break;
	}
	is(warm.position, 200, "drawn: neither NaN nor -inf");
	logits[2] = INFINITY;
	s = sample(&warm);
	is(s.token, 2, "+inf wins");
	is(s.logprob, BITNET_LOGPROB_NONE, "and has no log-probability");
	for (int i = 0; i < 6; i++)
		logits[i] = -INFINITY;
	logits[0] = NAN;
	is(sample(&q).token, 1, "greedy of NaN and -inf: the first -inf");
	is(sample(&warm).token, 1, "drawn: the same");
	for (int i = 0; i < 6; i++)
		logits[i] = NAN;
	s = sample(&q);
	is(s.token, 0, "all NaN: token 0");
	is(s.logprob, BITNET_LOGPROB_NONE, "without a log-probability");
	is(sample(&warm).token, 0, "drawn: token 0, too");
}

static void check_logprobs(void)
{
	static float logits[MAX_VOCAB];
	static const uint32_t recent[] = { 7 };
	struct query q = { .logits = logits, .vocab = MAX_VOCAB, .recent = recent, .n_recent = 1 };
	double sum = 0, worst = 0;
	uint32_t best = 0;
	struct bn_sampler s;

	for (uint32_t i = 0; i < MAX_VOCAB; i++) {
		logits[i] = 2 * random_logit();
		best = logits[i] > logits[best] ? i : best;
	}
	for (uint32_t i = 0; i < MAX_VOCAB; i++)
		sum += exp((double)logits[i] - logits[best]);
	s = sample(&q);
	is(s.token, best, "greedy");
	is_near(s.logprob * 1e-6, -log(sum), 3e-6, "its log-probability");
	ok(s.hash == hash_of(logits, MAX_VOCAB), "hash over all blocks");
	for (q.force = 1; q.force < 2000; q.force += 7)
		worst = fmax(worst, fabs(sample(&q).logprob * 1e-6 -
					 ((double)logits[q.force] - logits[best] - log(sum))));
	ok(worst < 5e-6, "scored tokens: off by at most %.1e", worst);

	/* The penalty decides which token comes, not what the model said about it. */
	logits[7] = logits[best] + 20;
	q.force = 0;
	q.params.repeat_penalty_ppm = 1100000;
	s = sample(&q);
	is(s.token, 7, "penalised and still the likeliest");
	ok(s.logprob > -2000, "log-probability without the penalty: %d", s.logprob);
	q.params.repeat_penalty_ppm = 100000000;
	is(sample(&q).token, best, "penalised out of the way");
}

static void check_seeds(void)
{
	float logits[64] = { 0 };
	struct query a = { .logits = logits,
			   .vocab = 64,
			   .params = { .seed = 1, .temperature_ppm = 1000000 } };
	struct query b = a;
	int same_seed = 0, other_seed = 0, neighbours = 0;

	b.params.seed = 2;
	for (uint64_t i = 0; i < 1000; i++) {
		uint32_t token;

		a.position = b.position = i;
		token = sample(&a).token;
		same_seed += token == sample(&a).token;
		other_seed += token == sample(&b).token;
		a.position = i + 1;
		neighbours += token == sample(&a).token;
	}
	is(same_seed, 1000, "the same seed and position give the same token");
	ok(other_seed < 40, "another seed another one, but for %d chances in 1000", other_seed);
	ok(neighbours < 40, "another position too: %d", neighbours);
}

static void check_params(void)
{
	static const struct bn_sampler_params good[] = {
		{ 0 },
		{ .temperature_ppm = 100000000, .top_k = 65536, .top_p_ppm = 1000000,
		  .min_p_ppm = 1000000, .repeat_penalty_ppm = 100000000, .repeat_last_n = 256 },
	};
	static const struct bn_sampler_params bad[] = {
		{ .temperature_ppm = 100000001 },
		{ .top_k = 65537 },
		{ .top_p_ppm = 1000001 },
		{ .min_p_ppm = 1000001 },
		{ .repeat_penalty_ppm = 100000001 },
		{ .repeat_last_n = 257 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		is(bn_sampler_check(&good[i]), BN_OK, "parameters %zu are allowed", i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is(bn_sampler_check(&bad[i]), BN_EPARAM, "parameters %zu are not", i);
}

int main(void)
{
	check_params();
	check_distributions();
	check_ties();
	check_odd_logits();
	check_logprobs();
	check_seeds();
	return done();
}

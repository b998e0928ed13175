// SPDX-License-Identifier: GPL-2.0
/*
 * weights_change.c - the pinned pages are hostile for ever
 *
 * A thread overwrites weights, embedding and norms with anything at all, NaNs and invalid codes
 * included, while jobs run: they end, with tokens of the vocabulary. Overwriting header and table
 * changes nothing. Once the old bytes are back, so are the old results, bit for bit. Nor does
 * anybody else notice.
 */
#include <pthread.h>

#include "device.h"

static struct t_image image, original;
static volatile bool stop;
static size_t from;	/* first byte behind header and table */

static void *scribble(void *arg)
{
	uint64_t *words = (void *)((char *)image.base + from), seed = 1, r;
	size_t n = (image.length - from) / 8, i;

	(void)arg;
	while (!stop) {
		for (i = 0; i < 1024; i++) {
			r = t_random(&seed);
			words[r % n] = t_random(&seed) % 4 ? t_random(&seed) : 0x7fc000007f800000;
		}
		/* A whole row of one value now and then. */
		r = t_random(&seed) % (n - 512);
		memset(words + r, t_random(&seed), 4096);
		sched_yield();
	}
	return NULL;
}

static void check_scribbled(struct t_client *c, struct t_client *witness)
{
	unsigned int n = t_size(t_is_fast() ? 1000 : t_is_uml() ? 60 : 6, 100000), i, k, bad = 0;
	static struct t_result r;
	struct bitnet_job job;
	pthread_t thread;
	bool golden = true;

	if (pthread_create(&thread, NULL, scribble, NULL))
		bail("pthread_create");
	for (i = 0; t_more(i, n, "jobs over changing weights"); i++) {
		const struct t_golden *g = &t_golden[i % T_N_GOLDEN];

		job = i % 3 == 2 ? t_score(c->session, g->ids, g->n_ids, i) :
				   t_generate(c->session, g->ids, g->n_ids, 4, i);
		if (i % 3 == 1) {
			job.temperature_ppm = 2 * BITNET_PPM;
			job.top_k = 50;
			job.top_p_ppm = 900000;
			job.min_p_ppm = 10000;
			job.repeat_penalty_ppm = 1200000;
			job.repeat_last_n = 64;
			job.seed = i;
		}
		t_session_rewind(c->fd, c->session, 0);
		if (t_run(&c->ring, &job, &r) || r.end.kind != BITNET_ENTRY_DONE) {
			bad++;
			continue;
		}
		for (k = 0; k < r.n; k++)
			bad += r.token[k].token >= image.header->vocab;
		if (i % 20 == 7)
			golden &= t_golden_holds(witness, 0);
	}
	stop = true;
	pthread_join(thread, NULL);
	is(bad, 0, "%u jobs over changing weights end well, with tokens of the vocabulary", i);
	ok(golden, "the same model, loaded from other pages, is not touched");
}

/* All weights the same hostile value, all at once. */
static void check_constant(struct t_client *c)
{
	static const uint8_t values[] = { 0x00, 0xff, 0x7f, 0x80, 0xaa };
	static struct t_result r;
	struct bitnet_job job;
	unsigned int i, k, bad;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		memset((char *)image.base + from, values[i], image.length - from);
		job = t_generate(c->session, t_golden[0].ids, t_golden[0].n_ids, 5, 1);
		t_session_rewind(c->fd, c->session, 0);
		is(t_run(&c->ring, &job, &r), 0, "all bytes 0x%02x", values[i]);
		for (k = bad = 0; k < r.n; k++)
			bad += r.token[k].token >= image.header->vocab || r.token[k].logprob > 0;
		ok(r.n == 5 && !bad, "five tokens of the vocabulary");
	}
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_client c, witness;
	static struct t_result first, again;
	struct bitnet_job job;

	original = t_image_demo();
	image = t_image_copy(&original);
	from = image.header->tensor_offset +
	       (size_t)image.header->tensor_count * sizeof(struct bitnet_image_tensor);
	t_client_open(&witness, &original, 64);
	t_client_open(&c, &image, 64);
	job = t_generate(c.session, t_golden[0].ids, t_golden[0].n_ids, t_tokens(T_N_GREEDY), 1);
	is(t_run(&c.ring, &job, &first), 0, "before");
	ok(t_same_tokens(&first, t_golden[0].greedy, t_tokens(T_N_GREEDY)), "golden text");

	check_scribbled(&c, &witness);
	check_constant(&c);

	memcpy((char *)image.base + from, (char *)original.base + from, image.length - from);
	memset(image.base, 0xff, from);
	image.header = original.header;
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &again), 0, "the old weights, but header and table overwritten");
	ok(t_same_hashes(&first, &again), "give the old results bit for bit");

	/* The mapping goes away altogether: the pinned pages stay. */
	munmap(image.base, image.length);
	t_session_rewind(c.fd, c.session, 0);
	is(t_run(&c.ring, &job, &again), 0, "without a mapping");
	ok(t_same_hashes(&first, &again), "the results are the same");
	ok(t_golden_holds(&witness, 1), "the witness has its golden text");
	t_client_close(&c);
	t_client_close(&witness);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

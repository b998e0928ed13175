// SPDX-License-Identifier: GPL-2.0
/*
 * ring_overflow.c - a full ring parks its own jobs: nothing is lost, nobody else notices
 */
#include "device.h"

#define N_JOBS	3
#define N_TOKENS 40

static struct t_image image;
static const uint32_t tokens[4] = { 1, 2, 3, 4 };

/* Waits until the file's jobs are all parked or ended. */
static bool all_parked(int fd)
{
	uint64_t give_up = t_now() + T_HANG_NS;
	struct bitnet_stats s;

	do {
		s = t_stats(fd);
		if (s.out_jobs == s.out_parked)
			return true;
		t_sleep_ns(1000000);
	} while (t_now() < give_up);
	return false;
}

static void check(uint32_t entries)
{
	static struct t_result want[N_JOBS], got[N_JOBS], other_result;
	struct t_client small, other;
	struct bitnet_job jobs[N_JOBS], job;
	uint32_t n_jobs = entries > N_JOBS ? N_JOBS : entries - 1, i, ids[N_JOBS], waited;
	struct bitnet_stats s;

	/* The same jobs with room for all, one after the other. */
	t_client_open(&other, &image, 256);
	for (i = 0; i < n_jobs; i++) {
		t_session_rewind(other.fd, other.session, 0);
		job = t_generate(other.session, tokens, i + 1, N_TOKENS, i);
		t_run(&other.ring, &job, &want[i]);
	}

	t_client_open(&small, &image, entries);
	for (i = 0; i < n_jobs; i++) {
		ids[i] = small.session;
		if (i && t_session_open(small.fd, small.model, 0, &ids[i]))
			bail("SESSION_OPEN");
		jobs[i] = t_generate(ids[i], tokens, i + 1, N_TOKENS, i);
	}
	is(t_submit(small.fd, jobs, n_jobs, NULL), 0, "ring of %u: %u jobs with many more tokens",
	   entries, n_jobs);
	ok(all_parked(small.fd), "they park");
	s = t_stats(small.fd);
	is(s.out_parked, n_jobs, "all of them");
	is(s.out_jobs, n_jobs, "none has ended");
	ok(small.ring.header->flags & BITNET_RING_F_NEED_WAKEUP, "NEED_WAKEUP is set");
	is(small.ring.header->tail, entries - n_jobs, "all slots but those of DONE are filled");
	is(t_wait(small.fd, entries, T_HANG_NS, &waited), 0, "WAIT for a full ring does not hang");
	is(waited, entries - n_jobs, "and tells what is there");

	job = t_generate(other.session, tokens, 4, N_TOKENS, 0);
	t_session_rewind(other.fd, other.session, 0);
	is(t_run(&other.ring, &job, &other_result), 0, "another file's job runs");
	is(other_result.n, N_TOKENS, "to its end");
	is(t_stats(small.fd).out_parked, n_jobs, "the parked ones are still parked");

	is(t_collect(&small.ring, got, n_jobs, 0), 0,
	   "when the process consumes, all goes on and ends");
	for (i = 0; i < n_jobs; i++) {
		is(got[i].n, N_TOKENS, "job %u has all its tokens", i);
		ok(t_same_hashes(&want[i], &got[i]), "and they are the right ones");
	}
	is(t_stats(small.fd).out_parked, 0, "nothing is parked any more");

	/* A parked job can be cancelled, and closed. */
	for (i = 0; i < n_jobs; i++)
		t_session_rewind(small.fd, ids[i], 0);
	t_submit(small.fd, jobs, n_jobs, NULL);
	ok(all_parked(small.fd), "parked again");
	is(t_cancel(small.fd, 0, NULL), 0, "one is cancelled");
	is(t_stats(small.fd).out_parked, n_jobs - 1, "the others stay parked");
	t_client_close(&small);
	t_client_close(&other);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	image = t_image_random(&t_tiny);
	check(2);
	check(4);
	check(16);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

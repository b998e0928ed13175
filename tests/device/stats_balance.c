// SPDX-License-Identifier: GPL-2.0
/*
 * stats_balance.c - the counters of a file add up, and those of all files are the device's
 */
#include <inttypes.h>

#include "device.h"

#define N_FILES	3

static const char *const totals[] = {
	"jobs_submitted", "jobs_done", "jobs_failed", "jobs_cancelled", "tokens_in", "tokens_out",
	"cpu_ns", "queue_ns", "weight_bytes",
};

static void read_totals(long long now[ARRAY_SIZE(totals)])
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(totals); i++)
		now[i] = t_number_in(T_DEBUGFS_STATS, totals[i], -1);
}

static uint64_t histogram_sum(const struct bitnet_stats *s)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < BITNET_HIST_BUCKETS; i++)
		sum += s->out_token_ns[i];
	return sum;
}

static void check_file(struct t_client *c, const struct t_image *image)
{
	static uint32_t tokens[200];
	static struct t_result r;
	struct bitnet_model_info info;
	struct bitnet_stats s = t_stats(c->fd);
	struct bitnet_job job, jobs[2];
	uint64_t cpu = 0;
	uint32_t i, other;

	for (i = 0; i < ARRAY_SIZE(tokens); i++)
		tokens[i] = i;
	t_model_info(c->fd, c->model, &info);
	is(s.out_models, 1, "a model");
	is(s.out_sessions, 1, "a session");
	is(s.out_pinned_bytes, image->length, "pinned bytes");
	is(s.out_kv_bytes, info.out_kv_bytes_per_token * info.out_max_ctx, "cache bytes");
	ok(!s.out_jobs && !s.out_parked && !s.out_jobs_submitted && !s.out_jobs_done &&
	   !s.out_jobs_failed && !s.out_jobs_cancelled && !s.out_tokens_in && !s.out_tokens_out &&
	   !s.out_cpu_ns && !s.out_queue_ns && !histogram_sum(&s), "all else is 0");

	job = t_generate(c->session, tokens, 10, 7, 1);
	t_run(&c->ring, &job, &r);
	cpu += r.end.cpu_ns;
	s = t_stats(c->fd);
	is(s.out_jobs_submitted, 1, "GENERATE: submitted");
	is(s.out_jobs_done, 1, "done");
	is(s.out_tokens_in, 10, "tokens in: the prompt's");
	is(s.out_tokens_out, 7, "tokens out");
	is(histogram_sum(&s), 7, "all of them in the histogram");
	is(s.out_cpu_ns, cpu, "worker time is what DONE said");
	ok(s.out_queue_ns > 0, "the job waited for its first step");

	job = t_score(c->session, tokens, 20, 1);
	t_run(&c->ring, &job, &r);
	cpu += r.end.cpu_ns;
	s = t_stats(c->fd);
	is(s.out_tokens_in, 30, "SCORE: tokens in");
	is(s.out_tokens_out, 7, "tokens out stay");
	is(s.out_cpu_ns, cpu, "worker time");

	t_session_open(c->fd, c->model, 0, &other);
	job = t_generate(other, tokens, 4, 10000, 1);
	t_submit(c->fd, &job, 1, NULL);
	is(t_stats(c->fd).out_jobs, 1, "a job that does not end");
	is(t_cancel(c->fd, 1, NULL), 0, "is cancelled");
	is(t_collect(&c->ring, &r, 1, 1), 0, "and ends");
	s = t_stats(c->fd);
	is(s.out_jobs_cancelled, 1, "cancelled: 1");

	jobs[0] = t_score(other, tokens, 200, 1);
	jobs[1] = t_score(other, tokens, 200, 2);
	t_session_rewind(c->fd, other, 0);
	t_submit(c->fd, jobs, 2, NULL);
	{
		static struct t_result two[2];

		is(t_collect(&c->ring, two, 2, 1), 0, "the second of two jobs does not fit");
	}
	s = t_stats(c->fd);
	is(s.out_jobs_failed, 1, "failed: 1");
	is(s.out_jobs_submitted, s.out_jobs_done + s.out_jobs_failed + s.out_jobs_cancelled,
	   "all submitted jobs ended in one way");
	is(s.out_jobs, 0, "none is left");
	is(t_session_close(c->fd, other), 0, "a session is closed");
	is(t_stats(c->fd).out_kv_bytes, info.out_kv_bytes_per_token * info.out_max_ctx,
	   "its bytes are gone");
}

/* The histogram of sections: buckets in order, an eighth wide; what is said of them fits them. */
static void check_sections(void)
{
	static const char *const shares[] = { "p50_ns", "p99_ns", "p99.9_ns", "max_ns" };
	uint64_t from[512], count[512], total = 0, max;
	const char *path = "/sys/kernel/debug/bitnet/sections";
	FILE *f = fopen(path, "re");
	bool ordered = true, shared = true;
	unsigned int n = 0, i, k;
	char line[128];

	if (!f) {
		skip("no debugfs");
		return;
	}
	while (n < ARRAY_SIZE(from) && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNu64 " %" SCNu64, &from[n], &count[n]) != 2)
			continue;
		ordered = ordered && count[n] && (!n || from[n] >= from[n - 1] + from[n - 1] / 16);
		total += count[n++];
	}
	fclose(f);
	ok(n && ordered, "%u buckets of sections", n);
	max = t_number_in(path, "max_ns", -1);
	/* The last bucket of all, from a quarter of a second on, has no end. */
	ok(n && max >= from[n - 1] &&
	   (from[n - 1] == 15ULL << 24 || max < from[n - 1] + from[n - 1] / 8 + 1),
	   "the longest section, of %" PRIu64 " ns, is in the last one", max);
	/* No job runs meanwhile, so the file says the same again. */
	for (i = 0; i < ARRAY_SIZE(shares); i++) {
		static const uint64_t beyond[] = { 2, 100, 1000, UINT64_MAX };
		uint64_t ns = t_number_in(path, shares[i], -1), longer = total;

		/* Not more than its share is in the buckets behind; with its own bucket it is. */
		for (k = 0; k < n && from[k] <= ns; k++)
			longer -= count[k];
		shared = shared && k && longer <= total / beyond[i] &&
			 longer + count[k - 1] > total / beyond[i];
	}
	ok(shared, "p50, p99 and p99.9 are those of the buckets");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	long long start[ARRAY_SIZE(totals)], end[ARRAY_SIZE(totals)],
		sum[ARRAY_SIZE(totals)] = { 0 };
	struct t_image image = t_image_random(&t_tiny);
	struct t_client c[N_FILES];
	unsigned int i, k;

	read_totals(start);
	for (i = 0; i < N_FILES; i++)
		t_client_open(&c[i], &image, 16);
	check_file(&c[0], &image);
	for (i = 1; i < N_FILES; i++) {
		static struct t_result r;
		const uint32_t tokens[3] = { 1, 2, 3 };
		struct bitnet_job job = t_generate(c[i].session, tokens, 3, 10 * i, 1);

		t_run(&c[i].ring, &job, &r);
		is(t_stats(c[i].fd).out_tokens_out, 10 * i, "file %u counts its own tokens", i);
	}
	/*
	 * A cancelled job may have a step in flight, whose time is charged when it ends: a job
	 * behind it.
	 */
	read_totals(end);
	for (i = 0; i < N_FILES; i++) {
		struct bitnet_stats s = t_stats(c[i].fd);
		const long long file[ARRAY_SIZE(totals)] = {
			s.out_jobs_submitted, s.out_jobs_done, s.out_jobs_failed,
			s.out_jobs_cancelled, s.out_tokens_in, s.out_tokens_out,
			s.out_cpu_ns,	      s.out_queue_ns,	s.out_weight_bytes,
		};

		for (k = 0; k < ARRAY_SIZE(totals); k++)
			sum[k] += file[k];
	}
	for (k = 0; k < ARRAY_SIZE(totals); k++) {
		if (end[k] < 0)
			skip("no debugfs: %s", totals[k]);
		else
			is(sum[k], end[k] - start[k], "the files' %s add up to the device's",
			   totals[k]);
	}
	for (i = 0; i < N_FILES; i++)
		t_client_close(&c[i]);
	read_totals(end);
	for (k = 0; k < ARRAY_SIZE(totals); k++)
		if (end[k] >= 0)
			is(end[k] - start[k], sum[k], "closing loses no %s", totals[k]);
	check_sections();
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

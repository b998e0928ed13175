// SPDX-License-Identifier: GPL-2.0
/*
 * submit_errors.c - SUBMIT accepts jobs up to the first that is wrong, and says what is wrong with
 * it
 */
#include "device.h"

static struct t_image image;
static struct t_client c;
static uint32_t tokens[300];
static struct t_result results[8];

static struct bitnet_job good(void)
{
	return t_generate(c.session, tokens, 3, 2, 1);
}

static struct bitnet_job good_score(void)
{
	return t_score(c.session, tokens, 3, 1);
}

/* The job must be refused with @want, and nothing must have happened. */
static void refuse(struct bitnet_job job, int want, const char *what)
{
	struct bitnet_stats before = t_stats(c.fd), after;
	uint32_t accepted = 99;
	int err = t_submit(c.fd, &job, 1, &accepted);

	is(err, want, "%s", what);
	after = t_stats(c.fd);
	if (!err) {
		t_collect(&c.ring, results, 1, job.user_data);
		t_session_rewind(c.fd, c.session, 0);
		return;
	}
	ok(!accepted && after.out_jobs_submitted == before.out_jobs_submitted && !after.out_jobs,
	   "no job came of it");
}

#define REFUSE(make, field, value, want)				\
	do {								\
		struct bitnet_job bad = make();				\
									\
		bad.field = value;					\
		refuse(bad, want, #make ": " #field " = " #value);	\
	} while (0)

static void check_fields(void)
{
	uint32_t bad_token[3] = { 1, 2, image.header->vocab };
	uint32_t huge_token[3] = { ~0U, 2, 3 };

	REFUSE(good, kind, 0, -EINVAL);
	REFUSE(good, kind, 4, -EINVAL);
	REFUSE(good, kind, ~0U, -EINVAL);
	REFUSE(good, flags, 2, -EINVAL);
	REFUSE(good, flags, 1U << 31, -EINVAL);
	REFUSE(good, session_id, 0, -ENOENT);
	REFUSE(good, session_id, c.session + 1, -ENOENT);
	REFUSE(good, session_id, ~0U, -ENOENT);
	REFUSE(good, model_id, c.model, -EINVAL);
	REFUSE(good, input, 0, -EFAULT);
	REFUSE(good, input, -16ULL, -EFAULT);
	REFUSE(good, input_count, 0, -EINVAL);
	REFUSE(good, input_count, 257, -ERANGE);
	REFUSE(good, input_count, ~0U, -ERANGE);
	REFUSE(good, input, t_pointer(bad_token), -ERANGE);
	REFUSE(good, input, t_pointer(huge_token), -ERANGE);
	REFUSE(good, max_tokens, 0, -EINVAL);
	REFUSE(good, temperature_ppm, 100 * BITNET_PPM + 1, -EINVAL);
	REFUSE(good, temperature_ppm, ~0U, -EINVAL);
	REFUSE(good, top_k, BITNET_MAX_TOP_K + 1, -EINVAL);
	REFUSE(good, top_p_ppm, BITNET_PPM + 1, -EINVAL);
	REFUSE(good, min_p_ppm, BITNET_PPM + 1, -EINVAL);
	REFUSE(good, repeat_penalty_ppm, 100 * BITNET_PPM + 1, -EINVAL);
	REFUSE(good, repeat_last_n, BITNET_MAX_REPEAT_LAST_N + 1, -EINVAL);
	REFUSE(good, n_stop, BITNET_MAX_STOP_TOKENS + 1, -EINVAL);
	REFUSE(good, n_stop, ~0U, -EINVAL);
	REFUSE(good, layer, 1, -EINVAL);
	REFUSE(good, matrix, 1, -EINVAL);
	REFUSE(good, __resv, 1, -EINVAL);
	REFUSE(good, data_offset, 64, -EINVAL);

	REFUSE(good_score, max_tokens, 1, -EINVAL);
	REFUSE(good_score, seed, 1, -EINVAL);
	REFUSE(good_score, temperature_ppm, 1, -EINVAL);
	REFUSE(good_score, top_k, 1, -EINVAL);
	REFUSE(good_score, top_p_ppm, 1, -EINVAL);
	REFUSE(good_score, min_p_ppm, 1, -EINVAL);
	REFUSE(good_score, repeat_penalty_ppm, BITNET_PPM, -EINVAL);
	REFUSE(good_score, repeat_last_n, 1, -EINVAL);
	REFUSE(good_score, n_stop, 1, -EINVAL);
	REFUSE(good_score, model_id, c.model, -EINVAL);
	REFUSE(good_score, __resv, 1, -EINVAL);

	/* The largest values that the header allows. */
	REFUSE(good, temperature_ppm, 100 * BITNET_PPM, 0);
	REFUSE(good, top_k, BITNET_MAX_TOP_K, 0);
	REFUSE(good, top_p_ppm, BITNET_PPM, 0);
	REFUSE(good, min_p_ppm, BITNET_PPM, 0);
	REFUSE(good, repeat_penalty_ppm, 100 * BITNET_PPM, 0);
	REFUSE(good, repeat_last_n, BITNET_MAX_REPEAT_LAST_N, 0);
	REFUSE(good, n_stop, BITNET_MAX_STOP_TOKENS, 0);
	REFUSE(good, max_tokens, ~0U, 0);
	REFUSE(good_score, input_count, 256, 0);
}

static int submit_raw(uint64_t jobs, uint32_t count, uint32_t job_size)
{
	struct bitnet_submit arg = {
		.size = sizeof(arg), .jobs = jobs, .count = count, .job_size = job_size,
	};
	int err = t_ioctl(c.fd, BITNET_IOC_SUBMIT, &arg);

	return err ? err : arg.out_error;
}

static void check_arrays(void)
{
	static struct { struct bitnet_job job; uint8_t tail[16]; } wide[2];
	static struct bitnet_job many[BITNET_MAX_SUBMIT + 1];
	struct bitnet_job jobs[4];
	uint8_t *pages = t_pages(2 * T_PAGE);
	struct bitnet_job *edge = (void *)(pages + T_PAGE - sizeof(*edge));
	uint32_t accepted, i;

	jobs[0] = good();
	is(submit_raw(t_pointer(jobs), 0, sizeof(*jobs)), -EINVAL, "no jobs");
	is(submit_raw(t_pointer(many), BITNET_MAX_SUBMIT + 1, sizeof(*jobs)), -E2BIG, "65 jobs");
	is(submit_raw(t_pointer(many), ~0U, sizeof(*jobs)), -E2BIG, "as many as there are numbers");
	is(submit_raw(0, 1, sizeof(*jobs)), -EFAULT, "no array");
	is(submit_raw(t_pointer(jobs), 1, 0), -EINVAL, "jobs of no size");
	is(submit_raw(t_pointer(jobs), 1, offsetof(struct bitnet_job, job_class) - 8), -EINVAL,
	   "jobs shorter than version 1");
	is(submit_raw(t_pointer(jobs), 1, ~0U), -E2BIG, "jobs of 4 GiB");

	for (i = 0; i < 2; i++) {
		wide[i].job = t_score(c.session, tokens, 2, 1 + i);
		memset(wide[i].tail, 0, sizeof(wide[i].tail));
	}
	is(submit_raw(t_pointer(wide), 2, sizeof(wide[0])), 0, "longer jobs, the rest zero");
	is(t_collect(&c.ring, results, 2, 1), 0, "both end: the size is the stride");
	wide[1].tail[15] = 1;
	is(submit_raw(t_pointer(wide), 2, sizeof(wide[0])), -E2BIG,
	   "the second's tail is not zero");
	is(t_stats(c.fd).out_jobs, 0, "and the first was not accepted either");

	/* A job at the end of memory; and one of which the second half is missing. */
	mprotect(pages + T_PAGE, T_PAGE, PROT_NONE);
	*edge = t_score(c.session, tokens, 2, 1);
	is(submit_raw(t_pointer(edge), 1, sizeof(*edge)), 0, "a job at the end of memory");
	is(t_collect(&c.ring, results, 1, 1), 0, "ends");
	is(submit_raw(t_pointer(edge), 2, sizeof(*edge)), -EFAULT, "and one behind it");
	is(t_stats(c.fd).out_jobs, 0, "nothing was accepted");
	munmap(pages, 2 * T_PAGE);

	/* Good, good, bad, good. */
	t_session_rewind(c.fd, c.session, 0);
	for (i = 0; i < 4; i++)
		jobs[i] = t_score(c.session, tokens, 2, 10 + i);
	jobs[2].input_count = 0;
	is(t_submit(c.fd, jobs, 4, &accepted), -EINVAL, "the third of four jobs is wrong");
	is(accepted, 2, "the first two are accepted");
	is(t_collect(&c.ring, results, 2, 10), 0, "and end");
	is(t_stats(c.fd).out_jobs, 0, "the fourth is not there");

	/* Each fits, but the second not behind the first. */
	t_session_rewind(c.fd, c.session, 0);
	jobs[0] = t_score(c.session, tokens, 200, 20);
	jobs[1] = t_score(c.session, tokens, 100, 21);
	jobs[2] = t_score(c.session, tokens, 56, 22);
	is(t_submit(c.fd, jobs, 3, NULL), 0, "jobs of one session that are too long together");
	is(t_collect(&c.ring, results, 3, 20), 0, "all end");
	is(results[0].end.kind, BITNET_ENTRY_DONE, "the first well");
	is(results[1].end.error, -ERANGE, "the second with ERANGE");
	is(results[1].n, 0, "and no token");
	is(results[2].end.kind, BITNET_ENTRY_DONE, "the third fits again");
	is(results[2].end.position, 256, "exactly");
	t_session_rewind(c.fd, c.session, 0);
}

static void check_limits(void)
{
	struct bitnet_info info = t_info(c.fd);
	struct t_image slow = t_image_random(&t_slow);
	uint32_t accepted, n = 0;
	struct bitnet_job job;
	struct t_client small, many;
	int err = 0, fd;

	/* A session whose first job parks: those behind it stay where they are. */
	t_client_open(&small, &image, 4);
	job = t_generate(small.session, tokens, 1, 200, 1);
	do {
		err = t_submit(small.fd, &job, 1, &accepted);
		n += !err;
	} while (!err && n < 100);
	is(err, -ENOSPC, "a ring of 4 entries: no slot for another DONE");
	ok(n >= 1 && n < 4, "after %u jobs", n);
	is(t_cancel(small.fd, 1, &accepted), 0, "CANCEL");
	is(accepted, n, "ends all of them");
	t_client_close(&small);

	t_client_open(&many, &slow, 2 * info.out_max_jobs);
	job = t_generate(many.session, tokens, 1, ~0U, 1);
	for (n = 0; n <= info.out_max_jobs; n++) {
		err = t_submit(many.fd, &job, 1, NULL);
		if (err)
			break;
	}
	is(n, info.out_max_jobs, "a file has as many unfinished jobs as INFO says");
	is(err, -EDQUOT, "then EDQUOT");
	t_client_close(&many);

	fd = t_open();
	job = good();
	is(t_submit(fd, &job, 1, NULL), -ENXIO, "no ring");
	close(fd);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint32_t i;

	image = t_image_random(&t_tiny);
	for (i = 0; i < ARRAY_SIZE(tokens); i++)
		tokens[i] = i;
	t_client_open(&c, &image, 16);
	check_fields();
	check_arrays();
	check_limits();
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * accounts.c - counters of sessions add up to those of their file, and those of files to the user's
 */
#include "device.h"

static struct t_image image;
static struct t_result result;

static struct bitnet_stats stats_of(int fd, uint32_t flags, uint32_t session)
{
	struct bitnet_stats s = { .size = sizeof(s), .flags = flags, .session_id = session };
	int err = t_ioctl(fd, BITNET_IOC_STATS, &s);

	if (err)
		bail("STATS: %s", strerror(-err));
	return s;
}

static struct bitnet_stats user_stats(int fd)
{
	return stats_of(fd, BITNET_STATS_F_USER, 0);
}

static int try_stats(int fd, uint32_t flags, uint32_t session, uint32_t resv)
{
	struct bitnet_stats s = {
		.size = sizeof(s), .flags = flags, .session_id = session, .__resv = resv,
	};

	return t_ioctl(fd, BITNET_IOC_STATS, &s);
}

/* All that counts up, without a gap: 64-bit words. */
static void words_of(const struct bitnet_stats *s, uint64_t *words, unsigned int *n)
{
	const uint64_t some[] = {
		s->out_jobs_submitted, s->out_jobs_done, s->out_jobs_failed, s->out_jobs_cancelled,
		s->out_tokens_in, s->out_tokens_out, s->out_cpu_ns, s->out_queue_ns,
		s->out_weight_bytes, s->out_late, s->out_realtime_tokens, s->out_class_cpu_ns[0],
		s->out_class_cpu_ns[1], s->out_class_cpu_ns[2],
	};

	memcpy(words, some, sizeof(some));
	memcpy(words + ARRAY_SIZE(some), s->out_token_ns, sizeof(s->out_token_ns));
	*n = ARRAY_SIZE(some) + BITNET_HIST_BUCKETS;
}

/* Is @sum all that @parts, of which there are @n, have counted? */
static bool adds_up(const struct bitnet_stats *sum, const struct bitnet_stats *parts,
		    unsigned int n)
{
	uint64_t want[64], part[64], have[64] = { 0 };
	unsigned int words, i, k;

	words_of(sum, want, &words);
	for (i = 0; i < n; i++) {
		words_of(&parts[i], part, &words);
		for (k = 0; k < words; k++)
			have[k] += part[k];
	}
	for (k = 0; k < words; k++) {
		if (have[k] == want[k])
			continue;
		diag("counter %u: %llu, the parts have %llu", k, (unsigned long long)want[k],
		     (unsigned long long)have[k]);
		return false;
	}
	return true;
}

static void run(struct t_client *c, struct bitnet_job job)
{
	int err = t_run(&c->ring, &job, &result);

	if (err || result.end.kind != BITNET_ENTRY_DONE)
		bail("a job of class %u: %s", job.job_class, strerror(-err));
}

/* Work of all kinds and classes in both sessions of @c. */
static void work(struct t_client *c, uint32_t other)
{
	const uint32_t tokens[4] = { 1, 2, 3, 4 };
	struct bitnet_job job = t_generate(c->session, tokens, 4, 5, 1);

	run(c, job);
	job.job_class = BITNET_CLASS_BATCH;
	run(c, job);
	job.session_id = other;
	run(c, job);
	/* Due so late that nothing can be against it. */
	job.job_class = BITNET_CLASS_REALTIME;
	job.first_token_ns = BITNET_MAX_PERIOD_NS;
	job.period_ns = BITNET_MAX_PERIOD_NS;
	run(c, job);
	run(c, t_score(other, tokens, 3, 1));

	job = t_generate(other, tokens, 4, 10000, 1);
	t_submit(c->fd, &job, 1, NULL);
	t_cancel(c->fd, 1, NULL);
	t_collect(&c->ring, &result, 1, 1);
	/* When this has ended, so has a step that the cancelled one was part of. */
	run(c, t_score(other, tokens, 2, 1));
}

static void check_file(struct t_client *c, uint32_t other)
{
	struct bitnet_stats file, part[2];

	work(c, other);
	file = t_stats(c->fd);
	part[0] = stats_of(c->fd, BITNET_STATS_F_SESSION, c->session);
	part[1] = stats_of(c->fd, BITNET_STATS_F_SESSION, other);
	ok(adds_up(&file, part, 2), "the sessions add up to the file");
	is(part[0].out_jobs_done, 2, "jobs of the first");
	is(part[1].out_jobs_done, 4, "of the second");
	is(part[1].out_jobs_cancelled, 1, "one was cancelled");
	is(part[0].out_tokens_out, 10, "tokens");
	is(part[1].out_realtime_tokens, 5, "tokens of the realtime job");
	is(part[1].out_late, 0, "none is late");
	ok(!part[0].out_models && !part[0].out_sessions && !part[0].out_pinned_bytes,
	   "a session has no models, sessions, pinned bytes");
	is(part[0].out_kv_bytes + part[1].out_kv_bytes, file.out_kv_bytes, "cache bytes");
	is(file.out_class_cpu_ns[0] + file.out_class_cpu_ns[1] + file.out_class_cpu_ns[2],
	   file.out_cpu_ns, "worker time of the classes is all of it");
	ok(file.out_class_cpu_ns[BITNET_CLASS_BATCH] > 0, "batch jobs have their share");
	ok(part[0].out_limit_sessions && part[0].out_limit_jobs && part[0].out_limit_kv_bytes &&
	   part[0].out_limit_pinned_bytes, "limits of the user are told");
}

static void check_parked(struct t_client *c)
{
	const uint32_t tokens[2] = { 1, 2 };
	struct bitnet_job jobs[2] = {
		t_generate(c->session, tokens, 2, 40, 1), t_generate(c->session, tokens, 2, 2, 2),
	};
	uint64_t give_up = t_now() + T_HANG_NS;
	static struct t_result two[2];
	struct bitnet_stats s;

	t_session_rewind(c->fd, c->session, 0);
	if (t_submit(c->fd, jobs, 2, NULL))
		bail("two jobs");
	/* The ring is smaller than what the first makes. */
	while (!t_stats(c->fd).out_parked && t_now() < give_up)
		t_sleep_ns(1000000);
	s = stats_of(c->fd, BITNET_STATS_F_SESSION, c->session);
	is(s.out_jobs, 2, "a session's jobs");
	is(s.out_parked, 1, "and those that are parked");
	s = user_stats(c->fd);
	is(s.out_jobs, 2, "the user's");
	is(s.out_parked, 1, "and those that are parked");
	is(t_collect(&c->ring, two, 2, 1), 0, "they end");
	is(user_stats(c->fd).out_parked, 0, "none is parked");
}

/* RUN's memory is the session's; a RUN whose struct cannot be written has none. */
static void check_run_memory(struct t_client *c, uint32_t other)
{
	const uint32_t tokens[2] = { 1, 2 };
	const struct bitnet_job job = t_generate(c->session, tokens, 2, 2, 1);
	static struct bitnet_ring_entry entries[3];
	struct bitnet_run *run = t_pages(T_PAGE);
	uint64_t bytes = t_stats(c->fd).out_kv_bytes;

	*run = (struct bitnet_run){
		.size = sizeof(*run), .job = t_pointer(&job), .job_size = sizeof(job),
		.n_entries = 3, .entries = t_pointer(entries),
	};
	mprotect(run, T_PAGE, PROT_READ);
	is(t_ioctl(c->fd, BITNET_IOC_RUN, run), -EFAULT, "RUN with a struct to read only");
	is(t_stats(c->fd).out_kv_bytes, bytes, "leaves no memory");
	mprotect(run, T_PAGE, PROT_READ | PROT_WRITE);
	is(t_ioctl(c->fd, BITNET_IOC_RUN, run), 0, "RUN");
	ok(t_stats(c->fd).out_kv_bytes > bytes, "has memory");
	is(stats_of(c->fd, BITNET_STATS_F_SESSION, c->session).out_kv_bytes +
	   stats_of(c->fd, BITNET_STATS_F_SESSION, other).out_kv_bytes,
	   t_stats(c->fd).out_kv_bytes, "which is the session's");
	t_session_rewind(c->fd, c->session, 0);
	munmap(run, T_PAGE);
}

static void check_requests(struct t_client *c)
{
	is(try_stats(c->fd, BITNET_STATS_F_SESSION | BITNET_STATS_F_USER, c->session, 0), -EINVAL,
	   "both flags");
	is(try_stats(c->fd, 1 << 2, 0, 0), -EINVAL, "an unknown flag");
	is(try_stats(c->fd, 0, c->session, 0), -EINVAL, "a session without its flag");
	is(try_stats(c->fd, BITNET_STATS_F_USER, c->session, 0), -EINVAL, "of a user");
	is(try_stats(c->fd, 0, 0, 1), -EINVAL, "a reserved field");
	is(try_stats(c->fd, BITNET_STATS_F_SESSION, 0, 0), -ENOENT, "session 0");
	is(try_stats(c->fd, BITNET_STATS_F_SESSION, 63, 0), -ENOENT, "no such session");
	is(try_stats(c->fd, BITNET_STATS_F_SESSION, UINT32_MAX, 0), -ENOENT, "nor that");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct bitnet_stats file[2], user;
	struct t_client c[2];
	uint32_t other[2];
	int i, fd;

	image = t_image_random(&t_tiny);
	for (i = 0; i < 2; i++) {
		t_client_open(&c[i], &image, 32);
		if (t_session_open(c[i].fd, c[i].model, 0, &other[i]))
			bail("SESSION_OPEN");
	}
	user = user_stats(c[0].fd);
	ok(!user.out_jobs_submitted && !user.out_cpu_ns && !user.out_tokens_in,
	   "a user's counters begin with his first file");
	check_requests(&c[0]);
	for (i = 0; i < 2; i++)
		check_file(&c[i], other[i]);
	for (i = 0; i < 2; i++)
		file[i] = t_stats(c[i].fd);
	user = user_stats(c[0].fd);
	ok(adds_up(&user, file, 2), "the files add up to the user");
	is(user.out_models, 2, "models");
	is(user.out_sessions, 4, "sessions");
	is(user.out_pinned_bytes, 2 * image.length, "pinned bytes");
	is(user.out_kv_bytes, file[0].out_kv_bytes + file[1].out_kv_bytes, "cache bytes");

	is(t_session_close(c[0].fd, other[0]), 0, "a session is closed");
	user = t_stats(c[0].fd);
	ok(adds_up(&user, file, 1), "what it had stays with its file");
	t_client_close(&c[0]);
	user = user_stats(c[1].fd);
	ok(adds_up(&user, file, 2), "what a closed file had stays with the user");
	check_parked(&c[1]);
	check_run_memory(&c[1], other[1]);
	t_client_close(&c[1]);
	ok(t_leaks_none(&before), "nothing is left");
	fd = t_open();
	is(user_stats(fd).out_jobs_submitted, 0, "who had no file open begins anew");
	close(fd);
	return done();
}

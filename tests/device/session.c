// SPDX-License-Identifier: GPL-2.0
/* session.c - sessions: limits, what REWIND keeps, what CLOSE refuses */
#include "device.h"

static struct t_client c;
static struct t_result result;

/* Feeds @n tokens; the number that the cache then holds. */
static uint32_t feed(uint32_t session, uint32_t n)
{
	static uint32_t tokens[512];
	struct bitnet_job job = t_score(session, tokens, n, 1);
	uint32_t i;

	for (i = 0; i < n; i++)
		tokens[i] = (i * 7 + 1) % 300;
	if (t_run(&c.ring, &job, &result) || result.end.kind != BITNET_ENTRY_DONE)
		return ~0U;
	return result.end.position;
}

static void check_open(const struct t_image *image)
{
	struct bitnet_info info = t_info(c.fd);
	struct bitnet_model_info model_info;
	uint32_t id, ids[2], n, max = image->header->max_ctx, last = 0;
	struct bitnet_stats s;
	int err = 0;

	t_model_info(c.fd, c.model, &model_info);
	is(t_session_open(c.fd, c.model, max, &id), 0, "n_ctx: the model's longest");
	is(t_session_close(c.fd, id), 0, "closed");
	is(t_session_open(c.fd, c.model, max + 1, &id), -EINVAL, "n_ctx: one more");
	is(t_session_open(c.fd, c.model, ~0U, &id), -EINVAL, "n_ctx: as many as there are numbers");
	is(t_session_open(c.fd, c.model, 1, &id), 0, "n_ctx: 1");
	s = t_stats(c.fd);
	is(s.out_sessions, 2, "STATS counts the sessions");
	is(s.out_kv_bytes, model_info.out_kv_bytes_per_token * (max + 1),
	   "STATS counts their bytes");
	is(t_session_close(c.fd, id), 0, "closed");
	is(t_session_open(c.fd, c.model + 1, 1, &id), -ENOENT, "no such model");
	is(t_session_open(c.fd, 0, 1, &id), -ENOENT, "model 0");
	is(t_session_open(c.fd, ~0U, 1, &id), -ENOENT, "the largest model id");
	is(t_session_close(c.fd, 0), -ENOENT, "CLOSE of session 0");
	is(t_session_close(c.fd, ~0U), -ENOENT, "CLOSE of the largest session id");

	is(t_session_open(c.fd, c.model, 1, &ids[0]), 0, "two sessions");
	is(t_session_open(c.fd, c.model, 1, &ids[1]), 0, "of one model");
	ok(ids[0] != ids[1] && ids[0] != c.session, "have ids of their own");
	is(t_session_close(c.fd, ids[0]), 0, "closed");
	is(t_session_close(c.fd, ids[0]), -ENOENT, "closed twice");
	is(t_session_close(c.fd, ids[1]), 0, "the other one");

	for (n = 1; n <= info.out_max_sessions; n++) {
		err = t_session_open(c.fd, c.model, 1, &id);
		if (err)
			break;
		last = id;
	}
	is(n, info.out_max_sessions, "a file has as many sessions as INFO says");
	is(err, -EDQUOT, "then EDQUOT");
	is(t_session_close(c.fd, last), 0, "one is closed");
	is(t_session_open(c.fd, c.model, 1, &id), 0, "and another one fits");
	for (n = 0; n <= 4 * info.out_max_sessions; n++)
		if (n != c.session)
			t_session_close(c.fd, n);
	is(t_stats(c.fd).out_sessions, 1, "all closed but the first");
}

static void check_rewind(const struct t_image *image)
{
	const uint32_t max = image->header->max_ctx;
	static struct t_result whole;
	struct bitnet_job job;
	uint32_t tokens[3] = { 9, 8, 7 };

	is(t_session_rewind(c.fd, c.session, 0), 0, "REWIND of an empty session");
	is(t_session_rewind(c.fd, c.session, 1), -ERANGE, "to more than it holds");
	is(t_session_rewind(c.fd, c.session + 1, 0), -ENOENT, "of no session");
	is(feed(c.session, 10), 10, "10 tokens are fed");
	is(t_session_rewind(c.fd, c.session, 11), -ERANGE, "REWIND to 11");
	is(t_session_rewind(c.fd, c.session, ~0U), -ERANGE,
	   "REWIND to as many as there are numbers");
	is(t_session_rewind(c.fd, c.session, 10), 0, "REWIND to all 10 changes nothing");
	is(t_session_rewind(c.fd, c.session, 4), 0, "REWIND to 4");
	is(t_session_rewind(c.fd, c.session, 5), -ERANGE, "what was forgotten does not come back");
	job = t_generate(c.session, tokens, 3, 4, 1);
	is(t_run(&c.ring, &job, &result), 0, "go on from there");
	is(result.token[0].position, 7, "position of the first token");
	is(result.end.position, 10, "4 + 3 + 4 - 1 tokens are held");

	/* The same tokens without a REWIND in between give the same. */
	whole = result;
	t_session_rewind(c.fd, c.session, 0);
	feed(c.session, 4);
	is(t_run(&c.ring, &job, &result), 0, "the same in one go");
	ok(t_same_hashes(&whole, &result), "gives the same logits");

	t_session_rewind(c.fd, c.session, 0);
	is(feed(c.session, max), max, "the whole context can be filled");
	job = t_score(c.session, tokens, 1, 1);
	is(t_submit(c.fd, &job, 1, NULL), -ERANGE, "no token more");
	is(t_session_rewind(c.fd, c.session, max - 1), 0, "REWIND by one");
	is(feed(c.session, 1), max, "makes room for one");
	t_session_rewind(c.fd, c.session, 0);
}

static void check_busy(const struct t_image *image)
{
	const uint32_t n = image->header->max_ctx - 2;
	uint32_t tokens[2] = { 1, 2 };
	struct bitnet_job job = t_generate(c.session, tokens, 1, n, 1);
	uint32_t other;

	/* The ring has room for a few tokens only: the job parks and stays there. */
	is(t_submit(c.fd, &job, 1, NULL), 0, "a job that does not end by itself");
	is(t_session_rewind(c.fd, c.session, 0), -EBUSY, "REWIND");
	is(t_session_close(c.fd, c.session), -EBUSY, "CLOSE");
	is(t_session_open(c.fd, c.model, 4, &other), 0, "another session");
	is(t_session_close(c.fd, other), 0, "can be closed");
	is(t_model_close(c.fd, c.model), 0, "the model's handle too");
	is(t_session_open(c.fd, c.model, 4, &other), -ENOENT,
	   "which is then no way to new sessions");
	is(t_cancel(c.fd, 1, NULL), 0, "the job is cancelled");
	is(t_collect(&c.ring, &result, 1, 1), 0, "and ends");
	is(result.end.error, -ECANCELED, "as such");
	is(t_session_rewind(c.fd, c.session, 0), 0, "REWIND");
	is(feed(c.session, 5), 5, "the session still works");
	is(t_session_close(c.fd, c.session), 0, "CLOSE");
	job = t_score(c.session, tokens, 1, 1);
	is(t_submit(c.fd, &job, 1, NULL), -ENOENT, "no job for a session that is gone");
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_random(&t_tiny);

	t_client_open(&c, &image, 16);
	check_open(&image);
	check_rewind(&image);
	check_busy(&image);
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

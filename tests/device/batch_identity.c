// SPDX-License-Identifier: GPL-2.0
/*
 * batch_identity.c - the same bits, whoever else's rows are in the step
 *
 * Eight processes run different jobs at once: prompts of different lengths, greedy and sampled,
 * scoring. Each reports a digest over all its logits' hashes, which must be that of the same job
 * alone.
 */
#include "device.h"

#define N_TASKS	8
#define NAME	"batch-identity"

static struct t_result result;

static struct bitnet_job job_of(unsigned int i, uint32_t session)
{
	const struct t_golden *g = &t_golden[i % T_N_GOLDEN];
	struct bitnet_job job;

	if (i == 6)
		return t_score(session, g->greedy, t_tokens(T_N_GREEDY), i);
	job = t_generate(session, g->ids, g->n_ids, 6 + i, i);
	if (i >= 4) {
		job.temperature_ppm = 800000;
		job.top_k = 40;
		job.top_p_ppm = 950000;
		job.seed = i;
	}
	return job;
}

static uint64_t run(struct t_client *c, unsigned int i)
{
	struct bitnet_job job = job_of(i, c->session);

	if (t_session_rewind(c->fd, c->session, 0) || t_run(&c->ring, &job, &result) ||
	    result.end.kind != BITNET_ENTRY_DONE)
		return 0;
	return t_digest(&result);
}

static bool client_open(struct t_client *c)
{
	c->fd = t_open_flags(O_RDWR);
	if (c->fd < 0 || t_model_open(c->fd, NAME, &c->model) ||
	    t_session_open(c->fd, c->model, 128, &c->session))
		return false;
	t_ring_open(&c->ring, c->fd, 64, 0);
	return true;
}

static int child(unsigned int i, uint64_t alone, int go)
{
	unsigned int round, rounds = t_size(t_is_uml() ? 3 : 1, 100);
	struct t_client c;
	char byte;

	if (!client_open(&c))
		return 1;
	if (read(go, &byte, 1) != 1)
		return 2;
	for (round = 0; t_more(round, rounds, "jobs in batches"); round++)
		if (run(&c, i) != alone)
			return 3;
	return 0;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_demo();
	uint64_t alone[N_TASKS];
	int fd = t_open(), go[2], status;
	pid_t pids[N_TASKS];
	struct t_client c;
	unsigned int i, k;
	bool distinct = true;
	uint32_t id;

	if (t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id) || !client_open(&c) ||
	    pipe(go))
		bail("setting up");
	for (i = 0; i < N_TASKS; i++) {
		alone[i] = run(&c, i);
		for (k = 0; k < i; k++)
			distinct &= alone[k] != alone[i];
		ok(alone[i], "job %u alone: %016llx", i, (unsigned long long)alone[i]);
	}
	ok(distinct, "the jobs are different ones");
	t_client_close(&c);

	for (i = 0; i < N_TASKS; i++) {
		pids[i] = t_fork();
		if (!pids[i])
			_exit(child(i, alone[i], go[0]));
	}
	if (write(go[1], "12345678", N_TASKS) != N_TASKS)
		bail("pipe");
	for (i = 0; i < N_TASKS; i++) {
		waitpid(pids[i], &status, 0);
		is(WIFEXITED(status) ? WEXITSTATUS(status) : 126, 0,
		   "job %u among eight processes: the same bits", i);
	}
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_job.c - the state machine of GENERATE and SCORE
 */
#include "bn_job.h"

#include <linux/bitnet.h>

static bool period_ok(u64 ns)
{
	return ns >= BITNET_MIN_PERIOD_NS && ns <= BITNET_MAX_PERIOD_NS;
}

/* Class and deadlines: only REALTIME has some, and only GENERATE can be that. */
static bool class_ok(const struct bitnet_job *r)
{
	if (r->job_class == BITNET_CLASS_REALTIME)
		return r->kind == BITNET_JOB_GENERATE && period_ok(r->first_token_ns) &&
		       period_ok(r->period_ns);
	return (r->job_class == BITNET_CLASS_INTERACTIVE || r->job_class == BITNET_CLASS_BATCH) &&
	       !r->first_token_ns && !r->period_ns;
}

enum bn_err bn_job_check_request(const struct bitnet_job *r)
{
	struct bn_sampler_params sampling = {
		.temperature_ppm = r->temperature_ppm,
		.top_k = r->top_k,
		.top_p_ppm = r->top_p_ppm,
		.min_p_ppm = r->min_p_ppm,
		.repeat_penalty_ppm = r->repeat_penalty_ppm,
		.repeat_last_n = r->repeat_last_n,
	};
	bool generate = r->kind == BITNET_JOB_GENERATE;
	bool linear = r->kind == BITNET_JOB_LINEAR;

	if (!generate && !linear && r->kind != BITNET_JOB_SCORE)
		return BN_EPARAM;
	if (r->flags & ~__BITNET_JOB_F_ALL || r->__resv || r->__resv2 || !r->input_count)
		return BN_EPARAM;
	if (!class_ok(r))
		return BN_EPARAM;
	/* The hash is of logits, and a LINEAR job has none. */
	if (linear && r->flags & BITNET_JOB_F_HASH)
		return BN_EPARAM;
	if (linear ? r->session_id : r->model_id || r->layer || r->matrix || r->data_offset)
		return BN_EPARAM;
	if (linear && (r->input_count > BN_MAX_ROWS || r->matrix >= BITNET_MATRIX_COUNT ||
		       r->data_offset % 64))
		return BN_EPARAM;
	if (generate)
		return !r->max_tokens || r->n_stop > BITNET_MAX_STOP_TOKENS ?
			BN_EPARAM : bn_sampler_check(&sampling);
	/* What only GENERATE has; stop_tokens[] beyond n_stop are not looked at by any kind. */
	if (r->max_tokens || r->seed || r->temperature_ppm || r->top_k || r->top_p_ppm ||
	    r->min_p_ppm || r->repeat_penalty_ppm || r->repeat_last_n || r->n_stop)
		return BN_EPARAM;
	return BN_OK;
}

void bn_job_import(struct bn_job *j, const struct bitnet_job *r)
{
	j->kind = r->kind;
	j->all_logits = r->flags & BITNET_JOB_F_HASH;
	j->n_input = r->input_count;
	j->max_tokens = r->max_tokens;
	j->sampling.seed = r->seed;
	j->sampling.temperature_ppm = r->temperature_ppm;
	j->sampling.top_k = r->top_k;
	j->sampling.top_p_ppm = r->top_p_ppm;
	j->sampling.min_p_ppm = r->min_p_ppm;
	j->sampling.repeat_penalty_ppm = r->repeat_penalty_ppm;
	j->sampling.repeat_last_n = r->repeat_last_n;
	j->n_stop = r->n_stop;
	memset(j->stop, 0, sizeof(j->stop));
	memcpy(j->stop, r->stop_tokens, sizeof(j->stop[0]) * r->n_stop);
}

/* Where in the window @token is; n_window if it is not there. */
static u32 window_find(const struct bn_job *j, u32 token)
{
	u32 i = 0;

	while (i < j->n_window && j->window[i] != token)
		i++;
	return i;
}

static void window_drop(struct bn_job *j, u32 token)
{
	u32 i = window_find(j, token);

	if (i == j->n_window || --j->times[i])
		return;
	j->n_window--;
	j->window[i] = j->window[j->n_window];
	j->times[i] = j->times[j->n_window];
}

static void remember(struct bn_job *j, u32 token)
{
	u32 size = j->sampling.repeat_last_n, i;

	if (!size)
		return;
	if (j->n_recent == size)
		window_drop(j, j->recent[j->recent_at]);
	else
		j->n_recent++;
	j->recent[j->recent_at] = token;
	j->recent_at = (j->recent_at + 1) % size;

	i = window_find(j, token);
	if (i == j->n_window) {
		j->window[i] = token;
		j->times[i] = 0;
		j->n_window++;
	}
	j->times[i]++;
}

enum bn_err bn_job_init(struct bn_job *j, const struct bn_model *m)
{
	u32 from;

	j->fed = j->made = j->last = 0;
	j->n_recent = j->recent_at = j->n_window = 0;
	j->filled = j->base = j->slot0 = j->n_slots = 0;
	j->reason = 0;
	memset(j->recent, 0, sizeof(j->recent));
	memset(j->window, 0, sizeof(j->window));
	memset(j->times, 0, sizeof(j->times));

	if (j->kind != BITNET_JOB_GENERATE && j->kind != BITNET_JOB_SCORE)
		return BN_EPARAM;
	if (!j->kv || !j->input || !j->n_input || j->n_stop > BN_MAX_STOP)
		return BN_EPARAM;
	if (j->kind == BITNET_JOB_GENERATE && !j->max_tokens)
		return BN_EPARAM;
	if (bn_sampler_check(&j->sampling) != BN_OK)
		return BN_EPARAM;
	if (!bn_job_fits(j))
		return BN_ERANGE;
	for (u32 i = 0; i < j->n_input; i++)
		if (j->input[i] >= m->vocab)
			return BN_ERANGE;
	for (u32 i = 0; i < j->n_stop; i++)
		if (j->stop[i] >= m->vocab)
			return BN_ERANGE;

	/* Nothing is sampled before all input is fed, so its tail can be remembered now. */
	from = j->n_input > j->sampling.repeat_last_n ?
		j->n_input - j->sampling.repeat_last_n : 0;
	for (u32 i = from; i < j->n_input; i++)
		remember(j, j->input[i]);
	return BN_OK;
}

bool bn_job_fits(const struct bn_job *j)
{
	const struct bn_kv *kv = j->kv;

	return kv->n_past <= kv->n_ctx && j->n_input - j->fed <= kv->n_ctx - kv->n_past;
}

u32 bn_job_wants(const struct bn_job *j)
{
	if (j->reason)
		return 0;
	return j->fed < j->n_input ? j->n_input - j->fed : 1;
}

bool bn_job_decoding(const struct bn_job *j)
{
	return !j->reason && j->fed == j->n_input;
}

u32 bn_job_slots(const struct bn_job *j, u32 rows)
{
	bool all = j->fed + rows >= j->n_input;

	if (!rows)
		return 0;
	if (j->kind == BITNET_JOB_SCORE)
		return all ? rows - 1 : rows;
	return all;
}

void bn_job_fill(struct bn_job *j, struct bn_step *s, u32 rows, u32 *n_rows, u32 *n_slots)
{
	u32 slots = bn_job_slots(j, rows);
	/* SCORE: the first rows have them; GENERATE: the last one. */
	u32 first = j->kind == BITNET_JOB_SCORE ? 0 : rows - slots;

	j->filled = rows;
	j->base = j->kv->n_past;
	j->slot0 = *n_slots;
	j->n_slots = slots;
	for (u32 i = 0; i < rows; i++) {
		struct bn_row *row = &s->rows[*n_rows + i];

		row->kv = j->kv;
		row->token = j->fed < j->n_input ? j->input[j->fed + i] : j->last;
		row->pos = j->base + i;
		row->slot = i >= first && i - first < slots ? j->slot0 + i - first : BN_NO_SLOT;
	}
	*n_rows += rows;
	*n_slots += slots;
}

void bn_job_arm(struct bn_job *j, struct bn_step *s)
{
	for (u32 i = 0; i < j->n_slots; i++) {
		struct bn_sampler *sampler = &s->samplers[j->slot0 + i];

		sampler->params = &j->sampling;
		sampler->all_logits = j->all_logits;
		if (j->kind == BITNET_JOB_SCORE) {
			sampler->recent = NULL;
			sampler->n_recent = 0;
			sampler->position = j->base + i + 1;
			sampler->force = j->input[j->fed + i + 1];
		} else {
			sampler->recent = j->window;
			sampler->n_recent = j->n_window;
			sampler->position = j->base + j->filled;
			sampler->force = BN_SAMPLE;
		}
	}
}

static bool is_stop(const struct bn_job *j, u32 token)
{
	for (u32 i = 0; i < j->n_stop; i++)
		if (j->stop[i] == token)
			return true;
	return false;
}

/* GENERATE after a step: does it go on? */
static u32 reason_of(const struct bn_job *j)
{
	if (is_stop(j, j->last))
		return BITNET_REASON_STOP;
	if (j->made == j->max_tokens)
		return BITNET_REASON_LENGTH;
	if (j->kv->n_past == j->kv->n_ctx)
		return BITNET_REASON_CONTEXT;
	return 0;
}

u32 bn_job_finish(struct bn_job *j, const struct bn_step *s, struct bn_token *out)
{
	u32 n = j->n_slots;

	for (u32 i = 0; i < n; i++) {
		const struct bn_sampler *sampler = &s->samplers[j->slot0 + i];

		out[i].token = sampler->token;
		out[i].position = (u32)sampler->position;
		out[i].index = j->made++;
		out[i].logprob = sampler->logprob;
		out[i].hash = sampler->hash;
	}
	j->kv->n_past = j->base + j->filled;
	if (j->fed < j->n_input)
		j->fed += j->filled;
	j->filled = j->base = j->slot0 = j->n_slots = 0;

	if (j->kind == BITNET_JOB_SCORE) {
		if (j->fed == j->n_input)
			j->reason = BITNET_REASON_LENGTH;
	} else if (n) {
		j->last = out[n - 1].token;
		remember(j, j->last);
		j->reason = reason_of(j);
	}
	return n;
}

void bn_job_abandon(struct bn_job *j)
{
	j->filled = j->base = j->slot0 = j->n_slots = 0;
}

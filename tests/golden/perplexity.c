// SPDX-License-Identifier: GPL-2.0
/*
 * Perplexity of the demo model on held-out text: SCORE jobs of the local engine against the
 * reference
 *
 * "reference.py ppl demo-i2_s.gguf val.bin --ctx 256" gives loss 2.3663, perplexity 10.658; with
 * "--windows 40", which is what runs unless BITNET_TEST_SIZE is "release", 2.3792 and 10.796.
 */
#include <errno.h>
#include <math.h>

#include "golden.h"
#include "size.h"

#define WINDOW		256
#define SESSIONS	16
#define CI_WINDOWS	40
#define CI_LOSS		2.3792
#define WHOLE_LOSS	2.3663
#define TOLERANCE	0.005

static uint16_t *read_tokens(size_t *n)
{
	FILE *f = fopen(golden_path("tests/golden/val.bin"), "rb");
	uint16_t *tokens;
	long bytes;

	if (!f || fseek(f, 0, SEEK_END) || (bytes = ftell(f)) < 0)
		bail("val.bin: %s", strerror(errno));
	rewind(f);
	tokens = malloc(bytes);
	*n = fread(tokens, sizeof(*tokens), bytes / sizeof(*tokens), f);
	fclose(f);
	return tokens;
}

static void submit_window(struct bitnet_engine *engine, uint32_t session, const uint16_t *tokens,
			  uint64_t window)
{
	uint32_t ids[WINDOW + 1];
	struct bitnet_job job = {
		.kind = BITNET_JOB_SCORE, .user_data = session, .session_id = session,
		.input = (uintptr_t)ids, .input_count = WINDOW + 1,
	};
	struct bitnet_error err = { 0 };

	for (uint32_t i = 0; i <= WINDOW; i++)
		ids[i] = tokens[window * WINDOW + i];
	if (bitnet_engine_session_rewind(engine, session, 0, &err) ||
	    bitnet_engine_submit(engine, &job, 1, NULL, &err))
		bail("submit: %s", err.msg);
}

int main(void)
{
	struct bitnet_engine_options options = { .kind = BITNET_ENGINE_LOCAL };
	bool whole = t_release_size();
	struct bitnet_ring_entry entry;
	struct bitnet_engine *engine;
	struct bitnet_model_file file;
	struct bitnet_error err = { 0 };
	size_t n_tokens, n_windows, next = 0, ended = 0;
	uint16_t *tokens = read_tokens(&n_tokens);
	uint64_t scored = 0, missing = 0;
	uint32_t model, session;
	double sum = 0, loss;

	golden_open(&file, GOLDEN_I2_S, NULL);
	if (bitnet_engine_open(&options, &engine, &err) ||
	    bitnet_engine_model_load(engine, &file.image, "demo", 0, &model, &err))
		bail("%s", err.msg);
	n_windows = whole ? (n_tokens - 1) / WINDOW : CI_WINDOWS;
	for (int i = 0; i < SESSIONS; i++) {
		if (bitnet_engine_session_open(engine, model, 0, &session, &err))
			bail("%s", err.msg);
		submit_window(engine, session, tokens, next++);
	}
	while (ended < n_windows) {
		if (!bitnet_engine_next(engine, &entry)) {
			bitnet_engine_wait(engine, 1, -1);
			continue;
		}
		if (entry.kind == BITNET_ENTRY_TOKEN) {
			scored++;
			missing += entry.logprob == BITNET_LOGPROB_NONE;
			sum -= entry.logprob * 1e-6;
			continue;
		}
		if (entry.kind == BITNET_ENTRY_ERROR)
			bail("job failed: %s", bitnet_strerror(entry.error));
		ended++;
		if (next < n_windows)
			submit_window(engine, entry.user_data, tokens, next++);
	}
	is(scored, n_windows * WINDOW, "every token but the first of each window was scored");
	is(missing, 0, "every one has a log-probability");
	loss = sum / scored;
	is_near(loss, whole ? WHOLE_LOSS : CI_LOSS, TOLERANCE, "loss %.4f, perplexity %.3f", loss,
		exp(loss));
	bitnet_engine_close(engine);
	bitnet_model_file_close(&file);
	free(tokens);
	return done();
}

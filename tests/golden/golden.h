/* SPDX-License-Identifier: GPL-2.0 */
/*
 * golden.h - what the golden tests share: where the data is, the demo model, one forward pass
 *
 * BITNET_SRC is the top of the source tree (default: the current folder).
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <jansson.h>
#include <stdlib.h>

#include "bitnet.h"
#include "bn_step.h"
#include "cpu.h"
#include "image.h"
#include "tap.h"

static inline const char *golden_path(const char *name)
{
	static char path[4][4096];
	static unsigned int n;
	const char *top = getenv("BITNET_SRC");
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", top ? top : ".", name);
	return p;
}

#define GOLDEN_I2_S	golden_path("userspace/models/demo-i2_s.gguf")
#define GOLDEN_TQ2_0	golden_path("tests/golden/demo-tq2_0.gguf")

static inline void golden_open(struct bitnet_model_file *file, const char *path,
			       const char *activation)
{
	struct bitnet_image_options options = { .activation = activation };
	struct bitnet_error err = { 0 };

	if (bitnet_model_file_open(path, NULL, file, &err) ||
	    bitnet_model_file_image(file, &options, &err))
		bail("%s %s", err.msg, err.hint);
}

/* golden.json: for json_decref(); what is compared is its array "cases". */
static inline json_t *golden_load(void)
{
	json_error_t error;
	json_t *root = json_load_file(golden_path("tests/golden/golden.json"), 0, &error);

	if (!root)
		bail("golden.json: %s", error.text);
	return root;
}

/* One session, computed by the calling thread with the engine's own functions. */
struct golden_run {
	struct bn_model model;
	struct bn_kv kv;
	struct bn_step step;
	void (*after_phase)(struct golden_run *run, uint32_t phase, void *arg);
	void *arg;
};

static inline void golden_run_init(struct golden_run *run, const struct bitnet_image *image,
				   const struct bn_ops *ops)
{
	struct bitnet_error err = { 0 };
	uint64_t bytes;
	void *scratch;

	memset(run, 0, sizeof(*run));
	if (bitnet_image_parse(image->base, image->length, "image", &run->model, &err))
		bail("%s", err.msg);
	bytes = bn_scratch_bytes(&run->model);
	scratch = aligned_alloc(64, bytes);
	run->kv.n_ctx = run->model.max_ctx;
	run->kv.data = aligned_alloc(64, bn_kv_bytes(&run->model, run->kv.n_ctx));
	if (!scratch || !run->kv.data)
		bail("no memory");
	memset(scratch, 0, bytes);
	memset(run->kv.data, 0, bn_kv_bytes(&run->model, run->kv.n_ctx));
	bn_step_init(&run->step, &run->model, ops, scratch);
}

static inline void golden_run_free(struct golden_run *run)
{
	free(run->model.layers);
	free(run->kv.data);
	free(run->step.scratch);
}

/*
 * Feed @n tokens in chunks of @chunk; greedy token and statistics of the last row are in
 * samplers[0].
 */
static inline const struct bn_sampler *golden_feed(struct golden_run *run, const uint32_t *ids,
						   uint32_t n, uint32_t chunk)
{
	static uint8_t buffer[BN_TILE_BYTES] __attribute__((aligned(64)));
	static const struct bn_sampler_params greedy;
	struct bn_step *s = &run->step;

	for (uint32_t at = 0; at < n; at += chunk) {
		uint32_t rows = n - at < chunk ? n - at : chunk;

		for (uint32_t i = 0; i < rows; i++)
			s->rows[i] = (struct bn_row){
				.kv = &run->kv, .token = ids[at + i], .pos = run->kv.n_past + i,
				.slot = at + i + 1 == n ? 0 : BN_NO_SLOT,
			};
		if (bn_step_begin(s, rows) != BN_OK)
			bail("bn_step_begin");
		s->samplers[0].params = &greedy;
		s->samplers[0].position = run->kv.n_past + rows;
		for (uint32_t phase = 0; phase < s->n_phases; phase++) {
			for (uint32_t tile = 0; tile < bn_step_tiles(s, phase); tile++) {
				uint32_t cursor = 0;

				while (bn_step_tile(s, phase, tile, &cursor, buffer))
					;
			}
			if (run->after_phase)
				run->after_phase(run, phase, run->arg);
		}
		run->kv.n_past += rows;
	}
	return &s->samplers[0];
}

static inline uint32_t golden_ids(const json_t *array, uint32_t *ids, uint32_t max)
{
	uint32_t n = json_array_size(array);

	if (n > max)
		bail("golden.json: %u tokens", n);
	for (uint32_t i = 0; i < n; i++)
		ids[i] = json_integer_value(json_array_get(array, i));
	return n;
}

#endif /* GOLDEN_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Is a synthetic model as sparse as trained ones are? By the engine's own numbers: gates that are
 * positive, and inputs of ffn_down that are not zero once they are int8.
 *
 * The demo model, which is really trained, has 20 to 34 % and 10 to 20 % with text, by layer, and
 * some more with random tokens. What benchmarks of synthetic models say depends on both. With the
 * name of a model: its figures, layer by layer.
 */
#include <unistd.h>

#include "bn_step_priv.h"
#include "golden.h"

#define TOKENS	24

/* What scripts/make_synthetic.py promises */
#define GATES	0.25
#define INPUTS	0.15

struct counts {
	uint64_t gates[BN_MAX_LAYERS], inputs[BN_MAX_LAYERS], all;
};

static void count(struct golden_run *run, uint32_t phase, void *arg)
{
	const struct bn_scratch *sc = run->step.scratch;
	uint32_t layer = bn_step_layer(&run->step, phase);
	enum bn_phase_kind kind = bn_phase_kind(&run->step, phase);
	struct counts *c = arg;

	for (uint32_t row = 0; row < run->step.n_rows; row++) {
		const float *gate = sc->norm + (size_t)row * sc->norm_stride;
		const int8_t *x = sc->q8 + (size_t)row * sc->q8_stride;

		for (uint32_t i = 0; i < run->model.ffn; i++) {
			if (kind == BN_PHASE_GATE_UP)
				c->gates[layer] += gate[i] > 0;
			if (kind == BN_PHASE_FFN_SUB_NORM)
				c->inputs[layer] += x[i] != 0;
		}
	}
	if (!layer && kind == BN_PHASE_GATE_UP)
		c->all += (uint64_t)run->step.n_rows * run->model.ffn;
}

/* Shares over all layers; those of each are told. */
static void measure(const char *path, double *gates, double *inputs)
{
	struct bitnet_model_file file;
	uint32_t ids[TOKENS];
	struct golden_run run;
	struct counts c = { .all = 0 };

	golden_open(&file, path, NULL);
	golden_run_init(&run, &file.image, bn_variant_find("fastest", bitnet_cpu_mask()));
	for (uint32_t i = 0; i < TOKENS; i++)
		ids[i] = i * 2654435761U % run.model.vocab;
	run.after_phase = count;
	run.arg = &c;
	golden_feed(&run, ids, TOKENS, TOKENS);
	*gates = *inputs = 0;
	for (uint32_t l = 0; l < run.model.n_layers; l++) {
		double g = (double)c.gates[l] / c.all, x = (double)c.inputs[l] / c.all;

		diag("layer %u: %.1f %% of the gates, %.1f %% of the inputs", l, 100 * g, 100 * x);
		*gates += g / run.model.n_layers;
		*inputs += x / run.model.n_layers;
	}
	diag("all: %.1f %% and %.1f %%", 100 * *gates, 100 * *inputs);
	golden_run_free(&run);
	bitnet_model_file_close(&file);
}

/* The ffn of 2b-4t, for the share of inputs depends on how many compete for the largest one. */
static void make(const char *path, const char *sparsity)
{
	char command[8192];

	snprintf(command, sizeof(command),
		 "python3 '%s' --hidden 512 --ffn 6912 --layers 4 %s '%s'",
		 golden_path("scripts/make_synthetic.py"), sparsity, path);
	if (system(command))
		bail("%s", command);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("BITNET_TMP");
	double gates, inputs;
	char path[4096];

	if (argc > 1) {
		measure(argv[1], &gates, &inputs);
		ok(true, "%s", argv[1]);
		return done();
	}
	snprintf(path, sizeof(path), "%s/bitnet-sparsity.gguf", tmp ? tmp : "/tmp");
	make(path, "--gate-sparsity 0.25");
	measure(path, &gates, &inputs);
	is_near(gates, GATES, 0.03, "gates that are positive");
	is_near(inputs, INPUTS, 0.03, "inputs of ffn_down that are not zero");
	make(path, "");
	measure(path, &gates, &inputs);
	is_near(gates, 0.5, 0.03, "without --gate-sparsity: half of the gates");
	ok(inputs > 0.25, "and more inputs");
	unlink(path);
	measure(GOLDEN_I2_S, &gates, &inputs);
	ok(gates > 0.2 && gates < 0.35, "the demo model's gates");
	ok(inputs > 0.1 && inputs < 0.25, "the demo model's inputs");
	return done();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * submit_linear.c - LINEAR multiplies with each matrix of the model, exactly
 *
 * Compared with a plain product in C over the weights as the GGUF file has them: neither the
 * packing nor any kernel of the engine is part of the expected result.
 */
#include "device.h"
#include "dequant.h"
#include "gguf.h"

#define MAX_OUT	768
#define MAX_ROWS 5

static struct t_client c;
static struct bitnet_gguf *gguf;
static int8_t *x;
static int32_t want[MAX_ROWS * MAX_OUT];

static const struct matrix {
	const char *name;
	uint32_t rows, cols;
} matrices[BITNET_MATRIX_COUNT] = {
	[BITNET_MATRIX_ATTN_Q] = { "attn_q", 256, 256 },
	[BITNET_MATRIX_ATTN_K] = { "attn_k", 128, 256 },
	[BITNET_MATRIX_ATTN_V] = { "attn_v", 128, 256 },
	[BITNET_MATRIX_ATTN_OUT] = { "attn_output", 256, 256 },
	[BITNET_MATRIX_FFN_GATE] = { "ffn_gate", 768, 256 },
	[BITNET_MATRIX_FFN_UP] = { "ffn_up", 768, 256 },
	[BITNET_MATRIX_FFN_DOWN] = { "ffn_down", 256, 768 },
};

/* I2_S as bitnet.cpp writes it on x86: element e of the whole tensor, 128 of them in 32 bytes. */
static int weight(const struct bitnet_gguf_tensor *t, size_t e)
{
	size_t block = e / 128, group = e % 128 / 32, byte = e % 32;

	return (t->data[block * 32 + byte] >> (6 - 2 * group) & 3) - 1;
}

static bool expect(uint32_t layer, const struct matrix *m, uint32_t n)
{
	const struct bitnet_gguf_tensor *t;
	char name[64];
	uint32_t b, r, k;

	snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, m->name);
	t = bitnet_gguf_tensor_find(gguf, name);
	if (!t || t->type != BITNET_TENSOR_I2_S || t->dims[0] != m->cols || t->dims[1] != m->rows)
		return false;
	for (b = 0; b < n; b++) {
		for (r = 0; r < m->rows; r++) {
			int32_t sum = 0;

			for (k = 0; k < m->cols; k++)
				sum += weight(t, (size_t)r * m->cols + k) * x[b * m->cols + k];
			want[b * m->rows + r] = sum;
		}
	}
	return true;
}

static struct bitnet_job linear(uint32_t layer, uint32_t matrix, uint32_t rows, uint64_t offset)
{
	return (struct bitnet_job){
		.kind = BITNET_JOB_LINEAR,
		.user_data = 1,
		.model_id = c.model,
		.input = t_pointer(x),
		.input_count = rows,
		.layer = layer,
		.matrix = matrix,
		.data_offset = offset,
	};
}

static void check_matrix(uint32_t layer, uint32_t matrix, uint32_t rows, uint64_t offset)
{
	const struct matrix *m = &matrices[matrix];
	struct bitnet_job job = linear(layer, matrix, rows, offset);
	size_t bytes = (size_t)rows * m->rows * 4;
	static struct t_result result;
	bool outside = true;
	size_t i;

	if (!expect(layer, m, rows))
		bail("the demo model has no %s", m->name);
	memset(c.ring.data, 0xa5, c.ring.data_bytes);
	if (!is(t_run(&c.ring, &job, &result), 0, "layer %u %s, %u rows", layer, m->name, rows))
		return;
	is(result.end.kind, BITNET_ENTRY_DONE, "DONE");
	is(result.n, 0, "is its only entry");
	is_mem(c.ring.data + offset, want, bytes, "the product");
	for (i = 0; i < c.ring.data_bytes; i++)
		if (i - offset >= bytes && c.ring.data[i] != 0xa5)
			outside = false;
	ok(outside, "nothing is written beside it");
}

static void check_errors(uint64_t data_bytes)
{
	struct t_client none;
	struct bitnet_job job;
	struct t_image image;

	job = linear(6, 0, 1, 0);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "a layer that the model does not have");
	job = linear(~0U, 0, 1, 0);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "the largest layer");
	job = linear(0, BITNET_MATRIX_COUNT, 1, 0);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "a matrix that no layer has");
	job = linear(0, 0, 1, 32);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "a data_offset that is not aligned");
	job = linear(0, 0, 1, data_bytes);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "results behind the data area");
	job = linear(0, 0, 1, data_bytes - 960);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "results that reach beyond it");
	job = linear(0, 0, 1, UINT64_MAX - 63);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "an offset that wraps");
	job = linear(0, 0, 0, 0);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "no rows");
	job = linear(0, 0, t_info(c.fd).out_max_rows + 1, 0);
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "more rows than a step has");
	job = linear(0, 0, 1, 0);
	job.model_id = 0;
	is(t_submit(c.fd, &job, 1, NULL), -ENOENT, "no model");
	job = linear(0, 0, 1, 0);
	job.session_id = c.session;
	is(t_submit(c.fd, &job, 1, NULL), -EINVAL, "a session");
	job = linear(0, 0, 1, 0);
	job.input = 0;
	is(t_submit(c.fd, &job, 1, NULL), -EFAULT, "no input");

	image = t_image_random(&t_tiny);
	t_client_open(&none, &image, 8);
	job = linear(0, 0, 1, 0);
	job.model_id = none.model;
	is(t_submit(none.fd, &job, 1, NULL), -EINVAL, "a ring without a data area");
	t_client_close(&none);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct t_image image = t_image_demo();
	struct bitnet_error error = { 0 };
	static struct t_result result;
	const uint64_t data_bytes = 8 * T_PAGE;
	struct bitnet_job job;
	uint64_t seed = 1;
	uint32_t i;

	gguf = bitnet_gguf_open(t_demo_path(), &error);
	if (!gguf)
		bail("%s", error.msg);
	x = calloc(64, MAX_OUT);
	for (i = 0; i < 64 * MAX_OUT; i++)
		x[i] = t_random(&seed) % 255 - 127;
	/* The header takes -128 as it is. */
	x[3] = -128;
	x[MAX_OUT - 1] = -128;

	c.fd = t_open();
	if (t_model_load(c.fd, &image, 0, NULL, &c.model) ||
	    t_session_open(c.fd, c.model, 16, &c.session))
		bail("setting up");
	t_ring_open(&c.ring, c.fd, 8, data_bytes);
	is(c.ring.data[0], 0, "the data area is zero at first");

	for (i = 0; i < BITNET_MATRIX_COUNT; i++)
		check_matrix(i % 6, i, 1, 0);
	check_matrix(5, BITNET_MATRIX_FFN_DOWN, MAX_ROWS, 192);
	check_matrix(5, BITNET_MATRIX_FFN_GATE, 2, data_bytes - 2 * 768 * 4);
	memset(x, 0x7f, 64 * MAX_OUT);
	check_matrix(0, BITNET_MATRIX_FFN_DOWN, 1, 0);
	memset(x, 0x80, 64 * MAX_OUT);
	check_matrix(0, BITNET_MATRIX_FFN_DOWN, 3, 0);

	/* All input is copied by SUBMIT. */
	expect(0, &matrices[0], 1);
	job = linear(0, 0, 1, 0);
	is(t_submit(c.fd, &job, 1, NULL), 0, "SUBMIT");
	memset(x, 0, 64 * MAX_OUT);
	is(t_collect(&c.ring, &result, 1, 1), 0, "input is overwritten behind it");
	is_mem(c.ring.data, want, 256 * 4, "the product is that of the old input");

	check_errors(data_bytes);
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}

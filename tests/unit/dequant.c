// SPDX-License-Identifier: GPL-2.0
/* dequant.c - rows of tensors: every format against its plain definition, and damaged weights */
#include <errno.h>
#include <limits.h>
#include <math.h>

#include "dequant.h"
#include "support/gguf_build.h"
#include "tap.h"

static struct bitnet_error err;
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct bitnet_gguf *open_file(const char *name)
{
	const char *src = getenv("BITNET_SRC");
	char path[PATH_MAX];
	struct bitnet_gguf *g;

	snprintf(path, sizeof(path), "%s/%s", src ? src : ".", name);
	g = bitnet_gguf_open(path, &err);
	if (!g)
		bail("%s", err.msg);
	return g;
}

/* A file with one tensor t.weight, and its companion t.scale if @scale is not 0. */
static struct bitnet_gguf *one_tensor(struct gguf_build *b, uint32_t type, uint64_t cols,
				      uint64_t rows, const void *data, size_t n_bytes, float scale)
{
	struct bitnet_gguf *g;

	gguf_build_free(b);
	*b = (struct gguf_build){ .version = 3 };
	gguf_build_tensor(b, "t.weight", type, cols, rows, data, n_bytes);
	if (scale != 0)
		gguf_build_tensor(b, "t.scale", BITNET_TENSOR_F32, 1, 0, &scale, 4);
	gguf_build_finish(b);
	memset(&err, 0, sizeof(err));
	g = bitnet_gguf_open_mem(b->file.p, b->file.len, "test.gguf", &err);
	if (!g)
		bail("%s", err.msg);
	return g;
}

/* The definition of IEEE 754, not the trick with the exponent. */
static double half_value(uint16_t h)
{
	int exp = h >> 10 & 31;
	int mant = h & 1023;
	double v = exp == 31 ? (mant ? NAN : INFINITY) :
		   exp ? ldexp(1024 + mant, exp - 25) : ldexp(mant, -24);

	return h & 0x8000 ? -v : v;
}

static void halves(void)
{
	int bad_widen = 0, bad_back = 0, bad_mid = 0;

	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = bitnet_f16_to_f32(h);

		if (isnan(half_value(h))) {
			bad_widen += !isnan(f);
			bad_back += !isnan(bitnet_f16_to_f32(bitnet_f32_to_f16(f)));
			continue;
		}
		bad_widen += f != (float)half_value(h) || !!signbit(f) != (h >= 0x8000);
		bad_back += bitnet_f32_to_f16(f) != h;
	}
	is(bad_widen, 0, "every half widens to its value");
	is(bad_back, 0, "and narrows to itself");
	/* rounding changes only at the middle of two halves: look there, and on both sides of it */
	for (uint32_t h = 0; h < 0x7c00; h++) {
		double above = h == 0x7bff ? 65536.0 : half_value(h + 1);
		float mid = (half_value(h) + above) / 2;
		uint16_t even = h & 1 ? h + 1 : h;

		bad_mid += bitnet_f32_to_f16(mid) != even;
		bad_mid += bitnet_f32_to_f16(nextafterf(mid, 0)) != h;
		bad_mid += bitnet_f32_to_f16(nextafterf(mid, INFINITY)) != h + 1;
		bad_mid += bitnet_f32_to_f16(-mid) != (even | 0x8000);
	}
	is(bad_mid, 0, "halves round to nearest, ties to even, too large to infinity");
	is(bitnet_f32_to_f16(1e30f), 0x7c00, "far too large is infinity");
	is(bitnet_f32_to_f16(1e-30f), 0, "far too small is zero");
}

/* Element @e of a Q8_0 or Q6_K tensor by the definition of the block. */
static double q8_0_value(const uint8_t *p, int e)
{
	p += e / 32 * 34;
	return half_value(p[0] | p[1] << 8) * (int8_t)p[2 + e % 32];
}

static double q6_k_value(const uint8_t *p, int e)
{
	int in_half = e % 128, group = in_half / 32, l = in_half % 32, half = e % 256 / 128;
	int low, high;

	p += e / 256 * 210;
	low = p[half * 64 + l + (group & 1) * 32] >> (group / 2 * 4) & 15;
	high = p[128 + half * 32 + l] >> (2 * group) & 3;
	return half_value(p[208] | p[209] << 8) * (int8_t)p[192 + e % 256 / 16] *
	       ((low | high << 4) - 32);
}

static void float_rows(void)
{
	static const struct {
		const char *name;
		uint32_t type;
		int row_bytes;
		double (*value)(const uint8_t *p, int e);
	} types[] = {
		{ "Q8_0", BITNET_TENSOR_Q8_0, 512 / 32 * 34, q8_0_value },
		{ "Q6_K", BITNET_TENSOR_Q6_K, 512 / 256 * 210, q6_k_value },
	};
	struct gguf_build b = { 0 };
	struct bitnet_gguf *g;
	uint8_t data[3 * 1024];
	float out[512];

	for (int i = 0; i < 2; i++) {
		const struct bitnet_gguf_tensor *t;
		double worst = 0;

		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = next_random();
		/* scales: finite and of moderate size */
		for (int j = 0; j < 3 * types[i].row_bytes; j++)
			if (types[i].type == BITNET_TENSOR_Q8_0 ? j % 34 == 1 : j % 210 == 209)
				data[j] = (data[j] & 0x83) | 0x28;
		g = one_tensor(&b, types[i].type, 512, 3, data, 3 * types[i].row_bytes, 0);
		t = bitnet_gguf_tensor_find(g, "t.weight");
		for (int row = 0; row < 3; row++) {
			if (bitnet_tensor_row_f32(t, row, out, &err))
				bail("%s", err.msg);
			for (int e = 0; e < 512; e++) {
				double v = types[i].value(data, row * 512 + e);

				if (fabs(v - out[e]) > fabs(v) * 1.2e-7 + worst)
					worst = fabs(v - out[e]);
			}
		}
		ok(worst == 0, "%s is what its blocks define", types[i].name);
		bitnet_gguf_close(g);
	}

	for (int i = 0; i < 4; i++)
		data[i] = "\x80\x3f\x40\xc0"[i];
	g = one_tensor(&b, BITNET_TENSOR_BF16, 1, 2, data, 4, 0);
	ok(!bitnet_tensor_row_f32(bitnet_gguf_tensor_at(g, 0), 0, out, &err) && out[0] == 1.0f,
	   "BF16: 1");
	ok(!bitnet_tensor_row_f32(bitnet_gguf_tensor_at(g, 0), 1, out, &err) && out[0] == -3.0f,
	   "BF16: -3, second row");
	is(bitnet_tensor_row_f32(bitnet_gguf_tensor_at(g, 0), 2, out, &err), -EINVAL,
	   "no third row");
	is(bitnet_tensor_rows(bitnet_gguf_tensor_at(g, 0)), 2, "two rows");
	bitnet_gguf_close(g);
	g = one_tensor(&b, BITNET_TENSOR_F16, 2, 0, "\x00\x3c\x00\xc2", 4, 0);
	ok(!bitnet_tensor_row_f32(bitnet_gguf_tensor_at(g, 0), 0, out, &err) && out[0] == 1.0f &&
	   out[1] == -3.0f, "F16");
	bitnet_gguf_close(g);
	g = one_tensor(&b, 12, 256, 1, NULL, 144, 0);
	is(bitnet_tensor_row_f32(bitnet_gguf_tensor_at(g, 0), 0, out, &err), -ENOTSUP,
	   "Q4_K as floats");
	ok(strstr(err.msg, "tensor t.weight has type 12 (Q4_K)") != NULL,
	   "and the message names it");
	bitnet_gguf_close(g);
	gguf_build_free(&b);
}

/* Both demo files hold the same weights in different layouts. */
static void demo_models(void)
{
	struct bitnet_gguf *i2 = open_file("userspace/models/demo-i2_s.gguf");
	struct bitnet_gguf *tq = open_file("tests/golden/demo-tq2_0.gguf");
	int compared = 0, different = 0, bad = 0, histogram[4] = { 0 };
	uint8_t a[768], b[768];
	float x, y;

	for (size_t i = 0; i < bitnet_gguf_n_tensors(i2); i++) {
		const struct bitnet_gguf_tensor *t = bitnet_gguf_tensor_at(i2, i);
		const struct bitnet_gguf_tensor *u = bitnet_gguf_tensor_find(tq, t->name);

		if (!bitnet_tensor_is_ternary(t))
			continue;
		bad += !u || bitnet_tensor_check(t, &err) || bitnet_tensor_check(u, &err);
		for (uint64_t row = 0; u && row < bitnet_tensor_rows(t); row++) {
			bad += bitnet_tensor_row_codes(t, row, a, &err) ||
			       bitnet_tensor_row_codes(u, row, b, &err);
			different += memcmp(a, b, t->dims[0]) != 0;
			for (uint64_t c = 0; c < t->dims[0]; c++)
				histogram[a[c]]++;
		}
		bad += bitnet_tensor_scale(t, i2, &x, &err) || bitnet_tensor_scale(u, tq, &y, &err);
		different += x != y;
		compared++;
	}
	is(compared, 42, "ternary matrices in the demo model");
	is(bad, 0, "all can be read");
	is(different, 0, "I2_S and TQ2_0 give the same codes and scales");
	ok(histogram[3] == 0 && histogram[1] > histogram[0] / 2 && histogram[0] > histogram[2] / 2,
	   "%d minus, %d zeros, %d plus", histogram[0], histogram[1], histogram[2]);
	bitnet_gguf_close(i2);
	bitnet_gguf_close(tq);
}

/* Packing by the formats' definitions: where element e of a block goes. */
static void pack(uint32_t type, const uint8_t *codes, uint8_t *p)
{
	static const int pow3[] = { 81, 27, 9, 3, 1 };
	int v[52] = { 0 };

	memset(p, 0, 66);
	for (int e = 0; e < 256; e++) {
		if (type == BITNET_TENSOR_I2_S)
			p[e / 128 * 32 + e % 32] |= codes[e] << (6 - 2 * (e % 128 / 32));
		else if (type == BITNET_TENSOR_TQ2_0)
			p[e / 128 * 32 + e % 32] |= codes[e] << (2 * (e % 128 / 32));
		else if (e < 160)
			v[e % 32] += codes[e] * pow3[e / 32];
		else if (e < 240)
			v[32 + e % 16] += codes[e] * pow3[(e - 160) / 16];
		else
			v[48 + e % 4] += codes[e] * pow3[(e - 240) / 4];
	}
	if (type == BITNET_TENSOR_TQ1_0)
		for (int i = 0; i < 52; i++)
			p[i] = (v[i] * 256 + 242) / 243;
}

static void ternary_types(void)
{
	static const struct {
		const char *name;
		uint32_t type;
		int block_bytes;
	} types[] = {
		{ "I2_S", BITNET_TENSOR_I2_S, 64 },
		{ "TQ1_0", BITNET_TENSOR_TQ1_0, 54 },
		{ "TQ2_0", BITNET_TENSOR_TQ2_0, 66 },
	};
	struct gguf_build b = { 0 };
	uint8_t codes[4][256], data[4 * 66 + 32], got[256];
	const struct bitnet_gguf_tensor *t;
	struct bitnet_gguf *g;
	float scale = 0;

	for (int i = 0; i < 3; i++) {
		uint32_t type = types[i].type;
		int n = types[i].block_bytes, bad = 0;
		bool tq = type != BITNET_TENSOR_I2_S;

		memset(data, 0, sizeof(data));
		for (int row = 0; row < 4; row++) {
			for (int e = 0; e < 256; e++)
				codes[row][e] = row == 2 ? 1 : next_random() % 3;
			pack(type, codes[row], data + row * n);
			/* 0.5; ggml gives a block of zeros the scale 0 */
			if (tq && row != 2)
				data[row * n + n - 1] = 0x38;
		}
		memcpy(data + 4 * 64, "\0\0\0\x3f", tq ? 0 : 4);
		g = one_tensor(&b, type, 256, 4, data, 4 * n + (tq ? 0 : 32), tq ? 3.0f : 0);
		t = bitnet_gguf_tensor_find(g, "t.weight");
		for (int row = 0; row < 4; row++)
			bad += bitnet_tensor_row_codes(t, row, got, &err) ||
			       memcmp(got, codes[row], 256);
		is(bad, 0, "%s: codes", types[i].name);
		is(bitnet_tensor_check(t, &err), 0, "%s: check", types[i].name);
		is(bitnet_tensor_scale(t, g, &scale, &err), 0, "%s: scale", types[i].name);
		ok(scale == (tq ? 1.5f : 0.5f), "%s: its value", types[i].name);
		is(bitnet_tensor_row_f32(t, 0, (float *)data, &err), -ENOTSUP, "%s is no float",
		   types[i].name);
		bitnet_gguf_close(g);

		data[2 * n + 5] = 0xff;	/* I2_S, TQ2_0: code 3; TQ1_0: v = 242, sound */
		data[2 * n + 7] = type == BITNET_TENSOR_TQ1_0 ? 20 : 0x55;
		g = one_tensor(&b, type, 256, 4, data, 4 * n + (tq ? 0 : 32), 0);
		t = bitnet_gguf_tensor_find(g, "t.weight");
		is(bitnet_tensor_check(t, &err), -EBADMSG, "%s: bad weights are found",
		   types[i].name);
		ok(strstr(err.msg, "tensor t.weight, row 2:") != NULL, "%s: and named: %s",
		   types[i].name, err.msg);
		is(bitnet_tensor_row_codes(t, 2, got, &err), -EBADMSG, "%s: row 2", types[i].name);
		is(bitnet_tensor_row_codes(t, 3, got, &err), 0, "%s: row 3", types[i].name);
		is(bitnet_tensor_row_codes(t, 4, got, &err), -EINVAL, "%s: no row 4",
		   types[i].name);
		bitnet_gguf_close(g);

		memset(codes, 1, sizeof(codes));
		for (int row = 0; row < 4; row++)
			pack(type, codes[row], data + row * n);
		g = one_tensor(&b, type, 256, 4, data, 4 * n + (tq ? 0 : 32), 0);
		t = bitnet_gguf_tensor_find(g, "t.weight");
		is(bitnet_tensor_check(t, &err), -EBADMSG, "%s: all zero", types[i].name);
		ok(strstr(err.msg, "tensor t.weight: all weights are zero") != NULL,
		   "%s: and named", types[i].name);
		bitnet_gguf_close(g);
	}
	gguf_build_free(&b);
}

/* Scales that are none. */
static void scales(void)
{
	struct gguf_build b = { 0 };
	static const uint32_t bad_bits[] = { 0, 0x80000000, 0xbf800000, 0x7f800000, 0x7fc00000 };
	static const char *const bad_names[] = { "0", "-0", "-1", "infinity", "NaN" };
	uint8_t data[2 * 66 + 32], codes[256];
	struct bitnet_gguf *g;
	float scale;

	for (int e = 0; e < 256; e++)
		codes[e] = next_random() % 3;
	for (int i = 0; i < 5; i++) {
		pack(BITNET_TENSOR_I2_S, codes, data);
		memset(data + 64, 0, 32);
		memcpy(data + 64, &bad_bits[i], 4);
		g = one_tensor(&b, BITNET_TENSOR_I2_S, 128, 2, data, 96, 0);
		is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -EBADMSG,
		   "scale %s", bad_names[i]);
		bitnet_gguf_close(g);
	}
	pack(BITNET_TENSOR_TQ2_0, codes, data);
	pack(BITNET_TENSOR_TQ2_0, codes, data + 66);
	data[65] = 0x38;
	data[131] = 0x3c;
	g = one_tensor(&b, BITNET_TENSOR_TQ2_0, 256, 2, data, 132, 0);
	is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -EBADMSG,
	   "two scales in one tensor");
	is_str(err.msg, "tensor t.weight, row 1: scale 1, but 0.5 before it: not one scale for all",
	       "and where");
	bitnet_gguf_close(g);
	data[131] = 0;
	g = one_tensor(&b, BITNET_TENSOR_TQ2_0, 256, 2, data, 132, 0);
	is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -EBADMSG,
	   "scale 0 for weights that are not");
	bitnet_gguf_close(g);
	data[131] = 0x38;
	g = one_tensor(&b, BITNET_TENSOR_TQ2_0, 256, 2, data, 132, -1.0f);
	is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -EBADMSG,
	   "a negative companion");
	bitnet_gguf_close(g);
	gguf_build_free(&b);
	b = (struct gguf_build){ .version = 3 };
	gguf_build_tensor(&b, "t.weight", BITNET_TENSOR_TQ2_0, 256, 2, data, 132);
	gguf_build_tensor(&b, "t.scale", BITNET_TENSOR_F32, 2, 0, "\0\0\x80\x3f\0\0\x80\x3f", 8);
	gguf_build_finish(&b);
	g = bitnet_gguf_open_mem(b.file.p, b.file.len, "test.gguf", &err);
	is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -EINVAL,
	   "a companion of two");
	bitnet_gguf_close(g);
	gguf_build_free(&b);
}

static void refused_types(void)
{
	struct gguf_build b = { 0 };
	struct bitnet_gguf *g;
	uint8_t codes[192];
	float scale;

	for (uint32_t type = BITNET_TENSOR_TL1; type <= BITNET_TENSOR_TL2; type++) {
		g = one_tensor(&b, type, 192, 2, NULL, 128, 0);
		is(bitnet_tensor_row_codes(bitnet_gguf_tensor_at(g, 0), 0, codes, &err), -ENOTSUP,
		   "%s: codes", bitnet_tensor_type_name(type));
		is_str(err.hint, "TL1/TL2 are CPU-specific; convert to I2_S.", "and what to do");
		is(bitnet_tensor_scale(bitnet_gguf_tensor_at(g, 0), g, &scale, &err), -ENOTSUP,
		   "%s: scale", bitnet_tensor_type_name(type));
		is(bitnet_tensor_check(bitnet_gguf_tensor_at(g, 0), &err), -ENOTSUP, "%s: check",
		   bitnet_tensor_type_name(type));
		bitnet_gguf_close(g);
	}
	g = one_tensor(&b, BITNET_TENSOR_I2_S, 192, 2, NULL, 96 + 32, 0);
	is(bitnet_tensor_row_codes(bitnet_gguf_tensor_at(g, 0), 0, codes, &err), -EINVAL,
	   "I2_S blocks that straddle rows");
	is(bitnet_tensor_check(bitnet_gguf_tensor_at(g, 0), &err), -EINVAL, "also by the check");
	is(bitnet_tensor_check(bitnet_gguf_tensor_at(g, 0), NULL), -EINVAL,
	   "without wanting to know why");
	bitnet_gguf_close(g);
	gguf_build_free(&b);
}

int main(void)
{
	halves();
	float_rows();
	demo_models();
	ternary_types();
	scales();
	refused_types();
	return done();
}

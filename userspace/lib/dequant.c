// SPDX-License-Identifier: GPL-2.0 OR MIT
/* dequant.c - see dequant.h */
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dequant.h"

#define I2_S_BLOCK		128	/* x86: elements of 32 bytes */
#define I2_S_BLOCK_BYTES	32
#define Q8_0_BLOCK		32
#define TQ_BLOCK		256

/* Blocks as in the file: bytes only, so that they have no alignment and no padding. */
struct block_q8_0 {
	uint8_t d[2];
	int8_t q[Q8_0_BLOCK];
};

struct block_q6_k {
	uint8_t low[128];	/* low 4 bits of the elements */
	uint8_t high[64];	/* high 2 bits */
	int8_t scales[16];	/* one for 16 elements */
	uint8_t d[2];
};

struct block_tq1_0 {
	uint8_t q[48];		/* five trits each */
	uint8_t tail[4];	/* four trits each, the fifth is empty */
	uint8_t d[2];
};

struct block_tq2_0 {
	uint8_t q[64];		/* four codes each */
	uint8_t d[2];
};

_Static_assert(sizeof(struct block_q8_0) == 34, "as in ggml");
_Static_assert(sizeof(struct block_q6_k) == 210, "as in ggml");
_Static_assert(sizeof(struct block_tq1_0) == 54, "as in ggml");
_Static_assert(sizeof(struct block_tq2_0) == 66, "as in ggml");

static float from_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t to_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static float get_f32(const uint8_t *p)
{
	uint32_t bits;

	memcpy(&bits, p, sizeof(bits));
	return from_bits(le32toh(bits));
}

float bitnet_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exp = h >> 10 & 0x1f;
	uint32_t mant = h & 0x3ff;

	if (exp == 0x1f)
		return from_bits(sign | 0x7f800000 | mant << 13);
	if (exp)
		return from_bits(sign | (exp + 112) << 23 | mant << 13);
	/* subnormal: mant * 2^-24, exact */
	return from_bits(to_bits((float)mant * 0x1p-24f) | sign);
}

uint16_t bitnet_f32_to_f16(float f)
{
	uint32_t bits = to_bits(f);
	uint16_t sign = bits >> 16 & 0x8000;
	uint32_t abs = bits & 0x7fffffff;
	uint32_t shift, mant, rest;

	if (abs > 0x7f800000)
		return sign | 0x7e00 | (abs >> 13 & 0x1ff);
	if (abs >= 0x477ff000)		/* halfway from the largest half to 2^16 */
		return sign | 0x7c00;
	if (abs >= 0x38800000)		/* 2^-14: normal; a carry goes into the exponent */
		return sign | (abs - 0x38000000 + 0xfff + (abs >> 13 & 1)) >> 13;
	if (abs <= 0x33000000)		/* up to half of the smallest half, 2^-25 */
		return sign;
	shift = 126 - (abs >> 23);
	mant = (abs & 0x7fffff) | 0x800000;
	rest = mant & ((1u << shift) - 1);
	mant >>= shift;
	mant += rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (mant & 1));
	return sign | mant;
}

uint64_t bitnet_tensor_rows(const struct bitnet_gguf_tensor *t)
{
	return t->n_elems / t->dims[0];
}

bool bitnet_tensor_is_ternary(const struct bitnet_gguf_tensor *t)
{
	return t->type == BITNET_TENSOR_I2_S || t->type == BITNET_TENSOR_TQ1_0 ||
	       t->type == BITNET_TENSOR_TQ2_0;
}

/* Bytes of one row; opening the file made sure that whole blocks make a row. */
static uint64_t row_bytes(const struct bitnet_gguf_tensor *t)
{
	if (t->type == BITNET_TENSOR_I2_S)
		return t->dims[0] / 4;
	return t->n_bytes / bitnet_tensor_rows(t);
}

static int unsupported(const struct bitnet_gguf_tensor *t, const char *wanted,
		       struct bitnet_error *err)
{
	bitnet_error_set(err, ENOTSUP, "tensor %s has type %u (%s), wanted %s", t->name, t->type,
			 bitnet_tensor_type_name(t->type), wanted);
	if (t->type == BITNET_TENSOR_TL1 || t->type == BITNET_TENSOR_TL2)
		return bitnet_error_hint(err, "TL1/TL2 are CPU-specific; convert to I2_S.");
	return -ENOTSUP;
}

/* First byte of @row of a tensor whose layout is known, or NULL and a message. */
static const uint8_t *find_row(const struct bitnet_gguf_tensor *t, uint64_t row,
			       struct bitnet_error *err)
{
	if (row < bitnet_tensor_rows(t))
		return t->data + row * row_bytes(t);
	bitnet_error_set(err, EINVAL, "tensor %s has %llu rows, asked for row %llu", t->name,
			 (unsigned long long)bitnet_tensor_rows(t), (unsigned long long)row);
	return NULL;
}

static void row_f16(const uint8_t *p, uint64_t n, float *out)
{
	for (uint64_t i = 0; i < n; i++)
		out[i] = bitnet_f16_to_f32(get_le16(p + 2 * i));
}

static void row_bf16(const uint8_t *p, uint64_t n, float *out)
{
	for (uint64_t i = 0; i < n; i++)
		out[i] = from_bits((uint32_t)get_le16(p + 2 * i) << 16);
}

static void row_f32(const uint8_t *p, uint64_t n, float *out)
{
	for (uint64_t i = 0; i < n; i++)
		out[i] = get_f32(p + 4 * i);
}

static void row_q8_0(const uint8_t *p, uint64_t n, float *out)
{
	const struct block_q8_0 *b = (const struct block_q8_0 *)p;

	for (uint64_t i = 0; i < n; i += Q8_0_BLOCK, b++) {
		float d = bitnet_f16_to_f32(get_le16(b->d));

		for (int j = 0; j < Q8_0_BLOCK; j++)
			out[i + j] = d * b->q[j];
	}
}

/* Half a block of Q6_K: 128 elements, four by four from the same bytes. */
static void half_q6_k(const uint8_t *low, const uint8_t *high, const int8_t *scales, float d,
		      float *out)
{
	for (int i = 0; i < 32; i++) {
		const int8_t *s = scales + i / 16;

		out[i] = d * s[0] * ((low[i] & 15) + ((high[i] & 3) << 4) - 32);
		out[i + 32] = d * s[2] * ((low[i + 32] & 15) + ((high[i] >> 2 & 3) << 4) - 32);
		out[i + 64] = d * s[4] * ((low[i] >> 4) + ((high[i] >> 4 & 3) << 4) - 32);
		out[i + 96] = d * s[6] * ((low[i + 32] >> 4) + (high[i] >> 6 << 4) - 32);
	}
}

static void row_q6_k(const uint8_t *p, uint64_t n, float *out)
{
	const struct block_q6_k *b = (const struct block_q6_k *)p;

	for (uint64_t i = 0; i < n; i += 256, b++) {
		float d = bitnet_f16_to_f32(get_le16(b->d));

		half_q6_k(b->low, b->high, b->scales, d, out + i);
		half_q6_k(b->low + 64, b->high + 32, b->scales + 8, d, out + i + 128);
	}
}

static void (*const row_readers[])(const uint8_t *p, uint64_t n, float *out) = {
	[BITNET_TENSOR_F32] = row_f32,
	[BITNET_TENSOR_F16] = row_f16,
	[BITNET_TENSOR_Q8_0] = row_q8_0,
	[BITNET_TENSOR_Q6_K] = row_q6_k,
	[BITNET_TENSOR_BF16] = row_bf16,
};

int bitnet_tensor_row_f32(const struct bitnet_gguf_tensor *t, uint64_t row, float *out,
			  struct bitnet_error *err)
{
	const uint8_t *p;

	if (t->type >= sizeof(row_readers) / sizeof(row_readers[0]) || !row_readers[t->type])
		return unsupported(t, "F32, F16, BF16, Q8_0 or Q6_K", err);
	p = find_row(t, row, err);
	if (!p)
		return -EINVAL;
	row_readers[t->type](p, t->dims[0], out);
	return 0;
}

/* Bits 2i and 2i+1 are both set: bit 2i of the result. */
static uint64_t code3(uint64_t codes)
{
	return codes & codes >> 1 & 0x5555555555555555u;
}

/*
 * Look at @n bytes of four codes each, @n a multiple of 8. Return false if there is a code 3, set
 * *@some if there is a code that is no zero.
 */
static bool check_codes(const uint8_t *p, uint64_t n, bool *some)
{
	uint64_t bad = 0, other = 0;
	uint64_t w;

	for (uint64_t i = 0; i < n; i += 8) {
		memcpy(&w, p + i, 8);
		bad |= code3(w);
		other |= w ^ 0x5555555555555555u;
	}
	*some |= other != 0;
	return !bad;
}

/*
 * A byte packs trits of the value v as ceil(v * 256 / 243); 243 of 256 bytes do. Where the last of
 * the five is @empty, v is a multiple of three.
 */
static bool check_trits(uint8_t byte, bool empty, bool *some)
{
	uint32_t v = byte * 243u >> 8;
	uint32_t zeros = empty ? 120 : 121;	/* 11110 and 11111 in base three */

	*some |= v != zeros;
	return (v * 256 + 242) / 243 == byte && !(empty && v % 3);
}

static bool check_tq1_0(const struct block_tq1_0 *b, bool *some)
{
	bool good = true;

	for (size_t i = 0; i < sizeof(b->q); i++)
		good &= check_trits(b->q[i], false, some);
	for (size_t i = 0; i < sizeof(b->tail); i++)
		good &= check_trits(b->tail[i], true, some);
	return good;
}

/* Look at @n elements from the start of a block on, like check_codes(). */
static bool check_elems(uint32_t type, const uint8_t *p, uint64_t n, bool *some)
{
	const struct block_tq1_0 *b1 = (const struct block_tq1_0 *)p;
	const struct block_tq2_0 *b2 = (const struct block_tq2_0 *)p;
	bool good = true;

	if (type == BITNET_TENSOR_I2_S)
		return check_codes(p, n / 4, some);
	for (uint64_t i = 0; i < n / TQ_BLOCK; i++)
		good &= type == BITNET_TENSOR_TQ1_0 ? check_tq1_0(&b1[i], some) :
						      check_codes(b2[i].q, sizeof(b2[i].q), some);
	return good;
}

static int check_ternary(const struct bitnet_gguf_tensor *t, struct bitnet_error *err)
{
	if (!bitnet_tensor_is_ternary(t))
		return unsupported(t, "I2_S, TQ1_0 or TQ2_0", err);
	if (t->type == BITNET_TENSOR_I2_S && t->dims[0] % I2_S_BLOCK)
		return bitnet_error_set(err, EINVAL,
					"tensor %s: I2_S blocks of %u straddle its rows of %llu",
					t->name, I2_S_BLOCK, (unsigned long long)t->dims[0]);
	return 0;
}

static int bad_row(const struct bitnet_gguf_tensor *t, uint64_t row, struct bitnet_error *err)
{
	bitnet_error_set(err, EBADMSG, "tensor %s, row %llu: %s", t->name, (unsigned long long)row,
			 t->type == BITNET_TENSOR_TQ1_0 ? "a byte that packs no trits" :
							  "code 3 is no weight");
	return bitnet_error_hint(err, "The file is damaged, or was written for another CPU.");
}

static void codes_i2_s(const uint8_t *p, uint64_t n, uint8_t *codes)
{
	for (uint64_t i = 0; i < n; i += I2_S_BLOCK, p += I2_S_BLOCK_BYTES)
		for (int g = 0; g < 4; g++)
			for (int j = 0; j < 32; j++)
				codes[i + 32 * g + j] = p[j] >> (6 - 2 * g) & 3;
}

static void codes_tq2_0(const struct block_tq2_0 *b, uint64_t n, uint8_t *codes)
{
	for (uint64_t i = 0; i < n; i += TQ_BLOCK, b++)
		for (int half = 0; half < 2; half++)
			for (int l = 0; l < 4; l++)
				for (int j = 0; j < 32; j++)
					codes[i + 128 * half + 32 * l + j] =
						b->q[32 * half + j] >> (2 * l) & 3;
}

/*
 * The first @n_trits of @n_bytes packed bytes: trit t of byte j goes to codes[t * n_bytes + j].
 * Multiplying by three in 8 bits shifts the next trit to the top.
 */
static void unpack_trits(const uint8_t *p, int n_bytes, int n_trits, uint8_t *codes)
{
	for (int j = 0; j < n_bytes; j++) {
		uint8_t v = p[j];

		for (int t = 0; t < n_trits; t++) {
			codes[t * n_bytes + j] = v * 3 >> 8;
			v *= 3;
		}
	}
}

static void codes_tq1_0(const struct block_tq1_0 *b, uint64_t n, uint8_t *codes)
{
	for (uint64_t i = 0; i < n; i += TQ_BLOCK, b++) {
		unpack_trits(b->q, 32, 5, codes + i);
		unpack_trits(b->q + 32, 16, 5, codes + i + 160);
		unpack_trits(b->tail, 4, 4, codes + i + 240);
	}
}

int bitnet_tensor_row_codes(const struct bitnet_gguf_tensor *t, uint64_t row, uint8_t *codes,
			    struct bitnet_error *err)
{
	bool some = false;
	const uint8_t *p;
	int ret;

	ret = check_ternary(t, err);
	if (ret)
		return ret;
	p = find_row(t, row, err);
	if (!p)
		return -EINVAL;
	if (!check_elems(t->type, p, t->dims[0], &some))
		return bad_row(t, row, err);
	if (t->type == BITNET_TENSOR_I2_S)
		codes_i2_s(p, t->dims[0], codes);
	else if (t->type == BITNET_TENSOR_TQ2_0)
		codes_tq2_0((const struct block_tq2_0 *)p, t->dims[0], codes);
	else
		codes_tq1_0((const struct block_tq1_0 *)p, t->dims[0], codes);
	return 0;
}

int bitnet_tensor_check(const struct bitnet_gguf_tensor *t, struct bitnet_error *err)
{
	uint64_t n_rows = bitnet_tensor_rows(t);
	bool some = false;
	int ret;

	ret = check_ternary(t, err);
	if (ret)
		return ret;
	for (uint64_t row = 0; row < n_rows; row++)
		if (!check_elems(t->type, t->data + row * row_bytes(t), t->dims[0], &some))
			return bad_row(t, row, err);
	if (!some) {
		bitnet_error_set(err, EBADMSG, "tensor %s: all weights are zero", t->name);
		return bitnet_error_hint(
			err, "The conversion lost the weights: convert or download again.");
	}
	return 0;
}

/*
 * The scale that all blocks of a TQ tensor share, as its f16 bits. ggml takes the largest weight of
 * a block for it, so a block of zeros has scale 0 and fits every tensor.
 */
static int common_scale(const struct bitnet_gguf_tensor *t, uint16_t *d, struct bitnet_error *err)
{
	uint64_t blocks_per_row = t->dims[0] / TQ_BLOCK;
	uint64_t n_blocks = t->n_elems / TQ_BLOCK;
	uint64_t block_bytes = t->n_bytes / n_blocks;

	*d = 0;
	for (uint64_t i = 0; i < n_blocks; i++) {
		const uint8_t *p = t->data + i * block_bytes;
		uint16_t v = get_le16(p + block_bytes - 2);
		bool some = false;

		if (v == *d && v)
			continue;
		if (!v) {
			check_elems(t->type, p, TQ_BLOCK, &some);
			if (!some)
				continue;
		} else if (!*d) {
			*d = v;
			continue;
		}
		bitnet_error_set(
			err, EBADMSG,
			"tensor %s, row %llu: scale %g, but %g before it: not one scale for all",
			t->name, (unsigned long long)(i / blocks_per_row),
			(double)bitnet_f16_to_f32(v), (double)bitnet_f16_to_f32(*d));
		return bitnet_error_hint(
			err, "Only models trained as BitNet b1.58 have one scale per matrix.");
	}
	return 0;
}

/* The factor in the tensor "x.scale" that belongs to @t, "x.weight"; 1 if there is none. */
static int companion_scale(const struct bitnet_gguf_tensor *t, const struct bitnet_gguf *g,
			   float *scale, struct bitnet_error *err)
{
	char name[sizeof(t->name) + sizeof(".scale")];
	const struct bitnet_gguf_tensor *s;
	size_t len = strlen(t->name);

	*scale = 1.0f;
	if (len > 7 && !strcmp(t->name + len - 7, ".weight"))
		len -= 7;
	snprintf(name, sizeof(name), "%.*s.scale", (int)len, t->name);
	s = bitnet_gguf_tensor_find(g, name);
	if (!s)
		return 0;
	if (s->n_elems != 1)
		return bitnet_error_set(err, EINVAL, "tensor %s: %llu elements, wanted one scale",
					s->name, (unsigned long long)s->n_elems);
	return bitnet_tensor_row_f32(s, 0, scale, err);
}

int bitnet_tensor_scale(const struct bitnet_gguf_tensor *t, const struct bitnet_gguf *g,
			float *scale, struct bitnet_error *err)
{
	float factor = 1.0f;
	uint16_t d;
	int ret;

	if (!bitnet_tensor_is_ternary(t))
		return unsupported(t, "I2_S, TQ1_0 or TQ2_0", err);
	if (t->type == BITNET_TENSOR_I2_S) {
		*scale = get_f32(t->data + t->n_elems / 4);
	} else {
		ret = common_scale(t, &d, err);
		if (!ret)
			ret = companion_scale(t, g, &factor, err);
		if (ret)
			return ret;
		*scale = bitnet_f16_to_f32(d) * factor;
	}
	if (!isfinite(*scale) || *scale <= 0.0f)
		return bitnet_error_set(err, EBADMSG,
					"tensor %s: scale %g is not a positive number", t->name,
					(double)*scale);
	return 0;
}

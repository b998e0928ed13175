/* SPDX-License-Identifier: GPL-2.0 */
/*
 * immintrin.h - AVX-512 and VNNI in portable C, for a CPU that has AVX2
 *
 * Stands before the compiler's own on the include path of checkasm-emulated, so that the engine's
 * files are tested as they are. Most of it is SIMDe's. SIMDe 0.7.4 lacks some intrinsics, which
 * are defined here on halves of 256 bits; what a half does is the CPU's own AVX2 and F16C.
 *
 * Not emulated: time, faults of accesses that a mask suppresses within a vector, registers
 * (clear()).
 */
#ifndef EMULATED_IMMINTRIN_H
#define EMULATED_IMMINTRIN_H

#include_next <immintrin.h>
#include <string.h>

#ifdef __AVX512F__
#error "the emulation must not be compiled with AVX-512"
#endif

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

#define EMULATED	static inline __attribute__((__always_inline__, __unused__))

/* ---- vpdpbusd -------------------------------------------------------------------------------- */

/*
 * Written out, to be independent of SIMDe's and as fast: both products of a pair fit 16 bits only
 * in vpmaddwd's form, not in vpmaddubsw's, which saturates.
 */
EMULATED __m256i emulated_dpbusd_256(__m256i sum, __m256i u, __m256i s)
{
	const __m256i low = _mm256_set1_epi16(0xff);
	__m256i even = _mm256_madd_epi16(_mm256_and_si256(u, low),
					 _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8));
	__m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(s, 8));

	return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32		emulated_dpbusd_256

/* ---- halves ---------------------------------------------------------------------------------- */

struct emulated_halves {
	__m256i lo, hi;
};

EMULATED struct emulated_halves emulated_split(__m512i a)
{
	struct emulated_halves h;

	memcpy(&h, &a, sizeof(h));
	return h;
}

EMULATED __m512i emulated_join(__m256i lo, __m256i hi)
{
	struct emulated_halves h = { lo, hi };
	__m512i a;

	memcpy(&a, &h, sizeof(a));
	return a;
}

EMULATED struct emulated_halves emulated_split_ps(__m512 a)
{
	struct emulated_halves h;

	memcpy(&h, &a, sizeof(h));
	return h;
}

EMULATED __m512 emulated_join_ps(__m256 lo, __m256 hi)
{
	struct { __m256 lo, hi; } h = { lo, hi };
	__m512 a;

	memcpy(&a, &h, sizeof(a));
	return a;
}

EMULATED __m512i emulated_dpbusd_512(__m512i sum, __m512i u, __m512i s)
{
	struct emulated_halves a = emulated_split(sum), b = emulated_split(u);
	struct emulated_halves c = emulated_split(s);

	return emulated_join(emulated_dpbusd_256(a.lo, b.lo, c.lo),
			     emulated_dpbusd_256(a.hi, b.hi, c.hi));
}

#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32		emulated_dpbusd_512

/* ---- what SIMDe 0.7.4 lacks ------------------------------------------------------------------ */

EMULATED __m512 emulated_cvtepi32_ps(__m512i a)
{
	struct emulated_halves h = emulated_split(a);

	return emulated_join_ps(_mm256_cvtepi32_ps(h.lo), _mm256_cvtepi32_ps(h.hi));
}

EMULATED __m512i emulated_cvtps_epi32(__m512 a)
{
	struct emulated_halves h = emulated_split_ps(a);

	return emulated_join(_mm256_cvtps_epi32(_mm256_castsi256_ps(h.lo)),
			     _mm256_cvtps_epi32(_mm256_castsi256_ps(h.hi)));
}

EMULATED __m512i emulated_cvtepi8_epi32(__m128i a)
{
	return emulated_join(_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8)));
}

EMULATED __m512i emulated_cvtepu8_epi32(__m128i a)
{
	return emulated_join(_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)));
}

EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
	return emulated_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(a)),
				_mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}

/* a macro, since the rounding is an immediate */
#define emulated_cvtps_ph(a, rounding)							\
	_mm256_set_m128i(_mm256_cvtps_ph(_mm256_castsi256_ps(emulated_split_ps(a).hi), rounding), \
			 _mm256_cvtps_ph(_mm256_castsi256_ps(emulated_split_ps(a).lo), rounding))

EMULATED __m256 emulated_extractf32x8_ps(__m512 a, int part)
{
	struct emulated_halves h = emulated_split_ps(a);

	return _mm256_castsi256_ps(part ? h.hi : h.lo);
}

/* Masked accesses touch only the elements wanted, so that guard pages see the others. */
EMULATED __m512 emulated_mask_loadu_ps(__m512 other, __mmask16 mask, const void *p)
{
	float lane[16];

	memcpy(lane, &other, sizeof(lane));
	for (unsigned int i = 0; i < 16; i++)
		if (mask >> i & 1)
			memcpy(lane + i, (const float *)p + i, sizeof(*lane));
	memcpy(&other, lane, sizeof(other));
	return other;
}

EMULATED void emulated_mask_storeu_ps(void *p, __mmask16 mask, __m512 a)
{
	float lane[16];

	memcpy(lane, &a, sizeof(lane));
	for (unsigned int i = 0; i < 16; i++)
		if (mask >> i & 1)
			memcpy((float *)p + i, lane + i, sizeof(*lane));
}

EMULATED __m512i emulated_maskz_loadu_epi32(__mmask16 mask, const void *p)
{
	__m512 bits = emulated_mask_loadu_ps(_mm512_setzero_ps(), mask, p);
	__m512i a;

	memcpy(&a, &bits, sizeof(a));
	return a;
}

EMULATED void emulated_mask_storeu_epi32(void *p, __mmask16 mask, __m512i a)
{
	__m512 bits;

	memcpy(&bits, &a, sizeof(bits));
	emulated_mask_storeu_ps(p, mask, bits);
}

EMULATED __m256i emulated_maskz_loadu_epi16(__mmask16 mask, const void *p)
{
	short lane[16] = { 0 };
	__m256i a;

	for (unsigned int i = 0; i < 16; i++)
		if (mask >> i & 1)
			memcpy(lane + i, (const short *)p + i, sizeof(*lane));
	memcpy(&a, lane, sizeof(a));
	return a;
}

EMULATED void emulated_mask_storeu_epi16(void *p, __mmask16 mask, __m256i a)
{
	short lane[16];

	memcpy(lane, &a, sizeof(lane));
	for (unsigned int i = 0; i < 16; i++)
		if (mask >> i & 1)
			memcpy((short *)p + i, lane + i, sizeof(*lane));
}

#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_extractf32x8_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_mask_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_maskz_loadu_epi32
#undef _mm512_mask_storeu_epi32
#undef _mm256_maskz_loadu_epi16
#undef _mm256_mask_storeu_epi16
#define _mm512_cvtepi32_ps		emulated_cvtepi32_ps
#define _mm512_cvtps_epi32		emulated_cvtps_epi32
#define _mm512_cvtepi8_epi32		emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32		emulated_cvtepu8_epi32
#define _mm512_cvtph_ps			emulated_cvtph_ps
#define _mm512_cvtps_ph			emulated_cvtps_ph
#define _mm512_extractf32x8_ps		emulated_extractf32x8_ps
#define _mm512_shuffle_f32x4		simde_mm512_shuffle_f32x4
#define _mm512_mask_loadu_ps		emulated_mask_loadu_ps
#define _mm512_mask_storeu_ps		emulated_mask_storeu_ps
#define _mm512_maskz_loadu_epi32	emulated_maskz_loadu_epi32
#define _mm512_mask_storeu_epi32	emulated_mask_storeu_epi32
#define _mm256_maskz_loadu_epi16	emulated_maskz_loadu_epi16
#define _mm256_mask_storeu_epi16	emulated_mask_storeu_epi16

/*
 * Inline assembly, which only clear() has, is left out: the assembler may not know AVX-512 here,
 * and there are no registers to clear. (A qualifier is not followed by a parenthesis elsewhere.)
 */
#define asm
#define volatile(...)	((void)0)

/* ---- tiles ----------------------------------------------------------------------------------- */

struct emulated_tiles {
	unsigned char palette, start_row, reserved[14];
	unsigned short row_bytes[16];
	unsigned char rows[16];
	unsigned char data[8][16][64];
};

static __attribute__((__unused__)) struct emulated_tiles emulated_tiles;

/* As the instruction, it zeroes the tiles. */
EMULATED void emulated_tile_config(const void *config)
{
	memset(&emulated_tiles, 0, sizeof(emulated_tiles));
	if (config)
		memcpy(&emulated_tiles, config, 64);
}

EMULATED void emulated_tile_load(int tile, const void *from, long stride)
{
	struct emulated_tiles *t = &emulated_tiles;

	memset(t->data[tile], 0, sizeof(t->data[tile]));
	for (int row = 0; row < t->rows[tile]; row++)
		memcpy(t->data[tile][row], (const char *)from + row * stride, t->row_bytes[tile]);
}

EMULATED void emulated_tile_store(int tile, void *to, long stride)
{
	const struct emulated_tiles *t = &emulated_tiles;

	for (int row = 0; row < t->rows[tile]; row++)
		memcpy((char *)to + row * stride, t->data[tile][row], t->row_bytes[tile]);
}

EMULATED void emulated_tile_dpbsud(int sum, int a, int b)
{
	struct emulated_tiles *t = &emulated_tiles;

	for (int row = 0; row < t->rows[sum]; row++) {
		for (int col = 0; col < t->row_bytes[sum] / 4; col++) {
			unsigned int s;

			memcpy(&s, t->data[sum][row] + 4 * col, sizeof(s));
			for (int i = 0; i < t->row_bytes[a]; i++)
				s += (unsigned int)((signed char)t->data[a][row][i] *
						    t->data[b][i / 4][4 * col + i % 4]);
			memcpy(t->data[sum][row] + 4 * col, &s, sizeof(s));
		}
	}
}

#undef _tile_loadconfig
#define _tile_loadconfig		emulated_tile_config
#undef _tile_release
#define _tile_release()			emulated_tile_config(NULL)
#undef _tile_loadd
#define _tile_loadd			emulated_tile_load
#undef _tile_stored
#define _tile_stored			emulated_tile_store
#undef _tile_zero
#define _tile_zero(tile)		memset(emulated_tiles.data[tile], 0, 1024)
#undef _tile_dpbsud
#define _tile_dpbsud			emulated_tile_dpbsud

#endif /* EMULATED_IMMINTRIN_H */

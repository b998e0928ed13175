/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_t1.h - the digits of packed bytes of t1, see bn_pack.c
 *
 * A byte is 28 * upper + rest; two digits come from the upper, three from the rest. The including
 * file has defined vec and the operations on bytes; and with VBMI defined look_up_64().
 */
#ifndef BN_T1_H
#define BN_T1_H

/*
 * Where all digits of a byte are multiplied with the same and added up apart, sums of five parts of
 * it will do: t1_part() takes fewer lookups than t1_digit(), and t1_sum() makes sums of digits of
 * sums of parts. What it divides leaves no rest: so it multiplies by the inverse modulo 2^32.
 */
#define INVERSE_OF_7	((s32)0xb6db6db7)
#define INVERSE_OF_9	((s32)0x38e38e39)

#ifdef VBMI

/*
 * By tables of 64 bytes, in 8 operations for five digits. Of an index the upper two bits do not
 * count: so those that a shift of words brings over from the byte above do no harm.
 */
#define SEVEN(v)	v, v, v, v, v, v, v
#define THREE(v)	v, v, v
#define NINE(v)		THREE(v), THREE(v), THREE(v)
#define TIMES_3(...)	__VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define ALIGNED_64	__attribute__((__aligned__(64)))

/* by a quarter of the byte: 28 * upper; by the rest: a third of it */
static const u8 t1_upper[64] ALIGNED_64 = {
	SEVEN(0), SEVEN(28), SEVEN(56), SEVEN(84), SEVEN(112), SEVEN(140), SEVEN(168), SEVEN(196),
	SEVEN(224), 252,
};
static const u8 t1_thirds[64] ALIGNED_64 = {
	THREE(0), THREE(1), THREE(2), THREE(3), THREE(4), THREE(5), THREE(6), THREE(7), THREE(8), 9,
};

/* each digit, the first two by a quarter of the byte, the others by the rest */
static const u8 t1_digits[5][64] ALIGNED_64 = {
	{ THREE(SEVEN(0)), THREE(SEVEN(1)), THREE(SEVEN(2)), 3 },
	{ TIMES_3(SEVEN(0), SEVEN(1), SEVEN(2)) },
	{ NINE(0), NINE(1), NINE(2), 2 },
	{ TIMES_3(THREE(0), THREE(1), THREE(2)), 3 },
	{ TIMES_3(TIMES_3(0, 1, 2)) },
};

BN_INLINE vec t1_table(u32 k)
{
	return load(t1_digits[k]);
}

BN_INLINE vec t1_quarter(vec b)
{
	return shift_16(b, 2);
}

BN_INLINE vec t1_rest(vec b)
{
	return subtract_bytes(b, look_up_64(load(t1_upper), t1_quarter(b)));
}

/* The digit at place @k; those before it have been asked for. Destroys @packed */
BN_INLINE vec t1_digit(vec *packed, const u32 k)
{
	const vec b = *packed;

	if (k == 1)
		*packed = t1_rest(b);
	return look_up_64(t1_table(k), k < 2 ? t1_quarter(b) : b);
}

/* part @k, as t1_digit(): a digit, or what it stands in together with those before it */
BN_INLINE vec t1_part(vec *packed, const u32 k)
{
	const vec b = *packed;

	switch (k) {
	case 1:
		*packed = t1_rest(b);
		return look_up_64(load(t1_upper), t1_quarter(b));
	case 3:
		return look_up_64(load(t1_thirds), b);
	case 4:
		return b;
	default:
		return t1_digit(packed, k);
	}
}

BN_INLINE vec t1_sum(const vec *part, const u32 k)
{
	switch (k) {
	case 1:
		return (part[1] >> 2) * INVERSE_OF_7 - 3 * part[0];
	case 3:
	case 4:
		return part[k] - 3 * part[k - 1];
	default:
		return part[k];
	}
}

/*
 * For rows: the first digit times 64, the others times 16. That takes as many operations, but two
 * are masks, for which a CPU has more units than for lookups. What a quarter of the byte finds is
 * its multiple of 28 modulo 64, and in the upper two bits the first digit. The multiple is 7 less,
 * or 14 where the rest is 16 or more: so bits 4 and 5 of what remains are the third digit.
 */
#define T1_APART	true		/* the first digit has sums of its own */
#define FOUR(v)		v, v, v, v
#define LESS(u, by)	(((28 * (u) - (by)) & 63) + (u) / 3 * 64)
#define OFFSETS(u)	FOUR(LESS(u, 7)), THREE(LESS(u, 14))

static const u8 t1_offsets[64] ALIGNED_64 = {
	OFFSETS(0), OFFSETS(1), OFFSETS(2), OFFSETS(3), OFFSETS(4), OFFSETS(5), OFFSETS(6),
	OFFSETS(7), OFFSETS(8), LESS(9, 7),
};

/* by a quarter of the byte */
static const u8 t1_second[64] ALIGNED_64 = { TIMES_3(SEVEN(0), SEVEN(16), SEVEN(32)), 0 };

/* by what remains: from 7 on rests of 0 to 15, from 30 on of 16 to 27 */
static const u8 t1_fourth[64] ALIGNED_64 = {
	SEVEN(0), THREE(0), THREE(16), THREE(32), THREE(0), THREE(16), 32,
	SEVEN(0), 32, 32, THREE(0), THREE(16), THREE(32), 48,
};
static const u8 t1_fifth[64] ALIGNED_64 = {
	SEVEN(0), TIMES_3(0, 16, 32), 0, 16, 32, 0, 16, 32, 0,
	SEVEN(0), 16, 32, TIMES_3(0, 16, 32), 0,
};

BN_INLINE vec t1_scaled(vec *packed, const u32 k)
{
	const vec b = *packed, offset = look_up_64(load(t1_offsets), t1_quarter(b));

	switch (k) {
	case 0:
		return offset & set_bytes((char)0xc0);
	case 1:
		*packed = subtract_bytes(b, offset);
		return look_up_64(load(t1_second), t1_quarter(b));
	case 2:
		return b & set_bytes(0x30);
	case 3:
		return look_up_64(load(t1_fourth), b);
	default:
		return look_up_64(load(t1_fifth), b);
	}
}

#else

#define T1_APART	false
#define t1_scaled	t1_digit

/*
 * By tables of 16 bytes, in 18 operations. Bytes are taken modulo 28 and 9 by minima: what is
 * subtracted from too small a number wraps and is the larger one.
 */
BN_INLINE vec less_if_not_below(vec b, u8 most)
{
	return min_bytes(b, subtract_bytes(b, set_bytes((char)most)));
}

/* 0 .. 27. Less the multiple of 28 that the upper four bits make sure of, it is below 56. */
BN_INLINE vec t1_rest(vec b)
{
	const __m128i multiples = _mm_setr_epi8(0, 0, 28, 28, 56, 56, 84, 112, 112, (char)140,
						(char)140, (char)168, (char)168, (char)196,
						(char)224, (char)224);
	vec sixteens = shift_16(b, 4) & set_bytes(15);

	return less_if_not_below(subtract_bytes(b, look_up(multiples, sixteens)), 28);
}

/* 0 .. 9 of what is up to 27: three times 9 is of no weights */
BN_INLINE vec t1_rest_of_9(vec b)
{
	return less_if_not_below(less_if_not_below(b, 9), 9);
}

/*
 * The digit at place @k; those before it have been asked for. Destroys @packed
 *
 * vpshufb looks up by the lower four bits if the uppermost is zero. They are all different for the
 * multiples of 7 up to 63, which are a quarter of a byte without its rest: the word shift brings
 * over zeros. So they are for 0, 9 and 18.
 */
BN_INLINE vec t1_digit(vec *packed, const u32 k)
{
	const __m128i first = _mm_setr_epi8(0, 2, 0, 1, 0, 1, 0, 0, 2, 0, 2, 0, 1, 0, 0, 3);
	const __m128i second = _mm_setr_epi8(0, 1, 0, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 2, 0);
	const __m128i third = _mm_setr_epi8(0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);
	const __m128i fourth = _mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 0, 0, 0, 0, 0, 0);
	const __m128i fifth = _mm_setr_epi8(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0);
	const vec b = *packed;

	switch (k) {
	case 0:
		return look_up(first, shift_16(subtract_bytes(b, t1_rest(b)), 2));
	case 1:
		*packed = t1_rest(b);
		return look_up(second, shift_16(subtract_bytes(b, *packed), 2));
	case 2:
		*packed = t1_rest_of_9(b);
		return look_up(third, subtract_bytes(b, *packed));
	case 3:
		return look_up(fourth, b);
	default:
		return look_up(fifth, b);
	}
}

/* part @k, as t1_digit(): a digit, or what it stands in together with those before it */
BN_INLINE vec t1_part(vec *packed, const u32 k)
{
	const vec b = *packed;

	switch (k) {
	case 1:
		*packed = t1_rest(b);
		return subtract_bytes(b, *packed);
	case 2:
		*packed = t1_rest_of_9(b);
		return subtract_bytes(b, *packed);
	case 4:
		return b;
	default:
		return t1_digit(packed, k);
	}
}

BN_INLINE vec t1_sum(const vec *part, const u32 k)
{
	switch (k) {
	case 1:
		return (part[1] >> 2) * INVERSE_OF_7 - 3 * part[0];
	case 2:
		return part[2] * INVERSE_OF_9;
	case 4:
		return part[4] - 3 * part[3];
	default:
		return part[k];
	}
}

#endif

#endif /* BN_T1_H */

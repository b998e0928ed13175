/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_multiply.h - products of codes by vpdpbusd; a part of bn_vnni_ops.h
 */

/*
 * What else becomes of codes: nothing; of packed bytes of t1, three times themselves, for the next
 * place; or of packed bytes of t2, those of one field are multiplied.
 */
enum codes { CODES_READY, CODES_TRIPLED, CODES_MASKED };

BN_INLINE void multiply(const struct tile *t, const u32 vectors, const u32 rows,
			const enum codes kind)
{
	u8 *codes = t->codes;
	const s8 *x = t->x;
	const size_t x_stride = t->x_stride, step = t->step, part = t->part;
	const u8 *next = t->next;
	vec a[MOST_X] BN_UNINIT, b[MOST_X] BN_UNINIT;

	bn_for_each(r, rows) {
		a[r] = b[r] = (vec){ 0 };
		if (t->add) {
			a[r] = t->sums[vectors * r];
			if (vectors > 1)
				b[r] = t->sums[vectors * r + 1];
		}
	}
	for (u32 i = 0; i < t->quads; i += 4) {
		bn_for_each(k, 4) {
			vec first = load(codes);
			vec second = vectors > 1 ? load(codes + VEC_BYTES) : first;

			if (kind == CODES_TRIPLED) {
				store(codes, times3(first));
				store(codes + VEC_BYTES, times3(second));
			} else if (kind == CODES_MASKED) {
				first &= t->mask;
				second &= t->mask;
			}
			if (k == 0 || rows <= FETCH_ROWS)
				bn_prefetch_2nd(next + k * part);
			bn_for_each(r, rows) {
				vec four = broadcast(x + r * x_stride);

				a[r] = dot(a[r], first, four);
				if (vectors > 1)
					b[r] = dot(b[r], second, four);
			}
			codes += vectors * VEC_BYTES;
			x += 4;
		}
		next += 4 * step;
	}
	bn_for_each(r, rows) {
		t->sums[vectors * r] = a[r];
		if (vectors > 1)
			t->sums[vectors * r + 1] = b[r];
	}
}

/* One function for each shape, since the sums have to be registers */
#define MULTIPLY(rows)								\
BN_NOINLINE void multiply_1x##rows(const struct tile *t)			\
{										\
	multiply(t, 1, rows, CODES_READY);					\
}										\
										\
BN_NOINLINE void multiply_2x##rows(const struct tile *t)			\
{										\
	multiply(t, 2, rows, CODES_READY);					\
}										\
										\
BN_NOINLINE void multiply_tripled_##rows(const struct tile *t)			\
{										\
	multiply(t, 2, rows, CODES_TRIPLED);					\
}										\
										\
BN_NOINLINE void multiply_masked_##rows(const struct tile *t)			\
{										\
	multiply(t, 2, rows, CODES_MASKED);					\
}

MULTIPLY(1)
MULTIPLY(2)
MULTIPLY(3)
MULTIPLY(4)
MULTIPLY(5)
MULTIPLY(6)
#if MOST_X > 6
MULTIPLY(7)
MULTIPLY(8)
MULTIPLY(9)
MULTIPLY(10)
MULTIPLY(11)
MULTIPLY(12)
#endif

#define ROWS_CASE(rows, function)						\
	case rows:								\
		function##rows(t);						\
		break

/* What @function makes of each number of rows */
#if MOST_X > 6
#define EACH_ROWS(name, function)						\
static void name(const struct tile *t, u32 rows)				\
{										\
	switch (rows) {								\
	ROWS_CASE(1, function);							\
	ROWS_CASE(2, function);							\
	ROWS_CASE(3, function);							\
	ROWS_CASE(4, function);							\
	ROWS_CASE(5, function);							\
	ROWS_CASE(6, function);							\
	ROWS_CASE(7, function);							\
	ROWS_CASE(8, function);							\
	ROWS_CASE(9, function);							\
	ROWS_CASE(10, function);						\
	ROWS_CASE(11, function);						\
	ROWS_CASE(12, function);						\
	}									\
}
#else
#define EACH_ROWS(name, function)						\
static void name(const struct tile *t, u32 rows)				\
{										\
	switch (rows) {								\
	ROWS_CASE(1, function);							\
	ROWS_CASE(2, function);							\
	ROWS_CASE(3, function);							\
	ROWS_CASE(4, function);							\
	ROWS_CASE(5, function);							\
	ROWS_CASE(6, function);							\
	}									\
}
#endif

EACH_ROWS(multiply_1, multiply_1x)
EACH_ROWS(multiply_2, multiply_2x)
EACH_ROWS(multiply_tripled, multiply_tripled_)
EACH_ROWS(multiply_masked, multiply_masked_)

static void multiply_tile(const struct tile *t, u32 vectors, u32 rows)
{
	if (vectors > 1)
		multiply_2(t, rows);
	else
		multiply_1(t, rows);
}

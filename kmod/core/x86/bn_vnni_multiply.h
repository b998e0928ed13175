/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_vnni_multiply.h - products of codes by vpdpbusd; a part of bn_vnni_ops.h
 */

BN_INLINE void multiply(const struct tile *t, const u32 vectors, const u32 rows,
			const bool packed)
{
	const u8 *codes = t->codes;
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

			if (packed) {
				first = take(first, t->taken);
				second = take(second, t->taken);
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
	multiply(t, 1, rows, false);						\
}										\
										\
BN_NOINLINE void multiply_2x##rows(const struct tile *t)			\
{										\
	multiply(t, 2, rows, false);						\
}										\
										\
BN_NOINLINE void multiply_packed_##rows(const struct tile *t)			\
{										\
	multiply(t, 2, rows, true);						\
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

#define MULTIPLY_CASE(rows)							\
	case rows:								\
		t->packed ? multiply_packed_##rows(t) :				\
		vectors > 1 ? multiply_2x##rows(t) : multiply_1x##rows(t);	\
		break

static void multiply_tile(const struct tile *t, u32 vectors, u32 rows)
{
	switch (rows) {
	MULTIPLY_CASE(1);
	MULTIPLY_CASE(2);
	MULTIPLY_CASE(3);
	MULTIPLY_CASE(4);
	MULTIPLY_CASE(5);
	MULTIPLY_CASE(6);
#if MOST_X > 6
	MULTIPLY_CASE(7);
	MULTIPLY_CASE(8);
	MULTIPLY_CASE(9);
	MULTIPLY_CASE(10);
	MULTIPLY_CASE(11);
	MULTIPLY_CASE(12);
#endif
	}
}

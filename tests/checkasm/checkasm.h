/* SPDX-License-Identifier: GPL-2.0 */
/*
 * checkasm.h - what the parts of checkasm share: random inputs, guarded buffers, the list of checks
 */
#ifndef CHECKASM_H
#define CHECKASM_H

#include "bn_float.h"
#include "bn_image.h"
#include "bn_ops.h"

/* ---- random numbers: splitmix64 from the seed on the command line --------------------------- */

void rnd_seed(u64 seed);
u64 rnd(void);
/** below() - 0 .. n-1 */
u32 below(u32 n);
/** between() - min .. max */
u32 between(u32 min, u32 max);

/**
 * rnd_floats() - n floats
 *
 * Of a kind that is drawn for the whole array: ordinary values around 1, tiny, huge or denormal
 * ones, any bits at all, or ordinary ones with a few NaNs, infinities, denormals and zeros of both
 * signs among them.
 */
void rnd_floats(float *x, u32 n);
/** rnd_f16s() - the same for f16 */
void rnd_f16s(u16 *x, u32 n);
void rnd_bytes(void *p, size_t bytes);

/* ---- guarded buffers ------------------------------------------------------------------------ */

#define BUFFER_BYTES	(4U << 20)

/**
 * buffer() - @bytes of memory in slot @slot (0 .. BUFFERS-1) that touch an inaccessible page
 * @align:	alignment of the start, a power of two
 *
 * The end touches the page behind (less what alignment takes), or, one time in four, the start
 * touches the page before. What is left over around the buffer is filled with a pattern.
 */
void *buffer(unsigned int slot, size_t bytes, size_t align);
/** buffer_intact() - is the pattern around the slot's buffer still there? */
bool buffer_intact(unsigned int slot);
#define BUFFERS		10

/* ---- checks --------------------------------------------------------------------------------- */

/**
 * struct check - one operation
 * @run:	one random case: call both, compare, describe it in @what. Return: true if equal
 */
struct check {
	const char *op;
	bool (*run)(const struct bn_ops *ref, const struct bn_ops *ops, char *what,
		    size_t what_bytes);
};

/* end with op == NULL */
extern const struct check linear_checks[], float_checks[], head_checks[];

/** same_bits() - compare @n elements of @size bytes; appends the first difference to @what */
bool same_bits(const void *got, const void *want, u32 n, size_t size, char *what,
	       size_t what_bytes);

/** clear_leaves_zeros() - @before, @after: bytes that are not zero without and with clear() */
bool clear_leaves_zeros(const struct bn_ops *ops, u32 *before, u32 *after);

/**
 * bench() - print the speed of each variant that @cpu can run
 * @only:	name of one variant, or NULL
 * @what:	table: "hot", "streamed", "head" or "float", or NULL for all
 */
int bench(u32 cpu, const char *only, const char *what);

#endif /* CHECKASM_H */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_amx.c - AVX-512 with VNNI and VBMI, but batches of products with AMX
 *
 * Of userspace only: see README.md about tiles in the kernel. Whoever may use it has asked the
 * kernel for the permission to.
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#define AMX
#define VBMI			/* all CPUs with AMX have it */
#define MOST_X		32	/* two tiles of activations */
#define QUADS		16	/* a tile of codes */
#include "bn_zmm.h"
#include "bn_vnni_ops.h"
#include "bn_head_simd.h"
#include "bn_head_tiles.h"

/*
 * Rows of activations from which on it pays. Of so few the codes take most of the time to unpack;
 * t2 has a kernel for up to six that unpacks nothing.
 */
#define LEAST		5
#define LEAST_T2	7

static void linear_t2(const struct bn_product *p)
{
	if (p->batch < LEAST_T2 || p->n <= LANES / 2) {
		bn_linear_t2_avx512vnni(p);
	} else {
		linear_many(p, BN_T2);
		_tile_release();
	}
}

static void linear_t1(const struct bn_product *p)
{
	if (p->batch < LEAST) {
		bn_linear_t1_avx512vbmi(p);
	} else {
		linear_many(p, BN_T1);
		_tile_release();
	}
}

static void columns_t2(const struct bn_product *p)
{
	if (p->batch < LEAST) {
		bn_columns_t2_avx512vnni(p);
	} else {
		columns(p, BN_T2);
		_tile_release();
	}
}

static void columns_t1(const struct bn_product *p)
{
	if (p->batch < LEAST) {
		bn_columns_t1_avx512vbmi(p);
	} else {
		columns(p, BN_T1);
		_tile_release();
	}
}

static void head_top(const struct bn_head *p)
{
	if (p->slots < LEAST) {
		bn_head_top_avx512vnni(p);
	} else {
		head_tiles(p);
		_tile_release();
	}
}

static void clear(void)
{
	_tile_release();
	bn_clear_avx512vnni();
}

const struct bn_ops bn_ops_amx = {
	.name = "amx",
	.needs = BN_CPU_AVX2 | BN_CPU_AVX512VNNI | BN_CPU_AVX512VBMI | BN_CPU_AMX,
	.macs_per_us = 60000,
	.batch_macs_per_us = 1000000,
	.parted_columns = true,
	.linear = { [BN_T2] = linear_t2, [BN_T1] = linear_t1 },
	.columns = { [BN_T2] = columns_t2, [BN_T1] = columns_t1 },
	BN_SHARED_OPS_OF(avx512vnni),
	.head_quantize = bn_head_quantize_avx512vnni,
	.head_top = head_top,
	.clear = clear,
};

#endif /* __CHECKER__ */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx512vbmi.c - AVX-512 with VNNI and VBMI: vpermb looks up digits of t1. The rest is VNNI's
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#define VBMI
#define FEW_ROWS	8	/* 2 x 8 sums, 2 packed, 2 codes, 1 x, 6 tables: 27 of 32 */
#define FEW_GROUP	2
#define FEW_GROUP_4	4
#include "bn_zmm.h"
#include "bn_vnni_ops.h"
#include "bn_vnni_batch.h"
#include "bn_vnni_few.h"

void bn_linear_t1_avx512vbmi(const struct bn_product *p)
{
	if (p->batch == 1)
		linear_t1_1(p);
	else if (p->batch <= FEW_ROWS)
		linear_t1_few(p);
	else
		linear_many(p, BN_T1);
}

void bn_columns_t1_avx512vbmi(const struct bn_product *p)
{
	columns(p, BN_T1);
}

const struct bn_ops bn_ops_avx512vbmi = {
	.name = "avx512vbmi",
	.needs = BN_CPU_AVX2 | BN_CPU_AVX512VNNI | BN_CPU_AVX512VBMI,
	.macs_per_us = 60000,
	.batch_macs_per_us = 300000,
	.parted_columns = true,
	.linear = { [BN_T2] = bn_linear_t2_avx512vnni, [BN_T1] = bn_linear_t1_avx512vbmi },
	.columns = { [BN_T2] = bn_columns_t2_avx512vnni, [BN_T1] = bn_columns_t1_avx512vbmi },
	BN_SHARED_OPS_OF(avx512vnni),
	.head_quantize = bn_head_quantize_avx512vnni,
	.head_top = bn_head_top_avx512vnni,
	.clear = bn_clear_avx512vnni,
};

#endif /* __CHECKER__ */

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_avx2.c - AVX2 and F16C: the table, and operations on floats
 */
#ifndef __CHECKER__		/* sparse knows no intrinsics */

#include "bn_lanes_avx2.h"
#include "bn_avx2.h"

#define FLOAT_OP(type, name)	type bn_##name##_avx2
#include "bn_float_ops.h"

/* In userspace the compiler owns the registers between statements; the clobber list tells it. */
void bn_clear_avx2(void)
{
	asm volatile("vzeroall"
		     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

const struct bn_ops bn_ops_avx2 = {
	.name = "avx2",
	.needs = BN_CPU_AVX2,
	.macs_per_us = 50000,
	.batch_macs_per_us = 60000,
	.linear = { [BN_T2] = bn_linear_t2_avx2, [BN_T1] = bn_linear_t1_avx2 },
	.columns = { [BN_T2] = bn_columns_t2_avx2, [BN_T1] = bn_columns_t1_avx2 },
	BN_SHARED_OPS_OF(avx2),
	.head_quantize = bn_head_quantize_avx2,
	.head_top = bn_head_top_avx2,
	.clear = bn_clear_avx2,
};

#endif /* __CHECKER__ */

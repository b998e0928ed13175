/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_x86.h - the variants of this folder. No intrinsics: the table of variants includes it too.
 */
#ifndef BN_X86_H
#define BN_X86_H

#include "../bn_ops.h"

extern const struct bn_ops bn_ops_avx2, bn_ops_avxvnni, bn_ops_avx512vnni, bn_ops_avx512vbmi,
			   bn_ops_amx;

/* Of the reference, for what a variant has no better way to do */
void bn_linear_t2_ref(const struct bn_product *p);
void bn_linear_t1_ref(const struct bn_product *p);
void bn_columns_t2_ref(const struct bn_product *p);
void bn_columns_t1_ref(const struct bn_product *p);

/*
 * Operations that more than one variant uses: "avxvnni" is AVX2 but for products, "avx512vbmi" and
 * "amx" are "avx512vnni" but for some products
 */
#define BN_SHARED_OPS(isa)									\
void bn_quantize_##isa(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad);			\
void bn_rmsnorm_##isa(float *y, const float *x, const float *g, u32 n, u32 n_pad,		\
		      float eps);								\
void bn_dequant_##isa(float *y, const s32 *acc, u32 n, float scale, bool add);			\
void bn_glu_##isa(float *y, const float *g, const float *u, u32 n, u32 activation);		\
void bn_embed_##isa(float *y, const u8 *high, const u8 *low, float scale, u32 n);		\
void bn_f32_to_f16_##isa(u16 *y, const float *x, u32 n);					\
void bn_rope_##isa(float *x, const float *cos, const float *sin, u32 half);			\
void bn_widen_keys_##isa(float *to, const u16 *keys, u32 n, u32 head_pad);			\
void bn_widen_values_##isa(float *to, const u16 *values, u32 n, u32 head_pad);			\
void bn_scores_##isa(const struct bn_attention *p);						\
void bn_weigh_##isa(const struct bn_attention *p);						\
void bn_head_full_##isa(const struct bn_head *p);						\
void bn_head_lower_##isa(float *max, const float *y, const struct bn_head_error *e, u32 n);	\
u32 bn_head_pick_##isa(u32 *index, const float *y, const struct bn_head_error *e,		\
		       float threshold, u32 from, u32 n, u32 most);				\
u32 bn_head_drop_##isa(float *y, float threshold, u32 n);					\
float bn_max_value_##isa(const float *x, u32 n);						\
void bn_clear_##isa(void);									\
float bn_sum_exp_##isa(const float *x, u32 n, float max)

/* Their places in a struct bn_ops; clear() is not among them */
#define BN_SHARED_OPS_OF(isa)									\
	.quantize = bn_quantize_##isa,								\
	.rmsnorm = bn_rmsnorm_##isa,								\
	.dequant = bn_dequant_##isa,								\
	.glu = bn_glu_##isa,									\
	.embed = bn_embed_##isa,								\
	.f32_to_f16 = bn_f32_to_f16_##isa,							\
	.rope = bn_rope_##isa,									\
	.widen_keys = bn_widen_keys_##isa,							\
	.widen_values = bn_widen_values_##isa,							\
	.scores = bn_scores_##isa,								\
	.weigh = bn_weigh_##isa,								\
	.head_full = bn_head_full_##isa,							\
	.head_lower = bn_head_lower_##isa,							\
	.head_pick = bn_head_pick_##isa,							\
	.head_drop = bn_head_drop_##isa,							\
	.max_value = bn_max_value_##isa,							\
	.sum_exp = bn_sum_exp_##isa

BN_SHARED_OPS(avx2);
BN_SHARED_OPS(avx512vnni);

void bn_linear_t2_avx512vnni(const struct bn_product *p);
void bn_columns_t2_avx512vnni(const struct bn_product *p);
void bn_linear_t1_avx512vbmi(const struct bn_product *p);
void bn_columns_t1_avx512vbmi(const struct bn_product *p);

/* bn_head_*.c: the integer part of the head */
void bn_head_quantize_avx2(void *q, float *step, struct bn_head_norms *norms, const float *x,
			   u32 n_pad);
void bn_head_quantize_avxvnni(void *q, float *step, struct bn_head_norms *norms, const float *x,
			      u32 n_pad);
void bn_head_quantize_avx512vnni(void *q, float *step, struct bn_head_norms *norms, const float *x,
				 u32 n_pad);
void bn_head_top_avx2(const struct bn_head *p);
void bn_head_top_avxvnni(const struct bn_head *p);
void bn_head_top_avx512vnni(const struct bn_head *p);

#endif /* BN_X86_H */

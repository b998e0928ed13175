// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_variant.c - the table of variants
 */
#include "x86/bn_x86.h"

const struct bn_ops *const bn_variants[] = {
	&bn_ops_ref,
	&bn_ops_avx2,
	&bn_ops_avxvnni,
	&bn_ops_avx512vnni,
	&bn_ops_avx512vbmi,
#ifndef __KERNEL__
	&bn_ops_amx,
#endif
	NULL,
};

static bool same_name(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

const struct bn_ops *bn_variant_find(const char *name, u32 cpu)
{
	const struct bn_ops *found = NULL;
	bool fastest = same_name(name, "fastest");

	for (u32 i = 0; bn_variants[i]; i++) {
		const struct bn_ops *ops = bn_variants[i];

		if ((ops->needs & cpu) == ops->needs && (fastest || same_name(name, ops->name)))
			found = ops;
	}
	return found;
}

/* Measured: Sapphire Rapids reads rows faster in four places, Zen 4 by a sixth faster in one. */
bool bn_likes_streams(void)
{
	u32 a = 0, b, c, d;

	asm("cpuid" : "+a" (a), "=b" (b), "=c" (c), "=d" (d));
	return b != 0x68747541 || d != 0x69746e65 || c != 0x444d4163;	/* AuthenticAMD */
}

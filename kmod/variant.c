// SPDX-License-Identifier: GPL-2.0
/*
 * variant.c - which SIMD variant this CPU can run, and runs right
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>

#include <asm/cpufeature.h>
#ifndef CONFIG_UML
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#endif

#include "bitnet.h"

#define MAX_VARIANTS	8

/* One GEMV that fits a section: what the benchmark measures. */
#define BENCH_ROW_BYTES	256
#define BENCH_ROWS	(BN_SECTION_BYTES / 4 / BENCH_ROW_BYTES)
#define BENCH_COLS	(BENCH_ROW_BYTES / BN_BLOCK_BYTES * BN_T2_BLOCK_COLS)
#define BENCH_ROUNDS	64

enum verdict { UNUSABLE, WRONG, GOOD };

static struct {
	enum verdict verdict;
	u32 cases;
	u32 macs_per_us;
} results[MAX_VARIANTS] __ro_after_init;

static bool os_saves(u64 xfeatures)
{
#ifdef CONFIG_UML
	/* A process of a host that saves them; OSXSAVE is never set here. */
	return true;
#else
	return boot_cpu_has(X86_FEATURE_OSXSAVE) && cpu_has_xfeatures(xfeatures, NULL);
#endif
}

#ifdef CONFIG_UML
#define XSTATE_AVX	0
#define XSTATE_AVX512	0
#else
#define XSTATE_AVX	(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM)
#define XSTATE_AVX512	(XSTATE_AVX | XFEATURE_MASK_AVX512)
#endif

static u32 __init cpu_mask(void)
{
	u32 mask = 0;

	if (!os_saves(XSTATE_AVX) || !boot_cpu_has(X86_FEATURE_AVX) ||
	    !boot_cpu_has(X86_FEATURE_AVX2) || !boot_cpu_has(X86_FEATURE_F16C))
		return 0;
	mask |= BN_CPU_AVX2;
	if (boot_cpu_has(X86_FEATURE_AVX_VNNI))
		mask |= BN_CPU_AVXVNNI;
	if (os_saves(XSTATE_AVX512) && boot_cpu_has(X86_FEATURE_AVX512F) &&
	    boot_cpu_has(X86_FEATURE_AVX512BW) && boot_cpu_has(X86_FEATURE_AVX512VL) &&
	    boot_cpu_has(X86_FEATURE_AVX512DQ) && boot_cpu_has(X86_FEATURE_AVX512_VNNI))
		mask |= BN_CPU_AVX512VNNI |
			(boot_cpu_has(X86_FEATURE_AVX512VBMI) ? BN_CPU_AVX512VBMI : 0);
	return mask;
}

/* Compares with the reference, one case for each section. */
static enum verdict __init selftest(const struct bn_ops *ops, void *scratch, u32 *cases)
{
	enum bn_err err;

	for (*cases = 0; ; ++*cases) {
		bitnet_fpu_begin();
		err = bn_selftest(ops, *cases, scratch);
		bitnet_fpu_end(ops);
		cond_resched();
		if (err)
			return err == BN_END ? GOOD : WRONG;
	}
}

/* Multiply-adds per microsecond of a GEMV out of the cache. */
static u32 __init benchmark(const struct bn_ops *ops, void *scratch)
{
	const s32 x_sum = 0;
	const struct bn_product p = {
		.w = scratch,
		.line_bytes = BENCH_ROW_BYTES,
		.blocks = BENCH_ROW_BYTES / BN_BLOCK_BYTES,
		.n = BENCH_ROWS,
		.x = scratch + BENCH_ROWS * BENCH_ROW_BYTES,
		.x_stride = BENCH_COLS,
		.x_sum = &x_sum,
		.batch = 1,
		.y = scratch + BENCH_ROWS * BENCH_ROW_BYTES + BENCH_COLS,
		.y_stride = BENCH_ROWS,
		.tmp = scratch + BN_SELFTEST_BYTES - BN_TMP_BYTES,
	};
	u64 best = U64_MAX;

	memset(scratch, 0, BN_SELFTEST_BYTES);
	for (int i = 0; i < BENCH_ROUNDS; i++) {
		u64 start;

		bitnet_fpu_begin();
		start = ktime_get_ns();
		ops->linear[BN_T2](&p);
		best = min(best, ktime_get_ns() - start);
		bitnet_fpu_end(ops);
		cond_resched();
	}
	return div64_u64((u64)BENCH_ROWS * BENCH_COLS * 1000, max(best, 1ULL));
}

/**
 * bitnet_variant_init() - test all variants and choose one
 * @name:	"fastest", or the only one to use
 *
 * Return: -ENODEV if there is no such variant, or this CPU cannot run it, or it is wrong.
 */
int __init bitnet_variant_init(const char *name)
{
	const struct bn_ops *chosen = NULL;
	u32 cpu = cpu_mask();
	void *scratch;

	scratch = vmalloc(BN_SELFTEST_BYTES);
	if (!scratch)
		return -ENOMEM;
	for (int i = 0; i < MAX_VARIANTS && bn_variants[i]; i++) {
		const struct bn_ops *ops = bn_variants[i];

		if (ops->needs & ~cpu)
			continue;
		results[i].verdict = selftest(ops, scratch, &results[i].cases);
		if (results[i].verdict != GOOD) {
			pr_err("variant %s differs from the reference in case %u: not used\n",
			       ops->name, results[i].cases);
			continue;
		}
		results[i].macs_per_us = benchmark(ops, scratch);
		/* The table is in order of speed. */
		if (!strcmp(name, "fastest") || !strcmp(name, ops->name))
			chosen = ops;
	}
	vfree(scratch);
	if (!chosen) {
		pr_err("variant=%s: not usable here\n", name);
		return -ENODEV;
	}
	bitnet.ops = chosen;
	return 0;
}

/** bitnet_variant_show() - the table, for debugfs */
void bitnet_variant_show(struct seq_file *m)
{
	static const char *const verdicts[] = { "unusable", "wrong", "good" };
	static const char *const in_use[] = { "no", "yes" };

	seq_puts(m, "variant       verdict   cases  macs_per_us  in_use\n");
	for (int i = 0; i < MAX_VARIANTS && bn_variants[i]; i++)
		seq_printf(m, "%-12s  %-8s  %5u  %11u  %s\n", bn_variants[i]->name,
			   verdicts[results[i].verdict], results[i].cases, results[i].macs_per_us,
			   in_use[bn_variants[i] == bitnet.ops]);
}

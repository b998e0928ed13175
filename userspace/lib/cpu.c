// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cpu.c - which variants of the engine can run here
 *
 * CPUID alone is not enough: the operating system must also save the wide registers (XCR0).
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bitnet.h"
#include "cpu.h"

/* CPUID leaf 1, ECX */
#define CPU_OSXSAVE	(1U << 27)
#define CPU_AVX		(1U << 28)
#define CPU_F16C	(1U << 29)
/* leaf 7, subleaf 0, EBX, ECX and EDX; subleaf 1, EAX */
#define CPU_AVX2	(1U << 5)
#define CPU_AVX512	(1U << 16 | 1U << 17 | 1U << 30 | 1U << 31)	/* F, DQ, BW, VL */
#define CPU_AVX512_VBMI	(1U << 1)
#define CPU_AVX512_VNNI	(1U << 11)
#define CPU_AMX		(1U << 24 | 1U << 25)				/* TILE, INT8 */
#define CPU_AVX_VNNI	(1U << 4)

#define XCR0_YMM	0x06U		/* SSE and AVX state */
#define XCR0_ZMM	0xe6U		/* and mask registers, upper halves, upper sixteen */
#define XCR0_TILES	0x60000U	/* configuration and data of AMX's tiles */
#define XSTATE_TILES	18		/* the latter's number */

static u32 xcr0(void)
{
	u32 eax, edx;

	asm volatile("xgetbv" : "=a" (eax), "=d" (edx) : "c" (0));
	return eax;
}

/*
 * The kernel has tiles switched off until a process asks: it then makes room for them where it
 * saves registers. For all threads, also later ones, and without effect on those that use none.
 */
static bool may_use_tiles(void)
{
	return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XSTATE_TILES);
}

u32 bitnet_cpu_mask(void)
{
	const u32 leaf1 = CPU_OSXSAVE | CPU_AVX | CPU_F16C;
	u32 a, b, c, d, saved, a71 = 0, unused, mask;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1)
		return 0;
	saved = xcr0();
	if ((saved & XCR0_YMM) != XCR0_YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
	    !(b & CPU_AVX2))
		return 0;
	mask = BN_CPU_AVX2;
	if (a >= 1)
		__cpuid_count(7, 1, a71, unused, unused, unused);
	if (a71 & CPU_AVX_VNNI)
		mask |= BN_CPU_AVXVNNI;
	if ((saved & XCR0_ZMM) == XCR0_ZMM && (b & CPU_AVX512) == CPU_AVX512 &&
	    (c & CPU_AVX512_VNNI))
		mask |= BN_CPU_AVX512VNNI | (c & CPU_AVX512_VBMI ? BN_CPU_AVX512VBMI : 0);
	if ((saved & XCR0_TILES) == XCR0_TILES && (d & CPU_AMX) == CPU_AMX && may_use_tiles())
		mask |= BN_CPU_AMX;
	return mask;
}

const char *bitnet_variant_name(unsigned int index, bool *usable)
{
	for (unsigned int i = 0; bn_variants[i]; i++) {
		if (i != index)
			continue;
		*usable = bn_variant_find(bn_variants[i]->name, bitnet_cpu_mask());
		return bn_variants[i]->name;
	}
	return NULL;
}

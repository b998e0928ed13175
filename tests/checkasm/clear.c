// SPDX-License-Identifier: GPL-2.0
/*
 * clear.c - checkasm: clear() leaves zeros in every register that its variant may use
 *
 * Compiled for the baseline, so that the compiler itself touches no vector register between the
 * three steps and adds no vzeroupper.
 */
#include <stdio.h>

#include "checkasm.h"

#define REGS_0_15(f)	f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) \
			f(14) f(15)
#define REGS_16_31(f)	f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) \
			f(28) f(29) f(30) f(31)
#define MASKS(f)	f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)

#define FILL_XMM(n)	"pcmpeqd %%xmm" #n ", %%xmm" #n "\n\t"
#define FILL_YMM(n)	"vpcmpeqd %%ymm" #n ", %%ymm" #n ", %%ymm" #n "\n\t"
#define FILL_ZMM(n)	"vpternlogd $0xff, %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define FILL_K(n)	"kxnorq %%k" #n ", %%k" #n ", %%k" #n "\n\t"
#define STORE_XMM(n)	"movups %%xmm" #n ", 64*" #n "(%0)\n\t"
#define STORE_YMM(n)	"vmovdqu %%ymm" #n ", 64*" #n "(%0)\n\t"
#define STORE_ZMM(n)	"vmovdqu64 %%zmm" #n ", 64*" #n "(%0)\n\t"
#define STORE_K(n)	"kmovq %%k" #n ", 64*32+8*" #n "(%0)\n\t"

#define FILL_512	REGS_0_15(FILL_ZMM) REGS_16_31(FILL_ZMM) MASKS(FILL_K)
#define STORE_512	REGS_0_15(STORE_ZMM) REGS_16_31(STORE_ZMM) MASKS(STORE_K) "vzeroupper"

/* those of the baseline: the compiler knows no others here */
#define CLOBBERS	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
			"xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory"

/* zmm0-31, mask registers 0-7; what a variant does not use stays zero */
static u8 saved[64 * 32 + 8 * 8];

static u32 not_zero(void)
{
	u32 n = 0;

	for (u32 i = 0; i < sizeof(saved); i++)
		n += saved[i] != 0;
	return n;
}

/* Bytes of tiles: what XINUSE says of them, all or nothing */
#define XINUSE_TILES	0x60000U
#define TILE_BYTES	(64 + 8 * 1024)

static u32 tiles_in_use(void)
{
	u32 eax, edx;

	asm volatile("xgetbv" : "=a" (eax), "=d" (edx) : "c" (1));
	return eax & XINUSE_TILES ? TILE_BYTES : 0;
}

/* One tile of ones; @pass as below */
static u32 tiles_left(const struct bn_ops *ops, u32 pass)
{
	static const u8 ones[64] = { [0 ... 63] = 0xff };
	static const u8 config[64] = { [0] = 1, [16] = 64, [48] = 1 };
	u32 left;

	asm volatile("ldtilecfg %0\n\ttileloadd (%1,%2,1), %%tmm0"
		     : : "m" (config), "r" (ones), "r" (64L), "m" (ones));
	if (pass)
		ops->clear();
	left = tiles_in_use();
	asm volatile("tilerelease");
	return left;
}

bool clear_leaves_zeros(const struct bn_ops *ops, u32 *before, u32 *after)
{
	memset(saved, 0, sizeof(saved));
	for (u32 pass = 0; pass < 2; pass++) {
		/* the first pass shows that filling and storing work */
		if (ops->needs & BN_CPU_AVX512VNNI) {
			asm volatile(FILL_512 : : : CLOBBERS);
			if (pass)
				ops->clear();
			asm volatile(STORE_512 : : "r" (saved) : CLOBBERS);
		} else if (ops->needs) {
			asm volatile(REGS_0_15(FILL_YMM) : : : CLOBBERS);
			if (pass)
				ops->clear();
			asm volatile(REGS_0_15(STORE_YMM) "vzeroupper" : : "r" (saved) : CLOBBERS);
		} else {
			asm volatile(REGS_0_15(FILL_XMM) : : : CLOBBERS);
			if (pass)
				ops->clear();
			asm volatile(REGS_0_15(STORE_XMM) : : "r" (saved) : CLOBBERS);
		}
		if (!pass)
			*before = not_zero();
	}
	*after = not_zero();
	if (ops->needs & BN_CPU_AMX) {
		*before += tiles_left(ops, 0);
		*after += tiles_left(ops, 1);
	}
	return *before && !*after;
}

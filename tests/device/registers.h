/* SPDX-License-Identifier: GPL-2.0 */
/*
 * registers.h - fills all vector, mask, MMX and control registers, and looks whether they stay so
 */
#ifndef TESTS_DEVICE_REGISTERS_H
#define TESTS_DEVICE_REGISTERS_H

#include <cpuid.h>
#include <stddef.h>

#include "device.h"

/*
 * What a thread holds. Where the CPU has fewer registers, or smaller ones, the rest is not used.
 * @mmx:	the lower 64 bits of the x87 registers
 */
struct regs {
	uint8_t vector[32][64];
	uint64_t mask[8];
	uint64_t mmx[8];
	uint32_t mxcsr;
	uint16_t x87, x87_status;
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct regs, mask) == 2048 && offsetof(struct regs, mmx) == 2112 &&
	      offsetof(struct regs, mxcsr) == 2176 && offsetof(struct regs, x87) == 2180 &&
	      offsetof(struct regs, x87_status) == 2182, "as the instructions below have it");

/*
 * Each of these loads all registers from @in, makes an ioctl by the bare instruction unless @nr is
 * negative, compares all registers with @in up to @passes times, and stores them all to @out.
 * Nothing but the instructions here touches a register in between. Return: how many passes are left
 * as one found a difference; 0 if none did.
 *
 * A pass needs two vector registers, 14 and 15, which it puts into @out and takes back from there.
 */
uint64_t hold_sse(const struct regs *in, struct regs *out, long fd, long nr, void *arg,
		  uint64_t passes);
uint64_t hold_avx(const struct regs *in, struct regs *out, long fd, long nr, void *arg,
		  uint64_t passes);
uint64_t hold_avx512(const struct regs *in, struct regs *out, long fd, long nr, void *arg,
		     uint64_t passes);

asm(
"	.macro load_sse i\n"
"	movdqa	\\i*64(%rbx), %xmm\\i\n"
"	.endm\n"
"	.macro store_sse i\n"
"	movdqa	%xmm\\i, \\i*64(%rbp)\n"
"	.endm\n"
"	.macro back_sse i\n"
"	movdqa	\\i*64(%rbp), %xmm\\i\n"
"	.endm\n"
"	.macro look_sse i\n"
"	movdqa	\\i*64(%rbx), %xmm14\n"
"	.if (\\i & ~1) == 14\n"
"	pxor	\\i*64(%rbp), %xmm14\n"
"	.else\n"
"	pxor	%xmm\\i, %xmm14\n"
"	.endif\n"
"	por	%xmm14, %xmm15\n"
"	.endm\n"
/* ZF: nothing in 15 is set */
"	.macro test_sse\n"
"	pxor	%xmm14, %xmm14\n"
"	pcmpeqb	%xmm14, %xmm15\n"
"	pmovmskb %xmm15, %eax\n"
"	cmp	$0xffff, %eax\n"
"	.endm\n"
"	.macro end_sse\n"
"	.endm\n"

"	.macro load_avx i\n"
"	vmovdqa	\\i*64(%rbx), %ymm\\i\n"
"	.endm\n"
"	.macro store_avx i\n"
"	vmovdqa	%ymm\\i, \\i*64(%rbp)\n"
"	.endm\n"
"	.macro back_avx i\n"
"	vmovdqa	\\i*64(%rbp), %ymm\\i\n"
"	.endm\n"
"	.macro look_avx i\n"
"	.if (\\i & ~1) == 14\n"
"	vmovdqa	\\i*64(%rbp), %ymm14\n"
"	vpxor	\\i*64(%rbx), %ymm14, %ymm14\n"
"	.else\n"
"	vpxor	\\i*64(%rbx), %ymm\\i, %ymm14\n"
"	.endif\n"
"	vpor	%ymm14, %ymm15, %ymm15\n"
"	.endm\n"
"	.macro test_avx\n"
"	vptest	%ymm15, %ymm15\n"
"	.endm\n"
"	.macro end_avx\n"
"	vzeroupper\n"
"	.endm\n"

"	.macro load_avx512 i\n"
"	vmovdqa64 \\i*64(%rbx), %zmm\\i\n"
"	.endm\n"
"	.macro store_avx512 i\n"
"	vmovdqa64 %zmm\\i, \\i*64(%rbp)\n"
"	.endm\n"
"	.macro back_avx512 i\n"
"	vmovdqa64 \\i*64(%rbp), %zmm\\i\n"
"	.endm\n"
"	.macro look_avx512 i\n"
"	.if (\\i & ~1) == 14\n"
"	vmovdqa64 \\i*64(%rbp), %zmm14\n"
"	vpxorq	\\i*64(%rbx), %zmm14, %zmm14\n"
"	.else\n"
"	vpxorq	\\i*64(%rbx), %zmm\\i, %zmm14\n"
"	.endif\n"
"	vporq	%zmm14, %zmm15, %zmm15\n"
"	.endm\n"
"	.macro test_avx512\n"
"	vextracti64x4 $1, %zmm15, %ymm14\n"
"	vpor	%ymm14, %ymm15, %ymm15\n"
"	vptest	%ymm15, %ymm15\n"
"	.endm\n"
"	.macro end_avx512\n"
"	vzeroupper\n"
"	.endm\n"

"	.macro all do isa\n"
"	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
"	\\do\\()_\\isa \\i\n"
"	.endr\n"
"	.ifc \\isa, avx512\n"
"	.irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
"	\\do\\()_\\isa \\i\n"
"	.endr\n"
"	.endif\n"
"	.endm\n"

"	.macro hold isa\n"
"	.globl	hold_\\isa\n"
"	.type	hold_\\isa, @function\n"
"hold_\\isa:\n"
"	push	%rbx\n"
"	push	%rbp\n"
"	mov	%rdi, %rbx\n"
"	mov	%rsi, %rbp\n"
"	mov	%rdx, %rdi\n"
"	mov	%rcx, %rsi\n"
"	mov	%r8, %rdx\n"
"	fninit\n"
"	fldcw	2180(%rbx)\n"
"	ldmxcsr	2176(%rbx)\n"
"	all	load, \\isa\n"
"	.irp	i, 0,1,2,3,4,5,6,7\n"
"	movq	2112+\\i*8(%rbx), %mm\\i\n"
"	.ifc	\\isa, avx512\n"
"	kmovq	2048+\\i*8(%rbx), %k\\i\n"
"	.endif\n"
"	.endr\n"
"	test	%rsi, %rsi\n"
"	js	1f\n"
"	mov	$16, %eax\n"		/* ioctl */
"	syscall\n"
"1:\n"
"	store_\\isa 14\n"
"	store_\\isa 15\n"
"	pxor	%xmm15, %xmm15\n"
"	.ifnc	\\isa, sse\n"
"	vpxor	%xmm15, %xmm15, %xmm15\n"
"	.endif\n"
"	all	look, \\isa\n"
"	test_\\isa\n"
"	back_\\isa 14\n"
"	back_\\isa 15\n"
"	jnz	2f\n"
"	xor	%r8d, %r8d\n"
"	.irp	i, 0,1,2,3,4,5,6,7\n"
"	movq	%mm\\i, %rax\n"
"	xor	2112+\\i*8(%rbx), %rax\n"
"	or	%rax, %r8\n"
"	.ifc	\\isa, avx512\n"
"	kmovq	%k\\i, %rax\n"
"	xor	2048+\\i*8(%rbx), %rax\n"
"	or	%rax, %r8\n"
"	.endif\n"
"	.endr\n"
"	test	%r8, %r8\n"
"	jnz	2f\n"
"	stmxcsr	2176(%rbp)\n"
"	fnstcw	2180(%rbp)\n"
"	fnstsw	2182(%rbp)\n"
"	mov	2176(%rbp), %rax\n"
"	cmp	2176(%rbx), %rax\n"
"	jne	2f\n"
"	dec	%r9\n"
"	jnz	1b\n"
"2:\n"
"	all	store, \\isa\n"
"	.irp	i, 0,1,2,3,4,5,6,7\n"
"	movq	%mm\\i, 2112+\\i*8(%rbp)\n"
"	.ifc	\\isa, avx512\n"
"	kmovq	%k\\i, 2048+\\i*8(%rbp)\n"
"	.endif\n"
"	.endr\n"
"	stmxcsr	2176(%rbp)\n"
"	fnstcw	2180(%rbp)\n"
"	fnstsw	2182(%rbp)\n"
"	fninit\n"
"	push	$0x1f80\n"
"	ldmxcsr	(%rsp)\n"
"	pop	%rax\n"
"	end_\\isa\n"
"	mov	%r9, %rax\n"
"	pop	%rbp\n"
"	pop	%rbx\n"
"	ret\n"
"	.size	hold_\\isa, . - hold_\\isa\n"
"	.endm\n"

"	.text\n"
"	hold	sse\n"
"	hold	avx\n"
"	hold	avx512\n"
);

_Static_assert(SYS_ioctl == 16, "as the instructions above have it");

static uint64_t (*hold)(const struct regs *in, struct regs *out, long fd, long nr, void *arg,
			uint64_t passes) = hold_sse;

/* By what the CPU has. Return: which registers these are */
static const char *choose_hold(void)
{
	unsigned int eax, ebx = 0, ecx = 0, edx, xcr0, high;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_AVX) || !(ecx & bit_OSXSAVE))
		return "xmm0-15";
	hold = hold_avx;
	/* User Mode Linux has no room for more in a signal's frame, and handlers here use them all. */
	if (t_is_uml())
		return "ymm0-15";
	asm volatile("xgetbv" : "=a" (xcr0), "=d" (high) : "c" (0));
	if ((xcr0 & 0xe0) != 0xe0 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ||
	    !(ebx & bit_AVX512F) || !(ebx & bit_AVX512BW))
		return "ymm0-15";
	hold = hold_avx512;
	return "zmm0-31, k0-7";
}

/* Exceptions stay masked; any rounding, flush-to-zero, denormals-are-zero; any x87 precision. */
static void randomise(struct regs *r, uint64_t *seed)
{
	uint64_t *number = (uint64_t *)r;
	size_t i;

	for (i = 0; i < offsetof(struct regs, mxcsr) / sizeof(*number); i++)
		number[i] = t_random(seed);
	r->mxcsr = 0x1f80 | (t_random(seed) & 0xe040);
	r->x87 = 0x037f ^ (t_random(seed) & 0x0c00);
	r->x87_status = 0;
}

/* Tells the first one that differs. */
static void tell(const struct regs *in, const struct regs *out)
{
	unsigned int i;

	for (i = 0; i < 32 && !memcmp(in->vector[i], out->vector[i], 64); i++)
		;
	if (i < 32)
		diag("vector register %u has changed", i);
	else if (in->mxcsr != out->mxcsr)
		diag("MXCSR is %x, was %x", out->mxcsr, in->mxcsr);
	else if (in->x87 != out->x87 || in->x87_status != out->x87_status)
		diag("x87 control and status are %x %x, were %x %x", out->x87, out->x87_status,
		     in->x87, in->x87_status);
	else
		diag("a mask or x87 register has changed");
}

#endif /* TESTS_DEVICE_REGISTERS_H */

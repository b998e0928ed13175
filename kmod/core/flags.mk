# SPDX-License-Identifier: GPL-2.0 OR MIT
# flags.mk - the engine's files and what each may be compiled with, for Kbuild and Makefile alike.
#
# All of the engine is compiled without FMA contraction, so that every variant rounds alike. Only the
# x86/ files may use more than the baseline, and only after their variant was found to work on this CPU.

bn-core-objs := \
	core/bn_image.o core/bn_pack.o core/bn_float.o core/bn_ops_ref.o core/bn_variant.o \
	core/bn_selftest.o core/bn_sampler.o core/bn_step.o core/bn_step_plan.o core/bn_head.o \
	core/bn_work.o core/bn_job.o core/bn_sched.o \
	core/x86/bn_avx2.o core/x86/bn_avx2_linear.o core/x86/bn_avx2_columns.o \
	core/x86/bn_avxvnni.o core/x86/bn_avx512vnni.o core/x86/bn_avx512vbmi.o \
	core/x86/bn_head_avx2.o core/x86/bn_head_avxvnni.o core/x86/bn_head_avx512vnni.o

# Of userspace alone: kmod/README.md says why not of the module.
bn-user-objs := core/x86/bn_amx.o

# Files that hold floating-point code; the rest (image, pack, step_plan, work, job, sched, variant) has none.
bn-float-objs := \
	core/bn_float.o core/bn_ops_ref.o core/bn_selftest.o core/bn_sampler.o core/bn_step.o core/bn_head.o \
	core/x86/bn_avx2.o core/x86/bn_avx2_linear.o core/x86/bn_avx2_columns.o \
	core/x86/bn_avxvnni.o core/x86/bn_avx512vnni.o core/x86/bn_avx512vbmi.o \
	core/x86/bn_head_avx2.o core/x86/bn_head_avxvnni.o core/x86/bn_head_avx512vnni.o

# User Mode Linux forbids builtins: each small memcpy() would be a call, and spill all vector registers.
# Kernels from 6.2 on have char unsigned: gcc 12 then takes no mask of _mm256_blendv_epi8() for negative.
bn-cflags-core := -O2 -fbuiltin -fsigned-char -fno-strict-aliasing -fwrapv -ffp-contract=off -fno-fast-math \
	-fno-math-errno -fno-trapping-math
bn-cflags-bn_avx2 := -mavx2 -mf16c
bn-cflags-bn_avx2_linear := -mavx2
bn-cflags-bn_avx2_columns := -mavx2
bn-cflags-bn_avxvnni := -mavx2 -mf16c -mavxvnni
bn-cflags-bn_head_avx2 = $(bn-cflags-bn_avx2)
bn-cflags-bn_head_avxvnni = $(bn-cflags-bn_avxvnni)
bn-cflags-bn_head_avx512vnni = $(bn-cflags-bn_avx512vnni)
bn-cflags-bn_avx512vnni := -mavx2 -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
bn-cflags-bn_avx512vbmi = $(bn-cflags-bn_avx512vnni) -mavx512vbmi
bn-cflags-bn_amx = $(bn-cflags-bn_avx512vbmi) -mamx-tile -mamx-int8

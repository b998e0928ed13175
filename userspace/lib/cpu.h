/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * cpu.h - what the CPU and the operating system let the engine's variants use
 */
#ifndef BITNET_CPU_H
#define BITNET_CPU_H

#include "bn_ops.h"

/** bitnet_cpu_mask() - BN_CPU_* bits of this machine, for bn_variant_find() */
u32 bitnet_cpu_mask(void);

#endif /* BITNET_CPU_H */

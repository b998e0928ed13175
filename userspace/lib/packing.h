/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * packing.h - which packing is faster on this machine?
 */
#ifndef BITNET_LIB_PACKING_H
#define BITNET_LIB_PACKING_H

#include "bn_types.h"

/**
 * bitnet_packing_faster() - the packing that a step would read faster
 * @weight_bytes: of the model's ternary matrices as t2
 *
 * Matrices that the caches hold are faster as t2, which takes fewer instructions. For larger ones
 * products stream through memory, on all CPUs that this process may use, for some tenths of a second.
 *
 * Return: BN_T1 or BN_T2; BN_T2 also if there is no memory to measure with.
 */
enum bn_packing bitnet_packing_faster(uint64_t weight_bytes);

#endif /* BITNET_LIB_PACKING_H */

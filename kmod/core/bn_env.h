/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_env.h - what the engine needs of its surroundings: fixed-width types and the mem* functions
 *
 * The only place where the kernel and userspace builds differ.
 */
#ifndef BN_ENV_H
#define BN_ENV_H

#ifdef __KERNEL__
#include <linux/string.h>
#include <linux/types.h>
#else
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef __u8 u8;
typedef __s8 s8;
typedef __u16 u16;
typedef __s16 s16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
#endif

#endif /* BN_ENV_H */

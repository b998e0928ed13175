/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - what differs between the kernels that the module is built for (6.1 to 6.12). Nothing
 * else looks at LINUX_VERSION_CODE.
 */
#ifndef BITNET_COMPAT_H
#define BITNET_COMPAT_H

#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/version.h>

/* 6.8 dropped the count of eventfd_signal(). */
static inline void bitnet_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* 6.3 made vm_flags read-only but for these. */
static inline void bitnet_vm_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

#endif /* BITNET_COMPAT_H */

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * ring.h - the consumer's side of the completion ring, inside libbitnet
 *
 * The protocol and who writes which word are in <linux/bitnet.h>, "The completion ring". Here is
 * the only place of userspace that touches the shared words. One thread consumes.
 */
#ifndef BITNET_LIB_RING_H
#define BITNET_LIB_RING_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bitnet.h>

/**
 * struct bitnet_ring - a mapped ring
 * @hdr:	shared header
 * @entries:	shared entries
 * @mask:	entries - 1, private copy
 * @head:	entries consumed, private; hdr->head follows it
 */
struct bitnet_ring {
	struct bitnet_ring_header *hdr;
	const struct bitnet_ring_entry *entries;
	__u32 mask;
	__u32 head;
};

/**
 * bitnet_ring_attach() - start to consume a ring
 * @ring:  out
 * @base:  start of the mapping of BITNET_MMAP_RING
 * @bytes: its length
 *
 * Return: 0, or -EBADMSG if the header does not describe a ring that fits into @bytes.
 */
int bitnet_ring_attach(struct bitnet_ring *ring, void *base, size_t bytes);

/**
 * bitnet_ring_count() - entries that can be consumed now, at most the ring's size
 */
unsigned int bitnet_ring_count(const struct bitnet_ring *ring);

/**
 * bitnet_ring_next() - consume one entry
 * @entry: out, a private copy
 *
 * The slot is the kernel's again when this returns. Return: true if there was an entry.
 */
bool bitnet_ring_next(struct bitnet_ring *ring, struct bitnet_ring_entry *entry);

/**
 * bitnet_ring_needs_wakeup() - does a parked job wait to hear that entries were consumed?
 *
 * To be asked after consuming; if true, BITNET_IOC_WAIT (min_entries 0) must follow.
 */
bool bitnet_ring_needs_wakeup(const struct bitnet_ring *ring);

#endif /* BITNET_LIB_RING_H */

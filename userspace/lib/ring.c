// SPDX-License-Identifier: GPL-2.0 OR MIT
/* ring.c - see ring.h */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "ring.h"

int bitnet_ring_attach(struct bitnet_ring *ring, void *base, size_t bytes)
{
	struct bitnet_ring_header *hdr = base;
	uint64_t end;

	if (bytes < sizeof(*hdr))
		return -EBADMSG;
	end = (uint64_t)hdr->entries * sizeof(struct bitnet_ring_entry) + hdr->entries_offset;
	if (!hdr->entries || hdr->entries & (hdr->entries - 1) || hdr->mask != hdr->entries - 1 ||
	    hdr->entries_offset < sizeof(*hdr) ||
	    hdr->entries_offset % sizeof(struct bitnet_ring_entry) || end > bytes)
		return -EBADMSG;

	ring->hdr = hdr;
	ring->entries = (const void *)((const char *)base + hdr->entries_offset);
	ring->mask = hdr->mask;
	ring->head = __atomic_load_n(&hdr->head, __ATOMIC_RELAXED);
	return 0;
}

unsigned int bitnet_ring_count(const struct bitnet_ring *ring)
{
	/* pairs with the kernel's store-release of tail: the entries below it are written */
	__u32 n = __atomic_load_n(&ring->hdr->tail, __ATOMIC_ACQUIRE) - ring->head;

	/*
	 * more than the ring holds: another holder of the file moved head; what lies there is
	 * whole
	 */
	return n <= ring->mask + 1 ? n : ring->mask + 1;
}

bool bitnet_ring_next(struct bitnet_ring *ring, struct bitnet_ring_entry *entry)
{
	if (!bitnet_ring_count(ring))
		return false;
	memcpy(entry, &ring->entries[ring->head & ring->mask], sizeof(*entry));
	ring->head++;
	/*
	 * pairs with the kernel's load-acquire of head: it may overwrite the slot only after the
	 * copy
	 */
	__atomic_store_n(&ring->hdr->head, ring->head, __ATOMIC_RELEASE);
	return true;
}

bool bitnet_ring_needs_wakeup(const struct bitnet_ring *ring)
{
	/*
	 * The kernel sets the flag and then looks at head once more; we stored head and now look at
	 * the flag. With a full barrier on both sides one of us sees the other, and no wake-up is
	 * lost.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->hdr->flags, __ATOMIC_RELAXED) & BITNET_RING_F_NEED_WAKEUP;
}

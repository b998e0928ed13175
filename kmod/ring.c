// SPDX-License-Identifier: GPL-2.0
/*
 * ring.c - the completion ring: one producer here, one consumer in the process
 *
 * The kernel's indices are private. Of the shared memory only @head is ever read, once for each
 * use, and believed only as far as it moves forward over entries that exist: so a slot once found
 * free stays free, whatever the process writes.
 *
 *   free = entries - (tail - head) - reserved - promised
 *
 * A job reserves the slot of its final entry when it is accepted, and a step promises those of the
 * tokens that it will make before it starts: what is posted always has room. One slot is never
 * reserved, so that jobs cannot keep each other from making tokens.
 */
#include <linux/eventfd.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bitnet.h"
#include "compat.h"

static struct bitnet_ring *ring_of(struct bitnet_file *file)
{
	/* Pairs with the release in ring_publish(): who sees the ring sees all of it. */
	return smp_load_acquire(&file->ring);
}

static void ring_free(struct bitnet_ring *ring, struct bitnet_user *user)
{
	/* No mapping is left: each holds the file. */
	bitnet_big_free(ring->data, ring->data_bytes);
	bitnet_big_free(ring->header, ring->ring_bytes);
	if (ring->eventfd)
		eventfd_ctx_put(ring->eventfd);
	bitnet_uncharge(user, BITNET_RES_RING_BYTES, ring->ring_bytes + ring->data_bytes);
	kfree(ring);
}

static struct bitnet_ring *ring_alloc(struct bitnet_user *user, u32 entries, int eventfd,
				      u64 data_bytes)
{
	struct bitnet_ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	int err;

	if (!ring)
		return ERR_PTR(-ENOMEM);
	ring->n_entries = entries;
	ring->data_bytes = data_bytes;
	ring->ring_bytes = PAGE_SIZE +
			   PAGE_ALIGN(array_size(entries, sizeof(struct bitnet_ring_entry)));
	err = bitnet_charge(user, BITNET_RES_RING_BYTES, ring->ring_bytes + data_bytes);
	if (err) {
		kfree(ring);
		return ERR_PTR(err);
	}
	err = -ENOMEM;
	ring->header = bitnet_big_alloc(ring->ring_bytes);
	if (!ring->header)
		goto out;
	if (data_bytes) {
		ring->data = bitnet_big_alloc(data_bytes);
		if (!ring->data)
			goto out;
	}
	if (eventfd >= 0) {
		struct eventfd_ctx *ctx = eventfd_ctx_fdget(eventfd);

		err = PTR_ERR_OR_ZERO(ctx) ? -EINVAL : 0;
		if (err)
			goto out;
		ring->eventfd = ctx;
	}
	ring->entries = (void *)ring->header + PAGE_SIZE;
	ring->header->mask = entries - 1;
	ring->header->entries = entries;
	ring->header->entries_offset = PAGE_SIZE;
	return ring;
out:
	ring_free(ring, user);
	return ERR_PTR(err);
}

/* Makes the ring the file's. -EEXIST if it has one. */
static int ring_publish(struct bitnet_file *file, struct bitnet_ring *ring)
{
	/* Pairs with the acquire in ring_of(). */
	return cmpxchg_release(&file->ring, NULL, ring) ? -EEXIST : 0;
}

/**
 * bitnet_ring_create() - give a file its ring
 * @file:	client
 * @entries:	power of two, validated
 * @eventfd:	descriptor, or -1
 * @data_bytes:	validated
 *
 * Context: sleeps. Return: -EEXIST, -ENOMEM, -EDQUOT, -EINVAL (not an eventfd).
 */
int bitnet_ring_create(struct bitnet_file *file, u32 entries, int eventfd, u64 data_bytes)
{
	struct bitnet_ring *ring;
	int err;

	ring = ring_alloc(file->user, entries, eventfd, data_bytes);
	if (IS_ERR(ring))
		return PTR_ERR(ring);
	err = ring_publish(file, ring);
	if (err)
		ring_free(ring, file->user);
	return err;
}

/** bitnet_ring_destroy() - with the file's last reference */
void bitnet_ring_destroy(struct bitnet_file *file)
{
	if (file->ring)
		ring_free(file->ring, file->user);
}

int bitnet_ring_setup(struct bitnet_call *call)
{
	struct bitnet_ring_setup *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_ring *ring;
	int err;

	if (u->flags || u->entries < 2 || u->entries > BITNET_RING_ENTRIES ||
	    !is_power_of_2(u->entries) || u->eventfd < -1 || !PAGE_ALIGNED(u->data_bytes) ||
	    u->data_bytes > BITNET_DATA_BYTES)
		return -EINVAL;
	if (ring_of(file))
		return -EEXIST;
	ring = ring_alloc(file->user, u->entries, u->eventfd, u->data_bytes);
	if (IS_ERR(ring))
		return PTR_ERR(ring);
	u->out_ring_bytes = ring->ring_bytes;
	err = bitnet_respond(call);
	if (!err)
		err = ring_publish(file, ring);
	if (err)
		ring_free(ring, file->user);
	return err;
}

/**
 * bitnet_ring_mmap() - map the ring or the data area, all of it
 * @file:	client
 * @vma:	says which by its offset
 *
 * The mapping holds the file, and the file the memory. Return: -ENXIO without a ring, -EINVAL for
 * any other offset or length, a private or an executable mapping.
 */
int bitnet_ring_mmap(struct bitnet_file *file, struct vm_area_struct *vma)
{
	struct bitnet_ring *ring = ring_of(file);
	unsigned long length = vma->vm_end - vma->vm_start;
	u64 bytes;
	void *from;

	if (!ring)
		return -ENXIO;
	switch ((u64)vma->vm_pgoff << PAGE_SHIFT) {
	case BITNET_MMAP_RING:
		from = ring->header;
		bytes = ring->ring_bytes;
		break;
	case BITNET_MMAP_DATA:
		from = ring->data;
		bytes = ring->data_bytes;
		break;
	default:
		return -EINVAL;
	}
	if (!from || length != bytes || !(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC)
		return -EINVAL;
	bitnet_vm_flags(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);

	for (unsigned long at = 0; at < length; at += PAGE_SIZE) {
		int err = vm_insert_page(vma, vma->vm_start + at, vmalloc_to_page(from + at));

		if (err)
			return err;
	}
	return 0;
}

/** bitnet_ring_used_locked() - entries that the process has not consumed */
u32 bitnet_ring_used_locked(const struct bitnet_ring *ring)
{
	lockdep_assert_held(&bitnet.lock);
	return ring->tail - ring->head;
}

/** bitnet_ring_free_locked() - slots for TOKEN entries, as far as is known without reading @head */
u32 bitnet_ring_free_locked(const struct bitnet_ring *ring)
{
	return ring->n_entries - bitnet_ring_used_locked(ring) - ring->reserved - ring->promised;
}

static void read_head_locked(struct bitnet_ring *ring)
{
	/* Pairs with the process' store-release: entries before @head have been read. */
	u32 head = smp_load_acquire(&ring->header->head);

	lockdep_assert_held(&bitnet.lock);
	if (head - ring->head <= ring->tail - ring->head)
		ring->head = head;
}

/**
 * bitnet_ring_reserve_locked() - set the slot of a final entry aside
 * @ring:	where
 *
 * Return: 0 or -ENOSPC.
 */
int bitnet_ring_reserve_locked(struct bitnet_ring *ring)
{
	read_head_locked(ring);
	if (ring->reserved + 2 > ring->n_entries || !bitnet_ring_free_locked(ring))
		return -ENOSPC;
	ring->reserved++;
	return 0;
}

/**
 * bitnet_ring_refresh_locked() - see what the process has consumed; let parked jobs run again
 * @file:	client with a ring
 *
 * Return: true if jobs became runnable; the caller then calls bitnet_workers_kick() without the
 * lock.
 */
bool bitnet_ring_refresh_locked(struct bitnet_file *file)
{
	struct bitnet_ring *ring = file->ring;
	struct bitnet_kjob *job, *next;

	read_head_locked(ring);
	if (list_empty(&file->parked) || !bitnet_ring_free_locked(ring))
		return false;
	WRITE_ONCE(ring->header->flags, 0);
	list_for_each_entry_safe(job, next, &file->parked, run_node)
		bitnet_job_run_locked(job);
	return true;
}

/**
 * bitnet_ring_park_locked() - a job has just been put on its file's list of parked ones
 * @file:	the file
 *
 * The process consumes, stores @head, and after a full barrier looks at @flags; here @flags is
 * stored, and after a full barrier @head is looked at: one of the two sees the other.
 * bitnet_ring_notify() is due when the lock is released. Return: as bitnet_ring_refresh_locked().
 */
bool bitnet_ring_park_locked(struct bitnet_file *file)
{
	atomic_or(BITNET_NOTIFY_PARKED, &file->notify);
	WRITE_ONCE(file->ring->header->flags, BITNET_RING_F_NEED_WAKEUP);
	/* Pairs with the process' full barrier between @head and @flags. */
	smp_mb();
	return bitnet_ring_refresh_locked(file);
}

/**
 * bitnet_ring_post_locked() - produce an entry
 * @file:	whose ring; the caller has given up the slot that was set aside for the entry
 * @entry:	what to post
 *
 * bitnet_ring_notify() is due when the lock is released.
 */
void bitnet_ring_post_locked(struct bitnet_file *file, const struct bitnet_ring_entry *entry)
{
	struct bitnet_ring *ring = file->ring;

	if (WARN_ON_ONCE(bitnet_ring_used_locked(ring) >= ring->n_entries))
		return;
	ring->entries[ring->tail & (ring->n_entries - 1)] = *entry;
	ring->tail++;
	/* Pairs with the process' load-acquire: the entry is whole. */
	smp_store_release(&ring->header->tail, ring->tail);
	atomic_or(BITNET_NOTIFY_ENTRIES, &file->notify);
}

/**
 * bitnet_ring_notify() - wake who waits, if there is a reason
 * @file:	client with a ring
 *
 * Here and now, although it takes the worker's time and how many wait is up to the process: a work
 * item would be late beside other tasks where a realtime client is not, and a crowd behind an
 * eventfd or an epoll in between cannot be counted. What bounds it is told in bitnet(4).
 * Context: no locks held.
 */
void bitnet_ring_notify(struct bitnet_file *file)
{
	int why = atomic_xchg(&file->notify, 0);

	if (!why)
		return;
	wake_up_poll(&file->wait, EPOLLIN | EPOLLRDNORM);
	if (why & BITNET_NOTIFY_ENTRIES && file->ring->eventfd)
		bitnet_eventfd_signal(file->ring->eventfd);
}

/** bitnet_ring_poll() - entries there? Also lets parked jobs run again */
__poll_t bitnet_ring_poll(struct bitnet_file *file)
{
	bool kick;
	u32 used;

	if (!ring_of(file))
		return 0;
	spin_lock(&bitnet.lock);
	kick = bitnet_ring_refresh_locked(file);
	used = bitnet_ring_used_locked(file->ring);
	spin_unlock(&bitnet.lock);
	if (kick)
		bitnet_workers_kick();
	return used ? EPOLLIN | EPOLLRDNORM : 0;
}

/* Can any job make an entry although the process consumes nothing? */
static bool goes_on_locked(const struct bitnet_file *file)
{
	const struct bitnet_kjob *job;

	list_for_each_entry(job, &file->jobs, file_node) {
		switch (job->state) {
		case BITNET_STATE_RUNNABLE:
		case BITNET_STATE_STEPPING:
		case BITNET_STATE_PAUSED:
		case BITNET_STATE_DELIVERED:
			return true;
		case BITNET_STATE_QUEUED:
			/* Behind a RUN, which needs no ring; or behind one that is here, too. */
			if (job->session->inlined)
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

/* Enough there, or nothing left that could make more before the process consumes? */
static bool wait_over(struct bitnet_file *file, u32 min_entries, u32 *used)
{
	bool over, kick;

	spin_lock(&bitnet.lock);
	kick = bitnet_ring_refresh_locked(file);
	*used = bitnet_ring_used_locked(file->ring);
	over = *used >= min_entries || !goes_on_locked(file);
	spin_unlock(&bitnet.lock);
	if (kick)
		bitnet_workers_kick();
	return over;
}

int bitnet_wait(struct bitnet_call *call)
{
	struct bitnet_wait *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_ring *ring = ring_of(file);
	int err = 0;

	if (u->flags)
		return -EINVAL;
	if (!ring)
		return -ENXIO;
	if (u->min_entries > ring->n_entries)
		return -EINVAL;
	if (u->timeout_ns < 0)
		err = wait_event_interruptible(file->wait,
					       wait_over(file, u->min_entries, &u->out_entries));
	else if (!wait_over(file, u->min_entries, &u->out_entries))
		err = u->timeout_ns ? wait_event_interruptible_hrtimeout(file->wait,
				wait_over(file, u->min_entries, &u->out_entries),
				ns_to_ktime(u->timeout_ns)) : -ETIME;
	if (err)
		return err == -ERESTARTSYS ? -EINTR : err;
	return bitnet_respond(call);
}

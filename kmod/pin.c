// SPDX-License-Identifier: GPL-2.0
/*
 * pin.c - pinned user pages and their account
 *
 * A range is charged before the first page is pinned: to RLIMIT_MEMLOCK of the calling user, to
 * VmPin of the address space, to the user's and the device's quota. All of it is remembered in the
 * record, and given back from there, by whoever puts the model last: usually not the task that
 * loaded it.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>

#include "bitnet.h"

#define PIN_BATCH	512	/* pages between two looks at signals: 2 MiB */

static int charge_memlock(struct user_struct *account, unsigned long n_pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long now = atomic_long_read(&account->locked_vm);

	if (capable(CAP_IPC_LOCK)) {
		atomic_long_add(n_pages, &account->locked_vm);
		return 0;
	}
	do {
		if (n_pages > limit || now > (long)(limit - n_pages))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&account->locked_vm, &now, now + n_pages));
	return 0;
}

static int pin_all(struct bitnet_pins *pins, unsigned long addr)
{
	while (pins->n_pinned < pins->n_pages) {
		unsigned long left = pins->n_pages - pins->n_pinned;
		int n;

		if (fatal_signal_pending(current))
			return -EINTR;
		/*
		 * Without FOLL_WRITE: read-only mappings are welcome, and nothing here ever writes.
		 */
		n = pin_user_pages_fast(addr + (pins->n_pinned << PAGE_SHIFT),
					min_t(unsigned long, left, PIN_BATCH), FOLL_LONGTERM,
					pins->pages + pins->n_pinned);
		switch (n) {
		case 1 ... PIN_BATCH:
			pins->n_pinned += n;
			break;
		case -ENOMEM:
		case -EINTR:
		case -EOPNOTSUPP:
			return n;
		default:
			return fatal_signal_pending(current) ? -EINTR : -EFAULT;
		}
		cond_resched();
	}
	return 0;
}

/**
 * bitnet_pins_create() - charge and pin a range of the caller's memory, read-only and for long
 * @user:	whose quota it goes to; may be another one's than the caller's (a passed descriptor)
 * @addr:	page-aligned
 * @bytes:	multiple of the page size, not 0, capped by the caller
 *
 * Context: process context of the owner of the memory, sleeps. Return: the record, or an ERR_PTR of
 * -ENOMEM,
 * -EDQUOT, -EFAULT, -EOPNOTSUPP, -EINTR.
 */
struct bitnet_pins *bitnet_pins_create(struct bitnet_user *user, u64 addr, u64 bytes)
{
	unsigned long n_pages = bytes >> PAGE_SHIFT;
	struct bitnet_pins *pins;
	int err;

	if (addr != (unsigned long)addr || addr + bytes < addr || addr + bytes > TASK_SIZE_MAX)
		return ERR_PTR(-EFAULT);

	pins = kzalloc(sizeof(*pins), GFP_KERNEL_ACCOUNT);
	if (!pins)
		return ERR_PTR(-ENOMEM);
	err = bitnet_charge(user, BITNET_RES_PINNED_BYTES, bytes);
	if (err)
		goto out_free;
	pins->account = get_uid(current_user());
	err = charge_memlock(pins->account, n_pages);
	if (err)
		goto out_quota;
	pins->n_pages = n_pages;
	pins->user = bitnet_user_get(user);
	pins->mm = current->mm;
	mmgrab(pins->mm);
	atomic64_add(n_pages, &pins->mm->pinned_vm);

	/* From here on the record is whole and the destructor undoes it. */
	pins->pages = kvmalloc_array(n_pages, sizeof(*pins->pages),
				     GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	err = pins->pages ? pin_all(pins, addr) : -ENOMEM;
	if (err) {
		bitnet_pins_destroy(pins);
		return ERR_PTR(err);
	}
	return pins;

out_quota:
	free_uid(pins->account);
	bitnet_uncharge(user, BITNET_RES_PINNED_BYTES, bytes);
out_free:
	kfree(pins);
	return ERR_PTR(err);
}

/**
 * bitnet_pins_destroy() - unpin and give back what was charged
 * @pins:	record; freed
 *
 * Context: sleeps; any task, also without an address space.
 */
void bitnet_pins_destroy(struct bitnet_pins *pins)
{
	for (unsigned long at = 0; at < pins->n_pinned; at += PIN_BATCH) {
		unpin_user_pages(pins->pages + at,
				 min_t(unsigned long, pins->n_pinned - at, PIN_BATCH));
		cond_resched();
	}
	kvfree(pins->pages);
	atomic64_sub(pins->n_pages, &pins->mm->pinned_vm);
	mmdrop(pins->mm);
	atomic_long_sub(pins->n_pages, &pins->account->locked_vm);
	free_uid(pins->account);
	bitnet_uncharge(pins->user, BITNET_RES_PINNED_BYTES, (u64)pins->n_pages << PAGE_SHIFT);
	bitnet_user_put(pins->user);
	kfree(pins);
}

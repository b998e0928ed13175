// SPDX-License-Identifier: GPL-2.0
/*
 * offences.c - what kmod.cocci must find: each line marked with "found". Never compiled
 */

static int under_lock(struct bitnet_file *file, void __user *arg)
{
	u32 n;

	spin_lock(&bitnet.lock);
	if (get_user(n, (u32 __user *)arg)) {	/* found */
		spin_unlock(&bitnet.lock);
		return -EFAULT;
	}
	wake_up_poll(&file->wait, EPOLLIN);	/* found */
	spin_unlock(&bitnet.lock);
	bitnet_ring_notify(file);
	return n;
}

static void put_locked(struct bitnet_kjob *job)
{
	lockdep_assert_held(&bitnet.lock);
	if (job->file)
		bitnet_job_put(job);		/* found */
	bitnet_workers_kick();			/* found */
}

static void unlocked(struct bitnet_kjob *job)
{
	if (job)
		put_locked(job);		/* found */
}

static void given_back(struct bitnet_kjob *job)
{
	spin_lock(&bitnet.lock);
	put_locked(job);
	spin_unlock(&bitnet.lock);
	put_locked(job);			/* found */
}

static u32 read_shared(const struct bitnet_ring *ring)
{
	u32 head = smp_load_acquire(&ring->header->head);

	WRITE_ONCE(ring->header->flags, 0);
	return head & ring->header->mask;	/* found */
}

static int fetch(struct bitnet_job *job, const void __user *from)
{
	u32 size;

	if (get_user(size, from))
		return -EFAULT;
	if (size < 8)
		return -EINVAL;
	return copy_from_user(job, from, size);	/* found */
}

static void *allocate(size_t bytes)
{
	void *p = kmalloc(bytes, GFP_KERNEL_ACCOUNT);

	return p ? p : kvmalloc(bytes, GFP_KERNEL | __GFP_NOWARN);	/* found */
}

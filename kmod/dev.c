// SPDX-License-Identifier: GPL-2.0
/*
 * dev.c - /dev/bitnet and its open files
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "bitnet.h"

struct bitnet_device bitnet = {
	.lock = __SPIN_LOCK_UNLOCKED(bitnet.lock),
	.sparse = true,
	.files = LIST_HEAD_INIT(bitnet.files),
	.users = LIST_HEAD_INIT(bitnet.users),
	.active = {
		LIST_HEAD_INIT(bitnet.active[BITNET_QUEUE_FIRST]),
		LIST_HEAD_INIT(bitnet.active[BITNET_QUEUE_BATCH]),
	},
	.realtime = LIST_HEAD_INIT(bitnet.realtime),
};

/** bitnet_errno() - the engine's errors as ours */
int bitnet_errno(enum bn_err err)
{
	switch (err) {
	case BN_OK:
		return 0;
	case BN_EMAGIC:
		return -ENOEXEC;
	case BN_ESHAPE:
		return -EBADMSG;
	case BN_ERANGE:
		return -ERANGE;
	case BN_EPARAM:
		return -EINVAL;
	case BN_ESELFTEST:
	case BN_END:
		break;
	}
	WARN_ON_ONCE(1);
	return -EINVAL;
}

/**
 * bitnet_file_create() - a new client: an open of the device, or an in-kernel one
 *
 * Context: sleeps. Return: ERR_PTR of -ENOMEM, -EDQUOT.
 */
struct bitnet_file *bitnet_file_create(void)
{
	struct bitnet_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!file)
		return ERR_PTR(err);
	kref_init(&file->ref);
	xa_init_flags(&file->models, XA_FLAGS_ALLOC1);
	xa_init_flags(&file->sessions, XA_FLAGS_ALLOC1);
	init_waitqueue_head(&file->wait);
	INIT_LIST_HEAD(&file->jobs);
	INIT_LIST_HEAD(&file->parked);
	file->tgid = task_tgid_nr(current);
	get_task_comm(file->comm, current->group_leader);

	file->user = bitnet_user_find_or_create(current_uid());
	if (!file->user)
		goto out_free;
	spin_lock(&bitnet.lock);
	err = bitnet_charge_locked(file->user, BITNET_RES_FILES, 1);
	if (!err) {
		if (file->user->used[BITNET_RES_FILES] == 1)
			memset(&file->user->count, 0, sizeof(file->user->count));
		file->id = ++bitnet.next_id;
		list_add_tail(&file->node, &bitnet.files);
	}
	spin_unlock(&bitnet.lock);
	if (err)
		goto out_user;
	return file;

out_user:
	bitnet_user_put(file->user);
out_free:
	kfree(file);
	return ERR_PTR(err);
}

static void file_destroy(struct kref *ref)
{
	struct bitnet_file *file = container_of(ref, struct bitnet_file, ref);

	WARN_ON_ONCE(!list_empty(&file->jobs) || file->n_jobs || file->n_preparing);
	WARN_ON_ONCE(file->n_models || file->n_sessions || file->pinned_bytes || file->kv_bytes);
	bitnet_ring_destroy(file);
	bitnet_user_put(file->user);
	kfree(file);
}

/** bitnet_file_put() - give a reference back. Context: no locks held; may sleep */
void bitnet_file_put(struct bitnet_file *file)
{
	kref_put(&file->ref, file_destroy);
}

/**
 * bitnet_file_close() - the client is gone
 * @file:	nobody can find it any more
 *
 * 1. End all jobs: they are in no queue after this, a step that only they were part of is
 * abandoned.
 * 2. Drop sessions and models. After this, the remaining holders are ended jobs that are still part
 * of the
 *    step in flight; each ends because the step does, and the worker that ends it puts them.
 * 3. Leave the list of files, and drop the client's own reference.
 *
 * Context: any task, also without an address space; waits for no computation.
 */
void bitnet_file_close(struct bitnet_file *file)
{
	bitnet_jobs_cancel(file, NULL);
	bitnet_sessions_close(file);
	bitnet_models_close(file);

	spin_lock(&bitnet.lock);
	list_del(&file->node);
	bitnet_uncharge_locked(file->user, BITNET_RES_FILES, 1);
	/* Counters balance: without files there are no handles and no jobs. */
	if (list_empty(&bitnet.files))
		WARN_ON_ONCE(bitnet.used[BITNET_RES_FILES] || bitnet.used[BITNET_RES_MODELS] ||
			     bitnet.used[BITNET_RES_JOBS] || bitnet.runnable);
	spin_unlock(&bitnet.lock);
	bitnet_file_put(file);
}

static int dev_open(struct inode *inode, struct file *filp)
{
	struct bitnet_file *file = bitnet_file_create();

	if (IS_ERR(file))
		return PTR_ERR(file);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int dev_release(struct inode *inode, struct file *filp)
{
	bitnet_file_close(filp->private_data);
	return 0;
}

static __poll_t dev_poll(struct file *filp, struct poll_table_struct *table)
{
	struct bitnet_file *file = filp->private_data;

	poll_wait(filp, &file->wait, table);
	return bitnet_ring_poll(file);
}

static int dev_mmap(struct file *filp, struct vm_area_struct *vma)
{
	return bitnet_ring_mmap(filp->private_data, vma);
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.release = dev_release,
	.poll = dev_poll,
	.mmap = dev_mmap,
	.unlocked_ioctl = bitnet_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice dev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bitnet",
	.fops = &dev_fops,
	.mode = 0660,
};

int bitnet_dev_init(void)
{
	return misc_register(&dev_misc);
}

void bitnet_dev_exit(void)
{
	misc_deregister(&dev_misc);
}

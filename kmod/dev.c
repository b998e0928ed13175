// SPDX-License-Identifier: GPL-2.0
/*
 * dev.c - /dev/bitnet, its open files, and the users that they belong to
 */
#include <linux/capability.h>
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
	.active = LIST_HEAD_INIT(bitnet.active),
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
 * bitnet_charge_locked() - take from the user's and the device's limit
 * @user:	who pays
 * @what:	resource
 * @n:		how much, in its unit
 *
 * Return: 0 or -EDQUOT.
 */
int bitnet_charge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n)
{
	lockdep_assert_held(&bitnet.lock);
	if (n > bitnet.limit[what] - bitnet.used[what])
		return -EDQUOT;
	if ((user->used[what] > bitnet.limit_user[what] ||
	     n > bitnet.limit_user[what] - user->used[what]) && !capable(CAP_SYS_RESOURCE))
		return -EDQUOT;
	bitnet.used[what] += n;
	user->used[what] += n;
	return 0;
}

/** bitnet_uncharge_locked() - the reverse */
void bitnet_uncharge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n)
{
	lockdep_assert_held(&bitnet.lock);
	WARN_ON_ONCE(user->used[what] < n || bitnet.used[what] < n);
	bitnet.used[what] -= n;
	user->used[what] -= n;
}

/** bitnet_charge() - bitnet_charge_locked(), without the lock */
int bitnet_charge(struct bitnet_user *user, enum bitnet_resource what, u64 n)
{
	int err;

	spin_lock(&bitnet.lock);
	err = bitnet_charge_locked(user, what, n);
	spin_unlock(&bitnet.lock);
	return err;
}

/** bitnet_uncharge() - bitnet_uncharge_locked(), without the lock */
void bitnet_uncharge(struct bitnet_user *user, enum bitnet_resource what, u64 n)
{
	spin_lock(&bitnet.lock);
	bitnet_uncharge_locked(user, what, n);
	spin_unlock(&bitnet.lock);
}

static struct bitnet_user *user_find_locked(kuid_t uid)
{
	struct bitnet_user *user;

	list_for_each_entry(user, &bitnet.users, node)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/*
 * Who has got more service than those who are waiting must not lose that by closing all files: the
 * record stays, without references, until the others have caught up.
 */
static bool in_debt_locked(const struct bitnet_user *user)
{
	return user->attained_ns > bitnet.floor_ns;
}

static void reap_locked(struct list_head *reaped)
{
	struct bitnet_user *user, *next;

	if (!bitnet.debtors)
		return;
	list_for_each_entry_safe(user, next, &bitnet.users, node) {
		if (user->refs || in_debt_locked(user))
			continue;
		list_move(&user->node, reaped);
		bitnet.debtors--;
	}
}

static void free_users(struct list_head *users)
{
	struct bitnet_user *user, *next;

	list_for_each_entry_safe(user, next, users, node)
		kfree(user);
}

/* The record of the calling uid, with a reference. NULL without memory. */
static struct bitnet_user *user_find_or_create(void)
{
	struct bitnet_user *fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	struct bitnet_user *user;
	LIST_HEAD(reaped);

	if (!fresh)
		return NULL;
	fresh->uid = current_uid();
	INIT_LIST_HEAD(&fresh->runnable);
	INIT_LIST_HEAD(&fresh->active);

	spin_lock(&bitnet.lock);
	reap_locked(&reaped);
	user = user_find_locked(fresh->uid);
	if (!user) {
		user = fresh;
		list_add_tail(&user->node, &bitnet.users);
	}
	if (!user->refs++ && user != fresh)
		bitnet.debtors--;
	spin_unlock(&bitnet.lock);
	if (user != fresh)
		kfree(fresh);
	free_users(&reaped);
	return user;
}

/** bitnet_user_get() - take another reference */
struct bitnet_user *bitnet_user_get(struct bitnet_user *user)
{
	spin_lock(&bitnet.lock);
	user->refs++;
	spin_unlock(&bitnet.lock);
	return user;
}

/** bitnet_user_put() - give a reference back */
void bitnet_user_put(struct bitnet_user *user)
{
	bool last;

	spin_lock(&bitnet.lock);
	last = !--user->refs;
	if (last) {
		for (int i = 0; i < BITNET_RES_COUNT; i++)
			WARN_ON_ONCE(user->used[i]);
		if (in_debt_locked(user) && bitnet.debtors < BITNET_DEBTORS) {
			bitnet.debtors++;
			last = false;
		} else {
			list_del(&user->node);
		}
	}
	spin_unlock(&bitnet.lock);
	if (last)
		kfree(user);
}

/** bitnet_users_exit() - no file, model or job is left */
void bitnet_users_exit(void)
{
	free_users(&bitnet.users);
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

	file->user = user_find_or_create();
	if (!file->user)
		goto out_free;
	spin_lock(&bitnet.lock);
	err = bitnet_charge_locked(file->user, BITNET_RES_FILES, 1);
	if (!err) {
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

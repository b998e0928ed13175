// SPDX-License-Identifier: GPL-2.0
/*
 * user.c - uids: what each uses, and what it may use
 *
 * A limit that the administrator has set for a uid holds for all of its processes. The default, for
 * uids without a limit of that kind, does not bind processes with CAP_SYS_RESOURCE: else root could
 * be locked out of the device by default.
 */
#include <linux/capability.h>
#include <linux/slab.h>

#include "bitnet.h"

/** bitnet_user_limit_locked() - the most that a user may have of something, in its unit */
u64 bitnet_user_limit_locked(const struct bitnet_user *user, enum bitnet_resource what)
{
	bool own = user->own.which & BIT(what);

	lockdep_assert_held(&bitnet.lock);
	return min(own ? user->own.most[what] : bitnet.limit_user[what], bitnet.limit[what]);
}

static bool within_limit_locked(const struct bitnet_user *user, enum bitnet_resource what, u64 n)
{
	u64 most = bitnet_user_limit_locked(user, what);

	if (user->used[what] <= most && n <= most - user->used[what])
		return true;
	return !(user->own.which & BIT(what)) && capable(CAP_SYS_RESOURCE);
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
	if (n > bitnet.limit[what] - bitnet.used[what] || !within_limit_locked(user, what, n))
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

/* Is the record, which has no references, among those that are kept for a debt alone? */
static bool debtor_locked(const struct bitnet_user *user)
{
	return !user->refs && !user->own.which;
}

static void reap_locked(struct list_head *reaped)
{
	struct bitnet_user *user, *next;

	if (!bitnet.debtors)
		return;
	list_for_each_entry_safe(user, next, &bitnet.users, node) {
		if (!debtor_locked(user) || in_debt_locked(user))
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

/**
 * bitnet_user_find_or_create() - the record of a uid, with a reference
 * @uid:	who
 *
 * Context: sleeps. Return: NULL without memory.
 */
struct bitnet_user *bitnet_user_find_or_create(kuid_t uid)
{
	struct bitnet_user *fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	struct bitnet_user *user;
	LIST_HEAD(reaped);

	if (!fresh)
		return NULL;
	fresh->uid = uid;
	for (int q = 0; q < BITNET_QUEUES; q++) {
		INIT_LIST_HEAD(&fresh->runnable[q]);
		INIT_LIST_HEAD(&fresh->active[q]);
	}

	spin_lock(&bitnet.lock);
	reap_locked(&reaped);
	user = user_find_locked(uid);
	if (!user) {
		user = fresh;
		user->id = ++bitnet.next_user;
		list_add_tail(&user->node, &bitnet.users);
	} else if (debtor_locked(user)) {
		bitnet.debtors--;
	}
	user->refs++;
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

/* The last reference is gone: is the record to stay? */
static bool keep_locked(const struct bitnet_user *user)
{
	if (user->own.which)
		return true;
	if (!in_debt_locked(user) || bitnet.debtors == BITNET_DEBTORS)
		return false;
	bitnet.debtors++;
	return true;
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
		last = !keep_locked(user);
		if (last)
			list_del(&user->node);
	}
	spin_unlock(&bitnet.lock);
	if (last)
		kfree(user);
}

static void set_default_locked(const struct bitnet_limits *change)
{
	for (int i = 0; i < BITNET_RES_COUNT; i++)
		if (change->which & BIT(i))
			bitnet.limit_user[i] = change->most[i] == BITNET_LIMIT_NONE ?
				bitnet.limit_start[i] : change->most[i];
}

static int set_own_locked(struct bitnet_user *user, const struct bitnet_limits *change)
{
	struct bitnet_limits own = user->own;

	for (int i = 0; i < BITNET_RES_COUNT; i++) {
		if (!(change->which & BIT(i)))
			continue;
		own.most[i] = change->most[i];
		if (own.most[i] == BITNET_LIMIT_NONE)
			own.which &= ~BIT(i);
		else
			own.which |= BIT(i);
	}
	if (own.which && !user->own.which && bitnet.limited == BITNET_LIMITED)
		return -EDQUOT;
	bitnet.limited += !!own.which - !!user->own.which;
	user->own = own;
	return 0;
}

/**
 * bitnet_limits_set() - set limits of a uid, or the default
 * @uid:	whose; NULL: of all uids without a limit of that kind
 * @change:	which, and to what. BITNET_LIMIT_NONE removes a uid's, and sets the default to what
 *		it was when the module was loaded
 *
 * What is in use above a limit stays. Context: sleeps. Return: -ENOMEM; -EDQUOT if BITNET_LIMITED
 * uids have limits of their own.
 */
int bitnet_limits_set(const kuid_t *uid, const struct bitnet_limits *change)
{
	struct bitnet_user *user = NULL;
	int err = 0;

	if (uid) {
		user = bitnet_user_find_or_create(*uid);
		if (!user)
			return -ENOMEM;
	}
	spin_lock(&bitnet.lock);
	if (user)
		err = set_own_locked(user, change);
	else
		set_default_locked(change);
	spin_unlock(&bitnet.lock);
	if (user)
		bitnet_user_put(user);
	return err;
}

/**
 * bitnet_users_each() - call a function for each user with open files or limits of his own
 * @after:	id of the last one that is not wanted, or 0
 * @fn:		called under bitnet.lock, until it returns an error
 * @arg:	for @fn
 *
 * Return: id of the last one that @fn did not fail for, or @after.
 */
u64 bitnet_users_each(u64 after, int (*fn)(const struct bitnet_user *user, void *arg), void *arg)
{
	const struct bitnet_user *user;

	spin_lock(&bitnet.lock);
	/* They are listed in the order of their ids. */
	list_for_each_entry(user, &bitnet.users, node) {
		if (user->id <= after || !(user->used[BITNET_RES_FILES] || user->own.which))
			continue;
		if (fn(user, arg))
			break;
		after = user->id;
	}
	spin_unlock(&bitnet.lock);
	return after;
}

/** bitnet_users_exit() - no file, model or job is left */
void bitnet_users_exit(void)
{
	free_users(&bitnet.users);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * session.c - key/value caches
 */
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bitnet.h"

/**
 * bitnet_big_alloc() - zeroed, page-aligned memory, charged to the caller's memory cgroup
 * @bytes:	not 0
 *
 * Context: sleeps. A fatal signal ends it early. Return: NULL when there is none. Nobody is killed
 * for it: the memory is not the caller's in the eyes of the OOM killer.
 */
void *bitnet_big_alloc(u64 bytes)
{
	return __vmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
			 __GFP_RETRY_MAYFAIL);
}

/**
 * bitnet_big_free() - zero and free what bitnet_big_alloc() gave
 * @p:		may be NULL
 * @bytes:	as allocated
 *
 * Context: sleeps.
 */
void bitnet_big_free(void *p, u64 bytes)
{
	if (!p)
		return;
	for (u64 at = 0; at < bytes; at += SZ_1M) {
		memzero_explicit(p + at, min_t(u64, bytes - at, SZ_1M));
		cond_resched();
	}
	vfree(p);
}

/**
 * bitnet_session_create() - allocate a session
 * @user:	who is charged
 * @model:	a reference is taken
 * @n_ctx:	tokens; 0: the model's longest
 *
 * Context: sleeps. Return: ERR_PTR of -EINVAL, -EDQUOT, -ENOMEM.
 */
struct bitnet_session *bitnet_session_create(struct bitnet_user *user, struct bitnet_model *model,
					     u32 n_ctx)
{
	struct bitnet_session *session;
	int err;

	if (!n_ctx)
		n_ctx = model->core.max_ctx;
	if (n_ctx > model->core.max_ctx)
		return ERR_PTR(-EINVAL);

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return ERR_PTR(-ENOMEM);
	kref_init(&session->ref);
	INIT_LIST_HEAD(&session->jobs);
	session->kv.n_ctx = n_ctx;
	session->kv_bytes = bn_kv_bytes(&model->core, n_ctx);

	err = session->kv_bytes > BITNET_SESSION_KV_BYTES ? -EDQUOT : 0;
	if (err)
		goto out_free;
	err = bitnet_charge(user, BITNET_RES_SESSIONS, 1);
	if (err)
		goto out_free;
	err = bitnet_charge(user, BITNET_RES_KV_BYTES, session->kv_bytes);
	if (err)
		goto out_sessions;
	session->kv.data = bitnet_big_alloc(session->kv_bytes);
	err = session->kv.data ? 0 : -ENOMEM;
	if (err)
		goto out_kv;
	session->user = bitnet_user_get(user);
	kref_get(&model->ref);
	session->model = model;
	atomic_inc(&model->sessions);
	return session;

out_kv:
	bitnet_uncharge(user, BITNET_RES_KV_BYTES, session->kv_bytes);
out_sessions:
	bitnet_uncharge(user, BITNET_RES_SESSIONS, 1);
out_free:
	kfree(session);
	return ERR_PTR(err);
}

static void session_destroy(struct kref *ref)
{
	struct bitnet_session *session = container_of(ref, struct bitnet_session, ref);

	WARN_ON_ONCE(session->n_jobs);
	bitnet_inline_destroy(session->inl);
	bitnet_big_free(session->kv.data, session->kv_bytes);
	bitnet_uncharge(session->user, BITNET_RES_KV_BYTES, session->kv_bytes + session->inl_bytes);
	bitnet_uncharge(session->user, BITNET_RES_SESSIONS, 1);
	bitnet_user_put(session->user);
	atomic_dec(&session->model->sessions);
	bitnet_model_put(session->model);
	kfree(session);
}

/** bitnet_session_put() - give a reference back. Context: no locks held; may sleep */
void bitnet_session_put(struct bitnet_session *session)
{
	kref_put(&session->ref, session_destroy);
}

/*
 * bitnet_session_get() - find a session of a file and take a reference. Return: NULL if there is
 * none
 */
struct bitnet_session *bitnet_session_get(struct bitnet_file *file, u32 id)
{
	struct bitnet_session *session;

	if (id > BITNET_FILE_SESSIONS)
		return NULL;
	id = array_index_nospec(id, BITNET_FILE_SESSIONS + 1);
	xa_lock(&file->sessions);
	session = xa_load(&file->sessions, id);
	if (session)
		kref_get(&session->ref);
	xa_unlock(&file->sessions);
	return session;
}

static void file_account(struct bitnet_file *file, const struct bitnet_session *session, int sign)
{
	spin_lock(&bitnet.lock);
	file->n_sessions += sign;
	file->kv_bytes += sign * (s64)(session->kv_bytes + session->inl_bytes);
	spin_unlock(&bitnet.lock);
}

/*
 * bitnet_session_publish() - make a session findable; the reference and an id set aside go with it
 */
void bitnet_session_publish(struct bitnet_file *file, u32 id, struct bitnet_session *session)
{
	file_account(file, session, 1);
	xa_store(&file->sessions, id, session, GFP_KERNEL_ACCOUNT);
}

int bitnet_session_ioctl_open(struct bitnet_call *call)
{
	struct bitnet_session_open *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_session *session;
	struct bitnet_model *model;
	u32 id;
	int err;

	if (u->flags || u->__resv)
		return -EINVAL;
	model = bitnet_model_get(file, u->model_id);
	if (!model)
		return -ENOENT;
	/* The id is set aside first, and becomes visible last. */
	err = xa_alloc(&file->sessions, &id, NULL, XA_LIMIT(1, BITNET_FILE_SESSIONS),
		       GFP_KERNEL_ACCOUNT);
	if (err) {
		err = err == -EBUSY ? -EDQUOT : err;
		goto out_model;
	}
	session = bitnet_session_create(file->user, model, u->n_ctx);
	if (IS_ERR(session)) {
		err = PTR_ERR(session);
		goto out_id;
	}
	u->out_session_id = id;
	err = bitnet_respond(call);
	if (err)
		goto out_session;
	bitnet_session_publish(file, id, session);
	bitnet_model_put(model);
	return 0;

out_session:
	bitnet_session_put(session);
out_id:
	xa_erase(&file->sessions, id);
out_model:
	bitnet_model_put(model);
	return err;
}

/**
 * bitnet_session_forget() - keep the start of the cache
 * @session:	without jobs
 * @n_tokens:	how many tokens to keep
 *
 * A cancelled job may still be part of the step in flight: it writes behind the tokens that are
 * kept, and no other step starts before it is gone.
 * Return: -EBUSY with jobs, -ERANGE when there are not as many tokens.
 */
int bitnet_session_forget(struct bitnet_session *session, u32 n_tokens)
{
	int err = 0;

	spin_lock(&bitnet.lock);
	if (session->n_jobs)
		err = -EBUSY;
	else if (n_tokens > session->kv.n_past)
		err = -ERANGE;
	else
		session->kv.n_past = n_tokens;
	spin_unlock(&bitnet.lock);
	return err;
}

int bitnet_session_ioctl_rewind(struct bitnet_call *call)
{
	const struct bitnet_session_rewind *u = call->u;
	struct bitnet_session *session;
	int err;

	if (u->__resv)
		return -EINVAL;
	session = bitnet_session_get(call->file, u->session_id);
	if (!session)
		return -ENOENT;
	err = bitnet_session_forget(session, u->n_tokens);
	bitnet_session_put(session);
	return err;
}

static void session_remove(struct bitnet_file *file, u32 id, struct bitnet_session *session)
{
	xa_erase(&file->sessions, id);
	file_account(file, session, -1);
	bitnet_session_put(session);
}

int bitnet_session_ioctl_close(struct bitnet_call *call)
{
	const struct bitnet_session_close *u = call->u;
	struct bitnet_session *session;
	int err = 0;

	session = bitnet_session_get(call->file, u->session_id);
	if (!session)
		return -ENOENT;
	spin_lock(&bitnet.lock);
	if (session->closed)
		err = -ENOENT;
	else if (session->n_jobs)
		err = -EBUSY;
	else
		session->closed = true;
	spin_unlock(&bitnet.lock);
	/* Whoever has set @closed removes it. */
	if (!err)
		session_remove(call->file, u->session_id, session);
	bitnet_session_put(session);
	return err;
}

/** bitnet_sessions_close() - remove all sessions of a file that nobody can use any more */
void bitnet_sessions_close(struct bitnet_file *file)
{
	struct bitnet_session *session;
	unsigned long id;

	xa_for_each(&file->sessions, id, session)
		session_remove(file, id, session);
	xa_destroy(&file->sessions);
}

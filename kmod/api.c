// SPDX-License-Identifier: GPL-2.0
/*
 * api.c - sessions and jobs for other modules: a file without a struct file, its ring read in the
 * kernel
 */
#include <linux/export.h>
#include <linux/slab.h>

#include "bitnet.h"
#include "bitnet_api.h"

#define CLIENT_RING	64	/* entries */
#define CLIENT_SESSION	1	/* id of the only session */

/*
 * struct bitnet_client - a session of another module
 * @lock:	one job at a time; held while it runs, and by nobody but this client's callers
 */
struct bitnet_client {
	struct mutex lock;
	struct bitnet_file *file;
	struct bitnet_session *session;
};

static int open_session(struct bitnet_client *client, const char *name, u32 n_ctx)
{
	struct bitnet_model *model = bitnet_model_find(name);
	struct bitnet_session *session;
	int err;

	if (!model)
		return -ENOENT;
	err = xa_reserve(&client->file->sessions, CLIENT_SESSION, GFP_KERNEL);
	if (err)
		goto out;
	session = bitnet_session_create(client->file->user, model, n_ctx);
	err = PTR_ERR_OR_ZERO(session);
	if (err)
		goto out;
	client->session = session;
	bitnet_session_publish(client->file, CLIENT_SESSION, session);
out:
	bitnet_model_put(model);
	return err;
}

struct bitnet_client *bitnet_session_open(const char *model, u32 n_ctx)
{
	struct bitnet_client *client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	int err;

	if (!client)
		return ERR_PTR(-ENOMEM);
	mutex_init(&client->lock);
	client->file = bitnet_file_create();
	if (IS_ERR(client->file)) {
		err = PTR_ERR(client->file);
		goto out_free;
	}
	err = bitnet_ring_create(client->file, CLIENT_RING, -1, 0);
	if (!err)
		err = open_session(client, model, n_ctx);
	if (err)
		goto out_file;
	return client;

out_file:
	bitnet_file_close(client->file);
out_free:
	kfree(client);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(bitnet_session_open);

int bitnet_session_rewind(struct bitnet_client *client, u32 n_tokens)
{
	return bitnet_session_forget(client->session, n_tokens);
}
EXPORT_SYMBOL_GPL(bitnet_session_rewind);

void bitnet_session_close(struct bitnet_client *client)
{
	bitnet_file_close(client->file);
	kfree(client);
}
EXPORT_SYMBOL_GPL(bitnet_session_close);

/* Takes the next entry out of the ring, as a process would. Return: false if there is none. */
static bool consume(struct bitnet_file *file, struct bitnet_ring_entry *entry)
{
	struct bitnet_ring *ring = file->ring;
	bool any, kick = false;

	spin_lock(&bitnet.lock);
	any = bitnet_ring_used_locked(ring);
	if (any) {
		*entry = ring->entries[ring->head & (ring->n_entries - 1)];
		ring->header->head = ring->head + 1;
		kick = bitnet_ring_refresh_locked(file);
	}
	spin_unlock(&bitnet.lock);
	if (kick)
		bitnet_workers_kick();
	return any;
}

static void cancel(struct bitnet_file *file)
{
	struct bitnet_ring_entry entry;

	bitnet_jobs_cancel(file, NULL);
	while (consume(file, &entry))
		;
}

static int run(struct bitnet_file *file, bitnet_entry_fn fn, void *arg,
	       struct bitnet_ring_entry *final)
{
	struct bitnet_ring_entry entry;
	int err;

	for (;;) {
		err = wait_event_state(file->wait, consume(file, &entry),
				       (TASK_KILLABLE | TASK_FREEZABLE));
		if (err) {
			cancel(file);
			return -EINTR;
		}
		if (entry.kind != BITNET_ENTRY_TOKEN)
			break;
		err = fn ? fn(&entry, arg) : 0;
		if (err) {
			cancel(file);
			return err;
		}
	}
	if (final)
		*final = entry;
	return entry.error;
}

int bitnet_job_run(struct bitnet_client *client, const struct bitnet_job *job, const u32 *tokens,
		   bitnet_entry_fn fn, void *arg, struct bitnet_ring_entry *final)
{
	struct bitnet_job request = *job;
	struct bitnet_refusal refusal;
	struct bitnet_kjob *prepared;
	LIST_HEAD(jobs);
	int err;

	if (job->kind == BITNET_JOB_LINEAR)
		return -EOPNOTSUPP;
	request.session_id = CLIENT_SESSION;
	request.input = 0;
	if (mutex_lock_killable(&client->lock))
		return -EINTR;
	prepared = bitnet_job_prepare(client->file, &request, tokens, &refusal, NULL);
	err = PTR_ERR_OR_ZERO(prepared);
	if (!err) {
		list_add(&prepared->file_node, &jobs);
		bitnet_jobs_commit(&jobs);
		err = run(client->file, fn, arg, final);
	}
	mutex_unlock(&client->lock);
	return err;
}
EXPORT_SYMBOL_GPL(bitnet_job_run);

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bitnet_api.h - what bitnet.ko offers to other modules (EXPORT_SYMBOL_GPL): sessions on shared
 * models
 *
 * A client is treated as a process with a file of its own: it has its own sessions, its jobs are
 * scheduled against those of all others, and it sees shared models only. A module that uses these
 * functions holds bitnet.ko; it closes its sessions before it goes.
 */
#ifndef BITNET_API_H
#define BITNET_API_H

#include <linux/bitnet.h>

struct bitnet_client;

/**
 * typedef bitnet_entry_fn - called for each TOKEN entry of a job, in order
 * @entry:	the entry
 * @arg:	of bitnet_job_run()
 *
 * Context: that of bitnet_job_run(), no locks held. Return: 0 to go on; anything else cancels the
 * job.
 */
typedef int (*bitnet_entry_fn)(const struct bitnet_ring_entry *entry, void *arg);

/**
 * bitnet_session_open() - open a session on a shared model
 * @model:	its name
 * @n_ctx:	tokens; 0: the model's longest context
 *
 * Context: process context, sleeps; memory is charged to the calling task's user and memory cgroup.
 * Return: the session, or an ERR_PTR of -ENOENT, -EINVAL, -ENOMEM, -EDQUOT.
 */
struct bitnet_client *bitnet_session_open(const char *model, u32 n_ctx);

/**
 * bitnet_session_rewind() - keep the first @n_tokens tokens. Return: as BITNET_IOC_SESSION_REWIND
 */
int bitnet_session_rewind(struct bitnet_client *client, u32 n_tokens);

/** bitnet_session_close() - close a session; no call on it may be under way. Context: sleeps */
void bitnet_session_close(struct bitnet_client *client);

/**
 * bitnet_job_run() - run a GENERATE or SCORE job and wait for its end
 * @client:	session; one job at a time, others wait
 * @job:	as for BITNET_IOC_SUBMIT; @session_id and @input are not looked at
 * @tokens:	@job->input_count token ids
 * @fn:		may be NULL
 * @arg:	for @fn
 * @final:	out, its DONE or ERROR entry; may be NULL. Written when 0 or the entry's error is
 *		returned
 *
 * Context: process context, sleeps, killable. Return: 0, -EINTR, what @fn returned, the error of
 * the job, or that of SUBMIT.
 */
int bitnet_job_run(struct bitnet_client *client, const struct bitnet_job *job, const u32 *tokens,
		   bitnet_entry_fn fn, void *arg, struct bitnet_ring_entry *final);

#endif /* BITNET_API_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bitnet.h - what the files of the module share: objects, limits, the lock table
 */
#ifndef BITNET_H
#define BITNET_H

#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/bitnet.h>
#include <linux/bitnet_image.h>

#include "bn_image.h"
#include "bn_job.h"
#include "bn_sched.h"
#include "bn_step.h"
#include "bn_work.h"

#define BITNET_MODULE_VERSION	"0.1.0"

/*
 * THE lock table, outermost first. Nothing that can block for long happens under any of them: no
 * access to user memory, no pinning, no allocation that sleeps.
 *
 *   lock                 kind      protects
 *   bitnet_models_lock   mutex     list of all models, names of shared ones (model.c)
 *   xa_lock of a file    spinlock  ids of models and sessions; a look-up takes its reference under
 *   it,
 *                                  removal erases under it
 *   bitnet.lock          spinlock files, users, their counters; queues and states of jobs; the
 *                        kernel's
 *                                  side of rings; kv.n_past of sessions; totals
 *   event_lock           spinlock  queue of netlink events (netlink.c)
 *   wait queue locks     spinlock  taken by wake-ups; never with bitnet.lock held
 *
 * None is taken in interrupt context. The step in flight is not under a lock: see worker.c for who
 * owns it when. References: job -> session -> model -> pins -> user; job -> file -> user. Each
 * object is destroyed by its last put; puts that may be the last are made without locks and may
 * sleep. Workers hand theirs to a work queue (bitnet_job_put_later()).
 */

/* Limits of one open file; in INFO */
#define BITNET_FILE_MODELS	16
#define BITNET_FILE_SESSIONS	64
#define BITNET_FILE_JOBS	256
#define BITNET_RING_ENTRIES	65536
#define BITNET_DATA_BYTES	(64ULL << 20)
#define BITNET_SESSION_KV_BYTES	(64ULL << 30)

/* Limits of one uid, over all its files */
#define BITNET_USER_FILES	512
#define BITNET_USER_MODELS	64
#define BITNET_USER_SESSIONS	512
#define BITNET_USER_JOBS	2048
#define BITNET_USER_RING_BYTES	(512ULL << 20)

#define BITNET_MAX_STRUCT_BYTES	4096	/* of any ioctl, as callers of the future may know it */

#define BITNET_DEBTORS		1024	/* records of uids kept for their debts alone */

#define BITNET_CANDS		64	/* jobs that one step chooses from */

/* What is counted for a user, and for the device */
enum bitnet_resource {
	BITNET_RES_FILES,
	BITNET_RES_MODELS,		/* handles */
	BITNET_RES_SESSIONS,
	BITNET_RES_JOBS,		/* accepted, unfinished */
	BITNET_RES_RING_BYTES,
	BITNET_RES_PINNED_BYTES,
	BITNET_RES_KV_BYTES,
	BITNET_RES_COUNT,
};

/*
 * struct bitnet_user - a uid that has files open, or models that outlive them. All under
 * bitnet.lock
 * @attained_ns:	worker time of its jobs, see bn_sched.h
 * @floor_ns:		attained_ns of its file that was served last: where a file starts that was
 *		idle
 * @runnable:		jobs that could be part of the next step
 * @active:		in bitnet.active while @runnable is not empty
 * @asked:		number of the round in which its jobs were last considered
 */
struct bitnet_user {
	struct list_head node;
	kuid_t uid;
	u32 refs;
	u64 used[BITNET_RES_COUNT];
	u64 attained_ns;
	u64 floor_ns;
	struct list_head runnable;
	struct list_head active;
	u64 asked;
};

/*
 * struct bitnet_pins - one pinned range and all that it was charged to. Written once, by pin.c
 * @account:	struct user_struct whose locked_vm was charged
 * @mm:		whose pinned_vm was charged; held by mmgrab(), which does not keep the address space
 * @user:	whose quota was charged
 */
struct bitnet_pins {
	struct user_struct *account;
	struct mm_struct *mm;
	struct bitnet_user *user;
	struct page **pages;
	unsigned long n_pages;
	unsigned long n_pinned;
};

/*
 * struct bitnet_model - a loaded image. Constant once published, but for the counters
 * @base:	the pages, mapped read-only
 * @chunks:	for each BN_CHUNK_BYTES of them that lie in one piece: their place in the kernel's
 *		map of all memory, which has large pages; else NULL. NULL if there are none
 * @chunk_bytes: how much of the image these are
 * @step:	the step in flight uses it, and @scratch with it
 * @seen:	uids whose rows @scratch has served since it was last wiped; owned by whoever builds
 *		steps
 * @handles:	ids of files
 * @sessions:	sessions
 */
struct bitnet_model {
	struct kref ref;
	struct list_head node;
	bool named;			/* has a reference from its name; bitnet_models_lock */
	u32 flags;
	kuid_t uid;
	char name[BITNET_NAME_BYTES];
	u64 bytes;
	struct bitnet_pins *pins;
	const void *base;
	const u8 **chunks;
	u64 chunk_bytes;
	struct bn_model core;
	struct bn_layer *layers;
	void *scratch;
	u64 scratch_bytes;
	struct bn_step step;
	kuid_t seen[BN_MAX_ROWS];
	u32 n_seen;
	atomic_t handles;
	atomic_t sessions;
};

/*
 * struct bitnet_session - a key/value cache
 * @kv:		n_past under bitnet.lock, but for the step in flight
 * @jobs:	in the order of SUBMIT; only the first can run. bitnet.lock
 * @n_jobs:	these, and jobs that SUBMIT is preparing. bitnet.lock
 * @closed:	no further jobs. bitnet.lock
 */
struct bitnet_session {
	struct kref ref;
	struct bitnet_model *model;
	struct bitnet_user *user;
	struct bn_kv kv;
	u64 kv_bytes;
	struct list_head jobs;
	u32 n_jobs;
	bool closed;
};

/*
 * struct bitnet_ring - the completion ring. Constant, but for the part under bitnet.lock
 * @header:	shared with the process: written, and only @head read, once for each use
 * @tail:	entries produced
 * @head:	entries consumed, as far as what the process wrote made sense
 * @reserved:	slots for final entries of accepted jobs
 * @promised:	slots for TOKEN entries of the step in flight
 */
struct bitnet_ring {
	struct bitnet_ring_header *header;
	struct bitnet_ring_entry *entries;
	void *data;
	u64 ring_bytes;
	u64 data_bytes;
	u32 n_entries;
	struct eventfd_ctx *eventfd;
	/* bitnet.lock */
	u32 tail;
	u32 head;
	u32 reserved;
	u32 promised;
};

#define BITNET_NOTIFY_ENTRIES	1	/* entries were posted */
#define BITNET_NOTIFY_PARKED	2	/* a job was parked */

/* Counters of a file, and of the device. bitnet.lock */
struct bitnet_counters {
	u64 jobs_submitted;
	u64 jobs_done;
	u64 jobs_failed;
	u64 jobs_cancelled;
	u64 tokens_in;
	u64 tokens_out;
	u64 cpu_ns;
	u64 queue_ns;
	u64 weight_bytes;
	u64 token_ns[BITNET_HIST_BUCKETS];
};

/*
 * struct bitnet_file - one open of the device, or one in-kernel client
 * @models:	ids to struct bitnet_handle
 * @sessions:	ids to struct bitnet_session
 * @ring:	set once, with release semantics
 * @wait:	woken when entries arrive, jobs park or end
 * @notify:	BITNET_NOTIFY_*: why @wait is to be woken as soon as bitnet.lock is released
 * @jobs:	accepted, unfinished. bitnet.lock, like all that follows
 * @parked:	of these, those that wait for ring space
 */
struct bitnet_file {
	struct kref ref;
	struct bitnet_user *user;
	pid_t tgid;
	char comm[16];
	struct xarray models;
	struct xarray sessions;
	struct bitnet_ring *ring;
	wait_queue_head_t wait;
	atomic_t notify;
	/* bitnet.lock */
	struct list_head node;
	u64 id;
	struct list_head jobs;
	struct list_head parked;
	u32 n_models, n_sessions, n_jobs, n_preparing, n_parked;
	u64 pinned_bytes, kv_bytes;
	u64 attained_ns;
	struct bitnet_counters count;
};

enum bitnet_state {
	BITNET_STATE_PREPARED,	/* by SUBMIT, not accepted yet */
	BITNET_STATE_QUEUED,	/* behind another job of its session */
	BITNET_STATE_RUNNABLE,
	BITNET_STATE_PARKED,	/* waits for ring space */
	BITNET_STATE_STEPPING,	/* part of the step in flight */
	BITNET_STATE_DELIVERED,	/* the step is over, and the worker decides what is next */
	BITNET_STATE_ENDED,	/* final entry posted; may still be part of the step in flight */
};

/*
 * struct bitnet_kjob - a job, as the kernel keeps it (struct bitnet_job is SUBMIT's). From @state
 * on under bitnet.lock
 * @core:	GENERATE, SCORE; owned by the step in flight while the job is part of it
 * @linear:	LINEAR
 * @refs:	being unfinished, and being part of the step in flight
 * @entry_node:	in the list of jobs that just ended, until they are put without the lock
 */
struct bitnet_kjob {
	atomic_t refs;
	struct bitnet_file *file;
	struct bitnet_session *session;
	struct bitnet_model *model;
	u64 user_data;
	u32 kind;
	u32 flags;
	void *input;
	size_t input_bytes;
	struct bn_job core;
	struct bn_linear_req linear;
	u64 submit_ns;
	u64 arrival;
	/* bitnet.lock */
	enum bitnet_state state;
	struct list_head file_node;
	struct list_head session_node;
	struct list_head run_node;
	struct list_head entry_node;
	struct llist_node later_node;
	u32 step_rows;
	u32 promised;
	u32 tokens_in;
	u32 tokens_out;
	bool started;
	u64 last_ns;
	u64 cpu_ns;
};

/*
 * struct bitnet_device - the module's global state
 * @limit:	of the device, @limit_user: of one uid without CAP_SYS_RESOURCE; constant
 * @ops:	variant in use; constant
 * @sparse:	steps read only weights that can matter; constant
 * @runnable:	jobs in all lists of runnable jobs; read without the lock by idle workers
 * @floor_ns:	attained_ns of the user that was served last: where a user starts that was idle
 * @debtors:	users without references, kept for what they have attained
 * @rounds:	how often jobs were chosen from
 * @steps:	steps that were computed
 */
struct bitnet_device {
	spinlock_t lock;
	const struct bn_ops *ops;
	bool sparse;
	u64 limit[BITNET_RES_COUNT];
	u64 limit_user[BITNET_RES_COUNT];
	struct workqueue_struct *wq;
	/* lock */
	struct list_head files;
	struct list_head users;
	struct list_head active;
	u64 used[BITNET_RES_COUNT];
	u32 runnable;
	u64 next_id;
	u64 next_arrival;
	u64 floor_ns;
	u32 debtors;
	u64 rounds;
	u64 steps;
	struct bitnet_counters count;
};

extern struct bitnet_device bitnet;

/* dev.c: the device, files and users */
int bitnet_dev_init(void);
void bitnet_dev_exit(void);
struct bitnet_file *bitnet_file_create(void);
void bitnet_file_close(struct bitnet_file *file);
void bitnet_file_put(struct bitnet_file *file);
struct bitnet_user *bitnet_user_get(struct bitnet_user *user);
void bitnet_user_put(struct bitnet_user *user);
void bitnet_users_exit(void);
int __must_check bitnet_charge(struct bitnet_user *user, enum bitnet_resource what, u64 n);
void bitnet_uncharge(struct bitnet_user *user, enum bitnet_resource what, u64 n);
int __must_check bitnet_charge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n);
void bitnet_uncharge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n);
int bitnet_errno(enum bn_err err);

/*
 * struct bitnet_call - one ioctl
 * @arg:	where the caller's struct lies, @size bytes of it
 * @u:		the kernel's copy, see struct bitnet_op
 */
struct bitnet_call {
	struct bitnet_file *file;
	void __user *arg;
	u32 size;
	u32 known;
	void *u;
};

/* ioctl.c */
long bitnet_ioctl(struct file *filp, unsigned int cmd, unsigned long arg);
int __must_check bitnet_respond(const struct bitnet_call *call);
int bitnet_name_check(const char *name, bool may_be_empty);

/* model.c */
int bitnet_model_load(struct bitnet_call *call);
int bitnet_model_open(struct bitnet_call *call);
int bitnet_model_close(struct bitnet_call *call);
int bitnet_model_unload(struct bitnet_call *call);
int bitnet_model_info(struct bitnet_call *call);
struct bitnet_model *bitnet_model_get(struct bitnet_file *file, u32 id);
struct bitnet_model *bitnet_model_find(const char *name);
void bitnet_model_put(struct bitnet_model *model);
void bitnet_models_close(struct bitnet_file *file);
void bitnet_models_exit(void);
int bitnet_models_each(unsigned long from, int (*fn)(const struct bitnet_model *m, void *arg),
		       void *arg);

/* session.c */
int bitnet_session_ioctl_open(struct bitnet_call *call);
int bitnet_session_ioctl_rewind(struct bitnet_call *call);
int bitnet_session_ioctl_close(struct bitnet_call *call);
struct bitnet_session *bitnet_session_create(struct bitnet_user *user, struct bitnet_model *model,
					     u32 n_ctx);
struct bitnet_session *bitnet_session_get(struct bitnet_file *file, u32 id);
void bitnet_session_publish(struct bitnet_file *file, u32 id, struct bitnet_session *session);
int bitnet_session_forget(struct bitnet_session *session, u32 n_tokens);
void bitnet_session_put(struct bitnet_session *session);
void bitnet_sessions_close(struct bitnet_file *file);
void *bitnet_big_alloc(u64 bytes);
void bitnet_big_free(void *p, u64 bytes);

/* job.c */
int bitnet_job_init(void);
void bitnet_job_exit(void);
int bitnet_submit(struct bitnet_call *call);
int bitnet_cancel(struct bitnet_call *call);
struct bitnet_kjob *bitnet_job_prepare(struct bitnet_file *file, const struct bitnet_job *u,
				       const u32 *tokens);
void bitnet_jobs_commit(struct list_head *jobs);
void bitnet_job_abort(struct bitnet_kjob *job);
u32 bitnet_jobs_cancel(struct bitnet_file *file, const u64 *user_data);
void bitnet_job_put(struct bitnet_kjob *job);
void bitnet_job_put_later(struct bitnet_kjob *job);
void bitnet_job_end_locked(struct bitnet_kjob *job, int error, struct list_head *ended);
void bitnet_jobs_ended(struct list_head *ended, bool later);
void bitnet_job_park_locked(struct bitnet_kjob *job);
void bitnet_job_run_locked(struct bitnet_kjob *job);
void bitnet_job_unrun_locked(struct bitnet_kjob *job);

/* pin.c */
struct bitnet_pins *bitnet_pins_create(struct bitnet_user *user, u64 addr, u64 bytes);
void bitnet_pins_destroy(struct bitnet_pins *pins);

/* ring.c */
int bitnet_ring_setup(struct bitnet_call *call);
int bitnet_ring_create(struct bitnet_file *file, u32 entries, int eventfd, u64 data_bytes);
void bitnet_ring_destroy(struct bitnet_file *file);
int bitnet_ring_mmap(struct bitnet_file *file, struct vm_area_struct *vma);
int bitnet_wait(struct bitnet_call *call);
__poll_t bitnet_ring_poll(struct bitnet_file *file);
int bitnet_ring_reserve_locked(struct bitnet_ring *ring);
u32 bitnet_ring_free_locked(const struct bitnet_ring *ring);
bool bitnet_ring_refresh_locked(struct bitnet_file *file);
bool bitnet_ring_park_locked(struct bitnet_file *file);
void bitnet_ring_post_locked(struct bitnet_file *file, const struct bitnet_ring_entry *entry);
void bitnet_ring_notify(struct bitnet_file *file);
u32 bitnet_ring_used_locked(const struct bitnet_ring *ring);

/* worker.c */
int bitnet_workers_init(const char *cpus, const char *policy);
void bitnet_workers_exit(void);
void bitnet_workers_kick(void);
void bitnet_workers_leave_locked(struct bitnet_kjob *job);
u32 bitnet_workers_count(void);
u64 bitnet_section_max_ns(void);
void bitnet_section_histogram(u64 *buckets);

/*
 * struct bitnet_worker - one kernel thread, bound to one CPU
 * @kick:	told to look for work since it last looked
 * @sleeping:	has found none; wants to be told
 * @buffer:	BN_TILE_BYTES for the tile it computes; holds activations
 * @sections:	histogram of FPU sections; like @section_max_ns, only this worker writes it
 */
struct bitnet_worker {
	bool kick;
	bool sleeping;
	void *buffer;
	u64 section_max_ns;
	u64 sections[BITNET_HIST_BUCKETS];
};

/* fpu.c */
#define BITNET_SECTION_GOAL_NS	50000	/* longer sections are traced */
void bitnet_fpu_begin(void);
void bitnet_fpu_end(const struct bn_ops *ops);
bool bitnet_fpu_tile(struct bitnet_worker *worker, struct bn_step *step, u32 phase, u32 tile,
		     const u32 *stop, u64 *ns);

/* variant.c */
int bitnet_variant_init(const char *name);
void bitnet_variant_show(struct seq_file *m);

/* netlink.c */
int bitnet_netlink_init(void);
void bitnet_netlink_exit(void);
void bitnet_event_model(const struct bitnet_model *model, bool loaded);
void bitnet_event_job_locked(const struct bitnet_kjob *job, int error);

/* stats.c */
int bitnet_stats(struct bitnet_call *call);
void bitnet_stats_init(void);
void bitnet_stats_exit(void);
u32 bitnet_bucket(u64 ns);

#endif /* BITNET_H */

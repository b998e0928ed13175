/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bitnet.h - what the files of the module share: objects, limits, the lock table
 */
#ifndef BITNET_H
#define BITNET_H

#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/bitnet.h>
#include <linux/bitnet_genl.h>
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
 *   workers_lock         mutex     which workers rest (worker.c); around cpus_read_lock()
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
#define BITNET_USER_REALTIME_PPM 500000

#define BITNET_MAX_STRUCT_BYTES	4096	/* of any ioctl, as callers of the future may know it */
#define BITNET_JOB_SIZE_V1	offsetofend(struct bitnet_job, stop_tokens) /* as first released */

#define BITNET_DEBTORS		1024	/* records of uids kept for their debts alone */
#define BITNET_LIMITED		1024	/* uids with limits of their own */

#define BITNET_BATCH_FLOOR_PPM	50000	/* until the administrator sets another one ... */
#define BITNET_MAX_FLOOR_PPM	500000	/* ... of at most this */

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
	BITNET_RES_REALTIME_PPM,	/* of the workers' time, for accepted REALTIME jobs */
	BITNET_RES_COUNT,
};

/* Jobs that are runnable, but for realtime claims */
enum bitnet_queue {
	BITNET_QUEUE_FIRST,		/* INTERACTIVE, REALTIME */
	BITNET_QUEUE_BATCH,
	BITNET_QUEUES,
};

/*
 * struct bitnet_limits - limits of a user
 * @which:	BIT() of each enum bitnet_resource that is limited here
 * @most:	what these are limited to
 */
struct bitnet_limits {
	u32 which;
	u64 most[BITNET_RES_COUNT];
};

/* Counters of a session, a file, a user, and of the device. bitnet.lock */
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
	u64 late;			/* tokens of REALTIME jobs that were late ... */
	u64 realtime_tokens;		/* ... of so many */
	u64 class_cpu_ns[3];		/* by BITNET_CLASS_* */
	u64 token_ns[BITNET_HIST_BUCKETS];
};

/*
 * struct bitnet_user - a uid that has files open, or models that outlive them, or limits of its
 * own. All under bitnet.lock
 * @id:		since load, in the order of bitnet.users
 * @n_parked:	jobs that wait for ring space
 * @own:	limits that the administrator has set for this uid
 * @count:	since it had no file open
 * @attained_ns:	worker time of its jobs, see bn_sched.h
 * @floor_ns:		attained_ns of its file that was served last: where a file starts that was
 *		idle
 * @runnable:		jobs that could be part of the next step; @n_runnable in all
 * @active:		in bitnet.active of the same queue while that is not empty
 * @asked:		number of the round in which its jobs were last considered
 */
struct bitnet_user {
	struct list_head node;
	u64 id;
	kuid_t uid;
	u32 refs;
	u32 n_parked;
	u64 used[BITNET_RES_COUNT];
	struct bitnet_limits own;
	struct bitnet_counters count;
	u64 attained_ns;
	u64 floor_ns;
	struct list_head runnable[BITNET_QUEUES];
	struct list_head active[BITNET_QUEUES];
	u32 n_runnable;
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
 * @costs:	how long its steps take; bitnet.lock
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
	struct bn_costs costs;
	kuid_t seen[BN_MAX_ROWS];
	u32 n_seen;
	atomic_t handles;
	atomic_t sessions;
};

/*
 * struct bitnet_inline - what it takes to compute a session's jobs in the caller's thread (RUN). Of
 * the session alone, and used by nobody but the thread whose RUN it has accepted
 * @step:	the models' own is for the workers, like their scratch memory
 * @memory:	@bytes: @buffer, which is BN_TILE_BYTES, and the step's scratch memory
 * @tokens, @entries: what a step has made, on its way to the caller
 */
struct bitnet_inline {
	struct bn_step step;
	void *memory;
	u64 bytes;
	void *buffer;
	struct bn_token tokens[BN_MAX_HEAD_ROWS];
	struct bitnet_ring_entry entries[BN_MAX_HEAD_ROWS];
};

/*
 * struct bitnet_session - a key/value cache
 * @kv:		n_past under bitnet.lock, but for the step in flight
 * @inl:	since its first RUN, else NULL; set by the RUN that has @inlined
 * @inl_bytes:	its memory, counted like @kv_bytes
 * @jobs:	in the order of SUBMIT; only the first can run. bitnet.lock
 * @n_jobs:	these, jobs that SUBMIT is preparing, and RUN's. bitnet.lock
 * @inlined:	a RUN has the session: its jobs wait. bitnet.lock
 * @in_step:	a job of it, which may have ended, is part of the step in flight. bitnet.lock
 * @closed:	no further jobs. bitnet.lock
 * @count:	bitnet.lock
 */
struct bitnet_session {
	struct kref ref;
	struct bitnet_model *model;
	struct bitnet_user *user;
	struct bn_kv kv;
	u64 kv_bytes;
	struct bitnet_inline *inl;
	u64 inl_bytes;
	struct list_head jobs;
	u32 n_jobs;
	bool inlined;
	bool in_step;
	bool closed;
	struct bitnet_counters count;
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
#define BITNET_NOTIFY_RUN	4	/* a RUN is cancelled, or has its session alone */

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
	BITNET_STATE_PAUSED,	/* part of a step that was put aside */
	BITNET_STATE_DELIVERED,	/* the step is over, and the worker decides what is next */
	BITNET_STATE_INLINE,	/* RUN: its caller computes it */
	BITNET_STATE_ENDED,	/* final entry posted; may still be part of the step in flight */
};

/*
 * struct bitnet_kjob - a job, as the kernel keeps it (struct bitnet_job is SUBMIT's). From @state
 * on under bitnet.lock
 * @core:	GENERATE, SCORE; owned by the step in flight while the job is part of it
 * @linear:	LINEAR
 * @refs:	being unfinished, and being part of the step in flight
 * @final:	RUN: where the final entry goes, and NULL for all others: into the ring
 * @stop:	RUN: it is cancelled, and its caller is to end it. Written under bitnet.lock
 * @entry_node:	in the list of jobs that just ended, until they are put without the lock
 * @realtime_node: in bitnet.realtime, if REALTIME, from before it is accepted until it ends
 * @release_ns, @due_ns: of its next token, see struct bn_demand
 * @realtime_ppm: what its user is charged for it
 * @demand:	its claim, as of the last bitnet_queue_look_locked(); NULL: none
 */
struct bitnet_kjob {
	refcount_t refs;
	struct bitnet_file *file;
	struct bitnet_session *session;
	struct bitnet_model *model;
	u64 user_data;
	u32 kind;
	u32 flags;
	u32 job_class;			/* BITNET_CLASS_* */
	u64 first_token_ns, period_ns;	/* REALTIME */
	void *input;
	size_t input_bytes;
	struct bn_job core;
	struct bn_linear_req linear;
	u64 submit_ns;
	u64 arrival;
	struct bitnet_ring_entry *final;
	bool stop;
	/* bitnet.lock */
	enum bitnet_state state;
	struct list_head file_node;
	struct list_head session_node;
	struct list_head run_node;
	struct list_head entry_node;
	struct llist_node later_node;
	struct list_head realtime_node;
	u64 release_ns, due_ns;
	u32 realtime_ppm;
	struct bn_demand *demand;
	u32 step_row;			/* its first one in the step, or in the one put aside */
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
 * @limit:	of the device; constant
 * @limit_start: what @limit_user was at first; constant
 * @ops:	variant in use; constant
 * @sparse:	steps read only weights that can matter; constant
 * @limit_user:	of one uid that has no limit of its own, without CAP_SYS_RESOURCE
 * @batch_floor_ppm: share that BATCH jobs get at least while any waits
 * @runnable:	jobs in all lists of runnable jobs; read without the lock by idle workers
 * @n_runnable:	the same by BITNET_CLASS_*
 * @realtime:	accepted REALTIME jobs, @n_realtime of them
 * @worst_piece_ns: see bn_sched_admit()
 * @floor_ns:	attained_ns of the user that was served last: where a user starts that was idle
 * @debtors:	users without references, kept for what they have attained
 * @limited:	users with limits of their own
 * @rounds:	how often jobs were chosen from
 * @steps:	steps that were computed
 * @yields:	how often one was put aside
 */
struct bitnet_device {
	spinlock_t lock;
	const struct bn_ops *ops;
	bool sparse;
	u64 limit[BITNET_RES_COUNT];
	u64 limit_start[BITNET_RES_COUNT];
	struct workqueue_struct *wq;
	/* lock */
	struct list_head files;
	struct list_head users;
	struct list_head active[BITNET_QUEUES];
	struct list_head realtime;
	u64 used[BITNET_RES_COUNT];
	u64 limit_user[BITNET_RES_COUNT];
	u32 batch_floor_ppm;
	u32 runnable;
	u32 n_runnable[3];
	u32 n_realtime;
	u64 worst_piece_ns;
	u64 next_id;
	u64 next_user;
	u64 next_arrival;
	u64 floor_ns;
	u32 debtors;
	u32 limited;
	u64 rounds;
	u64 steps;
	u64 yields;
	struct bitnet_counters count;
};

extern struct bitnet_device bitnet;

/*
 * bitnet_count_locked() - add to a counter of all accounts that a job's work goes to
 * @job:	evaluated once
 * @field:	of struct bitnet_counters
 * @n:		evaluated once
 */
#define bitnet_count_locked(job, field, n)				\
	do {								\
		const struct bitnet_kjob *__job = (job);		\
		u64 __n = (n);						\
									\
		lockdep_assert_held(&bitnet.lock);			\
		if (__job->session)					\
			__job->session->count.field += __n;		\
		__job->file->count.field += __n;			\
		__job->file->user->count.field += __n;			\
		bitnet.count.field += __n;				\
	} while (0)

/* dev.c: the device and files */
int bitnet_dev_init(void);
void bitnet_dev_exit(void);
struct bitnet_file *bitnet_file_create(void);
void bitnet_file_close(struct bitnet_file *file);
void bitnet_file_put(struct bitnet_file *file);
int bitnet_errno(enum bn_err err);

/* user.c */
struct bitnet_user *bitnet_user_find_or_create(kuid_t uid);
struct bitnet_user *bitnet_user_get(struct bitnet_user *user);
void bitnet_user_put(struct bitnet_user *user);
u64 bitnet_user_limit_locked(const struct bitnet_user *user, enum bitnet_resource what);
int bitnet_limits_set(const kuid_t *uid, const struct bitnet_limits *change);
u64 bitnet_users_each(u64 after, int (*fn)(const struct bitnet_user *user, void *arg), void *arg);
void bitnet_users_exit(void);
int __must_check bitnet_charge(struct bitnet_user *user, enum bitnet_resource what, u64 n);
void bitnet_uncharge(struct bitnet_user *user, enum bitnet_resource what, u64 n);
int __must_check bitnet_charge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n);
void bitnet_uncharge_locked(struct bitnet_user *user, enum bitnet_resource what, u64 n);

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
/* struct bitnet_refusal - why a job was not accepted, as SUBMIT's out_* tell it */
struct bitnet_refusal {
	u32 why;
	u32 load_ppm;
	u64 step_ns;
};

struct bitnet_kjob *bitnet_job_prepare(struct bitnet_file *file, const struct bitnet_job *u,
				       const u32 *tokens, struct bitnet_refusal *refusal,
				       struct bitnet_ring_entry *final);
void bitnet_jobs_commit(struct list_head *jobs);
void bitnet_job_commit_inline(struct bitnet_kjob *job);
void bitnet_job_abort(struct bitnet_kjob *job);
u32 bitnet_jobs_cancel(struct bitnet_file *file, const u64 *user_data);
void bitnet_job_put(struct bitnet_kjob *job);
void bitnet_job_put_later(struct bitnet_kjob *job);
void bitnet_job_end_locked(struct bitnet_kjob *job, int error, struct list_head *ended);
void bitnet_jobs_ended(struct list_head *ended, bool later);

/*
 * struct bitnet_cands - whom a step may choose from
 * @parked:	jobs that had to be parked meanwhile
 */
struct bitnet_cands {
	struct bn_sched_cand cand[BITNET_CANDS];
	u32 n;
	struct bitnet_kjob *parked[BITNET_CANDS];
	u32 n_parked;
};

/* queue.c */
void bitnet_job_park_locked(struct bitnet_kjob *job);
void bitnet_job_run_locked(struct bitnet_kjob *job);
void bitnet_job_unrun_locked(struct bitnet_kjob *job);
void bitnet_queue_look_locked(struct bn_sched *s, u64 now, struct bn_sched_waiting *waiting);
void bitnet_queue_collect_locked(struct bitnet_cands *cands);
int __must_check bitnet_realtime_admit_locked(struct bitnet_kjob *job,
					      struct bitnet_refusal *refusal);
void bitnet_realtime_leave_locked(struct bitnet_kjob *job);
u64 bitnet_realtime_token_locked(struct bitnet_kjob *job, u64 now);

/* run.c */
int bitnet_run(struct bitnet_call *call);
void bitnet_inline_destroy(struct bitnet_inline *inl);

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
u64 bitnet_workers_busy_locked(void);
void bitnet_job_started_locked(struct bitnet_kjob *job, u64 now);
u32 bitnet_job_results_locked(struct bitnet_kjob *job, const struct bn_step *step,
			      struct bn_token *tokens);
void bitnet_job_token_locked(struct bitnet_kjob *job, const struct bn_token *token, u64 now,
			     struct bitnet_ring_entry *entry);
void bitnet_job_charge_locked(struct bitnet_kjob *job, u64 ns, u64 weight_bytes);
u32 bitnet_workers_count(void);
u64 bitnet_section_max_ns(void);
u64 bitnet_section_histogram(u64 *buckets);

/*
 * Buckets of the histogram of sections, eight for each power of two: fine enough to tell whether 50
 * us are kept. The last one has all that is longer than a quarter of a second.
 */
#define BITNET_SECTION_BUCKETS	208

/*
 * struct bitnet_sections - how long FPU sections were; one writer at a time
 * @max_ns:	the longest
 * @count:	histogram
 */
struct bitnet_sections {
	u64 max_ns;
	u64 count[BITNET_SECTION_BUCKETS];
};

/*
 * struct bitnet_worker_info - what netlink tells of a worker
 * @parked:	the administrator lets it rest
 * @online:	its CPU is
 * @cpu_ns:	time in sections
 * @throttled_ns: time that it was kept from work although it had the highest priority
 */
struct bitnet_worker_info {
	unsigned int cpu;
	bool parked, online;
	u64 cpu_ns, section_max_ns, throttled_ns;
};

int bitnet_workers_set(const struct cpumask *cpus);
int bitnet_workers_each(unsigned int from,
			int (*fn)(const struct bitnet_worker_info *info, void *arg), void *arg);

/*
 * struct bitnet_clock - when a section ended, which may be when the next one begins
 * @ns:		0: none has
 * @switches:	how often the task had lost its CPU by then
 * @stale:	softirqs may have run since
 */
struct bitnet_clock {
	u64 ns;
	unsigned long switches;
	bool stale;
};

/*
 * struct bitnet_worker - one kernel thread, bound to one CPU
 * @kick:	told to look for work since it last looked
 * @sleeping:	has found none; wants to be told
 * @buffer:	BN_TILE_BYTES for the tile it computes; holds activations
 * @clock:	of the last section, if nothing was done since but taking the next tile
 * @sections:	of FPU; like what follows, only this worker writes it
 * @cpu_ns:	time in them
 * @throttled_ns: see struct bitnet_worker_info
 * @next_break: when it leaves its CPU to others again, in jiffies
 */
struct bitnet_worker {
	bool kick;
	bool sleeping;
	void *buffer;
	struct bitnet_clock clock;
	struct bitnet_sections sections;
	u64 cpu_ns;
	u64 throttled_ns;
	unsigned long next_break;
};

/* fpu.c */
#define BITNET_SECTION_GOAL_NS	50000	/* longer sections are traced */
void bitnet_fpu_init(void);
void bitnet_fpu_begin(void);
void bitnet_fpu_end(const struct bn_ops *ops);
bool bitnet_fpu_tile(struct bitnet_worker *worker, struct bn_step *step, u32 phase, u32 tile,
		     const u32 *stop, u64 *ns, u64 *lost_ns);
bool bitnet_fpu_piece_inline(struct bn_step *step, u32 phase, u32 tile, u32 *cursor, void *buffer,
			     struct bitnet_clock *clock, u64 *ns);
u64 bitnet_section_bucket_ns(u32 bucket);
void bitnet_sections_add(const struct bitnet_sections *from, u64 *buckets, u64 *max_ns);
void bitnet_sections_inline(u64 *buckets, u64 *max_ns);

/* variant.c */
int bitnet_variant_init(const char *name);
void bitnet_variant_show(struct seq_file *m);

/* netlink.c */
int bitnet_netlink_init(void);
void bitnet_netlink_exit(void);
void bitnet_event_model(const struct bitnet_model *model, bool loaded);
void bitnet_event_job_locked(const struct bitnet_kjob *job, int error);
void bitnet_event_late_locked(const struct bitnet_kjob *job, u64 late_ns);
void bitnet_event_overload(unsigned int cpu, u64 throttled_ns);
void bitnet_event_worker(unsigned int cpu, bool parked, bool online);

/* stats.c */
int bitnet_stats(struct bitnet_call *call);
void bitnet_stats_init(void);
void bitnet_stats_exit(void);
u32 bitnet_bucket(u64 ns);

#endif /* BITNET_H */

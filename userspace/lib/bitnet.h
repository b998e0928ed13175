/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bitnet.h - libbitnet: run ternary models on /dev/bitnet or in this process, through one interface
 *
 * An engine is either the device or the local one: the same core compiled into this library, on
 * threads. Both take the structs of <linux/bitnet.h> and give the same entries, bit for bit; a caller
 * chooses once and is told which it got. Functions return 0 or a negative errno and describe the
 * failure in @err (may be NULL) in one line, with a hint where there is one. An engine is used by one
 * thread at a time.
 */
#ifndef BITNET_H
#define BITNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/bitnet.h>
#include <linux/bitnet_image.h>

#include "chat.h"
#include "error.h"
#include "gguf.h"
#include "tokenizer.h"

/* ---- images ------------------------------------------------------------------------------------ */

/**
 * struct bitnet_image - a packed image in this process's memory
 * @base:	page-aligned start
 * @length:	bytes that MODEL_LOAD pins (header.total_bytes)
 * @map_bytes:	bytes mapped, for unmapping
 * @header:	== @base
 */
struct bitnet_image {
	void *base;
	uint64_t length;
	uint64_t map_bytes;
	const struct bitnet_image_header *header;
};

/** bitnet_progress_fn - called now and then during long work with 0 .. total; return false to stop */
typedef bool bitnet_progress_fn(void *arg, uint64_t done, uint64_t total);

struct bitnet_image_options {
	const char *name;		/* NULL: from the model */
	const char *activation;		/* "relu2" or "silu" against what file and architecture say; NULL: those */
	const char *packing;		/* "t1" or "t2"; NULL: what this machine reads faster */
	bitnet_progress_fn *progress;	/* may be NULL */
	void *progress_arg;
};

/**
 * bitnet_image_build() - pack a GGUF's weights into anonymous memory (huge pages where possible)
 *
 * Repairs what can be repaired (activation by architecture, tied head) and rejects the rest with the
 * reason: unsupported architecture or tensor type, missing tensors, wrong shapes, code 3, all-zero
 * weights, scales that are not finite. Return: 0, -EINVAL (bad model), -EOPNOTSUPP, -ENOMEM, -ECANCELED.
 */
int bitnet_image_build(const struct bitnet_gguf *gguf, const struct bitnet_image_options *options,
		       struct bitnet_image *image, struct bitnet_error *err);

/** bitnet_image_map() - map an image file that bitnet_image_write() made; header and table are checked */
int bitnet_image_map(const char *path, struct bitnet_image *image, struct bitnet_gguf **meta,
		     struct bitnet_error *err);

/**
 * bitnet_image_write() - write an image and the GGUF metadata (tokenizer) behind it, atomically
 *
 * Writes a temporary file beside @path, syncs, renames: @path is either the old or the whole new file.
 */
int bitnet_image_write(const struct bitnet_image *image, const struct bitnet_gguf *meta,
		       const char *path, const struct bitnet_image_options *options,
		       struct bitnet_error *err);

/** bitnet_image_check() - full check: structure, digest, every weight code valid, no all-zero matrix */
int bitnet_image_check(const struct bitnet_image *image, struct bitnet_error *err);

void bitnet_image_free(struct bitnet_image *image);

/* ---- model files ------------------------------------------------------------------------------- */

/**
 * struct bitnet_model_file - what a path to a GGUF or an image file gives: weights, tokenizer, metadata
 */
struct bitnet_model_file {
	char *path;
	bool packed;			/* the file is an image already */
	struct bitnet_gguf *gguf;	/* the file, or an image's metadata */
	struct bitnet_image image;	/* valid once bitnet_model_file_image() succeeded */
	struct bitnet_tokenizer *tokenizer;
	enum bitnet_chat_template chat;
};

struct bitnet_model_file_options {
	const char *pre_tokenizer;	/* override, or NULL */
	const char *chat_template;	/* name, or NULL: detect */
};

/** bitnet_model_file_open() - open and check metadata and tokenizer; cheap, does not touch weights */
int bitnet_model_file_open(const char *path, const struct bitnet_model_file_options *options,
			   struct bitnet_model_file *file, struct bitnet_error *err);

/** bitnet_model_file_image() - have file->image: map it, or pack the GGUF */
int bitnet_model_file_image(struct bitnet_model_file *file, const struct bitnet_image_options *options,
			    struct bitnet_error *err);

void bitnet_model_file_close(struct bitnet_model_file *file);

/* ---- engines ----------------------------------------------------------------------------------- */

enum bitnet_engine_kind {
	BITNET_ENGINE_AUTO,	/* the device if it can be opened, else local */
	BITNET_ENGINE_DEVICE,
	BITNET_ENGINE_LOCAL,
};

struct bitnet_engine_options {
	enum bitnet_engine_kind kind;
	const char *device;	/* NULL: /dev/bitnet */
	unsigned int threads;	/* local: 0: one per CPU allowed to this process */
	const char *variant;	/* local: NULL: fastest */
	unsigned int ring_entries; /* 0: 1024 */
	uint64_t data_bytes;	/* data area for LINEAR, 0: none */
	bool dense;		/* local: read weights also where they cannot matter, to measure */
};

struct bitnet_engine;

int bitnet_engine_open(const struct bitnet_engine_options *options, struct bitnet_engine **engine,
		       struct bitnet_error *err);
/** bitnet_engine_close() - cancels what runs, frees all */
void bitnet_engine_close(struct bitnet_engine *engine);

/** bitnet_engine_kind() - BITNET_ENGINE_DEVICE or BITNET_ENGINE_LOCAL: what it is in fact */
enum bitnet_engine_kind bitnet_engine_kind(const struct bitnet_engine *engine);
/** bitnet_engine_fallback() - with AUTO and no device: why not, else NULL */
const char *bitnet_engine_fallback(const struct bitnet_engine *engine);

int bitnet_engine_info(struct bitnet_engine *engine, struct bitnet_info *info, struct bitnet_error *err);
int bitnet_engine_stats(struct bitnet_engine *engine, struct bitnet_stats *stats, struct bitnet_error *err);
/**
 * bitnet_engine_stats_of() - the same of a session or of the user
 * @flags:	BITNET_STATS_F_SESSION or BITNET_STATS_F_USER
 * @session_id:	with F_SESSION; else 0
 *
 * Return: -EOPNOTSUPP from the local engine, which has but one user; -ENOENT without such a session.
 */
int bitnet_engine_stats_of(struct bitnet_engine *engine, uint32_t flags, uint32_t session_id,
			   struct bitnet_stats *stats, struct bitnet_error *err);

/**
 * bitnet_engine_model_load() - flags: BITNET_MODEL_F_*
 *
 * The local engine has no shared models (-EOPNOTSUPP), and computes with the caller's memory: @image
 * stays until the handle and all its sessions are closed. The device pins its pages and needs it no longer.
 */
int bitnet_engine_model_load(struct bitnet_engine *engine, const struct bitnet_image *image, const char *name,
			     uint32_t flags, uint32_t *model_id, struct bitnet_error *err);
int bitnet_engine_model_open(struct bitnet_engine *engine, const char *name, uint32_t *model_id,
			     struct bitnet_error *err);
int bitnet_engine_model_close(struct bitnet_engine *engine, uint32_t model_id, struct bitnet_error *err);
int bitnet_engine_model_unload(struct bitnet_engine *engine, const char *name, struct bitnet_error *err);
int bitnet_engine_model_info(struct bitnet_engine *engine, uint32_t model_id, struct bitnet_model_info *info,
			     struct bitnet_error *err);

int bitnet_engine_session_open(struct bitnet_engine *engine, uint32_t model_id, uint32_t n_ctx,
			       uint32_t *session_id, struct bitnet_error *err);
int bitnet_engine_session_rewind(struct bitnet_engine *engine, uint32_t session_id, uint32_t n_tokens,
				 struct bitnet_error *err);
int bitnet_engine_session_close(struct bitnet_engine *engine, uint32_t session_id, struct bitnet_error *err);

/**
 * bitnet_engine_submit() - hand in jobs
 * @accepted:	how many of the first ones were taken
 *
 * Each job says its class and deadlines (struct bitnet_job). The local engine computes BATCH jobs
 * while no INTERACTIVE one wants anything, and has no REALTIME (-EOPNOTSUPP): it cannot keep other
 * processes from the CPUs. -EDQUOT of the device is described with the time that a token takes and
 * the load that realtime jobs would make.
 *
 * Return: 0 if all were accepted, else the errno of the first that was not (or of the call).
 */
int bitnet_engine_submit(struct bitnet_engine *engine, const struct bitnet_job *jobs, unsigned int count,
			 unsigned int *accepted, struct bitnet_error *err);
/**
 * bitnet_engine_run() - compute one job in this thread: BITNET_IOC_RUN
 * @job:	GENERATE or SCORE, not REALTIME; its session has no other jobs
 * @entries:	what would come out of the ring, the DONE or ERROR entry last
 * @n_entries:	room there: max_tokens + 1 of GENERATE, input_count of SCORE
 * @made:	how many there are
 *
 * Policy, affinity, nice and cgroup of the calling thread take effect, and nothing else computes for
 * it. On the device a signal ends the job with -EINTR in its last entry; the local engine does not
 * see signals. Return: 0 once the last entry is there, also if that is ERROR.
 */
int bitnet_engine_run(struct bitnet_engine *engine, const struct bitnet_job *job,
		      struct bitnet_ring_entry *entries, unsigned int n_entries, unsigned int *made,
		      struct bitnet_error *err);
/** bitnet_engine_cancel() - -ENOENT if no unfinished job has @user_data (not described in an error) */
int bitnet_engine_cancel(struct bitnet_engine *engine, uint64_t user_data);
/**
 * bitnet_engine_wait() - wait for unconsumed entries
 * Return: how many there are, -ETIME, -EINTR (a signal came), or another errno.
 */
int bitnet_engine_wait(struct bitnet_engine *engine, unsigned int min_entries, int64_t timeout_ns);
/** bitnet_engine_next() - consume one entry. Return: true if there was one */
bool bitnet_engine_next(struct bitnet_engine *engine, struct bitnet_ring_entry *entry);
/** bitnet_engine_data() - the data area, NULL if none was asked for */
void *bitnet_engine_data(struct bitnet_engine *engine);
/** bitnet_engine_fd() - a descriptor for poll(POLLIN) while entries are there, -1 for the local engine */
int bitnet_engine_fd(struct bitnet_engine *engine);

/** bitnet_strerror() - one line for an errno of the interface, as <linux/bitnet.h> defines it */
const char *bitnet_strerror(int negative_errno);

/* Variants of the core on this CPU, slowest first, for show and tests: NULL when @index is past the last */
const char *bitnet_variant_name(unsigned int index, bool *usable);

/* ---- netlink ----------------------------------------------------------------------------------- */

struct bitnet_nl;
struct bitnet_nl_attrs;		/* one message's attributes */

int bitnet_nl_open(struct bitnet_nl **nl, struct bitnet_error *err);
void bitnet_nl_close(struct bitnet_nl *nl);
/** bitnet_nl_query() - send @cmd (dump for lists) and call @fn for each answer */
int bitnet_nl_query(struct bitnet_nl *nl, int cmd,
		    int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs), void *arg,
		    struct bitnet_error *err);

/**
 * struct bitnet_limits - what a user may have at once
 * @which:	BITNET_LIMIT_* of <linux/bitnet_genl.h>: which of the following count
 * @sessions:	like all: a number, or BITNET_LIMIT_NONE, which removes a limit of a user's own and sets
 *		the default to what it was when the module was loaded
 * @jobs:	accepted, unfinished
 * @kv_bytes:	key/value cache
 * @pinned_bytes: images
 * @realtime_ppm: share of the workers' time that REALTIME jobs need
 */
struct bitnet_limits {
	uint32_t which;
	uint64_t sessions, jobs, kv_bytes, pinned_bytes, realtime_ppm;
};

/**
 * bitnet_nl_set_limits() - set limits of a user (CAP_NET_ADMIN)
 * @uid:	whose; NULL: the default of all who have no limit of that kind of their own
 *
 * Return: 0, -EPERM, -EDQUOT (too many users have limits of their own), -EINVAL (none of the limits).
 */
int bitnet_nl_set_limits(struct bitnet_nl *nl, const uint32_t *uid, const struct bitnet_limits *limits,
			 struct bitnet_error *err);
/**
 * bitnet_nl_set_workers() - choose the workers that compute; the others rest (CAP_NET_ADMIN)
 * @cpus:	list such as "1,3-5"
 *
 * Return: 0, -EPERM, -EINVAL (no list, a CPU without worker, or none of them online).
 */
int bitnet_nl_set_workers(struct bitnet_nl *nl, const char *cpus, struct bitnet_error *err);
/** bitnet_nl_set_floor() - share of BATCH jobs while any waits, 0 .. 500000 ppm (CAP_NET_ADMIN) */
int bitnet_nl_set_floor(struct bitnet_nl *nl, uint32_t ppm, struct bitnet_error *err);

/** bitnet_nl_listen() - join "events" and call @fn for each until it returns non-zero or a signal comes */
int bitnet_nl_listen(struct bitnet_nl *nl, int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs),
		     void *arg, struct bitnet_error *err);
/** bitnet_nl_listen_for() - the same, at most @timeout_ns (negative: without end); then -ETIME */
int bitnet_nl_listen_for(struct bitnet_nl *nl, int64_t timeout_ns,
			 int (*fn)(void *arg, int cmd, const struct bitnet_nl_attrs *attrs),
			 void *arg, struct bitnet_error *err);
bool bitnet_nl_has(const struct bitnet_nl_attrs *attrs, int attr);
uint64_t bitnet_nl_number(const struct bitnet_nl_attrs *attrs, int attr);	/* u8, u32, s32, u64; 0 if absent */
const char *bitnet_nl_string(const struct bitnet_nl_attrs *attrs, int attr);	/* "" if absent */

#endif /* BITNET_H */

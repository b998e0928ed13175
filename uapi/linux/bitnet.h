/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * bitnet.h - the interface of /dev/bitnet, an inference service for ternary language models
 */
#ifndef _UAPI_LINUX_BITNET_H
#define _UAPI_LINUX_BITNET_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Objects
 *
 * A process opens /dev/bitnet and from then on names everything through that open file:
 *
 *   model     packed weights, pinned once; an id of this file. A model loaded with
 *             BITNET_MODEL_F_SHARED also has a name, and other files open a handle of their own.
 *   session   one conversation: the key/value cache of up to n_ctx tokens of one model.
 *   job       a request: GENERATE (prompt in, tokens out), SCORE (log-probability of given tokens)
 *             or LINEAR (one BitLinear product). Named by the caller's 64-bit user_data.
 *   ring      the completion ring, shared memory that the kernel writes and the process reads.
 *
 * Ids are small integers, per file, and are found through the file only: a forked or passed
 * descriptor shares them, another open does not. Closing the last descriptor and
 * unmapping the ring cancels the jobs and frees all. Operations that change state need a descriptor
 * open for writing.
 *
 * DOC: ioctls
 *
 * Every ioctl is _IO(BITNET_IOC_TYPE, nr) with a pointer to a struct whose first field is its size
 * in bytes, as the caller was compiled. A kernel that knows a longer struct takes the missing tail
 * as zero; one that knows a shorter struct accepts a longer one if the rest is zero (-E2BIG if not,
 * or beyond 4096 bytes).
 * Fields named out_* are written by the kernel. Unknown flags and reserved fields that are not zero
 * are -EINVAL. A call that fails has no effect. The layout is the same for 32-bit callers.
 *
 * No floating-point number crosses the interface: probabilities, temperatures and penalties are in
 * parts per million (ppm), log-probabilities in millionths of a nat.
 *
 * DOC: Errors
 *
 * One errno has one meaning:
 *
 *   EINVAL      a field, flag, id kind or combination that this header does not allow
 *   E2BIG       struct longer than known with a tail that is not zero, or an array above its limit
 *   EFAULT      a pointer that cannot be read or written
 *   ENOTTY      unknown ioctl number
 *   ENOENT      no such model, session, name or (CANCEL) job
 *   EEXIST      SHARED name in use; ring set up already
 *   EBUSY       the session has jobs (SESSION_REWIND, SESSION_CLOSE, RUN)
 *   EPERM       the operation needs CAP_SYS_ADMIN, or the ioctl changes state and file is read-only
 *   ENOMEM      memory, or RLIMIT_MEMLOCK: see the limits below
 *   EDQUOT      a limit of the device, for a file, a user or all (INFO), is reached; or there is no
 *               room for another REALTIME job (out_refusal of SUBMIT tells which)
 *   ENOSPC      SUBMIT: no completion slot left for the job's DONE entry; drain the ring.
 *               RUN: not room for all entries that the job may make
 *   ENOEXEC     MODEL_LOAD: not a valid image (struct bitnet_image_header, magic and version)
 *   EBADMSG     MODEL_LOAD: header or tensor table contradicts itself or the length
 *   ENXIO       SUBMIT, WAIT, mmap before RING_SETUP
 *   ERANGE      a token id not below the vocabulary size, or more tokens than the context holds
 *   EOPNOTSUPP  valid request that this build, CPU or model cannot serve
 *   ETIME       WAIT: the timeout ran out before min_entries were there
 *   EINTR       WAIT: a signal came first. In RUN's last entry: a signal ended the job
 *   ECANCELED   in a completion only: the job was cancelled
 */

#define BITNET_ABI_VERSION	1
#define BITNET_DEVICE_PATH	"/dev/bitnet"
#define BITNET_IOC_TYPE		0xB1

#define BITNET_IOC_INFO			_IO(BITNET_IOC_TYPE, 0x00)
#define BITNET_IOC_MODEL_LOAD		_IO(BITNET_IOC_TYPE, 0x01)
#define BITNET_IOC_MODEL_OPEN		_IO(BITNET_IOC_TYPE, 0x02)
#define BITNET_IOC_MODEL_CLOSE		_IO(BITNET_IOC_TYPE, 0x03)
#define BITNET_IOC_MODEL_UNLOAD		_IO(BITNET_IOC_TYPE, 0x04)
#define BITNET_IOC_MODEL_INFO		_IO(BITNET_IOC_TYPE, 0x05)
#define BITNET_IOC_SESSION_OPEN		_IO(BITNET_IOC_TYPE, 0x06)
#define BITNET_IOC_SESSION_REWIND	_IO(BITNET_IOC_TYPE, 0x07)
#define BITNET_IOC_SESSION_CLOSE	_IO(BITNET_IOC_TYPE, 0x08)
#define BITNET_IOC_RING_SETUP		_IO(BITNET_IOC_TYPE, 0x09)
#define BITNET_IOC_SUBMIT		_IO(BITNET_IOC_TYPE, 0x0a)
#define BITNET_IOC_CANCEL		_IO(BITNET_IOC_TYPE, 0x0b)
#define BITNET_IOC_WAIT			_IO(BITNET_IOC_TYPE, 0x0c)
#define BITNET_IOC_STATS		_IO(BITNET_IOC_TYPE, 0x0d)
#define BITNET_IOC_RUN			_IO(BITNET_IOC_TYPE, 0x0e)

#define BITNET_NAME_BYTES	64	/* names of models, NUL included; [A-Za-z0-9._-] */
#define BITNET_VARIANT_BYTES	16
#define BITNET_MAX_STOP_TOKENS	16
#define BITNET_MAX_SUBMIT	64	/* jobs in one SUBMIT */
#define BITNET_MAX_REPEAT_LAST_N 256
#define BITNET_MAX_TOP_K	65536
#define BITNET_PPM		1000000U

/* Feature bits of struct bitnet_info */
#define BITNET_FEATURE_GENERATE	(1ULL << 0)
#define BITNET_FEATURE_SCORE	(1ULL << 1)
#define BITNET_FEATURE_LINEAR	(1ULL << 2)
#define BITNET_FEATURE_SHARED	(1ULL << 3)	/* models shared by name */
#define BITNET_FEATURE_EVENTFD	(1ULL << 4)
#define BITNET_FEATURE_CLASSES	(1ULL << 5)	/* class, deadlines and admission of jobs */
#define BITNET_FEATURE_RUN	(1ULL << 6)

/**
 * struct bitnet_info - BITNET_IOC_INFO: what this module is and allows
 * @size:		sizeof(struct bitnet_info)
 * @flags:		none yet, 0
 * @out_abi_version:	BITNET_ABI_VERSION of the module
 * @out_workers:	worker threads
 * @out_features:	BITNET_FEATURE_* bits
 * @out_max_model_bytes: largest image
 * @out_max_pinned_bytes: pinned image bytes that the device allows over all users
 * @out_max_kv_bytes:	key/value cache bytes of one session
 * @out_max_data_bytes:	largest data area of RING_SETUP
 * @out_max_models:	model handles of one file
 * @out_max_sessions:	sessions of one file
 * @out_max_jobs:	accepted, unfinished jobs of one file
 * @out_max_ring_entries: entries of one ring
 * @out_max_rows:	rows (token positions) of one step
 * @__resv:		0
 * @out_variant:	SIMD variant in use, NUL-terminated ("avx2", ...)
 */
struct bitnet_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi_version;
	__u32 out_workers;
	__aligned_u64 out_features;
	__aligned_u64 out_max_model_bytes;
	__aligned_u64 out_max_pinned_bytes;
	__aligned_u64 out_max_kv_bytes;
	__aligned_u64 out_max_data_bytes;
	__u32 out_max_models;
	__u32 out_max_sessions;
	__u32 out_max_jobs;
	__u32 out_max_ring_entries;
	__u32 out_max_rows;
	__u32 __resv;
	char out_variant[BITNET_VARIANT_BYTES];
};

#define BITNET_MODEL_F_SHARED	(1U << 0)	/* named, outlives the file; needs CAP_SYS_ADMIN */
#define __BITNET_MODEL_F_ALL	BITNET_MODEL_F_SHARED

/**
 * struct bitnet_model_load - BITNET_IOC_MODEL_LOAD: pin an image and make it a model
 * @size:	sizeof(struct bitnet_model_load)
 * @flags:	BITNET_MODEL_F_*
 * @addr:	page-aligned address of the image in the caller's memory: anonymous, memfd, hugetlb
 *		or a read-only file mapping. It may be unmapped after the call; the pins stay.
 * @length:	bytes of the image, as its header says
 * @name:	NUL-terminated; required with F_SHARED, else only a label for statistics, may be
 *		empty
 * @out_model_id: id of the new handle
 * @__resv:	0
 *
 * The pages are charged to RLIMIT_MEMLOCK of the calling user (CAP_IPC_LOCK exempts) until the last
 * handle is gone. Header, tensor table and scales are copied and checked here; the weights are used
 * in place: a process that writes to them afterwards changes its own results and nothing else.
 */
struct bitnet_model_load {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 length;
	char name[BITNET_NAME_BYTES];
	__u32 out_model_id;
	__u32 __resv;
};

/**
 * struct bitnet_model_open - BITNET_IOC_MODEL_OPEN: a handle of one's own on a shared model
 * @size:	sizeof(struct bitnet_model_open)
 * @flags:	none yet, 0
 * @name:	name it was loaded with
 * @out_model_id: id of the new handle
 * @__resv:	0
 */
struct bitnet_model_open {
	__u32 size;
	__u32 flags;
	char name[BITNET_NAME_BYTES];
	__u32 out_model_id;
	__u32 __resv;
};

/**
 * struct bitnet_model_close - BITNET_IOC_MODEL_CLOSE: give a handle back
 * @size:	sizeof(struct bitnet_model_close)
 * @model_id:	handle; sessions opened on it keep the model until they are closed
 */
struct bitnet_model_close {
	__u32 size;
	__u32 model_id;
};

/**
 * struct bitnet_model_unload - BITNET_IOC_MODEL_UNLOAD: remove a shared name (CAP_SYS_ADMIN)
 * @size:	sizeof(struct bitnet_model_unload)
 * @flags:	none yet, 0
 * @name:	name; open handles and sessions go on, the pins go with the last of them
 */
struct bitnet_model_unload {
	__u32 size;
	__u32 flags;
	char name[BITNET_NAME_BYTES];
};

/**
 * struct bitnet_model_info - BITNET_IOC_MODEL_INFO: shape of a model
 * @size:		sizeof(struct bitnet_model_info)
 * @model_id:		handle
 * @out_flags:		BITNET_MODEL_F_*
 * @out_packing:	BITNET_IMAGE_FMT_T2, ...
 * @out_digest:		digest that the image's writer put into its header
 * @out_image_bytes:	pinned bytes
 * @out_kv_bytes_per_token: key/value cache bytes that a session needs for each token
 * @out_n_layers:	layers
 * @out_hidden:		width of the residual stream
 * @out_ffn:		width of the feed-forward network
 * @out_n_heads:	query heads
 * @out_n_kv_heads:	key/value heads
 * @out_head_dim:	width of a head
 * @out_vocab:		vocabulary size: token ids are below it
 * @out_max_ctx:	longest context that a session may have
 * @out_name:		name or label
 */
struct bitnet_model_info {
	__u32 size;
	__u32 model_id;
	__u32 out_flags;
	__u32 out_packing;
	__aligned_u64 out_digest;
	__aligned_u64 out_image_bytes;
	__aligned_u64 out_kv_bytes_per_token;
	__u32 out_n_layers;
	__u32 out_hidden;
	__u32 out_ffn;
	__u32 out_n_heads;
	__u32 out_n_kv_heads;
	__u32 out_head_dim;
	__u32 out_vocab;
	__u32 out_max_ctx;
	char out_name[BITNET_NAME_BYTES];
};

/**
 * struct bitnet_session_open - BITNET_IOC_SESSION_OPEN: allocate a key/value cache
 * @size:	sizeof(struct bitnet_session_open)
 * @flags:	none yet, 0
 * @model_id:	model handle
 * @n_ctx:	tokens, 1 .. max_ctx of the model; 0: the model's max_ctx
 * @out_session_id: id of the session
 * @__resv:	0
 *
 * The cache is zeroed and charged to the caller's memory cgroup.
 */
struct bitnet_session_open {
	__u32 size;
	__u32 flags;
	__u32 model_id;
	__u32 n_ctx;
	__u32 out_session_id;
	__u32 __resv;
};

/**
 * struct bitnet_session_rewind - BITNET_IOC_SESSION_REWIND: forget the tail of the conversation
 * @size:	sizeof(struct bitnet_session_rewind)
 * @session_id:	session without jobs (-EBUSY otherwise)
 * @n_tokens:	tokens to keep, at most as many as the cache holds
 * @__resv:	0
 */
struct bitnet_session_rewind {
	__u32 size;
	__u32 session_id;
	__u32 n_tokens;
	__u32 __resv;
};

/**
 * struct bitnet_session_close - BITNET_IOC_SESSION_CLOSE: free a session without jobs
 * @size:	sizeof(struct bitnet_session_close)
 * @session_id:	session
 */
struct bitnet_session_close {
	__u32 size;
	__u32 session_id;
};

/**
 * DOC: The completion ring
 *
 * mmap() of BITNET_MMAP_RING maps one page of struct bitnet_ring_header and behind it the
 * entries, 64 bytes each. The kernel is the only producer and keeps private copies of its indices;
 * the process is the only consumer:
 *
 *	tail = smp_load_acquire(&hdr->tail);		pairs with the kernel's store-release
 *	while (head != tail)
 *		consume(&entries[head++ & hdr->mask]);
 *	smp_store_release(&hdr->head, head);		pairs with the kernel's load-acquire
 *	if (READ_ONCE(hdr->flags) & BITNET_RING_F_NEED_WAKEUP)	after a full memory barrier
 *		ioctl(fd, BITNET_IOC_WAIT, ...);	with min_entries 0 and timeout 0
 *
 * Nothing is ever dropped or overwritten. SUBMIT accepts a job only if the slot for its final entry
 * can be set aside (-ENOSPC) and one more is left for TOKEN entries: a ring of n entries has room
 * for n - 1 jobs. When there is no slot for a TOKEN entry the job parks, sets NEED_WAKEUP and goes
 * on when the process has consumed and told so by WAIT or poll. Other processes do not notice. A
 * process that writes nonsense to @head parks its own jobs.
 *
 * Ring and data area are mapped shared, whole and at exactly these offsets, not executable (-EINVAL
 * otherwise).
 */
#define BITNET_MMAP_RING	0x00000000ULL
#define BITNET_MMAP_DATA	0x10000000ULL	/* the data area, where LINEAR puts its results */

#define BITNET_RING_F_NEED_WAKEUP (1U << 0)

/**
 * struct bitnet_ring_header - first page of the ring mapping
 * @tail:	W: kernel, R: user (acquire). Entries produced, wraps at 2^32
 * @flags:	W: kernel, R: user. BITNET_RING_F_*
 * @mask:	W: kernel once. entries - 1
 * @entries:	W: kernel once. A power of two
 * @entries_offset: W: kernel once. Bytes from the start of the mapping to the first entry
 * @__resv0:	0
 * @head:	W: user (release), R: kernel (revalidated at each use). Entries consumed, wraps at
 *		2^32
 * @__resv1:	0
 */
struct bitnet_ring_header {
	__u32 tail;
	__u32 flags;
	__u32 mask;
	__u32 entries;
	__u32 entries_offset;
	__u32 __resv0[11];
	__u32 head;
	__u32 __resv1[15];
};

#define BITNET_ENTRY_TOKEN	1	/* GENERATE: a token was made; SCORE: a token was scored */
#define BITNET_ENTRY_DONE	2	/* last entry of a job that ended well */
#define BITNET_ENTRY_ERROR	3	/* last entry of a job that did not; @error says why */

/* Why a job ended: @reason of DONE */
#define BITNET_REASON_STOP	1	/* a stop token was sampled (it is the last TOKEN) */
#define BITNET_REASON_LENGTH	2	/* max_tokens reached, or all input scored/multiplied */
#define BITNET_REASON_CONTEXT	3	/* the session's context is full */

#define BITNET_LOGPROB_NONE	((__s32)-0x7fffffff - 1)	/* not a number, or none to give */

#define BITNET_ENTRY_F_LATE	(1U << 0)	/* TOKEN of a REALTIME job: made after it was due */

/**
 * struct bitnet_ring_entry - one completion, 64 bytes
 * @user_data:	of the job
 * @kind:	BITNET_ENTRY_*
 * @reason:	DONE: BITNET_REASON_*; else 0
 * @token:	TOKEN: token id
 * @position:	TOKEN: GENERATE: the position the token would take in the session, SCORE: its
 *		position. DONE, ERROR: tokens that the session's cache holds now
 * @logprob:	TOKEN: ln p(token) * 10^6 in the model's own distribution (temperature 1, no
 *		penalties), 0 or negative, or BITNET_LOGPROB_NONE. Of GENERATE without
 *		BITNET_JOB_F_HASH, greedy or with top_k, off by some hundreds: logits of tokens that
 *		cannot be chosen are approximate in the sum over the vocabulary
 * @error:	ERROR: negative errno; else 0
 * @n_tokens:	TOKEN: index of the token within the job, from 0. DONE, ERROR: TOKEN entries before
 *		it
 * @time_ns:	CLOCK_MONOTONIC when it was ready
 * @logits_hash: TOKEN of a job with BITNET_JOB_F_HASH: hash over all logits' bits, else 0. The same
 *		on every variant, worker count and batch; see bn_logits_hash() in the engine
 * @cpu_ns:	DONE, ERROR: worker time charged to the job
 * @flags:	BITNET_ENTRY_F_*
 * @__resv:	0
 */
struct bitnet_ring_entry {
	__aligned_u64 user_data;
	__u16 kind;
	__u16 reason;
	__u32 token;
	__u32 position;
	__s32 logprob;
	__s32 error;
	__u32 n_tokens;
	__aligned_u64 time_ns;
	__aligned_u64 logits_hash;
	__aligned_u64 cpu_ns;
	__u32 flags;
	__u32 __resv;
};

/**
 * struct bitnet_ring_setup - BITNET_IOC_RING_SETUP: create the ring of this file, once
 * @size:	sizeof(struct bitnet_ring_setup)
 * @flags:	none yet, 0
 * @entries:	a power of two, 2 .. max_ring_entries
 * @eventfd:	eventfd to signal when entries arrive, or -1
 * @data_bytes:	size of the data area for LINEAR results, 0 or a multiple of the page size
 * @out_ring_bytes: length to mmap at BITNET_MMAP_RING
 */
struct bitnet_ring_setup {
	__u32 size;
	__u32 flags;
	__u32 entries;
	__s32 eventfd;
	__aligned_u64 data_bytes;
	__aligned_u64 out_ring_bytes;
};

#define BITNET_JOB_GENERATE	1
#define BITNET_JOB_SCORE	2
#define BITNET_JOB_LINEAR	3

#define BITNET_JOB_F_HASH	(1U << 0)	/* fill logits_hash */
#define __BITNET_JOB_F_ALL	BITNET_JOB_F_HASH

/**
 * DOC: Classes
 *
 * INTERACTIVE jobs share the workers by least attained service: first over users, then over each
 * user's open files. BATCH jobs get what is left, but while any waits no less than a floor that the
 * administrator sets (5 % unless told otherwise). A lower step gives way to a higher claim between
 * two layers of the model, and goes on later where it was.
 *
 * A REALTIME job (GENERATE only) states when its tokens are due: the first @first_token_ns after
 * SUBMIT, each further one @period_ns after the one before was due. SUBMIT accepts it only if, with
 * the worst step times that were measured so far, its tokens and those of all accepted REALTIME
 * jobs can be made when they are due; else it is -EDQUOT. What is due first is computed first. A
 * token is the job's realtime claim no sooner than one period before it is due (the first: since
 * SUBMIT); ahead of that the job goes on as an INTERACTIVE one. A token that is late
 * (BITNET_ENTRY_F_LATE) moves those behind it: the next is due a period after it was made. So does
 * a full ring, of which nobody but the job itself takes harm.
 *
 * REALTIME takes no privilege. How much of the workers' time the accepted jobs of one user may need
 * together is limited: to half of it, unless the administrator sets another share for a user or for
 * all (bitnet_genl.h); 0 forbids them.
 */
#define BITNET_CLASS_INTERACTIVE 0
#define BITNET_CLASS_BATCH	1
#define BITNET_CLASS_REALTIME	2

#define BITNET_MIN_PERIOD_NS	10000ULL	/* of @first_token_ns and @period_ns ... */
#define BITNET_MAX_PERIOD_NS	3600000000000ULL /* ... an hour */

/* Matrices of a layer, for LINEAR */
#define BITNET_MATRIX_ATTN_Q	0
#define BITNET_MATRIX_ATTN_K	1
#define BITNET_MATRIX_ATTN_V	2
#define BITNET_MATRIX_ATTN_OUT	3
#define BITNET_MATRIX_FFN_GATE	4
#define BITNET_MATRIX_FFN_UP	5
#define BITNET_MATRIX_FFN_DOWN	6
#define BITNET_MATRIX_COUNT	7

/**
 * struct bitnet_job - one job of SUBMIT
 * @kind:		BITNET_JOB_*
 * @flags:		BITNET_JOB_F_*
 * @user_data:		comes back in each entry, names the job for CANCEL
 * @session_id:		GENERATE, SCORE: session. Jobs of one session run in order
 * @model_id:		LINEAR: model handle; else 0
 * @input:		GENERATE, SCORE: pointer to __u32 token ids that continue the session.
 *			LINEAR: pointer to int8 activations, rows x cols, -127 .. 127 (-128 is taken
 *			as it is)
 * @input_count:	GENERATE, SCORE: tokens, at least 1. LINEAR: rows, 1 .. max_rows
 * @max_tokens:		GENERATE: tokens to make, at least 1; else 0
 * @seed:		GENERATE: of the random number of each position
 * @temperature_ppm:	GENERATE: 0 is greedy (the rest of the sampler is then unused but for the
 *			repetition penalty); at most 100 * BITNET_PPM
 * @top_k:		GENERATE: keep the k likeliest, 0: all; at most BITNET_MAX_TOP_K
 * @top_p_ppm:		GENERATE: keep the likeliest that together reach this, 0 or BITNET_PPM: all
 * @min_p_ppm:		GENERATE: keep those at least this likely against the likeliest, 0: all
 * @repeat_penalty_ppm:	GENERATE: divides (negative: multiplies) logits of recent tokens; 0 or
 *			BITNET_PPM: none; at most 100 * BITNET_PPM
 * @repeat_last_n:	GENERATE: how many recent tokens of this job, at most
 *		BITNET_MAX_REPEAT_LAST_N
 * @n_stop:		GENERATE: stop tokens in @stop_tokens, at most BITNET_MAX_STOP_TOKENS
 * @layer:		LINEAR: layer
 * @matrix:		LINEAR: BITNET_MATRIX_*
 * @__resv:		0
 * @data_offset:	LINEAR: where in the data area the int32 results go, rows x out; multiple of
 *		64
 * @stop_tokens:	GENERATE: token ids that end the job
 * @job_class:		BITNET_CLASS_*
 * @__resv2:		0
 * @first_token_ns:	REALTIME: first token is due so long after SUBMIT, BITNET_MIN_PERIOD_NS ..
 *			BITNET_MAX_PERIOD_NS; else 0
 * @period_ns:		REALTIME: each further token is due so long after the one before, same
 *			range; else 0
 *
 * The order of the sampler: repetition penalty, top-k, top-p, min-p, temperature. Equal logits are
 * ordered by token id, lower first. At the end of a GENERATE job the session's cache holds the
 * prompt and every generated token but the last one, which was never fed: to go on, put it at the
 * start of the next job's input. All input is copied by SUBMIT.
 */
struct bitnet_job {
	__u32 kind;
	__u32 flags;
	__aligned_u64 user_data;
	__u32 session_id;
	__u32 model_id;
	__aligned_u64 input;
	__u32 input_count;
	__u32 max_tokens;
	__aligned_u64 seed;
	__u32 temperature_ppm;
	__u32 top_k;
	__u32 top_p_ppm;
	__u32 min_p_ppm;
	__u32 repeat_penalty_ppm;
	__u32 repeat_last_n;
	__u32 n_stop;
	__u32 layer;
	__u32 matrix;
	__u32 __resv;
	__aligned_u64 data_offset;
	__u32 stop_tokens[BITNET_MAX_STOP_TOKENS];
	__u32 job_class;
	__u32 __resv2;
	__aligned_u64 first_token_ns;
	__aligned_u64 period_ns;
};

/* Which limit a job that was -EDQUOT met: @out_refusal of SUBMIT */
#define BITNET_REFUSED_JOBS	1	/* unfinished jobs of the file, the user or the device */
#define BITNET_REFUSED_LOAD	2	/* REALTIME: too much together with those accepted */
#define BITNET_REFUSED_PERIOD	3	/* REALTIME: shorter than its own tokens take */
#define BITNET_REFUSED_REALTIME	4	/* REALTIME: too many of them */
#define BITNET_REFUSED_SHARE	5	/* REALTIME: more than one user may have */

/**
 * struct bitnet_submit - BITNET_IOC_SUBMIT: hand in jobs
 * @size:	sizeof(struct bitnet_submit)
 * @flags:	none yet, 0
 * @jobs:	pointer to an array of struct bitnet_job
 * @count:	jobs, 1 .. BITNET_MAX_SUBMIT
 * @job_size:	sizeof(struct bitnet_job) as compiled: the array's stride, treated like @size
 * @out_accepted: jobs accepted; they are the first ones of the array
 * @out_error:	0, or the negative errno of the first job that was not accepted
 * @out_refusal: BITNET_REFUSED_* if that is -EDQUOT, else 0
 * @out_load_ppm: REALTIME, refused: share of the workers' time that the accepted REALTIME jobs and
 *		this one would need together, at most 2^32 - 1
 * @out_step_ns: REALTIME, refused: what one token is reckoned to take
 *
 * Return: 0 if the call itself was well-formed, even when no job was accepted. An array that cannot
 * be read, or whose structs are longer than known with a tail that is not zero, fails the call:
 * then none is accepted.
 */
struct bitnet_submit {
	__u32 size;
	__u32 flags;
	__aligned_u64 jobs;
	__u32 count;
	__u32 job_size;
	__u32 out_accepted;
	__s32 out_error;
	__u32 out_refusal;
	__u32 out_load_ppm;
	__aligned_u64 out_step_ns;
};

/**
 * struct bitnet_run - BITNET_IOC_RUN: compute one job here and now, in the calling thread
 * @size:	sizeof(struct bitnet_run)
 * @flags:	none yet, 0
 * @job:	pointer to a struct bitnet_job, GENERATE or SCORE, not REALTIME. Its @user_data
 *		names it for CANCEL
 * @job_size:	sizeof(struct bitnet_job) as compiled, treated like @size
 * @n_entries:	room at @entries, for all that the job may make: @max_tokens + 1 of GENERATE,
 *		@input_count of SCORE (-ENOSPC otherwise)
 * @entries:	pointer to an array of struct bitnet_ring_entry: what SUBMIT puts into the ring goes
 *		here, as it is made, and last the DONE or ERROR entry
 * @out_entries: how many are there
 * @__resv:	0
 *
 * The workers have no part in it: scheduling policy, affinity, priority and cgroup of the caller
 * are what counts. The bits are those that SUBMIT gives. Other jobs of the session wait; a session
 * that has jobs is -EBUSY. If one was cancelled a moment ago, RUN waits for the end of the workers'
 * step that it was part of. A ring is not needed. A signal ends the job between two pieces of work
 * of some 50 us: what was made until then is there, and the last entry is ERROR with -EINTR. The
 * memory that a session's first RUN needs counts as the session's cache until that is closed.
 *
 * Return: 0 once the last entry is there. When @entries turns out not to be writable, the job ends
 * there with -EFAULT; the session goes on behind what its cache holds then.
 */
struct bitnet_run {
	__u32 size;
	__u32 flags;
	__aligned_u64 job;
	__u32 job_size;
	__u32 n_entries;
	__aligned_u64 entries;
	__u32 out_entries;
	__u32 __resv;
};

/**
 * struct bitnet_cancel - BITNET_IOC_CANCEL: end jobs of this file early
 * @size:	sizeof(struct bitnet_cancel)
 * @flags:	none yet, 0
 * @user_data:	all unfinished jobs with it (-ENOENT if there is none)
 * @out_cancelled: how many
 * @__resv:	0
 *
 * Each gets its ERROR entry with -ECANCELED, after which it makes no further entry.
 */
struct bitnet_cancel {
	__u32 size;
	__u32 flags;
	__aligned_u64 user_data;
	__u32 out_cancelled;
	__u32 __resv;
};

/**
 * struct bitnet_wait - BITNET_IOC_WAIT: sleep until entries are there; unpark jobs
 * @size:	sizeof(struct bitnet_wait)
 * @flags:	none yet, 0
 * @min_entries: unconsumed entries to wait for, at most the ring's size; 0 returns at once
 * @out_entries: unconsumed entries
 * @timeout_ns:	at most this long; negative: for ever
 *
 * Returns early, with what there is, when no job of the file can make entries before the process
 * consumes some: none is left, or all are parked.
 */
struct bitnet_wait {
	__u32 size;
	__u32 flags;
	__u32 min_entries;
	__u32 out_entries;
	__s64 timeout_ns __attribute__((aligned(8)));
};

#define BITNET_HIST_BUCKETS	40	/* bucket b: 2^b .. 2^(b+1)-1 ns; the last: more */

#define BITNET_STATS_F_SESSION	(1U << 0)	/* of @session_id, a session of this file */
#define BITNET_STATS_F_USER	(1U << 1)	/* of all files of the user who opened this one */

/**
 * struct bitnet_stats - BITNET_IOC_STATS: counters of this open file, or what @flags says
 * @size:		sizeof(struct bitnet_stats)
 * @flags:		0, BITNET_STATS_F_SESSION or BITNET_STATS_F_USER
 * @out_models:		model handles now
 * @out_sessions:	sessions now
 * @out_jobs:		accepted, unfinished jobs now
 * @out_parked:		of these, parked because the ring is full
 * @out_jobs_submitted:	jobs accepted so far
 * @out_jobs_done:	ended well
 * @out_jobs_failed:	ended with an error other than -ECANCELED
 * @out_jobs_cancelled:	ended with -ECANCELED
 * @out_tokens_in:	prompt and scored tokens computed
 * @out_tokens_out:	tokens generated
 * @out_cpu_ns:		worker time charged
 * @out_queue_ns:	time that jobs waited from SUBMIT to their first step
 * @out_pinned_bytes:	image bytes pinned by loads of this file
 * @out_kv_bytes:	key/value cache bytes, with the memory of sessions for RUN
 * @out_token_ns:	histogram of the time between two tokens of a job (the first: since SUBMIT)
 * @out_weight_bytes:	weights that steps have read, shared out to the rows of each step
 * @session_id:		with F_SESSION; else 0
 * @__resv:		0
 * @out_late:		tokens of REALTIME jobs that were late
 * @out_realtime_tokens: tokens of REALTIME jobs
 * @out_class_cpu_ns:	@out_cpu_ns, by BITNET_CLASS_*
 * @out_limit_sessions: what the user may have at once, unless CAP_SYS_RESOURCE exempts (see
 *			bitnet_genl.h): sessions ...
 * @out_limit_jobs:	... accepted, unfinished jobs ...
 * @out_limit_kv_bytes:	... key/value cache bytes ...
 * @out_limit_pinned_bytes: ... pinned image bytes ...
 * @out_limit_realtime_ppm: ... and the share of the workers' time that REALTIME jobs need
 * @out_realtime_ppm:	what they need now; of the user, whatever is asked for
 *
 * Of a user, counters begin when none of his files was open. Of a session, models, sessions and
 * pinned bytes are 0.
 */
struct bitnet_stats {
	__u32 size;
	__u32 flags;
	__u32 out_models;
	__u32 out_sessions;
	__u32 out_jobs;
	__u32 out_parked;
	__aligned_u64 out_jobs_submitted;
	__aligned_u64 out_jobs_done;
	__aligned_u64 out_jobs_failed;
	__aligned_u64 out_jobs_cancelled;
	__aligned_u64 out_tokens_in;
	__aligned_u64 out_tokens_out;
	__aligned_u64 out_cpu_ns;
	__aligned_u64 out_queue_ns;
	__aligned_u64 out_pinned_bytes;
	__aligned_u64 out_kv_bytes;
	__aligned_u64 out_token_ns[BITNET_HIST_BUCKETS];
	__aligned_u64 out_weight_bytes;
	__u32 session_id;
	__u32 __resv;
	__aligned_u64 out_late;
	__aligned_u64 out_realtime_tokens;
	__aligned_u64 out_class_cpu_ns[3];
	__aligned_u64 out_limit_sessions;
	__aligned_u64 out_limit_jobs;
	__aligned_u64 out_limit_kv_bytes;
	__aligned_u64 out_limit_pinned_bytes;
	__aligned_u64 out_limit_realtime_ppm;
	__aligned_u64 out_realtime_ppm;
};

#endif /* _UAPI_LINUX_BITNET_H */

/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * bitnet_genl.h - the generic netlink family of bitnet: queries and events
 */
#ifndef _UAPI_LINUX_BITNET_GENL_H
#define _UAPI_LINUX_BITNET_GENL_H

/**
 * DOC: Protocol
 *
 * Family "bitnet", version 1, in the initial network namespace only. Attributes are only ever added
 * at the end. Nothing here carries text, tokens, weights or another user's sizes.
 *
 *   command      who               request             reply
 *   GET_INFO     anyone - VERSION ABI VARIANT WORKERS + totals (see below)
 *   GET_MODELS   CAP_NET_ADMIN     dump                one message a model: NAME MODEL_BYTES SHARED
 *                                                      MODEL_HANDLES MODEL_SESSIONS UID DIGEST
 *   GET_STATS    CAP_NET_ADMIN dump one message an open file: PID UID COMM MODELS
 *                                                      SESSIONS JOBS PARKED TOKENS_IN TOKENS_OUT
 *                                                      CPU_NS QUEUE_NS LATE REALTIME_TOKENS FILE_ID
 *   GET_USERS    CAP_NET_ADMIN     dump                one message a user with open files or limits
 *                                                      of his own: UID FILES MODELS SESSIONS JOBS
 *                                                      TOKENS_IN TOKENS_OUT CPU_NS QUEUE_NS LATE
 *                                                      REALTIME_TOKENS KV_BYTES PINNED_BYTES
 *                                                      MAX_SESSIONS MAX_JOBS MAX_KV_BYTES
 *                                                      MAX_PINNED_BYTES OWN_LIMITS REALTIME_PPM
 *                                                      MAX_REALTIME_PPM
 *   SET_LIMITS   CAP_NET_ADMIN     UID, MAX_* to set   -
 *   SET_WORKERS  CAP_NET_ADMIN     CPUS                -
 *   SET_FLOOR    CAP_NET_ADMIN     BATCH_FLOOR         -
 *   GET_WORKERS  anyone            dump                one message a CPU that has a worker: CPU
 *                                                      WORKER_PARKED ONLINE CPU_NS SECTION_MAX_NS
 *                                                      THROTTLED_NS
 *
 * SET_LIMITS without UID sets what holds for all uids that have no limit of that kind of their
 * own; it does not bind processes with CAP_SYS_RESOURCE, a uid's own limit binds all. A limit below
 * what is in use takes nothing away. BITNET_LIMIT_NONE removes a uid's own limit, and sets the
 * default to what it was when the module was loaded. At most 1024 uids have limits of their own
 * (-EDQUOT). SET_WORKERS takes a list of CPUs ("1,3-5") out of those that the module was loaded
 * with (cpus=): these compute from now on, the others rest; at least one online must be left.
 * SET_FLOOR is the share, in ppm, that BATCH jobs get at least while any waits, at most 500000.
 *
 * REALTIME_PPM is the share of the workers' time that a user's accepted REALTIME jobs need.
 *
 * GET_INFO's totals are MAX_SESSIONS MAX_JOBS MAX_KV_BYTES MAX_PINNED_BYTES MAX_REALTIME_PPM
 * (the default limits of a user) BATCH_FLOOR SECTION_MAX_NS; and with CAP_NET_ADMIN MODELS SESSIONS
 * JOBS FILES TOKENS_IN TOKENS_OUT JOBS_DONE JOBS_FAILED JOBS_CANCELLED PINNED_BYTES KV_BYTES CPU_NS
 * STEPS, from which others could learn what a user does. So it is with CPU_NS of GET_WORKERS.
 * Counters of GET_USERS begin when none of the user's files was open.
 * GET_MODELS without CAP_NET_ADMIN lists the shared models only, without UID.
 *
 * Multicast group "events" (CAP_NET_ADMIN to join): EVENT_* commands sent by the kernel.
 *
 *   EVENT_MODEL_LOADED, EVENT_MODEL_UNLOADED   NAME MODEL_BYTES SHARED UID TIME_NS
 *   EVENT_JOB_DONE, EVENT_JOB_FAILED           PID UID JOB_KIND TOKENS_IN TOKENS_OUT CPU_NS ERROR
 *                                              TIME_NS
 *   EVENT_DEADLINE_MISSED                      PID UID LATE_NS TIME_NS
 *   EVENT_OVERLOAD                             CPU THROTTLED_NS TIME_NS: a worker could not run for
 *                                              so long although it had work and highest priority
 *   EVENT_WORKER                               CPU WORKER_PARKED ONLINE TIME_NS
 */
#define BITNET_GENL_NAME	"bitnet"
#define BITNET_GENL_VERSION	1
#define BITNET_GENL_MCGRP_EVENTS "events"

#define BITNET_LIMIT_NONE	(~0ULL)		/* SET_LIMITS: no limit of his own */

/* BITNET_A_OWN_LIMITS: which limits were set for the uid; the others are the default */
#define BITNET_LIMIT_SESSIONS		(1U << 0)
#define BITNET_LIMIT_JOBS		(1U << 1)
#define BITNET_LIMIT_KV_BYTES		(1U << 2)
#define BITNET_LIMIT_PINNED_BYTES	(1U << 3)
#define BITNET_LIMIT_REALTIME_PPM	(1U << 4)

enum bitnet_genl_cmd {
	BITNET_CMD_UNSPEC,
	BITNET_CMD_GET_INFO,
	BITNET_CMD_GET_MODELS,
	BITNET_CMD_GET_STATS,
	BITNET_CMD_EVENT_MODEL_LOADED,
	BITNET_CMD_EVENT_MODEL_UNLOADED,
	BITNET_CMD_EVENT_JOB_DONE,
	BITNET_CMD_EVENT_JOB_FAILED,
	BITNET_CMD_GET_USERS,
	BITNET_CMD_GET_WORKERS,
	BITNET_CMD_SET_LIMITS,
	BITNET_CMD_SET_WORKERS,
	BITNET_CMD_SET_FLOOR,
	BITNET_CMD_EVENT_DEADLINE_MISSED,
	BITNET_CMD_EVENT_OVERLOAD,
	BITNET_CMD_EVENT_WORKER,
	__BITNET_CMD_MAX,
};
#define BITNET_CMD_MAX (__BITNET_CMD_MAX - 1)

enum bitnet_genl_attr {
	BITNET_A_UNSPEC,
	BITNET_A_PAD,
	BITNET_A_VERSION,		/* string, of the module */
	BITNET_A_ABI,			/* u32 */
	BITNET_A_VARIANT,		/* string */
	BITNET_A_WORKERS,		/* u32 */
	BITNET_A_NAME,			/* string, model's name or label */
	BITNET_A_MODEL_BYTES,		/* u64 */
	BITNET_A_SHARED,		/* u8, 0 or 1 */
	BITNET_A_MODEL_HANDLES,		/* u32, open handles */
	BITNET_A_MODEL_SESSIONS,	/* u32, open sessions */
	BITNET_A_DIGEST,		/* u64, of the image */
	BITNET_A_PID,			/* u32, thread group that opened the file */
	BITNET_A_UID,			/* u32 */
	BITNET_A_COMM,			/* string, of the opener */
	BITNET_A_MODELS,		/* u32 */
	BITNET_A_SESSIONS,		/* u32 */
	BITNET_A_JOBS,			/* u32, unfinished */
	BITNET_A_PARKED,		/* u32, of these waiting for ring space */
	BITNET_A_FILES,			/* u32, open files */
	BITNET_A_TOKENS_IN,		/* u64 */
	BITNET_A_TOKENS_OUT,		/* u64 */
	BITNET_A_JOBS_DONE,		/* u64 */
	BITNET_A_JOBS_FAILED,		/* u64 */
	BITNET_A_JOBS_CANCELLED,	/* u64 */
	BITNET_A_PINNED_BYTES,		/* u64 */
	BITNET_A_KV_BYTES,		/* u64 */
	BITNET_A_CPU_NS,		/* u64 */
	BITNET_A_STEPS,			/* u64 */
	BITNET_A_SECTION_MAX_NS,	/* u64, longest section since load */
	BITNET_A_JOB_KIND,		/* u32, BITNET_JOB_* */
	BITNET_A_ERROR,			/* s32, negative errno or 0 */
	BITNET_A_TIME_NS,		/* u64, CLOCK_MONOTONIC */
	BITNET_A_FILE_ID,		/* u64, number of an open file since load */
	BITNET_A_QUEUE_NS,		/* u64, time that jobs waited for their first step */
	BITNET_A_LATE,			/* u64, tokens of REALTIME jobs that were late */
	BITNET_A_REALTIME_TOKENS,	/* u64, tokens of REALTIME jobs */
	BITNET_A_MAX_SESSIONS,		/* u64, limit of a user */
	BITNET_A_MAX_JOBS,		/* u64, limit of a user */
	BITNET_A_MAX_KV_BYTES,		/* u64, limit of a user */
	BITNET_A_MAX_PINNED_BYTES,	/* u64, limit of a user */
	BITNET_A_CPUS,			/* string, list of CPUs */
	BITNET_A_CPU,			/* u32 */
	BITNET_A_WORKER_PARKED,		/* u8, 0 or 1: the administrator lets it rest */
	BITNET_A_ONLINE,		/* u8, 0 or 1 */
	BITNET_A_BATCH_FLOOR,		/* u32, ppm */
	BITNET_A_THROTTLED_NS,		/* u64 */
	BITNET_A_LATE_NS,		/* u64, how late a token was */
	BITNET_A_OWN_LIMITS,		/* u32, BITNET_LIMIT_* of those set for the uid */
	BITNET_A_REALTIME_PPM,		/* u64, share of the workers' time */
	BITNET_A_MAX_REALTIME_PPM,	/* u64, limit of a user */
	__BITNET_A_MAX,
};
#define BITNET_A_MAX (__BITNET_A_MAX - 1)

#endif /* _UAPI_LINUX_BITNET_GENL_H */

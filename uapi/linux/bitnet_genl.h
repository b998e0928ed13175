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
 *                                                      CPU_NS
 *
 * GET_INFO's totals: MODELS SESSIONS JOBS FILES TOKENS_IN TOKENS_OUT JOBS_DONE JOBS_FAILED
 * JOBS_CANCELLED PINNED_BYTES KV_BYTES CPU_NS STEPS SECTION_MAX_NS.
 * GET_MODELS without CAP_NET_ADMIN lists the shared models only, without UID.
 *
 * Multicast group "events" (CAP_NET_ADMIN to join): EVENT_* commands sent by the kernel.
 *
 *   EVENT_MODEL_LOADED, EVENT_MODEL_UNLOADED   NAME MODEL_BYTES SHARED UID TIME_NS
 *   EVENT_JOB_DONE, EVENT_JOB_FAILED           PID UID JOB_KIND TOKENS_IN TOKENS_OUT CPU_NS ERROR
 *   TIME_NS
 */
#define BITNET_GENL_NAME	"bitnet"
#define BITNET_GENL_VERSION	1
#define BITNET_GENL_MCGRP_EVENTS "events"

enum bitnet_genl_cmd {
	BITNET_CMD_UNSPEC,
	BITNET_CMD_GET_INFO,
	BITNET_CMD_GET_MODELS,
	BITNET_CMD_GET_STATS,
	BITNET_CMD_EVENT_MODEL_LOADED,
	BITNET_CMD_EVENT_MODEL_UNLOADED,
	BITNET_CMD_EVENT_JOB_DONE,
	BITNET_CMD_EVENT_JOB_FAILED,
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
	__BITNET_A_MAX,
};
#define BITNET_A_MAX (__BITNET_A_MAX - 1)

#endif /* _UAPI_LINUX_BITNET_GENL_H */

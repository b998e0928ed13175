// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl.c - the table of ioctls, and what they have in common
 */
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "bitnet.h"

/* The layout is frozen: the same for 32-bit callers, and for ever. */
static_assert(sizeof(struct bitnet_info) == 96);
static_assert(sizeof(struct bitnet_model_load) == 96);
static_assert(sizeof(struct bitnet_model_open) == 80);
static_assert(sizeof(struct bitnet_model_close) == 8);
static_assert(sizeof(struct bitnet_model_unload) == 72);
static_assert(sizeof(struct bitnet_model_info) == 136);
static_assert(sizeof(struct bitnet_session_open) == 24);
static_assert(sizeof(struct bitnet_session_rewind) == 16);
static_assert(sizeof(struct bitnet_session_close) == 8);
static_assert(sizeof(struct bitnet_ring_header) == 128);
static_assert(offsetof(struct bitnet_ring_header, head) == 64);
static_assert(sizeof(struct bitnet_ring_entry) == 64);
static_assert(sizeof(struct bitnet_ring_setup) == 32);
static_assert(sizeof(struct bitnet_job) == 184);
static_assert(sizeof(struct bitnet_submit) == 48);
static_assert(sizeof(struct bitnet_cancel) == 24);
static_assert(sizeof(struct bitnet_wait) == 24);
static_assert(sizeof(struct bitnet_stats) == 528);
static_assert(sizeof(struct bitnet_run) == 40);

static int info(struct bitnet_call *call)
{
	struct bitnet_info *u = call->u;

	if (u->flags || u->__resv)
		return -EINVAL;
	*u = (struct bitnet_info){
		.size = u->size,
		.out_abi_version = BITNET_ABI_VERSION,
		.out_workers = bitnet_workers_count(),
		.out_features = BITNET_FEATURE_GENERATE | BITNET_FEATURE_SCORE |
				BITNET_FEATURE_LINEAR | BITNET_FEATURE_SHARED |
				BITNET_FEATURE_EVENTFD | BITNET_FEATURE_CLASSES |
				BITNET_FEATURE_RUN,
		.out_max_model_bytes = min(BN_MAX_IMAGE_BYTES,
					   bitnet.limit[BITNET_RES_PINNED_BYTES]),
		.out_max_pinned_bytes = bitnet.limit[BITNET_RES_PINNED_BYTES],
		.out_max_kv_bytes = min(BITNET_SESSION_KV_BYTES, bitnet.limit[BITNET_RES_KV_BYTES]),
		.out_max_data_bytes = BITNET_DATA_BYTES,
		.out_max_models = BITNET_FILE_MODELS,
		.out_max_sessions = BITNET_FILE_SESSIONS,
		.out_max_jobs = BITNET_FILE_JOBS,
		.out_max_ring_entries = BITNET_RING_ENTRIES,
		.out_max_rows = BN_MAX_ROWS,
	};
	strscpy(u->out_variant, bitnet.ops->name, sizeof(u->out_variant));
	return bitnet_respond(call);
}

/*
 * struct bitnet_op - one ioctl
 * @size:	of its struct, as known here
 * @min_size:	of its struct in the first version
 * @writes:	changes state: needs a descriptor open for writing
 */
struct bitnet_op {
	int (*handler)(struct bitnet_call *call);
	u32 size;
	u32 min_size;
	bool writes;
};

#define OP(nr, fn, type, last, wr)						\
	[_IOC_NR(BITNET_IOC_##nr)] = {						\
		.handler = fn, .size = sizeof(struct type),			\
		.min_size = offsetofend(struct type, last), .writes = wr }

static const struct bitnet_op ops[] = {
	OP(INFO, info, bitnet_info, out_variant, false),
	OP(MODEL_LOAD, bitnet_model_load, bitnet_model_load, __resv, true),
	OP(MODEL_OPEN, bitnet_model_open, bitnet_model_open, __resv, true),
	OP(MODEL_CLOSE, bitnet_model_close, bitnet_model_close, model_id, true),
	OP(MODEL_UNLOAD, bitnet_model_unload, bitnet_model_unload, name, true),
	OP(MODEL_INFO, bitnet_model_info, bitnet_model_info, out_name, false),
	OP(SESSION_OPEN, bitnet_session_ioctl_open, bitnet_session_open, __resv, true),
	OP(SESSION_REWIND, bitnet_session_ioctl_rewind, bitnet_session_rewind, __resv, true),
	OP(SESSION_CLOSE, bitnet_session_ioctl_close, bitnet_session_close, session_id, true),
	OP(RING_SETUP, bitnet_ring_setup, bitnet_ring_setup, out_ring_bytes, true),
	OP(SUBMIT, bitnet_submit, bitnet_submit, out_error, true),
	OP(CANCEL, bitnet_cancel, bitnet_cancel, __resv, true),
	OP(WAIT, bitnet_wait, bitnet_wait, timeout_ns, false),
	OP(STATS, bitnet_stats, bitnet_stats, out_token_ns, false),
	OP(RUN, bitnet_run, bitnet_run, __resv, true),
};

union bitnet_any {
	struct bitnet_info info;
	struct bitnet_model_load model_load;
	struct bitnet_model_info model_info;
	struct bitnet_stats stats;
};

/**
 * bitnet_respond() - copy the kernel's struct back, as much of it as the caller knows
 * @call:	the ioctl
 *
 * For handlers, before what they have made becomes visible: when this fails, they undo it.
 */
int bitnet_respond(const struct bitnet_call *call)
{
	if (copy_to_user(call->arg, call->u, min(call->size, call->known)))
		return -EFAULT;
	return 0;
}

/** bitnet_name_check() - is this a name of BITNET_NAME_BYTES, NUL included? Return: 0 or -EINVAL */
int bitnet_name_check(const char *name, bool may_be_empty)
{
	size_t n = strnlen(name, BITNET_NAME_BYTES);

	if (n == BITNET_NAME_BYTES || (!n && !may_be_empty))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
			return -EINVAL;
	}
	return 0;
}

long bitnet_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct bitnet_call call = {
		.file = filp->private_data,
		.arg = (void __user *)arg,
	};
	const struct bitnet_op *op;
	union bitnet_any u;
	unsigned int nr = _IOC_NR(cmd);
	int err;

	BUILD_BUG_ON(sizeof(u) > 576);
	if (cmd != _IO(BITNET_IOC_TYPE, nr) || nr >= ARRAY_SIZE(ops))
		return -ENOTTY;
	op = &ops[array_index_nospec(nr, ARRAY_SIZE(ops))];
	if (op->writes && !(filp->f_mode & FMODE_WRITE))
		return -EPERM;

	if (get_user(call.size, (u32 __user *)call.arg))
		return -EFAULT;
	if (call.size < op->min_size)
		return -EINVAL;
	if (call.size > BITNET_MAX_STRUCT_BYTES)
		return -E2BIG;
	memset(&u, 0, sizeof(u));
	err = copy_struct_from_user(&u, op->size, call.arg, call.size);
	if (err)
		return err;
	/* The first field was read twice; from here on it is what the checks have seen. */
	*(u32 *)&u = call.size;
	call.known = op->size;
	call.u = &u;
	return op->handler(&call);
}

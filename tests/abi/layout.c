// SPDX-License-Identifier: GPL-2.0
/*
 * layout.c - the binary interface is frozen: sizes, offsets and numbers as programs were compiled
 * with
 *
 * Compiled for 64 and for 32 bit: both must find the same numbers, which is what lets the module
 * take the structs of 32-bit programs as they are. A number here never changes; a field may only be
 * added at the end of an ioctl's struct, and then a line here.
 */
#include <stddef.h>
#include <stdint.h>

#include <linux/bitnet.h>
#include <linux/bitnet_genl.h>
#include <linux/bitnet_image.h>

#include "../tap.h"

/* Every struct of the interface with its size, followed by all its fields with offset and size. */
#define LAYOUT(STRUCT, FIELD)							\
	STRUCT(bitnet_info, 96)							\
	FIELD(bitnet_info, size, 0, 4)						\
	FIELD(bitnet_info, flags, 4, 4)						\
	FIELD(bitnet_info, out_abi_version, 8, 4)				\
	FIELD(bitnet_info, out_workers, 12, 4)					\
	FIELD(bitnet_info, out_features, 16, 8)					\
	FIELD(bitnet_info, out_max_model_bytes, 24, 8)				\
	FIELD(bitnet_info, out_max_pinned_bytes, 32, 8)				\
	FIELD(bitnet_info, out_max_kv_bytes, 40, 8)				\
	FIELD(bitnet_info, out_max_data_bytes, 48, 8)				\
	FIELD(bitnet_info, out_max_models, 56, 4)				\
	FIELD(bitnet_info, out_max_sessions, 60, 4)				\
	FIELD(bitnet_info, out_max_jobs, 64, 4)					\
	FIELD(bitnet_info, out_max_ring_entries, 68, 4)				\
	FIELD(bitnet_info, out_max_rows, 72, 4)					\
	FIELD(bitnet_info, __resv, 76, 4)					\
	FIELD(bitnet_info, out_variant, 80, 16)					\
	STRUCT(bitnet_model_load, 96)						\
	FIELD(bitnet_model_load, size, 0, 4)					\
	FIELD(bitnet_model_load, flags, 4, 4)					\
	FIELD(bitnet_model_load, addr, 8, 8)					\
	FIELD(bitnet_model_load, length, 16, 8)					\
	FIELD(bitnet_model_load, name, 24, 64)					\
	FIELD(bitnet_model_load, out_model_id, 88, 4)				\
	FIELD(bitnet_model_load, __resv, 92, 4)					\
	STRUCT(bitnet_model_open, 80)						\
	FIELD(bitnet_model_open, size, 0, 4)					\
	FIELD(bitnet_model_open, flags, 4, 4)					\
	FIELD(bitnet_model_open, name, 8, 64)					\
	FIELD(bitnet_model_open, out_model_id, 72, 4)				\
	FIELD(bitnet_model_open, __resv, 76, 4)					\
	STRUCT(bitnet_model_close, 8)						\
	FIELD(bitnet_model_close, size, 0, 4)					\
	FIELD(bitnet_model_close, model_id, 4, 4)				\
	STRUCT(bitnet_model_unload, 72)						\
	FIELD(bitnet_model_unload, size, 0, 4)					\
	FIELD(bitnet_model_unload, flags, 4, 4)					\
	FIELD(bitnet_model_unload, name, 8, 64)					\
	STRUCT(bitnet_model_info, 136)						\
	FIELD(bitnet_model_info, size, 0, 4)					\
	FIELD(bitnet_model_info, model_id, 4, 4)				\
	FIELD(bitnet_model_info, out_flags, 8, 4)				\
	FIELD(bitnet_model_info, out_packing, 12, 4)				\
	FIELD(bitnet_model_info, out_digest, 16, 8)				\
	FIELD(bitnet_model_info, out_image_bytes, 24, 8)			\
	FIELD(bitnet_model_info, out_kv_bytes_per_token, 32, 8)			\
	FIELD(bitnet_model_info, out_n_layers, 40, 4)				\
	FIELD(bitnet_model_info, out_hidden, 44, 4)				\
	FIELD(bitnet_model_info, out_ffn, 48, 4)				\
	FIELD(bitnet_model_info, out_n_heads, 52, 4)				\
	FIELD(bitnet_model_info, out_n_kv_heads, 56, 4)				\
	FIELD(bitnet_model_info, out_head_dim, 60, 4)				\
	FIELD(bitnet_model_info, out_vocab, 64, 4)				\
	FIELD(bitnet_model_info, out_max_ctx, 68, 4)				\
	FIELD(bitnet_model_info, out_name, 72, 64)				\
	STRUCT(bitnet_session_open, 24)						\
	FIELD(bitnet_session_open, size, 0, 4)					\
	FIELD(bitnet_session_open, flags, 4, 4)					\
	FIELD(bitnet_session_open, model_id, 8, 4)				\
	FIELD(bitnet_session_open, n_ctx, 12, 4)				\
	FIELD(bitnet_session_open, out_session_id, 16, 4)			\
	FIELD(bitnet_session_open, __resv, 20, 4)				\
	STRUCT(bitnet_session_rewind, 16)					\
	FIELD(bitnet_session_rewind, size, 0, 4)				\
	FIELD(bitnet_session_rewind, session_id, 4, 4)				\
	FIELD(bitnet_session_rewind, n_tokens, 8, 4)				\
	FIELD(bitnet_session_rewind, __resv, 12, 4)				\
	STRUCT(bitnet_session_close, 8)						\
	FIELD(bitnet_session_close, size, 0, 4)					\
	FIELD(bitnet_session_close, session_id, 4, 4)				\
	STRUCT(bitnet_ring_header, 128)						\
	FIELD(bitnet_ring_header, tail, 0, 4)					\
	FIELD(bitnet_ring_header, flags, 4, 4)					\
	FIELD(bitnet_ring_header, mask, 8, 4)					\
	FIELD(bitnet_ring_header, entries, 12, 4)				\
	FIELD(bitnet_ring_header, entries_offset, 16, 4)			\
	FIELD(bitnet_ring_header, __resv0, 20, 44)				\
	FIELD(bitnet_ring_header, head, 64, 4)					\
	FIELD(bitnet_ring_header, __resv1, 68, 60)				\
	STRUCT(bitnet_ring_entry, 64)						\
	FIELD(bitnet_ring_entry, user_data, 0, 8)				\
	FIELD(bitnet_ring_entry, kind, 8, 2)					\
	FIELD(bitnet_ring_entry, reason, 10, 2)					\
	FIELD(bitnet_ring_entry, token, 12, 4)					\
	FIELD(bitnet_ring_entry, position, 16, 4)				\
	FIELD(bitnet_ring_entry, logprob, 20, 4)				\
	FIELD(bitnet_ring_entry, error, 24, 4)					\
	FIELD(bitnet_ring_entry, n_tokens, 28, 4)				\
	FIELD(bitnet_ring_entry, time_ns, 32, 8)				\
	FIELD(bitnet_ring_entry, logits_hash, 40, 8)				\
	FIELD(bitnet_ring_entry, cpu_ns, 48, 8)					\
	FIELD(bitnet_ring_entry, flags, 56, 4)					\
	FIELD(bitnet_ring_entry, __resv, 60, 4)					\
	STRUCT(bitnet_ring_setup, 32)						\
	FIELD(bitnet_ring_setup, size, 0, 4)					\
	FIELD(bitnet_ring_setup, flags, 4, 4)					\
	FIELD(bitnet_ring_setup, entries, 8, 4)					\
	FIELD(bitnet_ring_setup, eventfd, 12, 4)				\
	FIELD(bitnet_ring_setup, data_bytes, 16, 8)				\
	FIELD(bitnet_ring_setup, out_ring_bytes, 24, 8)				\
	STRUCT(bitnet_job, 184)							\
	FIELD(bitnet_job, kind, 0, 4)						\
	FIELD(bitnet_job, flags, 4, 4)						\
	FIELD(bitnet_job, user_data, 8, 8)					\
	FIELD(bitnet_job, session_id, 16, 4)					\
	FIELD(bitnet_job, model_id, 20, 4)					\
	FIELD(bitnet_job, input, 24, 8)						\
	FIELD(bitnet_job, input_count, 32, 4)					\
	FIELD(bitnet_job, max_tokens, 36, 4)					\
	FIELD(bitnet_job, seed, 40, 8)						\
	FIELD(bitnet_job, temperature_ppm, 48, 4)				\
	FIELD(bitnet_job, top_k, 52, 4)						\
	FIELD(bitnet_job, top_p_ppm, 56, 4)					\
	FIELD(bitnet_job, min_p_ppm, 60, 4)					\
	FIELD(bitnet_job, repeat_penalty_ppm, 64, 4)				\
	FIELD(bitnet_job, repeat_last_n, 68, 4)					\
	FIELD(bitnet_job, n_stop, 72, 4)					\
	FIELD(bitnet_job, layer, 76, 4)						\
	FIELD(bitnet_job, matrix, 80, 4)					\
	FIELD(bitnet_job, __resv, 84, 4)					\
	FIELD(bitnet_job, data_offset, 88, 8)					\
	FIELD(bitnet_job, stop_tokens, 96, 64)					\
	FIELD(bitnet_job, job_class, 160, 4)					\
	FIELD(bitnet_job, __resv2, 164, 4)					\
	FIELD(bitnet_job, first_token_ns, 168, 8)				\
	FIELD(bitnet_job, period_ns, 176, 8)					\
	STRUCT(bitnet_submit, 48)						\
	FIELD(bitnet_submit, size, 0, 4)					\
	FIELD(bitnet_submit, flags, 4, 4)					\
	FIELD(bitnet_submit, jobs, 8, 8)					\
	FIELD(bitnet_submit, count, 16, 4)					\
	FIELD(bitnet_submit, job_size, 20, 4)					\
	FIELD(bitnet_submit, out_accepted, 24, 4)				\
	FIELD(bitnet_submit, out_error, 28, 4)					\
	FIELD(bitnet_submit, out_refusal, 32, 4)				\
	FIELD(bitnet_submit, out_load_ppm, 36, 4)				\
	FIELD(bitnet_submit, out_step_ns, 40, 8)				\
	STRUCT(bitnet_cancel, 24)						\
	FIELD(bitnet_cancel, size, 0, 4)					\
	FIELD(bitnet_cancel, flags, 4, 4)					\
	FIELD(bitnet_cancel, user_data, 8, 8)					\
	FIELD(bitnet_cancel, out_cancelled, 16, 4)				\
	FIELD(bitnet_cancel, __resv, 20, 4)					\
	STRUCT(bitnet_wait, 24)							\
	FIELD(bitnet_wait, size, 0, 4)						\
	FIELD(bitnet_wait, flags, 4, 4)						\
	FIELD(bitnet_wait, min_entries, 8, 4)					\
	FIELD(bitnet_wait, out_entries, 12, 4)					\
	FIELD(bitnet_wait, timeout_ns, 16, 8)					\
	STRUCT(bitnet_stats, 528)						\
	FIELD(bitnet_stats, size, 0, 4)						\
	FIELD(bitnet_stats, flags, 4, 4)					\
	FIELD(bitnet_stats, out_models, 8, 4)					\
	FIELD(bitnet_stats, out_sessions, 12, 4)				\
	FIELD(bitnet_stats, out_jobs, 16, 4)					\
	FIELD(bitnet_stats, out_parked, 20, 4)					\
	FIELD(bitnet_stats, out_jobs_submitted, 24, 8)				\
	FIELD(bitnet_stats, out_jobs_done, 32, 8)				\
	FIELD(bitnet_stats, out_jobs_failed, 40, 8)				\
	FIELD(bitnet_stats, out_jobs_cancelled, 48, 8)				\
	FIELD(bitnet_stats, out_tokens_in, 56, 8)				\
	FIELD(bitnet_stats, out_tokens_out, 64, 8)				\
	FIELD(bitnet_stats, out_cpu_ns, 72, 8)					\
	FIELD(bitnet_stats, out_queue_ns, 80, 8)				\
	FIELD(bitnet_stats, out_pinned_bytes, 88, 8)				\
	FIELD(bitnet_stats, out_kv_bytes, 96, 8)				\
	FIELD(bitnet_stats, out_token_ns, 104, 320)				\
	FIELD(bitnet_stats, out_weight_bytes, 424, 8)				\
	FIELD(bitnet_stats, session_id, 432, 4)					\
	FIELD(bitnet_stats, __resv, 436, 4)					\
	FIELD(bitnet_stats, out_late, 440, 8)					\
	FIELD(bitnet_stats, out_realtime_tokens, 448, 8)			\
	FIELD(bitnet_stats, out_class_cpu_ns, 456, 24)				\
	FIELD(bitnet_stats, out_limit_sessions, 480, 8)				\
	FIELD(bitnet_stats, out_limit_jobs, 488, 8)				\
	FIELD(bitnet_stats, out_limit_kv_bytes, 496, 8)				\
	FIELD(bitnet_stats, out_limit_pinned_bytes, 504, 8)			\
	FIELD(bitnet_stats, out_limit_realtime_ppm, 512, 8)			\
	FIELD(bitnet_stats, out_realtime_ppm, 520, 8)				\
	STRUCT(bitnet_run, 40)							\
	FIELD(bitnet_run, size, 0, 4)						\
	FIELD(bitnet_run, flags, 4, 4)						\
	FIELD(bitnet_run, job, 8, 8)						\
	FIELD(bitnet_run, job_size, 16, 4)					\
	FIELD(bitnet_run, n_entries, 20, 4)					\
	FIELD(bitnet_run, entries, 24, 8)					\
	FIELD(bitnet_run, out_entries, 32, 4)					\
	FIELD(bitnet_run, __resv, 36, 4)					\
	STRUCT(bitnet_image_header, 256)					\
	FIELD(bitnet_image_header, magic, 0, 8)					\
	FIELD(bitnet_image_header, version, 8, 4)				\
	FIELD(bitnet_image_header, header_bytes, 12, 4)				\
	FIELD(bitnet_image_header, total_bytes, 16, 8)				\
	FIELD(bitnet_image_header, digest, 24, 8)				\
	FIELD(bitnet_image_header, flags, 32, 4)				\
	FIELD(bitnet_image_header, activation, 36, 4)				\
	FIELD(bitnet_image_header, n_layers, 40, 4)				\
	FIELD(bitnet_image_header, hidden, 44, 4)				\
	FIELD(bitnet_image_header, ffn, 48, 4)					\
	FIELD(bitnet_image_header, n_heads, 52, 4)				\
	FIELD(bitnet_image_header, n_kv_heads, 56, 4)				\
	FIELD(bitnet_image_header, head_dim, 60, 4)				\
	FIELD(bitnet_image_header, rope_dims, 64, 4)				\
	FIELD(bitnet_image_header, vocab, 68, 4)				\
	FIELD(bitnet_image_header, max_ctx, 72, 4)				\
	FIELD(bitnet_image_header, norm_eps, 76, 4)				\
	FIELD(bitnet_image_header, tensor_count, 80, 4)				\
	FIELD(bitnet_image_header, tensor_bytes, 84, 4)				\
	FIELD(bitnet_image_header, tensor_offset, 88, 8)			\
	FIELD(bitnet_image_header, name, 96, 64)				\
	FIELD(bitnet_image_header, __resv, 160, 96)				\
	STRUCT(bitnet_image_tensor, 64)						\
	FIELD(bitnet_image_tensor, role, 0, 4)					\
	FIELD(bitnet_image_tensor, layer, 4, 4)					\
	FIELD(bitnet_image_tensor, format, 8, 4)				\
	FIELD(bitnet_image_tensor, scale, 12, 4)				\
	FIELD(bitnet_image_tensor, rows, 16, 4)					\
	FIELD(bitnet_image_tensor, cols, 20, 4)					\
	FIELD(bitnet_image_tensor, row_bytes, 24, 4)				\
	FIELD(bitnet_image_tensor, __resv0, 28, 4)				\
	FIELD(bitnet_image_tensor, offset, 32, 8)				\
	FIELD(bitnet_image_tensor, bytes, 40, 8)				\
	FIELD(bitnet_image_tensor, __resv1, 48, 16)				\

#define ASSERT_STRUCT(type, bytes)						\
	_Static_assert(sizeof(struct type) == (bytes), "size of struct " #type);
#define ASSERT_FIELD(type, field, offset, bytes)                                                 \
	_Static_assert(offsetof(struct type, field) == (offset), "offset of " #type "." #field); \
	_Static_assert(sizeof(((struct type *)0)->field) == (bytes), "size of " #type "." #field);

LAYOUT(ASSERT_STRUCT, ASSERT_FIELD)

/* The same as a table, for what an assertion on one field cannot see: bytes that belong to none. */
struct item {
	const char *type;
	const char *field;	/* NULL: the struct itself */
	size_t offset;
	size_t bytes;
};

#define ITEM_STRUCT(type, bytes)	{ #type, NULL, 0, bytes },
#define ITEM_FIELD(type, field, offset, bytes)	{ #type, #field, offset, bytes },

static const struct item items[] = { LAYOUT(ITEM_STRUCT, ITEM_FIELD) };
#define N_ITEMS	(sizeof(items) / sizeof(items[0]))

struct number {
	const char *name;
	unsigned long long is, want;
};

#define NUMBER(name, want)	{ #name, (unsigned long long)(name), want }

static const struct number numbers[] = {
	NUMBER(BITNET_ABI_VERSION, 1),
	NUMBER(BITNET_IOC_INFO, 0xb100),
	NUMBER(BITNET_IOC_MODEL_LOAD, 0xb101),
	NUMBER(BITNET_IOC_MODEL_OPEN, 0xb102),
	NUMBER(BITNET_IOC_MODEL_CLOSE, 0xb103),
	NUMBER(BITNET_IOC_MODEL_UNLOAD, 0xb104),
	NUMBER(BITNET_IOC_MODEL_INFO, 0xb105),
	NUMBER(BITNET_IOC_SESSION_OPEN, 0xb106),
	NUMBER(BITNET_IOC_SESSION_REWIND, 0xb107),
	NUMBER(BITNET_IOC_SESSION_CLOSE, 0xb108),
	NUMBER(BITNET_IOC_RING_SETUP, 0xb109),
	NUMBER(BITNET_IOC_SUBMIT, 0xb10a),
	NUMBER(BITNET_IOC_CANCEL, 0xb10b),
	NUMBER(BITNET_IOC_WAIT, 0xb10c),
	NUMBER(BITNET_IOC_STATS, 0xb10d),
	NUMBER(BITNET_IOC_RUN, 0xb10e),
	NUMBER(BITNET_CLASS_INTERACTIVE, 0),
	NUMBER(BITNET_CLASS_BATCH, 1),
	NUMBER(BITNET_CLASS_REALTIME, 2),
	NUMBER(BITNET_REFUSED_JOBS, 1),
	NUMBER(BITNET_REFUSED_LOAD, 2),
	NUMBER(BITNET_REFUSED_PERIOD, 3),
	NUMBER(BITNET_REFUSED_REALTIME, 4),
	NUMBER(BITNET_REFUSED_SHARE, 5),
	NUMBER(BITNET_STATS_F_SESSION, 1),
	NUMBER(BITNET_STATS_F_USER, 2),
	NUMBER(BITNET_ENTRY_F_LATE, 1),
	NUMBER(BITNET_NAME_BYTES, 64),
	NUMBER(BITNET_VARIANT_BYTES, 16),
	NUMBER(BITNET_MAX_STOP_TOKENS, 16),
	NUMBER(BITNET_MAX_SUBMIT, 64),
	NUMBER(BITNET_MAX_REPEAT_LAST_N, 256),
	NUMBER(BITNET_MAX_TOP_K, 65536),
	NUMBER(BITNET_PPM, 1000000),
	NUMBER(BITNET_FEATURE_GENERATE, 1),
	NUMBER(BITNET_FEATURE_SCORE, 2),
	NUMBER(BITNET_FEATURE_LINEAR, 4),
	NUMBER(BITNET_FEATURE_SHARED, 8),
	NUMBER(BITNET_FEATURE_EVENTFD, 16),
	NUMBER(BITNET_MODEL_F_SHARED, 1),
	NUMBER(BITNET_MMAP_RING, 0),
	NUMBER(BITNET_MMAP_DATA, 0x10000000),
	NUMBER(BITNET_RING_F_NEED_WAKEUP, 1),
	NUMBER(BITNET_ENTRY_TOKEN, 1),
	NUMBER(BITNET_ENTRY_DONE, 2),
	NUMBER(BITNET_ENTRY_ERROR, 3),
	NUMBER(BITNET_REASON_STOP, 1),
	NUMBER(BITNET_REASON_LENGTH, 2),
	NUMBER(BITNET_REASON_CONTEXT, 3),
	NUMBER((__u32)BITNET_LOGPROB_NONE, 0x80000000),
	NUMBER(BITNET_JOB_GENERATE, 1),
	NUMBER(BITNET_JOB_SCORE, 2),
	NUMBER(BITNET_JOB_LINEAR, 3),
	NUMBER(BITNET_JOB_F_HASH, 1),
	NUMBER(BITNET_MATRIX_ATTN_Q, 0),
	NUMBER(BITNET_MATRIX_ATTN_K, 1),
	NUMBER(BITNET_MATRIX_ATTN_V, 2),
	NUMBER(BITNET_MATRIX_ATTN_OUT, 3),
	NUMBER(BITNET_MATRIX_FFN_GATE, 4),
	NUMBER(BITNET_MATRIX_FFN_UP, 5),
	NUMBER(BITNET_MATRIX_FFN_DOWN, 6),
	NUMBER(BITNET_MATRIX_COUNT, 7),
	NUMBER(BITNET_HIST_BUCKETS, 40),
	NUMBER(BITNET_GENL_VERSION, 1),
	NUMBER(BITNET_CMD_GET_INFO, 1),
	NUMBER(BITNET_CMD_GET_MODELS, 2),
	NUMBER(BITNET_CMD_GET_STATS, 3),
	NUMBER(BITNET_CMD_EVENT_MODEL_LOADED, 4),
	NUMBER(BITNET_CMD_EVENT_MODEL_UNLOADED, 5),
	NUMBER(BITNET_CMD_EVENT_JOB_DONE, 6),
	NUMBER(BITNET_CMD_EVENT_JOB_FAILED, 7),
	NUMBER(BITNET_CMD_GET_USERS, 8),
	NUMBER(BITNET_CMD_GET_WORKERS, 9),
	NUMBER(BITNET_CMD_SET_LIMITS, 10),
	NUMBER(BITNET_CMD_SET_WORKERS, 11),
	NUMBER(BITNET_CMD_SET_FLOOR, 12),
	NUMBER(BITNET_CMD_EVENT_DEADLINE_MISSED, 13),
	NUMBER(BITNET_CMD_EVENT_OVERLOAD, 14),
	NUMBER(BITNET_CMD_EVENT_WORKER, 15),
	NUMBER(BITNET_A_PAD, 1),
	NUMBER(BITNET_A_VERSION, 2),
	NUMBER(BITNET_A_ABI, 3),
	NUMBER(BITNET_A_VARIANT, 4),
	NUMBER(BITNET_A_WORKERS, 5),
	NUMBER(BITNET_A_NAME, 6),
	NUMBER(BITNET_A_MODEL_BYTES, 7),
	NUMBER(BITNET_A_SHARED, 8),
	NUMBER(BITNET_A_MODEL_HANDLES, 9),
	NUMBER(BITNET_A_MODEL_SESSIONS, 10),
	NUMBER(BITNET_A_DIGEST, 11),
	NUMBER(BITNET_A_PID, 12),
	NUMBER(BITNET_A_UID, 13),
	NUMBER(BITNET_A_COMM, 14),
	NUMBER(BITNET_A_MODELS, 15),
	NUMBER(BITNET_A_SESSIONS, 16),
	NUMBER(BITNET_A_JOBS, 17),
	NUMBER(BITNET_A_PARKED, 18),
	NUMBER(BITNET_A_FILES, 19),
	NUMBER(BITNET_A_TOKENS_IN, 20),
	NUMBER(BITNET_A_TOKENS_OUT, 21),
	NUMBER(BITNET_A_JOBS_DONE, 22),
	NUMBER(BITNET_A_JOBS_FAILED, 23),
	NUMBER(BITNET_A_JOBS_CANCELLED, 24),
	NUMBER(BITNET_A_PINNED_BYTES, 25),
	NUMBER(BITNET_A_KV_BYTES, 26),
	NUMBER(BITNET_A_CPU_NS, 27),
	NUMBER(BITNET_A_STEPS, 28),
	NUMBER(BITNET_A_SECTION_MAX_NS, 29),
	NUMBER(BITNET_A_JOB_KIND, 30),
	NUMBER(BITNET_A_ERROR, 31),
	NUMBER(BITNET_A_TIME_NS, 32),
	NUMBER(BITNET_A_FILE_ID, 33),
	NUMBER(BITNET_A_QUEUE_NS, 34),
	NUMBER(BITNET_A_LATE, 35),
	NUMBER(BITNET_A_REALTIME_TOKENS, 36),
	NUMBER(BITNET_A_MAX_SESSIONS, 37),
	NUMBER(BITNET_A_MAX_JOBS, 38),
	NUMBER(BITNET_A_MAX_KV_BYTES, 39),
	NUMBER(BITNET_A_MAX_PINNED_BYTES, 40),
	NUMBER(BITNET_A_CPUS, 41),
	NUMBER(BITNET_A_CPU, 42),
	NUMBER(BITNET_A_WORKER_PARKED, 43),
	NUMBER(BITNET_A_ONLINE, 44),
	NUMBER(BITNET_A_BATCH_FLOOR, 45),
	NUMBER(BITNET_A_THROTTLED_NS, 46),
	NUMBER(BITNET_A_LATE_NS, 47),
	NUMBER(BITNET_A_OWN_LIMITS, 48),
	NUMBER(BITNET_A_REALTIME_PPM, 49),
	NUMBER(BITNET_A_MAX_REALTIME_PPM, 50),
	NUMBER(BITNET_LIMIT_NONE, UINT64_MAX),
	NUMBER(BITNET_LIMIT_SESSIONS, 1),
	NUMBER(BITNET_LIMIT_JOBS, 2),
	NUMBER(BITNET_LIMIT_KV_BYTES, 4),
	NUMBER(BITNET_LIMIT_PINNED_BYTES, 8),
	NUMBER(BITNET_LIMIT_REALTIME_PPM, 16),
	NUMBER(BITNET_IMAGE_VERSION, 4),
	NUMBER(BITNET_IMAGE_ALIGN, 64),
	NUMBER(BITNET_IMAGE_PAGE, 4096),
	NUMBER(BITNET_ACT_RELU2, 0),
	NUMBER(BITNET_ACT_SILU, 1),
	NUMBER(BITNET_IMAGE_F_SUB_NORMS, 1),
	NUMBER(BITNET_IMAGE_F_TIED, 2),
	NUMBER(BITNET_IMAGE_F_T1, 4),
	NUMBER(BITNET_IMAGE_FMT_F32, 1),
	NUMBER(BITNET_IMAGE_FMT_F64, 3),
	NUMBER(BITNET_IMAGE_FMT_T2, 4),
	NUMBER(BITNET_IMAGE_FMT_T1, 5),
	NUMBER(BITNET_IMAGE_FMT_T2_COLUMNS, 6),
	NUMBER(BITNET_IMAGE_FMT_T1_COLUMNS, 7),
	NUMBER(BITNET_IMAGE_FMT_HIGH6, 9),
	NUMBER(BITNET_IMAGE_FMT_LOW10, 10),
	NUMBER(BITNET_ROLE_TOKEN_EMBD, 0),
	NUMBER(BITNET_ROLE_OUTPUT, 1),
	NUMBER(BITNET_ROLE_OUTPUT_NORM, 2),
	NUMBER(BITNET_ROLE_ROPE_FREQ, 3),
	NUMBER(BITNET_ROLE_TOKEN_EMBD_LOW, 4),
	NUMBER(BITNET_ROLE_TOKEN_EMBD_SCALE, 5),
	NUMBER(BITNET_ROLE_OUTPUT_LOW, 6),
	NUMBER(BITNET_ROLE_OUTPUT_SCALE, 7),
	NUMBER(BITNET_ROLE_LAYER, 8),
	NUMBER(BITNET_ROLE_ATTN_Q, 8),
	NUMBER(BITNET_ROLE_ATTN_K, 9),
	NUMBER(BITNET_ROLE_ATTN_V, 10),
	NUMBER(BITNET_ROLE_ATTN_OUT, 11),
	NUMBER(BITNET_ROLE_FFN_GATE, 12),
	NUMBER(BITNET_ROLE_FFN_UP, 13),
	NUMBER(BITNET_ROLE_FFN_DOWN, 14),
	NUMBER(BITNET_ROLE_ATTN_NORM, 15),
	NUMBER(BITNET_ROLE_ATTN_SUB_NORM, 16),
	NUMBER(BITNET_ROLE_FFN_NORM, 17),
	NUMBER(BITNET_ROLE_FFN_SUB_NORM, 18),
	NUMBER(BITNET_ROLE_COUNT, 19),
};
#define N_NUMBERS	(sizeof(numbers) / sizeof(numbers[0]))

/* Walks one struct of the table from item @i on; the fields must cover it without a gap. */
static size_t check_struct(size_t i)
{
	const struct item *type = &items[i];
	size_t end = 0, holes = 0;

	for (i++; i < N_ITEMS && items[i].field; i++) {
		if (items[i].offset != end) {
			diag("%s: bytes %zu to %zu before %s belong to no field", type->type, end,
			       items[i].offset, items[i].field);
			holes++;
		}
		end = items[i].offset + items[i].bytes;
	}
	ok(!holes && end == type->bytes, "struct %s: %zu bytes, no holes", type->type,
	     type->bytes);
	return i;
}

int main(void)
{
	size_t i, wrong = 0;

	for (i = 0; i < N_ITEMS;)
		i = check_struct(i);
	for (i = 0; i < N_NUMBERS; i++) {
		if (numbers[i].is == numbers[i].want)
			continue;
		diag("%s is %llu, was %llu", numbers[i].name, numbers[i].is, numbers[i].want);
		wrong++;
	}
	ok(!wrong, "%zu numbers are what they were", N_NUMBERS);
	ok(!strcmp(BITNET_DEVICE_PATH, "/dev/bitnet") && !strcmp(BITNET_GENL_NAME, "bitnet") &&
	     !strcmp(BITNET_GENL_MCGRP_EVENTS, "events") && !strcmp(BITNET_IMAGE_MAGIC, "BITNETIM"),
	     "names are what they were");
	return done();
}

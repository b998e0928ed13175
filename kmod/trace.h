/* SPDX-License-Identifier: GPL-2.0 */
/*
 * trace.h - tracepoints: when things happen and how long they take; no tokens, no text, no
 * addresses
 *
 * perf and bpftrace scripts of users depend on the names of events and fields: fields are added at
 * the end, never renamed. kmod/README.md documents them; tests/cli/trace.sh compares the two.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM bitnet

#if !defined(BITNET_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define BITNET_TRACE_H

#include <linux/tracepoint.h>

#include "bitnet.h"

#define BITNET_COST_LAYER	0	/* @what in bitnet_sched_cost: arrays of struct bn_costs */
#define BITNET_COST_LAYERS	1
#define BITNET_COST_HEAD	2
#define BITNET_COST_USUAL	3

TRACE_EVENT(bitnet_job_submit,
	TP_PROTO(const struct bitnet_kjob *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u32, kind)
		__field(u32, job_class)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->kind = job->kind;
		__entry->job_class = job->job_class;
	),
	TP_printk("file=%llu job=%llu kind=%u job_class=%u", __entry->file, __entry->job,
		  __entry->kind, __entry->job_class)
);

TRACE_EVENT(bitnet_job_start,
	TP_PROTO(const struct bitnet_kjob *job, u64 queue_ns),
	TP_ARGS(job, queue_ns),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u64, queue_ns)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->queue_ns = queue_ns;
	),
	TP_printk("file=%llu job=%llu queue_ns=%llu", __entry->file, __entry->job,
		  __entry->queue_ns)
);

TRACE_EVENT(bitnet_job_done,
	TP_PROTO(const struct bitnet_kjob *job, int error),
	TP_ARGS(job, error),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u64, cpu_ns)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->cpu_ns = job->cpu_ns;
		__entry->error = error;
	),
	TP_printk("file=%llu job=%llu cpu_ns=%llu error=%d", __entry->file, __entry->job,
		  __entry->cpu_ns, __entry->error)
);

TRACE_EVENT(bitnet_token,
	TP_PROTO(const struct bitnet_kjob *job, u32 index, u64 latency_ns),
	TP_ARGS(job, index, latency_ns),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u64, latency_ns)
		__field(u32, index)
		__field(u32, job_class)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->latency_ns = latency_ns;
		__entry->index = index;
		__entry->job_class = job->job_class;
	),
	TP_printk("file=%llu job=%llu index=%u latency_ns=%llu job_class=%u", __entry->file,
		  __entry->job, __entry->index, __entry->latency_ns, __entry->job_class)
);

TRACE_EVENT(bitnet_step,
	TP_PROTO(u32 jobs, u32 rows, u64 wall_ns, u64 cpu_ns),
	TP_ARGS(jobs, rows, wall_ns, cpu_ns),
	TP_STRUCT__entry(
		__field(u64, wall_ns)
		__field(u64, cpu_ns)
		__field(u32, jobs)
		__field(u32, rows)
	),
	TP_fast_assign(
		__entry->wall_ns = wall_ns;
		__entry->cpu_ns = cpu_ns;
		__entry->jobs = jobs;
		__entry->rows = rows;
	),
	TP_printk("jobs=%u rows=%u wall_ns=%llu cpu_ns=%llu", __entry->jobs, __entry->rows,
		  __entry->wall_ns, __entry->cpu_ns)
);

TRACE_EVENT(bitnet_admit,
	TP_PROTO(const struct bitnet_kjob *job, u32 verdict, u32 load_ppm, u64 step_ns, u64 now_ns,
		 u64 piece_ns, u64 busy_ns),
	TP_ARGS(job, verdict, load_ppm, step_ns, now_ns, piece_ns, busy_ns),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, period_ns)
		__field(u64, step_ns)
		__field(u32, load_ppm)
		__field(u32, verdict)
		__field(u64, now_ns)
		__field(u64, first_ns)
		__field(u64, piece_ns)
		__field(u64, busy_ns)
		__field(u32, wants)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->period_ns = job->period_ns;
		__entry->step_ns = step_ns;
		__entry->load_ppm = load_ppm;
		__entry->verdict = verdict;
		__entry->now_ns = now_ns;
		__entry->first_ns = job->first_token_ns;
		__entry->piece_ns = piece_ns;
		__entry->busy_ns = busy_ns;
		__entry->wants = bn_job_wants(&job->core);
	),
	TP_printk("file=%llu period_ns=%llu step_ns=%llu load_ppm=%u verdict=%u now_ns=%llu first_ns=%llu piece_ns=%llu busy_ns=%llu wants=%u",
		  __entry->file, __entry->period_ns, __entry->step_ns, __entry->load_ppm,
		  __entry->verdict, __entry->now_ns, __entry->first_ns, __entry->piece_ns,
		  __entry->busy_ns, __entry->wants)
);

DECLARE_EVENT_CLASS(bitnet_step_change,
	TP_PROTO(u32 rank, u32 layer, u32 rows),
	TP_ARGS(rank, layer, rows),
	TP_STRUCT__entry(
		__field(u32, rank)
		__field(u32, layer)
		__field(u32, rows)
	),
	TP_fast_assign(
		__entry->rank = rank;
		__entry->layer = layer;
		__entry->rows = rows;
	),
	TP_printk("rank=%u layer=%u rows=%u", __entry->rank, __entry->layer, __entry->rows)
);

DEFINE_EVENT(bitnet_step_change, bitnet_step_start,
	TP_PROTO(u32 rank, u32 layer, u32 rows),
	TP_ARGS(rank, layer, rows)
);

DEFINE_EVENT(bitnet_step_change, bitnet_step_yield,
	TP_PROTO(u32 rank, u32 layer, u32 rows),
	TP_ARGS(rank, layer, rows)
);

DEFINE_EVENT(bitnet_step_change, bitnet_step_resume,
	TP_PROTO(u32 rank, u32 layer, u32 rows),
	TP_ARGS(rank, layer, rows)
);

/*
 * What the policy has been told and what it has decided, in the order in which it was: all of it
 * under bitnet.lock. tests/device/replay.c decides again.
 */
TRACE_EVENT(bitnet_sched_ready,
	TP_PROTO(const struct bitnet_kjob *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u64, user)
		__field(u64, user_ns)
		__field(u64, file_ns)
		__field(u64, release_ns)
		__field(u64, due_ns)
		__field(u32, kind)
		__field(u32, job_class)
		__field(u32, wants)
		__field(u32, decoding)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->user = job->file->user->id;
		__entry->user_ns = job->file->user->attained_ns;
		__entry->file_ns = job->file->attained_ns;
		__entry->release_ns = job->release_ns;
		__entry->due_ns = job->due_ns;
		__entry->kind = job->kind;
		__entry->job_class = job->job_class;
		__entry->wants = job->kind == BITNET_JOB_LINEAR ? job->linear.rows :
								  bn_job_wants(&job->core);
		__entry->decoding = job->kind != BITNET_JOB_LINEAR && bn_job_decoding(&job->core);
	),
	TP_printk("file=%llu job=%llu user=%llu user_ns=%llu file_ns=%llu release_ns=%llu due_ns=%llu kind=%u job_class=%u wants=%u decoding=%u",
		  __entry->file, __entry->job, __entry->user, __entry->user_ns, __entry->file_ns,
		  __entry->release_ns, __entry->due_ns, __entry->kind, __entry->job_class,
		  __entry->wants, __entry->decoding)
);

TRACE_EVENT(bitnet_sched_park,
	TP_PROTO(const struct bitnet_kjob *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
	),
	TP_printk("file=%llu job=%llu", __entry->file, __entry->job)
);

TRACE_EVENT(bitnet_sched_cost,
	TP_PROTO(u32 what, u32 rows, u64 ns),
	TP_ARGS(what, rows, ns),
	TP_STRUCT__entry(
		__field(u64, ns)
		__field(u32, what)
		__field(u32, rows)
	),
	TP_fast_assign(
		__entry->ns = ns;
		__entry->what = what;
		__entry->rows = rows;
	),
	TP_printk("what=%u rows=%u ns=%llu", __entry->what, __entry->rows, __entry->ns)
);

TRACE_EVENT(bitnet_sched_charge,
	TP_PROTO(const struct bitnet_kjob *job, u64 ns),
	TP_ARGS(job, ns),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->ns = ns;
	),
	TP_printk("file=%llu job=%llu ns=%llu", __entry->file, __entry->job, __entry->ns)
);

TRACE_EVENT(bitnet_sched_account,
	TP_PROTO(u64 now_ns, u64 ns, u64 owed_ns),
	TP_ARGS(now_ns, ns, owed_ns),
	TP_STRUCT__entry(
		__field(u64, now_ns)
		__field(u64, ns)
		__field(u64, owed_ns)
	),
	TP_fast_assign(
		__entry->now_ns = now_ns;
		__entry->ns = ns;
		__entry->owed_ns = owed_ns;
	),
	TP_printk("now_ns=%llu ns=%llu owed_ns=%llu", __entry->now_ns, __entry->ns,
		  __entry->owed_ns)
);

TRACE_EVENT(bitnet_sched_layer,
	TP_PROTO(u64 now_ns, u32 layer, u32 yields),
	TP_ARGS(now_ns, layer, yields),
	TP_STRUCT__entry(
		__field(u64, now_ns)
		__field(u32, layer)
		__field(u32, yields)
	),
	TP_fast_assign(
		__entry->now_ns = now_ns;
		__entry->layer = layer;
		__entry->yields = yields;
	),
	TP_printk("now_ns=%llu layer=%u yields=%u", __entry->now_ns, __entry->layer,
		  __entry->yields)
);

TRACE_EVENT(bitnet_sched_plan,
	TP_PROTO(u64 now_ns, u32 resumed, u32 claim, u32 jobs),
	TP_ARGS(now_ns, resumed, claim, jobs),
	TP_STRUCT__entry(
		__field(u64, now_ns)
		__field(u32, resumed)
		__field(u32, claim)
		__field(u32, jobs)
	),
	TP_fast_assign(
		__entry->now_ns = now_ns;
		__entry->resumed = resumed;
		__entry->claim = claim;
		__entry->jobs = jobs;
	),
	TP_printk("now_ns=%llu resumed=%u claim=%u jobs=%u", __entry->now_ns, __entry->resumed,
		  __entry->claim, __entry->jobs)
);

TRACE_EVENT(bitnet_sched_grant,
	TP_PROTO(const struct bitnet_kjob *job, u32 rows),
	TP_ARGS(job, rows),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, job)
		__field(u32, rows)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->rows = rows;
	),
	TP_printk("file=%llu job=%llu rows=%u", __entry->file, __entry->job, __entry->rows)
);

TRACE_EVENT(bitnet_section_overrun,
	TP_PROTO(u64 ns),
	TP_ARGS(ns),
	TP_STRUCT__entry(
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->ns = ns;
	),
	TP_printk("ns=%llu", __entry->ns)
);

#endif /* BITNET_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

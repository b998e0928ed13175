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
	TP_PROTO(const struct bitnet_kjob *job, u32 verdict, u32 load_ppm, u64 step_ns),
	TP_ARGS(job, verdict, load_ppm, step_ns),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, period_ns)
		__field(u64, step_ns)
		__field(u32, load_ppm)
		__field(u32, verdict)
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->period_ns = job->period_ns;
		__entry->step_ns = step_ns;
		__entry->load_ppm = load_ppm;
		__entry->verdict = verdict;
	),
	TP_printk("file=%llu period_ns=%llu step_ns=%llu load_ppm=%u verdict=%u", __entry->file,
		  __entry->period_ns, __entry->step_ns, __entry->load_ppm, __entry->verdict)
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

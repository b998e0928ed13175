/* SPDX-License-Identifier: GPL-2.0 */
/*
 * trace.h - tracepoints: when things happen and how long they take; no tokens, no text, no
 * addresses
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
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->kind = job->kind;
	),
	TP_printk("file=%llu job=%llu kind=%u", __entry->file, __entry->job, __entry->kind)
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
	),
	TP_fast_assign(
		__entry->file = job->file->id;
		__entry->job = job->arrival;
		__entry->latency_ns = latency_ns;
		__entry->index = index;
	),
	TP_printk("file=%llu job=%llu index=%u latency_ns=%llu", __entry->file, __entry->job,
		  __entry->index, __entry->latency_ns)
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

// SPDX-License-Identifier: GPL-2.0
/*
 * fpu.c - the only kernel_fpu_begin/end pair, and the loop that cuts tiles into sections
 *
 * Inside a section there is nothing but the engine: no lock, no sleep, no user memory. Its length
 * is bounded by the engine (BN_SECTION_BYTES) and measured here.
 */
#include <linux/ktime.h>
#include <linux/sched.h>

#include <asm/fpu/api.h>

#include "bitnet.h"
#include "trace.h"

/* INVARIANTS: one section covers at most this many bytes of weights. */
static_assert(BN_SECTION_BYTES <= 65536);

/** bitnet_fpu_begin() - start a section. No sleeping until bitnet_fpu_end() */
void bitnet_fpu_begin(void)
{
	kernel_fpu_begin();
}

/** bitnet_fpu_end() - end a section; nothing stays in the vector registers */
void bitnet_fpu_end(const struct bn_ops *ops)
{
	ops->clear();
	kernel_fpu_end();
}

static void section_count(struct bitnet_worker *worker, u64 ns)
{
	u32 bucket = bitnet_bucket(ns);

	WRITE_ONCE(worker->sections[bucket], worker->sections[bucket] + 1);
	if (ns > worker->section_max_ns)
		WRITE_ONCE(worker->section_max_ns, ns);
	if (ns > BITNET_SECTION_GOAL_NS)
		trace_bitnet_section_overrun(ns);
}

/**
 * bitnet_fpu_tile() - compute a tile, section by section
 * @worker:	the calling worker
 * @step:	the step in flight
 * @phase:	its phase that is open
 * @tile:	claimed by the caller
 * @stop:	looked at between sections; when not 0 the tile is left unfinished
 * @ns:		out: time spent in sections
 *
 * Return: true if the tile is finished.
 */
bool bitnet_fpu_tile(struct bitnet_worker *worker, struct bn_step *step, u32 phase, u32 tile,
		     const u32 *stop, u64 *ns)
{
	u32 cursor = 0;
	bool more;

	*ns = 0;
	do {
		u64 start, length;

		if (READ_ONCE(*stop))
			return false;
		bitnet_fpu_begin();
		start = ktime_get_ns();
		more = bn_step_tile(step, phase, tile, &cursor, worker->buffer);
		length = ktime_get_ns() - start;
		bitnet_fpu_end(step->ops);

		section_count(worker, length);
		*ns += length;
		cond_resched_tasks_rcu_qs();
	} while (more);
	return true;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * fpu.c - the only kernel_fpu_begin/end pair, and the loop that cuts tiles into sections
 *
 * Inside a section there is nothing but the engine: no lock, no sleep, no user memory. Its length
 * is bounded by the engine (BN_SECTION_BYTES) and measured here.
 */
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#ifdef CONFIG_UML
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/math64.h>

#include <asm/cpufeature.h>
#endif

#include <asm/fpu/api.h>

#include "bitnet.h"
#include "trace.h"

/* INVARIANTS: one section covers at most this many bytes of weights. */
static_assert(BN_SECTION_BYTES <= 65536);

/* Sections in callers' threads, by the CPU that they ended on. Workers have their own records. */
static DEFINE_PER_CPU(struct bitnet_sections, inline_sections);
static DEFINE_PER_CPU(unsigned long, told_rcu);	/* jiffies */

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

/*
 * The clock of sections is the kernel's for what happens on one CPU. It reads a counter and goes
 * on; ktime_get() first waits for all loads, and until the next section's are under way, memory has
 * nothing to do: 3 % of decoding.
 */
#ifdef CONFIG_UML
#define TICK_SHIFT	22
#define CALIBRATION_MS	5

/* There, the kernel's counts jiffies: the host's counter, if it always runs at one rate; or 0 */
static u32 ns_per_tick __ro_after_init;

static u64 clock_ns(void)
{
	return ns_per_tick ? mul_u64_u32_shr(__builtin_ia32_rdtsc(), ns_per_tick, TICK_SHIFT) :
			     ktime_get_ns();
}

/** bitnet_fpu_init() - find out what the clock needs */
void __init bitnet_fpu_init(void)
{
	u64 ns, ticks;

	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC) || !boot_cpu_has(X86_FEATURE_NONSTOP_TSC))
		return;
	ns = ktime_get_ns();
	ticks = __builtin_ia32_rdtsc();
	mdelay(CALIBRATION_MS);
	ns = ktime_get_ns() - ns;
	ticks = __builtin_ia32_rdtsc() - ticks;
	ns_per_tick = div64_u64(ns << TICK_SHIFT, ticks);
}
#else
static u64 clock_ns(void)
{
	return sched_clock_cpu(raw_smp_processor_id());
}

/** bitnet_fpu_init() - nothing to do */
void __init bitnet_fpu_init(void)
{
}
#endif

static u32 section_bucket(u64 ns)
{
	u32 shift = ilog2(ns | 8) - 3;

	return min_t(u64, shift * 8 + (ns >> shift), BITNET_SECTION_BUCKETS - 1);
}

/** bitnet_section_bucket_ns() - the shortest section that is counted in @bucket */
u64 bitnet_section_bucket_ns(u32 bucket)
{
	return bucket < 16 ? bucket : (8 + bucket % 8ULL) << (bucket / 8 - 1);
}

static void section_count(struct bitnet_sections *sections, u64 ns)
{
	u32 bucket = section_bucket(ns);

	WRITE_ONCE(sections->count[bucket], sections->count[bucket] + 1);
	if (ns > sections->max_ns)
		WRITE_ONCE(sections->max_ns, ns);
	if (ns > BITNET_SECTION_GOAL_NS)
		trace_bitnet_section_overrun(ns);
}

/*
 * Lets others run, and tells RCU that this CPU is not reading. On preemptible kernels that is not
 * told by rescheduling, but by softirqs, or by a thread of RCU's own, and both may have to wait for
 * a SCHED_FIFO worker, or caller of RUN, that always has something to compute: grace periods would
 * not end. Thus it is told here, once in a tick.
 */
static void between_sections(void)
{
	unsigned long now = jiffies;

	if (this_cpu_read(told_rcu) != now) {
		this_cpu_write(told_rcu, now);
		preempt_disable();
		rcu_momentary_eqs();
		preempt_enable();
	}
	cond_resched_tasks_rcu_qs();
}

static unsigned long switches(void)
{
	return current->nvcsw + current->nivcsw;
}

/* Has nothing but interrupts run on this CPU since @clock was read? */
static bool is_now(const struct bitnet_clock *clock)
{
	return clock->ns && !clock->stale && clock->switches == switches();
}

/*
 * Computes a piece of a tile in a section of its own, which begins where the one before it ended:
 * a clock read for each, not two.
 *
 * @clock:	of the end of the section before; out: of this one's
 * @ns:		out: length of the section
 *
 * Return: true if the tile has another piece.
 */
static bool piece(struct bn_step *step, u32 phase, u32 tile, u32 *cursor, void *buffer,
		  struct bitnet_clock *clock, u64 *ns)
{
	u64 start;
	bool more;

	bitnet_fpu_begin();
	start = is_now(clock) ? clock->ns : clock_ns();
	more = bn_step_tile(step, phase, tile, cursor, buffer);
	clock->ns = clock_ns();
	clock->switches = switches();
	/* Softirqs that had to wait for this section are no part of the next one. */
	clock->stale = local_softirq_pending();
	*ns = clock->ns - start;
	bitnet_fpu_end(step->ops);
	return more;
}

/**
 * bitnet_fpu_tile() - compute a tile, section by section
 * @worker:	the calling worker
 * @step:	the step in flight
 * @phase:	its phase that is open
 * @tile:	claimed by the caller
 * @stop:	looked at between sections; when not 0 the tile is left unfinished
 * @ns:		out: time spent in sections
 * @lost_ns:	out: time from the first section's start that was not spent in any
 *
 * Return: true if the tile is finished.
 */
bool bitnet_fpu_tile(struct bitnet_worker *worker, struct bn_step *step, u32 phase, u32 tile,
		     const u32 *stop, u64 *ns, u64 *lost_ns)
{
	struct bitnet_clock *clock = &worker->clock;
	u64 length, start = 0, end;
	u32 cursor = 0;
	bool more = true;

	*ns = 0;
	while (more && !READ_ONCE(*stop)) {
		more = piece(step, phase, tile, &cursor, worker->buffer, clock, &length);
		if (!start)
			start = clock->ns - length;
		section_count(&worker->sections, length);
		*ns += length;
		between_sections();
	}
	end = is_now(clock) ? clock->ns : clock_ns();
	/* Clocks of two CPUs may differ, where one went offline meanwhile. */
	*lost_ns = start && end > start + *ns ? end - start - *ns : 0;
	return !more;
}

/**
 * bitnet_fpu_piece_inline() - one section of a tile, in a thread that is not a worker
 * @step:	of the caller alone
 * @phase:	all tiles of those before it are done
 * @tile:	of @phase
 * @cursor:	0 at the tile's first piece
 * @buffer:	BN_TILE_BYTES
 * @clock:	0 at the step's first piece
 * @ns:		out: length of the section
 *
 * Context: sleeps afterwards, if it is time to. Return: true if the tile has another piece.
 */
bool bitnet_fpu_piece_inline(struct bn_step *step, u32 phase, u32 tile, u32 *cursor, void *buffer,
			     struct bitnet_clock *clock, u64 *ns)
{
	bool more = piece(step, phase, tile, cursor, buffer, clock, ns);

	/* Whoever is on this CPU is its one writer, without preemption. */
	section_count(get_cpu_ptr(&inline_sections), *ns);
	put_cpu_ptr(&inline_sections);
	between_sections();
	return more;
}

/**
 * bitnet_sections_add() - add up what was counted
 * @from:	may be written meanwhile
 * @buckets:	BITNET_SECTION_BUCKETS, added to; NULL: not wanted
 * @max_ns:	raised to the longest
 */
void bitnet_sections_add(const struct bitnet_sections *from, u64 *buckets, u64 *max_ns)
{
	*max_ns = max(*max_ns, READ_ONCE(from->max_ns));
	for (int i = 0; buckets && i < BITNET_SECTION_BUCKETS; i++)
		buckets[i] += READ_ONCE(from->count[i]);
}

/** bitnet_sections_inline() - the same, for all sections in threads that are not workers */
void bitnet_sections_inline(u64 *buckets, u64 *max_ns)
{
	int cpu;

	for_each_possible_cpu(cpu)
		bitnet_sections_add(per_cpu_ptr(&inline_sections, cpu), buckets, max_ns);
}

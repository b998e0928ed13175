// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_work.c - handing out tiles: one atomic add for each
 *
 * Ordering. What a tile computes must be seen by every tile of the next phase, whoever runs it:
 *
 *   worker A: tile's stores; add(done, 1) RELEASE
 *   last one: add(done, 1) ACQUIRE;  done = 0;  next = {phase + 1, 0} RELEASE
 *   worker B: add(next, 1) ACQUIRE;  the next phase's tile
 *
 * Adds to @next in between are read-modify-writes, which continue the release sequence of the
 * store.
 */
#include "bn_work.h"

static u64 first_of(u32 phase)
{
	return (u64)phase << 32;
}

void bn_work_start(struct bn_work *w, const struct bn_step *s, u32 phase, u32 until)
{
	w->step = s;
	w->until = until;
	__atomic_store_n(&w->stop, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&w->done, 0, __ATOMIC_RELAXED);
	/* Pairs with the acquires in bn_work_claim(); the caller publishes @w itself. */
	__atomic_store_n(&w->next, first_of(phase), __ATOMIC_RELEASE);
}

void bn_work_extend(struct bn_work *w, u32 until)
{
	u32 phase = bn_work_phase(w) & ~BN_WORK_PAUSED;

	w->until = until;
	/* Adds of late claimers went to the word with the mark: no tile of the phase is lost. */
	__atomic_store_n(&w->next, first_of(phase), __ATOMIC_RELEASE);
}

/* BN_CLAIM_TILE if @seen has a tile */
static enum bn_claim look(const struct bn_step *s, u64 seen)
{
	u32 phase = (u32)(seen >> 32);

	if (phase & BN_WORK_PAUSED)
		return BN_CLAIM_WAIT;
	if (phase >= s->n_phases)
		return BN_CLAIM_END;
	return (u32)seen < bn_step_tiles(s, phase) ? BN_CLAIM_TILE : BN_CLAIM_WAIT;
}

enum bn_claim bn_work_claim(struct bn_work *w, u32 *phase, u32 *tile)
{
	const struct bn_step *s = w->step;
	u64 seen = __atomic_load_n(&w->next, __ATOMIC_ACQUIRE);
	enum bn_claim claim;

	if (__atomic_load_n(&w->stop, __ATOMIC_RELAXED))
		return BN_CLAIM_END;
	/*
	 * Look before adding: who waits for others polls here, and must neither carry into the
	 * phase nor take the cache line from those who work.
	 */
	claim = look(s, seen);
	if (claim != BN_CLAIM_TILE)
		return claim;

	/* Pairs with the release in bn_work_done(). May find a later phase than the look did. */
	seen = __atomic_fetch_add(&w->next, 1, __ATOMIC_ACQUIRE);
	*phase = (u32)(seen >> 32);
	*tile = (u32)seen;
	return look(s, seen);
}

enum bn_done bn_work_done(struct bn_work *w, u32 phase)
{
	const struct bn_step *s = w->step;
	u32 tiles = bn_step_tiles(s, phase), next = phase + 1;
	/* Read before the add: once the last tile is done, @s may belong to the next step. */
	enum bn_done done = next == s->n_phases ? BN_DONE_STEP :
			    next == w->until ? BN_DONE_PAUSED : BN_DONE_MORE;

	if (__atomic_fetch_add(&w->done, 1, __ATOMIC_ACQ_REL) + 1 != tiles)
		return BN_DONE_MORE;
	__atomic_store_n(&w->done, 0, __ATOMIC_RELAXED);
	if (done == BN_DONE_PAUSED)
		next |= BN_WORK_PAUSED;
	/*
	 * A plain store loses the adds of those who looked before the phase was used up; they found
	 * no tile then, so nothing is lost.
	 */
	__atomic_store_n(&w->next, first_of(next), __ATOMIC_RELEASE);
	return done;
}

u32 bn_work_phase(const struct bn_work *w)
{
	return (u32)(__atomic_load_n(&w->next, __ATOMIC_ACQUIRE) >> 32);
}

void bn_work_stop(struct bn_work *w)
{
	__atomic_store_n(&w->stop, 1, __ATOMIC_RELAXED);
}

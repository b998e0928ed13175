// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bn_head.c - from the last hidden row to logits: all of them, or those that can matter
 *
 * A row of the head is scale * (1024 * high + low - 32768). Its logit is head_full() of struct
 * bn_ops, with both planes. Who takes the likeliest token, or draws from the k likeliest, need not
 * know all logits: the step reads the high plane alone (BN_PHASE_HEAD), 6 bits of 16, which gives
 * each logit up to a known error; from what k logits are at least, a threshold follows, and a
 * better one from these k logits themselves (BN_PHASE_SELECT); and of the rows that may reach it,
 * both planes are read (BN_PHASE_REFINE). Logits below the threshold become -inf. The token chosen
 * is the one that all exact logits would give, by proof and not by chance.
 *
 * The error. Let h be the hidden row of n elements, L = sum |h|, H its Euclidean norm, u = 2^-24, s
 * a row's scale, q the integers of head_quantize() and S their step (*step = 256 * S). In real
 * numbers,
 *
 *	logit - approximation = s * (sum of h * (low - 512) +
 *				     256 * sum of (h - S * q) * (4 * high - 126)).
 *
 * By Cauchy-Schwarz, the first sum is at most H * |low - 512|, and the image has for each row
 * error >= |s| * |low - 512|: some 0.7 of what L * 512 would be. |4 * high - 126| <= 128, and |h -
 * S * q| <= S / 2 but for the rounding of the factor, of the product and of S, which is 4 u |h| <=
 * 4 u * 32639 * S: together below 0.508 S. So it is at most
 *
 *	error * H + |s| * 256 * 128 * 0.508 * S * n.
 *
 * Rounding: the lane reduction adds up n / 16 products and then 4 times, each rounded once, of
 * terms whose magnitudes sum to at most (256 + 1) * 128 * W, where W = L + 0.508 * S * n bounds
 * both L and S * sum |q|. The product with s, the integer made float, its products with *step and
 * s, and "y - e" and "y + e" of head_lower() and head_pick() round once more each. As n / 16 <=
 * 2048, all of that is below (n / 16 + 16) * u * 32896 * W * |s|, of which second-order terms are a
 * part; and u * 32896 < 0.002. L and the square of H were added up with a relative error below (n /
 * 16 + 5) * u < 2^-12, and the rest is computed in a dozen operations: both numbers are made larger
 * by 2^-10. What is below the range of normal f32 is rounded by up to 2^-150, some times:
 * BN_HEAD_SLACK is much more than that, and of the squares nothing that counts if they are at least
 * LEAST_SQUARES.
 *
 * So |logit - y| <= e of struct bn_head_error, including the roundings of whoever adds or subtracts
 * it, if nothing overflows: the reduction cannot, as L <= MOST_L1, and where y is not finite,
 * nothing is taken for known. A logit that overflows though y does not is beyond the largest finite
 * number on the side where y + e (or y - e) is at least (at most) as far.
 *
 * The threshold T is such that k rows have y - e >= T, so their logits are >= T. The least of these
 * k logits is a better one, as e is added and subtracted no longer. A row with y + e < T has a
 * logit < T, less than those k: it is not among the k likeliest, whatever happens to ties. The
 * repetition penalty changes logits of recent tokens: those rows are always refined and are not
 * among the k that make T.
 *
 * Weights may change at any time, also between the phases, and an image may lie about its errors:
 * then tokens are wrong, but the threshold is just a number and the rows picked are at most all.
 */
#include "bn_float.h"
#include "bn_step_priv.h"

#define MOST_L1		0x1p60f
#define SELECT_PIECES	4		/* of BN_PHASE_SELECT, one for each byte of the threshold */
#define LEAST_SQUARES	0x1p-100f	/* elements far above what head_quantize() takes for 0 */

/* Memory between two statements of a piece */
struct head_buffer {
	u32 index[BN_VOCAB_BLOCK];
	float logits[BN_VOCAB_BLOCK];
	float saved[BN_MAX_RECENT];
	u32 histogram[256];
};

_Static_assert(sizeof(struct head_buffer) <= BN_TMP_BYTES, "head buffer");
_Static_assert(BN_VOCAB_BLOCK % BN_HEAD_ROWS == 0, "no rows are of two blocks");

static u32 min2(u32 a, u32 b)
{
	return a < b ? a : b;
}

static float *logits_of(const struct bn_step *s, u32 slot, u32 first)
{
	struct bn_scratch *sc = s->scratch;

	return sc->logits + (size_t)slot * sc->logits_stride + first;
}

static u32 block_rows(const struct bn_step *s, u32 block)
{
	return min2(s->model->vocab - block * BN_VOCAB_BLOCK, BN_VOCAB_BLOCK);
}

/* A product of rows from @first on with @slots slots; what is multiplied is the caller's */
static struct bn_head product(const struct bn_step *s, u32 slot, u32 slots, u32 first, u32 n)
{
	const struct bn_model *m = s->model;
	struct bn_scratch *sc = s->scratch;

	return (struct bn_head){
		.y = logits_of(s, slot, first), .y_stride = sc->logits_stride,
		.high = m->output.high + (size_t)first * bn_high_bytes(m->embd_pad),
		.low = m->output.low + (size_t)first * bn_low_bytes(m->embd_pad),
		.scale = m->output.scale + first, .n = n, .n_pad = m->embd_pad, .slots = slots,
		.streams = s->streams,
	};
}

/* From the first to the last row wanted, which are looked up together */
static void look_up(const struct bn_step *s, const u8 **plane, size_t row_bytes,
		    const struct bn_head *p)
{
	size_t first = p->index ? p->index[0] * row_bytes : 0;
	size_t end = ((p->index ? p->index[p->n - 1] : p->n - 1) + (size_t)1) * row_bytes;

	*plane = bn_weights_at(s->model, *plane + first, end - first) - first;
}

static void full_product(const struct bn_step *s, struct bn_head *p, u32 slot, void *tmp)
{
	struct bn_scratch *sc = s->scratch;

	look_up(s, &p->high, bn_high_bytes(p->n_pad), p);
	look_up(s, &p->low, bn_low_bytes(p->n_pad), p);
	p->x = sc->head_in + (size_t)slot * sc->x_stride;
	p->x_stride = sizeof(float) * sc->x_stride;
	p->tmp = tmp;
	s->ops->head_full(p);
}

static void top_product(const struct bn_step *s, struct bn_head *p, u32 slot, void *tmp)
{
	struct bn_scratch *sc = s->scratch;
	const size_t row_bytes = bn_high_bytes(p->n_pad);

	for (u32 k = 0; p->apart && k < BN_PARTS; k++)
		p->part[k] = bn_weights_at(s->model, p->high + k * p->apart * row_bytes,
					   p->n / BN_PARTS * row_bytes);
	if (!p->apart)
		look_up(s, &p->high, row_bytes, p);
	p->x = sc->head_q + (size_t)slot * sc->head_q_stride;
	p->x_stride = sc->head_q_stride;
	p->step = sc->head_step + slot;
	p->tmp = tmp;
	s->ops->head_top(p);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

/* So many of the likeliest tokens decide; 0: all */
static u32 wanted_rank(const struct bn_step *s, u32 slot)
{
	const struct bn_sampler *sampler = &s->samplers[slot];
	const struct bn_sampler_params *p = sampler->params;

	if (sampler->all_logits || sampler->force != BN_SAMPLE)
		return 0;
	return p->temperature_ppm ? p->top_k : 1;
}

/* What |scale| counts in the error of a logit, as proven above */
static float per_scale(float l1, float step, u32 n)
{
	float count = (float)n, s = step * (1.0f / 256), w = l1 + 0.508f * s * count;
	float rounding = (count * (1.0f / BN_LANES) + 16.0f) * 0.002f * w;

	return (256.0f * 128.0f * 0.508f * s * count + rounding) * (1.0f + 0x1p-10f);
}

/*
 * After the norm: are approximate logits of use for this slot? The k-th largest of the maxima of
 * BN_HEAD_ROWS rows each is the threshold, so there must be k of them; with nearly k of them it
 * would be far below the k-th largest logit.
 */
void bn_head_prepare(struct bn_step *s, u32 slot)
{
	struct bn_scratch *sc = s->scratch;
	struct bn_head_slot *h = &sc->head[slot];
	u32 rank = wanted_rank(s, slot);
	struct bn_head_norms norms;

	memset(h, 0, sizeof(*h));
	h->threshold = -__builtin_inff();
	h->wanted = rank;
	if (!rank || rank > sc->n_lower - sc->n_lower / 4)
		return;
	s->ops->head_quantize(sc->head_q + (size_t)slot * sc->head_q_stride, &sc->head_step[slot],
			      &norms, sc->head_in + (size_t)slot * sc->x_stride,
			      s->model->embd_pad);
	h->per_scale = per_scale(norms.l1, sc->head_step[slot], s->model->embd_pad);
	h->per_error = bn_sqrt(norms.squares) * (1.0f + 0x1p-10f);
	/* Not if NaN. */
	h->certified = norms.l1 <= MOST_L1 && norms.squares >= LEAST_SQUARES;
}

/* ---- recent tokens --------------------------------------------------------------------------- */

/* Recent tokens whose logits will be changed by the penalty */
static u32 n_recent(const struct bn_sampler *sampler)
{
	return bn_sampler_penalizes(sampler->params) ? sampler->n_recent : 0;
}

/* Make the logits of recent tokens NaN: they do not count below, and are always picked. */
static void hide_recent(const struct bn_step *s, u32 slot, u32 first, u32 n, float *saved)
{
	const struct bn_sampler *sampler = &s->samplers[slot];
	float *logits = logits_of(s, slot, 0);

	for (u32 i = 0; i < n_recent(sampler); i++) {
		u32 token = sampler->recent[i];

		if (token - first < n) {
			saved[i] = logits[token];
			logits[token] = __builtin_nanf("");
		}
	}
}

static void restore_recent(const struct bn_step *s, u32 slot, u32 first, u32 n, const float *saved)
{
	const struct bn_sampler *sampler = &s->samplers[slot];
	float *logits = logits_of(s, slot, 0);

	for (u32 i = n_recent(sampler); i--; ) {
		u32 token = sampler->recent[i];

		if (token - first < n)
			logits[token] = saved[i];
	}
}

/* What is known of the errors of rows from @first on */
static struct bn_head_error error_of(const struct bn_step *s, u32 slot, u32 first)
{
	const struct bn_head_slot *h = &s->scratch->head[slot];
	const struct bn_embedding *rows = &s->model->output;

	return (struct bn_head_error){
		rows->scale + first, rows->error + first, h->per_scale, h->per_error,
	};
}

/* ---- products -------------------------------------------------------------------------------- */

/* The largest lower bounds of a block's rows, recent tokens left out */
static void block_lower(struct bn_step *s, u32 slot, u32 block, struct head_buffer *buf)
{
	struct bn_scratch *sc = s->scratch;
	u32 first = block * BN_VOCAB_BLOCK, n = block_rows(s, block);
	const struct bn_head_error e = error_of(s, slot, first);

	hide_recent(s, slot, first, n, buf->saved);
	s->ops->head_lower(sc->lower + (size_t)slot * sc->n_lower + first / BN_HEAD_ROWS,
			   logits_of(s, slot, first), &e, n);
	restore_recent(s, slot, first, n, buf->saved);
}

static bool any_full(const struct bn_step *s)
{
	for (u32 slot = 0; slot < s->n_slots; slot++)
		if (!s->scratch->head[slot].certified)
			return true;
	return false;
}

/* Are @n of @rows rows of a block, for one slot, to be taken from BN_PARTS parts of it at once? */
static bool in_parts(const struct bn_step *s, u32 rows, u32 n)
{
	return s->streams && s->n_slots == 1 && rows % BN_PARTS == 0 && n % BN_PARTS == 0;
}

/*
 * One block of the vocabulary for all slots: the logits, exact or not, row by row, so that each
 * plane is read once, unless a row with all slots is too much for a piece; then what the bounds of
 * each slot are.
 */
bool bn_head_logits(struct bn_step *s, u32 block, u32 *cursor, struct bn_tile_buffer *buffer)
{
	struct bn_scratch *sc = s->scratch;
	u32 first = block * BN_VOCAB_BLOCK, rows = block_rows(s, block), at = *cursor % rows;
	u32 slot = *cursor / rows * sc->head_slots, last = min2(slot + sc->head_slots, s->n_slots);
	u32 all = (s->n_slots + sc->head_slots - 1) / sc->head_slots * rows, n, end;

	if (*cursor >= all) {
		slot = *cursor - all;
		if (sc->head[slot].certified)
			block_lower(s, slot, block, (struct head_buffer *)buffer->tmp);
		*cursor += 1;
		return *cursor < all + s->n_slots;
	}
	n = min2(any_full(s) ? sc->full_rows : sc->head_rows, rows - at);
	for (; slot < last; slot = end) {
		bool certified = sc->head[slot].certified;
		struct bn_head p;

		for (end = slot + 1; end < last; end++)
			if (sc->head[end].certified != certified)
				break;
		if (certified && in_parts(s, rows, n)) {
			p = product(s, slot, 1, first + at / BN_PARTS, n);
			p.apart = rows / BN_PARTS;
		} else {
			p = product(s, slot, end - slot, first + at, n);
		}
		if (certified)
			top_product(s, &p, slot, buffer->tmp);
		else
			full_product(s, &p, slot, buffer->tmp);
	}
	buffer->weight_bytes += (u64)n * (any_full(s) ? 2 * s->model->embd_pad
						      : bn_high_bytes(s->model->embd_pad));
	*cursor += n;
	return true;
}

/* ---- the threshold --------------------------------------------------------------------------- */

/* Numbers in the order of the floats, which are no NaNs: as in bn_sampler.c */
static u32 key_of(float f)
{
	u32 bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

static float value_of(u32 key)
{
	u32 bits = key & 0x80000000U ? key & 0x7fffffffU : ~key;
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* The next byte of the threshold's key, the greatest first; pieces are numbered by @cursor. */
static bool select_byte(struct bn_step *s, u32 slot, u32 *cursor, u32 *histogram)
{
	struct bn_scratch *sc = s->scratch;
	struct bn_head_slot *h = &sc->head[slot];
	const float *lower = sc->lower + (size_t)slot * sc->n_lower;
	u32 shift = 24 - 8 * *cursor, byte = 255;

	memset(histogram, 0, 256 * sizeof(*histogram));
	for (u32 i = 0; i < sc->n_lower; i++) {
		u32 key = key_of(lower[i]);

		if (*cursor == 0 || key >> (shift + 8) == h->prefix >> (shift + 8))
			histogram[(key >> shift) & 255]++;
	}
	while (byte && histogram[byte] < h->wanted)
		h->wanted -= histogram[byte--];
	h->prefix |= byte << shift;
	*cursor += 1;
	if (shift)
		return true;
	h->threshold = value_of(h->prefix);
	return false;
}

/* The row of a group of BN_HEAD_ROWS that seems the best; no recent token */
static u32 best_row(const struct bn_step *s, u32 slot, u32 group, float *saved)
{
	u32 first = group * BN_HEAD_ROWS, n = min2(s->model->vocab - first, BN_HEAD_ROWS), best = 0;
	const float *y = logits_of(s, slot, first);
	float max = -__builtin_inff();

	hide_recent(s, slot, first, n, saved);
	for (u32 i = 0; i < n; i++) {
		if (y[i] > max) {
			max = y[i];
			best = i;
		}
	}
	restore_recent(s, slot, first, n, saved);
	return first + best;
}

/*
 * Of the groups whose lower bound reaches the threshold, from the @at'th on, the logits of one row
 * each, until there are as many as are wanted: the least of them is the better threshold. Any rows
 * would do, these make it a good one. Sets *@at behind the last group.
 */
static bool raise_threshold(struct bn_step *s, u32 slot, u32 *at, struct bn_tile_buffer *buffer)
{
	struct head_buffer *buf = (struct head_buffer *)buffer->tmp;
	struct bn_scratch *sc = s->scratch;
	struct bn_head_slot *h = &sc->head[slot];
	const float *lower = sc->lower + (size_t)slot * sc->n_lower;
	u32 most = min2(min2(sc->full_rows, BN_VOCAB_BLOCK), wanted_rank(s, slot) - h->found);
	struct bn_head p = product(s, slot, 1, 0, 0);

	for (; *at < sc->n_lower && p.n < most; *at += 1)
		if (lower[*at] >= h->threshold)
			buf->index[p.n++] = best_row(s, slot, *at, buf->saved);
	if (!p.n)
		return false;
	p.y = buf->logits;
	p.index = buf->index;
	full_product(s, &p, slot, NULL);
	buffer->weight_bytes += 2 * (u64)p.n * p.n_pad;
	for (u32 i = 0; i < p.n; i++) {
		float y = buf->logits[i];

		/* So that they are left, whatever the image says of errors */
		*logits_of(s, slot, buf->index[i]) = y;
		h->least = y < h->least ? y : h->least;
	}
	h->found += p.n;
	if (h->found < wanted_rank(s, slot))
		return true;
	h->threshold = h->least;
	return false;
}

/*
 * First the wanted-th largest of the lower bounds, in up to SELECT_PIECES pieces. If it is -inf,
 * nothing can be left out; the sampler then has the whole vocabulary before it, as it has with
 * exact logits. Then the better threshold; the cursor goes on with the groups.
 */
bool bn_head_select(struct bn_step *s, u32 slot, u32 *cursor, struct bn_tile_buffer *buffer)
{
	struct bn_scratch *sc = s->scratch;
	struct bn_head_slot *h = &sc->head[slot];
	struct head_buffer *buf = (struct head_buffer *)buffer->tmp;
	u32 at = *cursor - SELECT_PIECES;
	bool more;

	if (!h->certified)
		return false;
	if (*cursor >= SELECT_PIECES) {
		more = raise_threshold(s, slot, &at, buffer);
		*cursor = SELECT_PIECES + at;
		return more;
	}
	if (h->wanted > 1 || *cursor) {
		if (select_byte(s, slot, cursor, buf->histogram))
			return true;
	} else {
		h->threshold = s->ops->max_value(sc->lower + (size_t)slot * sc->n_lower,
						 sc->n_lower);
	}
	if (!(h->threshold > -__builtin_inff()))
		return false;
	s->samplers[slot].tokens = sc->tokens + (size_t)slot * BN_MAX_CANDIDATES;
	h->least = __builtin_inff();
	*cursor = SELECT_PIECES;
	return true;
}

/* ---- exact logits ---------------------------------------------------------------------------- */

/*
 * Refine rows of a block from row *@at on that may reach the threshold, as many as fit a piece.
 * Sets *@at behind the last one. Return: false if there are no more.
 */
static bool refine(struct bn_step *s, u32 slot, u32 block, u32 *at, struct bn_tile_buffer *buffer)
{
	struct head_buffer *buf = (struct head_buffer *)buffer->tmp;
	struct bn_scratch *sc = s->scratch;
	const struct bn_head_slot *h = &sc->head[slot];
	u32 first = block * BN_VOCAB_BLOCK, rows = block_rows(s, block);
	u32 most = min2(sc->full_rows, BN_VOCAB_BLOCK), n;
	const struct bn_head_error e = error_of(s, slot, first);
	float *logits = logits_of(s, slot, first);
	struct bn_head p = product(s, slot, 1, first, 0);

	hide_recent(s, slot, first, rows, buf->saved);
	n = s->ops->head_pick(buf->index, logits, &e, h->threshold, *at, rows, most);
	restore_recent(s, slot, first, rows, buf->saved);
	if (!n)
		return false;
	p.y = buf->logits;
	p.index = buf->index;
	p.n = n;
	full_product(s, &p, slot, NULL);
	buffer->weight_bytes += 2 * (u64)n * p.n_pad;
	for (u32 i = 0; i < n; i++)
		logits[buf->index[i]] = buf->logits[i];
	*at = buf->index[n - 1] + 1;
	return n == most && *at < rows;
}

static u64 block_hash(const float *logits, u32 first, u32 n)
{
	u64 hash = 0;

	for (u32 i = 0; i < n; i++) {
		u32 bits;

		memcpy(&bits, &logits[i], sizeof(bits));
		hash += bn_logits_hash(first + i, bits);
	}
	return hash;
}

/*
 * With the block's exact and approximate logits side by side: its statistics. Their sum of exp() is
 * off by what the approximate logits among them are off (see bn_sampler.h). Then those that cannot
 * matter go.
 */
static void block_end(struct bn_step *s, u32 slot, u32 block, struct head_buffer *buf)
{
	struct bn_scratch *sc = s->scratch;
	const struct bn_head_slot *h = &sc->head[slot];
	struct bn_block_stats *stats = &sc->blocks[(size_t)slot * sc->n_blocks + block];
	u32 first = block * BN_VOCAB_BLOCK, n = block_rows(s, block);
	float *logits = logits_of(s, slot, first);

	stats->max = s->ops->max_value(logits, n);
	stats->sum_exp = s->ops->sum_exp(logits, n, stats->max);
	stats->hash = s->samplers[slot].all_logits ? block_hash(logits, first, n) : 0;
	stats->left = n;
	if (!h->certified)
		return;
	hide_recent(s, slot, first, n, buf->saved);
	stats->left = s->ops->head_drop(logits, h->threshold, n);
	restore_recent(s, slot, first, n, buf->saved);
}

/* One block of the vocabulary, slot after slot; the cursor is the slot and the row in the block. */
bool bn_head_refine(struct bn_step *s, u32 block, u32 *cursor, struct bn_tile_buffer *buffer)
{
	u32 slot = *cursor / (BN_VOCAB_BLOCK + 1), at = *cursor % (BN_VOCAB_BLOCK + 1);
	bool more = false;

	if (s->scratch->head[slot].certified && at < block_rows(s, block))
		more = refine(s, slot, block, &at, buffer);
	if (more) {
		*cursor = slot * (BN_VOCAB_BLOCK + 1) + at;
		return true;
	}
	block_end(s, slot, block, (struct head_buffer *)buffer->tmp);
	*cursor = (slot + 1) * (BN_VOCAB_BLOCK + 1);
	return slot + 1 < s->n_slots;
}

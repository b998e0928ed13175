/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_ops.h - the operations that have one implementation per instruction set ("variant")
 *
 * Every variant gives the same bits as the scalar reference, bn_ops_ref.c, for all inputs including
 * NaN, infinities, denormals and the invalid weight code 3 of t2 (which acts as weight +2; bytes of
 * t1 that no weights make act as some weights). What makes that possible:
 *
 *   - integer sums are exact (and wrap, where nonsense in x_sum makes them overflow);
 *   - a float reduction of n elements uses BN_LANES partial sums, element i going to lane i % 16 in
 *     ascending order, and then the tree l[j] += l[j+8], l[j] += l[j+4], += l[j+2], += l[j+1];
 *   - max-reductions the same from -infinity, with max(a, b) = a > b ? a : b (as maxps: b when
 *     either is NaN, or both are zeros), b being the running value: l = max(x, l), then
 *     l[j] = max(l[j+8], l[j]) and so on, so that a NaN element is ignored;
 *   - an f32 result that is NaN is BN_F32_NAN, since which NaN an operation makes depends on the
 *     order of its operands, which compilers choose (f16 conversions have one operand: they keep
 *     the payload);
 *   - no contraction to FMA (-ffp-contract=off), no reassociation, IEEE division and square root,
 *     round to nearest even, denormals kept (MXCSR default);
 *   - one own exp, with a fixed sequence of operations: bn_exp().
 *
 * All buffers are 64-byte aligned with 64-byte multiples as strides, padding zero, unless said
 * otherwise. All functions need the FPU section (also the reference: it uses SSE2 floats), never
 * sleep, and take time proportional to their arguments; the caller bounds those.
 */
#ifndef BN_OPS_H
#define BN_OPS_H

#include "bn_types.h"

/* CPU features, as bits of a mask that glue or library fill in */
#define BN_CPU_AVX2		(1U << 0)	/* AVX2, F16C, and the OS saves ymm */
#define BN_CPU_AVXVNNI		(1U << 1)	/* AVX-VNNI (vpdpbusd, VEX) */
#define BN_CPU_AVX512VNNI	(1U << 2)	/* AVX512F, BW, VL, DQ, VNNI; the OS saves zmm */
#define BN_CPU_AVX512VBMI	(1U << 3)	/* AVX512-VBMI: vpermb */
#define BN_CPU_AMX		(1U << 4)	/* AMX-TILE, AMX-INT8; this process may use them */

#define BN_PARTS	4
#define BN_FETCH_LINES	2

/**
 * struct bn_product - what linear() and columns() of struct bn_ops compute
 * @y:		int32; row b at y + b * y_stride
 * @y_stride:	in elements; with @part, from the results of one to those of the next
 * @w:		first line of packed weights, 64-byte aligned
 * @line_bytes:	from one line to the next, a multiple of BN_BLOCK_BYTES
 * @blocks:	blocks of each line to compute with: linear() takes all of a line, that is
 *		@line_bytes / BN_BLOCK_BYTES; columns() those of some outputs
 * @list:	linear(): addresses of the lines wanted, in any order; NULL: one behind the other
 *		from @w on. The caller's own, trusted, as @index is
 * @index:	columns(): numbers of the lines wanted, ascending, or those of BN_PARTS parts in
 *		turns, of each ascending; NULL: 0 .. n-1
 * @part:	linear(), batch 1, no @list: if part[0] is set, @n is a multiple of BN_PARTS, and
 *		line BN_PARTS * i + k is the i'th from part[k] on, instead of from @w on, and what
 *		comes of it is element i behind y + k * y_stride: as many streams of memory, each
 *		long, are what it is read fastest by. More lines of each part may lie behind, and
 *		be prefetched
 * @n:		lines wanted, >= 1
 * @ahead:	further elements of @list or @index (or lines, where that is NULL) that the next
 *		call will ask for: may be prefetched
 * @fetch:	batch 1: addresses of @n_fetch further lines, of any matrix, that are wanted soon:
 *		may be fetched into the second-level cache meanwhile. linear(): BN_FETCH_LINES with
 *		each BN_PARTS lines; columns(): eight with each eight lines, which then are taken to
 *		be in a cache
 * @streams:	linear(): bn_likes_streams(), for what to prefetch of lines that follow
 * @x:		int8, row b at x + b * x_stride; linear(): 64-byte aligned
 * @x_stride:	in bytes; linear(): a multiple of 64
 * @x_sum:	x_sum[b] = sum of x[b][*]; not used by columns()
 * @batch:	1 .. BN_MAX_ROWS
 * @tmp:	BN_TMP_BYTES of the caller, 64-byte aligned, contents of no meaning
 */
struct bn_product {
	s32 *y;
	size_t y_stride;
	const u8 *w;
	u32 line_bytes;
	u32 blocks;
	const u8 *const *list;
	const u32 *index;
	const u8 *part[BN_PARTS];
	u32 n;
	u32 ahead;
	const u8 *const *fetch;
	u32 n_fetch;
	bool streams;
	const s8 *x;
	size_t x_stride;
	const s32 *x_sum;
	u32 batch;
	void *tmp;
};

#define BN_TMP_BYTES	73728

/**
 * struct bn_head - what head_full() and head_top() of struct bn_ops compute
 * @y:		f32, slot s at y + s * y_stride
 * @y_stride:	in elements
 * @high, @low:	first row of the planes, 64-byte aligned; rows are bn_high_bytes(@n_pad) and
 *		bn_low_bytes(@n_pad) long
 * @part:	head_top(), one slot: if part[0] is set, @n is a multiple of BN_PARTS, and row
 *		BN_PARTS * i + k is the i'th from part[k] on, instead of from @high on: see
 *		struct bn_product. Its scale and its logit are the ones number @apart * k + i
 * @scale:	of the first row; 4-byte alignment only
 * @index:	numbers of the rows wanted, in any order; NULL: 0 .. n-1. The caller's own, trusted
 * @n:		rows wanted, >= 1
 * @x:		slot s at x + s * x_stride, 64-byte aligned: f32, or what head_quantize() made
 * @x_stride:	in bytes, a multiple of 64; head_top(): BN_HEAD_Q_BYTES(@n_pad)
 * @step:	head_top(): of each slot
 * @tmp:	head_top(), and with several slots head_full(): BN_TMP_BYTES of the caller, 64-byte
 *		aligned, contents of no meaning
 * @streams:	head_top(), several slots: bn_likes_streams()
 * @n_pad:	multiple of BN_PLANE_COLS. From the true length on x is zero, but not the planes
 * @slots:	1 .. BN_MAX_HEAD_ROWS
 */
struct bn_head {
	float *y;
	size_t y_stride;
	const u8 *high, *low;
	const u8 *part[BN_PARTS];
	u32 apart;
	const float *scale;
	const u32 *index;
	u32 n;
	const void *x;
	size_t x_stride;
	const float *step;
	void *tmp;
	bool streams;
	u32 n_pad;
	u32 slots;
};

/**
 * struct bn_head_error - how far approximate logits can be off
 * @scale, @error: of each row of the head, as in struct bn_embedding; 4-byte alignment only
 * @per_scale, @per_error: what these count
 *
 * Logit y of row i: e = ((|scale[i]| * per_scale + |error[i]| * per_error) + BN_HEAD_SLACK) +
 * (y - y). (y - y) is zero, or NaN if y is not finite: then nothing is known.
 */
struct bn_head_error {
	const float *scale, *error;
	float per_scale, per_error;
};

/**
 * struct bn_attention - what scores() and weigh() of struct bn_ops compute
 * @q:		scores(): f32 [heads][head_pad], already scaled by 1/sqrt(head_dim)
 * @acc:	weigh(): f32 [heads][head_pad], weighted sums so far, updated
 * @ml:		weigh(): f32 [heads][2]: running maximum and running sum; (-inf, 0) at the start
 * @s:		f32, head h at s + h * s_stride: the scores, out of one and into the other
 * @s_stride:	in elements, a multiple of BN_LANES, as n rounded up to one at least
 * @p:		weigh(): f32 [heads][BN_ATTN_CHUNK] of the caller, contents of no meaning; 64-byte
 *		aligned like @s. Where @s_stride is BN_ATTN_CHUNK it may be @s
 * @kv:		f16 [n][head_pad]: keys or values. Not used if there is @wide
 * @wide:	what widen_keys() or widen_values() made of them, or NULL
 * @rows:	1; with @wide, of so many rows of activations all of this: @q, @acc and @ml of row
 *		r are r times their strides further, and @s and @p lie one behind the other
 * @q_stride, @acc_stride, @ml_stride: in elements
 * @next:	those that the next call will ask for: may be prefetched. NULL: nothing
 * @head_pad:	a multiple of BN_LANES
 * @heads:	>= 1
 * @n:		positions, 1 .. BN_ATTN_CHUNK
 *
 * Of query heads that share a key/value head, with some of its positions.
 */
struct bn_attention {
	const float *q;
	float *acc, *ml, *s;
	size_t s_stride;
	float *p;
	const u16 *kv, *next;
	const float *wide;
	size_t q_stride, acc_stride, ml_stride;
	u32 rows;
	u32 head_pad;
	u32 heads;
	u32 n;
};

#define BN_ATTN_CHUNK	64	/* positions of one call of weigh(); part of the bit pattern */

/* struct bn_head_norms - sums of magnitudes and of squares */
struct bn_head_norms {
	float l1, squares;
};

#define BN_HEAD_Q_BYTES(n_pad)	(2 * ((n_pad) + 64))
#define BN_HEAD_ROWS		64	/* whose largest lower bound head_lower() gives */

struct bn_ops {
	const char *name;	/* "ref", "avx2", "avxvnni", "avx512vnni", "avx512vbmi", "amx" */
	u32 needs;		/* BN_CPU_* bits */
	u32 macs_per_us;	/* rough speed of linear() with t2 and batch 1, for sizing pieces */
	u32 batch_macs_per_us;	/* the same of large batches */
	bool parted_columns;	/* columns(), batch 1: @index may give them in turns of parts */

	/**
	 * @linear: lines are rows: y[b][i] = sum over c of (code(line i, c) - 1) * x[b][c]
	 *
	 * By packing. i = 0 .. n-1: y is dense also where @list skips lines. @x has
	 * blocks * bn_block_cols() elements a row, padding zero.
	 */
	void (*linear[BN_PACKINGS])(const struct bn_product *p);

	/**
	 * @columns: lines are columns: y[b][o] += sum over i of code(index[i], o) * x[b][index[i]]
	 *
	 * By packing. o = 0 .. blocks * bn_block_cols() - 1. Adds codes, 0 .. 2 (3 for t2's invalid
	 * one), not weights: whoever starts the sum starts it with -x_sum[b].
	 */
	void (*columns[BN_PACKINGS])(const struct bn_product *p);

	/**
	 * @quantize: absmax int8: s = 127 / max(max|x|, 1e-5), q = x * s, rounded half to even and
	 *		clamped to -128 .. 127
	 * @q:		out, @n_pad bytes, padding zero
	 * @sum:	out, sum of q
	 * @inv:	out, 1 / s as f32: multiplies back (computed as max(max|x|, 1e-5) / 127)
	 * @x:		f32, @n_pad elements, padding zero. A NaN or infinite product rounds to -128
	 *		(as cvtps2dq's 0x80000000 does after saturation)
	 * @n_pad:	multiple of 64
	 */
	void (*quantize)(s8 *q, s32 *sum, float *inv, const float *x, u32 n_pad);

	/**
	 * @rmsnorm: y = (x * (1 / sqrt(sum(x^2) / n + eps))) * g
	 * @y:		f32, @n_pad elements; may alias @x
	 * @g:		weights; only @n elements need be readable up to the next multiple of 16
	 * @n:		true length (of the mean)
	 * @n_pad:	multiple of BN_LANES >= n; x is zero from n on, and so is y, whatever lies
	 *		behind @g
	 */
	void (*rmsnorm)(float *y, const float *x, const float *g, u32 n, u32 n_pad, float eps);

	/**
	 * @dequant: y[i] = (f32)acc[i] * scale, or y[i] += that
	 * @n:		any
	 * (@y and @acc need 4-byte alignment only)
	 */
	void (*dequant)(float *y, const s32 *acc, u32 n, float scale, bool add);

	/**
	 * @glu: y[i] = g[i]^2 * u[i] where g[i] > 0, else 0; or g[i] / (1 + exp(-g[i])) * u[i]
	 *
	 * With RELU2 u[i] does not matter where g[i] <= 0 or is NaN: it need not be computed.
	 * @activation:	BITNET_ACT_*
	 * @n:		any; 4-byte alignment only
	 */
	void (*glu)(float *y, const float *g, const float *u, u32 n, u32 activation);

	/**
	 * @embed: y[i] = (f32)(1024 * high[i] + low[i] - 32768) * scale
	 * @y:		f32, @n elements, none behind them is written
	 * @high, @low:	one row of each plane, 64-byte aligned, as bn_pack_planes() makes them
	 */
	void (*embed)(float *y, const u8 *high, const u8 *low, float scale, u32 n);

	/** @f32_to_f16: round to nearest even, overflow to infinity, NaN stays a quiet NaN */
	void (*f32_to_f16)(u16 *y, const float *x, u32 n);

	/**
	 * @rope: rotate pairs (j, j + half) of one head: a' = a*cos - b*sin, b' = b*cos + a*sin
	 * @x:		f32 head, 2 * half elements used; 4-byte alignment only
	 * @cos, @sin:	half elements each
	 */
	void (*rope)(float *x, const float *cos, const float *sin, u32 half);

	/**
	 * @widen_keys: keys as f32 in the order in which scores() likes them, for many queries
	 * @widen_values: values, for weigh()
	 * @to:		out, BN_ATTN_CHUNK * @head_pad elements, 64-byte aligned; the variant's own
	 *		form of [n][head_pad]
	 * @n:		1 .. BN_ATTN_CHUNK, and at least that of the calls to come
	 *
	 * Results are those that f16 gives, bit by bit.
	 */
	void (*widen_keys)(float *to, const u16 *keys, u32 n, u32 head_pad);
	void (*widen_values)(float *to, const u16 *values, u32 n, u32 head_pad);

	/**
	 * @scores: s[h][t] = dot(q[h], k[t]), a lane reduction over head_pad elements
	 *
	 * @s may be written up to the next multiple of BN_LANES behind n.
	 */
	void (*scores)(const struct bn_attention *p);

	/**
	 * @weigh: one step of the online softmax: n values are added with the weights that their
	 *		scores make
	 *
	 * m' = max(max-reduction of all s_t, m); factor exp(m - m'); p_t = exp(s_t - m'); sum' =
	 * sum * factor + (lane reduction of p); acc' = acc * factor, then += p_t * v_t in ascending
	 * t. exp(-inf) is 0, and so is exp(NaN), as of (-inf) - (-inf). A NaN score takes no part;
	 * a NaN value does, even with p_t = 0.
	 */
	void (*weigh)(const struct bn_attention *p);

	/**
	 * @head_full: logits: y[s][i] = dot(x[s], row i) * scale[i], of rows (f32)(1024 * high +
	 *		low - 32768)
	 *
	 * The dot is a lane reduction over @n_pad elements; a NaN is BN_F32_NAN. This is the
	 * definition of a logit.
	 */
	void (*head_full)(const struct bn_head *p);

	/**
	 * @head_quantize: a row of x as integers for head_top()
	 * @q:		out, BN_HEAD_Q_BYTES(@n_pad); the variant's own form of the integers
	 * @step:	out, f32: 256 * top / m, where top = max(max-reduction of |x|, 2^-100) and
	 *		m = bn_head_q_max(top, norms->l1, @n_pad)
	 * @norms:	out: lane reductions of |x| and of x^2; NaN is BN_F32_NAN
	 *
	 * q = x * (m / top), rounded half to even and clamped to -m .. m; a NaN gives -m.
	 */
	void (*head_quantize)(void *q, float *step, struct bn_head_norms *norms, const float *x,
			      u32 n_pad);

	/**
	 * @head_top: approximate logits of the high plane alone: y[s][i] = (D * step[s]) * scale[i]
	 *
	 * D = (f32)(sum of (4 * high - 126) * q), the sum being exact in int32: bn_head_q_max()
	 * sees to it.
	 * @x holds rows of head_quantize(); @low and @index are not used. A NaN is BN_F32_NAN.
	 */
	void (*head_top)(const struct bn_head *p);

	/**
	 * @head_lower: what is the largest logit of each 64 rows at least?
	 * @max:	out, f32: max-reductions of y - e over BN_HEAD_ROWS rows each, with e as in
	 *		struct bn_head_error
	 * @y:		f32, @n approximate logits; 4-byte alignment only
	 *
	 * A row of which nothing is known is not counted.
	 */
	void (*head_lower)(float *max, const float *y, const struct bn_head_error *error, u32 n);

	/**
	 * @head_pick: which of rows @from .. @n - 1 may reach @threshold?
	 * @index:	out, room for @most
	 * @most:	stop when so many were found, at least 1
	 *
	 * Those for which y + e < threshold is false, with e as above. Return: how many.
	 */
	u32 (*head_pick)(u32 *index, const float *y, const struct bn_head_error *error,
			 float threshold, u32 from, u32 n, u32 most);

	/**
	 * @head_drop: y[i] = y[i] < threshold ? -inf : y[i]
	 * Return: elements that are not -inf now.
	 */
	u32 (*head_drop)(float *y, float threshold, u32 n);

	/** @max_value: max-reduction of n >= 1 floats (any alignment), -inf if all are NaN */
	float (*max_value)(const float *x, u32 n);

	/** @sum_exp: lane reduction of exp(x[i] - max) over n floats (any alignment) */
	float (*sum_exp)(const float *x, u32 n, float max);

	/** @clear: zero all vector and mask registers that the variant uses, at a section's end */
	void (*clear)(void);
};

/** bn_variants - all variants compiled in, slowest (the reference) first; NULL-terminated */
extern const struct bn_ops *const bn_variants[];
extern const struct bn_ops bn_ops_ref;

/** bn_variant_find() - by name; "fastest" gives the last that @cpu allows. NULL if none. No FPU */
const struct bn_ops *bn_variant_find(const char *name, u32 cpu);

/**
 * bn_likes_streams() - does this CPU read rows faster in BN_PARTS places at once than as they lie?
 *
 * By CPUID, which a host may have to be asked for: not for the path of a token. No FPU
 */
bool bn_likes_streams(void);

/**
 * bn_selftest() - compare one case of one variant with the reference
 * @ops:	variant
 * @nr:		case, from 0
 * @scratch:	BN_SELFTEST_BYTES, 64-byte aligned
 *
 * Each case is seeded, uses odd shapes and special values, and is short enough for one FPU section.
 * Return: BN_OK, BN_ESELFTEST, or BN_END when there is no case @nr.
 */
enum bn_err bn_selftest(const struct bn_ops *ops, u32 nr, void *scratch);
#define BN_SELFTEST_BYTES	(256 * 1024)

#endif /* BN_OPS_H */

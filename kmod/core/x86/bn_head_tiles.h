/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_head_tiles.h - head_top() for several slots, by the tiles of bn_vnni_batch.h
 *
 * Elements of the plane are the codes of lines; the two digits of each slot's integers are two rows
 * of activations: head_store() puts digits in rows of bytes.
 */

/* Rows of activations at a time: so few that the next rows of the plane can be fetched evenly */
#define HEAD_X		(MOST_X > FETCH_ROWS ? FETCH_ROWS : MOST_X)

/* struct head_tile - sums of both digits of all slots with LINEAR_ROWS rows, in a tmp */
struct head_tile {
	vec sums[2 * 2 * BN_MAX_HEAD_ROWS];
	u8 codes[CODES_BYTES];
};

_Static_assert(sizeof(struct head_tile) <= BN_TMP_BYTES, "a tile fits tmp");
_Static_assert(CODES_BYTES >= 2 * VEC_BYTES * BN_PLANE_COLS / 4, "a block fits the codes");

/* Codes of four elements of each line, from nibbles and from the four places of pairs of bits */
BN_INLINE void head_codes_four(u8 *to, u32 place_bytes, vec first, vec second, vec pairs)
{
	const vec nibble = set_bytes(0x0f), pair = set_bytes(0x30);

	store(to, (first & nibble) | ((vec)((words)pairs << 4) & pair));
	store(to + place_bytes, (shift_16(first, 4) & nibble) | ((vec)((words)pairs << 2) & pair));
	store(to + 2 * place_bytes, (second & nibble) | (pairs & pair));
	store(to + 3 * place_bytes, (shift_16(second, 4) & nibble) | (shift_16(pairs, 2) & pair));
}

/* Codes of @blocks blocks, @at bytes behind the start of @row[] */
BN_INLINE void head_codes(u8 *codes, const u8 *const row[], size_t at, u32 blocks, u32 vectors)
{
	const u32 quad_bytes = vectors * VEC_BYTES, place_bytes = 16 * quad_bytes;

	for (u32 i = 0; i < blocks; i++, at += 192, codes += 4 * place_bytes) {
		for (u32 c = 0; c < 64; c += 16) {
			for (u32 v = 0; v < vectors; v++) {
				const u8 *const *r = row + v * LANES;
				struct quad m = transpose(r, at + c), n = transpose(r, at + 64 + c);
				struct quad t = transpose(r, at + 128 + c);
				u8 *to = codes + c / 4 * quad_bytes + v * VEC_BYTES;

				head_codes_four(to, place_bytes, m.a, n.a, t.a);
				head_codes_four(to + quad_bytes, place_bytes, m.b, n.b, t.b);
				head_codes_four(to + 2 * quad_bytes, place_bytes, m.c, n.c, t.c);
				head_codes_four(to + 3 * quad_bytes, place_bytes, m.d, n.d, t.d);
			}
		}
	}
}

/* Rows [@r, @r + LANES * @vectors) */
BN_INLINE void head_rows(const struct bn_head *p, u32 r, u32 vectors)
{
	const u32 most = CODES_BYTES / (2 * VEC_BYTES) * 4 / BN_PLANE_COLS * BN_PLANE_COLS;
	const u32 row_bytes = bn_high_bytes(p->n_pad), digits = 2 * p->slots;
	struct head_tile *tile = p->tmp;
	const size_t x_stride = p->x_stride / 2;
	struct tile t = { .codes = tile->codes, .x_stride = x_stride };
	const u8 *row[LINEAR_ROWS];
	u32 cols, rows;

	for (u32 i = 0; i < vectors * LANES; i++)
		row[i] = p->high + (size_t)smaller(r + i, p->n - 1) * row_bytes;
	/* Also behind the last one, where the next piece is. */
	fetch_next(&t, row[0] + LINEAR_ROWS * row_bytes, LINEAR_ROWS * row_bytes,
		   p->n_pad / 4 * times(digits, HEAD_X), HEAD_X);
	for (u32 at = 0; at < p->n_pad; at += cols) {
		cols = smaller(p->n_pad - at, most);
		head_codes(tile->codes, row, bn_high_bytes(at), cols / BN_PLANE_COLS, vectors);
		t.quads = cols / 4;
		t.add = at > 0;
		for (u32 b = 0; b < digits; b += rows) {
			rows = share(digits - b, HEAD_X);
			t.sums = tile->sums + b * vectors;
			t.x = (const s8 *)p->x + b * x_stride + at;
			multiply_tile(&t, vectors, rows);
			t.next += t.quads * t.step;
		}
	}
	for (u32 slot = 0; slot < p->slots; slot++)
		for (u32 v = 0; v < vectors; v++)
			head_end(p, slot, r + v * LANES, LANES,
				 (const s32 *)(tile->sums + 2 * slot * vectors + v),
				 (const s32 *)(tile->sums + (2 * slot + 1) * vectors + v));
}

BN_NOINLINE void head_tiles(const struct bn_head *p)
{
	for (u32 r = 0; r < p->n; r += LINEAR_ROWS)
		head_rows(p, r, p->n - r > LANES ? 2 : 1);
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_amx_multiply.h - products of unpacked codes by AMX; a part of bn_vnni_ops.h
 *
 * What is a vector of codes for each quad of activations elsewhere is a row of a tile here: sixteen
 * quads times sixteen outputs. Activations need no order of their own: sixteen rows of them, 64
 * bytes of each, are a tile as they lie. Tiles 0 to 3 are sums: of the first rows in 0 and 1, of
 * the others in 2 and 3; 4 and 5 are activations, 6 and 7 codes.
 *
 * The compiler's own intrinsics do not say what memory they read and write (gcc 12): barriers do.
 */

#define TILE_ROWS	16
#define TILES		8

/* struct tile_config - what LDTILECFG takes */
struct tile_config {
	u8 palette, start_row, reserved[14];
	u16 row_bytes[16];
	u8 rows[16];
};

BN_INLINE void compiler_barrier(const void *used)
{
	asm volatile("" : : "r" (used) : "memory");
}

/* Tiles for @rows rows of activations */
static void configure_tiles(u32 rows)
{
	struct tile_config c = { .palette = 1 };
	u32 first = smaller(rows, TILE_ROWS);

	for (u32 i = 0; i < TILES; i++) {
		c.row_bytes[i] = VEC_BYTES;
		c.rows[i] = TILE_ROWS;
	}
	c.rows[0] = c.rows[1] = c.rows[4] = (u8)first;
	c.rows[2] = c.rows[3] = c.rows[5] = rows > first ? (u8)(rows - first) : 1;
	compiler_barrier(&c);
	_tile_loadconfig(&c);
}

BN_INLINE void multiply(const struct tile *t, const u32 vectors, const bool more_rows)
{
	const size_t stride = vectors * VEC_BYTES;
	const u8 *codes = t->codes;
	const s8 *x = t->x;
	vec *more = t->sums + vectors * TILE_ROWS;
	const u8 *next = t->next;

	compiler_barrier(t);
	if (t->add) {
		_tile_loadd(0, t->sums, stride);
		if (vectors > 1)
			_tile_loadd(1, t->sums + 1, stride);
		if (more_rows)
			_tile_loadd(2, more, stride);
		if (more_rows && vectors > 1)
			_tile_loadd(3, more + 1, stride);
	} else {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
	}
	for (u32 i = 0; i < t->quads; i += QUADS) {
		for (size_t at = 0; at < QUADS * t->step; at += 64)
			for (u32 part = 0; part < FETCH_PARTS; part++)
				bn_prefetch_2nd(next + part * t->part + at);
		next += QUADS * t->step;
		_tile_loadd(6, codes, stride);
		_tile_loadd(4, x, t->x_stride);
		_tile_dpbsud(0, 4, 6);
		if (more_rows) {
			_tile_loadd(5, x + TILE_ROWS * t->x_stride, t->x_stride);
			_tile_dpbsud(2, 5, 6);
		}
		if (vectors > 1) {
			_tile_loadd(7, codes + VEC_BYTES, stride);
			_tile_dpbsud(1, 4, 7);
			if (more_rows)
				_tile_dpbsud(3, 5, 7);
		}
		codes += QUADS * stride;
		x += 4 * QUADS;
	}
	_tile_stored(0, t->sums, stride);
	if (vectors > 1)
		_tile_stored(1, t->sums + 1, stride);
	if (more_rows)
		_tile_stored(2, more, stride);
	if (more_rows && vectors > 1)
		_tile_stored(3, more + 1, stride);
	compiler_barrier(t);
}

static void multiply_tile(const struct tile *t, u32 vectors, u32 rows)
{
	if (*t->configured != rows)
		configure_tiles(rows);
	*t->configured = rows;
	if (vectors > 1) {
		if (rows > TILE_ROWS)
			multiply(t, 2, true);
		else
			multiply(t, 2, false);
	} else {
		if (rows > TILE_ROWS)
			multiply(t, 1, true);
		else
			multiply(t, 1, false);
	}
}

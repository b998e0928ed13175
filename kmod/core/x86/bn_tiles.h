/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * bn_tiles.h - AMX: the use of the CPU's eight tiles, of up to 16 rows of 64 bytes
 *
 * Rows of activations are the first operand of TDPBSUD as they lie: up to 16 of them, of each 64
 * bytes. The second are codes by quads of activations: 16 quads, each of 16 outputs. Tiles 0 to 3
 * are sums. Activations are in tiles 4 and 5 in turns, but for the last rows, which may be fewer:
 * in tile 6. Codes are in tile 7.
 *
 * The compiler's own intrinsics do not say what memory they read and write (gcc 12): barriers do.
 * The numbers of tiles have to be literals.
 */
#ifndef BN_TILES_H
#define BN_TILES_H

#define TILE_ROWS	16
#define SUMS		4
#define EVEN_X		4
#define ODD_X		5
#define LAST_X		6
#define CODES		7

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

/*
 * For @rows rows of activations, at most four tiles: sums are of these in turns. Return: how many
 * tiles of activations there are
 */
static u32 configure_tiles(u32 rows)
{
	const u32 tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
	const u32 last = rows - (tiles - 1) * TILE_ROWS;
	struct tile_config c = { .palette = 1 };

	for (u32 i = 0; i < 8; i++) {
		c.row_bytes[i] = 64;
		c.rows[i] = i < SUMS && i % tiles == tiles - 1 ? (u8)last : TILE_ROWS;
	}
	c.rows[LAST_X] = (u8)last;
	compiler_barrier(&c);
	_tile_loadconfig(&c);
	return tiles;
}

BN_INLINE void zero_sums(void)
{
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
}

/* use(@sum, ...), the number of which has to be a literal there */
#define WITH_SUM(sum, use, ...)			\
	do {					\
		switch (sum) {			\
		case 0:				\
			use(0, __VA_ARGS__);	\
			break;			\
		case 1:				\
			use(1, __VA_ARGS__);	\
			break;			\
		case 2:				\
			use(2, __VA_ARGS__);	\
			break;			\
		default:			\
			use(3, __VA_ARGS__);	\
			break;			\
		}				\
	} while (0)

BN_INLINE void load_sum(const u32 sum, const void *from, size_t stride)
{
	WITH_SUM(sum, _tile_loadd, from, stride);
}

BN_INLINE void store_sum(const u32 sum, void *to, size_t stride)
{
	WITH_SUM(sum, _tile_stored, to, stride);
}

/* The @t'th of @tiles tiles of activations */
BN_INLINE void load_x(const s8 *x, size_t stride, const u32 t, const u32 tiles)
{
	x += t * TILE_ROWS * stride;
	if (t + 1 == tiles)
		_tile_loadd(LAST_X, x, stride);
	else if (t % 2)
		_tile_loadd(ODD_X, x, stride);
	else
		_tile_loadd(EVEN_X, x, stride);
}

BN_INLINE void load_codes(const void *codes)
{
	_tile_loadd(CODES, codes, 64);
}

/* Add to @sum the products of what load_x() has loaded last for @t, and codes */
BN_INLINE void multiply(const u32 sum, const u32 t, const u32 tiles)
{
	if (t + 1 == tiles)
		WITH_SUM(sum, _tile_dpbsud, LAST_X, CODES);
	else if (t % 2)
		WITH_SUM(sum, _tile_dpbsud, ODD_X, CODES);
	else
		WITH_SUM(sum, _tile_dpbsud, EVEN_X, CODES);
}

#endif /* BN_TILES_H */

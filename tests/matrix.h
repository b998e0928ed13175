/* SPDX-License-Identifier: GPL-2.0 */
/*
 * matrix.h - a packed matrix, weight by weight: the slow way to look at what the engine looks at
 */
#ifndef TESTS_MATRIX_H
#define TESTS_MATRIX_H

#include "bn_image.h"

/* Code of one weight: 0, 1, 2 for -1, 0, +1 */
static inline u8 matrix_code(const struct bn_matrix *w, u32 row, u32 col)
{
	u32 line = w->by_column ? col : row, at = w->by_column ? row : col;
	u32 cols = bn_block_cols(w->packing), in_block = at % cols;
	u8 block[BN_T1_BLOCK_COLS];

	bn_unpack_line(w->packing, block,
		       w->data + (size_t)line * w->line_bytes + at / cols * BN_BLOCK_BYTES,
		       in_block + 1);
	return block[in_block];
}

#endif /* TESTS_MATRIX_H */

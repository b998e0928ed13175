/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * dequant.h - rows of GGUF tensors as plain floats or as ternary codes
 *
 * A tensor is a row-major matrix of dims[0] columns and n_elems / dims[0] rows. All results are the
 * same on every CPU: f16 and bf16 are converted in integer arithmetic.
 *
 * Layouts: ggml's ggml-quants.c (Q8_0, Q6_K, TQ1_0, TQ2_0); I2_S is what bitnet.cpp's
 * ggml-bitnet-mad.cpp writes on x86, 128 elements in 32 bytes - the layout of every published file.
 */
#ifndef BITNET_LIB_DEQUANT_H
#define BITNET_LIB_DEQUANT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "gguf.h"

/**
 * bitnet_f16_to_f32() - widen an IEEE half, exactly
 * @h: bits of the half
 */
float bitnet_f16_to_f32(uint16_t h);

/**
 * bitnet_f32_to_f16() - round to the nearest IEEE half, ties to even
 * @f: any value; too large becomes infinity, a NaN stays one
 */
uint16_t bitnet_f32_to_f16(float f);

/**
 * bitnet_tensor_rows() - rows of the matrix that a tensor is
 * @t: tensor
 */
uint64_t bitnet_tensor_rows(const struct bitnet_gguf_tensor *t);

/**
 * bitnet_tensor_is_ternary() - is this one of the types that bitnet_tensor_row_codes() reads?
 * @t: tensor
 */
bool bitnet_tensor_is_ternary(const struct bitnet_gguf_tensor *t);

/**
 * bitnet_tensor_row_f32() - one row as floats
 * @t:   tensor of type F32, F16, BF16, Q8_0 or Q6_K
 * @row: less than bitnet_tensor_rows()
 * @out: dims[0] floats; not finite ones pass through
 * @err: reason of a failure
 *
 * Return: 0; -EINVAL for a row that is not there; -ENOTSUP for any other type.
 */
int bitnet_tensor_row_f32(const struct bitnet_gguf_tensor *t, uint64_t row, float *out,
			  struct bitnet_error *err);

/**
 * bitnet_tensor_row_codes() - one row as ternary codes
 * @t:     tensor of type I2_S, TQ1_0 or TQ2_0
 * @row:   less than bitnet_tensor_rows()
 * @codes: dims[0] bytes: 0, 1, 2 for the weights -1, 0, +1
 * @err:   reason of a failure
 *
 * Return: 0; -EINVAL for a row that is not there, or columns that are no multiple of 128 (I2_S), so
 * that blocks straddle rows; -EBADMSG for a code that is none, -ENOTSUP for any other type.
 */
int bitnet_tensor_row_codes(const struct bitnet_gguf_tensor *t, uint64_t row, uint8_t *codes,
			    struct bitnet_error *err);

/**
 * bitnet_tensor_scale() - the factor of a whole ternary tensor: weight = (code - 1) * scale
 * @t:     tensor of type I2_S, TQ1_0 or TQ2_0
 * @g:     its file, where a TQ tensor named "x.weight" may have a one-element companion "x.scale"
 * @scale: finite and positive
 * @err:   reason of a failure
 *
 * I2_S keeps the scale behind the codes. TQ1_0 and TQ2_0 have one per 256 elements: all must be
 * equal (but for blocks of zeros, where ggml writes 0), and are multiplied by the companion.
 * Cost: for TQ types one pass over the tensor, which must be sound (bitnet_tensor_check()).
 *
 * Return: 0; -EBADMSG if the scales differ, or the scale is not finite or not positive; -EINVAL if
 * the companion is not one float; -ENOTSUP for any other type.
 */
int bitnet_tensor_scale(const struct bitnet_gguf_tensor *t, const struct bitnet_gguf *g,
			float *scale, struct bitnet_error *err);

/**
 * bitnet_tensor_check() - is every weight of a ternary tensor a weight?
 * @t:   tensor of type I2_S, TQ1_0 or TQ2_0
 * @err: reason of a failure; names the first bad row
 *
 * Finds code 3 (I2_S, TQ2_0), bytes that no five trits pack to (TQ1_0), and a tensor of nothing but
 * zeros, which is what a converter leaves behind that lost the weights. One pass at memory speed.
 *
 * Return: 0; -EBADMSG for any of these; -EINVAL and -ENOTSUP as bitnet_tensor_row_codes().
 */
int bitnet_tensor_check(const struct bitnet_gguf_tensor *t, struct bitnet_error *err);

#endif

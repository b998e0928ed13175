/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * refusal.h - why SUBMIT had no room for a job (-EDQUOT), in words
 */
#ifndef BITNET_LIB_REFUSAL_H
#define BITNET_LIB_REFUSAL_H

#include <linux/bitnet.h>

#include "error.h"

/**
 * bitnet_refusal_describe() - make a sentence and a hint of what SUBMIT answered
 * @err:	where to, may be NULL
 * @submit:	the answer; its out_error is -EDQUOT. What out_refusal does not tell is taken for
 *		BITNET_REFUSED_JOBS
 * @refused:	the job that was not accepted
 *
 * Return: -EDQUOT.
 */
int bitnet_refusal_describe(struct bitnet_error *err, const struct bitnet_submit *submit,
			    const struct bitnet_job *refused);

#endif

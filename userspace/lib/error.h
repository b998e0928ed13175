/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * error.h - how libbitnet tells what went wrong: an errno, a sentence, and what to do about it
 *
 * A library function that can fail takes a struct bitnet_error and returns a negative errno (or
 * NULL). The sentence names the object (file, tensor, row), the hint says what the reader can do.
 * Every such function accepts a NULL error: the caller then has the errno alone.
 */
#ifndef BITNET_LIB_ERROR_H
#define BITNET_LIB_ERROR_H

/**
 * struct bitnet_error - the reason of a failure
 * @code: positive errno value, 0 while nothing went wrong
 * @msg:  one sentence without a full stop or newline; cut at the end if it does not fit. Control
 *        characters are replaced by '?', so that a hostile file cannot write to a terminal with it
 * @hint: what to do about it, or empty
 */
struct bitnet_error {
	int code;
	char msg[256];
	char hint[192];
};

/**
 * bitnet_error_set() - write down a failure and return its errno
 * @err:  where to, may be NULL; an earlier message and hint are overwritten
 * @code: errno value, of either sign, not 0
 * @fmt:  printf format of the sentence; arguments may not point into @err
 *
 * Return: the negative errno, so that "return bitnet_error_set(err, EINVAL, ...)" is an exit.
 */
int bitnet_error_set(struct bitnet_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * bitnet_error_hint() - add what the reader can do about the failure just set
 * @err: may be NULL
 * @fmt: printf format; arguments may not point into @err
 *
 * Return: the negative errno of @err (-EINVAL where @err is NULL), so that it can end a function.
 */
int bitnet_error_hint(struct bitnet_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif

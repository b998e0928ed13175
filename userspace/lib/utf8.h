/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * utf8.h - where a UTF-8 character ends, and where bytes are none
 */
#ifndef BITNET_LIB_UTF8_H
#define BITNET_LIB_UTF8_H

#include <stddef.h>
#include <stdint.h>

/**
 * bitnet_utf8_scan() - read one character
 * @s:   bytes
 * @len: how many, at least 1
 * @cp:  its code point, U+FFFD if there is no whole one; may be NULL
 *
 * Return: bytes of the character, 1..4; 0 if all @len bytes are the start of a character whose end
 * is missing; -k if the first k bytes, 1..3, are ill-formed - the "maximal subpart" that Unicode
 * 15, section 3.9 replaces by one U+FFFD.
 */
int bitnet_utf8_scan(const void *s, size_t len, uint32_t *cp);

#endif

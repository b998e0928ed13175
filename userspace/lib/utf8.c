// SPDX-License-Identifier: GPL-2.0 OR MIT
/* utf8.c - see utf8.h */
#include "utf8.h"

int bitnet_utf8_scan(const void *s, size_t len, uint32_t *cp)
{
	const uint8_t *b = s;
	/* Table 3-7 of Unicode: only the second byte's range depends on the first. */
	uint8_t lo = 0x80, hi = 0xbf;
	uint32_t c = b[0];
	uint32_t ignored;
	int need;

	if (!cp)
		cp = &ignored;
	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	*cp = 0xfffd;
	if (c < 0xc2 || c > 0xf4)
		return -1;
	if (c < 0xe0) {
		need = 2;
		c &= 0x1f;
	} else if (c < 0xf0) {
		need = 3;
		if (c == 0xe0)
			lo = 0xa0;
		else if (c == 0xed)
			hi = 0x9f;
		c &= 0x0f;
	} else {
		need = 4;
		if (c == 0xf0)
			lo = 0x90;
		else if (c == 0xf4)
			hi = 0x8f;
		c &= 0x07;
	}
	for (int i = 1; i < need; i++) {
		if ((size_t)i == len)
			return 0;
		if (b[i] < lo || b[i] > hi)
			return -i;
		c = c << 6 | (b[i] & 0x3f);
		lo = 0x80;
		hi = 0xbf;
	}
	*cp = c;
	return need;
}

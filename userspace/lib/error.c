// SPDX-License-Identifier: GPL-2.0 OR MIT
/* error.c - see error.h */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "utf8.h"

/* Names come out of files that nobody vouches for: leave whole printable characters only. */
static void make_printable(char *s)
{
	size_t len = strlen(s);
	uint32_t cp;
	int n;

	for (size_t i = 0; i < len; i += n) {
		n = bitnet_utf8_scan(s + i, len - i, &cp);
		if (!n) {
			/* a character cut off by the end of the buffer */
			s[i] = '\0';
			return;
		}
		if (n > 0 && cp >= 0x20 && (cp < 0x7f || cp > 0x9f))
			continue;
		n = abs(n);
		memset(s + i, '?', n);
	}
}

int bitnet_error_set(struct bitnet_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	code = abs(code);
	if (err) {
		err->code = code;
		err->hint[0] = '\0';
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
		make_printable(err->msg);
	}
	return -code;
}

int bitnet_error_hint(struct bitnet_error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	make_printable(err->hint);
	return -err->code;
}

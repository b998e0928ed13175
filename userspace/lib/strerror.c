// SPDX-License-Identifier: GPL-2.0 OR MIT
/* strerror.c - the errno table of <linux/bitnet.h> in sentences */
#include <errno.h>
#include <stdlib.h>

#include "bitnet.h"

static const struct {
	int code;
	const char *text;
} table[] = {
	{ EINVAL, "a field, flag or combination that the interface does not allow" },
	{ E2BIG, "a struct from a newer interface, or an array above its limit" },
	{ EFAULT, "a pointer that cannot be read or written" },
	{ ENOTTY, "not a bitnet device, or an ioctl that this module does not know" },
	{ ENOENT, "no such model, session, name or job" },
	{ EEXIST, "the name is in use, or the ring is set up already" },
	{ EBUSY, "the session has unfinished jobs, or the name is still open" },
	{ EPERM, "this needs administrator rights (CAP_SYS_ADMIN)" },
	{ EACCES, "permission denied" },
	{ ENOMEM, "not enough memory, or the limit on locked memory is reached" },
	{ EDQUOT, "a limit of the device for this user or file is reached" },
	{ ENOSPC, "the completion ring has no slot left for another job" },
	{ ENOEXEC, "not a bitnet image" },
	{ EBADMSG, "a damaged image: its header or tensor table contradicts itself" },
	{ ENXIO, "the completion ring is not set up" },
	{ ERANGE, "a token outside the vocabulary, or more tokens than the context holds" },
	{ EOPNOTSUPP, "a valid request that this build, CPU or model cannot serve" },
	{ ETIME, "the time ran out" },
	{ EINTR, "interrupted by a signal" },
	{ ECANCELED, "cancelled" },
	{ ENODEV, "no bitnet device" },
};

const char *bitnet_strerror(int negative_errno)
{
	int code = abs(negative_errno);

	if (!code)
		return "success";
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			return table[i].text;
	return "an error that the interface does not define";
}

// SPDX-License-Identifier: GPL-2.0
/* cmd_help.c - help and version */
#include <errno.h>
#include <string.h>

#include "bitnet.h"
#include "bitnetctl.h"

int cmd_help(const struct command *self, int argc, char **argv)
{
	struct bitnet_error err;
	const struct command *c;
	int n, code;

	code = command_parse(self, argc, argv, NULL, &n);
	if (code >= 0)
		return code;
	if (!n) {
		command_help(NULL);
		return OUT_OK;
	}
	c = command_find(argv[1]);
	if (!c) {
		bitnet_error_set(&err, EINVAL, "no verb '%s'", argv[1]);
		return command_usage(NULL, &err);
	}
	command_help(c);
	return OUT_OK;
}

int cmd_version(const struct command *self, int argc, char **argv)
{
	int code = self ? command_parse(self, argc, argv, NULL, NULL) : -1;

	if (code >= 0)
		return code;
	if (out.json)
		out_json(json_pack("{s:s, s:i, s:i}", "version", BITNET_VERSION, "abi",
				   BITNET_ABI_VERSION, "image", BITNET_IMAGE_VERSION));
	else
		printf("bitnetctl %s, device interface %u, image format %u\n", BITNET_VERSION,
		       BITNET_ABI_VERSION, BITNET_IMAGE_VERSION);
	return OUT_OK;
}

// SPDX-License-Identifier: GPL-2.0
/* bitnetctl.c - main(): global options, then the verb; the table is in command.c */
#include <errno.h>
#include <locale.h>
#include <string.h>

#include "bitnetctl.h"

static int run(int argc, char **argv)
{
	struct global_values g = { 0 };
	const struct arg_set set = { .table = global_args, .values = &g };
	const char *names[64], *nearest, *typed;
	const struct command *c;
	struct bitnet_error err;
	unsigned int n = 0;
	int first, ret;

	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return cmd_complete(argc - 1, argv + 1);
	ret = args_parse(argc, argv, &set, 1, false, &first, &err);
	out = g.out;
	out_init();
	if (ret)
		return command_usage(NULL, &err);
	if (g.help) {
		command_help(NULL);
		return OUT_OK;
	}
	if (g.version)
		return cmd_version(NULL, 1, argv);
	if (first == argc) {
		bitnet_error_set(&err, EINVAL, "no verb given");
		return command_usage(NULL, &err);
	}
	typed = argv[first];
	c = command_find(typed);
	if (c)
		return c->run(c, argc - first, argv + first);

	/* global options behind it still say how to report this */
	bitnet_error_set(&err, EINVAL, "no verb '%s'", typed);
	args_parse(argc - first, argv + first, &set, 1, true, &ret, NULL);
	out = g.out;
	out_init();
	for (c = commands; c->name; c++)
		names[n++] = c->name;
	names[n] = NULL;
	nearest = args_nearest(typed, names);
	if (nearest)
		bitnet_error_hint(&err, "did you mean 'bitnetctl %s'?", nearest);
	return command_usage(NULL, &err);
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	return out_finish(run(argc, argv));
}

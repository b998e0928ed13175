/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bitnetctl.h - the table of verbs, and what the verbs share
 *
 * One row of the table in command.c gives a verb its dispatch, its help and its completion.
 */
#ifndef BITNETCTL_H
#define BITNETCTL_H

#include "args.h"
#include "out.h"

/**
 * struct command - one verb
 * @name:	what one types
 * @operands:	for the help, such as "MODEL"
 * @summary:	one line
 * @details:	further paragraphs of the verb's help, or NULL
 * @args:	its options, NULL-name terminated
 * @min_operands, @max_operands: how many
 * @completion:	of its operands
 * @run:	does it; returns the exit code
 */
struct command {
	const char *name;
	const char *operands;
	const char *summary;
	const char *details;
	const struct arg *args;
	int min_operands, max_operands;
	enum arg_completion completion;
	int (*run)(const struct command *self, int argc, char **argv);
};

/* Of the release, the module's own; set by the Makefile. */
#ifndef BITNET_VERSION
#define BITNET_VERSION	"unreleased"
#endif

/* What the global options set; they may stand before and behind the verb. */
struct global_values {
	struct out_options out;
	bool help, version;
};

extern const struct command commands[];		/* ends with a NULL name */
extern const struct arg global_args[];

const struct command *command_find(const char *name);

/**
 * command_parse() - options and operands of a verb
 * @values: struct that @self->args describes, filled with the defaults
 * @operands: out, how many; they are argv[1] ...
 *
 * Return: negative: go on. Else it is all done (--help) or wrong, and this is the exit code.
 */
int command_parse(const struct command *self, int argc, char **argv, void *values, int *operands);

/** command_usage() - report wrong usage. Return: OUT_USAGE */
int command_usage(const struct command *self, const struct bitnet_error *err);

void command_help(const struct command *self);

int cmd_run(const struct command *self, int argc, char **argv);
int cmd_chat(const struct command *self, int argc, char **argv);
int cmd_submit(const struct command *self, int argc, char **argv);
int cmd_wait(const struct command *self, int argc, char **argv);
int cmd_cancel(const struct command *self, int argc, char **argv);
int cmd_load(const struct command *self, int argc, char **argv);
int cmd_unload(const struct command *self, int argc, char **argv);
int cmd_models(const struct command *self, int argc, char **argv);
int cmd_info(const struct command *self, int argc, char **argv);
int cmd_status(const struct command *self, int argc, char **argv);
int cmd_top(const struct command *self, int argc, char **argv);
int cmd_limits(const struct command *self, int argc, char **argv);
int cmd_workers(const struct command *self, int argc, char **argv);
int cmd_monitor(const struct command *self, int argc, char **argv);
int cmd_verify(const struct command *self, int argc, char **argv);
int cmd_bench(const struct command *self, int argc, char **argv);
int cmd_latency(const struct command *self, int argc, char **argv);
int cmd_doctor(const struct command *self, int argc, char **argv);
int cmd_show(const struct command *self, int argc, char **argv);
int cmd_pack(const struct command *self, int argc, char **argv);
int cmd_help(const struct command *self, int argc, char **argv);
int cmd_version(const struct command *self, int argc, char **argv);
int cmd_complete(int argc, char **argv);

extern const struct arg run_args[], chat_args[], submit_args[], wait_args[], cancel_args[],
	load_args[], status_args[], top_args[], limits_args[], monitor_args[], info_args[],
	verify_args[], bench_args[], latency_args[], doctor_args[], show_args[], pack_args[],
	no_args[];

#endif

// SPDX-License-Identifier: GPL-2.0
/* command.c - the table of verbs, and their common part: options, help, usage errors */
#include <errno.h>
#include <string.h>

#include "bitnetctl.h"

const struct arg no_args[] = { { 0 } };

const struct command commands[] = {
	{
		.name = "run",
		.operands = "MODEL [-]",
		.args = run_args,
		.run = cmd_run,
		.summary = "continue a text, or answer a question, and print it as it comes",
		.min_operands = 1,
		.max_operands = 2,
		.completion = COMPLETE_MODEL,
		.details =
			"MODEL is a GGUF or image file, or the name of a shared model ('bitnetctl load').\n"
			"The prompt comes from -p, -f or standard input ('-', or when it is a pipe). A model\n"
			"with a chat template answers; a base model continues the text. A shared model with\n"
			"the same weights is used where there is one.",
	},
	{
		.name = "chat",
		.operands = "MODEL",
		.args = chat_args,
		.run = cmd_chat,
		.summary = "converse; the context is kept between the turns",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_MODEL,
		.details =
			"Each line is a turn; a backslash at its end continues it on the next line. /help lists\n"
			"the commands. Ctrl-C ends an answer, Ctrl-D the conversation.",
	},
	{
		.name = "submit",
		.operands = "MODEL [-]",
		.args = submit_args,
		.run = cmd_submit,
		.summary = "start a job in the background and print its id",
		.min_operands = 1,
		.max_operands = 2,
		.completion = COMPLETE_MODEL,
		.details =
			"Takes what 'run' takes. A small process holds the job; its result waits for\n"
			"'bitnetctl wait ID' in a folder that is yours alone.",
	},
	{
		.name = "wait",
		.operands = "ID | --list",
		.args = wait_args,
		.run = cmd_wait,
		.summary = "wait for a background job and print its result",
		.min_operands = 0,
		.max_operands = 1,
		.completion = COMPLETE_JOB,
	},
	{
		.name = "cancel",
		.operands = "ID | --all",
		.args = cancel_args,
		.run = cmd_cancel,
		.summary = "cancel a background job and forget it",
		.min_operands = 0,
		.max_operands = 1,
		.completion = COMPLETE_JOB,
	},
	{
		.name = "load",
		.operands = "FILE",
		.args = load_args,
		.run = cmd_load,
		.summary = "pin a model on the device, shared by all users (root)",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_FILE,
	},
	{
		.name = "unload",
		.operands = "NAME",
		.args = no_args,
		.run = cmd_unload,
		.summary = "remove a shared model (root)",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_NAME,
		.details =
			"Whoever uses it goes on; its memory is freed when the last one is done.",
	},
	{
		.name = "models",
		.operands = "",
		.args = no_args,
		.run = cmd_models,
		.summary = "list the models on the device",
	},
	{
		.name = "info",
		.operands = "",
		.args = info_args,
		.run = cmd_info,
		.summary = "what the device and this CPU can do",
	},
	{
		.name = "status",
		.operands = "",
		.args = status_args,
		.run = cmd_status,
		.summary = "what the device is doing",
	},
	{
		.name = "top",
		.operands = "",
		.args = top_args,
		.run = cmd_top,
		.summary = "who uses the device and how fast it is, live and full screen",
		.details =
			"Processes, users, models and workers with rates and latencies; ? lists the keys. Without\n"
			"a terminal it prints one snapshot. --json writes a line a snapshot, which --replay shows\n"
			"again. Only root sees who uses the device, and the token times.",
	},
	{
		.name = "limits",
		.operands = "",
		.args = limits_args,
		.run = cmd_limits,
		.summary = "what users have and may have; set it (root)",
		.details =
			"Without options, or with --user alone, only shows. Each user may have so many sessions and\n"
			"unfinished jobs, and so much memory for contexts and pinned models, at once. A limit of a\n"
			"user's own, marked *, counts instead of the default, and for root too.",
	},
	{
		.name = "workers",
		.operands = "[CPUS]",
		.args = no_args,
		.run = cmd_workers,
		.summary = "which CPUs compute; choose others (root)",
		.min_operands = 0,
		.max_operands = 1,
		.details =
			"CPUS is a list such as 1,3-5, or all: workers on these compute from now on, the others\n"
			"rest. They are among those that the module was loaded with (cpus=).",
	},
	{
		.name = "monitor",
		.operands = "",
		.args = monitor_args,
		.run = cmd_monitor,
		.summary = "print events of the device as they happen (root)",
		.details =
			"One line an event; with --json one JSON object a line. Filters add up: an event has to\n"
			"pass all of them, and events without the property that a filter asks for do not pass.",
	},
	{
		.name = "verify",
		.operands = "MODEL",
		.args = verify_args,
		.run = cmd_verify,
		.summary = "compare the engines with the scalar reference, bit for bit",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_MODEL,
		.details =
			"Every variant of this CPU, with 1 and 2 threads, 1 and 8 sessions at once, and the device\n"
			"if there is one (its variant and workers are set when the module is loaded) must give\n"
			"the same tokens, log-probabilities, logits and integer products. Exit code 1 if not.",
	},
	{
		.name = "bench",
		.operands = "[MODEL]",
		.args = bench_args,
		.run = cmd_bench,
		.summary = "how fast this machine is, beside its own limits",
		.min_operands = 0,
		.max_operands = 1,
		.completion = COMPLETE_MODEL,
		.details =
			"First how fast it can read memory and multiply at all, then products, decoding, prefill\n"
			"and sessions together, each as a share of the limit measured beside it. Without MODEL\n"
			"the demo model, which fits into caches: for what large ones do, take a large one.",
	},
	{
		.name = "latency",
		.operands = "MODEL | --compare FILE1 FILE2",
		.args = latency_args,
		.run = cmd_latency,
		.summary = "how even tokens come, token by token, alone or beside a load",
		.min_operands = 1,
		.max_operands = 2,
		.completion = COMPLETE_MODEL,
		.details =
			"Makes tokens as one client of a class and tells how long each took: percentiles, the\n"
			"longest, jitter, and a histogram. --load starts other clients for as long; on the\n"
			"device they need a shared model. Times are of CLOCK_MONOTONIC where a token is made.",
	},
	{
		.name = "doctor",
		.operands = "",
		.args = doctor_args,
		.run = cmd_doctor,
		.summary = "what of this machine's set-up makes tokens late, and how to mend it",
		.details =
			"Looks at kernel, CPUs, interrupts, memory, module and device. Exit code 1 if something\n"
			"does not work at all; what only costs time is a note or a warning.",
	},
	{
		.name = "show",
		.operands = "FILE",
		.args = show_args,
		.run = cmd_show,
		.summary = "what is in a model file, and what is wrong with it",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_MODEL,
	},
	{
		.name = "pack",
		.operands = "MODEL -o FILE",
		.args = pack_args,
		.run = cmd_pack,
		.summary = "write a model as a packed image, which loads without packing",
		.min_operands = 1,
		.max_operands = 1,
		.completion = COMPLETE_FILE,
		.details = "FILE is either the old or the whole new file at any time.",
	},
	{
		.name = "help",
		.operands = "[VERB]",
		.args = no_args,
		.run = cmd_help,
		.summary = "this list, or how a verb is used",
		.min_operands = 0,
		.max_operands = 1,
		.completion = COMPLETE_VERB,
	},
	{
		.name = "version",
		.operands = "",
		.args = no_args,
		.run = cmd_version,
		.summary = "versions of tool and interface",
	},
	{ 0 }
};

static const char *const color_names[] = { "auto", "always", "never", NULL };

const struct arg global_args[] = {
	ARG("json", 'j', ARG_FLAG, struct global_values, out.json, NULL,
	    "results and errors as JSON"),
	ARG("pretty", 0, ARG_FLAG, struct global_values, out.pretty, NULL,
	    "the same, indented"),
	ARG("quiet", 'q', ARG_FLAG, struct global_values, out.quiet, NULL,
	    "no remarks and progress on standard error"),
	ARG("verbose", 'v', ARG_FLAG, struct global_values, out.verbose, NULL,
	    "more remarks"),
	ARG("color", 0, ARG_CHOICE, struct global_values, out.color, "WHEN",
	    "auto, always or never; NO_COLOR is honoured", .choices = color_names),
	ARG("version", 'V', ARG_FLAG, struct global_values, version, NULL,
	    "print versions and exit"),
	ARG("help", 'h', ARG_FLAG, struct global_values, help, NULL,
	    "print how it is used and exit"),
	{ 0 }
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

int command_usage(const struct command *self, const struct bitnet_error *err)
{
	struct bitnet_error e = *err;

	if (!e.hint[0] && self)
		bitnet_error_hint(&e, "bitnetctl %s --help", self->name);
	else if (!e.hint[0])
		bitnet_error_hint(&e, "bitnetctl help");
	out_error(&e);
	return OUT_USAGE;
}

int command_parse(const struct command *self, int argc, char **argv, void *values, int *operands)
{
	struct global_values g = { .out = out };
	const struct arg_set sets[] = {
		{ .table = self->args, .values = values },
		{ .table = global_args, .values = &g },
	};
	struct bitnet_error err;
	int n, ret;

	ret = args_parse(argc, argv, sets, 2, true, &n, &err);
	out = g.out;
	out_init();
	if (ret)
		return command_usage(self, &err);
	if (g.help) {
		command_help(self);
		return OUT_OK;
	}
	if (g.version)
		return cmd_version(NULL, 1, argv);
	if (n < self->min_operands) {
		bitnet_error_set(&err, EINVAL, "%s: expected %s", self->name, self->operands);
		return command_usage(self, &err);
	}
	if (n > self->max_operands) {
		bitnet_error_set(&err, EINVAL, "%s: unexpected '%s'", self->name,
				 argv[self->max_operands + 1]);
		return command_usage(self, &err);
	}
	if (operands)
		*operands = n;
	return -1;
}

void command_help(const struct command *self)
{
	const char *bold = out_style(STYLE_BOLD), *plain = out_style(STYLE_PLAIN);

	if (self) {
		printf("%susage:%s bitnetctl %s%s%s%s\n\n", bold, plain, self->name,
		       *self->operands ? " " : "", self->operands,
		       self->args->name ? " [OPTIONS]" : "");
		printf("%c%s.\n", self->summary[0] - 'a' + 'A', self->summary + 1);
		if (self->details)
			printf("\n%s\n", self->details);
		if (self->args->name) {
			printf("\n%soptions:%s\n", bold, plain);
			args_help(stdout, self->args);
		}
		printf("\nGlobal options: bitnetctl help. Everything: man bitnetctl.\n");
		return;
	}
	printf("%susage:%s bitnetctl [OPTIONS] VERB ...\n\n", bold, plain);
	printf("Runs ternary language models (BitNet b1.58) in the kernel through /dev/bitnet,\n"
	       "or in this process where there is no device.\n\n%sverbs:%s\n", bold, plain);
	for (const struct command *c = commands; c->name; c++)
		printf("  %-9s %s\n", c->name, c->summary);
	printf("\n%soptions:%s\n", bold, plain);
	args_help(stdout, global_args);
	printf("\nFirst steps: bitnetctl run model.gguf -p \"Once upon a time\". More: bitnetctl help VERB,\n"
	       "man bitnetctl.\n");
}

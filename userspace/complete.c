// SPDX-License-Identifier: GPL-2.0
/*
 * complete.c - what the shell may offer next
 *
 * "bitnetctl __complete WORD..." gets the words behind the program's name up to the cursor, the
 * last being the one to complete, and prints candidates, one a line. "@file" stands for file names.
 */
#include <string.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "jobs.h"
#include "model.h"
#include "registry.h"

static void offer(const char *candidate, const char *prefix)
{
	if (!strncmp(candidate, prefix, strlen(prefix)))
		printf("%s\n", candidate);
}

static int offer_note(void *arg, const struct registry_note *note)
{
	offer(note->name, arg);
	return 0;
}

static int offer_job(void *arg, const struct job_state *job)
{
	char id[16];

	snprintf(id, sizeof(id), "%u", job->id);
	offer(id, arg);
	return 0;
}

static void offer_kind(enum arg_completion kind, const char *prefix)
{
	const char *name;
	bool usable;

	switch (kind) {
	case COMPLETE_NONE:
		break;
	case COMPLETE_FILE:
		puts("@file");
		break;
	case COMPLETE_MODEL:
		puts("@file");
		registry_each(offer_note, (void *)prefix);
		break;
	case COMPLETE_NAME:
		registry_each(offer_note, (void *)prefix);
		break;
	case COMPLETE_JOB:
		jobs_each(offer_job, (void *)prefix);
		break;
	case COMPLETE_VERB:
		for (const struct command *c = commands; c->name; c++)
			offer(c->name, prefix);
		break;
	case COMPLETE_VARIANT:
		for (unsigned int i = 0; (name = bitnet_variant_name(i, &usable)); i++)
			if (usable)
				offer(name, prefix);
		break;
	}
}

static const struct arg *find_option(const struct arg *table, const char *word)
{
	size_t len = strcspn(word + 2, "=");

	if (word[0] != '-' || !word[1])
		return NULL;
	for (; table && table->name; table++) {
		if (word[1] == '-'
			    ? strlen(table->name) == len && !strncmp(table->name, word + 2, len)
			    : table->letter == word[1] && !word[2])
			return table;
	}
	return NULL;
}

static void offer_value(const struct arg *a, const char *prefix)
{
	if (a->choices)
		for (int i = 0; a->choices[i]; i++)
			offer(a->choices[i], prefix);
	else
		offer_kind(a->completion, prefix);
}

static void offer_options(const struct arg *table, const char *prefix)
{
	char option[64];

	for (; table && table->name; table++) {
		snprintf(option, sizeof(option), "--%s", table->name);
		offer(option, prefix);
	}
}

int cmd_complete(int argc, char **argv)
{
	const char *current = argc > 1 ? argv[argc - 1] : "", *value;
	const struct command *c = NULL;
	const struct arg *a = NULL;
	int last = argc - 2;	/* word before the current one */

	for (int i = 1; i < argc - 1 && !c; i++)
		c = command_find(argv[i]);

	/* bash cuts "--engine=lo" into three words */
	if (!strcmp(current, "=") && last > 0) {
		current = "";
	} else if (last > 1 && !strcmp(argv[last], "=")) {
		last--;
	}
	if (last > 0) {
		a = find_option(c ? c->args : NULL, argv[last]);
		if (!a)
			a = find_option(global_args, argv[last]);
	}
	if (a && a->type != ARG_FLAG && !strchr(argv[last], '=')) {
		offer_value(a, current);
	} else if (current[0] == '-' && (value = strchr(current, '='))) {
		a = find_option(c ? c->args : global_args, current);
		if (a)
			offer_value(a, value + 1);
	} else if (current[0] == '-') {
		offer_options(c ? c->args : NULL, current);
		offer_options(global_args, current);
	} else if (!c) {
		offer_kind(COMPLETE_VERB, current);
	} else {
		offer_kind(c->completion, current);
	}
	return OUT_OK;
}

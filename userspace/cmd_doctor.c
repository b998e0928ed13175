// SPDX-License-Identifier: GPL-2.0
/* cmd_doctor.c - what of this machine's set-up makes tokens late; see doctor.h */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "bitnetctl.h"
#include "doctor.h"

struct doctor_values {
	const char *root;
};

const struct arg doctor_args[] = {
	ARG("root", 0, ARG_STRING, struct doctor_values, root, "DIR",
	    "look at proc, sys and dev below DIR, as copied from another machine",
	    .completion = COMPLETE_FILE),
	{ 0 }
};

static const char *const level_names[LEVEL_COUNT] = {
	[LEVEL_OK] = "ok",
	[LEVEL_NOTE] = "note",
	[LEVEL_WARNING] = "warning",
	[LEVEL_ERROR] = "error",
};

static void count(const struct doctor *d, unsigned int counts[LEVEL_COUNT])
{
	memset(counts, 0, LEVEL_COUNT * sizeof(*counts));
	for (size_t i = 0; i < d->n; i++)
		counts[d->findings[i].level]++;
}

static json_t *doctor_json(const struct doctor *d, const unsigned int counts[LEVEL_COUNT])
{
	json_t *list = json_array(), *totals = json_object(), *j;

	for (size_t i = 0; i < d->n; i++) {
		const struct finding *f = &d->findings[i];

		j = json_pack("{s:s, s:s, s:o}", "check", f->check, "level", level_names[f->level],
			      "message", out_string(f->message, strlen(f->message)));
		if (f->why) {
			json_object_set_new(j, "why", json_string(f->why));
			json_object_set_new(j, "fix", out_string(f->fix, strlen(f->fix)));
		}
		json_array_append_new(list, j);
	}
	for (int l = 0; l < LEVEL_COUNT; l++)
		json_object_set_new(totals, level_names[l], json_integer(counts[l]));
	return json_pack("{s:o, s:o}", "findings", list, "counts", totals);
}

static void print_finding(const struct finding *f)
{
	static const enum out_style styles[LEVEL_COUNT] = {
		[LEVEL_OK] = STYLE_GOOD,
		[LEVEL_NOTE] = STYLE_BOLD,
		[LEVEL_WARNING] = STYLE_BAD,
		[LEVEL_ERROR] = STYLE_BAD,
	};

	printf("%s%-8s%s %-12s %s\n", out_style(styles[f->level]), level_names[f->level],
	       out_style(STYLE_PLAIN), f->check, f->message);
	if (f->why)
		printf("%-8s %-12s   why: %s\n%-8s %-12s   fix: %s\n", "", "", f->why, "", "",
		       f->fix);
}

int cmd_doctor(const struct command *self, int argc, char **argv)
{
	struct doctor_values v = { .root = "" };
	unsigned int counts[LEVEL_COUNT];
	struct bitnet_error err = { 0 };
	struct stat st;
	struct doctor d;
	int code;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (*v.root && (stat(v.root, &st) || !S_ISDIR(st.st_mode))) {
		bitnet_error_set(&err, ENOTDIR, "%s is not a folder", v.root);
		return out_error(&err);
	}
	if (doctor_examine(&d, v.root)) {
		bitnet_error_set(&err, ENOMEM, "out of memory");
		return out_error(&err);
	}
	count(&d, counts);
	if (out.json) {
		out_json(doctor_json(&d, counts));
	} else {
		/* what matters comes last, where one looks */
		for (int l = 0; l < LEVEL_COUNT; l++)
			for (size_t i = 0; i < d.n; i++)
				if (d.findings[i].level == (enum level)l)
					print_finding(&d.findings[i]);
		printf("\n%u ok, %u notes, %u warnings, %u errors\n", counts[LEVEL_OK],
		       counts[LEVEL_NOTE], counts[LEVEL_WARNING], counts[LEVEL_ERROR]);
	}
	doctor_free(&d);
	return counts[LEVEL_ERROR] ? OUT_FAILURE : OUT_OK;
}

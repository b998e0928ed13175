// SPDX-License-Identifier: GPL-2.0
/* jobclass.c - see jobclass.h */
#include <errno.h>

#include "jobclass.h"

const char *const class_names[] = {
	[BITNET_CLASS_INTERACTIVE] = "interactive",
	[BITNET_CLASS_BATCH] = "batch",
	[BITNET_CLASS_REALTIME] = "realtime",
	NULL
};

int class_check(const struct class_args *a, struct bitnet_error *err)
{
	bool realtime = a->job_class == BITNET_CLASS_REALTIME;

	if (!realtime && (a->first_token_ns || a->period_ns))
		return bitnet_error_set(err, EINVAL, "--%s goes with --class realtime",
					a->period_ns ? "period" : "first-token");
	if (!realtime || (a->first_token_ns && a->period_ns))
		return 0;
	bitnet_error_set(err, EINVAL, "--class realtime needs --first-token and --period");
	return bitnet_error_hint(err, "say when tokens are due: --first-token 500ms --period 100ms");
}

void class_apply(const struct class_args *a, struct bitnet_job *job)
{
	job->job_class = a->job_class;
	job->first_token_ns = a->first_token_ns;
	job->period_ns = a->period_ns;
}

void class_json(const struct class_args *a, json_t *object)
{
	json_object_set_new(object, "class", json_string(class_names[a->job_class]));
	if (a->job_class != BITNET_CLASS_REALTIME)
		return;
	json_object_set_new(object, "first_token_due_ms", json_real(a->first_token_ns / 1e6));
	json_object_set_new(object, "period_ms", json_real(a->period_ns / 1e6));
}

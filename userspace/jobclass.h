/* SPDX-License-Identifier: GPL-2.0 */
/*
 * jobclass.h - the class of a job and its deadlines, as options
 */
#ifndef BITNETCTL_JOBCLASS_H
#define BITNETCTL_JOBCLASS_H

#include "args.h"
#include "bitnet.h"

#include <jansson.h>

/**
 * struct class_args - what --class, --first-token and --period said
 * @job_class:		BITNET_CLASS_*
 * @first_token_ns:	realtime: the first token is due so long after SUBMIT; 0: not given
 * @period_ns:		realtime: each further one so long after the one before; 0: not given
 */
struct class_args {
	int job_class;
	uint64_t first_token_ns, period_ns;
};

extern const char *const class_names[];	/* by BITNET_CLASS_*, NULL at the end */

#define CLASS_ARGS(T, m)									\
	ARG("class", 0, ARG_CHOICE, T, m.job_class, "WHICH",					\
	    "interactive, batch or realtime (interactive)", .choices = class_names),		\
	ARG("first-token", 0, ARG_TIME, T, m.first_token_ns, "MS",				\
	    "realtime: when the first token is due; also 500us, 20ms, 1s",			\
	    .min = BITNET_MIN_PERIOD_NS, .max = BITNET_MAX_PERIOD_NS),				\
	ARG("period", 0, ARG_TIME, T, m.period_ns, "MS",					\
	    "realtime: time between further tokens",						\
	    .min = BITNET_MIN_PERIOD_NS, .max = BITNET_MAX_PERIOD_NS)

/** class_check() - deadlines go with realtime, and realtime with both; -EINVAL is a usage error */
int class_check(const struct class_args *args, struct bitnet_error *err);

/** class_apply() - put them into a job */
void class_apply(const struct class_args *args, struct bitnet_job *job);

/** class_json() - add "class", and of realtime "first_token_due_ms" and "period_ms", to @object */
void class_json(const struct class_args *args, json_t *object);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * status_report.h - what "bitnetctl status" makes of two snapshots: a summary, and what is wrong
 */
#ifndef BITNETCTL_STATUS_REPORT_H
#define BITNETCTL_STATUS_REPORT_H

#include "snapshot.h"

/**
 * struct status_problem - something that the administrator may want to change
 * @code:	for programs: no_worker, cpu_offline, stalled, parked, late, throttled, limit,
 *		section, version
 * @message:	one sentence for people
 */
struct status_problem {
	const char *code;
	char message[200];
};

#define STATUS_MAX_PROBLEMS	32

/**
 * status_problems() - what is wrong, worst first
 * @before:	NULL, or an earlier snapshot: what goes on is told from it
 * @tool_version: version of this program
 * @problems:	out, STATUS_MAX_PROBLEMS
 *
 * Return: how many. What the device does not tell is not judged.
 */
unsigned int status_problems(const struct snapshot *now, const struct snapshot *before,
			     const char *tool_version, struct status_problem *problems);

#endif

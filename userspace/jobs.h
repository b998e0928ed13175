/* SPDX-License-Identifier: GPL-2.0 */
/*
 * jobs.h - background jobs as folders
 *
 * A job of the device lives as long as the file it was submitted through. So "submit" leaves a
 * process behind, the holder, and a folder of the user's own, $XDG_RUNTIME_DIR/bitnet/jobs/ID:
 *
 *   lock         locked (flock) by the holder for as long as it lives; says its process id
 *   request.json what was asked
 *   result.json  the result or the error; renamed into place, so either absent or whole
 *
 * The lock tells a living holder from a dead one without trusting process ids: a folder that is
 * neither locked nor has a result belongs to a holder that was killed.
 */
#ifndef BITNETCTL_JOBS_H
#define BITNETCTL_JOBS_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

/**
 * struct job_state - one job
 * @id:		names it
 * @running:	its holder lives
 * @ended:	it has a result; neither: the holder died
 * @request:	borrowed, may be NULL
 */
struct job_state {
	unsigned int id;
	bool running, ended;
	const json_t *request;
};

/**
 * jobs_create() - make the folder of a new job and lock it
 * @request:	what to remember; not consumed
 *
 * Return: descriptor of the lock, which is held until it is closed here and in all children; or a
 * negative errno.
 */
int jobs_create(const json_t *request, unsigned int *id, struct bitnet_error *err);

/** jobs_set_holder() - write the holder's process id into the lock */
int jobs_set_holder(int lock, pid_t pid);

/** jobs_finish() - leave the result; not consumed */
int jobs_finish(unsigned int id, const json_t *result);

/** jobs_parse_id() - 0 or -EINVAL */
int jobs_parse_id(const char *text, unsigned int *id);

/**
 * jobs_wait() - wait for the holder's end
 * @timeout_ms:	negative: for ever
 *
 * Return: 0, -ENOENT, -ETIME, or -EINTR after an interrupt.
 */
int jobs_wait(unsigned int id, int64_t timeout_ms);

/** jobs_result() - the result, a new reference; NULL if there is none */
json_t *jobs_result(unsigned int id);

/**
 * jobs_signal() - send a signal to the holder. Return: 0, -ENOENT, or -ESRCH if it lives no more
 */
int jobs_signal(unsigned int id, int signo);

/** jobs_remove() - forget it */
void jobs_remove(unsigned int id);

/** jobs_each() - in order of ids, until @fn returns non-zero; returns that */
int jobs_each(int (*fn)(void *arg, const struct job_state *job), void *arg);

#endif

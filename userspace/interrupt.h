/* SPDX-License-Identifier: GPL-2.0 */
/*
 * interrupt.h - Ctrl-C: the first asks for an orderly end, the second ends at once
 */
#ifndef BITNETCTL_INTERRUPT_H
#define BITNETCTL_INTERRUPT_H

#include <stdbool.h>

/**
 * interrupt_catch() - from now on SIGINT, SIGTERM and SIGHUP are noted
 * @patient: a second signal does not end the process either: it has a file to remove first
 *
 * System calls return EINTR. Jobs of a process that ends at once are cancelled by the kernel, as
 * its device is closed.
 */
void interrupt_catch(bool patient);

/** interrupt_pending() - number of the signal that came, or 0 */
int interrupt_pending(void);

/** interrupt_clear() - forget it, when it has been served */
void interrupt_clear(void);

#endif

// SPDX-License-Identifier: GPL-2.0
/* interrupt.c - see interrupt.h */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "interrupt.h"

static volatile sig_atomic_t pending;
static bool stay;

static void note(int signo)
{
	if (pending && !stay)
		_exit(128 + signo);
	pending = signo;
}

void interrupt_catch(bool patient)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = note };	/* no SA_RESTART */
	struct sigaction old;

	stay = patient;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/*
		 * nohup, and background jobs of a shell without job control, start with these
		 * ignored
		 */
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &sa, NULL);
	}
}

int interrupt_pending(void)
{
	return pending;
}

void interrupt_clear(void)
{
	pending = 0;
}

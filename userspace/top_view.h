/* SPDX-License-Identifier: GPL-2.0 */
/*
 * top_view.h - "top" on a terminal, full screen
 */
#ifndef BITNETCTL_TOP_VIEW_H
#define BITNETCTL_TOP_VIEW_H

#include "top_model.h"
#include "top_source.h"

/** top_view_possible() - are standard input and output a terminal that has a screen? */
bool top_view_possible(void);

/**
 * top_view_run() - show and obey keys until q, a signal or an error
 * @source:	has taken one snapshot at least
 * @order:	pane, sorting and filter at first
 * @interval_ms: between snapshots
 *
 * The terminal is as it was before when this returns; SIGTSTP restores it meanwhile.
 * Return: 0, -EINTR (a signal, see interrupt_pending()), or another negative errno.
 */
int top_view_run(struct top_source *source, const struct top_order *order,
		 unsigned int interval_ms, struct bitnet_error *err);

#endif

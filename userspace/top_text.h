/* SPDX-License-Identifier: GPL-2.0 */
/*
 * top_text.h - a frame of "top" as lines of text, of any width
 */
#ifndef BITNETCTL_TOP_TEXT_H
#define BITNETCTL_TOP_TEXT_H

#include "top_model.h"

#define TOP_LINE_BYTES		1024
#define TOP_SUMMARY_LINES	4

/**
 * top_fit() - text in exactly @columns terminal columns
 * @to:		at least TOP_LINE_BYTES
 * @columns:	at most TOP_LINE_BYTES / 4 - 1 are used
 * @right:	aligned to the right
 *
 * What is too long is cut; what the locale cannot show is '?'.
 */
void top_fit(char *to, const char *text, unsigned int columns, bool right);

/** top_duration() - nanoseconds for people, at most 7 characters: "850 ns", "12.3 ms", "-" for NAN */
void top_duration(char *to, size_t size, double ns);

/** top_summary() - line @n, 0 .. TOP_SUMMARY_LINES - 1, about the whole device, of @columns */
void top_summary(const struct top_frame *f, unsigned int n, char *to, unsigned int columns);

/**
 * top_line() - a row of the table, or its titles
 * @row: NULL: the titles
 *
 * Columns that do not fit any more are left out.
 */
void top_line(const struct top_frame *f, const struct top_row *row, char *to, unsigned int columns);

/** top_title() - where a column's title stands in the line: its first terminal column, or -1 */
int top_title(const struct top_pane *pane, unsigned int column, unsigned int columns,
	      unsigned int *width);

#endif

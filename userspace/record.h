/* SPDX-License-Identifier: GPL-2.0 */
/*
 * record.h - one message of the netlink family, kept: numbers by attribute, and its texts
 *
 * What status, top and monitor work with. A record comes from the kernel, or from the JSON that
 * was made of one; either way an attribute that was not there is known as such.
 */
#ifndef BITNETCTL_RECORD_H
#define BITNETCTL_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/bitnet.h>
#include <linux/bitnet_genl.h>

#include "bitnet.h"

/**
 * struct record - one message
 * @has:	bit a: attribute a, a number, was there
 * @value:	numbers; 0 where there was none. BITNET_A_ERROR as a negative errno in 64 bits
 * @name:	NAME, COMM or VERSION, whichever the message has; without control characters
 * @variant:	VARIANT
 * @user:	name of the user UID, or his number; empty without UID
 */
struct record {
	uint64_t has;
	uint64_t value[BITNET_A_MAX + 1];
	char name[BITNET_NAME_BYTES];
	char variant[BITNET_VARIANT_BYTES];
	char user[33];
};

/**
 * struct record_field - how one number is called in JSON
 * @attr:	BITNET_A_*, 0 ends a table
 * @name:	JSON key
 */
struct record_field {
	int attr;
	const char *name;
};

/** record_read() - what a message says; the user's name is looked up */
void record_read(struct record *r, const struct bitnet_nl_attrs *attrs);

/** record_set() - as if the message had had the number */
void record_set(struct record *r, int attr, uint64_t value);

/** record_set_text() - @from to @to of @size bytes; what is no UTF-8 or would move a cursor is '?' */
void record_set_text(char *to, size_t size, const char *from);

bool record_has(const struct record *r, int attr);

/** record_json() - the numbers of @fields that are there. Return: a new object */
json_t *record_json(const struct record *r, const struct record_field *fields);

/**
 * record_parse() - the reverse of record_json()
 *
 * Unknown keys are ignored. Return: 0, or -EINVAL if a known one is not a number from 0 on.
 */
int record_parse(struct record *r, const struct record_field *fields, const json_t *object);

#endif

// SPDX-License-Identifier: GPL-2.0
/* record.c - see record.h */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "record.h"
#include "utf8.h"

_Static_assert(BITNET_A_MAX < 64, "an attribute is a bit of record.has");

void record_set_text(char *to, size_t size, const char *from)
{
	size_t len = strlen(from), out = 0;
	uint32_t cp;
	int n;

	for (size_t i = 0; i < len; i += n) {
		n = bitnet_utf8_scan(from + i, len - i, &cp);
		if (n > 0 && cp >= 0x20 && (cp < 0x7f || cp > 0x9f)) {
			if (out + n >= size)
				break;
			memcpy(to + out, from + i, n);
			out += n;
			continue;
		}
		n = n > 0 ? n : n ? -n : (int)(len - i);
		if (out + 1 >= size)
			break;
		to[out++] = '?';
	}
	to[out] = '\0';
}

static void set_user(struct record *r)
{
	const struct passwd *pw = getpwuid(r->value[BITNET_A_UID]);
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)r->value[BITNET_A_UID]);
	record_set_text(r->user, sizeof(r->user), pw ? pw->pw_name : number);
}

bool record_has(const struct record *r, int attr)
{
	return r->has & 1ULL << attr;
}

void record_set(struct record *r, int attr, uint64_t value)
{
	r->has |= 1ULL << attr;
	r->value[attr] = value;
}

void record_read(struct record *r, const struct bitnet_nl_attrs *attrs)
{
	static const int names[] = { BITNET_A_NAME, BITNET_A_COMM, BITNET_A_VERSION };

	memset(r, 0, sizeof(*r));
	for (int a = 1; a <= BITNET_A_MAX; a++)
		if (bitnet_nl_has(attrs, a))
			record_set(r, a, bitnet_nl_number(attrs, a));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (record_has(r, names[i]))
			record_set_text(r->name, sizeof(r->name),
					bitnet_nl_string(attrs, names[i]));
	record_set_text(r->variant, sizeof(r->variant), bitnet_nl_string(attrs, BITNET_A_VARIANT));
	if (record_has(r, BITNET_A_UID))
		set_user(r);
}

json_t *record_json(const struct record *r, const struct record_field *fields)
{
	json_t *j = json_object();

	for (; fields->attr; fields++)
		if (record_has(r, fields->attr))
			json_object_set_new(j, fields->name, json_integer(r->value[fields->attr]));
	return j;
}

int record_parse(struct record *r, const struct record_field *fields, const json_t *object)
{
	const json_t *v;

	for (; fields->attr; fields++) {
		v = json_object_get(object, fields->name);
		if (!v)
			continue;
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return -EINVAL;
		record_set(r, fields->attr, json_integer_value(v));
	}
	return 0;
}

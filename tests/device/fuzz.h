/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fuzz.h - sequences of calls: made from a seed, written down, read back, and made shorter
 *
 * A call is an operation and a few numbers, which mean something only together with what is there
 * when it is made ("the third of the models"). So any part of a sequence is a sequence.
 */
#ifndef TESTS_DEVICE_FUZZ_H
#define TESTS_DEVICE_FUZZ_H

#include "device.h"

#define FUZZ_CALLS	400	/* of one sequence, at most */

struct fuzz_call {
	uint8_t op;
	uint8_t how;		/* what is wrong with the struct */
	uint16_t file;
	uint32_t a, b, c;
};

struct fuzz_sequence {
	uint64_t seed;
	bool user;		/* without root's privileges */
	unsigned int n;
	struct fuzz_call call[FUZZ_CALLS];
};

struct fuzz_op {
	const char *name;
	void (*run)(const struct fuzz_call *call);
	unsigned int weight;
	unsigned int opens;	/* most sequences begin with so many of it */
};

static inline void fuzz_generate(struct fuzz_sequence *s, uint64_t seed, const struct fuzz_op *ops,
				 unsigned int n_ops)
{
	uint64_t state = seed, r;
	unsigned int total = 0, opening = 0, opened = 0, i;

	for (i = 0; i < n_ops; i++)
		total += ops[i].weight;
	s->seed = seed;
	s->user = seed & 1;
	s->n = 20 + t_random(&state) % (FUZZ_CALLS - 20);
	if (t_random(&state) % 4 == 0)
		opening = n_ops;
	for (i = 0; i < s->n; i++) {
		struct fuzz_call *call = &s->call[i];
		unsigned int pick = t_random(&state) % total;

		for (; opening < n_ops && opened >= ops[opening].opens; opening++)
			opened = 0;
		for (call->op = 0; pick >= ops[call->op].weight; call->op++)
			pick -= ops[call->op].weight;
		r = t_random(&state);
		/* Three of four calls have a sound struct, and one file has most of them. */
		call->how = r % 4 ? 0 : r >> 8;
		call->file = (r >> 16) % 8 < 5 ? 0 : r >> 24;
		if (opening < n_ops) {
			call->op = opening;
			opened++;
			call->how = 0;
			call->file = 0;
		}
		r = t_random(&state);
		call->a = r;
		call->b = r >> 32;
		call->c = t_random(&state);
	}
}

/* One line a call; lines of diagnosis, so that a log has the sequence. */
static inline void fuzz_print(const struct fuzz_sequence *s, const struct fuzz_op *ops)
{
	unsigned int i;

	diag("%u calls, as %s; for --replay:", s->n, s->user ? "user" : "root");
	for (i = 0; i < s->n; i++)
		printf("# call %s %u %u %u %u %u %u\n", ops[s->call[i].op].name, s->user,
		       s->call[i].how, s->call[i].file, s->call[i].a, s->call[i].b, s->call[i].c);
}

/* Reads what fuzz_print() wrote; other lines are passed over. */
static inline void fuzz_read(struct fuzz_sequence *s, const char *path, const struct fuzz_op *ops,
			     unsigned int n_ops)
{
	FILE *f = fopen(path, "re");
	char line[256], name[32];

	if (!f)
		bail("%s: %s", path, strerror(errno));
	memset(s, 0, sizeof(*s));
	while (fgets(line, sizeof(line), f) && s->n < FUZZ_CALLS) {
		struct fuzz_call *call = &s->call[s->n];
		unsigned int user, how, file, op;

		if (sscanf(line, "# call %31s %u %u %u %u %u %u", name, &user, &how, &file,
			   &call->a, &call->b, &call->c) != 7)
			continue;
		for (op = 0; op < n_ops && strcmp(ops[op].name, name);)
			op++;
		if (op == n_ops)
			bail("%s: no operation %s", path, name);
		call->op = op;
		call->how = how;
		call->file = file;
		s->user = user;
		s->n++;
	}
	fclose(f);
}

#define FUZZ_SHRINK_NS	(60 * 1000000000ULL)

/*
 * Leaves calls out for as long as the rest fails, or until it takes too long: halves first, single
 * calls last. @fails may err towards no when a failure depends on time.
 */
static inline void fuzz_shrink(struct fuzz_sequence *s,
			       bool (*fails)(const struct fuzz_sequence *s))
{
	static struct fuzz_sequence shorter;
	uint64_t give_up = t_now() + FUZZ_SHRINK_NS;
	unsigned int size = s->n / 2, at, n;

	while (size && t_now() < give_up) {
		bool any = false;

		for (at = 0; at < s->n && t_now() < give_up;) {
			n = s->n - at < size ? s->n - at : size;
			shorter = *s;
			memmove(&shorter.call[at], &shorter.call[at + n],
				(s->n - at - n) * sizeof(shorter.call[0]));
			shorter.n -= n;
			if (shorter.n && fails(&shorter)) {
				*s = shorter;
				any = true;
			} else {
				at += n;
			}
		}
		if (!any || size > 1)
			size /= 2;
	}
}

#endif /* TESTS_DEVICE_FUZZ_H */

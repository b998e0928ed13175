/* SPDX-License-Identifier: GPL-2.0 */
/*
 * golden.h - what the demo model says: prompts with their tokens, and how it goes on
 */
#ifndef TESTS_DEVICE_GOLDEN_H
#define TESTS_DEVICE_GOLDEN_H

#include <stdint.h>

/*
 * From tests/golden/golden.json: prompts of the demo model and what it goes on with at temperature
 * 0. Left out are two prompts with a token that is nearly a tie of two: the reference computes in
 * float64, with an embedding that is not rounded, and decides otherwise.
 */
struct t_golden {
	const char *prompt;
	uint32_t n_ids;
	uint32_t ids[16];
	uint32_t greedy[48];
};

#define T_N_GOLDEN	3
#define T_N_GREEDY	48
#define T_DEMO_VOCAB	4096
#define T_DEMO_CTX	512

static const struct t_golden t_golden[T_N_GOLDEN] __attribute__((unused)) = {
	{
		.prompt = "Once upon a time",
		.n_ids = 5,
		.ids = {
			4094, 469, 467, 258, 416,
		},
		.greedy = {
			44, 409, 287, 258, 405, 505, 464, 444, 46, 354, 561, 267, 362, 335, 324,
			745, 268, 602, 621, 1838, 46, 604, 351, 44, 353, 545, 258, 386, 44, 799,
			564, 307, 324, 791, 46, 354, 287, 403, 421, 268, 457, 267, 362, 335, 310,
			304, 783, 633,
		},
	},
	{
		.prompt = "Once upon a time, there was a little girl named Lily. She",
		.n_ids = 15,
		.ids = {
			4094, 469, 467, 258, 416, 44, 409, 287, 258, 405, 505, 464, 444, 46, 354,
		},
		.greedy = {
			561, 267, 362, 335, 324, 745, 268, 602, 621, 1838, 46, 604, 351, 44, 353,
			545, 258, 386, 44, 799, 564, 307, 324, 791, 46, 354, 287, 403, 421, 268,
			457, 267, 362, 335, 310, 304, 783, 633, 261, 564, 268, 612, 267, 362, 335,
			310, 46, 354,
		},
	},
	{
		.prompt = "One day, 3 small dogs went to the",
		.n_ids = 11,
		.ids = {
			4094, 424, 351, 44, 32, 51, 660, 2112, 441, 267, 261,
		},
		.greedy = {
			642, 46, 340, 418, 258, 386, 555, 335, 258, 750, 315, 1427, 46, 340, 457,
			267, 1370, 261, 555, 44, 408, 280, 287, 437, 660, 267, 1769, 261, 555, 304,
			935, 539, 331, 394, 44, 686, 44, 267, 481, 396, 46, 686, 341, 44, 323, 73,
			486, 481,
		},
	},
};

#endif /* TESTS_DEVICE_GOLDEN_H */

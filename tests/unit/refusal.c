// SPDX-License-Identifier: GPL-2.0
/* Why SUBMIT had no room, in the user's words */
#include <errno.h>
#include <stdint.h>

#include "refusal.h"
#include "tap.h"

int main(void)
{
	static const struct {
		struct bitnet_submit submit;
		const char *msg, *hint;
	} cases[] = {
		{ { .out_refusal = BITNET_REFUSED_LOAD, .out_load_ppm = 1340000,
		    .out_step_ns = 12345678 },
		  "no room for this realtime job: this machine needs 12.3 ms for a token, with the realtime jobs that are accepted 134 % of its time",
		  "--period" },
		{ { .out_refusal = BITNET_REFUSED_LOAD, .out_load_ppm = UINT32_MAX,
		    .out_step_ns = UINT64_MAX },
		  "no room for this realtime job: this machine needs 1.84e+13 ms for a token, with the realtime jobs that are accepted 429497 % of its time",
		  "--period" },
		{ { .out_refusal = BITNET_REFUSED_PERIOD, .out_step_ns = 500000 },
		  "this machine needs 0.5 ms for a token: too long for the first after 2 ms and one every 0.25 ms",
		  "--first-token" },
		{ { .out_refusal = BITNET_REFUSED_REALTIME },
		  "the device has as many realtime jobs as it accepts already", "wait" },
		{ { .out_refusal = BITNET_REFUSED_SHARE, .out_load_ppm = 612000 },
		  "your realtime jobs would need 61 % of this machine's time, more than one user may have",
		  "bitnetctl limits" },
		{ { .out_refusal = BITNET_REFUSED_JOBS }, "too many unfinished jobs",
		  "bitnetctl info" },
		/* an older module, or a reason of a newer one */
		{ { .out_refusal = 0 }, "too many unfinished jobs", "bitnetctl info" },
		{ { .out_refusal = 77 }, "too many unfinished jobs", "bitnetctl info" },
	};
	const struct bitnet_job job = { .first_token_ns = 2000000, .period_ns = 250000 };
	struct bitnet_error err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		is(bitnet_refusal_describe(&err, &cases[i].submit, &job), -EDQUOT, "refusal %u",
		   cases[i].submit.out_refusal);
		is(err.code, EDQUOT, "  errno");
		is_str(err.msg, cases[i].msg, "  in words");
		ok(strstr(err.hint, cases[i].hint), "  and what to do");
	}
	is(bitnet_refusal_describe(NULL, &cases[0].submit, &job), -EDQUOT, "nobody wants the words");
	return done();
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* refusal.c - see refusal.h */
#include <errno.h>
#include <stdint.h>

#include "refusal.h"

static double ms(uint64_t ns)
{
	return ns / 1e6;
}

int bitnet_refusal_describe(struct bitnet_error *err, const struct bitnet_submit *s,
			    const struct bitnet_job *refused)
{
	switch (s->out_refusal) {
	case BITNET_REFUSED_LOAD:
		bitnet_error_set(
			err, EDQUOT,
			"no room for this realtime job: this machine needs %.3g ms for a token, with the realtime jobs that are accepted %.0f %% of its time",
			ms(s->out_step_ns), s->out_load_ppm * 100.0 / BITNET_PPM);
		bitnet_error_hint(
			err,
			"ask for a longer --period and --first-token, wait until realtime jobs have ended, or take --class interactive");
		break;
	case BITNET_REFUSED_PERIOD:
		bitnet_error_set(
			err, EDQUOT,
			"this machine needs %.3g ms for a token: too long for the first after %.3g ms and one every %.3g ms",
			ms(s->out_step_ns), ms(refused->first_token_ns), ms(refused->period_ns));
		bitnet_error_hint(
			err,
			"ask for a longer --period and --first-token, a shorter prompt, or take --class interactive");
		break;
	case BITNET_REFUSED_REALTIME:
		bitnet_error_set(err, EDQUOT,
				 "the device has as many realtime jobs as it accepts already");
		bitnet_error_hint(
			err, "wait until some of them have ended, or take --class interactive");
		break;
	case BITNET_REFUSED_SHARE:
		bitnet_error_set(
			err, EDQUOT,
			"your realtime jobs would need %.0f %% of this machine's time, more than one user may have",
			s->out_load_ppm * 100.0 / BITNET_PPM);
		bitnet_error_hint(
			err,
			"ask for a longer --period, see 'bitnetctl limits', or take --class interactive");
		break;
	default:
		bitnet_error_set(err, EDQUOT, "too many unfinished jobs");
		bitnet_error_hint(
			err, "wait for some of them, see 'bitnetctl info' and 'bitnetctl limits' for how many");
	}
	return -EDQUOT;
}

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The bpftrace scripts fit the tracepoints, and what is written about these is true.
. "$(dirname "$0")/tap.bash"
header=$src/kmod/trace.h
scripts=("$src"/scripts/trace/*.bt)

tracepoints() { python3 "$cli/tracepoints.py" "$@"; }

wrong=$(tracepoints check "$header" "${scripts[@]}")
is "$wrong" "" "the scripts use events and fields that there are"
wrong=$(tracepoints document "$header" "$src/kmod/README.md")
is "$wrong" "" "kmod/README.md documents all events and fields, and no others"
wrong=$(tracepoints classes "$src/uapi/linux/bitnet.h" "$src/scripts/trace/token-latency.bt")
is "$wrong" "" "the classes have the names of the interface"
for f in "${scripts[@]}"; do
	ok "bitnetctl(8) names ${f##*/}" grep -q "${f##*/}" "$src/userspace/man/bitnetctl.8"
done

# The checks can fail.
sed 's/args->latency_ns/args->latency/' "$src/scripts/trace/token-latency.bt" >field.bt
like "$(tracepoints check "$header" field.bt)" "bitnet_token has no field latency" "a field that is none is found"
sed 's/bitnet:bitnet_step$/bitnet:bitnet_steps/' "$src/scripts/trace/step-timeline.bt" >event.bt
like "$(tracepoints check "$header" event.bt)" "there is no event bitnet:bitnet_steps" "an event that is none is found"
sed 's/`latency_ns` `index`/`index`/' "$src/kmod/README.md" >README.md
like "$(tracepoints document "$header" README.md)" "bitnet_token has the fields" "a field that is not documented is found"

# bpftrace itself, with a tracefs made from the header in a mount namespace of its own.
parses() { # script
	unshare -m bash -c '
		mount -t tmpfs none /sys/kernel/tracing && python3 "$1/tracepoints.py" tracefs "$2" /sys/kernel/tracing &&
			bpftrace -d "$3"' - "$cli" "$header" "$1"
}
if ! command -v bpftrace >/dev/null; then
	skip "bpftrace compiles the scripts" "no bpftrace"
elif ! unshare -m mount -t tmpfs none /sys/kernel/tracing 2>/dev/null; then
	skip "bpftrace compiles the scripts" "needs root, and /sys/kernel/tracing to mount on"
else
	for f in "${scripts[@]}"; do
		run parses "$f"
		is "$status" 0 "bpftrace compiles ${f##*/}" || diag "$(grep -v WARNING <<<"$err" | tail -n 20)"
	done
	run parses field.bt
	unlike "$status" "^0$" "bpftrace refuses a field that is none"
fi
finish

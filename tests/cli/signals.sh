#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Ctrl-C, broken pipes, full disks: an orderly end, the right exit code, nothing left behind.
. "$(dirname "$0")/tap.bash"

# A text without an end, slow enough to be interrupted.
endless=("$bitnetctl" run "$model" --engine=local -q -p "Once upon a time" --ignore-eos --temp 0 --variant ref -t 1)

# Sends a signal once the command has said something. Shells start background jobs with SIGINT ignored.
interrupt() { # signal command...
	local signal=$1 pid
	shift
	: >"$tmp/.out"
	env --default-signal=INT "$@" >"$tmp/.out" 2>"$tmp/.err" &
	pid=$!
	for _ in $(seq 1000); do
		[ -s "$tmp/.out" ] && break
		sleep 0.01
	done
	kill -s "$signal" $pid
	status=0
	wait $pid || status=$?
	out=$(cat "$tmp/.out")
	err=$(cat "$tmp/.err")
}

interrupt INT "${endless[@]}"
is "$status" 130 "Ctrl-C: exit code 130"
like "$out" "^,( there)?" "  what was made is there"
is "$err" "" "  without a complaint"
interrupt INT "${endless[@]}" -j --stream
is "$status" 130 "Ctrl-C with --json: exit code 130"
is "$(tail -n 1 "$tmp/.out" | field /dev/stdin finish)" cancelled "  the result says that it was cancelled"
interrupt TERM "${endless[@]}"
is "$status" 143 "SIGTERM: exit code 143"
interrupt INT "$bitnetctl" verify "$model" --engine=local -n 8 --all-layers
is "$status" 130 "Ctrl-C in verify"
interrupt INT bash -c 'exec "$@" < <(echo Once; sleep 2)' - "$bitnetctl" chat "$model" --engine=local -q --ignore-eos \
	--variant ref -t 1
is "$status" 130 "Ctrl-C in a conversation that is no terminal's"
ok "a second Ctrl-C ends at once" bash -c '
	"$@" >/dev/null & pid=$!
	sleep 0.3; kill -TERM $pid; kill -TERM $pid; wait $pid; [ $? = 143 ]' - "${endless[@]}"

set -o pipefail
"${endless[@]}" 2>"$tmp/pipe.err" | head -c 10 >/dev/null
is "${PIPESTATUS[0]}" 141 "a reader that goes away ends it as SIGPIPE does"
is "$(cat "$tmp/pipe.err")" "" "  silently"
(trap '' PIPE; "${endless[@]}" 2>"$tmp/pipe.err"; echo $? >"$tmp/pipe.status") | head -c 10 >/dev/null
is "$(cat "$tmp/pipe.status")" 141 "also where SIGPIPE was ignored"
bitnetctl --help | head -n 1 >/dev/null
like "${PIPESTATUS[0]}" "^(0|141)$" "help into a pipe"

if [ -w /dev/full ]; then
	run bash -c '"$@" >/dev/full' - "$bitnetctl" run "$model" --engine=local -q -p x -n 5
	is "$status" 1 "a full disk: exit code 1"
	like "$err" "cannot write to standard output: No space" "  and says so"
	run bash -c '"$@" >/dev/full' - "$bitnetctl" version -j
	is "$status" 1 "  in JSON too"
else
	skip "full disk" "no /dev/full"
fi

# pack: the old file or the whole new one, and no third.
bitnetctl pack "$model" -o "$tmp/image" >/dev/null
sum=$(cksum <"$tmp/image")
mkdir "$tmp/pack"
for at in 0.001 0.005 0.01 0.02 0.04; do
	cp "$tmp/image" "$tmp/pack/image"
	timeout --preserve-status -s INT $at "$bitnetctl" pack "$model" -o "$tmp/pack/image" >/dev/null 2>&1
	like "$?" "^(0|130)$" "pack interrupted after $at s"
	is "$(ls "$tmp/pack") $(cksum <"$tmp/pack/image")" "image $sum" "  leaves a whole file and no other"
done
finish

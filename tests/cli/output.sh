#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Colours, progress and notes: on terminals only, and never where programs read.
. "$(dirname "$0")/tap.bash"
esc=$'\e'

run bitnetctl run "$model" -p Once -n 3 --temp 0 --engine=local
unlike "$out$err" "$esc" "no colours into pipes"
unlike "$err" "packing" "no progress into pipes"
run bitnetctl --color=always help
like "$out" "$esc\[1m" "--color=always"
run bitnetctl --color=never help
unlike "$out" "$esc" "--color=never"

if command -v script >/dev/null; then
	tty() { # command: as on a terminal; the answer is what the terminal shows
		TERM=xterm script -qec "$1" /dev/null </dev/null 2>&1
	}
	like "$(tty "$bitnetctl help")" "$esc\[1m" "colours on a terminal"
	unlike "$(NO_COLOR=1 tty "$bitnetctl help")" "$esc" "NO_COLOR"
	unlike "$(tty "env TERM=dumb $bitnetctl help")" "$esc" "TERM=dumb"
	like "$(tty "$bitnetctl run $model -p Once -n 3 --temp 0 --engine=local -q")" "^ upon a time" "text on a terminal"
else
	skip "terminal" "no script(1)"
fi

# Every failure has an object of the same form.
while read -r code status words; do
	# shellcheck disable=SC2086 # words
	run bitnetctl $words -j
	is "$status:$(field "$tmp/.out" error.code):$(field "$tmp/.out" schema)" "$status:$code:1" "error object of: $words"
	is "$err" "" "  and nothing else"
done <<END
ENODEV 3 info --engine=device --device /nonexistent
ENOENT 1 run ./nonexistent -p x
EINVAL 2 run
ENOENT 1 wait 77
EINVAL 2 nonsense
END
run bitnetctl info -j --pretty --device /nonexistent
like "$out" $'^[{]\n  "schema": 1' "--pretty"
run bitnetctl info --pretty --device /nonexistent
like "$out" $'^[{]\n  "schema": 1' "  means --json"
finish

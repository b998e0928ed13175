#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Help, versions and wrong usage: what a person meets first.
. "$(dirname "$0")/tap.bash"

verbs=$(bitnetctl __complete '')

run bitnetctl --help
is "$status" 0 "--help: exit code 0"
for verb in $verbs; do
	like "$out" "  $verb +[a-z]" "--help lists $verb"
	run bitnetctl "$verb" --help
	is "$status:$err" "0:" "$verb --help"
	like "$out" "usage:.* bitnetctl $verb" "$verb --help says how it is used"
	text=$out
	run bitnetctl help "$verb"
	is "$out" "$text" "help $verb is the same"
	run bitnetctl --help
done

run bitnetctl --version
like "$status $out" "^0 bitnetctl [^ ]+, device interface [0-9]+, image format [0-9]+$" "--version"
version=$out
run bitnetctl version
is "$out" "$version" "version is the same"
run bitnetctl run -V
is "$out" "$version" "-V behind a verb too"
run bitnetctl -j version
golden "$tmp/.out" version

fails 2 "no verb given" "no verb" bitnetctl
fails 2 "no verb 'rum'" "a verb misspelt" bitnetctl rum
like "$err" "did you mean 'bitnetctl run'" "  and what may have been meant"
fails 2 "unknown option '--jsn'" "a global option misspelt" bitnetctl --jsn info
fails 2 "expected MODEL" "run without a model" bitnetctl run
fails 2 "no prompt given" "run without a prompt" bitnetctl run "$model"
like "$err" "hint: -p TEXT" "  and how to give one"
fails 2 "unexpected 'hello'" "a prompt as an operand" bitnetctl run "$model" hello
fails 2 "exclude each other" "two prompts" bitnetctl run "$model" -p a -f b
fails 2 "exclude each other" "--raw and --chat" bitnetctl run "$model" -p a --raw --chat
fails 2 "unknown option '--tmp'" "an option misspelt" bitnetctl run "$model" -p a --tmp 1
fails 2 "not a number" "a temperature that is none" bitnetctl run "$model" -p a --temp warm
fails 2 "not between 0 and 100" "a temperature too high" bitnetctl run "$model" -p a --temp 101
fails 2 "not a whole number" "a negative number of tokens" bitnetctl run "$model" -p a -n -5
fails 2 "not one of: auto, device, local" "an engine that is none" bitnetctl run "$model" -p a --engine=gpu
fails 2 "not one of: interactive, batch, realtime" "a class that is none" bitnetctl run "$model" -p a --class fast
fails 2 "needs --first-token and --period" "realtime without deadlines" bitnetctl run "$model" -p a --class realtime
fails 2 "needs --first-token and --period" "realtime without a period" \
	bitnetctl chat "$model" --class realtime --first-token 1s
fails 2 "period goes with --class realtime" "a period of a batch job" \
	bitnetctl submit "$model" -p a --class batch --period 20ms
fails 2 "first-token goes with --class realtime" "a deadline of an interactive job" \
	bitnetctl run "$model" -p a --first-token 20
fails 2 "not between 10us and 3600s" "a period too short" \
	bitnetctl run "$model" -p a --class realtime --first-token 1s --period 9us
fails 2 "'1h' is not a time such as 20ms" "a time that is none" bitnetctl run "$model" -p a --first-token 1h
fails 2 "the text is empty" "an empty stop string" bitnetctl run "$model" -p a --stop ''
fails 2 "no output file" "pack without -o" bitnetctl pack "$model"
fails 2 "unexpected 'b'" "too many operands" bitnetctl unload a b
fails 2 "expected FILE" "load without a file" bitnetctl load
fails 2 "is not a name" "a name that is none" bitnetctl load "$model" --name 'a b'
fails 2 "expected ID" "wait without an id" bitnetctl wait
fails 2 "not a job id" "an id that is none" bitnetctl wait x1
fails 2 "expected ID, or --all" "cancel without an id" bitnetctl cancel
fails 2 "limits of whom" "limits of nobody" bitnetctl limits --sessions 3
fails 2 "exclude each other" "limits of one and of all" bitnetctl limits --user root --default --jobs 1
fails 2 "no limit given" "the default of nothing" bitnetctl limits --default
fails 2 "no user 'no-such-user'" "limits of a user that is none" bitnetctl limits --user no-such-user --jobs 1
fails 2 "not a whole number, or none" "a number that is none" bitnetctl limits --default --jobs -1
fails 2 "not a size such as 512M" "a size that is none" bitnetctl limits --default --kv-bytes 3x
fails 2 "not between 0 and 50" "a floor too high" bitnetctl limits --batch-floor 51
fails 2 "unexpected '2'" "two lists of CPUs" bitnetctl workers 1 2
fails 2 "no verb 'x'" "help for nothing" bitnetctl help x
fails 2 "--event: there is no 'job_dome'" "an event that is none" bitnetctl monitor -e job_dome
like "$err" "hint: did you mean 'job_done'" "  and what may have been meant"
fails 2 "--event: there is no 'x'" "another" bitnetctl monitor --event x
like "$err" "hint: one of model_loaded, .*worker" "  and what there is"
fails 2 "no user 'no such user'" "a user that is none" bitnetctl monitor --user "no such user"
fails 2 "not between 0 and" "a pid that is none" bitnetctl monitor --pid 99999999999
fails 2 "not between 1 and" "no events" bitnetctl monitor -n 0
fails 2 "not a number" "a duration that is none" bitnetctl monitor --min long
fails 2 "unexpected 'job_done'" "an event as an operand" bitnetctl monitor job_done
fails 2 "not between 0 and 3600" "a status of hours" bitnetctl status --interval 3601

run bitnetctl -j run
is "$status" 2 "with --json: the same exit code"
is "$(field "$tmp/.out" error.code)" EINVAL "with --json: the error is an object"
is "$err" "" "with --json: nothing on standard error"

# Options stand anywhere, and POSIXLY_CORRECT makes no difference.
a=$(bitnetctl -q run "$model" -p "Once" -n 3 --temp 0 --engine=local)
is "$(POSIXLY_CORRECT=1 bitnetctl run -n 3 "$model" --temp=0 --engine local -p "Once" -q)" "$a" \
	"options before and behind operands"

fails 3 "no device: /nonexistent" "a device that is not there" \
	bitnetctl run "$model" -p a --engine=device --device /nonexistent
like "$err" "hint: load the module" "  and how to get one"
fails 3 "no device" "info --engine=device" bitnetctl info --engine=device --device /nonexistent
fails 3 "no device" "load without a device" bitnetctl load "$model" --device /nonexistent
fails 3 "not a bitnet device" "another device" bitnetctl info --engine=device --device /dev/null
if [ ! -e /dev/bitnet ]; then
	for verb in status models monitor "monitor -n 1 --timeout 1" top "top --batch -n 1" limits workers \
		"limits --batch-floor 5" "workers 0" "unload x"; do
		# shellcheck disable=SC2086 # words
		fails 3 "(no device|no netlink family)" "$verb without the module" bitnetctl $verb
	done
else
	skip "no device" "there is one"
fi

run bitnetctl info --engine=local
is "$status" 0 "info about this CPU"
like "$out" "this CPU +ref" "  has the reference variant"
run bitnetctl info -j --device /nonexistent
golden "$tmp/.out" info
finish

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# bitnetctl run: the text, where the prompt comes from, how it ends, what it says about itself.
. "$(dirname "$0")/tap.bash"

reference() { python3 "$cli/fields.py" get "cases.0.$1" <"$src/tests/golden/golden.json"; }
story=$(reference greedy_text)
prompt="Once upon a time"

is "$(local_run -p "$prompt" -n 48 --temp 0)" "$story" "greedy text is that of the independent reference"
is "$(echo "$prompt" | local_run - -n 48 --temp 0)" "$story" "prompt from standard input"
is "$(echo "$prompt" | local_run -n 48 --temp 0)" "$story" "standard input without being asked for"
echo "$prompt" >"$tmp/prompt"
is "$(local_run -f "$tmp/prompt" -n 48 --temp 0)" "$story" "prompt from a file"
is "$(local_run -p "$prompt" -n 4 --temp 0 --echo)" "$prompt, there was a" "--echo"
is "$(printf '' | local_run - -n 3 --temp 0 | wc -l)" 1 "an empty prompt begins a text"

bitnetctl run "$model" --engine=local -q -j -p "$prompt" -n 48 --temp 0 >"$tmp/run.json"
golden "$tmp/run.json" run
is "$(field "$tmp/run.json" tokens)" "$(reference greedy)" "greedy tokens are those of the reference"
is "$(field "$tmp/run.json" finish)" length "ended by -n"
bitnetctl run "$model" --engine=local -q -j -p "$prompt" -n 5 --seed 3 >"$tmp/sampled.json"
is "$(field "$tmp/sampled.json" sampler.seed)" 3 "the seed is told"
golden "$tmp/sampled.json" sampled

a=$(local_run -p "$prompt" -n 20 --seed 11)
is "$(local_run -p "$prompt" -n 20 --seed 11 --threads 1 --variant ref)" "$a" \
	"a seed gives one text, on every variant and number of threads"
differing=$(for s in 1 2 3 4 5 6; do local_run -p "$prompt" -n 20 --seed $s -j | field /dev/stdin tokens; done | sort -u | wc -l)
like "$differing" "[2-9]" "other seeds, other texts"
is "$(for _ in 1 2 3 4; do local_run -p "$prompt" -n 30 --temp 1.5 -j | field /dev/stdin tokens; done | sort -u | wc -l)" 4 \
	"the default seed is a new one each time"
is "$(local_run -p "$prompt" -n 48 --top-k 1 --seed 1)" "$story" "--top-k 1 is greedy"

is "$(local_run -p "$prompt" --temp 0 --stop "Lily")" ", there was a little girl named " "--stop ends before its text"
is "$(local_run -p "$prompt" --temp 0 --stop zzz --stop "girl named L")" ", there was a little " \
	"--stop over several tokens shows nothing of it"
is "$(local_run -p "$prompt" --temp 0 -n 6 --stop "girlfriend")" ", there was a little girl" \
	"what only begins like --stop is shown in the end"

bitnetctl run "$model" --engine=local -q -j -p "$prompt" --temp 0 --ctx 20 >"$tmp/ctx.json"
is "$(field "$tmp/ctx.json" finish)" context "ended by the context"
bitnetctl run "$model" --engine=local -q -j -p "$prompt" --temp 0 >"$tmp/eos.json"
is "$(field "$tmp/eos.json" finish)" stop "ended by the model"
unlike "$(field "$tmp/eos.json" text)" "<[|]" "without a trace of the token that says so"
bitnetctl run "$model" --engine=local -q -j -p "$prompt" --temp 0 --ignore-eos >"$tmp/more.json"
is "$(field "$tmp/more.json" finish)" context "--ignore-eos goes on"
fails 1 "the prompt has [0-9]+ tokens, --ctx allows 3" "a prompt beyond --ctx" local_run -p "$prompt" --ctx 3
fails 1 "context holds 512" "a context that the model does not have" local_run -p x --ctx 100000
fails 1 "context holds 512" "a prompt that the model does not hold" local_run -p "$(printf 'one %.0s' {1..2000})"
fails 1 "/nonexistent" "a prompt file that is not there" local_run -f /nonexistent
fails 1 "variant" "a variant that is none" local_run -p x --variant mmx

# What is said on the side goes to standard error.
run bitnetctl run "$model" -p "$prompt" -n 3 --temp 0 --device /nonexistent --stats
is "$out" ", there was" "standard output is the text alone"
like "$err" "running in this process, not on the device: .*no device: /nonexistent" "the engine, and why not the device"
like "$err" "tokens/s, first token after [0-9.]+ ms" "--stats: prefill"
like "$err" "p50 [0-9.]+ ms, p99 [0-9.]+ ms, max [0-9.]+ ms" "--stats: tokens"
run local_run -p "$prompt" -n 3
is "$err" "" "--quiet"
run bitnetctl run "$model" -p "$prompt" -n 3 --engine=local --stats
like "$err" "seed: +[0-9]+" "--stats tells a random seed"
seed=${err##*seed: }
is "$(local_run -p "$prompt" -n 3 --seed $((seed)))" "$out" "which gives the text again"

# Text comes as it is made, not at the end.
local_run -p "$prompt" --temp 0 --ignore-eos --variant ref -t 1 -n 100 | {
	IFS= read -r -N 12 first
	date +%s%N >"$tmp/first"
	cat >/dev/null
	date +%s%N >"$tmp/last"
	is "$first" ", there was " "the text begins"
	echo "$tests $failures" >"$tmp/counts"
}
read -r tests failures <"$tmp/counts"
ok "long before it ends" [ $(($(cat "$tmp/last") - $(cat "$tmp/first"))) -gt 20000000 ]

bitnetctl run "$model" --engine=local -q -j --stream -p "$prompt" -n 5 --temp 0 >"$tmp/stream"
is "$(wc -l <"$tmp/stream")" 6 "--stream: a line a token and the result"
is "$(head -n 1 "$tmp/stream" | field /dev/stdin type)" text "--stream: pieces of text"
is "$(tail -n 1 "$tmp/stream" | field /dev/stdin text)" ", there was a little" "--stream: the result at the end"
is "$(while read -r l; do field /dev/stdin text <<<"$l"; done <"$tmp/stream" | head -n 5 | tr -d '\n')" \
	", there was a little" "--stream: the pieces are the text"

# --inline: the same text, computed in this thread.
is "$(local_run --inline -p "$prompt" -n 48 --temp 0)" "$story" "--inline: greedy text"
is "$(local_run --inline -p "$prompt" -n 20 --seed 11)" "$a" "--inline: sampled text"
penalty=(-p "$prompt" -n 30 --temp 0 --repeat-penalty 1.5)
is "$(local_run --inline "${penalty[@]}")" "$(local_run "${penalty[@]}")" "--inline: with a repetition penalty"
is "$(local_run --inline -p "$prompt" --temp 0 --stop zzz --stop "girl named L")" ", there was a little " "--inline: --stop"
for end in "--ctx 20:context" "-n 400:stop" "-n 5:length" "--ctx 20 -n 100 --repeat-penalty 1.5:context"; do
	# shellcheck disable=SC2086 # options
	local_run --inline -j -p "$prompt" --temp 0 ${end%:*} >"$tmp/inline.json"
	is "$(field "$tmp/inline.json" finish)" "${end#*:}" "--inline: ${end%:*} ends by ${end#*:}"
	# shellcheck disable=SC2086
	is "$(field "$tmp/inline.json" tokens)" "$(local_run -j -p "$prompt" --temp 0 ${end%:*} | field /dev/stdin tokens)" \
		"  with the same tokens"
done
is "$(field "$tmp/inline.json" engine.inline)" true "--inline: JSON tells"
run bitnetctl run "$model" --engine=local --inline -p "$prompt" -n 3
like "$err" "running in this process, inline in this thread" "--inline: said on standard error"
fails 2 "excludes --threads" "--inline with --threads" local_run --inline -t 2 -p x

# Prompts that are no text.
for bytes in '\377\376' '\303' 'a\001b' '\360\237\230\200'; do
	# shellcheck disable=SC2059 # escapes
	run local_run -n 5 --temp 0 -j -f <(printf "$bytes")
	is "$status" 0 "prompt $bytes"
	ok "  gives valid JSON" field "$tmp/.out" text
done
finish

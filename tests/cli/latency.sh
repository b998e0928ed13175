#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# bitnetctl latency: what it tells, what it records, that its load ends with it. Never how fast anything is.
. "$(dirname "$0")/tap.bash"

latency() { bitnetctl latency "$model" --engine=local -q -t 1 "$@"; }
in_json() { # file python-expression over d, the document
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}
# Processes whose parent is, or was, this one: a load's.
children() { ps -o pid= --ppid "$1" | tr -d ' '; }
gone() { # pid...: none of them runs any more; a zombie is gone
	local pid
	for _ in $(seq 500); do
		for pid in "$@"; do
			case $(ps -o stat= -p "$pid") in '' | Z*) ;; *) sleep 0.02; continue 2 ;; esac
		done
		return 0
	done
	return 1
}

run latency -n 40 --job-tokens 16 --record a.json --svg a.svg
is "$status:$err" "0:" "40 tokens in jobs of 16"
for regex in 'engine +local, [a-z0-9]+, 1 thread' 'class +interactive' 'load +none' 'clock +CLOCK_MONOTONIC' \
	'count +p50 +p90 +p99 +p99.9 +max +mean +max-p50 p99.9/p50' 'token +37 +[0-9.]+ ' 'first token +3 +[0-9.]+ ' \
	'seen +40 +[0-9.]+ ' 'tokens \(logarithmic\)' ' \| #+ [0-9]+'; do
	like "$out" "$regex" "table: $regex"
done
unlike "$out" "late " "nobody is late where nothing is due"
is "$(in_json a.json 'd["kind"], len(d["token_ns"]), len(d["first_token_ns"]), len(d["seen_ns"])')" \
	"('bitnet-latency', 37, 3, 40)" "the recording has all times"
ok "the plot is XML" python3 -c 'import xml.dom.minidom as m; m.parse("a.svg")'

run latency -j -n 40 --job-tokens 16 --class batch --label 'mine & yours' --load batch:1:decode,interactive:1 \
	--load-tokens 8 --record b.json
is "$status:$err" "0:" "beside a load, as JSON"
cp "$tmp/.out" b.out
is "$(field b.out schema)" 1 "schema"
is "$(field b.out class)" batch "class"
is "$(field b.out label)" "mine & yours" "label"
is "$(field b.out load)" "1 batch client (decode), 1 interactive client (prefill)" "load"
is "$(field b.out engine.kind)" local "engine"
is "$(field b.out clock)" CLOCK_MONOTONIC "clock"
is "$(field b.out token.count)" 37 "count"
is "$(field b.out late_tokens)" 0 "late tokens"
is "$(in_json b.out 'd["load_tokens_per_s"] > 0')" True "the load did something"
is "$(in_json b.out 'set(d["token"]) ^ {"count", "min_ms", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms", "mean_ms",
	"jitter_ms", "jitter_ratio"} or "none"')" none "these fields and no others"
is "$(in_json b.out '[k for k in ("token", "first_token", "seen") if not 0 <= d[k]["min_ms"] <= d[k]["p50_ms"] <=
	d[k]["p90_ms"] <= d[k]["p99_ms"] <= d[k]["p99_9_ms"] <= d[k]["max_ms"]]')" "[]" "percentiles rise"
is "$(in_json b.out 'sum(b["count"] for b in d["histogram"])')" 37 "the histogram has all tokens"

run bitnetctl latency --compare a.json b.json --svg c.svg
is "$status:$err" "0:" "two recordings compared"
like "$out" "A # +interactive, local engine, alone${newline}B o +mine & yours" "  both are named"
like "$out" "p99.9 +[0-9.e+-]+ +[0-9.e+-]+ +[0-9.]+x" "  side by side"
like "$out" ' \| #+ [0-9]+' "  and plotted, A"
like "$out" ' \| o+ [0-9]+' "  and B"
is "$(grep -c fill-opacity c.svg)" 2 "  both in one plot"
ok "  which is XML" python3 -c 'import xml.dom.minidom as m; m.parse("c.svg")'
run bitnetctl latency --compare a.json b.json -j
cp "$tmp/.out" c.out
is "$(in_json c.out 'abs(d["ratio"]["p50"] * d["a"]["token"]["p50_ms"] / d["b"]["token"]["p50_ms"] - 1) < 1e-6')" True \
	"  ratios as JSON"

run latency -j -d 300ms --job-tokens 8
is "$status" 0 "for a while"
is "$(in_json "$tmp/.out" 'd["seen"]["count"] > 0 and not d["interrupted"]')" True "  some tokens"

# Ctrl-C shows what there is. Shells start background jobs with SIGINT ignored.
env --default-signal=INT "$bitnetctl" latency "$model" --engine=local -q -j -t 1 -d 1000s --load batch:2 --load-tokens 8 \
	>int.out 2>int.err & pid=$!
for _ in $(seq 1000); do
	[ "$(children $pid | wc -l)" = 2 ] && break
	sleep 0.01
done
kids=$(children $pid)
is "$(wc -w <<<"$kids")" 2 "two processes of load"
sleep 0.5
kill -INT $pid
wait $pid
is "$?" 130 "Ctrl-C: exit code 130"
is "$(cat int.err)" "" "  without a complaint"
is "$(field int.out interrupted)" true "  what there was by then is told"
# shellcheck disable=SC2086 # words
ok "  and the load has ended" gone $kids

"$bitnetctl" latency "$model" --engine=local -q -t 1 -d 1000s --load batch:3 --load-tokens 8 >/dev/null 2>&1 & pid=$!
for _ in $(seq 1000); do
	[ "$(children $pid | wc -l)" = 3 ] && break
	sleep 0.01
done
kids=$(children $pid)
is "$(wc -w <<<"$kids")" 3 "three processes of load"
kill -KILL $pid
wait $pid 2>/dev/null
# shellcheck disable=SC2086 # words
ok "SIGKILL of the one that measures ends them too" gone $kids

"$bitnetctl" latency "$model" --engine=local -q -t 1 -d 1000s --load batch:2 --load-tokens 8 >kill.out 2>kill.err & pid=$!
for _ in $(seq 1000); do
	[ "$(children $pid | wc -l)" = 2 ] && break
	sleep 0.01
done
kids=$(children $pid)
kill -KILL "${kids%%"$newline"*}"
wait $pid
is "$?" 1 "a load that died spoils the measurement"
like "$(cat kill.err)" "a process of the load died" "  and that is said"
# shellcheck disable=SC2086 # words
ok "  the rest of it has ended" gone $kids

fails 2 "expected MODEL" "no model" bitnetctl latency
fails 2 "expected MODEL" "two models" bitnetctl latency a b
fails 2 "expects two recordings" "one recording to compare" bitnetctl latency --compare a.json
fails 2 "no --record" "recording a comparison" bitnetctl latency --compare a.json b.json --record x
fails 2 "neither interactive nor batch" "realtime load" latency --load realtime:1
fails 2 "N is from 1 to" "a load of none" latency --load batch:0
fails 2 "goes with --load" "length of no load" latency --load-tokens 8
fails 2 "needs --first-token and --period" "realtime without deadlines" latency --class realtime
fails 2 "goes with --class realtime" "a period of an interactive job" latency --period 5
fails 2 "not a time such as 20ms" "a duration that is none" latency -d long
fails 1 "realtime jobs need the device" "realtime in the local engine" latency --class realtime --first-token 1s --period 1s
fails 1 "do not fit into the model's context" "jobs too long" latency --job-tokens 100000
fails 1 "do not fit into the model's context" "load too long" latency --load batch:1 --load-tokens 100000
fails 1 "nonexistent" "a recording that is not there" bitnetctl latency --compare a.json nonexistent
fails 1 "is not a recording" "a file that is none" bitnetctl latency --compare a.json "$model"
run latency -n 2 --record /nonexistent/x
is "$status" 1 "a recording that cannot be written"
like "$err" "/nonexistent/x: No such file" "  is told of"
finish

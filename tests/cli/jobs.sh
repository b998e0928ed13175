#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# submit, wait, cancel: background jobs, also when their holders are killed.
. "$(dirname "$0")/tap.bash"

jobs=$XDG_RUNTIME_DIR/bitnet/jobs
submit() { bitnetctl submit "$model" --engine=local "$@"; }
endless() { submit -p Once --ignore-eos --variant ref -t 1; }
text=$(local_run -p "Once upon a time" -n 20 --temp 0)

id=$(submit -p "Once upon a time" -n 20 --temp 0)
is "$id" 1 "submit prints an id"
is "$(bitnetctl wait "$id")" "$text" "wait prints the text that run prints"
fails 1 "no job 1" "a result is there once" bitnetctl wait 1
id=$(echo "Once upon a time" | submit - -n 20 --temp 0)
is "$(bitnetctl wait "$id" --keep)" "$text" "prompt from standard input; wait --keep"
bitnetctl wait "$id" -j >result.json
is "$(field result.json text)" "$text" "and again, as JSON"
golden result.json wait
like "$(bitnetctl submit "$model" --engine=local -p x -n 1 -j)" '^\{"schema":1,"id":[0-9]+,"pid":[0-9]+,"class":"interactive"\}$' \
	"submit --json"
bitnetctl cancel --all >/dev/null

id=$(submit -p "Once upon a time" -n 20 --temp 0 --class batch)
like "$(bitnetctl wait --list)" "$id +[a-z]+ +batch " "the list tells the class"
bitnetctl wait "$id" -j >result.json
is "$(field result.json class) $(field result.json text)" "batch $text" "a batch job gives the same text"
is "$(field result.json late_tokens)" 0 "  and none of its tokens is late"
fails 1 "realtime jobs need the device" "a realtime job is refused at once" \
	bitnetctl submit "$model" --engine=local -p x --class realtime --first-token 1s --period 100ms
is "$(ls "$jobs")" "" "  and leaves nothing"
for _ in {1..20}; do
	bitnetctl submit "$model" --engine=local -p x --class realtime --first-token 1s --period 100ms 2>/dev/null
done
is "$(ls "$jobs")" "" "  nor do twenty more"

first=$(endless)
second=$(endless)
run bitnetctl wait --list
like "$out" "$first +running .*$second +running" "both are listed"
is "$(bitnetctl wait -l -j | python3 -c 'import json, sys
print([j["state"] for j in json.load(sys.stdin)["jobs"]])')" "['running', 'running']" "  as JSON too"
fails 1 "job $first is still running" "wait --timeout" bitnetctl wait "$first" --timeout 0.2
run timeout --preserve-status -s INT 0.3 "$bitnetctl" wait "$first"
is "$status" 130 "Ctrl-C in wait"
like "$err" "job $first goes on" "  does not end the job"
run bitnetctl cancel "$first"
is "$status:$out" "0:job $first cancelled" "cancel"
fails 1 "no job $first" "a cancelled job is gone" bitnetctl wait "$first"

holder=$(cat "$jobs/$second/lock")
ok "the holder lives" kill -0 "$holder"
kill -KILL "$holder"
while kill -0 "$holder" 2>/dev/null; do sleep 0.01; done
run bitnetctl wait --list
like "$out" "$second +died" "a killed holder is noticed"
fails 1 "job $second died" "wait says that it died" bitnetctl wait "$second"
run bitnetctl wait --list -q
is "$out" "" "and it is forgotten"

# A process id that means somebody else now is never signalled.
id=$(endless)
kill -KILL "$(cat "$jobs/$id/lock")"
sleep 0.1
sleep 60 & bystander=$!
echo $bystander >"$jobs/$id/lock"
bitnetctl cancel "$id" >/dev/null
ok "a bystander with the holder's old process id survives" kill -0 $bystander
kill $bystander

fails 1 "nonexistent" "a model that is not there is told at once" bitnetctl submit ./nonexistent -p x
fails 1 "tokens" "a prompt too long too" bitnetctl submit "$model" --engine=local -p "$(printf 'one %.0s' {1..2000})"
is "$(ls "$jobs")" "" "neither leaves anything"

id=$(submit -p Once -n 5)
bitnetctl wait "$id" --keep >/dev/null
is "$(bitnetctl cancel "$id")" "job $id had ended; its result is gone" "cancel of a job that has ended"
id=$(submit -p "Once upon a time" -n 5 --temp 0)
run bash -c '"$@" >/dev/full' - "$bitnetctl" wait "$id"
is "$status:$(bitnetctl wait "$id")" "1:, there was a little" "a result that could not be written is kept"

is "$(stat -c %a "$XDG_RUNTIME_DIR/bitnet" "$jobs" | tr '\n' ' ')" "700 700 " "the folders are the user's alone"
ids=$(for _ in 1 2 3 4 5 6; do submit -p Once -n 3 --temp 0 & done; wait)
is "$(sort -u <<<"$ids" | wc -l)" 6 "six at once get six ids"
is "$(for id in $ids; do bitnetctl wait "$id"; done | sort | uniq -c | sed 's/^ *//')" "6  upon a time" "and one text each"
finish

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# chat: turns, commands, and that what was computed is kept.
. "$(dirname "$0")/tap.bash"

chat() { bitnetctl chat "$model" --engine=local --temp 0 -n 12 "$@"; }
talk() { printf '%s\n' "$@" >script; }

talk "Once upon a time" "The dog"
chat -q <script >out.txt
is "$(sed -n 1p out.txt)" "$(local_run -p "Once upon a time" --temp 0 -n 12)" "the first answer is what run gives"
second=$(sed -n 2p out.txt)
is "$(local_run -p "Once upon a time$(sed -n 1p out.txt)The dog" --temp 0 -n 12)" "$second" \
	"the second continues the whole conversation"
chat -v <script >out.txt 2>err.txt
like "$(cat err.txt)" "0 of 5 tokens are in the cache" "nothing is kept at first"
like "$(cat err.txt)" "1[0-9] of (1[89]|2[0-9]) tokens are in the cache" "then most of it is"

talk "Once upon a time" /reset "Once upon a time"
chat -q <script >out.txt 2>err.txt
is "$(sort -u out.txt | wc -l)" 1 "/reset begins anew"
talk "Once upon" "/system You are a cat." "Once upon" /system "Once upon"
chat -q <script >out.txt
is "$(sed -n 3p out.txt)" "$(sed -n 1p out.txt)" "/system without a text removes it"
talk "Once" /quit "never"
is "$(chat -q <script | wc -l)" 1 "/quit ends"
talk /help /nonsense
run bash -c '"$@" <script' - "$bitnetctl" chat "$model" --engine=local
like "$err" "/reset" "/help"
like "$err" "no command '/nonsense'" "a command that is none"
is "$out" "" "neither is said to the model"
is "$status" 0 "the end of input ends it"
printf 'Once upon\\\na time' >script
is "$(chat -q -j <script | field /dev/stdin prompt_tokens)" \
	"$(local_run -p $'Once upon\na time' -n 1 -j | field /dev/stdin prompt_tokens)" "a backslash continues a message"
talk "Once upon a time" "Then"
is "$(chat -q -j <script | wc -l)" 2 "--json: a line an answer"
talk "" "   " "Once"
is "$(chat -q <script | wc -l)" 1 "empty lines are no turns"

# A conversation longer than the context goes on.
for i in $(seq 20); do echo "Once upon a time there was a dog number $i."; done >script
chat --ctx 100 <script >out.txt 2>err.txt
is "$?" 0 "a conversation longer than the context"
like "$(cat err.txt)" "the oldest turns are forgotten" "  forgets the oldest turns"
is "$(wc -l <out.txt)" 20 "  and answers to the end"
talk "$(printf 'one %.0s' {1..300})"
run bash -c '"$@" <script' - "$bitnetctl" chat "$model" --engine=local -q --ctx 100
is "$status" 1 "a message longer than the context"
like "$err" "do not fit into the context of 100" "  is refused"
finish

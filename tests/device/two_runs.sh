#!/bin/sh
# Two processes run bitnetctl against one shared model at the same time: one pinned copy, the texts
# that each gives alone, and both stream.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
cd /tmp || exit 1
tell() { tail -n 3 two.*; }
pinned() { # pages
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { n += $2 } $1 == "nr_foll_pin_released" { n -= $2 }
		END { print n }' /proc/vmstat
}
run() { # prompt: a line of JSON for each token
	bitnetctl run story --engine=device --json --stream --temp 0 -n 200 -p "$1" 2>>two.err
}
# What is the same whenever it runs: the text, piece by piece.
text() { grep -o '"text": *"[^"]*"'; }

before=$(pinned)
bitnetctl load "$model" --name story >two.load 2>&1
result $? 'a shared model is loaded'
one=$(pinned)
[ "$one" -gt "$before" ]
result $? 'and pinned'
run 'Once upon a time' >two.a
run 'One day, 3 small dogs went to the' >two.b
: >two.both
run 'Once upon a time' | while read -r line; do echo "a $line" >>two.both; done &
run 'One day, 3 small dogs went to the' | while read -r line; do echo "b $line" >>two.both; done &
tries=0
until [ "$(cut -c 1 two.both | sort -u | wc -l)" = 2 ] || [ $tries = 2000 ]; do tries=$((tries + 1)); done
during=$(pinned)
wait
[ "$during" = "$one" ]
result $? "both run on the one copy: $one pages pinned, and $during"
for who in a b; do
	[ "$(text <two.$who | wc -l)" -gt 20 ]
	result $? "$who alone writes its text"
	text <two.$who >two.alone
	sed -n "s/^$who //p" two.both | text >two.beside
	cmp -s two.alone two.beside
	result $? "and the same beside the other"
done
turns=$(cut -c 1 two.both | uniq | wc -l)
[ "$turns" -ge 10 ]
result $? "both stream: $turns turns"
bitnetctl unload story >two.load 2>&1
result $? 'the model is unloaded'
[ "$(pinned)" = "$before" ]
result $? 'nothing is pinned'
grep -q '^jobs 0$' /sys/kernel/debug/bitnet/stats
result $? 'no job is left'
rm -f two.*
finish

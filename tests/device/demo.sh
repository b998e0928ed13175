#!/bin/sh
# The tool on the device writes the demo model's golden text.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
golden=', there was a little girl named Lily. She loved to play with her toys and make new pictures. One day, she found a big, red ball in her room. She was very happy and wanted to play with it.
Lily took'
tell() { cat /tmp/demo.out /tmp/demo.err; }
bitnetctl run --engine=device --temp 0 -n 48 -p 'Once upon a time' "$model" >/tmp/demo.out 2>/tmp/demo.err
result $? 'bitnetctl run --engine=device'
case $(cat /tmp/demo.out) in
*"$golden"*) result 0 'golden text' ;;
*) result 1 'golden text' ;;
esac
grep -q '^jobs 0$' /sys/kernel/debug/bitnet/stats
result $? 'nothing is left'
su alice -c "bitnetctl run --engine=device --temp 0 -n 8 -p 'Once upon a time' '$model'" \
	>/tmp/demo.out 2>/tmp/demo.err
result $? 'an ordinary user of the group may run it'
rm -f /tmp/demo.out /tmp/demo.err
finish

#!/bin/sh
# bitnetctl bench on the device: sessions of one process, and processes that share a model.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
tell() { cat /tmp/bench.out /tmp/bench.err; }
bench() {
	bitnetctl bench "$@" --engine=device --quick -n 4 >/tmp/bench.out 2>/tmp/bench.err
}
told() { # extended regular expression
	grep -qE "$1" /tmp/bench.out
}
bench "$model" --only decode,head,prefill,batch
result $? 'bitnetctl bench --engine=device'
told '^engine   device, ' && told '^decode +[0-9.]+ .* MB/token' && told '^2 sessions together +[0-9]'
result $? 'it tells of the device'
bench "$model" --only dense
told 'note +dense is for the local engine' || grep -q 'dense is for the local engine' /tmp/bench.err
result $? 'dense is not of this engine'
bench "$model" --only batch --processes
[ $? = 1 ] && grep -q 'a model that they can share' /tmp/bench.err
result $? 'processes cannot share what is not shared'
bitnetctl load "$model" --name bench-demo >/tmp/bench.out 2>/tmp/bench.err && bench bench-demo --only batch --processes
result $? 'a process for each session'
told '^2 processes together +[0-9]'
result $? 'it tells of them'
bitnetctl unload bench-demo >/tmp/bench.out 2>/tmp/bench.err && grep -q '^jobs 0$' /sys/kernel/debug/bitnet/stats
result $? 'nothing is left'
rm -f /tmp/bench.out /tmp/bench.err
finish

#!/bin/sh
# bitnetctl bench on the device: sessions of one process, and processes that share a model.
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
if ! command -v bitnetctl >/dev/null; then
	echo '1..0 # SKIP there is no bitnetctl here'
	exit 0
fi
failed=0
result() { # status number text
	if [ "$1" = 0 ]; then
		echo "ok $2 - $3"
	else
		echo "not ok $2 - $3"
		sed 's/^/# /' /tmp/bench.out /tmp/bench.err
		failed=1
	fi
}
bench() {
	bitnetctl bench "$@" --engine=device --quick -n 4 >/tmp/bench.out 2>/tmp/bench.err
}
told() { # extended regular expression
	grep -qE "$1" /tmp/bench.out
}
bench "$model" --only decode,head,prefill,batch
result $? 1 'bitnetctl bench --engine=device'
told '^engine   device, ' && told '^decode +[0-9.]+ .* MB/token' && told '^2 sessions together +[0-9]'
result $? 2 'it tells of the device'
bench "$model" --only dense
told 'note +dense is for the local engine' || grep -q 'dense is for the local engine' /tmp/bench.err
result $? 3 'dense is not of this engine'
bench "$model" --only batch --processes
[ $? = 1 ] && grep -q 'a model that they can share' /tmp/bench.err
result $? 4 'processes cannot share what is not shared'
bitnetctl load "$model" --name bench-demo >/tmp/bench.out 2>/tmp/bench.err && bench bench-demo --only batch --processes
result $? 5 'a process for each session'
told '^2 processes together +[0-9]'
result $? 6 'it tells of them'
bitnetctl unload bench-demo >/tmp/bench.out 2>/tmp/bench.err && grep -q '^jobs 0$' /sys/kernel/debug/bitnet/stats
result $? 7 'nothing is left'
rm -f /tmp/bench.out /tmp/bench.err
echo 1..7
exit $failed

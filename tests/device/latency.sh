#!/bin/sh
# bitnetctl latency on the device: alone and beside load, of every class; the load ends with it, also
# when it is killed. bitnetctl doctor on a machine that has the module. Never how fast anything is.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
cd /tmp || exit 1
tell() { cat latency.out latency.err; }
latency() {
	bitnetctl latency "$@" --engine=device -q >latency.out 2>latency.err
}
told() { # extended regular expression
	grep -qE "$1" latency.out
}
number() { # name in /sys/kernel/debug/bitnet/stats
	sed -n "s/^$1 //p" /sys/kernel/debug/bitnet/stats
}
until_number() { # name value: waits for it, for a minute at most
	tries=0
	until [ "$(number "$1")" = "$2" ] || [ $tries = 600 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	[ "$(number "$1")" = "$2" ]
}

latency "$model" -n 24 --job-tokens 12 --prompt-tokens 4
result $? 'a model of its own'
told '^engine +device, ' && told '^token +22 ' && told '^first token +2 ' && told '^seen +24 '
result $? 'all tokens are told of'
latency "$model" -n 4 --load batch:1
[ $? = 1 ] && grep -q 'a model that its processes can share' latency.err
result $? 'load needs a model that it can share'
bitnetctl load "$model" --name latency-demo >latency.out 2>latency.err
result $? 'a shared model is loaded'
latency latency-demo -j -n 24 --job-tokens 12 --prompt-tokens 4 --load batch:1,interactive:1:decode --load-tokens 24 \
	--record latency.json --svg latency.svg
result $? 'beside a load'
told '"kind": *"device"' && told '"count": *22\b' && told '"load": *"1 batch client \(prefill\), 1 interactive client \(decode\)"'
result $? 'it tells of the device and the load'
grep -q '"kind": *"bitnet-latency"' latency.json && grep -q '</svg>' latency.svg
result $? 'recording and plot are written'
until_number files 0
result $? 'the load has ended with it'
latency latency-demo -j -n 8 --job-tokens 8 --class batch
told '"class": *"batch"'
result $? 'as a batch client'
latency latency-demo -j -n 8 --job-tokens 8 --prompt-tokens 4 --class realtime --first-token 3600s --period 3600s
told '"class": *"realtime"' && told '"late_tokens": *0\b'
result $? 'as a realtime client with an hour for each token: none is late'
if bitnetctl info -j | grep -q '"classes"'; then
	latency latency-demo -n 8 --class realtime --first-token 10us --period 10us
	[ $? = 1 ] && grep -q 'this machine needs .* ms for a token' latency.err && grep -q '^hint: .*--period' latency.err
	result $? 'what cannot be done in time is refused, with what it takes'
	bitnetctl submit latency-demo --engine=device -q -p Once --class realtime --first-token 10us --period 10us \
		>latency.out 2>latency.err
	[ $? = 1 ] && grep -q 'this machine needs' latency.err
	result $? 'submit refuses it at once, too'
else
	for what in 'what cannot be done in time is refused' 'submit refuses it at once'; do
		skip "$what" 'this module has no classes'
	done
fi
for class in interactive batch; do
	bitnetctl run latency-demo --engine=device -q -p 'Once upon a time' -n 12 --temp 0 --class $class >latency.$class 2>latency.err
done
cmp -s latency.interactive latency.batch && [ -s latency.batch ]
result $? 'a batch job gives the text of an interactive one'

bitnetctl latency latency-demo --engine=device -q -d 3600s --load batch:2 --load-tokens 24 >latency.out 2>latency.err &
pid=$!
until_number files 3
result $? 'two processes of load'
kill -KILL $pid
wait $pid
until_number files 0 && until_number jobs 0
result $? 'SIGKILL of the one that measures ends them, and their jobs'
bitnetctl unload latency-demo >latency.out 2>latency.err
result $? 'the model is unloaded'

bitnetctl doctor >latency.out 2>latency.err
result $? 'the doctor finds no error'
told '^ok +module +the module has version' && told '^ok +device ' && told '^ok +memlock ' && told ' 0 errors$'
result $? 'module and device are as they should be'
rm -f latency.*
finish

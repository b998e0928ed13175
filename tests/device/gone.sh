#!/bin/sh
# The device goes away in the middle: its node is removed, the module unloaded, a worker parked, while the
# tool runs. It goes on where it can, and else says why not, with exit code 3.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
cd /tmp || exit 1
tell() { tail -n 3 gone.out gone.err; }
run() { # to be interfered with: begun when the first lines of it are there
	# Not those of the run before: the shell that becomes the tool opens the file when it gets to it.
	: >gone.out
	bitnetctl run "$model" --engine=device -q --json --stream --temp 0 --ignore-eos -n 400 -p Once >gone.out 2>gone.err &
	pid=$!
	tries=0
	until [ "$(wc -l <gone.out)" -ge 2 ] || [ $tries = 6000 ]; do tries=$((tries + 1)); done
}
# What is the same whenever it runs: the text, piece by piece.
text() { grep -o '"text": *"[^"]*"' gone.out; }
same() { # what the run in the background gave is what it gives alone
	wait $pid && [ "$(text)" = "$alone" ] && [ ! -s gone.err ]
}
# The kernel holds the module for as long as an answer of it is being read: it may take several attempts.
unloaded() {
	tries=0
	until rmmod bitnet 2>gone.rmmod; do
		tries=$((tries + 1))
		[ $tries != 100 ] || return 1
		sleep 0.05
	done
}
# Ends by itself, within a minute; its exit code
ends() {
	tries=0
	while kill -0 $pid 2>/dev/null && [ $tries != 600 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	[ $tries != 600 ] || kill $pid
	wait $pid
}

run
wait $pid
alone=$(text)
[ "$(echo "$alone" | wc -l)" -gt 100 ]
result $? 'a text'
run
rm /dev/bitnet
rmmod bitnet 2>/dev/null
[ $? != 0 ] && [ -d /sys/module/bitnet ]
result $? 'in the middle of it the node is removed, and the module cannot be'
same
result $? 'the text is the same'
for verb in "run $model --engine=device -p Once" "verify $model --engine=device" "load $model" \
	"chat $model --engine=device"; do
	# shellcheck disable=SC2086 # words
	bitnetctl $verb </dev/null >gone.out 2>gone.err
	[ $? = 3 ] && grep -q '^bitnetctl: no device: /dev/bitnet does not exist$' gone.err && grep -q '^hint: ' gone.err
	result $? "without its node, ${verb%% *}: exit code 3, and why"
done
rmmod bitnet && load-bitnet
result $? 'the module anew'

chmod 600 /dev/bitnet
su alice -s /bin/sh -c "bitnetctl run $model --engine=device -q -p Once" </dev/null >gone.out 2>gone.err
[ $? = 3 ] && grep -q '^bitnetctl: .*/dev/bitnet' gone.err && grep -q '^hint: ' gone.err
result $? 'who may not open it is told so: exit code 3'
chmod 660 /dev/bitnet

bitnetctl workers -j >gone.out 2>&1
case $(grep -o '"state":"computing"' gone.out | wc -l) in
0 | 1) skip 'the text is the same while a worker rests' 'one worker' ;;
*)
	cpu=$(sed 's/.*"cpu":\([0-9]*\).*/\1/' gone.out)
	run
	bitnetctl workers "$cpu" >gone.workers 2>&1
	result $? 'in the middle of a text all workers but one rest'
	same
	result $? 'the text is the same'
	bitnetctl workers all >gone.workers 2>&1
	result $? 'all compute again' ;;
esac

# What follows the module ends with it.
for verb in 'monitor' 'top --batch -n 1000 -d 0.1' 'status --interval 2'; do
	[ -d /sys/module/bitnet ] || load-bitnet
	# shellcheck disable=SC2086 # words
	bitnetctl $verb >gone.out 2>gone.err &
	pid=$!
	# It is there when it has opened a netlink socket, besides the kernel's own.
	sleep 1
	unloaded
	result $? "the module is unloaded under ${verb%% *}"
	ends
	[ $? = 3 ] && grep -q '^bitnetctl: the module was unloaded$' gone.err && grep -q '^hint: ' gone.err
	result $? 'which says so and ends with exit code 3'
done
for verb in 'monitor --json' 'top --json -n 1000 -d 0.1'; do
	load-bitnet
	# shellcheck disable=SC2086 # words
	bitnetctl $verb >gone.out 2>gone.err &
	pid=$!
	sleep 1
	unloaded
	result $? "the module is unloaded under ${verb%% *} --json"
	ends
	[ $? = 3 ] && tail -n 1 gone.out | grep -q '"error":{"code":"[^"]*","message":"the module was unloaded"' && [ ! -s gone.err ]
	result $? "${verb%% *} --json says so in JSON"
done
# Another module is not meant.
load-bitnet
bitnetctl monitor --event job_done --count 1 >gone.out 2>gone.err &
pid=$!
sleep 1
bitnetctl run "$model" --engine=device -q -n 2 -p Once >/dev/null 2>&1
ends
[ $? = 0 ] && grep -q 'job done' gone.out
result $? 'one that is left alone hears of a job'
rm -f gone.*
finish

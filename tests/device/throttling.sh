#!/bin/sh
# A SCHED_FIFO worker that the kernel keeps from its CPU says so: in bitnetctl workers, as an event, and
# once in the kernel's log. One that has the CPU to itself says nothing.
#
# For guests with one CPU and realtime workers whose clock counts their instructions (tests/vm/cells): on
# any other the host takes CPUs away as well. All is in proportion to the kernel's period, so that the
# speed of the machine does not matter as long as a token takes longer than a worker may run at once.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
if [ "$BITNET_CLOCK" != instructions ]; then
	skip_all 'time here is the host'"'"'s, which may stop a worker as well'
fi
cd /tmp || exit 1
tell() { head -n 3 throttling.events throttling.err; }
throttled() {
	bitnetctl workers --json | sed 's/.*"throttled_ns":\([0-9]*\).*/\1/'
}
# What realtime tasks may have of each 100 ms: all, or half. Since 6.12 a server takes the rest, for others
# that want to run.
servers=$(ls -d /sys/kernel/debug/sched/fair_server/cpu* 2>/dev/null)
allow() { # ms
	for server in $servers; do
		echo $(((100 - $1) * 1000000)) >"$server/runtime"
	done
	[ -z "$servers" ] || return
	runtime=-1
	[ "$1" = 100 ] || runtime=$(($1 * 1000))
	echo "$runtime" >/proc/sys/kernel/sched_rt_runtime_us
}
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
echo 100000 >/proc/sys/kernel/sched_rt_period_us
allow 100
for server in $servers; do
	echo 100000000 >"$server/period"
done
run() {
	bitnetctl run /models/demo-i2_s.gguf --engine=device -q --temp 0 -p 'Once upon a time' -n 20 \
		>throttling.text 2>throttling.err
}
log() {
	dmesg | grep -c 'bitnet: a worker could not run for'
}

while :; do :; done &
hog=$!
bitnetctl monitor --json --errors >throttling.events 2>throttling.err &
monitor=$!
sleep 2

before=$(throttled)
run
result $? 'a job, all of the time for realtime tasks'
[ "$(throttled)" = "$before" ] && [ ! -s throttling.events ] && [ "$(log)" = 0 ]
result $? "the worker was not kept from its CPU ($(throttled) ns)"

allow 50
run
result $? 'a job, half of the time for realtime tasks'
ns=$(($(throttled) - before))
# A token takes longer than half a period: it was kept at least once, for the other half.
[ "$ns" -ge 40000000 ]
result $? "the worker tells that it was kept from its CPU ($ns ns)"
sleep 2
grep -q '"event":"overload"' throttling.events
result $? 'an event tells it'
[ "$(log)" = 1 ]
result $? 'the kernel log tells it, once'
grep -q 'there was a little girl named Lily' throttling.text
result $? 'the text is what it always is'

allow 100
kill $hog $monitor
rm -f throttling.text throttling.err throttling.events
finish

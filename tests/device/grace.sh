#!/bin/sh
# RCU's grace periods end although a SCHED_FIFO worker computes without a pause: RCU would complain about
# its CPU after three seconds here, and stop it for a look.
#
# For guests of its own with a worker on CPU 1 alone whose clock counts instructions (tests/vm/cells): on any
# other the host may stop a CPU for as long.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
if [ "$BITNET_CLOCK" != instructions ] || [ "$(nproc)" != 2 ]; then
	echo '1..0 # SKIP time here is the host'"'"'s, or there are not two CPUs'
	exit 0
fi
cd /tmp || exit 1
tell() { head -n 3 grace.err; dmesg | grep stall | head -n 3; }
stalls() { dmesg | grep -c 'rcu: INFO'; }

echo 3 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
for server in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do
	[ ! -e "$server" ] || echo 0 >"$server"
done
# Clients on the other CPU, which have to go on.
taskset -p 1 $$ >/dev/null
before=$(stalls)
bitnetctl load /models/demo-i2_s.gguf --name grace >/dev/null 2>grace.err &&
	bitnetctl latency grace -q -n 60 --load batch:2:prefill >grace.out 2>grace.err
result $? "tokens beside prompts without a pause ($(sed -n 's/^token *//p' grace.out))"
[ "$(stalls)" = "$before" ]
result $? 'no grace period stalled'
rm -f grace.out grace.err
finish

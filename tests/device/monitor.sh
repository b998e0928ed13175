#!/bin/sh
# bitnetctl monitor: each filter lets its events through and no others; --count and --timeout end it.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
dir=/tmp/monitor-test
mkdir -p $dir && cd $dir || exit 1
tell() { head -n 20 -- *.out *.err; }
# Sockets that have joined a group of generic netlink (protocol 16).
listening() { awk '$2 == 16 && $4 != "00000000" { n++ } END { print n + 0 }' /proc/net/netlink; }
monitors=0
monitor() { # name options...
	name=$1 before=$(listening)
	shift
	bitnetctl monitor "$@" >"$name.out" 2>"$name.err" &
	eval "${name}_pid=$!"
	monitors=$((monitors + 1))
	tries=0
	until [ "$(listening)" -gt "$before" ] || [ $tries = 2000 ]; do tries=$((tries + 1)); done
}
ended() { # name status text
	eval "wait \$${1}_pid"
	[ $? = "$2" ]
	result $? "$3"
}
count() { # name regular expression
	grep -cE "$2" "$1.out"
}
run() { bitnetctl run story --engine=device -q --temp 0 -n "$1" -p Once; }

monitor all --json
monitor plain
# Those that count their events end by themselves, and in time also when the events do not come.
counting() { # name options...
	monitor "$@" --json --timeout 100
}
counting models -e model_loaded -e model_unloaded -n 2
counting alice --user alice -n 1
counting failures --errors -n 1
counting pattern --model 'st*y' -n 2
monitor other --json --model 'poem'
monitor hours --json --min 3600
counting short --min 0.000001 -e job_done -n 2
[ "$(listening)" = $monitors ]
result $? "$monitors monitors listen"

bitnetctl load "$model" --name story >load.out 2>load.err
result $? 'a model is loaded'
run 3 >run.out 2>run.err
result $? 'a job of root'
su alice -c 'bitnetctl run story --engine=device -q --temp 0 -n 3 -p Once' >run.out 2>run.err
result $? 'a job of alice'
ended alice 0 '--user -n 1 ends'
[ "$(count alice '"uid":1000')" = 1 ] && [ "$(count alice .)" = 1 ]
result $? '--user: of this user only'
ended short 0 '--min -n 2 ends'
[ "$(count short '"event":"job_done"')" = 2 ]
result $? '--min and --event: both hold'
# One that is known before it does anything.
mkfifo go
sh -c 'read -r _ <go; exec bitnetctl run story --engine=device -q --temp 0 -n 3 -p Once' >run.out 2>run.err &
pid=$!
counting process --pid $pid -n 1
run 3 >/dev/null 2>&1
echo >go
wait $pid
result $? 'a job of a certain process'
# A process that ends cancels its job, unless that was done already: until one was in time.
tries=0
until [ -s failures.out ] || [ $tries = 50 ]; do
	: >endless.out
	bitnetctl run story --engine=device -q --ignore-eos --temp 0 -p Once >endless.out 2>/dev/null &
	endless=$!
	until [ -s endless.out ]; do kill -0 $endless 2>/dev/null || break; done
	kill -TERM $endless 2>/dev/null
	wait $endless
	tries=$((tries + 1))
done
bitnetctl unload story >load.out 2>load.err
result $? 'the model is unloaded'

ended models 0 '-n 2 ends it after two events'
[ "$(count models .)" = 2 ] && [ "$(count models '"event":"model_(un)?loaded"')" = 2 ]
result $? '--event: these events only'
ended failures 0 '--errors -n 1 ends'
[ "$(count failures '"event":"job_failed".*"error":"ECANCELED"')" = 1 ] && [ "$(count failures .)" = 1 ]
result $? '--errors: what failed only'
ended pattern 0 '--model -n 2 ends'
[ "$(count pattern '"name":"story"')" = 2 ]
result $? '--model: of this model only'
ended process 0 '--pid -n 1 ends'
[ "$(count process "\"pid\":$pid,")" = 1 ] && [ "$(count process .)" = 1 ]
result $? '--pid: of this process only'

# The last event has arrived everywhere when the unfiltered ones have told it.
tries=0
until [ "$(count all '"event":"model_unloaded"')" = 1 ] && [ "$(count plain 'model unloaded')" = 1 ] ||
	[ $tries = 2000 ]; do tries=$((tries + 1)); done
[ "$(count all '"event":"job_done"')" -ge 4 ] && [ "$(count all '"event":"model_loaded"')" = 1 ]
result $? 'without filters it tells all'
[ "$(count plain '^[0-9:.]+ job done: pid [0-9]+, uid 1000, generate, .* 3 out, ')" = 1 ]
result $? 'as text too'
[ ! -s other.out ]
result $? 'nothing of another model'
[ ! -s hours.out ]
result $? 'nothing that took hours'
for name in all plain other hours; do
	eval "kill \$${name}_pid; wait \$${name}_pid"
done 2>/dev/null

bitnetctl monitor --timeout 0.2 >timeout.out 2>timeout.err
result $? '--timeout ends it'
bitnetctl monitor --json --timeout 0.2 -n 1 >timeout.out 2>timeout.err
[ $? = 1 ] && grep -q '"code":"ETIME","message":"0 of 1 events came in time"' timeout.out
result $? 'with -n that is a failure'
su alice -c 'bitnetctl monitor --timeout 0.2' >alice.out 2>alice.err
[ $? = 3 ] && grep -q CAP_NET_ADMIN alice.err
result $? 'ordinary users may not'
cd /tmp && rm -r $dir
finish

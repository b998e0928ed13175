#!/bin/sh
# The tracepoints: a job's story in order, with the fields that scripts depend on, and no more.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
tracing=/sys/kernel/tracing
if [ ! -d $tracing/events/bitnet ]; then
	skip_all 'there is no tracing in this kernel'
fi
out=/tmp/trace.out
tell() { head -n 30 $out; }
count() { grep -cE "$1" $out; }

echo 0 >$tracing/tracing_on
: >$tracing/trace
echo 1 >$tracing/events/bitnet/enable
echo 1 >$tracing/tracing_on
bitnetctl run "$model" --engine=device -q --temp 0 -n 5 -p 'Once upon a time' >/dev/null 2>$out
result $? 'a job'
echo 0 >$tracing/tracing_on
echo 0 >$tracing/events/bitnet/enable
grep -v '^#' $tracing/trace >$out
: >$tracing/trace
[ "$(count ' bitnet_job_submit: file=[0-9]+ job=[0-9]+ kind=1 job_class=0$')" = 1 ]
result $? 'bitnet_job_submit'
[ "$(count ' bitnet_job_start: file=[0-9]+ job=[0-9]+ queue_ns=[0-9]+$')" = 1 ]
result $? 'bitnet_job_start'
[ "$(count ' bitnet_token: file=[0-9]+ job=[0-9]+ index=[0-4] latency_ns=[1-9][0-9]* job_class=0$')" = 5 ]
result $? 'bitnet_token, five times'
[ "$(count ' bitnet_step: jobs=1 rows=[0-9]+ wall_ns=[0-9]+ cpu_ns=[0-9]+$')" -ge 5 ]
result $? 'bitnet_step'
[ "$(count ' bitnet_job_done: file=[0-9]+ job=[0-9]+ cpu_ns=[0-9]+ error=0$')" = 1 ]
result $? 'bitnet_job_done'
[ "$(grep -oE 'bitnet_job_(submit|start|done)|bitnet_token' $out | uniq -c | awk '{ printf "%s%s ", $2, $1 }')" = \
	'bitnet_job_submit1 bitnet_job_start1 bitnet_token5 bitnet_job_done1 ' ]
result $? 'in this order'
rm -f $out
finish

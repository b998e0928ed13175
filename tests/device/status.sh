#!/bin/sh
# bitnetctl status and top as text and JSON on the device: as root, and as somebody who may see less.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
out=/tmp/status.out err=/tmp/status.err
tell() { cat $out $err; }
tool() { bitnetctl "$@" >$out 2>$err; }
told() { grep -qE "$1" $out; }

tool status --interval 0.1
result $? 'status'
told '^module +[0-9.]+, interface [0-9]+, [a-z0-9]+$' && told '^workers +[1-9]' && told '^problems  '
result $? 'module, workers, problems'
told '^memory +0 B pinned for 0 models, 0 B of context for 0 sessions$' && told '^now +0 jobs, 0 open files$'
result $? 'nothing is there yet'
tool load "$model" --name story
tool run story --engine=device -q --temp 0 -n 5 -p Once
result $? 'a job'

tool status --interval 0
result $? 'status --interval 0'
! told '^rate' && told '^since load +[1-9][0-9]* tokens in, [1-9][0-9]* out; jobs: [1-9][0-9]* done, '
result $? 'has totals and no rates'
told '^story +[0-9.]+ MiB shared +0 +0$'
result $? 'and the model'
tool status --json --interval 0.1
result $? 'status --json'
told '"totals":\{.*"tokens_out":[1-9].*"files":\[\].*"models":\[\{.*"name":"story".*"rates":\{.*"problems":\['
result $? 'complete'
tool top --batch -n 2 -d 0.1 --pane models
[ "$(grep -c ' story$' $out)" = 2 ] && told '^tokens/s in 0.0, out 0.0 '
result $? 'top --batch'
tool top --json -n 2 -d 0.1
[ "$(grep -c '"time_ns":' $out)" = 2 ] && told '"token_ns":\[\['
result $? 'top --json'
cp $out /tmp/status.jsonl
tool top --replay /tmp/status.jsonl --pane models
told ' story$'
result $? 'top --replay'

# Somebody else sees shared models; nobody's processes and times, and what all use together.
su alice -c 'bitnetctl status --json --interval 0' >$out 2>$err
result $? 'status as an ordinary user'
! told '"files"|"users"|"token_ns"|"uid"|"tokens_out"|"steps"' && told '"name":"story"'
result $? 'tells what he may know'
su alice -c 'bitnetctl status --interval 0' >$out 2>$err
told '^in use +is told to root only' && ! told '^memory|^now'
result $? 'and says so'
su alice -c 'bitnetctl top --batch -n 1 -d 0.1' >$out 2>$err
told 'for root only'
result $? 'top as an ordinary user'

tool unload story
cp $out /tmp/status.jsonl
rmmod bitnet
tool status
[ $? = 3 ] && grep -q '^hint: load the module' $err
result $? 'without the module'
tool top --batch -n 1
[ $? = 3 ] && grep -q '^hint: load the module' $err
result $? 'top without the module'
load-bitnet
result $? 'the module again'
rm -f $out $err /tmp/status.jsonl
finish

#!/bin/sh
# The administrator's verbs: bitnetctl limits and workers show and set, and an ordinary user may only
# look at himself.
# shellcheck source=tests/tap.sh
. /tests/tap.sh
needs_tool
cd /tmp || exit 1
tell() { tail -n 3 admin.out admin.err; }
tool() { bitnetctl "$@" >admin.out 2>admin.err; }
has() { # regular expression, text
	grep -Eq "$1" admin.out
	result $? "$2"
}
fails() { # status text arguments...
	want=$1 text=$2
	shift 2
	tool "$@"
	[ $? = "$want" ]
	result $? "$text: exit code $want"
}
as_bob() {
	su bob -s /bin/sh -c "bitnetctl $1" >admin.out 2>admin.err
}

tool limits --json
result $? 'limits'
has '"batch_floor_ppm":50000,' 'tells the floor of batch jobs'
has '"default":\{"sessions":512,"jobs":2048,' 'and the default'
default=$(cat admin.out)
tool limits --user bob --sessions 3 --kv-bytes 64M -j
result $? 'two limits of a user'
has '"uid":1001,"user":"bob"' 'by name'
has '"limits":\{"sessions":3,"jobs":2048,"kv_bytes":67108864,' 'are what was asked for'
has '"own":\["sessions","kv_bytes"\]' 'are told apart from the default'
tool limits
has '^bob +0/3\* +0/2048 +0 B/64.0 MiB\* ' 'and for people'
tool limits --default --jobs 5 -j
has '"default":\{"sessions":512,"jobs":5,' 'the default can be set'
has '"sessions":3,"jobs":5,' 'and holds where there is no other'
tool limits --batch-floor 12.5 -j
has '"batch_floor_ppm":125000,' 'so can the floor'
fails 2 'no such user' limits --user 4294967295 --jobs 1
as_bob 'limits -j'
result $? 'the user looks'
has '"users":\[\{"uid":1001,"user":"bob",.*"limits":\{"sessions":3,"jobs":5,' 'and sees his limits'
as_bob 'limits --default --jobs 9'
[ $? = 3 ]
result $? 'he sets nothing: exit code 3'
grep -q 'CAP_NET_ADMIN' admin.err
result $? 'and is told why'
tool limits --user bob --sessions none --kv-bytes none
tool limits --default --jobs none --batch-floor 5 -j
[ "$(cat admin.out)" = "$default" ]
result $? 'all is removed'

tool workers -j
result $? 'workers'
has '"state":"computing","parked":false,"online":true,' 'compute'
cpu=$(sed 's/.*"cpu":\([0-9]*\).*/\1/' admin.out)
tool workers "$cpu"
result $? 'the same again'
has "^ *$cpu computing " 'for people'
tool workers all
result $? 'all'
fails 1 'none would be left' workers 4095
grep -q 'not a list of CPUs that have a worker' admin.err
result $? 'and is told why'
as_bob 'workers'
result $? 'the user looks'
as_bob "workers $cpu"
[ $? = 3 ]
result $? 'he sets nothing: exit code 3'
rm -f admin.*
finish

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# bitnetctl doctor on made-up machines: each of its findings, both ways.
. "$(dirname "$0")/tap.bash"

root=
put() { # path text: a file of the made-up machine
	mkdir -p "$root/$(dirname "$1")"
	printf '%b\n' "$2" >"$root/$1"
}
tool=$(bitnetctl version -j | field /dev/stdin version)

# A machine with nothing to mend: four CPUs, workers on the last two.
healthy() {
	local cpu
	root=$tmp/good
	put proc/version 'Linux version 6.12.0-rt-amd64 (debian) #1 SMP PREEMPT_RT Debian'
	put proc/cmdline 'root=/dev/sda1 isolcpus=2,3 nohz_full=2,3'
	put proc/cpuinfo 'processor\t: 0\nflags\t\t: fpu sse2 avx avx2 f16c'
	put proc/stat 'cpu  1000 0 1000 98000 0 0 0 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0'
	put proc/meminfo 'MemTotal:  8000000 kB\nHugePages_Total:       0\nHugePages_Free:        0'
	put proc/swaps 'Filename\tType\tSize\tUsed\tPriority'
	put proc/self/status 'Name:\tbitnetctl\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t27 44 \nCapEff:\t0000000000000000'
	put proc/self/limits 'Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         8589934592           8589934592           bytes'
	put proc/self/cgroup '0::/user.slice/shell'
	put sys/fs/cgroup/user.slice/shell/memory.max max
	put sys/fs/cgroup/user.slice/shell/cpu.max 'max 100000'
	put proc/sys/kernel/tainted 12288
	put proc/sys/kernel/sched_rt_runtime_us -1
	put proc/sys/kernel/sched_rt_period_us 1000000
	put proc/sys/vm/overcommit_memory 0
	put proc/irq/9/smp_affinity_list 0-1
	put proc/irq/9/acpi/spurious 0
	put sys/kernel/realtime 1
	put sys/kernel/mm/transparent_hugepage/enabled 'always [madvise] never'
	put sys/devices/system/cpu/online 0-3
	put sys/devices/system/cpu/possible 0-3
	put sys/devices/system/cpu/isolated 2-3
	put sys/devices/system/cpu/nohz_full 2-3
	put sys/devices/system/clocksource/clocksource0/current_clocksource tsc
	for cpu in 0 1 2 3; do
		put sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list $cpu
		put sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor performance
		put sys/devices/system/cpu/cpu$cpu/cpuidle/state0/latency 0
		put sys/devices/system/cpu/cpu$cpu/cpuidle/state0/name POLL
		put sys/devices/system/cpu/cpu$cpu/cpuidle/state1/latency 2
		put sys/devices/system/cpu/cpu$cpu/cpuidle/state1/name C1
	done
	put sys/module/bitnet/version "$tool"
	put sys/module/bitnet/parameters/cpus 2-3
	put sys/module/bitnet/parameters/policy fifo:50
	put sys/module/bitnet/parameters/variant fastest
	put sys/kernel/debug/bitnet/variants 'variant       verdict   cases  macs_per_us  in_use\nref           good          9           10  no\navx2          good          9         1000  yes'
	put dev/bitnet ''
	chmod 666 "$root/dev/bitnet"
}

# The findings, one a line: check, level, and all that is said about it.
examine() {
	bitnetctl doctor --root "$root" -j >"$tmp/doctor.json"
	python3 -c 'import json, sys
for f in sorted(json.load(sys.stdin)["findings"], key=lambda f: f["level"]):
	print("%s\t%s\t%s | %s | %s" % (f["check"], f["level"], f["message"], f.get("why", ""), f.get("fix", "")))' \
		<"$tmp/doctor.json" >"$tmp/findings"
}
# All levels of one check, sorted; and all that it said.
levels() { # check
	local check level text all=
	while IFS=$'\t' read -r check level text; do
		[ "$check" != "$1" ] || all="$all $level"
	done <"$tmp/findings"
	echo "${all# }"
}
said() { # check
	local check level text
	while IFS=$'\t' read -r check level text; do
		[ "$check" != "$1" ] || echo "$text"
	done <"$tmp/findings"
}
# The healthy machine as it was.
again() {
	root=$tmp/machine
	rm -rf "$root"
	cp -a "$tmp/good" "$root"
}
# The healthy machine with one thing changed by the command: what the check says then.
case_of() { # name check levels regex command...
	local name=$1 check=$2 want=$3 regex=$4
	shift 4
	again
	"$@"
	examine
	is "$(levels "$check")" "$want" "$check: $name: $want"
	like "$(said "$check")" "$regex" "  and says so"
}
drop() { rm -rf "${root:?}/$1"; }

healthy
run bitnetctl doctor --root "$root"
is "$status:$err" "0:" "a machine with nothing to mend: exit code 0"
unlike "$out" "(note|warning|error) " "  no finding"
like "$out" "${newline}[0-9]+ ok, 0 notes, 0 warnings, 0 errors$" "  counted"
examine
is "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(sorted({f["check"] for f in d["findings"]}), d["counts"]["ok"] == len(d["findings"]),
	[f for f in d["findings"] if set(f) != {"check", "level", "message"}])' "$tmp/doctor.json")" \
	"['clocksource', 'device', 'governor', 'hugepages', 'idle', 'interrupts', 'isolation', 'limits', 'memlock', 'module', 'preemption', 'smt', 'swap', 'taint', 'throttling', 'variant', 'virtual', 'workers'] True []" \
	"all checks as JSON"

like "$(said preemption)" "PREEMPT_RT" "preemption: rt: ok"
no_rt() { drop sys/kernel/realtime; put proc/version "Linux version 6.12.0-amd64 #1 SMP $1 Debian"; }
dynamic() { no_rt PREEMPT_DYNAMIC; put sys/kernel/debug/sched/preempt "$1"; }
booted() { no_rt PREEMPT_DYNAMIC; put proc/cmdline "ro preempt=$1 quiet"; }
case_of "voluntary" preemption warning "preemption is voluntary .*preempt=full" dynamic 'none (voluntary) full'
case_of "none" preemption warning "preemption is none" dynamic '(none) voluntary full'
case_of "lazy" preemption warning "preemption is lazy" dynamic 'full (lazy)'
case_of "full" preemption note "full" dynamic 'none voluntary (full)'
case_of "booted with full" preemption note "preemptible .full" booted full
case_of "booted with none" preemption warning "is none" booted none
case_of "dynamic, not told" preemption note "does not tell" no_rt PREEMPT_DYNAMIC
case_of "compiled in" preemption note "full" no_rt PREEMPT
case_of "compiled out" preemption warning "voluntary" no_rt ''
case_of "rt by the file alone" preemption ok "PREEMPT_RT" put proc/version 'Linux version 6.12.0 #1 SMP PREEMPT Debian'
case_of "rt without the file" preemption ok "PREEMPT_RT" drop sys/kernel/realtime

like "$(said workers)" "CPUs 2-3 have priority fifo:50" "workers: realtime: ok"
case_of "ordinary" workers warning "ordinary priority .*policy=fifo:50" put sys/module/bitnet/parameters/policy other
case_of "the highest" workers warning "fifo:99" put sys/module/bitnet/parameters/policy fifo:99
case_of "offline" workers error "none of the workers" put sys/devices/system/cpu/online 0-1
case_of "default of four CPUs" workers ok "CPUs 1-3 " put sys/module/bitnet/parameters/cpus ''
two_cpus() { put sys/module/bitnet/parameters/cpus ''; put sys/devices/system/cpu/online 0-1; }
case_of "default of two CPUs" workers ok "CPU 1 " two_cpus
case_of "module not loaded" workers ok "would have workers on CPUs 1-3" drop sys/module/bitnet

case_of "a CPU not isolated" isolation "note ok" "not isolated: 3 .*isolcpus=2-3" put sys/devices/system/cpu/isolated 2
case_of "none isolated" isolation "note ok" "not isolated: 2-3" put sys/devices/system/cpu/isolated ''
case_of "isolated in vain" isolation "note ok ok" "without a worker: 1 .*cpus=1-3" put sys/devices/system/cpu/isolated 1-3
case_of "a tick" isolation "note ok" "periodic tick: 2-3 .*nohz_full=2-3" drop sys/devices/system/cpu/nohz_full
all_workers() { put sys/devices/system/cpu/isolated ''; put sys/module/bitnet/parameters/cpus 0-3; }
case_of "workers everywhere" isolation "note note" "cpus= without one CPU" all_workers

throttled() { put proc/sys/kernel/sched_rt_runtime_us 950000; }
case_of "throttled" throttling warning "950 ms of every 1000 ms.*sched_rt_runtime_us=-1" throttled
fair_server() { # runtime
	put sys/kernel/debug/sched/fair_server/cpu3/runtime "$1"
	put sys/kernel/debug/sched/fair_server/cpu3/period 1000000000
}
case_of "6.12's fair server" throttling warning "other tasks may take 50 ms of every 1000 ms.*fair_server/cpuN/runtime" fair_server 50000000
case_of "no fair server" throttling ok "nothing is taken" fair_server 0
fair_to_others() { fair_server 50000000; put sys/module/bitnet/parameters/policy other; }
case_of "a fair server, of no concern" throttling ok "does not concern" fair_to_others
case_of "as long as the period" throttling ok "not throttled" put proc/sys/kernel/sched_rt_runtime_us 1000000
not_concerned() { throttled; put sys/module/bitnet/parameters/policy other; }
case_of "of no concern" throttling ok "does not concern" not_concerned

case_of "an interrupt there" interrupts warning "1 device interrupt is .*: 9 .*irqbalance" put proc/irq/9/smp_affinity_list 0-2
elsewhere() { put proc/irq/9/smp_affinity_list 0-3; put proc/irq/9/effective_affinity_list 1; }
case_of "sent elsewhere" interrupts ok "no device" elsewhere
no_handler() { drop proc/irq/9/acpi; put proc/irq/9/smp_affinity_list 0-3; }
case_of "without a handler" interrupts ok "no device" no_handler
everywhere() { all_workers; put proc/irq/9/smp_affinity_list 0-3; }
case_of "nowhere else to go" interrupts note "1 device interrupt" everywhere
case_of "no such folder" interrupts ok "no device" drop proc/irq

together() { for c in 2 3; do put sys/devices/system/cpu/cpu$c/topology/thread_siblings_list 2-3; done; }
case_of "workers of one core" smt warning "with each other: CPUs 2-3" together
beside() { put sys/devices/system/cpu/cpu2/topology/thread_siblings_list 0,2; }
case_of "beside other CPUs" smt warning "do other things: 0" beside
sibling_offline() { beside; put sys/devices/system/cpu/online 1-3; }
case_of "the other thread is offline" smt ok "no worker shares" sibling_offline

case_of "powersave" governor warning "governor powersave: 3 .*cpupower -c 3" \
	put sys/devices/system/cpu/cpu3/cpufreq/scaling_governor powersave
case_of "on another CPU" governor ok "performance" put sys/devices/system/cpu/cpu0/cpufreq/scaling_governor powersave
no_cpufreq() { rm -r "$root"/sys/devices/system/cpu/cpu*/cpufreq; }
case_of "no cpufreq" governor ok "does not change" no_cpufreq

deep() {
	put sys/devices/system/cpu/cpu$1/cpuidle/state2/latency 133
	put sys/devices/system/cpu/cpu$1/cpuidle/state2/name C6
	put sys/devices/system/cpu/cpu$1/cpuidle/state2/disable "$2"
}
case_of "deep" idle warning "deep as C6, 133 us .*cpu_dma_latency" deep 3 0
case_of "deep, but disabled" idle ok "no deep" deep 3 1
case_of "deep on another CPU" idle ok "no deep" deep 0 0
held() { deep 3 0; printf '\x05\0\0\0' >"$root/dev/cpu_dma_latency"; }
case_of "deep, but held" idle ok "deeper than 5 us" held
not_held() { deep 3 0; printf '\0\x94\x35\x77' >"$root/dev/cpu_dma_latency"; }
case_of "deep, not held" idle warning "C6" not_held

case_of "hpet" clocksource warning "hpet" put sys/devices/system/clocksource/clocksource0/current_clocksource hpet
case_of "kvm-clock" clocksource ok "kvm-clock" put sys/devices/system/clocksource/clocksource0/current_clocksource kvm-clock
case_of "not told" clocksource note "does not tell" drop sys/devices/system/clocksource

guest() { put proc/cpuinfo 'processor\t: 0\nflags\t\t: fpu hypervisor avx2'; put proc/stat "cpu  1000 0 1000 97000 0 0 0 $1 0 0"; }
case_of "a guest" virtual note "virtual machine; the hypervisor took 0.1 %" guest 100
case_of "steal" virtual warning "took 5.0 %" guest 5211
like "$(said virtual)" "dedicated" "  and what helps"

like "$(said module)" "version $tool" "module: this version: ok"
case_of "not loaded" module error "not loaded .*modprobe bitnet" drop sys/module/bitnet
is "$(levels device):$(levels variant)" ":" "  then there is no more to say about it"
case_of "another version" module error "version 0.0.7, this program" put sys/module/bitnet/version 0.0.7
case_of "no version" module note "does not tell" drop sys/module/bitnet/version

case_of "forced" variant warning "variant ref, this CPU could do avx2 .*without variant=ref" eval \
	'put sys/module/bitnet/parameters/variant ref; drop sys/kernel/debug'
case_of "in use" variant warning "variant avx2, this CPU could do avxvnni .*kernel log" \
	put proc/cpuinfo 'flags\t\t: avx2 avx_vnni'
case_of "half of AVX-512" variant ok "avx2" put proc/cpuinfo 'flags\t\t: avx2 avx512f avx512_vnni'
case_of "all of AVX-512" variant warning "could do avx512vnni" \
	put proc/cpuinfo 'flags\t\t: avx2 avx512f avx512bw avx512vl avx512dq avx512_vnni'
case_of "and VBMI" variant warning "could do avx512vbmi" \
	put proc/cpuinfo 'flags\t\t: avx2 avx512f avx512bw avx512vl avx512dq avx512vbmi avx512_vnni'
case_of "an old CPU" variant ok "fastest variant of this CPU, ref" eval \
	"put proc/cpuinfo 'flags\t\t: sse2'; put sys/kernel/debug/bitnet/variants 'variant\nref good 9 10 yes'"
case_of "not told" variant ok "avx2" drop sys/kernel/debug
case_of "a CPU that tells no flags" variant ok "uses the variant avx2" drop proc/cpuinfo
case_of "wrong" variant warning "avx2 computes something else" \
	put sys/kernel/debug/bitnet/variants 'variant verdict cases macs in_use\nref good 9 10 yes\navx2 wrong 3 0 no'

case_of "missing" device error "/dev/bitnet does not exist" drop dev/bitnet
closed() { chmod 600 "$root/dev/bitnet"; }
owner() { closed; put proc/self/status "Uid:\t1\t$(stat -c %u "$root/dev/bitnet")\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t"; }
group() { chmod 060 "$root/dev/bitnet"; put proc/self/status "Uid:\t77777 77777 77777\nGid:\t5\t5\nGroups:\t3 $(stat -c %g "$root/dev/bitnet") "; }
is_root() { closed; put proc/self/status 'Uid:\t0\t0\t0\t0\nGid:\t5\t5\nCapEff:\t000001ffffffffff'; }
other() { closed; put proc/self/status 'Uid:\t77777\t77777\nGid:\t77777\t77777\nGroups:\t3 4 '; }
case_of "closed to this user" device error "may not be opened .*usermod -aG bitnet" other
case_of "of the owner" device ok "may be opened" owner
case_of "of the group" device ok "may be opened" group
case_of "root" device ok "may be opened" is_root
is "$(levels memlock)" ok "memlock: a user with CAP_IPC_LOCK"
like "$(said memlock)" "CAP_IPC_LOCK" "  and says so"

limit() { put proc/self/limits "Limit   Soft Limit\nMax locked memory         $1     $1    bytes"; }
case_of "8 MiB" memlock warning "is 8.0 MiB .*limits.d/bitnet.conf" limit 8388608
case_of "8 GiB" memlock ok "is 8.0 GiB" limit 8589934592
case_of "no limit" memlock ok "is off" limit unlimited
case_of "not told" memlock note "not told" drop proc/self/limits

case_of "never" hugepages warning "are off .*madvise" put sys/kernel/mm/transparent_hugepage/enabled 'always madvise [never]'
case_of "always" hugepages ok "transparent" put sys/kernel/mm/transparent_hugepage/enabled '[always] madvise never'
case_of "not in this kernel" hugepages warning "has no transparent" drop sys/kernel/mm
case_of "reserved" hugepages "note ok" "20 reserved huge pages are free .*nr_hugepages=0" put proc/meminfo 'HugePages_Free:       20'

case_of "swap" swap note "there is swap" put proc/swaps 'Filename Type\n/dev/sda2 partition 1000 0 -2'
case_of "CPU time of the cgroup" limits warning "cpu.max" put sys/fs/cgroup/user.slice/cpu.max '50000 100000'
case_of "memory of the cgroup" limits note "1.0 GiB" put sys/fs/cgroup/user.slice/shell/memory.max 1073741824
both() { put sys/fs/cgroup/user.slice/memory.max 1073741824; put sys/fs/cgroup/user.slice/shell/memory.max 2147483648; }
case_of "the tightest above" limits note "1.0 GiB" both
case_of "no overcommit" limits note "overcommit" put proc/sys/vm/overcommit_memory 2
case_of "no cgroups of version 2" limits ok "no cgroup" put proc/self/cgroup '4:memory:/x'

case_of "a clean kernel" taint ok "nothing has happened" put proc/sys/kernel/tainted 0
case_of "a warning and an oops" taint warning "an oops, a warning .*dmesg" put proc/sys/kernel/tainted $((1 << 7 | 1 << 9))
case_of "a machine check" taint warning "a machine check" put proc/sys/kernel/tainted 16

again
put sys/kernel/mm/transparent_hugepage/enabled '[never]'
run bitnetctl doctor --root "$root"
is "$status" 0 "warnings: exit code 0"
like "$out" "warning +hugepages +transparent huge pages are off$newline +why: $any$newline +fix: echo madvise" "  explained"
drop sys/module/bitnet
run bitnetctl doctor --root "$root"
is "$status" 1 "an error: exit code 1"
run bitnetctl doctor -j --root "$root"
is "$status" 1 "  as JSON too"
is "$(field "$tmp/.out" counts.error)" 1 "  counted"
mkdir "$tmp/empty"
run bitnetctl doctor --root "$tmp/empty"
is "$status" 1 "a machine that says nothing"
fails 1 "is not a folder" "a machine that is not there" bitnetctl doctor --root "$tmp/nonexistent"
fails 2 "unexpected 'x'" "an operand" bitnetctl doctor x
run bitnetctl doctor
like "$status" "^[01]$" "this machine"
like "$out" "[0-9]+ ok, [0-9]+ notes, [0-9]+ warnings, [0-9]+ errors$" "  is examined"
finish

#!/bin/bash
# How late tokens are beside a load, in one virtual machine: the module's realtime class (a), its
# interactive class (b), the local engine as an ordinary process (c), and the same under chrt -f (d).
# The load: stress-ng on every CPU, and eight clients that read long prompts without a pause - BATCH
# jobs of the module in (a) and (b), ordinary processes in (c) and (d). Each realtime token is due
# twice the time after the one before that a token takes on the idle machine.
#
#   scripts/compare-latency.sh [option...]
#
#   --kernels "ID..."   stock kernels of scripts/kernels.sh (default: 6.12-cloud 6.12-rt)
#   --clock real        times are real ones, and so is the host's own noise
#   --clock icount      the clock counts instructions (QEMU -icount, 4 ns each), of both CPUs by turns:
#                       no noise from outside. QEMU 7 gives a CPU its turn when the other one halts or
#                       executes PAUSE, so that is what stress-ng does then (default: icount)
#   --model FILE        another model than the demo's; smaller ones need less patience
#   --tokens N          tokens of (a) (default 1000); the others make a tenth of it, 50 at least
#   --only LIST         some of a,b,c,d
#   --svg FILE          plot of (a) and (c) on the last kernel
#   --timeout SECONDS   for each kernel (default 1800)
#
# Prints a line per measurement, and (a) beside (c) as a plot. The machine is set up as bitnetctl
# doctor advises: the worker is SCHED_FIFO, not throttled, and leaves a CPU to its clients.
set -eu -o pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

usage() { sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
kernels='6.12-cloud 6.12-rt' clock=icount tokens=1000 only=a,b,c,d svg='' timeout=1800
model=userspace/models/demo-i2_s.gguf
while [ $# -gt 0 ]; do
	[ $# -gt 1 ] || usage
	case $1 in
	--kernels) kernels=$2 ;;
	--clock) clock=$2 ;;
	--tokens) tokens=$2 ;;
	--only) only=$2 ;;
	--svg) svg=$2 ;;
	--model) model=$2 ;;
	--timeout) timeout=$2 ;;
	*) usage ;;
	esac
	shift 2
done
case $clock in
icount) machine=(--qemu '-icount shift=2,sleep=off') load='--nop-instr pause --nop' ;;
real) machine=() load=--cpu ;;
*) usage ;;
esac
stress=$(command -v stress-ng) || die "stress-ng is missing: scripts/setup.sh test"
chrt=$(command -v chrt) || die "chrt is missing"

say "building"
make --no-print-directory -j2 all >/dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/bitnet-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT

# In the guest; every line for the table begins with "row".
cat >"$work/guest" <<'GUEST'
model=/models/compare.gguf
cpus=$(nproc)
for f in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do
	[ ! -e "$f" ] || echo 0 >"$f"
done
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
few=$((TOKENS / 10 > 50 ? TOKENS / 10 : 50))
has() { case ,$ONLY, in *,"$1",*) ;; *) return 1 ;; esac; }
measure() { # name tokens options...
	name=$1 n=$2
	shift 2
	bitnetctl latency "$@" -q -n "$n" --record "/tmp/$name.json" >"/tmp/$name" 2>"/tmp/$name.err" ||
		{ echo "$name failed: $(head -n 2 "/tmp/$name.err" | tr '\n' ' ')"; return 1; }
}
row() { # name what
	awk -v name="$1" -v what="$2" '
		$1 == "token" { row = $2 "|" $3 "|" $5 "|" $6 "|" $7 "|" $10 }
		$1 == "late" { late = $2 }
		END { print "row|" name "|" what "|" row "|" (late == "" ? "-" : late) }' "/tmp/$1"
}

bitnetctl load "$model" --name compare >/dev/null
measure idle 50 compare && row idle 'module, idle machine'
period=$(awk '$1 == "token" { printf "%dus", $3 * 2000 }' /tmp/idle)
# Time for the prompt: 16 rows, and what is computed when it comes. More would be time to be ahead of.
first=$(awk '$1 == "token" { printf "%dus", $3 * 40000 }' /tmp/idle)
# shellcheck disable=SC2086 # options
stress-ng $LOAD "$cpus" --timeout 0 >/dev/null 2>&1 &
flood='--load batch:8:prefill --load-tokens 32'
if has a; then
	# A token that took too long once is forgotten after some hundred others.
	for _ in 1 2 3 4 5 6; do
		# shellcheck disable=SC2086 # options
		measure a "$TOKENS" compare --class realtime --period "$period" \
			--first-token "$first" $flood && break
		measure more 400 compare
	done
	[ ! -s /tmp/a ] || row a "module, realtime, due every $period"
	measure refused 2 compare --class realtime --period 10us --first-token 10s 2>&1 |
		sed 's/^refused failed/at once/'
fi
# shellcheck disable=SC2086
has b && measure b "$few" compare $flood && row b 'module, interactive'
# shellcheck disable=SC2086
has c && measure c "$few" "$model" --engine=local --threads "$cpus" $flood && row c 'local engine'
if has d; then
	# Its threads become realtime tasks once the load's processes, which must not, are there.
	# shellcheck disable=SC2086
	measure d "$few" "$model" --engine=local --threads "$cpus" $flood &
	job=$!
	until [ "$(pidof bitnetctl | wc -w)" -ge 9 ]; do sleep 0.1; done
	for pid in $(pidof bitnetctl); do
		# The one whose parent is not another of them
		parent=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
		[ "$(cat "/proc/$parent/comm")" = bitnetctl ] || chrt -a -f -p 50 "$pid"
	done
	wait $job && row d 'local engine, chrt -f'
fi
if has a && has c; then
	bitnetctl latency --compare /tmp/a.json /tmp/c.json --svg /tmp/svg
	echo '== svg'
	cat /tmp/svg
fi
GUEST

: >"$work/rows"
for kernel in $kernels; do
	scripts/build-module.sh "$kernel" >/dev/null
	say "$kernel"
	tests/vm/run "$kernel" --smp 2 "${machine[@]}" --params 'cpus=1 policy=fifo:50' --no-gate \
		--file "$stress:/usr/bin/stress-ng" --file "$chrt:/usr/bin/chrt" --env "TOKENS=$tokens" \
		--file "$model:/models/compare.gguf" --env "LOAD=$load" \
		--env "ONLY=$only" --timeout "$timeout" --script "$work/guest" | tee "$work/out" | grep '^row' >&2
	sed -n "s/^row/$kernel/p" "$work/out" >>"$work/rows"
	sed '/^row/d; /^== svg/,$d' "$work/out"
	[ -z "$svg" ] || sed '1,/^== svg/d' "$work/out" >"$svg"
done
case $clock in
icount) say "times are instructions of both emulated CPUs, at 4 ns each" ;;
real) say "times are real ones of emulated CPUs: $(nproc) CPUs here, load $(cut -d ' ' -f 1-3 /proc/loadavg)" ;;
esac
awk -F '|' 'BEGIN {
		format = "%-10s %-6s %-38s %6s %8s %8s %8s %8s %9s %5s\n"
		printf format, "kernel", "", "ms", "tokens", "p50", "p99", "p99.9", "max", "p99.9/p50", "late"
	}
	{ printf format, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }' "$work/rows"

#!/bin/bash
# How late tokens are beside a load, in virtual machines with two CPUs: the module's realtime class (a),
# its interactive class (b), the local engine as an ordinary process (c), and the same under chrt -f (d).
# The load: stress-ng on every CPU, and eight clients that read long prompts without a pause - BATCH
# jobs of the module in (a) and (b), ordinary processes in (c) and (d). Each realtime token is due
# twice the time after the one before that a token takes without that load.
#
#   scripts/compare-latency.sh [option...]
#
#   --kernels "ID..."   stock kernels of scripts/kernels.sh (default: 6.12-cloud 6.12-rt)
#   --clock real        times are real ones, and so is the host's own noise
#   --clock icount      the clock counts instructions, 4 ns each, which both CPUs execute by turns: no
#                       noise from outside (default)
#   --model FILE        another model than the demo's; smaller ones need less patience
#   --tokens N          tokens of (a) (default 1000); the others make a tenth of it, 50 at least
#   --only LIST         some of a,b,c,d
#   --svg FILE          plot of (a) and (c) on the last kernel
#   --timeout SECONDS   for each kernel's machine (default 1800)
#
# Prints a line per measurement, and (a) beside (c) as a plot; fails if a measurement does. The machine
# is set up as bitnetctl doctor advises: the worker, on CPU 1, is SCHED_FIFO, not throttled.
#
# With -icount a CPU is half as fast while the other has something to do. So that "without load" and
# "with load" can be compared, something spins on CPU 0 then too.
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
turns=()
case $clock in
icount) turns=(--even-turns 25) ;;
real) ;;
*) usage ;;
esac
# A process that computes at SCHED_FIFO without a pause keeps the kernel's own threads from (d)'s CPUs.
gate=()
case ,$only, in *,d,*) gate=(--no-gate) ;; esac
stress=$(command -v stress-ng) || die "stress-ng is missing: scripts/setup.sh test"
chrt=$(command -v chrt) || die "chrt is missing"

say "building"
make --no-print-directory -j2 all >/dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/bitnet-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT

# In the guest. Every line for the table begins with "row", a recording with "record".
cat >"$work/guest" <<'GUEST'
model=/models/compare.gguf
cpus=$(nproc)
for f in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do
	[ ! -e "$f" ] || echo 0 >"$f"
done
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
few=$((TOKENS / 10 > 50 ? TOKENS / 10 : 50))
status=0
has() { case ,$ONLY, in *,"$1",*) ;; *) return 1 ;; esac; }
running() { pidof bitnetctl | wc -w; }
# Until a measurement's eight clients are there
loaded() { # pid
	while kill -0 "$1" 2>/dev/null && [ "$(running)" -lt 9 ]; do sleep 0.1; done
}
measure() { # name tokens options...
	name=$1 n=$2
	shift 2
	bitnetctl latency "$@" -q -n "$n" --record "/tmp/$name.json" >"/tmp/$name" 2>"/tmp/$name.err" &
	ended "$name" $!
}
ended() { # name pid
	wait "$2" && return
	echo "$1 failed: $(head -n 2 "/tmp/$1.err" | tr '\n' ' ')"
	return 1
}
row() { # name what
	awk -v name="$1" -v what="$2" '
		$1 == "token" { row = $2 "|" $3 "|" $5 "|" $6 "|" $7 "|" $10 }
		$1 == "late" { late = $2 }
		END { print "row|" name "|" what "|" row "|" (late == "" ? "-" : late) }' "/tmp/$1"
	echo "record $1 $(tr -d '\n' <"/tmp/$1.json")"
}

# CPU 1 is the worker's, and stress-ng's: who is interrupted there in the middle of something that others
# wait for would not go on. The local engine has both.
taskset -p 1 $$ >/dev/null
bitnetctl load "$model" --name compare >/dev/null
flood='--load batch:8:prefill --load-tokens 128'
# Without the load, only CPU 0 has something to do.
stress-ng --cpu 1 --timeout 0 >/dev/null 2>&1 &
spinner=$!
if has a || has b; then
	measure idle 200 compare && row idle 'module, no load' || status=1
	token_us() { awk -v times="$1" '$1 == "token" { printf "%dus", $3 * 1000 * times }' /tmp/idle; }
	period=$(token_us 2)
fi
kill $spinner
for cpu in 0 1; do
	taskset $((1 << cpu)) stress-ng --cpu 1 --timeout 0 >/dev/null 2>&1 &
done
sleep 1
if has a; then
	# Time for the prompt: 16 rows, and what is computed when it comes. More would be time to be ahead of.
	# shellcheck disable=SC2086 # options
	measure a "$TOKENS" compare --class realtime --period "$period" --first-token "$(token_us 40)" \
		$flood && row a "module, realtime, every $period" || status=1
	measure refused 2 compare --class realtime --period 10us --first-token 10s 2>&1 |
		sed 's/^refused failed/at once/'
fi
# shellcheck disable=SC2086
if has b; then measure b "$few" compare $flood && row b 'module, interactive' || status=1; fi
taskset -p 3 $$ >/dev/null
# shellcheck disable=SC2086
if has c; then
	measure c "$few" "$model" --engine=local --threads "$cpus" $flood && row c 'local engine' || status=1
fi
if has d; then
	# Its threads become realtime tasks once the load's processes, which must not, are there.
	# shellcheck disable=SC2086
	bitnetctl latency "$model" --engine=local --threads "$cpus" $flood -q -n "$few" \
		--record /tmp/d.json >/tmp/d 2>/tmp/d.err &
	job=$!
	loaded $job
	chrt -a -f -p 50 $job
	ended d $job && row d 'local engine, chrt -f' || status=1
fi
exit $status
GUEST

: >"$work/rows"
failed=0
for kernel in $kernels; do
	scripts/build-module.sh "$kernel" >/dev/null
	say "$kernel"
	rm -f "$work"/*.json
	tests/vm/run "$kernel" --smp 2 --params 'cpus=1 policy=fifo:50' "${turns[@]}" "${gate[@]}" \
		--file "$stress:/usr/bin/stress-ng" --file "$chrt:/usr/bin/chrt" \
		--file "$model:/models/compare.gguf" --env "TOKENS=$tokens" --env "ONLY=$only" \
		--timeout "$timeout" --script "$work/guest" >"$work/out" || failed=1
	sed -n "s/^row/$kernel/p" "$work/out" | tee -a "$work/rows" >&2
	sed -n 's/^record \([a-z]*\) .*/\1/p' "$work/out" | while read -r name; do
		sed -n "s/^record $name //p" "$work/out" >"$work/$name.json"
	done
	sed '/^row/d; /^record/d' "$work/out"
	[ ! -s "$work/a.json" ] || [ ! -s "$work/c.json" ] ||
		"$build/bitnetctl" latency --compare "$work/a.json" "$work/c.json" ${svg:+--svg "$svg"}
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
exit $failed

#!/bin/bash
# Runs the test suites, two at a time, and ends with one line: "N passed, N failed, N skipped".
#
#   tests/run.sh [SUITE...]      none means all
#
#   build     tool, library and tests compile without a warning
#   kernels   the kernels of User Mode Linux, once for each machine
#   unit checkasm golden abi fuzz cli    on this machine, with AddressSanitizer and UBSan
#   protocol  models of the module's protocols in Spin, searched completely
#   modules   bitnet.ko compiles without a warning for all kernels
#   lint      static checks (scripts/lint.sh)
#   readme    make demo, make install, a model of full size (tests/vm/shape), sections (tests/vm/sections);
#             in a release deadlines beside a load, and an isolated CPU (tests/vm/deadlines, tests/vm/isolated)
#   cells     programs of tests/device in guests unlike the beds: fewer or more CPUs, older ones, other clocks
#             (tests/vm/cells)
#   mutants   bugs put into the module on purpose are found (tests/mutants); in a release
#   coverage  how much of the module the tests execute (tests/coverage); in a release
#   vm        tests/device and tests/fault inside kernels: uml-debug uml 6.12-cloud 6.12-rt 6.1-amd64;
#             each of these, and any other id of scripts/kernels.sh, is also a suite of its own
#
# A release (BITNET_TEST_SIZE=release) can be interrupted: suites that passed for this commit are not run
# again; and it ends with the table of tests/plan. With BITNET_RELEASE_HOURS=N it ends after N hours: each
# loop gets its share of that (BITNET_TEST_SECONDS, see tests/size.h), the table says how far they came, and
# suites still running then are cut short. BITNET_LANES=1 runs one suite after the other. In CI, and where a
# release's hours are limited, some beds leave out programs that others run: tests/vm/selection.
#
# A test is a file: tests/{unit,golden,abi,fuzz}/NAME.c is a program of its own, tests/checkasm/*.c
# make one together, and again with emulated instructions, tests/{unit,golden,abi,fuzz,cli,protocol}/*.sh
# are scripts. tests/device/NAME.{c,sh} run in each guest, tests/fault/NAME.{c,sh} where the kernel can inject faults. All speak TAP on stdout (see
# tap.h); the environment tells BITNET_TEST_MODEL (the demo model), BITNET_TEST_SIZE (ci or release),
# BITNET_BED (the guest's id) and BITNET_TMP (an empty folder). TESTS=PATTERN runs only some programs.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$top"

export BITNET_TEST_SIZE=${BITNET_TEST_SIZE:-ci}
export BITNET_TEST_MODEL=$top/userspace/models/demo-i2_s.gguf
# One program's time in seconds; a release's sizes are 100 times those of CI and more.
[ "$BITNET_TEST_SIZE" = release ] && limit=${BITNET_TEST_TIMEOUT:-14400} || limit=${BITNET_TEST_TIMEOUT:-900}
# There are some 120 loops in all beds, which shall take a small part of the time of two lanes.
whole=
case $BITNET_TEST_SIZE:${BITNET_RELEASE_HOURS:-} in
release:?*)
	whole=$(awk "BEGIN { print int(3600 * $BITNET_RELEASE_HOURS) }")
	export BITNET_TEST_SECONDS=${BITNET_TEST_SECONDS:-$((1 + whole / 720))}
	limit=$((900 + BITNET_TEST_SECONDS * 10)) ;;
esac
export BITNET_TEST_TIMEOUT=$limit
pattern=${TESTS:-}
logs=$build/logs
# The programs are built apart from the developer's own build/, with other flags: plain ones, for the
# guests too, warnings being errors; and sanitized ones (gcc warns too much with sanitizers).
plain=$build/check
asan=$build/asan
make_plain=(make -k -j2 WERROR=1 O="$plain" all device-tests)
make_asan=(make -k -j2 SAN=1 O="$asan" all host-tests)
mkdir -p "$logs"

# Longest first: that leaves the least to wait for at the end.
beds='6.12-cloud uml-debug uml 6.12-rt 6.1-amd64'
[ "$BITNET_TEST_SIZE" = release ] && beds="$beds 6.12-amd64 6.1-cloud 6.1-rt x86-debug x86-kcsan"
[ "$BITNET_TEST_SIZE" = release ] && more='mutants coverage' || more=
module_kernels='6.12-amd64 6.12-cloud 6.12-rt 6.1-amd64 6.1-cloud 6.1-rt uml uml-debug'
host_suites='unit checkasm golden abi fuzz cli protocol'

lanes=${BITNET_LANES:-$(nproc)}
[ "$lanes" -le 2 ] || lanes=2

passed=0 failed=0 skipped=0
all_work=$(mktemp -d "${TMPDIR:-/tmp}/bitnet-check.XXXXXX")
work=$all_work
declare -A running=()	# suites in flight, by process
clock=			# a process that ends with the time
finish() {
	local pid
	for pid in "${!running[@]}" $clock; do
		kill -- "-$pid" 2>/dev/null || true
	done
	[ -z "$clock" ] || wait "$clock" 2>/dev/null || true	# without a word about it
	rm -rf "$all_work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# One TAP program that consists of one check: a command that has to succeed.
check() { # name command...
	local name=$1 mark=${1// /-} status=0
	shift
	echo "#@ begin $mark"
	"$@" >"$work/out" 2>&1 || status=$?
	if [ $status = 0 ]; then echo "ok 1 - $name"; else
		echo "not ok 1 - $name"
		{ grep -E 'error:|warning:|undefined reference|\*\*\*' "$work/out" || tail -n 30 "$work/out"; } |
			head -n 30 | sed 's/^/# /'
	fi
	echo "1..1"
	echo "#@ end $mark 0"
}

program() { # name command...
	local name=$1 status=0 start=$SECONDS
	shift
	# shellcheck disable=SC2053 # a pattern
	[[ $name == ${pattern:-*} ]] || return 0
	export BITNET_TMP=$work/tmp
	rm -rf "$BITNET_TMP"
	mkdir "$BITNET_TMP"
	echo "#@ begin $name"
	# It leads a group of its own, which a signal for ours does not reach.
	timeout -k 5 "$limit" "$@" </dev/null 2>&1 &
	child=$!
	wait $child || status=$?
	child=
	echo
	echo "#@ end $name $status $((SECONDS - start))"
}

build_suite() {
	check "plain build" "${make_plain[@]}"
	check "sanitized build" "${make_asan[@]}"
	check "clang build" make -k -j2 WERROR=1 CC=clang O="$build/clang" all tests
}

kernels_suite() {
	check "User Mode Linux with checks" scripts/build-kernel.sh uml-debug
	check "User Mode Linux" scripts/build-kernel.sh uml
}

host_suite() { # kind
	local f name
	# The tool that scripts call is the sanitized one, like the tests.
	export PATH=$asan:$PATH
	for f in tests/"$1"/*.c; do
		name=$(basename "$f" .c)
		[ "$1" = checkasm ] && name=checkasm
		[ -e "$f" ] && program "$name" "$asan/tests/$1/$name"
		if [ "$1" = checkasm ]; then
			program checkasm-emulated "$asan/tests/checkasm/checkasm-emulated"
			break
		fi
	done
	for f in tests/"$1"/*.sh; do
		if [ -e "$f" ]; then program "$(basename "$f")" bash "$f"; fi
	done
}

# What README promises: its commands, installing, and a model of full size.
readme_suite() {
	check "make demo prints the golden text, computed in the module" demo_is_golden
	check "make install and uninstall leave nothing behind" install_is_clean
	check "a model of b1.58-2B-4T's shape, here and in the module" tests/vm/shape
	check "FPU sections are short by instructions" tests/vm/sections
	[ "$BITNET_TEST_SIZE" = release ] || return 0
	check "10,000 realtime tokens beside a load, none of them late" tests/vm/deadlines
	check "a worker on a CPU without a tick" tests/vm/isolated
}

demo_is_golden() {
	make --no-print-directory demo TEMP=0 N=16 PROMPT="Once upon a time" | tee "$work/demo"
	grep -q 'running in the kernel' "$work/demo" &&
		grep -q ', there was a little girl named Lily. She loved to play with her' "$work/demo"
}

install_is_clean() {
	make --no-print-directory install DESTDIR="$work/root" PREFIX=/usr &&
		[ -x "$work/root/usr/bin/bitnetctl" ] &&
		make --no-print-directory uninstall DESTDIR="$work/root" PREFIX=/usr &&
		! find "$work/root" ! -type d | grep .
}

modules_suite() {
	local id
	for id in $module_kernels; do
		check "$id" scripts/build-module.sh "$id"
	done
}

# Does the bed run the program? In CI it may leave it out, and where a release's time is short.
selected() { # bed program
	{ [ "$BITNET_TEST_SIZE" != release ] || [ -n "$whole" ]; } && [ -z "$pattern" ] || return 0
	! grep -qE "^$1 (.* )?${2/./\\.}( |\$)" tests/vm/selection
}

# The programs of tests/device (and tests/fault) in one guest.
vm_suite() { # bed
	local bed=$1 kinds=device f name status=0 args=() list=$work/list
	case $bed in *-debug) kinds='device fault' ;; esac
	check "module builds" scripts/build-module.sh "$bed"
	grep -q '^not ok' "$logs/$bed.log" && return
	: >"$list"
	for kind in $kinds; do
		for f in tests/"$kind"/*.c tests/"$kind"/*.sh; do
			[ -e "$f" ] || continue
			name=$(basename "$f" .c)
			# shellcheck disable=SC2053 # a pattern
			[[ $name == ${pattern:-*} ]] && selected "$bed" "$name" || continue
			case $f in
			*.sh) args+=(--file "$f") ;;
			*) # One that does not compile fails alone.
				[ -x "$plain/tests/$kind/$name" ] || { check "$name was built" false; continue; }
				args+=(--file "$plain/tests/$kind/$name") ;;
			esac
			echo "$name" >>"$list"
		done
	done
	[ -s "$list" ] || return 0
	rm -f "$logs/$bed.dmesg"
	tests/vm/run "$bed" --tool "$plain/bitnetctl" --file tests/tap.sh "${args[@]}" --file "$list:/tests/list" --log "$logs/$bed" \
		--env "BITNET_TEST_TIMEOUT=$limit" ${BITNET_TEST_SECONDS:+--env "BITNET_TEST_SECONDS=$BITNET_TEST_SECONDS"} \
		--timeout "${whole:-$((limit * 5))}" --script tests/vm/programs || status=$?
	judge_guest "$bed" "$status"
}

# What a guest's end and its kernel log say.
judge_guest() { # log status
	local log=$1 status=$2
	echo
	echo "#@ begin guest"
	case $status in
	123) echo "not ok 1 - the guest ended (it died)" ;;
	124) echo "not ok 1 - the guest ended (it hung)" ;;
	120 | 121) echo "not ok 1 - the module loads and unloads" ;;
	*) echo "ok 1 - the guest ended" ;;
	esac
	# A program's failure hides that of the gate in the exit status.
	if [ ! -s "$logs/$log.dmesg" ]; then
		echo "not ok 2 - there is a kernel log"
	elif tests/vm/gate <"$logs/$log.dmesg" >"$work/out"; then
		echo "ok 2 - the kernel log is clean"
	else
		echo "not ok 2 - the kernel log is clean"
		sed 's/^/# /' "$work/out"
	fi
	echo 1..2
	echo "#@ end guest 0"
}

# Guests of tests/vm/cells.
cells_suite() {
	local cell bed when options programs f name status args list=$work/list
	while IFS=';' read -r cell bed when options programs; do
		case $cell in '' | '#'*) continue ;; esac
		read -r bed when <<<"$bed $when"
		[ "$when" = ci ] || [ "$BITNET_TEST_SIZE" = release ] || continue
		: >"$list"
		args=(--file tests/tap.sh)
		for name in $programs; do
			# shellcheck disable=SC2053 # a pattern
			[[ $name@$cell == ${pattern:-*} ]] || continue
			case $name in
			*.sh) args+=(--file "tests/device/$name") ;;
			*) args+=(--file "$plain/tests/device/$name") ;;
			esac
			echo "$name" >>"$list"
		done
		[ -s "$list" ] || continue
		check "module builds for $cell" scripts/build-module.sh "$bed"
		rm -f "$logs/$cell.dmesg"
		status=0
		# The options are words of the shell, some of them quoted.
		eval "tests/vm/run $bed $options" '--tool "$plain/bitnetctl" "${args[@]}" --file "$list:/tests/list"' \
			'--env "BITNET_CELL=$cell" --env "BITNET_TEST_SECONDS=${BITNET_TEST_SECONDS:-0}"' \
			'--log "$logs/$cell" --timeout $((limit * 2)) --script tests/vm/programs' || status=$?
		judge_guest "$cell" "$status"
	done <tests/vm/cells
}

# Runs one suite; leaves "PASSED FAILED SKIPPED" and what there is to say in the suite's folder.
run_suite() {
	local suite=$1 log=$logs/$1.log start=$SECONDS p f s slow
	child=
	trap '[ -z "$child" ] || kill "$child"; exit 143' TERM
	work=$all_work/$suite
	mkdir "$work"
	: >"$log"
	case $suite in
	build) build_suite ;;
	kernels) kernels_suite ;;
	unit | checkasm | golden | abi | fuzz | cli | protocol) host_suite "$suite" ;;
	modules) modules_suite ;;
	lint) scripts/lint.sh ;;
	readme) readme_suite ;;
	cells) cells_suite ;;
	mutants | coverage) program "$suite" "tests/$suite/run.sh" ;;
	*) vm_suite "$suite" ;;
	esac >>"$log" 2>&1 </dev/null
	awk -f tests/tap.awk "$log" >"$work/result"
	read -r _ p f s < <(tail -n 1 "$work/result")
	{
		printf '%-12s %5d passed %4d failed %4d skipped  %4d s\n' "$suite" "$p" "$f" "$s" $((SECONDS - start))
		sed '$d' "$work/result" | head -n 60
		slow=$(awk '$1 == "#@" && $2 == "end" && $5 >= 20 { print $3 " " $5 " s" }' "$log" | paste -sd ,)
		[ -z "$slow" ] || echo "  slow: $slow"
		if [ "$f" -gt 0 ]; then
			echo "  log: $log, its end:"
			tail -n 10 "$log" | sed 's/^/  | /'
		fi
	} >"$work/report"
	echo "$p $f $s" >"$work/total"
}

# A release takes hours and may be interrupted: what passed for this commit is not run again.
state=$build/release
version=$(git rev-parse HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo -dirty)

# Counts what it gave then.
done_before() { # suite
	local p s
	[ "$BITNET_TEST_SIZE" = release ] && [ -z "$pattern" ] && [ "$1" != build ] || return
	read -r p s < <(sed -n "s/^$1 $version //p" "$state" 2>/dev/null) || return
	passed=$((passed + p)) skipped=$((skipped + s))
	echo "$1 passed before ($state)"
}

# Says how a suite ended.
judge() { # suite
	local dir=$all_work/$1 p f s
	if ! read -r p f s <"$dir/total"; then
		echo "$1 did not end"
		failed=$((failed + 1))
		return
	fi
	[ $((p + f + s)) -gt 0 ] || return 0
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	cat "$dir/report"
	if [ "$BITNET_TEST_SIZE" = release ] && [ -z "$pattern" ] && [ "$f" = 0 ]; then
		echo "$1 $version $p $s" >>"$state"
	fi
}

# Ends what is running: only the checks made so far count.
cut_short() {
	local pid suite p f s
	for pid in "${!running[@]}"; do
		suite=${running[$pid]}
		kill -- "-$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		p=$(grep -c '^ok' "$logs/$suite.log") || true
		s=$(grep -c '^ok .*# SKIP' "$logs/$suite.log") || true
		f=$(grep -c '^not ok' "$logs/$suite.log") || true
		passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s))
		printf '%-12s %5d passed %4d failed %4d skipped  cut short, after %s\n' "$suite" $((p - s)) "$f" "$s" \
			"$(awk '/^#@ end/ { last = $3 } END { print last }' "$logs/$suite.log")"
		echo "#@ cut short" >>"$logs/$suite.log"
		unset "running[$pid]"
	done
	[ ${#suites[@]} = 0 ] || echo "not begun: ${suites[*]}"
	suites=()
}

# Waits until a suite ends, or all time is over.
reap() {
	local pid=
	wait -n -p pid "${!running[@]}" $clock || true
	if [ "$pid" = "$clock" ]; then
		clock=
		cut_short
		return
	fi
	judge "${running[$pid]}"
	unset "running[$pid]"
}

# What a suite would otherwise wait for while it holds a lane, or do at the same time as another.
ready() { # suite
	local needs other
	case $1 in
	build | kernels) return 0 ;;
	modules | readme | cells | uml* | mutants | coverage) needs='build kernels' ;;
	*) needs=build ;;
	esac
	for other in "${suites[@]}" "${running[@]}"; do
		case " $needs " in *" $other "*) return 1 ;; esac
	done
}

# Runs $suites, as many at a time as there are lanes; each as soon as it is ready.
run_suites() {
	local i rest suite
	# Each suite is a group of processes that can be ended.
	set -m
	while [ ${#suites[@]} -gt 0 ]; do
		while [ ${#running[@]} -ge "$lanes" ]; do reap; done
		[ ${#suites[@]} -gt 0 ] || break	# the time is over
		rest=()
		suite=
		for i in "${suites[@]}"; do
			if [ -z "$suite" ] && ready "$i"; then suite=$i; else rest+=("$i"); fi
		done
		if [ -n "$suite" ]; then
			suites=("${rest[@]}")
			(set +e; run_suite "$suite") &
			running[$!]=$suite
		else
			reap
		fi
	done
	while [ ${#running[@]} -gt 0 ]; do reap; done
}

# All of it is read before it starts: the script may be edited while it runs.
main() {
	suites=()
	for suite in "${@:-all}"; do
		case $suite in
		all) if [ "$BITNET_TEST_SIZE" = release ]; then
			# What completes most rows of the plan first
			suites+=(build kernels uml-debug 6.12-cloud unit cli golden lint abi modules uml 6.1-amd64
				 6.12-rt cells fuzz protocol checkasm readme $more ${beds#*6.1-amd64})
		     else
			suites+=(build kernels ${beds%% *} $host_suites lint modules readme cells ${beds#* } $more)
		     fi ;;
		host) suites+=(build $host_suites) ;;
		vm) suites+=($beds) ;;
		*) suites+=("$suite") ;;
		esac
	done
	for suite in "${suites[@]}"; do
		case " build kernels $host_suites modules lint readme cells mutants coverage $(scripts/kernels.sh list | tr '\n' ' ') " in
		*" $suite "*) ;;
		*) die "no suite '$suite'" ;;
		esac
	done

	started=$SECONDS
	# Suites of the machine need the programs; without the build suite make them here.
	quietly() { "$@" >"$logs/make.log" 2>&1 || { tail -n 30 "$logs/make.log"; failed=$((failed + 1)); }; }
	case " ${suites[*]} " in
	*" build "*) ;;
	*" unit "* | *" checkasm "* | *" golden "* | *" abi "* | *" fuzz "* | *" cli "*) quietly "${make_asan[@]}" ;;
	esac
	case " ${suites[*]} " in
	*" build "*) ;;
	*" cells "* | *" uml"* | *" 6."* | *" x86"* | *" mutants "* | *" coverage "*) quietly "${make_plain[@]}" ;;
	esac
	rest=()
	for suite in "${suites[@]}"; do
		done_before "$suite" || rest+=("$suite")
	done
	suites=("${rest[@]}")
	if [ -n "$whole" ]; then
		set -m
		sleep "$whole" &
		clock=$!
	fi
	run_suites
	[ "$BITNET_TEST_SIZE" != release ] || tests/plan.sh "$logs" release
	echo "all suites took $((SECONDS - started)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

main "$@"; exit

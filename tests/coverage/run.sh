#!/bin/bash
# How much of the module the tests of tests/device and tests/fault execute: lines that begin a basic
# block, in both User Mode Linux beds together. As TAP; what is missed is in build/coverage/missed.
#
#   tests/coverage/run.sh [TEST...]      only some tests
#
# The SIMD variants are left out: checkasm has them.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
cd "$top"
# Each test once, not for hours.
export BITNET_TEST_SIZE=ci

least=85	# percent
plain=$build/check
out=$build/coverage
beds=${BITNET_COVERAGE_BEDS:-uml uml-debug}
mkdir -p "$out/source"
wanted=" $* "

# A copy of the module, whose files but those of x86/ call at each basic block.
tar -cf - Kbuild kmod uapi tests/device/client | tar -xf - -C "$out/source"
# shellcheck disable=SC2016 # make's variables
cat >>"$out/source/Kbuild" <<'END'
$(foreach o,$(filter-out kmod/core/x86/%,$(bitnet-y)),$(eval CFLAGS_$(o) += -fsanitize-coverage=trace-pc -g))
KBUILD_EXTRA_SYMBOLS += $(BITNET_TOP)/coverage/Module.symvers
END

pairs=()
for bed in $beds; do
	dir=$out/kmod-$bed
	mkdir -p "$dir/coverage"
	cp -p tests/coverage/Kbuild tests/coverage/bitnet_coverage.c "$dir/coverage/"
	make -C "$(scripts/kernels.sh headers "$bed")" M="$dir/coverage" ARCH=um modules >"$out/$bed.build" 2>&1 ||
		die "bitnet_coverage.ko does not build: $out/$bed.build"
	BITNET_BUILD=$out BITNET_MODULE_SRC=$out/source scripts/build-module.sh "$bed" >"$out/$bed.build" 2>&1 ||
		die "the instrumented module does not build: $out/$bed.build"
	args=(--file tests/tap.sh)
	: >"$out/list"
	for kind in device fault; do
		[ "$kind:$bed" = fault:uml ] && continue
		for f in tests/$kind/*.c tests/$kind/*.sh; do
			[ -e "$f" ] || continue
			name=$(basename "$f" .c)
			[ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || continue
			case $f in *.sh) args+=(--file "$f") ;; *) args+=(--file "$plain/tests/$kind/$name") ;; esac
			echo "$name" >>"$out/list"
		done
	done
	cat >"$out/script" <<-'END'
		insmod /modules/bitnet_coverage.ko
		sh /tests/programs
		echo "#@ coverage"
		cat /sys/kernel/debug/bitnet_coverage
	END
	cp "$dir/coverage/bitnet_coverage.ko" "$dir/"
	# Slower than without: what the tests find is for the suites to say.
	BITNET_BUILD=$out tests/vm/run "$bed" --no-module --no-gate --tool "$plain/bitnetctl" "${args[@]}" \
		--file "$out/list:/tests/list" --file tests/vm/programs:/tests/programs \
		--env "BITNET_TEST_TIMEOUT=${BITNET_TEST_TIMEOUT:-300}" --log "$out/$bed" \
		--timeout "${BITNET_COVERAGE_TIMEOUT:-3600}" --script "$out/script" >"$out/$bed.seen" 2>&1 || true
	grep -q '^text ' "$out/$bed.seen" || die "nothing was seen in $bed: $out/$bed.seen"
	pairs+=("$dir/bitnet.ko" "$out/$bed.seen")
done
tests/coverage/report.py "$out/missed" "${pairs[@]}" >"$out/report"
sed -n '/^#/p' "$out/report"
percent=$(sed -n 's/^lines .* \([0-9]*\)\.[0-9]* %$/\1/p' "$out/report")
result=ok
[ "$percent" -ge $least ] || result='not ok'
echo "$result 1 - $(sed -n 's/^lines //p' "$out/report") of lines, at least $least % wanted; missed: $out/missed"
echo "# $(sed -n 's/^blocks /blocks: /p' "$out/report")"
echo 1..1
[ "$result" = ok ]

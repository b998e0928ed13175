#!/bin/bash
# Do the tests find bugs? For each patch here: applies it to a copy of the module, and runs the tests
# that it names in the bed uml-debug, until one fails or the kernel's log has a report. As TAP, which
# names who found it; a patch that nobody finds, or that no longer applies, fails.
#
#   tests/mutants/run.sh [NAME...]
#
# A patch begins with what is wrong, and a line "Tests: NAME..."
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
cd "$top"
# Each test once, not for hours.
export BITNET_TEST_SIZE=ci

bed=uml-debug
plain=$build/check
copy=$build/mutants/source
export BITNET_BUILD=$build/mutants BITNET_MODULE_SRC=$copy
mkdir -p "$copy"
[ $# -gt 0 ] || { cd tests/mutants && set -- *.patch && cd "$top"; }

# A fresh copy; what the last patch changed counts as changed again, for make.
touched=()
fresh() {
	tar -cf - Kbuild kmod uapi tests/device/client | tar -xf - -C "$copy"
	for f in "${touched[@]}"; do touch "$copy/$f"; done
}

# Who finds it, or nothing.
hunt() { # tests...
	local test kind
	for test in "$@"; do
		kind=device
		[ -e "tests/fault/$test.c" ] && kind=fault
		tests/vm/run $bed --tool "$plain/bitnetctl" --file "$plain/tests/$kind/$test" \
			--timeout 240 -- "/tests/$test" >"$BITNET_BUILD/$test.log" 2>&1 || {
			echo "$test"
			return
		}
	done
}

n=0 failed=0
for name in "$@"; do
	name=${name%.patch}
	patch=tests/mutants/$name.patch
	n=$((n + 1))
	tests=$(sed -n 's/^Tests: //p' "$patch")
	fresh
	mapfile -t touched < <(sed -n 's/^+++ b\///p' "$patch")
	found=
	if patch -s -p1 -d "$copy" <"$patch" >"$BITNET_BUILD/patch.log" 2>&1 &&
		scripts/build-module.sh $bed >>"$BITNET_BUILD/patch.log" 2>&1; then
		# shellcheck disable=SC2086 # a list
		found=$(hunt $tests)
	else
		sed 's/^/# /' "$BITNET_BUILD/patch.log"
	fi
	if [ -n "$found" ]; then
		echo "ok $n - $name: found by $found"
	else
		echo "not ok $n - $name: $(head -n 1 "$patch")"
		failed=1
	fi
done
echo "1..$n"
exit $failed

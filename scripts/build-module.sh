#!/bin/bash
# Builds bitnet.ko for one kernel, in build/kmod-ID, and prints that folder. Kbuild writes next to
# the sources, so they are mirrored there first: one tree serves many kernels and stays clean.
#
#   scripts/build-module.sh [--lint] ID        IDs: see kernels.sh
#
# Any warning of the compiler, objtool or modpost about our files is an error (W=1). --lint builds
# in a folder of its own with sparse (C=2) and a limit of 1 KiB for stack frames.
# tests/device/client, a module that uses our exported functions, is built along when it exists.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

lint=
[ "${1:-}" = --lint ] && { lint=1; shift; }
id=${1:?usage: $0 [--lint] ID}
src=${BITNET_MODULE_SRC:-$top}
[ -e "$src/Kbuild" ] || die "there is no $src/Kbuild"
headers=$("$top/scripts/kernels.sh" headers "$id")
dir=$build/kmod-$id${lint:+-lint}
log=$dir/build.log

args=(W=1)
case $id in uml*) args+=(ARCH=um) ;; esac
[ -z "$lint" ] || args+=(C=2 KCFLAGS=-Wframe-larger-than=1024)

# Sources that went away must not be built again; objects stay, cp -p keeps make's dates right.
mirror() {
	local to=$2
	mkdir -p "$to"
	find "$to" -type f \( -name '*.[chS]' -o -name '*.mk' -o -name Kbuild \) ! -name '*.mod.c' -delete
	# shellcheck disable=SC2086
	(cd "$1" && tar -cf - $3) | tar -xf - -C "$to"
}

kbuild() { # folder
	make -C "$headers" M="$1" "${args[@]}" BITNET_TOP="$dir" ${V:+V=$V} -j2 modules >>"$log" 2>&1
}

# Lines that warn, except what older kernels say about their own headers and about this machine.
warnings() {
	grep -E '(warning|WARNING|error):' "$log" |
		grep -vE -e "^(\./|include/|arch/|$headers|/usr/src/linux-|$cache/linux-)" \
			-e 'the compiler differs from the one used to build the kernel' || true
}

fail() {
	# The objects are up to date now and would be silent the next time.
	find "$dir" \( -name '*.o' -o -name '*.ko' -o -name '.*.cmd' \) -delete
	die "$1; the whole log: $log"
}

mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
mirror "$src" "$dir" "Kbuild kmod uapi"
: >"$log"
kbuild "$dir" || { grep -E 'error|warning|\*\*\*' "$log" | head -n 40 >&2; fail "building for $id failed"; }
if [ -e "$src/tests/device/client/Kbuild" ]; then
	mirror "$src/tests/device/client" "$dir/client" .
	args+=(KBUILD_EXTRA_SYMBOLS="$dir/Module.symvers")
	kbuild "$dir/client" || { tail -n 30 "$log" >&2; fail "building the client module for $id failed"; }
fi
found=$(warnings)
[ -z "$found" ] || { printf '%s\n' "$found" | head -n 40 >&2; fail "warnings in the build for $id"; }
echo "$dir"

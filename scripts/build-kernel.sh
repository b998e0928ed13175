#!/bin/bash
# Builds a kernel to test in, from Debian's linux-source-6.12, and prints its build folder:
#
#   uml         User Mode Linux, minimal: runs as a process at native speed
#   uml-debug   User Mode Linux with KASAN, lockdep, kmemleak, fault injection, UBSAN
#   x86-debug   x86_64 for QEMU, SMP, with the same checkers and KCOV
#   x86-kcsan   the same with the one that finds data races
#
# Built once and kept in the cache; the key is the source version, the configuration and the compiler.
# With --if-cached it builds nothing and fails when there is no such kernel.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if_cached=
[ "${1:-}" = --if-cached ] && { if_cached=1; shift; }
id=${1:-}
cfg=$top/tests/vm/config
case $id in
uml)       arch=um targets='linux modules' fragments='base uml' ;;
uml-debug) arch=um targets='linux modules' fragments='base uml debug' ;;
x86-debug) arch=x86_64 targets='bzImage modules' fragments='base x86 debug' ;;
x86-kcsan) arch=x86_64 targets='bzImage modules' fragments='base x86 kcsan' ;;
*) die "usage: $0 [--if-cached] uml|uml-debug|x86-debug|x86-kcsan" ;;
esac

srcver=$(dpkg-query -W -f '${Version}' linux-source-6.12 2>/dev/null) ||
	die "package linux-source-6.12 is missing; run scripts/setup.sh uml"
# Raise when the patches in prepare_source() or the steps of the build change.
recipe=1
ver=$(plain_name "$srcver")
files=$(for f in $fragments; do printf '%s ' "$cfg/$f.config"; done)
# shellcheck disable=SC2086 # a list of files
key=$({ grep -h CONFIG_ $files; echo "$recipe"; gcc -dumpfullversion; } | sha256sum | cut -c1-10)
src=$cache/linux-$ver
out=$cache/$id-$ver-$key

if [ -e "$out/.done" ]; then
	echo "$out"
	exit 0
fi
[ -z "$if_cached" ] || exit 1

# UML keeps the host's xstate in a buffer that is too small for CPUs with AMX and then panics at
# start ("ptrace set fp regs failed, errno = 14"). 11 KiB hold all of it; the larger kernel stack
# that goes with it is in uml.config.
prepare_source() {
	[ -e "$src/.ready" ] && return
	say "unpacking linux-source-6.12 $srcver"
	rm -rf "$src" "$src.tmp"
	mkdir -p "$src.tmp"
	tar -C "$src.tmp" --strip-components=1 -xf /usr/src/linux-source-6.12.tar.xz
	local offsets=$src.tmp/arch/x86/um/user-offsets.c
	sed -i 's/DEFINE_LONGS(HOST_FP_SIZE, 2696)/DEFINE_LONGS(HOST_FP_SIZE, 11264)/' "$offsets"
	grep -q 11264 "$offsets" || die "the HOST_FP_SIZE patch no longer applies to $srcver"
	touch "$src.tmp/.ready"
	mv "$src.tmp" "$src"
}

check_config() {
	# An option that Kconfig dropped would silently weaken the tests.
	local missing=
	while read -r opt; do
		grep -qxF "$opt" "$out/.config" || missing="$missing $opt"
	done < <(grep -h '^CONFIG_.*=' $files)
	[ -z "$missing" ] || say "note: options without effect in $id:$missing"
}

mkdir -p "$cache"
exec 9>"$cache/.lock-$id"
flock 9
exec 8>"$cache/.lock-source"
flock 8
prepare_source
exec 8>&-

if [ ! -e "$out/.done" ]; then
	say "building the kernel '$id' (several minutes, once; log: $out/build.log)"
	start=$(date +%s)
	rm -rf "$out"
	mkdir -p "$out"
	# shellcheck disable=SC2086
	cat $files > "$out/fragment"
	mk() { nice make -C "$src" O="$out" ARCH=$arch "$@" >>"$out/build.log" 2>&1; }
	mk KCONFIG_ALLCONFIG="$out/fragment" allnoconfig || die "configuring failed: $out/build.log"
	check_config
	# shellcheck disable=SC2086
	mk -j2 $targets || { tail -n 20 "$out/build.log" >&2; die "building $id failed: $out/build.log"; }
	touch "$out/.done"
	say "built '$id' in $(($(date +%s) - start)) s"
fi
echo "$out"

#!/bin/sh
# The uapi headers compile alone, in any order, twice, in every language and word size that a program
# may be written in; nothing of theirs has a hole. TAP; needs only a compiler, the rest is skipped.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tell() { cat "$work/log"; }

headers=$(cd "$top/uapi" && ls linux/*.h)
for h in $headers; do
	name=$(basename "$h" .h)
	echo "#include <$h>" >"$work/$name.c"
	echo "#include <$h>" >>"$work/$name.c"
	echo "int bitnet_header_used;" >>"$work/$name.c"
done
for h in $headers; do echo "#include <$h>"; done >"$work/all.c"
for h in $headers; do echo "#include <$h>"; done | sort -r >>"$work/all.c"
echo "int bitnet_header_used;" >>"$work/all.c"

try() { # description, compiler and options
	what=$1
	shift
	if ! command -v "$1" >/dev/null; then
		skip "$what" "there is no $1"
		return
	fi
	echo 'int main(void) { return 0; }' >"$work/probe.c"
	if ! "$@" "$work/probe.c" -o "$work/probe" 2>"$work/log"; then
		skip "$what" "$* does not work here"
		return
	fi
	for src in $headers all.c; do
		name=$(basename "$(basename "$src" .c)" .h)
		"$@" -Wall -Wextra -Werror -I"$top/uapi" -c "$work/$name.c" -o "$work/$name.o" \
			2>"$work/log"
		result $? "$what: $src"
	done
}

try 'gcc, C99' gcc -std=c99 -pedantic -Wpadded
try 'gcc, C11' gcc -std=gnu11 -pedantic -Wpadded
try 'gcc, 32 bit' gcc -m32 -std=c99 -pedantic -Wpadded
try 'gcc, freestanding' gcc -std=c99 -ffreestanding
try 'g++' g++ -x c++ -std=c++11 -Wpadded
try 'clang, C99' clang -std=c99 -pedantic -Wpadded
try 'clang, C++' clang++ -x c++ -std=c++11 -Wpadded

if ! command -v pahole >/dev/null; then
	skip 'pahole finds no holes' 'there is no pahole'
else
	# shellcheck disable=SC2086 # a list of files
	wanted=$(cd "$top/uapi" && cat $headers | grep -c '^struct [a-z_]* {$')
	for bits in 64 32; do
		{
			cat "$work/all.c"
			# A variable of each type, or the compiler leaves it out of the debug information.
			# shellcheck disable=SC2086
			(cd "$top/uapi" && sed -n 's/^struct \([a-z_]*\) {$/struct \1 v_\1;/p' $headers)
		} >"$work/types.c"
		if ! gcc -m$bits -g -I"$top/uapi" -c "$work/types.c" -o "$work/types.o" 2>"$work/log"; then
			skip "pahole finds no holes, $bits bit" 'no compiler for it'
			continue
		fi
		pahole "$work/types.o" >"$work/pahole" 2>"$work/log"
		structs=$(grep -c '^struct bitnet_' "$work/pahole")
		grep -E 'hole, try to pack|last struct has|/\* (padding|holes?|sum holes)|bit_' "$work/pahole" >"$work/log"
		[ ! -s "$work/log" ] && [ "$structs" = "$wanted" ]
		result $? "pahole finds no holes in $structs structs, $bits bit"
	done
fi
# What the 64-bit program of tests/abi/layout.c finds, a 32-bit one must find too.
if ! gcc -m32 -std=gnu11 -I"$top/uapi" "$top/tests/abi/layout.c" -o "$work/layout32" 2>"$work/log"; then
	if echo 'int main(void) { return 0; }' | gcc -m32 -x c - -o "$work/probe" 2>/dev/null; then
		result 1 'layout.c compiles for 32 bit'
	else
		skip 'layout.c, 32 bit' 'no 32-bit compiler'
	fi
elif "$work/layout32" >"$work/log" 2>&1; then
	result 0 "layout.c, 32 bit: $(grep -c '^ok' "$work/log") checks hold"
else
	result $? 'layout.c, 32 bit'
fi
finish

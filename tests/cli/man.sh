#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The manual: complete, well-formed, and its examples work as they stand there.
. "$(dirname "$0")/tap.bash"
page=$src/userspace/man/bitnetctl.8

# mdoc has its own ways to write a dash; take the text without macros.
text=$(sed -e 's/^\.It //' -e 's/\bFl Fl /--/g' -e 's/\bFl /-/g' "$page")
for verb in $(bitnetctl __complete ''); do
	case $verb in
	help | version) ok "$verb is in the manual" grep -q "Cm help\|version" "$page" ;;
	*) ok "$verb is in the manual" grep -q "Cm $verb\b" "$page" ;;
	esac
	for option in $(bitnetctl __complete "$verb" --); do
		grep -qe "$option\b" <<<"$text" || missing="${missing:-} $verb:$option"
	done
done
is "${missing:-}" "" "every option is in the manual"

# Each errno of the interface stands in bitnet(4).
for e in $(sed -n 's/^ \*   \(E[A-Z0-9]*\) .*/\1/p' "$src/uapi/linux/bitnet.h"); do
	grep -q "Er $e\b" "$src/userspace/man/bitnet.4" || absent="${absent:-} $e"
done
is "${absent:-}" "" "every errno of the interface is in bitnet(4)"
for p in $(sed -n 's/^module_param(\([a-z_]*\),.*/\1/p' "$src"/kmod/main.c); do
	grep -q "Cm $p\b" "$src/userspace/man/bitnet.4" || unsaid="${unsaid:-} $p"
done
is "${unsaid:-}" "" "every module parameter is in bitnet(4)"

for f in "$src"/userspace/man/*.[1-8]; do
	if command -v groff >/dev/null && [ -e "$(dirname "$(command -v groff)")/../share/groff/current/tmac/doc.tmac" ]; then
		is "$(groff -mdoc -Tutf8 -ww -z "$f" 2>&1)" "" "groff accepts ${f##*/}"
	else
		skip "groff accepts ${f##*/}" "no groff"
	fi
done

# The examples, in order, in one shell. Those of root need a device.
cp "$model" model.gguf
device=$([ -w /dev/bitnet ] && [ "$(id -u)" = 0 ] && echo yes)
mkdir bin
ln -s "$(readlink -f "$bitnetctl")" bin/bitnetctl
PATH=$tmp/bin:$PATH
unset -f bitnetctl
shared=
while IFS= read -r line; do
	command=${line#??}
	case $line in '# '*) shared=yes ;; esac
	if [ -n "$shared" ] && [ -z "$device" ]; then
		skip "example: $command" "no device"
		continue
	fi
	status=0
	eval "$command" >.out 2>.err </dev/null || status=$?
	is "$status" 0 "example: $command" || diag "$(cat .err)"
done < <(sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/{/^[$#] /p}' "$page")
finish

#!/bin/bash
# make demo: builds all, then runs a prompt through the kernel module and prints the text as it comes.
#
# The module is loaded into the running kernel where that is possible: root, headers, and a kernel that
# takes modules. Otherwise Debian's own 6.12 kernel is booted in QEMU, with the module, the tool and the
# demo model inside. The environment has PROMPT, N (tokens), TEMP and SEED.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

PROMPT=${PROMPT:-Once upon a time}
N=${N:-64}
TEMP=${TEMP:-0}
SEED=${SEED:-1}
export PROMPT N TEMP SEED
model=userspace/models/demo-i2_s.gguf
bed=6.12-cloud

# shellcheck disable=SC2016 # expanded where it runs
generate='bitnetctl run "$MODEL" --engine=device -p "$PROMPT" -n "$N" --temp "$TEMP" --seed "$SEED" --stats'

step() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }

scripts/setup.sh build demo
step "building the tool and the library"
mkdir -p "$build"
make --no-print-directory -j2 all >"$build/demo.log" 2>&1 || { tail -n 30 "$build/demo.log" >&2; die "the build failed"; }

# Says why the running kernel cannot take the module, or nothing.
why_not_here() {
	[ "$(id -u)" = 0 ] || { echo "we are not root"; return; }
	[ -e /proc/modules ] || { echo "it has no support for modules"; return; }
	[ -e "/lib/modules/$(uname -r)/build/Makefile" ] ||
		{ echo "its headers are not installed (package linux-headers-$(uname -r))"; return; }
	[ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" != 1 ] || { echo "loading modules is locked"; return; }
	scripts/build-module.sh running >"$build/demo.log" 2>&1 || { echo "the module does not build for it, see $build/demo.log"; return; }
	[ ! -d /sys/module/bitnet ] || return 0
	insmod "$build/kmod-running/bitnet.ko" 2>"$build/demo.log" || echo "insmod: $(cat "$build/demo.log")"
}

here() {
	local loaded=$1
	step "running on this machine's kernel $(uname -r)"
	[ -n "$loaded" ] || trap 'rmmod bitnet' EXIT
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -c /dev/bitnet ] && break
		sleep 0.1
	done
	MODEL=$model PATH=$build:$PATH bash -c "bitnetctl info; echo; $generate"
}

# /dev/kvm may be there and yet start no guest; whether it does is found out once per boot.
kvm_works() {
	local seen
	[ -w /dev/kvm ] || return 1
	seen=$cache/kvm-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$seen" ]; then
		note "trying /dev/kvm"
		rm -f "$cache"/kvm-*
		if tests/vm/run $bed --no-module --kvm --timeout 10 -- true >/dev/null 2>&1; then
			echo yes >"$seen"
		else
			echo no >"$seen"
		fi
	fi
	[ "$(cat "$seen")" = yes ]
}

machine() {
	local accel=()
	step "the running kernel $(uname -r) cannot be used: $1"
	step "building the module for Debian's kernel $(scripts/kernels.sh release $bed)"
	scripts/build-module.sh $bed >/dev/null
	if kvm_works; then
		accel=(--kvm)
		step "starting a virtual machine (KVM, 2 CPUs)"
	else
		step "starting a virtual machine (QEMU's emulation, 2 CPUs: many times slower than real ones)"
	fi
	tests/vm/run $bed "${accel[@]}" --timeout 280 --log "$build/logs/demo" \
		--env MODEL=/models/demo-i2_s.gguf --env "PROMPT=$PROMPT" --env "N=$N" \
		--env "TEMP=$TEMP" --env "SEED=$SEED" -- "
		echo \"==> in the machine: kernel \$(uname -r), module \$(cat /sys/module/bitnet/version 2>/dev/null) loaded\"
		bitnetctl info; echo
		$generate"
}

step "prompt: $PROMPT"
loaded=
[ ! -d /sys/module/bitnet ] || loaded=1
reason=$(why_not_here)
if [ -z "$reason" ]; then here "$loaded"; else machine "$reason"; fi
step "done; more: build/bitnetctl --help, make check, make install"

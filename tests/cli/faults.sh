#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What writes files, while the power goes or the disk fails at each of its system calls: afterwards the old
# file or the new one is there, whole. And what prints, when nobody reads or may read.
. "$(dirname "$0")/tap.bash"

# Of a traced program the sanitizer cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0
calls='write,pwrite64,fsync,fallocate,rename,openat,close'

# How often a command makes a system call.
count() { # call command...
	local call=$1
	shift
	strace -f -qq -o "$tmp/.trace" -e trace="$call" "$@" >/dev/null 2>&1
	grep -c "$call(" "$tmp/.trace"
}

# (Callers drop standard error: the shell tells of each killed child there.)
# The command at each of its calls: killed before it, or told that it failed. The file is old or new then.
always_whole() { # name file old new command...
	local name=$1 file=$2 old=$3 new=$4 call n i how broken='' runs=0 failed_well=1
	shift 4
	for call in ${calls//,/ }; do
		n=$(count "$call" "$@")
		# What opens and closes before that are libraries and the model.
		for ((i = 1; i <= n; i++)); do
			for how in signal=SIGKILL error=ENOSPC error=EIO; do
				case $call:$how in openat:error* | close:error*) continue ;; esac
				cp "$old" "$file"
				run strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:$how:when=$i" "$@"
				runs=$((runs + 1))
				if ! cmp -s "$file" "$old" && ! cmp -s "$file" "$new"; then
					broken="$broken $call-$i-$how"
				fi
				# One that says all went well has written the new file.
				if [ "$status" = 0 ] && ! cmp -s "$file" "$new"; then failed_well=; fi
				rm -f "$file".tmp-*
			done
		done
	done
	is "$broken" "" "$name: whole after each of $runs faults"
	is "$failed_well" 1 "$name: no success without the new file"
}

bitnetctl pack "$model" -o new --name new -q >/dev/null
bitnetctl pack "$model" -o old --name old -q >/dev/null
always_whole pack file old new "$bitnetctl" pack "$model" -o file --name new -q 2>/dev/null

# Recordings and plots: those of a comparison are always the same.
bitnetctl latency "$model" --engine=local -n 8 -q --record a >/dev/null
bitnetctl latency "$model" --engine=local -n 8 -q --record b >/dev/null
bitnetctl latency --compare a b --svg new.svg -q >/dev/null
echo old >old.svg
always_whole "latency --svg" plot.svg old.svg new.svg "$bitnetctl" latency --compare a b --svg plot.svg -q 2>/dev/null
# Each recording is another: it has to be one that can be compared.
broken=
for how in signal=SIGKILL error=ENOSPC; do
	for call in write rename fsync; do
		for i in 1 2; do
			cp a record
			run strace -f -qq -o /dev/null -e trace=$call -e inject="$call:$how:when=$i" \
				"$bitnetctl" latency "$model" --engine=local -n 8 -q --record record 2>/dev/null
			bitnetctl latency --compare record b -q >/dev/null 2>&1 || broken="$broken $call-$i-$how"
		done
	done
done
is "$broken" "" "latency --record: whole after each fault"
is "$(bitnetctl latency --compare a b --svg /dev/stdout | grep -c '</svg>')" 1 "latency --svg into a pipe"

# A model that cannot be read to its end.
for how in error=EIO error=EACCES; do
	run strace -f -qq -o /dev/null -e trace=mmap,openat -P "$model" -e inject=openat:$how "$bitnetctl" show "$model"
	like "$status:$err" "^[123]:bitnetctl: " "a model whose file gives ${how#*=}: an error, in words"
done

# No permission, no folder, no space for a name.
fails 1 "cannot write beside it" "pack into a folder that is not there" bitnetctl pack "$model" -o none/file -q
fails 1 "none/plot" "latency --svg into a folder that is not there" bitnetctl latency --compare a b --svg none/plot -q

# Nobody reads.
for verb in "show $model" "info --engine=local" help; do
	case $verb in info*) verb=info ;; esac
	# shellcheck disable=SC2086 # words
	(trap - PIPE; "$bitnetctl" $verb 2>err; echo $? >status) | :
	like "$(cat status):$(cat err)" "^(0|1|3|141):$any\$" "$verb | : ends quietly"
done
finish

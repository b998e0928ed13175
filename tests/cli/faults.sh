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

# What is read comes in small pieces, or ends in the middle.
slowly() { # [file]: a byte at a time at first, each after the one before has been read; in small pieces then
	python3 -c 'import array, fcntl, os, select, stat, sys, termios, time
data = (open(sys.argv[1], "rb") if len(sys.argv) > 1 else sys.stdin.buffer).read()
pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
gone = select.poll()
gone.register(1, 0)
left = array.array("i", [0])
at = 0
while at < len(data):
	at += os.write(1, data[at:at + (1 if at < 240 else 37)])
	while pipe and at < 40 and not gone.poll(0) and not fcntl.ioctl(1, termios.FIONREAD, left) and left[0]:
		time.sleep(0.0002)' "$@"
}
bitnetctl latency --compare a b >whole.txt
slowly a >a.again
ok "(what is written slowly is the same)" cmp a a.again
run bash -c "$(declare -f slowly); \"\$1\" latency --compare <(slowly a) b" - "$bitnetctl"
is "$status:$(diff <(sed 1,4d whole.txt) <(sed 1,4d <<<"$out") | grep -c '^[<>] *[a-z ]*[0-9]')" 0:0 "a recording that comes byte by byte" || diag "$err"
for n in 0 1 100 $(($(stat -c %s a) - 2)); do
	head -c "$n" a >short
	fails 1 "short" "a recording that ends after $n bytes" bitnetctl latency --compare short b -q
done
text=$(printf 'Once upon a time' | bitnetctl run "$model" - --engine=local -q --temp 0 -n 8)
like "$text" "^, there was a little girl" "a prompt from a pipe"
is "$(printf 'Once upon a time' | slowly | bitnetctl run "$model" - --engine=local -q --temp 0 -n 8)" "$text" \
	"a prompt that comes byte by byte"

# No terminal, whatever its name is said to be: each verb that draws or tells of its progress prints plain lines.
drawing="chat $model --engine=local;verify $model --engine=local -n 2;latency $model --engine=local -n 4"
drawing="$drawing;pack $model -o packed;run $model --engine=local -p Once -n 4 --temp 0;top --replay five.jsonl"
python3 "$cli/recording.py" 5 >five.jsonl
for term in '' nonsense xterm; do
	while read -r -d ';' verb; do
		# shellcheck disable=SC2086 # words
		run timeout 100 env -u TERM ${term:+TERM=$term} "$bitnetctl" $verb
		like "$status" "^[01]$" "TERM='$term', ${verb%% *}: ends"
		unlike "$out$err" $'[\e\r]' "  without control characters"
	done <<<"${drawing#"${term:+${drawing%;run*};}"};"
done

# No permission, no folder, no space for a name.
fails 1 "cannot write beside it" "pack into a folder that is not there" bitnetctl pack "$model" -o none/file -q
fails 1 "none/plot" "latency --svg into a folder that is not there" bitnetctl latency --compare a b --svg none/plot -q

# (Root may do anything, but not without its capabilities.)
ordinary() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all "$@"
	else
		"$@"
	fi
}
if [ "$(id -u)" != 0 ] || ordinary true 2>/dev/null; then
	cp "$model" secret.gguf
	mkdir locked
	chmod 000 secret.gguf
	chmod 500 locked
	for verb in "run -p x --engine=local" show "pack -o never"; do
		read -ra words <<<"$verb"
		fails 3 "secret.gguf: Permission denied" "${words[0]}: a file that one may not read" \
			ordinary "$bitnetctl" "${words[0]}" ./secret.gguf "${words[@]:1}" -q
	done
	fails 3 "locked/" "pack into a folder where one may not write" ordinary "$bitnetctl" pack "$model" -o locked/file -q
	fails 3 "locked/" "latency --svg, too" ordinary "$bitnetctl" latency --compare a b --svg locked/plot -q
	is "$(ls locked)" "" "  leaves nothing there"
else
	skip "no permission" "this root keeps its capabilities"
fi

# Nobody reads.
for verb in "show $model" "info --engine=local" help; do
	case $verb in info*) verb=info ;; esac
	# shellcheck disable=SC2086 # words
	(trap - PIPE; "$bitnetctl" $verb 2>err; echo $? >status) | :
	like "$(cat status):$(cat err)" "^(0|1|3|141):$any\$" "$verb | : ends quietly"
done
finish

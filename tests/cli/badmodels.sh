#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Corrupt, truncated and alien files: one clear line and exit code 1, from every verb that takes a model.
. "$(dirname "$0")/tap.bash"

bitnetctl pack "$model" -o good.image >/dev/null || { echo "Bail out! pack failed"; exit 1; }
size=$(stat -c %s "$model")

bad=()
make_bad() { bad+=("$1"); cat >"$1"; }
make_bad empty </dev/null
make_bad text <<<"this is not a model"
make_bad zeros < <(head -c 100000 /dev/zero)
make_bad elf < <(head -c 100000 /bin/sh)
make_bad magic-only < <(printf GGUF)
make_bad version < <(printf 'GGUF\011\0\0\0'; tail -c +9 "$model")
make_bad big-endian < <(printf 'GGUF\0\0\0\003'; tail -c +9 "$model")
make_bad no-header-end < <(head -c 5000 "$model")
make_bad half < <(head -c $((size / 2)) "$model")
make_bad last-byte < <(head -c $((size - 33)) "$model")
make_bad many-tensors < <(head -c 8 "$model"; printf '\377\377\377\377\377\377\377\177'; tail -c +17 "$model")
make_bad safetensors < <(printf '\020\0\0\0\0\0\0\0{"a":{}}        ')
# another architecture: the same file with other letters
make_bad alien < <(sed 's/bitnet-b1\.58/mamba-b1.580/g; s/mamba-b1\.580/mamba-b1.58_/g' "$model" | head -c "$size")
make_bad image-header < <(head -c 200 good.image)
make_bad image-half < <(head -c 100000 good.image)
make_bad image-version < <(head -c 8 good.image; printf '\011\0\0\0'; tail -c +13 good.image)

for file in "${bad[@]}"; do
	fails 1 "$file" "run $file" bitnetctl run ./"$file" -p x -n 3 --engine=local -q
	for verb in chat "submit -p x" load verify show "pack -o never"; do
		read -ra words <<<"$verb"
		run bitnetctl "${words[0]}" ./"$file" "${words[@]:1}" -q
		# load may find that there is no device before it looks at the weights
		like "$verb:$status" "^(.*:1|load:3)$" "${words[0]} $file: exit code 1" || diag "$out$err"
		is "$(grep -c '^bitnetctl: ' <<<"$err"):$(grep -vc '^hint: ' <<<"$err")" 1:1 \
			"${words[0]} $file: one line" || diag "$err"
	done
	run bitnetctl -j show ./"$file"
	ok "show --json $file: an error object" field "$tmp/.out" error.message
done
ok "pack has made nothing" [ ! -e never ]

# None costs more than a second of CPU time, nor 64 MiB with what the tool itself takes. (Less than python
# takes cannot be seen: a process inherits that maximum.) With the plain tool: the sanitizer's own memory is
# of another order.
plain=$src/build/check/bitnetctl
cost() { # command...: prints its CPU time in ms and the most memory it had in KiB
	python3 -c 'import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = os.wait4(child.pid, 0)[2]
print(int((usage.ru_utime + usage.ru_stime) * 1000), usage.ru_maxrss)' "$@"
}
if [ -x "$plain" ]; then
	most_ms=0 most_kib=0
	for file in "${bad[@]}"; do
		for verb in show "run -p x -n 3 --engine=local" "pack -o never"; do
			read -ra words <<<"$verb"
			read -r ms kib < <(cost "$plain" "${words[0]}" ./"$file" "${words[@]:1}" -q)
			if [ "$ms" -gt $most_ms ]; then most_ms=$ms; fi
			if [ "$kib" -gt $most_kib ]; then most_kib=$kib; fi
		done
	done
	ok "no bad file takes more than a second: $most_ms ms" [ "$most_ms" -le 1000 ]
	ok "  nor more than 64 MiB: $most_kib KiB" [ "$most_kib" -le 65536 ]
else
	skip "what bad files cost" "there is no $plain"
fi

# A flipped bit is found by those that look at all weights; running must not crash.
for at in 300000 1500000 3000000; do
	cp good.image flipped
	printf '\377' | dd of=flipped bs=1 seek=$at conv=notrunc status=none
	fails 1 "flipped" "show of an image with a changed byte at $at" bitnetctl show flipped
	run bitnetctl run ./flipped -p x -n 3 --engine=local -q
	like "$status" "^[01]$" "running it ends by itself"
done

# The digits of version 2 have another order: its images are refused, with what to do.
for version in 2 200; do
	cp good.image versioned
	printf %b "\\x$(printf %x $version)" | dd of=versioned bs=1 seek=8 conv=notrunc status=none
	fails 1 "version $version, this program reads 4" "an image of version $version" bitnetctl show versioned
	like "$err" "$([ $version = 2 ] && echo 'bitnetctl pack' || echo 'later version')" "  with a hint"
done

fails 1 "nonexistent" "a file that is not there" bitnetctl run ./nonexistent -p x
fails 1 "no file 'nonexistent', and no shared model" "a name that is not known" bitnetctl run nonexistent -p x
fails 1 "." "a folder" bitnetctl show "$tmp/"
ln -s loop loop
fails 1 "loop" "a link to itself" bitnetctl show ./loop
fails 1 "null" "a device" bitnetctl show /dev/null
mkfifo fifo
run timeout 5 "$bitnetctl" show ./fifo
is "$status" 1 "a pipe with nobody at the other end does not hang"

printf 'GGUF\003\0\0\0' >$'evil\e[31m'
run bitnetctl show $'./evil\e[31m'
unlike "$err" $'\e' "a file name cannot write to the terminal"
fails 1 "directory" "packing over a folder" bitnetctl pack "$model" -o "$tmp"
fails 1 "/nonexistent/" "packing into a folder that is not there" bitnetctl pack "$model" -o /nonexistent/x
finish

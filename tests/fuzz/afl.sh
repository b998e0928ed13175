#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# afl++ on the readers of GGUF files and images, guided by what code they reach, with sanitizers: for
# releases, BITNET_AFL_SECONDS each: 600, or 20 times a loop's share where a release's hours are limited. By
# hand, as long as you like:
#
#	BITNET_TEST_SIZE=release BITNET_AFL_SECONDS=36000 TESTS='afl*' tests/run.sh fuzz
set -u
. "$(dirname "$0")/../cli/tap.bash"

[ "${BITNET_TEST_SIZE:-ci}" = release ] || { echo "1..0 # SKIP before releases only"; exit 0; }
seconds=${BITNET_AFL_SECONDS:-$((${BITNET_TEST_SECONDS:-30} * 20))}
command -v afl-fuzz afl-clang-fast >/dev/null || { echo "1..0 # SKIP afl++ is not here"; exit 0; }

export AFL_QUIET=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1
out=$tmp/build
read -ra libs < <(pkg-config --libs libpcre2-8 libnl-genl-3.0)

build() { # reader
	make -s -C "$src" O="$out" CC=afl-clang-fast SAN=1 "$out/libbitnet.a" &&
		(cd "$src" && afl-clang-fast -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
			-D_GNU_SOURCE -DBITNET_LIBFUZZER -Iuapi -Ikmod/core -Iuserspace/lib "tests/fuzz/fuzz_$1.c" \
			"$out/libbitnet.a" -o "$out/fuzz_$1" "${libs[@]}" -lm -lpthread)
}

stat_of() { # name
	sed -n "s/^$1 *: *//p" "$tmp/$reader/default/fuzzer_stats"
}

for reader in gguf image; do
	ok "$reader: builds" build "$reader" || continue
	ok "$reader: runs" afl-fuzz -m none -t 5000 -V "$seconds" -i "$src/tests/fuzz/corpus/$reader" \
		-o "$tmp/$reader" -- "$out/fuzz_$reader" || continue
	diag "$(stat_of execs_done) executions, $(stat_of corpus_count) files that reach something else, $(stat_of bitmap_cvg) of edges"
	ok "$reader: it has found ways" test "$(stat_of corpus_count)" -gt 20
	is "$(stat_of saved_crashes)" 0 "$reader: no crash"
	is "$(stat_of saved_hangs)" 0 "$reader: no hang"
	# What it was, to be kept: the folder goes away.
	for f in "$tmp/$reader"/default/{crashes,hangs}/id*; do
		[ ! -e "$f" ] || diag "$(basename "$f"): $(gzip -c "$f" | base64 -w 0)"
	done
done
finish

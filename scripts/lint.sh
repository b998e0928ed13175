#!/bin/bash
# Static checks of the tree, as TAP for tests/run.sh. (The second compiler, clang, is part of its build
# suite.)
set -eu -o pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

out=$(mktemp)
trap 'rm -f "$out" "$out".*' EXIT

check() { # name function
	local status=0 mark=${1// /-}
	echo "#@ begin $mark"
	# A subshell with "set -e" of its own: a plain || would switch that off inside.
	set +e
	(set -e; "$2") >"$out" 2>&1
	status=$?
	set -e
	if [ $status = 0 ]; then echo "ok 1 - $1"; else
		echo "not ok 1 - $1"
		head -n 200 "$out" | sed 's/^/# /'
	fi
	echo "1..1"
	echo "#@ end $mark 0"
}

# checkpatch's findings that we live with. Everywhere:
#   FILE_PATH_CHANGES, EMAIL_SUBJECT        are about patches
#   LINUX_VERSION_CODE, CONSTANT_COMPARISON kmod/compat.h compares it with KERNEL_VERSION()
#   MACRO_ARG_REUSE, MACRO_ARG_PRECEDENCE   false for lists of operations and names
#   MULTIPLE_ASSIGNMENTS                    a = b = 0 resets state readably
#   UNCOMMENTED_DEFINITION, LINE_SPACING    do not see kernel-doc and comments that speak for two lines
# In kmod/trace.h: TRACE_EVENT() is laid out as all of the kernel does.
# In what also compiles in userspace, uapi and core:
#   PREFER_KERNEL_TYPES, PREFER_DEFINED_ATTRIBUTE_MACRO, BIT_MACRO    not there
#   CAMELCASE, SPACING, COMPLEX_MACRO       intrinsics, exponents (0x1p-14f), tables of constants
ignore_all=FILE_PATH_CHANGES,EMAIL_SUBJECT,LINUX_VERSION_CODE,CONSTANT_COMPARISON,MACRO_ARG_REUSE,MACRO_ARG_PRECEDENCE,MULTIPLE_ASSIGNMENTS,UNCOMMENTED_DEFINITION,LINE_SPACING
ignore_trace=$ignore_all,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT
ignore_portable=$ignore_all,PREFER_KERNEL_TYPES,PREFER_DEFINED_ATTRIBUTE_MACRO,BIT_MACRO,CAMELCASE,SPACING,COMPLEX_MACRO

# The kernel's own tools, out of its source package; prints where they are.
kernel_scripts() {
	local ver dir
	ver=$(plain_name "$(dpkg-query -W -f '${Version}' linux-source-6.12)")
	dir=$cache/scripts-$ver
	if [ ! -e "$dir" ]; then
		rm -rf "$dir.tmp"
		mkdir -p "$dir.tmp"
		tar -C "$dir.tmp" --strip-components=1 --wildcards -xf /usr/src/linux-source-6.12.tar.xz \
			'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch' \
			'*/scripts/coccinelle/*'
		mv "$dir.tmp" "$dir"
	fi
	echo "$dir"
}

checkpatch() {
	local dir
	dir=$(kernel_scripts)
	# It leaves a file in the current folder.
	cd "$build"
	judge() { # ignored files...
		local ignored=$1
		shift
		perl "$dir/scripts/checkpatch.pl" --strict --no-tree --no-summary --terse --show-types \
			--ignore "$ignored" -f "$@" 2>&1 | sed -e "s|$top/||" -e '/^find:/d' -e '/^Use of uninit/d'
	}
	local status=0 glue
	judge "$ignore_trace" "$top"/kmod/trace.h || status=1
	find "$top/kmod" -maxdepth 1 -name '*.[ch]' ! -name trace.h -print0 | sort -z >"$out.files"
	mapfile -d '' -t glue <"$out.files"
	rm "$out.files"
	judge "$ignore_all" "${glue[@]}" || status=1
	judge "$ignore_portable" "$top"/kmod/core/*.[ch] "$top"/kmod/core/x86/*.[ch] "$top"/uapi/linux/*.h || status=1
	return $status
}

sparse() { scripts/build-module.sh --lint 6.12-amd64; }

# SIMD and floating point live only in the core files that flags.mk lists.
vector_registers() {
	local dir obj float bad=0
	dir=$(scripts/build-module.sh 6.12-amd64)
	float=$(printf 'include kmod/core/flags.mk\nall:\n\t@echo $(bn-float-objs)\n' | make -s -f - all)
	for obj in $(cd "$dir" && find kmod -name '*.o' | sort); do
		case " $float " in *" ${obj#kmod/} "*) continue ;; esac
		if objdump -d "$dir/$obj" | grep -m 3 -E '%[xyz]mm|%st\b|\bf(ld|st|add|mul)[a-z]* '; then
			echo "$obj uses vector or floating-point registers"
			bad=1
		fi
	done
	return $bad
}

cocci() { # rules file...
	local rules=$1
	shift
	spatch --very-quiet --no-show-diff -D report --cocci-file "$rules" "$@" 2>&1
}

# The rules find what they are made for, and nothing in the module.
own_rules() {
	local rules=scripts/cocci/kmod.cocci offences=scripts/cocci/offences.c
	cocci $rules $offences >"$out.found"
	grep -n 'found \*/' $offences | sed 's/:.*//' >"$out.want"
	cut -d: -f2 "$out.found" | sort -n | diff "$out.want" - || { echo "$rules misses lines of $offences"; return 1; }
	cocci $rules kmod/*.c >"$out.found"
	cat "$out.found"
	! [ -s "$out.found" ]
}

# The kernel's rules, but for those that
#   minmax, array_size	want macros of the kernel in what also compiles in userspace
#   badzero, check_bq27xxx_data	are written in OCaml, which is not there
#   itnull		takes any for loop with a pointer for one over a list
# and for what they say about themselves.
kernel_rules() {
	local dir rules
	dir=$(kernel_scripts)/scripts/coccinelle
	for rules in "$dir"/*/*.cocci "$dir"/api/alloc/*.cocci; do
		grep -q 'virtual report' "$rules" || continue
		case ${rules##*/} in minmax.* | array_size.* | badzero.* | check_bq27xxx_data.* | itnull.*) continue ;; esac
		# shellcheck disable=SC2046 # options
		cocci "$rules" $(sed -n 's/.*Options: *//p' "$rules" | head -n 1) --dir kmod -I kmod -I kmod/core -I uapi |
			grep -v '^warning: line .* should .* be a metavariable' || true
	done >"$out.found"
	cat "$out.found"
	! [ -s "$out.found" ]
}

# gcc's own search for paths that go wrong, through engine, library and tool. Left out are kmod/core/x86,
# whose shifts of vectors it takes for shifts of their elements, and what it is wrong about:
#   bn_sched.c	does not see that no place for a step put aside is that of REALTIME jobs
#   cmd_chat.c	does not see that the conversation holds what push() has allocated
analyzer() {
	local f flags
	read -ra flags < <(pkg-config --cflags libnl-genl-3.0 jansson libpcre2-8 ncursesw)
	for f in kmod/core/*.c userspace/*.c userspace/lib/*.c; do
		gcc -fanalyzer -fdiagnostics-plain-output -O1 -std=gnu11 -D_GNU_SOURCE -Iuapi -Ikmod/core -Iuserspace/lib \
			-Iuserspace "${flags[@]}" -c -o /dev/null "$f" 2>&1 | grep -E '(warning|error):' || true
	done | grep -v -e "^kmod/core/bn_sched.c:.* dereference of NULL .demand." \
		-e '^userspace/cmd_chat.c:.* leak of .<unknown>.' >"$out.found" || true
	cat "$out.found"
	! [ -s "$out.found" ]
}

shell_scripts() {
	local files
	mapfile -t files < <(grep -lE '^#!/bin/(ba)?sh' -r .ci scripts tests --include=* \
		--exclude='*.[ch]' --exclude='*.gguf' --exclude='*.bin' --exclude='*.json')
	# SC2034, SC2154, SC2206, SC2054 find nothing but what is meant: variables for and from files that are
	# sourced, lists that are split, options of QEMU with commas.
	shellcheck -x -S warning -e SC2034,SC2154,SC2206,SC2054 "${files[@]}"
}

whitespace() {
	! grep -rnIE '[[:space:]]+$' --include='*.[ch]' --include='*.sh' --include='*.md' \
		--include=Kbuild --include=Makefile Makefile Kbuild .ci kmod uapi userspace scripts tests
}

# Each index that a user chooses, and where it is made harmless for speculation: a use that goes away or
# comes is to be looked at, here and in the code. A line is a file, how often, and the expression.
user_indices() {
	local file times text found
	while read -r file times text; do
		found=$(grep -cF "array_index_nospec($text" "kmod/$file") || true
		[ "$found" = "$times" ] || echo "kmod/$file: array_index_nospec($text...) stands there $found times instead of $times"
	done <<-'END' >"$out.sites"
		ioctl.c 1 nr, ARRAY_SIZE(ops)
		job.c 1 matrix, BITNET_MATRIX_COUNT
		job.c 1 u->layer, core->n_layers
		job.c 1 input[i], job->model->core.vocab
		model.c 1 id, BITNET_FILE_MODELS + 1
		model.c 1 u->model_id, BITNET_FILE_MODELS + 1
		session.c 1 id, BITNET_FILE_SESSIONS + 1
	END
	found=$(cat kmod/*.c kmod/core/*.c | grep -c 'array_index_nospec(')
	[ "$found" = 7 ] || echo "array_index_nospec() is used $found times, the list has 7" >>"$out.sites"
	cat "$out.sites"
	! [ -s "$out.sites" ]
}

check "sparse and stack frames up to 1 KiB" sparse
check "checkpatch" checkpatch
check "no vector registers outside of the core" vector_registers
check "rules of the module" own_rules
[ "${BITNET_TEST_SIZE:-ci}" != release ] || check "rules of the kernel" kernel_rules
check "indices that users choose" user_indices
[ "${BITNET_TEST_SIZE:-ci}" != release ] || check "gcc -fanalyzer" analyzer
check "shellcheck" shell_scripts
check "trailing whitespace" whitespace

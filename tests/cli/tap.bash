# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests of the command line: TAP, and running bitnetctl with all that it says kept.
# shellcheck shell=bash
set -u
cli=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
src=${BITNET_SRC:-$(cd "$cli/../.." && pwd)}
model=${BITNET_TEST_MODEL:-$src/userspace/models/demo-i2_s.gguf}
bitnetctl=${BITNETCTL:-$(command -v bitnetctl || echo "$src/build/bitnetctl")}
tmp=${BITNET_TMP:-}
if [ -z "$tmp" ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
fi
# Nothing of the user's own gets into a test, and nothing of a test to him.
export XDG_RUNTIME_DIR=$tmp/runtime BITNET_RUN_DIR=$tmp/run LC_ALL=C.UTF-8
unset NO_COLOR POSIXLY_CORRECT
mkdir -p "$XDG_RUNTIME_DIR"
cd "$tmp" || exit 1
tests=0 failures=0
newline=$'\n'
any="[^$newline]*"

bitnetctl() { "$bitnetctl" "$@"; }
# Most tests are about the tool, not the device: the same everywhere.
local_run() { bitnetctl run "$model" --engine=local -q "$@"; }

report() { # status name
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then echo "ok $tests - $2"; else
		failures=$((failures + 1))
		echo "not ok $tests - $2"
	fi
	return "$1"
}

diag() { sed 's/^/# /' <<<"$1"; }

ok() { # name command...
	local name=$1 status=0
	shift
	"$@" >/dev/null 2>&1 || status=$?
	[ $status = 0 ] && { report 0 "$name"; return; }
	report 1 "$name"
	diag "$* gave $status"
}

is() { # got want name
	[ "$1" = "$2" ] && { report 0 "$3"; return; }
	report 1 "$3"
	diag "got:  $1"
	diag "want: $2"
}

like() { # got regex name
	[[ $1 =~ $2 ]] && { report 0 "$3"; return; }
	report 1 "$3"
	diag "got:  $1"
	diag "want: $2"
}

unlike() { # got regex name
	[[ ! $1 =~ $2 ]] && { report 0 "$3"; return; }
	report 1 "$3"
	diag "got:  $1"
	diag "not:  $2"
}

# Runs a command; leaves $out, $err and $status.
run() {
	status=0
	"$@" >"$tmp/.out" 2>"$tmp/.err" </dev/null || status=$?
	out=$(cat "$tmp/.out")
	err=$(cat "$tmp/.err")
}

# A failure: the exit code, and one line (maybe with a hint) that says what is wrong.
fails() { # status regex name command...
	local want=$1 regex=$2 name=$3
	shift 3
	run "$@"
	is "$status" "$want" "$name: exit code $want" || diag "$err"
	like "$err" "^bitnetctl: ${any}${regex}${any}(${newline}hint: ${any})?\$" "$name: one clear line"
	is "$out" "" "$name: nothing on standard output"
}

skip() { # name why
	tests=$((tests + 1))
	echo "ok $tests - $1 # SKIP $2"
}

field() { # file path: a field of a JSON document
	python3 "$cli/fields.py" get "$2" <"$1"
}

golden() { # file name: compare a JSON document, without what changes from run to run
	local want=$cli/golden/$2.json
	python3 "$cli/fields.py" mask <"$1" >"$tmp/.masked" || { report 1 "$2: valid JSON"; return; }
	[ -z "${GOLDEN_UPDATE:-}" ] || cp "$tmp/.masked" "$want"
	if diff -u "$want" "$tmp/.masked" >"$tmp/.diff"; then report 0 "$2: JSON as it always was"; else
		report 1 "$2: JSON as it always was"
		diag "$(cat "$tmp/.diff")"
		diag "if that is meant: GOLDEN_UPDATE=1 bash tests/cli/THIS.sh"
	fi
}

finish() {
	echo "1..$tests"
	exit $((failures > 0))
}

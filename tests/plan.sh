#!/bin/bash
# Prints tests/plan as a table: which rows the tests that ran have shown. Usage: tests/plan.sh LOGS SIZE
#
# A row holds when each of its programs ended with status 0 and without a failed check in the logs.
set -euf
logs=$1 size=${2:-ci}
top=$(cd "$(dirname "$0")" && pwd)
results=$(mktemp)
trap 'rm -f "$results"' EXIT

set +f
logs_found=("$logs"/*.log)
set -f
for log in "${logs_found[@]}"; do
	awk -v suite="$(basename "$log" .log)" '
		{ sub(/\r$/, "") }
		/^#@ begin / { name = $3; bad = 0 }
		/^not ok/ { bad = 1 }
		/^#@ end / && name != "" { print suite "/" name, bad || $4 != 0 ? "failed" : "passed"; name = "" }' "$log"
done >"$results"

missed=0
printf '%-3s %-48s %-7s %s\n' row claim result figure
while IFS=';' read -r row claim tests ci release; do
	case $row in '' | '#'*) continue ;; esac
	result=pass
	for pattern in $tests; do
		found=
		while read -r name status; do
			# shellcheck disable=SC2053 # a pattern
			[[ $name == $pattern ]] || continue
			found=1
			[ "$status" = passed ] || result=FAIL
		done <"$results"
		[ -n "$found" ] || { [ "$result" = FAIL ] || result='not run'; }
	done
	[ "$result" = pass ] || missed="$missed $row"
	[ "$size" = release ] && figure=$release || figure=$ci
	printf '%-3s %-48s %-7s %s\n' "$row" "${claim# }" "$result" "${figure# }"
done <"$top/plan"
[ "$missed" = 0 ] || echo "rows not reached:${missed#0}"

#!/bin/bash
# Prints tests/plan as a table: which rows the tests that ran have shown, and how far their loops came.
# Usage: tests/plan.sh LOGS SIZE
#
# A row holds ("pass") when each of its programs ended with status 0 and without a failed check in the logs;
# it is "short" when they did, but a loop had no time for all that is planned. Figures are sums over the
# row's beds; what has none is as the plan says.
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
		/^#@ begin / { name = $3; bad = 0; n = 0 }
		/^not ok/ { bad = 1 }
		/^#@ cut short/ { print suite "/", "missing" }
		/^#@ figure / { figure[n++] = $0 }
		/^#@ end / && name != "" {
			print suite "/" name, bad || $4 != 0 ? "failed" : "passed"
			for (i = 0; i < n; i++) {
				sub(/^#@ figure /, "", figure[i])
				print suite "/" name, "figure", figure[i]
			}
			name = ""
		}' "$log"
done >"$results"

# Adds up lines "DONE PLANNED UNIT" by their units.
figures() {
	awk '{
		done[$3 OFS $4 OFS $5 OFS $6] += $1
		planned[$3 OFS $4 OFS $5 OFS $6] += $2
	}
	END {
		for (unit in done) {
			name = unit
			sub(/ +$/, "", name)
			printf "%s%d%s %s", sep, done[unit], done[unit] < planned[unit] ? " of " planned[unit] : "", name
			sep = ", "
		}
	}'
}

missed='' short=''
printf '%-3s %-48s %-7s %s\n' row claim result figure
while IFS=';' read -r row claim tests ci release; do
	case $row in '' | '#'*) continue ;; esac
	result=pass reached='' lacking=''
	for pattern in $tests; do
		found='' cut=''
		while read -r name status figure; do
			# shellcheck disable=SC2053 # a pattern
			[[ $name == $pattern ]] || continue
			case $status in
			missing) cut=1 ;;	# a suite was cut short: who knows what else there is
			figure) reached+=$figure$'\n' ;;
			passed) found=1 ;;
			*) found=1 result=FAIL ;;
			esac
		done <"$results"
		[ -n "$found" ] && [ -z "$cut" ] || lacking="$lacking $pattern"
	done
	reached=$(printf %s "$reached" | figures)
	if [ "$result" = pass ] && [ -n "$lacking" ]; then result='not run'; fi
	if [ "$result" = pass ] && [[ $reached =~ [0-9]\ of\ [0-9] ]]; then result=short short="$short $row"; fi
	[ "$result" = pass ] || [ "$result" = short ] || missed="$missed $row"
	[ "$size" = release ] && planned=$release || planned=$ci
	printf '%-3s %-48s %-7s %s\n' "$row" "${claim# }" "$result" "${reached:-${planned# }}"
	[ -z "$lacking" ] || echo "    has not run:$lacking"
done <"$top/plan"
[ -z "$missed" ] || echo "rows not reached:$missed"
[ -z "$short" ] || echo "rows that hold, with less than planned:$short"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The protocols as Spin models: all of their states without an error, and the mistakes that are put in
# are found. In CI the models are the smaller ones (SMALL); a release searches the whole ones: minutes, 3 GB.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=${BITNET_TMP:-}
if [ -z "$tmp" ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
fi
cd "$tmp" || exit 1
tests=0

report() { # status name
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then echo "ok $tests - $2"; else
		echo "not ok $tests - $2"
		tail -n 5 search | sed 's/^/# /'
	fi
}

# Searches a model; what it said is in ./search.
search() { # model options...
	local model=$1
	shift
	rm -f pan* ./*.trail search
	if ! spin "$@" -a "$here/$model.pml" >search 2>&1 || ! gcc -w -O"$optimize" -DSAFETY -DCOLLAPSE -o pan pan.c >>search 2>&1; then
		return 1
	fi
	./pan -m200000 -w22 >>search 2>&1
}

holds() { # model options...
	search "$@"
	# All states were seen: neither the depth nor the memory was too small.
	grep -q 'errors: 0$' search && ! grep -qE 'max search depth too small|out of memory|Search not completed' search
	report $? "$*: no error in $(awk '/states, stored/ { print $1 }' search) states"
}

finds() { # model options...
	search "$@"
	grep -qE '^pan:1: (assertion violated|invalid end state)' search
	report $? "$*: $(sed -n 's/^pan:1: \([a-z ]*\).*/\1/p' search)"
}

optimize=2
small=-DSMALL
if [ "${BITNET_TEST_SIZE:-ci}" = release ]; then
	small=
	finds jobs -DBUG_PARK_NO_LOOK
fi
holds jobs $small
holds engine $small
optimize=0	# they are found at once
for bug in NO_RESERVE CANCEL_KEEPS_PROMISE NO_KICK NO_NEXT NO_NOTIFY PUT_BEFORE_NOTIFY DELIVER_ENDED NO_SECOND_LOOK NO_FLUSH; do
	finds jobs -DSMALL "-DBUG_$bug"
done
for bug in NO_LIVE_CHECK LEAVE_LOOKS_ONCE STATE_BEFORE_INSIDE NO_SECOND_LOOK NO_KICK; do
	finds engine -DSMALL "-DBUG_$bug"
done
echo "1..$tests"

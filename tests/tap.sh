# TAP for tests that are shell scripts, which source it: /tests/tap.sh in the guest. Such a script defines
# tell(), which prints what a failed check may want to know, and ends with finish.
failed=0 n=0
skip_all() { # why
	echo "1..0 # SKIP $1"
	exit 0
}
needs_tool() {
	command -v bitnetctl >/dev/null || skip_all 'there is no bitnetctl here'
}
result() { # status text
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		tell | cut -c 1-600 | sed 's/^/# /'
		failed=1
	fi
}
skip() { # text why
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}
finish() {
	echo "1..$n"
	exit $failed
}

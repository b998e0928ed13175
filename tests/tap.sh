# TAP for the tests of tests/device that are shell scripts, which source it: /tests/tap.sh in the guest. Such
# a script defines tell(), which prints what a failed check may want to know, and ends with finish.
if ! command -v bitnetctl >/dev/null; then
	echo '1..0 # SKIP there is no bitnetctl here'
	exit 0
fi
failed=0 n=0
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

#!/bin/sh
# The tool on the device writes the demo model's golden text.
model=${BITNET_TEST_MODEL:-/models/demo-i2_s.gguf}
golden=', there was a little girl named Lily. She loved to play with her toys and make new pictures. One day, she found a big, red ball in her room. She was very happy and wanted to play with it.
Lily took'
if ! command -v bitnetctl >/dev/null; then
	echo '1..0 # SKIP there is no bitnetctl here'
	exit 0
fi
failed=0
result() { # status number text
	if [ "$1" = 0 ]; then
		echo "ok $2 - $3"
	else
		echo "not ok $2 - $3"
		sed 's/^/# /' /tmp/demo.out /tmp/demo.err
		failed=1
	fi
}
bitnetctl run --engine=device --temp 0 -n 48 -p 'Once upon a time' "$model" >/tmp/demo.out 2>/tmp/demo.err
result $? 1 'bitnetctl run --engine=device'
case $(cat /tmp/demo.out) in
*"$golden"*) result 0 2 'golden text' ;;
*) result 1 2 'golden text' ;;
esac
grep -q '^jobs 0$' /sys/kernel/debug/bitnet/stats
result $? 3 'nothing is left'
su alice -c "bitnetctl run --engine=device --temp 0 -n 8 -p 'Once upon a time' '$model'" \
	>/tmp/demo.out 2>/tmp/demo.err
result $? 4 'an ordinary user of the group may run it'
rm -f /tmp/demo.out /tmp/demo.err
echo 1..4
exit $failed

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# bitnetctl top without a device: recordings, as text, JSON and full screen in a terminal.
. "$(dirname "$0")/tap.bash"

python3 "$cli/recording.py" 5 >five.jsonl
top() { run bitnetctl top --replay five.jsonl "$@"; }
# The first words of the table's rows.
rows() { sed '1,/^ *\(PID\|FILES\|SIZE\|CPU\) /d' <<<"$out" | awk '{ print $1 }' | tr '\n' ' '; }

top
is "$status:$err" "0:" "without a terminal it prints"
is "$(grep -c '^bitnet 9.9, avx2, 2 workers$' <<<"$out")" 1 "  one snapshot"
like "$out" "models 2 \(3.0 MiB\)  sessions 3 \(1.0 MiB\)  jobs 3, 1 parked  files 3" "  objects"
like "$out" "tokens/s in 100.0, out 50.0  steps/s 50.0  CPUs busy 1.5" "  rates over the time that passed"
like "$out" "token time p50 1.6 ms, p99 2.1 ms  longest section 23.0 us  late 2 of 20" "  latencies"
like "$out" " 101 alice +1 +1 +0 +0.0 +40.0 +50.0 +2.5 ms +0 bitnetctl" "  a process"
is "$(rows)" "203 101 102 " "  by CPU time"
top --sort out
is "$(rows)" "101 102 203 " "--sort"
top -s pid -r
is "$(rows)" "203 102 101 " "--reverse"
top --filter alice
is "$(rows)" "101 102 " "--filter"
top -f pid:203
is "$(rows)" "203 " "--filter pid:"
top --pane users --sort user
like "$out" "FILES +SESS .*${newline} +2 +2 +2 +0.0 +50.0 +60.0 .* alice" "users are summed up where the module does not"
top --pane models --filter model:poem
like "$out" "1.0 MiB private +1 +1 bob +00000000000000bb poem" "models"
unlike "$out" "story" "  filtered"
top --pane workers
like "$out" "${newline} +2 runs +90.0 .*${newline} +3 rests +0.0 " "workers"
top --batch
is "$(grep -c '^bitnet 9.9' <<<"$out")" 4 "--batch: all of them, but the first"
top --batch -n 2
is "$(grep -c '^bitnet 9.9' <<<"$out")" 2 "--batch -n 2"
head -n 1 five.jsonl >one.jsonl
run bitnetctl top --replay one.jsonl
like "$status $out" "^0 .*tokens/s in -, out -" "a single snapshot has no rates"
run bitnetctl top --replay - <five.jsonl
is "$status" 1 "standard input was empty"
is "$(bitnetctl top --replay - -n 1 --batch <five.jsonl)" "$(bitnetctl top --replay five.jsonl)" "--replay -"

bitnetctl top --replay five.jsonl --json >again.jsonl
is "$(wc -l <again.jsonl)" 4 "--json: a line each"
is "$(sed -n 1p again.jsonl | field /dev/stdin rates.tokens_out_per_s)" 50.0 "  with rates"
is "$(bitnetctl top --replay again.jsonl)" "$(bitnetctl top --replay <(tail -n +2 five.jsonl))" "  which can be shown again"
unlike "$(cat again.jsonl)" '"users"' "  and has nothing that the device did not tell"

fails 2 "'speed' is not one of: pid, user, " "a column that is none" bitnetctl top --sort speed
fails 2 "'size' is not one of" "a column of another pane" bitnetctl top --sort size
fails 2 "not one of: processes" "a pane that is none" bitnetctl top --pane files
fails 2 "not between 0.1 and 3600" "an interval too short" bitnetctl top -d 0.01
fails 1 "no such${any}\.jsonl: No such file" "a recording that is not there" bitnetctl top --replay "no such.jsonl"
echo '{"schema":1}' >none.jsonl
fails 1 "none.jsonl:1: not a snapshot" "a file that is none" bitnetctl top --replay none.jsonl
(cat five.jsonl; echo '{') >cut.jsonl
run bitnetctl top --replay cut.jsonl --batch
like "$status $err" "^1 bitnetctl: cut.jsonl:6: not JSON" "a recording that was cut off"
: >empty.jsonl
fails 1 "no snapshot in it" "an empty recording" bitnetctl top --replay empty.jsonl

# ---- full screen, in tmux ----
if ! command -v tmux >/dev/null; then
	skip "top in a terminal" "no tmux"
	finish
fi
unset TMUX
server=bitnet-top-$$
trap 'tmux -L $server kill-server 2>/dev/null' EXIT
terminal() { tmux -L $server -f /dev/null "$@"; }
# Stays, so that the server does.
terminal new-session -d -s keep sleep 1000
keys() { terminal send-keys -t top "$@"; }
screen() { terminal capture-pane -p -t top; }
# Waits until the screen shows it: machines may be as slow as they like.
shows() { # regex name
	local i
	for ((i = 0; i < 600; i++)); do
		out=$(screen)
		[[ $out =~ $1 ]] && break
		sleep 0.05
	done
	like "$out" "$1" "$2"
}
hides() { # regex name
	local i
	for ((i = 0; i < 600; i++)); do
		out=$(screen)
		[[ $out =~ $1 ]] || break
		sleep 0.05
	done
	unlike "$out" "$1" "$2"
}
start() { # width height environment... -- options
	local size=("$1" "$2") env=()
	shift 2
	while [ "$1" != -- ]; do env+=("$1"); shift; done
	shift
	terminal kill-session -t top 2>/dev/null
	terminal new-session -d -s top -x "${size[0]}" -y "${size[1]}" env -u NO_COLOR "${env[@]}" bash --norc -c '
		stty -g >before
		echo ready
		"$@"
		code=$?
		stty -g >after
		cmp -s before after && echo "same terminal, code $code" || echo "another terminal, code $code"
		sleep 600' - "$bitnetctl" top "$@"
}

start 90 24 -- --replay five.jsonl -d 0.2
shows "RECORDING 5, its end" "full screen: starts, and goes on by itself"
like "$out" "bitnet 9.9, avx2" "  summary"
like "$out" "PID USER .* COMMAND${newline} +203 bob .*${newline} +101 alice .*${newline} +102 alice" "  rows by CPU time"
unlike "$out" "ready" "  on a screen of its own"
keys '<'
shows "${newline} +101 alice .*${newline} +102 alice .*${newline} +203" "< sorts by the column before: tokens out"
keys r
shows "${newline} +203 bob .*${newline} +102 alice .*${newline} +101" "r turns it round"
keys / 'user:ali' Enter
shows "filter 'ali'" "/ asks for a filter"
hides "bob" "  and hides the others"
keys / x Escape
shows "filter 'ali'" "Escape leaves it"
keys / Enter
shows "bob" "an empty filter is none"
keys p
shows "PAUSED" "p pauses"
keys d 2.5 Enter
shows " 2.5 s" "d sets the interval"
keys d nonsense Enter
shows "'nonsense' is not a number of seconds" "  and says what is none"
keys +
shows " 5 s" "+ doubles it"
keys k
shows "this is a recording: there is no process to end" "k needs a process"
keys 3
shows "NAME${newline}.* poem${newline}.* story" "3 shows the models"
keys Tab
shows "BUSY%.*${newline} +2 runs +90.0" "Tab goes on to the workers"
keys '?'
shows "sends it SIGINT" "? explains how jobs of others are ended"
keys x
hides "sends it SIGINT" "  any key goes back"
keys 1
shows "PID USER" "1 shows the processes"
terminal resize-window -t top -x 50 -y 12
shows "PID USER +SESS JOBS PARK +IN/S +OUT/S *${newline} +203 bob" "a narrower terminal has fewer columns"
terminal resize-window -t top -x 24 -y 3
shows "PID USER +SESS" "one of three lines still has its titles"
terminal resize-window -t top -x 1 -y 1
sleep 0.3
terminal resize-window -t top -x 120 -y 30
shows "COMMAND${newline}.* bitnetctl" "and back again"
keys q
shows "same terminal, code 0" "q ends it and restores the terminal"

for signal in INT TERM HUP; do
	case $signal in INT) code=130 ;; TERM) code=143 ;; HUP) code=129 ;; esac
	start 80 24 -- --replay five.jsonl
	shows "PID USER" "SIG$signal: it runs"
	kill -s $signal "$(pgrep -P "$(terminal list-panes -t top -F '#{pane_pid}')")"
	shows "same terminal, code $code" "  restores the terminal, exit code $code"
	like "$out" "^ready${newline}same" "  with what was there before"
done
start 80 24 -- --replay five.jsonl
shows "PID USER" "Ctrl-C: it runs"
keys C-c
shows "same terminal, code 130" "  restores the terminal"

# Stopped and continued, as by Ctrl-Z in a shell with jobs.
terminal kill-session -t top
terminal new-session -d -s top -x 80 -y 24 env PS1='$ ' bash --norc -i
keys "'$bitnetctl' top --replay five.jsonl" Enter
shows "PID USER" "in a shell: it runs"
keys C-z
shows "Stopped" "Ctrl-Z gives the terminal back"
unlike "$out" "PID USER" "  without its screen"
keys fg Enter
shows "PID USER" "fg brings it back"
keys q
hides "PID USER" "q ends it"

for term in vt100 xterm-256color linux ansi; do
	infocmp "$term" >/dev/null 2>&1 || continue
	start 80 24 TERM=$term -- --replay five.jsonl
	shows "PID USER" "TERM=$term"
	keys q
	shows "code 0" "  ends well"
done
start 80 24 NO_COLOR=1 -- --replay five.jsonl
shows "PID USER" "NO_COLOR: it runs"
unlike "$(terminal capture-pane -e -p -t top)" $'\033\\[[0-9;]*(3|4)[0-7]m' "  without colours"
keys q
shows "code 0" "  ends well"
start 80 24 -- --replay five.jsonl
shows "PID USER" "colours: it runs"
like "$(terminal capture-pane -e -p -t top)" $'\033\\[[0-9;]*4[0-7]m' "  with them"
keys q
shows "code 0" "  ends well"
start 80 24 TERM=dumb -- --replay five.jsonl
shows "PID USER.*code 0" "TERM=dumb: prints one snapshot"
start 80 24 TERM=nonsense -- --replay five.jsonl
shows "curses does not know the terminal 'nonsense'.*same terminal, code 1" "a terminal that is not known"
finish

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Completion: what the tool offers, and the bash function that asks it.
. "$(dirname "$0")/tap.bash"

offers() { bitnetctl __complete "$@" | tr '\n' ' '; }

is "$(offers ru)" "run " "a verb"
like "$(offers '')" "^run chat .*version $" "all verbs"
like "$(offers run --)" "--prompt .*--temp .*--json " "options of a verb and global ones"
is "$(offers run --top)" "--top-k --top-p " "options by their beginning"
is "$(offers run --engine '')" "auto device local " "values behind a space"
is "$(offers run --engine=d)" "device " "values behind ="
is "$(offers run --engine = l)" "local " "as bash cuts them"
is "$(offers run --engine =)" "auto device local " "with nothing behind ="
is "$(offers --color a)" "auto always " "values of global options"
is "$(offers help un)" "unload " "verbs as operands"
is "$(offers run '')" "@file " "files"
is "$(offers run x -f '')" "@file " "files for an option"
is "$(offers monitor -e job)" "job_done job_failed " "kinds of events"
is "$(offers top --pane w)" "workers " "panes"
like "$(offers run --variant '')" "^ref " "variants"
is "$(offers run x -n '')" "" "nothing where nothing is known"
is "$(offers nonsense '')" "$(offers '')" "a verb that is none"
mkdir -p "$BITNET_RUN_DIR/models"
echo '{"schema":1,"name":"story","path":"/x","digest":"0x1","dev":1,"ino":1,"size":1,"mtime_ns":1}' \
	>"$BITNET_RUN_DIR/models/story.json"
is "$(offers unload s)" "story " "names of shared models"
is "$(offers run '')" "@file story " "files and names"
id=$(bitnetctl submit "$model" --engine=local -p x -n 1)
is "$(offers wait '')" "$id " "ids of jobs"
bitnetctl cancel "$id" >/dev/null

# shellcheck source=userspace/completion/bitnetctl.bash
. "$src/userspace/completion/bitnetctl.bash"
completes() { # words of the line
	COMP_WORDS=("$bitnetctl" "$@")
	COMP_CWORD=$#
	_bitnetctl
	echo "${COMPREPLY[*]}"
}
is "$(completes ver)" "verify version" "bash: verbs"
is "$(completes run --engine = d)" "device" "bash: values"
touch "a model.gguf" amodel.gguf
is "$(completes show a)" "$(compgen -f a | tr '\n' ' ' | sed 's/ $//')" "bash: files, with spaces too"
ok "bash: the function is bound" complete -p bitnetctl
finish

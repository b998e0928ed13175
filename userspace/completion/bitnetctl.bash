# SPDX-License-Identifier: GPL-2.0
# bash completion for bitnetctl; the tool itself knows what may come next.
# shellcheck shell=bash
_bitnetctl() {
	local cur line files=
	# bash cuts words at '=' and ':'; the current word may be one of these alone
	cur=${COMP_WORDS[COMP_CWORD]}
	[ "$cur" != = ] || cur=
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		@file) files=1 ;;
		*) COMPREPLY+=("$line") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	if [ -n "$files" ]; then
		compopt -o filenames 2>/dev/null
		while IFS= read -r line; do
			COMPREPLY+=("$line")
		done < <(compgen -f -- "$cur")
	fi
}
complete -F _bitnetctl bitnetctl

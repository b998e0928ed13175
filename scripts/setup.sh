#!/bin/bash
# Installs the Debian packages that this project needs and that are missing.
#
#   scripts/setup.sh [-n] [GROUP...]    groups: see scripts/packages; none means all
#
# Does nothing, quickly, when all are there. -n only prints what is missing.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

dry_run=
[ "${1:-}" = -n ] && { dry_run=1; shift; }

known=$(awk '!/^#/ && NF { print $2 }' "$top/scripts/packages" | sort -u)
for group in "$@"; do
	grep -qxF -- "$group" <<<"$known" || die "no group '$group'; there are: "$known
done

mapfile -t wanted < <(awk -v groups="$*" '
	BEGIN { n = split(groups, g); for (i = 1; i <= n; i++) in_group[g[i]] = 1 }
	!/^#/ && NF && (n == 0 || $2 in in_group) && !seen[$1]++ { print $1 }' "$top/scripts/packages")

command -v dpkg-query >/dev/null ||
	die "this is not Debian; install the equivalent of: ${wanted[*]}"

mapfile -t missing < <(
	comm -23 <(printf '%s\n' "${wanted[@]}" | sort) \
		<(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
			sed -n 's/^installed //p' | sort))
[ ${#missing[@]} -gt 0 ] || exit 0

if [ -n "$dry_run" ]; then
	printf '%s\n' "${missing[@]}"
	exit 0
fi
[ "$(id -u)" = 0 ] ||
	die "these Debian packages are missing; install them as root (or run this as root):
  apt-get install --no-install-recommends ${missing[*]}"

say "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}" \
		>"$log" 2>&1
}
# The package lists of a fresh machine are empty, those of an old one name files that are gone.
if ! install; then
	say "updating the package lists"
	apt-get update -q -o DPkg::Lock::Timeout=600 >"$log" 2>&1 || { cat "$log" >&2; die "apt-get update failed"; }
	install || { tail -n 30 "$log" >&2; die "apt-get install failed"; }
fi

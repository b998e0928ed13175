# Shared by the scripts of this project: messages, the top folder, the cache. Sourced, not run.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${BITNET_BUILD:-$top/build}
# Kernels that were downloaded or built here; shared by all checkouts of a user.
cache=${BITNET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bitnet}

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# A version as part of a file name: no character that make or a shell would treat specially.
plain_name() { printf '%s' "$1" | tr -c 'A-Za-z0-9._-' '-'; }

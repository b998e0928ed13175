#!/bin/bash
# A QEMU in which two CPUs whose clock counts instructions take even turns: 8.1 or later. Debian 12's
# own is older, so a newer one is fetched from its backports into the cache; nothing is installed.
#
#   scripts/qemu.sh      prints the path of the program
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

binary=qemu-system-x86_64
version=$("$binary" --version 2>/dev/null | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
if [ "$(printf '%s\n' 8.1 "$version" | sort -V | head -n 1)" = 8.1 ]; then
	command -v "$binary"
	exit
fi

# shellcheck source=/dev/null
[ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] ||
	die "QEMU ${version:-} is too old: install 8.1 or later"
dir=$cache/qemu-bookworm-backports
mkdir -p "$cache"
exec 9>"$cache/.lock-qemu"
flock 9
if [ ! -e "$dir/$binary" ]; then
	rm -rf "$dir.tmp"
	mkdir -p "$dir.tmp/lists/partial" "$dir.tmp/debs"
	# From where Debian 12 itself comes
	mirror=$(apt-cache policy qemu-system-x86 | sed -n 's/.* \([a-z]*:[^ ]*\) bookworm\/main .*/\1/p' | head -n 1)
	[ -n "$mirror" ] || die "no mirror of Debian 12 is known: run apt-get update"
	echo "deb $mirror bookworm-backports main" >"$dir.tmp/sources"
	apt=(apt-get -q -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$dir.tmp/sources"
		-o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$dir.tmp/lists")
	say "downloading QEMU from Debian's backports"
	"${apt[@]}" update >&2
	# What it is linked to is what the older one, which is installed, needs.
	for package in qemu-system-x86 qemu-system-common qemu-system-data seabios; do
		(cd "$dir.tmp/debs" && "${apt[@]}" download "$package/bookworm-backports" >&2)
	done
	for deb in "$dir.tmp/debs"/*.deb; do
		dpkg -x "$deb" "$dir.tmp"
	done
	rm -r "$dir.tmp/lists" "$dir.tmp/debs"
	cat >"$dir.tmp/$binary" <<-END
		#!/bin/sh
		exec '$dir/usr/bin/$binary' -L '$dir/usr/share/qemu' -L '$dir/usr/share/seabios' "\$@"
	END
	chmod +x "$dir.tmp/$binary"
	rm -rf "$dir"
	mv "$dir.tmp" "$dir"
fi
"$dir/$binary" --version >/dev/null || die "$dir/$binary does not run: remove $dir, then scripts/setup.sh demo"
echo "$dir/$binary"

#!/bin/bash
# Knows the kernels that the module is built for and tested in. Versions are never written down
# here: Debian's metapackages name the newest one, the image of the same version is fetched.
#
#   scripts/kernels.sh list          the ids, one per line
#   scripts/kernels.sh release ID    its version (uname -r)
#   scripts/kernels.sh headers ID    the folder to build modules against
#   scripts/kernels.sh image ID      a file to boot; an uncompressed ELF where possible, for QEMU
#                                    starts that by PVH within a second
#   scripts/kernels.sh modules ID    the folder of its own modules, empty where it has none
#
# IDs: 6.1-amd64 6.1-cloud 6.1-rt 6.12-amd64 6.12-cloud 6.12-rt, uml uml-debug x86-debug x86-kcsan
# (built from source, see build-kernel.sh) and running.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

debian_ids='6.1-amd64 6.1-cloud 6.1-rt 6.12-amd64 6.12-cloud 6.12-rt'
built_ids='uml uml-debug x86-debug x86-kcsan'

release_of() { # Debian id -> kernel release
	local series=${1%%-*} flavour=${1#*-} meta dep
	[ "$flavour" = amd64 ] || flavour=$flavour-amd64
	# Debian 12's own kernel has metapackages without a series in the name.
	[ "$series" = 6.1 ] && meta=linux-headers-$flavour || meta=linux-headers-$series-$flavour
	dep=$(dpkg-query -W -f '${db:Status-Status} ${Depends}' "$meta" 2>/dev/null) || true
	[[ $dep =~ ^installed\ linux-headers-([^ ]+) ]] ||
		die "package $meta is missing; run scripts/setup.sh demo kernels"
	echo "${BASH_REMATCH[1]}"
}

# The image package of exactly the version of the headers, unpacked into the cache when it is not
# installed. Prints the folder that stands for /.
image_root() {
	local rel=$1 version dir pkg
	if [ -e "/boot/vmlinuz-$rel" ] && [ -d "/lib/modules/$rel/kernel" ]; then
		return
	fi
	version=$(dpkg-query -W -f '${Version}' "linux-headers-$rel")
	dir=$cache/image-$(plain_name "$rel-$version")
	if [ ! -e "$dir/boot/vmlinuz-$rel" ]; then
		mkdir -p "$cache"
		exec 9>"$cache/.lock-image-$rel"
		flock 9
	fi
	if [ ! -e "$dir/boot/vmlinuz-$rel" ]; then
		rm -rf "$dir.tmp"
		mkdir -p "$dir.tmp"
		for pkg in linux-image-$rel linux-image-$rel-unsigned; do
			say "downloading $pkg=$version"
			(cd "$dir.tmp" && apt-get -q -o APT::Sandbox::User=root download "$pkg=$version" >&2) && break
		done
		set -- "$dir.tmp"/*.deb
		[ -e "$1" ] || die "cannot download the kernel image $rel ($version); if the archive has a newer one, upgrade linux-headers"
		dpkg -x "$1" "$dir.tmp"
		rm "$1"
		mv "$dir.tmp" "$dir"
	fi
	echo "$dir"
}

# Decompresses the kernel inside a bzImage: tries each place where a compressor's magic stands until
# what comes out is an ELF file.
extract_elf() {
	local from=$1 to=$2 spec pattern unpack offset
	for spec in '\x28\xB5\x2F\xFD zstd' '\xFD7zXZ\x00 xz' '\x02!L\x18 lz4' '\x1F\x8B\x08 gzip'; do
		pattern=${spec% *} unpack=${spec#* }
		for offset in $(LC_ALL=C grep -obUaP "$pattern" "$from" | cut -d: -f1); do
			tail -c +$((offset + 1)) "$from" | "$unpack" -dc >"$to.tmp" 2>/dev/null || true
			if [ "$(head -c 4 "$to.tmp" | tail -c 3)" = ELF ]; then
				mv "$to.tmp" "$to"
				return 0
			fi
		done
	done
	rm -f "$to.tmp"
	return 1
}

cmd=${1:-} id=${2:-}
case " $debian_ids " in *" $id "*) kind=debian ;; *)
	case " $built_ids " in *" $id "*) kind=built ;; *) kind=$id ;; esac
esac
case $cmd:$kind in
list:*)
	printf '%s\n' $debian_ids $built_ids running ;;
release:debian)
	release_of "$id" ;;
release:built)
	cat "$("$top/scripts/build-kernel.sh" "$id")/include/config/kernel.release" ;;
release:running)
	uname -r ;;
headers:debian)
	rel=$(release_of "$id")
	echo "/usr/src/linux-headers-$rel" ;;
headers:built)
	"$top/scripts/build-kernel.sh" "$id" ;;
headers:running)
	dir=/lib/modules/$(uname -r)/build
	[ -e "$dir/Makefile" ] || die "there are no headers of the running kernel $(uname -r) in $dir"
	echo "$dir" ;;
image:debian)
	rel=$(release_of "$id")
	root=$(image_root "$rel")
	vmlinuz=$root/boot/vmlinuz-$rel
	# Two versions of a Debian package may share a release: the file's hash tells them apart.
	elf=$cache/vmlinux-$(plain_name "$rel")-$(sha256sum "$vmlinuz" | cut -c1-10)
	mkdir -p "$cache"
	if [ -e "$elf" ] || extract_elf "$vmlinuz" "$elf"; then echo "$elf"; else echo "$vmlinuz"; fi ;;
image:built)
	dir=$("$top/scripts/build-kernel.sh" "$id")
	case $id in uml*) echo "$dir/linux" ;; *) echo "$dir/vmlinux" ;; esac ;;
modules:debian)
	rel=$(release_of "$id")
	echo "$(image_root "$rel")/lib/modules/$rel" ;;
modules:built)
	"$top/scripts/build-kernel.sh" "$id" ;;
modules:running)
	echo "/lib/modules/$(uname -r)" ;;
*)
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
	exit 2 ;;
esac

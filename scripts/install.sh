#!/bin/bash
# make install and make uninstall; called by the Makefile, which sets all variables.
#
# Without DESTDIR it also makes the system take notice: group, udev, library cache, and the module built
# by DKMS for the running kernel where its headers are there. With DESTDIR (packaging) it only copies.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"
: "${VERSION:?} ${PREFIX:?} ${BINDIR:?} ${LIBDIR:?} ${INCLUDEDIR:?} ${MANDIR:?} ${SYSCONFDIR:?} ${SONAME:?} ${O:?}"
DESTDIR=${DESTDIR:-}
sources=/usr/src/bitnet-$VERSION

fill() { # template
	sed -e "s|@VERSION@|$VERSION|g; s|@PREFIX@|$PREFIX|g; s|@LIBDIR@|$LIBDIR|g; s|@INCLUDEDIR@|$INCLUDEDIR|g" "$1"
}

# All files that are installed, one per line: mode, source, target. The one list for both directions.
files() {
	local f
	echo "755 $O/bitnetctl $BINDIR/bitnetctl"
	echo "755 $O/$SONAME $LIBDIR/$SONAME"
	echo "644 $O/libbitnet.a $LIBDIR/libbitnet.a"
	echo "644 $O/bitnet.pc $LIBDIR/pkgconfig/bitnet.pc"
	for f in uapi/linux/*.h; do
		[ ! -e "$f" ] || echo "644 $f $INCLUDEDIR/linux/${f##*/}"
	done
	# What bitnet.h includes is public, the other headers are not.
	for f in $("${CC:-cc}" -MM -Iuapi -Iuserspace/lib userspace/lib/bitnet.h); do
		case $f in userspace/lib/*.h) echo "644 $f $INCLUDEDIR/bitnet/${f##*/}" ;; esac
	done
	for f in userspace/man/*.[1-8]; do
		[ ! -e "$f" ] || echo "644 $f $MANDIR/man${f##*.}/${f##*/}"
	done
	for f in userspace/completion/*; do
		[ ! -e "$f" ] || echo "644 $f $PREFIX/share/bash-completion/completions/$(basename "$f" .bash)"
	done
	# What "bitnetctl bench" measures unless told otherwise.
	for f in userspace/models/demo-i2_s.gguf userspace/models/ATTRIBUTION.txt; do
		echo "644 $f $PREFIX/share/bitnet/${f##*/}"
	done
	for f in scripts/trace/*.bt; do
		echo "755 $f $PREFIX/share/bitnet/trace/${f##*/}"
	done
	for f in userspace/udev/*.rules; do
		[ ! -e "$f" ] || echo "644 $f $PREFIX/lib/udev/rules.d/${f##*/}"
	done
	echo "644 scripts/install/sysusers.conf $PREFIX/lib/sysusers.d/bitnet.conf"
	echo "644 scripts/install/limits.conf $SYSCONFDIR/security/limits.d/bitnet.conf"
	echo "644 $O/dkms.conf $sources/dkms.conf"
	find Kbuild kmod uapi -type f \( -name '*.[chS]' -o -name '*.mk' -o -name Kbuild \) |
		while read -r f; do echo "644 $f $sources/$f"; done
}

# The system's part; what is missing on this system is said and left out.
dkms_install() {
	command -v dkms >/dev/null || { say "dkms is missing, the module was not built (package dkms)"; return; }
	dkms status "bitnet/$VERSION" 2>/dev/null | grep -q . || dkms add "bitnet/$VERSION"
	if [ -e "/lib/modules/$(uname -r)/build/Makefile" ]; then
		dkms install --force "bitnet/$VERSION"
	else
		say "there are no headers of the running kernel; DKMS will build the module when a kernel with headers is installed"
	fi
}

case ${1:-} in
install)
	fill scripts/install/bitnet.pc.in >"$O/bitnet.pc"
	fill scripts/install/dkms.conf.in >"$O/dkms.conf"
	files | while read -r mode from to; do install -D -m "$mode" "$from" "$DESTDIR$to"; done
	ln -sf "$SONAME" "$DESTDIR$LIBDIR/libbitnet.so"
	[ -z "$DESTDIR" ] || exit 0
	ldconfig
	if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$PREFIX/lib/sysusers.d/bitnet.conf"; else
		getent group bitnet >/dev/null || groupadd --system bitnet
	fi
	! command -v udevadm >/dev/null || udevadm control --reload 2>/dev/null || true
	dkms_install
	say "installed; load the module with: modprobe bitnet. Users of the device belong into the group bitnet."
	;;
uninstall)
	if [ -z "$DESTDIR" ] && command -v dkms >/dev/null && dkms status "bitnet/$VERSION" 2>/dev/null | grep -q .; then
		dkms remove "bitnet/$VERSION" --all
	fi
	files | while read -r _ _ to; do rm -f "$DESTDIR$to"; done
	rm -f "$DESTDIR$LIBDIR/libbitnet.so"
	for dir in "$sources" "$INCLUDEDIR/bitnet" "$PREFIX/share/bitnet"; do
		[ ! -d "$DESTDIR$dir" ] || find "$DESTDIR$dir" -depth -type d -empty -delete
	done
	[ -n "$DESTDIR" ] || ldconfig
	;;
*) die "usage: make install, make uninstall" ;;
esac

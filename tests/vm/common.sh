# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash
#
# What the scripts beside this one share.

progress() { printf 'vm: %s\n' "$*" >&2; }

die() {
	progress "$*"
	exit 1
}

# A machine ARCHITECTURE-VARIANT has all that the machine ARCHITECTURE has, and files of its own in machines/.
architecture_of() { echo "${1%%-*}"; } # MACHINE

# The files, a line each, that the kernel of the machine is configured by.
kernel_configs() { # MACHINE
	local own
	echo "${here:?}/kernel.config"
	for own in "$(architecture_of "$1")" "$1"; do
		echo "$here/machines/$own/kernel.config"
	done | uniq
}

# Something that this machine lacks: a skipped test for a person, a failed one where CI promised to have it.
# $1: what is missing   $2: what to do about it
unavailable() {
	progress "unavailable: $1; $2"
	[ "${CI-}" = true ] && exit 1
	exit 77
}

# The first error that apt or mmdebstrap wrote to the file $1.
first_error() { sed -n 's/^E: //p' "$1" | head -n 1; }

# The Debian mirror that this machine's own apt is configured for.
mirror() {
	local uri
	# shellcheck disable=SC2016  # apt expands these
	uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 2>/dev/null | sed -n 's/^Debian //p' | head -n 1)
	[ -n "$uri" ] || unavailable "apt knows no Debian mirror" "run 'apt-get update' on a Debian machine"
	printf '%s\n' "${uri%/}"
}

# The options, a line each, that have mmdebstrap's apt use the machine's proxies and certificates, which it does not by itself.
apt_options() { apt-config dump --no-empty --format '%F "%v";%n' Acquire::http Acquire::https Acquire::ftp | sed 's/^/--aptopt=/'; }

# The suites of Debian are read without regard to the age of their Release files: a test machine's clock may be anywhere.
sources() {
	local uri suite
	uri=$(mirror) || exit
	for suite; do
		printf 'deb [check-valid-until=no] %s %s main\n' "$uri" "$suite"
	done
}

# find_qemu ARCHITECTURE: sets the array $qemu to the command of a QEMU for such a machine: this machine's own, or from the cache
# that of Debian trixie. From 10.0 on, QEMU emulates twice as fast. The caller has $here, this directory, and cached().
find_qemu() {
	local version
	qemu=("qemu-system-$1")
	version=$("${qemu[@]}" --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p') || true
	[ "${version:-0}" -lt 10 ] || return 0
	cached emulator "${here:?}/emulator" "$here/emulator"
	qemu=("$built/usr/lib64/ld-linux-x86-64.so.2" --library-path "$built/usr/lib/x86_64-linux-gnu" "$built/usr/bin/${qemu[0]}"
		-L "$built/usr/share/qemu" -L "$built/usr/share/seabios")
}

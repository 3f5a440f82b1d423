# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# A program in a root directory of its own, without /proc and /sys: /dev/iommu is known by its name. Another device of that
# name is not an iommufd, and the kernel's answer decides what becomes of the open.
. /host/guest/lib.sh

jail=/tmp/jail
mkdir -p "$jail/dev"

# opens DEVICE SETTING...: opens /dev/iommu of the jail, which has the number of DEVICE. Prints what the program got.
opens() {
	local device=$1
	shift
	rm -f "$jail/dev/iommu"
	mknod "$jail/dev/iommu" c $((0x$(stat -c %t "$device"))) $((0x$(stat -c %T "$device")))
	# shellcheck disable=SC2016  # perl's own variables
	env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process "$@" perl -MFcntl -e '
		chroot "'"$jail"'" and chdir "/" or die "chroot: $!\n";
		print sysopen(DEVICE, "/dev/iommu", O_RDWR) ? "open\n" : "fails: " . ($! + 0) . "\n";' >"$vms/got" 2>"$vms/said" ||
		fail "the program fails: $(<"$vms/said")"
}

expect() { # GOT TEXT-IN-LOG
	[ "$(<"$vms/got")" = "$1" ] || fail "the program got '$(<"$vms/got")', not '$1'"
	grep -qF "$2" "$vms/said" || fail "the library does not say '$2': $(<"$vms/said")"
	ok "$2"
}

opens /dev/iommu
expect open 'outcome=applied fd=3 source=open requested=process effective=process via=ioctl'

opens /dev/full
expect open 'iommufd-rlimit: warning: outcome=unsupported fd=3 source=open requested=process effective=unknown errno=ENOTTY'
opens /dev/full IOMMUFD_RLIMIT_ON_ERROR=fail
expect 'fails: 25' 'hint="this open fails; this file is not an iommufd; run: ls -l /dev/iommu"'

# A VFIO device that is not bound to an iommufd yet answers EINVAL.
opens "$(printf '%s\n' /dev/vfio/devices/* | head -n 1)"
expect 'fails: 22' 'iommufd-rlimit: error: outcome=invalid fd=3 source=open requested=process effective=unknown errno=EINVAL'
opens "$(printf '%s\n' /dev/vfio/devices/* | head -n 1)" IOMMUFD_RLIMIT_ON_ERROR=continue
expect open 'hint="the program goes on; this kernel does not take the mode; set another"'

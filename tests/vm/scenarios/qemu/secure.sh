# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# A set-user-ID program (AT_SECURE) of a user who chooses its environment: the words of the settings are honoured, the
# paths are not. ld.so takes the library because it is in a library directory and has its set-user-ID bit as well.
. /host/guest/lib.sh

library=$(find /usr/lib -name "$shim")
chmod u+s "$library"
trap 'chmod u-s "$library"' EXIT
cp /bin/dd /tmp/dd
chmod 4755 /tmp/dd
forbidden=/tmp/forbidden

# opens VARIABLE=VALUE...: what the program says that opens the device as root for user 1000.
opens() {
	setpriv --reuid=1000 --regid=1000 --clear-groups env LD_PRELOAD="$shim" "$@" /tmp/dd if=/dev/iommu count=0 status=none \
		>"$vms/said" 2>&1 || fail "the program fails: $(<"$vms/said")"
}

says() { grep -qF "$1" "$vms/said" || fail "it does not say: $1: $(<"$vms/said")"; }

path='accepted="no path in a program with raised privileges (AT_SECURE)"'
opens IOMMUFD_RLIMIT_MODE=process IOMMUFD_RLIMIT_LOG="$forbidden" IOMMUFD_RLIMIT_HELPER="$forbidden"
says "setting=IOMMUFD_RLIMIT_LOG value=$forbidden used=stderr $path"
says "setting=IOMMUFD_RLIMIT_HELPER value=$forbidden used=/run/iommufd-rlimit/helper.sock $path"
says 'outcome=applied fd=3 source=open requested=process effective=process via=ioctl'
[ ! -e "$forbidden" ] || fail "the log was written to $forbidden"
ok "paths are refused"

opens IOMMUFD_RLIMIT_MODE=query IOMMUFD_RLIMIT_ON_ERROR=fail IOMMUFD_RLIMIT_LOG_LEVEL=debug
says 'mode=query on_error=fail log=stderr'
says 'outcome=queried'
opens IOMMUFD_RLIMIT_MODE=process IOMMUFD_RLIMIT_LOG=none
[ ! -s "$vms/said" ] || fail "IOMMUFD_RLIMIT_LOG=none is not honoured"
opens IOMMUFD_RLIMIT_MODE=off IOMMUFD_RLIMIT_LOG_LEVEL=debug
[ ! -s "$vms/said" ] || fail "IOMMUFD_RLIMIT_MODE=off is not honoured"
ok "words are honoured"

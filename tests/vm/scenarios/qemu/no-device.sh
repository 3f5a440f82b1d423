# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# Without the device, or without access to it, QEMU fails with its own words, with the shim as without.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
memory=64

# All that a VM said, without what differs from run to run: its device.
words_of() { sed "s/0000:[0-9a-f:.]*/DEVICE/g" "$vms/$1/stderr"; }

same_failure() { # NAME ERROR
	with=()
	vm_start "$1-without"
	with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
	vm_start "$1-with"
	vm_dies "$1-without" "$2"
	vm_dies "$1-with" "$2"
	shim_is_silent "$1-with"
	[ "$(words_of "$1-with")" = "$(words_of "$1-without")" ] || fail "QEMU says something else with the shim"
	[ "${status[$1-with]}" = "${status[$1-without]}" ] || fail "QEMU ends with another status with the shim"
}

trap 'mv -f /dev/iommu.away /dev/iommu; chmod 666 /dev/iommu' EXIT

chmod 600 /dev/iommu
same_failure unreadable "'/dev/iommu': Permission denied"

mv /dev/iommu /dev/iommu.away
same_failure gone /dev/iommu

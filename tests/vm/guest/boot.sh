# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.sh
#
# The machine is what the scenarios need.
. /host/guest/lib.sh

uname -r
echo "pages of $(($(getconf PAGE_SIZE) / 1024)) KiB"
"$qemu" --version
! command -v virsh >/dev/null || echo "libvirt $(virsh --version)"
[ -c /dev/iommu ] || fail "no /dev/iommu"
[ ${#devices[@]} = 64 ] || fail "${#devices[@]} devices of 64 are bound to vfio-pci"

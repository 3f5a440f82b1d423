# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# A plain QEMU beside libvirt's: where the helper is there, it gets no capability from the launcher, and keeps none.
. /host/scenarios/libvirt/lib.bash

host_reset
domain d1
enable d1
arguments=(-object "$object" -device "vfio-pci,host=$device,iommufd=iommufd0,rombar=0")
user=0
with=(qemu-iommufd-rlimit --user=libvirt-qemu --)

vm_start with-helper "${arguments[@]}"
vm_runs with-helper
shim_says with-helper outcome=applied effective=process via=helper
accounted_by_process with-helper
[ "$(status_field with-helper CapPrm)" = 0000000000000000 ] || fail "with-helper has capabilities"
vm_stop with-helper

systemctl stop iommufd-rlimit-helper.socket
vm_start without-helper "${arguments[@]}"
vm_runs without-helper
shim_says without-helper outcome=applied effective=process via=ioctl
accounted_by_process without-helper
[ "$(status_field without-helper CapPrm)" = 0000000001000000 ] || fail "CapPrm is $(status_field without-helper CapPrm)"
vm_stop without-helper

# Root's own, which keeps all but that one.
systemctl start iommufd-rlimit-helper.socket
capabilities=$(qemu-iommufd-rlimit /usr/bin/grep CapEff /proc/self/status)
[ $((0x${capabilities#*	} >> 24 & 1)) = 0 ] || fail "root's QEMU keeps CAP_SYS_RESOURCE: $capabilities"
ok "root's QEMU has no CAP_SYS_RESOURCE: ${capabilities#*	}"

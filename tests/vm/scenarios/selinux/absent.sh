# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Without the module: QEMU fails, and the doctor names each cause. To remove what "enable" has installed leaves nothing.
. /host/scenarios/selinux/lib.bash

# The policy, and the labels that the module gives.
state() {
	semodule -l
	sha256sum /etc/selinux/"$policy"/policy/policy.* /etc/selinux/"$policy"/contexts/files/file_contexts
	stat --format='%C %n' /usr/libexec/iommufd-rlimit-helper /run/iommufd-rlimit{,/helper.sock} /dev/iommu /dev/vfio/devices/vfio0
}

host_reset
! semodule -l | grep -qx iommufd-rlimit || documented selinux-remove
documented libvirt-host
domain web1
state >"$vms/before"
enable web1
documented selinux-remove
state >"$vms/after"
diff "$vms/before" "$vms/after" || fail "the policy is not as it was"
virsh --quiet start --paused web1 && fail "web1 starts"
denials
doctor 2 --domain web1
doctor_says problem selinux 'module iommufd-rlimit is not in the policy' 'semodule -i .*'
doctor_says problem selinux 'SELinux does not let QEMU use /dev/iommu'
doctor_says problem selinux 'SELinux does not let QEMU use /dev/vfio/devices/vfio0'
# Fedora does not confine virtd_t.
[ "$policy" = targeted ] || doctor_says problem selinux 'hand LD_PRELOAD and its limits on to QEMU'
mended

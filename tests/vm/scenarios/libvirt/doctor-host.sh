# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A host where all is well, and then its settings or its devices broken in one thing at a time: the doctor finds that,
# and nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
documented libvirt-host
domain web1
iommufd-rlimit-libvirt enable web1
doctor 0 --domain web1

# Too low a limit for one VM.
virsh --quiet memtune web1 --hard-limit 200M --config
broken memory 'a VM of 256 MiB exceeds its limit of' hard_limit
virsh --quiet memtune web1 --hard-limit 400M --config

# No AppArmor rule; a device that libvirt does not let through; one that only root may use; no device; no iommufd at all.
mv /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit /run/apparmor
broken apparmor 'does not let QEMU use iommufd' libvirt-qemu.d/iommufd-rlimit
mv /run/apparmor /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit
sed -i 's,^ *"/dev/iommu"\,$,,' /etc/libvirt/qemu.conf
broken devices 'does not get /dev/iommu' cgroup_device_acl
documented libvirt-host
chmod 600 /dev/vfio/devices/vfio*
broken devices 'may not use /dev/vfio/devices/vfio[0-9]* .0600 root:kvm.' udev.rules
chmod 660 /dev/vfio/devices/vfio*
mv /dev/iommu /dev/iommu.away
broken device 'No such file' 'udevadm trigger'
mv /dev/iommu.away /dev/iommu
mount -t tmpfs none /sys/class/misc
broken kernel 'shows no iommufd' 'modprobe iommufd'
umount /sys/class/misc

doctor 0 --domain web1
documented debug 2>&1 | tee "$vms/debug"
grep -q outcome=queried "$vms/debug" || fail "'query' does not say which mode there is"
grep -q 'outcome=applied .* effective=process' "$vms/debug" || fail "a shell cannot set the mode"

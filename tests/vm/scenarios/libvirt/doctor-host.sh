# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# A host where all is well, and then its settings or its devices broken in one thing at a time: the doctor finds that,
# and nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
enable web1
doctor 0 --domain web1

# Too low a limit for one VM.
virsh --quiet memtune web1 --hard-limit 200M --config
broken limit 'the limit of 200 MiB does not cover 256 MiB of memory, 1 MiB of devices' 'enable web1 --limit 1283M'
mended

# No AppArmor rule; a device that libvirt does not let through; settings that libvirt has not read.
rm /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit
broken apparmor 'does not let QEMU use iommufd' 'enable web1'
mended
sed -i 's,"/dev/iommu"\, ,,' /etc/libvirt/qemu.conf
systemctl restart libvirtd
broken acl 'does not get /dev/iommu' 'enable web1'
mended
sleep 1
touch /etc/libvirt/qemu.conf
broken daemon 'libvirtd was started before /etc/libvirt/qemu.conf was changed' 'systemctl restart libvirtd'
mended

# A device that only root may use; one that libvirt's QEMU may not use; no device; no iommufd at all.
chmod 600 /dev/vfio/devices/vfio*
broken devices 'may not use /dev/vfio/devices/vfio[0-9]* .0600 root:kvm.' 'enable web1'
mended
chgrp root /dev/iommu
broken device 'may not use /dev/iommu .0660 root:root.' 'enable web1'
mended
rm /dev/iommu
broken device 'No such file' 'mknod -m 660 /dev/iommu c 10'
bash -ec "$(sed -n 's/^ *fix: //p' <<<"$doctor_said")"
broken device 'may not use /dev/iommu .0660 root:root.' 'enable web1'
mended
mount -t tmpfs none /sys/class/misc
broken kernel 'shows no iommufd' 'modprobe iommufd'
umount /sys/class/misc

# A device without a driver; with none for VFIO there would be another.
echo "$device" >"/sys/bus/pci/devices/$device/driver/unbind"
broken devices "device $device has no driver" "driverctl set-override $device vfio-pci"
echo "$device" >/sys/bus/pci/drivers_probe
udevadm settle
doctor 0 --domain web1

# Those who may not look into all of it are told so.
as_user=(setpriv --reuid=1000 --regid=1000 --clear-groups)
result=0
"${as_user[@]}" iommufd-rlimit-doctor >"$vms/unprivileged" || result=$?
cat "$vms/unprivileged"
[ "$result" = 2 ] || fail "the doctor ends with status $result for a user who may not use the device"
grep -q '^problem  device  .*user vm may not use /dev/iommu' "$vms/unprivileged" || fail "it does not say that vm may not"

documented debug 2>&1 | tee "$vms/debug"
grep -q outcome=queried "$vms/debug" || fail "'query' does not say which mode there is"
grep -q 'outcome=applied .* effective=process' "$vms/debug" || fail "a shell cannot set the mode"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# A host where all is well, and then its settings and its devices broken in a few things at a time: the doctor finds these,
# and nothing else, and what it says is to be done mends them.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
enable web1
doctor 0 --domain web1
node=$(readlink -f "/dev/vfio/by-path/$device")

# No AppArmor rule; a device that libvirt does not let through.
rm /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit
sed -i 's,"/dev/iommu"\, ,,' /etc/libvirt/qemu.conf
systemctl restart libvirtd
broken apparmor 'does not let QEMU use iommufd' 'enable web1' \
	acl 'does not get /dev/iommu' 'enable web1'
mended

# Settings that libvirt has not read; a device that only root may use, one that libvirt's QEMU may not use.
sleep 1
touch /etc/libvirt/qemu.conf
chmod 600 "$node"
chgrp root /dev/iommu
broken daemon 'libvirtd was started before /etc/libvirt/qemu.conf was changed' 'systemctl restart libvirtd' \
	devices "may not use $node .0600 root:kvm." 'enable web1' \
	device 'may not use /dev/iommu .0660 root:root.' 'enable web1'
mended

# No file of a device, and of iommufd, or something else in its place; too low a limit.
rm /dev/iommu "$node"
virsh --quiet memtune web1 --hard-limit 200M --config
broken device 'No such file' 'mknod -m 660 /dev/iommu c 10' devices "there is no file $node" "mknod -m 660 $node c " \
	limit 'the limit of 200 MiB does not cover 256 MiB of memory, 1 MiB of devices' 'enable web1 --limit 1283M'
mended
rm /dev/iommu
touch /dev/iommu
broken device 'is not the iommufd device' 'rm /dev/iommu; mknod -m 660 /dev/iommu c 10'
mended

# A kernel without, as far as can be seen: it is the machine's own with less to be seen of it.
mkdir -p /run/class/misc
find /sys/class -mindepth 1 -maxdepth 1 -type d ! -name misc ! -name vfio-dev -exec cp -a -t /run/class {} + || true # what can be read
mount --bind /run/class /sys/class
broken kernel 'shows no iommufd' 'modprobe iommufd' cdev 'shows no VFIO devices' 'modprobe vfio-pci'
zcat /proc/config.gz | sed '/CONFIG_IOMMUFD=/d; /CONFIG_VFIO_DEVICE_CDEV=/d' | gzip >/run/config.gz
mount --bind /run/config.gz /proc/config.gz
broken kernel 'built without iommufd' 'boot one of 6.2' cdev 'built without CONFIG_VFIO_DEVICE_CDEV' 'boot one of 6.6'
umount /proc/config.gz /sys/class

# A device without a driver, one with a driver that is not a VFIO driver, and no device at all.
# driverctl has modprobe look for the driver, which this kernel has built in, and no list of that.
modules=/lib/modules/$(uname -r)
mkdir -p "$modules"
echo kernel/drivers/vfio/pci/vfio-pci.ko >"$modules/modules.builtin"
depmod
echo "$device" >"/sys/bus/pci/devices/$device/driver/unbind"
broken devices "device $device has no driver" "driverctl set-override $device vfio-pci"
mended
disk=$(basename "$(readlink -f /sys/block/vda/device/..)")
virsh dumpxml --inactive web1 >/run/web1-good.xml
second="<qemu:arg value='-device'/><qemu:arg value='vfio-pci,host=0000:77:00.0,iommufd=iommufd0'/>"
sed "s/host=$device/host=$disk/; s|</qemu:commandline>|$second&|" /run/web1-good.xml >/run/web1-bad.xml
virsh --quiet define /run/web1-bad.xml
broken devices "device $disk has driver virtio-pci, which is not a VFIO driver" "driverctl set-override $disk vfio-pci" \
	devices 'this host has no device 0000:77:00.0' 'virsh edit web1'
virsh --quiet define /run/web1-good.xml # as by virsh edit
doctor 0 --domain web1

# In a user namespace, as in a container.
doctor_said=$(unshare --user --map-root-user iommufd-rlimit-doctor) || true
printf '%s\n' "$doctor_said"
doctor_says problem namespace 'in a user namespace'
touch /run/.containerenv
mv /dev/iommu /dev/iommu.away
doctor_said=$(iommufd-rlimit-doctor) || true
printf '%s\n' "$doctor_said"
mv /dev/iommu.away /dev/iommu
rm /run/.containerenv
doctor_says problem device 'No such file or directory in this container'

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

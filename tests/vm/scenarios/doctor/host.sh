# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
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
rm "$apparmor_rules"
sed -i 's,"/dev/iommu"\, ,,' /etc/libvirt/qemu.conf
systemctl restart libvirtd
broken apparmor 'does not let QEMU use iommufd' 'iommufd-rlimit-libvirt enable web1' \
	acl 'does not get /dev/iommu from libvirt: it is not in cgroup_device_acl' 'iommufd-rlimit-libvirt enable web1'
mended

# Settings that libvirt has not read; a device that only root may use, one that libvirt's QEMU may not use.
sleep 1
touch /etc/libvirt/qemu.conf
chmod 600 "$node"
chgrp root /dev/iommu
broken daemon 'libvirtd was started before .* was changed, and has not read' 'systemctl restart libvirtd' \
	devices "may not use $node .0600 root:kvm." 'iommufd-rlimit-libvirt enable web1' \
	device 'may not use /dev/iommu .0660 root:root.' 'iommufd-rlimit-libvirt enable web1'
mended

# No file of a device, and of iommufd, or something else in its place; too low a limit.
rm /dev/iommu "$node"
virsh --quiet memtune web1 --hard-limit 200M --config
broken device '/dev/iommu cannot be found: No such file' \
		'mknod -m 660 /dev/iommu c 10 .*; udevadm trigger --settle --subsystem-match=misc' \
	devices "there is no file $node" "mknod -m 660 $node c .*; udevadm trigger --settle --subsystem-match=vfio-dev" \
	limit 'the limit of 200 MiB does not cover 256 MiB of memory, 1 MiB of devices' 'iommufd-rlimit-libvirt enable web1 --limit 1283M'
mended
rm /dev/iommu
touch /dev/iommu
broken device 'is not the iommufd device' \
	'rm /dev/iommu; mknod -m 660 /dev/iommu c 10 .*; udevadm trigger --settle --subsystem-match=misc'
mended

# A kernel whose modules are not loaded, as far as can be seen: this one has them built in, and less is to be seen of it. In
# place of loading a module, modprobe shows it all again.
modules=/lib/modules/$(uname -r)
mkdir -p "$modules"
touch "$modules/modules.builtin"
depmod
printf 'install %s umount /sys/class\n' iommufd vfio-pci >/etc/modprobe.d/shown.conf
mkdir -p /run/class/misc
find /sys/class -mindepth 1 -maxdepth 1 -type d ! -name misc -exec cp -a -t /run/class {} + || true # what can be read
mount --bind /run/class /sys/class
broken kernel 'shows no iommufd' 'modprobe iommufd'
mended
rm -r /run/class/vfio-dev
mkdir /run/class/misc/iommu
mount --bind /run/class /sys/class
broken cdev 'shows no VFIO devices' 'modprobe vfio-pci'
mended
rm -r /etc/modprobe.d/shown.conf /run/class/misc/iommu

# A kernel that was built without.
mount --bind /run/class /sys/class
mount -t tmpfs none "/sys/bus/pci/devices/$device/vfio-dev"
zcat /proc/config.gz | sed '/CONFIG_IOMMUFD=/d; /CONFIG_VFIO_DEVICE_CDEV=/d' | gzip >/run/config.gz
mount --bind /run/config.gz /proc/config.gz
broken kernel 'built without iommufd' 'boot Linux 6.6 or later with CONFIG_IOMMUFD' \
	cdev 'built without CONFIG_VFIO_DEVICE_CDEV' 'boot one of 6.6 or later with CONFIG_VFIO_DEVICE_CDEV' \
	devices "driver vfio-pci made no file for device $device" 'boot a kernel with CONFIG_VFIO_DEVICE_CDEV'
umount /proc/config.gz "/sys/bus/pci/devices/$device/vfio-dev" /sys/class
mount -t tmpfs none /sys
broken kernel '/sys shows no devices' 'mount -t sysfs sysfs /sys'
mended
umount /sys
umount /sys

# A device without a driver, one with a driver that is not a VFIO driver, and no device at all.
# driverctl has modprobe look for the driver, which this kernel has built in, and no list of that.
echo kernel/drivers/vfio/pci/vfio-pci.ko >"$modules/modules.builtin"
depmod
echo "$device" >"/sys/bus/pci/devices/$device/driver/unbind"
broken devices "device $device has no driver" "driverctl set-override $device vfio-pci"
mended
virsh dumpxml --inactive web1 >/run/web1-good.xml
sed "s/host=$device/host=0000:77:00.0/" /run/web1-good.xml >/run/web1-bad.xml
virsh --quiet define /run/web1-bad.xml
broken devices 'this host has no device .*; lspci -D' 'virsh edit web1'
mended
# The device of the console that 'tests/vm/run --keep' has for a shell.
console=$(basename "$(readlink -f /sys/bus/virtio/drivers/virtio_console/virtio*/..)")
sed "s/host=$device/host=$console/" /run/web1-good.xml >/run/web1-bad.xml
virsh --quiet define /run/web1-bad.xml
broken devices "device $console has driver virtio-pci, which is not a VFIO driver" \
	"driverctl set-override $console vfio-pci"
do_fixes
file=$(basename /sys/bus/pci/devices/"$console"/vfio-dev/*)
broken devices "may not use /dev/vfio/devices/$file .0600 root:root." 'iommufd-rlimit-libvirt enable web1' \
	acl "does not get /dev/vfio/devices/$file from libvirt" 'iommufd-rlimit-libvirt enable web1'
mended
driverctl unset-override "$console"
virsh --quiet define /run/web1-good.xml
enable web1 # for its own device again
doctor 0 --domain web1

# A domain that has no device.
sed "s/iommufd,id/rng-builtin,id/; s/vfio-pci,[^']*/e1000,addr=0x18/" /run/web1-good.xml >/run/web1-bad.xml
virsh --quiet define /run/web1-bad.xml
broken libvirt 'domain web1 is not concerned: .*; iommufd-rlimit.7. shows' 'virsh edit web1'
mended

# In a user namespace, as in a container.
doctor_said=$(unshare --user --map-root-user iommufd-rlimit-doctor) || true
printf '%s\n' "$doctor_said"
doctor_says problem namespace 'in a user namespace'
doctor_said=$(setpriv --reuid=libvirt-qemu --regid=kvm --init-groups unshare --user --map-current-user iommufd-rlimit-doctor) || true
printf '%s\n' "$doctor_said"
doctor_says problem helper 'root outside of this user namespace listens at'
touch /run/.containerenv
mv /dev/iommu /dev/iommu.away
doctor_said=$(iommufd-rlimit-doctor) || true
printf '%s\n' "$doctor_said"
mv /dev/iommu.away /dev/iommu
rm /run/.containerenv
doctor_says problem device '/dev/iommu cannot be found: .* in this container'

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

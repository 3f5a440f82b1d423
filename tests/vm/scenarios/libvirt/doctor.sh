# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A host where all is well, and then broken in one thing at a time: the doctor finds that, and nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
documented libvirt-host
domain web1
iommufd-rlimit-libvirt enable web1
doctor 0 --domain web1
[ "$(iommufd-rlimit-doctor --domain web1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])')" = ok ] ||
	fail "the doctor says something else as JSON"

# broken CHECK TEXT: one problem, found by this check.
broken() {
	doctor 2 --domain web1
	doctor_says problem "$1" "$2"
	[ "$(grep -c '^\(problem\|warning\)' <<<"$doctor_said")" = 1 ] || fail "the doctor finds more than is broken"
}

library=$(find /usr/lib -name libiommufd-rlimit.so)
qemu=$(command -v qemu-system-x86_64)

# The library of another class; gone.
cp "$library" /run/library
printf '\001' | dd of="$library" bs=1 seek=4 conv=notrunc status=none
broken library 'wrong ELF class'
mv "$library" /run/wrong
broken library 'cannot open shared object file'
mv /run/library "$library"

# A file capability, for which ld.so ignores even a preload by name.
setcap cap_sys_resource=ep "$qemu"
broken library 'ld.so does not say why'
setcap -r "$qemu"

# No helper; one that does not run; one for others.
systemctl stop iommufd-rlimit-helper.socket
broken mode 'there is no helper at /run/iommufd-rlimit/helper.sock'
python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind("/run/iommufd-rlimit/helper.sock")'
chmod 666 /run/iommufd-rlimit/helper.sock
broken mode 'no helper listens at'
systemctl start iommufd-rlimit-helper.socket
chgrp root /run/iommufd-rlimit/helper.sock
broken mode 'the helper is not for him: /run/iommufd-rlimit/helper.sock .0660 root:root.'
chgrp kvm /run/iommufd-rlimit/helper.sock

# A mode that is misspelt.
virsh dumpxml --inactive web1 | sed "s/value='process'/value='proces'/" >/run/typo.xml
virsh --quiet define /run/typo.xml
broken mode 'IOMMUFD_RLIMIT_MODE=proces is not understood'
iommufd-rlimit-libvirt enable web1

# Too low a limit for one VM.
virsh --quiet memtune web1 --hard-limit 200M --config
broken memory 'a VM of 256 MiB exceeds its limit of'
virsh --quiet memtune web1 --hard-limit 400M --config

# No AppArmor rule; a device that libvirt does not let through; one that only root may use; no device; no iommufd at all.
mv /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit /run/apparmor
broken apparmor 'does not let QEMU use iommufd'
mv /run/apparmor /etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit
sed -i 's,^ *"/dev/iommu"\,$,,' /etc/libvirt/qemu.conf
broken devices 'does not get /dev/iommu'
documented libvirt-host
chmod 600 /dev/vfio/devices/vfio*
broken devices 'may not use /dev/vfio/devices/vfio[0-9]* .0600 root:kvm.'
chmod 660 /dev/vfio/devices/vfio*
mv /dev/iommu /dev/iommu.away
broken device 'No such file'
mv /dev/iommu.away /dev/iommu
mount -t tmpfs none /sys/class/misc
broken kernel 'shows no iommufd'
umount /sys/class/misc

doctor 0 --domain web1

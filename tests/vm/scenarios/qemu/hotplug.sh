# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# QEMU opens /dev/iommu anew whenever the first device is plugged in after the last one was unplugged.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
with=(qemu-iommufd-rlimit)
memory=64
limit=96
times=20

# A root port that was empty at start has its power off, so that a device leaves it without the guest's consent.
next_device
vm_start vm -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off \
	-device pcie-root-port,id=port0 -object iommufd,id=iommufd0
vm_runs vm
shim_is_silent vm

unplugged() { [ "$(events vm DEVICE_DELETED)" = "$1" ]; }

for ((n = 1; n <= times; n++)); do
	qmp vm device_add "{\"driver\": \"vfio-pci\", \"id\": \"device0\", \"bus\": \"port0\", \"host\": \"$device\",
		\"iommufd\": \"iommufd0\", \"rombar\": 0}"
	[ "$(shim_lines vm outcome=applied source=open effective=process via=ioctl)" = $n ] ||
		fail "$n devices were plugged in, $(shim_lines vm outcome=applied) iommufds switched"
	accounted_by_process vm
	qmp vm device_del '{"id": "device0"}'
	wait_for unplugged $n || fail "the device stays"
	[ "$(pinned vm)" = 0 ] || fail "without a device $(pinned vm) kB are pinned"
done
[ "$(shim_lines vm)" = $times ] || fail "the shim has $(shim_lines vm) lines for $times opens"

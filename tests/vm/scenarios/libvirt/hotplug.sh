# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A device that is plugged in later: QEMU opens /dev/iommu then, under the same confinement.
. /host/scenarios/libvirt/lib.bash

host_reset
# One with its device from the start, two that get theirs later.
domain web1
domain web2 "/value='-device'/d; /value='vfio-pci/d"
domain web3 "/value='-device'/d; /value='vfio-pci/d"
# libvirt shows a QEMU what is in its list when it starts: the devices that come later, too.
domain web2-device
web2=$device
domain web3-device
web3=$device
enable web1 web2 web3 web2-device web3-device
for name in web1 web2 web3; do
	domain_runs $name
done
shim_is_silent web2

plug() { # NAME ADDRESS
	virsh qemu-monitor-command "$1" "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"vfio-pci\", \"id\": \"device0\",
		\"bus\": \"pci.3\", \"host\": \"$2\", \"iommufd\": \"iommufd0\"}}" | tee "$vms/answer"
	grep -q '"return"' "$vms/answer" || fail "$1 does not take the device"
}

plug web2 "$web2"
plug web3 "$web3"
for name in web1 web2 web3; do
	shim_says $name outcome=applied requested=process effective=process via=helper
	accounted_by_process $name
done

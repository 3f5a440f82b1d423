# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A device that is plugged in later, unplugged, and plugged in again: QEMU opens /dev/iommu each time, under the same
# confinement.
. /host/scenarios/libvirt/lib.bash

host_reset
# One with its device from the start, two that get theirs later.
domain web1
without_device="s/value='-device'/value='-global'/"
without_device+="; s/value='vfio-pci.*/value='ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'\\/>/"
domain web2 "$without_device"
domain web3 "$without_device"
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

# monitor NAME COMMAND ARGUMENTS
monitor() {
	virsh qemu-monitor-command "$1" "{\"execute\": \"$2\", \"arguments\": $3}" | tee "$vms/answer"
	grep -q '"return"' "$vms/answer" || fail "$1 refuses $2"
}

plug() { # NAME ADDRESS
	monitor "$1" device_add "{\"driver\": \"vfio-pci\", \"id\": \"device0\", \"bus\": \"pci.3\", \"host\": \"$2\",
		\"iommufd\": \"iommufd0\"}"
}

# A root port that was empty at start has its power off, so that a device leaves it without the guest's consent.
unplug() { # NAME
	monitor "$1" device_del '{"id": "device0"}'
	wait_for pins_nothing "$1" || fail "without a device $1 pins $(pinned "$1") kB"
	ok "$1: without a device"
}
pins_nothing() { [ "$(pinned "$1")" = 0 ]; }

plug web2 "$web2"
unplug web2
plug web2 "$web2"
[ "$(shim_lines web2 outcome=applied via=helper)" = 2 ] || fail "the shim has $(shim_lines web2) lines for two opens in web2"
plug web3 "$web3"
for name in web1 web2 web3; do
	shim_says $name outcome=applied requested=process effective=process via=helper
	accounted_by_process $name
	modes_are $name process
done

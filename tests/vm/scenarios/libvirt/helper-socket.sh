# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# The same through the socket of a real systemd, which starts the helper for each request as the unit says.
. /host/scenarios/libvirt/lib.bash

memory=64
limit=100 # enough for one VM, not for two
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

host_reset
chmod 666 /dev/iommu /dev/vfio/devices/*
mkdir -p /run/systemd/system/iommufd-rlimit-helper.socket.d
printf '[Socket]\nSocketGroup=vm\n' >/run/systemd/system/iommufd-rlimit-helper.socket.d/group.conf
systemctl daemon-reload
systemctl start iommufd-rlimit-helper.socket
[ "$(stat -c '%U:%G %a' /run/iommufd-rlimit/helper.sock)" = 'root:vm 660' ] || fail "the socket has other permissions"

# One after the other: emulated, systemd takes a second for the sandbox of each helper, and the shim waits for two.
for i in {1..8}; do
	vm_start "vm$i"
	vm_runs "vm$i"
	shim_says "vm$i" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "vm$i"
	[ "$(status_field "vm$i" CapPrm)" = 0000000000000000 ] || fail "vm$i has capabilities"
done

journal() { journalctl --quiet --output=cat --identifier=iommufd-rlimit-helper; }
journal | grep -F "outcome=applied requested=process effective=process pid=${pid[vm8]} uid=1000 gid=1000 comm=qemu-system-x86" ||
	fail "the journal does not say whom the helper served: $(journal)"
none_left() { [ -z "$(systemctl list-units --all --plain --no-legend 'iommufd-rlimit-helper@*')" ]; }
wait_for none_left || fail "the helper leaves units behind: $(systemctl list-units --all 'iommufd-rlimit-helper@*')"

systemctl stop iommufd-rlimit-helper.socket
vm_start orphan
vm_runs orphan
shim_says orphan outcome=denied errno=EPERM helper=ENOENT
stderr_has orphan 'hint="needs CAP_SYS_RESOURCE or iommufd-rlimit-helper'
for i in {1..8}; do
	vm_alive "vm$i" || fail "vm$i died with the socket"
	accounted_by_process "vm$i"
done

systemctl start iommufd-rlimit-helper.socket
user=2000
vm_start stranger
vm_runs stranger
shim_says stranger outcome=denied errno=EPERM helper=EACCES

for name in {vm{1..8},orphan,stranger}; do vm_stop "$name"; done
rm -r /run/systemd/system/iommufd-rlimit-helper.socket.d
systemctl daemon-reload

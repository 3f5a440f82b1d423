# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# Suspend and resume; save and snapshot, which QEMU refuses with such a device; attach-device, by which this libvirt knows no
# iommufd; a restart of libvirt. The mode stays.
. /host/scenarios/libvirt/lib.bash

host_reset
domain d1
enable d1
domain_runs d1
virsh --quiet resume d1
virsh --quiet suspend d1
virsh --quiet resume d1
accounted_by_process d1
modes_are d1 process

is_refused() { # COMMAND...
	virsh "$@" >"$vms/refusal" 2>&1 && fail "virsh $1 works with a device: then the restore has to be tried"
	grep -q 'VFIO migration is not supported in kernel' "$vms/refusal" || fail "virsh $1 fails otherwise: $(<"$vms/refusal")"
	[ "$(virsh domstate d1 | head -n 1)" = running ] || fail "d1 does not run on: $(virsh domstate d1)"
	accounted_by_process d1
	modes_are d1 process
	ok "virsh $1 is refused, and d1 runs on"
}
is_refused save d1 /run/d1.save
is_refused managedsave d1
is_refused snapshot-create-as d1 one --memspec /run/d1.memory

next_device
hostdev >/run/hostdev.xml
virsh attach-device d1 /run/hostdev.xml >"$vms/refusal" 2>&1 && fail "d1 gets a device, and this kernel has no legacy container"
cat "$vms/refusal"
accounted_by_process d1
modes_are d1 process
ok "attach-device is refused, and d1 runs on"

systemctl restart libvirtd
[ "$(virsh domstate d1 | head -n 1)" = running ] || fail "d1 does not survive a restart of libvirt"
accounted_by_process d1
modes_are d1 process
ok "libvirt was restarted"

# A disable while it runs changes nothing for it; at the next start it is as without.
iommufd-rlimit-libvirt disable --all --yes
[ "$(virsh domstate d1 | head -n 1)" = running ] || fail "d1 does not survive: $(virsh domstate --reason d1)"
modes_are d1 process
virsh --quiet destroy d1

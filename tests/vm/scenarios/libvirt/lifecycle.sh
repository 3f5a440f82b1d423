# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# Suspend and resume; save, which QEMU refuses with such a device; attach-device, by which this libvirt knows no iommufd; a
# restart of libvirt. The mode stays.
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

virsh save d1 /run/d1.save >"$vms/refusal" 2>&1 && fail "a domain with a device is saved: then its restore has to be tried"
cat "$vms/refusal"
[ "$(virsh domstate d1 | head -n 1)" = running ] || fail "d1 does not run on: $(virsh domstate d1)"
modes_are d1 process
ok "save is refused, and d1 runs on"

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

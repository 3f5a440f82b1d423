# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# The socket and the service as they are installed, by a real systemd: what they cost, whom they serve, what they log.
. /host/scenarios/libvirt/lib.bash

memory=64
limit=100 # enough for one VM, not for two
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

served() { # VM
	vm_start "$1"
	vm_runs "$1"
	shim_says "$1" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$1"
	[ "$(status_field "$1" CapPrm)" = 0000000000000000 ] || fail "$1 has capabilities"
}

# The first connection starts the service. A client with patience makes it, for the library gives up after two seconds, which a
# busy emulated machine may need.
first_connection() {
	[ "$(service ActiveState)" = inactive ] || fail "the service runs before anybody connects"
	/host/scenarios/libvirt/hostile.py waiting 1 >"$vms/first"
	grep -qx given=1 "$vms/first" || fail "the first connection is not served: $(cat "$vms/first")"
}

host_reset
chmod 666 /dev/vfio/devices/*
systemctl enable --now --quiet iommufd-rlimit-helper.socket
[ "$(stat -c '%U:%G %a' "$helper_socket")" = 'root:kvm 660' ] || fail "the socket has other permissions"
# The node as the kernel makes it, and a VM that may open it: root's, without any capability.
chown root:root /dev/iommu
chmod 660 /dev/iommu
first_connection
ok "nothing runs until the first connection"
user=0 privileges=(--inh-caps=-all --bounding-set=-all)
served of-root
vm_stop of-root
systemctl stop iommufd-rlimit-helper.service

# The node as the udev rule of this project makes it, and VMs of a user in that group.
chgrp kvm /dev/iommu
first_connection
user=1000 group=kvm privileges=()
for i in {1..8}; do served "vm$i"; done

# All that the helper has.
pid[helper]=$(service MainPID)
[ "$(service LimitNOFILE)" -gt $((64 * $(service TasksMax))) ] || fail "connections that are being closed leave the helper no descriptor"
for set in CapPrm CapEff CapBnd CapAmb; do
	[ "$(status_field helper $set)" = 0000000001000000 ] || fail "the helper's $set is $(status_field helper $set)"
done
[ "$(status_field helper Uid)" -ge 61184 ] || fail "the helper has no user of its own: $(status_field helper Uid)"

# journald has taken the priority, and left the line.
said() { journalctl --quiet --output=cat --identifier=iommufd-rlimit-helper PRIORITY=6 | grep -qxF "$line"; }
line="iommufd-rlimit-helper: info: outcome=given pid=${pid[vm8]} uid=1000 gid=$(getent group kvm | cut -d : -f 3)"
wait_for said || fail "the journal does not say whom the helper served: $(journalctl --quiet --unit=iommufd-rlimit-helper.service)"

# Who stops the socket stops the helper, which would stand in the way of the next start.
systemctl stop iommufd-rlimit-helper.socket
ended() { [ "$(service ActiveState)" = inactive ]; }
wait_for ended || fail "the service runs on without its socket"
vm_start orphan
vm_runs orphan
shim_says orphan outcome=denied errno=EPERM helper=ENOENT helper_step=connect
stderr_has orphan 'per-user accounting; run: systemctl enable --now iommufd-rlimit-helper.socket"'
for i in {1..8}; do
	vm_alive "vm$i" || fail "vm$i died with the socket"
	accounted_by_process "vm$i"
done
systemctl start iommufd-rlimit-helper.socket
first_connection
served later
systemctl restart iommufd-rlimit-helper.socket # as a hint of the library says
wait_for ended || fail "the service runs on with its socket started anew"
first_connection
served after-restart

chmod 666 /dev/iommu
user=2000 group=''
vm_start stranger
vm_runs stranger
shim_says stranger outcome=denied errno=EPERM helper=EACCES helper_step=connect

for name in {vm{1..8},orphan,later,after-restart,stranger}; do vm_stop "$name"; done

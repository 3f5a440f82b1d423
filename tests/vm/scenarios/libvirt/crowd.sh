# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Many at one instant, and many one after the other, through the socket and the service of a real systemd.
. /host/scenarios/libvirt/lib.bash

memory=4
limit=6 # enough for one VM, not for two
group=kvm
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
openers=(setpriv --reuid=1000 --regid=kvm --clear-groups "${with[@]}" /host/scenarios/libvirt/opener.py)

host_reset
chmod 666 /dev/vfio/devices/*
chown root:kvm /dev/iommu
chmod 660 /dev/iommu
systemctl enable --now --quiet iommufd-rlimit-helper.socket

# opens NAME HOW COUNT
opens() {
	mkdir "$vms/$1"
	"${openers[@]}" "$2" "$3" >"$vms/$1/times" 2>"$vms/$1/stderr" || fail "$1: an opener failed"
	[ "$(shim_lines "$1" outcome=applied via=helper)" = "$3" ] || fail "$1: not all of $3 opens were applied"
	ok "$1: $3 opens, the median $(sort -n "$vms/$1/times" | sed -n "$((($3 + 1) / 2))p") ms, the slowest $(sort -n "$vms/$1/times" | tail -n 1) ms"
}

# Sets $rss to the memory of the process, $charged to that of its cgroup, with the kernel's, in kB.
memory_now() {
	local pid
	pid=$(service MainPID)
	rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")
	charged=$(($(<"/sys/fs/cgroup$(service ControlGroup)/memory.current") / 1024))
	ok "the helper has $rss kB, its cgroup $charged kB"
}

# The first has the service to wait for, and all others with it.
opens cold crowd 64
opens warm crowd 64

opens hundred row 100
memory_now
rss_before=$rss charged_before=$charged
opens many row 9900
memory_now
if [ $((rss - rss_before)) -gt 64 ] || [ $((charged - charged_before)) -gt 1024 ]; then
	fail "the helper grows from $rss_before kB to $rss kB, its cgroup from $charged_before kB to $charged kB"
fi

names=()
for i in {1..64}; do
	names+=("vm$i")
	vm_start "vm$i"
done
for name in "${names[@]}"; do
	until wait_for vm_ready "$name"; do :; done # 64 take more than a minute
	vm_alive "$name" || fail "$name died"
	shim_says "$name" outcome=applied via=helper
	accounted_by_process "$name"
done
for name in "${names[@]}"; do kill "${pid[$name]}"; done
for name in "${names[@]}"; do wait "${pid[$name]}" || true; done

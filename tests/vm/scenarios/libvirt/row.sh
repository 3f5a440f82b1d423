# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# One after the other, ten thousand times: the helper is then what it was after some hundreds. Then 64 QEMUs, of which each
# stays. The last takes as long as the first. tests/vm/picture draws the times.
. /host/scenarios/libvirt/clients.bash

# Sets $rss to the memory of the process, $charged to that of its cgroup, with the kernel's, in kB.
memory_now() {
	local pid
	pid=$(service MainPID)
	rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")
	charged=$(($(<"/sys/fs/cgroup$(service ControlGroup)/memory.current") / 1024))
	ok "the helper has $rss kB, its cgroup $charged kB"
}

clients_reset
helper_runs
opens opens row 256
memory_now
rss_before=$rss charged_before=$charged
opens many row 9744
memory_now
if [ $((rss - rss_before)) -gt 64 ] || [ $((charged - charged_before)) -gt 1024 ]; then
	fail "the helper grows from $rss_before kB to $rss kB, its cgroup from $charged_before kB to $charged kB"
fi
takes_no_longer "256 opens" "$(median "$vms/many/times" 1 256)" "$(median "$vms/many/times" 9489 9744)"

qemus_of_4_mib
names=()
for i in {1..64}; do
	names+=("vm$i")
	start=${EPOCHREALTIME/./}
	vm_start "vm$i"
	is_up "vm$i"
	took "vm$i" "$start" >>"$vms/qemus/times"
done
all_end "${names[@]}"
takes_no_longer "16 QEMUs" "$(median "$vms/qemus/times" 1 16)" "$(median "$vms/qemus/times" 49 64)"

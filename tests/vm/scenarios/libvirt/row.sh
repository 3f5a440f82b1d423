# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# One after the other, ten thousand times: the helper is then what it was after a hundred.
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
opens hundred row 100
memory_now
rss_before=$rss charged_before=$charged
opens many row 9900
memory_now
if [ $((rss - rss_before)) -gt 64 ] || [ $((charged - charged_before)) -gt 1024 ]; then
	fail "the helper grows from $rss_before kB to $rss kB, its cgroup from $charged_before kB to $charged kB"
fi

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# Many at one instant, through the socket and the service of a real systemd: each gets the mode, none is late.
. /host/scenarios/libvirt/clients.bash

clients_reset
# The first has the service to wait for, and all others with it.
opens cold crowd 64
opens warm crowd 64

memory=4
limit=6 # enough for one VM, not for two
group=kvm
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
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

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# Many at one instant, through the socket and the service of a real systemd: they get the mode, and the last takes as long as
# the first. tests/vm/picture draws the times.
. /host/scenarios/libvirt/clients.bash

# The microseconds from the start until so many were done.
moment() { sort -n "$vms/$1/times" | sed -n "$2p"; } # NAME COUNT

clients_reset
# The first has the service to wait for, and all others with it.
patient_are_served 256
opens opens crowd 256 255 # a busy machine serves few of them in two seconds
takes_no_longer "64 opens" "$(moment opens 64)" $(($(moment opens 256) - $(moment opens 192)))

qemus_of_4_mib
names=()
start=${EPOCHREALTIME/./}
for i in {1..64}; do
	names+=("vm$i")
	vm_start "vm$i"
done
for name in "${names[@]}"; do
	is_up "$name"
	took "$name" "$start" >>"$vms/qemus/times"
done
all_end "${names[@]}"
takes_no_longer "16 QEMUs" "$(moment qemus 16)" $(($(moment qemus 64) - $(moment qemus 48)))

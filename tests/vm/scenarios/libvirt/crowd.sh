# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# Many at one instant, through the socket and the service of a real systemd: each gets the mode, and the last takes as long as
# the first. tests/vm/picture draws the times.
. /host/scenarios/libvirt/clients.bash

clients_reset
# The first has the service to wait for, and all others with it.
patient_are_served 64
opens opens crowd 256

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
sort -n -o "$vms/qemus/times" "$vms/qemus/times"
moment() { sed -n "$1p" "$vms/qemus/times"; }
first=$(moment 16) last=$(($(moment 64) - $(moment 48)))
[ "$last" -le $((3 * first)) ] || fail "the first 16 of 64 QEMUs took $first us, the last 16 $last us"
ok "64 QEMUs: the first 16 took $first us, the last 16 $last us"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# Many at one instant, through the socket and the service of a real systemd: they get the mode, and the last takes as long as
# the first. tests/vm/picture draws the times.
. /host/scenarios/libvirt/clients.bash

# Of the moments at which one more was done, the last quarter takes no longer than the first.
takes_no_longer() { # NAME COUNT
	local moments first last
	sort -n -o "$vms/$1/times" "$vms/$1/times"
	mapfile -t -O 1 moments <"$vms/$1/times"
	first=${moments[$2 / 4]} last=$((moments[$2] - moments[$2 * 3 / 4]))
	[ "$last" -le $((3 * first)) ] || fail "$1: the first quarter of $2 took $first us, the last $last us"
	ok "$1: the first quarter of $2 took $first us, the last $last us"
}

clients_reset
# The first has the service to wait for, and all others with it.
patient_are_served 256
opens opens crowd 256
takes_no_longer opens 256

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
takes_no_longer qemus 64

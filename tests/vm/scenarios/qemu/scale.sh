# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# Four VMs of one user without any capability, then 32, then 64, started at once through one helper:
# each runs and is counted for itself, and a VM takes no longer the more they are.
. /host/guest/lib.sh

memory=4
limit=6 # enough for one VM, not for two
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

all_devices=("${devices[@]}")
crowds=0

# Sets each to the milliseconds that the machine was busy with one of COUNT VMs until it answered.
crowd() { # COUNT
	local i name names=() start
	crowds=$((crowds + 1))
	devices=("${all_devices[@]}")
	start=${EPOCHREALTIME/./}
	for ((i = 1; i <= $1; i++)); do
		names+=("$crowds-$i")
		vm_start "$crowds-$i"
	done
	for name in "${names[@]}"; do
		until wait_for vm_ready "$name"; do :; done # 64 take more than a minute
	done
	each=$(((${EPOCHREALTIME/./} - start) / 1000 / $1))
	for name in "${names[@]}"; do
		vm_alive "$name" || fail "$name died"
		shim_says "$name" outcome=applied effective=process via=helper
		accounted_by_process "$name"
	done
	ok "$1 VMs run, after $each ms each"
	for name in "${names[@]}"; do
		kill "${pid[$name]}"
	done
	for name in "${names[@]}"; do
		wait "${pid[$name]}" || true
	done
}

helper_start
crowd 4
few=$each
crowd 32
some=$each
crowd 64
many=$each
crowd 4
[ "$each" -le "$few" ] || few=$each # the host has become busier
for more in "$some" "$many"; do
	[ $((2 * more)) -le $((3 * few)) ] || fail "$more ms each are more than half as much again as $few ms"
done

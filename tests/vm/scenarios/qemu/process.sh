# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# With the capability each of eight VMs has its limit for itself, though together they exceed it five times. The limit
# still holds: a VM that exceeds its own dies.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
with=(qemu-iommufd-rlimit)
memory=64
limit=96

names=(vm1 vm2 vm3 vm4 vm5 vm6 vm7 vm8)
for name in "${names[@]}"; do
	vm_start "$name"
done
for name in "${names[@]}"; do
	vm_runs "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied source=open requested=process effective=process via=ioctl
	accounted_by_process "$name"
	modes_are "$name" process
done

memory=128
vm_start too-big
vm_dies too-big 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'
shim_says too-big outcome=applied effective=process
for name in "${names[@]}"; do
	vm_alive "$name" || fail "$name died with too-big"
done

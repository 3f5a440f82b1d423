# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# The shim without the capability: the kernel refuses, the shim says so and what to do, nothing else changes.
. /host/guest/lib.sh

rm -f "$helper_socket" # an earlier scenario may have left it
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

vm_start first
vm_runs first
shim_says first 'iommufd-rlimit: warning:' outcome=denied source=open requested=process effective=user errno=EPERM \
	helper=ENOENT helper_step=connect
stderr_has first 'hint="the program goes on with per-user accounting; run: systemctl enable --now iommufd-rlimit-helper.socket"'
accounted_by_user first

vm_start second
vm_dies second 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'
vm_stop first

with+=(IOMMUFD_RLIMIT_ON_ERROR=fail)
vm_start strict
vm_dies strict "'/dev/iommu': Operation not permitted"
shim_says strict outcome=denied requested=process effective=user errno=EPERM
stderr_has strict 'hint="this open fails; run: systemctl enable --now iommufd-rlimit-helper.socket"'

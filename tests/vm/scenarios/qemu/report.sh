# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# The report that started the project: two VMs of one user, each within its own limit, and the second dies. If it does
# not, this machine proves nothing.
. /host/guest/lib.sh

vm_start first
vm_runs first
accounted_by_user first

vm_start second
vm_dies second 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'

vm_stop first
vm_start second-alone
vm_runs second-alone

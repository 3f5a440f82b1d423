# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# The other modes. What the kernel has in force is asked of the kernel, not of the shim.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
memory=64

mode() { with=(env LD_PRELOAD=$shim IOMMUFD_RLIMIT_MODE="$1"); }

mode off
vm_start off
mode query
vm_start query
mode user
vm_start user

vm_runs off
shim_is_silent off
modes_are off user

vm_runs query
shim_says query outcome=queried source=open requested=query effective=user
modes_are query user
accounted_by_user query

vm_runs user
shim_says user outcome=applied source=open requested=user effective=user via=ioctl
modes_are user user
accounted_by_user user

# What another program has set before: query leaves it, user takes it back.
from_parent() { with=(/host/guest/iommufd pass 9 process -- "${with[@]}"); }

mode query
from_parent
next_device
vm_start query-after-process "${device_on_fd[@]}"

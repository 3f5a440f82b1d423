# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# The other modes. What is in force is asked of the kernel, not of the shim.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
memory=64

shim_with_mode() { with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE="$1"); }

shim_with_mode off
vm_start off
shim_with_mode query
vm_start query
shim_with_mode user
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

# Whoever opened the descriptor has set a mode: query leaves it, user takes it back.
object=iommufd,id=iommufd0,fd=9
shim_with_mode query
with=(/host/guest/iommufd pass 9 process -- "${with[@]}")
vm_start query-of-process
shim_with_mode user
with=(/host/guest/iommufd pass 9 process -- "${with[@]}")
vm_start user-after-process

vm_runs query-of-process
shim_says query-of-process outcome=queried fd=9 source=inherited requested=query effective=process
modes_are query-of-process process
accounted_by_process query-of-process

vm_runs user-after-process
shim_says user-after-process outcome=applied fd=9 source=inherited requested=user effective=user
modes_are user-after-process user
accounted_by_user user-after-process

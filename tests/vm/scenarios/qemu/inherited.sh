# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# QEMU never opens an iommufd that its parent passes on. The shim looks at it when it is loaded.
. /host/guest/lib.sh

privileges=("${sys_resource[@]}")
object=iommufd,id=iommufd0,fd=9
memory=64
limit=96
shim=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

with=(/host/guest/iommufd pass 9 -- "${shim[@]}")
vm_start first
vm_start second
for name in first second; do
	vm_runs $name
	shim_says $name 'iommufd-rlimit: info:' outcome=applied fd=9 source=inherited requested=process effective=process
	accounted_by_process $name
	modes_are $name process
done

# Once there are objects in it the kernel refuses. The descriptor is not the shim's to close: QEMU goes on as before.
with=(/host/guest/iommufd pass 9 ioas -- "${shim[@]}")
vm_start busy
vm_runs busy
shim_says busy 'iommufd-rlimit: error:' outcome=busy fd=9 source=inherited requested=process effective=user errno=EBUSY
accounted_by_user busy
modes_are busy user
vm_stop busy

# Without the capability there is nothing to be done: it may hold mappings, so the helper's cannot take its place.
helper_start
privileges=()
with=(/host/guest/iommufd pass 9 -- "${shim[@]}")
vm_start denied
vm_runs denied
shim_says denied 'iommufd-rlimit: warning:' outcome=denied fd=9 source=inherited requested=process effective=user errno=EPERM
stderr_has denied 'hint="the program goes on with per-user accounting; preload the library into the program that opened this'
[[ $(<"$vms/denied/stderr") != *helper=* ]] || fail "the helper was asked for an inherited descriptor"
accounted_by_user denied
modes_are denied user

with=("${shim[@]}")
object=iommufd,id=iommufd0
vm_start opener
vm_runs opener
shim_says opener outcome=applied source=open via=helper
accounted_by_process opener
! helper_says "pid=${pid[denied]}" || fail "the helper was asked for an inherited descriptor: $(<"$helper_log")"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# only by name
#
# The kernel rounds RLIMIT_MEMLOCK down to whole pages, for one process and for the sum of a user. The library logs the limit
# as it was set. The doctor agrees with the kernel. The machine aarch64-64k has pages of 64 KiB, as hosts with NVIDIA Grace.
. /host/guest/lib.sh

page=$(getconf PAGE_SIZE)
memory=64

# Has the VMs that start next run with this limit, in bytes.
limit_is() { # BYTES MODE
	bytes=$1
	limit=$(((bytes >> 20) + 1)) # which the prlimit of vm_start sets first
	with=(prlimit --memlock="$bytes" env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE="$2" IOMMUFD_RLIMIT_LOG_LEVEL=debug)
}

# runs_with VM: it runs, with whole pages pinned and the library's line true.
runs_with() {
	vm_runs "$1"
	[ $(($(pinned "$1") * 1024 % page)) = 0 ] || fail "$1 pins $(pinned "$1") kB, not whole pages"
	shim_says "$1" 'iommufd-rlimit: debug:' memlock="$bytes"
}

# doctor_says VM TEXT: a line that iommufd-rlimit-doctor has on the VM.
doctor_says() {
	iommufd-rlimit-doctor --pid "${pid[$1]}" >"$vms/doctor" 2>&1 || true
	[[ $(tr -s ' ' <"$vms/doctor") == *"$2"* ]] || fail "the doctor does not say '$2': $(<"$vms/doctor")"
	ok "$2"
}

helper_start
limit_is $((2 * memory << 20)) process
vm_start measured
runs_with measured
accounted_by_process measured
need=$(($(pinned measured) * 1024))
vm_stop measured

# One process: what is less than a page above the need changes nothing, and a byte below it counts as a page.
limit_is $((need + page - 1)) process
vm_start enough
runs_with enough
shim_says enough 'iommufd-rlimit: info:' outcome=applied effective=process via=helper
helper_says "iommufd-rlimit-helper: info: outcome=given pid=${pid[enough]} uid=1000 gid=1000" ||
	fail "the helper does not say whom it served: $(<"$helper_log")"
accounted_by_process enough
[ "$(locked enough)" = $((need / 1024)) ] || fail "VmLck is $(locked enough) kB, not $((need / 1024)) kB"
limit_is $((need - 1)) process
vm_start a-byte-less
vm_dies a-byte-less 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'
shim_says a-byte-less 'iommufd-rlimit: debug:' memlock=$((need - 1))

doctor_says enough "ok limit the limit of $(((need + page - 1) >> 20)) MiB covers $((need >> 20)) MiB that it pins"
prlimit --pid "${pid[enough]}" --memlock=$((need - 1))
doctor_says enough "fix: prlimit --pid ${pid[enough]} --memlock=$need"

# All processes of a user: the sum is rounded in the same way.
limit_is $((2 * need + page - 1)) user
vm_start first
runs_with first
accounted_by_user first
doctor_says first 'room for 1 more VMs'
vm_start second
runs_with second
accounted_by_user second
vm_stop second
limit_is $((2 * need - 1)) user
vm_start second-a-byte-less
vm_dies second-a-byte-less 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'

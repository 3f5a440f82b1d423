# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
# only by name
#
# What this kernel answers to requests for the mode, and what this QEMU prints where it cannot map its memory. tests/vm/range
# compares docs/range.md with these facts.
. /host/guest/lib.sh

fact() { # NAME [VALUE]...
	local IFS=$'\t'
	printf '%s\n' "$*" >>"$vms/facts"
}

# answers CALLER COMMAND...: as root, by a COMMAND that changes the capabilities.
answers() {
	local request answer
	"${@:2}" /host/guest/iommufd answers >"$vms/answers"
	while IFS=$'\t' read -r request answer; do
		fact answer "$1" "$request" "$answer"
	done <"$vms/answers"
}

answers with env
answers without setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource

# said KIND VM: without what differs from run to run, and what QEMU says because it has no KVM here.
said() {
	local line
	while read -r line; do
		fact says "$1" "$line"
	done < <(sed "/KVM VFIO device/d; s/^[^ ]*: -device [^ ]*: //; s/$device/0000:01:00.0/; s/0x[0-9a-f]*/.../g" "$vms/$2/stderr")
}

vm_start first
vm_runs first
vm_start second
vm_dies second '-12 (Cannot allocate memory)'
said 'second VM of a user' second
vm_stop first

privileges=("${sys_resource[@]}")
with=(/host/guest/iommufd pass 9 process --)
object=iommufd,id=iommufd0,fd=9
memory=512
vm_start too-big
vm_dies too-big '-12 (Cannot allocate memory)'
said 'VM over its own limit' too-big

memory=256
vm_start shared -object "memory-backend-memfd,id=ram0,size=256M,share=on" -machine memory-backend=ram0 \
	-object "$object" -device "vfio-pci,host=$device,iommufd=iommufd0,rombar=0"
vm_settles shared
if vm_alive shared; then
	fact says 'VM with shared memory' 'nothing, and runs'
else
	said 'VM with shared memory' shared
fi
cat "$vms/facts"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/systemd.bash
#
# What scripts/demo shows, the way it is used in production: QEMU without a capability, and a helper that systemd starts.
# First the failure, then eight VMs, then one that exceeds its own limit. A scenario like any other: it fails where a VM does
# not do what is shown.
. /host/guest/systemd.bash
any_user_may

group=kvm
memory=64
limit=100 # enough for one VM, not for two
vms_up=(vm1 vm2 vm3 vm4 vm5 vm6 vm7 vm8)
table=("$(printf '%-10s %-8s %8s %8s %10s  %s' VM mode memory limit VmLck result)")

# For the person who watches: tests/vm/run --show prints the file as it grows.
show() { printf '%s\n' "$@" >>/host/out/show; }

show_command() { # COMMAND...
	show "" "# $*"
	"$@" 2>&1 | tee -a /host/out/show
}

# The lines of the library, and the one that says why QEMU ends. QEMU has others, about these emulated devices.
show_stderr() { # VM
	local line
	while IFS= read -r line; do
		[[ $line != 'iommufd-rlimit: '* && $line != *'= -12 ('* ]] || show "$1: $line"
	done <"$vms/$1/stderr"
}

# systemd starts the helper for the first connection. On a busy host that emulates the machine, this takes longer than the
# two seconds for which the library waits.
helper_gives() {
	setpriv --reuid="$user" --regid="$group" --clear-groups "${with[@]}" bash -c ': <>/dev/iommu' 2>&1 | grep -q via=helper
}

add_row() { # VM MODE VMLCK RESULT
	local row
	printf -v row '%-10s %-8s %8s %8s %10s  %s' "$1" "$2" "$memory MiB" "$limit MiB" "$3" "$4"
	table+=("$row")
}

runs() { # VM MODE
	vm_runs "$1"
	show_stderr "$1"
	"accounted_by_$2" "$1"
	modes_are "$1" "$2"
	add_row "$1" "$2" "$(locked "$1") kB" up
}

dies() { # VM MODE
	vm_dies "$1" 'vfio_container_dma_map(' '-12 (Cannot allocate memory)'
	show_stderr "$1"
	add_row "$1" "$2" - '-12 (Cannot allocate memory)'
}

[ "$(id -u vm)" = "$user" ] || fail "user vm has not the number $user"

show "" "1. QEMU as it is. Two VMs of the user vm, without a capability, each within its own limit of $limit MiB." ""
vm_start without1
runs without1 user
vm_start without2
dies without2 user
vm_stop without1

show "" "2. The same VMs with the library. The helper sets the mode."
show_command systemctl enable --now iommufd-rlimit-helper.socket
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
show "" "\$ ${with[*]} $(basename "$qemu") ..." ""
wait_for helper_gives || fail "the helper gives nothing: $(systemctl status iommufd-rlimit-helper.service)"
for name in "${vms_up[@]}"; do
	vm_start "$name"
done
for name in "${vms_up[@]}"; do
	runs "$name" process
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	[ "$(status_field "$name" CapEff)" = 0000000000000000 ] || fail "$name has capabilities"
done

memory=128
show "" "3. A VM that needs $memory MiB, with the same limit of $limit MiB." ""
vm_start too-big
dies too-big process
for name in "${vms_up[@]}"; do
	vm_alive "$name" || fail "$name died with too-big"
done

show "" "All VMs. VmLck is the memory that the kernel holds against the limit of the process." "" "${table[@]}"

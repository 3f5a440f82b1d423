# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# VMs come, go and are killed, one that stays gets a device and loses it, and the helper ends now and then: for two minutes, or
# as long as tests/vm/run --soak says. At the end systemd, the helper, the VM that stays, and the kernel have no more than
# after the first cycles.
. /host/scenarios/libvirt/clients.bash

minutes=${soak:-2}
warm_up=3 # cycles, with both ends of the helper
opens=50  # of a cycle, beside those of the VMs

show() { printf '%s\n' "$@" | tee -a /host/out/show; }

clients_reset
memory=4
limit=6 # enough for one VM, not for two
group=kvm
library=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
# A device behind a port takes an emulated machine long to reset.
devices=("${devices[@]:0:8}")

# The kernel charges what the VMs take to a memory cgroup of their own.
mkdir -p /sys/fs/cgroup/soak
echo $$ >/sys/fs/cgroup/soak/cgroup.procs

### What there is

# A new helper may take a busy machine longer to start than the library waits.
helper_gives() { "${as_qemu[@]}" "${library[@]}" bash -c ': <>/dev/iommu' 2>&1 | grep -q via=helper; }

count() { echo $#; }
anonymous() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; } # PID

# kB that the kernel has charged to a cgroup and cannot take back by itself.
charged() { echo $(($(sed -n "s/^slab_unreclaimable //p" "/sys/fs/cgroup/$1/memory.stat") / 1024)); } # CGROUP

# Prints what there is: a line for each measure, with how much it may grow, for a cache of an allocator or the kernel.
measure() {
	local helper acquired released
	helper=$(service MainPID)
	echo >/proc/sys/vm/stat_refresh # the counters of each processor are added up
	read -r acquired released < <(sed -n 's/^nr_foll_pin_[a-z]* //p' /proc/vmstat | xargs)
	cat <<-END
		0	systemd: file descriptors	$(count /proc/1/fd/*)
		512	systemd: memory, kB	$(anonymous 1)
		0	helper: file descriptors	$(count "/proc/$helper/fd/"*)
		64	helper: memory, kB	$(anonymous "$helper")
		64	helper: memory of the kernel, kB	$(charged "$(service ControlGroup)")
		0	the VM that stays: file descriptors	$(count "/proc/${pid[long]}/fd/"*)
		1024	the VM that stays: memory, kB	$(anonymous "${pid[long]}")
		0	the VM that stays: VmLck, kB	$(locked long)
		0	the VM that stays: VmPin, kB	$(pinned long)
		64	all VMs: memory of the kernel, kB	$(charged soak)
		16	kernel: open files	$(cut -f 1 /proc/sys/fs/file-nr)
		0	kernel: pages that are pinned	$((acquired - released))
		0	kernel: page tables of the IOMMU, kB	$(sed -n 's/^SecPageTables:[^0-9]*\([0-9]*\).*/\1/p' /proc/meminfo)
		256	kernel: objects of kmalloc that are charged, kB	$(awk '/^kmalloc-cg/ { sum += $2 * $4 } END { print int(sum / 1024) }' /proc/slabinfo)
		2048	kernel: slab, kB	$(sed -n 's/^SUnreclaim:[^0-9]*\([0-9]*\).*/\1/p' /proc/meminfo)
	END
}

# Sets $left to what is larger than it may be. Files, memory and page tables are given back a little after the process has ended.
nothing_left() {
	measure >"$vms/after"
	left=$(paste "$vms/before" "$vms/after" |
		awk -F '\t' '$3 !~ /^[0-9]+$/ || $6 !~ /^[0-9]+$/ || $6 > $3 + $1 { printf "%s%s: %s, then %s", separator, $2, $3, $6; separator = "; " }')
	[ -z "$left" ]
}

### What happens

started=0 cycles=0 age=0

come() { # VM
	next_device
	device_of[$1]=$device
	vm_start "$1" -object "$object" -device "vfio-pci,host=$device,iommufd=iommufd0,rombar=0"
	started=$((started + 1))
}
declare -A device_of

came() { # VM
	vm_settles "$1"
	vm_alive "$1" || fail "$1 died"
	pins_its_memory "$1"
}

is_gone() { # VM
	wait "${pid[$1]}" 2>/dev/null || true
	rm -r "${vms:?}/$1"
	devices+=("/sys/bus/pci/drivers/vfio-pci/${device_of[$1]}")
}

plugged() { [ "$(shim_lines long outcome=applied effective=process via=helper)" = "$cycles" ]; }
unplugged() { [ "$(events long DEVICE_DELETED)" = "$cycles" ]; }

end_helper() {
	case $cycles in
	1 | *[02468]0) echo 1 >"/sys/fs/cgroup$(service ControlGroup)/cgroup.kill" ;;
	2 | *[13579]0) systemctl restart iommufd-rlimit-helper.service ;;
	*) return 0 ;;
	esac
	age=0
	wait_for helper_gives || fail "the helper does not come back"
}

cycle() {
	local name
	cycles=$((cycles + 1)) age=$((age + 1))
	with=("${library[@]}")
	for name in quits ends killed early; do come $name; done
	with=()
	# Without the library: what is left of it with the user would leave the next one no room.
	come plain
	read -rt "$((RANDOM % 3)).$RANDOM" -u "$nothing" || true
	kill -KILL "${pid[early]}"
	is_gone early

	qmp long device_add "{\"driver\": \"vfio-pci\", \"id\": \"device0\", \"bus\": \"port0\", \"host\": \"$long_device\",
		\"iommufd\": \"iommufd0\", \"rombar\": 0}"
	plugged || fail "the VM that stays was not given an iommufd for each of $cycles devices"
	for name in quits ends killed plain; do came $name; done
	for name in quits ends killed long; do
		[ "$(locked $name)" = "$(pinned $name)" ] || fail "$name is not accounted for itself: VmLck $(locked $name) kB"
	done
	end_helper
	"${as_qemu[@]}" "${library[@]}" $here/opener.py row $opens >"$vms/times" 2>"$vms/opens"
	[ "$(grep -c 'outcome=applied .* via=helper' "$vms/opens")" = $opens ] || fail "not all opens got the mode: $(cat "$vms/opens")"

	qmp_send quits quit
	kill "${pid[ends]}"
	kill -KILL "${pid[killed]}" "${pid[plain]}"
	for name in quits ends killed plain; do is_gone $name; done
	qmp long device_del '{"id": "device0"}'
	wait_for unplugged || fail "the device stays"
}

next_device
long_device=$device
with=("${library[@]}")
# A root port that was empty at start has its power off, so that a device leaves it without the guest's consent.
vm_start long -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off -device pcie-root-port,id=port0 \
	-object iommufd,id=iommufd0
wait_for vm_ready long || fail "the VM that stays does not start"
wait_for helper_gives || fail "the helper gives no iommufd"

SECONDS=0
until [ "$cycles" = $warm_up ]; do cycle; done
measure >"$vms/before"
minute=0
# The last helper has lived long enough to have something left over.
until [ "$SECONDS" -ge $((minutes * 60)) ] && [ "$age" -ge "$warm_up" ]; do
	cycle
	[ $((SECONDS / 60)) = "$minute" ] || show "$((minute = SECONDS / 60)) of $minutes minutes: $cycles cycles"
done
wait_for nothing_left || true

show "$cycles cycles in $SECONDS s, $started VMs that came and went, $((cycles * (opens + 4))) opens through the helper"
show "$(paste "$vms/before" "$vms/after" | cut -f 2,3,6,1 | awk -F '\t' '
	BEGIN { printf "%-50s %10s %10s %12s\n", "", "before", "after", "may grow by" }
	{ printf "%-50s %10d %10d %12d\n", $2, $3, $4, $1 }')"
[ -z "$left" ] || fail "left over: $left"
kill "${pid[long]}"
wait "${pid[long]}" || true
ok "nothing is left over"

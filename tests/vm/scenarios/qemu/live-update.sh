# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
# suites: trixie forky
# machines: x86_64
#
# Save, snapshot and live update (QEMU's CPR) of a VM with a device on iommufd. What QEMU does keeps the mode and the mappings,
# and what it refuses leaves the VM as it is. QEMU 10.0 has cpr-reboot alone, and cpr-transfer without devices.
. /host/guest/lib.sh

memory=64
limit=100 # enough for one VM, not for two
shim_with_mode() { with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE="$1"); }
shim_with_mode process
files=/run/live-update
mkdir "$files"
chown vm "$files"
[[ $("$qemu" --version) == *'version 10.0.'* ]] && only_reboot=yes || only_reboot=

for path in /sys/bus/pci/devices/*; do
	[ "$(<"$path/vendor"):$(<"$path/device")" != 0x1b36:0x0005 ] || break
done
device=${path##*/} # see ../../boot
echo vfio-pci >"$path/driver_override"
echo "$device" >/sys/bus/pci/drivers_probe
chmod 666 /dev/vfio/devices/*

# A firmware that suspends the machine at once (S3): it switches the I/O ports for power management on, and writes to one.
{
	printf '\x66\xb8\x40\xf8\x00\x80\xba\xf8\x0c\x66\xef\x66\xb8\x01\x06\x00\x00\xba\xfc\x0c\x66\xef' # PMBASE: 0x600
	printf '\x66\xb8\x44\xf8\x00\x80\xba\xf8\x0c\x66\xef\x66\xb8\x80\x00\x00\x00\xba\xfc\x0c\x66\xef' # ACPI_CNTL: enable
	printf '\xba\x04\x06\xb8\x00\x24\xef\xf4\xeb\xf6'                                                 # PM1_CNT: sleep
} >"$files/firmware"
truncate --size=$((0xfff0)) "$files/firmware"
printf '\xe9\x0d\x00' >>"$files/firmware" # the processor starts here, 16 bytes before the end
truncate --size=64K "$files/firmware"

vm=(-object "memory-backend-memfd,id=ram0,size=64M,share=on" -machine "memory-backend=ram0,aux-ram-share=on" -bios "$files/firmware"
	-object "$object" -device "vfio-pci,host=$device,iommufd=iommufd0,rombar=0")

answer() { grep "\"id\": ${request[$1]}[,}]" "$vms/$1/qmp.out"; } # VM

goes_on() { # VM
	accounted_by_process "$1"
	modes_are "$1" process
}

# refused VM TEXT COMMAND [ARGUMENTS]: QEMU refuses in these words, and the VM goes on.
refused() {
	qmp_send "$1" "${@:3}"
	wait_for qmp_answered "$1" || fail "$1 does not answer $3"
	[[ $(answer "$1") == *"$2"* ]] || fail "$1 does not refuse $3 with '$2': $(answer "$1")"
	ok "$1: $3: $2"
	goes_on "$1"
}

ends_as() { # VM STATUS
	qmp "$1" query-migrate
	[[ $(answer "$1") == *"\"status\": \"$2\""* ]]
}

# A QEMU answers before it has read what it gets.
ended() { ! vm_alive "$1"; }

# update VM MODE STATUS CHANNELS: begins a live update, which comes to that.
update() {
	qmp "$1" migrate-set-parameters "{\"mode\": \"$2\"}"
	qmp "$1" migrate "$4"
	wait_for ends_as "$1" "$3" || fail "the $2 of $1 does not end as '$3': $(answer "$1")"
	ok "$2 of $1: $3"
}

socket() { printf '{"transport": "socket", "type": "unix", "path": "%s"}' "$files/$1"; }
channel() { printf '{"channel-type": "%s", "addr": %s}' "$1" "$(socket "$1")"; }

transfer() { # FROM TO
	rm -f "$files"/{main,cpr}
	vm_start "$2" "${vm[@]}" -incoming "unix:$files/main" -incoming "$(channel cpr)"
	wait_for test -S "$files/cpr" || fail "$2 does not listen"
}

helper_start
vm_start first "${vm[@]}"
if [ ! "$only_reboot" ] && [[ $(uname -r) == 6.12.* ]]; then
	vm_dies first '-25 (Inappropriate ioctl for device)' # docs/range.md: shared memory
	exit
fi
vm_runs first
goes_on first
refused first 'migration is not supported in kernel' migrate "{\"uri\": \"file:$files/state\"}"
refused first 'migration is not supported in kernel' human-monitor-command '{"command-line": "savevm one"}'

### cpr-reboot: a new QEMU opens the device again. Here it does so before the old one has ended.

update first cpr-reboot failed "{\"uri\": \"file:$files/state\"}"
[[ $(answer first) == *'VFIO device only supports cpr-reboot for runstate suspended'* ]] || fail "first says: $(answer first)"
goes_on first

suspended() { [ "$(events first SUSPEND)" = 1 ]; }
qmp first cont
wait_for suspended || fail "first is not suspended"
update first cpr-reboot completed "{\"uri\": \"file:$files/state\"}"
goes_on first
vm_stop first
vm_start second "${vm[@]}" -incoming defer
vm_runs second
qmp second migrate-set-parameters '{"mode": "cpr-reboot"}'
qmp second migrate-incoming "{\"uri\": \"file:$files/state\"}"
wait_for ends_as second completed || fail "second does not come up: $(answer second)"
shim_says second outcome=applied source=open requested=process effective=process via=helper
goes_on second

### cpr-transfer: the new QEMU gets the iommufd over a socket, and the library does not see it.

if [ "$only_reboot" ]; then
	transfer second third
	qmp second migrate-set-parameters '{"mode": "cpr-transfer"}'
	qmp second migrate "{\"channels\": [$(channel main), $(channel cpr)]}"
	vm_dies third 'error bind device'
	goes_on second
	refused second "Parameter 'mode' does not accept value 'cpr-exec'" migrate-set-parameters '{"mode": "cpr-exec"}'
	exit
fi

transfer second third
update second cpr-transfer completed "{\"channels\": [$(channel main), $(channel cpr)]}"
vm_runs third
shim_is_silent third
goes_on third
iommufd-rlimit-doctor --pid "${pid[third]}" >"$vms/doctor" || true # it misses the helper's unit
grep -qE '^ok +process .* has mode process' "$vms/doctor" || fail "the doctor does not say the mode: $(<"$vms/doctor")"
[ "$(locked second) $(pinned second)" = '0 0' ] || fail "second still has $(locked second) kB locked, $(pinned second) kB pinned"
vm_stop second
goes_on third
vm_stop third

# With accounting by user, the kernel counts the memory for both for a moment.
shim_with_mode user
vm_start of-user "${vm[@]}"
vm_runs of-user
transfer of-user too-big
qmp of-user migrate-set-parameters '{"mode": "cpr-transfer"}'
qmp of-user migrate "{\"channels\": [$(channel main), $(channel cpr)]}"
wait_for ended too-big || fail "too-big runs on"
vm_dies too-big "Unknown section or instance 'iommufd'"
accounted_by_user of-user
vm_stop of-user

### cpr-exec: the new QEMU inherits the iommufd.

execute() { # VM
	local command=(env LD_PRELOAD="$shim" "${with[@]: -1}" "$qemu" -M q35 -m "$memory" -nodefaults -display none -S -qmp stdio
		"${vm[@]}" -incoming "file:$files/state")
	vm_start "$1" "${vm[@]}"
	vm_runs "$1"
	qmp "$1" migrate-set-parameters "{\"mode\": \"cpr-exec\", \"cpr-exec-command\": [$(printf '"%s",' "${command[@]}" | sed 's/,$//')]}"
	qmp "$1" migrate "{\"uri\": \"file:$files/state\"}"
}
executed() { [ "$(shim_lines "$1" source=inherited comm=qemu-system-x86)" = 1 ]; } # after env, which inherits it as well

# Twice the memory, for accounting by user.
limit=200
execute by-user
wait_for executed by-user || fail "by-user does not start QEMU again"
qmp by-user qmp_capabilities
shim_says by-user outcome=already source=inherited requested=user effective=user
accounted_by_user by-user
modes_are by-user user
vm_stop by-user

# Linux 7.3 cannot take the memory from the count of a process that has executed another program: that memory map is gone.
shim_with_mode process
execute by-process
wait_for ended by-process || fail "by-process runs on"
vm_dies by-process "Unknown section or instance 'iommufd'"
shim_says by-process outcome=already source=inherited requested=process effective=process
dmesg --read-clear >"$vms/dmesg"
grep -q 'WARNING: .*iommufd_ioas_change_process' "$vms/dmesg" || fail "by-process dies of something else: $(<"$vms/dmesg")"
others=$(grep -E 'WARNING:|BUG:|Oops:|blocked for more than' "$vms/dmesg" | grep -v iommufd_ioas_change_process) || true
[ -z "$others" ] || fail "the kernel complained: $others"
ok "cpr-exec with accounting by process fails in the kernel"

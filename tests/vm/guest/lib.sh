# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash
#
# What a scenario is written with: start VMs, talk to them, say what has to be true of them.
set -eu
shopt -s nullglob

# How vm_start starts a VM; a scenario changes what it is about.
user=1000             # user id of QEMU; the guest knows 1000 as vm
group=                # its group, if not of the same number
limit=400             # its RLIMIT_MEMLOCK in MiB
memory=256            # the guest's memory in MiB
privileges=()         # options of setpriv
with=()               # the command before QEMU: env, the launcher
machine=$(uname -m)
qemu=$(command -v "qemu-system-$machine")
declare -A machine_type=([x86_64]=q35 [aarch64]=virt)
object=iommufd,id=iommufd0

# For privileges: the one capability that lets QEMU set the mode itself.
sys_resource=(--inh-caps +sys_resource --ambient-caps +sys_resource)
# For with: the library by its name alone, as installed.
shim=libiommufd-rlimit.so
export user group limit memory privileges with qemu object sys_resource shim

scenario=$1
vms=/run/vm # a directory for each, which goes into the results

ok() { printf 'ok: %s\n' "$*"; }

fail() {
	local log
	printf 'fail: %s\n' "$*"
	for log in "$vms"/*/stderr; do
		printf -- '--- %s\n' "$log"
		cat "$log"
	done
	exit 1
}

# wait_for COMMAND...: until it succeeds; false after five minutes, which no host is so busy as to need. In an emulated machine
# that has better to do, a sleep in a process of its own, and commands that start processes, would take much of the time.
exec {nothing}<><(:)
wait_for() {
	local end=$((SECONDS + 300))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		read -rt 0.2 -u "$nothing" || true
	done
}

### VMs

# Sets $device to the PCI address of one that no VM of this scenario has had.
devices=(/sys/bus/pci/drivers/vfio-pci/0000:*)
next_device() {
	device=${devices[0]##*/}
	devices=("${devices[@]:1}")
}

declare -A pid status

# $1: name   the rest: QEMU's arguments, by default for one device on iommufd
vm_start() {
	local name=$1 dir=$vms/$1
	shift
	if [ $# = 0 ]; then
		next_device
		set -- -object "$object" -device "vfio-pci,host=$device,iommufd=iommufd0,rombar=0"
	fi
	mkdir "$dir"
	touch "$dir/qmp.out" "$dir/stderr"
	mkfifo "$dir/qmp.in"
	exec {qmp}<>"$dir/qmp.in"
	prlimit --memlock=$((limit << 20)) setpriv --reuid="$user" --regid="${group:-$user}" --clear-groups "${privileges[@]}" \
		"${with[@]}" "$qemu" -M "${machine_type[$machine]}" -m "$memory" -nodefaults -display none -S -qmp stdio "$@" \
		<&"$qmp" {qmp}>&- >"$dir/qmp.out" 2>"$dir/stderr" &
	pid[$name]=$!
	exec {qmp}>&-
	qmp_send "$name" qmp_capabilities
}

vm_alive() { kill -0 "${pid[$1]}" 2>/dev/null; }
vm_ready() { qmp_answered "$1" || ! vm_alive "$1"; }
vm_settles() { wait_for vm_ready "$1" || fail "$1 neither runs nor ends"; }

# QEMU answers once all its devices are there and all memory is pinned.
vm_runs() { # VM
	vm_settles "$1"
	vm_alive "$1" || fail "$1 died"
	record "$1" runs
	ok "$1 runs"
}

vm_dies() { # VM TEXT-IN-STDERR...
	local text
	vm_settles "$1"
	vm_alive "$1" && fail "$1 runs"
	status[$1]=0
	wait "${pid[$1]}" || status[$1]=$?
	[ "${status[$1]}" != 0 ] || fail "$1 ended with status 0"
	for text in "${@:2}"; do
		stderr_has "$1" "$text"
	done
	record "$1" "dies: $text"
	ok "$1 dies: $text"
}

vm_stop() {
	kill "${pid[$1]}"
	wait "${pid[$1]}" || true
}

# Memory in kB: locked is what the limit of the process counts, pinned what the devices may reach.
status_field() {
	local field value _
	while read -r field value _; do
		if [ "$field" = "$2:" ]; then
			echo "$value"
		fi
	done 2>/dev/null <"/proc/${pid[$1]}/status" || true
}
locked() { status_field "$1" VmLck; }
pinned() { status_field "$1" VmPin; }

# For people: what each VM came to, in a table.
record() { # VM STATE
	printf '%s\t%s\t%d\t%d\t%s\t%s\t%s\n' "$scenario" "$1" "$memory" "$limit" "$(locked "$1")" "$(pinned "$1")" "$2" \
		>>/host/out/vms.tsv
}

# A device may reach all memory of its guest and the firmware, a few hundred kB.
pins_its_memory() {
	local kb
	kb=$(pinned "$1")
	if [ "$kb" -lt $((memory * 1024)) ] || [ "$kb" -gt $((memory * 1024 + 4096)) ]; then
		fail "$1 with $memory MiB of memory pins $kb kB"
	fi
}

counts_all() { # VM
	pins_its_memory "$1"
	[ "$(locked "$1")" = "$(pinned "$1")" ] || fail "$1: VmLck $(locked "$1") kB, VmPin $(pinned "$1") kB"
}

counts_nothing() { # VM
	pins_its_memory "$1"
	[ "$(locked "$1")" = 0 ] || fail "$1: VmLck $(locked "$1") kB, VmPin $(pinned "$1") kB"
}

quietly() { ("$@") >/dev/null 2>&1; }

# The firmware of a guest that runs has QEMU unmap memory and map it again, so one moment may have other figures.
accounted() { # VM CHECK FOR
	wait_for quietly "$2" "$1" || "$2" "$1"
	ok "$1: $(pinned "$1") kB, counted for $3"
}
accounted_by_process() { accounted "$1" counts_all itself; }
accounted_by_user() { accounted "$1" counts_nothing "its user"; }

# What the kernel itself says of each iommufd that the VM has open.
modes_are() { # VM MODE
	local modes
	modes=$(/host/guest/iommufd modes "${pid[$1]}" | sort -u)
	[ "$modes" = "$2" ] || fail "$1 has iommufds in mode '$modes', not $2"
	ok "$1: mode $2 in the kernel"
}

### The helper, without systemd

helper_socket=/run/iommufd-rlimit/helper.sock
helper_log=$vms/helper.log
helper_says() { [[ $(<"$helper_log") == *"$1"* ]]; }

# As little as a service manager would let it have: nobody, the group of the device, the one capability.
helper_start() {
	mkdir -p "${helper_socket%/*}"
	rm -f "$helper_socket"
	: >"$helper_log" # before anybody looks into it
	nice -n -10 /host/guest/listen "$helper_socket" vm setpriv --reuid=65534 --regid=1000 --clear-groups \
		--inh-caps=-all,+sys_resource --ambient-caps=-all,+sys_resource --bounding-set=-all,+sys_resource --no-new-privs \
		/usr/libexec/iommufd-rlimit-helper 2>"$helper_log" &
	helper=$!
	wait_for test -S "$helper_socket" || fail "nothing listens for the helper: $(<"$helper_log")"
}

helper_kill() {
	kill -KILL "$helper"
	wait "$helper" || true
}

### What was said

stderr_has() { # VM TEXT
	[[ $(<"$vms/$1/stderr") == *"$2"* ]] || fail "$1 does not say: $2"
}

# The number of the shim's lines that have all the words.
shim_lines() { # VM WORD...
	local word count=0 line
	while IFS= read -r line; do
		[[ $line == 'iommufd-rlimit: '* ]] || continue
		for word in "${@:2}"; do
			[[ " $line " == *" $word "* ]] || continue 2
		done
		count=$((count + 1))
	done <"$vms/$1/stderr"
	echo "$count"
}

shim_says() { # VM WORD...
	[ "$(shim_lines "$@")" -gt 0 ] || fail "no line of the shim in $1 with: ${*:2}"
	ok "$1: ${*:2}"
}

shim_is_silent() { # VM
	[ "$(shim_lines "$1")" = 0 ] || fail "the shim speaks in $1"
	ok "$1: nothing from the shim"
}

### QMP. The requests to a VM are numbered, to find the answers by.

declare -A request

qmp_send() { # VM COMMAND [ARGUMENTS]
	request[$1]=$((${request[$1]-0} + 1))
	# Opened for reading too, so that it never blocks.
	printf '{"execute": "%s", "arguments": %s, "id": %d}\n' "$2" "${3-{\}}" "${request[$1]}" 1<>"$vms/$1/qmp.in"
}

qmp_answered() { [[ $(<"$vms/$1/qmp.out") == *"\"id\": ${request[$1]}"[,\}]* ]]; }
qmp_refused() { [[ $(<"$vms/$1/qmp.out") == *"{\"id\": ${request[$1]}, \"error\""* ]]; }

qmp() { # VM COMMAND [ARGUMENTS]
	qmp_send "$@"
	wait_for qmp_answered "$1" || fail "$1 does not answer $2"
	! qmp_refused "$1" || fail "$1 refuses $2: $(tail -n 1 "$vms/$1/qmp.out")"
}

events() { # VM EVENT
	local count=0 line
	while IFS= read -r line; do
		[[ $line != *"\"event\": \"$2\""* ]] || count=$((count + 1))
	done <"$vms/$1/qmp.out"
	echo "$count"
}

### The documentation

# documented NAME [SED-SCRIPT]: runs the commands of an example of README.md or of a manual page, as they are there. They
# print what the example shows, in this order.
documented() {
	local commands said rest line part pages=(/host/README.md /usr/share/man/man?/*iommufd-rlimit*)
	commands=$(/host/guest/documented commands "$1" "${pages[@]}" | sed "${2-}")
	[ -n "$commands" ] || fail "no example '$1' in ${pages[*]}"
	said=$(bash -ex <<<"$commands" 2>&1) || fail "an example of the documentation fails: $1: $said"
	printf '%s\n' "$said"
	rest=$said
	while read -r line; do
		while [ -n "$line" ]; do
			part=${line%%...*}
			[[ $rest == *"$part"* ]] || fail "example '$1' does not say: $part"
			rest=${rest#*"$part"}
			line=${line#"$part"}
			line=${line#...}
		done
	done < <(/host/guest/documented output "$1" "${pages[@]}" | sed "${2-}")
	ok "as documented: $1"
}

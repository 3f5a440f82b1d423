# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Programs in the place of QEMU: good ones, which open the device with the library preloaded, and hostile ones.
. /host/scenarios/libvirt/lib.bash

here=/host/scenarios/libvirt
as_qemu=(setpriv --reuid=1000 --regid=kvm --clear-groups)
good=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process "$here/opener.py")

# As the manual sets it up, without libvirt.
clients_reset() {
	host_reset
	chmod 666 /dev/vfio/devices/*
	chown root:kvm /dev/iommu
	chmod 660 /dev/iommu
	systemctl enable --now --quiet iommufd-rlimit-helper.socket
	ulimit -n 16384 # of the peers: a QEMU of libvirt may have as many
}

largest() { sort -n "$1" | tail -n 1; }
median() { sed -n "$2,$3p" "$1" | sort -n | sed -n "$((($3 - $2) / 2 + 1))p"; } # FILE FIRST LAST

# got_the_mode NAME COUNT [OTHERS [LATE]]: of COUNT good clients all did, but for OTHERS, and for those that a busy machine did
# not serve within the two seconds for which the library waits. These did wait, and are at most LATE, or half of COUNT.
got_the_mode() {
	local served late waited
	served=$(shim_lines "$1" outcome=applied via=helper)
	late=$(shim_lines "$1" outcome=denied helper=ETIMEDOUT)
	waited=$(awk '$1 >= 2000000' "$vms/$1/times" | wc -l)
	[ "$late" -le "$waited" ] || fail "$1: $late opens were late, and $waited took two seconds"
	if [ $((served + late + ${3-0})) != "$2" ] || [ "$late" -gt $((${4-$2 / 2 + 1})) ]; then
		fail "$1: of $2 opens $served got the mode, and $late were late"
	fi
	ok "$1: $2 opens, $late of them late, the median $(median "$vms/$1/times" 1 "$2") us, the slowest $(largest "$vms/$1/times") us"
}

# takes_no_longer WHAT FIRST LAST: the microseconds of the first ones and of the last. The host may become busier meanwhile.
takes_no_longer() {
	ok "the first $1 took $2 us, the last $3 us"
	[ "$3" -le $((3 * $2)) ] || fail "the first $1 took $2 us, the last $3 us"
}

# As many good clients: opens NAME HOW COUNT [LATE], HOW as opener.py says it.
opens() {
	mkdir "$vms/$1"
	"${as_qemu[@]}" "${good[@]}" "$2" "$3" >"$vms/$1/times" 2>"$vms/$1/stderr" || fail "$1: an opener failed"
	got_the_mode "$1" "$3" 0 "${@:4}"
}

# As many that wait as long as it takes.
patient_are_served() { # COUNT
	"${as_qemu[@]}" "$here/hostile.py" waiting "$1" >"$vms/patient"
	grep -qx "given=$1" "$vms/patient" || fail "$1 clients: $(cat "$vms/patient")"
	ok "each of $1 connections is served"
}

### 64 QEMUs, which get the mode as well

is_up() { # VM
	until wait_for vm_ready "$1"; do :; done # 64 on a busy host may take more than five minutes
	vm_alive "$1" || fail "$1 died"
	shim_says "$1" outcome=applied via=helper
	accounted_by_process "$1"
}

# The microseconds from a moment until it answered, which is the last that it wrote.
took() { # VM MOMENT
	local answered
	answered=$(stat --format=%.6Y "$vms/$1/qmp.out")
	echo $((${answered/./} - $2))
}

all_end() { # VM...
	local name
	for name; do kill "${pid[$name]}"; done
	for name; do wait "${pid[$name]}" || true; done
}

qemus_of_4_mib() {
	memory=4
	limit=6 # enough for one VM, not for two
	group=kvm
	with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
	mkdir "$vms/qemus"
}

### Good clients and systemd, while something else goes on

deadline=120 # seconds

# How long systemd takes to answer, in milliseconds, until the file is gone.
ask_systemd() { # FILE
	local start
	while [ -e "$1" ]; do
		start=${EPOCHREALTIME/./}
		timeout $deadline systemctl show --property=Version >/dev/null || echo $((deadline * 1000))
		echo $(((${EPOCHREALTIME/./} - start) / 1000))
		read -rt 0.3 -u "$nothing" || true
	done >"$1.times"
}

begin() { # NAME
	now=$1
	mkdir -p "$vms/$now"
	touch "$vms/$now/systemd"
	ask_systemd "$vms/$now/systemd" &
	asker=$!
	"${as_qemu[@]}" "${good[@]}" steady >"$vms/$now/times" 2>"$vms/$now/stderr" &
	opener=$!
}

# Goes on for SECONDS and says how it went.
end() { # SECONDS
	local opens
	wait_for test -s "$vms/$now/times" || fail "$now: no open came to an end"
	read -rt "$1" -u "$nothing" || true
	kill "$opener"
	wait "$opener" || fail "$now: the good client failed"
	opens=$(wc -l <"$vms/$now/times")
	got_the_mode "$now" "$opens"
	[ "$(shim_lines "$now")" = "$opens" ] || fail "$now: the library has more than a line for each of $opens opens"
	rm "$vms/$now/systemd"
	wait "$asker"
	systemd_answered "$now"
}

systemd_answered() { # NAME
	local slowest
	slowest=$(largest "$vms/$1/systemd.times")
	[ "$slowest" -lt $((deadline * 1000)) ] || fail "$1: systemd did not answer within $deadline s"
	ok "$1: systemd answers in $slowest ms"
}

# A peer that stays. Sets $peer.
peer() { # ARGUMENT...
	: >"$vms/peer" # before anybody looks into it
	"${as_qemu[@]}" "$here/hostile.py" "$@" >"$vms/peer" 2>&1 &
	peer=$!
}
peer_is_done() { [[ $(<"$vms/peer") == *done* ]]; }
peer_done() { wait_for peer_is_done || fail "a hostile peer neither works nor ends: $(cat "$vms/peer")"; cat "$vms/peer"; }
peer_end() {
	kill -KILL "$peer"
	wait "$peer" 2>/dev/null || true
}

journal() { journalctl --quiet --output=cat --identifier=iommufd-rlimit-helper; }
ignored() { journal | grep -c 'outcome=ignored' || true; }

# How many descriptors a peer could queue: all, or where systemd forbids it from the start, none.
all_or_forbidden() { # QUEUED COUNT
	[ "$1" = "$2" ] || [ "$1 $(systemctl show --property=AcceptFileDescriptors --value iommufd-rlimit-helper.socket)" = "0 no" ] ||
		fail "$1 of $2 descriptors could be queued"
}

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
	chown root:kvm /dev/iommu
	chmod 660 /dev/iommu
	systemctl enable --now --quiet iommufd-rlimit-helper.socket
	ulimit -n 16384 # of the peers: a QEMU of libvirt may have as many
}

### Good clients and systemd, while something else goes on

# How long systemd takes to answer, in milliseconds, until the file is gone.
ask_systemd() { # FILE
	local start
	while [ -e "$1" ]; do
		start=${EPOCHREALTIME/./}
		timeout 120 systemctl show --property=Version >/dev/null || echo 120000
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

largest() { sort -n "$1" | tail -n 1; }

# As each open took at most a second, more than SECONDS of them ended.
end() { # SECONDS
	local opens
	read -rt "$1" -u "$nothing" || true
	kill "$opener"
	wait "$opener" || fail "$now: the good client failed"
	rm "$vms/$now/systemd"
	wait "$asker"
	opens=$(wc -l <"$vms/$now/times")
	[ "$(shim_lines "$now" outcome=applied via=helper)" = "$opens" ] || fail "$now: not all $opens opens were applied"
	[ "$(shim_lines "$now")" = "$opens" ] || fail "$now: the library says more than $opens times 'applied'"
	ok "$now: $opens opens, the slowest in $(largest "$vms/$now/times") ms; systemd answered in $(largest "$vms/$now/systemd.times") ms"
	[ "$opens" -ge "$1" ] || fail "$now: $opens opens in $1 s"
	[ "$(largest "$vms/$now/times")" -le 1000 ] || fail "$now: an open took longer than a second"
	[ "$(largest "$vms/$now/systemd.times")" -le 5000 ] || fail "$now: systemd did not answer for five seconds"
}

# A peer that stays. Sets $peer.
peer() { # ARGUMENT...
	"${as_qemu[@]}" "$here/hostile.py" "$@" >"$vms/peer" 2>&1 &
	peer=$!
}
peer_is_done() { [[ $(<"$vms/peer") == *done* ]]; }
peer_done() { wait_for peer_is_done || fail "a hostile peer neither works nor ends: $(cat "$vms/peer")"; cat "$vms/peer"; }
peer_end() {
	kill -KILL "$peer"
	wait "$peer" || true
}

journal() { journalctl --quiet --output=cat --identifier=iommufd-rlimit-helper; }
ignored() { journal | grep -c 'outcome=ignored' || true; }

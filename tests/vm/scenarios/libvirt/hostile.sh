# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Peers that may connect to the helper and mean harm. Whatever they do, who opens the device meanwhile gets the mode in a
# second, and systemd answers.
. /host/scenarios/libvirt/lib.bash

here=/host/scenarios/libvirt
as_qemu=(setpriv --reuid=1000 --regid=kvm --clear-groups)
good=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process "$here/opener.py")

host_reset
chown root:kvm /dev/iommu
chmod 660 /dev/iommu
systemctl enable --now --quiet iommufd-rlimit-helper.socket
ulimit -n 16384 # of the peers: a QEMU of libvirt may have as many

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

begin calm
end 5

# The service starts for the first connection, so all have queued their socket by then.
for how in linger linger-oob; do
	systemctl stop iommufd-rlimit-helper.service
	before=$(ignored)
	peer $how 64
	peer_done
	begin $how
	end 8
	[ $(($(ignored) - before)) = 64 ] || fail "$(($(ignored) - before)) of 64 connections with something queued were noticed"
	peer_end
done

# With a helper that runs. Most come too late then, and some do not.
begin race
peer linger 200
peer_done
end 5
peer_end

begin unreceived
peer unreceived 10000
peer_done
end 5
memory=$(<"/sys/fs/cgroup$(service ControlGroup)/memory.current")
ok "10,000 iommufds that nobody receives cost the helper $((memory >> 20)) MiB"
peer_end

begin closed
"${as_qemu[@]}" "$here/hostile.py" closed 50
"${as_qemu[@]}" "$here/hostile.py" megabyte 20
end 3

### The helper dies

# 64 wait for it, frozen: not one of them is lost.
systemctl start iommufd-rlimit-helper.service
kill -STOP "$(service MainPID)"
peer waiting 64
peer_done
kill -KILL "$(service MainPID)"
wait "$peer"
grep -qx 'given=64' "$vms/peer" || fail "64 clients of a killed helper: $(cat "$vms/peer")"
ok "a helper that is killed while 64 wait loses none"

# In the midst of 64 others: the one that it was just serving at most.
mkdir "$vms/killed"
touch "$vms/killed/times"
"${as_qemu[@]}" "${good[@]}" crowd 64 >"$vms/killed/times" 2>"$vms/killed/stderr" &
opener=$!
helper_kills=/sys/fs/cgroup$(service ControlGroup)/cgroup.kill
until [ -s "$vms/killed/times" ]; do :; done
echo 1 >"$helper_kills"
wait "$opener"
served=$(shim_lines killed outcome=applied via=helper)
refused=$(shim_lines killed outcome=denied helper=ECONNRESET helper_step=receive)
if [ $((served + refused)) != 64 ] || [ "$refused" -gt 1 ]; then
	fail "$served were served, $refused were refused"
fi
ok "a helper that is killed while it serves 64 loses $refused, the slowest took $(largest "$vms/killed/times") ms"

mkdir "$vms/again"
for ((i = 1; i <= 100; i++)); do
	"${as_qemu[@]}" "$here/hostile.py" waiting 1 >"$vms/peer"
	grep -qx given=1 "$vms/peer" || fail "after $i helpers that were killed: $(cat "$vms/peer")"
	echo 1 >"/sys/fs/cgroup$(service ControlGroup)/cgroup.kill"
done
ok "a helper that was killed 100 times in a row is started again"

### What it needs goes

systemctl stop iommufd-rlimit-helper.service
mv /dev/iommu /dev/iommu.away
"${as_qemu[@]}" "$here/hostile.py" waiting 1 >"$vms/peer"
grep -qx "error 2=1" "$vms/peer" || fail "without the device: $(cat "$vms/peer")"
mv /dev/iommu.away /dev/iommu
begin device-is-back
end 1
ok "a device that is back is found"

# The socket is stopped while good ones and bad ones wait.
kill -STOP "$(service MainPID)"
peer linger 64
peer_done
lingering=$peer
"${as_qemu[@]}" "$here/hostile.py" waiting 64 >"$vms/waiting" 2>&1 &
waiting=$!
mkdir "$vms/stopped"
touch "$vms/stopped/systemd"
ask_systemd "$vms/stopped/systemd" &
asker=$!
start=$EPOCHSECONDS
systemctl stop iommufd-rlimit-helper.socket
ok "stopped after $((EPOCHSECONDS - start)) s"
wait "$waiting"
cat "$vms/waiting"
rm "$vms/stopped/systemd"
wait "$asker"
ok "systemd answered in $(largest "$vms/stopped/systemd.times") ms"
systemctl start iommufd-rlimit-helper.socket
peer=$lingering
peer_end
begin after-stop
end 2

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# The helper is killed, has no device, or loses its socket: who waits for it, and who comes later.
. /host/scenarios/libvirt/clients.bash

clients_reset
helper_runs
cgroup=/sys/fs/cgroup$(service ControlGroup)
helper_kill() { echo 1 >"$cgroup/cgroup.kill"; }

# 64 wait for it, frozen: not one of them is lost.
kill -STOP "$(service MainPID)"
peer waiting 64
peer_done
helper_kill
wait "$peer"
grep -qx 'given=64' "$vms/peer" || fail "64 clients of a killed helper: $(cat "$vms/peer")"
ok "a helper that is killed while 64 wait loses none"

# In the midst of 64 others: the one that it was just serving at most.
mkdir "$vms/killed"
touch "$vms/killed/times"
"${as_qemu[@]}" "${good[@]}" crowd 64 >"$vms/killed/times" 2>"$vms/killed/stderr" &
opener=$!
until [ -s "$vms/killed/times" ]; do :; done
helper_kill
wait "$opener"
refused=$(shim_lines killed outcome=denied helper=ECONNRESET helper_step=receive)
[ "$refused" -le 1 ] || fail "$refused were refused"
got_the_mode killed 64 "$refused" 63 # a busy machine serves few of them in two seconds, while the helper starts again
ok "a helper that is killed while it serves 64 loses $refused"

# However often it ends, it is started again. Emulated, it cannot end often enough for the limits of the socket.
for ((i = 1; i <= 20; i++)); do
	patient_are_served 1
	helper_kill
done
ok "a helper that was killed 20 times in a row is started again"
limit_of() { systemctl show --property="$2LimitIntervalUSec" --value "iommufd-rlimit-helper.$1"; }
for limit in service:Start=0 socket:Trigger=0 socket:Poll=200ms; do
	kind=${limit#*:} kind=${kind%=*}
	[ "$(limit_of "${limit%%:*}" "$kind")" = "${limit#*=}" ] ||
		fail "the ${kind}LimitIntervalUSec of the ${limit%%:*} is $(limit_of "${limit%%:*}" "$kind")"
done

# The device goes, and comes back.
systemctl stop iommufd-rlimit-helper.service
mv /dev/iommu /dev/iommu.away
"${as_qemu[@]}" "$here/hostile.py" waiting 1 >"$vms/peer"
grep -qx "error 2=1" "$vms/peer" || fail "without the device: $(cat "$vms/peer")"
mv /dev/iommu.away /dev/iommu
patient_are_served 1
begin device-is-back
end 1
ok "a device that is back is found"

# The socket is stopped while good ones and bad ones wait for a helper that accepts none, and forbids no descriptors either, as
# none can before Linux 6.16. systemd is not to be the one that closes what is queued.
stuck=/run/systemd/system/iommufd-rlimit-helper.service.d
mkdir -p $stuck
printf '[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n' >$stuck/stuck.conf
systemctl daemon-reload
systemctl restart iommufd-rlimit-helper.socket
: >"$vms/lingering" # before it is looked into
"${as_qemu[@]}" "$here/hostile.py" linger 32 >"$vms/lingering" &
lingering=$!
peer_has_queued() { [[ $(<"$vms/lingering") == *done* ]]; }
wait_for peer_has_queued || fail "a hostile peer neither works nor ends: $(cat "$vms/lingering")"
all_or_forbidden "$(sed -n 's/^queued \([0-9]*\) of 32$/\1/p' "$vms/lingering")" 32
peer waiting 32
peer_done
holds_the_socket() { [ "$(service ActiveState)" = active ]; }
wait_for holds_the_socket || fail "the service does not start"
mkdir "$vms/stopped"
touch "$vms/stopped/systemd"
ask_systemd "$vms/stopped/systemd" &
asker=$!
systemctl stop iommufd-rlimit-helper.socket
wait "$peer"
rm "$vms/stopped/systemd" $stuck/stuck.conf
wait "$asker"
ok "a socket that is stopped while 64 wait: $(tail -n 1 "$vms/peer")"
systemd_answered stopped
kill -KILL "$lingering"
systemctl daemon-reload
systemctl start iommufd-rlimit-helper.socket
patient_are_served 1
begin after-stop
end 2

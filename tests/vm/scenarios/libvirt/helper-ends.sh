# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
#
# The helper is killed, has no device, or loses its socket: who waits for it, and who comes later.
. /host/scenarios/libvirt/clients.bash

clients_reset

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

# The device goes, and comes back.

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

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=clients.bash
# suites: trixie
#
# Peers that may connect to the helper and mean harm. Whatever they do, who opens the device meanwhile gets the mode, and
# systemd answers.
. /host/scenarios/libvirt/clients.bash

clients_reset
helper_runs
begin calm
end 5

ways=(linger)
if python3 -c 'import socket; a, b = socket.socketpair(); a.send(b"x", socket.MSG_OOB)' 2>"$vms/oob"; then
	ways+=(linger-oob)
else
	ok "no out-of-band data, which this kernel lacks (CONFIG_AF_UNIX_OOB): $(tail -n 1 "$vms/oob")"
fi

# A socket of its own for each, because the helper forbids descriptors on it once and for all. The service starts for the
# first connection, so all have queued theirs by then. Newer versions of systemd forbid them from the start.
for how in "${ways[@]}"; do
	systemctl restart iommufd-rlimit-helper.socket
	before=$(ignored)
	peer "$how" 64
	peer_done
	begin "$how"
	end 8
	queued=$(sed -n 's/^queued \([0-9]*\) of 64$/\1/p' "$vms/peer")
	all_or_forbidden "$queued" 64
	noticed=$(($(ignored) - before))
	[ "$noticed" = "$queued" ] || fail "$noticed of $queued connections with something queued were noticed"
	peer_end
done

# With a helper that runs. Most come too late then, and some may not.
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
end 2

# Faster than the helper: the next one waits for all that have connected before.
begin flood
"${as_qemu[@]}" "$here/hostile.py" flood 8 &
"${as_qemu[@]}" "$here/hostile.py" flood 8
end 1

# The first few have queued what they can when the service has started.
systemctl stop iommufd-rlimit-helper.service
begin megabyte
"${as_qemu[@]}" "$here/hostile.py" megabyte 20
end 2

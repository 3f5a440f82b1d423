# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# policies: targeted
#
# A QEMU that its guest has taken over, beside a domain. It may ask the helper for an iommufd of its own, as it may open the
# device, and nothing more. Who may connect is decided by the socket's group and by the SELinux type, not by the categories.
. /host/scenarios/selinux/lib.bash

host_with_module
domain web1
svirt web1
enable web1
domain_is_served web1 svirt_t

# The sum of what works: 1 an iommufd from the helper, 2 a signal to the domain. And 16, by which an interpreter that does not
# even start is told apart.
attempts='
import os, signal, socket, sys

def asks():
    helper = socket.socket(socket.AF_UNIX)
    helper.connect("/run/iommufd-rlimit/helper.sock")
    byte, iommufds, _, _ = socket.recv_fds(helper, 1, 1)
    assert byte == bytes(1) and len(iommufds) == 1

domain = int(sys.argv[1])
result = 16
for bit, attempt in (1, asks), (2, lambda: os.kill(domain, signal.SIGCONT)):
    try:
        attempt()
        result += bit
    except OSError:
        pass
sys.exit(result)
'

# may SUM TYPE GROUP COMMAND...: as QEMU's user, with this type and group, by the command.
hostile=/usr/local/bin/hostile
cp "$(readlink -f "$(command -v python3)")" "$hostile"
may() {
	local result=0
	"${@:4}" "$hostile" -I -S -c "$attempts" "${pid[web1]}" </dev/null >/dev/null 2>&1 || result=$?
	[ "$result" = $((16 + $1)) ] || fail "$2 of group $3 may $result, not $((16 + $1))"
	ok "$2 of group $3: $1"
}

qemu_may() { # SUM GROUP
	chcon -t qemu_exec_t "$hostile"
	may "$1" svirt_t "$2" setpriv --reuid=libvirt-qemu --regid="$2" --clear-groups runcon system_u:system_r:svirt_t:s0:c1,c2
}

service_may() { # SUM GROUP
	chcon -t chronyd_exec_t "$hostile"
	may "$1" chronyd_t "$2" systemd-run --quiet --wait --uid=libvirt-qemu --gid="$2" \
		--property=SELinuxContext=system_u:system_r:chronyd_t:s0
}

qemu_may 1 kvm
qemu_may 0 nogroup
service_may 0 kvm
# What the user alone would let it do.
(
	trap 'setenforce 1' EXIT
	setenforce 0
	qemu_may 3 kvm
)

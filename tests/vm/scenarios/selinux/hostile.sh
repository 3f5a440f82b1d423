# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A QEMU that its guest has taken over, beside a domain: it may ask the helper for an iommufd of its own, as it may open the
# device, and that is all. Who may connect is decided by the socket's group, and by the type, not by the categories.
. /host/scenarios/selinux/lib.bash

host_with_module
domain web1
iommufd-rlimit-libvirt enable web1
domain_is_served web1 "$emulated"

# QEMU's file is the one that svirt_t starts from.
cp "$(readlink -f "$(command -v python3)")" /usr/local/bin/hostile
chcon -t qemu_exec_t /usr/local/bin/hostile
attempts='
import os, socket, sys

def works(action):
    try:
        return action()
    except OSError:
        return False

def asks():
    helper = socket.socket(socket.AF_UNIX)
    helper.connect("/run/iommufd-rlimit/helper.sock")
    byte, iommufds, _, _ = socket.recv_fds(helper, 1, 1)
    return byte == bytes(1) and len(iommufds) == 1

domain = int(sys.argv[1])
attempts = (
    asks,
    lambda: os.unlink("/run/iommufd-rlimit/helper.sock") is None,
    lambda: os.kill(domain, 0) is None,
    lambda: os.open(f"/proc/{domain}/mem", os.O_RDWR) >= 0,
)
sys.exit(sum(1 << bit for bit, attempt in enumerate(attempts) if works(attempt)))
'

# may CONTEXT GROUP STATUS: the sum of 1 to get an iommufd from the helper, 2 to remove the socket, 4 to signal the domain,
# 8 to open its memory.
may() {
	local result=0
	setpriv --reuid=libvirt-qemu --regid="$2" --clear-groups \
		runcon "$1" /usr/local/bin/hostile -c "$attempts" "${pid[web1]}" </dev/null >/dev/null 2>&1 || result=$?
	[ "$result" = "$3" ] || fail "$1 of group $2 may $result, not $3"
	ok "$1 of group $2: $3"
}
# As a QEMU in other categories, then without the group of the socket, then as a domain that is none of QEMU's.
may system_u:system_r:svirt_t:s0:c1,c2 kvm 1
may system_u:system_r:svirt_t:s0:c1,c2 nogroup 0

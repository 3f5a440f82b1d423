# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A host where all is well, and then the shim or the helper broken in one thing at a time: the doctor finds that, and
# nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
documented libvirt-host
domain web1
iommufd-rlimit-libvirt enable web1
doctor 0 --domain web1
[ "$(iommufd-rlimit-doctor --domain web1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])')" = ok ] ||
	fail "the doctor says something else as JSON"

library=$(find /usr/lib -name libiommufd-rlimit.so)
qemu=$(command -v qemu-system-x86_64)

# The library of another class; gone.
cp "$library" /run/library
printf '\001' | dd of="$library" bs=1 seek=4 conv=notrunc status=none
broken library 'wrong ELF class' architecture
mv "$library" /run/wrong
broken library 'cannot open shared object file' ldconfig
mv /run/library "$library"

# A file capability, for which ld.so does not take the library even by name.
setcap cap_sys_resource=ep "$qemu"
broken library 'cannot open shared object file' 'setcap -r'
setcap -r "$qemu"

# No helper; one that does not run; one for others.
systemctl stop iommufd-rlimit-helper.socket
broken mode 'there is no helper at /run/iommufd-rlimit/helper.sock' 'enable --now iommufd-rlimit-helper.socket'
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/iommufd-rlimit/helper.sock")'
chmod 666 /run/iommufd-rlimit/helper.sock
broken mode 'no helper listens at' 'restart iommufd-rlimit-helper.socket'
systemctl start iommufd-rlimit-helper.socket
chgrp root /run/iommufd-rlimit/helper.sock
broken mode 'may not ask the helper at /run/iommufd-rlimit/helper.sock .0660 root:root.' group
chgrp kvm /run/iommufd-rlimit/helper.sock

# A mode that is misspelt.
virsh dumpxml --inactive web1 | sed "s/value='process'/value='proces'/" >/run/typo.xml
virsh --quiet define /run/typo.xml
broken mode 'IOMMUFD_RLIMIT_MODE=proces is not understood' 'takes process, user, query or off'
iommufd-rlimit-libvirt enable web1

doctor 0 --domain web1

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# A host where all is well, and then the library or its settings broken in one thing at a time: the doctor finds that, and
# nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
enable web1
doctor 0 --domain web1
[ "$(iommufd-rlimit-doctor --domain web1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])')" = ok ] ||
	fail "the doctor says something else as JSON"

library=$(find /usr/lib -name libiommufd-rlimit.so)
qemu=$(command -v qemu-system-x86_64)

# The library of another class; gone.
cp "$library" /run/library
printf '\001' | dd of="$library" bs=1 seek=4 conv=notrunc status=none
broken library 'QEMU does not load .*: wrong ELF class' "install libiommufd-rlimit for QEMU's architecture"
mv "$library" /run/wrong
broken library 'QEMU does not load .*: cannot open shared object file' 'install libiommufd-rlimit'
# One that is there, and that ld.so has not read of.
mkdir /usr/lib/apart
mv /run/library /usr/lib/apart/libiommufd-rlimit.so
echo /usr/lib/apart >/etc/ld.so.conf.d/apart.conf
broken library 'QEMU does not load .*: cannot open shared object file' ldconfig
mended
mv /usr/lib/apart/libiommufd-rlimit.so "$library"
rm -r /usr/lib/apart /etc/ld.so.conf.d/apart.conf
ldconfig

# A domain that does not name it.
without_library web1
broken library 'LD_PRELOAD does not name the library' 'iommufd-rlimit-libvirt enable web1'
mended

# Set-user-ID, which ld.so says nothing of.
chmod u+s "$qemu"
broken library 'it is set-user-ID' "chmod ug-s $qemu"
mended

# File capabilities, for which ld.so does not take the library even by name, and one for which nothing is accounted.
setcap cap_sys_resource=ep "$qemu"
broken capabilities 'has file capabilities: ld.so ignores' "setcap -r $qemu"
mended
setcap cap_ipc_lock=ep "$qemu"
virsh --quiet memtune web1 --hard-limit 200M --config
broken capabilities 'has the file capability CAP_IPC_LOCK: the kernel does not account its memory' \
	"setcap -r $qemu; iommufd-rlimit-libvirt enable web1 --limit" \
	limit 'does not cover 256 MiB of memory' 'iommufd-rlimit-libvirt enable web1 --limit'
iommufd-rlimit-libvirt enable web1 --yes | grep "web1: .*CAP_IPC_LOCK.*: setcap -r $qemu" || fail "enable does not say what to do"
mended

# What the domain's settings may be: misspelt, another mode, none; no helper, another one.
virsh dumpxml --inactive web1 >/run/web1-good.xml
web1_has() { # SED-SCRIPT
	sed "$1" /run/web1-good.xml >/run/web1-bad.xml
	virsh --quiet define /run/web1-bad.xml
}
setting() { echo "s,</qemu:commandline>,<qemu:env name='IOMMUFD_RLIMIT_$1' value='$2'/>&,"; }
web1_has "s/value='process'/value='proces'/"
broken mode 'IOMMUFD_RLIMIT_MODE=proces is not understood: it takes process, user, query or off' 'iommufd-rlimit-libvirt enable web1'
mended
web1_has "s/value='process'/value='query'/"
broken mode 'IOMMUFD_RLIMIT_MODE=query leaves the mode at user' 'iommufd-rlimit-libvirt enable web1'
mended
web1_has "s/value='process'/value='user'/"
broken mode 'IOMMUFD_RLIMIT_MODE=user asks for the default' 'iommufd-rlimit-libvirt enable web1'
mended
web1_has "/name='IOMMUFD_RLIMIT_MODE'/d"
broken mode 'without IOMMUFD_RLIMIT_MODE the library does nothing' 'iommufd-rlimit-libvirt enable web1'
mended
web1_has "$(setting LOG_LEVEL loud)"
broken mode 'IOMMUFD_RLIMIT_LOG_LEVEL=loud is not understood' 'virsh edit web1'
mended
web1_has "$(setting HELPER none)"
broken helper 'IOMMUFD_RLIMIT_HELPER=none' 'virsh edit web1'
mended
web1_has "$(setting HELPER /run/other.sock)"
broken helper 'there is no helper at /run/other.sock' 'virsh edit web1'
mended

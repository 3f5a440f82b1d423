# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# A host where all is well, and then the shim or the helper broken in one thing at a time: the doctor finds that, and
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
broken library 'wrong ELF class' 'install libiommufd-rlimit for'
mv "$library" /run/wrong
broken library 'cannot open shared object file' ldconfig
mv /run/library "$library"

# Set-user-ID, which ld.so says nothing of.
chmod u+s "$qemu"
broken library 'it is set-user-ID' "chmod ug-s $qemu"
mended

# File capabilities, for which ld.so does not take the library even by name, and one for which nothing is accounted.
setcap cap_sys_resource=ep "$qemu"
broken capabilities 'has file capabilities: ld.so ignores' "setcap -r $qemu"
mended
setcap cap_ipc_lock=ep "$qemu"
broken capabilities 'the kernel does not account its memory' "setcap -r $qemu"
iommufd-rlimit-libvirt enable web1 --yes | grep "web1: .*CAP_IPC_LOCK.*: setcap -r $qemu" || fail "enable does not say what to do"
mended

# No helper; one that does not run; one for others; one that cannot open the device.
systemctl stop iommufd-rlimit-helper.socket
broken helper 'there is no helper at /run/iommufd-rlimit/helper.sock' 'enable --now iommufd-rlimit-helper.socket'
mended
systemctl stop iommufd-rlimit-helper.socket
python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).bind("/run/iommufd-rlimit/helper.sock")'
chmod 666 /run/iommufd-rlimit/helper.sock
broken helper 'no helper listens at' 'restart iommufd-rlimit-helper.socket'
mended
chgrp root /run/iommufd-rlimit/helper.sock
broken helper 'may not connect to the helper at /run/iommufd-rlimit/helper.sock .0660 root:root.' 'systemctl restart'
mended

# One that runs on since another was installed; one of another version than the library.
helper_file=/usr/libexec/iommufd-rlimit-helper
cp "$helper_file" /run/helper
rm "$helper_file"
cp /run/helper "$helper_file"
broken helper 'is older than the installed helper' 'systemctl restart iommufd-rlimit-helper.service'
mended
systemctl stop iommufd-rlimit-helper.service
version=$("$helper_file" --version | grep -o '[0-9.]*$')
sed -i "s/${version//./\\.}/${version%?}x/" "$helper_file"
broken helper "of version ${version%?}x, the library of $version" \
	'install libiommufd-rlimit and iommufd-rlimit-helper of the same'
cp /run/helper "$helper_file.new"
mv "$helper_file.new" "$helper_file"
systemctl restart iommufd-rlimit-helper.service
doctor 0 --domain web1

# A mode that is misspelt; a domain that asks for none, without the helper.
virsh dumpxml --inactive web1 >/run/web1-good.xml
sed "s/value='process'/value='query'/; s,</qemu:commandline>,<qemu:env name='IOMMUFD_RLIMIT_HELPER' value='none'/>&," \
	/run/web1-good.xml >/run/query.xml
virsh --quiet define /run/query.xml
doctor 2 --domain web1
doctor_says problem helper 'IOMMUFD_RLIMIT_HELPER=none'
doctor_says warning mode 'IOMMUFD_RLIMIT_MODE=query leaves the mode at user'
sed "s/value='process'/value='proces'/" /run/web1-good.xml >/run/typo.xml
virsh --quiet define /run/typo.xml
broken mode 'IOMMUFD_RLIMIT_MODE=proces is not understood: it takes process, user, query or off' 'enable web1'
mended

# While it runs: asked in QEMU's own confinement; what it has pinned, for people and for Prometheus.
domain_runs web1
confined web1
doctor 0 --all
doctor_says ok helper "in profile libvirt-$(virsh domuuid web1 | head -n 1) an iommufd in mode process"
iommufd-rlimit-doctor --all --prometheus >"$vms/metrics"
grep "^iommufd_rlimit_pinned_bytes{domain=\"web1\",pid=\"${pid[web1]}\"} $(($(pinned web1) * 1024))$" "$vms/metrics" ||
	fail "no pinned memory: $(cat "$vms/metrics")"
grep "^iommufd_rlimit_mode{domain=\"web1\",pid=\"${pid[web1]}\",mode=\"process\"} 1$" "$vms/metrics" || fail "no mode"
timeout 5 iommufd-rlimit-doctor --watch 60 | tee "$vms/table" || true
grep -q "^web1 .* process " "$vms/table" || fail "web1 is not in the table"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# A host where all is well, and then the helper broken in one thing at a time: the doctor finds that, and nothing else.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
enable web1
doctor 0 --domain web1

# No helper; one that does not run; one for others.
systemctl stop iommufd-rlimit-helper.socket
broken helper 'there is no helper at /run/iommufd-rlimit/helper.sock' \
	'systemctl enable iommufd-rlimit-helper.socket; systemctl restart iommufd-rlimit-helper.socket'
mended
rm /run/iommufd-rlimit/helper.sock
broken helper 'there is no helper at' \
	'systemctl enable iommufd-rlimit-helper.socket; systemctl restart iommufd-rlimit-helper.socket'
mended
systemctl stop iommufd-rlimit-helper.socket
python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).bind("/run/iommufd-rlimit/helper.sock")'
chmod 666 /run/iommufd-rlimit/helper.sock
broken helper 'no helper listens at' 'systemctl restart iommufd-rlimit-helper.socket'
mended
chgrp root /run/iommufd-rlimit/helper.sock
broken helper 'may not connect to the helper at /run/iommufd-rlimit/helper.sock .0660 root:root.' \
	'systemctl restart iommufd-rlimit-helper.socket'
mended
chgrp disk /run/iommufd-rlimit/helper.sock
broken helper 'may not connect to the helper at /run/iommufd-rlimit/helper.sock .0660 root:disk.' \
	'usermod -aG disk libvirt-qemu'
mended
gpasswd -d libvirt-qemu disk

# One of an older protocol, and one of another user than root.
listen='import os, socket, sys
os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1])
listener = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
os.setuid(int(sys.argv[3]))
listener.listen()
print("listens", flush=True)
listener.accept()'
listener() { # TYPE UID
	exec {said}< <(exec python3 -c "$listen" /run/iommufd-rlimit/helper.sock "$@")
	read -r -u "$said"
}
systemctl stop iommufd-rlimit-helper.socket
listener SOCK_SEQPACKET 0
broken helper 'an older helper listens at' 'systemctl daemon-reload; systemctl restart iommufd-rlimit-helper.socket'
kill $!
mended
systemctl stop iommufd-rlimit-helper.socket
listener SOCK_STREAM 1000
broken helper 'user 1000 listens at .*, not root: the library does not trust' \
	'systemctl restart iommufd-rlimit-helper.socket'
mended

# One that lacks its capability: what it says names the cause.
drop_in=/run/systemd/system/iommufd-rlimit-helper.service.d
mkdir -p "$drop_in"
printf '[Service]\nCapabilityBoundingSet=\nAmbientCapabilities=\n' >"$drop_in/without.conf"
systemctl daemon-reload
systemctl stop iommufd-rlimit-helper.service
broken helper 'the helper at .* could not open /dev/iommu or set the mode: EPERM' 'journalctl -u iommufd-rlimit-helper'
do_fixes 2>&1 | tee "$vms/journal"
grep -q EPERM "$vms/journal" || fail "the journal does not name the cause"
rm -r "$drop_in"
systemctl daemon-reload
systemctl stop iommufd-rlimit-helper.service
doctor 0 --domain web1

# One that does not answer.
kill -STOP "$(service MainPID)"
broken helper 'the helper at .* fails, at step receive: ETIMEDOUT' 'systemctl restart iommufd-rlimit-helper.service'
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
	'install libiommufd-rlimit and iommufd-rlimit-helper of the same version'
cp /run/helper "$helper_file.new"
mv "$helper_file.new" "$helper_file"
systemctl restart iommufd-rlimit-helper.service
doctor 0 --domain web1

# While it runs: asked in QEMU's own confinement; what it has pinned, for people and for Prometheus.
domain_runs web1
confined web1
doctor 0 --all
doctor_says ok helper "in profile libvirt-$(virsh domuuid web1 | head -n 1) an iommufd in mode process"
iommufd-rlimit-doctor --all --prometheus >"$vms/metrics"
grep "^iommufd_rlimit_pinned_bytes{domain=\"web1\",pid=\"${pid[web1]}\"} $(($(pinned web1) * 1024))$" "$vms/metrics" ||
	fail "no pinned memory: $(cat "$vms/metrics")"
grep "^iommufd_rlimit_mode{domain=\"web1\",pid=\"${pid[web1]}\",mode=\"process\"} 1$" "$vms/metrics" || fail "no mode"
exec {table}< <(exec iommufd-rlimit-doctor --watch 60)
{ read -r header; read -r row; } <&"$table"
kill $!
[[ $row == web1\ *\ process\ * ]] || fail "web1 is not in the table: $header; $row"

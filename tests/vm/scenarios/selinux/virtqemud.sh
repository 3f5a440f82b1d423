# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# libvirt's daemon as virtqemud_t, the type that Fedora and RHEL 10 have: as it is confined, and permissive, as Fedora has it
# for now. Debian has no virtqemud; its libvirtd by that name and label is one.
. /host/scenarios/selinux/lib.bash

if [ "$policy" != targeted ]; then
	ok "this policy has no virtqemud_t"
	exit
fi

# shellcheck source=rules.bash
. /host/scenarios/selinux/rules.bash

systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
cp /usr/sbin/libvirtd /usr/sbin/virtqemud
chcon -t virtqemud_exec_t /usr/sbin/virtqemud
mkdir -p /etc/systemd/system/libvirtd.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/virtqemud\n' >/etc/systemd/system/libvirtd.service.d/virtqemud.conf
systemctl daemon-reload
systemctl start libvirtd
daemon=$(systemctl show --value --property MainPID libvirtd.service)
grep -qa ':virtqemud_t:' "/proc/$daemon/attr/current" || fail "the daemon runs as $(cat "/proc/$daemon/attr/current")"

domain web1
domain web2
domain web3
svirt web2
for name in web1 web2 web3; do
	iommufd-rlimit-libvirt enable $name
done
each_is_missed virtqemud_t start_domain
domain_is_served web1 "$emulated"
domain_is_served web2 svirt_t
doctor 0 --domain web2

# The boolean that lets QEMU have what it inherits.
setsebool domain_fd_use=0
doctor 2 --domain web2
doctor_says problem selinux 'use what libvirt hands to it'
setsebool domain_fd_use=1

# Permissive: without the module's rule it works all the same, for as long as it is.
echo '(typepermissive virtqemud_t)' >/run/permissive.cil
semodule -i /run/permissive.cil
domain_is_served web3 "$emulated"
setsebool "$(grep -o '^[^ ]*_virtqemud_t_noatsecure' /run/permissions)=0"
virsh --quiet destroy web1
domain_is_served web1 "$emulated"
doctor 1 --domain web1
doctor_says warning selinux 'only as long as its type is permissive'
setsebool "$(grep -o '^[^ ]*_virtqemud_t_noatsecure' /run/permissions)=1"
semodule -r permissive

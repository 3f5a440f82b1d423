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

host_with_module
systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
cp /usr/sbin/libvirtd /usr/sbin/virtqemud
chcon -t virtqemud_exec_t /usr/sbin/virtqemud
mkdir -p /etc/systemd/system/libvirtd.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/virtqemud\n' >/etc/systemd/system/libvirtd.service.d/virtqemud.conf
systemctl daemon-reload
systemctl start libvirtd
for name in web1 web2 web3; do
	domain $name
done
svirt web2
for name in web1 web2 web3; do
	iommufd-rlimit-libvirt enable $name
done
domain_is_served web1 "$emulated"
domain_is_served web2 svirt_t
no_denial
doctor 0 --domain web2

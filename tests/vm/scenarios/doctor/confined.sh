# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=running.bash
#
# As running, for the limit of a domain that runs, and for what confines QEMU.
. /host/scenarios/doctor/running.bash

again='virsh shutdown web1; until virsh start web1; do sleep 5; done'
domain_runs web1

# With a limit that somebody has lowered since.
prlimit --pid "${pid[web1]}" --memlock=104857600
broken limit 'the limit of 100 MiB does not cover' 'iommufd-rlimit-libvirt enable web1 --limit .*; '"$again"
mended
runs_as_it_should
stopped

# As root with all capabilities, which no kernel accounts.
printf 'user = "root"\nclear_emulator_capabilities = 0\n' >>/etc/libvirt/qemu.conf
systemctl restart libvirtd
domain_runs web1
broken accounting 'has CAP_IPC_LOCK: the kernel does not account its memory' \
	'virsh shutdown web1; while virsh list --name | grep -qx web1; do sleep 5; done; '\
'sed -i -E .*(user|clear_emulator_capabilities) .*=/d.*; systemctl restart libvirtd.service; virsh start web1'
mended
runs_as_it_should

# With a helper that somebody has confined: what it opens, QEMU receives only if its profile has a rule for it.
profile=/etc/apparmor.d/libvirt/$(sed 's/ .*//' "/proc/${pid[web1]}/attr/current")
cp "$apparmor_rules" /run/rules
sed -i '/^.dev.iommu/d' "$apparmor_rules"
apparmor_parser --replace "$profile"
cp /run/rules "$apparmor_rules"
echo 'profile confined-helper flags=(attach_disconnected,complain) { }' | apparmor_parser --replace
drop_in=/run/systemd/system/iommufd-rlimit-helper.service.d
mkdir -p "$drop_in"
printf '[Service]\nAppArmorProfile=confined-helper\n' >"$drop_in/confined.conf"
systemctl daemon-reload
systemctl stop iommufd-rlimit-helper.service
broken helper 'was refused the descriptor of the helper .* by a security module' \
	"dmesg | grep -E 'apparmor=\"DENIED\"|avc: +denied' || echo none"
do_fixes # AppArmor of Linux 7.3 logs no such denial
apparmor_parser --replace "$profile"
rm -r "$drop_in"
systemctl daemon-reload
systemctl stop iommufd-rlimit-helper.service
doctor 0 --domain web1

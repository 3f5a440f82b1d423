# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# only by name
# policies: targeted
# with virtqemud
#
# libvirt's modular daemon as Fedora and RHEL 10 run it, in the SELinux domain virtqemud_t: permissive, as both have it for now,
# and not permissive.
. /host/scenarios/selinux/lib.bash

names=(web1 web2 web3 web4)

four_domains() {
	dmesg --clear
	domain_is_served web1 "$emulated"
	domain_is_served web2 "$emulated"
	domain_is_served web3 svirt_t
	domain_is_served web4 svirt_t
	no_denial
	for name in "${names[@]}"; do virsh --quiet destroy "$name"; done
}

echo '(typepermissive virtqemud_t)' >/run/permissive.cil
sed '/(allow virtqemud_t virt_domain /d' "$samples/iommufd-rlimit.cil" >/run/iommufd-rlimit.cil

host_with_module
semodule -i /run/permissive.cil
modular_daemons
for name in "${names[@]}"; do domain "$name"; done
svirt web3 web4
enable "${names[@]}"
modular_daemons_run virtqemud
daemon=$(systemctl show --value --property MainPID virtqemud.service)
grep -qa ':virtqemud_t:' "/proc/$daemon/attr/current" || fail "the daemon runs as $(cat "/proc/$daemon/attr/current")"
four_domains

# Without the rule for virtqemud_t all is well for as long as the type is permissive.
semodule -i /run/iommufd-rlimit.cil
domain_is_served web1 "$emulated"
virsh --quiet destroy web1
doctor 1 --domain web1
doctor_says warning selinux 'only as long as its type is permissive'

# Then not even the first domain runs, because its limit is 8 MiB, and the library says nothing. The kernel does not say more
# unless it is asked to, as documented: the first command shows the denials, the second has the kernel log all, the third
# only those that the policy does not hide.
semodule -r permissive
not_even_one() {
	dmesg --clear
	: >/var/log/libvirt/qemu/web1.log
	domain_fails web1 '= -12 (Cannot allocate memory)'
	shim_is_silent web1
	documented selinux-denials 2,3d >/run/denials
}
documented selinux-denials 1,2d
not_even_one
! grep -E 'denied  { (noatsecure|rlimitinh) }' /run/denials || fail "the policy hides nothing"
documented selinux-denials '1d; 3d'
not_even_one
grep 'denied  { noatsecure }.*:virtqemud_t:.*:svirt_tcg_t:' /run/denials || fail "the denial of noatsecure is not shown"
grep 'denied  { rlimitinh }.*:virtqemud_t:.*:svirt_tcg_t:' /run/denials || fail "the denial of rlimitinh is not shown"

broken selinux 'hand LD_PRELOAD and its limits on to QEMU .virtqemud_t on svirt_tcg_t: process noatsecure rlimitinh' \
	"semodule -i $samples/iommufd-rlimit.cil"
mended
four_domains

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Four domains, by nothing but the commands of iommufd-rlimit(7): two as QEMU runs when it is emulated, two as it runs with KVM.
. /host/scenarios/selinux/lib.bash

host_with_module
for name in web1 web2 web3 web4; do
	domain "$name"
done
svirt web3 web4
for name in web1 web2 web3 web4; do
	enable "$name"
done
domain_is_served web1 "$emulated"
domain_is_served web2 "$emulated"
domain_is_served web3 svirt_t
domain_is_served web4 svirt_t
no_denial
helper=$(systemctl show --value --property MainPID iommufd-rlimit-helper.service)
grep -qa ':iommufd_rlimit_t:' "/proc/$helper/attr/current" || fail "the helper runs as $(cat "/proc/$helper/attr/current")"
doctor 0 --domain web4
doctor_says ok selinux 'lets QEMU .svirt_t. use iommufd'

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# iommufd-rlimit-libvirt with the real libvirt: what it changes, it takes back to the byte, and the old behaviour is back.
. /host/scenarios/libvirt/lib.bash

host_reset
documented libvirt-host
domain web1
domain web2
virsh dumpxml --inactive --security-info web2 >"$vms/before"
iommufd-rlimit-libvirt enable web1
iommufd-rlimit-libvirt enable web2
iommufd-rlimit-libvirt enable web2 | grep -q 'enabled already' || fail "enabling twice is not the same as once"
iommufd-rlimit-libvirt status web2
domain_runs web1
domain_runs web2
accounted_by_process web2

iommufd-rlimit-libvirt disable web2 | grep -q 'a reboot is not enough' || fail "it does not say that web2 runs on as before"
virsh dumpxml --inactive --security-info web2 | diff "$vms/before" - || fail "the XML of web2 is not what it was"
iommufd-rlimit-libvirt disable web1
virsh --quiet destroy web1
virsh --quiet destroy web2
domain_runs web1
accounted_by_user web1
domain_fails web2 '= -12 (Cannot allocate memory)'

virsh --quiet undefine web1
iommufd-rlimit-libvirt enable web1 2>"$vms/refusal" && fail "it changes a transient domain"
grep -q "'web1' is transient" "$vms/refusal" || fail "it does not say that web1 is transient: $(cat "$vms/refusal")"
ok "a transient domain is refused"

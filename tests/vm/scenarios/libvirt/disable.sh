# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# iommufd-rlimit-libvirt with the real libvirt: what it changes, it takes back to the byte, and the old behaviour is back.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
domain web2
virsh dumpxml --inactive --security-info web2 >"$vms/before"
enable web1 web2
enable web2 | grep -q 'Nothing to enable' || fail "enabling twice is not the same as once"
domain_runs web1
domain_runs web2
accounted_by_process web2

iommufd-rlimit-libvirt disable --yes web2 | grep -q 'a reboot within it is not enough' || fail "it does not say that web2 runs on as before"
virsh dumpxml --inactive --security-info web2 | diff "$vms/before" - || fail "the XML of web2 is not what it was"
virsh --quiet destroy web1
virsh --quiet destroy web2

# The domain without the library, the host still as it was set up.
without_library web1
domain_runs web1
accounted_by_user web1

virsh --quiet undefine web1
enable web1 >"$vms/refusal" && fail "it changes a transient domain"
grep -q "domain web1 is transient" "$vms/refusal" || fail "it does not say that web1 is transient: $(cat "$vms/refusal")"
ok "a transient domain is refused"

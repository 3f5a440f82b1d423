# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# What enable says before it does anything; that it does nothing twice; that a domain which runs is not touched; that disable
# takes back what is one domain's, and then all.
. /host/scenarios/libvirt/lib.bash

host_reset
domain d1 "$without_limit"
domain d2 "$without_limit"
host_snapshot before

iommufd-rlimit-libvirt enable d1 d2 </dev/null >"$vms/plan" && fail "it does not wait for a yes"
cat "$vms/plan"
iommufd-rlimit-libvirt enable d1 d2 --dry-run >"$vms/dry-run"
host_snapshot unchanged
is_same before unchanged
for text in '+SUBSYSTEM=="misc"' '+cgroup_device_acl = ' 'run systemctl enable --now iommufd-rlimit-helper.socket' \
	'2 domains may pin 2 x 1.253 GiB = 2.506 GiB'; do
	grep -qF "$text" "$vms/plan" || fail "the plan does not have: $text"
done

enable d1 d2
host_snapshot enabled
enable --all | grep '^Nothing to enable' || fail "a second enable is not the same as one"
host_snapshot again
is_same enabled again

# While d1 runs, libvirt is restarted, with what d2 alone takes.
domain_runs d1
iommufd-rlimit-libvirt disable d1 --yes | tee "$vms/said"
grep -q 'd1: runs as before until it is shut down and started; a reboot within it is not enough' "$vms/said" ||
	fail "it does not say that d1 runs on as before"
virsh dumpxml --inactive --security-info d1 | diff /run/snapshots/before/xml/d1 - || fail "the XML of d1 is not what it was"
accounted_by_process d1

virsh --quiet undefine d1
enable d1 >"$vms/refusal" && fail "it changes a transient domain"
grep -q "domain d1 is transient" "$vms/refusal" || fail "it does not say that d1 is transient: $(cat "$vms/refusal")"
virsh --quiet define /run/snapshots/before/xml/d1
virsh --quiet destroy d1
iommufd-rlimit-libvirt disable --all --yes
host_snapshot after
is_same before after

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# From a host that has nothing but the packages to four domains, each accounted by itself, by one command; and back, to the byte.
. /host/scenarios/libvirt/lib.bash

host_reset
names=(d1 d2 d3 d4)
for name in "${names[@]}"; do domain "$name" "$without_limit"; done
host_snapshot before

iommufd-rlimit-libvirt enable "${names[@]}" </dev/null >"$vms/plan" && fail "it does not wait for a yes"
cat "$vms/plan"
iommufd-rlimit-libvirt enable "${names[@]}" --dry-run >"$vms/dry-run"
host_snapshot unchanged
is_same before unchanged
for text in '+SUBSYSTEM=="misc"' '+cgroup_device_acl = ' "run systemctl enable --now iommufd-rlimit-helper.socket" \
	'4 domains may pin 4 x 1.252 GiB = 5.008 GiB'; do
	grep -qF "$text" "$vms/plan" || fail "the plan does not have: $text"
done

started=$SECONDS
iommufd-rlimit-libvirt enable "${names[@]}" --yes
for name in "${names[@]}"; do
	domain_runs "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	confined "$name"
	modes_are "$name" process
done
ok "one command and four starts: $((SECONDS - started)) s"

host_snapshot enabled
iommufd-rlimit-libvirt enable --all --yes | grep '^Nothing to enable' || fail "a second enable is not the same as one"
host_snapshot again
is_same enabled again

# While a domain runs, and with three left.
iommufd-rlimit-libvirt disable d4 --yes | tee "$vms/said"
grep -q 'd4: runs as before until it is shut down' "$vms/said" || fail "it does not say that d4 runs on as before"
accounted_by_process d4
for name in "${names[@]}"; do virsh --quiet destroy "$name"; done
iommufd-rlimit-libvirt disable --all --yes
host_snapshot after
is_same before after
[ ! -e /var/lib/iommufd-rlimit-shim ] || fail "/var/lib/iommufd-rlimit-shim is left"

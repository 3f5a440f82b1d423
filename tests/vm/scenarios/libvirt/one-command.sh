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

started=$SECONDS
iommufd-rlimit-libvirt enable "${names[@]}" --yes
ok "one command: $((SECONDS - started)) s"
for name in "${names[@]}"; do
	domain_runs "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	confined "$name"
	modes_are "$name" process
done
ok "one command and four starts: $((SECONDS - started)) s"

for name in "${names[@]}"; do virsh --quiet destroy "$name"; done
iommufd-rlimit-libvirt disable --all --yes
host_snapshot after
is_same before after
[ ! -e /var/lib/iommufd-rlimit-shim ] || fail "/var/lib/iommufd-rlimit-shim is left"

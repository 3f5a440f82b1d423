# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# enable is killed by SIGKILL before and after each of its steps, and run again each time, until a run comes to its end: as
# if never killed.
. /host/scenarios/libvirt/lib.bash

host_reset
domain d1 "$without_limit"
host_snapshot before
enable d1 >"$vms/plan"
host_snapshot enabled
iommufd-rlimit-libvirt disable --all --yes >"$vms/said"

: >"$vms/moments"
ended=137
while [ "$ended" = 137 ]; do
	ended=0
	# In a shell of its own, which says nothing of the signal.
	(exec /host/scenarios/libvirt/killed.py "$vms/moments" enable d1 --yes) >"$vms/said" 2>&1 || ended=$?
	[ "$ended" != 137 ] || [ -e /var/lib/iommufd-rlimit-shim/manifest.json ] || fail "killed, and no manifest"
done 2>/dev/null
[ "$ended" = 0 ] || fail "enable ends with status $ended: $(cat "$vms/said")"
# What the plan has, when it was shown for a host where nothing was done.
sed -n 's/^\* \(.*\)/before \1\nafter \1/p' "$vms/plan" | sort >"$vms/expected"
sort "$vms/moments" | diff "$vms/expected" - || fail "it was not killed at each step"
[ "$(wc -l <"$vms/moments")" -ge 14 ] || fail "there are fewer than seven steps"
ok "killed $(wc -l <"$vms/moments") times, and run to its end"

host_snapshot again
is_same enabled again
iommufd-rlimit-libvirt disable --all --yes >"$vms/said"
host_snapshot after
is_same before after

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Each permission of the module is needed: without it something fails or is denied. A copy of the module has a boolean for
# each, so that it can be taken away in a second.
. /host/scenarios/selinux/lib.bash

# Makes of each permission of a rule a rule of its own, below a boolean with the line of the rule in its name.
with_booleans() {
	awk '
		/^\t*\(allow / {
			rule = permissions = $0
			sub(/ \([a-z ]*\)\)\)$/, "", rule)
			gsub(/.*\(|\)\)\)$/, "", permissions)
			for (i = split(permissions, permission, " "); i > 0; i--) {
				name = "iommufd_rlimit_" NR "_" permission[i]
				print "(boolean " name " true)" >"/dev/stderr"
				print "(booleanif " name " (true " rule " (" permission[i] ")))))"
			}
			next
		}
		{ print }' "$samples/iommufd-rlimit.cil"
}

host_with_module
with_booleans >/run/rules 2>/run/booleans
cat /run/booleans /run/rules >/run/iommufd-rlimit.cil
semodule -i /run/iommufd-rlimit.cil

domain web1
iommufd-rlimit-libvirt enable web1
domain_is_served web1 "$emulated"
no_denial
virsh --quiet destroy web1

# A domain starts, with a helper that starts for it, and all is as it should be. Says what is not.
missed() {
	local said=''
	systemctl stop iommufd-rlimit-helper.socket iommufd-rlimit-helper.service
	dmesg --clear
	systemctl start iommufd-rlimit-helper.socket || said='no socket'
	virsh --quiet start --paused web1 >/run/said 2>&1 || said='web1 fails'
	virsh --quiet destroy web1 >/run/said 2>&1 || true
	said+=$(dmesg | sed -n 's/.*avc:  denied  \({[^}]*}\).*scontext=\([^ ]*\) tcontext=\([^ ]*\) tclass=\([^ ]*\).*/ denied \1 \2 \3 \4/p' |
		grep -E 'iommu|vfio|svirt|virt_domain' | sort -u | head -n 3)
	printf '%s' "$said"
}

needless=0
while read -r boolean; do
	setsebool "$boolean=0"
	said=$(missed)
	setsebool "$boolean=1"
	printf '%s: %s\n' "$boolean" "${said:-nothing misses it}"
	[ -n "$said" ] || needless=$((needless + 1))
done < <(getsebool -a | sed -n 's/^\(iommufd_rlimit_[^ ]*\) .*/\1/p')
[ "$needless" = 0 ] || fail "nothing misses $needless permissions"

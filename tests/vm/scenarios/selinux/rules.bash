# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Each permission of the module is needed: without it something fails or is denied. A copy of the module has a boolean for
# each, so that it can be taken away in a second.
. /host/scenarios/selinux/lib.bash

# Makes of each permission of a rule a rule of its own, below a boolean that is named by line, source and permission.
booleans=iommufd_rlimit_line
with_booleans() {
	awk -v name="$booleans" '
		/^\t*\(allow / {
			rule = permissions = $0
			sub(/ \([a-z_ ]*\)\)\)$/, "", rule)
			gsub(/.*\(|\)\)\)$/, "", permissions)
			for (i = split(permissions, permission, " "); i > 0; i--) {
				boolean = name NR "_" $2 "_" permission[i]
				print "(boolean " boolean " true)" >"/dev/stderr"
				print "(booleanif " boolean " (true " rule " (" permission[i] ")))))"
			}
			next
		}
		{ print }' "$samples/iommufd-rlimit.cil"
}

host_reset
if ! getsebool -a | grep -q "^$booleans"; then
	with_booleans >/run/rules 2>/run/booleans
	cat /run/booleans /run/rules >/run/iommufd-rlimit.cil
	documented selinux-host 's,/usr/share/iommufd-rlimit-shim/libvirt/,/run/,'
fi
documented libvirt-host

# each_is_missed SOURCE COMMAND: the command says nothing with all permissions, and something without any one of the source.
each_is_missed() {
	local boolean said count=0 needless=0
	said=$(said_by "$2")
	[ -z "$said" ] || fail "with all permissions: $said"
	while read -r boolean; do
		setsebool "$boolean=0"
		said=$(said_by "$2")
		setsebool "$boolean=1"
		printf '%s: %s\n' "$boolean" "${said:-nothing misses it}"
		count=$((count + 1))
		[ -n "$said" ] || needless=$((needless + 1))
	done < <(getsebool -a | grep -oE "^${booleans}[0-9]+_($1)_[a-z_]+")
	[ "$count" -gt 0 ] || fail "no permission of $1"
	[ "$needless" = 0 ] || fail "nothing misses $needless of $count permissions"
	ok "$count permissions of $1, each missed"
}

# The domain web1 starts: what libvirt says against it.
start_domain() {
	virsh --quiet start --paused web1 2>&1 | grep -o 'error: .*' | tail -n 1 || true
	virsh --quiet destroy web1 2>/dev/null || true
}

# What a command prints, and what was denied meanwhile.
said_by() {
	dmesg --clear
	"$1"
	dmesg | sed -n 's/.*avc:  denied  {\([^}]*\)}.*scontext=[^:]*:[^:]*:\([^:]*\):.* tcontext=[^:]*:[^:]*:\([^:]*\):.* tclass=\([^ ]*\).*/denied \2 \3 \4\1/p' |
		grep -E ' (iommu|vfio|svirt)' | sort -u | head -n 4
}

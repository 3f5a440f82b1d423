# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Each permission of the module is needed: without it something fails or is denied. A copy of the module has a boolean for
# each, so that it can be taken away in a second. What the policy has by itself is for the other policy to miss.
. /host/scenarios/selinux/lib.bash

booleans=iommufd_rlimit_line
# Makes of each permission of a rule a rule of its own, below a boolean that is named by line, source and permission. On its
# standard error is a table of these: boolean, source, target, class, permission.
with_booleans() {
	awk -v name="$booleans" '
		/^\t*\(allow / {
			rule = permissions = $0
			sub(/ \([a-z_ ]*\)\)\)$/, "", rule)
			gsub(/.*\(|\)\)\)$/, "", permissions)
			for (i = split(permissions, permission, " "); i > 0; i--) {
				boolean = name NR "_" $2 "_" permission[i]
				print boolean, $2, $3 == "self" ? $2 : $3, substr($4, 2), permission[i] >"/dev/stderr"
				print "(booleanif " boolean " (true " rule " (" permission[i] ")))))"
			}
			next
		}
		{ print }' "$samples/iommufd-rlimit.cil"
}

host_reset
if ! getsebool -a | grep -q "^$booleans"; then
	with_booleans >/run/rules 2>/run/permissions
	{ sed 's/\([^ ]*\).*/(boolean \1 true)/' /run/permissions && cat /run/rules; } >/run/iommufd-rlimit.cil
	documented selinux-host 's,/usr/share/iommufd-rlimit-shim/libvirt/,/run/,'
fi
documented libvirt-host

# each_is_missed SOURCE COMMAND: the command says no more than what is denied to any QEMU with all permissions, and something
# else without any one of the source.
each_is_missed() {
	local boolean source target class permission said usual missed=0 needless=0
	usual=$(said_by "$2")
	printf 'usual: %s\n' "$usual"
	! grep -E 'error:|outcome=' <<<"$usual" || fail "it does not work with all permissions"
	while read -r boolean source target class permission; do
		setsebool "$boolean=0"
		if allowed "$source" "$target" "$class" "$permission"; then
			said="the policy has it by itself"
		elif said=$(said_by "$2") && [ "$said" != "$usual" ]; then
			missed=$((missed + 1))
		else
			said="nothing misses it" needless=$((needless + 1))
		fi
		setsebool "$boolean=1"
		printf '%s: %s\n' "$boolean" "$(grep -vxF "$usual" <<<"$said" | head -n 3 | xargs)"
	done < <(grep -E "^[^ ]* ($1) " /run/permissions)
	[ "$needless" = 0 ] || fail "nothing misses $needless permissions"
	ok "of $1 $missed permissions are missed"
}

# The loaded policy allows it; QEMU stands for its attribute.
allowed() { # SOURCE TARGET CLASS PERMISSION
	local domain=system_u:system_r:${1/#virt_domain/$emulated}:s0 target=system_u:object_r:$2:s0
	case $3 in
	capability | fd | process* | unix_stream_socket) target=system_u:system_r:${2/#virt_domain/$emulated}:s0 ;;
	esac
	selinux_check_access "$domain" "$target" "$3" "$4" >/dev/null 2>&1
}

# The domain web1 starts: what libvirt says against it.
start_domain() {
	virsh --quiet start --paused web1 2>&1 | grep -o 'error: .*' | tail -n 1 || true
	virsh --quiet destroy web1 2>/dev/null || true
}

# What a command prints, and what was denied meanwhile.
said_by() {
	dmesg --clear
	"$1" </dev/null
	dmesg | sed -n 's/.*avc:  denied  {\([^}]*\)}.*scontext=[^:]*:[^:]*:\([^:]*\):.* tcontext=[^:]*:[^:]*:\([^:]*\):.* tclass=\([^ ]*\).*/denied \2 \3 \4\1/p' |
		grep -E ' (iommu|vfio|svirt)' | sort -u || true
}

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# only by name
# with virtqemud
# deadline: 3600
#
# Without any one permission of the module the kernel logs its denial, and the helper or a domain fails. In a copy of the module
# each permission has a boolean. One that the policy has by itself is listed, for the other policy may lack it.
. /host/scenarios/selinux/lib.bash

# Each as: its boolean, source, target, class, name.
permissions=$(sed -n 's/^[[:blank:]]*(allow \([a-z_]*\) \([a-z_]*\) (\([a-z0-9_]*\) (\([a-z_ ]*\))))$/\1 \2 \3 \4/p' "$samples/iommufd-rlimit.cil" |
	while read -r source target class names; do
		for name in $names; do
			echo "iommufd_rlimit_${source}_${target}_${class}_$name $source $target $class $name"
		done
	done)
# Debian's policy has no virtqemud_t, and its libvirt no virtqemud.
[ "$policy" = targeted ] || permissions=$(grep -v ' virtqemud_t ' <<<"$permissions")
# Debian's policy does not let semodule read all of /run.
copy=/usr/share/iommufd-rlimit-shim/rules
mkdir "$copy"
{
	grep -vE '^[[:blank:]]*\(allow ' "$samples/iommufd-rlimit.cil"
	while read -r boolean source target class name; do
		echo "(boolean $boolean true) (booleanif $boolean (true (allow $source $target ($class ($name)))))"
	done <<<"$permissions"
} >$copy/iommufd-rlimit.cil

host_reset
documented selinux-host "s,$samples/,$copy/,"
documented libvirt-host
[ "$policy" != targeted ] || modular_daemons
domain web1
enable web1

# As after a boot: the socket, the helper, and the domain.
host_works() {
	systemctl restart iommufd-rlimit-helper.socket || fail "the socket does not start"
	helper_runs || fail "the helper does not start"
	domain_is_served web1 "$emulated"
	grep -qa ':iommufd_rlimit_t:' "/proc/$(service MainPID)/attr/current" || fail "the helper does not run in its domain"
}

# Prints what fails, if anything does. The log of this domain is long by the end.
failure() {
	(host_works) | sed -n 's/^fail: //p'
	virsh --quiet destroy web1 2>/dev/null || true
	rm -f /var/log/libvirt/qemu/web1.log
	systemctl reset-failed 'iommufd-rlimit-helper.*'
}

# is_denied SOURCE TARGET CLASS NAME: by the log of the kernel.
is_denied() {
	dmesg | grep -qE "avc:  denied  \{ $4 \} .* scontext=[^ ]*:$1:[^ ]* tcontext=[^ ]*:$2:[^ ]* tclass=$3( |$)"
}

context() { # TYPE CLASS
	case $2 in
	capability | fd | process* | unix_stream_socket) echo "system_u:system_r:$1:s0" ;;
	*) echo "system_u:object_r:$1:s0" ;;
	esac
}

failed=$(failure)
[ -z "$failed" ] || fail "with all rules: $failed"
needless=0
while read -r boolean source target class name; do
	setsebool "$boolean=0"
	source=${source/#virt_domain/$emulated}
	target=${target/#virt_domain/$emulated}
	target=${target/#self/$source}
	permission="$source $target $class $name"
	if selinux_check_access "$(context "$source" process)" "$(context "$target" "$class")" "$class" "$name" >/dev/null 2>&1; then
		echo "$permission: the policy has it by itself"
	else
		dmesg --clear
		failed=$(failure)
		# shellcheck disable=SC2086  # a list
		if [ -n "$failed" ] && is_denied $permission; then
			echo "$permission: without it $failed"
		elif [ -z "$failed" ] && [[ $permission == *' vfio_device_t chr_file map' ]]; then
			echo "$permission: not missed by the devices of this machine"
		else
			echo "$permission: not missed; ${failed:-nothing fails}; $(dmesg | grep -m 1 'avc:  denied' || echo "no denial")"
			needless=$((needless + 1))
		fi
	fi
	setsebool "$boolean=1"
done <<<"$permissions"
failed=$(failure)
[ -z "$failed" ] || fail "with all rules again: $failed"
[ "$needless" = 0 ] || fail "nothing misses $needless permissions"
documented selinux-host

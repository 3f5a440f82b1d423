# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# Eight VMs of one user without any capability, through a helper that a socket binder starts; then that helper dies, its
# socket goes, both come back, and a user outside the socket's group is refused.
. /host/guest/lib.sh

memory=64
limit=100 # enough for one VM, not for two
with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)

has_no_capability() { # VM
	local set
	for set in CapInh CapPrm CapEff CapAmb; do
		[ "$(status_field "$1" $set)" = 0000000000000000 ] || fail "$1 has capabilities in $set"
	done
}

# The median of many.
opens() { # HOW COMMAND...
	local microseconds
	# shellcheck disable=SC2016  # for the other shell
	microseconds=$("${@:2}" bash -c 'for ((i = 0; i < 51; i++)); do
		start=${EPOCHREALTIME/./}
		exec {device}<>/dev/iommu || exit
		echo $((${EPOCHREALTIME/./} - start))
		exec {device}>&-
	done' 2>>"$vms/opens.log" | sort -n | sed -n 26p)
	[ -n "$microseconds" ] || fail "no open $1"
	ok "an open takes $microseconds us $1"
}

helper_start
for i in {1..8}; do
	vm_start "vm$i"
done
for i in {1..8}; do
	vm_runs "vm$i"
	shim_says "vm$i" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	modes_are "vm$i" process
	accounted_by_process "vm$i"
	has_no_capability "vm$i"
	helper_says "iommufd-rlimit-helper: info: outcome=given pid=${pid[vm$i]} uid=1000 gid=1000" ||
		fail "the helper does not say whom it served: $(<"$helper_log")"
done

# All that the helper has and needs is this capability. Other processes of the test machine have it as well.
pid[helper]=$helper
for set in CapPrm CapEff CapBnd CapAmb; do
	[ "$(status_field helper $set)" = 0000000001000000 ] || fail "the helper's $set is $(status_field helper $set)"
done
[ "$(status_field helper Uid)" = 65534 ] || fail "the helper's user is $(status_field helper Uid)"

helper_kill
vm_start orphan
vm_runs orphan
shim_says orphan 'iommufd-rlimit: warning:' outcome=denied errno=EPERM helper=ECONNREFUSED helper_step=connect
stderr_has orphan 'per-user accounting; run: systemctl restart iommufd-rlimit-helper.socket"'
accounted_by_user orphan
vm_stop orphan
for i in {1..8}; do
	vm_alive "vm$i" || fail "vm$i died with the helper"
	accounted_by_process "vm$i"
done

rm "$helper_socket"
vm_start early
vm_runs early
shim_says early outcome=denied errno=EPERM helper=ENOENT helper_step=connect
stderr_has early 'per-user accounting; run: systemctl enable --now iommufd-rlimit-helper.socket"'

helper_start
vm_start later
vm_runs later
shim_says later outcome=applied via=helper
accounted_by_process later

user=2000
vm_start stranger
vm_runs stranger
shim_says stranger outcome=denied errno=EPERM helper=EACCES helper_step=connect
! helper_says uid=2000 || fail "the helper saw a user outside the group"

# A listener of QEMU's own user is not believed, unless the settings name its socket. It has no capability either.
helper_kill
chown vm "${helper_socket%/*}"
rm "$helper_socket"
setpriv --reuid=1000 --regid=1000 --clear-groups /host/guest/listen "$helper_socket" vm \
	sh -c 'while :; do /usr/libexec/iommufd-rlimit-helper; done' 2>"$vms/own.log" &
wait_for test -S "$helper_socket" || fail "user vm cannot listen: $(<"$vms/own.log")"
is_refused() { # HELPER-STEP VARIABLE=VALUE...
	setpriv --reuid=1000 --regid=1000 --clear-groups "${with[@]}" "${@:2}" bash -c ': <>/dev/iommu' 2>"$vms/refused"
	grep -q "outcome=denied .* errno=EPERM helper=EPERM helper_step=$1 " "$vms/refused" ||
		fail "the library does not say helper_step=$1: $(<"$vms/refused")"
	ok "refused: helper_step=$1"
}
is_refused listener
is_refused answer env IOMMUFD_RLIMIT_HELPER="$helper_socket"
kill $!
rm "$helper_socket"
helper_start

as_user=(setpriv --reuid=1000 --regid=1000 --clear-groups)
opens "without the shim" "${as_user[@]}"
opens "with the capability" "${as_user[@]}" "${sys_resource[@]}" "${with[@]}"
opens "through the helper" "${as_user[@]}" "${with[@]}"

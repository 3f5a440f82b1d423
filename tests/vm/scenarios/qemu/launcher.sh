# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# What qemu-iommufd-rlimit makes of its caller, and of what is installed. tests/scripts has the rest.
. /host/guest/lib.sh

memory=64
limit=96
launcher=$(command -v qemu-iommufd-rlimit)
as_user=(setpriv --reuid=1000 --regid=1000 --clear-groups)

# Root gives QEMU to a user, with the one capability.
user=0
with=("$launcher" --user vm)
vm_start by-root
vm_runs by-root
shim_says by-root outcome=applied effective=process via=ioctl
accounted_by_process by-root
[ "$(status_field by-root Uid)" = 1000 ] || fail "--user does not change the user"
[ "$(status_field by-root CapEff)" = 0000000001000000 ] || fail "CapEff is $(status_field by-root CapEff)"

# libvirt asks an <emulator> in this way what it can do. It never names QEMU.
"${as_user[@]}" "$launcher" -S -no-user-config -nodefaults -nographic -machine none,accel=tcg \
	-qmp unix:/tmp/probe,server=on,wait=off -pidfile /tmp/probe.pid -daemonize >"$vms/probe" 2>&1 ||
	fail "a probe fails: $(cat "$vms/probe")"
[ ! -s "$vms/probe" ] || fail "a probe is not silent: $(cat "$vms/probe")"
kill "$(cat /tmp/probe.pid)"
ok "a silent probe"

# says TEXT COMMAND...: its output has the text.
says() {
	local output
	output=$("${@:2}" 2>&1) || true
	[[ $output == *"$1"* ]] || fail "'${*:2}' says '$output', not '$1'"
	ok "$1"
}

library=$(find /usr/lib -name libiommufd-rlimit.so)
dry_run=("$launcher" --dry-run)
says "env LD_PRELOAD=$library IOMMUFD_RLIMIT_MODE=process $qemu -m 64" "${as_user[@]}" "${dry_run[@]}" -m 64
says 'setpriv --inh-caps +sys_resource --ambient-caps +sys_resource env ' "${dry_run[@]}"
says 'warning: the kernel does not account the memory of a process with CAP_IPC_LOCK' "${dry_run[@]}"

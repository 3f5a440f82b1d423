# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# What the scenarios of SELinux are written with: libvirt's, where the machine's own systemd has loaded a policy.
. /host/scenarios/libvirt/lib.bash

# What QEMU needs as soon as it is emulated.
setsebool virt_use_execmem=1

# Of the helper, of QEMU, and of who starts QEMU, since the scenario began.
no_denial() {
	local denials
	denials=$(dmesg | grep -E 'avc:  denied .*:(svirt_t|svirt_tcg_t|iommufd_rlimit_t):' || true)
	[ -z "$denials" ] || fail "denied: $denials"
	ok "no denial"
}

# As what QEMU runs.
runs_as() { # VM TYPE
	local context
	context=$(tr -d '\0' <"/proc/${pid[$1]}/attr/current")
	[[ $context == *:"$2":* ]] || fail "$1 runs as $context"
	[ "$(status_field "$1" CapEff)" = 0000000000000000 ] || fail "$1 has capabilities"
	ok "$1: runs as $context, no capability"
}

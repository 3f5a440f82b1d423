# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# What the scenarios of SELinux are written with: libvirt's, where the machine's own systemd has loaded a policy.
. /host/scenarios/libvirt/lib.bash

[ "$(getenforce)" = Enforcing ] || fail "SELinux does not enforce"
policy=$(sed -n 's/^SELINUXTYPE=//p' /etc/selinux/config)
# What libvirt runs QEMU as: with KVM svirt_t; emulated, svirt_tcg_t in Fedora's policy, the same in Debian's.
emulated=$(sed -n '$p' "/etc/selinux/$policy/contexts/virtual_domain_context" | cut -d : -f 3)
export policy emulated

# An emulated QEMU makes code. The other would let QEMU read all of /sys.
setsebool virt_use_execmem=1 virt_use_usb=0

# As documented, unless an earlier scenario did.
with_module() {
	semodule -l | grep -qx iommufd-rlimit || documented selinux-host
}

# The host of the manual, with the module.
host_with_module() {
	host_reset
	with_module
	documented libvirt-host
	helper_runs
}

# Of the helper and of QEMU, and that QEMU is started with less than the daemon gives it. Not what any QEMU of this version
# tries in vain, such as to name the process that ends it.
denials() {
	dmesg | grep -E 'avc:  denied .*(scontext=[^ ]*:(svirt[a-z_]*|iommufd_rlimit_t):|(noatsecure|rlimitinh) .*:svirt)' |
		grep -vE 'dev="proc" .* tcontext=[^ ]*:virt(qemu)?d_t:|anonclass=\[io_uring\]|:sysctl_vm_t:' || true
}

no_denial() {
	local denied
	denied=$(denials)
	[ -z "$denied" ] || fail "denied: $denied"
	ok "no denial"
}

# With the module, the helper, and each VM accounted for itself.
domain_is_served() { # DOMAIN TYPE
	local context
	domain_runs "$1"
	shim_says "$1" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$1"
	context=$(tr -d '\0' <"/proc/${pid[$1]}/attr/current")
	[[ $context == *:"$2":* ]] || fail "$1 runs as $context"
	[ "$(status_field "$1" CapEff)" = 0000000000000000 ] || fail "$1 has capabilities"
	ok "$1: runs as $context, no capability"
}

# svirt DOMAIN...: with the type that QEMU has with KVM.
svirt() {
	local name label='<baselabel>system_u:system_r:svirt_t:s0</baselabel>'
	for name; do
		virsh dumpxml --inactive "$name" |
			sed "s,</domain>,<seclabel type='dynamic' model='selinux' relabel='yes'>$label</seclabel>&," >"/run/$name.xml"
		virsh --quiet define "/run/$name.xml"
	done
}

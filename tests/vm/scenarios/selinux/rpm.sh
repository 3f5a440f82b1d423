# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# only by name
# policies: targeted
# with rpms
#
# The RPM with the module, installed on a host whose helper listens already, upgraded, and removed.
. /host/scenarios/selinux/lib.bash

# --nodeps: Debian has other names for what the RPM needs.
package() { rpm --nodeps "$@" || fail "rpm $* fails"; }

# What the module is to the policy, and what its file contexts label.
modules() { semodule --list-modules=full | awk '$2 == "iommufd-rlimit" { print $1, $2, $3 }'; }
labels() { stat --format='%C %n' /usr/libexec/iommufd-rlimit-helper /run/iommufd-rlimit{,/helper.sock} /dev/iommu /dev/vfio/devices/vfio*; }
state() { # NAME
	semodule --list-modules=full >"/run/$1"
	sha256sum /etc/selinux/targeted/policy/policy.* /etc/selinux/targeted/contexts/files/file_contexts >>"/run/$1"
	labels >>"/run/$1"
}

# The module is in, all that it labels has its label, and a domain is served without a new look at anything.
module_works() {
	[ "$(modules)" = '200 iommufd-rlimit cil' ] || fail "the modules are: $(modules)"
	! labels | grep -vE ':(iommufd_rlimit_exec_t|iommufd_rlimit_var_run_t|iommu_device_t|vfio_device_t):' || fail "wrong labels: $(labels)"
	helper_runs
	dmesg --clear
	domain_is_served web1 "$emulated"
	no_denial
	doctor 0 --domain web1
	virsh --quiet destroy web1
}

host_reset
[ -z "$(modules)" ] || documented selinux-remove
documented libvirt-host
domain web1
state before
package --install /host/rpms/*-1.1.noarch.rpm
enable web1
module_works
package --upgrade /host/rpms/*-1.2.noarch.rpm
[ "$(rpm --query --queryformat '%{RELEASE}' iommufd-rlimit-selinux)" = 1.2 ] || fail "the package is not upgraded"
module_works
systemctl is-active iommufd-rlimit-helper.socket || fail "the socket no longer listens"
package --erase iommufd-rlimit-selinux
state after
diff /run/before /run/after || fail "the host is not as it was"
! find /var/lib/selinux /usr/share/selinux /run -name '*iommufd-rlimit*' -path '*selinux*' | grep . || fail "files of the module are left"
systemctl is-active iommufd-rlimit-helper.socket || fail "the socket no longer listens"
ok "nothing of the package is left"

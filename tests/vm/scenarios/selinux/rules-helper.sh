# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=rules.bash
#
# The rules of the helper, and of systemd that starts it: a client asks, which SELinux does not confine.
. /host/scenarios/selinux/rules.bash

ask() {
	systemctl stop iommufd-rlimit-helper.socket iommufd-rlimit-helper.service
	systemctl start iommufd-rlimit-helper.socket || echo 'no socket '
	LD_PRELOAD=$shim IOMMUFD_RLIMIT_MODE=process setpriv --reuid=libvirt-qemu --regid=kvm --clear-groups \
		sh -c ': <>/dev/iommu' 2>&1 | grep -v outcome=applied | grep -o 'outcome=.* helper=[A-Z]*' || true
}

each_is_missed 'init_t|iommufd_rlimit_t' ask

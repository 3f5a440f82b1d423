# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# From a host without the module to four domains, by nothing but the commands of iommufd-rlimit(7).
. /host/scenarios/selinux/lib.bash

host_reset
time documented selinux-host
documented libvirt-host
ls -lZ /dev/iommu /dev/vfio/devices/vfio0 /run/iommufd-rlimit /usr/libexec/iommufd-rlimit-helper
names=(web1 web2 web3 web4)
for name in "${names[@]}"; do
	domain "$name"
	iommufd-rlimit-libvirt enable "$name"
	domain_runs "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	runs_as "$name" svirt_tcg_t
done
no_denial

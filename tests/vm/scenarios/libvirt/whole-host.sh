# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# LD_PRELOAD of the daemon reaches each QEMU, without a change of any domain.
. /host/scenarios/libvirt/lib.bash

host_reset
documented libvirt-host
documented libvirt-all
helper_runs
domain web1
domain web2
for name in web1 web2; do
	domain_runs $name
	shim_says $name outcome=applied requested=process effective=process via=helper
done
accounted_by_process web1
accounted_by_process web2
doctor 0 --domain web1
doctor_says ok library libiommufd-rlimit-process.so
virsh --quiet destroy web1
doctor 0 --domain web1

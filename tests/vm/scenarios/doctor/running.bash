# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# What the scenarios of the doctor on a running domain are written with: web1, enabled.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
enable web1
runs_as_it_should() {
	domain_runs web1
	accounted_by_process web1
	modes_are web1 process
}
stopped() { virsh --quiet destroy web1; }

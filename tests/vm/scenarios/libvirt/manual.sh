# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# The examples of iommufd-rlimit-libvirt(1), iommufd-rlimit(7) and iommufd-rlimit-doctor(1), and of the part Troubleshooting
# of README.md.
. /host/scenarios/libvirt/lib.bash

host_reset
domain web1
domain web2
documented enable 's/web db/web1 web2/; s/--limit/--yes --limit/; s/disable/disable --yes/'
documented libvirt 's/vfio-guest/web1/; s/enable/enable --yes/'
enable web2
domain_runs web1
shim_says web1 outcome=applied via=helper
accounted_by_process web1
documented doctor 's/vfio-guest/web1/'
documented trouble 's/vfio-guest/web1/'
documented denials

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# policies: targeted
#
# The scenario of libvirt, with SELinux.
. /host/scenarios/selinux/lib.bash

with_module
. /host/scenarios/libvirt/whole-host.sh
no_denial

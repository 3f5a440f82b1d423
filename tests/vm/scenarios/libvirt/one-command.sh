# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: forky
#
# From a host that has nothing but the packages to four domains, each accounted by itself, by one command; and back, to the byte.
. /host/scenarios/libvirt/lib.bash

host_reset
one_command

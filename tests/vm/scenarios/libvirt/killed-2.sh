# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=killed.bash
# suites: trixie
# only by name
. /host/scenarios/libvirt/killed.bash

killed_at 4 5

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
# with virtqemud
#
# As session, on a host with libvirt's modular daemons.
. /host/scenarios/libvirt/lib.bash

modular_daemons
export session_daemon=virtqemud
. /host/scenarios/libvirt/session.sh

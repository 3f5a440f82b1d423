# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
# with virtqemud
#
# As one-command, on a host with libvirt's modular daemons.
. /host/scenarios/libvirt/lib.bash

host_reset
modular_daemons
one_command
modular_daemons_run virtqemud virtlogd
ok "virtqemud, not libvirtd"

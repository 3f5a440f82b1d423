# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=rules.bash
#
# The rules of QEMU, and of libvirt's daemon that starts it.
. /host/scenarios/selinux/rules.bash

domain web1
iommufd-rlimit-libvirt enable web1
each_is_missed 'virt_domain|virtd_t' start_domain

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What iommufd-rlimit-doctor and iommufd-rlimit-libvirt consist of."""

VERSION = "0.1.0"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""/dev/iommu is there, and the user may open it."""

import os

from .. import host
from .finding import OK, PROBLEM, install


def check_device(target):
    try:
        info = os.stat(host.DEVICE)
    except OSError as error:
        yield PROBLEM, f"{host.DEVICE}: {error.strerror}", "udevadm trigger; a container has to be given it"
        return
    if host.is_iommufd(info):
        yield check_access(host.DEVICE, target.user)
    else:
        yield PROBLEM, f"{host.DEVICE} is something else than iommufd", f"rm {host.DEVICE}; udevadm trigger"


def check_access(path, user):
    what = f"use {path} ({host.owner_and_mode(path)})"
    reason = host.refusal(path, user)
    if not reason:
        return OK, f"user {user.name} may {what}", ""
    fix = install("udev.rules", "/etc/udev/rules.d/72-iommufd-rlimit.rules")
    return PROBLEM, f"user {user.name} may not {what}: {reason}", f"{fix}; udevadm control --reload; udevadm trigger"

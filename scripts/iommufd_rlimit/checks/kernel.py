# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The kernel has iommufd."""

import gzip
import os
import platform
import re

from .. import host
from .finding import OK, PROBLEM


def check_kernel(target):
    release = platform.release()
    if os.path.exists(f"{host.SYS}/class/misc/iommu"):
        yield OK, f"Linux {release} has iommufd", ""
    elif kernel_option("CONFIG_IOMMUFD", release) == "n":
        yield PROBLEM, f"Linux {release} is built without iommufd", "boot one of 6.2 or later with CONFIG_IOMMUFD"
    else:
        yield PROBLEM, f"Linux {release} shows no iommufd", "modprobe iommufd; it takes CONFIG_IOMMUFD"


def kernel_option(name, release):
    """y, m or n; None where the kernel's configuration is nowhere to be read."""
    try:
        with gzip.open(f"{host.PROC}/config.gz", "rt") as file:
            text = file.read()
    except OSError:
        text = host.read(f"/boot/config-{release}")
    found = re.search(rf"^{name}=(.)", text, re.M)
    return found[1] if found else "n" if text else None

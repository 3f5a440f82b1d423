# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The kernel has iommufd, and QEMU runs in the initial user namespace."""

import gzip
import os
import platform
import re
from pathlib import Path

from .. import host
from .finding import OK, PROBLEM, SKIPPED


def check_kernel(target):
    release = platform.release()
    if not os.path.exists(f"{host.SYS}/class"):
        yield PROBLEM, f"{host.SYS} shows no devices", f"mount -t sysfs sysfs {host.SYS}"
    elif os.path.exists(f"{host.SYS}/class/misc/iommu"):
        yield OK, f"Linux {release} has iommufd", ""
    elif kernel_option("CONFIG_IOMMUFD", release) == "n":
        yield PROBLEM, f"Linux {release} is built without iommufd", "boot Linux 6.6 or later with CONFIG_IOMMUFD"
    else:
        yield PROBLEM, f"Linux {release} shows no iommufd, which takes CONFIG_IOMMUFD", "modprobe iommufd"


def check_cdev(target):
    """The kernel has a file for each VFIO device: 6.6 or later, with CONFIG_VFIO_DEVICE_CDEV."""
    if not os.path.exists(f"{host.SYS}/class"):
        yield SKIPPED, "the files of VFIO devices: correct check kernel", ""
    elif os.path.exists(f"{host.SYS}/class/vfio-dev"):
        yield OK, "the kernel has a file for each VFIO device", ""
    elif kernel_option("CONFIG_VFIO_DEVICE_CDEV", platform.release()) == "n":
        what = "the kernel is built without CONFIG_VFIO_DEVICE_CDEV: no device gets a file below /dev/vfio/devices"
        yield PROBLEM, what, "boot one of 6.6 or later with CONFIG_VFIO_DEVICE_CDEV"
    else:
        yield PROBLEM, "the kernel shows no VFIO devices, which takes CONFIG_VFIO_DEVICE_CDEV", "modprobe vfio-pci"


def check_namespace(target):
    """The kernel asks for the capability in the initial user namespace."""
    process = Path(host.PROC, str(target.pid or "self"))
    # A kernel without user namespaces has no such file.
    has_map = Path(process, "uid_map").exists() or not Path(process, "status").exists()
    if not has_map or Path(process, "uid_map").read_text().split() == ["0", "0", "4294967295"]:
        yield OK, "in the initial user namespace", ""
    else:
        what = "in a user namespace: CAP_SYS_RESOURCE does not count there, and root outside shows as user 65534"
        yield PROBLEM, what, "run QEMU outside of it, or in a container without user namespaces"


def kernel_option(name, release):
    """y, m or n; None if the configuration of the kernel is not found."""
    try:
        with gzip.open(f"{host.PROC}/config.gz", "rt") as file:
            text = file.read()
    except OSError:
        text = host.read(f"/boot/config-{release}")
    found = re.search(rf"^{name}=(.)", text, re.M)
    return found[1] if found else "n" if text else None

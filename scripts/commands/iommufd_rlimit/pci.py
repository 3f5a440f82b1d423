# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""A device that a VM is given, by its name in sysfs: a PCI address, or the UUID of a mediated device."""

import glob
import os
from pathlib import Path

from . import host

IORESOURCE_MEM = 0x200
BARS = 6  # the first lines of a device's file 'resource'


def directory(name):
    """The directory of the device in sysfs; None if there is no such device."""
    for bus in ("pci", "mdev"):
        path = f"{host.SYS}/bus/{bus}/devices/{name}"
        if os.path.exists(path):
            return path
    return None


def driver(name):
    """The driver that the device is bound to; None for none."""
    path = f"{directory(name)}/driver"
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None


def node(name):
    """The file below /dev by which iommufd has the device; None where its driver makes none."""
    found = glob.glob(f"{directory(name)}/vfio-dev/vfio*")
    return f"/dev/vfio/devices/{os.path.basename(found[0])}" if found else None


def link(name):
    """The stable name of that file, from the udev rule of this project: vfioN depends on the order of binding."""
    return f"/dev/vfio/by-path/{name}"


def bars_kb(name):
    """The sizes of its memory regions together, which QEMU maps for other devices to reach: whole pages of each."""
    path = directory(name)
    lines = host.read(Path(path, "resource")).splitlines()[:BARS] if path else []
    regions = [[int(word, 16) for word in line.split()] for line in lines]
    page = host.PAGE_KB * 1024
    return sum(-(-(end - start + 1) // page) for start, end, flags in regions if flags & IORESOURCE_MEM) * host.PAGE_KB

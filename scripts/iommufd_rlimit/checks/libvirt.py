# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What libvirt gives QEMU."""

import glob
import os
import re

from .. import host
from .device import check_access
from .finding import OK, PROBLEM, WARNING


def check_libvirt(target):
    if not target.domain:
        return
    version = re.search(r"Using library: libvirt (\d+)\.(\d+)", host.virsh("version"))
    if target.libvirt_sets_mode():
        yield OK, "libvirt opens iommufd and sets the mode by itself; the shim is not needed", ""
    elif version and (int(version[1]), int(version[2])) >= (12, 2):
        what = f"libvirt {version[1]}.{version[2]} sets the mode by itself where a domain has <iommufd enabled='yes'/>"
        yield OK, f"{what}; only qemu:commandline needs the shim", ""
    if not target.libvirt_sets_mode() and not target.opens_iommufd():
        yield WARNING, f"domain {target.domain} has no device on iommufd", "see domain.xml in iommufd-rlimit(7)"


def check_devices(target):
    """Of <qemu:commandline>; those of <hostdev> are libvirt's business."""
    if not target.opens_iommufd():
        return
    paths = [host.DEVICE]
    for address in re.findall(r"\bvfio-pci,(?:\S*,)?host=([0-9a-fA-F:.]+)", "\n".join(target.commandline())):
        address = address if address.count(":") == 2 else f"0000:{address}"
        nodes = glob.glob(f"{host.SYS}/bus/pci/devices/{address}/vfio-dev/vfio*")
        if not nodes:
            yield PROBLEM, f"device {address} is not bound to vfio-pci", f"driverctl set-override {address} vfio-pci"
        paths += [f"/dev/vfio/devices/{os.path.basename(node)}" for node in nodes]
    for path in paths:
        if path not in target.conf.get("cgroup_device_acl", []):
            fix = f"add it to cgroup_device_acl in {host.ETC}/libvirt/qemu.conf, restart libvirt"
            yield PROBLEM, f"QEMU does not get {path} from libvirt", fix
        elif path != host.DEVICE:
            yield check_access(path, target.user)

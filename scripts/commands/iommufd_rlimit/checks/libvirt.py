# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""libvirt sets the mode, shows the devices to QEMU, and has read its settings."""

import os

from .. import host, pci, qemu_conf
from .finding import OK, PROBLEM, SKIPPED, WARNING


def check_libvirt(target):
    if not target.domain:
        return
    if target.libvirt_sets_mode():
        what = "the iommufd comes from libvirt, or from the program that gave libvirt an fdgroup: that one opens it and sets the mode"
        yield OK, f"{what}; the library is not needed", ""
    elif target.version_of_libvirt >= (12, 2):
        major, minor = target.version_of_libvirt
        what = f"libvirt {major}.{minor} sets the mode by itself where a domain has <iommufd enabled='yes'/>"
        yield OK, f"{what}; only qemu:commandline takes the library", ""
    if not target.libvirt_sets_mode() and not target.opens_iommufd():
        what = f"domain {target.domain} is not concerned: {target.xml.not_needed()}"
        yield WARNING, f"{what}; iommufd-rlimit(7) shows a device on iommufd", f"virsh edit {target.word()}"


def check_acl(target):
    """qemu.conf has libvirt show /dev/iommu and the devices to QEMU."""
    if not target.opens_iommufd() or target.is_session:
        return
    if target.conf_unread:
        yield SKIPPED, f"which devices QEMU gets from libvirt: {target.conf_unread}", ""
        return
    acl = set(map(os.path.realpath, target.conf.get("cgroup_device_acl") or []))
    wanted = [host.DEVICE, *filter(None, map(pci.node, target.xml.devices()))]
    for path in wanted:
        if path not in acl:
            what = f"QEMU does not get {path} from libvirt: it is not in cgroup_device_acl of {qemu_conf.path()}"
            yield PROBLEM, what, target.enable()
    if set(wanted) <= acl:
        yield OK, f"QEMU gets {' '.join(wanted)} from libvirt", ""


def check_daemon(target):
    """The libvirt daemon reads qemu.conf only when it starts."""
    if not target.domain or not target.daemon or target.is_session or not os.path.exists(qemu_conf.path()):
        return
    name = host.process_name(target.daemon)
    if host.start_time(target.daemon) < os.stat(qemu_conf.path()).st_mtime:
        what = f"{name} was started before {qemu_conf.path()} was changed, and has not read the change"
        yield PROBLEM, what, f"systemctl restart {host.unit(target.daemon)}"
    else:
        yield OK, f"{name} has read {qemu_conf.path()} as it is", ""

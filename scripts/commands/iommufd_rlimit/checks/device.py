# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""/dev/iommu and the files of devices are there, and the user may open them."""

import os

from .. import host, pci
from .finding import OK, PROBLEM, SKIPPED, install, let_in


def check_device(target):
    try:
        info = os.stat(host.DEVICE)
    except OSError as error:
        yield missing(error)
        return
    if host.is_iommufd(info):
        if target.is_concerned():
            yield check_access(host.DEVICE, target)
    else:
        what = f"{host.DEVICE} is not the iommufd device"
        number = host.read(f"{host.SYS}/class/misc/iommu/dev").strip()
        if number:
            yield PROBLEM, what, f"rm {host.DEVICE}; {make_file(host.DEVICE, number, 'misc')}"
        else:
            yield SKIPPED, f"{what}: correct check kernel", ""


def missing(error):
    """The kernel has iommufd and makes the file. So somebody removed the file, or this is a container."""
    what = f"{host.DEVICE} cannot be found: {error.strerror}"
    number = host.read(f"{host.SYS}/class/misc/iommu/dev").strip()
    if not number:
        return SKIPPED, f"{what}: correct check kernel", ""
    if host.is_container():
        return PROBLEM, f"{what} in this container", f"start the container with --device {host.DEVICE}"
    return PROBLEM, what, make_file(host.DEVICE, number, "misc")


def make_file(path, number, subsystem):
    """The commands that make a file as the kernel does when the device appears, and have udev apply its rules to it."""
    trigger = f"udevadm trigger --settle --subsystem-match={subsystem}"
    return f"mknod -m 660 {path} c {number.replace(':', ' ')}; {trigger}"


def check_access(path, target):
    """Opens the file as the user."""
    user = target.user
    what = f"use {path} ({host.owner_and_mode(path)})"
    try:
        reason = host.refusal(path, user)
    except PermissionError as error:
        return SKIPPED, f"whether user {user.name} may {what}: {error}", ""
    if not reason:
        return OK, f"user {user.name} may {what}", ""
    what = f"user {user.name} may not {what}: {reason}"
    if reason == "Operation not permitted":  # what the device cgroup answers
        return PROBLEM, what, f"start the container with --device {path}"
    if target.domain:
        return PROBLEM, what, let_in(path, target) or target.enable()
    rule = install("udev.rules", "/etc/udev/rules.d/72-iommufd-rlimit.rules")
    return PROBLEM, what, let_in(path, target) or f"{rule}; udevadm control --reload; udevadm trigger --settle"


def check_devices(target):
    """The devices that the QEMU of the domain has on its iommufds."""
    if not target.opens_iommufd():
        return
    if not os.path.exists(f"{host.SYS}/class"):
        yield SKIPPED, "the devices: correct check kernel", ""
        return
    for name in target.xml.devices():
        driver = pci.driver(name) if pci.directory(name) else None
        path = pci.node(name) if driver else None
        if not pci.directory(name):
            yield PROBLEM, f"this host has no device {name}; lspci -D shows those there are", f"virsh edit {target.word()}"
        elif not driver:
            yield PROBLEM, f"device {name} has no driver", f"driverctl set-override {name} vfio-pci"
        elif path:
            yield OK, f"device {name} has driver {driver} and file {path}", ""
            if os.path.exists(path):
                yield check_access(path, target)
            else:
                number = host.read(f"{host.SYS}/class/vfio-dev/{os.path.basename(path)}/dev").strip()
                yield PROBLEM, f"there is no file {path}", make_file(path, number, "vfio-dev")
        elif "vfio" in driver:
            what = f"driver {driver} made no file for device {name}"
            yield PROBLEM, what, "boot a kernel with CONFIG_VFIO_DEVICE_CDEV"
        else:
            what = f"device {name} has driver {driver}, which is not a VFIO driver: take vfio-pci, or the vendor's for it"
            yield PROBLEM, what, f"driverctl set-override {name} vfio-pci"

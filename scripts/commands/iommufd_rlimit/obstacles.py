# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The obstacles to enabling a domain: each a sentence, with the command that removes it."""

import shutil

from . import host
from .checks import kernel, library, qemu
from .domain_xml import LIBRARY
from .setup import GROUP, SOCKET
from .target import Target


def obstacle(emulator, conf, user, is_session):
    """The first for QEMU of this path, run by this user; empty for none. What a user's session takes root allows."""
    if user is None:
        return "the user that libvirt runs QEMU as is not known: set 'user' in qemu.conf"
    if user.uid == 0 and conf.get("clear_emulator_capabilities") == "0":
        what = "qemu.conf has QEMU run as root with CAP_IPC_LOCK, whose memory the kernel does not account at all"
        return f"{what}: remove 'user' and 'clear_emulator_capabilities' from it, restart libvirt, and enable it then"
    if user.uid != 0 and not is_session and GROUP not in map(host.group_name, user.groups):
        return f"QEMU's user {user.name} is not in group {GROUP}, which may ask the helper: usermod -aG {GROUP} {user.name}"
    if not shutil.which("systemctl"):
        return "this host has no systemd to start the helper: see iommufd-rlimit-helper(8) and iommufd-rlimit(7)"
    if host.run(["systemctl", "cat", SOCKET])[0]:
        return f"there is no unit {SOCKET}: install iommufd-rlimit-helper"
    target = Target(user, {"LD_PRELOAD": LIBRARY, "IOMMUFD_RLIMIT_MODE": "process"}, emulator, conf)
    for check in (
        kernel.check_kernel,
        kernel.check_cdev,
        qemu.check_qemu,
        library.check_capabilities,
        library.check_library,
    ):
        for level, what, fix in check(target):
            if level != "ok":
                return f"{what}: {fix}"
    return ""

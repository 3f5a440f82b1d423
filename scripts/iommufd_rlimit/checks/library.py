# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""QEMU loads the library."""

import os
import re
import stat

from .. import shim
from .finding import OK, PROBLEM


def check_library(target):
    if target.libvirt_sets_mode():
        return
    if not target.wants_library():
        enable = f"iommufd-rlimit-libvirt enable {target.domain}"
        fix = enable if target.domain else "start it with qemu-iommufd-rlimit"
        yield PROBLEM, "LD_PRELOAD does not name the library", fix
        return
    if not target.qemu:
        return
    _, text = target.version
    loaded = [line for line in shim.shim_lines(text) if "version" in line]
    ignored = re.search(r"object '(\S*libiommufd-rlimit\S*)' from LD_PRELOAD cannot be preloaded \((.*?)\)", text)
    if loaded:
        yield OK, f"QEMU loads {target.preload()}, version {loaded[0]['version']}", ""
    elif ignored and "ELF" in ignored[2]:
        yield PROBLEM, f"QEMU does not load {ignored[1]}: {ignored[2]}", "install the one for QEMU's architecture"
    elif ignored:
        fix = privileges_fix(target.qemu) or "install it where LD_PRELOAD says; ldconfig"
        yield PROBLEM, f"QEMU does not load {ignored[1]}: {ignored[2]}", fix
    else:
        fix = privileges_fix(target.qemu) or "take a QEMU that is dynamically linked"
        yield PROBLEM, f"QEMU does not load {target.preload()}, and ld.so does not say why", fix


def privileges_fix(qemu):
    """For a program that raises its privileges (AT_SECURE) ld.so ignores a preload, by path without a word."""
    try:
        if "security.capability" in os.listxattr(qemu):
            return f"it has file capabilities: setcap -r {qemu}"
    except OSError:
        pass  # the file system has none
    if os.stat(qemu).st_mode & (stat.S_ISUID | stat.S_ISGID):
        return f"it is set-user-ID or set-group-ID: chmod ug-s {qemu}"
    return ""

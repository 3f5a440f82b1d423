# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""A QEMU that runs: its iommufds, and whether its memory is accounted."""

import os

from .. import host, shim
from .finding import OK, PROBLEM, WARNING
from .library import privileges_fix


def check_accounting(target):
    pid = target.pid or ("self" if target.user.uid == os.geteuid() else None)
    if pid and host.has_capability(pid, host.CAP_IPC_LOCK):
        who = f"process {pid}" if target.pid else f"user {target.user.name}"
        yield WARNING, f"{who} has CAP_IPC_LOCK: its memory is not accounted at all", "run QEMU as another user"


def check_process(target):
    if not target.pid:
        return
    if "libiommufd-rlimit" not in host.read(f"{host.PROC}/{target.pid}/maps") and not target.libvirt_sets_mode():
        fix = privileges_fix(target.qemu) or "see check 'library', then shut it down and start it again"
        yield PROBLEM, f"process {target.pid} runs without the library", fix
    modes = shim.iommufd_modes(target.pid)
    memory = f"VmPin {host.process_kb(target.pid, 'VmPin')} kB, VmLck {host.process_kb(target.pid, 'VmLck')} kB"
    if not modes:
        yield OK, f"process {target.pid} has no iommufd open; {memory}", ""
    for fd, mode in modes.items():
        what = f"process {target.pid}: iommufd {fd} has mode {mode}; {memory}"
        if mode == "process":
            yield OK, what, ""
        else:
            yield PROBLEM, what, "correct what else is listed here, then shut it down and start it again"

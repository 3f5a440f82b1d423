# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""A QEMU that runs: its iommufds, and whether its memory is accounted."""

import os

from .. import host, shim
from .finding import OK, PROBLEM, SKIPPED, WARNING


def check_accounting(target):
    pid = target.pid or ("self" if target.user.uid == os.geteuid() else None)
    if pid and host.has_capability(pid, host.CAP_IPC_LOCK):
        who = f"process {pid}" if target.pid else f"user {target.user.name}"
        fix = "run QEMU as an unprivileged user: --user of qemu-iommufd-rlimit"
        if target.domain:
            fix = "in qemu.conf remove 'user' and 'clear_emulator_capabilities', then restart libvirt and the domain"
        yield WARNING, f"{who} has CAP_IPC_LOCK: the kernel does not account its memory", fix


def check_process(target):
    if not target.pid:
        return
    again = f"virsh shutdown {target.domain}; virsh start {target.domain}" if target.domain else "start it again"
    if "libiommufd-rlimit" not in host.read(f"{host.PROC}/{target.pid}/maps") and not target.libvirt_sets_mode():
        yield PROBLEM, f"process {target.pid} runs without the library", f"correct check library, then: {again}"
    memory = f"VmPin {host.process_kb(target.pid, 'VmPin')} kB, VmLck {host.process_kb(target.pid, 'VmLck')} kB"
    try:
        modes = shim.iommufd_modes(target.pid)
    except PermissionError as error:
        yield SKIPPED, f"the modes: {error}; {memory}", ""
        return
    if not modes:
        yield OK, f"process {target.pid} has no iommufd open; {memory}", ""
    for fd, mode in modes.items():
        what = f"process {target.pid}: iommufd {fd} has mode {mode}; {memory}"
        if mode == "process":
            yield OK, what, ""
        else:
            yield PROBLEM, what, f"correct the other problems, then: {again}"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""A QEMU that runs: its iommufds, and whether its memory is accounted."""

import os

from .. import host, qemu_conf, shim
from .finding import OK, PROBLEM, SKIPPED, WARNING


def check_accounting(target):
    pid = target.pid or ("self" if target.user.uid == os.geteuid() else None)
    if pid and host.has_capability(pid, host.CAP_IPC_LOCK):
        who = f"process {pid}" if target.pid else f"user {target.user.name}"
        what = f"{who} has CAP_IPC_LOCK: the kernel does not account its memory"
        if not target.domain:
            yield WARNING, what, "run QEMU as an unprivileged user: --user of qemu-iommufd-rlimit"
            return
        default = f"sed -i -E '/^(user|clear_emulator_capabilities) *=/d' {qemu_conf.path()}"
        # Off before the restart: libvirt 11.3, just started, may say of a domain that it is told to end that it does not run.
        name = target.word()
        off = f"virsh shutdown {name}; while virsh list --name | grep -qx {name}; do sleep 5; done"
        restart = f"systemctl restart {host.unit(target.daemon)}; " if target.daemon else ""
        yield WARNING, what, f"{off}; {default}; {restart}virsh start {name}"


def check_process(target):
    if not target.pid:
        return
    if "libiommufd-rlimit" not in host.read(f"{host.PROC}/{target.pid}/maps") and target.is_concerned():
        yield PROBLEM, f"process {target.pid} runs without the library", target.again()
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
            yield PROBLEM, what, target.again()

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The checks of iommufd-rlimit-doctor. Each yields findings: a level, what was found, what to do about it."""

from .. import host
from . import apparmor, device, kernel, library, libvirt, log, memory, mode, process, qemu, selinux
from .finding import WARNING

CHECKS = {
    "kernel": kernel.check_kernel,
    "device": device.check_device,
    "qemu": qemu.check_qemu,
    "library": library.check_library,
    "mode": mode.check_mode,
    "accounting": process.check_accounting,
    "process": process.check_process,
    "libvirt": libvirt.check_libvirt,
    "devices": libvirt.check_devices,
    "apparmor": apparmor.check_apparmor,
    "selinux": selinux.check_selinux,
    "log": log.check_log,
    "memory": memory.check_memory,
}


def examine(target):
    findings = []
    for name, check in CHECKS.items():
        try:
            found = list(check(target))
        except (OSError, host.Failure) as error:
            found = [(WARNING, f"not checked: {error}", "run it as root")]
        findings += [dict(zip(("check", "level", "what", "fix"), (name, *finding))) for finding in found]
    return findings

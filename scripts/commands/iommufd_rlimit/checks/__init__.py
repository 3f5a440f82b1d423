# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The checks of iommufd-rlimit-doctor. Each yields findings: a state, a message, and the step that mends it."""

from .. import host
from . import apparmor, device, helper, kernel, library, libvirt, log, memory, mode, process, qemu, selinux
from .finding import SKIPPED

# By code. Other programs read the codes, so they stay as they are. In the order in which their fixes are to be run: a domain
# is started anew when all that it takes is right.
CHECKS = {
    "kernel": kernel.check_kernel,
    "cdev": kernel.check_cdev,
    "namespace": kernel.check_namespace,
    "device": device.check_device,
    "qemu": qemu.check_qemu,
    "capabilities": library.check_capabilities,
    "library": library.check_library,
    "libvirt": libvirt.check_libvirt,
    "devices": device.check_devices,
    "acl": libvirt.check_acl,
    "daemon": libvirt.check_daemon,
    "apparmor": apparmor.check_apparmor,
    "selinux": selinux.check_selinux,
    "helper": helper.check_helper,
    "mode": mode.check_mode,
    "limit": memory.check_limit,
    "accounting": process.check_accounting,
    "process": process.check_process,
    "log": log.check_log,
    "room": memory.check_room,
}


def examine(target):
    findings = []
    for code, check in CHECKS.items():
        found = []
        try:
            found.extend(check(target))
        except (OSError, host.Failure) as error:
            found.append((SKIPPED, f"{error}", ""))
        except Exception as error:  # such as for a process that ends meanwhile: it hides no other check
            found.append((SKIPPED, f"the check failed: {error!r}", ""))
        keys = ("code", "state", "subject", "message", "fix")
        findings += [dict(zip(keys, (code, state, target.subject(), *rest))) for state, *rest in found]
    return findings

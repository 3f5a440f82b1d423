# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""QEMU has iommufd: version 9.0 or later."""

import re

from .finding import OK, PROBLEM, SKIPPED


def check_qemu(target):
    if not target.qemu:
        yield SKIPPED, target.no_qemu, ""
        return
    status, text = target.version
    version = re.search(r"version (\d+)\.(\d+)", text)
    if status == 0 and target.program != "QEMU":
        yield SKIPPED, f"whether {target.qemu} has iommufd: it is not QEMU", ""
    elif status or not version:
        said = text.strip().splitlines()[-1:] or ["nothing"]
        yield PROBLEM, f"{target.qemu} --version fails with status {status}: {said[0]}", "install QEMU 9.0 or later"
    elif int(version[1]) < 9:
        yield PROBLEM, f"{target.qemu} is {version[1]}.{version[2]}, without iommufd", "install QEMU 9.0 or later"
    else:
        yield OK, f"{target.qemu} is {version[1]}.{version[2]}", ""

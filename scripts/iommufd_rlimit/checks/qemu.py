# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""QEMU is one that has iommufd."""

import re

from .finding import OK, PROBLEM, WARNING


def check_qemu(target):
    if not target.qemu:
        yield WARNING, "no QEMU found", "name one with --qemu"
        return
    status, text = target.version
    version = re.search(r"version (\d+)\.(\d+)", text)
    if status or not version:
        yield PROBLEM, f"{target.qemu} --version: {text.strip()}", "name another with --qemu"
    elif int(version[1]) < 9:
        yield PROBLEM, f"{target.qemu} is {version[1]}.{version[2]}, without iommufd", "install QEMU 9.0 or later"
    else:
        yield OK, f"{target.qemu} is {version[1]}.{version[2]}", ""

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The result of the last start of a domain, by its log."""

import os
import re

from .. import host, shim
from .finding import OK, SKIPPED, WARNING

ENOMEM, EFAULT = 12, 14
TAIL = 1 << 20  # bytes that are read, from the end: the guest may have QEMU write as much as it likes
DMA_MAP = r"(?:dma_map|map_dma|map_file_dma)\b[^\n]{0,200}= -(\d+) \("  # QEMU's functions of VFIO and iommufd


def check_log(target):
    """For a domain that does not run now, the state is ok: the log is history, as it is after the next start."""
    if not target.domain:
        return
    path = target.log
    if not os.path.exists(path):
        return
    if not os.access(path, os.R_OK):
        yield SKIPPED, f"the log of the last start: only root may read {path}", ""
        return
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - TAIL))
        text = file.read(TAIL).decode(errors="replace").rpartition("starting up libvirt")[2]
    level = WARNING if target.pid else OK
    fix = target.restart() if target.pid else ""
    for line in re.findall(r"^ERROR: ld\.so: .*libiommufd-rlimit.*$", text, re.M):
        yield level, f"at the last start: {line}", fix
    errors = set(map(int, re.findall(DMA_MAP, text)))
    if ENOMEM in errors:
        yield level, "at the last start: -12 (Cannot allocate memory): the memory limit did not allow it", fix
    if EFAULT in errors:
        what = "-14 (Bad address): QEMU could not map a region of a device for other devices to reach"
        yield OK, f"at the last start: {what}; it goes on without, and that is not the memory limit", ""
    outcomes = [line for line in shim.shim_lines(text) if "outcome" in line]
    if outcomes:
        last = outcomes[-1]
        words = " ".join(f"{key}={last[key]}" for key in ("outcome", "errno", "helper") if key in last)
        if last["outcome"] in ("applied", "already"):
            level, fix = OK, ""
        yield level, f"at the last start: {words}", fix

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What came of the last start of a domain."""

import re

from .. import host, shim
from .finding import OK, WARNING


def check_log(target):
    """What came of the domain's last start. If it does not run now, that is history, and not judged."""
    path = f"{host.LOG}/libvirt/qemu/{target.domain}.log"
    text = host.read(path).rpartition("starting up libvirt")[2] if target.domain else ""
    outcomes = [line for line in shim.shim_lines(text) if "outcome" in line]
    level, fix = (WARNING, f"see {path}") if target.pid else (OK, "")
    for line in re.findall(r"^ERROR: ld\.so: .*libiommufd-rlimit.*$", text, re.M):
        yield level, f"at the last start: {line}", fix
    if "(Cannot allocate memory)" in text:
        yield level, "at the last start: not enough memory could be locked", fix
    if outcomes:
        last = outcomes[-1]
        words = " ".join(f"{key}={last[key]}" for key in ("outcome", "errno", "helper") if key in last)
        if last["outcome"] in ("applied", "already"):
            level, fix = OK, ""
        yield level, f"at the last start: {words}", fix

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The limit, what is pinned, and what there is room for."""

import re

from .. import host
from .finding import OK, PROBLEM


def check_memory(target):
    limit = limit_kb(target)
    size = 0  # of a VM like this one, where it is known
    if target.pid:
        size = host.process_kb(target.pid, "VmPin")
    elif target.domain:
        size = int(target.xml.findtext("memory"))
    mine = [p for p in host.processes() if host.process_field(p, "Uid")[1:2] == [str(target.user.uid)]]
    pinned = {p: host.process_kb(p, "VmPin") for p in mine if host.process_kb(p, "VmPin")}
    # What is charged to the user is not in any process's VmLck; the kernel does not show the sum.
    shared = sum(max(0, kb - host.process_kb(p, "VmLck")) for p, kb in pinned.items())
    state = (
        f"limit {mib(limit)}; {len(pinned)} processes of user {target.user.name} pin {mib(sum(pinned.values()))}, "
        f"{mib(shared)} of it on the user's account"
    )
    if not size:
        yield OK, state, ""
    elif limit is not None and size > limit:
        fix = "raise <memtune><hard_limit>" if target.domain else "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)"
        yield PROBLEM, f"a VM of {mib(size)} exceeds its limit of {mib(limit)}", fix
    else:
        room = int(re.search(r"^MemAvailable:\s*(\d+)", host.read(f"{host.PROC}/meminfo"), re.M)[1]) // size
        by_user = room if limit is None else min(room, max(0, limit - shared) // size)
        yield OK, f"{state}; room for {by_user} more VMs of {mib(size)} in mode user, {room} in mode process", ""


def limit_kb(target):
    """RLIMIT_MEMLOCK of the VM; None: unlimited."""
    hard_limit = target.xml.findtext("memtune/hard_limit") if target.domain else None
    if target.pid:
        return host.memlock_kb(target.pid)
    if hard_limit:
        return int(hard_limit)
    return host.memlock_kb(target.daemon or "self")


def mib(kb):
    return "unlimited" if kb is None else f"{kb // 1024} MiB"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The limit of the VM, the pinned memory, and the number of VMs that still fit."""

import re

from .. import host
from .finding import OK, PROBLEM, SKIPPED


def check_limit(target):
    """The limit covers the guest's memory, the regions of its devices, and a page."""
    if not target.pid and not target.domain:
        return
    limit = limit_kb(target)
    if target.domain:
        parts = f"{mib(target.xml.memory_kb())} of memory, {mib(target.xml.bars_kb())} of devices, a page of {host.PAGE_KB} KiB"
        least = target.xml.least_kb()
    else:
        least = host.process_kb(target.pid, "VmPin")
        parts = f"{mib(least)} that it pins"
    if limit is not None and least > limit:
        yield PROBLEM, f"the limit of {mib(limit)} does not cover {parts}", raise_limit(target, least)
    else:
        yield OK, f"the limit of {mib(limit)} covers {parts}", ""


def raise_limit(target, least):
    if not target.domain:
        return f"prlimit --pid {target.pid} --memlock={least * 1024}"
    return f"{target.enable_with_limit()}; {target.restart()}" if target.pid else target.enable_with_limit()


def check_room(target):
    """The number of VMs of this size that still fit, by mode."""
    size = vm_kb(target)
    limit = limit_kb(target)
    mine = [p for p in host.processes() if host.process_field(p, "Uid")[1:2] == [str(target.user.uid)]]
    pinned = {p: host.process_kb(p, "VmPin") for p in mine if host.process_kb(p, "VmPin")}
    # No VmLck has the memory that is charged to the user, and the kernel does not show the sum.
    shared = sum(max(0, kb - host.process_kb(p, "VmLck")) for p, kb in pinned.items())
    count = f"{len(pinned)} process{'es' if len(pinned) != 1 else ''} of user {target.user.name}"
    state = f"{count} pin {mib(sum(pinned.values()))}, {mib(shared)} of it on the user's account"
    if not size:
        yield OK, state, ""
        return
    available = re.search(r"^MemAvailable:\s*(\d+)", host.read(f"{host.PROC}/meminfo"), re.M)
    if not available:
        yield SKIPPED, f"{state}; what memory there is left: {host.PROC}/meminfo does not say", ""
        return
    room = int(available[1]) // size
    by_user = room if limit is None else min(room, max(0, limit - shared) // size)
    yield OK, f"{state}; room for {by_user} more VMs of {mib(size)} in mode user, {room} in mode process", ""


def vm_kb(target):
    """The size of the VM; 0 if it is not known."""
    if target.pid and host.process_kb(target.pid, "VmPin"):
        return host.process_kb(target.pid, "VmPin")
    return target.xml.memory_kb() if target.domain else 0


def limit_kb(target):
    """RLIMIT_MEMLOCK of the VM; None: unlimited."""
    if target.pid:
        return host.memlock_kb(target.pid)
    if target.domain and target.xml.limit_kb():
        return target.xml.limit_kb()
    return host.memlock_kb(target.daemon or "self")


def mib(kb):
    return "unlimited" if kb is None else f"{kb // 1024} MiB"

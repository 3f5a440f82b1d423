# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The limit of the VM, the pinned memory, and the number of VMs that still fit."""

import re

from .. import host
from .finding import OK, PROBLEM, SKIPPED, WARNING


def check_limit(target):
    """The limit covers the guest's memory, the regions of its devices, and a page."""
    if not target.is_concerned() or not target.pid and not target.domain:
        return
    limit, later = limit_kb(target), 0
    if target.domain:
        memory = memory_kb(target.xml)
        parts = f"{mib(memory)} of memory, {mib(target.xml.bars_kb())} of devices, a page of {host.PAGE_KB} KiB"
        later = target.xml.memory_kb() - memory
        least = target.xml.least_kb() - later
    else:
        least = host.process_kb(target.pid, "VmPin")
        parts = f"{mib(least)} that it pins"
    if limit is not None and least > limit:
        yield PROBLEM, f"the limit of {mib(limit)} does not cover {parts}", raise_limit(target, least)
    elif limit is not None and least + later > limit:
        state = f"the limit of {mib(limit)} covers {parts}, but not a maxMemory of {mib(target.xml.memory_kb())}"
        yield WARNING, state, raise_limit(target, least)
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
    available = available_kb(target)
    if available is None:
        yield SKIPPED, f"{state}; what memory there is left: the kernel does not say", ""
        return
    room = available // size
    by_user = room if limit is None else min(room, max(0, limit - shared) // size)
    yield OK, f"{state}; room for {by_user} more VMs of {mib(size)} in mode user, {room} in mode process", ""


def vm_kb(target):
    """The size of the VM; 0 if it is not known."""
    if target.pid and host.process_kb(target.pid, "VmPin"):
        return host.process_kb(target.pid, "VmPin")
    return memory_kb(target.xml) if target.domain else 0


def memory_kb(xml):
    """The memory that the guest has. With a maxMemory it may get more later."""
    return int(xml.root.findtext("memory"))


def available_kb(target):
    """The memory that is left for a VM: of huge pages, those of the domain's size that are free. None if it is not known."""
    text = host.read(f"{host.PROC}/meminfo")
    found = re.search(r"^MemAvailable:\s*(\d+)", text, re.M)
    if target.domain and target.xml.root.find("memoryBacking/hugepages") is not None:
        page = target.xml.root.find("memoryBacking/hugepages/page")
        size = page.get("size") if page is not None else "".join(re.findall(r"^Hugepagesize:\s*(\d+)", text, re.M))
        free = host.read(f"{host.SYS}/kernel/mm/hugepages/hugepages-{size}kB/free_hugepages")
        return int(free) * int(size) if free else None
    return int(found[1]) if found else None


def limit_kb(target):
    """RLIMIT_MEMLOCK of the VM; None: unlimited."""
    if target.pid:
        return host.memlock_kb(target.pid)
    if target.domain and target.xml.limit_kb():
        return target.xml.limit_kb()
    return host.memlock_kb(target.daemon or "self")


def mib(kb):
    return "unlimited" if kb is None else f"{kb // 1024} MiB"

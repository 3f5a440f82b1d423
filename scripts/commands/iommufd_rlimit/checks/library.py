# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""QEMU, or another program that --qemu names, loads the library."""

import glob
import os
import re
import shlex
import stat
import struct

from .. import elf, host, shim
from .finding import OK, PROBLEM, SKIPPED, WARNING

# Those of shim/library/entries.h.
ENTRIES = {"open", "open64", "openat", "openat64", "openat2", "__open_2", "__open64_2", "__openat_2", "__openat64_2"}


def check_capabilities(target):
    """For a QEMU with file capabilities ld.so ignores the library. With CAP_IPC_LOCK, nothing is accounted either."""
    if not target.qemu:
        return
    path = real_path(target)
    found = file_capabilities(target.qemu)
    if found is None:
        yield OK, f"{path} has no file capabilities", ""
        return
    too_low = target.opens_iommufd() and (target.xml.limit_kb() or 0) < target.xml.least_kb()
    remove = f"setcap -r {shlex.quote(path)}"
    fix = f"{remove}; {target.enable_with_limit()}" if too_low else remove
    if found >> host.CAP_IPC_LOCK & 1:
        what = "the kernel does not account its memory, and ld.so ignores the library"
        yield PROBLEM, f"{path} has the file capability CAP_IPC_LOCK: {what}", fix
    else:
        yield PROBLEM, f"{path} has file capabilities: ld.so ignores the library", fix


def real_path(target):
    """The file of QEMU by its name; of one that runs and was removed, the name that it had."""
    return os.path.realpath(target.qemu).removesuffix(" (deleted)")


def file_capabilities(path):
    """The permitted set of the file, as bits; None if the file has no capabilities."""
    try:
        value = os.getxattr(path, "security.capability")
    except OSError:  # the file has none, or the file system does not have them
        return None
    words = struct.unpack(f"<{len(value) // 4}I", value)  # magic; permitted and inheritable, low; the same, high bits
    return words[1] | (words[3] << 32 if len(words) > 3 else 0)


def check_library(target):
    if not target.is_concerned():
        return
    if not target.wants_library():
        fix = target.enable() if target.domain else "start QEMU with qemu-iommufd-rlimit"
        yield PROBLEM, "LD_PRELOAD does not name the library", fix
        return
    if not target.qemu:
        yield SKIPPED, f"whether QEMU loads the library: {target.no_qemu}", ""
        return
    status, text = target.version
    loaded = [line for line in shim.shim_lines(text) if "version" in line]
    ignored = re.search(r"object '(\S*libiommufd-rlimit\S*)' from LD_PRELOAD cannot be preloaded \((.*?)\)", text)
    path, prefix = real_path(target), host.SCRIPTS.parent.parent
    file = elf.read(target.qemu)
    program = target.program
    another = f"take a build of {program} that is dynamically linked and opens files through libc"
    if file and not file.is_dynamic:
        yield PROBLEM, f"{program} loads no library: {path} is statically linked", another
    elif loaded and file and not file.imports & ENTRIES:
        what = f"{program} loads {target.preload()}, but takes no open() from libc: the library does not see its system calls"
        yield WARNING, what, another
    elif loaded:
        yield OK, f"{program} loads {target.preload()}, version {loaded[0]['version']}", ""
    elif file_capabilities(target.qemu) is not None:
        yield SKIPPED, f"{program} does not load {target.preload()}: correct check capabilities", ""
    elif os.path.exists(target.qemu) and os.stat(target.qemu).st_mode & (stat.S_ISUID | stat.S_ISGID):
        what = f"{program} does not load {target.preload()}: it is set-user-ID or set-group-ID"
        yield PROBLEM, what, f"chmod ug-s {shlex.quote(path)}"
    elif ignored and "ELF" in ignored[2]:
        what = f"{program} does not load {ignored[1]}: {ignored[2]}"
        yield PROBLEM, what, f"install libiommufd-rlimit for {program}'s architecture"
    elif ignored:
        installed = [path for depth in ("", "*/") for path in glob.glob(f"{prefix}/lib*/{depth}{ignored[1]}")]
        what = f"{program} does not load {ignored[1]}: {ignored[2]}"
        yield PROBLEM, what, "ldconfig" if installed else "install libiommufd-rlimit"
    elif status:
        yield SKIPPED, f"whether {program} loads the library: correct check qemu", ""
    else:
        what = f"{program} does not load {target.preload()}, and ld.so does not say why"
        yield PROBLEM, what, another

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The lines of the library, and the mode of an iommufd."""

import ctypes
import fcntl
import os
import re
import struct

from . import host


def shim_lines(text):
    """The library's lines in a text, each as a dictionary."""
    lines = [line for line in text.splitlines() if line.startswith("iommufd-rlimit: ")]
    words = [re.findall(r'\b(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line) for line in lines]
    return [{key: quoted or plain for key, quoted, plain in found} for found in words]


def iommufd_modes(pid):
    """The mode of each iommufd that a process has open, as the kernel has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    sys_pidfd_getfd = 438
    modes = {}
    directory = f"{host.PROC}/{pid}/fd"
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(directory):
            if not os.path.exists(f"{directory}/{name}") or not host.is_iommufd(os.stat(f"{directory}/{name}")):
                continue
            copy = libc.syscall(sys_pidfd_getfd, pidfd, int(name), 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"the iommufd of process {pid}")
            try:
                modes[int(name)] = mode_of(copy)
            finally:
                os.close(copy)
    finally:
        os.close(pidfd)
    return modes


def mode_of(iommufd):
    """The mode of an iommufd: process or user."""
    iommu_option, get = 0x3B87, 1
    # struct iommu_option: size, option_id, op, __reserved, object_id, val64
    answer = fcntl.ioctl(iommufd, iommu_option, struct.pack("IIHHIQ", 24, 0, get, 0, 0, 0))
    return "process" if struct.unpack("IIHHIQ", answer)[5] else "user"

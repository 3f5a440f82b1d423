#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Opens /dev/iommu as QEMU does, with whatever is preloaded, and prints the microseconds that each open took.

usage: opener.py crowd COUNT   COUNT processes at one instant, from which each open counts
       opener.py row COUNT     one process, COUNT times without a pause
       opener.py steady        one process, ten times a second until SIGTERM
"""

import mmap
import os
import signal
import struct
import sys
import time


def open_device(start):
    descriptor = os.open("/dev/iommu", os.O_RDWR | os.O_CLOEXEC)
    took = time.monotonic() - start
    os.close(descriptor)
    os.write(1, f"{took * 1e6:.0f}\n".encode())


def crowd(count):
    starting_gun, end = os.pipe()
    ready, waits = os.pipe()
    instant = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the children
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            os.close(end)
            os.write(waits, b".")
            os.read(starting_gun, 1)
            open_device(*struct.unpack_from("d", instant))
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready, 1)
    struct.pack_into("d", instant, 0, time.monotonic())
    os.close(end)
    return max(os.waitpid(child, 0)[1] for child in children)


def steady():
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    while not ended:
        open_device(time.monotonic())
        time.sleep(0.1)


if sys.argv[1:] == ["steady"]:
    steady()
elif sys.argv[1:2] == ["crowd"] and len(sys.argv) == 3:
    sys.exit(crowd(int(sys.argv[2])) != 0)
elif sys.argv[1:2] == ["row"] and len(sys.argv) == 3:
    for _ in range(int(sys.argv[2])):
        open_device(time.monotonic())
else:
    sys.exit(__doc__)

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What a program takes from libraries, as its file says."""

import struct
from dataclasses import dataclass, field

PT_INTERP, SHT_DYNSYM = 3, 11


@dataclass
class Program:
    is_dynamic: bool  # ld.so starts it, and loads LD_PRELOAD
    imports: set = field(default_factory=set)  # the functions and variables that it takes from libraries


def read(path):
    """None for a script, and for a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            image = file.read()
        return parse(image) if image.startswith(b"\x7fELF") else None
    except (OSError, IndexError, ValueError, struct.error):  # the last three: not what its first bytes say
        return None


def parse(image):
    wide, order = image[4] == 2, ">" if image[5] == 2 else "<"

    def table(offset, size, count, layout):
        return [struct.unpack_from(order + layout, image, offset + i * size) for i in range(count)]

    header = struct.unpack_from(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), image, 16)
    if (PT_INTERP,) not in table(header[4], header[8], header[9], "I"):
        return Program(False)
    program = Program(True)
    sections = table(header[5], header[10], header[11], "IIQQQQIIQQ" if wide else "10I")
    for _, kind, _, _, offset, length, link, _, _, size in sections:
        for symbol in table(offset, size, length // size, "IBBHQQ" if wide else "IIIBBH") if kind == SHT_DYNSYM else ():
            if not symbol[3 if wide else 5]:  # not defined here
                name = sections[link][4] + symbol[0]
                program.imports.add(image[name : image.index(0, name)].decode())
    return program

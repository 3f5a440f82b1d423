#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Every place that carries the version carries that of meson.build. argv[1]: that."""

import re
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
VERSION = sys.argv.pop(1)
PLACES = (
    ("NEWS.md", r"^## (\S+)"),
    ("scripts/packaging/debian/changelog", r"^\S+ \((\S+)-\d+\)"),
    ("scripts/packaging/iommufd-rlimit-shim.spec", r"^Version: +(\S+)"),
    ("scripts/packaging/iommufd-rlimit-shim.spec", r"^%changelog\n.* - (\S+)-\d+$"),
    ("scripts/commands/iommufd_rlimit/__init__.py", r'^VERSION = "(\S+)"'),
    ("scripts/commands/qemu-iommufd-rlimit", r"^version=(\S+)"),
)


class VersionTest(unittest.TestCase):
    def test_places(self):
        for place, pattern in PLACES:
            with self.subTest(place, pattern=pattern):
                newest = re.search(pattern, (TOP / place).read_text(), re.M)
                self.assertEqual(newest and newest[1], VERSION)


if __name__ == "__main__":
    unittest.main()

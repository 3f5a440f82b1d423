#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The manual pages: clean, and complete where they list what the code has."""

import re
import shutil
import subprocess
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((TOP / "docs").glob("*.[1-8]"))


def words(page, macro):
    """All that the page marks up as this: environment variables (Ev), fixed words (Cm)."""
    return set(re.findall(rf"^\.(?:It )?{macro} (\S+)", page.read_text(), re.M))


class DocsTest(unittest.TestCase):
    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_lint(self):
        done = subprocess.run(["mandoc", "-T", "lint", *PAGES], capture_output=True, text=True, timeout=60)
        # What is installed on this machine does not matter.
        said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
        self.assertEqual(said, [])

    def test_every_reference_to_a_page_of_ours_has_one(self):
        ours = {page.name for page in PAGES}
        for page in PAGES:
            for name, section in re.findall(r"^\.Xr (\S*iommufd-rlimit\S*) (\d)", page.read_text(), re.M):
                self.assertIn(f"{name}.{section}", ours, page.name)

    def test_commands_of_the_readme_are_those_that_are_run(self):
        """The scenarios in tests/vm run what follows a mark in the page; the README shows the same."""
        page = (TOP / "docs/iommufd-rlimit.7").read_text()
        readme = (TOP / "README.md").read_text().splitlines()
        blocks = re.findall(r'^\.\\" test: libvirt-\w+\n(.*?)^\.Ed', page, re.M | re.S)
        self.assertEqual(len(blocks), 3)
        for command in re.findall(r"^# (.*)$", "".join(blocks), re.M):
            self.assertIn(f"    {command}", readme)

    def test_every_setting(self):
        source = (TOP / "shim/config.c").read_text()
        table = source[source.index("variables[CONFIG_VARIABLES]") : source.index("};\n")]
        page = TOP / "docs/iommufd-rlimit.7"
        for name in re.findall(r'"(IOMMUFD_RLIMIT_\w+)"', table):
            self.assertIn(name, words(page, "Ev"))
        for word in re.findall(r'\] = "(\w+)"', table):
            self.assertIn(word, words(page, "Cm"))

    def test_every_outcome(self):
        names = re.findall(r'\[OUTCOME_\w+\] = \{ "(\w+)"', (TOP / "shim/log.c").read_text())
        self.assertEqual(len(names), 8)
        self.assertLessEqual(set(names), words(TOP / "docs/iommufd-rlimit.7", "Cm"))

    def test_every_check_of_the_doctor(self):
        names = re.findall(r'"(\w+)": \w+\.check_', (TOP / "scripts/iommufd_rlimit/checks/__init__.py").read_text())
        self.assertGreater(len(names), 10)
        self.assertLessEqual(set(names) - {"selinux"}, words(TOP / "docs/iommufd-rlimit-doctor.1", "Cm"))

    def test_every_option(self):
        for script in (TOP / "scripts").glob("iommufd-rlimit-*"):
            page = (TOP / f"docs/{script.name}.1").read_text()
            for option in re.findall(r'add_argument\("-(-\w+(?:-\w+)*)"', script.read_text()):
                self.assertIn(f"Fl {option}", page)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""qemu-iommufd-rlimit, installed in a directory of the test's: what it makes of its words and its environment. argv: the library."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

LAUNCHER = Path(__file__).resolve().parent.parent.parent / "scripts/commands/qemu-iommufd-rlimit"
LIBRARY = Path(sys.argv.pop(1))
NOBODY = 65534


class LauncherTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)
        self.root.chmod(0o755)
        for directory in "bin", "lib":
            (self.root / directory).mkdir()
        self.launcher = shutil.copy(LAUNCHER, self.root / "bin")
        self.library = shutil.copy(LIBRARY, self.root / "lib")

    def run_as(self, user, *words, **environment):
        """Its status, and all that it says."""
        variables = {"PATH": os.environ["PATH"], "QEMU": "/bin/true", **environment}
        done = subprocess.run(
            [self.launcher, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, env=variables, user=user
        )
        return done.returncode, done.stdout

    def assert_says(self, text, *words, status=0, user=None, **environment):
        done, said = self.run_as(user, "--dry-run", *words, **environment)
        self.assertIn(text, said)
        self.assertEqual(done, status, said)

    def test_command(self):
        self.assert_says(f"env LD_PRELOAD={self.library} IOMMUFD_RLIMIT_MODE=process /bin/true -m 64 \n", "-m", "64")
        self.assert_says(" /bin/false -m \n", "/bin/false", "-m")
        self.assert_says(" /bin/true --dry-run \n", "--", "--dry-run")
        self.assert_says(" /bin/true -name 'it'\\''s' '' \n", "-name", "it's", "")

    def test_environment(self):
        self.assert_says(f" LD_PRELOAD={self.library}:libm.so.6 ", LD_PRELOAD="libm.so.6")
        self.assert_says(" LD_PRELOAD=libiommufd-rlimit-process.so ", LD_PRELOAD="libiommufd-rlimit-process.so")
        self.assert_says(" IOMMUFD_RLIMIT_MODE=query ", IOMMUFD_RLIMIT_MODE="query")

    def test_runs(self):
        program = self.root / "program"
        program.write_text('#!/bin/sh\necho "$LD_PRELOAD $IOMMUFD_RLIMIT_MODE $*"\nexit 3\n')
        program.chmod(0o755)
        status, said = self.run_as(None, program, "-m", "64")
        self.assertEqual(status, 3)
        self.assertEqual(said.splitlines()[-1], f"{self.library} process -m 64")

    def test_which_qemu(self):
        self.assert_says("there is no no-such-qemu", "no-such-qemu", status=1)
        self.assert_says("is this launcher, not QEMU", self.launcher, status=1)

    def test_which_library(self):
        other = self.root / "qemu-of-another-class"
        head = bytearray(Path("/bin/true").read_bytes())
        head[4] ^= 3  # ELFCLASS32 or 64
        other.write_bytes(head)
        other.chmod(0o755)
        self.assert_says(f"{self.library} is for another machine than {other}", other, status=1)
        Path(self.library).unlink()
        self.assert_says(f"no libiommufd-rlimit.so below {self.root}", status=1)
        odd = shutil.move(self.root, f"{self.root} of mine")
        self.addCleanup(lambda: shutil.move(odd, self.root))
        self.launcher = Path(odd, "bin", LAUNCHER.name)
        shutil.copy(LIBRARY, Path(odd, "lib"))
        self.assert_says("cannot preload a file with a blank", status=1)

    def test_privileged_qemu(self):
        program = shutil.copy("/bin/true", self.root)
        os.chmod(program, 0o4755)
        self.assert_says(f"warning: {program} has set-user-ID, ", program)

    def test_user(self):
        self.assert_says("--user 'no-such-user': there is no such user", "--user", "no-such-user", status=1)
        self.assert_says("--user takes the name of a user", "--user", status=1)
        nobody = NOBODY if os.geteuid() == 0 else None
        self.assert_says("only root can run QEMU as another user", "--user", "root", status=1, user=nobody)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""bash completes each program's options: all that its help has, and no other. argv[1]: the helper."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
HELPER = sys.argv.pop(1)
PROGRAMS = {
    "iommufd-rlimit-doctor": TOP / "scripts/commands/iommufd-rlimit-doctor",
    "iommufd-rlimit-libvirt": TOP / "scripts/commands/iommufd-rlimit-libvirt",
    "qemu-iommufd-rlimit": TOP / "scripts/commands/qemu-iommufd-rlimit",
    "iommufd-rlimit-helper": os.path.abspath(HELPER),
}
COMPLETE = """
. "$1"
shift
function=$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$function
printf '%s\\n' "${COMPREPLY[@]}"
"""


class CompletionTest(unittest.TestCase):
    def complete(self, *words):
        """What the last of the words may become."""
        with tempfile.TemporaryDirectory() as stubs:
            Path(stubs, "virsh").write_text("#!/bin/sh\nprintf '%s\\n' web db '$(touch${IFS}pwned)' ''\n")
            os.chmod(f"{stubs}/virsh", 0o755)
            environment = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"}
            command = ["bash", "-c", COMPLETE, "bash", TOP / "scripts/commands/bash-completion/iommufd-rlimit", *words]
            done = subprocess.run(command, env=environment, cwd=stubs, capture_output=True, text=True, timeout=60)
            self.assertEqual(os.listdir(stubs), ["virsh"])
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def options(self, name, *words):
        program = PROGRAMS[name]
        command = (
            [sys.executable, program] if name in ("iommufd-rlimit-doctor", "iommufd-rlimit-libvirt") else [program]
        )
        said = subprocess.run([*command, *words, "--help"], capture_output=True, text=True, timeout=60)
        found = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", said.stdout))
        return found - {"--now"}  # which is of systemctl

    def test_options(self):
        for name in PROGRAMS:
            self.assertEqual(self.complete(name, "--"), self.options(name), name)
        for command in ("enable", "disable", "allow", "forbid"):
            name = "iommufd-rlimit-libvirt"
            self.assertEqual(self.complete(name, command, "--"), self.options(name, command))

    def test_arguments(self):
        domains = {"web", "db", r"\$\(touch\$\{IFS\}pwned\)"}  # of which no shell runs one
        self.assertEqual(self.complete("iommufd-rlimit-doctor", "--domain", ""), domains)
        self.assertEqual(self.complete("iommufd-rlimit-libvirt", "enable", "$"), domains - {"web", "db"})
        self.assertEqual(self.complete("iommufd-rlimit-libvirt", ""), {"allow", "disable", "enable", "forbid", "--help", "--version"})
        self.assertEqual(self.complete("iommufd-rlimit-libvirt", "enable", "w"), {"web"})
        self.assertEqual(self.complete("iommufd-rlimit-libvirt", "enable", "--limit", ""), set())
        self.assertEqual(self.complete("iommufd-rlimit-libvirt", "allow", "roo"), {"root"})
        self.assertEqual(self.complete("qemu-iommufd-rlimit", "--user", "roo"), {"root"})


if __name__ == "__main__":
    unittest.main()

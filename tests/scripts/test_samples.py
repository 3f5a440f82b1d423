#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The samples for libvirt: each is what its reader takes."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "scripts/host/libvirt"


class SamplesTest(unittest.TestCase):
    def accepts(self, *command):
        """Whether the tool is content; prints what it says if not."""
        tool = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if not tool:
            self.skipTest(f"no {command[0]}")
        return subprocess.run([tool, *command[1:]], timeout=60).returncode == 0

    def test_domain(self):
        domain = ElementTree.parse(SAMPLES / "domain.xml").getroot()
        self.assertEqual(domain.tag, "domain")
        variables = {e.get("name"): e.get("value") for e in domain.iter() if e.tag.endswith("}env")}
        self.assertEqual(
            variables, {"LD_PRELOAD": "libiommufd-rlimit.so", "IOMMUFD_RLIMIT_MODE": "process"}
        )

    def test_selinux_module(self):
        base, module = HERE / "selinux-base.cil", SAMPLES / "iommufd-rlimit.cil"
        with tempfile.TemporaryDirectory() as scratch:
            output = ["-o", f"{scratch}/policy", "-f", f"{scratch}/contexts"]
            self.assertTrue(self.accepts("secilc", *output, base, module))
            # A policy has one of /run and /var/run stand for the other. Fedora's adds each /var/run as /run.
            contexts = Path(scratch, "contexts").read_text()
            patterns = re.findall(r"^(\S*/run/\S+)\t", contexts, re.M)
            for run in ("/run", "/var/run"):
                self.assertTrue(any(re.fullmatch(p, f"{run}/iommufd-rlimit/helper.sock") for p in patterns))
            names = [pattern.replace("/var/run", "/run") for pattern in patterns]
            self.assertEqual(len(set(names)), len(names))
            # A module that names what there is not is refused.
            misspelt = Path(scratch, "misspelt.cil")
            misspelt.write_text(module.read_text().replace("vfio_device_t", "vfio_devices_t"))
            self.assertFalse(self.accepts("secilc", *output, base, misspelt))

    def test_apparmor_snippet(self):
        with tempfile.NamedTemporaryFile("w", suffix=".profile") as profile:
            sample = SAMPLES / "apparmor"
            profile.write(f"include <tunables/global>\nprofile test {{\n  include \"{sample}\"\n}}\n")
            profile.flush()
            command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", profile.name]
            self.assertTrue(self.accepts(*command))

    def test_drop_in(self):
        lines = (SAMPLES / "libvirtd.conf").read_text().splitlines()
        self.assertEqual(
            [line for line in lines if line and not line.startswith("#")],
            ["[Service]", "Environment=LD_PRELOAD=libiommufd-rlimit-process.so"],
        )


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""iommufd-rlimit-libvirt against a stub of virsh."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

sys.dont_write_bytecode = True

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "scripts/iommufd-rlimit-libvirt"
sys.path.insert(0, str(SCRIPT.parent))

from iommufd_rlimit import domain  # noqa: E402

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"

PLAIN = """<domain type='kvm'>
  <name>web</name>
  <description>caf\u00e9 &lt;b&gt; &amp; "q" </description>
  <devices>
    <graphics type='vnc' passwd='geheim'/>
  </devices>
</domain>

"""

WITH_COMMANDLINE = f"""<domain type='qemu' xmlns:qemu='{QEMU}'>
  <name>web</name>
  <devices/>
  <qemu:commandline>
    <qemu:arg value='-object'/>
    <qemu:arg value='iommufd,id=iommufd0'/>
    <qemu:env name='LD_PRELOAD' value='/opt/it&apos;s.so'/>
    <qemu:env name='OTHER' value='1'/>
  </qemu:commandline>
  <seclabel type='none'/>
</domain>
"""


class LibvirtTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.domains = Path(scratch.name)
        self.environment = {
            **os.environ,
            "PATH": f"{HERE}:{os.environ['PATH']}",
            "STUB_DOMAINS": scratch.name,
            "XDG_STATE_HOME": f"{scratch.name}/state",
        }

    def define(self, xml, name="web"):
        (self.domains / f"{name}.xml").write_text(xml)

    def xml(self, name="web"):
        return (self.domains / f"{name}.xml").read_text()

    def touch(self, name):
        (self.domains / name).touch()

    def run_script(self, *arguments, status=0):
        done = subprocess.run(
            [sys.executable, SCRIPT, *arguments], env=self.environment, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout if status < 2 else done.stderr

    def variables(self):
        tree = ElementTree.fromstring(self.xml())
        return [(e.get("name"), e.get("value")) for e in tree.iter(f"{{{QEMU}}}env")]

    def backups(self):
        return list(self.domains.glob("state/iommufd-rlimit/*"))

    def test_enable_adds_the_two_variables_and_changes_nothing_else(self):
        self.define(PLAIN)
        said = self.run_script("enable", "web")
        self.assertIn("web: enabled from its next start on", said)
        self.assertEqual(
            self.variables(),
            [("LD_PRELOAD", "libiommufd-rlimit.so"), ("IOMMUFD_RLIMIT_MODE", "process")],
        )
        added = re.sub(r"  <qemu:commandline.*</qemu:commandline>\n", "", self.xml(), flags=re.S)
        self.assertEqual(added, PLAIN)

    def test_disable_restores_every_byte(self):
        for xml in (PLAIN, WITH_COMMANDLINE):
            self.define(xml)
            self.run_script("enable", "web")
            self.assertNotEqual(self.xml(), xml)
            self.run_script("disable", "web")
            self.assertEqual(self.xml().replace("&apos;", "'"), xml.replace("&apos;", "'"))

    def test_enable_keeps_another_preload(self):
        self.define(WITH_COMMANDLINE)
        self.run_script("enable", "web")
        self.assertEqual(
            self.variables(),
            [
                ("LD_PRELOAD", "libiommufd-rlimit.so:/opt/it's.so"),
                ("OTHER", "1"),
                ("IOMMUFD_RLIMIT_MODE", "process"),
            ],
        )

    def test_enable_keeps_a_path_to_the_library_and_corrects_the_mode(self):
        self.define(
            WITH_COMMANDLINE.replace("/opt/it&apos;s.so", "/opt/x.so:/opt/libiommufd-rlimit.so").replace(
                "name='OTHER' value='1'", "name='IOMMUFD_RLIMIT_MODE' value='proces'"
            )
        )
        self.run_script("enable", "web")
        self.assertEqual(
            self.variables(),
            [
                ("LD_PRELOAD", "/opt/x.so:/opt/libiommufd-rlimit.so"),
                ("IOMMUFD_RLIMIT_MODE", "process"),
            ],
        )

    def test_both_are_idempotent(self):
        self.define(PLAIN)
        self.assertIn("disabled already", self.run_script("disable", "web"))
        self.run_script("enable", "web")
        before = self.xml()
        self.assertIn("enabled already", self.run_script("enable", "web"))
        self.assertEqual(self.xml(), before)
        self.assertEqual(len(self.backups()), 1)

    def test_disable_leaves_a_preload_that_is_not_ours(self):
        self.define(WITH_COMMANDLINE)
        self.run_script("disable", "web")
        self.assertEqual(self.xml(), WITH_COMMANDLINE)

    def test_backup_has_the_xml_as_it_was_for_the_owner_alone(self):
        self.define(PLAIN)
        said = self.run_script("enable", "web")
        (backup,) = self.backups()
        self.assertIn(f"virsh define {backup}", said)
        self.assertEqual(backup.read_text(), PLAIN)
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)

    def test_passwords_survive(self):
        self.define(PLAIN)
        self.run_script("enable", "web")
        self.assertIn("geheim", self.xml())

    def test_dry_run_shows_the_difference_and_changes_nothing(self):
        self.define(PLAIN)
        said = self.run_script("--dry-run", "enable", "web")
        self.assertIn("+    <qemu:env name='IOMMUFD_RLIMIT_MODE' value='process'/>", said)
        self.assertEqual([], [line for line in said.splitlines()[2:] if line.startswith("-")])
        self.assertEqual(self.xml(), PLAIN)
        self.assertEqual(self.backups(), [])

    def test_status(self):
        self.define(PLAIN)
        self.assertEqual(self.run_script("status", "web", status=1), "web: disabled\n")
        self.run_script("enable", "web")
        self.assertEqual(self.run_script("status", "web"), "web: enabled\n")
        self.define(PLAIN, "web.live")
        self.assertIn("runs without it", self.run_script("status", "web"))

    def test_running_domain_is_told_to_restart(self):
        self.define(PLAIN)
        self.define(PLAIN, "web.live")
        self.assertIn("a reboot is not enough", self.run_script("enable", "web"))

    def test_saved_state_is_pointed_out(self):
        self.define(PLAIN)
        self.touch("web.saved")
        self.assertIn("saved state", self.run_script("enable", "web"))

    def test_transient_domain_is_refused(self):
        self.define(PLAIN)
        self.define(PLAIN, "web.live")
        self.touch("web.transient")
        self.assertIn("'web' is transient", self.run_script("enable", "web", status=2))
        self.assertEqual(self.xml(), PLAIN)

    def test_unknown_domain_is_refused(self):
        self.assertIn("no domain 'nope'; 'virsh list --all'", self.run_script("enable", "nope", status=2))

    def test_domain_of_another_hypervisor_is_refused(self):
        self.define(PLAIN.replace("'kvm'", "'lxc'"))
        self.assertIn("is not run by QEMU", self.run_script("enable", "web", status=2))

    def test_refusal_of_libvirt_is_passed_on(self):
        self.define(PLAIN)
        self.touch("refuse")
        self.assertIn("virsh define: XML error: refused", self.run_script("enable", "web", status=2))

    def test_change_that_libvirt_does_not_take_is_an_error(self):
        self.define(PLAIN)
        self.touch("ignore")
        said = self.run_script("enable", "web", status=2)
        self.assertIn(f"did not take the change; the XML as it was: {self.backups()[0]}", said)

    def test_no_virsh(self):
        self.environment["PATH"] = "/nonexistent"
        self.assertIn("no virsh; install libvirt-clients", self.run_script("status", "web", status=2))

    def test_hanging_virsh(self):
        self.touch("hang")
        with mock.patch.dict(os.environ, self.environment), mock.patch.object(domain, "VIRSH_TIMEOUT", 0.2):
            with self.assertRaisesRegex(domain.Failure, "no answer to 'virsh dominfo' in 0.2 s"):
                domain.persistent_domain("web")


if __name__ == "__main__":
    unittest.main()

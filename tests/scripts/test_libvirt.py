#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""iommufd-rlimit-libvirt: its plans, what it does and takes back. A stub takes libvirt's part, a directory the host's."""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import threading
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True

try:
    import augeas  # noqa: F401
    import lxml  # noqa: F401
except ImportError as missing:
    print(missing)
    sys.exit(77)

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "scripts/commands/iommufd-rlimit-libvirt"
sys.path[:0] = [str(HERE / "stubs"), str(SCRIPT.parent)]

from iommufd_rlimit import connection, host, manifest, obstacles, qemu_conf, selinux, setup, users  # noqa: E402
from iommufd_rlimit.domain_xml import DomainXml, properties  # noqa: E402

loader = SourceFileLoader("script", str(SCRIPT))
script = module_from_spec(spec_from_loader("script", loader))
loader.exec_module(script)

DOMAIN = """<domain type='kvm'>
  <name>NAME</name>
  <uuid>11111111-2222-3333-4444-0000000000NN</uuid>
  <memory unit='KiB'>1048576</memory>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    <graphics type='vnc' passwd='geheim'/>
  </devices>
  <qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:arg value='-object'/>
    <qemu:arg value='iommufd,id=iommufd0'/>
    <qemu:arg value='-device'/>
    <qemu:arg value='vfio-pci,host=0000:0N:00.0,iommufd=iommufd0'/>
  </qemu:commandline>
</domain>
"""
CONF = '# libvirt\n#cgroup_device_acl = [\n#    "/dev/null", "/dev/kvm"\n#]\nuser = "qemu"\n'
SOCKET = setup.SOCKET


class LibvirtTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))  # which an undo ignores
        self.root = Path(scratch.name)
        (self.root / "domains").mkdir()
        for name in ("PROC", "SYS", "ETC", "RUN"):
            self.patch(host, name, str(self.root / name.lower()))
            (self.root / name.lower()).mkdir()
        self.patch(host, "DEVICE", self.write("dev/iommu"))
        self.real_find_user = host.find_user
        self.patch(host, "has_device", lambda: os.path.exists(host.DEVICE))
        self.patch(host, "run", self.run_command)
        self.patch(host, "find_user", lambda name: host.User(name, 64055, 64055, [64055, 36]))
        self.patch(host, "group_name", lambda gid: {36: "kvm"}.get(gid, str(gid)))
        self.patch(manifest, "DIRECTORY", str(self.root / "var/lib/shim"))
        self.patch(qemu_conf, "LENSES", str(HERE / "stubs"))
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "environ", {**os.environ, "STUB_DOMAINS": str(self.root / "domains")})
        self.real_obstacle = obstacles.obstacle
        self.patch(obstacles, "obstacle", lambda *_: self.obstacle)
        self.obstacle = ""
        self.commands, self.units, self.failing = [], set(), None
        self.write("proc/meminfo", "MemTotal: 4194304 kB\n")
        self.write("proc/5/comm", "virtqemud\n")
        self.write("proc/5/status", "Uid:\t0\t0\t0\t0\n")
        self.write("etc/libvirt/qemu.conf", CONF)
        self.write("etc/udev/rules.d/other.rules")
        self.write("var/lib/other")
        self.write("etc/apparmor.d/abstractions/libvirt-qemu")
        os.chmod(self.root / "etc/libvirt/qemu.conf", 0o600)
        for number in (1, 2):
            self.device(number)
            self.define(number)

    def patch(self, where, name, value):
        patcher = mock.patch.object(where, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def write(self, path, text=""):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def device(self, number):
        """With a memory region of 16 MiB, and one of ports, which does not count."""
        path = f"sys/bus/pci/devices/0000:0{number}:00.0"
        self.write(f"{path}/resource", "0x1000000 0x1ffffff 0x40200\n0x1000 0x10ff 0x40101\n")
        (self.root / path / f"vfio-dev/vfio{number}").mkdir(parents=True)

    def define(self, number, xml=DOMAIN):
        xml = xml.replace("NAME", f"web{number}").replace("NN", f"0{number}").replace("0N:", f"0{number}:")
        import libvirt

        self.write(f"domains/web{number}.xml", libvirt.normal(xml))

    def xml(self, number=1):
        return (self.root / f"domains/web{number}.xml").read_text()

    def domain(self, number=1):
        return DomainXml(self.xml(number))

    def run_command(self, command, *_, **__):
        self.commands.append(command)
        if command == self.failing:
            self.failing = None
            return 1, "it is broken"
        if command[:2] in (["semodule", "-r"], ["gpasswd", "-d"]) and not self.units & {"module", "member"}:
            return 1, "it is not there"
        if command[:2] == ["udevadm", "trigger"] and (self.root / "etc/udev/rules.d/72-iommufd-rlimit.rules").exists():
            os.chmod(host.DEVICE, 0o666)
        if command[:2] == ["systemctl", "enable"]:
            self.units.add("enabled")
        if command[:2] == ["systemctl", "start"] or "--now" in command:
            self.units.add("active")
        if command[:2] == ["systemctl", "disable"]:
            self.units.discard("enabled")
        if command[:2] == ["systemctl", "stop"]:
            self.units.discard("active")
        if command[0] == "usermod":
            self.units.add("member")
        if command[0] == "gpasswd":
            self.units.discard("member")
        if command[:2] == ["semodule", "-i"]:
            self.units.add("module")
        if command[:2] == ["semodule", "-r"]:
            self.units.discard("module")
        if command == ["semodule", "-l"]:
            return 0, "apache\n" + ("iommufd-rlimit\n" if "module" in self.units else "")
        if command[:1] == ["systemctl"] and command[1].startswith("is-"):
            return (0 if command[1][3:] in self.units else 3), ""
        return 0, ""

    def run_script(self, *arguments, status=0, answer=None):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", ["iommufd-rlimit-libvirt", *arguments]))
            stack.enter_context(mock.patch.object(sys.stdin, "isatty", lambda: answer is not None, create=True))
            stack.enter_context(mock.patch("builtins.input", lambda prompt: print(prompt) or answer))
            ended = script.main()
        self.assertEqual(ended, status, output.getvalue())
        return output.getvalue()

    def snapshot(self):
        """All files, but those of the lock."""
        paths = [path for path in self.root.rglob("*") if "run" not in path.parts]
        files = {str(path): path.read_bytes() if path.is_file() else None for path in paths}
        return files, {str(path): path.stat().st_mode for path in paths}, set(self.units)

    def ran(self, *words):
        return list(words) in self.commands

    # --- what is planned

    def test_plan_without_a_terminal(self):
        before = self.snapshot()
        said = self.run_script("enable", "web1", "web2", status=1)
        self.assertEqual(self.snapshot(), before)
        for text in (
            "domain web1: its limit becomes 2.023 GiB, for 1 GiB of memory, 16 MiB of its devices, and what QEMU itself takes",
            "together: 2 domains may pin 2 x 2.023 GiB = 4.047 GiB, each by its own limit; this host has 4 GiB, which is less",
            'KERNEL=="iommu", GROUP="kvm", MODE="0660"',
            'DEVPATH=="*/0000:01:00.0/vfio-dev/*", GROUP="kvm", MODE="0660", SYMLINK+="vfio/by-path/0000:01:00.0"',
            '+cgroup_device_acl = [ "/dev/null", "/dev/kvm", "' + host.DEVICE + '", "/dev/vfio/by-path/0000:01:00.0", ',
            f"* run systemctl enable --now {SOCKET}; systemctl start {setup.SERVICE}:",
            "* run systemctl restart virtqemud.service:",
            '+    <qemu:env name="IOMMUFD_RLIMIT_MODE" value="process"/>',
            '+    <hard_limit unit="KiB">2121728</hard_limit>',
            "there is no terminal to ask on",
        ):
            self.assertIn(text, said)
        self.assertNotIn("geheim", said)

    def test_answer(self):
        before = self.snapshot()
        self.assertIn("Do this? [y/N]", self.run_script("enable", "web1", status=1, answer=""))
        self.assertEqual(self.snapshot(), before)
        self.assertIn("Done.", self.run_script("enable", "web1", answer="y"))
        self.assertTrue(self.domain().is_enabled())

    def test_dry_run(self):
        before = self.snapshot()
        self.assertIn("+++ domain web1", self.run_script("enable", "web1", "--dry-run"))
        self.assertEqual(self.snapshot(), before)

    def test_limit(self):
        said = self.run_script("enable", "web1", "--limit", "2G", "--yes")
        self.assertIn("its limit becomes 2 GiB, as --limit says", said)
        self.assertEqual(self.domain().limit_kb(), 2 << 20)
        said = self.run_script("enable", "web1", "--limit", "512M", "--yes", status=1)
        self.assertIn(
            "limit of 512 MiB does not cover 1 GiB of memory and 16 MiB of its devices: add --limit 2072M", said
        )
        self.assertEqual(self.domain().limit_kb(), 2 << 20)
        said = self.run_script("enable", "--all", "--limit", "512M", "--yes", status=1)
        self.assertFalse(self.domain(2).is_enabled())
        for size in ("2", "0M", "00G", "-1G", "\u00b2G"):
            with self.assertRaises(SystemExit):
                self.run_script("enable", "web1", "--limit", size)

    def test_limit_behind_an_emulated_iommu(self):
        """Each device may map all memory, into an address space of its own."""
        second = "<qemu:arg value='-device'/><qemu:arg value='vfio-pci,host=0000:02:00.0,iommufd=iommufd0'/></qemu:com"
        two = DOMAIN.replace("</qemu:com", second)
        argument = "<qemu:arg value='-device'/><qemu:arg value='arm-smmuv3,primary-bus=pcie.0'/></qemu:com"
        for xml, copies in (
            (two, 1),
            (two.replace("<devices>", "<devices><iommu model='intel'/>"), 2),
            (two.replace("</qemu:com", argument), 2),
            (DOMAIN.replace("</qemu:com", argument), 1),
        ):
            domain = DomainXml(xml.replace("0N:", "01:"))
            devices = 16 * len(domain.devices())
            self.assertEqual(domain.enough_kb() // 1024, 1024 * copies + devices + 1024 + 8)
            self.assertEqual(domain.least_kb(), (1024 + devices) * 1024 + host.PAGE_KB)

    def test_limit_of_whole_pages(self):
        """QEMU maps whole pages of each region, and the kernel compares whole pages with the limit."""
        domain = DomainXml(DOMAIN.replace("0N:", "01:"))
        self.write("sys/bus/pci/devices/0000:01:00.0/resource", "0x1000000 0x1000fff 0x40200\n0x2000000 0x201ffff 0x40200\n")
        for page, devices in ((4, 4 + 128), (64, 64 + 128)):
            self.patch(host, "PAGE_KB", page)
            self.assertEqual(domain.least_kb(), 1024 * 1024 + devices + page)

    def test_limit_that_is_there_is_kept(self):
        self.define(
            1, DOMAIN.replace("<devices>", "<memtune><hard_limit unit='KiB'>3145728</hard_limit></memtune><devices>")
        )
        self.run_script("enable", "web1", "--yes")
        self.assertEqual(self.domain().limit_kb(), 3145728)

    def test_not_needed(self):
        plain = DOMAIN.replace("iommufd,id", "rng-random,id").replace(",iommufd=", ",id=")
        hostdev = "<hostdev mode='subsystem' type='pci'><source><address bus='0x01'/></source>{}</hostdev></devices>"
        for xml, reason in (
            (plain, "it has no device on iommufd"),
            (plain.replace("</devices>", hostdev.format("")), "its <hostdev> is attached by the legacy VFIO container"),
            (plain.replace("</devices>", hostdev.format("<driver iommufd='yes'/>")), "libvirt opens iommufd and sets"),
            (plain.replace("<devices>", "<iommufd enabled='yes'/><devices>"), "libvirt opens iommufd and sets"),
            (DOMAIN.replace("iommufd,id", "iommufd,fd=3,id"), "it has no device on iommufd"),
            (DOMAIN.replace("'kvm'", "'lxc'"), "it is not run by QEMU but is of type lxc"),
        ):
            self.define(1, xml)
            before = self.snapshot()
            self.assertIn(f"domain web1: not needed: {reason}", self.run_script("enable", "web1", "--yes"))
            self.assertEqual(self.snapshot(), before)

    def test_obstacle(self):
        self.obstacle = "no emulator: install one"
        before = self.snapshot()
        said = self.run_script("enable", "--all", "--yes", status=1)
        self.assertIn("domain web1: no emulator: install one.\n", said)
        self.assertEqual(self.snapshot(), before)

    def test_transient_domain(self):
        self.write("domains/web1.transient")
        said = self.run_script("enable", "--all", "--yes", status=1)
        self.assertIn("domain web1 is transient: it has no configuration to change", said)
        self.assertEqual([self.domain(number).is_enabled() for number in (1, 2)], [False, True])

    def test_domain_that_runs_or_is_saved(self):
        self.write("domains/web1.live.xml", self.xml())
        self.write("domains/web2.saved")
        said = self.run_script("enable", "--all", "--yes")
        self.assertIn("domain web1: runs as before until it is shut down and started", said)
        self.assertIn("domain web2: its saved state has the old settings", said)

    def test_device_that_is_not_bound(self):
        os.rmdir(self.root / "sys/bus/pci/devices/0000:01:00.0/vfio-dev/vfio1")
        said = self.run_script("enable", "web1", "--dry-run")
        self.assertIn("device 0000:01:00.0 is bound to no driver: before the domain starts, run: driverctl", said)
        for driver, text in (
            ("mlx5_core", "device 0000:01:00.0 is bound to mlx5_core, which is not a VFIO driver: before"),
            (
                "vfio-pci",
                "driver vfio-pci made no file for device 0000:01:00.0: before the domain starts, boot a kernel",
            ),
        ):
            with mock.patch.object(setup.pci, "driver", lambda _: driver):
                self.assertIn(text, self.run_script("enable", "web1", "--dry-run"))

    def test_what_others_care_for_is_left_to_them(self):
        self.patch(setup.pci, "node", lambda name: self.write(f"dev/vfio/{name}"))
        acl = f'cgroup_device_acl = [ "{host.DEVICE}", "{self.root}/dev/vfio/0000:01:00.0" ]\n'
        self.write("etc/libvirt/qemu.conf", acl)
        self.patch(setup.Setup, "is_usable", lambda *_: True)
        said = self.run_script("enable", "web1", "--yes")
        self.assertNotIn("udev", said)
        self.assertNotIn("qemu.conf", said)
        self.assertIn("domain web1", said)

    def test_files_of_devices_that_lost_what_the_rule_gave(self):
        self.run_script("enable", "web1", "--yes")
        os.chmod(host.DEVICE, 0o600)
        self.commands.clear()
        self.run_script("enable", "web1", "--yes")
        self.assertTrue(self.ran("udevadm", "control", "--reload"))
        self.assertIn("Nothing to enable", self.run_script("enable", "web1", "--yes"))

    def test_apparmor_and_selinux(self):
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("proc/5/attr/current", "virtqemud (enforce)\n")
        self.write("sys/fs/selinux/enforce", "1")
        self.patch(selinux, "knows", lambda context: "module" in self.units)
        before = self.snapshot()
        self.run_script("enable", "web1", "--yes")
        path = self.root / "etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit"
        self.assertEqual(path.read_bytes(), host.sample("apparmor").read_bytes())
        self.assertTrue(self.ran("semodule", "-i", str(host.sample("iommufd-rlimit.cil"))))
        self.run_script("disable", "--all", "--yes")
        self.assertTrue(self.ran("semodule", "-r", "iommufd-rlimit"))
        self.assertEqual(self.snapshot(), before)

    # --- what is done, and taken back

    def test_enable_and_disable(self):
        before = self.snapshot()
        self.run_script("enable", "--all", "--yes")
        for number in (1, 2):
            self.assertEqual(
                self.domain(number).environment(),
                {"LD_PRELOAD": "libiommufd-rlimit.so", "IOMMUFD_RLIMIT_MODE": "process"},
            )
        self.assertIn("geheim", self.xml())
        self.assertEqual((self.root / "var/lib/shim/manifest.json").stat().st_mode & 0o777, 0o600)
        enabled = self.snapshot()
        self.assertIn("Nothing to enable", self.run_script("enable", "--all", "--yes"))
        self.assertEqual(self.snapshot()[0], enabled[0])

        self.assertIn("still enabled: web2", self.run_script("disable", "web1", "--yes"))
        rules = (self.root / "etc/udev/rules.d/72-iommufd-rlimit.rules").read_text()
        self.assertNotIn("0000:01:00.0", rules)
        self.assertIn("0000:02:00.0", rules)
        self.run_script("disable", "--all", "--yes")
        self.assertEqual(self.snapshot(), before)
        self.assertIn("Nothing to disable", self.run_script("disable", "--all", "--yes"))

    def test_other_preloads_are_kept(self):
        environment = "<qemu:env name='LD_PRELOAD' value='/opt/x.so'/><qemu:env name='A' value='1'/></qemu:commandline>"
        self.define(1, DOMAIN.replace("</qemu:commandline>", environment))
        self.run_script("enable", "web1", "--yes")
        self.assertEqual(self.domain().environment()["LD_PRELOAD"], "libiommufd-rlimit.so:/opt/x.so")
        self.run_script("enable", "web1", "--limit", "3G", "--yes")
        self.define(1, self.xml().replace('name="A"', 'name="B"'))  # so it is not as it was left
        self.run_script("disable", "web1", "--yes")
        self.assertEqual(self.domain().environment(), {"LD_PRELOAD": "/opt/x.so", "B": "1"})
        self.assertIsNone(self.domain().limit_kb())

    def test_domain_that_was_enabled_by_hand_stays_so(self):
        xml = self.domain()
        xml.enable(2 << 20)
        self.define(1, xml.text())
        before = self.xml()
        self.run_script("enable", "--all", "--yes")
        self.run_script("disable", "web2", "--yes")
        self.assertIn("0000:01:00.0", (self.root / "etc/udev/rules.d/72-iommufd-rlimit.rules").read_text())
        self.run_script("disable", "--all", "--yes")
        self.assertEqual(self.xml(), before)
        self.run_script("disable", "web1", "--yes")
        self.assertFalse(self.domain().has_library())

    def test_domain_that_is_gone(self):
        before = self.snapshot()
        self.run_script("enable", "web1", "web2", "--yes")
        os.unlink(self.root / "domains/web1.xml")
        self.assertIn("domain web1 is not there any more", self.run_script("disable", "--all", "--yes"))
        self.assertEqual(set(before[0]) ^ set(self.snapshot()[0]), {str(self.root / "domains/web1.xml")})

    def test_file_that_somebody_else_changed(self):
        self.run_script("enable", "web1", "--yes")
        conf = self.root / "etc/libvirt/qemu.conf"
        changed = conf.read_text() + 'group = "kvm"\n'
        conf.write_text(changed)
        said = self.run_script("disable", "--all", "--yes", status=1)
        self.assertIn("qemu.conf was changed by somebody else since it was written, and is left as it is", said)
        self.assertEqual(conf.read_text(), changed)
        self.assertFalse((self.root / "etc/udev/rules.d/72-iommufd-rlimit.rules").exists())
        self.assertFalse(self.domain().has_library())
        # Also after another enable, which does not lose that change.
        self.run_script("enable", "--all", "--yes")
        self.assertIn('group = "kvm"', conf.read_text())
        self.assertIn("/dev/vfio/by-path/0000:02:00.0", conf.read_text())
        self.run_script("disable", "--all", "--yes", status=1)
        self.assertIn('group = "kvm"', conf.read_text())
        conf.write_text(CONF)
        self.run_script("disable", "--all", "--yes")
        self.assertFalse((self.root / "var/lib/shim").exists())

    def test_rules_of_somebody_else_are_kept(self):
        path = Path(self.write("etc/udev/rules.d/72-iommufd-rlimit.rules", "# mine\n"))
        self.run_script("enable", "web1", "--yes")
        self.assertTrue(path.read_text().startswith("# mine\n"))
        self.assertIn("0000:01:00.0", path.read_text())
        path.write_text("# changed\n")
        self.run_script("enable", "--all", "--yes")
        text = path.read_text()
        self.assertTrue(text.startswith("# changed\n"))
        for name in ("0000:01:00.0", "0000:02:00.0"):
            self.assertIn(name, text)
        self.assertIn("Nothing to enable", self.run_script("enable", "--all", "--yes"))
        self.assertIn("72-iommufd-rlimit.rules was changed", self.run_script("disable", "--all", "--yes", status=1))
        self.assertEqual(path.read_text(), text)

    def test_failure_half_way_is_undone(self):
        before = self.snapshot()
        for failing in (
            ["systemctl", "enable", "--now", SOCKET],
            ["systemctl", "restart", "virtqemud.service"],
            ["udevadm", "control", "--reload"],
        ):
            self.failing = failing
            said = self.run_script("enable", "--all", "--yes", status=2)
            self.assertIn(f"'{' '.join(failing)}' fails with status 1: it is broken", said)
            self.assertIn("undone, this host is as it was", said)
        self.write("domains/refuse")
        said = self.run_script("enable", "--all", "--yes", status=2)
        self.assertIn("libvirt refuses the XML: XML error: refused", said)
        os.unlink(self.root / "domains/refuse")
        self.write("domains/ignore")
        self.assertIn("libvirt did not take the change", self.run_script("enable", "--all", "--yes", status=2))
        os.unlink(self.root / "domains/ignore")
        self.assertEqual(self.snapshot(), before)

    def test_failure_of_the_way_back_is_undone(self):
        """Each command of it in turn fails."""
        self.write("sys/fs/selinux/enforce", "1")
        self.patch(selinux, "knows", lambda context: "module" in self.units)
        self.without_group()
        self.run_script("enable", "web1", "--yes")
        self.units.add("member")
        entry = json.loads((self.root / "var/lib/shim/manifest.json").read_text())
        self.write("var/lib/shim/manifest.json", json.dumps({**entry, "groups": {"alice": {}}}))
        os.chmod(self.root / "var/lib/shim/manifest.json", 0o600)
        before = self.snapshot()
        for failing in (
            ["semodule", "-r", "iommufd-rlimit"],
            ["gpasswd", "-d", "alice", "kvm"],
            ["systemctl", "stop", SOCKET],
            ["systemctl", "disable", SOCKET],
            ["systemctl", "restart", "virtqemud.service"],
        ):
            self.failing = failing
            said = self.run_script("disable", "--all", "--yes", status=2)
            self.assertIn(
                f"'{' '.join(failing)}' fails with status 1: it is broken; what was done before that is", said
            )
            after = self.snapshot()
            self.assertEqual((after[0].keys(), after[2]), (before[0].keys(), before[2]), failing)
            self.assertEqual(self.domain().text(), DomainXml(before[0][str(self.root / "domains/web1.xml")]).text())

    def test_failure_of_an_undo_loses_nothing(self):
        """libvirt cannot be reached any more after its restart has failed. Then it can, and all is taken back."""
        before = self.snapshot()
        self.run_script("enable", "web1", "--yes")
        entries = json.loads((self.root / "var/lib/shim/manifest.json").read_text())

        def command(command, *_, **__):
            if command[:2] != ["systemctl", "restart"]:
                return self.run_command(command)
            self.write("domains/down")
            return 1, "it is broken"

        with mock.patch.object(host, "run", command), mock.patch.object(script.Connection, "domain", self.unreachable):
            said = self.run_script("disable", "--all", "--yes", status=2)
        self.assertIn("and what was done could not be undone: ", said)
        left = json.loads((self.root / "var/lib/shim/manifest.json").read_text())
        self.assertEqual(left["pending"].keys(), {"udev", "daemon"})
        self.assertEqual(
            {part: left[part].keys() for part in ("files", "domains", "units")},
            {part: entries[part].keys() for part in ("files", "domains", "units")},
        )
        os.unlink(self.root / "domains/down")
        self.run_script("disable", "--all", "--yes")
        self.assertEqual(self.snapshot(), before)

    def unreachable(self, *_):
        """Connection.domain() of a connection that is closed, once libvirt is down."""
        import libvirt

        if (self.root / "domains/down").exists():
            raise libvirt.libvirtError("client socket is closed", 38)
        return script.Connection().domains()[0]

    def test_second_interrupt(self):
        """It does not end the undo."""
        before = self.snapshot()

        def command(command, *_, **__):
            if command[:2] in (["systemctl", "restart"], ["systemctl", "stop"]):
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(os.getpid(), number)
            return self.run_command(command)

        self.patch(host, "run", command)
        said = self.run_script("enable", "web1", "--yes", status=2)
        self.assertIn("KeyboardInterrupt; what was done before that is undone, this host is as it was", said)
        self.assertEqual(self.snapshot(), before)

    def test_change_while_it_asks(self):
        conf = self.root / "etc/libvirt/qemu.conf"
        for change, name in (
            (lambda: conf.write_text(f"{CONF}max_queued = 5\n"), str(conf)),
            (lambda: self.define(1, self.commented(self.xml())), "domain web1"),
        ):
            self.commands.clear()
            with mock.patch.object(script, "is_agreed", lambda _: change() or True):
                said = self.run_script("enable", "web1", status=2)
            self.assertIn(f"{name} has changed since the plan was made; run this again", said)
        self.assertEqual(conf.read_text(), f"{CONF}max_queued = 5\n")
        self.assertIn("of its owner", self.xml())
        self.assertFalse(self.manifest_exists())

    def commented(self, xml):
        """As if edited by somebody else."""
        return xml.replace("<devices>", "<description>of its owner</description><devices>")

    def test_edited_domain(self):
        """What somebody else has edited since stays, and what there was before comes back."""
        limit = "<memtune><hard_limit unit='KiB'>1572864</hard_limit></memtune><devices>"
        environment = "<qemu:env name='LD_PRELOAD' value='/opt/libiommufd-rlimit.so'/>"
        mode = "<qemu:env name='IOMMUFD_RLIMIT_MODE' value='query'/>"
        for xml in (
            DOMAIN,
            DOMAIN.replace("<devices>", limit),
            DOMAIN.replace("</qemu:com", f"{environment}{mode}</qemu:com"),
        ):
            for times in (1, 2):
                self.define(1, xml)
                before = self.xml()
                self.run_script("enable", "web1", "--limit", "2G", "--yes")
                self.define(1, self.commented(self.xml()))
                if times == 2:
                    self.run_script("enable", "web1", "--limit", "3G", "--yes")
                    self.assertEqual(self.domain().limit_kb(), 3 << 20)
                self.run_script("disable", "web1", "--yes")
                after = self.xml()
                self.define(1, self.commented(before))
                self.assertEqual(after, self.xml())

    def test_edited_domain_that_was_enabled_by_hand(self):
        xml = self.domain()
        xml.enable(2 << 20)
        self.define(1, xml.text())
        self.run_script("enable", "--all", "--yes")
        self.define(1, self.commented(self.xml()))
        before = self.xml()
        self.assertNotIn("change domain web1", self.run_script("disable", "--all", "--yes"))
        self.assertEqual(self.xml(), before)

    def test_killed_after_a_new_limit(self):
        self.define(
            1, DOMAIN.replace("<devices>", "<memtune><hard_limit unit='KiB'>1572864</hard_limit></memtune><devices>")
        )
        before, define = self.xml(), script.Connection.define
        child = os.fork()
        if child == 0:
            script.Connection.define = lambda *arguments: (define(*arguments), os.kill(os.getpid(), signal.SIGKILL))
            self.run_script("enable", "web1", "--limit", "3G", "--yes")
        os.waitpid(child, 0)
        self.assertEqual(self.domain().limit_kb(), 3 << 20)
        self.run_script("enable", "web1", "--limit", "3G", "--yes")
        self.run_script("disable", "--all", "--yes")
        self.assertEqual(self.xml(), before)

    def test_disable_of_a_transient_domain(self):
        """It is not defined, which would make it persistent."""
        self.run_script("enable", "web1", "--yes")
        self.write("domains/web1.transient")
        with mock.patch.object(script.Connection, "define", lambda *_: self.fail("it is defined")):
            said = self.run_script("disable", "web1", "--yes")
            self.assertIn("domain web1 is transient: it has no configuration to take the change back in", said)
            self.assertFalse(self.manifest_exists())
            self.run_script("disable", "web1", "--yes")

    def test_symbolic_link_stays(self):
        conf = self.root / "etc/libvirt/qemu.conf"
        real = conf.rename(self.root / "of-the-site.conf")
        conf.symlink_to(real)
        self.run_script("enable", "web1", "--yes")
        self.assertIn("cgroup_device_acl = [", real.read_text())
        self.run_script("disable", "--all", "--yes")
        self.assertTrue(conf.is_symlink())
        self.assertEqual(real.read_text(), CONF)

    def test_what_is_taken_back_already(self):
        """Nothing is done to a unit that is gone with its package, a user who is gone, or a module that is removed."""
        self.write("sys/fs/selinux/enforce", "1")
        self.patch(selinux, "knows", lambda context: "module" in self.units)
        self.without_group()
        self.write("etc/security/limits.d/other.conf")
        before = self.snapshot()
        self.run_script("enable", "web1", "--yes")
        self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes")
        self.assertTrue(self.ran("usermod", "-aG", "kvm", "alice"))
        self.run_script("disable", "--all", "--yes")
        self.units.clear()
        self.commands.clear()
        self.assertNotIn("gpasswd", self.run_script("forbid", "alice", "--dry-run"))  # she has left the group
        self.patch(host, "find_user", lambda _: None)
        self.run_script("forbid", "alice", "--yes")
        self.assertFalse({"usermod", "gpasswd", "stop", "disable", "-r"} & set(sum(self.commands, [])))
        self.assertEqual(self.snapshot(), before)

    def test_first_command_fails(self):
        """What was not done is not undone."""
        self.without_group()
        self.write("etc/security/limits.d/other.conf")
        self.write("sys/fs/selinux/enforce", "1")
        self.patch(selinux, "knows", lambda context: "module" in self.units)
        real, before = self.run_command, self.snapshot()
        self.patch(
            host, "run", lambda c, *_, **__: (6, "no") if c[0] == "usermod" or c[:2] == ["semodule", "-i"] else real(c)
        )
        said = self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes", status=2)
        self.assertIn("fails with status 6: no; what was done before that is undone", said)
        os.unlink(self.root / "sys/fs/selinux/enforce")
        said = self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes", status=2)
        self.assertIn("'usermod -aG kvm alice' fails with status 6: no; what was done before that is undone", said)
        self.write("sys/fs/selinux/enforce", "1")
        self.assertEqual(self.snapshot(), before)

    def test_write_that_fails(self):
        before, copy = self.snapshot(), manifest.copy_attributes
        full = OSError(28, "No space left on device")

        def refuse(source, destination):
            if source.endswith("qemu.conf"):
                raise full
            copy(source, destination)

        self.patch(manifest, "copy_attributes", refuse)
        said = self.run_script("enable", "web1", "--yes", status=2)
        self.assertIn("No space left on device; what was done before that is undone", said)
        self.assertEqual(self.snapshot(), before)

    def test_every_moment_of_a_kill(self):
        """Killed before each change of a file, each command and each define; then run again, and taken back."""
        os.unlink(self.root / "domains/web2.xml")
        before = self.snapshot()
        self.run_script("enable", "web1", "--yes")
        enabled = {path: text for path, text in self.snapshot()[0].items() if "manifest" not in path}
        self.run_script("disable", "--all", "--yes")
        for arguments in (["enable", "web1", "--yes"], ["disable", "--all", "--yes"]):
            moment, ended = 0, False
            while not ended:
                if arguments[0] == "disable":
                    self.run_script("enable", "web1", "--yes")
                ended = self.killed_at(moment, arguments)
                moment += 1
                self.run_script(*arguments)
                if arguments[0] == "enable":
                    found = {path: text for path, text in self.snapshot()[0].items() if "manifest" not in path}
                    self.assertEqual(found, enabled, f"killed at {moment}")
                    self.run_script("disable", "--all", "--yes")
                self.assertEqual(self.snapshot(), before, f"{arguments[0]} killed at {moment}")
            self.assertGreater(moment, 15)

    def killed_at(self, moment, arguments):
        """Runs it in a child that kills itself before the change of this number; whether it ended before that."""
        child = os.fork()
        if child == 0:
            count = 0

            def counted(function):
                def call(*arguments, **keywords):
                    nonlocal count
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    count += 1
                    return function(*arguments, **keywords)

                return call

            changes = [(os, "rename"), (os, "unlink"), (host, "run"), (script.Connection, "define")]
            for where, name in changes:
                setattr(where, name, counted(getattr(where, name)))
            try:
                self.run_script(*arguments)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        # What its commands did is not known here.
        entry = json.loads((self.root / "var/lib/shim/manifest.json").read_text()) if self.manifest_exists() else {}
        if os.WIFSIGNALED(status) and arguments[0] == "enable" and SOCKET in entry.get("units", {}):
            self.units.update(("enabled", "active"))
        if arguments[0] == "disable" and SOCKET not in entry.get("units", {}):
            self.units.clear()
        if not os.WIFSIGNALED(status) and arguments[0] == "enable":
            self.units.update(("enabled", "active"))
        return not os.WIFSIGNALED(status)

    def manifest_exists(self):
        return (self.root / "var/lib/shim/manifest.json").exists()

    def test_obstacles(self):
        user = host.User("qemu", 107, 107, [107, 36])
        stranger = host.User("qemu", 107, 107, [107])
        root = host.User("root", 0, 0, [0])
        self.patch(obstacles.shutil, "which", lambda name: self.systemctl)
        self.systemctl = None
        for who, conf, said in (
            (None, {}, "is not known: set 'user' in qemu.conf"),
            (root, {"clear_emulator_capabilities": "0"}, "run as root with CAP_IPC_LOCK"),
            (stranger, {}, "QEMU's user qemu is not in group kvm, which may ask the helper: usermod -aG kvm qemu"),
            (user, {}, "this host has no systemd"),
            (root, {}, "this host has no systemd"),
        ):
            self.assertIn(said, self.real_obstacle("/usr/bin/qemu", conf, who, False))
        self.assertIn("this host has no systemd", self.real_obstacle("/usr/bin/qemu", {}, stranger, True))
        self.systemctl = "/bin/systemctl"
        self.failing = ["systemctl", "cat", SOCKET]
        self.assertIn("there is no unit", self.real_obstacle("/usr/bin/qemu", {}, user, False))
        (self.root / "sys/class").mkdir()
        said = self.real_obstacle("/usr/bin/qemu", {}, user, False)
        self.assertIn("shows no iommufd, which takes CONFIG_IOMMUFD: modprobe iommufd", said)
        for name in ("class/misc/iommu", "class/vfio-dev"):
            (self.root / "sys" / name).mkdir(parents=True)
        said = self.real_obstacle("/usr/bin/qemu", {}, user, False)
        self.assertIn("/usr/bin/qemu --version fails with status 0: nothing: install QEMU 9.0 or later", said)

    # --- bad input

    def test_bad_input(self):
        self.assertIn("has no domain 'nope'; 'virsh list --all' shows", self.run_script("enable", "nope", status=2))
        self.assertIn("has no domain ''", self.run_script("enable", "", status=2))
        with self.assertRaises(SystemExit) as ended:
            self.run_script("enable")
        self.assertEqual(ended.exception.code, 2)
        self.write("etc/libvirt/qemu.conf", "user = 'x'\n")
        self.assertIn("qemu.conf, line 1: Augeas cannot read it", self.run_script("enable", "web1", status=2))
        self.write("domains/down")
        self.assertIn("libvirt cannot be reached: Failed to connect", self.run_script("enable", "web1", status=2))
        with mock.patch.dict(os.environ, {"LIBVIRT_DEFAULT_URI": "qemu:///session"}):
            os.unlink(self.root / "domains/down")
            self.assertIn("not the system libvirt", self.run_script("enable", "web1", status=2))
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIn("only root can change", self.run_script("enable", "web1", status=2))
        self.assertIn("only root can say", self.run_script("forbid", "alice", status=2))

    def test_no_answer(self):
        """A daemon that takes connections, and says nothing: the command ends by itself, and by a signal."""
        self.write("domains/silent")
        with mock.patch.object(connection, "TIMEOUT", 0.1):
            said = self.run_script("enable", "web1", "--yes", status=2)
        self.assertIn("libvirt's daemon has not answered 'open' for 0.1 s; restart it", said)
        for number in (signal.SIGTERM, signal.SIGINT):
            threading.Timer(0.5, os.kill, [os.getpid(), number]).start()
            self.assertIn("interrupted; nothing was changed", self.run_script("enable", "web1", "--yes", status=2))

    def test_end_of_input_is_a_no(self):
        before = self.snapshot()
        with mock.patch.object(sys, "argv", ["", "enable", "web1"]), mock.patch.object(
            sys.stdin, "isatty", lambda: True
        ):
            with mock.patch("builtins.input", mock.Mock(side_effect=EOFError)), contextlib.redirect_stdout(
                io.StringIO()
            ):
                self.assertEqual(script.main(), 1)
        self.assertEqual(self.snapshot(), before)

    def test_damaged_manifest(self):
        uuid = "11111111-2222-3333-4444-000000000001"
        domain = {"name": "web1", "before": self.xml()}
        for text in (
            "",
            "[]",
            "null",
            "{}",
            "\0",
            *(
                json.dumps({"schema": 1, **part})
                for part in (
                    {"files": []},
                    {"domains": {uuid: domain}},
                    {"files": {"/x": None}},
                    {"users": {"alice": ["x"]}},
                )
            ),
        ):
            self.write("var/lib/shim/manifest.json", text)
            for command in ("enable", "disable"):
                self.assertIn("manifest.json is damaged: ", self.run_script(command, "--all", "--yes", status=2), text)

    def test_files_of_others_beside_the_manifest(self):
        self.run_script("enable", "web1", "--yes")
        backup = Path(self.write("var/lib/shim/manifest.json.bak"))
        (backup.parent / "old").mkdir()
        self.run_script("disable", "--all", "--yes")
        self.assertEqual({path.name for path in backup.parent.iterdir()}, {backup.name, "old"})

    def test_secrets_are_not_shown(self):
        """Those in lines around a change, and one that somebody has changed since."""
        secret = "<qemu:arg value='-object'/><qemu:arg value='secret,id=s,data=geheim'/></qemu:com"
        self.define(1, DOMAIN.replace("</qemu:com", secret))
        conf = self.root / "etc/libvirt/qemu.conf"
        conf.write_text('vnc_password = "geheim"\ncgroup_device_acl = [ "/dev/null" ]\n')
        said = self.run_script("enable", "web1", "--yes")
        conf.write_text(conf.read_text() + 'spice_password = "geheim"\n')
        said += self.run_script("disable", "--all", "--yes", status=1)
        self.assertIn('-spice_password = "..."', said)
        self.assertNotIn("geheim", said)

    def test_texts_of_qemu_conf(self):
        conf = self.root / "etc/libvirt/qemu.conf"
        added = f'"{host.DEVICE}", "/dev/vfio/by-path/0000:01:00.0"'
        default = ", ".join(f'"{path}"' for path in qemu_conf.DEFAULT_ACL)
        for text, becomes in (
            (None, f"\ncgroup_device_acl = [ {default}, {added}]\n"),
            ("", f"\ncgroup_device_acl = [ {default}, {added}]\n"),
            ('user = "qemu"', f'user = "qemu"\ncgroup_device_acl = [ {default}, {added}]\n'),
            ("cgroup_device_acl = [ ]\n", f"cgroup_device_acl = [ {added}]\n"),
        ):
            os.unlink(conf) if text is None else conf.write_text(text)
            self.run_script("enable", "web1", "--yes")
            self.assertEqual(conf.read_text(), becomes)
            self.run_script("disable", "--all", "--yes")
            self.assertEqual(conf.read_text() if conf.exists() else None, text)
            conf.touch()
        conf.write_bytes(b'user = "qemu"\n# caf\xe9\n')
        said = self.run_script("enable", "web1", "--yes", status=2)
        self.assertIn("qemu.conf, line 2: Augeas reads nothing but UTF-8; correct that line", said)

    def test_user_and_group_of_qemu(self):
        """Of qemu.conf, and those that a domain alone has."""
        self.patch(host, "find_user", lambda name: host.User(name, 107, 107, [107]) if name in ("qemu", "vm") else None)
        self.patch(host, "group_id", lambda name: {"kvm": 36, "1234": 1234}.get(name))
        self.patch(os, "getgrouplist", lambda name, gid: [gid])
        conf = {"user": "qemu"}
        self.assertEqual(qemu_conf.user({**conf, "group": "kvm"}), host.User("qemu", 107, 36, [36]))
        self.assertEqual(qemu_conf.user({**conf, "group": "+1234"}).groups, [1234])
        self.assertEqual(qemu_conf.user(conf).groups, [107])
        self.assertIsNone(qemu_conf.user({**conf, "group": "nope"}))
        asked = []
        self.patch(obstacles, "obstacle", lambda emulator, conf, user, is_session: asked.append(user) or "")
        label = "<seclabel type='static' model='dac' relabel='yes'><label>+vm:+kvm</label></seclabel><devices>"
        self.define(1, DOMAIN.replace("<devices>", label))
        self.run_script("enable", "--all", "--yes")
        self.assertEqual(asked, [host.User("vm", 107, 36, [36]), host.User("qemu", 107, 107, [107])])
        self.define(1, DOMAIN.replace("<devices>", label.replace("vm", "gone")))
        said = self.run_script("enable", "web1", "--yes", status=1)
        self.assertIn(
            "domain web1: this host does not have the user or the group of its <seclabel>: virsh edit web1", said
        )

    def test_user_of_qemu_is_gone(self):
        self.run_script("enable", "web1", "web2", "--yes")
        self.patch(host, "find_user", lambda _: None)
        self.assertIn("still enabled: web2", self.run_script("disable", "web1", "--yes"))

    def test_numbers_of_users(self):
        self.assertIsNone(self.real_find_user("\u00b2"))
        self.assertIsNone(self.real_find_user("9" * 30))
        self.assertEqual(self.real_find_user("0").name, "root")

    def test_daemon_of_a_container(self):
        self.write("proc/3/comm", "libvirtd\n")
        self.write("proc/3/status", "Uid:\t0\t0\t0\t0\nNSpid:\t3\t1\n")
        self.write("proc/5/status", "Uid:\t0\t0\t0\t0\nNSpid:\t5\n")
        with mock.patch.object(os, "listdir", lambda path: ["3", "5"] if path == host.PROC else []):
            self.assertEqual(host.libvirt_daemon_pid(), 5)

    def test_daemon_that_has_ended(self):
        """After its idle timeout; it reads qemu.conf when it starts."""
        before = self.snapshot()
        self.write("etc/security/limits.d/other.conf")
        self.run_script("enable", "web1", "--yes")
        self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes")
        self.run_script("disable", "--all", "--yes")
        self.write("proc/5/comm", "other\n")
        self.commands.clear()
        self.run_script("forbid", "alice", "--yes")
        self.assertNotIn("restart", sum(self.commands, []))
        self.assertFalse(self.manifest_exists())
        self.assertEqual((self.root / "etc/libvirt/qemu.conf").read_text(), CONF)
        self.assertEqual(self.snapshot()[2], before[2])

    # --- a user's own session

    def as_user(self):
        """Everything after this is done by a user, with libvirt of this user's session."""
        environment = {"LIBVIRT_DEFAULT_URI": "qemu:///session", "XDG_STATE_HOME": str(self.root / "states")}
        self.patch(os, "environ", {**os.environ, **environment, "HOME": str(self.root / "run")})
        self.patch(os, "geteuid", lambda: 1000)
        self.patch(host, "process_user", lambda _: host.User("alice", 1000, 1000, [1000, 36]))
        self.patch(users.resource, "getrlimit", lambda _: (self.may_lock, -1))
        self.patch(users.os, "access", lambda *_: self.usable)
        self.usable, self.may_lock = True, -1

    def test_session(self):
        before = self.snapshot()
        self.as_user()
        said = self.run_script("enable", "web1", "--yes")
        self.assertNotIn("run ", said)
        self.assertTrue(self.domain().is_enabled())
        self.assertIsNone(self.domain().limit_kb())  # which libvirt refuses in a session
        self.assertEqual(self.commands, [])
        self.assertTrue((self.root / "states/iommufd-rlimit-shim/manifest.json").exists())
        self.run_script("enable", "web2", "--yes")
        self.run_script("disable", "web2", "--yes")
        self.run_script("disable", "--all", "--yes")
        os.rmdir(self.root / "states")
        self.assertEqual(self.snapshot(), before)

    def test_session_that_root_has_not_allowed(self):
        self.as_user()
        self.usable = False
        said = self.run_script("enable", "--all", "--yes", status=1)
        command = "sudo iommufd-rlimit-libvirt allow alice --limit 2072M 0000:01:00.0 0000:02:00.0"
        self.assertIn(f"user alice may not use {host.DEVICE} ", said)
        self.assertIn(f"run '{command}', then log in anew", said)
        self.usable, self.may_lock = True, 1 << 20
        said = self.run_script("enable", "web1", "--yes", status=1)
        self.assertIn("1024 KiB is all that processes of user alice may lock: run 'sudo", said)
        self.may_lock = 4 << 30
        self.write("proc/9/comm", "libvirtd\n")
        self.write("proc/9/status", "Uid:\t1000\t1000\t1000\t1000\n")
        self.write("proc/9/limits", "Max locked memory         8388608              8388608              bytes\n")
        said = self.run_script("enable", "web1", "--yes", status=1)
        self.assertIn("process 9, has the groups and limits of an earlier login: run 'kill 9'", said)

    def test_allow_and_forbid(self):
        self.write("etc/security/limits.d/other.conf")
        before = self.snapshot()
        said = self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes")
        self.assertIn("user alice may use", said)
        self.run_script("allow", "bob", "--limit", "4G", "0000:02:00.0", "--yes")
        self.assertIn("Nothing to allow", self.run_script("allow", "bob", "--limit", "4G", "0000:02:00.0", "--yes"))
        with mock.patch.object(host, "find_user", lambda name: host.User("bob", 1001, 1001, [1001, 36])):
            self.assertIn(
                "Nothing to allow", self.run_script("allow", "1001", "--limit", "4G", "0000:02:00.0", "--yes")
            )
        limits = (self.root / "etc/security/limits.d/iommufd-rlimit.conf").read_text()
        self.assertIn("\nalice - memlock 2097152\nbob - memlock 4194304\n", limits)
        rules = self.root / "etc/udev/rules.d/72-iommufd-rlimit-users.rules"
        self.assertIn("0000:01:00.0", rules.read_text())
        self.assertIn(SOCKET, " ".join(self.commands[-1] + sum(self.commands, [])))
        self.run_script("enable", "web1", "--yes")
        self.run_script("disable", "--all", "--yes")
        self.run_script("forbid", "alice", "--yes")
        self.assertNotIn("0000:01:00.0", rules.read_text())
        self.assertEqual(self.units, {"enabled", "active"})
        with mock.patch.object(host, "find_user", lambda name: host.User("bob", 1001, 1001, [1001, 36])):
            self.run_script("forbid", "1001", "--yes")
        self.assertEqual(self.snapshot(), before)
        self.assertIn("user bob: nothing was allowed", self.run_script("forbid", "bob", "--yes"))

    def test_allow_where_apparmor_cleans_the_environment(self):
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("etc/security/limits.d/other.conf")
        for name in ("usr.sbin.libvirtd", "local/usr.sbin.libvirtd"):
            self.write(f"etc/apparmor.d/{name}", "# of the distribution\n")
        profile, rules = (self.root / f"etc/apparmor.d/{name}usr.sbin.libvirtd" for name in ("", "local/"))
        before = self.snapshot()
        self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes")
        self.assertEqual(rules.read_text(), f"# of the distribution\n{users.EXACT_RULE}")
        reload = ("apparmor_parser", "--replace", str(profile))
        self.assertTrue(self.ran(*reload))
        self.assertIn("Nothing", self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes"))
        self.commands.clear()
        self.run_script("forbid", "alice", "--yes")
        self.assertTrue(self.ran(*reload))
        self.assertEqual(self.snapshot(), before)
        self.as_user()
        self.write("proc/9/comm", "libvirtd\n")
        self.write("proc/9/status", "Uid:\t1000\t1000\t1000\t1000\n")
        self.write("proc/9/attr/current", "libvirtd (enforce)\n")
        said = self.run_script("enable", "web1", "--yes", status=1)
        self.assertIn("AppArmor keeps LD_PRELOAD from QEMU of this session", said)
        rules.write_text(users.EXACT_RULE)
        self.run_script("enable", "web1", "--yes")

    def test_allow_beside_domains(self):
        self.run_script("enable", "web1", "--yes")
        enabled = self.snapshot()
        self.run_script("allow", "alice", "--limit", "2G", "0000:02:00.0", "--yes")
        self.run_script("forbid", "alice", "--yes")
        files, modes, units = self.snapshot()
        self.assertEqual({path for path in files if "security" not in path}, set(enabled[0]))
        self.assertEqual(units, enabled[2])

    def test_allow_joins_the_group(self):
        self.without_group()
        self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes")
        self.assertTrue(self.ran("usermod", "-aG", "kvm", "alice"))
        self.run_script("forbid", "alice", "--yes")
        self.assertTrue(self.ran("gpasswd", "-d", "alice", "kvm"))

    def without_group(self):
        """The user is in group kvm after usermod alone."""
        groups = lambda: [1000, 36] if "member" in self.units else [1000]  # noqa: E731
        self.patch(host, "find_user", lambda name: host.User(name, 1000, 1000, groups()))

    def test_allow_takes_nothing_but_devices(self):
        before = self.snapshot()
        for device in ("0000:09:00.0", '0000:01:00.0", RUN+="/bin/sh', "../devices/0000:01:00.0"):
            said = self.run_script("allow", "alice", "--limit", "2G", device, "--yes", status=2)
            self.assertIn("this host has no device", said)
        os.unlink(host.DEVICE)
        said = self.run_script("allow", "alice", "--limit", "2G", "0000:01:00.0", "--yes", status=2)
        self.assertIn(f"there is no {host.DEVICE}; 'iommufd-rlimit-doctor' says why", said)
        self.write("dev/iommu")
        self.patch(host, "find_user", lambda name: None)
        self.assertIn("no user 'x'", self.run_script("allow", "x", "--limit", "2G", "0000:01:00.0", "--yes", status=2))
        self.assertEqual(self.snapshot(), before)

    def test_properties(self):
        self.assertEqual(properties("vfio-pci,id=a,,b,x"), {"type": "vfio-pci", "id": "a,b", "x": ""})
        self.assertEqual(properties('{"qom-type": "iommufd", "id": "i"}')["type"], "iommufd")
        self.assertEqual(properties('{"driver": "vfio-pci", "host": "0000:01:00.0"}')["type"], "vfio-pci")
        for text in (
            "qom-type=iommufd,id=i",
            "{'qom-type': 'iommufd', 'id': 'i'}",
            """{'qom-type':"iommufd",'id':"i"}""",
        ):
            self.assertEqual(properties(text), {"type": "iommufd", "qom-type": "iommufd", "id": "i"})
        self.assertEqual(properties('{"driver": 5, "host": 7}'), {"type": "5", "driver": "5", "host": "7"})
        self.assertEqual(properties("{broken"), {"type": ""})
        self.assertEqual(properties("driver=vfio-pci,host=1:0.0")["type"], "vfio-pci")

    def test_devices(self):
        xml = DOMAIN.replace("host=0000:0N:00.0", "sysfsdev=/sys/bus/pci/devices/0000:07:00.0")
        self.assertEqual(DomainXml(xml).devices(), ["0000:07:00.0"])
        self.assertEqual(DomainXml(DOMAIN.replace("0000:0N:00.0", "07:00.0")).devices(), ["0000:07:00.0"])
        self.assertEqual(DomainXml(DOMAIN.replace(",iommufd=", ",id=")).devices(), [])
        for given, name in (
            ("host=0000:C1:00.0", "0000:c1:00.0"),
            ("host=1:0.0", "0000:01:00.0"),
            ("host=10000:E1:00.0", "10000:e1:00.0"),
            ("sysfsdev=/sys/bus/pci/devices/0000:07:00.0/", "0000:07:00.0"),
            ("sysfsdev=/sys/bus/mdev/devices/1111-22", "1111-22"),
        ):
            self.assertEqual(DomainXml(DOMAIN.replace("host=0000:0N:00.0", given)).devices(), [name])
        # None becomes part of a rule of udev that is not the name of a device.
        for name in ("*", "0000:01:00.0&quot;, RUN+=&quot;x", "..", "0000:0[12]:00.0"):
            self.assertEqual(DomainXml(DOMAIN.replace("0000:0N:00.0", name)).devices(), [])

    def test_two_at_a_time(self):
        with manifest.lock():
            self.assertIn("another iommufd-rlimit-libvirt is at work", self.run_script("enable", "web1", status=2))
        self.as_user()
        with manifest.lock():
            os.environ["XDG_RUNTIME_DIR"] = str(self.root / "var")  # another login of the same user
            self.assertIn("another iommufd-rlimit-libvirt is at work", self.run_script("enable", "web1", status=2))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""iommufd-rlimit-doctor, check by check: each of its findings provoked. argv[1]: the library."""

import array
import ctypes
import errno
import gzip
import io
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
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
SCRIPT = HERE.parent.parent / "scripts/commands/iommufd-rlimit-doctor"
SCHEMA = HERE.parent.parent / "docs/iommufd-rlimit-doctor.schema.json"
sys.path[:0] = [str(HERE / "stubs"), str(SCRIPT.parent)]

from iommufd_rlimit import VERSION, checks, elf, host, qemu_conf, report, shim, target as examined  # noqa: E402
from iommufd_rlimit.checks import device as device_checks, helper, library, log as log_checks  # noqa: E402
from iommufd_rlimit.connection import Connection  # noqa: E402
from iommufd_rlimit.domain_xml import DomainXml  # noqa: E402

LIBRARY = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else None

DOMAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <memory unit='KiB'>262144</memory>
  <memtune><hard_limit unit='KiB'>409600</hard_limit></memtune>
  <devices><emulator>/usr/bin/qemu</emulator></devices>
  <qemu:commandline>
    <qemu:arg value='-object'/>
    <qemu:arg value='iommufd,id=iommufd0'/>
    <qemu:arg value='-device'/>
    <qemu:arg value='vfio-pci,id=device0,host=0000:01:00.0,iommufd=iommufd0'/>
    <qemu:env name='LD_PRELOAD' value='libiommufd-rlimit.so'/>
    <qemu:env name='IOMMUFD_RLIMIT_MODE' value='process'/>
  </qemu:commandline>
</domain>
"""
LOADED = "iommufd-rlimit: debug: version=0.1.0 mode=process helper=/run/helper.sock\n"


class DoctorTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)
        for name in ("PROC", "SYS", "ETC", "RUN", "LOG"):
            self.patch(name, str(self.root / name.lower()))
            (self.root / name.lower()).mkdir()
        (self.root / "sys/class").mkdir()
        self.write("proc/meminfo", "MemAvailable: 1048576 kB\n")
        self.patch("LENSES", str(HERE / "stubs"), qemu_conf)
        self.user = host.User("me", os.geteuid(), os.getegid(), os.getgroups())

    def patch(self, name, value, where=host):
        patcher = mock.patch.object(where, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def write(self, path, text=""):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def program(self, name, text):
        path = self.write(name, f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)
        return path

    def process(self, pid, vmpin=0, vmlck=0, capabilities=0, limit=409600):
        uid = self.user.uid
        status = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nVmLck:\t{vmlck} kB\nVmPin:\t{vmpin} kB\n"
        self.write(f"proc/{pid}/status", status + f"CapEff:\t{capabilities:016x}\n")
        self.write(f"proc/{pid}/limits", f"Max locked memory         {limit * 1024}    {limit * 1024}   bytes\n")

    def target(self, **changes):
        environment = {"LD_PRELOAD": "libiommufd-rlimit.so", "IOMMUFD_RLIMIT_MODE": "process"}
        return examined.Target(**{"user": self.user, "environment": environment, "qemu": None, **changes})

    def domain(self, xml=DOMAIN, **changes):
        return self.target(domain="web", xml=DomainXml(xml), version_of_libvirt=(11, 3), **changes)

    def found(self, check, target, said=None):
        """What the check finds; where a text is given, it is what any command says."""
        if said is None:
            return list(checks.CHECKS[check](target))
        with mock.patch.object(host, "run", return_value=(0, said)):
            return list(checks.CHECKS[check](target))

    def expect(self, findings, level, what, fix=""):
        for finding in findings:
            if finding[0] == level and what in finding[1] and fix in finding[2]:
                return
        self.fail(f"no {level} with '{what}' and fix '{fix}' in {findings}")

    def device(self):
        """A character device that anyone may open takes the part of the iommufd."""
        self.patch("DEVICE", "/dev/null")
        link = self.root / "sys/dev/char/1:3"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.is_symlink() or link.symlink_to("../../devices/virtual/misc/iommu")

    # --- kernel, device

    def test_kernel_with_iommufd(self):
        (self.root / "sys/class/misc/iommu").mkdir(parents=True)
        self.expect(self.found("kernel", self.target()), "ok", "has iommufd")

    def test_kernel_built_without_iommufd(self):
        with gzip.open(self.root / "proc/config.gz", "wt") as file:
            file.write("CONFIG_IOMMU=y\n# CONFIG_IOMMUFD is not set\n")
        self.expect(self.found("kernel", self.target()), "problem", "built without iommufd", "CONFIG_IOMMUFD")

    def test_module_not_loaded(self):
        with gzip.open(self.root / "proc/config.gz", "wt") as file:
            file.write("CONFIG_IOMMUFD=m\n")
        self.expect(self.found("kernel", self.target()), "problem", "shows no iommufd", "modprobe iommufd")
        shutil.rmtree(self.root / "sys/class")
        for check in ("cdev", "devices"):
            self.expect(self.found(check, self.domain()), "skipped", "correct check kernel")
        self.expect(self.found("kernel", self.target()), "problem", "shows no devices", "mount -t sysfs")

    def test_kernel_with_a_file_for_each_device(self):
        (self.root / "sys/class/vfio-dev").mkdir(parents=True)
        self.expect(self.found("cdev", self.target()), "ok", "has a file for each")

    def test_kernel_without_a_file_for_each_device(self):
        self.expect(self.found("cdev", self.target()), "problem", "shows no VFIO devices", "modprobe vfio-pci")
        with gzip.open(self.root / "proc/config.gz", "wt") as file:
            file.write("# CONFIG_VFIO_DEVICE_CDEV is not set\n")
        self.expect(self.found("cdev", self.target()), "problem", "without CONFIG_VFIO_DEVICE_CDEV", "6.6")

    def test_user_namespace(self):
        self.write("proc/self/uid_map", "         0          0 4294967295\n")
        self.assertRaises(FileNotFoundError, self.found, "namespace", self.target(pid=6))
        self.write("proc/6/status")  # of a kernel without user namespaces
        self.expect(self.found("namespace", self.target(pid=6)), "ok", "initial")
        self.write("proc/6/uid_map")  # of a namespace that has no map
        self.expect(self.found("namespace", self.target(pid=6)), "problem", "in a user namespace")
        self.expect(self.found("namespace", self.target()), "ok", "initial")
        self.write("proc/7/uid_map", "         0     100000      65536\n")
        self.expect(self.found("namespace", self.target(pid=7)), "problem", "does not count there", "outside")

    def test_no_device(self):
        self.patch("DEVICE", str(self.root / "iommu"))
        self.expect(self.found("device", self.target()), "skipped", "No such file or directory: correct check kernel")
        self.expect(self.unprivileged(), "skipped", "correct check device")
        self.write("sys/class/misc/iommu/dev", "10:124\n")
        self.patch("is_container", lambda: False)
        self.expect(
            self.found("device", self.target()), "problem", "No such file", f"mknod -m 660 {host.DEVICE} c 10 124"
        )
        self.patch("is_container", lambda: True)
        self.expect(self.found("device", self.target()), "problem", "in this container", f"--device {host.DEVICE}")

    def test_file_in_place_of_the_device(self):
        self.patch("DEVICE", self.write("iommu"))
        self.expect(self.found("device", self.target()), "skipped", "is not the iommufd device", "")
        self.write("sys/class/misc/iommu/dev", "10:124\n")
        fix = f"rm {host.DEVICE}; mknod -m 660 {host.DEVICE} c 10 124; udevadm trigger"
        self.expect(self.found("device", self.target()), "problem", "is not the iommufd device", fix)
        self.expect(self.found("mode", self.target()), "skipped", "the mode: correct check device")

    def test_device_that_may_be_used(self):
        self.device()
        self.expect(self.found("device", self.target()), "ok", "may use /dev/null (0666 root:root)")

    def test_device_that_may_not_be_used(self):
        self.device()
        with mock.patch.object(host, "run", return_value=(2, "sh: 1: cannot open: Permission denied\n")):
            found = self.found("device", self.target())
        self.expect(found, "problem", "may not use /dev/null (0666 root:root): Permission denied", "dmesg | grep -E")
        with mock.patch.object(host, "run", return_value=(2, "sh: 1: cannot open: Operation not permitted\n")):
            found = self.found("device", self.target())
        self.expect(found, "problem", "Operation not permitted", "--device")
        with mock.patch.object(host, "run", side_effect=PermissionError("only root can")):
            self.expect(self.found("device", self.target()), "skipped", "whether user me may use /dev/null")

    def test_fix_for_a_user_who_may_not_use_a_file(self):
        """It depends on the owner, the group and the mode of the file, and on the groups that the user has, and had."""
        alice = host.User("alice", 1000, 1000, [1000])
        member = host.User("alice", 1000, 1000, [1000, 36])
        udev = "udevadm control --reload; udevadm trigger --settle"
        for mode, owner, gid, user, named, pid, fix in (
            (0o600, 0, 0, alice, alice, None, udev),
            (0o660, 0, 0, alice, alice, None, udev),
            (0o640, 0, 36, alice, alice, None, udev),
            (0o640, 0, 36, member, member, None, udev),
            (0o060, 1000, 36, member, member, None, udev),
            (0o660, 0, 36, alice, alice, None, "usermod -aG kvm alice"),
            (0o660, 0, 36, alice, None, None, "usermod -aG kvm alice"),
            (0o660, 0, 36, alice, member, None, "log in again"),
            (0o660, 0, 36, alice, member, 7, "end process 7 and start it again"),
            (0o660, 0, 36, member, member, None, "dmesg | grep -E"),
            (0o600, 1000, 0, alice, alice, None, "dmesg | grep -E"),
            (0o666, 0, 0, alice, alice, None, "dmesg | grep -E"),
        ):
            info = mock.Mock(st_mode=mode, st_uid=owner, st_gid=gid)
            target = self.target(user=user, pid=pid)
            with mock.patch.object(os, "stat", return_value=info), mock.patch.object(host, "find_user", return_value=named):
                with mock.patch.object(host, "group_name", return_value="kvm"), mock.patch.object(host, "owner_and_mode"):
                    with mock.patch.object(host, "refusal", return_value="Permission denied"):
                        found = device_checks.check_access("/dev/iommu", target)
                        self.assertIn(fix, found[2], (oct(mode), owner, gid, user, named, pid))
                        target.domain, target.xml = "web", DomainXml(DOMAIN)
                        if fix == udev:
                            self.assertIn("enable web", device_checks.check_access("/dev/iommu", target)[2])
                    found = helper.explain(target, f"{host.RUN}/iommufd-rlimit/helper.sock", "user alice", "connect", errno.EACCES)
                    fix = {udev: "systemctl restart", "end process 7 and start it again": "virsh start web"}.get(fix, fix)
                    self.assertIn(fix, found[2])

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_access_is_tried_as_the_user(self):
        secret = self.write("secret")
        os.chmod(secret, 0o600)
        self.root.chmod(0o711)
        nobody = host.find_user("nobody")
        self.assertEqual(host.refusal(secret, nobody), "Permission denied")
        os.chmod(secret, 0o666)
        self.assertEqual(host.refusal(secret, nobody), "")

    def test_another_user_takes_root(self):
        with mock.patch.object(os, "geteuid", return_value=1), self.assertRaisesRegex(PermissionError, "only root"):
            host.run(["true"], host.User("other", 2, 2, []))

    # --- qemu, library

    def test_qemu(self):
        for version, level, what in (("10.0.13", "ok", "is 10.0"), ("7.2.1", "problem", "is 7.2, without iommufd")):
            qemu = self.program("qemu", f"echo QEMU emulator version {version}")
            self.expect(self.found("qemu", self.target(qemu=qemu)), level, what)
        self.expect(self.found("qemu", self.target()), "skipped", "no QEMU found; name one with --qemu")
        qemu = self.program("qemu", "echo cannot run >&2; exit 1")
        self.expect(self.found("qemu", self.target(qemu=qemu)), "problem", "--version fails with status 1: cannot run")
        self.expect(self.found("qemu", self.target(qemu="/bin/true", is_named=True)), "skipped", "it is not QEMU")
        failing = self.target(qemu=qemu)
        failing.version = (1, "cannot run")
        self.expect(self.found("library", failing), "skipped", "correct check qemu")
        Path(qemu).write_text("of another machine")
        found = self.found("qemu", self.target(qemu=qemu))
        self.expect(found, "problem", "--version fails with status 126: Exec format error", "install QEMU 9.0 or later")
        os.chmod(qemu, 0o644)
        with self.assertRaises(PermissionError):
            self.found("qemu", self.target(qemu=qemu))

    def library(self, preload, qemu=None):
        qemu = qemu or self.program("qemu", "echo QEMU emulator version 10.0")
        return self.found("library", self.target(qemu=qemu, environment={"LD_PRELOAD": preload}))

    @unittest.skipUnless(LIBRARY, "no library named")
    def test_library_that_loads(self):
        self.expect(self.library(LIBRARY), "ok", f"QEMU loads {LIBRARY}, version ")

    def test_library_not_named(self):
        self.expect(self.library("/opt/other.so"), "problem", "does not name", "qemu-iommufd-rlimit")
        found = self.found("library", self.domain(environment={}))
        self.expect(found, "problem", "does not name", "iommufd-rlimit-libvirt enable web")

    def test_library_that_is_missing(self):
        path = "/nonexistent/libiommufd-rlimit.so"
        self.expect(self.library(path), "problem", f"does not load {path}: cannot open", "install libiommufd-rlimit")
        name = "libiommufd-rlimit-test.so"
        self.write(f"usr/lib/apart/{name}")
        self.patch("SCRIPTS", self.root / "usr/share/iommufd-rlimit-shim")
        self.expect(self.library(name), "problem", f"does not load {name}: cannot open", "ldconfig")

    def test_library_of_another_class(self):
        path = self.root / "libiommufd-rlimit.so"
        image = bytearray(Path(os.path.realpath("/bin/sh")).read_bytes())
        image[4] = 1 if sys.maxsize > 1 << 32 else 2  # EI_CLASS: the other one
        path.write_bytes(image)
        self.expect(self.library(str(path)), "problem", "wrong ELF class", "architecture")

    def test_library_ignored_for_raised_privileges(self):
        qemu = self.program("qemu", "echo QEMU emulator version 10.0")
        path = "/nonexistent/libiommufd-rlimit.so"
        with mock.patch.object(os, "getxattr", return_value=struct.pack("<5I", 2 << 24, 1 << 24, 0, 0, 0)):
            self.expect(self.library(path, qemu), "skipped", f"does not load {path}: correct check capabilities")
        with mock.patch.object(host, "run", return_value=(0, "")):
            os.chmod(qemu, 0o4755)
            self.expect(self.library("libiommufd-rlimit.so", qemu), "problem", "it is set-user-ID", "chmod ug-s")
            os.chmod(qemu, 0o755)
            self.expect(self.library("libiommufd-rlimit.so", qemu), "problem", "ld.so does not say why", "dynamically")

    def test_library_that_sees_no_open(self):
        """In a program that is statically linked, and in one that takes no open() from libc."""
        environment = {"LD_PRELOAD": "libiommufd-rlimit.so"}
        for said, program in (("QEMU emulator version 10.0", "QEMU"), ("vmm v1.0", "vmm")):
            target = self.target(qemu="/usr/bin/vmm", is_named=True, environment=environment)
            target.version = (0, said)
            with mock.patch.object(elf, "read", return_value=elf.Program(False)):
                what = f"{program} loads no library: /usr/bin/vmm is statically linked"
                self.expect(self.found("library", target), "problem", what, f"a build of {program} that is dynamically")
            target.version = (0, f"{LOADED}{said}")
            with mock.patch.object(elf, "read", return_value=elf.Program(True, {"ioctl", "fopen"})):
                what = f"{program} loads libiommufd-rlimit.so, but takes no open() from libc"
                self.expect(self.found("library", target), "warning", what, "opens files through libc")
            for file in elf.Program(True, {"open64"}), None:
                with mock.patch.object(elf, "read", return_value=file):
                    self.expect(self.found("library", target), "ok", f"{program} loads libiommufd-rlimit.so, version 0.1.0")
        entries = (HERE.parent.parent / "shim/library/entries.h").read_text()
        self.assertEqual(library.ENTRIES, set(re.findall(r"\bX\((\w+),", entries)))

    def test_program(self):
        """An ELF file of each class and byte order, with one segment, and two symbols: open64, and main, which is defined."""
        for wide, order in ((True, "<"), (True, ">"), (False, "<"), (False, ">")):
            names = b"\0open64\0main\0"
            symbol = (lambda name, section: (name, 0, 0, section, 0, 0)) if wide else (lambda *at: (at[0], 0, 0, 0, 0, at[1]))
            layout = "IBBHQQ" if wide else "IIIBBH"
            symbols = b"".join(struct.pack(order + layout, *symbol(*at)) for at in ((1, 0), (8, 1)))
            section = "IIQQQQIIQQ" if wide else "10I"
            size = struct.calcsize(order + section)
            start, size_of_symbol = 128 + 2 * size, len(symbols) // 2
            sections = (0, 11, 0, 0, start, len(symbols), 1, 0, 0, size_of_symbol), (0, 3, 0, 0, start + len(symbols), *[0] * 5)
            for segment, dynamic in ((3, True), (1, False)):
                image = b"\x7fELF" + bytes([1 + wide, 1 + (order == ">")]) + bytes(10)
                header = (2, 0, 1, 0, 64 + 32, 128, 0, 0, 4, 1, size, 2, 0)
                image += struct.pack(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), *header)
                image = image.ljust(96, b"\0") + struct.pack(order + "I", segment).ljust(32, b"\0")
                image += b"".join(struct.pack(order + section, *fields) for fields in sections) + symbols + names
                path = self.root / "program"
                path.write_bytes(image)
                self.assertEqual(elf.read(path), elf.Program(dynamic, {"open64"} if dynamic else set()))
                path.write_bytes(image[:98])
                self.assertIsNone(elf.read(path))
        self.assertIsNone(elf.read(self.program("script", "")))
        self.assertIsNone(elf.read("/nonexistent"))

    def test_file_capabilities(self):
        qemu = self.program("qemu", "")
        self.expect(self.found("capabilities", self.target(qemu=qemu)), "ok", "has no file capabilities")
        for bits, what in (
            (1 << 14, "the file capability CAP_IPC_LOCK: the kernel does not account its memory"),
            (1 << 24, "ignores"),
        ):
            with mock.patch.object(os, "getxattr", return_value=struct.pack("<5I", 2 << 24, bits, 0, 0, 0)):
                self.expect(self.found("capabilities", self.target(qemu=qemu)), "problem", what, f"setcap -r {qemu}")
                self.expect(self.found("capabilities", self.domain(qemu=qemu)), "problem", what, f"setcap -r {qemu}")
                without = self.domain(DOMAIN.replace("409600", "1024"), qemu=qemu)
                fix = f"setcap -r {qemu}; iommufd-rlimit-libvirt enable web --limit 1282M"
                self.expect(self.found("capabilities", without), "problem", what, fix)
                without.xml = DomainXml(DOMAIN.replace("409600", "1024").replace("iommufd,id", "rng-random,id"))
                (found,) = self.found("capabilities", without)
                self.assertEqual(found[2], f"setcap -r {qemu}")

    # --- mode

    def mode(self, lines):
        self.device()
        return self.found("mode", self.target(), lines)

    def outcome(self, words):
        return self.mode(LOADED + f'iommufd-rlimit: info: outcome={words} hint="what to do"\n')

    def test_mode_that_is_set(self):
        self.expect(self.outcome("applied effective=process via=ioctl"), "ok", "can set mode process")
        self.expect(self.outcome("applied effective=process via=helper"), "ok", "process through the helper")
        self.expect(self.outcome("applied effective=user via=ioctl"), "warning", "the default")
        self.expect(self.outcome("queried effective=user"), "warning", "query leaves the mode at user")
        self.expect(
            self.outcome("failed effective=user errno=EIO"), "problem", "cannot set mode process: outcome=failed errno=EIO", "what to do"
        )

    def test_mode_that_is_denied(self):
        failing = [("problem", "no helper", "start it")]
        denied = "denied effective=user errno=EPERM helper=EPROTO"
        with mock.patch.object(helper, "check_helper", return_value=failing):
            self.expect(self.outcome(denied), "skipped", "cannot set mode process: correct check helper")
        with mock.patch.object(helper, "check_helper", return_value=[]):
            self.expect(self.outcome(denied), "problem", "outcome=denied errno=EPERM helper=EPROTO", "what to do")

    # --- helper

    def ask(self, answer, path=None):
        """What the check says of a helper that answers so: by what it sends, and a descriptor or none."""
        path = path or str(self.root / "run/iommufd-rlimit/helper.sock")
        os.makedirs(os.path.dirname(path), exist_ok=True)

        def serve():
            connection, _ = listener.accept()
            with connection:
                byte, descriptors = answer
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
                if byte:
                    connection.sendmsg([byte], rights)

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()
            server = threading.Thread(target=serve)
            server.start()
            found = self.unprivileged()
            server.join()
        os.unlink(path)
        return found

    def unprivileged(self, **changes):
        """The check, for a user who needs the helper."""
        with mock.patch.object(host, "has_capability", return_value=False):
            return self.found("helper", self.target(**changes))

    def test_helper_that_answers(self):
        self.device()
        with open("/dev/null", "r+b") as iommufd, open("/dev/zero") as other:
            with mock.patch.object(shim, "mode_of", return_value="process"):
                self.expect(self.ask((b"\0", [iommufd.fileno()])), "ok", "gives user me an iommufd in mode process")
                self.expect(
                    self.ask((b"\0", [other.fileno()])), "problem", "fails, at step check: EPROTO", "systemctl restart"
                )
            with mock.patch.object(shim, "mode_of", return_value="user"):
                self.expect(self.ask((b"\0", [iommufd.fileno()])), "problem", "fails, at step check: EPROTO")
        self.expect(self.ask((b"\0", [])), "problem", "refused the descriptor", "dmesg | grep")
        with mock.patch.object(helper, "ask_as", return_value=("confine", errno.EACCES)):
            self.expect(self.unprivileged(), "skipped", "it could not be asked as user me: EACCES")
        self.expect(self.ask((b"\x10", [])), "problem", "could not open /dev/null or set the mode: EBUSY", "journalctl")
        self.expect(self.ask((b"", [])), "problem", "at step receive: ECONNRESET", "systemctl restart")

    def test_helper_that_does_not_answer(self):
        self.device()
        path = str(self.root / "helper.sock")
        environment = {"IOMMUFD_RLIMIT_HELPER": path}
        self.expect(self.unprivileged(environment=environment), "problem", f"no helper at {path}", "unset IOMMUFD_RLIMIT_HELPER")
        for kind, what in (
            (socket.SOCK_STREAM, "no helper listens"),
            (socket.SOCK_SEQPACKET, "an older helper listens"),
        ):
            with socket.socket(socket.AF_UNIX, kind) as listener:
                listener.bind(path)
                if kind == socket.SOCK_SEQPACKET:
                    listener.listen()
                self.expect(self.unprivileged(environment=environment), "problem", what, "unset IOMMUFD_RLIMIT_HELPER")
            os.unlink(path)
        found = self.unprivileged(environment={"IOMMUFD_RLIMIT_HELPER": "none"})
        self.expect(found, "problem", "IOMMUFD_RLIMIT_HELPER=none", "unset")

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_helper_for_others(self):
        self.device()
        path = str(self.root / "helper.sock")
        self.root.chmod(0o711)
        nobody = host.find_user("nobody")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            os.chmod(path, 0o660)
            os.chown(path, 0, 12)
            found = self.unprivileged(user=nobody, environment={"IOMMUFD_RLIMIT_HELPER": path})
        self.expect(
            found, "problem", f"user nobody may not connect to the helper at {path} (0660 root:man)", "-aG man nobody"
        )

    def test_helper_of_another_user(self):
        self.device()
        with mock.patch.object(helper, "ask_as", return_value=("listener", 65534)):
            self.expect(self.unprivileged(), "problem", "root outside of this user namespace listens", "outside")
        with mock.patch.object(helper, "ask_as", return_value=("listener", 1234)):
            self.expect(self.unprivileged(), "problem", "user 1234 listens at", "systemctl restart")

    def test_helper_of_another_version(self):
        self.patch("SCRIPTS", self.root / "usr/share/iommufd-rlimit-shim")
        self.program("usr/libexec/iommufd-rlimit-helper", "echo iommufd-rlimit-helper 9.9.9")
        self.write("proc/9/comm", "iommufd-rlimit-\n")
        (self.root / "proc/9/exe").symlink_to("/usr/libexec/iommufd-rlimit-helper (deleted)")
        target = self.target(qemu="qemu")
        target.version = (0, LOADED)
        found = list(helper.check_version(target))
        self.expect(found, "problem", "is older than the installed helper", "systemctl restart")
        self.expect(found, "problem", "the helper is of version 9.9.9, the library of 0.1.0", "same version")

    def test_confinement(self):
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("proc/7/attr/current", "libvirt-1111 (enforce)\n")
        self.assertEqual(helper.confinement(self.target(pid=7)), "libvirt-1111")
        self.write("proc/7/attr/current", "unconfined\n")
        self.assertEqual(helper.confinement(self.target(pid=7)), "")

    def test_misspelt_setting(self):
        found = self.mode(
            LOADED + "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_MODE value=proces "
            'accepted="process, user, query or off"\n'
            "iommufd-rlimit: error: outcome=invalid effective=user errno=EINVAL\n"
        )
        self.assertEqual(len(found), 1)
        what = "IOMMUFD_RLIMIT_MODE=proces is not understood: it takes process, user, query or off"
        self.expect(found, "problem", what, "export IOMMUFD_RLIMIT_MODE=process")

    def test_only_a_setting_that_is_understood_gives_way(self):
        self.device()
        understood = (("LOG", "syslog", "stderr"), ("LOG", "", "stderr"), ("LOG_LEVEL", "error", "debug"))
        others = (("LOG", "cry", "cry"), ("LOG_LEVEL", "cry", "cry"), ("ON_ERROR", "cry", "cry"))
        for name, value, tried in understood + others:
            environment = {"LD_PRELOAD": "libiommufd-rlimit.so", f"IOMMUFD_RLIMIT_{name}": value}
            with mock.patch.object(host, "run", return_value=(0, "")) as run:
                list(checks.CHECKS["mode"](self.target(environment=environment)))
            self.assertEqual(run.call_args.args[2][f"IOMMUFD_RLIMIT_{name}"], tried)

    def test_mode_not_set(self):
        self.expect(self.mode(""), "problem", "the library does nothing", "IOMMUFD_RLIMIT_MODE=process")

    def test_library_that_is_ignored_says_nothing_about_the_mode(self):
        self.assertEqual(self.mode("ERROR: ld.so: object 'x' from LD_PRELOAD cannot be preloaded\n"), [])

    def test_process_with_the_capability(self):
        self.device()
        self.process(7, capabilities=1 << 24)
        self.expect(self.found("mode", self.target(pid=7)), "ok", "has CAP_SYS_RESOURCE")

    # --- accounting, process

    def test_process_that_is_not_accounted(self):
        self.process(7, capabilities=1 << 14)
        self.expect(self.found("accounting", self.target(pid=7)), "warning", "CAP_IPC_LOCK", "unprivileged user")
        self.expect(self.found("accounting", self.domain(pid=7)), "warning", "CAP_IPC_LOCK", "qemu.conf; virsh start web")
        self.process(7)
        self.assertEqual(self.found("accounting", self.target(pid=7)), [])

    def running(self, modes, maps="/usr/lib/libiommufd-rlimit.so"):
        self.process(7, vmpin=1000, vmlck=1000)
        self.write("proc/7/maps", maps)
        qemu = self.program("qemu", "")
        with mock.patch.object(shim, "iommufd_modes", return_value=modes):
            return self.found("process", self.target(pid=7, qemu=qemu))

    def test_running_process(self):
        self.expect(self.running({9: "process"}), "ok", "iommufd 9 has mode process; VmPin 1000 kB, VmLck 1000 kB")
        self.expect(self.running({9: "user"}), "problem", "iommufd 9 has mode user", "start it again")
        self.expect(self.running({}), "ok", "no iommufd open")
        self.expect(self.running({9: "user"}, maps=""), "problem", "runs without the library", "start it again")

    def test_process_that_may_not_be_looked_into(self):
        self.process(7)
        self.write("proc/7/maps", "libiommufd-rlimit.so")
        with mock.patch.object(shim, "iommufd_modes", side_effect=PermissionError("not yours")):
            self.expect(self.found("process", self.target(pid=7)), "skipped", "the modes: not yours; VmPin 0 kB")

    def test_descriptor_that_is_no_iommufd(self):
        fds = self.root / f"proc/{os.getpid()}/fd"
        fds.mkdir(parents=True)
        (fds / "3").symlink_to("/dev/null")
        (fds / "4").symlink_to("/nonexistent")
        self.assertEqual(shim.iommufd_modes(os.getpid()), {})

    def test_process_that_is_refused(self):
        """It is counted, and no descriptor stays open."""
        self.device()
        fds = self.root / f"proc/{os.getpid()}/fd"
        fds.mkdir(parents=True)
        (fds / "3").symlink_to("/dev/null")
        libc = mock.Mock()

        def refuse(*_):
            ctypes.set_errno(number)
            return -1

        libc.syscall.side_effect = refuse
        before = os.listdir("/proc/self/fd")
        for number, expected in ((errno.EPERM, "1 process could not be looked into"), (errno.ESRCH, "")):
            with mock.patch("ctypes.CDLL", return_value=libc), mock.patch("sys.stderr", new_callable=io.StringIO) as output:
                self.assertEqual(report.running(), [])
            self.assertIn(expected, output.getvalue())
            self.assertEqual(bool(output.getvalue()), bool(expected))
        libc.syscall.side_effect = lambda *_: os.open("/dev/null", os.O_RDWR)  # no iommufd: its ioctl fails
        with mock.patch("ctypes.CDLL", return_value=libc):
            self.assertRaises(OSError, shim.iommufd_modes, os.getpid())
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_line_of_the_log(self):
        text = 'x\niommufd-rlimit: info: outcome=applied comm="a \\" b" hint="broken off\n'
        (line,) = shim.shim_lines(text)
        self.assertEqual((line["outcome"], line["comm"]), ("applied", 'a \\" b'))

    # --- libvirt

    def test_libvirt_that_sets_the_mode_itself(self):
        managed = self.domain("<domain><iommufd enabled='yes'/></domain>", environment={})
        both = self.domain(DOMAIN.replace("<devices>", "<iommufd enabled='yes'/><devices>"))
        self.assertFalse(both.libvirt_sets_mode())
        self.expect(self.found("libvirt", managed), "ok", "the library is not needed")
        self.not_concerned(managed)
        given = self.domain("<domain><iommufd enabled='yes' fdgroup='g'/></domain>", environment={})
        self.expect(self.found("libvirt", given), "ok", "or from the program that gave libvirt an fdgroup")
        newer = self.domain()
        newer.version_of_libvirt = (12, 8)
        self.expect(self.found("libvirt", newer), "ok", "where a domain has <iommufd enabled='yes'/>")
        self.assertEqual(self.found("libvirt", self.domain()), [])

    def test_domain_without_iommufd(self):
        plain = self.domain(DOMAIN.replace("iommufd,id", "rng-random,id"))
        self.expect(self.found("libvirt", plain), "warning", "no device on iommufd", "virsh edit web")
        self.not_concerned(self.domain(DOMAIN.replace("iommufd,id", "rng-random,id").replace("409600", "8192")))

    def not_concerned(self, domain):
        """Nothing is said of what the library takes, whether the domain runs or not."""
        self.device()
        self.process(7, limit=8192)
        for domain.pid, domain.environment in ((None, {}), (7, {"LD_PRELOAD": "libiommufd-rlimit.so"})):
            for check in ("device", "library", "helper", "mode", "limit"):
                with mock.patch.object(host, "refusal", return_value="Permission denied"):
                    self.assertEqual(self.found(check, domain, ""), [], check)
        with mock.patch.object(shim, "iommufd_modes", return_value={}):
            self.expect(self.found("process", domain), "ok", "no iommufd open")
            self.assertEqual(len(self.found("process", domain)), 1)

    def bound(self, driver, node=""):
        path = self.root / "sys/bus/pci/devices/0000:01:00.0"
        path.mkdir(parents=True, exist_ok=True)
        if driver:
            (path / "driver").symlink_to(f"../../drivers/{driver}")
        if node:
            (path / f"vfio-dev/{node}").mkdir(parents=True)

    def test_devices(self):
        self.expect(self.found("devices", self.domain()), "problem", "has no device 0000:01:00.0; lspci -D", "virsh edit web")
        self.bound("")
        self.expect(self.found("devices", self.domain()), "problem", "0000:01:00.0 has no driver", "driverctl")

    def test_device_of_another_driver(self):
        self.bound("mlx5_core")
        self.expect(
            self.found("devices", self.domain()), "problem", "driver mlx5_core, which is not a VFIO driver", "driverctl"
        )

    def test_device_without_a_file(self):
        self.bound("nvgrace-gpu-vfio-pci")
        found = self.found("devices", self.domain())
        self.expect(found, "problem", "driver nvgrace-gpu-vfio-pci made no file", "CONFIG_VFIO_DEVICE_CDEV")

    def test_device_as_it_should_be(self):
        self.bound("nvgrace-gpu-vfio-pci", "vfio3")
        found = self.found("devices", self.domain())
        self.expect(found, "ok", "0000:01:00.0 has driver nvgrace-gpu-vfio-pci and file /dev/vfio/devices/vfio3")
        self.write("sys/class/vfio-dev/vfio3/dev", "511:3\n")
        found = self.found("devices", self.domain())
        fix = "mknod -m 660 /dev/vfio/devices/vfio3 c 511 3; udevadm trigger"
        self.expect(found, "problem", "there is no file /dev/vfio/devices/vfio3", fix)
        self.patch("node", lambda name: "/dev/null", device_checks.pci)
        with mock.patch.object(device_checks, "check_access", return_value=("ok", "access", "")):
            self.expect(self.found("devices", self.domain()), "ok", "access")

    def test_acl(self):
        self.bound("vfio-pci", "vfio3")
        paths = ["/dev/iommu", "/dev/vfio/devices/vfio3"]
        found = self.found("acl", self.domain())
        for path in paths:
            self.expect(found, "problem", f"does not get {path}", "iommufd-rlimit-libvirt enable web")
        self.expect(
            self.found("acl", self.domain(conf={"cgroup_device_acl": paths})), "ok", "QEMU gets /dev/iommu /dev/vfio"
        )
        unread = self.domain(conf_unread="Permission denied")
        self.expect(self.found("acl", unread), "skipped", "which devices QEMU gets from libvirt: Permission denied")

    def test_daemon_that_has_old_settings(self):
        path = self.write("etc/libvirt/qemu.conf")
        self.write("proc/5/cgroup", "0::/system.slice/virtqemud.service\n")
        self.patch("boot_time", lambda: 1000)
        self.write("proc/5/comm", "virtqemud\n")
        ticks = os.sysconf("SC_CLK_TCK")
        self.write("proc/5/stat", f"5 (a b) S {' '.join(['0'] * 18)} {100 * ticks} 0\n")
        os.utime(path, (1050, 1050))
        self.expect(self.found("daemon", self.domain(daemon=5)), "ok", "has read")
        os.utime(path, (1150, 1150))
        found = self.found("daemon", self.domain(daemon=5))
        self.expect(found, "problem", "virtqemud was started before", "systemctl restart virtqemud.service")

    def test_apparmor(self):
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("proc/5/attr/current", "libvirtd (enforce)\n")
        target = self.domain(daemon=5)
        self.expect(self.found("apparmor", target, ""), "problem", "does not let", "iommufd-rlimit-libvirt enable web")
        self.write("etc/apparmor.d/abstractions/libvirt-qemu.d/x", "# /dev/iommu rw,\n")
        self.expect(self.found("apparmor", target, ""), "problem", "does not let")
        sample = (SCRIPT.parent.parent / "host/libvirt/apparmor").read_text()
        self.write("etc/apparmor.d/abstractions/libvirt-qemu.d/x", sample)
        self.expect(self.found("apparmor", target, ""), "ok", "lets QEMU use iommufd")
        profile = f"libvirt-{target.xml.uuid}"
        denied = f'apparmor="DENIED" operation="open" profile="{profile}" name="/dev/iommu" pid=7 comm="q"\n'
        target.pid = 7
        self.expect(self.found("apparmor", target, denied), "problem", "denied process 7 /dev/iommu")
        target.pid = 8  # not this one
        self.assertEqual(len(self.found("apparmor", target, denied)), 1)
        with mock.patch.object(host, "run", return_value=(1, "")):
            self.expect(self.found("apparmor", target), "skipped", "only root may read the kernel's log")
        self.write("proc/5/attr/current", "unconfined\n")
        self.assertEqual(self.found("apparmor", target, denied), [])

    def log(self, text, pid=7):
        self.write("log/libvirt/qemu/web.log", f"outcome of old\n2026: starting up libvirt version: 11.3.0\n{text}")
        return self.found("log", self.domain(pid=pid, log=f"{host.LOG}/libvirt/qemu/web.log"))

    def test_log(self):
        self.assertEqual(self.found("log", self.domain()), [])
        self.expect(self.log("iommufd-rlimit: info: outcome=applied fd=9\n"), "ok", "outcome=applied")
        denied = 'iommufd-rlimit: warning: outcome=denied errno=EPERM helper=ENOENT hint="needs a helper"\n'
        self.expect(self.log(denied), "warning", "outcome=denied errno=EPERM helper=ENOENT", "until virsh start web;")
        self.expect(self.log(denied, pid=None), "ok", "outcome=denied errno=EPERM helper=ENOENT")
        self.assertEqual(self.log(denied + "starting up libvirt\n"), [])
        for call in ("vfio_container_dma_map(0x5, 0x6, 0x7, 0x8)", "iommufd_backend_map_dma(0x5)", "vfio_dma_map(0x5)"):
            limit = f"qemu: {call} = -12 (Cannot allocate memory)\n"
            self.expect(
                self.log(limit), "warning", "-12 (Cannot allocate memory): the memory limit did", "until virsh start web;"
            )
            self.assertEqual(len(self.log(limit)), 1)
            region = f"qemu: {call} = -14 (Bad address)\n"
            self.expect(self.log(region), "ok", "-14 (Bad address): QEMU could not map a region")
            self.assertEqual(len(self.log(limit + region)), 2)
        self.assertEqual(self.log("qemu: cannot set up guest memory: Cannot allocate memory\n"), [])
        ignored = "ERROR: ld.so: object 'libiommufd-rlimit.so' from LD_PRELOAD cannot be preloaded (x): ignored.\n"
        self.expect(self.log(ignored), "warning", "cannot be preloaded")

    def test_log_of_a_hostile_guest(self):
        """What QEMU writes may not keep the doctor for long: each pattern takes time in proportion to the text."""
        self.patch("TAIL", 1 << 30, log_checks)
        seconds = []
        for length in (1, 8):
            text = "dma_map " * 2500 * length + "\niommufd-rlimit: " + "a" * 5000 * length
            before = time.process_time()
            self.log(text)
            seconds.append(time.process_time() - before)
        self.assertLess(seconds[1], 30 * seconds[0])

    def test_log_is_read_from_its_end(self):
        self.patch("TAIL", 100, log_checks)
        self.assertEqual(self.log("iommufd-rlimit: info: outcome=applied fd=9\n" + "x" * 100), [])
        self.expect(self.log("x" * 100 + "\niommufd-rlimit: info: outcome=applied fd=9\n"), "ok", "outcome=applied")

    def test_qemu_conf(self):
        lists = 'cgroup_device_acl = [\n  "/dev/null",\n  "/dev/iommu"\n]\n'
        path = self.write("etc/libvirt/qemu.conf", f'#user = "root"\nuser = "+107"\nuser = "later"\n{lists}')
        self.assertEqual(qemu_conf.read(), {"user": "+107", "cgroup_device_acl": ["/dev/null", "/dev/iommu"]})
        os.unlink(path)
        self.assertEqual(examined.read_conf(), ({}, ""))
        self.write("etc/libvirt/qemu.conf", "\nuser = 'qemu'\n")
        conf, unread = examined.read_conf()
        self.assertEqual(conf, {})
        self.assertIn("qemu.conf, line 2: Augeas cannot read it", unread)

    # --- limit, room

    def test_room(self):
        self.process("self")
        self.process(7, vmpin=102400)  # on the user's account
        self.process(8, vmpin=204800, vmlck=204800)  # on its own
        found = self.found("room", self.domain())
        self.expect(found, "ok", "2 processes of user me pin 300 MiB, 100 MiB of it on the user's account")
        self.expect(found, "ok", "room for 1 more VMs of 256 MiB in mode user, 4 in mode process")
        found = self.found("room", self.target(pid=8))
        self.expect(found, "ok", "room for 1 more VMs of 200 MiB in mode user, 5 in mode process")
        self.expect(self.found("room", self.target()), "ok", "2 processes of user me pin 300 MiB")
        self.write("proc/meminfo")
        self.expect(self.found("room", self.domain()), "skipped", "the kernel does not say")

    def test_limit(self):
        self.expect(
            self.found("limit", self.domain()), "ok", "the limit of 400 MiB covers 256 MiB of memory, 0 MiB of dev"
        )
        low = self.domain(DOMAIN.replace("409600", "262144"))  # a page is missing
        found = self.found("limit", low)
        fix = "iommufd-rlimit-libvirt enable web --limit 1282M"
        self.expect(found, "problem", "the limit of 256 MiB does not cover 256 MiB of memory", fix)
        self.process(8, vmpin=409604)
        self.expect(
            self.found("limit", self.target(pid=8)), "problem", "does not cover 400 MiB that it pins", "prlimit --pid 8 --memlock=419434496"
        )
        self.assertEqual(self.found("limit", self.target()), [])

    def test_limit_of_a_domain_that_may_get_more_memory(self):
        more = "<maxMemory slots='16' unit='KiB'>1073741824</maxMemory><memory"
        domain = self.domain(DOMAIN.replace("<memory", more, 1))
        found = self.found("limit", domain)
        what = f"the limit of 400 MiB covers 256 MiB of memory, 0 MiB of devices, a page of {host.PAGE_KB} KiB, but not a maxMemory of 1048576 MiB"
        self.expect(found, "warning", what, "enable web --limit")
        self.process("self")
        self.expect(self.found("room", domain), "ok", "4 in mode process")
        domain.xml = DomainXml(DOMAIN.replace("<memory", more, 1).replace("409600", "262144"))
        self.expect(self.found("limit", domain), "problem", "does not cover 256 MiB of memory")

    def test_room_in_huge_pages(self):
        self.process("self")
        self.write("proc/meminfo", "MemAvailable: 0 kB\nHugePages_Free: 120\nHugepagesize: 2048 kB\n")
        for page, size in (("", 2048), ("<page size='131072' unit='KiB'/>", 131072)):
            huge = f"<memoryBacking><hugepages>{page}</hugepages></memoryBacking><devices>"
            domain = self.domain(DOMAIN.replace("<devices>", huge))
            self.expect(self.found("room", domain), "skipped", "the kernel does not say")
            self.write(f"sys/kernel/mm/hugepages/hugepages-{size}kB/free_hugepages", f"{1048576 // size}\n")
            self.expect(self.found("room", domain), "ok", "4 in mode process")

    # --- the command

    def run_script(self, *arguments):
        stubs = f"{HERE / 'stubs'}:{os.environ.get('PYTHONPATH', '')}"
        environment = {**os.environ, "PYTHONPATH": stubs, "STUB_DOMAINS": str(self.root)}
        command = [sys.executable, SCRIPT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    def qemu(self):
        return self.program("qemu", "echo QEMU emulator version 10.0")

    def test_text_and_json_agree(self):
        text, as_json = self.run_script("--qemu", self.qemu()), self.run_script("--qemu", self.qemu(), "--json")
        self.assertEqual(text.stderr + as_json.stderr, "")
        found = json.loads(as_json.stdout)
        self.assertEqual(found["status"], {0: "ok", 1: "warning", 2: "problem", 3: "skipped"}[as_json.returncode])
        self.assertEqual(text.returncode, as_json.returncode)
        lines = [line for line in text.stdout.splitlines() if "fix: " not in line]
        fixes = [line.split("fix: ")[1] for line in text.stdout.splitlines() if "fix: " in line]
        self.assertEqual(fixes, [finding["fix"] for finding in found["checks"] if finding["fix"]])
        self.assertEqual([line.split()[:2] for line in lines], [[f["state"], f["code"]] for f in found["checks"]])
        for finding in found["checks"]:
            self.assertEqual(finding["state"] in ("ok", "skipped"), finding["fix"] == "", finding)

    def test_json_is_as_its_schema_says(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("no jsonschema")
        validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
        for arguments in (["--qemu", self.qemu()], ["--pid", "0"], ["--domain", ""], ["--nonsense"], []):
            found = json.loads(self.run_script(*arguments, "--json").stdout)
            self.assertEqual([error.message for error in validator.iter_errors(found)], [], arguments)
            self.assertEqual(found["version"], VERSION)
        found["checks"] = [{**check, "state": "fine"} for check in found["checks"]]
        self.assertFalse(validator.is_valid(found))

    def test_what_could_not_be_looked_at_has_its_own_status(self):
        findings = [{"state": state} for state in ("ok", "skipped")]
        self.assertEqual(report.EXIT_STATUS[report.worst(findings)], 3)
        self.assertEqual(report.EXIT_STATUS[report.worst([*findings, {"state": "warning"}])], 1)
        self.assertEqual(report.EXIT_STATUS[report.worst([])], 0)
        with mock.patch.dict(checks.CHECKS, {"kernel": mock.Mock(side_effect=OSError("broken"))}, clear=True):
            (finding,) = checks.examine(self.target())
        self.assertEqual((finding["state"], finding["message"], finding["fix"]), ("skipped", "broken", ""))

    def test_check_that_fails_hides_no_other(self):
        def check(target):
            yield "ok", "first", ""
            raise IndexError("list index out of range")

        with mock.patch.dict(checks.CHECKS, {"kernel": check, "cdev": lambda _: [("ok", "other", "")]}, clear=True):
            found = [(finding["state"], finding["message"]) for finding in checks.examine(self.target())]
        failed = "the check failed: IndexError('list index out of range')"
        self.assertEqual(found, [("ok", "first"), ("skipped", failed), ("ok", "other")])

    def test_prometheus(self):
        """The rules of 'promtool check metrics', and that program itself where it is."""
        rows = [{"name": 'a"b', "pid": 7, "mode": "process", "pinned": 1, "limit": limit} for limit in (2, None)]
        findings = [{"subject": "host", "code": "kernel", "state": state} for state in ("ok", "problem")]
        with mock.patch("sys.stdout", new_callable=io.StringIO) as output:
            report.print_prometheus(findings, rows[:1])
            report.print_prometheus([], rows[1:])
        text = output.getvalue()
        self.assertIn('iommufd_rlimit_pinned_bytes{domain="a\\"b",pid="7"} 1024\n', text)
        self.assertIn('iommufd_rlimit_limit_bytes{domain="a\\"b",pid="7"} +Inf\n', text)
        self.assertIn('iommufd_rlimit_check_state{subject="host",code="kernel",state="problem"} 1\n', text)
        self.assertIn('iommufd_rlimit_check_state{subject="host",code="kernel",state="ok"} 0\n', text)
        one = text[: text.index("# HELP iommufd_rlimit_pinned_bytes", 1)]
        for line in one.splitlines():
            self.assertRegex(
                line, r'^(# HELP [a-z_]+ \S.*|# TYPE [a-z_]+ gauge|[a-z_]+\{([a-z]+="([^"\\]|\\.)*",?)+\} \S+)$'
            )
        names = {line.split()[2] for line in one.splitlines() if line.startswith("# HELP")}
        self.assertEqual(names, {line.split("{")[0] for line in one.splitlines() if not line.startswith("#")})
        self.assertFalse(
            [name for name in names if name.endswith(("_total", "_count", "_sum", "_gauge", "_kilobytes"))]
        )
        if shutil.which("promtool"):
            done = subprocess.run(
                ["promtool", "check", "metrics"], input=one, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_table(self):
        self.process(7, vmpin=102400)
        self.write("proc/7/comm", "qemu\n")
        self.write("run/libvirt/qemu/web.pid", "7\n")
        self.process(8, vmpin=2048)
        self.write("proc/8/comm", "qemu\n")
        with mock.patch.object(shim, "iommufd_modes", lambda pid: {9: "process" if pid == 7 else "user"}):
            rows = report.running()
        expected = {"name": "web", "pid": 7, "mode": "process", "pinned": 102400, "limit": 409600}
        self.assertEqual(rows[0], expected)
        self.assertEqual((rows[1]["name"], rows[1]["mode"]), ("qemu", "user"))
        with mock.patch("sys.stdout", new_callable=io.StringIO) as output:
            report.print_table([*rows, {**rows[0], "limit": None}])
        lines = [line.split() for line in output.getvalue().splitlines()]
        self.assertEqual(lines[0], ["DOMAIN", "PID", "MODE", "PINNED", "MiB", "LIMIT", "MiB", "HEADROOM", "MiB"])
        self.assertEqual(lines[1], ["web", "7", "process", "100", "400", "300"])
        self.assertEqual(lines[3], ["web", "7", "process", "100", "unlimited", "unlimited"])

    def test_colour_is_for_terminals(self):
        with mock.patch("sys.stdout") as output, mock.patch.dict(os.environ, {"NO_COLOR": ""}):
            output.isatty.return_value = True
            self.assertEqual(report.coloured("x", "ok"), "\033[32mx\033[0m")
            with mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
                self.assertEqual(report.coloured("x", "ok"), "x")
            output.isatty.return_value = False
            self.assertEqual(report.coloured("x", "ok"), "x")

    def test_watch(self):
        with subprocess.Popen(
            [sys.executable, SCRIPT, "--watch", "0.05"], stdout=subprocess.PIPE, text=True
        ) as process:
            for _ in range(2):
                self.assertTrue(process.stdout.readline().startswith("DOMAIN"))
            process.terminate()

    def test_process(self):
        qemu = shutil.copy(shutil.which("sleep"), self.root / "qemu-system-test")
        with subprocess.Popen([qemu, "60"]) as process:
            done = self.run_script("--pid", str(process.pid))
            process.kill()
        self.assertIn(f"process {process.pid} runs without the library", done.stdout)
        self.assertIn(f"process {process.pid} has no iommufd open", done.stdout)
        self.assertEqual(done.returncode, 2)

    def upgraded(self, pid):
        """The process, whose QEMU was upgraded; and what is said of its QEMU."""
        target = examined.target_process(pid)
        return target, [*self.found("qemu", target), *self.found("capabilities", target), *self.found("library", target)]

    def test_process_of_a_qemu_that_was_upgraded(self):
        """What runs is examined: not the file that has its name now, and not the one of that name on the host."""
        qemu = shutil.copy(shutil.which("bash"), f"{self.root}/qemu-system-test")
        command = ["-c", "read -r _", "qemu"]
        self.patch("PROC", "/proc")
        with subprocess.Popen([qemu, *command], stdin=subprocess.PIPE, env={"LD_PRELOAD": ""}) as process:
            self.assertEqual(examined.target_process(process.pid).qemu, qemu)
            os.unlink(qemu)
            for name in ("", qemu):
                name and self.program("qemu-system-test", "exit 1")
                target, found = self.upgraded(process.pid)
                self.assertEqual(target.version[0], 0, target.version)
                self.expect(found, "ok", f"{qemu} has no file capabilities")
                self.expect(found, "problem", "LD_PRELOAD does not name the library")
            with mock.patch.object(os.path, "samefile", return_value=False):
                target, found = self.upgraded(process.pid)
            self.expect(found, "skipped", f"the QEMU of process {process.pid} is a container's, and can be run only in it")
            target.environment = {"LD_PRELOAD": "libiommufd-rlimit.so"}
            self.expect(self.found("library", target), "skipped", "whether QEMU loads the library: the QEMU of process")
            with mock.patch.object(host, "process_field", return_value=[]):
                self.assertRaisesRegex(host.Failure, f"process {process.pid} has ended", self.upgraded, process.pid)
            process.stdin.close()

    def test_names_are_words_of_a_shell(self):
        domain = self.domain(qemu="/opt/my qemu")
        domain.domain = "my vm; reboot"
        self.assertEqual(domain.enable(), "iommufd-rlimit-libvirt enable 'my vm; reboot'")
        self.assertEqual(domain.restart(), "virsh shutdown 'my vm; reboot'; until virsh start 'my vm; reboot'; do sleep 5; done")
        self.assertEqual(domain.without("X"), "virsh edit 'my vm; reboot'")
        self.expect(self.found("devices", domain), "problem", "has no device", "virsh edit 'my vm; reboot'")
        with mock.patch.object(os, "getxattr", return_value=struct.pack("<5I", 2 << 24, 1 << 24, 0, 0, 0)):
            self.expect(self.found("capabilities", domain), "problem", "ignores", "setcap -r '/opt/my qemu'")
        domain.domain = "-x"
        self.assertEqual(domain.enable(), f"iommufd-rlimit-libvirt enable {domain.xml.uuid}")

    def test_bad_input(self):
        """One clear line, status 2, and with --json still one object."""
        (self.root / "down").touch()
        for arguments, said in (
            (["--pid", "0"], "--pid 0: a process id is 1 or more; 'pgrep -a qemu'"),
            (["--pid", "999999999"], "there is no process 999999999; 'pgrep -a qemu'"),
            (["--pid", str(os.getpid())], "not QEMU; 'pgrep -a qemu'"),
            (["--pid", "x"], "argument --pid: invalid int value: 'x'; see --help"),
            (["--qemu", "/nonexistent"], "--qemu /nonexistent: there is no such program"),
            (["--qemu", ""], "--qemu '': there is no such program"),
            (["--domain", "nope"], "libvirt cannot be reached: Failed to connect socket"),
            (["--watch", "0"], "argument --watch: '0' is not a number of seconds above 0 and up to 86400; see --help"),
            (["--watch", "9" * 21], "is not a number of seconds above 0 and up to 86400; see --help"),
            (["--js"], "unrecognized arguments: --js; see --help"),
            (["--domain", "a", "--all"], "not allowed with argument --domain; see --help"),
        ):
            done = self.run_script(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(said, done.stderr)
            found = json.loads(self.run_script(*arguments, "--json").stdout)
            self.assertEqual((found["status"], found["checks"]), ("problem", []))
            self.assertIn(said, found["error"])
        found = json.loads(self.run_script("--watch", "1", "--json").stdout)
        self.assertEqual(found["error"], "argument --watch: not allowed with argument --json or --prometheus; see --help")
        os.unlink(self.root / "down")
        for name in ("nope", ""):
            done = self.run_script("--domain", name)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"libvirt at qemu:///system has no domain '{name}'; 'virsh list --all'", done.stderr)

    def test_all(self):
        self.write("web.xml", DOMAIN)
        self.write("plain.xml", DOMAIN.replace("web", "plain").replace("iommufd,id", "rng-random,id"))
        self.write(
            "own.xml", "<domain><name>own</name><uuid>1</uuid><memory>1</memory><iommufd enabled='yes'/></domain>"
        )
        self.write("etc/libvirt/qemu.conf", 'user = "nobody"\n')
        self.write("proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\n")
        loader = SourceFileLoader("doctor", str(SCRIPT))
        doctor = module_from_spec(spec_from_loader("doctor", loader))
        loader.exec_module(doctor)

        def examine(target):
            return [{"subject": target.subject(), "state": "ok", "code": "kernel", "message": "x", "fix": ""}]

        def found(uri="qemu:///system"):
            variables = {"STUB_DOMAINS": str(self.root), "LIBVIRT_DEFAULT_URI": uri}
            with mock.patch.dict(os.environ, variables), mock.patch.object(checks, "examine", examine):
                with mock.patch.object(sys, "argv", [str(SCRIPT), "--all"]):
                    return doctor.examine(doctor.parse())

        def subjects(findings):
            return [(finding["subject"], finding["state"]) for finding in findings]

        findings = found()
        self.assertEqual(subjects(findings), [("host", "ok"), ("domain own", "ok"), ("domain web", "ok")])
        self.write("lost.xml", "<domain")
        self.write("runs.xml", DOMAIN.replace("web", "runs"))
        self.write("runs.live.xml", DOMAIN.replace("web", "runs"))
        self.assertEqual(
            subjects(found()),
            [("host", "ok"), ("domain lost", "skipped"), *subjects(findings[1:2]), ("domain runs", "skipped"), ("domain web", "ok")],
        )
        host_alone = [("host", "ok"), ("host", "skipped")]
        self.assertEqual(subjects(found("test:///default")), host_alone)
        self.write("down")
        self.assertEqual(subjects(found()), host_alone)
        self.assertIn("not examined: libvirt cannot be reached", found()[1]["message"])
        with mock.patch("sys.stdout", new_callable=io.StringIO) as output:
            report.print_text(findings)
        self.assertIn("\ndomain web:\nok ", output.getvalue())

    def test_version(self):
        self.assertEqual(self.run_script("--version").stdout, f"iommufd-rlimit-doctor {VERSION}\n")

    def examined(self):
        with mock.patch.dict(os.environ, {"STUB_DOMAINS": str(self.root)}):
            connection = Connection()
            return examined.target_domain(connection, connection.domain("web"))

    def test_running_domain_takes_root(self):
        self.write("web.xml", DOMAIN)
        self.write("web.live.xml", DOMAIN)
        self.assertRaisesRegex(host.Failure, "run this as root", self.examined)

    def test_domain_of_a_session(self):
        """Its QEMU is the user's own, and has neither a qemu.conf nor a profile."""
        self.write("web.xml", DOMAIN)
        self.write("web.live.xml", DOMAIN)
        me = host.User("alice", 1000, 1000, [1000])
        variables = {"LIBVIRT_DEFAULT_URI": "qemu:///session", "XDG_RUNTIME_DIR": f"{self.root}/user", "HOME": "/home/a"}
        with mock.patch.dict(os.environ, variables), mock.patch.object(os, "geteuid", lambda: 1000):
            os.environ.pop("XDG_CACHE_HOME", None)
            with mock.patch.object(host, "process_user", lambda _: me):
                self.assertRaisesRegex(host.Failure, "run this as root", self.examined)
                os.unlink(self.root / "web.live.xml")
                target = self.examined()
        self.assertEqual((target.user, target.conf, target.conf_unread, target.is_session), (me, {}, "", True))
        self.assertEqual(target.log, "/home/a/.cache/libvirt/qemu/log/web.log")
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("proc/5/attr/current", "libvirtd (enforce)\n")
        target.daemon = 5
        for check in ("acl", "daemon", "apparmor"):
            self.assertEqual(self.found(check, target), [])

    def test_domain_gets_what_the_daemon_hands_on(self):
        self.write("web.xml", DOMAIN.replace("LD_PRELOAD", "UNRELATED"))
        self.write("proc/4/comm", "virtqemud\n")
        self.write("proc/4/status", "Uid:\t1000\t1000\t1000\t1000\n")  # of a session
        self.write("proc/5/comm", "virtqemud\n")
        self.write("proc/5/status", "Uid:\t0\t0\t0\t0\n")
        self.write("proc/5/environ", "LD_PRELOAD=libiommufd-rlimit-process.so\0IOMMUFD_RLIMIT_LOG=syslog\0")
        self.write("etc/libvirt/qemu.conf", 'user = "nobody"\n')
        target = self.examined()
        self.assertEqual(
            target.environment,
            {"LD_PRELOAD": "libiommufd-rlimit-process.so", "IOMMUFD_RLIMIT_MODE": "process"},
        )
        self.assertEqual((target.user.name, target.qemu, target.subject()), ("nobody", "/usr/bin/qemu", "domain web"))


if __name__ == "__main__":
    unittest.main()

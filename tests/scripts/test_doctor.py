#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""iommufd-rlimit-doctor, check by check: each of its findings provoked. argv[1]: the library."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

sys.dont_write_bytecode = True

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "scripts/iommufd-rlimit-doctor"
sys.path.insert(0, str(SCRIPT.parent))

from iommufd_rlimit import checks, host, shim, target as examined  # noqa: E402
from iommufd_rlimit.checks import libvirt as libvirt_checks  # noqa: E402

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
        self.write("proc/meminfo", "MemAvailable: 1048576 kB\n")
        self.user = host.User("me", os.geteuid(), os.getegid(), os.getgroups())

    def patch(self, name, value):
        patcher = mock.patch.object(host, name, value)
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
        return self.target(domain="web", xml=ElementTree.fromstring(xml), **changes)

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
        link.parent.mkdir(parents=True)
        link.symlink_to("../../devices/virtual/misc/iommu")

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

    def test_no_device(self):
        self.patch("DEVICE", str(self.root / "iommu"))
        self.expect(self.found("device", self.target()), "problem", "No such file", "udevadm trigger")

    def test_file_in_place_of_the_device(self):
        self.patch("DEVICE", self.write("iommu"))
        self.expect(self.found("device", self.target()), "problem", "something else", "rm ")

    def test_device_that_may_be_used(self):
        self.device()
        self.expect(self.found("device", self.target()), "ok", "may use /dev/null (0666 root:root)")

    def test_device_that_may_not_be_used(self):
        self.device()
        with mock.patch.object(host, "run", return_value=(2, "sh: 1: cannot open: Permission denied\n")):
            found = self.found("device", self.target())
        self.expect(found, "problem", "may not use /dev/null (0666 root:root): Permission denied", "udev.rules")

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
        self.expect(self.found("qemu", self.target()), "warning", "no QEMU found", "--qemu")
        qemu = self.program("qemu", "echo cannot run >&2; exit 1")
        self.expect(self.found("qemu", self.target(qemu=qemu)), "problem", "cannot run")

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
        self.expect(self.library(path), "problem", f"does not load {path}: cannot open", "ldconfig")

    def test_library_of_another_class(self):
        path = self.root / "libiommufd-rlimit.so"
        image = bytearray(Path(os.path.realpath("/bin/sh")).read_bytes())
        image[4] = 1 if sys.maxsize > 1 << 32 else 2  # EI_CLASS: the other one
        path.write_bytes(image)
        self.expect(self.library(str(path)), "problem", "wrong ELF class", "architecture")

    def test_library_ignored_for_raised_privileges(self):
        qemu = self.program("qemu", "echo QEMU emulator version 10.0")
        with mock.patch.object(os, "listxattr", return_value=["security.capability"]):
            path = "/nonexistent/libiommufd-rlimit.so"
            self.expect(self.library(path, qemu), "problem", "cannot open", "setcap -r")
        with mock.patch.object(host, "run", return_value=(0, "")):
            with mock.patch.object(os, "listxattr", return_value=["security.capability"]):
                self.expect(self.library("libiommufd-rlimit.so", qemu), "problem", "does not say why", "setcap -r")
            os.chmod(qemu, 0o4755)
            self.expect(self.library("libiommufd-rlimit.so", qemu), "problem", "does not say why", "chmod ug-s")
            os.chmod(qemu, 0o755)
            self.expect(self.library("libiommufd-rlimit.so", qemu), "problem", "does not say why", "dynamically")

    # --- mode

    def mode(self, lines):
        self.patch("DEVICE", "/dev/null")
        return self.found("mode", self.target(), lines)

    def outcome(self, words):
        return self.mode(LOADED + f"iommufd-rlimit: info: outcome={words} hint=\"what to do\"\n")

    def test_mode_that_is_set(self):
        self.expect(self.outcome("applied effective=process via=ioctl"), "ok", "can set mode process")
        self.expect(self.outcome("applied effective=process via=helper"), "ok", "process through the helper")
        self.expect(self.outcome("applied effective=user via=ioctl"), "warning", "the default")
        self.expect(self.outcome("queried effective=user"), "warning", "query leaves the mode at user")
        self.expect(self.outcome("failed effective=user errno=EIO"), "problem", "outcome=failed errno=EIO", "what to do")

    def test_no_helper(self):
        found = self.outcome("denied effective=user errno=EPERM helper=ENOENT")
        self.expect(found, "problem", "there is no helper at /run/helper.sock", "systemctl enable --now")
        found = self.outcome("denied effective=user errno=EPERM helper=ECONNREFUSED")
        self.expect(found, "problem", "no helper listens at /run/helper.sock", "systemctl restart")
        found = self.outcome("denied effective=user errno=EPERM helper=ETIMEDOUT")
        self.expect(found, "problem", "the helper at /run/helper.sock fails: ETIMEDOUT", "journalctl")
        found = self.mode(
            LOADED.replace("/run/helper.sock", "none")
            + "iommufd-rlimit: warning: outcome=denied effective=user errno=EPERM\n"
        )
        self.expect(found, "problem", "IOMMUFD_RLIMIT_HELPER=none", "unset")

    def test_helper_for_others(self):
        found = self.mode(
            LOADED.replace("/run/helper.sock", "/dev/null")
            + "iommufd-rlimit: warning: outcome=denied effective=user errno=EPERM helper=EACCES\n"
        )
        self.expect(found, "problem", "may not ask the helper at /dev/null (0666 root:root)", "group")

    def test_misspelt_setting(self):
        found = self.mode(
            LOADED + "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_MODE value=proces "
            'accepted="process, user, query or off"\n'
            "iommufd-rlimit: error: outcome=invalid effective=user errno=EINVAL\n"
        )
        self.assertEqual(len(found), 1)
        self.expect(found, "problem", "IOMMUFD_RLIMIT_MODE=proces is not understood", "process, user, query or off")

    def test_mode_not_set(self):
        self.expect(self.mode(""), "problem", "the library does nothing", "IOMMUFD_RLIMIT_MODE=process")

    def test_library_that_is_ignored_says_nothing_about_the_mode(self):
        self.assertEqual(self.mode("ERROR: ld.so: object 'x' from LD_PRELOAD cannot be preloaded\n"), [])

    def test_process_with_the_capability(self):
        self.patch("DEVICE", "/dev/null")
        self.process(7, capabilities=1 << 24)
        self.expect(self.found("mode", self.target(pid=7)), "ok", "has CAP_SYS_RESOURCE")

    # --- accounting, process

    def test_process_that_is_not_accounted(self):
        self.process(7, capabilities=1 << 14)
        self.expect(self.found("accounting", self.target(pid=7)), "warning", "CAP_IPC_LOCK", "another user")
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

    def test_descriptor_that_is_no_iommufd(self):
        fds = self.root / f"proc/{os.getpid()}/fd"
        fds.mkdir(parents=True)
        (fds / "3").symlink_to("/dev/null")
        (fds / "4").symlink_to("/nonexistent")
        self.assertEqual(shim.iommufd_modes(os.getpid()), {})

    def test_line_of_the_log(self):
        text = 'x\niommufd-rlimit: info: outcome=applied comm="a \\" b" hint="broken off\n'
        (line,) = shim.shim_lines(text)
        self.assertEqual((line["outcome"], line["comm"]), ("applied", 'a \\" b'))

    # --- libvirt

    def test_libvirt_that_sets_the_mode_itself(self):
        managed = self.domain("<domain><iommufd enabled='yes'/></domain>", environment={})
        both = self.domain(DOMAIN.replace("<devices>", "<iommufd enabled='yes'/><devices>"))
        self.assertFalse(both.libvirt_sets_mode())
        said = "Using library: libvirt 12.8.0\n"
        self.expect(self.found("libvirt", managed, said), "ok", "the shim is not needed")
        self.assertEqual(self.found("library", managed), [])
        self.assertEqual(self.found("mode", managed), [])
        self.expect(self.found("libvirt", self.domain(), said), "ok", "where a domain has <iommufd enabled='yes'/>")
        self.assertEqual(self.found("libvirt", self.domain(), "Using library: libvirt 11.3.0\n"), [])

    def test_domain_without_iommufd(self):
        plain = self.domain(DOMAIN.replace("iommufd,id", "rng-random,id"))
        self.expect(self.found("libvirt", plain, ""), "warning", "no device on iommufd")

    def test_devices(self):
        paths = ["/dev/iommu", "/dev/vfio/devices/vfio3"]
        (self.root / "sys/bus/pci/devices/0000:01:00.0/vfio-dev/vfio3").mkdir(parents=True)
        found = self.found("devices", self.domain())
        for path in paths:
            self.expect(found, "problem", f"does not get {path}", "cgroup_device_acl")
        with mock.patch.object(libvirt_checks, "check_access", return_value=("ok", "access", "")):
            found = self.found("devices", self.domain(conf={"cgroup_device_acl": paths}))
        self.assertEqual(found, [("ok", "access", "")])

    def test_device_not_bound_to_vfio(self):
        found = self.found("devices", self.domain(conf={"cgroup_device_acl": ["/dev/iommu"]}))
        self.expect(found, "problem", "0000:01:00.0 is not bound to vfio-pci", "driverctl")

    def test_apparmor(self):
        self.write("sys/module/apparmor/parameters/enabled", "Y\n")
        self.write("proc/5/attr/current", "libvirtd (enforce)\n")
        target = self.domain(daemon=5)
        self.expect(self.found("apparmor", target, ""), "problem", "does not let", "libvirt-qemu.d/iommufd-rlimit")
        self.write("etc/apparmor.d/abstractions/libvirt-qemu.d/x", "# /dev/iommu rw,\n")
        self.expect(self.found("apparmor", target, ""), "problem", "does not let")
        sample = (SCRIPT.parent / "libvirt/apparmor").read_text()
        self.write("etc/apparmor.d/abstractions/libvirt-qemu.d/x", sample)
        self.expect(self.found("apparmor", target, ""), "ok", "lets QEMU use iommufd")
        profile = f"libvirt-{target.xml.findtext('uuid')}"
        denied = f'apparmor="DENIED" operation="open" profile="{profile}" name="/dev/iommu" pid=7 comm="q"\n'
        target.pid = 7
        self.expect(self.found("apparmor", target, denied), "problem", "denied process 7 /dev/iommu")
        target.pid = 8  # not this one
        self.assertEqual(len(self.found("apparmor", target, denied)), 1)
        self.write("proc/5/attr/current", "unconfined\n")
        self.assertEqual(self.found("apparmor", target, denied), [])

    def log(self, text, pid=7):
        self.write("log/libvirt/qemu/web.log", f"outcome of old\n2026: starting up libvirt version: 11.3.0\n{text}")
        return self.found("log", self.domain(pid=pid))

    def test_log(self):
        self.assertEqual(self.found("log", self.domain()), [])
        self.expect(self.log("iommufd-rlimit: info: outcome=applied fd=9\n"), "ok", "outcome=applied")
        denied = 'iommufd-rlimit: warning: outcome=denied errno=EPERM helper=ENOENT hint="needs a helper"\n'
        self.expect(self.log(denied), "warning", "outcome=denied errno=EPERM helper=ENOENT", "web.log")
        self.expect(self.log(denied, pid=None), "ok", "outcome=denied errno=EPERM helper=ENOENT")
        self.assertEqual(self.log(denied + "starting up libvirt\n"), [])
        self.expect(self.log("= -12 (Cannot allocate memory)\n"), "warning", "memory could be locked")
        ignored = "ERROR: ld.so: object 'libiommufd-rlimit.so' from LD_PRELOAD cannot be preloaded (x): ignored.\n"
        self.expect(self.log(ignored), "warning", "cannot be preloaded")

    def test_qemu_conf(self):
        self.write(
            "etc/libvirt/qemu.conf",
            '#user = "root"\nuser = "+107"\n  cgroup_device_acl = [\n  "/dev/null", # null\n  #"/dev/no",\n'
            '  "/dev/iommu"\n]\nclear_emulator_capabilities = 0\n',
        )
        conf = examined.read_qemu_conf()
        self.assertEqual(
            conf,
            {
                "user": "+107",
                "cgroup_device_acl": ["/dev/null", "/dev/iommu"],
                "clear_emulator_capabilities": "0",
            },
        )

    # --- memory

    def test_memory(self):
        self.process("self")
        self.process(7, vmpin=102400)  # on the user's account
        self.process(8, vmpin=204800, vmlck=204800)  # on its own
        found = self.found("memory", self.domain())
        self.expect(found, "ok", "2 processes of user me pin 300 MiB, 100 MiB of it on the user's account")
        self.expect(found, "ok", "room for 1 more VMs of 256 MiB in mode user, 4 in mode process")
        found = self.found("memory", self.target(pid=8))
        self.expect(found, "ok", "room for 1 more VMs of 200 MiB in mode user, 5 in mode process")
        self.expect(self.found("memory", self.target()), "ok", "limit 400 MiB; 2 processes")

    def test_limit_too_low_for_one(self):
        low = self.domain(DOMAIN.replace("409600", "204800"))
        self.expect(self.found("memory", low), "problem", "of 256 MiB exceeds its limit of 200 MiB", "hard_limit")

    # --- the command

    def run_script(self, *arguments):
        environment = {**os.environ, "PATH": f"{HERE}:{os.environ['PATH']}", "STUB_DOMAINS": str(self.root)}
        command = [sys.executable, SCRIPT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    def test_text_and_json_agree(self):
        text, as_json = self.run_script("--qemu", "/nonexistent"), self.run_script("--qemu", "/nonexistent", "--json")
        self.assertEqual(text.stderr + as_json.stderr, "")
        report = json.loads(as_json.stdout)
        self.assertEqual(report["status"], {0: "ok", 1: "warning", 2: "problem"}[as_json.returncode])
        self.assertEqual(text.returncode, as_json.returncode)
        lines = [line for line in text.stdout.splitlines() if "fix: " not in line]
        self.assertEqual([line.split()[:2] for line in lines], [[f["level"], f["check"]] for f in report["findings"]])
        for finding in report["findings"]:
            self.assertEqual(finding["level"] == "ok", finding["fix"] == "", finding)

    def test_process(self):
        qemu = shutil.copy(shutil.which("sleep"), self.root / "qemu-system-test")
        with subprocess.Popen([qemu, "60"]) as process:
            done = self.run_script("--pid", str(process.pid))
            process.kill()
        self.assertIn(f"process {process.pid} runs without the library", done.stdout)
        self.assertIn(f"process {process.pid} has no iommufd open", done.stdout)
        self.assertEqual(done.returncode, 2)

    def test_process_of_another_program(self):
        done = self.run_script("--pid", str(os.getpid()))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("not QEMU; 'pgrep -a qemu'", done.stderr)

    def test_no_such_process(self):
        done = self.run_script("--pid", "999999999")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no process 999999999; 'pgrep -a qemu'", done.stderr)

    def test_no_such_domain(self):
        done = self.run_script("--domain", "nope")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("failed to get domain 'nope'", done.stderr)

    def test_running_domain_takes_root(self):
        self.write("web.xml", DOMAIN)
        self.write("web.live.xml", DOMAIN)
        with mock.patch.dict(os.environ, {"PATH": f"{HERE}:{os.environ['PATH']}", "STUB_DOMAINS": str(self.root)}):
            self.assertRaisesRegex(host.Failure, "run this as root", examined.target_domain, "web")

    def test_domain_gets_what_the_daemon_hands_on(self):
        self.write("web.xml", DOMAIN.replace("LD_PRELOAD", "UNRELATED"))
        self.write("proc/5/comm", "virtqemud\n")
        self.write("proc/5/environ", "LD_PRELOAD=libiommufd-rlimit-process.so\0IOMMUFD_RLIMIT_LOG=syslog\0")
        self.write("etc/libvirt/qemu.conf", 'user = "nobody"\n')
        environment = {"PATH": f"{HERE}:{os.environ['PATH']}", "STUB_DOMAINS": str(self.root)}
        with mock.patch.dict(os.environ, environment):
            target = examined.target_domain("web")
        self.assertEqual(
            target.environment,
            {"LD_PRELOAD": "libiommufd-rlimit-process.so", "IOMMUFD_RLIMIT_MODE": "process"},
        )
        self.assertEqual((target.user.name, target.qemu), ("nobody", "/usr/bin/qemu"))


if __name__ == "__main__":
    unittest.main()

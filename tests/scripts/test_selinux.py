#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What iommufd-rlimit-doctor says of SELinux, with a policy that is made up. tests/vm/scenarios/selinux has real ones."""

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts/commands"))

from iommufd_rlimit import host, selinux, target as examined  # noqa: E402
from iommufd_rlimit.checks import selinux as check  # noqa: E402
from iommufd_rlimit.domain_xml import NAMESPACE, DomainXml  # noqa: E402

NODE = "/dev/vfio/devices/vfio3"
LIBRARY = "/usr/lib/libiommufd-rlimit.so"
SOCKET = f"{host.RUN}/iommufd-rlimit/helper.sock"
LABELS = {
    host.DEVICE: "iommu_device_t",
    NODE: "vfio_device_t",
    LIBRARY: "lib_t",
    "/sys": "sysfs_t",
    SOCKET: "iommufd_rlimit_var_run_t",
}
TYPES = {1: "init_t", 5: "virtd_t", 7: "svirt_t"}


def context(name):
    return f"system_u:system_r:{name}:s0"


class SelinuxTest(unittest.TestCase):
    def setUp(self):
        self.labels = dict(LABELS)
        self.refusals = {}  # (source type, target type, class): permissions
        self.permissive = set()
        self.module = True
        self.limit = 409600
        self.patch(selinux, "enforcing", lambda: True)
        self.patch(selinux, "knows", lambda _: self.module)
        self.patch(selinux, "refused", self.refused)
        self.patch(selinux, "is_permissive", lambda name: selinux.type_of(name) in self.permissive)
        self.patch(selinux, "process_context", lambda pid: context(TYPES[pid]))
        self.patch(selinux, "file_context", lambda name: context(self.labels[name]))
        self.listener = context("iommufd_rlimit_t")
        self.patch(selinux, "peer_context", lambda _: self.listener)
        self.patch(selinux, "expected_context", lambda name: context(LABELS[name]))
        self.patch(selinux, "virtual_domain_contexts", lambda: [context("svirt_t"), context("svirt_tcg_t")])
        self.patch(host, "memlock_kb", lambda _: self.limit)
        self.patch(host, "run", lambda *_: (0, f"\tlibiommufd-rlimit.so (libc6,x86-64) => {LIBRARY}\n"))
        self.patch(check.os.path, "exists", lambda name: name in self.labels)
        self.patch(check.os.path, "realpath", lambda name: name)

    def patch(self, *arguments):
        patcher = mock.patch.object(*arguments)
        patcher.start()
        self.addCleanup(patcher.stop)

    def refused(self, source, target, tclass, permissions):
        refusals = self.refusals.get((selinux.type_of(source), selinux.type_of(target), tclass), "")
        return [p for p in permissions.split() if p in refusals.split()]

    def found(self, seclabel="", kind="kvm", pid=None, daemon=5):
        arguments = "<qemu:arg value='-object'/><qemu:arg value='iommufd,id=iommufd0'/>"
        commandline = f"<qemu:commandline xmlns:qemu='{NAMESPACE}'>{arguments}</qemu:commandline>"
        xml = DomainXml(f"<domain type='{kind}'>{seclabel}{commandline}</domain>")
        environment = {"LD_PRELOAD": "libiommufd-rlimit.so"}
        conf = {"cgroup_device_acl": ["/dev/null", host.DEVICE, NODE]}
        domain = examined.Target(None, environment, None, conf, pid=pid, domain="web", xml=xml, daemon=daemon)
        return list(check.check_selinux(domain))

    def only(self, level, what, fix, **options):
        """It finds this, and nothing else."""
        found = self.found(**options)
        self.assertEqual([finding[0] for finding in found], [level], found)
        self.assertIn(what, found[0][1])
        self.assertIn(fix, found[0][2])

    def test_all_well(self):
        self.only("ok", "lets QEMU (svirt_t)", "")
        self.only("ok", "lets QEMU (svirt_tcg_t)", "", kind="qemu")
        mine = f"<seclabel model='selinux'><baselabel>{context('mine_t')}</baselabel></seclabel>"
        self.only("ok", "lets QEMU (mine_t)", "", seclabel=mine)

    def test_nothing_to_say(self):
        with mock.patch.object(selinux, "enforcing", lambda: False):
            self.assertEqual(self.found(), [])
        with mock.patch.dict(TYPES, {7: "unconfined_t"}):
            self.assertEqual(self.found(pid=7), [])
        self.assertEqual(list(check.check_selinux(examined.Target(None, {}, None))), [])

    def test_no_module(self):
        self.module = False
        self.only("problem", "module iommufd-rlimit is not in the policy", "semodule -i")

    def test_labels(self):
        for name in (host.DEVICE, NODE, LIBRARY, SOCKET):
            with mock.patch.dict(self.labels, {name: "admin_home_t"}):
                self.only("problem", f"{name} is labelled admin_home_t in place of", f"restorecon {name}")

    def test_listener(self):
        self.listener = context("init_t")
        fix = "systemctl restart iommufd-rlimit-helper.socket"
        self.only("problem", f"{SOCKET} listens as init_t in place of iommufd_rlimit_t", fix)
        self.listener = None
        self.only("ok", "lets QEMU", "")

    def test_access(self):
        for target, tclass, permission, what in (
            ("iommu_device_t", "chr_file", "open", "use /dev/iommu (svirt_t on iommu_device_t: chr_file open)"),
            ("vfio_device_t", "chr_file", "map", f"QEMU use {NODE}"),
            ("lib_t", "file", "execute", f"QEMU use {LIBRARY}"),
            ("sysfs_t", "file", "read", "QEMU read /sys"),
            ("iommufd_rlimit_var_run_t", "sock_file", "write", f"QEMU use {SOCKET}"),
            ("iommufd_rlimit_t", "unix_stream_socket", "connectto", "QEMU connect to the helper"),
            ("iommufd_rlimit_t", "fd", "use", "QEMU use the helper's descriptor"),
        ):
            self.refusals = {("svirt_t", target, tclass): permission}
            self.only("problem", what, "semodule -i")
        self.refusals = {("iommufd_rlimit_t", "iommu_device_t", "chr_file"): "ioctl"}
        self.only("problem", f"the helper use {host.DEVICE}", "semodule -i")

    def test_permissive(self):
        self.refusals = {("virtd_t", "svirt_t", "process"): "noatsecure"}
        self.only("problem", "hand LD_PRELOAD and its limits on to QEMU (virtd_t on svirt_t: ", "semodule -i")
        self.permissive = {"virtd_t"}
        self.only("warning", "only as long as its type is permissive", "semodule -i")

    def test_limit(self):
        self.only("ok", "lets QEMU", "", pid=7)
        self.limit = 8192
        self.only("problem", "may lock only 8 MiB", "until virsh start web;", pid=7)

    def test_boolean(self):
        for source, target in (("svirt_t", "virtd_t"), ("iommufd_rlimit_t", "init_t")):
            self.refusals = {(source, target, "fd"): "use"}
            self.only("problem", f"{source} on {target}: fd use", "setsebool -P domain_fd_use 1")

    def test_no_daemon(self):
        self.only("skipped", "how QEMU is started", "", daemon=None)

    def test_socket_of_the_setting(self):
        target = examined.Target(None, {"IOMMUFD_RLIMIT_HELPER": "/run/mine.sock"}, None)
        self.assertEqual(check.socket(target), "/run/mine.sock")

    def test_library_by_path(self):
        self.assertEqual(check.libraries(examined.Target(None, {"LD_PRELOAD": f"x.so:{LIBRARY}"}, None)), [LIBRARY])


if __name__ == "__main__":
    unittest.main()

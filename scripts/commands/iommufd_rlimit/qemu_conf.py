# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""libvirt's qemu.conf, read and edited by Augeas with libvirt's own lens."""

import os
import re
import sys
from dataclasses import replace

from . import host
from .host import Failure

try:
    from augeas import Augeas
except ImportError:
    Augeas = None

LENS = "Libvirtd_qemu.lns"
LENSES = None  # Augeas knows where they are

# The devices that libvirt lets each domain use by default, for a qemu.conf without the comment that lists them.
DEFAULT_ACL = ["/dev/null", "/dev/full", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/ptmx", "/dev/kvm"]


def path():
    return f"{host.ETC}/libvirt/qemu.conf"


def read():
    """The settings: texts, and lists of texts. libvirt takes the first of two settings of one name."""
    try:
        with open(path(), encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    tree = Tree(text)
    return {name: tree.value(name) for name in tree.names()}


def user(conf):
    """The user that libvirt runs QEMU as, and the group: those in qemu.conf, else those of the distribution. None if one does
    not exist."""
    names = [conf["user"].lstrip("+")] if "user" in conf else ["libvirt-qemu", "qemu"]
    found = next(filter(None, map(host.find_user, names)), None)
    if not found or "group" not in conf:
        return found
    gid = host.group_id(conf["group"].lstrip("+"))
    return None if gid is None else replace(found, gid=gid, groups=os.getgrouplist(found.name, gid))


def with_devices(text, devices):
    """The text with these devices in cgroup_device_acl; unchanged if they are listed already."""
    tree = Tree(text)
    present = tree.value("cgroup_device_acl")
    if present is None:
        present = default_acl(text)
    missing = [device for device in devices if device not in present]
    if not missing:
        return text
    tree.set_list("cgroup_device_acl", [*present, *missing])
    return tree.text()


def default_acl(text):
    """The default list, from the comment in the qemu.conf of this version of libvirt."""
    comment = re.search(r"^#cgroup_device_acl = \[\n((?:#.*\n)*?)#\]", text, re.M)
    return re.findall(r'"([^"]+)"', comment[1]) if comment else DEFAULT_ACL


class Tree:
    """A text of qemu.conf as a tree of Augeas."""

    def __init__(self, text):
        if Augeas is None:
            raise Failure(f"{sys.executable} has no module augeas; install python3-augeas")
        self.augeas = Augeas(root="/nonexistent", loadpath=LENSES, flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)
        try:
            # The lens wants a line.
            self.augeas.set("/in", text if text.endswith("\n") else f"{text}\n")
            self.augeas.text_store(LENS, "/in", "/conf")
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise Failure(f"{path()}, line {line}: Augeas reads nothing but UTF-8; correct that line")
        except (RuntimeError, ValueError) as error:
            line = self.augeas.get("/augeas/text/conf/error/line")
            where = f"{path()}, line {line}" if line else path()
            raise Failure(f"{where}: Augeas cannot read it with libvirt's lens ({error}); correct that line")

    def names(self):
        labels = [match.rpartition("/")[2] for match in self.augeas.match("/conf/*")]
        return [label for label in map(lambda text: text.partition("[")[0], labels) if not label.startswith("#")]

    def value(self, name):
        """A text or a list of texts; None where it is not set."""
        if not self.augeas.match(f"/conf/{name}[1]"):
            return None
        text = self.augeas.get(f"/conf/{name}[1]")
        if text is not None:
            return text
        return [self.augeas.get(match) for match in self.augeas.match(f"/conf/{name}[1]/*")]

    def set_list(self, name, texts):
        for number, text in enumerate(texts, 1):
            self.augeas.set(f"/conf/{name}[1]/{number}", text)

    def text(self):
        self.augeas.text_retrieve(LENS, "/in", "/conf", "/out")
        return self.augeas.get("/out")

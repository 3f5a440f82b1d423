# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What is examined: a host, a QEMU that runs, or a domain of libvirt."""

import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from typing import Dict, Optional
from xml.etree import ElementTree

from . import host

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


@dataclass
class Target:
    """What is examined: a QEMU that runs, or would."""

    user: host.User
    environment: Dict[str, str]  # LD_PRELOAD and the shim's variables
    qemu: Optional[str]
    conf: dict = field(default_factory=dict)  # qemu.conf
    pid: Optional[int] = None
    domain: Optional[str] = None
    xml: Optional[ElementTree.Element] = None
    daemon: Optional[int] = None  # process id of libvirtd or virtqemud

    def preload(self):
        return self.environment.get("LD_PRELOAD", "")

    def wants_library(self):
        return "libiommufd-rlimit" in self.preload()

    def libvirt_sets_mode(self):
        """All its iommufds come from libvirt, which asks for the mode itself."""
        if self.xml is None or self.opens_iommufd():
            return False
        return any(e.get("enabled") == "yes" for e in self.xml.iter("iommufd"))

    def commandline(self):
        """The words that the domain's XML adds to QEMU's command line."""
        return [e.get("value", "") for e in self.xml.iter(f"{QEMU}arg")] if self.xml is not None else []

    def opens_iommufd(self):
        return any(word.startswith("iommufd,") for word in self.commandline())

    @cached_property
    def version(self):
        """Exit status and output of QEMU --version. The library, at level debug, says there that it was loaded."""
        preload = {"LD_PRELOAD": self.preload()} if self.wants_library() else {}
        debug = {"IOMMUFD_RLIMIT_MODE": "query", "IOMMUFD_RLIMIT_LOG_LEVEL": "debug"}
        return host.run([self.qemu, "--version"], self.user, {**preload, **debug})


def read_qemu_conf():
    """libvirt's qemu.conf: texts, and lists of texts."""
    text = re.sub(r"^\s*#.*$", "", host.read(f"{host.ETC}/libvirt/qemu.conf"), flags=re.M)
    conf = {}
    for name, value in re.findall(r"^\s*(\w+)\s*=\s*(\[[^]]*\]|.*)$", text, re.M):
        texts = re.findall(r'"([^"]*)"', value)
        conf[name] = texts if value.startswith("[") else texts[0] if texts else value.strip()
    return conf


def libvirt_user(conf):
    """As qemu.conf has it, else as the distributions do."""
    names = [conf["user"].lstrip("+")] if "user" in conf else ["libvirt-qemu", "qemu"]
    return next(filter(None, map(host.find_user, names)), None)


def target_host(qemu):
    conf = read_qemu_conf()
    user = host.process_user("self")
    if user.uid == 0:
        user = libvirt_user(conf) or user  # root asks for those who run the VMs
    built = host.SCRIPTS.parent / "build/shim/libiommufd-rlimit.so"
    environment = {
        "LD_PRELOAD": str(built) if built.exists() else "libiommufd-rlimit.so",
        "IOMMUFD_RLIMIT_MODE": "process",
        **host.shim_variables(os.environ),
    }
    names = [qemu] if qemu else [f"qemu-system-{platform.machine()}", "/usr/libexec/qemu-kvm"]
    return Target(user, environment, next(filter(None, map(shutil.which, names)), qemu), conf)


def target_process(pid):
    try:
        qemu = os.readlink(f"{host.PROC}/{pid}/exe")
    except FileNotFoundError:
        raise host.Failure(f"no process {pid}; 'pgrep -a qemu' shows those of QEMU")
    except PermissionError:
        raise host.Failure(f"process {pid} is another user's; run this as root")
    if "qemu" not in os.path.basename(qemu):
        raise host.Failure(f"process {pid} is {qemu}, not QEMU; 'pgrep -a qemu' shows those of QEMU")
    return Target(host.process_user(pid), host.process_environment(pid), qemu, pid=pid)


def target_domain(name):
    xml = ElementTree.fromstring(host.virsh("dumpxml", name))
    name = xml.findtext("name")
    conf = read_qemu_conf()
    daemon = next(
        (p for p in host.processes() if host.read(f"{host.PROC}/{p}/comm").strip() in ("virtqemud", "libvirtd")), None
    )
    pid = host.read(f"{host.RUN}/libvirt/qemu/{name}.pid").strip()
    if pid:
        target = target_process(int(pid))
    elif host.virsh("domstate", name).strip() != "shut off":
        raise host.Failure(f"domain {name} runs, and only root can look into it; run this as root")
    else:
        user = libvirt_user(conf)
        if not user:
            raise host.Failure("libvirt's user for QEMU is not known; set 'user' in qemu.conf")
        # The daemon hands on LD_PRELOAD, and nothing else that matters here.
        inherited = host.process_environment(daemon).get("LD_PRELOAD") if daemon else None
        own = {e.get("name"): e.get("value", "") for e in xml.iter(f"{QEMU}env")}
        environment = host.shim_variables({**({"LD_PRELOAD": inherited} if inherited else {}), **own})
        target = Target(user, environment, xml.findtext("devices/emulator"))
    target.domain, target.xml, target.conf, target.daemon = name, xml, conf, daemon
    return target

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The subject of the checks: a host, a QEMU that runs, or a domain of libvirt."""

import errno
import os
import platform
import shlex
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from typing import Dict, Optional

from . import host, qemu_conf
from .domain_xml import DomainXml
from .host import Failure


@dataclass
class Target:
    """A QEMU that runs, or that would be started."""

    user: host.User
    environment: Dict[str, str]  # LD_PRELOAD and the library's variables
    qemu: Optional[str]
    conf: dict = field(default_factory=dict)  # qemu.conf
    conf_unread: str = ""  # why it could not be read
    is_named: bool = False  # by --qemu, so it may be another program
    pid: Optional[int] = None
    domain: Optional[str] = None
    xml: Optional[DomainXml] = None
    version_of_libvirt: Optional[tuple] = None
    daemon: Optional[int] = None  # process id of libvirtd or virtqemud
    is_session: bool = False  # of the user who runs this: no qemu.conf, no AppArmor
    log: str = ""  # of the domain
    no_qemu: str = "no QEMU found; name one with --qemu"  # why qemu is None

    def subject(self):
        return f"domain {self.domain}" if self.domain else f"process {self.pid}" if self.pid else "host"

    def preload(self):
        return self.environment.get("LD_PRELOAD", "")

    def wants_library(self):
        return "libiommufd-rlimit" in self.preload()

    def libvirt_sets_mode(self):
        return self.xml is not None and self.xml.libvirt_sets_mode()

    def opens_iommufd(self):
        return self.xml is not None and self.xml.opens_iommufd()

    def is_concerned(self):
        """Whether the library has a task in this QEMU. It has none in one of libvirt that opens no iommufd itself."""
        return self.xml is None or self.xml.opens_iommufd()

    def word(self):
        """The domain as a word of a shell. A name that commands would take for an option gives way to the UUID."""
        return shlex.quote(self.xml.uuid if self.domain.startswith("-") else self.domain)

    def enable(self):
        """The command that sets up what libvirt's domains take."""
        return f"iommufd-rlimit-libvirt enable {self.word()}"

    def enable_with_limit(self):
        return f"{self.enable()} --limit {self.xml.enough_kb() // 1024}M"

    def restart(self):
        """The command that ends the QEMU of a domain and starts it anew: a guest takes its time to shut down."""
        return f"virsh shutdown {self.word()}; until virsh start {self.word()}; do sleep 5; done"

    def again(self):
        return self.restart() if self.domain else f"end process {self.pid} and start it again"

    def without(self, variable):
        """The command that takes a setting of the library back."""
        if self.domain:
            return f"virsh edit {self.word()}"
        return f"start process {self.pid} again without {variable}" if self.pid else f"unset {variable}"

    @cached_property
    def program(self):
        """QEMU, or the name of the other program that --qemu names."""
        return "QEMU" if not self.is_named or "QEMU" in self.version[1] else os.path.basename(self.qemu)

    @cached_property
    def version(self):
        """Exit status and output of QEMU --version. The library, at level debug, says there that it was loaded."""
        preload = {"LD_PRELOAD": self.preload()} if self.wants_library() else {}
        debug = {"IOMMUFD_RLIMIT_MODE": "query", "IOMMUFD_RLIMIT_LOG_LEVEL": "debug"}
        try:
            return host.run([self.qemu, "--version"], self.user, {**preload, **debug})
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return 126, error.strerror


def read_conf():
    """qemu.conf, and why it could not be read."""
    try:
        return qemu_conf.read(), ""
    except (OSError, Failure) as error:
        return {}, str(error)


def target_host(qemu):
    conf, unread = read_conf()
    user = host.process_user("self")
    if user.uid == 0:
        user = qemu_conf.user(conf) or user  # root asks on behalf of the user who runs the VMs
    built = host.SCRIPTS.parent.parent / "build/shim/libiommufd-rlimit.so"
    environment = {
        "LD_PRELOAD": str(built) if built.exists() else "libiommufd-rlimit.so",
        "IOMMUFD_RLIMIT_MODE": "process",
        **host.shim_variables(os.environ),
    }
    names = [qemu] if qemu is not None else [f"qemu-system-{platform.machine()}", "/usr/libexec/qemu-kvm"]
    found = next(filter(None, map(shutil.which, names)), None)
    if qemu is not None and not found:
        raise Failure(f"--qemu {qemu or repr(qemu)}: there is no such program")
    return Target(user, environment, found, conf, unread, qemu is not None)


def target_process(pid):
    hint = "'pgrep -a qemu' shows those of QEMU"
    if pid < 1:
        raise Failure(f"--pid {pid}: a process id is 1 or more; {hint}")
    exe = f"{host.PROC}/{pid}/exe"
    try:
        qemu = os.readlink(exe)
        is_contained = not os.path.samefile(f"{host.PROC}/{pid}/root", "/")
    except FileNotFoundError:
        raise Failure(f"there is no process {pid}; {hint}")
    except PermissionError:
        if os.geteuid() == 0:
            raise Failure(f"process {pid} cannot be looked into by root of this container; run this outside of it")
        raise Failure(f"process {pid} is another user's; run this as root")
    if "qemu" not in os.path.basename(qemu):
        raise Failure(f"process {pid} is {qemu}, not QEMU; {hint}")
    try:
        user = host.process_user(pid)
    except IndexError:
        raise Failure(f"process {pid} has ended; {hint}")
    target = Target(user, host.process_environment(pid), qemu, pid=pid)
    if is_contained:
        target.qemu, target.no_qemu = None, f"the QEMU of process {pid} is a container's, and can be run only in it"
    elif not os.path.exists(qemu):  # the link says "(deleted)"
        target.qemu = exe  # an upgrade has replaced the file
    return target


def target_domain(connection, domain):
    session = host.process_user("self") if connection.is_session else None
    conf, unread = ({}, "") if session else read_conf()
    daemon = host.libvirt_daemon_pid(session.uid if session else 0)
    xml = DomainXml(domain.running())
    run, log = connection.directories()
    pid = host.read(f"{run}/{domain.name}.pid").strip()
    if pid:
        target = target_process(int(pid))
    elif domain.is_active:
        raise Failure(f"domain {domain.name} runs, and only root can look into its QEMU; run this as root")
    else:
        user = session or qemu_conf.user(conf)
        if not user:
            raise Failure("the user that libvirt runs QEMU as is not known; set 'user' in qemu.conf")
        # The daemon passes on LD_PRELOAD, and no variable of the library.
        inherited = host.process_environment(daemon).get("LD_PRELOAD") if daemon else None
        environment = host.shim_variables({**({"LD_PRELOAD": inherited} if inherited else {}), **xml.environment()})
        target = Target(user, environment, xml.emulator)
    target.domain, target.xml, target.conf, target.conf_unread, target.daemon = domain.name, xml, conf, unread, daemon
    target.version_of_libvirt, target.is_session = connection.version(), bool(session)
    target.log = f"{log}/{domain.name}.log"
    return target

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The helper gives an iommufd in mode process. The check asks like the library, as the user, confined like QEMU."""

import contextlib
import errno
import glob
import json
import os
import re
import socket
import struct

from .. import host, shim
from .finding import OK, PROBLEM, SKIPPED, denials, let_in

SOCKET = "iommufd-rlimit-helper.socket"
OVERFLOW_UID = 65534  # a user namespace shows each user by it that it does not map
TIMEOUT = 10  # seconds; systemd may have to start it


class Refusal(Exception):
    """The step that failed, and the error."""

    def __init__(self, step, error):
        super().__init__(step, error)


def check_helper(target):
    if not target.is_concerned() or target.pid and host.has_capability(target.pid, host.CAP_SYS_RESOURCE):
        return
    user = target.user
    if not target.pid and user.uid == os.geteuid() and host.has_capability("self", host.CAP_SYS_RESOURCE):
        return
    path = target.environment.get("IOMMUFD_RLIMIT_HELPER") or f"{host.RUN}/iommufd-rlimit/helper.sock"
    if path == "none":
        what = f"user {user.name} lacks CAP_SYS_RESOURCE, and IOMMUFD_RLIMIT_HELPER=none"
        yield PROBLEM, what, target.without("IOMMUFD_RLIMIT_HELPER")
        return
    if user.uid != os.geteuid() and os.geteuid() != 0:
        yield SKIPPED, f"the helper at {path}: only root can ask it as user {user.name}", ""
        return
    if not host.has_device():
        yield SKIPPED, f"the helper at {path}: correct check device", ""
        return
    label = confinement(target)
    step, error = ask_as(user, path, label)
    who = f"user {user.name}{' in profile ' + label if label else ''}"
    if not step:
        yield OK, f"the helper at {path} gives {who} an iommufd in mode process", ""
        yield from check_version(target)
    else:
        yield explain(target, path, who, step, error)


def explain(target, path, who, step, error):
    """The finding for a step that failed."""
    name = errno.errorcode.get(error, str(error))
    # Where somebody has named another socket, systemd has none to start.
    other = target.without("IOMMUFD_RLIMIT_HELPER") if path != f"{host.RUN}/iommufd-rlimit/helper.sock" else ""
    restart = other or f"systemctl restart {SOCKET}"
    if step == "confine":
        return SKIPPED, f"the helper at {path}: it could not be asked as {who}: {name}", ""
    if step == "connect" and error == errno.ENOENT:
        return PROBLEM, f"there is no helper at {path}", other or f"systemctl enable {SOCKET}; systemctl restart {SOCKET}"
    if step == "connect" and error == errno.ECONNREFUSED:
        return PROBLEM, f"no helper listens at {path}", restart
    if step == "connect" and error == errno.EPROTOTYPE:
        return PROBLEM, f"an older helper listens at {path}", other or f"systemctl daemon-reload; systemctl restart {SOCKET}"
    if step == "connect" and error == errno.EACCES:
        what = f"{who} may not connect to the helper at {path} ({host.owner_and_mode(path)})"
        return PROBLEM, what, let_in(path, target) or restart
    if step == "listener" and error == OVERFLOW_UID:
        what = f"root outside of this user namespace listens at {path}: the library cannot know that, and does not trust it"
        return PROBLEM, what, "run QEMU outside of the user namespace"
    if step == "listener":
        return PROBLEM, f"user {error} listens at {path}, not root: the library does not trust that helper", restart
    if step == "answer":
        what = f"the helper at {path} could not open {host.DEVICE} or set the mode: {name}"
        return PROBLEM, what, "journalctl -u iommufd-rlimit-helper"
    if step == "receive" and error == errno.EBADMSG:
        what = f"{who} was refused the descriptor of the helper at {path} by a security module"
        return PROBLEM, what, denials()
    what = f"the helper at {path} fails, at step {step}: {name}"
    return PROBLEM, what, other or "systemctl restart iommufd-rlimit-helper.service"


def confinement(target):
    """The AppArmor profile that QEMU runs in; empty for none."""
    if not target.pid or not host.read(f"{host.SYS}/module/apparmor/parameters/enabled").startswith("Y"):
        return ""
    label = host.read(f"{host.PROC}/{target.pid}/attr/current").strip("\0\n")
    return re.sub(r" \(\w+\)$", "", label) if label.endswith(")") else ""


def ask_as(user, path, label=""):
    """Asks in a process of its own. Returns the step that fails and its errno; none if the helper gave an iommufd."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = ("fork", errno.EIO)
        try:
            if os.geteuid() == 0:
                os.setgroups(user.groups)
                os.setgid(user.gid)
                os.setuid(user.uid)
            ask(path, label)
            answer = ("", 0)
        except Refusal as refusal:
            answer = refusal.args
        except OSError as error:
            answer = ("ask", error.errno)
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        step, error = json.loads(file.read())
    os.waitpid(child, 0)
    return step, error


def ask(path, label):
    """The steps of the library."""
    device = os.stat(host.DEVICE).st_rdev  # before a profile may keep this process from it
    if label:
        confine(label)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(path)
        except OSError as error:
            raise Refusal("connect", error.errno or errno.ETIMEDOUT)
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            raise Refusal("listener", uid)
        try:
            byte, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        except OSError as error:
            raise Refusal("receive", error.errno or errno.ETIMEDOUT)
        judge(byte, descriptors, device)
        with contextlib.suppress(OSError):  # as the library does: this project's helper does not wait for it
            connection.send(b"\0", socket.MSG_NOSIGNAL)


def judge(byte, descriptors, device):
    if not byte:
        raise Refusal("receive", errno.ECONNRESET)
    if byte != b"\0":
        raise Refusal("answer", byte[0])
    if not descriptors:
        raise Refusal("receive", errno.EBADMSG)
    if os.fstat(descriptors[0]).st_rdev != device or shim.mode_of(descriptors[0]) != "process":
        raise Refusal("check", errno.EPROTO)


def confine(label):
    """Gives this process the user, and the profile, of QEMU."""
    try:
        with open("/proc/self/attr/current", "w") as file:
            file.write(f"changeprofile {label}")
    except OSError as error:
        raise Refusal("confine", error.errno)


def check_version(target):
    """The helper that runs is the one that is installed, and of the library's version."""
    restart = "systemctl restart iommufd-rlimit-helper.service"
    for pid in host.processes():
        if host.process_name(pid) == "iommufd-rlimit-helper"[:15]:
            try:
                path = os.readlink(f"{host.PROC}/{pid}/exe")
            except OSError:
                continue
            if path.endswith(" (deleted)"):
                yield PROBLEM, "the helper that runs is older than the installed helper", restart
    installed = glob.glob(f"{host.SCRIPTS.parent.parent}/lib*/iommufd-rlimit-helper")
    loaded = [line for line in shim.shim_lines(target.version[1]) if "version" in line] if target.qemu else []
    if installed and loaded:
        said = host.run([installed[0], "--version"])[1].split()
        if said[-1:] != [loaded[0]["version"]]:
            what = f"the helper is of version {' '.join(said[-1:])}, the library of {loaded[0]['version']}"
            yield PROBLEM, what, "install libiommufd-rlimit and iommufd-rlimit-helper of the same version"

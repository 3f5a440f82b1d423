# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Reads files, processes and users of the machine, and runs commands."""

import grp
import os
import pwd
import re
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import List

DEVICE = "/dev/iommu"
PROC = "/proc"
SYS = "/sys"
ETC = "/etc"
RUN = "/run"
LOG = "/var/log"
TIMEOUT = 20  # seconds, for a command that only looks
OPEN = ["sh", "-c", ': <>"$1"', "sh"]  # a file, which has to exist, for reading and writing

SCRIPTS = Path(__file__).resolve().parent.parent
CAP_IPC_LOCK = 14
CAP_SYS_RESOURCE = 24
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Failure(Exception):
    """Ends the command, with a message for the user."""


@dataclass
class User:
    """The user that QEMU runs as."""

    name: str
    uid: int
    gid: int
    groups: List[int]


def read(path):
    """The text of a file; empty where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def run(command, user=None, environment=None, timeout=TIMEOUT):
    """A command's exit status and all that it said. As another user only for root."""
    identity = {}
    if user and user.uid != os.geteuid():
        if os.geteuid() != 0:
            raise PermissionError(f"only root can try this as user {user.name}")
        identity = {"user": user.uid, "group": user.gid, "extra_groups": user.groups}
    clean = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("IOMMUFD_")}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            env={**clean, "LC_ALL": "C", **(environment or {})},
            cwd="/",
            **identity,
        )
    except FileNotFoundError:
        return 127, f"{command[0]}: not found"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]}: no end in {timeout} s"
    return done.returncode, done.stdout.decode(errors="replace")


def find_user(name):
    """The user of this name or number; None if there is none."""
    try:
        entry = pwd.getpwuid(int(name)) if re.fullmatch("[0-9]+", name) else pwd.getpwnam(name)
    except KeyError:
        return None
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid))


def is_container():
    """Whether this is a container of podman or docker."""
    return os.path.exists(f"{RUN}/.containerenv") or os.path.exists("/.dockerenv")


def group_id(name):
    """Of a name or a number; None if there is no such group."""
    try:
        return int(name) if re.fullmatch("[0-9]+", name) else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def process_user(pid):
    uid, gid = (int(process_field(pid, name)[1]) for name in ("Uid", "Gid"))
    named = find_user(str(uid))
    return User(named.name if named else str(uid), uid, gid, [int(group) for group in process_field(pid, "Groups")])


def process_field(pid, name):
    """The words of a field of proc_pid_status(5)."""
    found = re.search(rf"^{name}:[ \t]*(.*)$", read(f"{PROC}/{pid}/status"), re.M)
    return found[1].split() if found else []


def process_kb(pid, name):
    return int((process_field(pid, name) or ["0"])[0])


def has_capability(pid, capability):
    effective = int((process_field(pid, "CapEff") or ["0"])[0], 16)
    return bool(effective >> capability & 1)


def process_environment(pid):
    """The variables that the process was started with and that concern the library."""
    entries = [entry.split("=", 1) for entry in read(f"{PROC}/{pid}/environ").split("\0") if "=" in entry]
    return shim_variables(dict(entries))


def shim_variables(environment):
    return {k: v for k, v in environment.items() if k == "LD_PRELOAD" or k.startswith("IOMMUFD_RLIMIT_")}


def processes():
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def process_name(pid):
    return read(f"{PROC}/{pid}/comm").strip()


def libvirt_daemon_pid(uid=0):
    """The libvirt daemon that runs QEMU for the system, or for the session of a user; None if there is no such daemon. One in
    a container has a number in another namespace as well."""
    here = (pid for pid in processes() if len(process_field(pid, "NSpid")) < 2)
    daemons = (pid for pid in here if process_name(pid) in ("virtqemud", "libvirtd"))
    return next((pid for pid in daemons if process_field(pid, "Uid")[1:2] == [str(uid)]), None)


def unit(pid):
    """The systemd service of the process."""
    found = re.search(r"/([^/\n]+\.service)$", read(f"{PROC}/{pid}/cgroup"), re.M)
    return found[1] if found else f"{process_name(pid)}.service"


def boot_time():
    """In seconds since 1970. What /proc/stat has is of whole seconds."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def start_time(pid):
    """In seconds since 1970, as precise as the kernel's ticks."""
    ticks = int(read(f"{PROC}/{pid}/stat").rpartition(")")[2].split()[19])
    return boot_time() + (ticks + 1) / os.sysconf("SC_CLK_TCK")


def memlock_kb(pid):
    """The soft limit of memory that the process may lock; None: unlimited."""
    found = re.search(r"^Max locked memory\s+(\d+)", read(f"{PROC}/{pid}/limits"), re.M)
    return int(found[1]) // 1024 if found else None


def is_iommufd(info):
    """Whether an os.stat_result is that of the iommufd device."""
    link = f"{SYS}/dev/char/{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return stat.S_ISCHR(info.st_mode) and os.path.islink(link) and os.readlink(link).endswith("/misc/iommu")


def has_device():
    return os.path.exists(DEVICE) and is_iommufd(os.stat(DEVICE))


def owner_and_mode(path):
    info = os.stat(path)
    try:
        owner = f"{pwd.getpwuid(info.st_uid).pw_name}:{grp.getgrgid(info.st_gid).gr_name}"
    except KeyError:
        owner = f"{info.st_uid}:{info.st_gid}"
    return f"{stat.S_IMODE(info.st_mode):04o} {owner}"


def refusal(path, user):
    """The reason why the user may not open the file for reading and writing; empty if the user may."""
    status, text = run([*OPEN, path], user)
    return text.rpartition(": ")[2].strip() if status else ""


def sample(name):
    """The path of a file that comes with the project."""
    installed = SCRIPTS / "libvirt"
    return (installed if installed.is_dir() else SCRIPTS.parent / "host/libvirt") / name

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The setup of a host for domains of users' own sessions (qemu:///session): root allows a user to use devices and to lock
memory, and the user enables the domains."""

import os
import platform
import re
import resource

from . import host, pci, setup
from .domain_xml import DEVICE_NAME
from .host import Failure
from .steps import Remember, RememberNodes, Run, Step

LIMITS_HEADER = """\
# Written by iommufd-rlimit-libvirt, which takes it back when no user is allowed any more. What each process may lock, in KiB.
"""
EXACT_RULE = f"/usr/bin/qemu-system-{platform.machine()} pux, # LD_PRELOAD: iommufd-rlimit-libvirt\n"


def limits_path():
    return f"{host.ETC}/security/limits.d/iommufd-rlimit.conf"


# --- for root


class Allow(Step):
    """Has the manifest know what a user is allowed; None: nothing any more."""

    def __init__(self, name, entry):
        self.name, self.entry = name, entry

    def record(self, manifest):
        if self.entry:
            manifest.users[self.name] = self.entry

    def finish(self, manifest):
        if not self.entry:
            del manifest.users[self.name]


def plan_allow(plan, manifest, name, devices, limit_kb):
    user = host.find_user(name)
    if not user:
        raise Failure(f"there is no user '{name}'")
    name = user.name  # a number is one as well
    if not host.has_device():
        raise Failure(f"there is no {host.DEVICE}; 'iommufd-rlimit-doctor' says why")
    for device in devices:
        # It becomes part of a rule of udev: nothing is taken but what the kernel calls a device.
        if not DEVICE_NAME.fullmatch(device) or not pci.directory(device):
            raise Failure(f"this host has no device '{device}'; 'lspci -D' shows those there are")
    entry = {"devices": sorted(devices), "limit": limit_kb}
    host_setup = setup.Setup(None, manifest, {}, user)
    plan.steps = [
        *([Allow(name, entry)] if manifest.users.get(name) != entry else []),
        *steps(host_setup, {**manifest.users, name: entry}),
        *apparmor(host_setup),
        *host_setup.selinux(),
        *group(user),
        *host_setup.helper(),
    ]
    if not plan.is_empty():
        plan.notes.append(f"user {name} may use {', '.join([host.DEVICE, *entry['devices']])} from the next login on")
        plan.notes.append(f"each process of {name} may lock {limit_kb // 1024} MiB from the next login on")


def plan_forbid(plan, manifest, name):
    user = host.find_user(name)
    name = user.name if user else name
    if name not in manifest.users:
        plan.notes.append(f"user {name}: nothing was allowed")
        return
    left = {other: entry for other, entry in manifest.users.items() if other != name}
    host_setup = setup.Setup(None, manifest, {}, host.find_user(next(iter(left), name)))
    if left or manifest.domains:
        plan.steps = [*steps(host_setup, left), *setup.leave_group(manifest, name)]
    else:
        plan.restore(host_setup)
    plan.steps.append(Allow(name, None))
    plan.notes.append(f"user {name}: what runs now keeps what it has")


def steps(host_setup, users):
    """The changes of the files that list these users."""
    devices = {device for entry in users.values() for device in entry["devices"]}
    lines = [f"{name} - memlock {entry['limit']}\n" for name, entry in sorted(users.items())]
    limits = host_setup.text(limits_path()) + "".join([LIMITS_HEADER, *lines] if lines else [])
    path = setup.users_udev_path()
    rules = host_setup.udev_rules(sorted(devices), path) if users else setup.encoded(host_setup.text(path)) or None
    files = [
        *host_setup.file(path, rules, f"group {setup.GROUP} may use these devices"),
        *host_setup.file(limits_path(), setup.encoded(limits) or None, "each process of these users may lock so much"),
    ]
    due = path in [step.path for step in files] or "udev" in host_setup.manifest.pending
    nodes = [RememberNodes(setup.node_paths([host.DEVICE, *devices]))] if due and users else []
    return [*nodes, *files, *([host_setup.run_udev()] if due else [])]


def apparmor(host_setup):
    """A daemon that AppArmor confines starts QEMU with its environment cleaned, which takes LD_PRELOAD away: unless there is
    an exact rule that does not."""
    if not host.read(f"{host.SYS}/module/apparmor/parameters/enabled").startswith("Y"):
        return []
    steps = []
    for path in setup.session_profiles().values():
        text = host_setup.text(path)
        content = setup.encoded(text if keeps_environment(text) else f"{text}{EXACT_RULE}")
        steps += host_setup.file(path, content, "QEMU of a user's libvirt gets LD_PRELOAD")
    due = steps or "apparmor" in host_setup.manifest.pending
    return [*steps, *([host_setup.run_apparmor()] if due else [])]


def keeps_environment(text):
    return EXACT_RULE in text


def group(user):
    join = setup.change_member(user.name, True)
    if not join:
        return []
    purpose = f"group {setup.GROUP} may use these devices and ask the helper"
    return [Remember("groups", {user.name: {}}), Run(join, purpose, undo=lambda: setup.change_member(user.name, False))]


# --- for the user


def lacking(user, devices, limit_kb, daemon):
    """What the user's domains still take, as a sentence; empty for nothing."""
    nodes = setup.node_paths([host.DEVICE, *devices]).values()
    paths = [*nodes, f"{host.RUN}/iommufd-rlimit/helper.sock"]
    refused = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
    may_lock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    profile = re.match(r"([\w/.-]+) \(enforce\)", host.read(f"{host.PROC}/{daemon}/attr/current")) if daemon else None
    rules = f"{host.ETC}/apparmor.d/local/usr.sbin.{os.path.basename(profile[1])}" if profile else ""
    cleaned = bool(profile) and not keeps_environment(host.read(rules))
    too_low = may_lock != resource.RLIM_INFINITY and may_lock < limit_kb * 1024
    what = ""
    if refused:
        what = f"user {user.name} may not use {' '.join(refused)}"
    elif too_low:
        what = f"{may_lock // 1024} KiB is all that processes of user {user.name} may lock"
    elif cleaned:
        what = f"AppArmor keeps LD_PRELOAD from QEMU of this session: {rules} has no rule for it"
    if what:
        allow = f"iommufd-rlimit-libvirt allow {user.name} --limit {limit_kb // 1024}M {' '.join(sorted(devices))}"
        return f"{what}: run 'sudo {allow}', then log in anew"
    if daemon and ((host.memlock_kb(daemon) or limit_kb) < limit_kb or set(user.groups) - set(host.process_user(daemon).groups)):
        what = f"the libvirt daemon of this session, process {daemon}, has the groups and limits of an earlier login"
        return f"{what}: run 'kill {daemon}', and it starts again with those of this one"
    return ""

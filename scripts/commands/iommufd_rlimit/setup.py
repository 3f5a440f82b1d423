# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The steps that set the host up for the devices of the enabled domains; only those that are missing."""

import os

from . import host, pci, qemu_conf, selinux
from .checks import apparmor
from .manifest import read_bytes
from .steps import TIMEOUT, Forget, Remember, RememberNodes, Run, SetNodes, WriteFile

SOCKET = "iommufd-rlimit-helper.socket"
SERVICE = "iommufd-rlimit-helper.service"
GROUP = "kvm"  # of the helper's socket
UDEV_HEADER = """\
# Written by iommufd-rlimit-libvirt, which takes it back when no domain is enabled any more. Lets QEMU of libvirt use iommufd
# and these devices. vfioN is numbered in the order in which devices are bound: each gets a name that stays.
"""


def udev_path():
    return f"{host.ETC}/udev/rules.d/72-iommufd-rlimit.rules"


def users_udev_path():
    """For users' own sessions."""
    return f"{host.ETC}/udev/rules.d/72-iommufd-rlimit-users.rules"


def session_profiles():
    """The profiles that libvirt's daemons have, a user's as well, and the files in which a host adds its own rules."""
    directory = f"{host.ETC}/apparmor.d"
    names = [f"usr.sbin.{name}" for name in ("libvirtd", "virtqemud")]
    return {f"{directory}/{n}": f"{directory}/local/{n}" for n in names if os.path.exists(f"{directory}/{n}")}


def due_after():
    """The command that is due after a change of a file, by the path of the file."""
    profiles = {path: "apparmor" for path in session_profiles().values()}
    return {udev_path(): "udev", users_udev_path(): "udev", qemu_conf.path(): "daemon", **profiles}


class Setup:
    """The host as it is, for the user that QEMU of libvirt runs as."""

    def __init__(self, connection, manifest, conf, user):
        self.connection, self.manifest, self.conf, self.user = connection, manifest, conf, user

    def steps(self, devices):
        """Devices: the names of those of all domains that are enabled."""
        devices = sorted(filter(self.is_left_to_us, devices))
        files = [
            *self.file(udev_path(), self.udev_rules(devices, udev_path()), f"group {GROUP} may use these devices"),
            *self.file(qemu_conf.path(), self.qemu_conf(devices), "libvirt shows these devices to QEMU"),
        ]
        due = {due_after()[step.path] for step in files} | set(self.manifest.pending)
        paths = node_paths([host.DEVICE, *devices])
        if not all(map(self.is_usable, paths.values())):
            due.add("udev")
        nodes = [RememberNodes(paths)] if udev_path() in [step.path for step in files] else []
        return [
            *nodes,
            *files,
            *([self.run_udev()] if "udev" in due else []),
            *self.apparmor(),
            *self.selinux(),
            *self.helper(),
            *([self.restart()] if "daemon" in due else []),
        ]

    def file(self, path, content, purpose):
        step = WriteFile(path, content, purpose, pending=due_after().get(path))
        return [step] if step.content != step.before else []

    def before(self, path):
        """The text that a file had before the first change."""
        return decoded(self.manifest.file_before(path))

    def text(self, path):
        """The text to change: the one before the first change, or the one that somebody else has written since."""
        return decoded(read_bytes(path)) if self.manifest.is_changed(path) else self.before(path)

    # --- the devices

    def is_left_to_us(self, name):
        """False if somebody else has set up the device, with a udev rule and in qemu.conf."""
        path = pci.node(name)
        acl = qemu_conf.Tree(self.before(qemu_conf.path())).value("cgroup_device_acl") or []
        cared_for = path and path in map(os.path.realpath, acl) and self.is_usable(path)
        return not cared_for or name in self.manifest.nodes

    def is_usable(self, path):
        """By the user, as owner and mode of the file have it."""
        if self.user is None:  # who is gone since
            return False
        info = os.stat(path)
        if info.st_uid == self.user.uid:
            return info.st_mode & 0o600 == 0o600
        if info.st_gid in self.user.groups:
            return info.st_mode & 0o060 == 0o060
        return info.st_mode & 0o006 == 0o006

    def udev_rules(self, devices, path):
        rules = []
        if host.DEVICE in self.manifest.nodes or not self.is_usable(host.DEVICE):
            rules.append(f'SUBSYSTEM=="misc", KERNEL=="iommu", GROUP="{GROUP}", MODE="0660"')
        for name in devices:
            link = pci.link(name)[len("/dev/") :]
            match = f'SUBSYSTEM=="vfio-dev", DEVPATH=="*/{name}/vfio-dev/*"'
            rules.append(f'{match}, GROUP="{GROUP}", MODE="0660", SYMLINK+="{link}"')
        text = self.text(path)
        missing = [f"{rule}\n" for rule in rules if rule not in text]
        return encoded(text + UDEV_HEADER + "".join(missing) if missing else text) or None

    def run_udev(self):
        subsystems = ["--subsystem-match=misc", "--subsystem-match=vfio-dev"]
        commands = [["udevadm", "control", "--reload"], ["udevadm", "trigger", "--settle", *subsystems]]
        return Run(commands, "udev reads its rules, and applies them to the devices that are there", pending="udev")

    def run_apparmor(self):
        command = ["apparmor_parser", "--replace", *session_profiles()]
        return Run([command], "AppArmor reads the rules of libvirt's daemons", pending="apparmor")

    # --- libvirt

    def qemu_conf(self, devices):
        return encoded(qemu_conf.with_devices(self.text(qemu_conf.path()), [host.DEVICE, *map(pci.link, devices)]))

    def restart(self):
        daemon = host.libvirt_daemon_pid()
        if not daemon:  # it reads qemu.conf when it starts
            return Forget("pending", "daemon")
        command = ["systemctl", "restart", host.unit(daemon)]
        purpose = "libvirt reads qemu.conf; domains that run are not touched"
        return Run([command], purpose, pending="daemon", then=self.connection and self.connection.open)

    # --- what confines QEMU, and the helper

    def apparmor(self):
        if apparmor.is_in_force(host.libvirt_daemon_pid(), self.conf) and not apparmor.allows_iommufd():
            rules = host.sample("apparmor").read_bytes()
            return self.file(apparmor.path(), rules, "AppArmor lets QEMU of libvirt use iommufd and the helper")
        return []

    def selinux(self):
        if selinux.enforcing() and not selinux.has_module():
            purpose = "SELinux lets QEMU of libvirt use iommufd and the helper"
            install = Run(install_module(), purpose, undo=remove_module)
            return [Remember("modules", {selinux.MODULE: {}}), install]
        return []

    def helper(self):
        before = unit_state(SOCKET)
        if all(before.values()):
            return []
        # The service as well, which the first domain would start: here it is seen whether it can.
        command = [["systemctl", "enable", "--now", SOCKET], ["systemctl", "start", SERVICE]]
        purpose = "the helper sets the mode for those whom group kvm lets ask"
        return [Remember("units", {SOCKET: before}), Run(command, purpose, undo=lambda: change_unit(SOCKET, before))]

    # --- the way back

    def restore(self):
        """The steps to the host as it was, and the files that somebody else has changed since."""
        changed = [path for path in self.manifest.files if self.manifest.is_changed(path)]
        files, due = [], set(self.manifest.pending)
        for path in self.manifest.files:
            if path not in changed:
                files.append(WriteFile(path, self.manifest.file_before(path), "as it was", due_after().get(path), True))
                due.add(due_after().get(path))
        nodes = {path: self.manifest.nodes[name] for name, path in node_paths(self.manifest.nodes).items()}
        return [
            *files,
            *([self.run_udev()] if "udev" in due else []),
            *([self.run_apparmor()] if "apparmor" in due else []),
            *([SetNodes(nodes)] if nodes and not {udev_path(), users_udev_path()} & set(changed) else []),
            *[step for name in self.manifest.modules for step in leave_module(name)],
            *[step for name in self.manifest.groups for step in leave_group(self.manifest, name)],
            *[step for unit in self.manifest.units.items() for step in restore_unit(*unit)],
            *([self.restart()] if "daemon" in due else []),
        ], changed


def decoded(content):
    """Bytes of any encoding as text; encoded() gives the same bytes again."""
    return (content or b"").decode("utf-8", "surrogateescape")


def encoded(text):
    return text.encode("utf-8", "surrogateescape")


def node_paths(names):
    """The files in /dev that there are now, by the name of the device."""
    found = {name: name if name == host.DEVICE else pci.node(name) for name in names}
    return {name: path for name, path in found.items() if path and os.path.exists(path)}


def way_back(part, name, commands, undo):
    """The steps that take back what the manifest has there. No command if somebody has taken it back already."""
    return [*([Run(commands, "as it was", undo=undo)] if commands else []), Forget(part, name)]


def unit_state(name):
    return {state: host.run(["systemctl", f"is-{state}", "--quiet", name])[0] == 0 for state in ("enabled", "active")}


def change_unit(name, wanted):
    """The commands that give a unit this state."""
    now = unit_state(name)
    verbs = [("stop", "start", "active"), ("disable", "enable", "enabled")]
    return [["systemctl", on if wanted[s] else off, name] for off, on, s in verbs if wanted[s] != now[s]]


def restore_unit(name, before):
    now = unit_state(name)
    wanted = {state: before[state] and now[state] for state in now}  # nothing that is off is turned on
    return way_back("units", name, change_unit(name, wanted), lambda: change_unit(name, now))


def change_member(name, member):
    """The commands that have a user in the group, or not."""
    user = host.find_user(name)
    if not user or (GROUP in map(host.group_name, user.groups)) == member:
        return []
    return [["usermod", "-aG", GROUP, name] if member else ["gpasswd", "-d", name, GROUP]]


def leave_group(manifest, name):
    if name not in manifest.groups:
        return []
    return way_back("groups", name, change_member(name, False), lambda: change_member(name, True))


def leave_module(name):
    return way_back("modules", name, remove_module(), install_module)


def install_module():
    return [["semodule", "-i", selinux.module()], *selinux.label()]


def remove_module():
    """The directory of the socket goes as well: its label is not in the policy any more, and systemd makes it anew."""
    status, names = host.run(["semodule", "-l"], timeout=TIMEOUT)
    if status == 0 and selinux.MODULE not in names.split():
        return []
    return [["semodule", "-r", selinux.MODULE], ["rm", "-rf", f"{host.RUN}/iommufd-rlimit"], *selinux.label()]

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The result of a check: a state, a message, and the step that mends it: a command wherever one command can."""

import os

from .. import host

OK, WARNING, PROBLEM = "ok", "warning", "problem"
SKIPPED = "skipped"  # the check could not look, for the reason that the message gives


def install(name, destination):
    """The command that installs a file of the project's."""
    return f"install -D -m 644 {host.sample(name)} {destination}"


def denials():
    """The command that shows what the security modules refused."""
    return """dmesg | grep -E 'apparmor="DENIED"|avc: +denied' || echo none"""


def let_in(path, target):
    """The fix for a user who may not use a file; empty where the owner or the mode of the file has to change."""
    info, user = os.stat(path), target.user
    is_owner, is_member = info.st_uid == user.uid, info.st_gid in (user.gid, *user.groups)
    if info.st_mode & (0o600 if is_owner else 0o060 if is_member else 0o006) in (0o600, 0o060, 0o006):
        return denials()
    if is_owner or is_member or info.st_gid == 0 or info.st_mode & 0o060 != 0o060:
        return ""
    named = host.find_user(str(user.uid))
    if named and info.st_gid in named.groups:  # since QEMU, or the shell, was started
        return target.again() if target.pid else "log in again"
    return f"usermod -aG {host.group_name(info.st_gid)} {user.name}"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""SELinux lets QEMU use iommufd."""

from .. import host
from .finding import OK, WARNING


MODULE = "iommufd-rlimit"


def is_enforcing():
    return host.read(f"{host.SYS}/fs/selinux/enforce") == "1"


def has_module():
    return MODULE in host.run(["semodule", "-l"])[1].split()


def check_selinux(target):
    if not target.domain or not is_enforcing():
        return
    if has_module():
        yield OK, f"SELinux has the module {MODULE}", ""
    else:
        fix = f"semodule -i {host.sample(f'{MODULE}.cil')}"
        yield WARNING, f"SELinux is enforcing without the module {MODULE}", fix

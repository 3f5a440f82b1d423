# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""SELinux lets QEMU use iommufd."""

from .. import host
from .finding import OK, WARNING


def check_selinux(target):
    if not target.domain or host.read(f"{host.SYS}/fs/selinux/enforce") != "1":
        return
    if "iommufd-rlimit" in host.run(["semodule", "-l"])[1].split():
        yield OK, "SELinux has the module iommufd-rlimit", ""
    else:
        fix = f"semodule -i {host.sample('iommufd-rlimit.cil')}"
        yield WARNING, "SELinux is enforcing without the module iommufd-rlimit", fix

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""AppArmor lets QEMU use iommufd."""

import glob
import re

from .. import host
from .finding import OK, PROBLEM, SKIPPED, install


def path():
    """The file with the rules of this project, which all profiles of domains include."""
    return f"{host.ETC}/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit"


def is_in_force(daemon, conf):
    """Whether libvirt confines QEMU by AppArmor, which it does only if its daemon is confined. daemon: its process id."""
    enabled = host.read(f"{host.SYS}/module/apparmor/parameters/enabled").startswith("Y")
    confined = daemon and not host.read(f"{host.PROC}/{daemon}/attr/current").startswith("unconfined")
    return bool(enabled and confined and conf.get("security_driver") != "none")


def allows_iommufd(profile=None):
    """Whether the profile of this domain, or a file that all profiles include, has a rule for iommufd."""
    directory = f"{host.ETC}/apparmor.d"
    files = [
        *glob.glob(f"{directory}/abstractions/libvirt-qemu.d/*"),
        f"{directory}/local/abstractions/libvirt-qemu",
        f"{directory}/libvirt/{profile}.files",
    ]
    return any(re.search(r"^\s*/dev/iommu\s", host.read(path), re.M) for path in files)


def check_apparmor(target):
    if not target.opens_iommufd() or target.is_session or not is_in_force(target.daemon, target.conf):
        return
    profile = f"libvirt-{target.xml.uuid}"
    if allows_iommufd(profile):
        yield OK, "AppArmor lets QEMU use iommufd", ""
    else:
        yield PROBLEM, "AppArmor does not let QEMU use iommufd", target.enable()
    if not target.pid:
        return
    status, log = host.run(["dmesg"])
    log += host.read(f"{host.LOG}/audit/audit.log")
    if status and not log:
        yield SKIPPED, "what AppArmor denied: only root may read the kernel's log", ""
    pattern = rf'apparmor="DENIED" .*profile="{profile}" name="(\S*(?:iommu|vfio)\S*)" pid={target.pid} '
    denied = re.findall(pattern, log)
    if denied:
        what = f"AppArmor denied process {target.pid} {', '.join(sorted(set(denied)))}"
        yield PROBLEM, what, f"{install('apparmor', path())}; {target.restart()}"

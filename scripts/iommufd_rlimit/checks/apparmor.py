# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""AppArmor lets QEMU use iommufd."""

import glob
import re

from .. import host
from .finding import OK, PROBLEM, install


def check_apparmor(target):
    enabled = host.read(f"{host.SYS}/module/apparmor/parameters/enabled").startswith("Y")
    confined = target.daemon and not host.read(f"{host.PROC}/{target.daemon}/attr/current").startswith("unconfined")
    if not (enabled and confined and target.opens_iommufd()) or target.conf.get("security_driver") == "none":
        return
    profile = f"libvirt-{target.xml.findtext('uuid')}"
    directory = f"{host.ETC}/apparmor.d"
    files = [
        *glob.glob(f"{directory}/abstractions/libvirt-qemu.d/*"),
        f"{directory}/local/abstractions/libvirt-qemu",
        f"{directory}/libvirt/{profile}.files",
    ]
    if any(re.search(r"^\s*/dev/iommu\s", host.read(path), re.M) for path in files):
        yield OK, "AppArmor lets QEMU use iommufd", ""
    else:
        fix = install("apparmor", "/etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit")
        yield PROBLEM, "AppArmor does not let QEMU use iommufd", fix
    log = host.read(f"{host.LOG}/audit/audit.log") + host.run(["dmesg"])[1]
    pattern = rf'apparmor="DENIED" .*profile="{profile}" name="(\S*(?:iommu|vfio)\S*)" pid={target.pid} '
    denied = re.findall(pattern, log)
    if denied:
        what = f"AppArmor denied process {target.pid} {', '.join(sorted(set(denied)))}"
        yield PROBLEM, what, f"allow it in {directory}/abstractions/libvirt-qemu.d/, start the domain again"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""SELinux lets QEMU use iommufd, the library and the helper: by the policy that is loaded, and the files' labels."""

import os
import re

from .. import host, selinux
from .finding import OK, PROBLEM, SKIPPED, WARNING

DEFAULT_MEMLOCK_KB = 8192  # systemd's, which a process gets back that does not inherit its limits

IOMMUFD = "open read write ioctl"
VFIO = f"{IOMMUFD} getattr map"


def check_selinux(target):
    qemu = qemu_context(target) if selinux.enforcing() else None
    if not qemu or not target.is_concerned():
        return
    findings = [*check_module(), *check_labels(target), *check_listener(target), *check_access(target, qemu)]
    findings += check_transition(target, qemu)
    yield from findings
    if not findings:
        yield OK, f"SELinux lets QEMU ({selinux.type_of(qemu)}) use iommufd, the library and the helper", ""


def qemu_context(target):
    """As what QEMU runs, or would; None where SELinux does not confine it."""
    if target.pid:
        context = selinux.process_context(target.pid)
    elif target.domain:
        baselabel = target.xml.root.findtext("seclabel[@model='selinux']/baselabel")
        contexts = selinux.virtual_domain_contexts()
        context = baselabel or contexts[-1 if target.xml.root.get("type") == "qemu" else 0]
    else:
        return None
    return None if selinux.type_of(context).startswith("unconfined") else context


def install_module():
    return f"semodule -i {selinux.module()}; {'; '.join(map(' '.join, selinux.label()))}"


def check_module():
    if not selinux.has_module():
        yield PROBLEM, "the SELinux module iommufd-rlimit is not in the policy", install_module()


def devices(target):
    nodes = [p for p in map(os.path.realpath, target.conf.get("cgroup_device_acl", [])) if re.match(r"/dev/vfio/devices/vfio\d+$", p)]
    return [path for path in (host.DEVICE, *nodes) if os.path.exists(path)]


def libraries(target):
    """The files that LD_PRELOAD may mean."""
    names = re.split(r"[: ]+", target.preload())
    cache = host.run(["ldconfig", "-p"])[1]
    found = [name if "/" in name else path(cache, name) for name in names if "libiommufd-rlimit" in name]
    return [os.path.realpath(path) for path in found if path and os.path.exists(path)]


def path(cache, name):
    """Where ld.so finds a library, by the text of its cache."""
    line = re.search(rf"^\s*{re.escape(name)} .* => (\S+)$", cache, re.M)
    return line[1] if line else ""


def socket(target):
    return target.environment.get("IOMMUFD_RLIMIT_HELPER", f"{host.RUN}/iommufd-rlimit/helper.sock")


def check_labels(target):
    """Of each file, that it has the label that the policy has for its name."""
    helper = "/usr/libexec/iommufd-rlimit-helper"
    for name in (*devices(target), *libraries(target), helper, os.path.dirname(socket(target)), socket(target)):
        if not os.path.exists(name):
            continue
        has, wants = selinux.file_context(name), selinux.expected_context(name)
        if wants and selinux.type_of(has) != selinux.type_of(wants):
            what = f"{name} is labelled {selinux.type_of(has)} in place of {selinux.type_of(wants)}"
            yield PROBLEM, what, f"restorecon {name}"


def check_listener(target):
    """A socket that listens keeps the label that was right when systemd made it."""
    context = selinux.peer_context(socket(target)) if selinux.has_module() else None
    if context and selinux.type_of(context) != selinux.type_of(selinux.HELPER):
        what = f"{socket(target)} listens as {selinux.type_of(context)} in place of {selinux.type_of(selinux.HELPER)}"
        yield PROBLEM, what, f"systemctl restart {selinux.SOCKET}"


def check_access(target, qemu):
    """What QEMU and the helper do, asked of the policy, by the labels that the files should have."""
    one_of_each_label = {label(name): name for name in reversed(devices(target))}
    for name in reversed(one_of_each_label.values()):
        yield from check_file("QEMU", qemu, name, "chr_file", IOMMUFD if name == host.DEVICE else VFIO)
    for name in libraries(target):
        yield from check_file("QEMU", qemu, name, "file", "getattr open read map execute")
    yield from check_rule("QEMU", qemu, "read /sys", selinux.file_context(host.SYS), "file", "getattr open read")
    if os.path.exists(socket(target)):
        yield from check_file("QEMU", qemu, os.path.dirname(socket(target)), "dir", "search")
        yield from check_file("QEMU", qemu, socket(target), "sock_file", "write")
    if selinux.has_module():
        yield from check_rule("QEMU", qemu, "connect to the helper", selinux.HELPER, "unix_stream_socket", "connectto")
        yield from check_rule("QEMU", qemu, "use the helper's descriptor", selinux.HELPER, "fd", "use")
        yield from check_file("the helper", selinux.HELPER, host.DEVICE, "chr_file", IOMMUFD)
        init = selinux.process_context(1)
        yield from check_rule("the helper", selinux.HELPER, "use what systemd hands to it", init, "fd", "use", "domain_fd_use")


def check_file(who, context, name, tclass, permissions):
    if os.path.exists(name):
        yield from check_rule(who, context, f"use {name}", label(name), tclass, permissions)


def label(name):
    """What the file should have."""
    return selinux.expected_context(name) or selinux.file_context(name)


def check_rule(who, context, does, on, tclass, permissions, boolean=None):
    refused = selinux.refused(context, on, tclass, permissions)
    types = f"{selinux.type_of(context)} on {selinux.type_of(on)}: {tclass} {' '.join(refused)}"
    fix = f"setsebool -P {boolean} 1" if boolean else install_module()
    if refused and selinux.is_permissive(context):
        yield WARNING, f"{who} may {does} only as long as its type is permissive ({types})", fix
    elif refused:
        yield PROBLEM, f"SELinux does not let {who} {does} ({types})", fix


def check_transition(target, qemu):
    """Without noatsecure ld.so drops LD_PRELOAD; without rlimitinh the limit falls to the default."""
    if not target.domain:
        return
    if not target.daemon:
        yield SKIPPED, "how QEMU is started: neither libvirtd nor virtqemud runs", ""
        return
    daemon = selinux.process_context(target.daemon)
    hands_on = "hand LD_PRELOAD and its limits on to QEMU"
    yield from check_rule("the daemon of libvirt", daemon, hands_on, qemu, "process", "noatsecure rlimitinh")
    yield from check_rule("QEMU", qemu, "use what libvirt hands to it", daemon, "fd", "use", "domain_fd_use")
    if target.pid and host.memlock_kb(target.pid) == DEFAULT_MEMLOCK_KB:
        limit = f"{DEFAULT_MEMLOCK_KB // 1024} MiB"
        what = f"process {target.pid} may lock only {limit}: it did not inherit libvirt's limit"
        yield PROBLEM, what, target.restart()

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""An iommufd that the user opens gets the mode."""

import os

from .. import host, shim
from .finding import OK, PROBLEM, WARNING


def check_mode(target):
    """Opens an iommufd with the library in place: it sets the mode, asks the helper, reads back, and says so."""
    if target.libvirt_sets_mode() or not target.wants_library() or not os.path.exists(host.DEVICE):
        return
    if target.pid and host.has_capability(target.pid, host.CAP_SYS_RESOURCE):
        yield OK, f"process {target.pid} has CAP_SYS_RESOURCE: it needs no helper", ""
        return
    debug = {
        "IOMMUFD_RLIMIT_LOG": "stderr",
        "IOMMUFD_RLIMIT_LOG_LEVEL": "debug",
        "IOMMUFD_RLIMIT_ON_ERROR": "continue",
    }
    _, text = host.run([*host.OPEN, host.DEVICE], target.user, {**target.environment, **debug})
    lines = shim.shim_lines(text)
    for line in lines:
        if "setting" in line:
            fix = f"{line['setting']} takes {line['accepted']}"
            yield PROBLEM, f"{line['setting']}={line['value']} is not understood", fix
    loaded = next((line for line in lines if "version" in line), None)
    result = next((line for line in lines if "outcome" in line), None)
    if result:
        yield from judge_outcome(target.user, loaded, result)
    elif not loaded and "ERROR: ld.so" not in text:
        yield PROBLEM, "without IOMMUFD_RLIMIT_MODE the library does nothing", "set IOMMUFD_RLIMIT_MODE=process"


def judge_outcome(user, loaded, result):
    outcome, mode = result["outcome"], result["effective"]
    if outcome == "denied":
        yield judge_helper(user, loaded["helper"], result.get("helper"))
    elif outcome == "queried":
        yield WARNING, f"IOMMUFD_RLIMIT_MODE=query leaves the mode at {mode}", "set IOMMUFD_RLIMIT_MODE=process"
    elif outcome in ("applied", "already") and mode == "user":
        yield WARNING, "IOMMUFD_RLIMIT_MODE=user asks for what is the default", "set IOMMUFD_RLIMIT_MODE=process"
    elif outcome in ("applied", "already"):
        via = " through the helper" if result.get("via") == "helper" else ""
        yield OK, f"user {user.name} can set mode {mode}{via}", ""
    elif outcome != "invalid":
        yield PROBLEM, f"outcome={outcome} errno={result.get('errno')}", result["hint"]


def judge_helper(user, path, error):
    """Why the helper did not do it: the errno value that the library logs."""
    lacks = f"user {user.name} lacks CAP_SYS_RESOURCE, and"
    start = "systemctl enable --now iommufd-rlimit-helper.socket"
    if path == "none":
        return PROBLEM, f"{lacks} IOMMUFD_RLIMIT_HELPER=none", "unset IOMMUFD_RLIMIT_HELPER"
    if error == "ENOENT":
        return PROBLEM, f"{lacks} there is no helper at {path}", start
    if error == "ECONNREFUSED":
        return PROBLEM, f"{lacks} no helper listens at {path}", start.replace("enable --now", "restart")
    if error == "EACCES":
        fix = "add the user to the socket's group, or see --allow-user in iommufd-rlimit-helper(8)"
        return PROBLEM, f"{lacks} may not ask the helper at {path} ({host.owner_and_mode(path)})", fix
    return PROBLEM, f"{lacks} the helper at {path} fails: {error}", "journalctl -u 'iommufd-rlimit-helper*'"

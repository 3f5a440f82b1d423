# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""An iommufd that the user opens gets the mode."""

import re

from .. import host, shim
from . import helper
from .finding import OK, PROBLEM, SKIPPED, WARNING

LOGGING = {
    "IOMMUFD_RLIMIT_LOG": ("stderr", "stderr|syslog|none|/.*"),
    "IOMMUFD_RLIMIT_LOG_LEVEL": ("debug", "error|warning|info|debug"),
}


def check_mode(target):
    """Opens an iommufd with the library preloaded, which sets the mode, asks the helper, reads back, and logs."""
    if not target.is_concerned() or not target.wants_library():
        return
    if not host.has_device():
        yield SKIPPED, "the mode: correct check device", ""
        return
    if target.pid and host.has_capability(target.pid, host.CAP_SYS_RESOURCE):
        yield OK, f"process {target.pid} has CAP_SYS_RESOURCE: it needs no helper", ""
        return
    # A setting that the library understands gives way; of another it says so.
    debug = {n: v for n, (v, accepted) in LOGGING.items() if re.fullmatch(accepted, target.environment.get(n) or v)}
    _, text = host.run([*host.OPEN, host.DEVICE], target.user, {**target.environment, **debug})
    lines = shim.shim_lines(text)
    for line in lines:
        if "setting" in line:
            what = f"{line['setting']}={line['value']} is not understood: it takes {line['accepted']}"
            yield PROBLEM, what, correct_setting(target, line["setting"])
    result = next((line for line in lines if "outcome" in line), None)
    if result:
        yield from judge_outcome(target, result)
    elif not any("version" in line for line in lines) and "ERROR: ld.so" not in text:
        yield PROBLEM, "without IOMMUFD_RLIMIT_MODE the library does nothing", set_mode(target)


def correct_setting(target, name):
    if name == "IOMMUFD_RLIMIT_MODE":
        return set_mode(target)
    return target.without(name)


def set_mode(target):
    if target.domain:
        return target.enable()
    return "start it again with IOMMUFD_RLIMIT_MODE=process" if target.pid else "export IOMMUFD_RLIMIT_MODE=process"


def judge_outcome(target, result):
    outcome, mode, user = result["outcome"], result["effective"], target.user.name
    if outcome == "denied" and any(state == PROBLEM for state, *_ in helper.check_helper(target)):
        yield SKIPPED, f"user {user} cannot set mode process: correct check helper", ""
    elif outcome == "queried":
        yield WARNING, f"IOMMUFD_RLIMIT_MODE=query leaves the mode at {mode}", set_mode(target)
    elif outcome in ("applied", "already") and mode == "user":
        yield WARNING, "IOMMUFD_RLIMIT_MODE=user asks for the default", set_mode(target)
    elif outcome in ("applied", "already"):
        via = " through the helper" if result.get("via") == "helper" else ""
        yield OK, f"user {user} can set mode {mode}{via}", ""
    elif outcome != "invalid":
        errors = " ".join(f"{key}={result[key]}" for key in ("errno", "helper") if key in result)
        yield PROBLEM, f"user {user} cannot set mode process: outcome={outcome} {errors}", result["hint"]

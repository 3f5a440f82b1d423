# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What iommufd-rlimit-doctor prints: text, JSON, Prometheus' text format, and a table of what runs."""

import json
import os
import sys

from . import VERSION, host, shim
from .checks.finding import OK, PROBLEM, SKIPPED, WARNING

SCHEMA = 1
# From good to bad, and the exit status of each. A warning and a problem are worse than a check that was skipped.
STATES = (OK, SKIPPED, WARNING, PROBLEM)
EXIT_STATUS = {OK: 0, WARNING: 1, PROBLEM: 2, SKIPPED: 3}
COLOURS = {OK: "32", SKIPPED: "36", WARNING: "33", PROBLEM: "31"}


def worst(findings):
    return max((finding["state"] for finding in findings), key=STATES.index, default=OK)


def coloured(text, state):
    """The text in the colour of the state, on a terminal without NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{COLOURS[state]}m{text}\033[0m"


def print_text(findings):
    subject = None
    several = len({finding["subject"] for finding in findings}) > 1
    for finding in findings:
        if several and finding["subject"] != subject:
            subject = finding["subject"]
            print(f"{subject}:")
        state = coloured(f"{finding['state']:8}", finding["state"])
        print(f"{state} {finding['code']:12} {finding['message']}")
        if finding["fix"]:
            print(f"{'':8} {'':12} fix: {finding['fix']}")


def print_json(findings, error=None):
    report = {"schema": SCHEMA, "version": VERSION, "status": PROBLEM if error else worst(findings), "checks": findings}
    print(json.dumps({**report, **({"error": error} if error else {})}, indent=2))


# --- what runs


def running():
    """Each process that has an iommufd open: name, pid, mode, and what it pins, may pin, in kB; as far as may be seen."""
    names = {}
    directory = f"{host.RUN}/libvirt/qemu"
    for file in os.listdir(directory) if os.path.isdir(directory) else []:
        if file.endswith(".pid"):
            names[host.read(f"{directory}/{file}").strip()] = file[: -len(".pid")]
    rows, unread = [], 0
    for pid in sorted(host.processes()):
        try:
            modes = set(shim.iommufd_modes(pid).values())
        except (ProcessLookupError, FileNotFoundError):  # it has ended
            continue
        except OSError:
            unread += 1
            continue
        if modes:
            name = names.get(str(pid), host.process_name(pid))
            pinned, limit = host.process_kb(pid, "VmPin"), host.memlock_kb(pid)
            mode = modes.pop() if len(modes) == 1 else "mixed"
            rows.append({"name": name, "pid": pid, "mode": mode, "pinned": pinned, "limit": limit})
    if unread:
        hint = "run this as root" if os.geteuid() else "a security module or a container does not let root"
        count = f"{unread} process{'es' if unread != 1 else ''}"
        print(f"iommufd-rlimit-doctor: {count} could not be looked into: {hint}", file=sys.stderr)
    return rows


def print_table(rows):
    columns = "{:24} {:>8} {:8} {:>12} {:>12} {:>12}"
    print(columns.format("DOMAIN", "PID", "MODE", "PINNED MiB", "LIMIT MiB", "HEADROOM MiB"))
    for row in rows:
        limit, headroom = "unlimited", "unlimited"
        if row["limit"] is not None:
            limit, headroom = row["limit"] // 1024, (row["limit"] - row["pinned"]) // 1024
        line = columns.format(row["name"], row["pid"], row["mode"], row["pinned"] // 1024, limit, headroom)
        print(coloured(line, OK if row["mode"] == "process" else PROBLEM))


# --- Prometheus


def print_prometheus(findings, rows):
    """Gauges for node_exporter's textfile collector."""
    name = "iommufd_rlimit_pinned_bytes"
    print_metric(name, "Memory that the process pins.", [(labels(row), row["pinned"] * 1024) for row in rows])
    name = "iommufd_rlimit_limit_bytes"
    limits = [(labels(row), "+Inf" if row["limit"] is None else row["limit"] * 1024) for row in rows]
    print_metric(name, "Memory that the process may lock, RLIMIT_MEMLOCK.", limits)
    name = "iommufd_rlimit_mode"
    modes = [({**labels(row), "mode": row["mode"]}, 1) for row in rows]
    print_metric(name, "Mode of accounting of the process's iommufds, as label; the value is 1.", modes)
    states = {}
    for finding in findings:
        key = finding["subject"], finding["code"]
        states[key] = max(states.get(key, OK), finding["state"], key=STATES.index)
    samples = [
        ({"subject": subject, "code": code, "state": state}, int(state == found))
        for (subject, code), found in states.items()
        for state in STATES
    ]
    print_metric("iommufd_rlimit_check_state", "Whether the check has this state: 1, or 0.", samples)


def labels(row):
    return {"domain": row["name"], "pid": str(row["pid"])}


def print_metric(name, help_text, samples):
    if not samples:
        return
    print(f"# HELP {name} {help_text}\n# TYPE {name} gauge")
    for pairs, value in samples:
        words = ",".join(f'{key}="{escaped(text)}"' for key, text in pairs.items())
        print(f"{name}{{{words}}} {value}")


def escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

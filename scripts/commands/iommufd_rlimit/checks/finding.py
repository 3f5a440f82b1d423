# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The result of a check: a state, a message, and the step that mends it: a command wherever one command can."""

from .. import host

OK, WARNING, PROBLEM = "ok", "warning", "problem"
SKIPPED = "skipped"  # the check could not look, for the reason that the message gives


def install(name, destination):
    """The command that installs a file of the project's."""
    return f"install -D -m 644 {host.sample(name)} {destination}"

# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What a check yields: a state, what was found, and what to do about it."""

from .. import host

OK, WARNING, PROBLEM = "ok", "warning", "problem"
SKIPPED = "skipped"  # it could not be looked at, for the reason that is given


def install(name, destination):
    """The command that installs a file of the project's."""
    return f"install -D -m 644 {host.sample(name)} {destination}"

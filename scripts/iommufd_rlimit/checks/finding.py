# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What a check yields: a level, what was found, what to do about it."""

from .. import host

OK, WARNING, PROBLEM = "ok", "warning", "problem"


def install(name, destination):
    """The command that installs a file of the project's."""
    return f"install -D -m 644 {host.sample(name)} {destination}"

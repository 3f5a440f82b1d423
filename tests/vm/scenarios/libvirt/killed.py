#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""iommufd-rlimit-libvirt, ended by SIGKILL at the first moment at which no run before it ended: before a step, when the
manifest has it and nothing is done, or after it, when it is done and the manifest does not know.

usage: killed.py MOMENTS ARGUMENT...   MOMENTS: a file of the moments at which runs ended
"""

import os
import signal
import sys
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True  # it would stay beside the command
sys.path.insert(0, "/usr/share/iommufd-rlimit-shim")
from iommufd_rlimit import steps  # noqa: E402

moments = sys.argv.pop(1)


def end_at(moment):
    with open(moments, "r+", encoding="utf-8") as file:
        if f"{moment}\n" not in file.readlines():
            print(moment, file=file, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


def dying(apply):
    def call(step):
        end_at(f"before {step.what}")
        apply(step)
        end_at(f"after {step.what}")

    return call


for kind in (steps.WriteFile, steps.Run, steps.Define):
    kind.apply = dying(kind.apply)
sys.exit(SourceFileLoader("script", "/usr/bin/iommufd-rlimit-libvirt").load_module().main())

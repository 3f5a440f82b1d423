# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The steps of a plan. Each step describes itself, records the state before, makes its change, and can undo it."""

import difflib
import os
import re
import signal
import stat

from . import host
from .domain_xml import DomainXml, without_change
from .host import Failure
from .manifest import read_bytes, write_atomically


TIMEOUT = 600  # seconds; semodule takes a minute


def difference(before, after, name):
    """Two texts, as a unified diff. Passwords and other secrets may be in the lines around a change: none is shown."""
    lines = [text.splitlines(keepends=True) for text in (before, after)]
    names = [name if text else "/dev/null" for text in (before, after)]
    changes = "".join(difflib.unified_diff(*lines, *names, n=0))
    return re.sub(r"(passw\w*)( ?= ?)(['\"]).*?\3", r"\1\2\3...\3", changes)


class Step:
    what = ""  # for the plan
    pending = None  # the command that is due because of it

    def show(self):
        """The change as a unified diff, if it is a change of a text."""
        return ""

    def record(self, manifest):
        """Before it is applied."""

    def finish(self, manifest):
        """After it was applied."""

    def apply(self):
        """What it is for."""

    def undo(self):
        """Restores the state before this step."""


class WriteFile(Step):
    """Gives a file this content; None removes the file. 'pending' names the command that is due after that."""

    def __init__(self, path, content, purpose, pending=None, restores=False):
        self.path, self.content, self.pending, self.restores = path, content, pending, restores
        self.before = read_bytes(path)
        self.what = f"{'write' if content is not None else 'remove'} {path}: {purpose}"
        self.made = None  # the directory that it takes

    def show(self):
        texts = [(content or b"").decode(errors="replace") for content in (self.before, self.content)]
        return difference(*texts, self.path)

    def record(self, manifest):
        if read_bytes(self.path) != self.before:
            raise Failure(f"{self.path} has changed since the plan was made; run this again")
        manifest.record_file(self.path, self.content)
        directory = os.path.dirname(self.path)
        if not os.path.exists(directory):
            manifest.files[self.path]["made"] = directory
        self.made = manifest.files[self.path].get("made")
        if self.pending:
            manifest.pending[self.pending] = True

    def apply(self):
        self.put(self.content)

    def put(self, content):
        if content is not None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            write_atomically(self.path, content)
            return
        if os.path.exists(self.path):
            os.unlink(os.path.realpath(self.path))
        if self.made and os.path.isdir(self.made) and not os.listdir(self.made):
            os.rmdir(self.made)

    def finish(self, manifest):
        if self.restores:
            del manifest.files[self.path]

    def undo(self):
        if self.before is None or read_bytes(self.path) != self.before:
            self.put(self.before)


class Run(Step):
    """Runs commands. 'pending': due because of a change before it. 'undo' returns the commands that are to be run then."""

    def __init__(self, commands, purpose, undo=list, pending=None, then=None):
        self.commands, self.undo_commands, self.pending, self.then = commands, undo, pending, then
        self.what = f"run {'; '.join(map(' '.join, commands))}: {purpose}"

    def apply(self):
        self.run(self.commands)

    def run(self, commands):
        for command in commands:
            status, text = host.run(command, timeout=TIMEOUT)
            if status:
                raise Failure(f"'{' '.join(command)}' fails with status {status}: {text.strip()}")
        if self.then:
            self.then()

    def finish(self, manifest):
        manifest.pending.pop(self.pending, None)

    def undo(self):
        self.run(self.undo_commands())


class Remember(Step):
    """Records units and modules in the manifest before they are changed for the first time."""

    def __init__(self, part, states):
        self.part, self.states = part, states

    def record(self, manifest):
        for name, state in self.states.items():
            getattr(manifest, self.part).setdefault(name, state)


class Forget(Step):
    """Removes from the manifest what is as it was before."""

    def __init__(self, part, name):
        self.part, self.name = part, name

    def finish(self, manifest):
        getattr(manifest, self.part).pop(self.name, None)


class RememberNodes(Remember):
    """Of files of /dev, by the name of the device: mode, uid, gid."""

    def __init__(self, paths):
        self.paths = paths
        infos = {name: os.stat(path) for name, path in paths.items()}
        super().__init__("nodes", {n: [stat.S_IMODE(i.st_mode), i.st_uid, i.st_gid] for n, i in infos.items()})

    def undo(self):
        SetNodes({path: self.states[name] for name, path in self.paths.items()}).apply()


class SetNodes(Step):
    """Gives files of /dev the mode and owner that they had: without its rule udev leaves them as they are."""

    def __init__(self, states):
        self.states = states  # by path: mode, uid, gid
        self.what = f"give {' '.join(states)} mode and owner from before"

    def apply(self):
        for path, (mode, uid, gid) in self.states.items():
            os.chown(path, uid, gid)
            os.chmod(path, mode)

    def finish(self, manifest):
        manifest.nodes.clear()


class Define(Step):
    """Gives a domain this configuration."""

    def __init__(self, connection, domain, text, meaning, entry=None):
        self.connection, self.domain, self.text, self.entry = connection, domain, text, entry
        self.what = f"change domain {domain.name}: {meaning}"
        self.before = domain.configuration()

    def show(self):
        return difference(*(DomainXml(text).text() for text in (self.before, self.text)), f"domain {self.domain.name}")

    def record(self, manifest):
        if self.connection.domain(self.domain.uuid).configuration() != self.before:
            raise Failure(f"domain {self.domain.name} has changed since the plan was made; run this again")
        if self.entry is not None:
            known = manifest.domains.setdefault(self.domain.uuid, {"before": self.before, **self.entry})
            if self.before not in (known["before"], known.get("after")):  # somebody else has changed it since
                known["before"] = without_change(self.before, known)
            known.update(self.entry)

    def apply(self):
        self.connection.define(self.text)
        self.domain = self.connection.domain(self.domain.uuid)
        took = DomainXml(self.domain.configuration()).environment()
        if took != DomainXml(self.text).environment():
            raise Failure(f"libvirt did not take the change of domain {self.domain.name}: its variables are {took}")

    def finish(self, manifest):
        if self.entry is None:
            manifest.domains.pop(self.domain.uuid, None)
        else:
            manifest.domains[self.domain.uuid]["after"] = self.domain.configuration()

    def undo(self):
        if self.connection.domain(self.domain.uuid).configuration() != self.before:
            self.connection.define(self.before)


def carry_out(steps, manifest):
    """Carries out all steps, or none: if one fails, the steps before it are undone."""
    manifest.sweep()
    before = manifest.snapshot()
    done = []
    try:
        for step in steps:
            step.record(manifest)
            manifest.save()
            done.append(step)
            step.apply()
            step.finish(manifest)
        manifest.save()
    except (Exception, KeyboardInterrupt) as error:
        reason = str(error) or type(error).__name__
        failed = take_back(done)
        if failed:
            manifest.merge(before)
            manifest.pending.update({step.pending: True for step in done if step.pending})
            manifest.save()
            raise Failure(f"{reason}; and what was done could not be undone: {'; '.join(failed)}")
        manifest.restore(before)
        raise Failure(f"{reason}; what was done before that is undone, this host is as it was")


def take_back(done):
    """Undoes steps, then runs the commands that read the restored files. Returns what fails, and does the rest."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second one would leave it half undone; the commands inherit that
    failed = []
    commands = [step for step in done if isinstance(step, Run) and step.pending]
    for action in [step.undo for step in reversed(done)] + [step.apply for step in commands]:
        try:
            action()
        except Exception as error:
            failed.append(str(error))
    return failed

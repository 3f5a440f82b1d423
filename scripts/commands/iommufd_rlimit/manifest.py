# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The state before iommufd-rlimit-libvirt changed it. Written before each change, so that it is true at any moment."""

import base64
import contextlib
import copy
import fcntl
import hashlib
import json
import os
from pathlib import Path

from . import host
from .host import Failure

DIRECTORY = "/var/lib/iommufd-rlimit-shim"
OF_USER = "iommufd-rlimit-shim"  # below the user's own directory of states
SCHEMA = 1
FIELDS = {"files": {"before", "ours"}, "domains": {"name", "before", "limit"}, "users": {"devices", "limit"}}


def directory():
    """For root, of the host; for a user, of the domains of this user's session."""
    if os.geteuid() == 0:
        return DIRECTORY
    states = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(states, OF_USER)


def digest(content):
    """Of a file's bytes, or of None where there is no file."""
    return content if content is None else hashlib.sha256(content).hexdigest()


def read_bytes(path):
    """None where there is no such file."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def write_atomically(path, content, mode=0o644):
    """Writes a file beside it, then renames that. Keeps mode, owner and security label of the file that was there."""
    path = os.path.realpath(path)  # a symbolic link stays
    new = unfinished(path)
    remove(new)
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            copy_attributes(path, new)
        else:
            os.chmod(new, mode)
        os.rename(new, path)
    except BaseException:
        remove(new)
        raise
    sync_directory(os.path.dirname(path))


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def unfinished(path):
    """Where a file's new content is until it is complete."""
    directory, name = os.path.split(os.path.realpath(path))
    return f"{directory}/.{name}.iommufd-rlimit-new"


def copy_attributes(source, destination):
    info = os.stat(source)
    os.chmod(destination, info.st_mode & 0o7777)
    os.chown(destination, info.st_uid, info.st_gid)
    for name in os.listxattr(source):
        os.setxattr(destination, name, os.getxattr(source, name))


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def checked(read):
    """What was read, if it has the form of a manifest."""
    lacks = ValueError("it is not what this program writes")
    if not isinstance(read, dict) or "schema" not in read:
        raise lacks
    for part in Manifest.PARTS:
        entries = read.get(part, {})
        if not isinstance(entries, dict):
            raise lacks
        for entry in entries.values() if part in FIELDS else ():
            if not isinstance(entry, dict) or not FIELDS[part] <= set(entry):
                raise lacks
    return read


class Manifest:
    """files, domains, nodes, units, modules, groups: what each was before, by name. users: what each was allowed. pending:
    commands that are still due."""

    PARTS = ("files", "domains", "nodes", "units", "modules", "groups", "users", "pending")

    def __init__(self):
        self.path = Path(directory(), "manifest.json")
        try:
            read = checked(json.loads(self.path.read_text()))
        except FileNotFoundError:
            read = {"schema": SCHEMA}
        except ValueError as error:
            raise Failure(f"{self.path} is damaged: {error}; restore it from a backup")
        if read["schema"] != SCHEMA:
            raise Failure(f"{self.path} is of another version of this program: schema {read['schema']}, not {SCHEMA}")
        for part in self.PARTS:
            setattr(self, part, read.get(part, {}))

    def contents(self):
        return {part: getattr(self, part) for part in self.PARTS}

    def snapshot(self):
        return copy.deepcopy(self.contents())

    def restore(self, snapshot):
        for part, content in copy.deepcopy(snapshot).items():
            setattr(self, part, content)
        self.save()

    def merge(self, snapshot):
        """Takes back in what has been removed since."""
        for part, content in copy.deepcopy(snapshot).items():
            setattr(self, part, {**content, **getattr(self, part)})

    def save(self):
        """Removes the file if there is nothing to record. Domains may have passwords, so only root may read the file."""
        if any(self.contents().values()):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"schema": SCHEMA, **self.contents()}, indent=1)
            write_atomically(str(self.path), text.encode(), 0o600)
        else:
            remove(self.path)
            remove(unfinished(self.path))  # of a killed run
            with contextlib.suppress(OSError):  # somebody else has a file there, or there is no directory
                self.path.parent.rmdir()

    # --- files

    def sweep(self):
        """Removes the unfinished files that a killed run has left."""
        for path in self.files:
            remove(unfinished(path))

    def record_file(self, path, content):
        """Records a file before it gets this content (None: before it is removed)."""
        now = read_bytes(path)
        entry = self.files.setdefault(path, {"before": encode(now), "ours": []})
        if digest(content) not in entry["ours"] and not self.is_changed(path):
            entry["ours"].append(digest(content))

    def file_before(self, path):
        """The content that the file had before the first change; now, if there was none."""
        entry = self.files.get(path)
        return decode(entry["before"]) if entry else read_bytes(path)

    def is_changed(self, path):
        """Whether somebody else has changed the file since."""
        if path not in self.files:
            return False
        entry, now = self.files[path], digest(read_bytes(path))
        return now != digest(decode(entry["before"])) and now not in entry["ours"]


def encode(content):
    return content if content is None else base64.b64encode(content).decode()


def decode(text):
    return text if text is None else base64.b64decode(text)


@contextlib.contextmanager
def lock():
    """Only one at a time changes the host, or the domains of a user."""
    own = os.path.expanduser("~")  # not $XDG_RUNTIME_DIR, which not every login of a user has
    with open(f"{host.RUN if os.geteuid() == 0 else own}/.iommufd-rlimit-libvirt.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("another iommufd-rlimit-libvirt is at work; wait for it")
        yield

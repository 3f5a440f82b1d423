# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The helper as it is built, on a listening socket that the test keeps, as systemd does; /dev/iommu is a mock."""

import array
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

# argv: the helper and the mock.
HELPER, MOCK = map(os.path.abspath, sys.argv[1:3])
del sys.argv[1:3]

SANITIZED = os.environ.get("SANITIZED") == "1"
PATIENCE = 30  # seconds; then something hangs. Nothing here is to be fast
F_GETSIG = 11  # where the mock has the mode: tests/mock_mode.h
DEVICE = os.stat("/dev/full").st_rdev  # plays /dev/iommu
PRIORITY = {"info": "<6>", "warning": "<4>", "error": "<3>"}  # sd-daemon(3)

# Each connection takes descriptors here, and what is in flight counts against the helper's limit.
NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (NOFILE, NOFILE))


def until(done):
    """Whether it comes to be."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


class Connection(socket.socket):
    """A client. Neither connect() nor recv() hangs for ever; unlike with settimeout(), a full backlog is waited for."""

    def __init__(self, path=None):
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE, 0))
        self.iommufds = []
        if path:
            self.connect(str(path))

    def send_with(self, data, *descriptors, flags=0):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        return self.sendmsg([data], rights if descriptors else [], flags)

    def receive(self):
        """The bytes of one recvmsg(); the descriptors that came are in iommufds."""
        received = array.array("i")
        data, messages, _, _ = self.recvmsg(16, socket.CMSG_SPACE(16 * received.itemsize), socket.MSG_CMSG_CLOEXEC)
        for _, _, rights in messages:
            received.frombytes(rights[: len(rights) - len(rights) % received.itemsize])
        self.iommufds += received
        return data

    def has_ended(self):
        """Waits for what comes, which is to be the end."""
        try:
            return self.receive() == b""
        except ConnectionResetError:
            return True

    def is_quiet(self):
        """Nothing has come, and the other end is open."""
        return not select.select([self], [], [], 0)[0]

    def close(self):
        super().close()
        while self.iommufds:
            os.close(self.iommufds.pop())


class Case(unittest.TestCase):
    backlog = 4096

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.scratch.chmod(0o755)
        self.path, self.log_path = self.scratch / "helper.sock", self.scratch / "log"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen(self.backlog)

    def run_helper(self, arguments=(), stdin=None, wrapper=(), log=None, **environment):
        """Starts it. Arguments for strace come as @wrapper; the process is the helper all the same (-D)."""
        variables = {"LD_PRELOAD": MOCK, **environment}
        inherited = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        command = [*wrapper, HELPER, *arguments]
        if wrapper:
            passed = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
            command = [*wrapper, *passed, HELPER, *arguments]
            variables = {}
        with open(self.log_path, "ab") as file:
            output = file if log is None else log
            stdin = self.listener if stdin is None else stdin
            helper = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=output, env=inherited | variables)
        self.addCleanup(self.end, helper)
        return helper

    def start(self, **kwargs):
        self.helper = self.run_helper(**kwargs)
        return self.helper

    def end(self, helper):
        if helper.poll() is None:
            helper.kill()
        helper.wait(PATIENCE)

    def connect(self):
        connection = Connection(self.path)
        self.addCleanup(connection.close)
        return connection

    def log(self):
        return self.log_path.read_text()

    def log_lines(self, outcome):
        return [line for line in self.log().splitlines() if f"outcome={outcome}" in line]

    def await_log(self, outcome, count=1):
        """A line comes after what the client sees of it."""
        self.assertTrue(until(lambda: len(self.log_lines(outcome)) >= count), self.log())
        lines = self.log_lines(outcome)
        self.assertEqual(len(lines), count)
        return lines

    def answer(self, connection):
        """What the helper sends, as it is held to: one byte, a descriptor with 0 and none with an errno, the end."""
        byte = connection.receive()
        self.assertEqual(len(byte), 1, self.log())
        self.assertTrue(connection.has_ended(), "more than one byte")
        self.assertEqual(len(connection.iommufds), 0 if byte[0] else 1)
        return byte[0]

    def assert_given(self, connection):
        """An iommufd in mode process, and nothing else. Returns it; the connection owns it."""
        self.assertEqual(self.answer(connection), 0)
        (iommufd,) = connection.iommufds
        self.assertEqual(os.fstat(iommufd).st_rdev, DEVICE)
        flags = fcntl.fcntl(iommufd, fcntl.F_GETFL)
        self.assertEqual(flags & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK), os.O_RDWR)
        self.assertEqual(fcntl.fcntl(iommufd, F_GETSIG), signal.SIGUSR1, "not in mode process")
        return iommufd

    def serve_one(self):
        """A good client is served."""
        with self.connect() as connection:
            self.assert_given(connection)

    def assert_alive(self):
        self.assertIsNone(self.helper.poll(), self.log())

    def descriptors(self):
        return sorted(os.listdir(f"/proc/{self.helper.pid}/fd"), key=int)

    def state(self):
        """R, S, T, ... of proc(5)."""
        return Path(f"/proc/{self.helper.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def settle(self):
        """It waits for the next connection, or has ended."""
        self.assertTrue(until(lambda: self.helper.poll() is not None or self.state() == "S"))

    def stop(self):
        """Holds it still. What connects now waits in the backlog."""
        self.settle()
        self.helper.send_signal(signal.SIGSTOP)
        self.assertTrue(until(lambda: self.state() == "T"))

    def resume(self):
        self.helper.send_signal(signal.SIGCONT)


def main():
    unittest.main(verbosity=2, failfast="FAILFAST" in os.environ)  # which tests/mutants sets

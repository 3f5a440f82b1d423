#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Each system call of the helper, as strace sees them, fails once with each errno that it can give.

Whatever that does to a request: nothing crashes, hangs or is lost, "done" is said only of what is done, and the next
request is served. argv: the helper and the mock device.
"""

import errno
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HELPER, MOCK = map(os.path.abspath, sys.argv[1:3])
del sys.argv[1:3]

PATIENCE = 20  # seconds; then something hangs
REQUEST = struct.pack("=IHHQ16s", 0x71524C49, 1, 0, 1, b"test")
REPLY = struct.Struct("=IHHQ")
MODE_OFFSET = 16  # of struct mock_device

# What their manual pages say. And each call may meet a filter of somebody else's, which answers EPERM.
ERRORS = {
    "accept4": "EAGAIN ECONNABORTED EINTR EMFILE ENFILE ENOBUFS ENOMEM EPROTO",
    "bind": "EACCES EADDRINUSE ELOOP ENOENT ENOMEM ENOTDIR EROFS",
    "clone": "EAGAIN ENOMEM",
    "connect": "EACCES EAGAIN ECONNREFUSED EINTR ENOENT EPROTOTYPE",
    "fcntl": "EBADF",
    "flock": "EAGAIN EINTR ENOLCK",
    "getsockopt": "ENOPROTOOPT ENOTSOCK",
    "ioctl": "EBUSY EFAULT EINVAL EOPNOTSUPP",  # ENOTTY is the kernel's own answer here
    "lchown": "EACCES EIO EROFS",
    "listen": "EADDRINUSE",
    "mmap": "ENOMEM",
    "newfstatat": "EACCES ELOOP ENOENT ENOMEM",
    "openat": "EACCES EEXIST EINTR ELOOP EMFILE ENFILE ENOENT ENOSPC EROFS",
    "poll": "EINTR ENOMEM",
    "ppoll": "EINTR ENOMEM",
    "prctl": "EINVAL",
    "read": "EAGAIN EINTR EIO",
    "readlinkat": "EACCES EIO ENOMEM",  # ENOENT is what the mock takes the place of
    "recvmsg": "EAGAIN ECONNRESET EINTR ENOMEM",
    "restart_syscall": "EINTR",
    "sendto": "EAGAIN ECONNRESET EINTR ENOBUFS ENOMEM EPIPE",
    "setresgid": "EAGAIN",
    "setresuid": "EAGAIN",
    "setsockopt": "ENOPROTOOPT",
    "signalfd4": "EMFILE ENFILE ENODEV ENOMEM",
    "socket": "EACCES EAFNOSUPPORT EMFILE ENFILE ENOBUFS ENOMEM",
    "statx": "EACCES EIO ENOMEM",
    "unlink": "EACCES EBUSY EIO ENOENT EROFS",
    "wait4": "ECHILD EINTR",
    "write": "EAGAIN EINTR EIO ENOSPC EPIPE",
}
# strace does not play how the first two fail: with the old break, and closed all the same. The rest cannot.
NEVER = {"brk", "close", "execve", "exit_group", "geteuid", "geteuid32", "getpid", "kill", "set_robust_list", "umask"}
# Without these nobody is to be served.
VITAL = re.compile(r"capget|capset|setgroups|setres[ug]id|prctl\(PR_SET_|getsockopt|recvmsg|statx|readlinkat")


class Fault:
    """The call of this line of strace, which is the process's @number-th of its name."""

    def __init__(self, line, name, number):
        self.line, self.name, self.number = line, name, number
        self.vital = VITAL.match(line) and (name, number) != ("capget", 2)  # which is for the log

    def errors(self):
        return sorted({"EPERM", *ERRORS.get(self.name, "").split()})

    def strace(self, error):
        """The arguments that make it fail."""
        return "-o", "/dev/null", f"--inject={self.name}:error={error}:when={self.number}"


def faults_by_process(trace):
    """What a trace says that can fail."""
    processes = {}
    for line in trace.read_text(errors="replace").splitlines():
        call = re.match(r"(\d+) +((\w+)\(.*)", line)
        if call:
            pid, line, name = call.groups()
            faults = processes.setdefault(pid, [])
            faults.append(Fault(line, name, sum(fault.name == name for fault in faults) + 1))
    return list(processes.values())


# Where libc looks up a group, or a user: from after the one to the other. Its affair, and NSS ends a process at will.
LOOK_UPS = [
    (r"rt_sigaction\(SIGPIPE", r"rt_sigaction\(SIGCHLD"),
    (r"geteuid", r"prctl\(PR_SET_KEEPCAPS"),
]


def from_main(faults):
    """Without what the loader does, and the look-ups."""

    def index(pattern):
        return next((i for i, fault in enumerate(faults) if re.match(pattern, fault.line)), None)

    left_out = set(range(index(r"fcntl(64)?\(0, F_GETFD")))
    for before, after in LOOK_UPS:
        if index(before) is not None and index(after) is not None:
            left_out.update(range(index(before) + 1, index(after)))
    return [fault for i, fault in enumerate(faults) if i not in left_out]


def until(done, patience=PATIENCE):
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        root = Path(scratch.name)
        root.chmod(0o755)
        self.mock, self.log, self.trace, self.path = (root / name for name in ("mock", "log", "trace", "sock"))
        self.mock.write_bytes(bytes(64))
        self.device = os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC)
        self.addCleanup(os.close, self.device)
        self.count = 0

    def mode(self):
        return self.mock.read_bytes()[MODE_OFFSET]

    def start(self, arguments, strace=None, stdin=subprocess.DEVNULL):
        """The helper; with arguments for strace, under that, which then is a grandchild."""
        environment = {"LD_PRELOAD": MOCK, "MOCK_DEVICE": str(self.mock)}
        command = [HELPER, *arguments]
        if strace:
            passed = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
            command = ["strace", "-q", "-D", *strace, *passed, *command]
            environment = {}
        with open(self.log, "wb") as log:
            return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=os.environ | environment)

    def each(self, faults, check):
        """Checks each of them with each of its errors."""
        start, count = time.monotonic(), 0
        faults = [fault for fault in faults if fault.name not in NEVER]
        for fault in faults:
            for error in fault.errors():
                count += 1
                with self.subTest(f"{error} from {fault.line}"):
                    check(fault, error)
        print(f"{count} faults in {len(faults)} calls, {time.monotonic() - start:.1f} s", file=sys.stderr)
        self.assertGreater(len(faults), 10)

    def ask(self, connection):
        """Sends a request for a new iommufd."""
        with open(self.mock, "r+b") as mock:
            mock.seek(MODE_OFFSET)
            mock.write(bytes(4))
        try:
            socket.send_fds(connection, [REQUEST], [self.device])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, connection):
        """An errno value, or 0; None where there is no answer."""
        connection.settimeout(PATIENCE)
        try:
            reply = connection.recv(REPLY.size + 1)
        except ConnectionResetError:
            return None
        return REPLY.unpack(reply)[2] if reply else None

    def judge(self, fault, answer):
        log = self.log.read_text()
        if answer == 0 or "outcome=applied" in log:
            self.assertEqual(self.mode(), 1, "done is said of what is not done")
        if answer == 0:
            self.assertFalse(fault.vital, "served in spite of it")
        if answer is None and fault.name not in ("poll", "ppoll", "write"):
            self.assertIn("iommufd-rlimit-helper: ", log, "neither answered nor logged")


class Unit(Case):
    """A connection from systemd."""

    def serve(self, *strace):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with its:
                self.ask(ours)
                helper = self.start([], strace, its)
            status = helper.wait(PATIENCE)
            return status, self.answer(ours)

    def test_faults(self):
        self.assertEqual(self.serve("-f", "-o", self.trace), (0, 0))
        self.assertTrue(until(lambda: "+++" in self.trace.read_text()))
        (process,) = faults_by_process(self.trace)
        self.each(from_main(process), self.check)

    def check(self, fault, error):
        status, answer = self.serve(*fault.strace(error))
        self.assertIn(status, (0, 1, 2))
        self.judge(fault, answer)
        if status:
            self.assertNotEqual(answer, 0)
        if "iommufd-rlimit-helper: error:" in self.log.read_text():
            self.assertEqual(status, 1)


class Start(Case):
    """One that listens, on its way there: it ends and says why, or serves."""

    def listen(self, *strace):
        self.path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
            stale.bind(str(self.path))
        return self.start(["--listen", self.path, "--group", str(os.getgid())], strace)

    def request(self, helper):
        """The answer; None where the helper ends instead."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            self.assertTrue(until(lambda: connection.connect_ex(str(self.path)) == 0 or helper.poll() is not None))
            try:
                self.ask(connection)
                return self.answer(connection)
            except OSError:
                self.assertIsNotNone(helper.poll())
                return None

    def test_faults(self):
        helper = self.listen("-f", "-s", "64", "-o", self.trace)
        self.assertEqual(self.request(helper), 0)
        helper.terminate()
        self.assertEqual(helper.wait(PATIENCE), 0)
        self.assertTrue(until(lambda: "+++" in self.trace.read_text()))
        process = from_main(faults_by_process(self.trace)[0])
        says = next(i for i, fault in enumerate(process) if "listening=" in fault.line)
        self.each(process[: says + 1], self.check)

    def check(self, fault, error):
        helper = self.listen(*fault.strace(error))
        self.addCleanup(helper.kill)
        answer = self.request(helper)
        self.judge(fault, answer)
        if answer == 0:
            helper.terminate()
            self.assertEqual(helper.wait(PATIENCE), 0)
        else:
            self.assertIn(helper.wait(PATIENCE), (1, 2))
            self.assertRegex(self.log.read_text(), f"{self.path}|{os.strerror(getattr(errno, error))}")


class Listen(Case):
    """One that listens, at its work."""

    def setUp(self):
        super().setUp()
        self.helper = self.start(["--listen", self.path])
        self.addCleanup(self.helper.wait)
        self.addCleanup(self.helper.kill)
        self.assertTrue(until(lambda: "listening=" in self.log.read_text()))

    def children(self):
        return Path(f"/proc/{self.helper.pid}/task/{self.helper.pid}/children").read_text().split()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.helper.pid}/fd"))

    def is_idle(self):
        return not self.children() and self.descriptors() == self.idle

    def request(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(self.path))
            self.ask(connection)
            return self.answer(connection)

    def request_under(self, *strace, patience=0.2):
        """With a strace that comes for one request, and goes once its child has, or was not reaped."""
        tracer = subprocess.Popen(
            ["strace", "-p", str(self.helper.pid), *strace], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        with tracer.stderr:
            self.assertIn("attached", tracer.stderr.readline())
            answer = self.request()
            until(lambda: not self.children(), patience)
            tracer.terminate()
            tracer.stderr.read()
        tracer.wait(PATIENCE)
        return answer

    def test_faults(self):
        self.assertEqual(self.request(), 0)
        self.assertTrue(until(lambda: not self.children()))
        self.idle = self.descriptors()
        self.assertEqual(self.request_under("-f", "-o", self.trace, patience=PATIENCE), 0)
        faults = {}
        for process in faults_by_process(self.trace):
            for fault in process:
                if any(fault.name == "accept4" for fault in process):
                    fault.vital = False  # its child does the work
                first = faults.setdefault((fault.name, fault.number), fault)
                first.vital = first.vital or fault.vital
        self.assertIn(("ioctl", 2), faults)
        self.assertIn(("wait4", 1), faults)
        self.each(faults.values(), self.check)

    def check(self, fault, error):
        self.log.write_text("")
        self.judge(fault, self.request_under("-f", *fault.strace(error)))
        self.assertIsNone(self.helper.poll(), "it has ended")
        self.assertEqual(self.request(), 0, "the next one is not served")
        self.assertTrue(until(self.is_idle), "something is left behind")

    def test_end_seen_for_a_message(self):
        """The kernel may say so of a message that came while it looked. Without -f: the parent's look alone."""
        self.assertEqual(self.request_under("-o", "/dev/null", "--inject=recvmsg:retval=0:when=1"), 0)

    def test_parent_is_slow(self):
        """Slower than what a child has for a request."""
        self.assertEqual(self.request_under("-o", "/dev/null", "--inject=clone:delay_exit=3500000:when=1"), 0)


if __name__ == "__main__":
    if not shutil.which("strace") or subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode:
        print("no strace here, or it may not trace")
        sys.exit(77)
    unittest.main(verbosity=2)

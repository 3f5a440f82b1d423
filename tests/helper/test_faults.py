#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""strace makes each system call of the helper fail once, with each errno it can give, and holds it still after each.

Whatever that does to one request: nothing crashes or hangs, "given" is only said of what was given, and the next one is
served, by this process or, where it has ended, by a new one on the same listener. argv: the helper and the mock.
"""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import harness
from harness import PATIENCE, until

# What their manual pages say, but for EINVAL of accept4(), after which musl calls accept(). And each call may meet a filter of
# somebody else's, which answers EPERM.
ERRORS = {
    "accept4": "EAGAIN ECONNABORTED EINTR EMFILE ENFILE ENOBUFS ENOMEM EPROTO",
    "fcntl": "EBADF EINVAL",  # as well what the mock answers IOMMU_OPTION with
    "fcntl64": "EBADF EINVAL",
    "getsockopt": "ENOPROTOOPT ENOTSOCK",
    "ioctl": "EFAULT EINVAL ENOTTY",
    "openat": "EACCES EINTR EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
    "poll": "EINTR ENOMEM",
    "ppoll": "EINTR ENOMEM",
    "rt_sigaction": "EINVAL",
    "setsockopt": "ENOPROTOOPT",
    "sendmsg": "EAGAIN ECONNRESET EINTR ENOBUFS ENOMEM EPIPE ETOOMANYREFS",
    "shutdown": "ENOTCONN",
    "write": "EAGAIN EINTR EIO ENOSPC EPIPE",
}
# What does not fail, or does its work all the same; and the mock's look at a name.
NEVER = {"close", "exit_group", "faccessat", "restart_syscall"}
# Where musl's perror() and Python, which has glibc, differ.
WORDS_OF_MUSL = {"EMFILE": "No file descriptors available", "ENOMEM": "Out of memory"}


class Call:
    """A line of strace, which is the process's @number-th call of its name."""

    def __init__(self, line, name, number):
        self.line, self.name, self.number = line, name, number

    def inject(self, what):
        return f"--inject={self.name}:{what}:when={self.number}"


class Case(harness.Case):
    def start_under(self, *options):
        self.log_path.unlink(missing_ok=True)
        return self.start(wrapper=("strace", "-q", "-D", *options))

    def calls(self):
        """Those of main(), up to the end of the first request."""
        self.trace = self.scratch / "trace"
        self.start_under("-o", self.trace)
        self.serve_one()
        self.assertTrue(until(lambda: self.trace.read_text().count("accept4(") == 2), self.trace.read_text())
        self.end(self.helper)
        calls = []
        for line in self.trace.read_text().splitlines():
            name = re.match(r"(\w+)\(", line)
            if name:
                calls.append(Call(line, name[1], sum(call.name == name[1] for call in calls) + 1))
        first = next(i for i, call in enumerate(calls) if re.match(r"getsockopt\(0, ", call.line))
        last = next(i for i, call in enumerate(calls) if call.name == "accept4" and call.number == 2)
        return [call for call in calls[first:last] if call.name not in NEVER]

    def outcome(self, connection):
        """ "given", an errno, "closed" or "ignored"; None where it was not accepted. Waits for one of these."""

        def has_come():
            return not connection.is_quiet() or "outcome=ignored" in self.log() or self.helper.poll() is not None

        self.assertTrue(until(has_come), self.log())
        if connection.is_quiet():
            return "ignored" if "outcome=ignored" in self.log() else None
        byte = connection.receive()
        if not byte:
            return "closed"
        self.assertTrue(connection.has_ended())
        self.assertEqual(len(connection.iommufds), 0 if byte[0] else 1)
        return byte[0] or "given"

    def assert_next_is_served(self):
        """By this process, or by another one."""
        self.settle()
        if self.helper.poll() is not None:
            self.assertIn(self.helper.returncode, (1, 2), "it crashed")
            self.start()
        self.serve_one()
        self.end(self.helper)


class Fail(Case):
    def expected(self, call, error):
        """What becomes of the client, and of the helper, which goes on (None) or ends with a status."""
        number = getattr(errno, error)
        if re.match(r"getsockopt\(0|fcntl(64)?\(2,", call.line):
            return None, 2
        if call.name == "accept4":
            return ("given", None) if error in ("EINTR", "ECONNABORTED") else (None, 1)
        if call.name == "openat":
            return number, 1
        if call.name in ("shutdown", "ioctl"):
            return "ignored", None
        if call.name == "sendmsg":
            return "closed", None
        if re.match(r"fcntl(64)?\([^0].*F_SETSIG", call.line):
            return errno.EIO, None  # the mock says that SET worked
        if re.match(r"fcntl(64)?\([^0].*F_GETSIG", call.line):
            return (errno.EIO if self.is_last_get(call) else number), None
        return "given", None

    def is_last_get(self, call):
        return call is [other for other in self.all if "F_GETSIG" in other.line][-1]

    def check(self, call, error):
        self.start_under("-o", "/dev/null", call.inject(f"error={error}"))
        with self.connect() as connection:
            outcome = self.outcome(connection)
            expected, status = self.expected(call, error)
            self.assertEqual(outcome, expected)
            if status:
                self.assertEqual(self.helper.wait(PATIENCE), status)
            else:
                self.settle()
                self.assert_alive()
            log = self.log()
            self.assertEqual("outcome=given" in log, outcome == "given" and call.name not in ("poll", "ppoll", "write"))
            if outcome == "closed":
                self.assertIn(f"outcome=unsent errno={error}", log)
            if isinstance(outcome, int):
                self.assertIn(f"outcome=failed errno={errno.errorcode[outcome]}", log)
            if outcome is None:
                if call.name == "accept4":
                    causes = os.strerror(getattr(errno, error)), WORDS_OF_MUSL.get(error)
                    self.assertIn(log.removeprefix("iommufd-rlimit-helper: accept: ").rstrip("\n"), causes)
                self.start()  # it is still there for another
                self.assert_given(connection)
        self.assert_next_is_served()

    def test_each_call(self):
        start, count = time.monotonic(), 0
        self.all = self.calls()
        names = {call.name for call in self.all}
        self.assertLessEqual({"accept4", "getsockopt", "ioctl", "openat", "sendmsg", "shutdown", "write"}, names)
        for call in self.all:
            for error in sorted({"EPERM", *ERRORS[call.name].split()}):
                count += 1
                with self.subTest(f"{error} from {call.line}"):
                    self.check(call, error)
        print(f"{count} faults in {len(self.all)} calls, {time.monotonic() - start:.1f} s: ", end="", flush=True)


class NoProcess(Case):
    def test_none_to_close_what_peers_queued(self):
        """It ends. The listener, and those that wait, are there for the next one."""
        senders = [self.connect() for _ in range(64)]
        for sender in senders:
            sender.sendall(b"x")
        waiting = self.connect()
        self.start_under("-o", "/dev/null", "--inject=clone:error=EAGAIN:when=1")
        self.assertEqual(self.helper.wait(PATIENCE), 1)
        for sender in senders:
            self.assertTrue(sender.has_ended())
        self.start()
        self.assert_given(waiting)
        self.assert_next_is_served()


class Hold(Case):
    """The helper is held still after each call of a request, while the client does something."""

    def each_step(self, act, check):
        """check(), with what the client got and the call, after act(connection)."""
        calls = self.calls()
        first = next(i for i, call in enumerate(calls) if call.name == "accept4")
        for call in calls[first:]:
            with self.subTest(call.line):
                self.trace.unlink()
                self.start_under("-o", self.trace, call.inject("signal=SIGSTOP"))
                with self.connect() as connection:
                    self.assertTrue(until(lambda: self.trace.exists() and "--- stopped by" in self.trace.read_text()))
                    act(connection)
                    self.resume()
                    check(connection, call)
                self.assert_next_is_served()

    def test_client_leaves(self):
        sent = []

        def check(_connection, call):
            self.settle()
            self.assert_alive()
            if call.name == "sendmsg":
                sent.append(call)
            # Of what was sent before the client left, it was given.
            if call.name != "write":
                self.await_log("given" if sent else "unsent")

        self.each_step(lambda connection: connection.close(), check)
        self.assertEqual(len(sent), 1)

    def test_client_sends(self):
        """Before the shutdown() it is seen; afterwards it does not arrive."""
        shut = []

        def act(connection):
            try:
                connection.sendall(b"x")
                self.reached = True
            except BrokenPipeError:
                self.reached = False

        def check(connection, call):
            if call.name == "shutdown":
                shut.append(call)
            self.assertEqual(self.reached, not shut)
            self.assertEqual(self.outcome(connection), "given" if shut else "ignored")

        self.each_step(act, check)
        self.assertEqual(len(shut), 1)

    def test_killed(self):
        def check(connection, _call):
            self.helper.wait(PATIENCE)
            self.helper.returncode = 1
            self.assertIn(self.outcome(connection), ("given", "closed"))

        self.each_step(lambda _connection: self.helper.send_signal(signal.SIGKILL), check)

    def test_client_stops_receiving(self):
        def check(_connection, _call):
            self.settle()
            self.assert_alive()

        self.each_step(lambda connection: connection.shutdown(socket.SHUT_RD), check)


if __name__ == "__main__":
    if not shutil.which("strace") or subprocess.run(["strace", "-qq", "-o", os.devnull, "true"]).returncode:
        print("no strace here, or it may not trace")
        sys.exit(77)
    harness.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The helper, judged from outside: what a client gets, what the log says, and what no client can do to the others.

argv: the helper and the mock.
"""

import errno
import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
from pathlib import Path

import harness
from harness import HELPER, NOFILE, PATIENCE, PRIORITY, Connection, until

KEPT = 64  # connections with something queued, that the helper keeps before another process closes them
SO_PASSRIGHTS = 83  # Linux 6.16
LINGER = 60  # seconds that a queued TCP socket takes to close


class CommandLine(harness.Case):
    """Right use works; wrong use is named, together with a remedy."""

    def ends(self, *arguments, stdin=None, **kwargs):
        helper = self.run_helper(arguments, stdin=stdin, **kwargs)
        return helper.wait(PATIENCE), self.log()

    def test_help(self):
        status, said = self.ends("--help")
        self.assertEqual(status, 0)
        self.assertIn("usage: iommufd-rlimit-helper [--help | --version]", said)

    def test_version(self):
        status, said = self.ends("--version", stdin=subprocess.DEVNULL)
        self.assertEqual(status, 0)
        self.assertRegex(said, r"^iommufd-rlimit-helper [0-9.]+\n$")

    def test_wrong_use(self):
        for arguments, named in {
            ("--lisen",): "--lisen",
            ("--listen", "/x"): "/x",
            ("surplus",): "surplus",
            ("",): '""',
            ("-h",): "-h",
            ("--help", "surplus"): "surplus",
            ("--version", "--version"): "--version",
        }.items():
            with self.subTest(arguments):
                self.log_path.unlink(missing_ok=True)
                status, said = self.ends(*arguments)
                self.assertEqual(status, 2)
                self.assertIn(named, said.splitlines()[0])
                self.assertIn("usage:", said)

    def refuses(self, stdin):
        self.log_path.unlink(missing_ok=True)
        status, said = self.ends(stdin=stdin)
        self.assertEqual(status, 2, said)
        self.assertIn("standard input is not a listening AF_UNIX stream socket", said)
        self.assertIn("systemctl enable --now iommufd-rlimit-helper.socket", said)
        self.assertRegex(said, r"s6-ipcserver-socketbinder -a 0660 /\S+/helper.sock /\S+/iommufd-rlimit-helper\n")

    def test_no_socket(self):
        for path in "/dev/null", "/dev/full", self.path.parent / "file":
            with self.subTest(path), open(path, "w+b") as file:
                self.refuses(file)
        read, write = os.pipe()
        self.refuses(read)
        self.refuses(write)
        os.close(read)
        os.close(write)

    def test_other_socket(self):
        unix, inet = (socket.AF_UNIX, "\0"), (socket.AF_INET, ("127.0.0.1", 0))
        for (family, address), kind, listens in [
            (unix, socket.SOCK_STREAM, False),
            (unix, socket.SOCK_DGRAM, False),
            (unix, socket.SOCK_SEQPACKET, False),
            (unix, socket.SOCK_SEQPACKET, True),
            (inet, socket.SOCK_STREAM, False),
            (inet, socket.SOCK_STREAM, True),
            (inet, socket.SOCK_DGRAM, False),
        ]:
            with self.subTest(f"{family.name} {kind.name} {listens}"), socket.socket(family, kind) as other:
                other.bind(address if family == socket.AF_INET else "")
                if listens:
                    other.listen()
                self.refuses(other)

    def test_connected_socket(self):
        for ours in socket.socketpair(), (self.connect(), self.listener.accept()[0]):
            with ours[0], ours[1]:
                self.refuses(ours[1])

    def test_closed_descriptors(self):
        def run(redirection):
            # The shell may have another C library than the mock, so it does not load the mock itself.
            command = ["sh", "-c", f'LD_PRELOAD=$1 exec "$0" {redirection}', HELPER, harness.MOCK]
            with open(self.log_path, "wb") as log:
                helper = subprocess.Popen(command, stdin=self.listener, stdout=log, stderr=log)
            self.addCleanup(self.end, helper)
            return helper

        self.assertEqual(run("<&-").wait(PATIENCE), 2)
        self.assertIn("standard input is not a listening AF_UNIX stream socket", self.log())
        # Else a connection would become descriptor 2, and get the log.
        self.assertEqual(run("2>&-").wait(PATIENCE), 2)
        self.helper = run(">&-")
        self.serve_one()

    def test_listener_ends(self):
        self.start()
        self.settle()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.assertEqual(self.helper.wait(PATIENCE), 1)
        self.assertIn("iommufd-rlimit-helper: accept: Invalid argument", self.log())


class Gives(harness.Case):
    """What a client gets."""

    def test_one(self):
        self.start()
        self.serve_one()

    def test_nonblocking_listener(self):
        self.listener.setblocking(False)
        self.start()
        for _ in range(3):
            self.settle()
            self.serve_one()
        self.assert_alive()

    def test_two_have_nothing_in_common(self):
        self.start()
        with self.connect() as first, self.connect() as second:
            ours, other = self.assert_given(first), self.assert_given(second)
            fcntl.fcntl(ours, harness.F_GETSIG - 1, 0)  # F_SETSIG: mode user
            fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK)
            self.assertEqual(fcntl.fcntl(other, harness.F_GETSIG), signal.SIGUSR1)
            self.assertFalse(fcntl.fcntl(other, fcntl.F_GETFL) & os.O_NONBLOCK)

    def test_set_fails(self):
        for name, hint in {
            "EPERM": "give it CAP_SYS_RESOURCE",
            "EBUSY": "",
            "EINVAL": "",
            "EOPNOTSUPP": "",
            "ENOTTY": "",
            "ENOMEM": "",
        }.items():
            with self.subTest(name):
                self.log_path.unlink(missing_ok=True)
                number = getattr(errno, name)
                self.start(MOCK_SET_ERRNO=str(number))
                for _ in range(2):  # by the same process
                    self.assertEqual(self.answer(self.connect()), number)
                self.assert_alive()
                line = self.await_log("failed", 2)[0]
                self.assertIn(f": error: outcome=failed errno={name} pid={os.getpid()} ", line)
                self.assertIn(hint, line.partition(" hint=")[2])
                self.end(self.helper)

    def test_set_is_lost(self):
        self.start(MOCK_LOST_SET="1")
        self.assertEqual(self.answer(self.connect()), errno.EIO)
        self.assertIn("errno=EIO ", self.await_log("failed")[0])
        self.assert_alive()

    def test_open_fails(self):
        """systemd is to start another, which may have the device: here by the next one without the fault."""
        for name, hint in {
            "ENOENT": ' hint="run: modprobe iommufd"$',
            "ENODEV": ' hint="run: modprobe iommufd"$',
            "EACCES": " hint=.*SupplementaryGroups=",
            "EPERM": " hint=.*DeviceAllow=",
            "EMFILE": "$",
        }.items():
            with self.subTest(name):
                self.log_path.unlink(missing_ok=True)
                connections = [self.connect() for _ in range(3)]
                number = getattr(errno, name)
                for connection in connections[:2]:
                    self.start(MOCK_OPEN_ERRNO=str(number))
                    self.assertEqual(self.answer(connection), number)
                    self.assertEqual(self.helper.wait(PATIENCE), 1)
                self.assertRegex(
                    self.await_log("failed", 2)[0],
                    rf"^iommufd-rlimit-helper: error: outcome=failed errno={name} pid=\d+ uid=\d+ gid=\d+{hint}",
                )
                self.start()
                self.assert_given(connections[2])
                self.end(self.helper)


class Crowd(harness.Case):
    def at_one_instant(self, count):
        """So many threads that connect, wait and leave."""
        connections = [Connection() for _ in range(count)]
        barrier = threading.Barrier(count)

        def ask(connection):
            barrier.wait(PATIENCE)
            connection.connect(str(self.path))
            connection.first = connection.receive()

        threads = [threading.Thread(target=ask, args=[connection]) for connection in connections]
        for connection, thread in zip(connections, threads):
            self.addCleanup(connection.close)
            connection.first = None
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for connection in connections:
            self.assertEqual(connection.first, b"\0")
            (iommufd,) = connection.iommufds
            self.assertEqual(fcntl.fcntl(iommufd, harness.F_GETSIG), signal.SIGUSR1)
            self.assertTrue(connection.has_ended())
        self.await_log("given", count)

    def test_256_at_one_instant(self):
        self.start()
        self.at_one_instant(256)


class CrowdThatQueues(Crowd):
    """The same where connect() has to wait as well."""

    backlog = 1


class Log(harness.Case):
    """Who asked, and what came of it."""

    def ask_as(self, user, group):
        """The answer to a process of its own, and the number of that."""
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                if (user, group) != (os.geteuid(), os.getegid()):
                    os.setresgid(group, group, group)
                    os.setresuid(user, user, user)
                with Connection(self.path) as connection:
                    os.write(write, connection.receive())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        return answer, pid

    def test_peer(self):
        self.start()
        peers = [(os.geteuid(), os.getegid())]
        if os.geteuid() == 0:
            peers += [(4711, 4712), (65534, 1), (2**31 + 5, 2**31 + 6)]
        for user, group in peers:
            self.log_path.write_text("")
            answer, pid = self.ask_as(user, group)
            self.assertEqual(answer, b"\0")
            (line,) = self.await_log("given")
            self.assertEqual(line, f"iommufd-rlimit-helper: info: outcome=given pid={pid} uid={user} gid={group}")

    def each_outcome(self, **environment):
        """A line of each outcome, by its name."""
        self.start(**environment)
        self.stop()
        self.connect().close()
        sender = self.connect()
        sender.sendall(b"x")
        self.resume()
        self.serve_one()
        self.end(self.helper)
        self.start(MOCK_SET_ERRNO="1", **environment)
        self.answer(self.connect())
        lines = {outcome: self.await_log(outcome)[0] for outcome in ("given", "unsent", "ignored", "failed")}
        self.assertEqual(sorted(lines.values()), sorted(self.log().splitlines()), "and nothing else")
        return lines

    LEVELS = {"given": "info", "unsent": "warning", "ignored": "warning", "failed": "error"}

    def test_outcomes(self):
        lines = self.each_outcome()
        for outcome, level in self.LEVELS.items():
            self.assertTrue(lines[outcome].startswith(f"iommufd-rlimit-helper: {level}: outcome={outcome} "), lines)
            self.assertEqual("hint=" in lines[outcome], outcome != "given")
        self.assertIn(" errno=EPIPE ", lines["unsent"])
        self.assertIn(" errno=EPERM ", lines["failed"])
        self.assertNotIn("errno=", lines["ignored"])

    def test_priorities_for_the_journal(self):
        lines = self.each_outcome(JOURNAL_STREAM="8:1")
        for outcome, level in self.LEVELS.items():
            start = f"{PRIORITY[level]}iommufd-rlimit-helper: {level}: outcome={outcome} "
            self.assertTrue(lines[outcome].startswith(start), lines)

    def serves_without_log(self, log):
        self.start(log=log)
        for _ in range(5):
            self.serve_one()
        self.settle()  # after its fifth line
        self.assert_alive()

    def fill(self, end):
        os.set_blocking(end, False)
        for size in 4096, 1:
            try:
                while True:
                    os.write(end, b"x" * size)
            except BlockingIOError:
                pass
        os.set_blocking(end, True)

    def test_full_log(self):
        streams = socket.socketpair()  # which is what the journal's is
        for read, write in os.pipe(), (streams[0].detach(), streams[1].detach()):
            self.fill(write)
            self.serves_without_log(write)
            # And has another line once there is room.
            while select.select([read], [], [], 0)[0]:
                os.read(read, 65536)
            self.serve_one()
            self.assertTrue(select.select([read], [], [], PATIENCE)[0])
            self.assertIn(b"outcome=given", os.read(read, 65536))
            self.end(self.helper)
            os.close(read)
            os.close(write)

    def test_log_without_reader(self):
        streams = socket.socketpair()
        for read, write in os.pipe(), (streams[0].detach(), streams[1].detach()):
            os.close(read)
            self.serves_without_log(write)
            self.end(self.helper)
            os.close(write)

    def test_log_on_a_full_disk(self):
        with open("/dev/full", "wb") as log:
            self.serves_without_log(log)


class Peers(harness.Case):
    """Whatever one does, the next is served."""

    def test_one_that_only_listens_is_served(self):
        self.start()
        connection = self.connect()
        connection.shutdown(socket.SHUT_WR)
        self.assert_given(connection)

    def test_never_receive(self):
        count = min(10_000, NOFILE - 1000)
        self.start()
        self.serve_one()
        self.settle()
        idle = self.descriptors()
        silent = [self.connect() for _ in range(count)]
        self.serve_one()
        self.await_log("given", count + 2)
        self.settle()
        self.assertEqual(self.descriptors(), idle)
        self.assertEqual(self.log_lines("unsent"), [])
        self.assert_given(silent[0])  # however late
        self.assert_given(silent[-1])
        print(f"{count} that never receive: ", end="", flush=True)

    def memory(self):
        """Its anonymous memory, and all that is resident, in kB. Private_Dirty has pages of a file that was just built as well."""
        rollup = Path(f"/proc/{self.helper.pid}/smaps_rollup").read_text()
        return [int(re.search(rf"^{name}: +(\d+) kB", rollup, re.MULTILINE)[1]) for name in ("Anonymous", "Rss")]

    def after_requests(self, measure):
        """What it measures after 100 requests, and after 10,000."""
        self.start()
        for count in 100, 9900:
            for _ in range(count):
                with Connection(self.path) as connection:
                    self.assertEqual(self.answer(connection), 0)
            self.settle()
            yield measure()

    def test_keeps_no_descriptors(self):
        before, after = self.after_requests(self.descriptors)
        self.assertEqual(after, before)

    @unittest.skipIf(harness.SANITIZED, "a sanitizer's runtime grows")
    def test_keeps_no_memory(self):
        before, after = self.after_requests(self.memory)
        print(f"anonymous, resident: {before} kB after 100 requests, {after} kB after 10,000: ", end="", flush=True)
        # Four pages for what a rare path is the first to write. The smallest block of malloc(), lost in each request, takes 77.
        self.assertLessEqual(after[0], before[0] + 16)
        self.assertLessEqual(after[1], before[1] + 64)  # the kernel maps a file's pages as it likes

    def test_sends_data_first(self):
        """No answer. Whatever it queues afterwards does not reach the helper. A process of its own closes 64 of them."""
        self.start()
        self.settle()
        idle = self.descriptors()
        self.stop()
        senders = []
        for i in range(KEPT - 1):
            senders.append(self.connect())
            senders[-1].sendall(b"x" * (i + 1))
        good = [self.connect() for _ in range(3)]
        self.resume()
        for connection in good:
            self.assert_given(connection)
        self.await_log("ignored", KEPT - 1)
        for sender in senders:
            self.assertTrue(sender.is_quiet())
            with self.assertRaises(BrokenPipeError):
                sender.sendall(b"x")
        self.stop()
        senders.append(self.connect())
        senders[-1].sendall(b"x")
        self.resume()
        self.await_log("ignored", KEPT)
        for sender in senders:
            self.assertTrue(sender.has_ended())
        self.serve_one()
        self.assertTrue(until(lambda: self.descriptors() == idle and not self.children()))
        self.assert_alive()

    def test_sends_data_first_again_and_again(self):
        """Each of a crowd that would end a helper that only keeps. It is one process all along."""
        self.start()
        for _ in range(40):
            self.stop()
            for _ in range(100):
                with self.connect() as sender:
                    sender.sendall(b"x")
            good = self.connect()
            self.resume()
            self.assert_given(good)
        self.assert_alive()

    def test_may_not_send_descriptors(self):
        """From the start of the helper on, where the kernel knows SO_PASSRIGHTS."""
        try:
            self.listener.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
        except OSError:
            self.skipTest("this kernel has no SO_PASSRIGHTS")
        with self.connect() as before:
            before.send_with(b"x", 0)
        self.start()
        self.serve_one()
        self.stop()
        after = self.connect()
        with self.assertRaises(PermissionError):
            after.send_with(b"x", 0)
        self.resume()
        self.assert_given(after)

    def test_sends_a_megabyte(self):
        def send(connection):
            try:
                connection.sendall(bytes(1_000_000))
                self.fail("it was read")
            except (BrokenPipeError, ConnectionResetError):
                pass

        for held in True, False:
            self.start()
            self.serve_one()
            if held:
                self.stop()
            sender = self.connect()
            thread = threading.Thread(target=send, args=[sender])
            thread.start()
            if held:
                self.assertTrue(until(lambda: not select.select([], [sender], [], 0)[1]), "room for a megabyte")
                good = self.connect()
                self.resume()
                self.assert_given(good)
                self.assertTrue(sender.is_quiet())
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
            self.serve_one()
            self.assert_alive()
            self.end(self.helper)

    def lingering(self, readers):
        """A TCP socket that takes LINGER seconds to close: it has unsent data, and nobody reads it."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.listen()
            tcp = socket.create_connection(listener.getsockname())
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            readers.append(listener.accept()[0])
            self.addCleanup(readers[-1].close)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
        tcp.setblocking(False)
        try:
            while True:
                tcp.send(bytes(1 << 20))
        except BlockingIOError:
            pass
        tcp.setblocking(True)  # else close() does not wait
        return tcp

    def children(self):
        return Path(f"/proc/{self.helper.pid}/task/{self.helper.pid}/children").read_text().split()

    def goes_on_without_waiting(self, flags):
        """They come before the helper starts, so it has not forbidden descriptors yet."""
        readers, hostile, good = [], [], []
        for _ in range(KEPT):
            with self.lingering(readers) as tcp:
                hostile.append(self.connect())
                hostile[-1].send_with(b"x", tcp.fileno(), flags=flags)
            good.append(self.connect())
        begin = time.monotonic()
        self.start()
        for connection in good:
            self.assert_given(connection)
        self.serve_one()
        took = time.monotonic() - begin
        self.await_log("ignored", KEPT)
        # The trap works: the process that closes them is held by the first.
        (closer,) = self.children()
        self.assertTrue(hostile[1].is_quiet())
        self.assert_alive()
        os.kill(int(closer), signal.SIGKILL)
        self.assertTrue(until(lambda: not self.children()))
        print(f"{len(good)} served in {1000 * took:.1f} ms: ", end="", flush=True)

    def test_queues_lingering_sockets(self):
        self.goes_on_without_waiting(0)

    def test_queues_lingering_sockets_out_of_band(self):
        ours, other = socket.socketpair()
        with ours, other:
            try:
                ours.send(b"x", socket.MSG_OOB)
            except OSError as error:
                self.skipTest(f"this kernel has no MSG_OOB on AF_UNIX: {error}")
        self.goes_on_without_waiting(socket.MSG_OOB)

    def test_killed_under_requests(self):
        """The listener stays, with those that wait. At most the one that was being served gets nothing."""
        for served in 0, 1, 31, 62:
            self.start()
            self.stop()
            connections = [self.connect() for _ in range(64)]
            self.resume()
            self.assertTrue(select.select([connections[served]], [], [], PATIENCE)[0])
            self.helper.kill()
            self.helper.wait(PATIENCE)
            self.start()
            lost = 0
            for connection in connections:
                if select.select([connection], [], [], PATIENCE)[0]:
                    byte = connection.receive()
                    lost += not byte
                    self.assertIn((byte, len(connection.iommufds)), [(b"\0", 1), (b"", 0)])
                connection.close()
            self.assertLessEqual(lost, 1)
            self.end(self.helper)


if __name__ == "__main__":
    harness.main()

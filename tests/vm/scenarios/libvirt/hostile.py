#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What a QEMU that its guest has taken over may do to the helper's socket. It may connect, and so much else.

usage: hostile.py linger COUNT     COUNT connections, each with a TCP socket queued that takes 60 seconds to close
       hostile.py linger-oob COUNT the same, queued as out-of-band data
       hostile.py unreceived COUNT COUNT connections that never receive
       hostile.py closed COUNT     COUNT connections closed at each step
       hostile.py flood COUNT      COUNT seconds of connections, as many as it can, each closed at once
       hostile.py megabyte COUNT   COUNT connections that send a megabyte
       hostile.py waiting COUNT    COUNT connections that wait for an answer; prints how each ended

The first three print "done" and stay as they are until they are killed.
"""

import array
import select
import signal
import socket
import struct
import sys
import time

SOCKET = "/run/iommufd-rlimit/helper.sock"


def connect():
    connection = socket.socket(socket.AF_UNIX)
    # Unlike with settimeout(), a full backlog is waited for.
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 60, 0))
    connection.connect(SOCKET)
    return connection


def stay():
    print("done", flush=True)
    signal.pause()


def lingering(listener):
    """A connected TCP socket whose peer never reads, with data that was not sent, and that peer."""
    sender = socket.socket()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sender.connect(listener.getsockname())
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(65536))
    except BlockingIOError:
        return sender, listener.accept()[0]


def linger(count, flags=0):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(count)
    pairs = [lingering(listener) for _ in range(count)]
    connections = []
    lost = 0
    for sender, _ in pairs:
        connection = connect()
        connections.append(connection)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sender.fileno()]))
        try:
            connection.sendmsg([b"x"], [rights], flags | socket.MSG_DONTWAIT)
            sender.close()  # the copy in the queue is the last one
        except (BrokenPipeError, PermissionError):
            lost += 1  # the helper was faster, or has forbidden descriptors: SO_PASSRIGHTS
    print(f"queued {count - lost} of {count}")
    stay()


def unreceived(count):
    connections = [connect() for _ in range(count)]
    print(f"connected {len(connections)}")
    stay()


def closed(count):
    def receive(connection):
        return socket.recv_fds(connection, 1, 1)

    def acknowledge(connection):
        receive(connection)
        connection.send(b"\0")

    steps = (
        lambda connection: None,
        lambda connection: connection.shutdown(socket.SHUT_RD),
        lambda connection: connection.shutdown(socket.SHUT_RDWR),
        lambda connection: select.select([connection], [], []),
        lambda connection: connection.recv(1),  # without room for the descriptor
        receive,
        acknowledge,
    )
    for step in steps:
        for _ in range(count):
            connection = connect()
            try:
                step(connection)
            except BrokenPipeError:
                pass
            connection.close()
    print(f"closed {count} connections at each of {len(steps)} steps")


def flood(seconds):
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        connect().close()
        count += 1
    print(f"connected {count} times in {seconds} s")


def megabyte(count):
    sent = []
    for _ in range(count):
        connection = connect()
        size = 0
        try:
            while size < 1 << 20:
                size += connection.send(bytes(65536))
        except (BrokenPipeError, ConnectionResetError):
            pass
        sent.append(size)
        connection.close()
    print(f"sent up to {max(sent)} bytes before the helper shut the connection down")


def waiting(count):
    connections = []
    for _ in range(count):
        connections.append(connect())
    print("done", flush=True)
    ends = {}
    for connection in connections:
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            end = "given" if descriptors else f"error {data[0]}" if data else "closed"
        except OSError as error:
            end = type(error).__name__
        ends[end] = ends.get(end, 0) + 1
    print(" ".join(f"{end}={number}" for end, number in sorted(ends.items())))


commands = {
    "linger": linger,
    "linger-oob": lambda count: linger(count, socket.MSG_OOB),
    "unreceived": unreceived,
    "closed": closed,
    "flood": flood,
    "megabyte": megabyte,
    "waiting": waiting,
}
if len(sys.argv) != 3 or sys.argv[1] not in commands:
    sys.exit(__doc__)
commands[sys.argv[1]](int(sys.argv[2]))

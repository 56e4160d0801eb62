"""Passes open connections on to other processes of this machine (unix(7), SCM_RIGHTS).

A connection goes as its descriptor, with what the other process has to know of it. Each worker has
an inbox, which is there before any worker is: what comes while one is being started anew waits.
"""

import array
import asyncio
import errno
import logging
import pickle
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

logger = logging.getLogger(__name__)

Inbox = tuple[socket.socket, socket.socket]
"""The end that its worker reads, and the end that all others write to."""

IN_LINE = 32 * 1024
"""Bytes that go as a datagram. What is longer goes as a file, whose descriptor is sent too."""

AT_ONCE = 4
"""Connections that are taken in one iteration of the event loop. Each is 0.2 ms of work."""


def inboxes(count: int) -> list[Inbox]:
    """Make the inboxes of so many workers."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
    for end in (end for pair in pairs for end in pair):
        end.setblocking(False)
    return pairs


class Post:
    """The inboxes, as one worker uses them. What it sends to another arrives in order.

    What travels is pickled, which only processes of one program may do with each other: nobody else
    has these sockets.
    """

    def __init__(self, inboxes: Sequence[Inbox], mine: int) -> None:
        self._inbox = inboxes[mine][0]
        self._outboxes = [
            _Outbox(to if number != mine else None) for number, (_, to) in enumerate(inboxes)
        ]

    def receive(self, take: Callable[[socket.socket, Any], object]) -> None:
        """Call `take` with each connection that comes, and what was sent with it."""
        asyncio.get_running_loop().add_reader(self._inbox, self._read, take)

    def send(self, worker: int, sock: socket.socket, what: Any) -> None:
        """Send a connection as soon as that is possible; `sock` is closed then.

        If it is not, the connection ends: its client is told by that.
        """
        self._outboxes[worker].send(sock, pickle.dumps(what))

    def _read(self, take: Callable[[socket.socket, Any], object]) -> None:
        for _ in range(AT_ONCE):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._inbox, IN_LINE, 2)
            except BlockingIOError:
                return
            if not descriptors:
                # The kernel has closed what could not be opened here.
                logger.warning("a client could not be taken over: too many open files")
                continue
            sock = socket.socket(fileno=descriptors[0])
            if len(descriptors) == 2:
                with open(descriptors[1], "rb") as file:
                    file.seek(0)
                    data = file.read()
            take(sock, pickle.loads(data))


class _Outbox:
    """What is sent to one inbox."""

    def __init__(self, to: socket.socket | None) -> None:
        self._to = to
        self._waiting: deque[tuple[socket.socket, bytes]] = deque()

    def send(self, sock: socket.socket, data: bytes) -> None:
        self._waiting.append((sock, data))
        if len(self._waiting) == 1 and not self._flush():
            asyncio.get_running_loop().add_writer(self._socket(), self._flush_all)

    def _socket(self) -> socket.socket:
        if self._to is None:
            raise ValueError("a worker does not send to itself")
        return self._to

    def _flush_all(self) -> None:
        if self._flush():
            asyncio.get_running_loop().remove_writer(self._socket())

    def _flush(self) -> bool:
        """Send what waits, and return whether that is done: the inbox may be full."""
        while self._waiting:
            sock, data = self._waiting[0]
            try:
                self._send(sock, data)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return False
                logger.error("a client could not be handed over: %s", error)
            self._waiting.popleft()
            sock.close()
        return True

    def _send(self, sock: socket.socket, data: bytes) -> None:
        with ExitStack() as stack:
            descriptors = array.array("i", [sock.fileno()])
            if len(data) > IN_LINE:
                file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
                file.write(data)
                descriptors.append(file.fileno())
                data = b"."
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)
            self._socket().sendmsg([data], [rights])

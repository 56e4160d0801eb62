"""Passes open connections on to other processes of this machine (unix(7), SCM_RIGHTS).

A connection goes as its descriptor, with what the other process has to know of it. Each worker has
an inbox, which is there before any worker is: what comes while one is being started anew waits.
"""

import array
import asyncio
import errno
import logging
import os
import pickle
import socket
import struct
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

logger = logging.getLogger(__name__)

Inbox = tuple[socket.socket, socket.socket]
"""The end that its worker reads, and the end that all others write to."""

PIECE = 4 * 1024
"""Bytes that go at once. What is longer goes in pieces."""

QUEUE = 8 * 1024
"""Bytes that are on their way to a worker, about. Nobody can overtake what is there: a dozen
clients, which takes some milliseconds."""

HEADER = struct.Struct("=HI?")
"""Of a piece: who sends it, where it belongs, and whether it is the last."""

AT_ONCE = 4
"""Pieces that are taken in one iteration of the event loop. Each connection is 0.2 ms of work."""


def inboxes(number: int) -> list[Inbox]:
    """Make the inboxes of so many workers."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(number)]
    for here, there in pairs:
        here.setblocking(False)
        there.setblocking(False)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE)
    return pairs


class Post:
    """The inboxes, as one worker uses them.

    What travels is pickled, which only processes of one program may do with each other: nobody else
    has these sockets.
    """

    def __init__(self, inboxes: Sequence[Inbox], mine: int) -> None:
        self._inbox = inboxes[mine][0]
        self._outboxes = [_Outbox(mine, to) for _, to in inboxes]
        self._begun: dict[int, bytes] = {}
        """What has come of something long, by its sender."""

    def receive(self, take: Callable[[socket.socket, Any], object]) -> None:
        """Call `take` with each connection that comes, and what was sent with it."""
        asyncio.get_running_loop().add_reader(self._inbox, self._read, take)

    def send(self, worker: int, due: float, sock: socket.socket, what: Any) -> None:
        """Send a connection as soon as that is possible; `sock` is closed then.

        Of those that wait for the same worker, the one comes first that was due first. If one
        cannot be sent, the connection ends: its client is told by that.
        """
        self._outboxes[worker].send(due, sock, pickle.dumps(what))

    def _read(self, take: Callable[[socket.socket, Any], object]) -> None:
        for _ in range(AT_ONCE):
            try:
                piece, descriptors, _, _ = socket.recv_fds(self._inbox, HEADER.size + PIECE, 1)
            except BlockingIOError:
                return
            sender, position, is_last = HEADER.unpack_from(piece)
            # The sender may have died after it had begun with something else.
            begun = self._begun.pop(sender, b"")[:position]
            data = begun + piece[HEADER.size :]
            if not is_last:
                self._begun[sender] = data
            elif not descriptors:
                # The kernel has closed what could not be opened here.
                logger.warning("a client could not be taken over: too many open files")
            elif len(begun) < position:
                os.close(descriptors[0])  # The rest came to the worker before this one.
            else:
                take(socket.socket(fileno=descriptors[0]), pickle.loads(data))


class _Outbox:
    """What is sent to one inbox."""

    def __init__(self, mine: int, to: socket.socket) -> None:
        self._mine = mine
        self._to = to
        self._count = count()
        self._waiting: list[tuple[float, int, socket.socket, bytes]] = []
        self._begun: tuple[socket.socket, bytes] | None = None
        self._position = 0
        """How much of what has begun was sent."""

    def send(self, due: float, sock: socket.socket, data: bytes) -> None:
        heappush(self._waiting, (due, next(self._count), sock, data))
        self._flush()

    def _flush(self) -> None:
        """Send what waits, now and whenever the inbox is not full."""
        loop = asyncio.get_running_loop()
        while self._begun or self._waiting:
            if self._begun is None:
                self._begun = heappop(self._waiting)[2:]
                self._position = 0
            sock, data = self._begun
            try:
                is_last = self._send_piece(sock, data)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    loop.add_writer(self._to, self._flush)
                    return
                logger.error("a client could not be handed over: %s", error)
                is_last = True
            if is_last:
                self._begun = None
                sock.close()
        loop.remove_writer(self._to)

    def _send_piece(self, sock: socket.socket, data: bytes) -> bool:
        """Send the next piece, and return whether it is the last, with which the socket goes."""
        end = self._position + PIECE
        is_last = end >= len(data)
        header = HEADER.pack(self._mine, self._position, is_last)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))
        self._to.sendmsg([header, data[self._position : end]], [rights] if is_last else [])
        self._position = end
        return is_last

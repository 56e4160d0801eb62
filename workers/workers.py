"""Which worker has which room, and the way of a client to the worker that has the one it joins.

All messages stay within one process that way. Sharing rooms over a bus, as several servers do,
would cost two or three times as much for each message; moving costs once for each client.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from time import monotonic
from typing import Any

from workers.board import Board, Times
from workers.post import Post, inboxes
from workers.tallies import Tallies

TELL_INTERVAL = 0.5
"""Seconds after which a worker tells again whether it is ready."""

PATIENCE = 5.0
"""Seconds that a client waits for the worker that has the room it joins."""

LOOK_INTERVAL = 0.02
"""Seconds between two looks at whether that worker is ready."""


class Shared:
    """What all workers have in common. It is made before any of them is."""

    def __init__(self, workers: int) -> None:
        self.key = os.urandom(16)
        """Says which worker has which room. Otherwise anybody could fill one worker with rooms."""
        self.inboxes = inboxes(workers)
        self.board = Board(workers)
        self.tallies = Tallies(workers)
        self.warned = Times()


class Workers:
    """The workers, as one of them sees them. Each is known by its number, from 0."""

    def __init__(self, shared: Shared, number: int, alive: socket.socket, announce: bool) -> None:
        """`alive` is at its end when the process that has started the workers is gone."""
        self.number = number
        self.tallies = shared.tallies
        self.warned = shared.warned
        self.announce = announce
        """Whether to log for all of them what there is to know at the start."""
        self.count = len(shared.inboxes)
        self._key = shared.key
        self._board = shared.board
        self._post = Post(shared.inboxes, number)
        self._alive = alive
        self.stopping = False
        """Whether clients stay where they are, since all workers are about to end."""
        self._is_ready: Callable[[], bool] = lambda: False
        self._settled: Callable[[], Awaitable[bool]] | None = None

    def start(
        self,
        take: Callable[[socket.socket, Any], object],
        stop: asyncio.Event,
        is_ready: Callable[[], bool],
        settled: Callable[[], Awaitable[bool]] | None,
    ) -> None:
        """Have `take` called for clients that come, and `stop` set if their parent is gone.

        `is_ready` returns whether this worker is ready. What `settled` returns is done, with
        True, when other servers will see that a client has left before they see what comes from
        another worker; or with False if that takes too long. The event loop must be running.
        """
        self._is_ready = is_ready
        self._settled = settled
        self._post.receive(take)
        asyncio.get_running_loop().add_reader(self._alive, self._read, stop)
        self._tell_again()

    def ready(self) -> bool:
        """Return whether all workers are ready; what the others said may be half a second old."""
        self._board.put(self.number, self._is_ready())
        return self._board.all_ready()

    def _tell_again(self) -> None:
        self._board.put(self.number, self._is_ready())
        asyncio.get_running_loop().call_later(TELL_INTERVAL, self._tell_again)

    def has(self, room_id: str) -> bool:
        """Return whether this worker has the room, which need not be there yet."""
        return self._owner(room_id) == self.number

    async def can_take(self, room_id: str) -> bool:
        """Wait until the worker that has the room is ready; return False if it is not in time."""
        worker = self._owner(room_id)
        end = monotonic() + PATIENCE
        while not self._board.is_ready(worker):
            if monotonic() > end:
                return False
            await asyncio.sleep(LOOK_INTERVAL)
        return True

    async def settled(self) -> bool:
        """Wait until what a client has left can be left behind; return False if not in time."""
        return self._settled is None or await self._settled()

    def send(self, room_id: str, due: float, sock: socket.socket, client: Any) -> None:
        """Send a client to the worker that has the room; `sock` is that of its connection.

        Of clients that wait, the one comes first that was due first.
        """
        self._post.send(self._owner(room_id), due, sock, client)

    def _owner(self, room_id: str) -> int:
        return owner(room_id, self._key, self.count)

    def _read(self, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().remove_reader(self._alive)
        stop.set()


def owner(room_id: str, key: bytes, workers: int) -> int:
    """Return which of so many workers has a room. It takes 1 µs."""
    return int.from_bytes(blake2b(room_id.encode(), key=key, digest_size=8).digest()) % workers

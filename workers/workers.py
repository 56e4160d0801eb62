"""Which worker has which room, and the way of a client to the worker that has the one it joins.

All messages stay within one process that way. Sharing rooms over a bus, as several servers do,
would cost two or three times as much for each message; moving costs once for each client.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from zlib import crc32

from workers.post import Inbox, Post
from workers.tallies import Tallies


class Workers:
    """The workers, as one of them sees them. Each is known by its number, from 0."""

    def __init__(
        self,
        inboxes: Sequence[Inbox],
        number: int,
        alive: socket.socket,
        tallies: Tallies,
        announce: bool,
    ) -> None:
        """`alive` is at its end when the process that has started the workers is gone."""
        self.number = number
        self.tallies = tallies
        self.announce = announce
        """Whether to log for all of them what there is to know at the start."""
        self.count = len(inboxes)
        self._post = Post(inboxes, number)
        self._alive = alive
        self.stopping = False
        """Whether clients stay where they are, since all workers are about to end."""
        self._settled: Callable[[], Awaitable[None]] | None = None

    def start(
        self,
        take: Callable[[socket.socket, Any], object],
        stop: asyncio.Event,
        settled: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Have `take` called for clients that come, and `stop` set if their parent is gone.

        What `settled` returns is done when other servers will see that a client has left before
        they see what comes from another worker. The event loop must be running.
        """
        self._settled = settled
        self._post.receive(take)
        asyncio.get_running_loop().add_reader(self._alive, self._read, stop)

    def has(self, room_id: str) -> bool:
        """Return whether this worker has the room, which need not be there yet."""
        return self._owner(room_id) == self.number

    async def settled(self) -> None:
        """Wait until what a client has left can be left behind."""
        if self._settled is not None:
            await self._settled()

    def send(self, room_id: str, sock: socket.socket, client: Any) -> None:
        """Send a client to the worker that has the room; `sock` is that of its connection."""
        self._post.send(self._owner(room_id), sock, client)

    def _owner(self, room_id: str) -> int:
        return crc32(room_id.encode()) % self.count

    def _read(self, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().remove_reader(self._alive)
        stop.set()

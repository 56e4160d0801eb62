"""The connections that are open, for whoever has to close them all, or some of them."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from transport.newcomers import Newcomers

AT_ONCE = 100
"""Connections that are closed in one iteration of the event loop: a millisecond."""


class Connection(Protocol):
    def close(self, code: int | None = None, reason: str | None = None) -> None: ...
    def abort(self) -> None: ...
    def drop(self) -> None: ...


class Connections:
    """Counts the connections and closes them. `on_change` is told how many there are now.

    They are among the `newcomers` until they have joined a room.
    """

    def __init__(
        self, newcomers: Newcomers, on_change: Callable[[int], object] = lambda number: None
    ) -> None:
        self._open: set[Connection] = set()
        self._newcomers = newcomers
        self._on_change = on_change
        self._closing: tuple[int, str] | None = None
        self._none_open = asyncio.Event()
        self._none_open.set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def closing(self) -> bool:
        """Whether `close_all` was called."""
        return self._closing is not None

    def add(self, connection: Connection) -> None:
        """Add a connection; close it if `close_all` was called."""
        self._open.add(connection)
        self._newcomers.add(connection)
        self._none_open.clear()
        self._on_change(len(self._open))
        if self._closing is not None:
            connection.close(*self._closing)

    def joined(self, connection: Connection) -> None:
        """Take note that a connection has joined a room, and may stay."""
        self._newcomers.discard(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection; do nothing if it is not there."""
        self._open.discard(connection)
        self._newcomers.discard(connection)
        if not self._open:
            self._none_open.set()
        self._on_change(len(self._open))

    async def close_all(self, code: int, reason: str) -> None:
        """Close each one, and whatever is added from now on; wait until all are removed."""
        self._closing = code, reason
        for number, connection in enumerate(tuple(self._open), 1):
            connection.close(code, reason)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # Others are still served.
        await self._none_open.wait()

    def abort_all(self) -> None:
        """End those that `close_all` is still waiting for."""
        for connection in tuple(self._open):
            connection.abort()

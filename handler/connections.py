"""The connections that are open, for whoever has to close them all."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Connection(Protocol):
    def close(self, code: int | None = None, reason: str | None = None) -> None: ...
    def abort(self) -> None: ...


class Connections:
    """Counts the connections and closes them. `on_change` is told how many there are now."""

    def __init__(self, on_change: Callable[[int], object] = lambda number: None) -> None:
        self._open: set[Connection] = set()
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
        self._none_open.clear()
        self._on_change(len(self._open))
        if self._closing is not None:
            connection.close(*self._closing)

    def remove(self, connection: Connection) -> None:
        """Remove a connection; do nothing if it is not there."""
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()
        self._on_change(len(self._open))

    async def close_all(self, code: int, reason: str) -> None:
        """Close each one, and whatever is added from now on; wait until all are removed."""
        self._closing = code, reason
        for connection in tuple(self._open):
            connection.close(code, reason)
        await self._none_open.wait()

    def abort_all(self) -> None:
        """End those that `close_all` is still waiting for."""
        for connection in tuple(self._open):
            connection.abort()

"""The connections that are open, for whoever has to close them all."""

import asyncio
from typing import Protocol


class Connection(Protocol):
    def close(self, code: int | None = None, reason: str | None = None) -> None: ...
    def abort(self) -> None: ...


class Connections:
    """Those that are open now."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._closing: tuple[int, str] | None = None
        self._none_open = asyncio.Event()
        self._none_open.set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Once `close_all` was called, closes the connection too."""
        self._open.add(connection)
        self._none_open.clear()
        if self._closing is not None:
            connection.close(*self._closing)

    def remove(self, connection: Connection) -> None:
        """Raises KeyError when it was not added."""
        self._open.remove(connection)
        if not self._open:
            self._none_open.set()

    async def close_all(self, code: int, reason: str) -> None:
        """Closes each one, and whatever is added from now on; waits until all are removed."""
        self._closing = code, reason
        for connection in tuple(self._open):
            connection.close(code, reason)
        await self._none_open.wait()

    def abort_all(self) -> None:
        """Ends those that `close_all` is still waiting for."""
        for connection in tuple(self._open):
            connection.abort()

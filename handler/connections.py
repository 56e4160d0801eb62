"""The connections that are open, for whoever has to close them all."""

import asyncio
from collections.abc import Callable
from typing import Protocol

# How many connections are a crowd, how small a part of it is left once it has gone, and seconds
# until what the last of them had is freed, or most have come back.
CROWD = 1000
LEFT = 1 / 8
DELAY = 1.0


class Connection(Protocol):
    def close(self, code: int | None = None, reason: str | None = None) -> None: ...
    def abort(self) -> None: ...


class Connections:
    """Those that are open now.

    `crowd_gone` is called a second after most of a crowd has gone, unless it has come back by then
    or `close_all` was called.
    """

    def __init__(self, crowd_gone: Callable[[], None] = lambda: None) -> None:
        self._open: set[Connection] = set()
        # The most there were since a crowd has gone; while the next is going, what looks again.
        self._most = 0
        self._crowd_gone = crowd_gone
        self._timer: asyncio.TimerHandle | None = None
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
        """Once `close_all` was called, closes the connection too."""
        self._open.add(connection)
        self._most = max(self._most, len(self._open))
        self._none_open.clear()
        if self._closing is not None:
            connection.close(*self._closing)

    def remove(self, connection: Connection) -> None:
        """Does nothing when it is not there."""
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()
        if self._timer is None and self._closing is None and self._has_gone():
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._look_again)

    def _has_gone(self) -> bool:
        return self._most >= CROWD and len(self._open) <= self._most * LEFT

    def _look_again(self) -> None:
        self._timer = None
        if self._has_gone():
            self._most = len(self._open)
            self._crowd_gone()

    async def close_all(self, code: int, reason: str) -> None:
        """Closes each one, and whatever is added from now on; waits until all are removed."""
        self._closing = code, reason
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._open):
            connection.close(code, reason)
        await self._none_open.wait()

    def abort_all(self) -> None:
        """Ends those that `close_all` is still waiting for."""
        for connection in tuple(self._open):
            connection.abort()

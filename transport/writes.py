"""Spreads messages to very many peers over the iterations of the event loop.

A client that joins a room of 2,000 is told of to 2,000 peers, and each write is a system call of
some 5 µs. Together they would hold everybody up for longer than anything else here. So the
connections wait in line with such a message. What one receives meanwhile goes out with it, in
order: when 1,000 clients join one room at once, that is a fraction of the half million writes that
it would be otherwise.
"""

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 100
"""Connections that write in one iteration of the event loop."""


class Writes:
    """The connections of one event loop that wait to write."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def wait(self, write: Callable[[], None]) -> None:
        """Call `write`, which must not raise, when it is its turn."""
        self._waiting.append(write)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        for _ in range(min(len(self._waiting), AT_ONCE)):
            self._waiting.popleft()()
        if self._waiting:
            self._schedule()

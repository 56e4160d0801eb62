"""Joins and departures in large rooms, one after another, so that nobody else waits for them.

Each is told to every member, and a thousand clients that join one new room at once cause half a
million messages. Whoever relays meanwhile waits for one of these at most, and whoever joins a small
room waits for none. Of those that wait, what takes fewer messages comes first, unless the other has
waited for long.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

from tornado.concurrent import future_set_result_unless_cancelled

LARGE = 10
"""Members that make a room large. A write is a system call, which the event loop makes later and
nobody is charged for: with many rooms of less than fifty, others would wait for that."""

NOTICES_AT_ONCE = 2000
"""Messages to others that the joins of one client may cause at once."""

NOTICES_PER_SECOND = 500
"""Messages to others that they may cause in a second after that. A client can join rooms of ten
fifty times in a second."""

PER_MESSAGE = 0.001
"""Seconds by which a step comes later for each message that it takes."""


class LargeRooms:
    """What waits to be done: one step in an iteration of the event loop."""

    def __init__(self) -> None:
        self.is_told = False
        """Whether what is sent now is sent to all members of a large room."""
        # By when they are due, then in the order in which they came.
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._count = count()
        self._scheduled = False

    def call(self, messages: int, step: Callable[[], object]) -> None:
        """Take a step that sends so many messages when it is its turn. It must not raise."""
        self._wait(messages, partial(self._tell, step))

    async def turn(self, messages: int) -> None:
        """Wait until it is the turn of a step that sends so many messages."""
        turn = asyncio.get_running_loop().create_future()
        self._wait(messages, lambda: future_set_result_unless_cancelled(turn, None))
        await turn

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Say that what is sent in this context is sent to all members of a large room."""
        self.is_told = True
        try:
            yield
        finally:
            self.is_told = False

    def _tell(self, step: Callable[[], object]) -> None:
        with self.telling():
            step()

    def _wait(self, messages: int, step: Callable[[], object]) -> None:
        due = perf_counter() + messages * PER_MESSAGE
        heappush(self._waiting, (due, next(self._count), step))
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        _, _, step = heappop(self._waiting)
        if self._waiting:
            self._schedule()
        step()

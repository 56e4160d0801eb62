"""A ceiling on the memory of all connections together: what is unsent, and what is half received.

Each connection has a bound of its own, but a thousand that use it up would have gigabytes. So
those that have something are counted here, whenever that grows. A connection from which all has
been read, and of which all has been written, is not known here and pays nothing.

When `CROWDED` of the limit is in use, connections are refused with 1013, those that have most
first, and when all of it is, those are aborted. So a client that is slow but reads can still see
why it goes, and one that does not read takes up nothing for long.
"""

import asyncio
import logging
from time import perf_counter
from typing import Final, Protocol

logger = logging.getLogger(__name__)

CROWDED: Final = 3 / 4
"""The part of the limit from which connections have to go."""

ROOMY: Final = 1 / 2
"""The part of the limit that those which stay may have after that."""

STEP: Final = 1 / 16
"""The part of the limit by which the total must grow before all are looked at again: connections
do not tell when they have less, so that the total is an upper bound."""

AT_ONCE: Final = 0.001
"""Seconds for which connections are refused in one iteration of the event loop: some ten."""

BEHIND: Final = 1013, "too far behind"
"""The close for connections that have to go (try again later)."""


class Buffering(Protocol):
    """A connection that has something in memory."""

    @property
    def buffered(self) -> int:
        """Bytes that are unsent, not handled yet or half received."""

    def is_closing(self) -> bool:
        """Return whether it was closed or refused already."""

    def refuse(self, code: int, reason: str) -> None:
        """Close it and read nothing more. What is unsent is still sent for a limited time."""

    def abort(self) -> None:
        """End it at once, and have it discarded."""


class Buffers:
    """Counts what the connections of one event loop have in memory, and keeps it below a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: dict[Buffering, int] = {}
        self._total = 0
        self._look_at = limit * CROWDED
        self._scheduled = False

    def count(self, connection: Buffering) -> None:
        """Take note of what a connection has now; call this when that has grown.

        If that is too much in all, some connection is closed soon, but not within this call.
        """
        size = connection.buffered
        self._total += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        if self._total > self._look_at:
            self._schedule()

    def discard(self, connection: Buffering) -> None:
        """Forget a connection that is gone."""
        self._total -= self._sizes.pop(connection, 0)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """See how much it is really, and let those that have most go if it is too much."""
        self._scheduled = False
        self._measure()
        if self._total > self._limit * CROWDED:
            self._make_room()
        self._look_at = max(self._total + self._limit * STEP, self._limit * CROWDED)

    def _measure(self) -> None:
        sizes = {connection: connection.buffered for connection in self._sizes}
        self._sizes = {connection: size for connection, size in sizes.items() if size}
        self._total = sum(self._sizes.values())

    def _make_room(self) -> None:
        sizes = self._sizes.copy()  # It changes meanwhile.
        staying = [connection for connection in sizes if not connection.is_closing()]
        staying.sort(key=sizes.__getitem__)
        kept = sum(map(sizes.__getitem__, staying))
        end = perf_counter() + AT_ONCE
        while staying and kept > self._limit * ROOMY:
            connection = staying.pop()
            kept -= sizes[connection]
            connection.refuse(*BEHIND)
            text = "clients have %d bytes in memory, one with %d of them is closed"
            logger.info(text, self._total, sizes[connection])
            if perf_counter() > end:
                self._schedule()
                break
        if self._total <= self._limit:
            return
        self._measure()  # Those that were refused have dropped what they had received.
        going = [connection for connection in self._sizes if connection.is_closing()]
        going.sort(key=self._sizes.__getitem__)
        while going and self._total > self._limit:
            going.pop().abort()

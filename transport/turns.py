"""Fair turns: a peer that uses more than its share of the time makes no other peer wait.

The event loop hands over up to 8 MiB of one connection in one iteration, and what a peer sends in a
few bytes can cost a thousand times as much when each message is passed on to a full room. So time
is what is shared, not bytes: a peer may use `SHARE` of it, and `BURST` at once. Peers that use more
take turns, all of them together for `TURN` seconds in an iteration of the event loop, those that
have used least first. All other peers are served as their data comes. Nothing is dropped, order is
kept, and while no other peer wants anything, those that take turns have all of the time.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

SHARE = 0.02
"""The part of the time that a peer may use without having to wait for a turn."""

BURST = 0.002
"""Seconds that it may use at once if it has used none for a while."""

TURN = 0.005
"""Seconds in one iteration of the event loop for all peers that take turns."""

MAX_DEBT = 0.1
"""Seconds beyond its share that a peer is remembered to have used. It has its share again after
that many seconds divided by `SHARE`."""


class Turns:
    """The peers of one event loop that wait for a turn.

    A peer that used little more than its share waits for hardly more than the turn in progress,
    however many others wait. That matters because the time that is measured includes that in which
    the system ran something else: it can be charged to anybody.
    """

    def __init__(self) -> None:
        # By debt, then in the order in which they came.
        self._waiting: list[tuple[float, int, Callable[[float], object]]] = []
        self._count = count()
        self._scheduled = False

    def wait(self, debt: float, take: Callable[[float], object]) -> None:
        """Call `take` when it is its turn, with the time of `perf_counter` when that ends.

        `debt` is how many seconds the peer has used beyond its share.
        """
        heappush(self._waiting, (debt, next(self._count), take))
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Give turns until the time is over; at least one step of work is done."""
        self._scheduled = False
        end = perf_counter() + TURN
        try:
            while self._waiting:
                _, _, take = heappop(self._waiting)
                take(end)
                if perf_counter() >= end:
                    break
        finally:
            if self._waiting:
                self._schedule()

"""Fair turns: a peer that uses more than its share of the time makes no other peer wait.

The event loop hands over up to 8 MiB of one connection in one iteration, and what a peer sends in a
few bytes can cost a thousand times as much when each message is passed on to a full room. So time
is what is shared, not bytes.

A peer has an account in seconds: it grows by `SHARE` of the time that passes, up to `BURST`, and
what the peer uses is taken from it. As long as something is left there the peer is served as its
data comes. All others take turns of `QUANTUM` or `LONG_QUANTUM`, for `TURN` in an iteration of the
event loop: in the order in which they came, but each one later by the time that its account needs
to recover, and if it has much to say, by `BYTE` for each byte of that.

Those that are served as their data comes have no more than `TURN` in an iteration either. The rest
of them take turns with the others, and being in no debt they come first. So a crowd that keeps
still and then speaks all at once, each within its share, makes another peer wait for a quantum of
each, once; and for none of those that have much more to say than that peer.

Nothing is dropped, order is kept, and while no other peer wants anything, those that take turns
have all of the time.

In milliseconds of the server's CPU time, 99 % of the offers of an honest pair arrived within 1.4
while nobody else wanted anything, 3.1 while 50 peers sent empty messages as fast as they could, 4.3
with 10 that sent empty pings, 3.7 with 5 that sent fragments of a byte, 4.0 with 10 that sent
messages of 1 MiB, 3.5 with 20 that flooded one reader, and 4.0 with a crowd of 100 that spoke at
once (`make attack`; docs/security.md has the whole table).
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

SHARE = 0.05
"""The part of the time that a peer may use without having to wait for a turn."""

BURST = 0.001
"""Seconds that it may use at once if it has used none for a while."""

QUANTUM = 0.0001
"""Seconds for a turn of one peer. A single message can take longer."""

LONG_QUANTUM = 0.0005
"""The same for a peer whose account is overdrawn. All others come before it, and fewer turns cost
less."""

TURN = 0.002
"""Seconds in one iteration of the event loop for all peers that take turns, and for all others."""

READ = 1e-4
"""Seconds that are counted for what the event loop does to read much of a peer, which is not seen
in the time that handling it takes."""

BYTE = 4e-6
"""Seconds by which a peer comes later for each byte that waits beyond `FEW`."""

FEW = 8 * 1024
"""Bytes that make no peer wait longer. The offer of a browser is less."""

MAX_CHARGE = 0.001
"""Seconds that a peer is charged for at most, each time it is served. What is measured includes the
time in which the system ran something else, and that can be much longer."""

MAX_DEBT = 0.1
"""Seconds by which an account can be overdrawn. It takes that, divided by `SHARE`, to recover."""


class Turns:
    """The peers of one event loop that wait for a turn."""

    def __init__(self) -> None:
        self.left = TURN
        """Seconds for peers that are served as their data comes. Whoever serves one takes from it
        what that took. It is filled up when turns are taken, hence not before somebody finds it
        used up."""
        # By when they are due, then in the order in which they came.
        self._waiting: list[tuple[float, int, float, float, Callable[[float], object]]] = []
        self._count = count()
        self._scheduled = False

    def wait(self, account: float, size: int, take: Callable[[float], object]) -> None:
        """Call `take` when it is its turn, with the time of `perf_counter` when that ends.

        `account` is what the peer has left, in seconds, and `size` is how many bytes wait or are
        known to come.
        """
        due = perf_counter()
        quantum, read = QUANTUM, 0.0
        if size > FEW:
            due += (size - FEW) * BYTE
            read = READ
        if account < 0.0:
            due -= account / SHARE
            quantum = LONG_QUANTUM
        heappush(self._waiting, (due, next(self._count), quantum, read, take))
        self._schedule()

    def once(self, step: Callable[[], object]) -> None:
        """Take a single step for a peer that is gone: at once if there is time, or in a turn."""
        if self.left <= 0.0:
            self.wait(0.0, 0, lambda end: step())
            return
        start = perf_counter()
        try:
            step()
        finally:
            self.left -= perf_counter() - start

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Give turns until the time is over; at least one is given."""
        self._scheduled = False
        self.left = TURN
        now = perf_counter()
        end = now + TURN
        try:
            while self._waiting:
                _, _, quantum, read, take = heappop(self._waiting)
                take(now + quantum)
                now = perf_counter()
                end -= read
                if now >= end:
                    break
        finally:
            if self._waiting:
                self._schedule()

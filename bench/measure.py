"""The arithmetic: counts of messages sent and arrived, percentiles, and the costs of a window."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.frames import STREAM_SPAN
from bench.readings import Tree

SATURATED = 0.9
"""The share of its core beyond which the load generator may limit the figures, not the server."""

SLICE = 0.1
"""The length of the slices in which a paced window is judged, in seconds.

Disturbances of a machine come and go, so a window may be good in parts.
"""

LATE = 0.0005
"""The delay beyond which a slice is late, in seconds: then 1 % of its messages left later."""

ENOUGH = 0.5
"""The share of a paced window's slices that must be on time for its times to count."""


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile of unsorted `values`; None if there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Punctuality:
    """Which slices of a paced window were on time."""

    slices: int
    on_time: frozenset[int]

    @classmethod
    def of(cls, lags: Sequence[tuple[float, float]], seconds: float) -> Punctuality:
        """Judge a window of `seconds` by the lags of all its messages.

        Each lag is a pair: when the message was due, since the start of the window, and how late it
        was sent. A slice in which nothing was sent is late.
        """
        slices = max(1, math.ceil(seconds / SLICE - 1e-9))
        found: dict[int, list[float]] = {}
        for due, lag in lags:
            found.setdefault(int(due / SLICE), []).append(lag)
        worst = {index: percentile(each, 0.99) for index, each in found.items()}
        return cls(
            slices, frozenset(i for i, lag in worst.items() if lag is not None and lag <= LATE)
        )

    @property
    def share(self) -> float:
        """The share of the slices that were on time."""
        return len(self.on_time) / self.slices

    def keep(self, samples: Iterable[tuple[float, float]]) -> list[float]:
        """Return the values of the samples (when due, value) whose slice was on time."""
        return [value for due, value in samples if int(due / SLICE) in self.on_time]


class Ledger:
    """Counts messages over any number of streams, and keeps the time each took, in seconds."""

    __slots__ = ("arrived", "duplicates", "latencies", "out_of_order", "sent", "strays")

    def __init__(self) -> None:
        self.sent = 0
        self.arrived = 0
        self.out_of_order = 0
        self.duplicates = 0
        self.strays = 0
        self.latencies = array("d")

    @property
    def lost(self) -> int:
        """The number of messages that were sent and have not arrived; they may be on their way."""
        return self.sent - self.arrived


class Stream:
    """One sender's numbered messages to one receiver.

    `arrive` must be called with every number that the receiver sees. It can tell from that which
    messages came late, twice or astray. A message counts as arrived once, whenever it comes.
    """

    __slots__ = ("_base", "_ledger", "_missing", "expected", "next")

    def __init__(self, ledger: Ledger, index: int) -> None:
        """Make the stream `index`, 0 <= index < 10**6, which counts in `ledger`."""
        self._ledger = ledger
        self._base = index * STREAM_SPAN
        self._missing: set[int] = set()
        self.next = self._base
        self.expected = self._base

    def send(self) -> int:
        """Return the number of the next message and count it as sent."""
        number = self.next
        self.next = number + 1
        self._ledger.sent += 1
        return number

    def arrive(self, number: int) -> bool:
        """Count a message that arrived; return False if it came before or belongs elsewhere."""
        ledger = self._ledger
        if number == self.expected < self.next:
            self.expected = number + 1
            ledger.arrived += 1
            return True
        if not self._base <= number < self.next:
            ledger.strays += 1
            return False
        if number > self.expected:
            self._missing.update(range(self.expected, number))
            self.expected = number + 1
            ledger.arrived += 1
            return True
        if number in self._missing:
            self._missing.remove(number)
            ledger.arrived += 1
            ledger.out_of_order += 1
            return True
        ledger.duplicates += 1
        return False


@dataclass
class Measurement:
    """One window of one case. Times are in seconds unless the name says otherwise."""

    case: str
    unit: str = "message"
    units: int = 0
    """Units of work that were done within the window."""
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    sent: int = 0
    """Messages sent. This and the counts below include the warm-up."""
    arrived: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    strays: int = 0
    """Messages that reached the wrong member, or came in a window after their own."""
    disconnects: int = 0
    """Connections that ended but should not have."""
    errors: int = 0
    """Messages of type `error` that came back."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    extra: dict[str, float] = field(default_factory=dict)
    """Figures that only this scenario has. Their names end with the unit."""
    notes: list[str] = field(default_factory=list)

    def count(self, ledger: Ledger) -> None:
        """Take over the counts of `ledger` and the percentiles of its times."""
        self.sent = ledger.sent
        self.arrived = ledger.arrived
        self.out_of_order = ledger.out_of_order
        self.duplicates = ledger.duplicates
        self.strays = ledger.strays
        for share, name in ((0.5, "p50_ms"), (0.99, "p99_ms")):
            value = percentile(ledger.latencies, share)
            setattr(self, name, None if value is None else value * 1e3)

    @property
    def lost(self) -> int:
        """The number of messages that were sent and did not arrive in time."""
        return self.sent - self.arrived

    @property
    def load_share(self) -> float | None:
        """The share of its core that the load generator used; None if it is busy on purpose."""
        if not self.wall_s or "on_time_share" in self.extra:
            return None
        return self.load_cpu_s / self.wall_s

    @property
    def saturated(self) -> bool:
        """Whether the load generator was at its own limit."""
        on_time = self.extra.get("on_time_share")
        if on_time is not None:
            return on_time < ENOUGH
        return (self.load_share or 0.0) > SATURATED

    def figures(self) -> dict[str, float]:
        """Return the figures that are compared between servers, without those not measured.

        The times of a load generator that was late are left out too: they are its own.
        """
        figures: dict[str, float] = {}
        if self.units and self.wall_s:
            figures["cpu_us_per_unit"] = self.server_cpu_s / self.units * 1e6
            figures["load_cpu_us_per_unit"] = self.load_cpu_s / self.units * 1e6
            figures["units_per_s"] = self.units / self.wall_s
            figures["server_core_share"] = self.server_cpu_s / self.wall_s
        if self.load_share is not None:
            figures["load_core_share"] = self.load_share
        own = "on_time_share" in self.extra and self.saturated
        if self.p50_ms is not None and self.p99_ms is not None and not own:
            figures["p50_ms"] = self.p50_ms
            figures["p99_ms"] = self.p99_ms
        return figures | self.extra

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `Measurement(**values)` reads back."""
        return asdict(self)


class Meter:
    """Reads the server's and its own CPU time and the wall clock at both ends of a window."""

    def __init__(self, tree: Tree) -> None:
        """Open the window now; raise ServerGone if the server has ended."""
        self._tree = tree
        self._server = tree.cpu_seconds()
        self._load = time.process_time()
        self._wall = time.perf_counter()

    def close(self, measurement: Measurement) -> None:
        """Close the window and write its times down; raise ServerGone if the server has ended."""
        measurement.wall_s = time.perf_counter() - self._wall
        measurement.load_cpu_s = time.process_time() - self._load
        measurement.server_cpu_s = self._tree.cpu_seconds() - self._server

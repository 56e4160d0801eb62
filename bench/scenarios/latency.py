"""How long a relay takes when the server is busy, but not flat out."""

from __future__ import annotations

import asyncio
import time
from array import array

from bench.client import Client, StepFailed
from bench.frames import Template, number_in
from bench.measure import Ledger, Measurement, Stream, percentile
from bench.scenarios.context import Context
from bench.scenarios.relay import Members, closed_loop, make_members, offer_and_answer

LOAD = 0.5
"""Share of the measured maximum that is offered."""


class Route:
    """Sends from one member to another, and counts the arrivals."""

    __slots__ = ("client", "due", "latencies", "receiver", "stream", "template")

    def __init__(
        self, ledger: Ledger, index: int, sender: Client, receiver: Client, template: Template
    ) -> None:
        """Send `template` from `sender` to `receiver`, which this route listens at."""
        self.client = sender
        self.receiver = receiver
        self.stream = Stream(ledger, index)
        self.template = template
        self.latencies = ledger.latencies
        self.due: dict[int, float] = {}
        receiver.receive = self.receive

    def send(self, due: float) -> None:
        """Send a message that should have left at `due`, from which its time counts."""
        number = self.stream.send()
        self.due[number] = due
        self.client.write(self.template.fill(number))

    def receive(self, data: bytes, start: int, end: int) -> None:
        """Count a message and its time."""
        number = number_in(data, start, end)
        if number < 0:
            self.receiver.receive_other(data, start, end)
        elif self.stream.arrive(number):
            self.latencies.append(time.perf_counter() - self.due.pop(number))


class Pace:
    """Sends at a constant rate, round and round over all routes.

    It runs in every turn of the event loop and so keeps its core busy on purpose: timers of an
    event loop have a resolution of a millisecond, in which a server handles dozens of messages.
    """

    def __init__(self, routes: list[Route], rate: float) -> None:
        """Prepare to send `rate` messages a second."""
        self._routes = routes
        self._interval = 1 / rate
        self._turn = 0
        self._due = 0.0
        self._end = 0.0
        self._done: asyncio.Event = asyncio.Event()
        self.lags = array("d")
        """How late each message left, in seconds."""

    async def run(self, seconds: float) -> None:
        """Send for so long."""
        self._done.clear()
        self._due = time.perf_counter()
        self._end = self._due + seconds
        self._tick()
        await self._done.wait()

    def _tick(self) -> None:
        now = time.perf_counter()
        if now >= self._end:
            self._done.set()
            return
        # At most one round in one go, so that what arrives is looked at in between.
        for _ in self._routes:
            if self._due > now:
                break
            self.lags.append(now - self._due)
            self._routes[self._turn].send(self._due)
            self._turn = (self._turn + 1) % len(self._routes)
            self._due += self._interval
        asyncio.get_running_loop().call_soon(self._tick)


def _routes(members: Members, ledger: Ledger, context: Context) -> list[Route]:
    build = offer_and_answer(context.settings)
    routes = []
    # Streams follow those of the closed loop, so that its stragglers are not taken for ours.
    index = 2 * len(members)
    for turn in (0, 1):
        for pair in members:
            sender, receiver = pair[turn], pair[1 - turn]
            template = Template(build(receiver.id, turn))
            routes.append(Route(ledger, index, sender, receiver, template))
            index += 1
    return routes


async def latency(context: Context) -> None:
    """The time of a relay at half of the throughput that the server reached just before.

    Times count from when a message was due to leave, so that a server that holds up the load
    generator cannot hide it.
    """
    settings = context.settings
    members = await make_members(context)
    flat_out = Measurement("latency")
    await closed_loop(context, members, offer_and_answer(settings), flat_out)
    maximum = flat_out.units / flat_out.wall_s
    if not maximum:
        raise StepFailed("no message arrived flat out")
    context.progress(f"flat out: {maximum:,.0f} messages/s")

    ledger = Ledger()
    pace = Pace(_routes(members, ledger, context), LOAD * maximum)
    measurement = Measurement("latency")
    await pace.run(settings.warmup)
    del ledger.latencies[:], pace.lags[:]
    before = ledger.arrived
    meter = context.meter()
    await pace.run(settings.seconds)
    measurement.units = ledger.arrived - before
    meter.close(measurement)
    await context.drain(ledger)
    measurement.count(ledger)
    measurement.extra = {
        "offered_per_s": LOAD * maximum,
        "flat_out_per_s": maximum,
        "lag_p99_ms": (percentile(pace.lags, 0.99) or 0.0) * 1e3,
    }
    if flat_out.saturated:
        measurement.notes.append("half of the load generator's maximum, not the server's")
    context.finish(measurement)

"""Measures how long a relay takes when the server is busy but not saturated."""

from __future__ import annotations

import asyncio
import time

from bench.client import Client, StepFailed
from bench.frames import Template, number_in
from bench.measure import ENOUGH, Ledger, Measurement, Punctuality, Stream, percentile
from bench.scenarios.context import Context
from bench.scenarios.relay import Members, closed_loop, make_members, offer_and_answer

LOAD = 0.5
"""The share of the measured maximum that is sent."""

STEPS = (1.0, 1.0, 0.7, 0.5, 0.35)
"""The parts of that rate that are tried in turn until the load generator is on time.

The full rate is tried twice, since something else on the machine may have disturbed the first time.
"""

CATCH_UP = 1.0
"""How long after the end of a window overdue messages are still sent, in seconds."""


class Times:
    """The times of the messages of one window.

    They are pairs: when the message was due, in seconds since the start of the window, and a time.
    """

    __slots__ = ("lags", "latencies")

    def __init__(self) -> None:
        self.lags: list[tuple[float, float]] = []
        """How late each message was sent, in seconds."""
        self.latencies: list[tuple[float, float]] = []
        """How long after it was sent each message arrived, in seconds."""


class Route:
    """Sends from one member to another, and counts the arrivals."""

    __slots__ = ("client", "receiver", "stream", "template", "times", "under_way")

    def __init__(
        self, ledger: Ledger, index: int, sender: Client, receiver: Client, template: Template
    ) -> None:
        """Prepare to send `template` from `sender` to `receiver`, and listen at `receiver`."""
        self.client = sender
        self.receiver = receiver
        self.stream = Stream(ledger, index)
        self.template = template
        self.times = Times()
        self.under_way: dict[int, tuple[Times, float, float]] = {}
        """By number of the message: its window, when it was due in that, and when it was sent."""
        receiver.receive = self.receive

    def send(self, due: float, now: float) -> None:
        """Send a message that was due at `due`, in seconds since the start of the window."""
        number = self.stream.send()
        self.under_way[number] = (self.times, due, now)
        self.client.write(self.template.fill(number))

    def receive(self, data: bytes, start: int, end: int) -> None:
        """Count a message and its time."""
        number = number_in(data, start, end)
        if number < 0:
            self.receiver.receive_other(data, start, end)
        elif self.stream.arrive(number):
            times, due, sent = self.under_way.pop(number)
            times.latencies.append((due, time.perf_counter() - sent))


class Pace:
    """Sends at a constant rate, over all routes in turn.

    It runs in every turn of the event loop and so keeps its core busy on purpose: timers of an
    event loop have a resolution of a millisecond, in which a server handles dozens of messages.
    """

    def __init__(self, routes: list[Route]) -> None:
        self._routes = routes
        self._interval = 0.0
        self._turn = 0
        self._start = 0.0
        self._due = 0.0
        self._seconds = 0.0
        self._times = Times()
        self._done: asyncio.Event = asyncio.Event()

    async def run(self, rate: float, seconds: float) -> Times:
        """Send `rate` messages a second for `seconds`, and return their times.

        Messages that arrive later still add to these times.
        """
        self._interval = 1 / rate
        self._seconds = seconds
        self._due = 0.0
        self._times = Times()
        for route in self._routes:
            route.times = self._times
        self._done.clear()
        self._start = time.perf_counter()
        self._tick()
        await self._done.wait()
        return self._times

    def _tick(self) -> None:
        # At most one round is sent in a turn, so that arrivals are handled in between.
        for _ in self._routes:
            now = time.perf_counter()
            since = now - self._start
            if self._due > since:
                break
            self._times.lags.append((self._due, since - self._due))
            self._routes[self._turn].send(self._due, now)
            self._turn = (self._turn + 1) % len(self._routes)
            self._due += self._interval
            if self._due >= self._seconds:
                break
        since = time.perf_counter() - self._start
        if self._due < self._seconds and since < self._seconds + CATCH_UP:
            asyncio.get_running_loop().call_soon(self._tick)
        else:
            self._done.set()


def _routes(members: Members, ledger: Ledger, context: Context) -> list[Route]:
    build = offer_and_answer(context.settings)
    routes = []
    # The numbers follow those of the closed loop, so that its stragglers are not taken for ours.
    index = 2 * len(members)
    for turn in (0, 1):
        for pair in members:
            sender, receiver = pair[turn], pair[1 - turn]
            template = Template(build(receiver.id, turn))
            routes.append(Route(ledger, index, sender, receiver, template))
            index += 1
    return routes


async def latency(context: Context) -> None:
    """Time relays at half of the throughput that the server reached just before.

    Times count from when a message was sent. Writing never waits for the server, so if a message
    leaves late, the load generator was late. Slices in which it was late are not timed.
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
    pace = Pace(_routes(members, ledger, context))
    measurement = Measurement("latency")
    rate = await _rate(pace, LOAD * maximum, settings.warmup)
    if rate < LOAD * maximum:
        measurement.notes.append("below half load: the load generator was late at half")
    before = ledger.arrived
    meter = context.meter()
    times = await pace.run(rate, settings.seconds)
    measurement.units = ledger.arrived - before
    meter.close(measurement)
    await context.drain(ledger)

    punctuality = Punctuality.of(times.lags, settings.seconds)
    ledger.latencies.extend(punctuality.keep(times.latencies))
    measurement.count(ledger)
    measurement.extra = {
        "offered_per_s": rate,
        "flat_out_per_s": maximum,
        "on_time_share": punctuality.share,
    }
    lag = percentile(punctuality.keep(times.lags), 0.99)
    if lag is not None:
        measurement.extra["lag_p99_ms"] = lag * 1e3
    if flat_out.saturated:
        measurement.notes.append("half of the load generator's maximum, not the server's")
    context.finish(measurement)


async def _rate(pace: Pace, wanted: float, seconds: float) -> float:
    """Return `wanted`, or the part of it at which the load generator is on time.

    If it is late at every step, the rate is not the reason, and `wanted` is as good as any.
    """
    for step in STEPS:
        times = await pace.run(wanted * step, seconds)
        if Punctuality.of(times.lags, seconds).share >= ENOUGH:
            return wanted * step
    return wanted

"""Measures pairs of members that answer each other, where each message waits for the one before."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.client import Client
from bench.frames import Template, candidate, description, number_in
from bench.measure import Ledger, Measurement, Stream
from bench.scenarios.context import Context
from bench.settings import Settings

Members = list[tuple[Client, Client]]

Build = Callable[[str, int], bytes]
"""Makes a message to a client id that the first (0) or the second (1) of a pair is to send."""


class Side:
    """One member of a pair, which sends a burst whenever it has received one from the other."""

    __slots__ = ("awaited", "client", "incoming", "other", "outgoing", "pair", "template")

    other: Side

    def __init__(
        self, pair: Pair, client: Client, template: Template, outgoing: Stream, incoming: Stream
    ) -> None:
        """Prepare to send `template` through `client`. Set `other` before the first `send`."""
        self.pair = pair
        self.client = client
        self.template = template
        self.outgoing = outgoing
        self.incoming = incoming
        self.awaited = -1
        """The number of the last message in the burst that is on its way here."""
        client.receive = self.receive

    def receive(self, data: bytes, start: int, end: int) -> None:
        """Count a message, and send a burst if it was the last of its own."""
        number = number_in(data, start, end)
        if number < 0:
            self.client.receive_other(data, start, end)
            return
        if not self.incoming.arrive(number):
            return
        now = time.perf_counter()
        self.pair.latencies.append(now - self.pair.sent_at)
        if number == self.awaited:
            self.send(now)

    def send(self, now: float) -> None:
        """Send one burst to the other member, unless the pair was stopped."""
        pair = self.pair
        if pair.stopped:
            pair.resting = True
            return
        number = self.outgoing.send()
        frames = self.template.fill(number)
        for _ in range(pair.burst - 1):
            number = self.outgoing.send()
            frames += self.template.fill(number)
        self.other.awaited = number
        pair.turn = self
        pair.sent_at = now
        self.client.write(frames)


class Pair:
    """Two members of one room that send in turn."""

    __slots__ = ("burst", "latencies", "resting", "sent_at", "stopped", "turn")

    def __init__(
        self, ledger: Ledger, index: int, members: tuple[Client, Client], build: Build, burst: int
    ) -> None:
        """Let `members` send messages made by `build`, `burst` at a time, in streams of `index`."""
        self.burst = burst
        self.latencies = ledger.latencies
        self.stopped = False
        self.resting = True
        self.sent_at = 0.0
        one, two = members
        there, back = Stream(ledger, 2 * index), Stream(ledger, 2 * index + 1)
        first = Side(self, one, Template(build(two.id, 0)), there, back)
        second = Side(self, two, Template(build(one.id, 1)), back, there)
        first.other, second.other = second, first
        self.turn = first

    def start(self) -> None:
        """Let the member whose turn it is send."""
        self.resting = False
        self.turn.send(time.perf_counter())

    def stop(self) -> None:
        """Send nothing more. Messages that are under way may still arrive."""
        self.stopped = True

    def revive(self, stall: float) -> None:
        """Send again if nothing came for `stall` seconds; messages under way stay counted."""
        now = time.perf_counter()
        if self.resting or now - self.sent_at < stall:
            return
        if self.turn.client.connected and self.turn.other.client.connected:
            self.turn.send(now)
        else:
            self.resting = True


async def make_members(context: Context) -> Members:
    """Connect the members of all pairs, each pair in a room of its own."""
    rooms = [f"pair-{index}" for index in range(context.settings.pairs)]
    return [(await context.member(room), await context.member(room)) for room in rooms]


async def closed_loop(
    context: Context,
    members: Members,
    build: Build,
    measurement: Measurement,
    *,
    burst: int = 1,
    step: int = 0,
) -> None:
    """Let all pairs talk for one window and fill `measurement`; `step` tells windows apart.

    Losses do not stop it: a pair that has heard nothing for `settings.stall` seconds starts again.
    Losses are counted after `Context.drain` has waited for the messages that are still under way.
    """
    settings = context.settings
    ledger = Ledger()
    base = step * len(members)
    pairs = [Pair(ledger, base + index, both, build, burst) for index, both in enumerate(members)]

    def revive() -> None:
        for pair in pairs:
            pair.revive(settings.stall)

    for pair in pairs:
        pair.start()
    await context.sleep(settings.warmup, revive)
    del ledger.latencies[:]
    meter = context.meter()
    before = ledger.arrived
    await context.sleep(settings.seconds, revive)
    measurement.units = ledger.arrived - before
    meter.close(measurement)
    for pair in pairs:
        pair.stop()
    await context.drain(ledger)
    measurement.count(ledger)


def offer_and_answer(settings: Settings) -> Build:
    """Return a function that makes the messages which two members exchange."""
    return lambda client_id, turn: description(
        ("offer", "answer")[turn], client_id, settings.message_bytes
    )


async def relay(context: Context) -> None:
    """Relay offers and answers of 2.5 kB between two members in each of 50 rooms, one at a time."""
    members = await make_members(context)
    measurement = Measurement("relay")
    await closed_loop(context, members, offer_and_answer(context.settings), measurement)
    context.finish(measurement)


def rooms_cases(settings: Settings) -> list[str]:
    """Return the names of the measurements of `rooms`."""
    return [f"rooms/{count}" for count in settings.idle_rooms]


async def rooms(context: Context) -> None:
    """Relay offers and answers beside 0, 1,000 and 4,000 idle rooms with one member each.

    This shows whether a relay costs more beside idle rooms. The same server runs through all steps,
    and the number of its idle rooms grows.
    """
    settings = context.settings
    members = await make_members(context)
    idle = 0
    for step, count in enumerate(settings.idle_rooms):
        while idle < count:
            await context.member(f"idle-{idle}")
            idle += 1
            if idle % 500 == 0:
                context.progress(f"{idle:,} idle rooms")
        measurement = Measurement(f"rooms/{count}", extra={"idle_rooms": count})
        await closed_loop(context, members, offer_and_answer(settings), measurement, step=step)
        context.finish(measurement)


async def candidates(context: Context) -> None:
    """Relay bursts of 10 ICE candidates between two members in each of 50 rooms, one at a time."""
    members = await make_members(context)
    measurement = Measurement("candidates")
    await closed_loop(
        context,
        members,
        lambda client_id, _: candidate(client_id),
        measurement,
        burst=context.settings.burst,
    )
    context.finish(measurement)

"""Measures what a connection that does nothing costs while it is open, and after it has closed."""

from __future__ import annotations

import asyncio
import time

from bench.client import Client, StepFailed
from bench.measure import Measurement
from bench.readings import Footprint
from bench.scenarios.context import Context

CASES = ("idle/joined", "idle/left")

_CHUNK = 100
"""How many connections are closed side by side."""


def footprint(
    case: str, connections: int, now: Footprint, empty: Footprint, seconds: float
) -> Measurement:
    """Return the measurement of a server that was `empty` and took `seconds` to come to `now`."""
    held = now.rss - empty.rss
    return Measurement(
        case,
        unit="connection",
        extra={
            "connections": connections,
            "rss_mib": now.rss / 2**20,
            "kib_per_connection": held / 1024 / connections,
            "descriptors": now.descriptors,
            "descriptors_left": now.descriptors - empty.descriptors,
            "seconds": seconds,
        },
    )


async def _leave(client: Client) -> None:
    try:
        await client.leave()
    except StepFailed:
        client.abort()


async def idle(context: Context) -> None:
    """Hold 8,000 joined connections in rooms of two, and measure memory, also after they left.

    Memory per connection is the growth of the process tree since its first two clients came and
    went. After the clients left, the server has up to `settings.settle` seconds to close its
    descriptors, since not every server does that at once.
    """
    settings = context.settings
    count = settings.idle_connections
    warm = [await context.member("warm"), await context.member("warm")]
    await asyncio.gather(*map(_leave, warm))
    context.clients.clear()
    await asyncio.sleep(0.5)
    empty = context.tree.footprint()

    begin = time.perf_counter()
    for index in range(count):
        await context.member(f"idle-{index // 2}")
        if (index + 1) % 1000 == 0:
            context.progress(f"{index + 1:,} connections")
    took = time.perf_counter() - begin
    await context.sleep(0.5)
    context.finish(footprint("idle/joined", count, context.tree.footprint(), empty, took))

    begin = time.perf_counter()
    for start in range(0, count, _CHUNK):
        await asyncio.gather(*map(_leave, context.clients[start : start + _CHUNK]))
    context.progress(f"left in {time.perf_counter() - begin:.1f} s")
    deadline = begin + settings.settle
    now = context.tree.footprint()
    while now.descriptors > empty.descriptors and time.perf_counter() < deadline:
        await asyncio.sleep(0.25)
        now = context.tree.footprint()
    took = time.perf_counter() - begin
    # Memory goes back to the system, if it does, some time after the last descriptor is closed.
    # This server looks after a second.
    await asyncio.sleep(2.5)
    context.finish(footprint("idle/left", count, context.tree.footprint(), empty, took))
